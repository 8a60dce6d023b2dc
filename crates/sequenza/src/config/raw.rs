//! Settings as they were written, and by whom: flag before environment before file before default.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::kona;
use super::settings::{ChainKind, Fallback, Kind, Setting};

/// Who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A flag on the command line.
    Flag,
    /// The environment variable of this name.
    Environment(String),
    /// A key of this file.
    File(PathBuf),
    /// Nobody.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => write!(f, "flag"),
            Origin::Environment(name) => write!(f, "environment variable {name}"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Default => write!(f, "default"),
        }
    }
}

/// A setting's text with its origin. No text is a default that `resolve` works out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) text: Option<String>,
    pub(crate) origin: Origin,
}

/// Something wrong with what was given: key, value, origin and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) key: String,
    pub(crate) value: Option<String>,
    pub(crate) origin: Origin,
    pub(crate) remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |name: &str| match &self.value {
            Some(value) => format!("{name}={value}"),
            None => name.to_owned(),
        };
        match &self.origin {
            Origin::Flag => write!(f, "{}", shown(&format!("--{}", self.key)))?,
            Origin::Environment(name) => write!(f, "{} (environment)", shown(name))?,
            Origin::File(path) => write!(f, "{} (file {})", shown(&self.key), path.display())?,
            Origin::Default => write!(f, "{} (default)", shown(&self.key))?,
        }
        write!(f, ": {}", self.remedy)
    }
}

/// All settings as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Raw {
    pub(crate) chain: ChainKind,
    given: BTreeMap<&'static str, Given>,
    /// How many came by a name of Juno's.
    pub(crate) from_juno: usize,
}

/// Where settings may come from.
#[derive(Default)]
pub(crate) struct Sources<'a> {
    /// Whose settings they are.
    pub(crate) chain: ChainKind,
    /// Flags of the command line, by name without dashes; a switch alone is `true`.
    pub(crate) flags: &'a [(String, String)],
    /// The process's environment.
    pub(crate) environment: &'a [(String, String)],
    /// Path and text of the file, if one was named.
    pub(crate) file: Option<(&'a Path, &'a str)>,
    /// Whether the program was called by Juno's name, so that its flags count as Juno's.
    pub(crate) as_juno: bool,
}

/// Variables under our prefix that are not settings: tests and tools of the project read them.
const OTHER_VARIABLES: [&str; 2] = ["SEQUENZA_VECTORS", "SEQUENZA_CONFIG"];
const OTHER_VARIABLES_PREFIX: &str = "SEQUENZA_TEST_";

#[cfg(test)]
impl Raw {
    /// What these flags say, all of which must be well formed.
    pub(crate) fn told(chain: ChainKind, flags: &[(&str, &str)]) -> Raw {
        let flags: Vec<_> = flags.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let (raw, faults) = Raw::collect(&Sources { chain, flags: &flags, ..Sources::default() });
        assert_eq!(faults, []);
        raw
    }
}

impl Raw {
    /// Puts the sources on top of each other. Names that nobody knows, and Juno's flags that have no effect to offer,
    /// are faults.
    pub(crate) fn collect(sources: &Sources<'_>) -> (Raw, Vec<Fault>) {
        let mut raw = Raw { chain: sources.chain, ..Raw::default() };
        let mut faults = Vec::new();
        for setting in sources.chain.settings() {
            let text = match setting.default {
                Fallback::Is(text) => Some(text.to_owned()),
                Fallback::Computed(_) => None,
            };
            raw.given.insert(setting.key, Given { text, origin: Origin::Default });
        }
        if let Some((path, text)) = sources.file {
            raw.take_file(path, text, &mut faults);
        }
        raw.take_environment(sources.environment, &mut faults);
        raw.take_flags(sources.flags, sources.as_juno, &mut faults);
        (raw, faults)
    }

    /// The setting as given. Every row of the table has an entry.
    pub(crate) fn given(&self, key: &str) -> Option<&Given> {
        self.given.get(key)
    }

