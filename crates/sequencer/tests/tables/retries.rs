//! What fails is done again, the same way; what fails for good stops the heart.

use super::*;

fn open_failed(failure: Failure) -> Event {
    Event::OpenFailed { build: BuildId::new(1), failure }
}

fn seal_failed(failure: Failure) -> Event {
    Event::SealFailed { build: BuildId::new(1), failure }
}

fn seal_reset(build: u64) -> Event {
    Event::SealFailed { build: BuildId::new(build), failure: Failure::Reset }
}

#[test]
fn opening_is_repeated_with_growing_patience() {
    let open = "open 1 for slot 0 on genesis";
    Table::solo()
        .wakes(0, &[open])
        .hears(5, open_failed(Failure::Retry), &[])
        .sleeps_until(55)
        .wakes(55, &[open])
        .hears(60, open_failed(Failure::Retry), &[])
        .sleeps_until(160)
        .wakes(160, &[open])
        .hears(161, open_failed(Failure::Retry), &[])
        .sleeps_until(361)
        // A late success of an earlier attempt is a success.
        .hears(200, opened(1), &[])
        .sleeps_until(1_000);
}

#[test]
fn a_failure_says_what_to_do() {
    Table::solo()
        .wakes(0, &["open 1 for slot 0 on genesis"])
        .hears(5, open_failed(Failure::Reset), &["cancel 1", "ask heads"])
        .hears(6, heads_told(1, genesis()), &["open 2 for slot 0 on genesis"]);
    let mut table = Table::solo();
    table.wakes(0, &["open 1 for slot 0 on genesis"]).hears(5, open_failed(Failure::Fatal), &["halt: Failed"]);
    assert_eq!(table.heart.deadline(), Timestamp::MAX);
    table.wakes(1_000, &[]);
}

#[test]
fn a_backend_that_refuses_everything_is_asked_with_growing_patience() {
    let failed = |build| Event::OpenFailed { build: BuildId::new(build), failure: Failure::Reset };
    Table::solo()
        .wakes(0, &["open 1 for slot 0 on genesis"])
        .hears(1, failed(1), &["cancel 1", "ask heads"])
        .hears(2, heads_told(1, genesis()), &["open 2 for slot 0 on genesis"])
        .hears(3, failed(2), &["cancel 2"])
        .sleeps_until(53)
        .wakes(53, &["ask heads"])
        .hears(54, heads_told(2, genesis()), &["open 3 for slot 0 on genesis"])
        .hears(55, failed(3), &["cancel 3"])
        .sleeps_until(155)
        .wakes(155, &["ask heads"])
        .hears(156, heads_told(3, genesis()), &["open 4 for slot 0 on genesis"])
        // A build that begins, and ends as badly, does not end the waiting.
        .hears(157, opened(4), &[])
        .wakes(1_000, &["seal 4"])
        .hears(1_001, seal_reset(4), &["cancel 4"])
        .sleeps_until(1_201)
        .wakes(1_201, &["ask heads"]);
}

