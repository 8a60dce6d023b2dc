//! What the transport counts. Names start with `rpc_`; the registry that they are entered in adds its own prefix.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds. From a read out of memory to a call that meets its time-out.
const LATENCY_BUCKETS: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    method: String,
    /// 0 for a result, otherwise the error's code.
    code: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: i64,
}

/// Handles to the counters; cloning shares them.
#[derive(Clone)]
pub(crate) struct Metrics {
    requests: Family<OutcomeLabels, Counter>,
    latency: Family<MethodLabels, Histogram, fn() -> Histogram>,
    refused: Family<CodeLabels, Counter>,
    pub(crate) connections: Gauge,
    pub(crate) connections_dropped: Counter<u64, AtomicU64>,
    pub(crate) denied: Counter<u64, AtomicU64>,
    pub(crate) sockets: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Metrics {
            requests: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            refused: Family::default(),
            connections: Gauge::default(),
            connections_dropped: Counter::default(),
            denied: Counter::default(),
            sockets: Gauge::default(),
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let rpc = registry.sub_registry_with_prefix("rpc");
        rpc.register("requests", "Calls answered, by method and code (0: a result)", self.requests.clone());
        rpc.register("request_duration_seconds", "From reading a call to its outcome", self.latency.clone());
        rpc.register("refused", "Messages that were no call of this endpoint, by code", self.refused.clone());
        rpc.register("connections", "Open sockets, idle ones included", self.connections.clone());
        rpc.register(
            "connections_dropped",
            "Sockets closed for being slow, silent or one too many",
            self.connections_dropped.clone(),
        );
        rpc.register("denied", "Requests to an authenticated port without a good token", self.denied.clone());
        rpc.register("websockets", "Open WebSocket sessions", self.sockets.clone());
    }

    /// Counts a call. Called only with names that the endpoint has, so that a stranger cannot grow the label set.
    pub(crate) fn answered(&self, method: &str, took: Duration, error: Option<i64>) {
        let labels = OutcomeLabels { method: method.to_owned(), code: error.unwrap_or(0) };
        self.requests.get_or_create(&labels).inc();
        self.latency.get_or_create(&MethodLabels { method: method.to_owned() }).observe(took.as_secs_f64());
    }

    pub(crate) fn refused(&self, code: i64) {
        self.refused.get_or_create(&CodeLabels { code }).inc();
    }
}
