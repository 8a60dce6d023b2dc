//! `sequenza why`: asks a running process whether blocks come, and if not, why and what would help.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};

/// How long one process may take to answer. Health answers at once, so that more would only be waiting.
const DEADLINE: Duration = Duration::from_secs(3);
/// Where it is asked: health.
const PATH: &str = "/readyz";
/// Longest answer that is read; a few checks of a few lines each.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Where the processes of this program answer by default: `sequenza node`, `starknet` and `evm`.
const DEFAULT_PLACES: [&str; 3] = ["http://127.0.0.1:9545", "http://127.0.0.1:6060", "http://127.0.0.1:8545"];

/// What `/readyz` answers.
#[derive(Debug, Deserialize)]
struct Report {
    ok: bool,
    checks: Vec<Line>,
}

#[derive(Debug, Deserialize)]
struct Line {
    ok: bool,
    reason: String,
    cause: Option<String>,
    remedy: Option<String>,
}

/// What a process says of itself.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Said {
    /// Do blocks come?
    pub(crate) ready: bool,
    /// Where it was asked.
    url: String,
    /// In a word, for programs, if they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Said {
    /// One line for people.
    pub(crate) fn sentence(&self) -> String {
        let Self { ready, url, reason, remedy, .. } = self;
        if *ready {
            return format!("{url}: blocks come: {reason}\n");
        }
        let remedy = remedy.as_ref().map(|remedy| format!(". What to do: {remedy}")).unwrap_or_default();
        format!("{url}: no block is being built: {reason}{remedy}\n")
    }

    /// One line for programs.
    pub(crate) fn json(&self) -> String {
        format!("{}\n", serde_json::to_string(self).unwrap_or_default())
    }
}

/// Asks the process at this address; if none is named, those at the default addresses, until one answers.
///
/// # Errors
/// When nobody answers, or what answers is no process of this program.
pub(crate) async fn ask(url: Option<&str>) -> Result<Said, Failure> {
    let client = reqwest::Client::builder().timeout(DEADLINE).no_proxy().build();
    let client = client.map_err(|error| Failure::new(Exit::RunTime, format!("cannot call anybody: {error}")))?;
    if let Some(url) = url {
        return ask_at(&client, url).await.map_err(|reason| silent(&format!("--url={url}: {reason}")));
    }
    let mut silences = Vec::new();
    for url in DEFAULT_PLACES {
        match ask_at(&client, url).await {
            Ok(said) => return Ok(said),
            Err(reason) => silences.push(format!("\n  {url}: {reason}")),
        }
    }
    Err(silent(&format!("nobody answers at the default addresses:{}\n", silences.concat())))
}

fn silent(reason: &str) -> Failure {
    let remedy = "start the process, or name where its health is with --url=http://HOST:PORT (its banner says it)";
    Failure::new(Exit::Silent, format!("{}: {remedy}", reason.trim_end()))
}

async fn ask_at(client: &reqwest::Client, url: &str) -> Result<Said, String> {
    let url = url.trim_end_matches('/');
    let base = url.strip_suffix(PATH).unwrap_or(url);
    let mut response = client.get(format!("{base}{PATH}")).send().await.map_err(|error| words(&error))?;
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| words(&error))? {
        if body.len() + part.len() > ANSWER_BYTES_MAX {
            return Err(format!("{PATH} answers with more than {ANSWER_BYTES_MAX} bytes: it is another program's"));
        }
        body.extend_from_slice(&part);
    }
    read(base, &body)
}

/// The answer, understood.
fn read(url: &str, body: &[u8]) -> Result<Said, String> {
    let report: Report =
        serde_json::from_slice(body).map_err(|_| format!("what {PATH} answers is not Sequenza's health"))?;
    // What is wrong says why; if nothing is, the last check says most: which block came last.
    let line = report.checks.iter().find(|line| line.ok == report.ok && !line.ok).or(report.checks.last());
    let url = url.to_owned();
    Ok(match line {
        None => Said { ready: report.ok, url, cause: None, reason: "it does not say more".to_owned(), remedy: None },
        Some(Line { reason, cause, remedy, .. }) => {
            Said { ready: report.ok, url, cause: cause.clone(), reason: reason.clone(), remedy: remedy.clone() }
        }
    })
}

/// The innermost reason: the outer ones only say that there was a request.
fn words(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", DEADLINE.as_secs());
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_in_a_sentence_with_its_remedy() {
        let bad = br#"{"ok":false,"checks":[{"name":"driver","ok":true,"reason":"runs"},
            {"name":"blocks","ok":false,"reason":"no block for 9s","cause":"stopped","remedy":"start it"}]}"#;
        let said = read("http://h:1", bad).unwrap();
        assert_eq!(said.sentence(), "http://h:1: no block is being built: no block for 9s. What to do: start it\n");
        let expected =
            r#"{"ready":false,"url":"http://h:1","cause":"stopped","reason":"no block for 9s","remedy":"start it"}"#;
        assert_eq!(said.json().trim_end(), expected);
        let good = br#"{"ok":true,"checks":[{"name":"driver","ok":true,"reason":"runs"},
            {"name":"blocks","ok":true,"reason":"block 7, 3ms ago"}]}"#;
        let said = read("http://h:1", good).unwrap();
        assert_eq!(said.sentence(), "http://h:1: blocks come: block 7, 3ms ago\n");
        assert_eq!(said.json().trim_end(), r#"{"ready":true,"url":"http://h:1","reason":"block 7, 3ms ago"}"#);
        assert!(read("http://h:1", br#"{"ok":true,"checks":[]}"#).unwrap().ready);
    }

    #[test]
    fn what_is_no_health_of_ours_is_told() {
        for body in ["", "ok", r#"{"status":"ok"}"#, "[1]"] {
            let told = read("http://h:1", body.as_bytes()).unwrap_err();
            assert!(told.contains("/readyz"), "{told}");
        }
    }
}
