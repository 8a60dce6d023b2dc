use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::writer::{self, Writer};
use super::*;
use crate::disk::faulty::{Fault, FaultyDisk};

const FOLDER: &str = "/log";

fn small() -> LogOptions {
    LogOptions { segment_bytes: 4096, record_bytes_max: 8192, ..LogOptions::default() }
}

type Rec = (u8, Vec<u8>);

fn read_all(shared: &Arc<Shared>) -> Result<Vec<Rec>, ReadError> {
    Shared::records(shared, Position::default())
        .map(|record| record.map(|record| (record.kind, record.payload.to_vec())))
        .collect()
}

fn open_sync(disk: &FaultyDisk) -> Result<(Arc<Shared>, Writer), LogError> {
    writer::open(Arc::new(disk.clone()), Path::new(FOLDER), small())
}

/// Runs the writer over what is queued, in this thread.
fn turn(shared: &Shared, writer: &mut Writer) {
    let items = std::mem::take(&mut shared.queue.lock().items);
    writer.perform(items);
}

/// A log under attack, with what it may be found to hold.
struct Attack {
    rng: StdRng,
    disk: FaultyDisk,
    shared: Arc<Shared>,
    writer: Writer,
    /// What must be found, in order; after a compaction that may or may not have taken effect, either of several.
    acknowledged: Vec<Vec<Rec>>,
    /// Every record that was ever given to the log.
    attempted: Vec<Rec>,
    counter: u32,
}

impl Attack {
    fn new(seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        let disk = FaultyDisk::new();
        let (shared, writer) = open_sync(&disk).expect("a new log opens on a sound disk");
        Self { rng, disk, shared, writer, acknowledged: vec![vec![]], attempted: vec![], counter: 0 }
    }

    fn arm(&mut self) {
        let now = self.disk.operations();
        if self.rng.random_ratio(9, 10) {
            self.disk.power_off_at(now + self.rng.random_range(0..80));
        }
        for _ in 0..self.rng.random_range(0..3) {
            let fault = [Fault::Eio, Fault::Enospc, Fault::Enospc, Fault::Short][self.rng.random_range(0..4)];
            self.disk.fail(now + self.rng.random_range(0..60), fault);
        }
    }

    fn record(&mut self) -> Rec {
        self.counter += 1;
        let len = match self.rng.random_range(0..10) {
            0 => 0,
            1 => self.rng.random_range(2000..6000),
            _ => self.rng.random_range(1..300),
        };
        let mut payload = self.counter.to_le_bytes().to_vec();
        payload.resize(4 + len, self.counter as u8);
        ((self.counter % 200) as u8, payload)
    }

    fn append_batch(&mut self) {
        let mut tickets = Vec::new();
        for _ in 0..self.rng.random_range(1..8) {
            let record = self.record();
            self.attempted.push(record.clone());
            tickets.push((self.shared.append(record.0, &record.1), record));
        }
        turn(&self.shared, &mut self.writer);
        for (ticket, record) in tickets {
            if ticket.answer().expect("a turn answers all").is_ok() {
                for list in &mut self.acknowledged {
                    list.push(record.clone());
                }
            }
        }
    }

    fn compact(&mut self) {
        let before = self.acknowledged[0].clone();
        let live: Vec<Rec> = before.iter().filter(|_| self.rng.random_ratio(1, 3)).cloned().collect();
        let mark = self.shared.mark();
        turn(&self.shared, &mut self.writer);
        self.append_batch();
        let since = self.acknowledged[0][before.len()..].to_vec();
        let compacted: Vec<Rec> = live.iter().cloned().chain(since).collect();
        let answer = Arc::new(CompactCell::default());
        self.shared.queue.lock().items.push(Item::Compact(Compacting {
            mark: Arc::clone(&mark.0),
            live: Box::new(live.into_iter().map(|(kind, payload)| (kind, Bytes::from(payload)))),
            answer: Arc::clone(&answer),
        }));
        turn(&self.shared, &mut self.writer);
        let result = answer.result.lock().take().expect("a turn answers all");
        match result {
            Ok(_) => self.acknowledged = vec![compacted],
            Err(_) => self.acknowledged.push(compacted),
        }
    }

