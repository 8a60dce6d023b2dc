//! How one heart is set up.

use serde::{Deserialize, Serialize};
use types::{BlockNumber, Committee, MemberId, Millis};

use crate::Timetable;
use crate::origin::OriginRules;

/// How one heart is set up. The same configuration, heads, memory and events make the same effects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// When slots are.
    pub timetable: Timetable,
    /// Who agrees.
    pub agreement: AgreementConfig,
    /// May this sequencer lead from the start, or only after [`crate::Event::Start`]? One that never leads is a follower.
    pub active: bool,
    /// How long to wait before a failed call is made again.
    pub backoff: Backoff,
    /// Does the time before its slot's end at which a build is sealed follow what blocks take from there to being the head? It begins
    /// with [`crate::TimetableConfig::seal_lead`], and stays between [`crate::LEAD_MIN`] and one part of the slot in
    /// [`crate::LEAD_SLOT_PARTS`]. Else, and in a committee, it is the timetable's for good.
    #[serde(default)]
    pub seal_lead_adapts: bool,
    /// How L1 blocks are chosen; `None` on a chain that cites none.
    ///
    /// With them, L1 decides in the end, and the backend derives the chain from it: where the backend says that it stands is where
    /// the chain goes on, even below or beside where it stood, but never below what is final. So the backend must not lose what is
    /// durable. And derivation takes no chain with gaps: one that leads alone, or is elected, builds for the slot after its head's,
    /// however late that is, and seals what is late as soon as it is open.
    #[serde(default)]
    pub origins: Option<OriginRules>,
}

/// Who may lead a slot, and when a payload is decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgreementConfig {
    /// One sequencer decides alone.
    Solo,
    /// The same, but blocks are built when one is asked for, not when a slot comes: for each [`crate::Event::Demand`] one. Slots are
    /// then mere numbers, and the timetable says nothing but how old a chain may look.
    ///
    /// Whoever demands blocks owns the chain, and may take it back or lead it elsewhere in the backend: where the backend says that it
    /// stands is where the chain goes on, and what it no longer has is not fetched. So the backend must not lose what is durable.
    OnDemand,
    /// Of a highly available set the conductor elects one, whose payloads are decided once the conductor holds them.
    Conductor,
    /// Members propose in turn; a quorum decides.
    Committee {
        /// Who agrees.
        committee: Committee,
        /// Our own place; `None` follows without a vote.
        me: Option<MemberId>,
        /// The block that the committee began on. It alone needs no certificate.
        began: BlockNumber,
        /// How often our messages of an undecided slot are sent again.
        resend: Millis,
    },
}

/// Waiting times between attempts: doubling from the first up to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Before the second attempt. Zero counts as 1 ms.
    pub first: Millis,
    /// Longest wait.
    pub longest: Millis,
}

impl Default for Backoff {
    /// 25 ms, doubling up to 2 s.
    fn default() -> Self {
        Self { first: Millis::new(25), longest: Millis::new(2_000) }
    }
}

impl Backoff {
    /// How long to wait after this many failures in a row, at least 1 ms.
    pub fn wait(&self, failures: u32) -> Millis {
        const DOUBLINGS_MAX: u32 = 32;
        let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
        let wait = self.first.max(Millis::new(1)).times(1 << doublings);
        wait.min(self.longest.max(Millis::new(1)))
    }
}
