//! What is measured of the engine and of L1, beside what the driver counts of the sequencer.

use std::fmt;
use std::sync::atomic::AtomicU64;

use engine::{Ended, Outcome};
use l1::{BreakerState, EndpointStatus, Epochs, Sources};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds: from a call within the process to one that meets its deadline.
const DURATION_BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: String,
    outcome: &'static str,
}

/// An endpoint of L1 by its host and port: keys are often part of the address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabels {
    endpoint: String,
}

/// How long the engine takes, by method and how the call ended.
#[derive(Clone, Debug)]
pub(super) struct EngineCalls(Family<CallLabels, Histogram, fn() -> Histogram>);

impl EngineCalls {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let calls = Family::new_with_constructor((|| Histogram::new(DURATION_BUCKETS)) as fn() -> Histogram);
        registry.register(
            "engine_call_duration_seconds",
            "Calls of the engine, by method and how they ended",
            calls.clone(),
        );
        Self(calls)
    }

    pub(super) fn ended(&self, call: &Ended<'_>) {
        let outcome = match call.outcome {
            Outcome::Answered => "answered",
            Outcome::Refused(_) => "refused",
            Outcome::TimedOut => "timed_out",
            Outcome::Lost => "lost",
            Outcome::Dropped => "dropped",
        };
        let labels = CallLabels { method: call.method.to_owned(), outcome };
        self.0.get_or_create(&labels).observe(call.took.as_secs_f64());
    }
}

/// L1 as it is seen now, read when somebody asks.
pub(super) struct L1Gauges {
    pub(super) sources: Sources,
    pub(super) epochs: Epochs,
}

impl fmt::Debug for L1Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("L1Gauges")
    }
}

impl Collector for L1Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (view, status) = (self.epochs.view(), self.sources.status());
        let number = |header: Option<&std::sync::Arc<l1::Header>>| header.map_or(0, |header| header.number);
        let asked = status.iter().filter(|status| !matches!(status.breaker, BreakerState::Open)).count() as u64;
        let sum = |count: fn(&l1::EndpointStatus) -> u64| status.iter().map(count).sum::<u64>();
        let figures = [
            ("l1_head", "Number of L1's newest block", number(view.latest())),
            ("l1_safe", "Number of L1's safe block", number(view.safe())),
            ("l1_finalized", "Number of L1's final block", number(view.finalized())),
            ("l1_endpoints", "Endpoints of L1 that are asked", asked),
            ("l1_calls_failed", "Calls of L1 that brought nothing, since the start", sum(|status| status.failed)),
            ("l1_falsehoods", "Answers of L1 that could not be true, since the start", sum(|status| status.falsehoods)),
        ];
        for (name, help, value) in figures {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        of_each_endpoint(
            &mut encoder,
            ("l1_endpoint_lag_blocks", "How many blocks an endpoint of L1 is behind the newest"),
            status.iter().map(|status| (status, status.lag)),
        )?;
        of_each_endpoint(
            &mut encoder,
            ("l1_endpoint_silence_seconds", "How long ago an endpoint of L1 last gave a good answer"),
            status.iter().map(|status| (status, status.silent_for.map(|silent| silent.as_secs()))),
        )
    }
}

/// A figure of each endpoint that has one.
fn of_each_endpoint<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    figures: impl Iterator<Item = (&'a EndpointStatus, Option<u64>)>,
) -> fmt::Result {
    let gauges = Family::<EndpointLabels, Gauge<u64, AtomicU64>>::default();
    for (status, figure) in figures {
        if let Some(figure) = figure {
            gauges.get_or_create(&EndpointLabels { endpoint: status.name.to_string() }).set(figure);
        }
    }
    gauges.encode(encoder.encode_descriptor(name, help, None, gauges.metric_type())?)
}
