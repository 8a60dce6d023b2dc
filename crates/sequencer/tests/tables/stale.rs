//! Answers to what is no longer asked change nothing.

use super::*;

#[test]
fn answers_about_other_builds_and_blocks_are_dropped() {
    let a1 = block("A1", genesis(), 0);
    let b1 = block("B1", genesis(), 0);
    let mut table = Table::solo();
    table.wakes(0, &["open 1 for slot 0 on genesis"]);
    let stale = [
        opened(7),
        sealed(1, b1),
        sealed(7, b1),
        Event::NothingToSeal { build: BuildId::new(1) },
        Event::SealFailed { build: BuildId::new(1), failure: Failure::Fatal },
        Event::OpenFailed { build: BuildId::new(7), failure: Failure::Fatal },
        imported(b1),
        import_failed(b1, Failure::Fatal),
        heads_set(b1),
        Event::SetHeadsFailed { block: b1.hash, failure: Failure::Fatal },
        committed(b1),
        commit_failed(b1, Failure::Fatal),
        heads_told(1, b1),
        conductor_told(1, b1),
        Event::AskFailed { query: query(1), failure: Failure::Fatal },
        fetched(1, 1, &[b1]),
    ];
    for event in stale {
        table.hears(3, event, &[]);
    }
    table
        .hears(5, opened(1), &[])
        .hears(6, opened(1), &[])
        .wakes(1_000, &["seal 1"])
        .hears(1_004, sealed(1, a1), &["persist A1", "announce A1", "import A1"])
        .hears(1_005, sealed(1, b1), &[])
        .hears(1_006, imported(b1), &[]);
}

#[test]
fn a_build_given_up_stays_given_up() {
    let a1 = block("A1", genesis(), 0);
    Table::solo()
        .wakes(0, &["open 1 for slot 0 on genesis"])
        .hears(1, opened(1), &[])
        .wakes(1_000, &["seal 1"])
        .hears(1_001, Event::Stop, &["cancel 1"])
        .hears(1_002, sealed(1, a1), &[]);
}
