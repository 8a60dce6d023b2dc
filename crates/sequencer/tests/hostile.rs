//! Whatever is heard, in whatever order, at whatever time: the heart never panics, never asks to be woken in the past, never has two
//! builds open, and never vows twice for a slot.

use proptest::collection::vec;
use proptest::prelude::*;
use sequencer::origin::OriginRules;
use sequencer::{
    AgreementConfig, Backoff, Config, Effect, Effects, Event, Memory, Peer, QueryId, Record, Role, Sequencer, Stamp,
    Timetable, TimetableConfig,
};
use types::{
    Announcement, Attestation, BlockHash, BlockNumber, BlockRef, BuildId, Certificate, Committee, Drift, Failure,
    Heads, L1Block, L1Origin, MemberId, Millis, Payload, Proposal, Signature, Slot, Stage, Timestamp, Verdict, Vow,
};

/// Few of everything, so that events meet.
const FEW: u64 = 4;

fn slot() -> impl Strategy<Value = Slot> {
    prop_oneof![20 => 0..FEW, 1 => any::<u64>()].prop_map(Slot::new)
}

fn number() -> impl Strategy<Value = BlockNumber> {
    prop_oneof![20 => 0..FEW, 1 => any::<u64>()].prop_map(BlockNumber::new)
}

fn hash() -> impl Strategy<Value = BlockHash> {
    (0..3_u8).prop_map(|first| BlockHash::new([first; 32]))
}

fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![40 => 9_000..16_000_u64, 1 => any::<u64>()].prop_map(Timestamp::from_millis)
}

/// Blocks that sit on each other more often than chance would have it.
fn block() -> impl Strategy<Value = BlockRef> {
    let chained = (1..FEW).prop_map(chain);
    let random = (number(), hash(), hash(), time()).prop_map(|(number, hash, parent, timestamp)| BlockRef {
        number,
        hash,
        parent,
        timestamp,
    });
    prop_oneof![3 => chained, 1 => random]
}

fn chain(height: u64) -> BlockRef {
    let hash = |height: u64| BlockHash::new([u8::try_from(height).unwrap_or(0) * 16; 32]);
    BlockRef {
        number: BlockNumber::new(height),
        hash: hash(height),
        parent: hash(height - 1),
        timestamp: Timestamp::from_millis(9_000 + height * 1_000),
    }
}

/// L1 blocks that sit on each other more often than not.
fn l1_block() -> impl Strategy<Value = L1Block> {
    let chained = (1..FEW).prop_map(|number| {
        let hash = |number: u64| BlockHash::new([u8::try_from(number).unwrap_or(0) + 100; 32]);
        let timestamp = Timestamp::from_millis(8_000 + number * 1_500);
        L1Block { origin: L1Origin { number, hash: hash(number), timestamp }, parent: hash(number - 1) }
    });
    let random = (number(), hash(), hash(), time()).prop_map(|(number, hash, parent, timestamp)| L1Block {
        origin: L1Origin { number: number.as_u64(), hash, timestamp },
        parent,
    });
    prop_oneof![6 => chained, 1 => random]
}

fn payload() -> impl Strategy<Value = Payload> {
    (slot(), block(), proptest::option::of(l1_block())).prop_map(|(slot, block, cited)| {
        let origin = cited.map(|cited| cited.origin);
        Payload { slot, block, origin, body: bytes::Bytes::new() }
    })
}

fn member() -> impl Strategy<Value = MemberId> {
    (0..5_u32).prop_map(MemberId::new)
}

fn vow() -> impl Strategy<Value = Vow> {
    let stage = prop_oneof![Just(Stage::Endorse), Just(Stage::Attest)];
    (slot(), stage, block()).prop_map(|(slot, stage, block)| Vow { slot, stage, block })
}

fn certificate() -> impl Strategy<Value = Certificate> {
    (vow(), vec(member(), 0..5)).prop_map(|(vow, mut members)| {
        members.sort();
        let signatures = members.into_iter().map(|member| (member, Signature::default())).collect();
        Certificate { vow, signatures }
    })
}

fn announcement() -> impl Strategy<Value = Announcement> {
    (payload(), proptest::option::of(certificate()))
        .prop_map(|(payload, certificate)| Announcement { payload, certificate })
}

fn failure() -> impl Strategy<Value = Failure> {
    prop_oneof![10 => Just(Failure::Retry), 10 => Just(Failure::Reset), 1 => Just(Failure::Fatal)]
}

