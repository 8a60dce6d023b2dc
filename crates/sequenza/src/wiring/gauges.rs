//! Figures of the chain and the pool, read when somebody asks for them.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

/// How a chain and its pool stand.
pub(super) struct Figures {
    /// Number of the newest block.
    pub(super) head: u64,
    /// Its timestamp in seconds.
    pub(super) head_time: u64,
    pub(super) pool_transactions: u64,
    pub(super) pool_bytes: u64,
    pub(super) pool_disk_bytes: Option<u64>,
    /// Those of them that a block in the making holds.
    pub(super) pool_in_flight: Option<u64>,
}

/// Reads the figures of one chain.
pub(super) struct Gauges(Box<dyn Fn() -> Figures + Send + Sync>);

impl Gauges {
    pub(super) fn new(read: impl Fn() -> Figures + Send + Sync + 'static) -> Self {
        Gauges(Box::new(read))
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauges")
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Figures { head, head_time, pool_transactions, pool_bytes, pool_disk_bytes, pool_in_flight } = (self.0)();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let mut figures = vec![
            ("chain_head", "Number of the newest block", head),
            ("chain_block_age_seconds", "Age of the newest block by its timestamp", now.saturating_sub(head_time)),
            ("pool_transactions", "Transactions in the pool", pool_transactions),
            ("pool_bytes", "Bytes of the transactions in the pool", pool_bytes),
        ];
        let in_flight = "Transactions of the pool that a block in the making holds";
        figures.extend(pool_in_flight.map(|count| ("pool_in_flight", in_flight, count)));
        figures.extend(pool_disk_bytes.map(|bytes| ("pool_disk_bytes", "Bytes of the pool's log", bytes)));
        for (name, help, value) in figures {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
