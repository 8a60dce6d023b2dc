//! Habits of Rust sources: names, purity, promises to do it later, length, slow tests, manifests.

use super::graph::{NAMES_OF_DRAWERS, PURE};
use super::{Breach, File};

/// Beyond this a file surely tells more than one story.
const LINES_MAX: usize = 1500;

/// Words that put work off. Split, so that this file does not break its own rule.
const LATER: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Types by which a clock is read.
const CLOCKS: [&str; 3] = ["Instant", "SystemTime", "UNIX_EPOCH"];

/// Parts of `std` by which the world outside is reached.
const WORLD: [&str; 5] = ["thread", "env", "fs", "net", "process"];

/// Rooms in which equal runs must be equal by construction, and so iterate in one order only.
const ORDERED: [&str; 2] = ["types", "sequencer"];

/// Every breach in one file of the repository.
pub(super) fn check(file: &File) -> Vec<Breach> {
    match file.path.rsplit('.').next() {
        Some("rs") => check_rust(file),
        Some("toml") => manifest(file).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn check_rust(file: &File) -> Vec<Breach> {
    let code = strip(&file.text);
    let mut breaches = Vec::new();
    breaches.extend(drawer(file, &code));
    breaches.extend(length(file));
    breaches.extend(later(file));
    breaches.extend(slow_tests(file, &code));
    if let Some(room) = PURE.into_iter().find(|room| file.path.starts_with(&format!("crates/{room}/src/"))) {
        breaches.extend(impure(file, &code, room));
    }
    breaches
}

fn breach(file: &File, line: usize, complaint: impl Into<String>) -> Breach {
    Breach::new(format!("{}:{}", file.path, line + 1), complaint)
}

/// Modules have names that tell something.
fn drawer(file: &File, code: &str) -> Vec<Breach> {
    let complaint = "a module must be named after what it knows, not after a drawer";
    let named = |part: &str| NAMES_OF_DRAWERS.contains(&part.trim_end_matches(".rs"));
    let mut breaches = Vec::new();
    if file.path.split('/').any(named) {
        breaches.push(Breach::new(&file.path, complaint));
    }
    for (number, line) in code.lines().enumerate() {
        let mut words = line.split(|c: char| !is_word(c)).filter(|word| !word.is_empty());
        if words.any(|word| word == "mod") && words.next().is_some_and(named) {
            breaches.push(breach(file, number, complaint));
        }
    }
    breaches
}

fn length(file: &File) -> Option<Breach> {
    let lines = file.text.lines().count();
    let complaint = || format!("{lines} lines; beyond {LINES_MAX} it tells more than one story");
    (lines > LINES_MAX).then(|| Breach::new(&file.path, complaint()))
}

/// Work is done, refused with an error, or written down in an issue; not put off in a comment.
fn later(file: &File) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        if let Some(word) = LATER.into_iter().find(|word| words(line).any(|found| found == *word)) {
            breaches.push(breach(file, number, format!("{word}: do it, refuse it with an error, or open an issue")));
        }
    }
    breaches
}

/// A test is slow by name exactly when it is left out by default, and it says why.
fn slow_tests(file: &File, code: &str) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut ignored = None;
    for (number, (line, raw)) in code.lines().zip(file.text.lines()).enumerate() {
        let line = line.trim_start();
        if line.starts_with("#[ignore") {
            ignored = Some(number);
            if !raw.contains("= \"") {
                breaches.push(breach(file, number, "say why the test is left out: #[ignore = \"…\"]"));
            }
        } else if let Some(name) = function_name(line) {
            match (ignored.take(), name.ends_with("_slow")) {
                (Some(_), false) => {
                    breaches.push(breach(
                        file,
                        number,
                        format!("{name} is left out by default; end its name in _slow"),
                    ));
                }
                (None, true) => {
                    breaches.push(breach(file, number, format!("{name} is slow; leave it out with #[ignore = \"…\"]")));
                }
                _ => {}
            }
        }
    }
    breaches
}