    fn go(&mut self) {
        for _ in 0..self.rng.random_range(1..25) {
            match self.rng.random_range(0..12) {
                0 => self.writer.seal_for_test(),
                // Once it is unclear which log is on the disk, no further compaction makes it clearer.
                1 if self.acknowledged.len() == 1 => self.compact(),
                _ => self.append_batch(),
            }
        }
        if self.rng.random_ratio(1, 4) {
            self.writer.close();
        }
    }

    /// The list that is found, if it is one that may be.
    fn judge(&self, found: &[Rec]) -> Result<(), String> {
        let fits = |list: &Vec<Rec>| {
            found.len() >= list.len()
                && found[..list.len()] == list[..]
                && found[list.len()..].iter().all(|record| self.attempted.contains(record) && !list.contains(record))
        };
        if self.acknowledged.iter().any(fits) {
            return Ok(());
        }
        Err(format!(
            "found {:?}, acknowledged {:?}",
            found.iter().map(number).collect::<Vec<_>>(),
            self.acknowledged.iter().map(|list| list.iter().map(number).collect::<Vec<_>>()).collect::<Vec<_>>()
        ))
    }
}

fn number(record: &Rec) -> u32 {
    u32::from_le_bytes(record.1[..4].try_into().unwrap())
}

fn check_image(attack: &Attack, image: &FaultyDisk, what: &str) {
    let (shared, mut writer) = open_sync(image).unwrap_or_else(|error| panic!("{what}: not opened: {error}"));
    let mut found = read_all(&shared).unwrap_or_else(|error| panic!("{what}: not read: {error}"));
    attack.judge(&found).unwrap_or_else(|error| panic!("{what}: {error}"));

    // What was found once stays, and the log goes on: also after another power loss.
    let more = (7, b"after the crash".to_vec());
    let ticket = shared.append(more.0, &more.1);
    turn(&shared, &mut writer);
    ticket.wait().unwrap_or_else(|error| panic!("{what}: does not go on: {error}"));
    found.push(more);
    let again = image.after_power_loss(1, 512);
    let (shared, _) = open_sync(&again).unwrap_or_else(|error| panic!("{what}: not opened again: {error}"));
    assert_eq!(read_all(&shared).expect("readable"), found, "{what}: changed at the second opening");
}

/// Acknowledged records survive every crash image, in order; nothing is invented; the log goes on. Run one seed with
/// `SEQUENZA_SEED=<n>`.
#[test]
fn acknowledged_records_survive_every_crash_image() {
    let seeds = match std::env::var("SEQUENZA_SEED") {
        Ok(seed) => vec![seed.parse().expect("SEQUENZA_SEED is a number")],
        Err(_) => (0..1500).collect::<Vec<u64>>(),
    };
    let mut images = 0;
    for seed in seeds {
        let mut attack = Attack::new(seed);
        attack.arm();
        attack.go();
        for variant in 0..5 {
            let sector = if variant % 2 == 0 { 512 } else { 4096 };
            let image = attack.disk.after_power_loss(seed * 31 + variant, sector);
            check_image(&attack, &image, &format!("seed {seed}, power loss {variant}"));
            images += 1;
        }
        check_image(&attack, &attack.disk.after_kill(), &format!("seed {seed}, kill"));
        images += 1;
    }
    eprintln!("{images} crash images");
}

/// A log of several segments and batches, sealed at the end.
fn sealed_log(batches: usize) -> (FaultyDisk, Vec<Rec>) {
    let mut attack = Attack::new(42);
    for _ in 0..batches {
        attack.append_batch();
    }
    attack.writer.close();
    (attack.disk.after_kill(), attack.acknowledged[0].clone())
}