/// Guards against an engine that begins every build and knows of none when it is to be sealed: asked about where it stands without pause, since
/// a late block is sealed as soon as it is open.
#[test]
fn a_backend_that_forgets_its_builds_is_asked_with_growing_patience_until_a_block_is_the_head() {
    let a1 = block("A1", genesis(), 3);
    Table::solo()
        .wakes(0, &["open 1 for slot 0 on genesis"])
        .hears(1, opened(1), &[])
        .wakes(1_000, &["seal 1"])
        .hears(1_001, seal_reset(1), &["cancel 1", "ask heads"])
        .hears(1_002, heads_told(1, genesis()), &["open 2 for slot 1 on genesis"])
        .hears(1_003, opened(2), &[])
        .wakes(2_000, &["seal 2"])
        .hears(2_001, seal_reset(2), &["cancel 2"])
        .sleeps_until(2_051)
        .wakes(2_051, &["ask heads"])
        .hears(2_052, heads_told(2, genesis()), &["open 3 for slot 2 on genesis"])
        .hears(2_053, opened(3), &[])
        .wakes(3_000, &["seal 3"])
        .hears(3_001, seal_reset(3), &["cancel 3"])
        .sleeps_until(3_101)
        .wakes(3_101, &["ask heads"])
        .hears(3_102, heads_told(3, genesis()), &["open 4 for slot 3 on genesis"])
        .hears(3_103, opened(4), &[])
        .wakes(4_000, &["seal 4"])
        .hears(4_001, sealed(4, a1), &["persist A1", "announce A1", "import A1"])
        .hears(4_002, imported(a1), &["set heads A1", "publish A1"])
        .hears(4_003, heads_set(a1), &["open 5 for slot 4 on A1"])
        .hears(4_004, opened(5), &[])
        .wakes(5_000, &["seal 5"])
        // A block has become the head: the first question comes at once again.
        .hears(5_001, seal_reset(5), &["cancel 5", "ask heads"]);
}

#[test]
fn sealing_is_repeated_and_at_last_given_up() {
    let mut table = Table::solo();
    table.wakes(0, &["open 1 for slot 0 on genesis"]).hears(5, opened(1), &[]).wakes(1_000, &["seal 1"]);
    let mut at = 1_000;
    for _ in 1..8 {
        table.hears(at + 1, seal_failed(Failure::Retry), &[]);
        at += 401;
        table.wakes(at, &["seal 1"]);
    }
    table.hears(at + 1, seal_failed(Failure::Retry), &["cancel 1", "open 2 for slot 3 on genesis"]);
}

#[test]
fn a_late_seal_is_not_lost() {
    let a1 = block("A1", genesis(), 0);
    Table::solo()
        .wakes(0, &["open 1 for slot 0 on genesis"])
        .hears(5, opened(1), &[])
        .wakes(1_000, &["seal 1"])
        .hears(1_010, seal_failed(Failure::Retry), &[])
        .hears(1_020, sealed(1, a1), &["persist A1", "announce A1", "import A1"]);
}

#[test]
fn an_import_is_repeated_with_the_same_payload() {
    let a1 = block("A1", genesis(), 0);
    let mut table = Table::solo();
    solo_imports(&mut table, a1)
        .hears(1_010, import_failed(a1, Failure::Retry), &[])
        .sleeps_until(1_060)
        .wakes(1_060, &["import A1"])
        .hears(1_070, imported(a1), &["set heads A1", "publish A1"]);
}

#[test]
fn an_import_survives_a_reset() {
    let a1 = block("A1", genesis(), 0);
    let mut table = Table::solo();
    solo_imports(&mut table, a1)
        .hears(1_010, import_failed(a1, Failure::Reset), &["ask heads"])
        .wakes(1_500, &[])
        .hears(1_501, heads_told(1, genesis()), &["announce A1", "import A1"]);
}

#[test]
fn a_backend_that_imported_before_it_failed_is_believed() {
    let a1 = block("A1", genesis(), 0);
    let mut table = Table::solo();
    solo_imports(&mut table, a1).hears(1_010, import_failed(a1, Failure::Reset), &["ask heads"]).hears(
        1_011,
        heads_told(1, a1),
        &["set heads A1", "publish A1"],
    );
}

