//! Health that tells the truth: a list of checks, each with its reason, asked anew for every request.

use serde::Serialize;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// All is well; a few words on what was seen.
    Good(String),
    /// It is not.
    Bad(Fault),
}

/// What a check found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// In a word that stays the same from release to release, for programs.
    pub cause: String,
    /// What was seen, for people.
    pub reason: String,
    /// What would help.
    pub remedy: String,
}

/// A named question about the process. Asked on every health request, so it must answer at once.
pub struct Check {
    name: &'static str,
    probe: Box<dyn Fn() -> Finding + Send + Sync>,
}

impl Check {
    /// A check of this name.
    pub fn new(name: &'static str, probe: impl Fn() -> Finding + Send + Sync + 'static) -> Self {
        Check { name, probe: Box::new(probe) }
    }
}

impl std::fmt::Debug for Check {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Check").field(&self.name).finish()
    }
}

/// The checks behind `/livez` (is the process worth keeping?) and `/readyz` (does it do its work?).
///
/// With no checks at all both answer 200: the server itself answered.
#[derive(Debug, Default)]
pub struct Health {
    live: Vec<Check>,
    ready: Vec<Check>,
}

/// The body of a health answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    pub(crate) ok: bool,
    checks: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Line {
    name: &'static str,
    ok: bool,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Health {
    /// No checks yet.
    pub fn new() -> Self {
        Health::default()
    }

    /// Adds a check that `/livez` and `/readyz` both ask: a process that is not alive is not ready.
    #[must_use]
    pub fn live(mut self, check: Check) -> Self {
        self.live.push(check);
        self
    }

    /// Adds a check that only `/readyz` asks.
    #[must_use]
    pub fn ready(mut self, check: Check) -> Self {
        self.ready.push(check);
        self
    }

    pub(crate) fn liveness(&self) -> Report {
        report(self.live.iter())
    }

    pub(crate) fn readiness(&self) -> Report {
        report(self.live.iter().chain(&self.ready))
    }
}

fn report<'a>(checks: impl Iterator<Item = &'a Check>) -> Report {
    let checks: Vec<Line> = checks
        .map(|check| match (check.probe)() {
            Finding::Good(reason) => Line { name: check.name, ok: true, reason, cause: None, remedy: None },
            Finding::Bad(Fault { cause, reason, remedy }) => {
                Line { name: check.name, ok: false, reason, cause: Some(cause), remedy: Some(remedy) }
            }
        })
        .collect();
    Report { ok: checks.iter().all(|line| line.ok), checks }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(reason: &str) -> Finding {
        Finding::Bad(Fault { cause: "late".to_owned(), reason: reason.to_owned(), remedy: "wait".to_owned() })
    }

    #[test]
    fn one_bad_check_spoils_readiness_and_keeps_its_reason() {
        let health = Health::new()
            .live(Check::new("loop", || Finding::Good("turned 1 ms ago".to_owned())))
            .ready(Check::new("blocks", || bad("no block for 9 s")));
        assert!(health.liveness().ok);
        let ready = serde_json::to_string(&health.readiness()).unwrap();
        let expected = concat!(
            r#"{"ok":false,"checks":[{"name":"loop","ok":true,"reason":"turned 1 ms ago"},"#,
            r#"{"name":"blocks","ok":false,"reason":"no block for 9 s","cause":"late","remedy":"wait"}]}"#
        );
        assert_eq!(ready, expected);
    }

    #[test]
    fn what_is_not_alive_is_not_ready() {
        let health = Health::new().live(Check::new("loop", || bad("stuck")));
        assert!(!health.liveness().ok);
        assert!(!health.readiness().ok);
    }
}
