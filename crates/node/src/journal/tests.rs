use sequencer::{AgreementConfig, Backoff, Timetable};
use types::{Millis, Payload, Slot};

use super::*;
use crate::fake::genesis;

fn start() -> Start {
    let timetable = Timetable::gapless(genesis().timestamp, Millis::new(1000)).expect("a second is a slot");
    let config = Config {
        timetable,
        agreement: AgreementConfig::Solo,
        active: true,
        backoff: Backoff::default(),
        seal_lead_adapts: true,
        origins: None,
    };
    Start { config, heads: Heads::at(genesis()), memory: Memory::default() }
}

/// Writes a run of `blocks` blocks and returns how many steps it took.
fn write_run(folder: &Path, options: JournalOptions, blocks: u64) -> u64 {
    let start = start();
    let mut now = genesis().timestamp.after(Millis::new(5000));
    let mut journal = Journal::begin(folder, now, &start, options).expect("begins");
    let mut heart = start.sequencer();
    let mut events = vec![Event::Wake];
    let mut steps = 0;
    while heart.heads().unsafe_head().number.as_u64() < blocks {
        let event = events.pop().unwrap_or(Event::Wake);
        let mut effects = Effects::new();
        heart.step(now, event.clone(), &mut effects);
        journal.step(now, &event, &effects, &heart).expect("written");
        steps += 1;
        for effect in effects {
            events.splice(0..0, answer(effect, &heart));
        }
        if events.is_empty() {
            now = heart.deadline();
        }
    }
    steps
}

/// A backend of a few lines: everything succeeds at once.
fn answer(effect: Effect, heart: &Sequencer) -> Option<Event> {
    Some(match effect {
        Effect::Open { build, .. } => Event::Opened { build },
        Effect::Seal { build } => {
            let parent = heart.heads().unsafe_head();
            let number = parent.number.next();
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.as_u64().to_be_bytes());
            let hash = types::BlockHash::new(bytes);
            let timestamp = parent.timestamp.after(Millis::new(1000));
            let block = types::BlockRef { number, hash, parent: parent.hash, timestamp };
            let slot = Slot::new(number.as_u64() + 4);
            Event::Sealed { build, payload: Payload { slot, block, origin: None, body: bytes::Bytes::new() } }
        }
        Effect::Import(payload) => Event::Imported { block: payload.block.hash, verdict: types::Verdict::Valid },
        Effect::SetHeads(heads) => Event::HeadsSet { block: heads.unsafe_head().hash },
        _ => return None,
    })
}

fn only_file(folder: &Path) -> PathBuf {
    files(folder).expect("readable").pop().expect("there is one").path
}

#[test]
fn a_run_is_decided_again_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let steps = write_run(folder.path(), JournalOptions::default(), 20);
    let verdict = replay(folder.path()).expect("replays");
    assert_eq!((verdict.steps, verdict.outcome, verdict.torn), (steps, Outcome::Agreed, false));
    assert_eq!(replay(only_file(folder.path())).expect("replays").steps, steps);
}

#[test]
fn a_journal_that_was_tampered_with_disagrees_at_that_step() {
    let folder = tempfile::tempdir().expect("a folder");
    write_run(folder.path(), JournalOptions::default(), 20);
    let file = only_file(folder.path());
    let text = fs::read_to_string(&file).expect("readable");
    for (from, to) in
        [("\"Seal\":{\"build\":9}", "\"Seal\":{\"build\":8}"), ("\"Opened\":{\"build\":7}", "\"Opened\":{\"build\":6}")]
    {
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replacen(from, to, 1)).expect("written");
        let line = text.lines().position(|line| line.contains(from)).expect("there") as u64 + 1;
        match replay(&file).expect("replays").outcome {
            Outcome::Differed(difference) => {
                // A false answer may be dropped without a word; what did not follow from it shows at the next step.
                assert!((line..=line + 2).contains(&difference.line), "line {} for {line}", difference.line);
                assert_ne!(difference.recorded, difference.decided);
            }
            Outcome::Agreed => panic!("{from} was not noticed"),
        }
    }
    // A step left out, and one with a time that it did not have.
    let without: String =
        text.lines().enumerate().filter(|(n, _)| *n != 40).map(|(_, line)| format!("{line}\n")).collect();
    fs::write(&file, without).expect("written");
    assert!(matches!(replay(&file).expect("replays").outcome, Outcome::Differed(_)));
}