#[test]
fn every_flipped_byte_in_a_closed_log_is_found_or_harms_nothing() {
    let (disk, records) = sealed_log(10);
    let files = disk.files();
    assert!(files.len() > 2, "several segments");
    let last = files.last().expect("there are files").0.clone();
    let mut rng = StdRng::seed_from_u64(1);
    let (mut found, mut harmless) = (0, 0);
    for (path, len) in &files {
        for byte in 0..*len {
            let image = disk.after_kill();
            image.flip(path, byte, rng.random_range(0..8));
            match open_sync(&image) {
                Err(LogError::Corrupt { segment, .. }) => {
                    assert!(segment == *path || byte < 64, "names the damaged file");
                    found += 1;
                }
                Err(LogError::NewerFormat { .. }) => found += 1,
                Err(other) => panic!("byte {byte} of {path:?}: {other}"),
                Ok((shared, _)) => {
                    // Only the seal itself may be lost without a word: it holds nothing.
                    assert!(*path == last && byte >= len - 56, "byte {byte} of {path:?} not noticed");
                    assert_eq!(read_all(&shared).expect("readable"), records);
                    harmless += 1;
                }
            }
        }
    }
    assert_eq!(harmless, 56);
    assert!(found > 4000, "{found}");
}

#[test]
fn a_refused_log_is_left_as_it_was() {
    let (disk, _) = sealed_log(6);
    let (path, _) = disk.files()[0].clone();
    disk.flip(&path, 200, 3);
    let before = disk.operations();
    let error = open_sync(&disk).err().expect("refused");
    assert_eq!(disk.operations(), before, "nothing was written");
    assert_eq!(error.kind(), crate::OpenErrorKind::Corrupt);
    let text = error.to_string();
    assert!(text.contains("0000000000000000.log") && text.contains("offset") && text.contains("restore"), "{text}");
}

#[test]
fn damage_found_while_reading_names_segment_and_offset() {
    let (disk, _) = sealed_log(10);
    let (path, _) = disk.files()[0].clone();
    disk.flip(&path, 200, 3);
    let options = LogOptions { verify: Verify::LastSegment, ..small() };
    let (shared, _) = writer::open(Arc::new(disk), Path::new(FOLDER), options).expect("the last segment is sound");
    assert!(matches!(read_all(&shared), Err(ReadError::Corrupt { segment, .. }) if segment == path));
}

#[test]
fn missing_and_shortened_segments_are_found() {
    let (disk, _) = sealed_log(10);
    let files = disk.files();
    let without = |index: usize| {
        let image = disk.after_kill();
        image.remove(&files[index].0).expect("it is there");
        open_sync(&image).err()
    };
    assert!(matches!(without(0), Some(LogError::Corrupt { .. })));
    assert!(matches!(without(1), Some(LogError::Corrupt { .. })));
    let image = disk.after_kill();
    image.open(&files[0].0).expect("there").set_len(files[0].1 as u64 - 8).expect("cut");
    assert!(matches!(open_sync(&image).err(), Some(LogError::Corrupt { .. })));
}

#[test]
fn a_read_error_at_opening_is_not_taken_for_a_torn_tail() {
    let (disk, records) = sealed_log(10);
    for read in 1.. {
        let image = disk.after_kill();
        image.fail_read(read);
        let before = image.operations();
        match open_sync(&image) {
            Err(LogError::Io { .. }) => assert_eq!(image.operations(), before),
            Err(other) => panic!("{other}"),
            Ok((shared, _)) => {
                // Opening needs fewer reads than that.
                assert!(read > 3);
                drop(shared);
                break;
            }
        }
    }
    let (shared, _) = open_sync(&disk).expect("nothing was damaged");
    assert_eq!(read_all(&shared).expect("readable"), records);
}

