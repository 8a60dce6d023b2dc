//! Who may call an authenticated port: a bearer token signed with a secret that both sides hold in a file.
//!
//! Source: <https://github.com/ethereum/execution-apis/blob/main/src/engine/authentication.md>. HS256 only, so a token
//! that names no algorithm or another one is refused whatever it says; `iat` must be within a minute of our clock.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// How far `iat` may be from our clock, either way.
const IAT_TOLERANCE: Duration = Duration::from_secs(60);

/// A secret file is one line of 64 digits; what is longer by far is another file.
const FILE_BYTES_MAX: u64 = 4_096;

/// The secret of 32 bytes. It is never shown: not by `Debug`, not in an error.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtSecret([u8; 32]);

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The text is no secret.
    #[error(
        "not a secret: it takes 64 hexadecimal digits, with or without 0x in front, such as `openssl rand -hex 32` prints"
    )]
    Malformed,
}

/// Why a request is not let in; what the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no token.
    #[error(
        "a token is missing: send the header authorization: Bearer <token>, signed with this server's secret (HS256)"
    )]
    Missing,
    /// What is there is no token at all.
    #[error("the token cannot be read: it takes three parts of base64url, and an iat claim in seconds")]
    Unreadable,
    /// It is signed in another way, or not at all.
    #[error("the token is not signed with HS256, which alone is taken")]
    Algorithm,
    /// It is signed with another secret.
    #[error("the token's signature does not hold: client and server have different secrets")]
    Signature,
    /// It was made too long ago, or in the future.
    #[error(
        "the token's iat is more than 60 s away from this server's clock: make one for each request, and check both clocks"
    )]
    Stale,
    /// It says itself that its time is over.
    #[error("the token's exp has passed: make a new one")]
    Expired,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iat: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
}

impl JwtSecret {
    /// Out of hexadecimal digits; `0x` in front and white space around do not matter.
    ///
    /// # Errors
    /// When these are not 32 bytes.
    pub fn from_hex(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| SecretError::Malformed)?;
        Ok(JwtSecret(bytes))
    }

    /// Out of a file.
    ///
    /// # Errors
    /// When it cannot be read or holds no secret.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
            return Err(SecretError::Malformed);
        }
        let text = std::fs::read(path).map_err(unreadable)?;
        JwtSecret::from_hex(std::str::from_utf8(&text).map_err(|_| SecretError::Malformed)?)
    }

    /// A token made at `now`, for the client's side.
    pub fn token(&self, now: SystemTime) -> String {
        let claims = Claims { iat: seconds(now), exp: None };
        // Claims of plain numbers under a symmetric key: nothing of it can fail, and an empty token is let in nowhere.
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(&self.0))
            .unwrap_or_default()
    }

    /// Whether the value of a request's `authorization` header lets it in at `now`.
    ///
    /// # Errors
    /// With the reason for the client.
    pub fn admits(&self, header: Option<&[u8]>, now: SystemTime) -> Result<(), Denied> {
        let header = header.and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or(Denied::Missing)?;
        let (scheme, token) = header.trim().split_once(' ').ok_or(Denied::Missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Denied::Missing);
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        // Both times are judged below, against the clock that we were given.
        validation.validate_exp = false;
        validation.validate_aud = false;
        let key = DecodingKey::from_secret(&self.0);
        let claims = jsonwebtoken::decode::<Claims>(token.trim(), &key, &validation)
            .map_err(|error| denied(error.kind(), token))?
            .claims;
        let now = seconds(now);
        if now.abs_diff(claims.iat) > IAT_TOLERANCE.as_secs() {
            return Err(Denied::Stale);
        }
        if claims.exp.is_some_and(|exp| exp.saturating_add(IAT_TOLERANCE.as_secs()) < now) {
            return Err(Denied::Expired);
        }
        Ok(())
    }
}

impl fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JwtSecret(hidden)")
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn denied(kind: &ErrorKind, token: &str) -> Denied {
    match kind {
        ErrorKind::InvalidSignature => Denied::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => Denied::Algorithm,
        // `alg: none` and names nobody knows are no algorithm to the library, and fail as faulty text.
        _ if names_another_algorithm(token) => Denied::Algorithm,
        _ => Denied::Unreadable,
    }
}

