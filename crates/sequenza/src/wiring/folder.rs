//! The data folder, and which exit code a fault in it has.

use std::path::Path;

use store::{DataDir, OpenErrorKind, Schema};

use crate::exit::{Exit, Failure};

/// Version of everything in the folder. Raise it when an older release could misread what this one writes.
const SCHEMA_VERSION: u32 = 1;

/// Folder of the chain in the data folder.
pub(super) const CHAIN: &str = "chain";

/// Whether there is a chain in the folder already.
pub(crate) fn holds_chain(data_dir: &Path) -> bool {
    data_dir.join(CHAIN).is_dir()
}

/// Locks the folder; makes it when it is not there. `identity` is the chain that it must belong to.
///
/// # Errors
/// With the exit code of the fault.
pub(super) fn open_folder(path: &Path, identity: &str) -> Result<DataDir, Failure> {
    let schema = Schema { version: SCHEMA_VERSION, version_min: SCHEMA_VERSION, identity: identity.to_owned() };
    DataDir::open(path, &schema).map_err(|error| Failure::new(exit_of_kind(error.kind()), error))
}

pub(super) fn exit_of_kind(kind: OpenErrorKind) -> Exit {
    match kind {
        OpenErrorKind::Locked => Exit::Temporary,
        OpenErrorKind::CannotCreate => Exit::CannotCreate,
        OpenErrorKind::DiskFull | OpenErrorKind::Io => Exit::Disk,
        OpenErrorKind::WrongSchema => Exit::Configuration,
        OpenErrorKind::Corrupt => Exit::BadData,
    }
}

/// The code of a fault that has come through as text, which is how tasks end. The words are those of `store`'s errors;
/// a test there or here fails when they part.
pub(super) fn exit_of(reason: &str) -> Exit {
    let reason = reason.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if has(&["no space left", "quota exceeded"]) {
        Exit::Disk
    } else if has(&["newer than this program", "another chain", "belongs to"]) {
        Exit::Configuration
    } else if has(&["damaged", "does not match", "cannot be opened"]) {
        Exit::BadData
    } else if has(&["write access"]) {
        Exit::CannotCreate
    } else if has(&["cannot read or write", "input/output error", "storage:"]) {
        Exit::Disk
    } else {
        Exit::RunTime
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use store::LogError;

    use super::*;

    #[test]
    fn a_fault_keeps_its_code_when_it_becomes_text() {
        let (segment, path) = (PathBuf::from("/d/0.log"), PathBuf::from("/d"));
        let io = |kind| io::Error::from(kind);
        let table = [
            LogError::Corrupt { segment: segment.clone(), offset: 1, reason: "checksum".to_owned() },
            LogError::NewerFormat { segment, found: 9, known: 1 },
            LogError::DiskFull { path: path.clone(), source: io(io::ErrorKind::StorageFull) },
            LogError::Unwritable { path: path.clone(), source: io(io::ErrorKind::PermissionDenied) },
            LogError::Io { path, source: io(io::ErrorKind::Other) },
        ];
        for error in table {
            let through = format!("stopped because driver failed: {error}");
            assert_eq!(exit_of(&through), exit_of_kind(error.kind()), "{through}");
        }
        assert_eq!(exit_of("stopped because rpc ended"), Exit::RunTime);
    }
}
