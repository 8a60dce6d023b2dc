//! A chain that cites L1, behind a conductor: what L1 leaves, the conductor may hold still.

use sequencer::Role;

use super::origins::{absent, cited, citing, found, l1, origin_told, rules, sealed_citing};
use super::*;

/// Elected, level, and the first block's payload on its way to the conductor. It cites `origin`.
fn leader_commits(a1: BlockRef, origin: types::L1Block) -> Table {
    let mut table = citing(AgreementConfig::Conductor, rules());
    table
        .wakes(0, &[])
        .hears(1, Event::Leadership(Role::Leader), &["ask conductor"])
        .hears(2, conductor_told(1, genesis()), &["ask origin of genesis"])
        .hears(3, origin_told(2, cited()), &["look up hash 100"])
        .hears(4, found(3, cited()), &["look up 101"])
        .hears(
            5,
            Event::L1Found { query: query(4), block: Some(l1(101, 0)) },
            &["open 1 for slot 0 on genesis citing 101", "look up 102"],
        )
        .hears(6, absent(5), &[])
        .hears(7, opened(1), &[])
        .wakes(1_000, &["seal 1"])
        .hears(1_004, sealed_citing(1, a1, origin), &["commit A1"]);
    table
}

#[test]
fn an_unclear_commit_outlives_a_backend_that_loses_blocks() {
    let (a1, a2) = (block("A1", genesis(), 0), block("A2", block("A1", genesis(), 0), 1));
    let mut table = leader_commits(a1, l1(101, 0));
    table
        .hears(1_010, committed(a1), &["announce A1", "import A1"])
        .hears(1_020, imported(a1), &["set heads A1", "publish A1"])
        .hears(1_021, heads_set(a1), &["open 2 for slot 1 on A1 citing 101"])
        .hears(1_022, opened(2), &[])
        .wakes(2_000, &["seal 2"])
        .hears(2_004, sealed_citing(2, a2, l1(101, 0)), &["commit A2"])
        .hears(2_005, commit_failed(a2, Failure::Retry), &[])
        // The engine restarts without its newest block: that one is fetched, and the same payload committed again on it.
        .hears(2_006, Event::Landed { safe: a1, finalized: genesis() }, &["set heads A1"])
        .hears(2_006, Event::SetHeadsFailed { block: a1.hash, failure: Failure::Reset }, &["ask heads"])
        .hears(2_007, heads_told(6, genesis()), &["ask conductor"])
        .hears(2_008, conductor_told(7, a1), &["fetch 1 to 1"])
        .hears(2_009, fetched(1, 1, &[a1]), &["import A1"])
        .hears(2_010, imported(a1), &["set heads A1"])
        .hears(2_011, heads_set(a1), &["ask conductor"])
        .hears(2_012, conductor_told(8, a1), &[])
        .wakes(2_055, &["commit A2"])
        .hears(2_060, committed(a2), &["announce A2", "import A2"]);
}

#[test]
fn what_nobody_has_any_more_is_not_looked_for_for_ever() {
    let (b1, b2) = (block("B1", genesis(), 0), block("B2", block("B1", genesis(), 0), 1));
    let mut table = citing(AgreementConfig::Conductor, rules());
    table
        .wakes(0, &[])
        .hears(1, announced(b2, None), &["fetch 1 to 1"])
        .hears(2, fetched(1, 1, &[]), &[])
        .wakes(52, &["fetch 1 to 1"])
        .hears(53, fetched(1, 1, &[]), &[])
        .wakes(153, &["fetch 1 to 1"])
        .hears(154, fetched(1, 1, &[]), &[])
        .wakes(354, &["fetch 1 to 1"])
        // L1 left both before we heard of them. Whoever announces what is decided now is believed.
        .hears(355, fetched(1, 1, &[]), &[])
        .wakes(900, &[])
        .hears(1_000, announced(b1, None), &["import B1"]);
}

#[test]
fn another_block_at_the_height_of_the_head_is_l1s_affair() {
    let (a1, b1) = (block("A1", genesis(), 0), block("B1", genesis(), 1));
    let mut table = leader_commits(a1, l1(101, 0));
    table
        .hears(1_010, committed(a1), &["announce A1", "import A1"])
        .hears(1_020, imported(a1), &["set heads A1", "publish A1"])
        .hears(1_021, heads_set(a1), &["open 2 for slot 1 on A1 citing 101"])
        .hears(1_022, Event::Leadership(Role::Follower), &["cancel 2"])
        .hears(1_500, Event::Leadership(Role::Leader), &["ask conductor"])
        .hears(1_501, conductor_told(6, b1), &["ask heads"])
        .hears(1_502, heads_told(7, genesis()), &["ask conductor"])
        .hears(1_503, conductor_told(8, b1), &["fetch 1 to 1"]);
}

#[test]
fn what_l1_took_back_is_not_got_again_from_the_conductor() {
    let (a1, b1) = (block("A1", genesis(), 0), block("B1", genesis(), 0));
    let mut table = leader_commits(a1, l1(101, 0));
    table
        .hears(1_010, committed(a1), &["announce A1", "import A1"])
        .hears(1_020, imported(a1), &["set heads A1", "publish A1"])
        .hears(1_021, heads_set(a1), &["open 2 for slot 1 on A1 citing 101"])
        .hears(1_022, announced(b1, None), &["cancel 2", "ask heads"])
        .hears(1_023, heads_told(6, genesis()), &["ask conductor"])
        // Whoever answers for the conductor leaves out what L1 left.
        .hears(1_024, conductor_told(7, genesis()), &["ask origin of genesis"])
        // Elected anew, others may have led meanwhile: what they committed holds.
        .hears(1_025, Event::Leadership(Role::Leader), &["ask conductor"])
        .hears(1_026, conductor_told(9, b1), &["fetch 1 to 1"]);
}
