//! When builds are opened and sealed.

use super::*;

#[test]
fn an_empty_build_gives_way_to_one_for_the_next_slot() {
    Table::solo()
        .wakes(0, &["open 1 for slot 0 on genesis"])
        .hears(5, opened(1), &[])
        .wakes(1_000, &["seal 1"])
        .hears(1_001, Event::NothingToSeal { build: BuildId::new(1) }, &["open 2 for slot 1 on genesis"])
        .hears(1_002, opened(2), &[])
        .sleeps_until(2_000);
}

#[test]
fn a_wake_up_too_many_is_harmless() {
    let mut table = Table::solo();
    table.wakes(0, &["open 1 for slot 0 on genesis"]).hears(5, opened(1), &[]);
    for at in 6..999 {
        table.wakes(at, &[]);
    }
    table.sleeps_until(1_000);
}

#[test]
fn before_the_first_slot_there_is_nothing_to_do() {
    Table::solo().wakes(-5_000, &[]).wakes(-1_001, &[]).wakes(-1_000, &["open 1 for slot 0 on genesis"]);
}

#[test]
fn after_downtime_the_chain_goes_on_in_the_present() {
    let a1 = block("A1", genesis(), 0);
    Table::solo()
        .wakes(0, &["open 1 for slot 0 on genesis"])
        .hears(5, opened(1), &[])
        // An hour later the open build is closed, and the next one is for the present slot.
        .wakes(3_600_300, &["seal 1"])
        .hears(3_600_310, sealed(1, a1), &["persist A1", "announce A1", "import A1"])
        .hears(3_600_320, imported(a1), &["set heads A1", "publish A1"])
        .hears(3_600_321, heads_set(a1), &["open 2 for slot 3600 on A1"]);
}

#[test]
fn a_late_block_skips_the_slots_that_it_took() {
    let a1 = block("A1", genesis(), 0);
    Table::solo()
        .wakes(0, &["open 1 for slot 0 on genesis"])
        .hears(5, opened(1), &[])
        .wakes(1_000, &["seal 1"])
        .hears(3_400, sealed(1, a1), &["persist A1", "announce A1", "import A1"])
        .hears(3_450, imported(a1), &["set heads A1", "publish A1"])
        .hears(3_451, heads_set(a1), &["open 2 for slot 3 on A1"]);
}

#[test]
fn a_clock_that_goes_back_leads_no_slot_twice() {
    let a1 = block("A1", genesis(), 5);
    Table::solo()
        .wakes(5_000, &["open 1 for slot 5 on genesis"])
        .hears(5_005, opened(1), &[])
        .wakes(6_000, &["seal 1"])
        .hears(6_001, sealed(1, a1), &["persist A1", "announce A1", "import A1"])
        .hears(6_002, imported(a1), &["set heads A1", "publish A1"])
        .hears(2_000, heads_set(a1), &[])
        .sleeps_until(5_000)
        .wakes(5_000, &["open 2 for slot 6 on A1"]);
}

#[test]
fn the_operator_stops_and_starts() {
    Table::solo()
        .wakes(0, &["open 1 for slot 0 on genesis"])
        .hears(10, Event::Stop, &["cancel 1"])
        .wakes(1_000, &[])
        .hears(1_500, Event::Start, &["open 2 for slot 1 on genesis"]);
}

#[test]
fn a_member_builds_in_its_own_slots_only() {
    Table::member(2)
        .wakes(0, &[])
        .wakes(1_000, &[])
        .wakes(2_000, &["open 1 for slot 2 on genesis"])
        .hears(2_010, opened(1), &[])
        .wakes(2_500, &["seal 1"])
        // Too late for its slot: given up.
        .wakes(3_000, &["cancel 1"]);
}