    fn take_file(&mut self, path: &Path, text: &str, faults: &mut Vec<Fault>) {
        let origin = Origin::File(path.to_owned());
        let fault = |key: &str, value: Option<String>, remedy: String| Fault {
            key: key.to_owned(),
            value,
            origin: Origin::File(path.to_owned()),
            remedy,
        };
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                return faults.push(fault("config", None, format!("not TOML: {}", error.to_string().trim())));
            }
        };
        for (key, value) in flat(table) {
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => value.to_string(),
                toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => {
                    faults.push(fault(&key, Some(value.to_string()), "give one value, no list or table".to_owned()));
                    continue;
                }
            };
            match self.chain.setting(&key) {
                Some(setting) => self.set(setting, text, origin.clone()),
                None => faults.push(fault(&key, Some(text), unknown(self.chain, &key))),
            }
        }
    }

    fn take_environment(&mut self, environment: &[(String, String)], faults: &mut Vec<Fault>) {
        // The other program's variables first, so that ours go before them.
        let chain = self.chain;
        for setting in chain.settings() {
            let Some(name) = chain.peer_variable(setting) else { continue };
            if let Some((_, text)) = environment.iter().find(|(given, _)| *given == name) {
                self.set(setting, text.clone(), Origin::Environment(name));
                self.from_juno += usize::from(chain == ChainKind::Starknet);
            }
        }
        if chain == ChainKind::Node {
            faults.extend(environment.iter().filter_map(|(name, text)| refused_variable(name, text)));
        }
        for (name, text) in environment.iter().filter(|(name, _)| name.starts_with("SEQUENZA_")) {
            match self.chain.settings().find(|setting| setting.variable() == *name) {
                Some(setting) => self.set(setting, text.clone(), Origin::Environment(name.clone())),
                // One environment serves all commands; a name that only another one reads is no slip.
                None if ChainKind::ALL
                    .iter()
                    .any(|kind| kind.settings().any(|setting| setting.variable() == *name)) => {}
                None if OTHER_VARIABLES.contains(&name.as_str()) || name.starts_with(OTHER_VARIABLES_PREFIX) => {}
                None => faults.push(Fault {
                    key: name.clone(),
                    value: Some(text.clone()),
                    origin: Origin::Environment(name.clone()),
                    remedy: unknown(
                        self.chain,
                        &name.trim_start_matches("SEQUENZA_").replace('_', "-").to_ascii_lowercase(),
                    ),
                }),
            }
        }
    }

    fn take_flags(&mut self, flags: &[(String, String)], as_juno: bool, faults: &mut Vec<Fault>) {
        for (name, text) in flags {
            if let Some(setting) = self.chain.setting(name) {
                self.set(setting, text.clone(), Origin::Flag);
                self.from_juno += usize::from(as_juno && setting.juno_variable().is_some());
            } else if let Some(refused) = self.chain.refused().iter().find(|refused| refused.flag == name) {
                faults.push(Fault {
                    key: name.clone(),
                    value: (!refused.switch).then(|| text.clone()),
                    origin: Origin::Flag,
                    remedy: format!("has no effect here: {}", refused.reason),
                });
            }
        }
    }

    fn set(&mut self, setting: &'static Setting, text: String, origin: Origin) {
        // A variable or key that is there but empty means a switch that is on, as on the command line.
        let text = if text.is_empty() && setting.kind == Kind::Switch { "true".to_owned() } else { text };
        self.given.insert(setting.key, Given { text: Some(text), origin });
    }
}

/// What is wrong with a variable of kona-node that is no setting of ours.
fn refused_variable(name: &str, text: &str) -> Option<Fault> {
    let remedy = match kona::judge(name) {
        kona::Judged::NotTheirs | kona::Judged::Setting => return None,
        kona::Judged::Refused(reason) => format!("has no effect here: {reason}"),
        kona::Judged::Unknown => {
            "there is no such setting; `sequenza config show node` lists them all, and docs/operators/node.md their variables"
                .to_owned()
        }
    };
    let (key, value) = (name.to_owned(), Some(text.to_owned()));
    Some(Fault { key, value, origin: Origin::Environment(name.to_owned()), remedy })
}

