//! What is counted, all of it derived from what the heart heard and ordered.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use sequencer::{Effect, Event, Role, Timetable};
use types::{BuildId, Failure, Millis, Slot, Timestamp};

use crate::phases::{Phase, Phases};

/// Seconds: from an empty block to a call that meets its deadline.
const DURATION_BUCKETS: [f64; 19] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Builds whose slot is remembered; one is outstanding at a time.
const BUILDS_MAX: usize = 8;

/// An outside call, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types)]
enum CallLabel {
    open,
    seal,
    import,
    set_heads,
    commit,
    ask,
    look_up,
    fetch,
}

/// What a failed call asks for, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types)]
enum FailureLabel {
    retry,
    reset,
    fatal,
}

/// Why a slot brought no block, or a late one, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types)]
enum MissLabel {
    open_failed,
    seal_failed,
    import_failed,
    set_heads_failed,
    commit_failed,
    ask_failed,
    /// L1 could not be asked.
    l1_failed,
    /// L1 does not have the block that has to be cited next.
    awaits_l1,
    /// The chain stood elsewhere than was thought, as after a reorganisation of L1.
    reset,
    catching_up,
    not_leading,
    /// Nothing was built before the process started.
    downtime,
    /// Nothing failed: something took long.
    slow,
}

/// A phase, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types)]
enum PhaseLabel {
    plan,
    build,
    seal,
    commit,
    import,
}

impl From<Phase> for PhaseLabel {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Plan => Self::plan,
            Phase::Build => Self::build,
            Phase::Seal => Self::seal,
            Phase::Commit => Self::commit,
            Phase::Import => Self::import,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    phase: PhaseLabel,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    call: CallLabel,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    call: CallLabel,
    failure: FailureLabel,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MissLabels {
    reason: MissLabel,
}

/// Counters of one driver. They are entered in a registry under `sequencer_`; with the registry's own prefix the names are
/// `sequenza_sequencer_<name>_<unit>`.
#[derive(Clone, Debug)]
pub struct Metrics {
    steps: Counter,
    blocks: Counter,
    empty_slots: Counter,
    missed: Family<MissLabels, Counter>,
    late: Family<MissLabels, Counter>,
    phases: Family<PhaseLabels, Histogram, fn() -> Histogram>,
    seal_lead: Gauge<f64, AtomicU64>,
    recovering: Gauge<u64, AtomicU64>,
    failures: Family<FailureLabels, Counter>,
    durations: Family<CallLabels, Histogram, fn() -> Histogram>,
    lag: Histogram,
    head: Gauge<u64, AtomicU64>,
    last_block: Gauge<f64, AtomicU64>,
    journal_errors: Counter,
    observed: Observed,
}

/// What earlier steps said that later ones need.
#[derive(Clone, Debug, Default)]
struct Observed {
    begun: BTreeMap<CallLabel, Timestamp>,
    slots: BTreeMap<BuildId, Slot>,
    /// The last slot that brought a block, or rightly none.
    filled: Option<Slot>,
    /// What keeps blocks from coming in time. Holds until one does.
    blamed: Option<MissLabel>,
    /// Has a block come in time since the start?
    in_time: bool,
    phases: Phases,
}

/// What the heart says of itself after a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stand {
    /// How long before its slot's end a build is sealed.
    pub(crate) seal_lead: Millis,
    /// Are blocks those that derivation makes by itself?
    pub(crate) recovers: bool,
    /// Does the next block wait for one that L1 does not have?
    pub(crate) awaits_l1: bool,
    /// Are slots mere numbers, and nothing late?
    pub(crate) on_demand: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            steps: Counter::default(),
            blocks: Counter::default(),
            empty_slots: Counter::default(),
            missed: Family::default(),
            late: Family::default(),
            phases: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)),
            seal_lead: Gauge::default(),
            recovering: Gauge::default(),
            failures: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)),
            lag: Histogram::new(DURATION_BUCKETS),
            head: Gauge::default(),
            last_block: Gauge::default(),
            journal_errors: Counter::default(),
            observed: Observed::default(),
        }
    }
}

