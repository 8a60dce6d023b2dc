//! What the OP Stack adds to Ethereum's rules: its forks by time, how the base fee follows demand, what a header's free bytes say. Pure.
//!
//! Sources: <https://specs.optimism.io/protocol/exec-engine.html> and its sections of Holocene, Isthmus and Jovian; op-geth `params/config.go`
//! for the keys of a genesis file's `config`.

use alloy_consensus::Header;
use alloy_eips::eip1559::{BaseFeeParams, calc_next_block_base_fee};
use alloy_genesis::ChainConfig;
use alloy_op_hardforks::{ForkCondition, OpHardfork};
use alloy_primitives::{Address, B64, Bytes, address};
use op_alloy_consensus::{
    EIP1559ParamError, decode_holocene_extra_data, decode_jovian_extra_data, encode_holocene_extra_data,
    encode_jovian_extra_data,
};
use op_alloy_rpc_types::{OpBaseFeeInfo, OpGenesisInfo};

use crate::ChainError;

/// The contract whose storage root a header names from Isthmus on: messages that leave for L1.
pub(crate) const MESSAGE_PASSER: Address = address!("0x4200000000000000000000000000000000000016");

/// Forks that are planned but not executed by this version, by their keys in `config`.
const LATER: [&str; 2] = ["interopTime", "lagoonTime"];

/// The rules of one OP Stack chain beyond Ethereum's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rollup {
    forks: OpGenesisInfo,
    /// Before Canyon.
    bedrock: BaseFeeParams,
    /// From Canyon on, and where attributes name none.
    canyon: BaseFeeParams,
}

impl Rollup {
    /// The rules that `config` asks for by its key `optimism`; `None` without it.
    pub(crate) fn read(config: &ChainConfig) -> Result<Option<Self>, ChainError> {
        let extra = &config.extra_fields;
        if !extra.contains_key("optimism") {
            return Ok(None);
        }
        let wrong = |reason: String| ChainError::Genesis(format!("config.{reason}"));
        if let Some(key) = LATER.iter().find(|key| extra.get(**key).is_some_and(|time| !time.is_null())) {
            return Err(wrong(format!("{key}: forks after Karst are not known to this version")));
        }
        let fees = OpBaseFeeInfo::try_from(extra).map_err(|error| wrong(format!("optimism: {error}")))?;
        let required = |value: Option<u64>, key: &str| match value {
            Some(value) if (1..=u64::from(u32::MAX)).contains(&value) => Ok(u128::from(value)),
            Some(value) => Err(wrong(format!("optimism.{key}: {value} is not from 1 to {}", u32::MAX))),
            None => Err(wrong(format!("optimism.{key} is missing"))),
        };
        let elasticity = required(fees.eip1559_elasticity, "eip1559Elasticity")?;
        let bedrock = required(fees.eip1559_denominator, "eip1559Denominator")?;
        let canyon = match fees.eip1559_denominator_canyon {
            None => bedrock,
            named => required(named, "eip1559DenominatorCanyon")?,
        };
        let forks = OpGenesisInfo::try_from(extra).map_err(|error| wrong(format!("(fork times): {error}")))?;
        let rules = Self {
            forks,
            bedrock: BaseFeeParams::new(bedrock, elasticity),
            canyon: BaseFeeParams::new(canyon, elasticity),
        };
        rules.check_order().map_err(wrong)?;
        Ok(Some(rules))
    }

    /// Each fork holds the rules of those before it.
    fn check_order(&self) -> Result<(), String> {
        if self.forks.bedrock_block != Some(0) {
            return Err("bedrockBlock: a chain that began before Bedrock is not executed; it has to be 0".into());
        }
        for pair in self.times().windows(2) {
            let [(before, earlier), (fork, later)] = pair else { continue };
            if later.is_some_and(|later| earlier.is_none_or(|earlier| earlier > later)) {
                let [before, fork] = [before, fork].map(|fork| fork.name().to_lowercase());
                return Err(format!(
                    "{fork}Time is set, so {before}Time must be set to the same time or an earlier one"
                ));
            }
        }
        Ok(())
    }

