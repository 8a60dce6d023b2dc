//! A disk in memory that fails on demand: it runs full, answers with errors, writes less than asked, flips bits, and loses power.
//!
//! It keeps apart what was written and what was synced. [`FaultyDisk::after_power_loss`] gives a disk as it may be found afterwards: of
//! what was not synced, each sector is there or not, independently of the others; names in a folder come back up to some operation.
//! That is harsher than most file systems are.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, DiskFile};

/// What goes wrong with one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An input/output error. A failed sync also loses what it should have saved, as Linux does.
    Eio,
    /// No space left, after half of the bytes of a write.
    Enospc,
    /// Only the first half is written; the call says so.
    Short,
}

/// A disk in memory, see the module. Clones are the same disk.
#[derive(Clone, Default)]
pub struct FaultyDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: Vec<Contents>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    pending_names: Vec<NameChange>,
    /// Operations that change something, so far.
    operations: u64,
    faults: BTreeMap<u64, Fault>,
    power_off_at: Option<u64>,
    capacity: Option<u64>,
    reads: u64,
    read_fault_at: Option<u64>,
}

#[derive(Clone, Default)]
struct Contents {
    current: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone)]
enum NameChange {
    Created(PathBuf, usize),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
}

impl fmt::Debug for FaultyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyDisk").field("operations", &self.operations()).finish_non_exhaustive()
    }
}

impl FaultyDisk {
    /// An empty disk on which nothing fails.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many operations have changed something (or tried to): writes, syncs, cuts, names.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Lets the operation with this count fail.
    pub fn fail(&self, operation: u64, fault: Fault) {
        self.0.lock().faults.insert(operation, fault);
    }

    /// Lets the read with this count, from now, fail.
    pub fn fail_read(&self, reads_from_now: u64) {
        let mut state = self.0.lock();
        state.read_fault_at = Some(state.reads + reads_from_now);
    }

    /// Cuts the power before the operation with this count; it and all later ones fail.
    pub fn power_off_at(&self, operation: u64) {
        self.0.lock().power_off_at = Some(operation);
    }

    /// Bounds the bytes of all files together; `None` lifts the bound.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity = bytes;
    }

    /// Files and their lengths.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        let state = self.0.lock();
        state.names.iter().map(|(path, file)| (path.clone(), state.files[*file].current.len())).collect()
    }

    /// Inverts one bit, as written and as synced. No effect beyond the end of the file.
    pub fn flip(&self, path: &Path, byte: usize, bit: u8) {
        let mut state = self.0.lock();
        let Some(file) = state.names.get(path).copied() else { return };
        let contents = &mut state.files[file];
        for bytes in [&mut contents.current, &mut contents.durable] {
            if let Some(byte) = bytes.get_mut(byte) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// The disk as the next process finds it after this one was killed: everything written is there to read, and what was not synced
    /// may yet be lost with the power. Nothing fails on it any more.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        let state = self.0.lock();
        Self(Arc::new(Mutex::new(State {
            files: state.files.clone(),
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            pending_names: state.pending_names.clone(),
            ..State::default()
        })))
    }

    /// The disk as it may be found after a power loss. `seed` chooses one of the possibilities; `sector` is 512 or 4096.
    #[must_use]
    pub fn after_power_loss(&self, seed: u64, sector: usize) -> Self {
        let mut dice = Dice(seed);
        let state = self.0.lock();
        let odds = dice.below(5) * 25;
        let files = state.files.iter().map(|file| file.torn(&mut dice, odds, sector)).collect();
        let mut names = state.durable_names.clone();
        let kept = dice.below(state.pending_names.len() as u64 + 1);
        for change in state.pending_names.iter().take(usize::try_from(kept).unwrap_or(0)) {
            change.apply(&mut names);
        }
        Self::of(files, names)
    }

    fn of(files: Vec<Vec<u8>>, names: BTreeMap<PathBuf, usize>) -> Self {
        let files = files
            .into_iter()
            .map(|bytes| Contents { current: bytes.clone(), durable: bytes, pending: Vec::new() })
            .collect();
        Self(Arc::new(Mutex::new(State { files, durable_names: names.clone(), names, ..State::default() })))
    }
}