#[test]
fn a_last_line_that_was_cut_off_is_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let steps = write_run(folder.path(), JournalOptions::default(), 5);
    let file = only_file(folder.path());
    let bytes = fs::read(&file).expect("readable");
    for cut in [1, 2, 40] {
        fs::write(&file, &bytes[..bytes.len() - cut]).expect("written");
        let verdict = replay(&file).expect("replays");
        assert_eq!((verdict.steps, verdict.outcome, verdict.torn), (steps - 1, Outcome::Agreed, true));
    }
}

#[test]
fn a_line_that_is_none_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    write_run(folder.path(), JournalOptions::default(), 5);
    let file = only_file(folder.path());
    let text = fs::read_to_string(&file).expect("readable");
    fs::write(&file, text.replacen("\"step\"", "\"stop\"", 1)).expect("written");
    let error = replay(&file).expect_err("not a journal line");
    assert!(matches!(&error, ReplayError::BadLine { line: 2, .. }), "{error}");
}

#[test]
fn the_journal_stays_within_its_bounds_and_every_part_of_a_run_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = JournalOptions { file_bytes: 20_000, total_bytes: 1_000_000 };
    let steps = write_run(folder.path(), options, 60);
    let parts = files(folder.path()).expect("readable");
    assert!(parts.len() > 3, "{}", parts.len());
    assert_eq!(replay(folder.path()).expect("replays").steps, steps);
    assert!(replay(&parts[1].path).expect("replays").steps < steps);
    fs::remove_file(&parts[1].path).expect("removed");
    assert!(matches!(replay(folder.path()), Err(ReplayError::PartMissing { part: 1, .. })));

    let bounded = JournalOptions { file_bytes: 20_000, total_bytes: 60_000 };
    write_run(folder.path(), bounded, 100);
    let total: u64 =
        files(folder.path()).expect("readable").iter().map(|f| fs::metadata(&f.path).expect("there").len()).sum();
    assert!(total < 65_000, "{total}");
}

/// What was removed to save space is no reason not to decide the rest again.
#[test]
fn a_run_is_decided_again_from_the_oldest_part_that_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = JournalOptions { file_bytes: 20_000, total_bytes: 1_000_000 };
    let steps = write_run(folder.path(), options, 60);
    let parts = files(folder.path()).expect("readable");
    for part in &parts[..2] {
        fs::remove_file(&part.path).expect("removed");
    }
    let verdict = replay(folder.path()).expect("replays");
    assert_eq!((verdict.from, verdict.outcome), (2, Outcome::Agreed));
    assert!(verdict.steps > 0 && verdict.steps < steps, "{} of {steps}", verdict.steps);

    // A changed checkpoint leads elsewhere than recorded, and is noticed by the part before it.
    let third = &parts[3].path;
    let text = fs::read_to_string(third).expect("readable");
    let builds = text.split("\"builds\":").nth(1).and_then(|rest| rest.split(',').next()).expect("in the checkpoint");
    fs::write(third, text.replacen(&format!("\"builds\":{builds}"), "\"builds\":1", 1)).expect("written");
    let error = replay(folder.path()).expect_err("does not follow");
    assert!(
        matches!(&error, ReplayError::BadLine { line: 1, reason, .. } if reason.contains("do not lead")),
        "{error}"
    );
    fs::remove_file(&parts[2].path).expect("removed");
    assert!(matches!(replay(folder.path()).expect("replays").outcome, Outcome::Differed(_)));
}

#[test]
fn runs_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(matches!(replay(folder.path()), Err(ReplayError::NoJournal(_))));
    let first = write_run(folder.path(), JournalOptions::default(), 3);
    let second = write_run(folder.path(), JournalOptions::default(), 9);
    assert_eq!(replay(folder.path()).expect("replays").steps, second, "the newest");
    let oldest = files(folder.path()).expect("readable").remove(0).path;
    assert_eq!(replay(oldest).expect("replays").steps, first);
    assert!(matches!(replay(folder.path().join("none")), Err(ReplayError::Io { .. })));
}
