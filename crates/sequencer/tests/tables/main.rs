//! What the heart does, as tables: given, event, expected effects.
//!
//! Every table goes through [`Table::hears`], so that it outlives changes of the inside.

mod committee;
mod conductor;
mod demands;
mod effect_sequences;
mod origins;
mod origins_conductor;
mod recovery;
mod retries;
mod short_slots;
mod slots;
mod stale;

use sequencer::origin::Lookup;
use sequencer::{
    AgreementConfig, Backoff, Config, Effect, Effects, Event, Memory, Peer, QueryId, Record, Sequencer, Stamp,
    Timetable, TimetableConfig,
};
use types::{
    Announcement, Attestation, BlockHash, BlockNumber, BlockRef, BuildId, Certificate, Committee, Failure, Heads,
    MemberId, Millis, Payload, Proposal, Signature, Slot, Stage, Timestamp, Verdict, Vow,
};

/// Slot 0 starts ten seconds after the epoch; slots take a second.
const START: u64 = 10_000;

/// A heart under test, its disk, and how it is asked.
struct Table {
    config: Config,
    heart: Sequencer,
    memory: Memory,
}

impl Table {
    fn solo() -> Self {
        Self::of(AgreementConfig::Solo, 1_000, 0)
    }

    fn conductor() -> Self {
        Self::of(AgreementConfig::Conductor, 1_000, 0)
    }

    /// Alone, and builds when told.
    fn on_demand() -> Self {
        Self::of(AgreementConfig::OnDemand, 1_000, 0)
    }

    /// Member `me` of four; builds are sealed in the middle of the slot.
    fn member(me: u32) -> Self {
        Self::committee(Some(MemberId::new(me)))
    }

    fn committee(me: Option<MemberId>) -> Self {
        let committee = Committee::of(4).expect("four is within the limit");
        let (began, resend) = (BlockNumber::GENESIS, Millis::new(100));
        Self::of(AgreementConfig::Committee { committee, me, began, resend }, 0, 500)
    }

    fn of(agreement: AgreementConfig, build_ahead: u64, seal_lead: u64) -> Self {
        let timetable = TimetableConfig {
            genesis: Timestamp::from_millis(START),
            slot: Millis::new(1_000),
            build_ahead: Millis::new(build_ahead),
            seal_lead: Millis::new(seal_lead),
            stamp: Stamp::Opening,
        };
        let timetable = Timetable::new(timetable).expect("it makes sense");
        let backoff = Backoff { first: Millis::new(50), longest: Millis::new(400) };
        let config = Config { timetable, agreement, active: true, backoff, seal_lead_adapts: false, origins: None };
        let heart = Sequencer::new(config.clone(), Heads::at(genesis()));
        Self { config, heart, memory: Memory::default() }
    }

    fn following(mut self) -> Self {
        self.config.active = false;
        self.heart = Sequencer::new(self.config.clone(), Heads::at(genesis()));
        self
    }

    /// The process dies and comes back on a chain that ends here.
    fn restarts_at(&mut self, head: BlockRef) -> &mut Self {
        self.heart = Sequencer::recover(self.config.clone(), Heads::at(head), self.memory.clone());
        self
    }

    /// So many milliseconds into slot 0 this happens, and these are the effects.
    #[track_caller]
    fn hears(&mut self, at: i64, event: Event, expected: &[&str]) -> &mut Self {
        let mut effects = Effects::new();
        let now = Timestamp::from_millis(START.saturating_add_signed(at));
        let text = format!("{event:?}");
        self.heart.step(now, event, &mut effects);
        let said: Vec<String> = effects.as_slice().iter().map(say).collect();
        assert_eq!(said, expected, "at {at}: {text}");
        assert!(self.heart.deadline() > now, "the deadline lies ahead");
        for effect in effects {
            if let Effect::Persist(record) = effect {
                self.memory.remember(record);
            }
        }
        self
    }

