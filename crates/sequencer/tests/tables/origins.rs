//! Which L1 block a build cites, and when none is opened for want of one. The rows are those of op-node's and kona-node's
//! origin selectors.

use sequencer::Role;
use sequencer::origin::OriginRules;
use types::{Drift, L1Block, L1Origin};

use super::*;

/// L1 block 100 is cited by genesis, and a second older than slot 0.
const CITED: u8 = 100;
const CITED_AT: u64 = START - 1_000;

fn rules() -> OriginRules {
    let drift = Millis::new(5_000);
    OriginRules {
        drift: Drift { bedrock: drift, fjord: drift, fjord_begins: None },
        sequencing_window: 50,
        recovers_before: Some(10),
        recovering: false,
        max_safe_lag: None,
    }
}

/// An L1 block of this height and so many milliseconds into slot 0, on the one below.
fn l1(number: u8, at: i64) -> L1Block {
    let timestamp = Timestamp::from_millis(START.saturating_add_signed(at));
    let origin = L1Origin { number: number.into(), hash: BlockHash::new([number; 32]), timestamp };
    L1Block { origin, parent: BlockHash::new([number - 1; 32]) }
}

fn cited() -> L1Block {
    L1Block { origin: L1Origin { timestamp: Timestamp::from_millis(CITED_AT), ..l1(CITED, 0).origin }, ..l1(CITED, 0) }
}

fn origin_told(count: u64, block: L1Block) -> Event {
    Event::OriginTold { query: query(count), origin: Some(block.origin) }
}

fn found(count: u64, block: L1Block) -> Event {
    Event::L1Found { query: query(count), block: Some(block) }
}

fn absent(count: u64) -> Event {
    Event::L1Found { query: query(count), block: None }
}

fn look_up_failed(count: u64, failure: Failure) -> Event {
    Event::LookUpFailed { query: query(count), failure }
}

fn moved(head: u64) -> Event {
    Event::L1Moved { head, reorganised: false }
}

fn reorganised(head: u64) -> Event {
    Event::L1Moved { head, reorganised: true }
}

fn sealed_citing(build: u64, block: BlockRef, origin: L1Block) -> Event {
    let payload = Payload { origin: Some(origin.origin), ..payload(block) };
    Event::Sealed { build: BuildId::new(build), payload }
}

fn citing(rules: OriginRules) -> Table {
    let mut table = Table::of(AgreementConfig::Solo, 0, 0);
    table.config.origins = Some(rules);
    table.heart = Sequencer::new(table.config.clone(), Heads::at(genesis()));
    table
}

/// Up to where only the next L1 block is not known: question 3 is out for it. Genesis is of the slot before the one of `at`.
fn but_for_next(rules: OriginRules, at: i64) -> Table {
    let mut table = citing(rules);
    let before = START.saturating_add_signed(at - at.rem_euclid(1_000) - 1_000);
    let head = BlockRef { timestamp: Timestamp::from_millis(before), ..genesis() };
    table.heart = Sequencer::new(table.config.clone(), Heads::at(head));
    table.wakes(at, &["ask origin of genesis"]).hears(at, origin_told(1, cited()), &["look up hash 100"]).hears(
        at,
        found(2, cited()),
        &["look up 101"],
    );
    table
}

#[test]
fn each_row_of_the_selector() {
    let table = [
        // L1's answer for the next block, the slot, what follows
        (Some(l1(101, 0)), 0, vec!["open 1 for slot 0 on genesis citing 101", "look up 102"]),
        (Some(l1(101, 1)), 0, vec!["open 1 for slot 0 on genesis citing 100"]),
        (None, 0, vec!["open 1 for slot 0 on genesis citing 100"]),
        // Up to the drift, and past it.
        (None, 4, vec!["open 1 for slot 4 on genesis citing 100"]),
        (Some(l1(101, 9_000)), 4, vec!["open 1 for slot 4 on genesis citing 100"]),
        (Some(l1(101, 9_000)), 5, vec!["open 1 for slot 5 on genesis citing 100, empty"]),
        (None, 5, vec![]),
        (Some(l1(101, 5_000)), 5, vec!["open 1 for slot 5 on genesis citing 101", "look up 102"]),
        // Advancing by one does not make up for all.
        (Some(l1(101, 5_000)), 11, vec!["open 1 for slot 11 on genesis citing 101, empty", "look up 102"]),
        // On another block than the one cited: L1 has reorganised.
        (Some(L1Block { parent: BlockHash::new([7; 32]), ..l1(101, 0) }), 0, vec!["ask heads"]),
        (Some(L1Block { parent: BlockHash::new([7; 32]), ..l1(101, 9_000) }), 0, vec!["ask heads"]),
    ];
    for (next, slot, expected) in table {
        let at = slot * 1_000;
        but_for_next(rules(), at).hears(at, Event::L1Found { query: query(3), block: next }, &expected);
    }
}

