//! Proposals, vows, locks, and who misbehaves.

use super::*;

#[test]
fn two_proposals_for_a_slot_are_shown_up() {
    let (a1, b1) = (block("A1", genesis(), 0), block("B1", genesis(), 0));
    Table::member(1)
        .wakes(0, &[])
        .hears(505, proposed(proposal(0, a1, None)), &["import A1"])
        .hears(506, proposed(proposal(0, a1, None)), &[])
        .hears(507, proposed(proposal(0, b1, None)), &["penalize 1 for TwoProposals"])
        .hears(510, imported(a1), &["persist vow endorse A1 in slot 0 with payload", "vow endorse A1 in slot 0"])
        .hears(511, proposed(proposal(0, b1, None)), &["penalize 1 for TwoProposals"]);
}

#[test]
fn two_vows_of_a_member_are_shown_up_and_count_once() {
    let (a1, b1) = (block("A1", genesis(), 0), block("B1", genesis(), 0));
    Table::member(1)
        .wakes(0, &[])
        .hears(505, proposed(proposal(0, a1, None)), &["import A1"])
        .hears(506, endorsed(2, 0, b1), &[])
        .hears(507, endorsed(2, 0, a1), &["penalize 3 for TwoVows"])
        .hears(508, attested(2, 0, a1), &["penalize 3 for TwoVows"])
        .hears(510, imported(a1), &["persist vow endorse A1 in slot 0 with payload", "vow endorse A1 in slot 0"])
        .hears(511, endorsed(0, 0, a1), &[])
        .hears(512, endorsed(1, 0, a1), &[])
        .hears(513, endorsed(0, 0, a1), &[]);
}

#[test]
fn what_does_not_hold_together_is_refused() {
    let (a1, a2) = (block("A1", genesis(), 0), block("A2", block("A1", genesis(), 0), 1));
    let wrong_turn = Proposal { proposer: MemberId::new(3), ..proposal(0, a1, None) };
    let small = quorum(Stage::Attest, 0, a1, &[0, 1]);
    let twice = quorum(Stage::Attest, 0, a1, &[0, 1, 1]);
    let strangers = quorum(Stage::Attest, 0, a1, &[0, 1, 9]);
    let endorsements = quorum(Stage::Endorse, 0, a1, &[0, 1, 2]);
    let future_dated = BlockRef { timestamp: Timestamp::from_millis(START + 1), ..a1 };
    let stranger = vow_heard(9, Stage::Endorse, 0, a1);
    let rows = [
        (proposed(wrong_turn), "penalize 4 for NotTheProposer"),
        (proposed(proposal(1, a2, None)), "penalize 2 for BadCertificate"),
        (proposed(proposal(1, a2, Some(small.clone()))), "penalize 2 for BadCertificate"),
        (proposed(proposal(1, a2, Some(twice))), "penalize 2 for BadCertificate"),
        (proposed(proposal(1, a2, Some(strangers))), "penalize 2 for BadCertificate"),
        (proposed(proposal(1, a2, Some(endorsements))), "penalize 2 for BadCertificate"),
        (proposed(proposal(0, future_dated, None)), "penalize 1 for Malformed"),
        (proposed(proposal(1, a1, None)), "penalize 2 for Malformed"),
        (proposed(proposal(4, block("A1", genesis(), 4), None)), "penalize 1 for TooEarly"),
        (stranger, "penalize 10 for NotAMember"),
        (endorsed(2, 9, a1), "penalize 3 for TooEarly"),
        (announced(a1, None), "penalize 9 for BadCertificate"),
        (announced(a1, Some(small)), "penalize 9 for BadCertificate"),
        (announced(a2, Some(certificate(0, a1))), "penalize 9 for BadCertificate"),
    ];
    for (event, expected) in rows {
        Table::member(1).wakes(0, &[]).hears(500, event, &[expected]);
    }
    Table::solo().following().wakes(0, &[]).hears(1, endorsed(0, 0, a1), &["penalize 1 for OutOfPlace"]);
}

#[test]
fn an_invalid_block_is_not_endorsed() {
    let a1 = block("A1", genesis(), 0);
    Table::member(1)
        .wakes(0, &[])
        .hears(505, proposed(proposal(0, a1, None)), &["import A1"])
        .hears(510, Event::Imported { block: a1.hash, verdict: Verdict::Invalid }, &["penalize 1 for InvalidBlock"])
        .hears(511, proposed(proposal(0, a1, None)), &[]);
}

#[test]
fn a_withheld_slot_passes_and_the_next_one_serves() {
    let (a1, b1) = (block("A1", genesis(), 0), block("B1", genesis(), 1));
    Table::member(2)
        .wakes(0, &[])
        .hears(505, proposed(proposal(0, a1, None)), &["import A1"])
        .hears(510, imported(a1), &["persist vow endorse A1 in slot 0 with payload", "vow endorse A1 in slot 0"])
        // Nobody else has seen A1, so nobody is bound to it.
        .hears(1_505, proposed(proposal(1, b1, None)), &["vow endorse A1 in slot 0", "import B1"])
        .hears(1_510, imported(b1), &["persist vow endorse B1 in slot 1 with payload", "vow endorse B1 in slot 1"])
        // A late proposal for the old slot is past.
        .hears(1_520, endorsed(0, 0, a1), &[]);
}