    /// The forks that come at a time, in their order.
    fn times(&self) -> [(OpHardfork, Option<u64>); 9] {
        let forks = &self.forks;
        [
            (OpHardfork::Regolith, forks.regolith_time),
            (OpHardfork::Canyon, forks.canyon_time),
            (OpHardfork::Ecotone, forks.ecotone_time),
            (OpHardfork::Fjord, forks.fjord_time),
            (OpHardfork::Granite, forks.granite_time),
            (OpHardfork::Holocene, forks.holocene_time),
            (OpHardfork::Isthmus, forks.isthmus_time),
            (OpHardfork::Jovian, forks.jovian_time),
            (OpHardfork::Karst, forks.karst_time),
        ]
    }

    /// When a fork begins.
    pub(crate) fn activation(&self, fork: OpHardfork) -> ForkCondition {
        if fork == OpHardfork::Bedrock {
            return ForkCondition::Block(0);
        }
        let time = self.times().into_iter().find(|(known, _)| *known == fork).and_then(|(_, time)| time);
        time.map_or(ForkCondition::Never, ForkCondition::Timestamp)
    }

    fn active(&self, fork: OpHardfork, timestamp: u64) -> bool {
        self.activation(fork).active_at_timestamp(timestamp)
    }

    /// How the base fee follows demand where no header says so itself.
    fn constants(&self, timestamp: u64) -> BaseFeeParams {
        if self.active(OpHardfork::Canyon, timestamp) { self.canyon } else { self.bedrock }
    }

    /// The base fee in wei of a block at `timestamp` on `parent`: from Holocene on as the parent's free bytes say, from Jovian on with its
    /// footprint on L1 counted as demand, and never below the chain's minimum.
    pub(crate) fn next_base_fee(&self, parent: &Header, timestamp: u64) -> u64 {
        let mut demand = parent.gas_used;
        if self.active(OpHardfork::Jovian, parent.timestamp) {
            demand = demand.max(parent.blob_gas_used.unwrap_or_default());
        }
        let said = self.said(parent).unwrap_or_default();
        let params = said.base_fee_params().unwrap_or_else(|| self.constants(timestamp));
        let before = parent.base_fee_per_gas.unwrap_or_default();
        calc_next_block_base_fee(demand, parent.gas_limit, before, params).max(said.min_base_fee)
    }

    /// What a header's free bytes say of fees, from Holocene on; `None` where they are not what its time demands.
    fn said(&self, header: &Header) -> Option<Said> {
        let extra = &header.extra_data;
        let (elasticity, denominator, min_base_fee) = if self.active(OpHardfork::Jovian, header.timestamp) {
            decode_jovian_extra_data(extra).ok()?
        } else if self.active(OpHardfork::Holocene, header.timestamp) {
            let (elasticity, denominator) = decode_holocene_extra_data(extra).ok()?;
            (elasticity, denominator, 0)
        } else {
            return None;
        };
        Some(Said { elasticity, denominator, min_base_fee })
    }