fn event() -> impl Strategy<Value = Event> {
    let build = || (1..FEW).prop_map(BuildId::new);
    let query = || (1..FEW).prop_map(|count| serde_json::from_value::<QueryId>(count.into()).expect("a count"));
    let heads = || (block(), block(), block());
    let peer = || (0..3_u64).prop_map(Peer::new);
    let verdict = prop_oneof![Just(Verdict::Valid), Just(Verdict::Invalid), Just(Verdict::ParentUnknown)];
    let own = prop_oneof![
        Just(Event::Wake),
        Just(Event::Start),
        Just(Event::Stop),
        time().prop_map(|date| Event::Demand { date }),
        prop_oneof![Just(Role::Leader), Just(Role::Follower)].prop_map(Event::Leadership),
        build().prop_map(|build| Event::Opened { build }),
        (build(), failure()).prop_map(|(build, failure)| Event::OpenFailed { build, failure }),
        (build(), payload()).prop_map(|(build, payload)| Event::Sealed { build, payload }),
        build().prop_map(|build| Event::NothingToSeal { build }),
        (build(), failure()).prop_map(|(build, failure)| Event::SealFailed { build, failure }),
        (hash(), failure()).prop_map(|(block, failure)| Event::ImportFailed { block, failure }),
        (block(), verdict).prop_map(|(block, verdict)| Event::Imported { block: block.hash, verdict }),
        block().prop_map(|block| Event::HeadsSet { block: block.hash }),
        (block(), failure()).prop_map(|(block, failure)| Event::SetHeadsFailed { block: block.hash, failure }),
        (block(), failure()).prop_map(|(block, failure)| Event::CommitFailed { block: block.hash, failure }),
        block().prop_map(|block| Event::Committed { block: block.hash }),
    ];
    let told = prop_oneof![
        (query(), heads()).prop_filter_map("heads in order", |(query, (first, second, third))| {
            Heads::new(first, second, third).ok().map(|heads| Event::HeadsTold { query, heads })
        }),
        (query(), block()).prop_map(|(query, block)| Event::HeadsTold { query, heads: Heads::at(block) }),
        (query(), proptest::option::of(block())).prop_map(|(query, head)| Event::ConductorTold { query, head }),
        (query(), failure()).prop_map(|(query, failure)| Event::AskFailed { query, failure }),
        (number(), number(), vec(announcement(), 0..4)).prop_map(|(from, to, found)| Event::Fetched {
            from,
            to,
            found
        }),
        (block(), block()).prop_map(|(safe, finalized)| Event::Landed { safe, finalized }),
    ];
    let of_l1 = prop_oneof![
        2 => (query(), l1_block()).prop_map(|(query, block)| Event::OriginTold { query, origin: Some(block.origin) }),
        6 => (query(), proptest::option::of(l1_block())).prop_map(|(query, block)| Event::L1Found { query, block }),
        1 => (query(), failure()).prop_map(|(query, failure)| Event::LookUpFailed { query, failure }),
        1 => (0..2 * FEW, any::<bool>()).prop_map(|(head, reorganised)| Event::L1Moved { head, reorganised }),
        1 => any::<bool>().prop_map(Event::Recover),
    ];
    let attested =
        (peer(), member(), vow(), proptest::option::of(certificate())).prop_map(|(peer, member, vow, lock)| {
            Event::Attested { peer, attestation: Attestation { member, vow, lock, signature: Signature::default() } }
        });
    let proposed =
        (peer(), slot(), payload(), proptest::option::of(certificate()), proptest::option::of(certificate())).prop_map(
            |(peer, slot, payload, parent, lock)| {
                let proposer = MemberId::new(u32::try_from(slot.as_u64() % 4).unwrap_or(0));
                let signature = Signature::default();
                Event::Proposed { peer, proposal: Proposal { slot, proposer, payload, parent, lock, signature } }
            },
        );
    let announced = (peer(), announcement()).prop_map(|(peer, announcement)| Event::Announced { peer, announcement });
    prop_oneof![6 => own.boxed(), 2 => told.boxed(), 3 => of_l1.boxed(), 4 => attested, 3 => proposed, 1 => announced]
}

fn rules() -> impl Strategy<Value = OriginRules> {
    let (margin, lag) = (proptest::option::of(0..FEW), proptest::option::of(0..FEW));
    (0..4_000_u64, 0..2 * FEW, margin, any::<bool>(), lag).prop_map(
        |(drift, sequencing_window, recovers_before, recovering, max_safe_lag)| {
            let drift = Millis::new(drift);
            let drift = Drift { bedrock: drift, fjord: drift, fjord_begins: None };
            OriginRules { drift, sequencing_window, recovers_before, recovering, max_safe_lag }
        },
    )
}