#[test]
fn a_lock_is_released_by_a_later_one_only() {
    let (a1, b1) = (block("A1", genesis(), 0), block("B1", genesis(), 1));
    let mut table = Table::member(3);
    table
        .wakes(0, &[])
        .hears(505, proposed(proposal(0, a1, None)), &["import A1"])
        .hears(510, imported(a1), &["persist vow endorse A1 in slot 0 with payload", "vow endorse A1 in slot 0"])
        .hears(511, endorsed(0, 0, a1), &[])
        .hears(512, endorsed(3, 0, a1), &[])
        .hears(
            513,
            endorsed(1, 0, a1),
            &["persist vow attest A1 in slot 0 with lock", "vow attest A1 in slot 0 with lock"],
        )
        // Another block without a lock is heard, but neither imported nor endorsed.
        .hears(
            1_505,
            proposed(proposal(1, b1, None)),
            &["vow endorse A1 in slot 0", "vow attest A1 in slot 0 with lock"],
        );
    let earlier = quorum(Stage::Endorse, 1, b1, &[0, 1, 2]);
    let again = Proposal { payload: payload(b1), lock: Some(earlier), ..proposal(2, b1, None) };
    table.hears(2_100, proposed(again), &["vow endorse A1 in slot 0", "vow attest A1 in slot 0", "import B1"]);
    // With the import done we keep to the later lock, and endorse its block for the present slot.
    table.hears(
        2_110,
        imported(b1),
        &[
            "persist vow attest B1 in slot 1 with payload with lock",
            "vow attest B1 in slot 1 with lock",
            "persist vow endorse B1 in slot 2",
            "vow endorse B1 in slot 2",
        ],
    );
}

#[test]
fn a_parent_certificate_catches_up_who_missed_the_decision() {
    let a1 = block("A1", genesis(), 0);
    let a2 = block("A2", a1, 1);
    // It endorsed A1 and heard no attestation; the next proposal tells.
    Table::member(2)
        .wakes(0, &[])
        .hears(505, proposed(proposal(0, a1, None)), &["import A1"])
        .hears(510, imported(a1), &["persist vow endorse A1 in slot 0 with payload", "vow endorse A1 in slot 0"])
        .hears(1_505, proposed(proposal(1, a2, Some(certificate(0, a1)))), &["persist certificate A1", "set heads A1"])
        .hears(1_506, heads_set(a1), &["import A2"])
        .hears(1_507, imported(a2), &["persist vow endorse A2 in slot 1 with payload", "vow endorse A2 in slot 1"]);
    // It never saw A1: it gets it first.
    Table::member(2)
        .wakes(0, &[])
        .hears(1_505, proposed(proposal(1, a2, Some(certificate(0, a1)))), &["fetch 1 to 1"])
        .hears(1_510, announced(a1, Some(certificate(0, a1))), &["persist certificate A1", "import A1"])
        .hears(1_511, imported(a1), &["set heads A1"])
        .hears(1_512, heads_set(a1), &["import A2"]);
}

#[test]
fn what_is_undecided_is_said_again() {
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
        .sleeps_until(604)
        .wakes(604, &["propose A1 in slot 0", "vow endorse A1 in slot 0"])
        .sleeps_until(704)
        .wakes(704, &["propose A1 in slot 0", "vow endorse A1 in slot 0"]);
}

#[test]
fn whoever_is_behind_is_helped() {
    let a1 = block("A1", genesis(), 0);
    let b1 = block("B1", genesis(), 1);
    Table::member(3)
        .wakes(0, &[])
        .hears(505, announced(a1, Some(certificate(0, a1))), &["persist certificate A1", "import A1"])
        .hears(510, imported(a1), &["set heads A1"])
        .hears(511, heads_set(a1), &[])
        .hears(1_505, proposed(proposal(1, b1, None)), &["announce A1 with certificate"])
        // Not more often than messages are repeated.
        .hears(1_506, proposed(proposal(1, b1, None)), &[])
        .hears(1_606, endorsed(1, 1, b1), &["announce A1 with certificate"]);
}

#[test]
fn an_attestation_before_its_proposal_is_not_wasted() {
    let a1 = block("A1", genesis(), 0);
    Table::member(2)
        .wakes(0, &[])
        .hears(510, attested(0, 0, a1), &[])
        .hears(511, attested(1, 0, a1), &[])
        .hears(512, attested(3, 0, a1), &["fetch 1 to 1"])
        .hears(513, proposed(proposal(0, a1, None)), &["persist certificate A1", "import A1"]);
}

#[test]
fn a_second_certified_block_stops_the_heart() {
    let (a1, b1) = (block("A1", genesis(), 0), block("B1", genesis(), 1));
    Table::member(2)
        .wakes(0, &[])
        .hears(510, announced(a1, Some(certificate(0, a1))), &["persist certificate A1", "import A1"])
        .hears(511, imported(a1), &["set heads A1"])
        .hears(1_510, announced(b1, Some(certificate(1, b1))), &["halt: Fork"]);
}
