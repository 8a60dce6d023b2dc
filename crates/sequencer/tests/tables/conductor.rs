//! Elections, commits that are unclear, and gaps.

use sequencer::{Event, Role};

use super::*;

/// Elected, level with the conductor, and past the sealing of the first block.
fn leader_commits(table: &mut Table, a1: BlockRef) -> &mut Table {
    table
        .wakes(0, &[])
        .hears(1, Event::Leadership(Role::Leader), &["ask conductor"])
        .hears(2, conductor_told(1, genesis()), &["open 1 for slot 0 on genesis"])
        .hears(5, opened(1), &[])
        .wakes(1_000, &["seal 1"])
        .hears(1_004, sealed(1, a1), &["commit A1"])
}

#[test]
fn an_unclear_commit_is_neither_trusted_nor_given_up() {
    let a1 = block("A1", genesis(), 0);
    let mut table = Table::conductor();
    leader_commits(&mut table, a1)
        .hears(1_010, commit_failed(a1, Failure::Retry), &[])
        .sleeps_until(1_060)
        .wakes(1_060, &["commit A1"])
        .hears(1_070, commit_failed(a1, Failure::Retry), &[])
        .hears(1_080, committed(a1), &["announce A1", "import A1"]);
}

#[test]
fn a_refused_commit_is_looked_into() {
    let a1 = block("A1", genesis(), 0);
    let mut table = Table::conductor();
    leader_commits(&mut table, a1)
        .hears(1_010, commit_failed(a1, Failure::Reset), &["ask conductor"])
        .hears(1_011, conductor_told(2, genesis()), &[])
        .wakes(1_060, &["commit A1"]);
}

#[test]
fn an_unclear_commit_turns_out_to_have_been_good() {
    let a1 = block("A1", genesis(), 0);
    let mut table = Table::conductor();
    leader_commits(&mut table, a1)
        .hears(1_010, commit_failed(a1, Failure::Retry), &[])
        .hears(1_011, Event::Leadership(Role::Follower), &[])
        .wakes(1_500, &[])
        .hears(1_600, Event::Leadership(Role::Leader), &["ask conductor"])
        .hears(1_601, conductor_told(2, a1), &["announce A1", "import A1"]);
}

#[test]
fn a_payload_is_lost_when_another_takes_its_height() {
    let (a1, b1) = (block("A1", genesis(), 0), block("B1", genesis(), 1));
    let mut table = Table::conductor();
    leader_commits(&mut table, a1)
        .hears(1_010, commit_failed(a1, Failure::Retry), &[])
        .hears(1_011, Event::Leadership(Role::Follower), &[])
        .hears(2_000, announced(b1, None), &["import B1"])
        .hears(2_001, imported(b1), &["set heads B1", "cancel 1"])
        .hears(2_002, heads_set(b1), &[])
        .hears(2_003, committed(a1), &[]);
}

#[test]
fn nothing_is_sealed_after_leadership_is_lost() {
    Table::conductor()
        .wakes(0, &[])
        .hears(1, Event::Leadership(Role::Leader), &["ask conductor"])
        .hears(2, conductor_told(1, genesis()), &["open 1 for slot 0 on genesis"])
        .hears(5, opened(1), &[])
        .hears(900, Event::Leadership(Role::Follower), &["cancel 1"])
        .wakes(1_000, &[]);
}

#[test]
fn an_election_of_the_leader_may_hide_another() {
    Table::conductor()
        .wakes(0, &[])
        .hears(1, Event::Leadership(Role::Leader), &["ask conductor"])
        .hears(2, conductor_told(1, genesis()), &["open 1 for slot 0 on genesis"])
        .hears(5, opened(1), &[])
        .hears(900, Event::Leadership(Role::Leader), &["ask conductor", "cancel 1"])
        .hears(901, conductor_told(1, genesis()), &[])
        .hears(902, conductor_told(2, genesis()), &["open 2 for slot 0 on genesis"]);
}

#[test]
fn a_new_leader_fills_a_gap_of_any_size_first() {
    let mut chain = vec![genesis()];
    for number in 1..=40 {
        chain.push(block(&format!("A{number}"), chain[number - 1], number as u64));
    }
    let mut table = Table::conductor();
    table
        .wakes(50_000, &[])
        .hears(50_001, Event::Leadership(Role::Leader), &["ask conductor"])
        .hears(50_002, conductor_told(1, chain[40]), &["fetch 1 to 32"])
        .hears(50_003, fetched(1, 32, &chain[1..=32]), &["import A1"]);
    for number in 1..=40 {
        let (this, name) = (chain[number], format!("A{number}"));
        let (set, next) = (format!("set heads {name}"), format!("import A{}", number + 1));
        table.hears(50_004, imported(this), &[set.as_str()]);
        match number {
            // What is missing next is asked for while the last of the first part is imported.
            31 => table.hears(50_005, heads_set(this), &["import A32", "fetch 33 to 40"]).hears(
                50_006,
                fetched(33, 40, &chain[33..=40]),
                &[],
            ),
            40 => table.hears(50_005, heads_set(this), &["ask conductor"]).hears(
                50_006,
                conductor_told(2, this),
                &["open 1 for slot 50 on A40"],
            ),
            _ => table.hears(50_005, heads_set(this), &[next.as_str()]),
        };
    }
}

#[test]
fn two_chains_stop_the_heart() {
    let (a1, b1) = (block("A1", genesis(), 0), block("B1", genesis(), 0));
    Table::conductor()
        .wakes(0, &[])
        .hears(1, announced(a1, None), &["import A1"])
        .hears(2, imported(a1), &["set heads A1"])
        .hears(3, heads_set(a1), &[])
        .hears(4, Event::Leadership(Role::Leader), &["ask conductor"])
        .hears(5, conductor_told(1, b1), &["halt: Fork"]);
}

/// Guards against a block that is committed after whoever stopped the sequencer was told where the chain ends.
#[test]
fn one_that_is_stopped_commits_nothing_more() {
    let a1 = block("A1", genesis(), 0);
    let mut table = Table::conductor();
    leader_commits(&mut table, a1);
    assert!(!table.heart.is_settled(), "a commit is out");
    table.hears(1_005, Event::Stop, &[]);
    assert!(!table.heart.is_settled(), "a commit is out");
    table.hears(1_010, commit_failed(a1, Failure::Retry), &[]);
    assert!(table.heart.is_settled(), "unclear, and not repeated");
    table.wakes(1_060, &[]).wakes(60_000, &[]);
    // The same payload again, once it is started again.
    table.hears(60_001, Event::Start, &["commit A1"]).hears(60_002, committed(a1), &["announce A1", "import A1"]);
    assert!(!table.heart.is_settled(), "it is on its way to be the head");
}