#[test]
fn an_origin_that_l1_does_not_know_leads_to_a_reset() {
    let mut table = citing(rules());
    table
        .wakes(0, &["ask origin of genesis"])
        .hears(1, origin_told(1, cited()), &["look up hash 100"])
        .hears(2, absent(2), &["ask heads"])
        // The backend stands where it stood: all is looked up anew, and with growing patience for as long as nothing changes.
        .hears(3, heads_told(3, genesis()), &["ask origin of genesis"])
        .hears(4, origin_told(4, cited()), &["look up hash 100"])
        .hears(5, absent(5), &[])
        .sleeps_until(55);
    table
        .wakes(55, &["ask heads"])
        .hears(56, heads_told(6, genesis()), &["ask origin of genesis"])
        .hears(57, origin_told(7, cited()), &["look up hash 100"])
        .hears(58, found(8, cited()), &["look up 101"])
        .hears(59, absent(9), &["open 1 for slot 0 on genesis citing 100"]);
}

#[test]
fn l1_that_does_not_answer_is_asked_with_patience_and_holds_up_nothing_within_the_drift() {
    let mut table = but_for_next(rules(), 0);
    table.wakes(100, &[]).sleeps_until(250);
    table
        // A quarter of the slot is waited for the answer, no more.
        .wakes(250, &["open 1 for slot 0 on genesis citing 100"])
        .hears(300, look_up_failed(3, Failure::Retry), &[])
        .sleeps_until(350);
    table.wakes(350, &["look up 101"]).hears(360, look_up_failed(3, Failure::Retry), &[]).sleeps_until(460);
    // A failure is no reason to wait.
    but_for_next(rules(), 0).hears(10, look_up_failed(3, Failure::Retry), &["open 1 for slot 0 on genesis citing 100"]);
    // The origin itself has to be known.
    citing(rules())
        .wakes(0, &["ask origin of genesis"])
        .hears(1, Event::AskFailed { query: query(1), failure: Failure::Retry }, &[])
        .wakes(51, &["ask origin of genesis"])
        .hears(52, Event::OriginTold { query: query(1), origin: None }, &[])
        .wakes(152, &["ask origin of genesis"])
        .hears(153, origin_told(1, cited()), &["look up hash 100"])
        .hears(154, look_up_failed(2, Failure::Retry), &[])
        .wakes(900, &["look up hash 100"]);
}

#[test]
fn an_answer_about_another_block_is_none() {
    but_for_next(rules(), 0)
        .hears(1, found(3, l1(102, 0)), &["open 1 for slot 0 on genesis citing 100"])
        .wakes(51, &["look up 101"]);
    citing(rules())
        .wakes(0, &["ask origin of genesis"])
        .hears(1, origin_told(1, cited()), &["look up hash 100"])
        .hears(2, found(2, l1(99, -2_000)), &[])
        .wakes(52, &["look up hash 100"]);
}

#[test]
fn past_the_drift_nothing_is_built_until_l1_goes_on() {
    let mut table = but_for_next(rules(), 5_000);
    assert_eq!(table.heart.awaits_l1(at(5_000)), None, "it is not known yet that it is not there");
    table.hears(5_000, absent(3), &[]).sleeps_until(5_050);
    assert_eq!(table.heart.awaits_l1(at(5_000)), Some(101));
    table
        .wakes(5_050, &["look up 101"])
        // In vain again: the next time it waits longer.
        .hears(5_060, absent(4), &[])
        .sleeps_until(5_160);
    table
        // A new L1 head is a reason to look at once.
        .hears(5_070, moved(101), &["look up 101"])
        .hears(5_080, found(6, l1(101, 5_000)), &["open 1 for slot 5 on genesis citing 101", "look up 102"]);
    assert_eq!(table.heart.awaits_l1(at(5_080)), None);
}

