//! The heart: decides what a sequencer does next. Pure.
//!
//! One loop serves three jobs: *plan, build, seal, agree, import, publish*. They differ in who may lead a slot and in when a sealed
//! block counts as decided ([`AgreementConfig`]); everything else is the same code.
//!
//! ```text
//!                 ┌───────────────────────────── driver ─────────────────────────────┐
//!                 │  clock · backend · conductor · carrier of messages · log · admin  │
//!                 └──┬────────────────────────────────────────────────────────────▲──┘
//!        one event   │   ┌───────────────────────────────────────────────────┐    │  effects, performed in
//!                    └──►│ stale? ─► hear ─► advance: repeat · decide · agree │────┘  order; what takes time
//!                        │              · import · catch up · open · seal     │       comes back as an event
//!                        └───────────────────────────────────────────────────┘
//!
//!   solo       Open ⇢ Seal ⇢ Persist · Announce · Import ⇢ SetHeads · Publish
//!   conductor  Open ⇢ Seal ⇢ Commit ⇢ Announce · Import ⇢ SetHeads · Publish
//!   committee  Open ⇢ Seal ⇢ Persist(vow) · Propose · Attest(endorse) ⇢ (quorum) Persist(vow, lock) · Attest(attest)
//!                  ⇢ (quorum) Persist(certificate) · Announce · Import ⇢ SetHeads · Publish
//!   attester   Import ⇢ (valid) Persist(vow) · Attest(endorse) ⇢ (quorum) Persist(vow, lock) · Attest(attest)
//!                  ⇢ (certificate) Persist(certificate) · SetHeads
//!   follower   Import ⇢ SetHeads
//!   citing L1  AskOrigin ⇢ LookUp (by hash) ⇢ LookUp (by number) ⇢ and only then Open
//! ```
//!
//! What it deliberately does not know: what time it is (every step is told), chance, transactions, the body of a block, how anything
//! is signed or encoded, whether an effect has been performed (an event will say so), and what a log line or a metric is: the driver
//! derives both from the pair of event and effects. Collections are ordered and bounded, so two runs over the same events are equal,
//! and a recorded run can be decided again elsewhere.
//!
//! Start with [`Sequencer`], which decides, and [`Event`] and [`Effect`], which are all that it can hear and say.
//!
//! ```
//! use sequencer::{AgreementConfig, Backoff, Config, Effect, Effects, Event, Sequencer, Timetable};
//! use types::{BlockHash, BlockRef, Heads, Millis, Payload, Timestamp, Verdict};
//!
//! let start = Timestamp::from_secs(1_700_000_000);
//! let timetable = Timetable::gapless(start, Millis::new(1_000)).expect("a slot of one second is fine");
//! let config = Config { timetable, agreement: AgreementConfig::Solo, active: true, backoff: Backoff::default(), seal_lead_adapts: false, origins: None };
//! let mut heart = Sequencer::new(config, Heads::at(BlockRef::default()));
//!
//! // A driver in miniature: everything succeeds at once, and time passes when there is nothing else to do.
//! let (mut now, mut events, mut effects, mut attributes) = (start, vec![Event::Wake], Effects::new(), None);
//! while heart.heads().unsafe_head().number.as_u64() < 3 {
//!     let event = events.pop().unwrap_or_else(|| {
//!         now = heart.deadline();
//!         Event::Wake
//!     });
//!     heart.step(now, event, &mut effects);
//!     for effect in effects.drain() {
//!         match effect {
//!             Effect::Open { build, attributes: wanted } => {
//!                 attributes = Some(wanted);
//!                 events.push(Event::Opened { build });
//!             }
//!             Effect::Seal { build } => {
//!                 let wanted = attributes.expect("opened before it is sealed");
//!                 let number = wanted.parent.number.next();
//!                 let hash = BlockHash::new([number.as_u64() as u8; 32]);
//!                 let block = BlockRef { number, hash, parent: wanted.parent.hash, timestamp: wanted.timestamp };
//!                 let payload = Payload { slot: wanted.slot, block, origin: None, body: Default::default() };
//!                 events.push(Event::Sealed { build, payload });
//!             }
//!             Effect::Import(payload) => {
//!                 events.push(Event::Imported { block: payload.block.hash, verdict: Verdict::Valid });
//!             }
//!             Effect::SetHeads(heads) => events.push(Event::HeadsSet { block: heads.unsafe_head().hash }),
//!             // A real driver persists, announces and publishes here.
//!             _ => {}
//!         }
//!     }
//! }
//! assert_eq!(now, start.after(Millis::new(3_000)));
//! ```
//!
//! Where things are: `sequencer.rs` the loop, `sequencer/hearing.rs` what each event changes; `build.rs` the one build; `agreement/` the three ways to agree; `publication.rs` from
//! decided to canonical; `origin.rs` which L1 block is cited, where a chain cites any; `catch_up.rs` what is decided above our head; `timetable.rs` when slots are; `lead.rs` how long before its slot's end a build is sealed; `memory.rs` what outlives the
//! process. `tests/tables` says what it does, event by event; `sim` attacks it.

mod agreement;
mod attempt;
mod build;
mod catch_up;
mod config;
mod demands;
mod effect;
mod event;
mod lead;
mod memory;
mod mutants;
pub mod origin;
mod publication;
mod sequencer;
mod timetable;

pub use catch_up::PARKED_MAX;
pub use config::{AgreementConfig, Backoff, Config};
pub use demands::DEMANDS_MAX;
pub use effect::{Call, Effect, Effects, HaltReason, Offence, Record};
pub use event::{Event, Peer, QueryId, Role};
pub use lead::{LEAD_MIN, LEAD_SLOT_PARTS, longest as lead_longest, with_headroom as lead_with_headroom};
pub use memory::Memory;
#[cfg(feature = "mutants")]
pub use mutants::Mutant;
pub use sequencer::{Sequencer, Standing};
pub use timetable::{SLOT_MAX, SLOT_MIN, Stamp, Timetable, TimetableConfig, TimetableFault};
