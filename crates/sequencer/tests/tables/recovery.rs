//! What a restart takes up again.

use super::*;

#[test]
fn a_solo_block_that_was_durable_is_not_lost() {
    let a1 = block("A1", genesis(), 0);
    Table::solo()
        .wakes(0, &["open 1 for slot 0 on genesis"])
        .hears(5, opened(1), &[])
        .wakes(1_000, &["seal 1"])
        .hears(1_004, sealed(1, a1), &["persist A1", "announce A1", "import A1"])
        .restarts_at(genesis())
        .wakes(1_500, &["announce A1", "import A1"])
        .hears(1_501, imported(a1), &["set heads A1", "publish A1"])
        .restarts_at(a1)
        .wakes(1_600, &["open 1 for slot 1 on A1"]);
}

#[test]
fn a_vow_binds_across_restarts() {
    let (a1, b1) = (block("A1", genesis(), 0), block("B1", genesis(), 0));
    Table::member(1)
        .wakes(0, &[])
        .hears(505, proposed(proposal(0, a1, None)), &["import A1"])
        .hears(510, imported(a1), &["persist vow endorse A1 in slot 0 with payload", "vow endorse A1 in slot 0"])
        .restarts_at(genesis())
        // It says again what it vowed, and nothing else.
        .wakes(520, &["vow endorse A1 in slot 0"])
        .hears(525, proposed(proposal(0, b1, None)), &[])
        .hears(526, endorsed(0, 0, b1), &[]);
}

#[test]
fn a_proposer_does_not_propose_another_block_after_a_restart() {
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
        .restarts_at(genesis())
        .wakes(510, &["vow endorse A1 in slot 0"]);
}

#[test]
fn a_lock_binds_across_restarts() {
    let (a1, b1) = (block("A1", genesis(), 0), block("B1", genesis(), 2));
    let mut table = Table::member(1);
    table
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
        .restarts_at(genesis())
        .wakes(600, &["vow endorse A1 in slot 0", "vow attest A1 in slot 0 with lock", "import A1"])
        .hears(610, imported(a1), &[])
        // In its own slot it proposes the locked payload again instead of building another.
        .wakes(
            1_000,
            &[
                "persist vow endorse A1 in slot 1 with payload",
                "propose A1 in slot 1 with lock",
                "vow endorse A1 in slot 1",
            ],
        )
        // Another block without a later lock is not endorsed, in whatever slot.
        .hears(2_505, proposed(proposal(2, b1, None)), &["propose A1 in slot 1 with lock", "vow endorse A1 in slot 1"]);
}

#[test]
fn a_certified_block_that_the_backend_lost_is_imported_again() {
    let a1 = block("A1", genesis(), 0);
    Table::member(1)
        .wakes(0, &[])
        .hears(505, proposed(proposal(0, a1, None)), &["import A1"])
        .hears(510, imported(a1), &["persist vow endorse A1 in slot 0 with payload", "vow endorse A1 in slot 0"])
        .hears(514, attested(2, 0, a1), &[])
        .hears(515, attested(0, 0, a1), &[])
        .hears(516, attested(3, 0, a1), &["persist certificate A1", "set heads A1"])
        .restarts_at(genesis())
        .wakes(600, &["persist certificate A1", "import A1"])
        .hears(610, imported(a1), &["set heads A1"]);
}