/// The name in a line that begins a function: `async fn lands_twice() {` gives `lands_twice`.
fn function_name(line: &str) -> Option<&str> {
    let mut rest = line;
    for modifier in ["pub(crate) ", "pub(super) ", "pub ", "async "] {
        rest = rest.strip_prefix(modifier).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ")?;
    name.split(|c: char| !is_word(c)).next()
}

/// A pure room reads no clock and touches no world; its tests may.
fn impure(file: &File, code: &str, room: &str) -> Vec<Breach> {
    if file.path.ends_with("/tests.rs") || file.path.contains("/tests/") {
        return Vec::new();
    }
    let program = code.split("#[cfg(test)]\nmod ").next().unwrap_or(code);
    let mut breaches = Vec::new();
    let mut inside_std_use = false;
    for (number, line) in program.lines().enumerate() {
        inside_std_use |= line.trim_start().trim_start_matches("pub ").starts_with("use std::");
        for found in words(line).filter(|word| CLOCKS.contains(word)) {
            breaches.push(breach(
                file,
                number,
                format!("{room} is pure and must not read a clock ({found}); take `now`"),
            ));
        }
        let reaches = |part: &str| {
            line.contains(&format!("std::{part}")) || inside_std_use && words(line).any(|word| word == part)
        };
        if let Some(part) = WORLD.into_iter().find(|part| reaches(part)) {
            breaches.push(breach(file, number, format!("{room} is pure and must not use std::{part}")));
        }
        if ORDERED.contains(&room) && words(line).any(|word| word == "HashMap" || word == "HashSet") {
            let complaint = format!("{room} must run equally twice; use BTreeMap or BTreeSet");
            breaches.push(breach(file, number, complaint));
        }
        inside_std_use &= !line.contains(';');
    }
    breaches
}

/// Every package takes over the lints, the licence and the version of the workspace.
fn manifest(file: &File) -> Option<Breach> {
    if !file.path.ends_with("/Cargo.toml") {
        return None;
    }
    let manifest: toml::Table = match file.text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return Some(Breach::new(&file.path, format!("not TOML: {error}"))),
    };
    let inherits = |table: Option<&toml::Value>| {
        table.and_then(|table| table.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
    };
    let package = manifest.get("package");
    let missing = if !inherits(manifest.get("lints")) {
        "[lints] workspace = true"
    } else if !inherits(package.and_then(|package| package.get("license"))) {
        "license.workspace = true"
    } else if package.and_then(|package| package.get("description")).is_none() {
        "a description"
    } else {
        return None;
    };
    Some(Breach::new(&file.path, format!("lacks {missing}")))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !is_word(c)).filter(|word| !word.is_empty())
}

/// The code without what comments and literals say: each of their characters becomes a blank, lines stay where they are.
fn strip(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let blank = blank_length(rest, code.chars().next_back());
        if blank == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..blank].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[blank..];
        }
    }
    code
}

/// How many bytes at the start of `rest` are one comment or one literal; 0 when it is code.
fn blank_length(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment_length(rest)
    } else if rest.starts_with('"') {
        quoted_length(rest, '"')
    } else if rest.starts_with('r') && !before.is_some_and(is_word) {
        raw_string_length(rest).unwrap_or(0)
    } else if rest.starts_with('\'') {
        character_length(rest)
    } else {
        0
    }
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// From an opening quote to its closing one, past what is escaped.
fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `r"…"` or `r#"…"#`; none when the `r` begins a word.
fn raw_string_length(rest: &str) -> Option<usize> {
    let fence = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
    let body = rest[1 + fence..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(fence));
    let opening = 2 + fence;
    Some(body.find(&close).map_or(rest.len(), |at| opening + at + close.len()))
}