fn at(at: u64) -> Timestamp {
    Timestamp::from_millis(START + at)
}

#[test]
fn news_of_l1_that_overtake_an_answer_make_it_worthless() {
    but_for_next(rules(), 5_000)
        .hears(5_001, moved(101), &[])
        .hears(5_002, absent(3), &["look up 101"])
        .hears(5_003, found(4, l1(101, 5_000)), &["open 1 for slot 5 on genesis citing 101", "look up 102"])
        // The same news again are none.
        .hears(5_004, moved(101), &[])
        .hears(5_005, absent(5), &[])
        .hears(5_006, moved(101), &[])
        .hears(5_007, moved(102), &["look up 102"]);
}

#[test]
fn the_next_origin_is_known_before_its_block_is_due() {
    let (next, after) = (l1(101, 0), l1(102, 1_000));
    let a1 = block("A1", genesis(), 0);
    but_for_next(rules(), 0)
        .hears(5, found(3, next), &["open 1 for slot 0 on genesis citing 101", "look up 102"])
        .hears(6, opened(1), &[])
        .hears(7, found(4, after), &[])
        .wakes(1_000, &["seal 1"])
        .hears(1_004, sealed_citing(1, a1, next), &["persist A1", "announce A1", "import A1"])
        .hears(1_008, imported(a1), &["set heads A1", "publish A1"])
        .hears(1_009, heads_set(a1), &["open 2 for slot 1 on A1 citing 102", "look up 103"]);
}

#[test]
fn a_build_on_an_origin_that_l1_took_back_is_given_up() {
    let (next, other) = (l1(101, 0), L1Block { parent: cited().origin.hash, ..l1(201, 0) });
    let other = L1Block { origin: L1Origin { number: 101, ..other.origin }, ..other };
    but_for_next(rules(), 0)
        .hears(5, found(3, next), &["open 1 for slot 0 on genesis citing 101", "look up 102"])
        .hears(6, opened(1), &[])
        .hears(7, reorganised(101), &["look up hash 100"])
        .hears(8, found(5, cited()), &["look up 101"])
        .hears(9, found(6, other), &["cancel 1", "open 2 for slot 0 on genesis citing 101", "look up 102"]);
    // It is still there: nothing happens to the build.
    but_for_next(rules(), 0)
        .hears(5, found(3, next), &["open 1 for slot 0 on genesis citing 101", "look up 102"])
        .hears(6, reorganised(101), &["look up hash 100"])
        .hears(8, found(5, cited()), &["look up 101"])
        .hears(9, found(6, next), &["look up 102"]);
    // What the parent cites is gone: the build falls with it.
    but_for_next(rules(), 0)
        .hears(5, absent(3), &["open 1 for slot 0 on genesis citing 100"])
        .hears(6, reorganised(101), &["look up hash 100"])
        .hears(7, absent(4), &["cancel 1", "ask heads"]);
}

#[test]
fn a_chain_that_is_derived_anew_is_followed() {
    let (a1, b1) = (block("A1", genesis(), 0), block("B1", genesis(), 0));
    let to_a1 = || {
        let mut table = but_for_next(rules(), 0);
        table
            .hears(5, absent(3), &["open 1 for slot 0 on genesis citing 100"])
            .hears(6, opened(1), &[])
            .wakes(1_000, &["seal 1"])
            .hears(1_004, sealed_citing(1, a1, cited()), &["persist A1", "announce A1", "import A1"])
            .hears(1_008, imported(a1), &["set heads A1", "publish A1", "look up 101"])
            .hears(1_010, heads_set(a1), &[])
            .hears(1_011, absent(4), &["open 2 for slot 1 on A1 citing 100"]);
        table
    };
    // The block below is all that L1 leaves: it is built on, and nothing is fetched.
    to_a1()
        .hears(1_020, reorganised(101), &["look up hash 100"])
        .hears(1_021, absent(5), &["cancel 2", "ask heads"])
        .hears(1_022, heads_told(6, genesis()), &["ask origin of genesis"])
        // Its slot is built for again, since there must be a block for it.
        .hears(1_023, origin_told(7, cited()), &["look up hash 100"])
        .hears(1_024, found(8, cited()), &["look up 101"])
        .hears(1_025, absent(9), &["open 3 for slot 0 on genesis citing 100"]);
    // Another block at the same height is no fork where L1 decides.
    to_a1().hears(1_020, Event::Landed { safe: b1, finalized: genesis() }, &["cancel 2", "ask heads"]).hears(
        1_021,
        heads_told(5, b1),
        &["ask origin of B1"],
    );
    // Derivation may be the first to notice.
    to_a1()
        .hears(1_020, Event::OpenFailed { build: BuildId::new(2), failure: Failure::Reset }, &["cancel 2", "ask heads"])
        .hears(1_021, heads_told(5, genesis()), &["ask origin of genesis"]);
}