/// A file's keys: `authrpc.port = 1` is to TOML a table `authrpc` with a key `port`, to us one key.
fn flat(table: toml::Table) -> Vec<(String, toml::Value)> {
    let mut keys = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => {
                keys.extend(inner.into_iter().map(|(name, value)| (format!("{key}.{name}"), value)));
            }
            value => keys.push((key, value)),
        }
    }
    keys
}

/// What to say about a name that is no setting, with the closest one that is.
fn unknown(chain: ChainKind, key: &str) -> String {
    let closest = chain.settings().map(|setting| (distance(setting.key, key), setting.key)).min();
    match closest {
        Some((distance, name)) if distance <= 3 => format!("there is no such setting; did you mean {name}?"),
        _ => format!("there is no such setting; `sequenza config show {}` lists them all", chain.command()),
    }
}

/// Edits between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    fn collect(flags: &[(&str, &str)], environment: &[(&str, &str)], file: Option<&str>) -> (Raw, Vec<String>) {
        let (flags, environment) = (pairs(flags), pairs(environment));
        let file = file.map(|text| (Path::new("s.toml"), text));
        let sources = Sources { flags: &flags, environment: &environment, file, as_juno: true, ..Sources::default() };
        let (raw, faults) = Raw::collect(&sources);
        (raw, faults.iter().map(Fault::to_string).collect())
    }

    #[test]
    fn a_flag_goes_before_the_environment_before_the_file_before_the_default() {
        let env = [("SEQUENZA_HTTP_PORT", "3"), ("JUNO_HTTP_PORT", "2")];
        let file = Some("http-port = 4");
        let port = |flags: &[(&str, &str)], env: &[(&str, &str)], file| {
            let (raw, faults) = collect(flags, env, file);
            assert_eq!(faults, Vec::<String>::new());
            let given = raw.given("http-port").unwrap();
            format!("{} {}", given.text.as_deref().unwrap_or_default(), given.origin)
        };
        assert_eq!(port(&[("http-port", "1")], &env, file), "1 flag");
        assert_eq!(port(&[], &env, file), "3 environment variable SEQUENZA_HTTP_PORT");
        assert_eq!(port(&[], &env[1..], file), "2 environment variable JUNO_HTTP_PORT");
        assert_eq!(port(&[], &[], file), "4 file s.toml");
        assert_eq!(port(&[], &[], None), "6060 default");
    }

    #[test]
    fn what_came_by_a_name_of_juno_is_counted() {
        let (raw, _) = collect(&[("http-port", "1"), ("accounts", "3")], &[("JUNO_DB_PATH", "x")], None);
        assert_eq!(raw.from_juno, 2);
    }

    #[test]
    fn unknown_and_refused_names_are_faults_with_a_remedy() {
        let environment = [("SEQUENZA_HTTP_PROT", "1"), ("SEQUENZA_VECTORS", "x"), ("SEQUENZA_TEST_X", "x")];
        let file = Some("acounts = 3\nnothing-like-it = 1\nseed = [1]");
        let (_, faults) = collect(&[("eth-node", "ws://x"), ("pprof", "true")], &environment, file);
        assert_eq!(
            faults,
            [
                "acounts=3 (file s.toml): there is no such setting; did you mean accounts?",
                "nothing-like-it=1 (file s.toml): there is no such setting; `sequenza config show starknet` lists them all",
                "seed=[1] (file s.toml): give one value, no list or table",
                "SEQUENZA_HTTP_PROT=1 (environment): there is no such setting; did you mean http-port?",
                "--eth-node=ws://x: has no effect here: a chain of this mode has no L1; leave it out",
                "--pprof: has no effect here: profiling is Go's; use the metrics at /metrics, or perf on the process",
            ]
        );
        let (_, faults) = collect(&[], &[], Some("x = "));
        assert!(faults[0].starts_with("config (file s.toml): not TOML"), "{faults:?}");
    }
}
