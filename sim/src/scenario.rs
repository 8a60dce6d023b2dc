//! One run: things go wrong, then they stop, and the nodes must come together.

use std::fmt;

use sequencer::Mutant;

use crate::dice::Dice;
use crate::faults::{FaultRanges, Faults};
use crate::invariants::Violation;
use crate::world::{Counts, Mode, World};

/// Blocks that must be decided after the world is healed.
const BLOCKS_AFTER_HEALING: u64 = 3;

/// What to run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How the nodes agree.
    pub mode: Mode,
    /// Decides all else.
    pub seed: u64,
    /// How long things go wrong.
    pub slots: u64,
    /// A mistake to put into every heart.
    pub mutant: Option<Mutant>,
    /// What goes wrong; drawn from the seed unless given.
    pub faults: Option<Faults>,
    /// Print every step?
    pub trace: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What went wrong, and how often.
    pub faults: Faults,
    /// Nodes, and how many of them were faulty.
    pub nodes: (usize, usize),
    /// Blocks decided while things went wrong.
    pub blocks: u64,
    /// Slots that the healed world took to converge.
    pub converged_in: u64,
    /// Numbers.
    pub counts: Counts,
    /// The same for the same scenario.
    pub digest: u128,
}

/// What must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// Something that must never be was.
    Safety {
        /// What.
        violation: Violation,
        /// In which slot.
        slot: u64,
    },
    /// The healed world did not come together.
    Liveness {
        /// The slots that it had.
        slots: u64,
    },
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Safety { violation: Violation { invariant, node, what }, slot } => {
                write!(f, "slot {slot}: {invariant}: node {node} {what}")
            }
            Self::Liveness { slots } => write!(f, "liveness: no convergence within {slots} slots after the last fault"),
        }
    }
}

/// Slots that a healed world may take to converge: for members, several rounds of turns, since those that are faulty stay so.
pub fn converge_slots(mode: Mode, nodes: usize) -> u64 {
    match mode {
        Mode::Solo | Mode::OnDemand => 12,
        Mode::L1 | Mode::Rollup => 60,
        Mode::Conductor => 20,
        Mode::Committee => 6 * nodes as u64,
    }
}

impl Scenario {
    /// A short run of this seed, with faults drawn from it.
    pub fn new(mode: Mode, seed: u64) -> Self {
        Self { mode, seed, slots: 60, mutant: None, faults: None, trace: false }
    }

    /// Runs it.
    ///
    /// # Errors
    /// What should not have happened.
    pub fn run(&self) -> Result<Outcome, Failed> {
        let faults = self.faults.unwrap_or_else(|| drawn_faults(self.seed));
        let mut world = World::new(self.mode, self.seed, self.mutant, faults);
        if self.trace {
            world.trace();
        }
        let passed = world.pass(self.slots + 10);
        let slot = world.slot().as_u64();
        passed.map_err(|violation| Failed::Safety { violation, slot })?;
        let blocks = world.height();
        world.heal();
        let (nodes, _) = world.size();
        let (slots, goal) = (converge_slots(self.mode, nodes), blocks + BLOCKS_AFTER_HEALING);
        let converged = world.pass_until_done(slots, |world| world.has_converged(goal));
        let slot = world.slot().as_u64();
        let converged_in =
            converged.map_err(|violation| Failed::Safety { violation, slot })?.ok_or(Failed::Liveness { slots })?;
        Ok(Outcome {
            faults,
            nodes: world.size(),
            blocks,
            converged_in,
            counts: world.counts(),
            digest: world.digest(),
        })
    }