impl Contents {
    fn torn(&self, dice: &mut Dice, odds: u64, sector: usize) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for change in &self.pending {
            match change {
                Change::Length(len) if dice.below(100) < odds => bytes.resize(*len, 0),
                Change::Length(_) => {}
                Change::Write { offset, bytes: written } => {
                    let mut at = 0;
                    while at < written.len() {
                        let to_boundary = sector - (offset + at) % sector;
                        let end = (at + to_boundary).min(written.len());
                        if dice.below(100) < odds {
                            put(&mut bytes, offset + at, &written[at..end]);
                        }
                        at = end;
                    }
                }
            }
        }
        bytes
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Created(path, file) => {
                names.insert(path.clone(), *file);
            }
            Self::Renamed(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Removed(path) => {
                names.remove(path);
            }
        }
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    if bytes.len() < offset + new.len() {
        bytes.resize(offset + new.len(), 0);
    }
    bytes[offset..offset + new.len()].copy_from_slice(new);
}

impl State {
    /// Counts an operation and says what goes wrong with it.
    fn begin(&mut self) -> io::Result<Option<Fault>> {
        let operation = self.operations;
        self.operations += 1;
        if self.power_off_at.is_some_and(|at| operation >= at) {
            return Err(io::Error::other("the power is off"));
        }
        match self.faults.get(&operation) {
            Some(Fault::Eio) => Err(io::Error::from_raw_os_error(5)),
            fault => Ok(fault.copied()),
        }
    }

    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].current.len() as u64).sum()
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }
}

fn full() -> io::Error {
    io::Error::from_raw_os_error(28)
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for FaultyDisk {
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        let names = state.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(names.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = *self.0.lock().names.get(path).ok_or_else(missing)?;
        Ok(Arc::new(FaultyFile { disk: self.clone(), file }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        if state.begin()? == Some(Fault::Enospc) {
            return Err(full());
        }
        // An existing file of that name is emptied: as if a new one took its name.
        state.files.push(Contents::default());
        let file = state.files.len() - 1;
        state.change_names(NameChange::Created(path.to_owned(), file));
        Ok(Arc::new(FaultyFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.begin()? == Some(Fault::Enospc) {
            return Err(full());
        }
        if !state.names.contains_key(from) {
            return Err(missing());
        }
        state.change_names(NameChange::Renamed(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.begin()?;
        if !state.names.contains_key(path) {
            return Err(missing());
        }
        state.change_names(NameChange::Removed(path.to_owned()));
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.begin()?;
        state.durable_names = state.names.clone();
        state.pending_names.clear();
        Ok(())
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    file: usize,
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.0.lock();
        state.reads += 1;
        if state.read_fault_at == Some(state.reads) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let bytes = &state.files[self.file].current;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let len = buffer.len().min(bytes.len() - start);
        buffer[..len].copy_from_slice(&bytes[start..start + len]);
        Ok(len)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.0.lock();
        let fault = state.begin()?;
        let offset = usize::try_from(offset).map_err(|_| full())?;
        let grows = (offset + buffer.len()).saturating_sub(state.files[self.file].current.len()) as u64;
        let no_room = state.capacity.is_some_and(|capacity| state.used() + grows > capacity);
        let len = match fault {
            Some(Fault::Short) => buffer.len().div_ceil(2),
            Some(Fault::Enospc) => buffer.len() / 2,
            _ if no_room => buffer.len() / 2,
            _ => buffer.len(),
        };
        let contents = &mut state.files[self.file];
        put(&mut contents.current, offset, &buffer[..len]);
        contents.pending.push(Change::Write { offset, bytes: buffer[..len].to_vec() });
        if fault == Some(Fault::Enospc) || no_room { Err(full()) } else { Ok(len) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.begin()?;
        let len = usize::try_from(len).map_err(|_| full())?;
        let contents = &mut state.files[self.file];
        contents.current.resize(len, 0);
        contents.pending.push(Change::Length(len));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().files[self.file].current.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let outcome = state.begin();
        let contents = &mut state.files[self.file];
        match outcome {
            // Linux marks the pages clean although they are not on the disk: they read well and are never written again.
            Err(error) if error.raw_os_error() == Some(5) => {
                contents.pending.clear();
                Err(error)
            }
            Err(error) => Err(error),
            Ok(Some(Fault::Enospc)) => Err(full()),
            Ok(_) => {
                let changes = std::mem::take(&mut contents.pending);
                for change in changes {
                    match change {
                        Change::Length(len) => contents.durable.resize(len, 0),
                        Change::Write { offset, bytes } => put(&mut contents.durable, offset, &bytes),
                    }
                }
                Ok(())
            }
        }
    }
}

/// A small seeded generator (splitmix64), so that this module needs no other crate.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}
