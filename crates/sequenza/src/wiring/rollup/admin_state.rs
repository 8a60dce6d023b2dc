//! Whether the operator last started or stopped the sequencer, over restarts (`--rpc.admin-state`).
//!
//! The file is op-node's: `{"sequencerStarted":true}` (op-node `node/config_persistence.go`). What it says goes before
//! `--sequencer.stopped`; where there is no file, nobody has said anything yet.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};

/// A file of a few words; what is longer by far is another file.
const FILE_BYTES_MAX: u64 = 4_096;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    #[serde(skip_serializing_if = "Option::is_none")]
    sequencer_started: Option<bool>,
}

/// The operator's last word; kept nowhere if no file is named.
#[derive(Debug)]
pub(super) struct AdminState(Option<PathBuf>);

impl AdminState {
    /// The file, and what it says.
    ///
    /// # Errors
    /// When it cannot be read, or says something else.
    pub(super) fn open(path: Option<PathBuf>) -> Result<(Self, Option<bool>), Failure> {
        let said = match &path {
            Some(path) => read(path).map_err(|(exit, reason)| {
                Failure::new(exit, format!("--rpc.admin-state={}: {reason}", path.display()))
            })?,
            None => None,
        };
        Ok((Self(path), said))
    }

    /// Keeps what the operator says now; durable when it returns. Waits for the disk.
    ///
    /// # Errors
    /// With the file and the system's answer.
    pub(super) fn keep(&self, started: bool) -> Result<(), String> {
        let Some(path) = &self.0 else { return Ok(()) };
        write(path, started).map_err(|error| format!("cannot keep it in {}: {error}", path.display()))
    }
}

fn read(path: &Path) -> Result<Option<bool>, (Exit, String)> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err((Exit::Permission, error.to_string())),
        Ok(_) => {}
    }
    let wrong = |error| {
        let wanted = r#"it takes {"sequencerStarted":true} or false; remove it to begin anew"#;
        (Exit::BadData, format!("{error}: {wanted}"))
    };
    serde_json::from_str::<Said>(&text).map(|said| said.sequencer_started).map_err(wrong)
}

/// Beside its place first, so that nobody ever reads half of it.
fn write(path: &Path, started: bool) -> io::Result<()> {
    let text = serde_json::to_string(&Said { sequencer_started: Some(started) })?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let (state, said) = AdminState::open(Some(path.clone())).unwrap();
        assert_eq!(said, None);
        for started in [false, true] {
            state.keep(started).unwrap();
            assert_eq!(AdminState::open(Some(path.clone())).unwrap().1, Some(started));
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"sequencerStarted":true}"#);
        fs::write(&path, "{}").unwrap();
        assert_eq!(AdminState::open(Some(path)).unwrap().1, None);
    }

    #[test]
    fn another_file_is_refused_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        for text in ["", "started", r#"{"sequencerStarted":1}"#] {
            fs::write(&path, text).unwrap();
            let failure = AdminState::open(Some(path.clone())).unwrap_err();
            assert_eq!(failure.exit, Exit::BadData);
            assert!(failure.message.contains("state.json") && failure.message.contains("remove it"), "{failure:?}");
        }
        let (nowhere, _) = AdminState::open(Some(folder.path().join("no/such/state.json"))).unwrap();
        assert!(nowhere.keep(true).unwrap_err().contains("no/such/state.json"));
    }
}