    #[track_caller]
    fn wakes(&mut self, at: i64, expected: &[&str]) -> &mut Self {
        self.hears(at, Event::Wake, expected)
    }

    /// The next wake-up is due so many milliseconds into slot 0.
    #[track_caller]
    fn sleeps_until(&mut self, at: u64) -> &mut Self {
        assert_eq!(self.heart.deadline(), Timestamp::from_millis(START + at));
        self
    }
}

fn genesis() -> BlockRef {
    BlockRef::default()
}

/// A block of this name (a letter and its height) on a parent, built for a slot.
fn block(name: &str, parent: BlockRef, slot: u64) -> BlockRef {
    let mut hash = [0; 32];
    hash[..name.len()].copy_from_slice(name.as_bytes());
    BlockRef {
        number: parent.number.next(),
        hash: BlockHash::new(hash),
        parent: parent.hash,
        timestamp: Timestamp::from_millis(START + slot * 1_000),
    }
}

fn payload(block: BlockRef) -> Payload {
    let slot = Slot::new((block.timestamp.as_millis() - START) / 1_000);
    Payload { slot, block, origin: None, body: bytes::Bytes::from_static(b"body") }
}

fn opened(build: u64) -> Event {
    Event::Opened { build: BuildId::new(build) }
}

fn sealed(build: u64, block: BlockRef) -> Event {
    Event::Sealed { build: BuildId::new(build), payload: payload(block) }
}

fn imported(block: BlockRef) -> Event {
    Event::Imported { block: block.hash, verdict: Verdict::Valid }
}

fn import_failed(block: BlockRef, failure: Failure) -> Event {
    Event::ImportFailed { block: block.hash, failure }
}

fn heads_set(block: BlockRef) -> Event {
    Event::HeadsSet { block: block.hash }
}

fn committed(block: BlockRef) -> Event {
    Event::Committed { block: block.hash }
}

fn commit_failed(block: BlockRef, failure: Failure) -> Event {
    Event::CommitFailed { block: block.hash, failure }
}

fn query(count: u64) -> QueryId {
    serde_json::from_value(count.into()).expect("a query is written as its count")
}

fn heads_told(count: u64, head: BlockRef) -> Event {
    Event::HeadsTold { query: query(count), heads: Heads::at(head) }
}

fn conductor_told(count: u64, head: BlockRef) -> Event {
    Event::ConductorTold { query: query(count), head: Some(head) }
}

fn announced(block: BlockRef, certificate: Option<Certificate>) -> Event {
    Event::Announced { peer: Peer::new(9), announcement: Announcement { payload: payload(block), certificate } }
}

fn fetched(from: u64, to: u64, found: &[BlockRef]) -> Event {
    let found = found.iter().map(|block| Announcement { payload: payload(*block), certificate: None }).collect();
    Event::Fetched { from: BlockNumber::new(from), to: BlockNumber::new(to), found }
}

/// What members vow about a block in a slot.
fn quorum(stage: Stage, slot: u64, block: BlockRef, members: &[u32]) -> Certificate {
    let signatures = members.iter().map(|member| (MemberId::new(*member), Signature::default())).collect();
    Certificate { vow: Vow { slot: Slot::new(slot), stage, block }, signatures }
}

fn certificate(slot: u64, block: BlockRef) -> Certificate {
    quorum(Stage::Attest, slot, block, &[0, 1, 2])
}

fn vow_heard(member: u32, stage: Stage, slot: u64, block: BlockRef) -> Event {
    let vow = Vow { slot: Slot::new(slot), stage, block };
    let attestation = Attestation { member: MemberId::new(member), vow, lock: None, signature: Signature::default() };
    Event::Attested { peer: Peer::new(u64::from(member) + 1), attestation }
}

fn endorsed(member: u32, slot: u64, block: BlockRef) -> Event {
    vow_heard(member, Stage::Endorse, slot, block)
}

fn attested(member: u32, slot: u64, block: BlockRef) -> Event {
    vow_heard(member, Stage::Attest, slot, block)
}

