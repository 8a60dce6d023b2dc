//! The heart: decides what a sequencer does next. Pure.
//!
//! ```text
//!            ┌────────────────────────── driver ──────────────────────────┐
//!   events   │  clock · backend · conductor · gossip · log · operator      │
//!  ─────────►│                                                             │
//!            │   step(now, event) ─────► effects, performed in order ──┐   │
//!            │        ▲                                                │   │
//!            │        └──────── answers come back as events ◄──────────┘   │
//!            └────────────────────────────────────────────────────────────┘
//! ```

mod agreement;
mod attempt;
mod build;
mod catch_up;
mod config;
mod effect;
mod event;
mod memory;
mod mutants;
mod publication;
mod sequencer;
mod timetable;

pub use catch_up::PARKED_MAX;
pub use config::{AgreementConfig, Backoff, Config};
pub use effect::{Call, Effect, Effects, HaltReason, Offence, Record};
pub use event::{Event, Peer, QueryId, Role};
pub use memory::Memory;
#[cfg(feature = "mutants")]
pub use mutants::Mutant;
pub use sequencer::{Sequencer, Standing};
pub use timetable::{SLOT_MAX, SLOT_MIN, Stamp, Timetable, TimetableConfig, TimetableFault};
