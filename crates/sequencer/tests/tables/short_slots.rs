//! The shortest slots, 200 ms, on a chain that cites L1: a world in miniature in which every call takes its time.

use std::collections::BTreeMap;

use sequencer::SLOT_MIN;
use sequencer::origin::OriginRules;
use types::{Drift, L1Block, L1Origin};

use super::*;

/// L1 has a block each twelve seconds; the chain begins on block 100.
const L1_BLOCK: u64 = 12_000;

/// A heart and whoever performs its orders.
struct Miniature {
    heart: Sequencer,
    now: Timestamp,
    /// What will be heard, and when. Calls that take the same are answered in the order in which they were made.
    answers: BTreeMap<(Timestamp, u64), Event>,
    made: u64,
    attributes: Option<types::Attributes>,
    /// Each slot whose block became the head, and when.
    heads: Vec<(Slot, Timestamp)>,
    /// The slot whose import hangs for three seconds.
    hangs_in: Option<Slot>,
}

fn l1_block(number: u64) -> L1Block {
    let hash = |number: u64| BlockHash::new([u8::try_from(number).expect("few blocks"); 32]);
    let timestamp = Timestamp::from_millis(START + (number - 100) * L1_BLOCK);
    L1Block { origin: L1Origin { number, hash: hash(number), timestamp }, parent: hash(number - 1) }
}

impl Miniature {
    fn new(seal_lead_adapts: bool) -> Self {
        let timetable = TimetableConfig {
            genesis: Timestamp::from_millis(START),
            slot: SLOT_MIN,
            build_ahead: SLOT_MIN,
            seal_lead: Millis::new(50),
            stamp: Stamp::Closing,
        };
        let timetable = Timetable::new(timetable).expect("200 ms are a slot");
        let drift = Millis::new(1_800_000);
        let rules = OriginRules {
            drift: Drift { bedrock: drift, fjord: drift, fjord_begins: None },
            sequencing_window: 3_600,
            recovers_before: Some(360),
            recovering: false,
            max_safe_lag: None,
        };
        let config = Config {
            timetable,
            agreement: AgreementConfig::Solo,
            active: true,
            backoff: Backoff::default(),
            seal_lead_adapts,
            origins: Some(rules),
        };
        let head = BlockRef { timestamp: Timestamp::from_millis(START), ..genesis() };
        Self {
            heart: Sequencer::new(config, Heads::at(head)),
            now: Timestamp::from_millis(START),
            answers: BTreeMap::new(),
            made: 0,
            attributes: None,
            heads: Vec::new(),
            hangs_in: None,
        }
    }

    /// Goes on until so many blocks are made.
    fn make(&mut self, blocks: usize) -> &mut Self {
        while self.heads.len() < blocks {
            let deadline = self.heart.deadline();
            let due = self.answers.first_key_value().is_some_and(|((at, _), _)| *at <= deadline);
            let (at, event) = match self.answers.pop_first().filter(|_| due) {
                Some(((at, _), event)) => (at, event),
                None => (deadline, Event::Wake),
            };
            assert_ne!(at, Timestamp::MAX, "nothing will ever happen again");
            self.now = self.now.max(at);
            if let Event::HeadsSet { .. } = event {
                let slot = self.attributes.expect("it was opened").slot;
                self.heads.push((slot, self.now));
            }
            let mut effects = Effects::new();
            self.heart.step(self.now, event, &mut effects);
            for effect in effects {
                self.perform(effect);
            }
        }
        self
    }

    fn perform(&mut self, effect: Effect) {
        let (took, event) = match effect {
            Effect::AskOrigin { query, .. } => (5, Event::OriginTold { query, origin: Some(l1_block(100).origin) }),
            Effect::LookUp { query, lookup } => {
                let number = match lookup {
                    Lookup::ByHash(hash) => u64::from(hash.as_bytes()[0]),
                    Lookup::ByNumber(number) => number,
                };
                let block = Some(l1_block(number)).filter(|block| block.origin.timestamp <= self.now);
                (15, Event::L1Found { query, block })
            }
            Effect::Open { build, attributes } => {
                self.attributes = Some(attributes);
                (5, Event::Opened { build })
            }
            Effect::Seal { build } => (25, Event::Sealed { build, payload: self.payload() }),
            Effect::Import(payload) => {
                let hangs = self.hangs_in == Some(payload.slot);
                let event = Event::Imported { block: payload.block.hash, verdict: Verdict::Valid };
                (if hangs { 3_000 } else { 20 }, event)
            }
            Effect::SetHeads(heads) => (10, Event::HeadsSet { block: heads.unsafe_head().hash }),
            Effect::Persist(_) | Effect::Announce(_) | Effect::Publish(_) => return,
            other => panic!("nothing goes wrong here, and yet: {}", say(&other)),
        };
        self.made += 1;
        self.answers.insert((self.now.after(Millis::new(took)), self.made), event);
    }

    fn payload(&self) -> Payload {
        let attributes = self.attributes.expect("opened before it is sealed");
        let mut hash = [9; 32];
        let number = attributes.parent.number.next();
        hash[..8].copy_from_slice(&number.as_u64().to_be_bytes());
        let parent = attributes.parent.hash;
        let block = BlockRef { number, hash: BlockHash::new(hash), parent, timestamp: attributes.timestamp };
        Payload { slot: attributes.slot, block, origin: attributes.origin, body: bytes::Bytes::new() }
    }

    /// How long after its slot's end each block was the head, in milliseconds; before it is negative.
    fn lateness(&self) -> Vec<i64> {
        let late = |(slot, at): &(Slot, Timestamp)| {
            let due = i64::try_from(START + (slot.as_u64() + 1) * SLOT_MIN.as_u64()).expect("soon");
            i64::try_from(at.as_millis()).expect("soon") - due
        };
        self.heads.iter().map(late).collect()
    }

    fn slots_in_order(&self) -> bool {
        self.heads.iter().enumerate().all(|(at, (slot, _))| slot.as_u64() == at as u64)
    }
}

#[test]
fn a_chain_that_cites_l1_keeps_slots_of_200_ms() {
    let mut world = Miniature::new(true);
    world.make(500);
    assert!(world.slots_in_order());
    // A block takes 55 ms from the order to seal it, and 50 is what the lead began with: two are late, and then none.
    let late = world.lateness();
    let begins = late.iter().position(|late| *late <= 0).expect("blocks come in time");
    assert!(begins <= 3 && late[begins..].iter().all(|late| *late <= 0), "{:?}", &late[..8]);
    assert_eq!(world.heart.seal_lead(), Millis::new(61), "55 ms and an eighth, below the 66 of a third of the slot");

    let mut fixed = Miniature::new(false);
    fixed.make(100);
    assert!(fixed.slots_in_order() && fixed.lateness().iter().all(|late| *late > 0), "a fixed lead stays too short");
}

#[test]
fn after_a_call_that_hung_the_missed_slots_are_made_up_for_and_the_lead_stays() {
    let mut world = Miniature::new(true);
    world.make(50);
    let lead = world.heart.seal_lead();
    world.hangs_in = Some(Slot::new(52));
    world.make(53);
    assert!(world.lateness()[52] > 2_500, "{:?}", world.lateness()[52]);
    world.make(120);
    assert!(world.slots_in_order());
    // Fifteen slots are behind, and a late block takes 60 to 80 ms: three are made in the time of one.
    assert!(world.lateness()[90..].iter().all(|late| *late <= 0), "{:?}", &world.lateness()[50..]);
    assert_eq!(world.heart.seal_lead(), lead, "one that hung is chance, and late blocks say nothing");
}
