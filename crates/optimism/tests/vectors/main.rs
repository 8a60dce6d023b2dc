//! Published data of the OP Stack, each file against the rule that it judges.

mod engine;
mod l1;
mod registry;
mod upgrades;

use std::path::PathBuf;

use serde_json::Value;

/// The folder of the OP Stack's vectors; `None`, and said so, where it is absent.
fn vectors() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors");
    let folder =
        std::env::var_os("SEQUENZA_VECTORS").map_or_else(|| PathBuf::from(beside), PathBuf::from).join("opstack");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is not there (SEQUENZA_VECTORS names another place)", folder.display());
    None
}

/// The text of one file of the vectors.
fn text(path: &str) -> Option<String> {
    let path = vectors()?.join(path);
    Some(std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The same as JSON.
fn json(path: &str) -> Option<Value> {
    Some(serde_json::from_str(&text(path)?).expect("JSON"))
}

/// A text in JSON as what it stands for.
fn parsed<T: std::str::FromStr>(value: &Value) -> T {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is something else"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}
