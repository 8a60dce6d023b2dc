//! Whether blocks are being built, and if not, why, and what would help.

use std::fmt;

use sequencer::origin::Recovery;
use sequencer::{Event, Standing};
use types::{BlockRef, Millis, Timestamp};

/// Slots without a block after which a chain does not count as ready.
const SLOTS_SILENT_MAX: u64 = 2;

/// The driver's state as others may see it. Always the newest is kept, see [`crate::DriverHandle::pulse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Length of a slot.
    pub slot: Millis,
    /// The newest block.
    pub head: BlockRef,
    /// When the driver last set a head, or sealed nothing where nothing was due; when it started, before the first time.
    pub beat: Timestamp,
    /// What the sequencer is doing.
    pub standing: Standing,
    /// Whether the operator lets it lead.
    pub active: bool,
    /// Whether nothing is on its way that may still become the head ([`sequencer::Sequencer::is_settled`]).
    pub settled: bool,
    /// What failed last, since the last beat.
    pub trouble: Option<Trouble>,
    /// The height on L1 without which no block can be built, while L1 does not have it ([`sequencer::Sequencer::awaits_l1`]).
    pub awaits_l1: Option<u64>,
    /// Whether nothing is built until more is safe ([`sequencer::Sequencer::awaits_safe`]).
    pub awaits_safe: bool,
    /// Why blocks are those that derivation makes by itself, while they are ([`sequencer::Sequencer::recovery`]).
    pub recovery: Option<Recovery>,
    /// Whether blocks are built on demand, and not by the clock.
    pub on_demand: bool,
    /// How many demands were answered, where blocks are built on demand.
    pub served: u64,
}

/// Something that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// When.
    pub at: Timestamp,
    /// With whom.
    pub with: Party,
    /// What and why, for people.
    pub what: String,
}

/// Whom the driver calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// Where blocks are made.
    Backend,
    /// Who elects and commits.
    Conductor,
    /// The chain below.
    L1,
}

impl Party {
    /// Who was called, if this answers a call that failed.
    pub(crate) const fn of(event: &Event) -> Self {
        match event {
            Event::LookUpFailed { .. } => Self::L1,
            Event::CommitFailed { .. } => Self::Conductor,
            _ => Self::Backend,
        }
    }
}

/// Whether requests should be sent to this process, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Blocks come as they should; says which came last.
    Ready(String),
    /// They do not.
    NotReady(Blocked),
}

/// What keeps blocks from coming.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// In one word, for programs.
    pub cause: BlockedBy,
    /// What is seen, for people.
    pub why: String,
    /// What would help.
    pub remedy: String,
}

/// What keeps blocks from coming, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockedBy {
    /// The sequencer has given up.
    Halted,
    /// The operator keeps it from leading.
    Stopped,
    /// L1 does not have the block that has to be cited next.
    AwaitsL1,
    /// The newest block is as far ahead of the safe one as it may be.
    AwaitsSafe,
    /// Calls of somebody fail.
    Failing(Party),
    /// It gets blocks that it lacks.
    CatchingUp,
    /// It follows, and nobody leads.
    Following,
    /// Something that was asked for has not been answered yet.
    Unanswered,
}

impl fmt::Display for BlockedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Halted => "halted",
            Self::Stopped => "stopped",
            Self::AwaitsL1 => "awaits_l1",
            Self::AwaitsSafe => "awaits_safe",
            Self::Failing(Party::Backend) => "backend_failing",
            Self::Failing(Party::Conductor) => "conductor_failing",
            Self::Failing(Party::L1) => "l1_failing",
            Self::CatchingUp => "catching_up",
            Self::Following => "following",
            Self::Unanswered => "unanswered",
        })
    }
}

impl BlockedBy {
    /// What would help, as far as the driver knows: not which chain, and not which flags.
    const fn remedy(self) -> &'static str {
        match self {
            Self::Halted => "read the last error in the log, mend what it names, and start the process again",
            Self::Stopped => "start it again when it is to build blocks",
            Self::AwaitsL1 => {
                "it goes on by itself when L1 does; if L1 has that block, the endpoints lag behind: name others"
            }
            Self::AwaitsSafe => {
                "see that the batcher publishes and that its blocks are derived; it goes on by itself when more is safe"
            }
            Self::Failing(Party::Backend) => "mend what it names; the call is repeated until it succeeds",
            Self::Failing(Party::Conductor) => {
                "see that the conductor runs, is reached from here and has a leader; the call is repeated"
            }
            Self::Failing(Party::L1) => {
                "see that L1's endpoints answer, or name others; they are asked again and again"
            }
            Self::CatchingUp => "wait until it has caught up",
            Self::Following => "see who leads, and whether its blocks arrive here",
            Self::Unanswered => "wait; if it lasts, look at the machine's processors and disk, and at the log",
        }
    }
}