#[test]
fn news_of_what_landed_that_contradict_the_chain_lead_to_a_reset() {
    let (a1, b1) = (block("A1", genesis(), 0), block("B1", genesis(), 0));
    let rows = [
        // safe, finalized, what follows
        (b1, genesis(), vec!["cancel 1", "ask heads"]),
        (block("A2", a1, 1), a1, vec!["cancel 1", "ask heads"]),
        (BlockRef { hash: BlockHash::new([9; 32]), ..genesis() }, genesis(), vec!["cancel 1", "ask heads"]),
        (genesis(), genesis(), vec![]),
        (a1, genesis(), vec!["set heads A1"]),
    ];
    for (safe, finalized, expected) in rows {
        let mut table = citing(rules());
        table.heart = Sequencer::new(table.config.clone(), Heads::new(a1, genesis(), genesis()).expect("in order"));
        table
            .wakes(1_000, &["ask origin of A1"])
            .hears(1_001, origin_told(1, cited()), &["look up hash 100"])
            .hears(1_002, found(2, cited()), &["look up 101"])
            .hears(1_003, absent(3), &["open 1 for slot 1 on A1 citing 100"])
            .hears(1_004, Event::Landed { safe, finalized }, &expected);
    }
    // Where no L1 is cited such news are dropped.
    Table::solo().hears(0, Event::Landed { safe: b1, finalized: genesis() }, &["open 1 for slot 0 on genesis"]);
}

#[test]
fn what_is_final_stays_final() {
    let a1 = block("A1", genesis(), 0);
    let (a2, b2) = (block("A2", a1, 1), block("B2", a1, 1));
    let mut table = citing(rules());
    table.heart = Sequencer::new(table.config.clone(), Heads::new(a2, a1, a1).expect("in order"));
    table
        .wakes(2_000, &["ask origin of A2"])
        .hears(2_001, Event::Landed { safe: b2, finalized: a1 }, &["ask heads"])
        .hears(2_002, Event::HeadsTold { query: query(2), heads: heads(b2, b2, genesis()) }, &["ask origin of B2"]);
    assert_eq!(table.heart.heads(), heads(b2, b2, a1));
    // Below it, the backend has lost what it must have.
    table.hears(2_003, Event::Landed { safe: a2, finalized: a1 }, &[]).wakes(2_053, &["ask heads"]).hears(
        2_054,
        heads_told(4, genesis()),
        &["fetch 1 to 2"],
    );
}

fn heads(head: BlockRef, safe: BlockRef, finalized: BlockRef) -> Heads {
    Heads::new(head, safe, finalized).expect("in order")
}

#[test]
fn recovery_makes_what_derivation_makes() {
    let recovering = OriginRules { recovering: true, ..rules() };
    // Whether it could advance has to be known, however long that takes.
    but_for_next(recovering, 0).wakes(300, &[]).hears(
        900,
        found(3, l1(101, 0)),
        &["open 1 for slot 0 on genesis citing 101, empty", "look up 102"],
    );
    let rows = [
        (Some(l1(101, 1)), vec!["open 1 for slot 0 on genesis citing 100, empty"]),
        (None, vec!["open 1 for slot 0 on genesis citing 100, empty"]),
    ];
    for (next, expected) in rows {
        but_for_next(recovering, 0).hears(1, Event::L1Found { query: query(3), block: next }, &expected);
    }
}