    /// The command that runs this again.
    pub fn replay(&self) -> String {
        let mode = match self.mode {
            Mode::Solo => "solo",
            Mode::OnDemand => "on-demand",
            Mode::L1 => "l1",
            Mode::Conductor => "conductor",
            Mode::Rollup => "rollup",
            Mode::Committee => "committee",
        };
        let mutant = self.mutant.map(|mutant| format!(" --mutant {}", name(mutant))).unwrap_or_default();
        let mut drawn = drawn_faults(self.seed);
        let mut given = self.faults.unwrap_or(drawn);
        let changed = Faults::NAMES.iter().filter_map(|name| {
            let (given, drawn) = (*given.named(name)?, *drawn.named(name)?);
            (given != drawn).then(|| format!(" --fault {name}={given}"))
        });
        let changed: String = changed.collect();
        format!(
            "cargo run --release -p sim -- --mode {mode} --seed {} --slots {}{mutant}{changed}",
            self.seed, self.slots
        )
    }
}

/// What goes wrong in a run of this seed.
pub fn drawn_faults(seed: u64) -> Faults {
    Faults::draw(&FaultRanges::default(), &mut Dice::of(seed ^ 0x5eed))
}

/// All mistakes, the mode in which each shows, and its name on the command line.
pub fn mutants() -> &'static [(Mutant, Mode, &'static str)] {
    &[
        (Mutant::GossipBeforeCommit, Mode::Conductor, "gossip-before-commit"),
        (Mutant::TrustUnclearCommit, Mode::Conductor, "trust-unclear-commit"),
        (Mutant::SealWithoutLeadership, Mode::Conductor, "seal-without-leadership"),
        (Mutant::LeadWithoutAsking, Mode::Conductor, "lead-without-asking"),
        (Mutant::RebuildOnRetry, Mode::Conductor, "rebuild-on-retry"),
        (Mutant::AcceptStale, Mode::Conductor, "accept-stale"),
        (Mutant::ForgetVow, Mode::Committee, "forget-vow"),
        (Mutant::SpeakBeforePersist, Mode::Committee, "speak-before-persist"),
        (Mutant::HalfQuorum, Mode::Committee, "half-quorum"),
        (Mutant::CountSignatures, Mode::Committee, "count-signatures"),
        (Mutant::OmitParentCertificate, Mode::Committee, "omit-parent-certificate"),
        (Mutant::IgnoreLock, Mode::Committee, "ignore-lock"),
        (Mutant::VowTwice, Mode::Committee, "vow-twice"),
        (Mutant::AnnounceProposal, Mode::Committee, "announce-proposal"),
        (Mutant::LoseUnclearAnswer, Mode::OnDemand, "lose-unclear-answer"),
        (Mutant::DropOnImportFailure, Mode::Solo, "drop-on-import-failure"),
        (Mutant::AskWithoutPatience, Mode::Solo, "ask-without-patience"),
        (Mutant::AnnounceBeforePersist, Mode::Solo, "announce-before-persist"),
        (Mutant::BurstAfterDowntime, Mode::Solo, "burst-after-downtime"),
        (Mutant::HeadsGoBack, Mode::Solo, "heads-go-back"),
        (Mutant::ChaseOutlier, Mode::L1, "chase-outlier"),
        (Mutant::LeadWithoutBound, Mode::L1, "lead-without-bound"),
        (Mutant::AdvanceEarly, Mode::L1, "advance-early"),
        (Mutant::StayPastDrift, Mode::L1, "stay-past-drift"),
        (Mutant::PoolPastDrift, Mode::L1, "pool-past-drift"),
        (Mutant::StayOnLostOrigin, Mode::L1, "stay-on-lost-origin"),
        (Mutant::RecoverWithPool, Mode::L1, "recover-with-pool"),
        (Mutant::NeverRecover, Mode::L1, "never-recover"),
        (Mutant::IgnoreSafeLag, Mode::L1, "ignore-safe-lag"),
        (Mutant::IgnoreReorganisation, Mode::L1, "ignore-reorganisation"),
        (Mutant::SkipSlots, Mode::L1, "skip-slots"),
    ]
}

/// The mistake of this name.
pub fn mutant_named(text: &str) -> Option<Mutant> {
    mutants().iter().find(|(_, _, name)| *name == text).map(|(mutant, ..)| *mutant)
}

fn name(wanted: Mutant) -> &'static str {
    mutants().iter().find(|(mutant, ..)| *mutant == wanted).map_or("", |(_, _, name)| name)
}
