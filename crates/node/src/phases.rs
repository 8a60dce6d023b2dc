//! How long each phase of a block takes, told from what the heart heard and ordered.
//!
//! ```text
//!   wanted ──plan──► Open ──build──► Seal ──seal──► Sealed    Commit ──commit──► Committed    Import ──import──► HeadsSet
//! ```
//!
//! A phase lasts from the first order for a block until it is done, however often a call is repeated; how long single calls take is
//! counted beside it. A block is wanted from the moment at which it could be opened if what it cites were known: its parent is the head,
//! and its slot may be built for, or somebody demanded it.

use sequencer::{Effect, Event, Role, Timetable};
use types::{BlockHash, BuildId, Millis, Timestamp};

/// A phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Phase {
    /// From wanting the next block to ordering it: L1's block is looked up.
    Plan,
    /// From ordering it to ordering that it be sealed: it takes transactions.
    Build,
    /// From there until it is sealed.
    Seal,
    /// From giving it to the conductor until that holds it.
    Commit,
    /// From ordering its import until it is the head.
    Import,
}

/// Where the block that is being made stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phases {
    begun: bool,
    /// Since when nothing is being made.
    idle: Option<Timestamp>,
    /// Since when somebody waits for a block on demand.
    demanded: Option<Timestamp>,
    opened: Option<(BuildId, Timestamp)>,
    sealing: Option<(BuildId, Timestamp)>,
    committing: Option<(BlockHash, Timestamp)>,
    importing: Option<(BlockHash, Timestamp)>,
}

impl Phases {
    /// The phases that end with this step, and how long they were.
    pub(crate) fn step(
        &mut self,
        at: Timestamp,
        timetable: &Timetable,
        event: &Event,
        effects: &[Effect],
    ) -> Vec<(Phase, Millis)> {
        if !std::mem::replace(&mut self.begun, true) {
            self.idle = Some(at);
        }
        let ended = self.hear(at, event);
        ended.into_iter().chain(effects.iter().filter_map(|effect| self.order(at, timetable, effect))).collect()
    }

    fn hear(&mut self, at: Timestamp, event: &Event) -> Option<(Phase, Millis)> {
        match event {
            Event::Sealed { build, .. } => ended(Phase::Seal, &mut self.sealing, *build, at),
            Event::Committed { block } => ended(Phase::Commit, &mut self.committing, *block, at),
            Event::HeadsSet { block } => {
                let ended = ended(Phase::Import, &mut self.importing, *block, at)?;
                self.idle = Some(at);
                Some(ended)
            }
            Event::NothingToSeal { .. } | Event::Start | Event::Leadership(Role::Leader) => {
                self.idle = Some(at);
                None
            }
            Event::Stop | Event::Leadership(Role::Follower) => {
                self.idle = None;
                None
            }
            Event::Demand { .. } => {
                self.demanded.get_or_insert(at);
                None
            }
            Event::Wake
            | Event::Opened { .. }
            | Event::OpenFailed { .. }
            | Event::SealFailed { .. }
            | Event::Imported { .. }
            | Event::ImportFailed { .. }
            | Event::SetHeadsFailed { .. }
            | Event::HeadsTold { .. }
            | Event::ConductorTold { .. }
            | Event::OriginTold { .. }
            | Event::L1Found { .. }
            | Event::LookUpFailed { .. }
            | Event::AskFailed { .. }
            | Event::Fetched { .. }
            | Event::CommitFailed { .. }
            | Event::Proposed { .. }
            | Event::Attested { .. }
            | Event::Announced { .. }
            | Event::Landed { .. }
            | Event::L1Moved { .. }
            | Event::Recover(_) => None,
        }
    }

    fn order(&mut self, at: Timestamp, timetable: &Timetable, effect: &Effect) -> Option<(Phase, Millis)> {
        match effect {
            Effect::Open { build, attributes } if self.opened.is_none_or(|(opened, _)| opened != *build) => {
                self.opened = Some((*build, at));
                let demanded = self.demanded.take();
                let due = demanded.unwrap_or_else(|| timetable.opens_at(attributes.slot));
                self.idle.take().map(|idle| (Phase::Plan, at.since(idle.max(due))))
            }
            Effect::Seal { build } if self.sealing.is_none_or(|(sealing, _)| sealing != *build) => {
                self.sealing = Some((*build, at));
                let (_, since) = self.opened.filter(|(opened, _)| opened == build)?;
                Some((Phase::Build, at.since(since)))
            }
            Effect::Cancel { .. } => {
                (self.opened, self.sealing) = (None, None);
                self.idle.get_or_insert(at);
                None
            }
            Effect::Commit(payload) => begin(&mut self.committing, payload.block.hash, at),
            Effect::Import(payload) => begin(&mut self.importing, payload.block.hash, at),
            Effect::Open { .. }
            | Effect::Seal { .. }
            | Effect::Persist(_)
            | Effect::Propose(_)
            | Effect::Attest(_)
            | Effect::Announce(_)
            | Effect::SetHeads(_)
            | Effect::Publish(_)
            | Effect::Fetch { .. }
            | Effect::AskHeads { .. }
            | Effect::AskConductor { .. }
            | Effect::AskOrigin { .. }
            | Effect::LookUp { .. }
            | Effect::Penalize { .. }
            | Effect::Halt(_) => None,
        }
    }
}

/// A repeated order is of the same block, and begins nothing.
fn begin(running: &mut Option<(BlockHash, Timestamp)>, block: BlockHash, at: Timestamp) -> Option<(Phase, Millis)> {
    if running.is_none_or(|(running, _)| running != block) {
        *running = Some((block, at));
    }
    None
}

