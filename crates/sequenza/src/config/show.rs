//! `sequenza config show`: every setting, its value and who said it, as a file that can be given back.

use std::fmt::Write as _;

use super::Evm;
use super::node::Node;
use super::raw::{Origin, Raw};
use super::resolve::Starknet;
use super::settings::{Fallback, Kind, Setting};

/// The resolved settings of one chain, for the defaults that were worked out.
pub(crate) enum Resolved {
    Starknet(Box<Starknet>),
    Evm(Box<Evm>),
    Node(Box<Node>),
}

/// The settings as TOML with the origin of each beside it. Defaults are comments, so that the output, read back as
/// `--config`, says what was said and no more.
pub(crate) fn show(raw: &Raw, resolved: &Resolved) -> String {
    let mut text = String::new();
    let mut group = "";
    for setting in raw.chain.settings() {
        if setting.group != group {
            group = setting.group;
            let _ = writeln!(text, "{}# {group}", if text.is_empty() { "" } else { "\n" });
        }
        let _ = writeln!(text, "{}", line(setting, raw, resolved));
    }
    text
}

fn line(setting: &Setting, raw: &Raw, resolved: &Resolved) -> String {
    let given = raw.given(setting.key);
    let origin = given.map_or(&Origin::Default, |given| &given.origin);
    if setting.is_secret() && *origin != Origin::Default {
        return format!("{:<60} # {origin}", format!("# {} = (not shown)", setting.key));
    }
    let value = match given.and_then(|given| given.text.as_deref()) {
        Some(text) => literal(setting, text),
        None => computed(setting, resolved),
    };
    let hidden = if *origin == Origin::Default { "# " } else { "" };
    let left = format!("{hidden}{} = {value}", setting.key);
    format!("{left:<60} # {origin}")
}

/// A switch as a TOML boolean where it is one, everything else as a string.
fn literal(setting: &Setting, text: &str) -> String {
    match (setting.kind, text) {
        (Kind::Switch, "true" | "false") => text.to_owned(),
        _ => toml::Value::String(text.to_owned()).to_string(),
    }
}

fn computed(setting: &Setting, resolved: &Resolved) -> String {
    let found = match resolved {
        Resolved::Starknet(resolved) => of_starknet(setting.key, resolved),
        Resolved::Evm(resolved) => match setting.key {
            "db-path" => Some(format!("{:?}", resolved.data_dir.display().to_string())),
            _ => None,
        },
        Resolved::Node(_) => None,
    };
    found.unwrap_or_else(|| match setting.default {
        Fallback::Computed(words) => format!("({words})"),
        Fallback::Is(text) => format!("{text:?}"),
    })
}

fn of_starknet(key: &str, resolved: &Starknet) -> Option<String> {
    Some(match key {
        "chain-id" => format!("{:?}", resolved.chain.chain_id),
        "db-path" => format!("{:?}", resolved.data_dir.display().to_string()),
        "max-vms" => format!("\"{}\"", resolved.executions),
        "workers" => format!("\"{}\"", resolved.chain.workers),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config::raw::Sources;
    use crate::config::resolve::{Surroundings, resolve};

    #[test]
    fn the_output_read_back_means_the_same_and_names_origins() {
        let around = Surroundings { processors: 2, data_home: PathBuf::from("/d") };
        let flags = [("http-port".to_owned(), "1234".to_owned()), ("log-json".to_owned(), "true".to_owned())];
        let environment = [("JUNO_SEQ_BLOCK_TIME".to_owned(), "3".to_owned())];
        let sources =
            Sources { flags: &flags, environment: &environment, file: None, as_juno: false, ..Sources::default() };
        let (raw, _) = Raw::collect(&sources);
        let resolved = resolve(&raw, &around).unwrap();
        let text = show(&raw, &Resolved::Starknet(Box::new(resolved.clone())));
        for part in [
            "http-port = \"1234\"",
            "# flag",
            "# environment variable JUNO_SEQ_BLOCK_TIME",
            "# default",
            "# db-path = \"/d/sequenza/starknet/SN_SEPOLIA\"",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let file = Some((Path::new("back.toml"), text.as_str()));
        let (back, faults) =
            Raw::collect(&Sources { flags: &[], environment: &[], file, as_juno: false, ..Sources::default() });
        assert_eq!(faults, []);
        let again = Starknet { from_juno: resolved.from_juno, ..resolve(&back, &around).unwrap() };
        assert_eq!(again, resolved);
    }
}
