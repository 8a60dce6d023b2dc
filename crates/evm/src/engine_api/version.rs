//! Which version of a method goes with which fork, and what attributes of a version must say. Pure.
//!
//! Sources: <https://github.com/ethereum/execution-apis/tree/main/src/engine> and, for rollups, where Canyon stands for
//! Shanghai, Ecotone for Cancun, Isthmus for Prague and Karst for Osaka,
//! <https://specs.optimism.io/protocol/exec-engine.html>.

use alloy_hardforks::EthereumHardforks;
use op_alloy_rpc_types_engine::OpPayloadAttributes;

use super::error::EngineError;

/// The forks that the versions tell apart, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fork {
    Paris,
    Shanghai,
    Cancun,
    Prague,
    Osaka,
}

impl Fork {
    /// The one in force at a time.
    pub(crate) fn at(rules: &impl EthereumHardforks, timestamp: u64) -> Self {
        if rules.is_osaka_active_at_timestamp(timestamp) {
            Self::Osaka
        } else if rules.is_prague_active_at_timestamp(timestamp) {
            Self::Prague
        } else if rules.is_cancun_active_at_timestamp(timestamp) {
            Self::Cancun
        } else if rules.is_shanghai_active_at_timestamp(timestamp) {
            Self::Shanghai
        } else {
            Self::Paris
        }
    }
}

fn within(method: &str, version: u8, fork: Fork, first: Fork, last: Fork) -> Result<(), EngineError> {
    if (first..=last).contains(&fork) {
        return Ok(());
    }
    let reason = format!("{method}V{version} is for blocks from {first:?} to {last:?}; this one is of {fork:?}");
    Err(EngineError::unsupported_fork(reason))
}

/// Whether a payload of this fork may be given in this version.
pub(crate) fn new_payload(version: u8, fork: Fork) -> Result<(), EngineError> {
    let (first, last) = match version {
        1 => (Fork::Paris, Fork::Paris),
        2 => (Fork::Paris, Fork::Shanghai),
        3 => (Fork::Cancun, Fork::Cancun),
        _ => (Fork::Prague, Fork::Osaka),
    };
    within("engine_newPayload", version, fork, first, last)
}

/// Whether a payload of this fork may be asked for in this version.
pub(crate) fn get_payload(version: u8, fork: Fork) -> Result<(), EngineError> {
    let (first, last) = match version {
        1 => (Fork::Paris, Fork::Paris),
        2 => (Fork::Paris, Fork::Shanghai),
        3 => (Fork::Cancun, Fork::Cancun),
        4 => (Fork::Prague, Fork::Prague),
        _ => (Fork::Osaka, Fork::Osaka),
    };
    within("engine_getPayload", version, fork, first, last)
}

/// Whether attributes are what this version and the fork of their time demand.
pub(crate) fn attributes(version: u8, fork: Fork, given: &OpPayloadAttributes) -> Result<(), EngineError> {
    let (first, last) = match version {
        1 => (Fork::Paris, Fork::Paris),
        2 => (Fork::Paris, Fork::Shanghai),
        _ => (Fork::Cancun, Fork::Osaka),
    };
    let plain = &given.payload_attributes;
    let present = |name: &str, there: bool, wanted: bool| match (there, wanted) {
        (false, true) => Err(EngineError::invalid_attributes(format!("{name} is missing; blocks of {fork:?} have it"))),
        (true, false) => Err(EngineError::invalid_attributes(format!("{name} is given; blocks of {fork:?} have none"))),
        _ => Ok(()),
    };
    if version == 3 {
        // The third version checks its own shape before it looks at the time.
        present("parentBeaconBlockRoot", plain.parent_beacon_block_root.is_some(), true)?;
    }
    within("engine_forkchoiceUpdated", version, fork, first, last)?;
    present("withdrawals", plain.withdrawals.is_some(), fork >= Fork::Shanghai)?;
    present("parentBeaconBlockRoot", plain.parent_beacon_block_root.is_some(), fork >= Fork::Cancun)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;

    #[test]
    fn each_fork_has_its_versions() {
        use Fork::{Cancun, Osaka, Paris, Prague, Shanghai};
        let forks = [Paris, Shanghai, Cancun, Prague, Osaka];
        let fits = |check: fn(u8, Fork) -> Result<(), EngineError>, version| -> Vec<Fork> {
            forks.into_iter().filter(|fork| check(version, *fork).is_ok()).collect()
        };
        assert_eq!(fits(new_payload, 1), [Paris]);
        assert_eq!(fits(new_payload, 2), [Paris, Shanghai]);
        assert_eq!(fits(new_payload, 3), [Cancun]);
        assert_eq!(fits(new_payload, 4), [Prague, Osaka]);
        assert_eq!(fits(get_payload, 2), [Paris, Shanghai]);
        assert_eq!(fits(get_payload, 3), [Cancun]);
        assert_eq!(fits(get_payload, 4), [Prague]);
        assert_eq!(fits(get_payload, 5), [Osaka]);
        assert_eq!(get_payload(4, Osaka).unwrap_err().code, -38005);
    }

    #[test]
    fn attributes_have_what_their_fork_has() {
        let given = |withdrawals: bool, root: bool| {
            let mut given = OpPayloadAttributes::default();
            given.payload_attributes.withdrawals = withdrawals.then(Vec::new);
            given.payload_attributes.parent_beacon_block_root = root.then_some(B256::ZERO);
            given
        };
        let table = [
            (3, Fork::Osaka, given(true, true), 0),
            (3, Fork::Cancun, given(true, true), 0),
            (3, Fork::Cancun, given(true, false), -38003),
            (3, Fork::Cancun, given(false, true), -38003),
            (3, Fork::Shanghai, given(true, true), -38005),
            (3, Fork::Shanghai, given(true, false), -38003),
            (2, Fork::Shanghai, given(true, false), 0),
            (2, Fork::Shanghai, given(false, false), -38003),
            (2, Fork::Paris, given(true, false), -38003),
            (2, Fork::Cancun, given(true, false), -38005),
            (1, Fork::Paris, given(false, false), 0),
            (1, Fork::Shanghai, given(false, false), -38005),
        ];
        for (version, fork, given, code) in table {
            let told = attributes(version, fork, &given).map_or_else(|error| error.code, |()| 0);
            assert_eq!(told, code, "V{version} at {fork:?} with {given:?}");
        }
    }
}
