//! The seam to the disk: what the log asks of a file system, so that tests can tear writes and cut the power.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

#[cfg(any(test, feature = "faulty"))]
pub mod faulty;

/// A file system as the log sees it.
///
/// A created, renamed or removed file is sure to stay so after a power loss only when its folder was synced.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Creates the folder and its parents, for their owner alone, unless they exist.
    ///
    /// # Errors
    /// As the system answers.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Names of the files in a folder, in any order.
    ///
    /// # Errors
    /// As the system answers.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Opens a file that exists for reading and writing.
    ///
    /// # Errors
    /// As the system answers.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates an empty file, or empties the one that exists.
    ///
    /// # Errors
    /// As the system answers.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name in the same folder, replacing what had it.
    ///
    /// # Errors
    /// As the system answers.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// As the system answers.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// As the system answers.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// An open file. Positions are given with each call, so that a reader and the writer can share it.
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Reads into `buffer` from `offset`; fewer bytes than asked, or none at the end of the file, are possible.
    ///
    /// # Errors
    /// As the system answers.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes from `buffer` at `offset`; fewer bytes than given are possible.
    ///
    /// # Errors
    /// As the system answers.
    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<usize>;
    /// Cuts or extends the file.
    ///
    /// # Errors
    /// As the system answers.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Length of the file in bytes.
    ///
    /// # Errors
    /// As the system answers.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file holds nothing.
    ///
    /// # Errors
    /// As the system answers.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Makes contents and length durable.
    ///
    /// # Errors
    /// As the system answers. What was written since the last success may then be lost whatever later calls say.
    fn sync(&self) -> io::Result<()>;
}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(&self.0, buffer, offset)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(&self.0, buffer, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Writes all of `buffer`, however little the file takes at a time.
pub(crate) fn write_all(file: &dyn DiskFile, mut buffer: &[u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.write_at(buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                buffer = &buffer[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills `buffer` as far as the file goes and returns how many bytes there were.
pub(crate) fn read_full(file: &dyn DiskFile, buffer: &mut [u8], mut offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset) {
            Ok(0) => break,
            Ok(read) => {
                filled += read;
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