/// Whether the token's header is well-formed and its algorithm is not ours.
fn names_another_algorithm(token: &str) -> bool {
    #[derive(Deserialize)]
    struct Named {
        alg: String,
    }
    let header = token.split('.').next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let named = header.and_then(|header| serde_json::from_slice::<Named>(&header).ok());
    named.is_some_and(|named| named.alg != "HS256")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0x0011223344556677889900112233445566778899001122334455667788990011";

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn secret() -> JwtSecret {
        JwtSecret::from_hex(SECRET).unwrap()
    }

    /// A token of these parts, signed with our secret as HS256 whatever its header says.
    fn crafted(header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let key = EncodingKey::from_secret(&secret().0);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    #[test]
    fn a_token_holds_for_a_minute_either_way() {
        let header = format!("Bearer {}", secret().token(at(1_000)));
        let table = [
            (1_000, Ok(())),
            (1_060, Ok(())),
            (940, Ok(())),
            (1_061, Err(Denied::Stale)),
            (939, Err(Denied::Stale)),
            (9_999_999, Err(Denied::Stale)),
        ];
        for (now, expected) in table {
            assert_eq!(secret().admits(Some(header.as_bytes()), at(now)), expected, "at {now}");
        }
    }

    #[test]
    fn what_is_not_signed_with_the_secret_as_hs256_is_refused_with_the_reason() {
        let good = crafted(r#"{"alg":"HS256","typ":"JWT"}"#, r#"{"iat":1000,"id":"a","clv":"b"}"#);
        let none =
            format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(r#"{"iat":1000}"#));
        let other = JwtSecret::from_hex(&"11".repeat(32)).unwrap().token(at(1_000));
        let table = [
            (format!("Bearer {good}"), Ok(())),
            (format!("bearer  {good}"), Ok(())),
            (format!("Bearer {none}"), Err(Denied::Algorithm)),
            (format!("Bearer {}", crafted(r#"{"alg":"none"}"#, r#"{"iat":1000}"#)), Err(Denied::Algorithm)),
            (format!("Bearer {}", crafted(r#"{"alg":"HS512"}"#, r#"{"iat":1000}"#)), Err(Denied::Algorithm)),
            (format!("Bearer {}", crafted(r#"{"alg":"RS256"}"#, r#"{"iat":1000}"#)), Err(Denied::Algorithm)),
            (format!("Bearer {other}"), Err(Denied::Signature)),
            (format!("Bearer {}", crafted(r#"{"alg":"HS256"}"#, "{}")), Err(Denied::Unreadable)),
            (format!("Bearer {}", crafted(r#"{"alg":"HS256"}"#, r#"{"iat":"soon"}"#)), Err(Denied::Unreadable)),
            (format!("Bearer {}", crafted(r#"{"alg":"HS256"}"#, r#"{"iat":1000,"exp":900}"#)), Err(Denied::Expired)),
            ("Bearer x.y.z".to_owned(), Err(Denied::Unreadable)),
            ("Bearer ".to_owned(), Err(Denied::Missing)),
            (format!("Basic {good}"), Err(Denied::Missing)),
            (good, Err(Denied::Missing)),
        ];
        for (header, expected) in table {
            assert_eq!(secret().admits(Some(header.as_bytes()), at(1_000)), expected, "{header}");
        }
        assert_eq!(secret().admits(None, at(1_000)), Err(Denied::Missing));
        assert_eq!(secret().admits(Some(b"Bearer \xff"), at(1_000)), Err(Denied::Missing));
    }

    #[test]
    fn secrets_are_read_with_and_without_0x_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwt.hex");
        for text in [SECRET.to_owned(), format!("  {}\n", &SECRET[2..]), SECRET.to_uppercase().replace("0X", "0x")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(JwtSecret::from_file(&path).unwrap(), secret());
        }
        for junk in ["", "0x", "0x00", &SECRET[..64], &format!("{SECRET}00"), "not hex"] {
            std::fs::write(&path, junk).unwrap();
            assert!(matches!(JwtSecret::from_file(&path), Err(SecretError::Malformed)), "{junk}");
        }
        std::fs::write(&path, vec![b'0'; 5_000]).unwrap();
        assert!(matches!(JwtSecret::from_file(&path), Err(SecretError::Malformed)));
        let missing = JwtSecret::from_file(&folder.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("none"), "{missing}");
        assert!(!format!("{:?}", secret()).contains("0011"));
    }
}
