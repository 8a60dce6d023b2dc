//! `cargo xtask tidy`: what no compiler checks.
//!
//! Each rule is a function from what was read (the dependency graph, one source file, one document) to the breaches it
//! found, so that its test can plant one. Nothing here writes.

mod documents;
mod graph;
mod sources;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::steps::{Root, announce};

/// A rule that was broken: where, and what to do about it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Breach {
    place: String,
    complaint: String,
}

impl Breach {
    fn new(place: impl Into<String>, complaint: impl Into<String>) -> Breach {
        Breach { place: place.into(), complaint: complaint.into() }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.complaint)
    }
}

/// One text file of the repository.
pub(crate) struct File {
    /// Relative to the root, with `/` between the parts.
    path: String,
    text: String,
}

/// Checks every rule and lists every breach; an error when there is one.
pub(crate) fn tidy(root: &Root) -> anyhow::Result<()> {
    announce("tidy");
    let files = read_all(root.path())?;
    let mut breaches = graph::check(&graph::Graph::read(root)?);
    breaches.extend(files.iter().flat_map(sources::check));
    breaches.extend(documents::check(&files, &|path| root.path().join(path).exists()));
    breaches.sort();
    for breach in &breaches {
        eprintln!("{breach}");
    }
    match breaches.len() {
        0 => {
            eprintln!("    {} files in order", files.len());
            Ok(())
        }
        count => bail!("tidy: {count} broken"),
    }
}

/// Endings of the files that people write here.
const TEXT: [&str; 10] = ["rs", "toml", "lock", "md", "json", "mjs", "py", "sh", "yml", "snap"];

/// Folders that tools fill.
const NOT_OURS: [&str; 3] = ["target", "node_modules", ".git"];

/// Reads every text file below `root`, in order of path.
fn read_all(root: &Path) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !NOT_OURS.contains(&name) {
                    folders.push(path);
                }
            } else if is_text(&path) {
                let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                files.push(File { path: relative(root, &path), text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .with_context(|| format!("cannot list {}", folder.display()))
}

fn is_text(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    TEXT.contains(&ending) || path.ends_with(".ci/run")
}

fn relative(root: &Path, path: &Path) -> String {
    let parts = path.strip_prefix(root).unwrap_or(path).components();
    parts.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::read_all;

    /// Guards against checking nothing, or what npm and cargo wrote.
    #[test]
    fn reads_what_people_wrote_and_no_more() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("crates/a/src/lib.rs", "//! a"),
            (".ci/run", "#!/bin/sh"),
            ("README.md", "# R"),
            ("tests/clients/node_modules/x/README.md", "[gone](nowhere.md)"),
            ("target/debug/x.rs", "fn"),
            ("logo.png", "\u{1}"),
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let files = read_all(root.path()).unwrap();
        let paths: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, [".ci/run", "README.md", "crates/a/src/lib.rs"]);
    }
}
