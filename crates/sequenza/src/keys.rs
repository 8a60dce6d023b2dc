//! The key that signs blocks: made at the first start, kept in the data folder, for its owner's eyes only.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rand::TryRngCore;
use rand::rngs::OsRng;
use starknet_types_core::felt::Felt;

use crate::exit::{Exit, Failure};

const FOLDER: &str = "keys";
const FILE: &str = "block-signing";
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Random bytes of a key. 248 bits stay below the order of the STARK curve (a little over 2^251).
const KEY_BYTES: usize = 31;
/// A key file is one line; anything longer is no key file.
const FILE_BYTES_MAX: u64 = 128;

/// The block signing key of the data folder; makes one when there is none.
///
/// # Errors
/// When the file cannot be made or read, is open to others, or holds no key.
pub(crate) fn block_signing(data_dir: &Path) -> Result<Felt, Failure> {
    let folder = data_dir.join(FOLDER);
    let path = folder.join(FILE);
    match File::open(&path) {
        Ok(file) => read(&path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new()
                .recursive(true)
                .mode(FOLDER_MODE)
                .create(&folder)
                .map_err(|error| cannot("create", &folder, &error))?;
            make(&folder, &path)
        }
        Err(error) => Err(cannot("read", &path, &error)),
    }
}

fn read(path: &Path, file: File) -> Result<Felt, Failure> {
    let metadata = file.metadata().map_err(|error| cannot("read", path, &error))?;
    if metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o777;
        let advice = "it is a secret key: let only its owner read it (chmod 600)";
        return Err(Failure::new(Exit::Permission, format!("{} has mode {mode:o}; {advice}", path.display())));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|error| cannot("read", path, &error))?;
    let key = text.trim().strip_prefix("0x").filter(|digits| (1..=64).contains(&digits.len()));
    let key = key.and_then(|digits| Felt::from_hex(digits).ok()).filter(|key| *key != Felt::ZERO);
    key.ok_or_else(|| {
        let advice =
            "restore it from a backup, or remove it: a new key is made, and older signatures stay with the old one";
        Failure::new(Exit::BadData, format!("{} holds no STARK key; {advice}", path.display()))
    })
}

/// Writes a new key under another name first, so that a crash leaves no half key; a process that was quicker wins.
fn make(folder: &Path, path: &Path) -> Result<Felt, Failure> {
    let mut bytes = [0; 32];
    OsRng
        .try_fill_bytes(&mut bytes[32 - KEY_BYTES..])
        .map_err(|error| Failure::new(Exit::RunTime, format!("the system gives no randomness for a key: {error}")))?;
    let key = Felt::from_bytes_be(&bytes);
    let draft = folder.join(format!("{FILE}.{}", std::process::id()));
    let written = write_new(&draft, &key).and_then(|()| match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let _ = std::fs::remove_file(&draft);
    written.and_then(|()| File::open(folder)?.sync_all()).map_err(|error| cannot("create", path, &error))?;
    File::open(path).map_err(|error| cannot("read", path, &error)).and_then(|file| read(path, file))
}

fn write_new(path: &PathBuf, key: &Felt) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    writeln!(file, "{key:#x}")?;
    file.sync_all()
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> Failure {
    let exit = match (verb, error.kind()) {
        (_, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Exit::Disk,
        ("create", _) => Exit::CannotCreate,
        (_, io::ErrorKind::PermissionDenied) => Exit::Permission,
        _ => Exit::Disk,
    };
    let advice = "give this user access, or choose another folder with --db-path";
    Failure::new(exit, format!("cannot {verb} {}: {error}: {advice}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("deep").join("data");
        let key = block_signing(&data).unwrap();
        assert_ne!(key, Felt::ZERO);
        assert_eq!(block_signing(&data).unwrap(), key, "the same after a restart");
        let path = data.join(FOLDER).join(FILE);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(data.join(FOLDER).metadata().unwrap().mode() & 0o777, 0o700);
        assert_eq!(std::fs::read_dir(data.join(FOLDER)).unwrap().count(), 1, "no drafts are left");
        let other = tempfile::tempdir().unwrap();
        assert_ne!(block_signing(other.path()).unwrap(), key);

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(block_signing(&data).unwrap_err().exit, Exit::Permission);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "not a key").unwrap();
        assert_eq!(block_signing(&data).unwrap_err().exit, Exit::BadData);
    }

    #[test]
    fn a_file_in_the_way_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let failure = block_signing(&file).unwrap_err();
        assert!(matches!(failure.exit, Exit::CannotCreate | Exit::Disk), "{failure:?}");
    }
}
