//! What is counted, all of it derived from what the heart heard and ordered.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use sequencer::{Effect, Event, Timetable};
use types::{BuildId, Failure, Slot, Timestamp};

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

/// Why a slot brought no block, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types)]
enum MissLabel {
    open_failed,
    seal_failed,
    import_failed,
    set_heads_failed,
    commit_failed,
    not_leading,
    late,
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
    /// The last slot that is accounted for, filled or missed.
    blamed: Option<MissLabel>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            steps: Counter::default(),
            blocks: Counter::default(),
            empty_slots: Counter::default(),
            missed: Family::default(),
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
    pub(crate) fn observe(&mut self, at: Timestamp, timetable: &Timetable, event: &Event, effects: &[Effect]) {
        self.steps.inc();
        self.heard(at, event);
        for effect in effects {
            self.ordered(at, timetable, effect);
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
                    self.filled(slot);
                }
            }
            Event::Imported { .. } => self.answered(CallLabel::import, at),
            Event::HeadsSet { .. } => self.answered(CallLabel::set_heads, at),
            Event::Committed { .. } => self.answered(CallLabel::commit, at),
            Event::HeadsTold { .. } | Event::ConductorTold { .. } | Event::OriginTold { .. } => {
                self.answered(CallLabel::ask, at);
            }
            Event::L1Found { .. } => self.answered(CallLabel::look_up, at),
            Event::LookUpFailed { failure, .. } => self.failed(CallLabel::look_up, *failure, None),
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
            Event::AskFailed { failure, .. } => self.failed(CallLabel::ask, *failure, None),
            Event::Stop => self.observed.blamed = Some(MissLabel::not_leading),
            Event::Demand { .. }
            | Event::Wake
            | Event::Start
            | Event::Leadership(_)
            | Event::Proposed { .. }
            | Event::Attested { .. }
            | Event::Announced { .. }
            | Event::Landed { .. }
            | Event::L1Moved { .. }
            | Event::Recover(_) => {}
        }
    }

    fn ordered(&mut self, at: Timestamp, timetable: &Timetable, effect: &Effect) {
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
                self.lag.observe(seconds(at.since(timetable.end(slot)).as_u64()));
                self.filled(slot);
            }
            Effect::Commit(_) => self.begin(CallLabel::commit, at),
            Effect::AskHeads { .. } | Effect::AskConductor { .. } | Effect::AskOrigin { .. } => {
                self.begin(CallLabel::ask, at);
            }
            Effect::LookUp { .. } => self.begin(CallLabel::look_up, at),
            Effect::Fetch { .. } => self.begin(CallLabel::fetch, at),
            Effect::Cancel { .. }
            | Effect::Persist(_)
            | Effect::Propose(_)
            | Effect::Attest(_)
            | Effect::Announce(_)
            | Effect::Penalize { .. }
            | Effect::Halt(_) => {}
        }
    }

    /// The slot brought what it should; those since the last such one did not.
    fn filled(&mut self, slot: Slot) {
        let reason = self.observed.blamed.take().unwrap_or(MissLabel::late);
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