impl Metrics {
    /// Counters that are entered in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let r = registry.sub_registry_with_prefix("sequencer");
        r.register("steps", "Steps of the decision loop", metrics.steps.clone());
        r.register("blocks", "Blocks built here that became part of the chain", metrics.blocks.clone());
        r.register("empty_slots", "Slots without a block because nothing waited", metrics.empty_slots.clone());
        r.register("missed_slots", "Slots that should have brought a block, by reason", metrics.missed.clone());
        r.register("late_blocks", "Blocks more than a block time late, by reason", metrics.late.clone());
        r.register(
            "phase_duration_seconds",
            "Phases of a block: plan, build, seal, commit, import",
            metrics.phases.clone(),
        );
        r.register("seal_lead_seconds", "How long before its slot's end a build is sealed", metrics.seal_lead.clone());
        r.register(
            "recovering",
            "1 while blocks are empty, as derivation makes them by itself, else 0",
            metrics.recovering.clone(),
        );
        r.register("failures", "Outside calls that failed, by call and what was to be done", metrics.failures.clone());
        r.register("call_duration_seconds", "Outside calls, from order to answer", metrics.durations.clone());
        r.register("block_lag_seconds", "From the end of a slot to its block being the head", metrics.lag.clone());
        r.register("head_number", "Number of the newest block", metrics.head.clone());
        r.register(
            "last_block_time_seconds",
            "Unix time at which the newest block became it",
            metrics.last_block.clone(),
        );
        r.register("journal_errors", "Steps that could not be written to the journal", metrics.journal_errors.clone());
        metrics
    }

    pub(crate) fn journal_failed(&self) {
        self.journal_errors.inc();
    }

    /// Takes in one step.
    pub(crate) fn observe(
        &mut self,
        at: Timestamp,
        timetable: &Timetable,
        event: &Event,
        effects: &[Effect],
        stand: Stand,
    ) {
        self.steps.inc();
        self.seal_lead.set(seconds(stand.seal_lead.as_u64()));
        self.recovering.set(stand.recovers.into());
        for (phase, took) in self.observed.phases.step(at, timetable, event, effects) {
            let labels = PhaseLabels { phase: phase.into() };
            self.phases.get_or_create(&labels).observe(seconds(took.as_u64()));
        }
        self.heard(at, event);
        if stand.awaits_l1 {
            self.observed.blamed = Some(MissLabel::awaits_l1);
        }
        for effect in effects {
            self.ordered(at, timetable, effect, stand);
        }
    }

    fn heard(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::Opened { .. } => self.answered(CallLabel::open, at),
            Event::Sealed { .. } => self.answered(CallLabel::seal, at),
            Event::NothingToSeal { build } => {
                self.answered(CallLabel::seal, at);
                self.empty_slots.inc();
                if let Some(slot) = self.observed.slots.remove(build) {
                    self.filled(slot, false);
                }
            }
            Event::Imported { .. } => self.answered(CallLabel::import, at),
            Event::HeadsSet { .. } => self.answered(CallLabel::set_heads, at),
            Event::Committed { .. } => self.answered(CallLabel::commit, at),
            Event::HeadsTold { .. } | Event::ConductorTold { .. } | Event::OriginTold { .. } => {
                self.answered(CallLabel::ask, at);
            }
            Event::L1Found { .. } => self.answered(CallLabel::look_up, at),
            Event::LookUpFailed { failure, .. } => {
                self.failed(CallLabel::look_up, *failure, None);
                self.suspect(MissLabel::l1_failed);
            }
            Event::Fetched { .. } => self.answered(CallLabel::fetch, at),
            Event::OpenFailed { failure, .. } => self.failed(CallLabel::open, *failure, Some(MissLabel::open_failed)),
            Event::SealFailed { failure, .. } => self.failed(CallLabel::seal, *failure, Some(MissLabel::seal_failed)),
            Event::ImportFailed { failure, .. } => {
                self.failed(CallLabel::import, *failure, Some(MissLabel::import_failed));
            }
            Event::SetHeadsFailed { failure, .. } => {
                self.failed(CallLabel::set_heads, *failure, Some(MissLabel::set_heads_failed));
            }
            Event::CommitFailed { failure, .. } => {
                self.failed(CallLabel::commit, *failure, Some(MissLabel::commit_failed));
            }
            Event::AskFailed { failure, .. } => self.failed(CallLabel::ask, *failure, Some(MissLabel::ask_failed)),
            Event::Stop | Event::Leadership(Role::Follower) => self.observed.blamed = Some(MissLabel::not_leading),
            Event::Demand { .. }
            | Event::Wake
            | Event::Start
            | Event::Leadership(Role::Leader)
            | Event::Proposed { .. }
            | Event::Attested { .. }
            | Event::Announced { .. }
            | Event::Landed { .. }
            | Event::L1Moved { .. }
            | Event::Recover(_) => {}
        }
    }

    fn ordered(&mut self, at: Timestamp, timetable: &Timetable, effect: &Effect, stand: Stand) {
        match effect {
            Effect::Open { build, attributes } => {
                self.begin(CallLabel::open, at);
                self.observed.slots.insert(*build, attributes.slot);
                while self.observed.slots.len() > BUILDS_MAX {
                    self.observed.slots.pop_first();
                }
            }
            Effect::Seal { .. } => self.begin(CallLabel::seal, at),
            Effect::Import(_) => self.begin(CallLabel::import, at),
            Effect::SetHeads(heads) => {
                self.begin(CallLabel::set_heads, at);
                if self.head.get() != heads.unsafe_head().number.as_u64() {
                    self.head.set(heads.unsafe_head().number.as_u64());
                    self.last_block.set(seconds(at.as_millis()));
                }
            }
            Effect::Publish(announcement) => {
                let slot = announcement.payload.slot;
                self.blocks.inc();
                if stand.on_demand {
                    return;
                }
                let lag = at.since(timetable.end(slot));
                self.lag.observe(seconds(lag.as_u64()));
                self.filled(slot, lag > timetable.config().slot);
            }
            Effect::Commit(_) => self.begin(CallLabel::commit, at),
            Effect::AskHeads { .. } => {
                self.begin(CallLabel::ask, at);
                self.suspect(MissLabel::reset);
            }
            Effect::AskConductor { .. } | Effect::AskOrigin { .. } => self.begin(CallLabel::ask, at),
            Effect::LookUp { .. } => self.begin(CallLabel::look_up, at),
            Effect::Fetch { .. } => {
                self.begin(CallLabel::fetch, at);
                self.suspect(MissLabel::catching_up);
            }
            Effect::Cancel { .. }
            | Effect::Persist(_)
            | Effect::Propose(_)
            | Effect::Attest(_)
            | Effect::Announce(_)
            | Effect::Penalize { .. }
            | Effect::Halt(_) => {}
        }
    }

    /// What may be the reason if a block is late, unless there is a better one.
    fn suspect(&mut self, reason: MissLabel) {
        self.observed.blamed.get_or_insert(reason);
    }

    /// The slot brought what it should, in time or late; those since the last such one did not. One reason counts until a block comes
    /// in time: what makes one block late delays those after it.
    fn filled(&mut self, slot: Slot, late: bool) {
        let without_fault = if self.observed.in_time { MissLabel::slow } else { MissLabel::downtime };
        let reason = self.observed.blamed.unwrap_or(without_fault);
        if late {
            self.late.get_or_create(&MissLabels { reason }).inc();
        } else {
            (self.observed.blamed, self.observed.in_time) = (None, true);
        }
        if let Some(last) = self.observed.filled {
            let between = slot.as_u64().saturating_sub(last.as_u64()).saturating_sub(1);
            if between > 0 {
                self.missed.get_or_create(&MissLabels { reason }).inc_by(between);
            }
        }
        self.observed.filled = Some(self.observed.filled.map_or(slot, |last| last.max(slot)));
    }

    fn begin(&mut self, call: CallLabel, at: Timestamp) {
        self.observed.begun.entry(call).or_insert(at);
    }

    fn answered(&mut self, call: CallLabel, at: Timestamp) {
        if let Some(begun) = self.observed.begun.remove(&call) {
            self.durations.get_or_create(&CallLabels { call }).observe(seconds(at.since(begun).as_u64()));
        }
    }

    fn failed(&mut self, call: CallLabel, failure: Failure, blame: Option<MissLabel>) {
        self.observed.begun.remove(&call);
        let failure = match failure {
            Failure::Retry => FailureLabel::retry,
            Failure::Reset => FailureLabel::reset,
            Failure::Fatal => FailureLabel::fatal,
        };
        self.failures.get_or_create(&FailureLabels { call, failure }).inc();
        self.observed.blamed = blame.or(self.observed.blamed);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a double holds milliseconds exactly for longer than anything runs")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sequencer::{Stamp, TimetableConfig};
    use types::{Announcement, BlockHash, BlockRef, Payload};

    use super::*;

    const STAND: Stand = Stand { seal_lead: Millis::new(50), recovers: false, awaits_l1: false, on_demand: false };

    /// Slots of a second from the epoch on.
    fn timetable() -> Timetable {
        let (slot, seal_lead) = (Millis::new(1_000), Millis::new(50));
        let genesis = Timestamp::from_millis(0);
        let config = TimetableConfig { genesis, slot, build_ahead: slot, seal_lead, stamp: Stamp::Closing };
        Timetable::new(config).expect("it makes sense")
    }

    /// When, what was heard, and the slot whose block became part of the chain with it.
    type Step = (u64, Event, Option<u64>);

    fn observed(steps: &[Step], stand: Stand) -> String {
        let mut registry = Registry::default();
        let mut metrics = Metrics::register(&mut registry);
        for (at, event, published) in steps {
            let effects: Vec<Effect> = published.iter().map(|slot| published_in(*slot)).collect();
            metrics.observe(Timestamp::from_millis(*at), &timetable(), event, &effects, stand);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("it is written");
        text.lines().filter(|line| line.contains("reason=")).collect::<Vec<_>>().join("\n")
    }

    fn published_in(slot: u64) -> Effect {
        let block = BlockRef { hash: BlockHash::new([7; 32]), ..BlockRef::default() };
        let payload = Payload { slot: Slot::new(slot), block, origin: None, body: bytes::Bytes::new() };
        Effect::Publish(Announcement { payload, certificate: None })
    }

    #[test]
    fn blocks_that_are_late_and_slots_without_one_have_a_reason() {
        let failure = Failure::Retry;
        let (block, build) = (BlockHash::new([7; 32]), BuildId::new(1));
        let in_time = (1_010, Event::Wake, Some(0));
        let rows: [(&str, Vec<Step>, &str); 10] = [
            ("a block time is no fault", vec![(2_000, Event::Wake, Some(0))], ""),
            (
                "blocks of before the start",
                vec![(9_000, Event::Wake, Some(0))],
                "late_blocks_total{reason=\"downtime\"} 1",
            ),
            (
                "nothing failed",
                vec![in_time.clone(), (9_000, Event::Wake, Some(1))],
                "late_blocks_total{reason=\"slow\"} 1",
            ),
            (
                "an import failed, and the blocks behind it are late for the same reason",
                vec![
                    in_time.clone(),
                    (2_000, Event::ImportFailed { block, failure }, None),
                    (3_500, Event::Wake, Some(1)),
                    (4_100, Event::Wake, Some(2)),
                    (4_200, Event::Wake, Some(3)),
                    (9_000, Event::Wake, Some(4)),
                ],
                "late_blocks_total{reason=\"import_failed\"} 2\nlate_blocks_total{reason=\"slow\"} 1",
            ),
            (
                "L1 could not be asked, but a call that failed says more",
                vec![
                    in_time.clone(),
                    (1_100, Event::LookUpFailed { query: query(), failure }, None),
                    (1_200, Event::SealFailed { build, failure }, None),
                    (1_300, Event::LookUpFailed { query: query(), failure }, None),
                    (9_000, Event::Wake, Some(1)),
                ],
                "late_blocks_total{reason=\"seal_failed\"} 1",
            ),
            (
                "L1 could not be asked",
                vec![
                    in_time.clone(),
                    (1_100, Event::LookUpFailed { query: query(), failure }, None),
                    (9_000, Event::Wake, Some(1)),
                ],
                "late_blocks_total{reason=\"l1_failed\"} 1",
            ),
            (
                "the conductor elected another",
                vec![
                    in_time.clone(),
                    (1_100, Event::Leadership(Role::Follower), None),
                    (8_000, Event::Leadership(Role::Leader), None),
                    (9_000, Event::Wake, Some(1)),
                ],
                "late_blocks_total{reason=\"not_leading\"} 1",
            ),
            (
                "the operator stopped it where slots are left out",
                vec![
                    in_time.clone(),
                    (1_100, Event::Stop, None),
                    (8_000, Event::Start, None),
                    (9_000, Event::Wake, Some(8)),
                ],
                "missed_slots_total{reason=\"not_leading\"} 7",
            ),
            (
                "a commit failed where slots are left out, and the block came late",
                vec![
                    in_time.clone(),
                    (1_100, Event::CommitFailed { block, failure }, None),
                    (5_500, Event::Wake, Some(1)),
                    (6_000, Event::Wake, Some(5)),
                ],
                "missed_slots_total{reason=\"commit_failed\"} 3\nlate_blocks_total{reason=\"commit_failed\"} 1",
            ),
            ("nothing is missed in order", vec![in_time.clone(), (2_010, Event::Wake, Some(1))], ""),
        ];
        for (why, steps, expected) in rows {
            let told = observed(&steps, STAND).replace("sequencer_", "");
            let is_about_time = |line: &&str| line.starts_with("late") || line.starts_with("missed");
            // Labels of a family are in no order.
            let told: BTreeSet<_> = told.lines().filter(is_about_time).collect();
            let expected: BTreeSet<_> = expected.lines().collect();
            assert_eq!(told, expected, "{why}");
        }
        // What L1 lacks is told by the heart; blocks that are asked for are never late.
        let steps = [in_time.clone(), (9_000, Event::Wake, Some(1))];
        let awaiting = observed(&steps, Stand { awaits_l1: true, ..STAND });
        assert!(awaiting.contains("late_blocks_total{reason=\"awaits_l1\"} 1"), "{awaiting}");
        assert_eq!(observed(&steps, Stand { on_demand: true, ..STAND }), "");
    }

    fn query() -> sequencer::QueryId {
        serde_json::from_value(1.into()).expect("a query is written as its count")
    }
}