/// A character literal; 0 for a lifetime.
fn character_length(rest: &str) -> usize {
    let mut inside = rest[1..].chars();
    match (inside.next(), inside.next()) {
        (Some('\\'), _) => quoted_length(rest, '\''),
        (Some(only), Some('\'')) => 2 + only.len_utf8(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{File, LATER, LINES_MAX, check, strip};

    fn breaches(path: &str, text: &str) -> Vec<String> {
        check(&File { path: path.to_owned(), text: text.to_owned() }).iter().map(ToString::to_string).collect()
    }

    fn assert_one(path: &str, text: &str, part: &str) {
        let found = breaches(path, text);
        assert!(matches!(found.as_slice(), [only] if only.contains(part)), "expected one with {part:?}: {found:?}");
    }

    fn assert_none(path: &str, text: &str) {
        assert_eq!(breaches(path, text), Vec::<String>::new());
    }

    #[test]
    fn a_drawer_is_a_breach() {
        assert_one("crates/rpc/src/utils.rs", "", "drawer");
        assert_one("crates/rpc/src/misc/http.rs", "", "drawer");
        assert_one("crates/rpc/src/lib.rs", "pub(crate) mod helpers;", "rpc/src/lib.rs:1: a module must");
        assert_none("crates/rpc/src/limits.rs", "mod commons; // mod util");
    }

    #[test]
    fn a_clock_in_a_pure_room_is_a_breach() {
        assert_one("crates/sequencer/src/build.rs", "let now = Instant::now();", "must not read a clock");
        assert_one("crates/types/src/lib.rs", "\nuse std::time::SystemTime;", "lib.rs:2: types is pure");
        assert_none("crates/node/src/driver.rs", "let now = Instant::now();");
    }

    #[test]
    fn reaching_the_world_from_a_pure_room_is_a_breach() {
        assert_one("crates/trie/src/lib.rs", "let dir = std::env::var(\"X\");", "std::env");
        assert_one("crates/mempool/src/lib.rs", "use std::{\n    fmt,\n    thread,\n};", "lib.rs:3: mempool");
        assert_none("crates/mempool/src/lib.rs", "use std::fmt;\nlet thread = 1; // std::thread\nlet s = \"std::fs\";");
    }

    #[test]
    fn tests_of_a_pure_room_may_reach_the_world() {
        assert_none("crates/trie/src/lib.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n");
        assert_none("crates/trie/src/tests.rs", "use std::fs;");
    }

    #[test]
    fn an_unordered_collection_in_the_heart_is_a_breach() {
        assert_one("crates/sequencer/src/lib.rs", "let seen: HashSet<u8>;", "BTreeSet");
    }

    #[test]
    fn putting_work_off_is_a_breach() {
        for word in LATER {
            assert_one("sim/src/lib.rs", &format!("// {word} later"), word);
        }
    }

    #[test]
    fn a_file_without_end_is_a_breach() {
        assert_one("bench/src/main.rs", &"\n".repeat(LINES_MAX + 1), "more than one story");
        assert_none("bench/src/main.rs", &"\n".repeat(LINES_MAX));
    }

    #[test]
    fn slow_and_left_out_go_together() {
        assert_one("sim/src/lib.rs", "#[test]\nfn a_million_seeds_slow() {}", "leave it out");
        assert_one("sim/src/lib.rs", "#[test]\n#[ignore = \"an hour\"]\nfn a_million_seeds() {}", "end its name");
        assert_one("sim/src/lib.rs", "#[ignore]\nasync fn a_million_seeds_slow() {}", "say why");
        assert_none("sim/src/lib.rs", "#[ignore = \"an hour\"]\nfn a_million_seeds_slow() {}");
    }

    #[test]
    fn a_manifest_takes_over_lints_and_licence() {
        let whole = "[package]\ndescription = \"x\"\nlicense.workspace = true\n[lints]\nworkspace = true\n";
        assert_none("crates/rpc/Cargo.toml", whole);
        assert_one("crates/rpc/Cargo.toml", &whole.replace("[lints]", "[other]"), "lacks [lints]");
        assert_one("crates/rpc/Cargo.toml", &whole.replace("license.workspace = true\n", ""), "lacks license");
        assert_one("crates/rpc/Cargo.toml", &whole.replace("description = \"x\"\n", ""), "lacks a description");
    }

    #[test]
    fn comments_and_literals_become_blank() {
        assert_eq!(strip("a /* b /* c */ d */ e"), "a                   e");
        assert_eq!(strip("f(\"a\\\"b\") // c\ng"), "f(      )     \ng");
        assert_eq!(strip("r#\"a\"b\"# x r\"y\""), "         x     ");
        assert_eq!(strip("&'a str, 'b', '\\'' var\"\""), "&'a str,    ,      var  ");
    }
}