    /// The free bytes of a block that is ordered with these parameters.
    ///
    /// # Errors
    /// With the parameter that a block at this time must have, or must not.
    pub(crate) fn extra_data(
        &self,
        timestamp: u64,
        params: Option<B64>,
        min_base_fee: Option<u64>,
    ) -> Result<Bytes, String> {
        let (holocene, jovian) =
            (self.active(OpHardfork::Holocene, timestamp), self.active(OpHardfork::Jovian, timestamp));
        match (params, min_base_fee) {
            (Some(_), _) if !holocene => Err("eip1559Params is given; blocks before Holocene have none".into()),
            (None, _) if holocene => Err("eip1559Params is missing; blocks from Holocene on have it".into()),
            (_, Some(_)) if !jovian => Err("minBaseFee is given; blocks before Jovian have none".into()),
            (_, None) if jovian => Err("minBaseFee is missing; blocks from Jovian on have it".into()),
            (Some(params), minimum) => {
                let (elasticity, denominator) = op_alloy_consensus::decode_eip_1559_params(params);
                if (elasticity == 0) != (denominator == 0) {
                    return Err(format!("eip1559Params {params}: denominator and elasticity are both 0, or neither"));
                }
                let constants = self.canyon;
                let encoded = match minimum {
                    Some(minimum) => encode_jovian_extra_data(params, constants, minimum),
                    None => encode_holocene_extra_data(params, constants),
                };
                encoded.map_err(|error: EIP1559ParamError| format!("eip1559Params: {error}"))
            }
            (None, _) => Ok(Bytes::new()),
        }
    }

    /// The free bytes of a block that nobody ordered: parameters stay as they are.
    pub(crate) fn kept_extra_data(&self, parent: &Header, timestamp: u64) -> Bytes {
        let said = self.said(parent).unwrap_or_default();
        let params = B64::from(u64::from(said.denominator) << 32 | u64::from(said.elasticity));
        let params = self.active(OpHardfork::Holocene, timestamp).then_some(params);
        let minimum = self.active(OpHardfork::Jovian, timestamp).then_some(said.min_base_fee);
        self.extra_data(timestamp, params, minimum).unwrap_or_default()
    }

    /// Whether a header's free bytes are what its time demands.
    pub(crate) fn check_extra_data(&self, header: &Header) -> bool {
        if self.active(OpHardfork::Holocene, header.timestamp) {
            self.said(header).is_some_and(|said| said.base_fee_params().is_some())
        } else {
            header.extra_data.len() <= 32
        }
    }
}

/// What a header says of fees; zeros where it says nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    elasticity: u32,
    denominator: u32,
    /// In wei, from Jovian on.
    min_base_fee: u64,
}

