//! Figures of the chain and the pool, read when somebody asks for them.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use starknet::Chain;
use starknet::pool::Pool;

/// Reads the figures of one chain.
pub(super) struct Gauges {
    pub(super) chain: Chain,
    pub(super) pool: Pool,
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauges")
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let head = self.chain.head();
        let load = self.pool.load();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let figures = [
            ("chain_head", "Number of the newest block", head.number.0),
            (
                "chain_block_age_seconds",
                "Age of the newest block by its timestamp",
                now.saturating_sub(head.timestamp.0),
            ),
            ("pool_transactions", "Transactions in the pool", load.transactions as u64),
            ("pool_bytes", "Bytes of the transactions in the pool", load.bytes as u64),
            ("pool_disk_bytes", "Bytes of the pool's log", load.disk_bytes),
        ];
        for (name, help, value) in figures {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