#[test]
fn a_full_disk_loses_nothing_and_the_log_goes_on_when_there_is_space() {
    let disk = FaultyDisk::new();
    let (shared, mut writer) = open_sync(&disk).expect("opens");
    let mut acknowledged = Vec::new();
    disk.set_capacity(Some(10_000));
    for round in 0..100u32 {
        if round == 60 {
            assert_eq!(*shared.health.lock(), LogHealth::DiskFull);
            disk.set_capacity(None);
        }
        let record = (1, vec![round as u8; 400]);
        let ticket = shared.append(record.0, &record.1);
        turn(&shared, &mut writer);
        match ticket.wait() {
            Ok(_) => acknowledged.push(record),
            Err(error) => assert_eq!(error, AppendError::DiskFull),
        }
    }
    assert_eq!(*shared.health.lock(), LogHealth::Sound);
    assert!(acknowledged.len() > 40 && acknowledged.len() < 100);
    assert_eq!(read_all(&shared).expect("readable"), acknowledged);
    let (shared, _) = open_sync(&disk.after_power_loss(3, 512)).expect("opens");
    assert_eq!(read_all(&shared).expect("readable"), acknowledged);
}

#[test]
fn a_failed_sync_poisons_the_log_until_it_is_opened_again() {
    let disk = FaultyDisk::new();
    let (shared, mut writer) = open_sync(&disk).expect("opens");
    let first = shared.append(1, b"first");
    turn(&shared, &mut writer);
    first.wait().expect("durable");
    disk.fail(disk.operations() + 1, Fault::Eio);
    let second = shared.append(1, b"second");
    turn(&shared, &mut writer);
    assert!(matches!(second.wait(), Err(AppendError::Poisoned(_))));
    assert!(matches!(shared.append(1, b"third").wait(), Err(AppendError::Poisoned(_))));
    assert_eq!(read_all(&shared).expect("readable"), vec![(1, b"first".to_vec())], "unacknowledged is not shown");

    // The next process reads the pages that the failed sync left in memory, and makes them durable before it shows them.
    let killed = disk.after_kill();
    let (shared, _) = open_sync(&killed).expect("opens");
    let found = read_all(&shared).expect("readable");
    let (shared, _) = open_sync(&killed.after_power_loss(1, 512)).expect("opens");
    assert_eq!(read_all(&shared).expect("readable"), found);
}

fn on_disk(options: LogOptions) -> (tempfile::TempDir, Log) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = Log::open(folder.path().join("log"), options).expect("opens");
    (folder, log)
}