fn ended<T: PartialEq>(
    phase: Phase,
    running: &mut Option<(T, Timestamp)>,
    what: T,
    at: Timestamp,
) -> Option<(Phase, Millis)> {
    let (_, since) = running.take_if(|(running, _)| *running == what)?;
    Some((phase, at.since(since)))
}

#[cfg(test)]
mod tests {
    use Phase::{Build, Commit, Import, Plan, Seal};
    use sequencer::{Stamp, TimetableConfig};
    use types::{Attributes, BlockNumber, BlockRef, Failure, Heads, Payload, Slot};

    use super::*;

    /// Slots of a second from the epoch on, built for 300 ms ahead.
    fn timetable() -> Timetable {
        let config = TimetableConfig {
            genesis: Timestamp::from_millis(0),
            slot: Millis::new(1_000),
            build_ahead: Millis::new(300),
            seal_lead: Millis::new(50),
            stamp: Stamp::Closing,
        };
        Timetable::new(config).expect("it makes sense")
    }

    fn payload() -> Payload {
        let (number, hash) = (BlockNumber::new(1), BlockHash::new([1; 32]));
        let block = BlockRef { number, hash, ..BlockRef::default() };
        Payload { slot: Slot::new(5), block, origin: None, body: bytes::Bytes::new() }
    }

    fn open(build: u64) -> Effect {
        let parent = BlockRef::default();
        let (slot, timestamp) = (Slot::new(5), Timestamp::from_millis(6_000));
        let attributes = Attributes { slot, parent, timestamp, origin: None, use_pool: true };
        Effect::Open { build: BuildId::new(build), attributes }
    }

    fn seal(build: u64) -> Effect {
        Effect::Seal { build: BuildId::new(build) }
    }

    fn import_failed() -> Event {
        Event::ImportFailed { block: payload().block.hash, failure: Failure::Retry }
    }

    fn head() -> Event {
        Event::HeadsSet { block: payload().block.hash }
    }

    /// What happens at which millisecond, and which phases end with that.
    type Row = (u64, Event, Vec<Effect>, Vec<(Phase, u64)>);

    #[track_caller]
    fn check(rows: impl IntoIterator<Item = Row>) {
        let mut phases = Phases::default();
        for (at, event, effects, expected) in rows {
            let ended = phases.step(Timestamp::from_millis(at), &timetable(), &event, &effects);
            let ended: Vec<_> = ended.into_iter().map(|(phase, took)| (phase, took.as_u64())).collect();
            assert_eq!(ended, expected, "at {at}: {event:?}");
        }
    }

    #[test]
    fn a_block_goes_through_each_phase_once() {
        let (build, heads) = (BuildId::new(1), Heads::at(payload().block));
        check([
            // Before 4.7 s slot 5 may not be built for: that is no part of the plan.
            (4_000, Event::Wake, vec![], vec![]),
            (4_760, Event::Wake, vec![open(1)], vec![(Plan, 60)]),
            (4_770, Event::Opened { build }, vec![], vec![]),
            (5_950, Event::Wake, vec![seal(1)], vec![(Build, 1_190)]),
            (5_960, Event::Sealed { build, payload: payload() }, vec![Effect::Commit(payload())], vec![(Seal, 10)]),
            (
                5_980,
                Event::Committed { block: payload().block.hash },
                vec![Effect::Import(payload())],
                vec![(Commit, 20)],
            ),
            (6_000, Event::Wake, vec![Effect::SetHeads(heads)], vec![]),
            (6_010, head(), vec![], vec![(Import, 30)]),
            // The same answer once more, as when heads move for what landed.
            (6_020, head(), vec![open(2)], vec![(Plan, 10)]),
        ]);
    }

    #[test]
    fn what_is_repeated_lasts_from_the_first_order_on() {
        let build = BuildId::new(1);
        let failed = |failure| Event::SealFailed { build, failure };
        check([
            (5_000, Event::Wake, vec![open(1)], vec![(Plan, 0)]),
            (5_100, Event::OpenFailed { build, failure: Failure::Retry }, vec![], vec![]),
            (5_200, Event::Wake, vec![open(1)], vec![]),
            (5_900, Event::Wake, vec![seal(1)], vec![(Build, 900)]),
            (5_910, failed(Failure::Retry), vec![], vec![]),
            (5_950, Event::Wake, vec![seal(1)], vec![]),
            (6_000, Event::Sealed { build, payload: payload() }, vec![Effect::Import(payload())], vec![(Seal, 100)]),
            (6_100, import_failed(), vec![], vec![]),
            (6_200, Event::Wake, vec![Effect::Import(payload())], vec![]),
            (6_400, head(), vec![], vec![(Import, 400)]),
        ]);
    }

    #[test]
    fn what_is_given_up_is_no_phase_and_a_pause_is_no_plan() {
        let cancel = || Effect::Cancel { build: BuildId::new(1) };
        check([
            (5_000, Event::Wake, vec![open(1)], vec![(Plan, 0)]),
            (5_500, Event::Wake, vec![cancel()], vec![]),
            (5_600, Event::Wake, vec![open(2)], vec![(Plan, 100)]),
            (5_700, Event::Stop, vec![cancel()], vec![]),
            (9_000, Event::Start, vec![], vec![]),
            (9_030, Event::Wake, vec![open(3)], vec![(Plan, 30)]),
        ]);
    }

    #[test]
    fn on_demand_the_plan_begins_with_the_demand() {
        let demand = || Event::Demand { date: Timestamp::from_secs(1) };
        check([
            (90_000, Event::Wake, vec![], vec![]),
            (95_000, demand(), vec![open(1)], vec![(Plan, 0)]),
            (95_010, demand(), vec![], vec![]),
            (95_020, Event::NothingToSeal { build: BuildId::new(1) }, vec![open(2)], vec![(Plan, 0)]),
        ]);
    }
}
