//! The transactions that a fork puts into its first block, as crate `optimism` makes them, and what they are known to leave behind.

use std::path::Path;

use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes};
use op_alloy_consensus::OpTxEnvelope;
use optimism::{Fork, upgrade_transactions};
use serde_json::Value;

/// One of them, and what it is known to leave behind.
pub(crate) struct Upgrade {
    pub(crate) intent: String,
    pub(crate) encoded: Bytes,
    pub(crate) deployed: Option<(Address, B256)>,
}

/// Those of a fork, in order; none for a fork that has none.
pub(crate) fn of(fork: &str, folder: &Path) -> Vec<Upgrade> {
    let text = std::fs::read_to_string(folder.join("upgrades/upgrades.json")).expect("the vectors hold it");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let listed = all["forks"][fork]["transactions"].as_array().cloned().unwrap_or_default();
    let fork = Fork::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(fork)).expect("a fork");
    let made = upgrade_transactions(fork);
    assert_eq!(made.len(), listed.len(), "{fork}");
    let upgrade = |(facts, deposit): (&Value, _)| {
        let deployed = facts["deployed_address"].as_str().zip(facts["deployed_code_hash"].as_str());
        Upgrade {
            intent: facts["intent"].to_string(),
            encoded: OpTxEnvelope::from(deposit).encoded_2718().into(),
            deployed: deployed
                .map(|(address, code)| (address.parse().expect("an address"), code.parse().expect("a hash"))),
        }
    };
    listed.iter().zip(made).map(upgrade).collect()
}
