//! The data folder, the key and the chain in it; and which exit code a fault of theirs has.

use std::path::Path;

use starknet::pool::PoolError;
use starknet::{Chain, ChainError};
use store::{DataDir, OpenErrorKind, Schema};

use super::chain_config;
use crate::config;
use crate::exit::{Exit, Failure};
use crate::keys;

/// Version of everything in the folder. Raise it when an older release could misread what this one writes.
const SCHEMA_VERSION: u32 = 1;

/// Folder of the chain in the data folder.
const CHAIN: &str = "chain";

/// A chain and the folder that it is in, which stays locked as long as this lives.
pub(crate) struct Opened {
    pub(crate) folder: DataDir,
    pub(crate) chain: Chain,
}

/// Whether there is a chain in the folder already.
pub(crate) fn holds_chain(data_dir: &Path) -> bool {
    data_dir.join(CHAIN).is_dir()
}

/// Locks the folder and opens the chain in it; makes both when they are not there. Waits for the disk.
///
/// # Errors
/// With the exit code of the fault.
pub(crate) fn open_chain(settings: &config::Starknet) -> Result<Opened, Failure> {
    let schema = Schema {
        version: SCHEMA_VERSION,
        version_min: SCHEMA_VERSION,
        identity: format!("starknet {}", settings.chain.chain_id),
    };
    let folder =
        DataDir::open(&settings.data_dir, &schema).map_err(|error| Failure::new(exit_of_kind(error.kind()), error))?;
    let key = keys::block_signing(folder.path())?;
    let chain = Chain::open(&folder.join(CHAIN), chain_config(&settings.chain, key)?).map_err(chain_failure)?;
    Ok(Opened { folder, chain })
}

pub(super) fn chain_failure(error: ChainError) -> Failure {
    let exit = match &error {
        ChainError::Genesis(_) => Exit::BadData,
        ChainError::Storage(reason) => exit_of(reason),
        ChainError::Execution(_) => Exit::Internal,
    };
    Failure::new(exit, error)
}

pub(super) fn pool_failure(error: PoolError) -> Failure {
    let exit = match &error {
        PoolError::Log(log) => exit_of_kind(log.kind()),
        PoolError::Record(_) => Exit::Configuration,
        PoolError::Chain(ChainError::Genesis(_)) => Exit::BadData,
        PoolError::Read(_) | PoolError::Chain(_) => exit_of(&error.to_string()),
    };
    Failure::new(exit, format!("the pool: {error}"))
}

fn exit_of_kind(kind: OpenErrorKind) -> Exit {
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
