//! Documents and lock files: links lead somewhere, nothing names a private machine or registry.

use std::collections::BTreeMap;

use super::{Breach, File};

/// Folders that exist on one machine only. Split, so that this file does not break its own rule.
const PRIVATE_PLACES: [&str; 2] = [concat!("/ro", "ot/"), concat!("/wo", "rk/")];

/// The registries that everybody can reach.
const CRATES: &str = "registry+https://github.com/rust-lang/crates.io-index";
const NPM: &str = "https://registry.npmjs.org/";

/// Every breach in documents, lock files and other texts. `exists` tells whether a path (from the root) is there.
pub(super) fn check(files: &[File], exists: &dyn Fn(&str) -> bool) -> Vec<Breach> {
    let documents: BTreeMap<&str, &File> =
        files.iter().filter(|file| file.path.ends_with(".md")).map(|file| (file.path.as_str(), file)).collect();
    let mut breaches = Vec::new();
    for file in documents.values() {
        breaches.extend(links(file, &documents, exists));
    }
    for file in files {
        breaches.extend(private_places(file));
        breaches.extend(lock(file));
    }
    breaches
}

/// Relative links lead to a file that is there, and to a heading that is in it.
fn links(file: &File, documents: &BTreeMap<&str, &File>, exists: &dyn Fn(&str) -> bool) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (line, link) in written_links(&file.text) {
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        let target = resolve(&file.path, path);
        let place = format!("{}:{}", file.path, line + 1);
        if !path.is_empty() && !exists(&target) {
            breaches.push(Breach::new(place, format!("the link {link} leads nowhere")));
        } else if !anchor.is_empty() {
            let found = documents.get(target.as_str()).is_none_or(|document| has_heading(&document.text, anchor));
            if !found {
                breaches.push(Breach::new(place, format!("the link {link} names a heading that is not there")));
            }
        }
    }
    breaches
}

/// The targets of all `[text](target)` outside code, each with its line.
fn written_links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        // Every second piece between backticks is code.
        for piece in line.split('`').step_by(2) {
            let mut rest = piece;
            while let Some((_, after)) = rest.split_once("](") {
                let Some((target, tail)) = after.split_once(')') else { break };
                links.push((number, target));
                rest = tail;
            }
        }
    }
    // A link whose text is code, as in [`x`](y), was cut apart by the backticks: its target begins a piece.
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced {
            for piece in line.split("`](").skip(1) {
                links.extend(piece.split_once(')').map(|(target, _)| (number, target)));
            }
        }
    }
    links.sort_unstable();
    links.dedup();
    links
}

/// `path` as seen from the folder of `from`, with `..` worked out; an empty path is the document itself.
fn resolve(from: &str, path: &str) -> String {
    if path.is_empty() {
        return from.to_owned();
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn has_heading(text: &str, anchor: &str) -> bool {
    text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line.trim_start_matches('#').trim()) == anchor)
}

/// The name that a heading gets in a link: lower case, blanks become dashes, other signs go.
fn slug(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Nothing that is committed names a folder of one person's machine.
fn private_places(file: &File) -> Option<Breach> {
    let (number, line) = file.text.lines().enumerate().find(|(_, line)| names_private_place(line))?;
    let shown: String = line.trim().chars().take(80).collect();
    Some(Breach::new(format!("{}:{}", file.path, number + 1), format!("names a folder of one machine: {shown}")))
}

fn names_private_place(line: &str) -> bool {
    PRIVATE_PLACES.into_iter().any(|place| {
        // In the middle of a longer path or address it is something else.
        line.match_indices(place)
            .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-$}~".contains(c)))
    })
}

/// Lock files name public registries only, so that everybody can install what they pin.
fn lock(file: &File) -> Vec<Breach> {
    let (key, public) = match file.path.rsplit('/').next() {
        Some("Cargo.lock") => ("source = \"", CRATES),
        Some("package-lock.json") => ("\"resolved\": \"", NPM),
        _ => return Vec::new(),
    };
    let mut breaches = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        if let Some(source) = line.trim_start().strip_prefix(key).filter(|source| !source.starts_with(public)) {
            let complaint = format!("comes from elsewhere than {public}: {}", source.trim_end_matches(['"', ',']));
            breaches.push(Breach::new(format!("{}:{}", file.path, number + 1), complaint));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::{File, NPM, PRIVATE_PLACES, check};

    fn breaches(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> =
            files.iter().map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() }).collect();
        let exists =
            |path: &str| files.iter().any(|file| file.path == path || file.path.starts_with(&format!("{path}/")));
        check(&files, &exists).iter().map(ToString::to_string).collect()
    }

    fn assert_one(files: &[(&str, &str)], part: &str) {
        let found = breaches(files);
        assert!(matches!(found.as_slice(), [only] if only.contains(part)), "expected one with {part:?}: {found:?}");
    }

    #[test]
    fn a_dead_link_is_a_breach() {
        assert_one(&[("README.md", "\nsee [it](docs/gone.md)")], "README.md:2: the link docs/gone.md leads nowhere");
        assert_one(&[("README.md", "[`it`](gone.md)")], "leads nowhere");
        assert_one(&[("docs/a.md", "[up](../gone.md)")], "leads nowhere");
    }

    #[test]
    fn a_link_to_a_missing_heading_is_a_breach() {
        assert_one(&[("a.md", "[x](b.md#exit-codes)"), ("b.md", "# Flags")], "names a heading");
        assert_one(&[("a.md", "[x](#gone)")], "names a heading");
    }

    #[test]
    fn good_links_and_code_are_left_alone() {
        let text = "[a](b.md#exit-codes--more) [c](docs) [d](https://example.org/x) `[e](f)`\n```\n[g](h)\n```\n";
        assert_eq!(
            breaches(&[("a.md", text), ("b.md", "## Exit codes & more"), ("docs/x.md", "")]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_folder_of_one_machine_is_a_breach() {
        for place in PRIVATE_PLACES {
            assert_one(&[("docs/x.md", &format!("in {place}me"))], "names a folder of one machine");
        }
        assert_eq!(breaches(&[("a.rs", "https://example.org/work/x ./root/ $HOME/work/")]), Vec::<String>::new());
    }

    #[test]
    fn a_private_registry_in_a_lock_file_is_a_breach() {
        assert_one(&[("Cargo.lock", "source = \"registry+https://mirror.example/index\"")], "comes from elsewhere");
        assert_one(&[("t/package-lock.json", "  \"resolved\": \"https://mirror.example/x.tgz\",")], "elsewhere");
        let public = format!("  \"resolved\": \"{NPM}x.tgz\",");
        assert_eq!(breaches(&[("t/package-lock.json", &public)]), Vec::<String>::new());
    }
}