#[test]
fn the_operator_switches_recovery_on_and_off() {
    but_for_next(rules(), 0)
        .hears(1, absent(3), &["open 1 for slot 0 on genesis citing 100"])
        .hears(2, opened(1), &[])
        .hears(3, Event::Recover(true), &["cancel 1", "open 2 for slot 0 on genesis citing 100, empty"])
        // An empty block is right either way.
        .hears(4, Event::Recover(false), &[])
        .hears(5, Event::Stop, &["cancel 2"])
        .hears(6, Event::Start, &["open 3 for slot 0 on genesis citing 100"]);
    Table::solo().hears(0, Event::Recover(true), &["open 1 for slot 0 on genesis"]);
}

#[test]
fn near_the_end_of_the_window_it_recovers_by_itself() {
    let never = OriginRules { recovers_before: None, ..rules() };
    let table = [
        // rules, L1's head, is the block empty?
        (rules(), 139, ""),
        (rules(), 140, ", empty"),
        (never, 1_000, ""),
    ];
    for (rules, head, empty) in table {
        let expected = format!("open 1 for slot 0 on genesis citing 100{empty}");
        let mut table = but_for_next(rules, 0);
        table.hears(1, moved(head), &[]).hears(2, absent(3), &["look up 101"]).hears(3, absent(4), &[&expected]);
    }
    // With transactions in it a build is given up as soon as the window closes.
    but_for_next(rules(), 0).hears(1, absent(3), &["open 1 for slot 0 on genesis citing 100"]).hears(
        2,
        moved(140),
        &["cancel 1", "look up 101"],
    );
}

#[test]
fn too_far_ahead_of_what_landed_nothing_is_built() {
    let a1 = block("A1", genesis(), 0);
    let a2 = block("A2", a1, 1);
    for (limit, builds) in [(Some(2), false), (Some(3), true), (Some(0), true), (None, true)] {
        let mut table = citing(OriginRules { max_safe_lag: limit, ..rules() });
        table.heart = Sequencer::new(table.config.clone(), heads(a2, genesis(), genesis()));
        let landed = Event::Landed { safe: a1, finalized: genesis() };
        if builds {
            table.wakes(2_000, &["ask origin of A2"]);
        } else {
            // It goes on as soon as more has landed.
            table.wakes(2_000, &[]).hears(2_100, landed, &["set heads A2"]).hears(
                2_101,
                heads_set(a2),
                &["ask origin of A2"],
            );
        }
    }
}

#[test]
fn who_does_not_lead_asks_nothing() {
    let mut table = citing(rules());
    table.config.active = false;
    table.heart = Sequencer::new(table.config.clone(), Heads::at(genesis()));
    table.wakes(0, &[]).hears(1, moved(105), &[]).hears(2, Event::Start, &["ask origin of genesis"]).hears(
        3,
        Event::AskFailed { query: query(1), failure: Failure::Reset },
        &["ask heads"],
    );
}

#[test]
fn a_block_on_demand_cites_too_and_does_not_wait_for_the_next() {
    let mut table = Table::of(AgreementConfig::OnDemand, 1_000, 0);
    table.config.origins = Some(rules());
    table.heart = Sequencer::new(table.config.clone(), Heads::at(genesis()));
    let date = Timestamp::from_millis(START + 2_000);
    table
        .wakes(0, &["ask origin of genesis"])
        .hears(1, origin_told(1, cited()), &["look up hash 100"])
        .hears(2, found(2, cited()), &["look up 101"])
        .hears(3, Event::Demand { date }, &["open 1 for slot 1 on genesis citing 100"]);
}

/// Genesis a second before slot 0, as in [`but_for_next`], and a table that stands there.
fn dated_genesis() -> (BlockRef, Table) {
    let head = BlockRef { timestamp: Timestamp::from_millis(CITED_AT), ..genesis() };
    (head, but_for_next(rules(), 0))
}

