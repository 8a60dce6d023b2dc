//! What an engine must be able to do for a chain. Pure.

use std::collections::BTreeSet;

use optimism::{EngineVersions, Fork, RollupConfig};

/// Methods that the chain needs from `now` on (seconds since the Unix epoch), at forks to come as well.
pub(crate) fn needed(config: &RollupConfig, now: u64) -> BTreeSet<String> {
    let later = Fork::ALL.into_iter().filter_map(|fork| config.forks.time(fork)).filter(|time| *time > now);
    std::iter::once(now).chain(later).flat_map(|time| methods(EngineVersions::at(config, time))).collect()
}

fn methods(versions: EngineVersions) -> [String; 3] {
    [
        forkchoice_updated(versions.forkchoice_updated),
        new_payload(versions.new_payload),
        get_payload(versions.get_payload),
    ]
}

pub(crate) fn forkchoice_updated(version: u8) -> String {
    format!("engine_forkchoiceUpdatedV{version}")
}

pub(crate) fn new_payload(version: u8) -> String {
    format!("engine_newPayloadV{version}")
}

pub(crate) fn get_payload(version: u8) -> String {
    format!("engine_getPayloadV{version}")
}
