//! The world around the heart: one seed, virtual time, everything that can go wrong.
//!
//! A [`World`] holds a few hearts and plays clock, links, disks, backends and conductor for them; its [`invariants`] are checked at
//! every effect. A [`Scenario`] first lets things go wrong, then heals the world and demands that it converges.
//!
//! What it deliberately does not know: anything of the heart beyond its public contract. It never looks inside.
//!
//! ```
//! let outcome = sim::Scenario::new(sim::Mode::Committee, 7).run().expect("no violation");
//! assert!(outcome.blocks > 0);
//! assert_eq!(outcome.digest, sim::Scenario::new(sim::Mode::Committee, 7).run().expect("the same").digest);
//! ```

mod agenda;
mod backend;
mod conductor;
mod dice;
mod digest;
mod faults;
pub mod invariants;
mod l1;
mod scenario;
mod truth;
mod world;

pub use dice::{Dice, Permille};
pub use faults::{FaultRanges, Faults};
pub use scenario::{Failed, Outcome, Scenario, converge_slots, drawn_faults, mutant_named, mutants};
pub use truth::Truth;
pub use world::{Counts, Mode, SLOT, World};
