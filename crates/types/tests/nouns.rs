//! What the nouns promise.

use proptest::prelude::*;
use types::{
    Attestation, BlockHash, BlockNumber, BlockRef, Certificate, Committee, Heads, MemberId, Millis, Payload, Signature,
    Slot, Stage, Timestamp, Vow,
};

fn block(number: u64, first: u8) -> BlockRef {
    let hash = BlockHash::new([first; 32]);
    BlockRef { number: BlockNumber::new(number), hash, ..BlockRef::default() }
}

#[test]
fn heads_are_in_order_or_are_not() {
    let (low, mid, high) = (block(1, 1), block(2, 2), block(3, 3));
    let rows = [
        ((high, mid, low), true),
        ((high, high, high), true),
        ((high, low, low), true),
        ((mid, high, low), false),
        ((high, low, mid), false),
        // Two blocks at one height are two chains.
        ((high, block(3, 9), low), false),
    ];
    for ((newest, safe, finalized), ordered) in rows {
        assert_eq!(Heads::new(newest, safe, finalized).is_ok(), ordered, "{newest:?} {safe:?} {finalized:?}");
    }
    let text = serde_json::to_string(&Heads::at(low)).expect("heads are written");
    assert_eq!(serde_json::from_str::<Heads>(&text).expect("and read"), Heads::at(low));
    let swapped = text.replacen("\"number\":1", "\"number\":0", 1);
    let refused = serde_json::from_str::<Heads>(&swapped).expect_err("out of order");
    assert!(refused.to_string().contains("expected finalized <= safe <= unsafe"), "{refused}");
}

#[test]
fn block_hashes_read_and_write_as_hexadecimal() {
    let text = format!("0x{}", "0a".repeat(32));
    let hash: BlockHash = text.parse().expect("a hash");
    assert_eq!(hash, BlockHash::new([10; 32]));
    assert_eq!(hash.to_string(), text);
    for bad in ["", "0x", "0a", &text[2..], &text[..65], &format!("{text}0"), &text.replace('a', "g"), "0xé"] {
        let refused = bad.parse::<BlockHash>().expect_err("no hash");
        assert!(refused.to_string().contains("64 hexadecimal digits"), "{refused}");
    }
}

#[test]
fn quorums_of_committees() {
    for (members, faulty, quorum) in [(1, 0, 1), (3, 0, 3), (4, 1, 3), (5, 1, 4), (7, 2, 5), (10, 3, 7), (48, 15, 33)] {
        let committee = Committee::of(members).expect("within the limit");
        assert_eq!((committee.faulty_max(), committee.quorum()), (faulty, quorum), "{members} members");
    }
    assert!(Committee::of(0).is_none() && Committee::of(Committee::MEMBERS_MAX + 1).is_none());
}

#[test]
fn a_vow_never_goes_back() {
    let vow = |slot: u64, stage: Stage, first: u8| Vow { slot: Slot::new(slot), stage, block: block(1, first) };
    let earlier = vow(5, Stage::Endorse, 1);
    let rows = [
        (vow(5, Stage::Endorse, 1), true),
        (vow(5, Stage::Attest, 1), true),
        (vow(5, Stage::Endorse, 2), false),
        (vow(5, Stage::Attest, 2), false),
        (vow(4, Stage::Attest, 1), false),
        (vow(6, Stage::Endorse, 2), true),
    ];
    for (next, allowed) in rows {
        assert_eq!(next.may_follow(&earlier), allowed, "{next:?}");
    }
    assert!(!earlier.may_follow(&vow(5, Stage::Attest, 1)), "not back to the first stage");
}

#[test]
fn a_certificate_counts_distinct_members() {
    let committee = Committee::of(4).expect("within the limit");
    let proves = |members: &[u32], stage: Stage| {
        let vow = Vow { slot: Slot::new(1), stage, block: block(1, 1) };
        let signatures = members.iter().map(|member| (MemberId::new(*member), Signature::default())).collect();
        committee.proves(&Certificate { vow, signatures }, Stage::Attest)
    };
    assert!(proves(&[0, 1, 3], Stage::Attest));
    assert!(!proves(&[0, 1], Stage::Attest), "too few");
    assert!(!proves(&[0, 1, 1], Stage::Attest), "one twice");
    assert!(!proves(&[1, 0, 3], Stage::Attest), "out of order");
    assert!(!proves(&[0, 1, 4], Stage::Attest), "a stranger");
    assert!(!proves(&[0, 1, 3], Stage::Endorse), "another stage");
}

#[test]
fn the_journal_form_of_a_payload_leaves_the_body_out() {
    let body = bytes::Bytes::from_static(b"a whole block");
    let payload = Payload { slot: Slot::new(3), block: block(1, 1), origin: None, body };
    let text = serde_json::to_string(&payload).expect("a payload is written");
    assert!(!text.contains("body"), "{text}");
    let read: Payload = serde_json::from_str(&text).expect("and read");
    assert_eq!(read, Payload { body: bytes::Bytes::new(), ..payload });
}

#[test]
fn signatures_are_written_as_hexadecimal() {
    let vow = Vow { slot: Slot::new(1), stage: Stage::Attest, block: block(1, 1) };
    let signature = Signature(bytes::Bytes::from_static(&[0, 0xff]));
    let attestation = Attestation { member: MemberId::new(2), vow, lock: None, signature };
    let text = serde_json::to_string(&attestation).expect("an attestation is written");
    assert!(text.contains("\"0x00ff\""), "{text}");
    assert_eq!(serde_json::from_str::<Attestation>(&text).expect("and read"), attestation);
    assert!(serde_json::from_str::<Signature>("\"0x0\"").is_err());
    assert!(serde_json::from_str::<Signature>("\"ff\"").is_err());
}

proptest! {
    #[test]
    fn time_saturates(at in any::<u64>(), span in any::<u64>()) {
        let (moment, span) = (Timestamp::from_millis(at), Millis::new(span));
        prop_assert!(moment.after(span) >= moment);
        prop_assert!(moment.before(span) <= moment);
        prop_assert!(moment.after(span).since(moment) <= span);
    }

    #[test]
    fn everyone_has_a_turn(members in 1..=Committee::MEMBERS_MAX, slot in 0..u64::MAX - 200) {
        let committee = Committee::of(members).expect("within the limit");
        let slots = slot..slot + u64::from(members);
        let mut turns: Vec<MemberId> = slots.map(|slot| committee.proposer(Slot::new(slot))).collect();
        turns.sort();
        prop_assert!(turns.into_iter().eq(committee.members()));
    }
}