impl Pulse {
    /// Not ready when there was no block for two block times, with the reason as far as it is known.
    #[must_use]
    pub fn readiness(&self, now: Timestamp) -> Readiness {
        let head = self.head.number;
        let age = now.since(self.beat);
        if let Standing::Halted(reason) = &self.standing {
            let why = format!("the sequencer halted at block {head}: {reason:?}");
            return Self::blocked(BlockedBy::Halted, why);
        }
        if self.on_demand && self.trouble.is_none() && self.active {
            return Readiness::Ready(format!("block {head}, {age} ago; the next one comes when it is asked for"));
        }
        if age <= self.slot.times(SLOTS_SILENT_MAX) {
            let recovering = match self.recovery {
                None => "",
                Some(Recovery::Ordered) => "; recovering as it was told to: blocks are empty",
                Some(Recovery::WindowEnds) => "; recovering near the end of the sequencing window: blocks are empty",
            };
            return Readiness::Ready(format!("block {head}, {age} ago, one due every {}{recovering}", self.slot));
        }
        let (cause, why) = self.cause();
        Self::blocked(cause, format!("no block for {age} after block {head}, one is due every {}: {why}", self.slot))
    }

    fn blocked(cause: BlockedBy, why: String) -> Readiness {
        Readiness::NotReady(Blocked { cause, why, remedy: cause.remedy().to_owned() })
    }

    /// The operator's word goes before what failed, and what L1 lacks before what failed on the way to it.
    fn cause(&self) -> (BlockedBy, String) {
        if !self.active {
            return (BlockedBy::Stopped, "it was told not to lead".to_owned());
        }
        if let Some(number) = self.awaits_l1 {
            let why = "it has run too far ahead of the L1 block that it cites, and L1 does not have block";
            return (BlockedBy::AwaitsL1, format!("{why} {number}, or not as deep as it has to be"));
        }
        if self.awaits_safe {
            let why = "the newest block is as far ahead of the safe one as it may be";
            return (BlockedBy::AwaitsSafe, why.to_owned());
        }
        if let Some(trouble) = &self.trouble {
            return (BlockedBy::Failing(trouble.with), trouble.what.clone());
        }
        match &self.standing {
            Standing::CatchingUp { to } => (BlockedBy::CatchingUp, format!("it is catching up to block {}", to.number)),
            Standing::Following => (BlockedBy::Following, "it follows, and nothing came".to_owned()),
            Standing::Leading | Standing::Halted(_) => {
                (BlockedBy::Unanswered, "what it waits for has not been answered".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leading() -> Pulse {
        Pulse {
            on_demand: false,
            served: 0,
            slot: Millis::new(1000),
            head: BlockRef::default(),
            beat: Timestamp::from_millis(10_000),
            standing: Standing::Leading,
            active: true,
            settled: true,
            trouble: None,
            awaits_l1: None,
            awaits_safe: false,
            recovery: None,
        }
    }

    #[test]
    fn silence_for_two_block_times_is_not_ready_and_says_why_and_what_would_help() {
        let at = Timestamp::from_millis;
        let pulse = leading();
        assert!(matches!(pulse.readiness(at(12_000)), Readiness::Ready(_)));
        let trouble = |with, what: &str| Some(Trouble { at: at(0), with, what: what.into() });
        let full = trouble(Party::Backend, "sealing: disk full");
        let rows = [
            (Pulse { ..pulse.clone() }, "unanswered", "not been answered"),
            (Pulse { trouble: full.clone(), ..pulse.clone() }, "backend_failing", "disk full"),
            (Pulse { trouble: trouble(Party::L1, "no answer"), ..pulse.clone() }, "l1_failing", "no answer"),
            (Pulse { trouble: trouble(Party::Conductor, "refused"), ..pulse.clone() }, "conductor_failing", "refused"),
            (Pulse { active: false, standing: Standing::Following, ..pulse.clone() }, "stopped", "told not to lead"),
            // What failed before it was stopped is no reason any more.
            (Pulse { active: false, trouble: full.clone(), ..pulse.clone() }, "stopped", "told not to lead"),
            (Pulse { standing: Standing::Following, ..pulse.clone() }, "following", "nothing came"),
            (Pulse { awaits_l1: Some(101), ..pulse.clone() }, "awaits_l1", "L1 does not have block 101"),
            (Pulse { awaits_safe: true, ..pulse.clone() }, "awaits_safe", "ahead of the safe one"),
            (Pulse { awaits_l1: Some(101), trouble: full, ..pulse.clone() }, "awaits_l1", "block 101"),
            (
                Pulse { standing: Standing::CatchingUp { to: BlockRef::default() }, ..pulse.clone() },
                "catching_up",
                "catching up",
            ),
        ];
        for (pulse, cause, why) in rows {
            let Readiness::NotReady(blocked) = pulse.readiness(at(12_001)) else { panic!("{why}") };
            assert!(blocked.why.contains(why) && blocked.why.contains("2001ms"), "{blocked:?}");
            assert_eq!(blocked.cause.to_string(), cause);
            assert!(!blocked.remedy.is_empty(), "{blocked:?}");
        }
        // A clock that went back does not make the past a reason.
        assert!(matches!(pulse.readiness(at(0)), Readiness::Ready(_)));
    }

    #[test]
    fn blocks_that_are_empty_for_a_reason_say_it() {
        for (recovery, word) in [(Recovery::Ordered, "told"), (Recovery::WindowEnds, "window")] {
            let pulse = Pulse { recovery: Some(recovery), ..leading() };
            let readiness = pulse.readiness(pulse.beat);
            let told = matches!(&readiness, Readiness::Ready(why) if why.contains(word) && why.contains("empty"));
            assert!(told, "{readiness:?}");
        }
    }
}
