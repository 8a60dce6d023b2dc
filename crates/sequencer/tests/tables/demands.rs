//! Blocks that are built when one is asked for.

use super::*;

fn demand(at: u64) -> Event {
    Event::Demand { date: Timestamp::from_millis(START + at) }
}

#[test]
fn each_demand_is_answered_by_one_block_in_its_turn() {
    let (a1, a2) = (block("A1", genesis(), 1), block("A2", block("A1", genesis(), 1), 2));
    let mut table = Table::on_demand();
    // No clock makes a block.
    table.wakes(0, &[]).wakes(60_000, &[]);
    table.hears(60_001, demand(61_000), &["open 1 for slot 1 on genesis"]);
    // What is asked for meanwhile waits.
    table.hears(60_002, demand(62_000), &[]);
    table.hears(60_003, opened(1), &["seal 1"]);
    let slots = |block: BlockRef, slot| Payload { slot: Slot::new(slot), ..payload(block) };
    let answer = |build, block, slot| Event::Sealed { build: BuildId::new(build), payload: slots(block, slot) };
    table.hears(60_004, answer(1, a1, 1), &["persist A1", "announce A1", "import A1"]);
    table.hears(60_005, imported(a1), &["set heads A1", "publish A1"]);
    assert_eq!(table.heart.served(), 0, "it is not the backend's head yet");
    table.hears(60_006, heads_set(a1), &["open 2 for slot 2 on A1"]);
    assert_eq!(table.heart.served(), 1);
    table.hears(60_007, opened(2), &["seal 2"]);
    table.hears(60_008, answer(2, a2, 2), &["persist A2", "announce A2", "import A2"]);
    table.hears(60_009, imported(a2), &["set heads A2", "publish A2"]).hears(60_010, heads_set(a2), &[]);
    assert_eq!(table.heart.served(), 2);
}

#[test]
fn a_demand_that_finds_nothing_is_answered_too() {
    let mut table = Table::on_demand();
    table.hears(0, demand(0), &["open 1 for slot 1 on genesis"]).hears(1, opened(1), &["seal 1"]);
    table.hears(2, Event::NothingToSeal { build: BuildId::new(1) }, &[]);
    assert_eq!(table.heart.served(), 1);
}

/// Dates rise by a second at least, whatever is asked for.
#[test]
fn dates_rise() {
    let date = |at| {
        let mut heart = Sequencer::new(Table::on_demand().config, Heads::at(block("A1", genesis(), 5)));
        let mut effects = Effects::new();
        heart.step(Timestamp::from_millis(START), demand(at), &mut effects);
        match effects.as_slice() {
            [Effect::Open { attributes, .. }] => attributes.timestamp.as_millis() - START,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((date(0), date(5_000), date(5_500), date(6_000), date(900_000)), (6_000, 6_000, 6_000, 6_000, 900_000));
}

#[test]
fn a_build_that_failed_is_tried_again_for_the_same_demand() {
    let mut table = Table::on_demand();
    table.hears(0, demand(0), &["open 1 for slot 1 on genesis"]);
    let failed = |failure| Event::OpenFailed { build: BuildId::new(1), failure };
    table.hears(1, failed(Failure::Retry), &[]).wakes(51, &["open 1 for slot 1 on genesis"]);
    // Told to stop, it keeps the demand for later.
    table.hears(52, opened(1), &["seal 1"]).hears(53, Event::Stop, &["cancel 1"]);
    table.hears(54, Event::Start, &["open 2 for slot 1 on genesis"]);
}

#[test]
fn demands_mean_nothing_where_slots_lead_and_are_bounded_where_they_count() {
    Table::solo().wakes(0, &["open 1 for slot 0 on genesis"]).hears(1, demand(5_000), &[]);
    let mut table = Table::on_demand();
    table.hears(0, demand(0), &["open 1 for slot 1 on genesis"]).hears(1, opened(1), &["seal 1"]);
    for _ in 0..2 * sequencer::DEMANDS_MAX {
        table.hears(2, demand(0), &[]);
    }
    let mut build = 1;
    let mut answered = 0;
    loop {
        let mut effects = Effects::new();
        let event = Event::NothingToSeal { build: BuildId::new(build) };
        table.heart.step(Timestamp::from_millis(START + 3), event, &mut effects);
        answered += 1;
        if effects.as_slice().is_empty() {
            break;
        }
        build += 1;
        table.hears(4, opened(build), &[&format!("seal {build}")]);
    }
    assert_eq!(answered, sequencer::DEMANDS_MAX);
}

/// The chain is the owner's: what was taken back in the backend is neither fetched nor imported again, nor is it a reason to stop.
#[test]
fn a_chain_that_was_taken_back_goes_on_from_there() {
    let (a1, a2) = (block("A1", genesis(), 1), block("A2", block("A1", genesis(), 1), 2));
    let (b1, b2) = (block("B1", genesis(), 3), block("B2", block("A1", genesis(), 1), 3));
    for (theirs, opens) in [
        (genesis(), "open 2 for slot 1 on genesis"),
        (a1, "open 2 for slot 2 on A1"),
        (b1, "open 2 for slot 2 on B1"),
        (b2, "open 2 for slot 3 on B2"),
    ] {
        let mut table = Table::on_demand();
        table.heart = Sequencer::new(table.config.clone(), Heads::at(a2));
        table.hears(0, demand(0), &["open 1 for slot 3 on A2"]);
        let failed = Event::OpenFailed { build: BuildId::new(1), failure: Failure::Reset };
        table.hears(1, failed, &["cancel 1", "ask heads"]).hears(2, heads_told(1, theirs), &[opens]);
        assert_eq!(table.heart.served(), 0, "the demand is still to be answered");
    }
}

/// A demand whose block was made, and then taken back before anyone heard of it, is not waited for for ever.
#[test]
fn a_block_that_was_taken_back_answered_its_demand() {
    let a1 = block("A1", genesis(), 1);
    let a2 = block("A2", a1, 2);
    let payload = Payload { slot: Slot::new(2), ..payload(a2) };
    let sealed = || Event::Sealed { build: BuildId::new(1), payload: payload.clone() };
    let lost = Event::ImportFailed { block: a2.hash, failure: Failure::Reset };
    let begin = || {
        let mut table = Table::on_demand();
        table.heart = Sequencer::new(table.config.clone(), Heads::at(a1));
        table.hears(0, demand(2_000), &["open 1 for slot 2 on A1"]).hears(1, opened(1), &["seal 1"]);
        table.hears(2, sealed(), &["persist A2", "announce A2", "import A2"]);
        table.hears(3, lost.clone(), &["ask heads"]);
        table
    };
    let mut table = begin();
    table.hears(4, heads_told(1, genesis()), &[]);
    assert_eq!(table.heart.served(), 1);
    // It still fits, so it is on its way.
    let mut table = begin();
    table.hears(4, heads_told(1, a1), &["announce A2", "import A2"]);
    assert_eq!(table.heart.served(), 0);
    table.hears(5, imported(a2), &["set heads A2", "publish A2"]);
    // It is the head, and only the answer was lost.
    table.hears(6, Event::SetHeadsFailed { block: a2.hash, failure: Failure::Reset }, &[]);
    table.wakes(500, &["ask heads"]);
    table.hears(501, heads_told(2, a2), &[]);
    assert_eq!(table.heart.served(), 1);
}