#[test]
fn blocks_that_the_backend_lost_are_fetched() {
    let a1 = block("A1", genesis(), 0);
    let a2 = block("A2", a1, 1);
    let mut table = Table::solo();
    solo_imports(&mut table, a1)
        .hears(1_010, imported(a1), &["set heads A1", "publish A1"])
        .hears(1_011, heads_set(a1), &["open 2 for slot 1 on A1"])
        .hears(1_012, opened(2), &[])
        .wakes(2_000, &["seal 2"])
        .hears(2_001, sealed(2, a2), &["persist A2", "announce A2", "import A2"])
        .hears(2_002, Event::Imported { block: a2.hash, verdict: Verdict::ParentUnknown }, &["ask heads"])
        .hears(2_003, heads_told(1, genesis()), &["fetch 1 to 1"])
        .hears(2_004, fetched(1, 1, &[]), &[])
        .sleeps_until(2_054)
        .wakes(2_054, &["fetch 1 to 1"])
        .hears(2_055, fetched(1, 1, &[a1]), &["import A1"])
        .hears(2_056, imported(a1), &["set heads A1"])
        .hears(2_057, heads_set(a1), &["announce A2", "import A2"]);
}

#[test]
fn a_failed_import_does_not_hold_up_the_block_below_it() {
    let a1 = block("A1", genesis(), 0);
    let a2 = block("A2", a1, 1);
    let mut table = Table::solo();
    solo_imports(&mut table, a1)
        .hears(1_010, imported(a1), &["set heads A1", "publish A1"])
        .hears(1_011, heads_set(a1), &["open 2 for slot 1 on A1"])
        .hears(1_012, opened(2), &[])
        .wakes(2_000, &["seal 2"])
        .hears(2_001, sealed(2, a2), &["persist A2", "announce A2", "import A2"])
        .hears(2_002, import_failed(a2, Failure::Reset), &["ask heads"])
        .hears(2_003, heads_told(1, genesis()), &["fetch 1 to 1"])
        .hears(2_004, fetched(1, 1, &[a1]), &["import A1"]);
}

#[test]
fn a_head_that_could_not_be_set_is_at_hand() {
    let a1 = block("A1", genesis(), 0);
    let failed = |failure| Event::SetHeadsFailed { block: a1.hash, failure };
    let mut table = Table::solo();
    solo_imports(&mut table, a1)
        .hears(1_010, imported(a1), &["set heads A1", "publish A1"])
        .hears(1_011, failed(Failure::Retry), &[])
        .wakes(1_061, &["set heads A1"])
        .hears(1_062, failed(Failure::Reset), &["ask heads"])
        .hears(1_063, heads_told(1, genesis()), &["import A1"])
        .hears(1_064, imported(a1), &["set heads A1"]);
}

#[test]
fn a_question_is_repeated() {
    let failed = |failure| Event::AskFailed { query: query(1), failure };
    Table::solo()
        .wakes(0, &["open 1 for slot 0 on genesis"])
        .hears(5, open_failed(Failure::Reset), &["cancel 1", "ask heads"])
        .hears(6, failed(Failure::Retry), &[])
        .sleeps_until(56)
        .wakes(56, &["ask heads"])
        .hears(57, failed(Failure::Fatal), &["halt: Failed"]);
}

#[test]
fn a_payload_that_was_not_ordered_is_none() {
    let elsewhere = block("B2", block("B1", genesis(), 0), 0);
    Table::solo().wakes(0, &["open 1 for slot 0 on genesis"]).hears(5, opened(1), &[]).wakes(1_000, &["seal 1"]).hears(
        1_001,
        sealed(1, elsewhere),
        &["cancel 1", "ask heads"],
    );
}

#[test]
fn a_decided_block_that_is_refused_stops_the_heart() {
    let a1 = block("A1", genesis(), 0);
    let refused = Event::Imported { block: a1.hash, verdict: Verdict::Invalid };
    let mut table = Table::solo();
    solo_imports(&mut table, a1).hears(1_010, refused, &["halt: DecidedButInvalid"]);
}

/// Leads slot 0 up to the import.
fn solo_imports(table: &mut Table, a1: BlockRef) -> &mut Table {
    table.wakes(0, &["open 1 for slot 0 on genesis"]).hears(5, opened(1), &[]).wakes(1_000, &["seal 1"]).hears(
        1_004,
        sealed(1, a1),
        &["persist A1", "announce A1", "import A1"],
    )
}
