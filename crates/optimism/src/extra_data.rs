//! The free bytes of a header, which from Holocene on say how the base fee follows demand.
//!
//! Sources: <https://specs.optimism.io/protocol/holocene/exec-engine.html>, "Base Fee Computation";
//! `jovian/exec-engine.md`, "Minimum Base Fee"; op-geth `consensus/misc/eip1559`.

use alloy_primitives::{B64, Bytes};
use op_alloy_consensus::EIP1559ParamError;
use op_alloy_rpc_types_engine::OpPayloadAttributes;

use crate::abi::Cursor;
use crate::{Fork, RollupConfig};

/// What a header says of fees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FeesInHeader {
    /// Denominator and elasticity, 4 bytes each; zero before Holocene.
    pub params: B64,
    /// The lowest base fee, in wei; zero before Jovian.
    pub min_base_fee: u64,
}

/// Free bytes that are not what the block's time demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtraDataFault {
    /// Too short or too long.
    #[error("the header's extra data has {found} bytes; {fork} demands {wanted}")]
    Length {
        /// The fork that demands.
        fork: Fork,
        /// Bytes there are.
        found: usize,
        /// Bytes there should be.
        wanted: usize,
    },
    /// Another version.
    #[error("the header's extra data has version {found}; {fork} demands {wanted}")]
    Version {
        /// The fork that demands.
        fork: Fork,
        /// The version there is.
        found: u8,
        /// The version there should be.
        wanted: u8,
    },
    /// The base fee cannot follow.
    #[error("the header's extra data has the denominator 0; it divides")]
    ZeroDenominator,
    /// There would be no target.
    #[error("the header's extra data has the elasticity 0; it divides")]
    ZeroElasticity,
}

impl FeesInHeader {
    /// What the free bytes of a block at `time` say.
    ///
    /// # Errors
    /// With what is not as its time demands.
    pub fn of(config: &RollupConfig, time: u64, extra_data: &[u8]) -> Result<Self, ExtraDataFault> {
        let (fork, wanted, version) = match form(config, time) {
            Form::Free => return Ok(Self::default()),
            Form::Holocene => (Fork::Holocene, 9, 0),
            Form::Jovian => (Fork::Jovian, 17, 1),
        };
        let length = ExtraDataFault::Length { fork, found: extra_data.len(), wanted };
        if extra_data.len() != wanted {
            return Err(length);
        }
        let mut cursor = Cursor::new(extra_data);
        let [found] = cursor.take().ok_or(length)?;
        if found != version {
            return Err(ExtraDataFault::Version { fork, found, wanted: version });
        }
        let params = B64::new(cursor.take().ok_or(length)?);
        let (denominator, elasticity) = unpack_eip1559_params(params);
        if denominator == 0 {
            return Err(ExtraDataFault::ZeroDenominator);
        }
        if elasticity == 0 {
            return Err(ExtraDataFault::ZeroElasticity);
        }
        Ok(Self { params, min_base_fee: cursor.take().map(u64::from_be_bytes).unwrap_or_default() })
    }
}

/// The free bytes that a block ordered by these attributes has; `None` where they are free.
///
/// # Errors
/// With the parameter that the block's time demands, or forbids.
pub fn ordered_extra_data(
    config: &RollupConfig,
    attributes: &OpPayloadAttributes,
) -> Result<Option<Bytes>, EIP1559ParamError> {
    let time = attributes.payload_attributes.timestamp;
    let constants = config.base_fee_params(time);
    match form(config, time) {
        Form::Free => Ok(None),
        Form::Holocene => attributes.get_holocene_extra_data(constants).map(Some),
        Form::Jovian => attributes.get_jovian_extra_data(constants).map(Some),
    }
}

/// How the free bytes are written.
enum Form {
    Free,
    Holocene,
    Jovian,
}

fn form(config: &RollupConfig, time: u64) -> Form {
    if config.is_active(Fork::Jovian, time) {
        Form::Jovian
    } else if config.is_active(Fork::Holocene, time) {
        Form::Holocene
    } else {
        Form::Free
    }
}

/// Both numbers as attributes have them.
pub fn pack_eip1559_params(denominator: u32, elasticity: u32) -> B64 {
    B64::from((u64::from(denominator) << 32 | u64::from(elasticity)).to_be_bytes())
}

/// Denominator and elasticity.
pub fn unpack_eip1559_params(params: B64) -> (u32, u32) {
    let (elasticity, denominator) = op_alloy_consensus::decode_eip_1559_params(params);
    (denominator, elasticity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Forks;
    use crate::config::tests::chain;

    #[test]
    fn each_time_has_its_form() {
        let forks = Forks::from_genesis(Fork::Granite).with(Fork::Holocene, 1010).with(Fork::Isthmus, 1010);
        let config = chain(forks.with(Fork::Jovian, 1020));
        let (old, new) = ([0, 0, 0, 0, 8, 0, 0, 0, 2], [1, 0, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 1]);
        let params = pack_eip1559_params(8, 2);
        let read = |time, extra_data: &[u8]| FeesInHeader::of(&config, time, extra_data);
        assert_eq!(read(1008, &old), Ok(FeesInHeader::default()), "free before Holocene");
        assert_eq!(read(1010, &old), Ok(FeesInHeader { params, min_base_fee: 0 }));
        assert_eq!(read(1020, &new), Ok(FeesInHeader { params, min_base_fee: 257 }));
        let versioned = |bytes: &[u8], version: u8| [&[version], &bytes[1..]].concat();
        let (holocene, jovian) = (read(1010, &versioned(&old, 1)), read(1020, &versioned(&new, 0)));
        assert_eq!(holocene, Err(ExtraDataFault::Version { fork: Fork::Holocene, found: 1, wanted: 0 }));
        assert_eq!(jovian, Err(ExtraDataFault::Version { fork: Fork::Jovian, found: 0, wanted: 1 }));
        assert_eq!(read(1020, &old), Err(ExtraDataFault::Length { fork: Fork::Jovian, found: 9, wanted: 17 }));
        assert_eq!(unpack_eip1559_params(params), (8, 2));
    }
}