#[test]
fn concurrent_appends_are_all_there_each_at_its_position() {
    let (folder, log) = on_disk(LogOptions { segment_bytes: 64 << 10, ..LogOptions::default() });
    let log = Arc::new(log);
    let positions: Vec<(Position, Vec<u8>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8u8)
            .map(|thread| {
                let log = Arc::clone(&log);
                scope.spawn(move || {
                    (0..100u8)
                        .map(|count| {
                            let payload = [thread, count].repeat(usize::from(count) + 1);
                            (log.append(thread, &payload).wait().expect("durable"), payload)
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let check = |log: &Log| {
        for (position, payload) in &positions {
            assert_eq!(log.read(*position).expect("there").payload, payload[..]);
        }
        assert_eq!(log.records(log.start()).count(), 800);
        for thread in 0..8 {
            let counts = log.records(log.start()).map(|r| r.expect("sound")).filter(|r| r.kind == thread);
            assert!(counts.map(|r| r.payload[1]).eq(0..100), "the order of one caller is kept");
        }
    };
    check(&log);
    drop(log);
    check(&Log::open(folder.path().join("log"), LogOptions::default()).expect("opens"));
}

#[test]
fn a_ticket_can_be_awaited() {
    let (_folder, log) = on_disk(LogOptions::default());
    let waiting = log.append(3, b"awaited");
    let position = block_on(waiting).expect("durable");
    assert_eq!(log.read(position).expect("there").kind, 3);
    assert_eq!(block_on(log.append(0xf0, b"")), Err(AppendError::ReservedKind(0xf0)));
}

/// The least executor there is.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn limits_are_kept() {
    let options = LogOptions { record_bytes_max: 100, queue_bytes_max: 1000, ..small() };
    let (shared, mut writer) = writer::open(Arc::new(FaultyDisk::new()), Path::new(FOLDER), options).expect("opens");
    assert_eq!(shared.append(1, &[0; 101]).wait(), Err(AppendError::TooLarge { len: 101, limit: 100 }));
    let tickets: Vec<_> = (0..7).map(|_| shared.append(1, &[0; 100])).collect();
    assert!(tickets[..6].iter().all(|ticket| ticket.answer().is_none()));
    assert_eq!(tickets[6].answer(), Some(Err(AppendError::QueueFull { queued: 960, limit: 1000 })));
    turn(&shared, &mut writer);
    assert!(tickets[..6].iter().all(|ticket| matches!(ticket.answer(), Some(Ok(_)))));
    let again = shared.append(1, &[0; 100]);
    turn(&shared, &mut writer);
    assert!(again.wait().is_ok());
}

#[test]
fn an_idle_log_is_sealed_so_that_damage_to_its_last_record_is_found() {
    let options = LogOptions { seal_after: Duration::from_millis(1), ..LogOptions::default() };
    let disk = FaultyDisk::new();
    let log = Log::open_on(Arc::new(disk.clone()), FOLDER, options).expect("opens");
    log.append(1, b"the last record").wait().expect("durable");
    let len = 64 + 72 + 56;
    for _ in 0..2000 {
        if disk.files()[0].1 == len {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(disk.files()[0].1, len, "sealed");
    let killed = disk.after_kill();
    killed.flip(&disk.files()[0].0, 130, 0);
    assert!(matches!(open_sync(&killed).err(), Some(LogError::Corrupt { offset: 64, .. })));
}

#[test]
fn compaction_bounds_the_log_by_the_live_set() {
    let (folder, log) = on_disk(LogOptions { segment_bytes: 32 << 10, ..LogOptions::default() });
    let mut live: Vec<Bytes> = Vec::new();
    for round in 0..20u32 {
        let tickets: Vec<_> = (0..200u32)
            .map(|count| log.append(1, &[round.to_le_bytes(), count.to_le_bytes()].concat().repeat(10)))
            .collect();
        for ticket in tickets {
            ticket.wait().expect("durable");
        }
        live = log.records(log.start()).map(|r| r.expect("sound").payload).filter(|p| p[4] < 10).collect();
        let mark = log.mark();
        let late = log.append(2, b"after the mark");
        let set: Vec<_> = live.iter().map(|payload| (1, payload.clone())).collect();
        let compaction = log.compact(&mark, set).expect("compacts");
        late.wait().expect("durable");
        assert_eq!(compaction.records, live.len() as u64 + 1);
        assert_eq!(log.disk_bytes(), compaction.bytes_after);
        assert!(compaction.bytes_after < compaction.bytes_before);
        assert!(matches!(log.compact(&mark, []), Err(CompactError::StaleMark)));
        live.push(Bytes::from_static(b"after the mark"));
    }
    let payloads =
        |log: &Log| -> Vec<Bytes> { log.records(log.start()).map(|record| record.expect("sound").payload).collect() };
    let mut expected = payloads(&log);
    assert_eq!(expected.len(), live.len());
    log.append(1, b"goes on").wait().expect("durable");
    expected.push(Bytes::from_static(b"goes on"));
    drop(log);
    let log = Log::open(folder.path().join("log"), LogOptions::default()).expect("opens");
    assert_eq!(payloads(&log), expected);
    let files = std::fs::read_dir(folder.path().join("log")).expect("folder").count();
    assert_eq!(files, 1, "old segments are gone");
}

#[test]
fn waiting_callers_hear_that_the_log_is_closed() {
    let disk = FaultyDisk::new();
    let (shared, writer) = open_sync(&disk).expect("opens");
    let ticket = shared.append(1, b"never written");
    shared.queue.lock().items.clear();
    assert_eq!(ticket.wait(), Err(AppendError::Closed));
    drop(writer);
}