fn config() -> impl Strategy<Value = Config> {
    let agreement = prop_oneof![
        Just(AgreementConfig::Solo),
        Just(AgreementConfig::OnDemand),
        Just(AgreementConfig::Conductor),
        proptest::option::of(member()).prop_map(|me| AgreementConfig::Committee {
            committee: Committee::of(4).expect("four is within the limit"),
            me,
            began: BlockNumber::GENESIS,
            resend: Millis::new(100),
        }),
    ];
    let stamp = prop_oneof![Just(Stamp::Opening), Just(Stamp::Closing)];
    let origins = proptest::option::of(rules());
    (agreement, stamp, 0..=1_000_u64, 0..1_000_u64, any::<(bool, bool)>(), origins).prop_map(
        |(agreement, stamp, build_ahead, seal_lead, (active, seal_lead_adapts), origins)| {
            let timetable = Timetable::new(TimetableConfig {
                genesis: Timestamp::from_millis(10_000),
                slot: Millis::new(1_000),
                build_ahead: Millis::new(build_ahead),
                seal_lead: Millis::new(seal_lead),
                stamp,
            });
            let timetable = timetable.expect("it makes sense");
            Config { timetable, agreement, active, backoff: Backoff::default(), seal_lead_adapts, origins }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_that_is_heard_leads_the_heart_astray(
        config in config(),
        events in vec((time(), event(), 0..40_u8), 0..80),
    ) {
        let mut heart = Sequencer::new(config.clone(), Heads::at(BlockRef::default()));
        let (mut memory, mut effects) = (Memory::default(), Effects::new());
        let (mut open, mut last): (Option<BuildId>, Option<Vow>) = (None, None);
        for (now, event, restart) in events {
            if restart == 0 {
                heart = Sequencer::recover(config.clone(), heart.heads(), memory.clone());
                open = None;
            }
            if let Event::Sealed { build, .. } | Event::NothingToSeal { build } = &event {
                open.take_if(|open| *open == *build);
            }
            heart.step(now, event, &mut effects);
            prop_assert!(heart.deadline() > now || now == Timestamp::MAX);
            for effect in effects.drain() {
                match effect {
                    Effect::Open { build, attributes } => {
                        prop_assert_eq!(attributes.origin.is_some(), config.origins.is_some());
                        if let (Some(rules), Some(origin)) = (&config.origins, &attributes.origin) {
                            prop_assert!(attributes.timestamp >= origin.timestamp, "older than what it cites");
                            let too_far = rules.drift.is_exceeded(attributes.timestamp, origin);
                            prop_assert!(!(too_far && attributes.use_pool), "transactions past the drift");
                        }
                        prop_assert!(open.replace(build).is_none_or(|other| other == build));
                    }
                    Effect::Cancel { build } => {
                        open.take_if(|open| *open == build);
                    }
                    Effect::Persist(record) => {
                        if let Record::Vow { vow, .. } = &record {
                            prop_assert!(last.replace(*vow).is_none_or(|earlier| vow.may_follow(&earlier)));
                        }
                        memory.remember(record);
                    }
                    Effect::Fetch { from, to } => prop_assert!(from <= to && to.as_u64() - from.as_u64() < 32),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn two_runs_are_equal(config in config(), events in vec((time(), event()), 0..40)) {
        let run = || {
            let mut heart = Sequencer::new(config.clone(), Heads::at(BlockRef::default()));
            let mut all = Effects::new();
            for (now, event) in &events {
                heart.step(*now, event.clone(), &mut all);
            }
            all
        };
        prop_assert_eq!(run(), run());
    }

    /// A checkpoint holds all that the heart knows: read back at any step, it decides as if nothing had happened.
    #[test]
    fn a_checkpoint_reads_back(config in config(), events in vec((time(), event()), 0..40)) {
        let mut through = Sequencer::new(config.clone(), Heads::at(BlockRef::default()));
        let mut again = Sequencer::new(config, Heads::at(BlockRef::default()));
        let (mut expected, mut effects) = (Effects::new(), Effects::new());
        for (now, event) in events {
            let checkpoint = serde_json::to_string(&again).expect("written");
            again = serde_json::from_str(&checkpoint).expect("read back");
            through.step(now, event.clone(), &mut expected);
            again.step(now, event, &mut effects);
            prop_assert_eq!(&expected, &effects);
            prop_assert_eq!(through.deadline(), again.deadline());
        }
    }

    #[test]
    fn the_journal_form_reads_back(event in event(), config in config()) {
        let line = serde_json::to_string(&event).expect("an event is written");
        prop_assert_eq!(serde_json::from_str::<Event>(&line).expect("and read"), event);
        let line = serde_json::to_string(&config).expect("a configuration is written");
        prop_assert_eq!(serde_json::from_str::<Config>(&line).expect("and read"), config);
    }
}
