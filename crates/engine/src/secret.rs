//! The secret that node and engine share, and the tokens made with it.
//!
//! Source: <https://github.com/ethereum/execution-apis/blob/main/src/engine/authentication.md>.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use alloy_rpc_types_engine::{Claims, JwtSecret};

/// A file with a secret is one line of 64 digits; what is longer by far is another file.
const FILE_BYTES_MAX: u64 = 4_096;

/// A secret of 32 bytes. It is never shown: not by `Debug`, not in an error.
#[derive(Clone)]
pub struct Secret(JwtSecret);

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the JWT secret in {}: {source}", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is not there and cannot be made.
    #[error("cannot make a JWT secret in {}: {source}; name another place, or write one there", .path.display())]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The text is no secret.
    #[error(
        "{place} holds no JWT secret: it takes 64 hexadecimal digits, with or without 0x in front, such as \
         `openssl rand -hex 32` prints"
    )]
    Malformed {
        /// Where the text was found.
        place: String,
    },
}

impl Secret {
    /// Out of 64 hexadecimal digits; `0x` in front and white space around do not matter.
    ///
    /// # Errors
    /// [`SecretError::Malformed`].
    pub fn from_hex(text: &str) -> Result<Self, SecretError> {
        Self::read("the text", text)
    }

    /// Out of a file that must be there.
    ///
    /// # Errors
    /// When it cannot be read or holds no secret.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
        let malformed = || SecretError::Malformed { place: path.display().to_string() };
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
        match read {
            Ok(read) if read as u64 > FILE_BYTES_MAX => Err(malformed()),
            Ok(_) => Self::read(&path.display().to_string(), &text),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(malformed()),
            Err(error) => Err(unreadable(error)),
        }
    }

    /// Out of a file; if there is none, a random secret is made there for the engine to read, for this user alone.
    ///
    /// # Errors
    /// When the file cannot be read or made, or holds no secret. A file that is there is never changed.
    pub fn from_file_or_new(path: &Path) -> Result<Self, SecretError> {
        match Self::from_file(path) {
            Err(SecretError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let secret = JwtSecret::random();
        match make(path, &hex::encode(secret.as_bytes())) {
            Ok(()) => Ok(Self(secret)),
            // Somebody else was faster, most likely the engine: theirs counts.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::from_file(path),
            Err(source) => Err(SecretError::Unwritable { path: path.to_owned(), source }),
        }
    }

    fn read(place: &str, text: &str) -> Result<Self, SecretError> {
        let secret = JwtSecret::from_hex(text).map_err(|_| SecretError::Malformed { place: place.to_owned() })?;
        Ok(Self(secret))
    }

    /// A token for one call, made now. Engines refuse one that is more than a minute old.
    #[must_use]
    pub fn token(&self) -> String {
        // A number under a symmetric key: nothing of it can fail, and an empty token is let in nowhere.
        self.0.encode(&Claims::with_current_timestamp()).unwrap_or_default()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Writes the file beside its place and then gives it its name, so that nobody ever reads half of it.
fn make(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = write_private(&beside, text).and_then(|()| fs::hard_link(&beside, path));
    // Only a leftover of no consequence remains where this fails.
    let _ = fs::remove_file(&beside);
    written?;
    File::open(folder)?.sync_all()
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SECRET: &str = "0x0011223344556677889900112233445566778899001122334455667788990011";

    #[test]
    fn a_missing_file_is_made_for_this_user_alone_and_then_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper/jwt.hex");
        let made = Secret::from_file_or_new(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(hex::decode(&text).unwrap(), made.0.as_bytes());
        assert_eq!(Secret::from_file_or_new(&path).unwrap().0, made.0);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left behind");
        let other = Secret::from_file_or_new(&folder.path().join("other.hex")).unwrap();
        assert_ne!(other.0, made.0, "each is random");
    }

    #[test]
    fn what_is_no_secret_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwt.hex");
        for junk in ["", "0x", "0x00", &SECRET[..64], &format!("{SECRET}00"), "not hex", &"0".repeat(5_000)] {
            fs::write(&path, junk).unwrap();
            let error = Secret::from_file_or_new(&path).unwrap_err();
            assert!(matches!(error, SecretError::Malformed { .. }), "{junk}: {error}");
            assert!(error.to_string().contains("jwt.hex"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), junk);
        }
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(Secret::from_file(&path), Err(SecretError::Malformed { .. })));
        assert!(matches!(Secret::from_file(&folder.path().join("none")), Err(SecretError::Unreadable { .. })));
        let under_a_file = Secret::from_file_or_new(&path.join("jwt.hex"));
        assert!(under_a_file.is_err());
        for sound in [SECRET, &SECRET[2..], &format!(" {SECRET}\n")] {
            fs::write(&path, sound).unwrap();
            assert_eq!(Secret::from_file(&path).unwrap().0, Secret::from_hex(SECRET).unwrap().0);
        }
    }

    #[test]
    fn tokens_hold_and_the_secret_is_never_shown() {
        let secret = Secret::from_hex(SECRET).unwrap();
        secret.0.validate(&secret.token()).unwrap();
        assert!(!format!("{secret:?}").contains("0011"));
        assert!(!Secret::from_hex(&SECRET[..60]).unwrap_err().to_string().contains("0011"));
    }
}
