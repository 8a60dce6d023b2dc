//! One address over HTTP: a deadline on every call, a limit on every answer, and nothing secret in any error.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use url::Url;

use crate::source::{BadSource, Fault, SourceError};

/// An answer longer than this is read off the async threads.
const READ_ASIDE_BYTES: usize = 64 * 1024;
/// Characters kept of what an endpoint says about an error.
const WORDS_MAX: usize = 200;

#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) name: Arc<str>,
    pub(crate) url: Url,
    pub(crate) deadline: Duration,
    answer_bytes_max: usize,
    client: reqwest::Client,
}

impl Http {
    pub(crate) fn new(url: Url, deadline: Duration, answer_bytes_max: usize) -> Result<Self, BadSource> {
        let endpoint = without_secrets(&url);
        let scheme = url.scheme();
        if !matches!(scheme, "http" | "https") {
            return Err(BadSource::Scheme { endpoint, scheme: scheme.to_owned() });
        }
        // A redirect is an error of configuration, and would carry the key to who knows where.
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(deadline)
            .build()
            .map_err(|error| BadSource::Client { endpoint: endpoint.clone(), reason: error.to_string() })?;
        Ok(Self { name: endpoint.into(), url, deadline, answer_bytes_max, client })
    }

    pub(crate) fn post(&self, body: &impl serde::Serialize) -> reqwest::RequestBuilder {
        self.client.post(self.url.clone()).json(body)
    }

    pub(crate) fn get(&self, url: Url) -> reqwest::RequestBuilder {
        self.client.get(url)
    }

    /// Sends, and reads status and body. `read` makes of them what is wanted.
    pub(crate) async fn exchange<T: Send + 'static>(
        &self,
        method: &'static str,
        request: reqwest::RequestBuilder,
        read: impl FnOnce(u16, &[u8]) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, SourceError> {
        let exchange = async {
            let (status, bytes) = self.send(request).await?;
            if bytes.len() <= READ_ASIDE_BYTES {
                return read(status, &bytes);
            }
            let aside = tokio::task::spawn_blocking(move || read(status, &bytes)).await;
            aside.unwrap_or_else(|_| Err(Fault::Garbled("reading it failed".to_owned())))
        };
        match timeout(self.deadline, exchange).await {
            Ok(outcome) => outcome.map_err(|fault| self.error(method, fault)),
            Err(_) => Err(self.error(method, Fault::Deadline(self.deadline))),
        }
    }

    pub(crate) fn error(&self, method: &'static str, fault: Fault) -> SourceError {
        SourceError { endpoint: Arc::clone(&self.name), method, fault }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(u16, Vec<u8>), Fault> {
        // The address is taken out of the words: it may hold a key.
        let unreachable = |error: reqwest::Error| Fault::Unreachable(chain(&error.without_url()));
        let mut response = request.send().await.map_err(unreachable)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if bytes.len() + chunk.len() > self.answer_bytes_max {
                return Err(Fault::TooLong(self.answer_bytes_max));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((response.status().as_u16(), bytes))
    }
}

pub(crate) fn cut(words: &str) -> String {
    words.chars().take(WORDS_MAX).collect()
}

/// An error with its causes: reqwest's own words alone do not say what is wrong.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    cut(&words)
}

/// What of an address may be shown.
fn without_secrets(url: &Url) -> String {
    let host = url.host_str().unwrap_or("without a host");
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
