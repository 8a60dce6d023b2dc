//! An engine reached over HTTP.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, Url, redirect};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Secret;
use crate::transport::{CallError, Transport};

/// Most that is read of an answer: a block of 32 MiB in hexadecimal digits.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How much of an unexpected answer is shown.
const SHOWN_MAX: usize = 200;
/// An engine is near: a connection that takes longer than this does not come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An engine's authenticated port, over HTTP.
///
/// Connections are kept and used again. Redirects are not followed and no proxy of the environment is used: the token
/// goes to the address that was named and nowhere else.
#[derive(Debug)]
pub struct HttpTransport {
    client: Client,
    url: Url,
    secret: Option<Secret>,
    calls: AtomicU64,
}

/// An address that cannot be an engine's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// It is none.
    #[error("{url:?} is not an address ({reason}); an engine's is like http://127.0.0.1:8551")]
    Malformed {
        /// The text.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is of a kind that is not spoken.
    #[error("{url}: engines are spoken to over plain http, not {scheme}; put what encrypts in front of both sides")]
    Scheme {
        /// The address.
        url: String,
        /// What it asks for.
        scheme: String,
    },
    /// It carries a name or a password.
    #[error("the address of the engine at {host} carries a name or password; an engine takes its JWT secret alone")]
    Credentials {
        /// The host.
        host: String,
    },
    /// The system refuses to make a client.
    #[error("cannot make an HTTP client: {0}")]
    Client(String),
}

impl HttpTransport {
    /// The engine at `url`. Without a secret calls go without a token, which only ports that are open to all accept.
    ///
    /// # Errors
    /// With what is wrong with the address.
    pub fn new(url: &str, secret: Option<Secret>) -> Result<Self, BadUrl> {
        let malformed = |reason: String| BadUrl::Malformed { url: url.chars().take(SHOWN_MAX).collect(), reason };
        let parsed = Url::parse(url.trim()).map_err(|error| malformed(error.to_string()))?;
        let host = parsed.host_str().ok_or_else(|| malformed("it names no host".to_owned()))?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(BadUrl::Credentials { host: host.to_owned() });
        }
        if parsed.scheme() != "http" {
            return Err(BadUrl::Scheme { url: parsed.to_string(), scheme: parsed.scheme().to_owned() });
        }
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| BadUrl::Client(chain_of(&error)))?;
        Ok(Self { client, url: parsed, secret, calls: AtomicU64::new(1) })
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn call(&self, method: &str, params: Value) -> Result<Value, CallError> {
        let id = self.calls.fetch_add(1, Ordering::Relaxed);
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        let mut request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(message);
        if let Some(secret) = &self.secret {
            request = request.bearer_auth(secret.token());
        }
        let response = request.send().await.map_err(|error| CallError::Unreachable(chain_of(&error)))?;
        let status = response.status();
        let body = read(response).await;
        if !status.is_success() {
            let reason = shown(&body.unwrap_or_default());
            let status = status.as_u16();
            return Err(match status {
                401 | 403 => CallError::Unauthorized { status, reason },
                _ => CallError::Http { status, reason },
            });
        }
        result(&body?, id)
    }
}

/// The body, as far as it is read at all.
async fn read(mut response: Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| CallError::Unreachable(chain_of(&error)))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(CallError::TooLarge { limit: ANSWER_BYTES_MAX });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What an answer to the call with this id says.
fn result(body: &[u8], id: u64) -> Result<Value, CallError> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        id: Value,
        #[serde(default)]
        result: Value,
        error: Option<Told>,
    }
    #[derive(Deserialize)]
    struct Told {
        code: i64,
        message: String,
        #[serde(default)]
        data: Value,
    }
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| CallError::Garbled(format!("{error} in {:?}", shown(body))))?;
    if let Some(Told { code, message, data }) = answer.error {
        let message = match data {
            Value::Null => message,
            data => format!("{message} ({})", shown(data.to_string().as_bytes())),
        };
        return Err(CallError::Rpc { code, message });
    }
    if answer.id != json!(id) {
        return Err(CallError::Garbled(format!("it answers call {}, not {id}", answer.id)));
    }
    Ok(answer.result)
}

fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(SHOWN_MAX)]).into_owned()
}

/// The error with all its reasons: the outermost of this library says little.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(reason) = next {
        text = format!("{text}: {reason}");
        next = reason.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for sound in ["http://127.0.0.1:8551", " http://engine:8551/ ", "http://[::1]:8551/engine"] {
            HttpTransport::new(sound, None).unwrap();
        }
        type Check = fn(&BadUrl) -> bool;
        let table: [(&str, Check); 5] = [
            ("127.0.0.1:8551", |error| matches!(error, BadUrl::Malformed { .. })),
            ("", |error| matches!(error, BadUrl::Malformed { .. })),
            ("https://engine:8551", |error| matches!(error, BadUrl::Scheme { scheme, .. } if scheme == "https")),
            ("ws://engine:8551", |error| matches!(error, BadUrl::Scheme { .. })),
            ("http://me:secret@engine:8551", |error| !error.to_string().contains("secret@")),
        ];
        for (url, check) in table {
            let error = HttpTransport::new(url, None).unwrap_err();
            assert!(check(&error), "{url}: {error}");
        }
    }

    #[test]
    fn answers_are_told_apart() {
        let table: [(&str, Result<Value, i64>); 8] = [
            (r#"{"jsonrpc":"2.0","id":7,"result":null}"#, Ok(Value::Null)),
            (r#"{"jsonrpc":"2.0","id":7,"result":{"a":1},"error":null}"#, Ok(json!({"a": 1}))),
            (r#"{"jsonrpc":"2.0","id":7,"error":{"code":-38001,"message":"Unknown payload"}}"#, Err(-38001)),
            (r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x","data":"y"}}"#, Err(-32700)),
            (r#"{"jsonrpc":"2.0","id":8,"result":1}"#, Err(0)),
            (r#"{"jsonrpc":"2.0","result":1}"#, Err(0)),
            ("<html>busy</html>", Err(0)),
            ("", Err(0)),
        ];
        for (body, expected) in table {
            let told = result(body.as_bytes(), 7).map_err(|error| match error {
                CallError::Rpc { code, .. } => code,
                CallError::Garbled(_) => 0,
                other => panic!("{body}: {other}"),
            });
            assert_eq!(told, expected, "{body}");
        }
    }
}