#[test]
fn missed_slots_get_their_blocks_one_after_the_other() {
    let (genesis, mut table) = dated_genesis();
    let a1 = block("A1", genesis, 0);
    let a2 = block("A2", a1, 1);
    table
        .hears(5, absent(3), &["open 1 for slot 0 on genesis citing 100"])
        .hears(6, opened(1), &[])
        // The process slept. Late blocks are sealed as soon as they are open, and wait for L1's answer before that.
        .wakes(3_100, &["seal 1"])
        .hears(3_110, sealed_citing(1, a1, cited()), &["persist A1", "announce A1", "import A1"])
        .hears(3_120, imported(a1), &["set heads A1", "publish A1", "look up 101"])
        .hears(3_130, heads_set(a1), &[])
        .hears(3_140, found(4, l1(101, 500)), &["open 2 for slot 1 on A1 citing 101", "look up 102"])
        .hears(3_150, opened(2), &["seal 2"])
        .hears(3_160, sealed_citing(2, a2, l1(101, 500)), &["persist A2", "announce A2", "import A2"])
        .hears(3_170, imported(a2), &["set heads A2", "publish A2", "look up 102"])
        .hears(3_180, heads_set(a2), &[])
        // L1 does not answer: that is no reason to wait.
        .hears(3_190, look_up_failed(6, Failure::Retry), &["open 3 for slot 2 on A2 citing 101"])
        .hears(3_195, opened(3), &["seal 3"]);
}

#[test]
fn a_build_that_is_given_up_leaves_no_gap() {
    // By the operator.
    let (_, mut table) = dated_genesis();
    table
        .hears(5, absent(3), &["open 1 for slot 0 on genesis citing 100"])
        .hears(6, opened(1), &[])
        .hears(7, Event::Stop, &["cancel 1"])
        .hears(5_000, Event::Start, &["open 2 for slot 0 on genesis citing 100"])
        .hears(5_001, opened(2), &["seal 2"]);
    // By a reset.
    let (genesis, mut table) = dated_genesis();
    table
        .hears(5, absent(3), &["open 1 for slot 0 on genesis citing 100"])
        .hears(2_000, Event::OpenFailed { build: BuildId::new(1), failure: Failure::Reset }, &["cancel 1", "ask heads"])
        .hears(2_001, heads_told(4, genesis), &["open 2 for slot 0 on genesis citing 100"]);
    // By a backend that seals nothing: it is asked again, with patience.
    let (_, mut table) = dated_genesis();
    table
        .hears(5, absent(3), &["open 1 for slot 0 on genesis citing 100"])
        .hears(6, opened(1), &[])
        .wakes(1_000, &["seal 1"])
        .hears(1_001, Event::NothingToSeal { build: BuildId::new(1) }, &[])
        .wakes(1_051, &["seal 1"]);
}

#[test]
fn while_a_sealed_block_is_on_its_way_its_slot_is_not_built_for_again() {
    let (genesis, mut table) = dated_genesis();
    let a1 = block("A1", genesis, 0);
    table
        .hears(5, absent(3), &["open 1 for slot 0 on genesis citing 100"])
        .hears(6, opened(1), &[])
        .wakes(1_000, &["seal 1"])
        .hears(1_004, sealed_citing(1, a1, cited()), &["persist A1", "announce A1", "import A1"])
        .hears(1_005, import_failed(a1, Failure::Reset), &["ask heads"])
        .hears(1_006, heads_told(4, genesis), &["announce A1", "import A1"])
        .wakes(2_500, &[]);
}

/// Guards against a leader that gets blocks again which L1 has taken back, because the conductor still holds them.
#[test]
fn what_l1_took_back_is_void_whatever_the_conductor_holds() {
    let (a1, b1) = (block("A1", genesis(), 0), block("B1", genesis(), 0));
    let mut table = Table::conductor();
    table.config.origins = Some(rules());
    table.heart = Sequencer::new(table.config.clone(), Heads::at(genesis()));
    table
        .wakes(0, &[])
        .hears(1, announced(a1, None), &["import A1"])
        .hears(2, imported(a1), &["set heads A1"])
        .hears(3, heads_set(a1), &[])
        .hears(4, Event::Leadership(Role::Leader), &["ask conductor"])
        .hears(5, conductor_told(1, a1), &["ask origin of A1"])
        .hears(6, announced(b1, None), &["ask heads"])
        .hears(7, heads_told(3, genesis()), &["ask conductor"])
        .hears(8, conductor_told(4, a1), &["ask origin of genesis"])
        // Elected anew, others may have led meanwhile: what they committed holds.
        .hears(9, Event::Leadership(Role::Leader), &["ask conductor"])
        .hears(10, conductor_told(6, a1), &["fetch 1 to 1"]);
}
