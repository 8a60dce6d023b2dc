//! How a rollup node speaks to its execution engine: versions of the methods by fork, names of builds.
//!
//! Sources: <https://specs.optimism.io/protocol/exec-engine.html>, `isthmus/exec-engine.md`, `karst/exec-engine.md`;
//! op-geth `miner/payload_building.go` for the names of builds.

use alloy_primitives::B256;
use alloy_rpc_types_engine::PayloadId;
use op_alloy_rpc_types_engine::OpPayloadAttributes;

use crate::{Fork, RollupConfig};

/// Which version of each method serves a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EngineVersions {
    /// Of `engine_forkchoiceUpdated`, with attributes.
    pub forkchoice_updated: u8,
    /// Of `engine_newPayload`.
    pub new_payload: u8,
    /// Of `engine_getPayload`.
    pub get_payload: u8,
}

impl EngineVersions {
    /// Those for a block at this time.
    pub fn at(config: &RollupConfig, time: u64) -> Self {
        let versions =
            |forkchoice_updated, new_payload, get_payload| Self { forkchoice_updated, new_payload, get_payload };
        match config.forks.newest(time) {
            Fork::Bedrock | Fork::Regolith | Fork::Canyon | Fork::Delta => versions(2, 2, 2),
            Fork::Ecotone | Fork::Fjord | Fork::Granite | Fork::Holocene => versions(3, 3, 3),
            Fork::Isthmus | Fork::Jovian => versions(3, 4, 4),
            // The body is that of version 4: the engine takes Osaka's number for it.
            Fork::Karst => versions(3, 4, 5),
        }
    }
}

/// The name that an engine gives to a build on `parent`: the beginning of a hash over all that was ordered, after a
/// byte for the version of the payload.
pub fn payload_id(parent: B256, attributes: &OpPayloadAttributes, version: u8) -> PayloadId {
    attributes.payload_id(&parent, version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Forks;
    use crate::config::tests::chain;

    #[test]
    fn each_fork_has_its_versions() {
        let table = [
            (Fork::Bedrock, (2, 2, 2)),
            (Fork::Canyon, (2, 2, 2)),
            (Fork::Delta, (2, 2, 2)),
            (Fork::Ecotone, (3, 3, 3)),
            (Fork::Holocene, (3, 3, 3)),
            (Fork::Isthmus, (3, 4, 4)),
            (Fork::Jovian, (3, 4, 4)),
            (Fork::Karst, (3, 4, 5)),
        ];
        for (fork, (forkchoice_updated, new_payload, get_payload)) in table {
            let versions = EngineVersions::at(&chain(Forks::from_genesis(fork)), 1002);
            assert_eq!(versions, EngineVersions { forkchoice_updated, new_payload, get_payload }, "{fork}");
        }
        let config = chain(Forks::from_genesis(Fork::Jovian).with(Fork::Karst, 1010));
        assert_eq!([1009, 1010].map(|time| EngineVersions::at(&config, time).get_payload), [4, 5]);
    }
}