fn proposal(slot: u64, block: BlockRef, parent: Option<Certificate>) -> Proposal {
    let proposer = MemberId::new(u32::try_from(slot % 4).expect("below four"));
    Proposal {
        slot: Slot::new(slot),
        proposer,
        payload: payload(block),
        parent,
        lock: None,
        signature: Signature::default(),
    }
}

fn proposed(proposal: Proposal) -> Event {
    Event::Proposed { peer: Peer::new(u64::from(proposal.proposer.as_u32()) + 1), proposal }
}

/// One effect in few words.
fn say(effect: &Effect) -> String {
    match effect {
        Effect::Open { build, attributes } => {
            let citing = attributes.origin.map(|origin| format!(" citing {}", origin.number)).unwrap_or_default();
            let empty = if attributes.use_pool { "" } else { ", empty" };
            format!("open {build} for slot {} on {}{citing}{empty}", attributes.slot, name(attributes.parent))
        }
        Effect::Seal { build } => format!("seal {build}"),
        Effect::Cancel { build } => format!("cancel {build}"),
        Effect::Persist(Record::Payload(payload)) => format!("persist {}", name(payload.block)),
        Effect::Persist(Record::Vow { vow, payload, lock }) => {
            let payload = if payload.is_some() { " with payload" } else { "" };
            let lock = if lock.is_some() { " with lock" } else { "" };
            format!("persist vow {}{payload}{lock}", say_vow(vow))
        }
        Effect::Persist(Record::Certificate(certificate)) => {
            format!("persist certificate {}", name(certificate.vow.block))
        }
        Effect::Commit(payload) => format!("commit {}", name(payload.block)),
        Effect::Propose(proposal) => {
            let parent = if proposal.parent.is_some() { " with parent" } else { "" };
            let lock = if proposal.lock.is_some() { " with lock" } else { "" };
            format!("propose {} in slot {}{parent}{lock}", name(proposal.payload.block), proposal.slot)
        }
        Effect::Attest(attestation) => {
            let lock = if attestation.lock.is_some() { " with lock" } else { "" };
            format!("vow {}{lock}", say_vow(&attestation.vow))
        }
        Effect::Announce(announcement) => {
            let certificate = if announcement.certificate.is_some() { " with certificate" } else { "" };
            format!("announce {}{certificate}", name(announcement.payload.block))
        }
        Effect::Import(payload) => format!("import {}", name(payload.block)),
        Effect::SetHeads(heads) => format!("set heads {}", name(heads.unsafe_head())),
        Effect::Publish(announcement) => format!("publish {}", name(announcement.payload.block)),
        Effect::Fetch { from, to } => format!("fetch {from} to {to}"),
        Effect::AskHeads { .. } => "ask heads".to_owned(),
        Effect::AskConductor { .. } => "ask conductor".to_owned(),
        Effect::AskOrigin { block, .. } => format!("ask origin of {}", name(*block)),
        Effect::LookUp { lookup, .. } => match lookup {
            Lookup::ByHash(hash) => format!("look up hash {}", hash.as_bytes()[0]),
            Lookup::ByNumber(number) => format!("look up {number}"),
        },
        Effect::Penalize { peer, offence } => {
            let text = format!("{offence:?}");
            let offence = text.split([' ', '{', '(']).next().unwrap_or_default();
            format!("penalize {} for {offence}", peer.as_u64())
        }
        Effect::Halt(reason) => {
            let text = format!("{reason:?}");
            format!("halt: {}", text.split([' ', '{', '(']).next().unwrap_or_default())
        }
    }
}

fn say_vow(vow: &Vow) -> String {
    let stage = match vow.stage {
        Stage::Endorse => "endorse",
        Stage::Attest => "attest",
    };
    format!("{stage} {} in slot {}", name(vow.block), vow.slot)
}

fn name(block: BlockRef) -> String {
    let letters: String =
        block.hash.as_bytes().iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect();
    if letters.is_empty() { "genesis".to_owned() } else { letters }
}
