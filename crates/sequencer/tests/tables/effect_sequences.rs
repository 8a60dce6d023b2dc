//! Each job is one sequence of effects.

use sequencer::{Event, Role};

use super::*;

#[test]
fn solo_leads() {
    let a1 = block("A1", genesis(), 0);
    Table::solo()
        .wakes(0, &["open 1 for slot 0 on genesis"])
        .hears(5, opened(1), &[])
        .wakes(1_000, &["seal 1"])
        .hears(1_004, sealed(1, a1), &["persist A1", "announce A1", "import A1"])
        .hears(1_009, imported(a1), &["set heads A1", "publish A1"])
        .hears(1_010, heads_set(a1), &["open 2 for slot 1 on A1"]);
}

#[test]
fn conductor_leads() {
    let a1 = block("A1", genesis(), 0);
    Table::conductor()
        .wakes(0, &[])
        .hears(1, Event::Leadership(Role::Leader), &["ask conductor"])
        .hears(2, conductor_told(1, genesis()), &["open 1 for slot 0 on genesis"])
        .hears(5, opened(1), &[])
        .wakes(1_000, &["seal 1"])
        .hears(1_004, sealed(1, a1), &["commit A1"])
        .hears(1_006, committed(a1), &["announce A1", "import A1"])
        .hears(1_009, imported(a1), &["set heads A1", "publish A1"])
        .hears(1_010, heads_set(a1), &["open 2 for slot 1 on A1"]);
}

#[test]
fn member_proposes() {
    let a1 = block("A1", genesis(), 0);
    Table::member(0)
        .wakes(0, &["open 1 for slot 0 on genesis"])
        .hears(5, opened(1), &[])
        .wakes(500, &["seal 1"])
        .hears(
            504,
            sealed(1, a1),
            &["persist vow endorse A1 in slot 0 with payload", "propose A1 in slot 0", "vow endorse A1 in slot 0"],
        )
        .hears(505, endorsed(0, 0, a1), &[])
        .hears(510, endorsed(1, 0, a1), &[])
        .hears(
            511,
            endorsed(2, 0, a1),
            &["persist vow attest A1 in slot 0 with lock", "vow attest A1 in slot 0 with lock"],
        )
        .hears(512, attested(0, 0, a1), &[])
        .hears(520, attested(1, 0, a1), &[])
        .hears(521, attested(2, 0, a1), &["persist certificate A1", "announce A1 with certificate", "import A1"])
        .hears(530, imported(a1), &["set heads A1", "publish A1"])
        .hears(531, heads_set(a1), &[]);
}

#[test]
fn member_attests() {
    let a1 = block("A1", genesis(), 0);
    Table::member(1)
        .wakes(0, &[])
        .hears(505, proposed(proposal(0, a1, None)), &["import A1"])
        .hears(510, imported(a1), &["persist vow endorse A1 in slot 0 with payload", "vow endorse A1 in slot 0"])
        .hears(511, endorsed(0, 0, a1), &[])
        .hears(512, endorsed(1, 0, a1), &[])
        .hears(
            513,
            endorsed(3, 0, a1),
            &["persist vow attest A1 in slot 0 with lock", "vow attest A1 in slot 0 with lock"],
        )
        .hears(514, attested(1, 0, a1), &[])
        .hears(515, attested(0, 0, a1), &[])
        .hears(516, attested(3, 0, a1), &["persist certificate A1", "set heads A1"])
        .hears(517, heads_set(a1), &[]);
}

#[test]
fn follower_of_one_follows() {
    let (a1, a2) = chain_of_two();
    for table in [Table::solo().following(), Table::conductor()] {
        let mut table = table;
        table
            .wakes(0, &[])
            .hears(10, announced(a1, None), &["import A1"])
            .hears(20, imported(a1), &["set heads A1"])
            .hears(21, announced(a2, None), &[])
            .hears(25, heads_set(a1), &["import A2"])
            .hears(30, imported(a2), &["set heads A2"]);
    }
}

#[test]
fn listener_of_a_committee_follows() {
    let (a1, a2) = chain_of_two();
    Table::committee(None)
        .wakes(0, &[])
        .hears(10, announced(a1, Some(certificate(0, a1))), &["persist certificate A1", "import A1"])
        .hears(20, imported(a1), &["set heads A1"])
        .hears(25, heads_set(a1), &[])
        .hears(1_010, announced(a2, Some(certificate(1, a2))), &["persist certificate A2", "import A2"])
        .hears(1_020, imported(a2), &["set heads A2"]);
}

fn chain_of_two() -> (BlockRef, BlockRef) {
    let a1 = block("A1", genesis(), 0);
    (a1, block("A2", a1, 1))
}