impl Said {
    /// How the base fee follows demand, if both numbers are said.
    fn base_fee_params(&self) -> Option<BaseFeeParams> {
        let whole = self.elasticity != 0 && self.denominator != 0;
        whole.then(|| BaseFeeParams::new(self.denominator.into(), self.elasticity.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(forks: serde_json::Value) -> Result<Rollup, ChainError> {
        let mut config = serde_json::json!({
            "chainId": 10, "bedrockBlock": 0,
            "optimism": { "eip1559Elasticity": 6, "eip1559Denominator": 50, "eip1559DenominatorCanyon": 250 },
        });
        for (key, value) in forks.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let config: ChainConfig = serde_json::from_value(config).expect("a config");
        Ok(Rollup::read(&config)?.expect("of a rollup"))
    }

    /// All forks, one each hundred seconds.
    fn all() -> Rollup {
        rules(serde_json::json!({
            "regolithTime": 0, "canyonTime": 100, "ecotoneTime": 200, "fjordTime": 300, "graniteTime": 400,
            "holoceneTime": 500, "isthmusTime": 600, "jovianTime": 700, "karstTime": 800,
        }))
        .expect("in order")
    }

    fn parent(timestamp: u64, extra_data: &[u8]) -> Header {
        Header {
            timestamp,
            gas_limit: 30_000_000,
            gas_used: 10_000_000,
            base_fee_per_gas: Some(1_000_000),
            extra_data: extra_data.to_vec().into(),
            ..Header::default()
        }
    }

    #[test]
    fn a_config_without_what_it_needs_is_refused_by_name() {
        let told = |forks| rules(forks).unwrap_err().to_string();
        assert!(told(serde_json::json!({ "ecotoneTime": 5 })).contains("canyonTime must be set"));
        assert!(
            told(serde_json::json!({ "regolithTime": 9, "canyonTime": 5 })).contains("regolithTime must be set to the")
        );
        assert!(told(serde_json::json!({ "interopTime": 5 })).contains("interopTime"));
        assert!(told(serde_json::json!({ "bedrockBlock": 7 })).contains("bedrockBlock"));
        assert!(
            told(serde_json::json!({ "optimism": { "eip1559Elasticity": 6, "eip1559Denominator": 0 } }))
                .contains("optimism.eip1559Denominator: 0")
        );
    }

    #[test]
    fn the_base_fee_follows_what_its_time_says() {
        let rules = all();
        // 10 million of a target of 5: once the target above it.
        let by = |parent: &Header, time| rules.next_base_fee(parent, time);
        assert_eq!(by(&parent(50, &[]), 60), 1_020_000, "an fiftieth before Canyon");
        assert_eq!(by(&parent(90, &[]), 100), 1_004_000, "Canyon's denominator counts from its first block on");
        let holocene = encode_holocene_extra_data("0x0000000a00000002".parse().expect("params"), rules.canyon);
        let holocene = parent(500, &holocene.expect("encodes"));
        // Two thirds of the target of 15 million: a third of a tenth down.
        assert_eq!(by(&holocene, 600), 966_667);
        let jovian = encode_jovian_extra_data("0x0000000a00000006".parse().expect("params"), rules.canyon, 2_000_000);
        let mut jovian = parent(700, &jovian.expect("encodes"));
        assert_eq!(by(&jovian, 710), 2_000_000, "not below the minimum");
        jovian.base_fee_per_gas = Some(10_000_000);
        assert_eq!(by(&jovian, 710), 11_000_000);
        jovian.blob_gas_used = Some(15_000_000);
        assert_eq!(by(&jovian, 710), 12_000_000, "the footprint counts where it is larger");
    }

    #[test]
    fn free_bytes_are_what_their_time_demands() {
        let rules = all();
        let params: B64 = "0x0000000800000002".parse().expect("params");
        let table = [
            (400, None, None, Ok("0x")),
            (400, Some(params), None, Err("before Holocene")),
            (500, None, None, Err("eip1559Params is missing")),
            (500, Some(params), None, Ok("0x000000000800000002")),
            (500, Some(B64::ZERO), None, Ok("0x00000000fa00000006")),
            (500, Some(params), Some(1), Err("before Jovian")),
            (700, Some(params), None, Err("minBaseFee is missing")),
            (700, Some(params), Some(257), Ok("0x0100000008000000020000000000000101")),
            (700, Some("0x0000000000000002".parse().expect("params")), Some(0), Err("both 0, or neither")),
        ];
        for (time, params, minimum, wanted) in table {
            match (rules.extra_data(time, params, minimum), wanted) {
                (Ok(bytes), Ok(wanted)) => {
                    assert_eq!(bytes.to_string(), wanted);
                    assert!(rules.check_extra_data(&parent(time, &bytes)), "{wanted} at {time}");
                }
                (Err(told), Err(wanted)) => assert!(told.contains(wanted), "{told}"),
                (told, wanted) => panic!("at {time}: {told:?}, wanted {wanted:?}"),
            }
        }
        assert!(!rules.check_extra_data(&parent(500, &[])));
        assert!(!rules.check_extra_data(&parent(700, &[0, 0, 0, 0, 8, 0, 0, 0, 2])));
    }

    #[test]
    fn a_block_that_nobody_ordered_keeps_the_parameters() {
        let rules = all();
        let holocene = rules.extra_data(500, Some("0x0000000800000002".parse().expect("params")), None);
        let holocene = parent(690, &holocene.expect("encodes"));
        assert_eq!(rules.kept_extra_data(&holocene, 692), holocene.extra_data);
        assert_eq!(rules.kept_extra_data(&holocene, 700).to_string(), "0x0100000008000000020000000000000000");
        assert_eq!(rules.kept_extra_data(&parent(490, b"BEDROCK"), 500).to_string(), "0x00000000fa00000006");
        assert_eq!(rules.kept_extra_data(&parent(300, b"BEDROCK"), 310), Bytes::new());
    }
}
