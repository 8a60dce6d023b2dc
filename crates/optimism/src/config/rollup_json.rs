//! The form that op-node reads and writes: `rollup.json`.

use alloy_primitives::B256;
use serde_json::{Value, json};

use super::check::check;
use super::reading::{BlockTime, Findings, Section};
use super::registry::parse_json;
use super::{AltDa, ConfigError, FeeParams, Genesis, Reading, RollupConfig};
use crate::system_config::OperatorFee;
use crate::{BlockId, Fork, Forks, SystemConfig};

/// Forks that have a name but no rules here. A chain that plans one needs a program that knows it.
const LATER_FORKS: [&str; 6] =
    ["lagoon_time", "interop_time", "monsoon_time", "narrows_time", "orogeny_time", "permafrost_time"];

/// Keys of other programs and other times that change no rule.
const WITHOUT_EFFECT: [&str; 4] = [
    "protocol_versions_address",
    "superchain_config_address",
    "blobs_enabled_l1_timestamp",
    "interop_message_expiry_window",
];

impl RollupConfig {
    /// The configuration in op-node's `rollup.json`.
    ///
    /// # Errors
    /// With everything that is wrong with it. A planned fork after Karst is an error: its rules are not known here.
    pub fn from_rollup_json(text: &str) -> Result<Reading, ConfigError> {
        let value = parse_json(text)?;
        let mut findings = Findings::default();
        let mut section = Section::root(&value, &mut findings);
        let config = read(&mut section, &mut findings);
        let later = refuse_unknown_forks(&mut section, &mut findings);
        section.ignore(&later);
        section.finish(&mut findings);
        conclude(config, findings)
    }

    /// The same as `rollup.json`: what op-node would write, and `optimism_rollupConfig` answers.
    pub fn to_rollup_json(&self) -> Value {
        let mut value = json!({
            "genesis": write_genesis(&self.genesis),
            "block_time": self.block_time,
            "max_sequencer_drift": self.bedrock_sequencer_drift,
            "seq_window_size": self.sequencing_window,
            "channel_timeout": self.bedrock_channel_timeout,
            "l1_chain_id": self.l1_chain_id,
            "l2_chain_id": self.l2_chain_id,
            "batch_inbox_address": self.batch_inbox,
            "deposit_contract_address": self.deposit_contract,
            "l1_system_config_address": self.l1_system_config,
            "chain_op_config": {
                "eip1559Elasticity": self.fees.elasticity,
                "eip1559Denominator": self.fees.denominator,
                "eip1559DenominatorCanyon": self.fees.denominator_canyon,
            },
        });
        for fork in Fork::ALL {
            if let (Some(key), Some(time)) = (fork.key(), self.forks.time(fork)) {
                value[key] = time.into();
            }
        }
        if let Some(time) = self.pectra_blob_schedule_time {
            value["pectra_blob_schedule_time"] = time.into();
        }
        if self.keep_karst_upgrade_gas {
            value["keep_karst_upgrade_gas"] = true.into();
        }
        if let Some(alt_da) = &self.alt_da {
            value["alt_da"] = write_alt_da(alt_da);
        }
        value
    }
}

/// A configuration that was read whole and makes sense, or everything that is wrong with it.
pub(super) fn conclude(config: RollupConfig, mut findings: Findings) -> Result<Reading, ConfigError> {
    // What stands in for a value that could not be read must not be judged as well.
    if findings.faults.is_empty() {
        check(&config, &mut findings);
    }
    if findings.faults.is_empty() {
        Ok(Reading { config, unknown: findings.unknown })
    } else {
        Err(ConfigError::Content(findings.faults))
    }
}

fn read(section: &mut Section<'_>, findings: &mut Findings) -> RollupConfig {
    let forks = read_forks(section, findings);
    let drift = section.optional(&["max_sequencer_drift"], findings);
    section.ignore(&WITHOUT_EFFECT);
    // Constants of the protocol, which some writers name.
    section.ignore(&["granite_channel_timeout", "fjord_max_sequencer_drift"]);
    RollupConfig {
        l1_chain_id: section.required(&["l1_chain_id"], findings),
        l2_chain_id: section.required(&["l2_chain_id"], findings),
        genesis: {
            let genesis = section.required_table(&["genesis"], findings);
            read_genesis(genesis, findings)
        },
        block_time: section.required::<BlockTime>(&["block_time"], findings).0,
        bedrock_sequencer_drift: drift.unwrap_or_default(),
        sequencing_window: section.required(&["seq_window_size"], findings),
        bedrock_channel_timeout: section.required(&["channel_timeout"], findings),
        forks,
        pectra_blob_schedule_time: section.optional(&["pectra_blob_schedule_time"], findings),
        keep_karst_upgrade_gas: section.optional(&["keep_karst_upgrade_gas"], findings).unwrap_or_default(),
        batch_inbox: section.required(&["batch_inbox_address"], findings),
        deposit_contract: section.required(&["deposit_contract_address"], findings),
        l1_system_config: section.required(&["l1_system_config_address"], findings),
        fees: section
            .table(&["chain_op_config"], findings)
            .map_or_else(FeeParams::default, |fees| read_fees(fees, findings)),
        alt_da: section.table(&["alt_da"], findings).map(|alt_da| read_alt_da(alt_da, findings)),
    }
}

/// The fork times in a table that may hold other keys too.
pub(super) fn read_forks(section: &mut Section<'_>, findings: &mut Findings) -> Forks {
    let mut forks = Forks::default();
    for fork in Fork::ALL {
        if let Some(key) = fork.key() {
            forks.set(fork, section.optional(&[key], findings));
        }
    }
    forks
}

/// A planned fork whose rules are not known here is a fault, by whatever name. Gives the keys that were judged.
pub(super) fn refuse_unknown_forks<'a>(section: &mut Section<'a>, findings: &mut Findings) -> Vec<&'a str> {
    let left: Vec<_> = section.rest().filter(|(key, _)| key.ends_with("_time")).collect();
    for (key, value) in &left {
        if value.is_null() {
            continue;
        }
        let known = if LATER_FORKS.contains(key) { "is a fork after Karst" } else { "is no fork that is known here" };
        let problem = format!(
            "is {value}: this {known}, and a chain that plans it cannot be followed past it. Remove the key, or use a \
             version that knows the fork"
        );
        findings.fault(section.path(key), problem);
    }
    left.into_iter().map(|(key, _)| key).collect()
}

/// The first blocks and what holds from them on.
pub(super) fn read_genesis(mut section: Section<'_>, findings: &mut Findings) -> Genesis {
    let l1 = section.required_table(&["l1"], findings);
    let l2 = section.required_table(&["l2"], findings);
    let system_config = section.required_table(&["system_config"], findings);
    let genesis = Genesis {
        l1: read_block(l1, findings),
        l2: read_block(l2, findings),
        l2_time: section.required(&["l2_time"], findings),
        system_config: read_system_config(system_config, findings),
    };
    section.finish(findings);
    genesis
}

fn read_block(mut section: Section<'_>, findings: &mut Findings) -> BlockId {
    let hash = section.required(&["hash"], findings);
    let number = section.required(&["number"], findings);
    section.finish(findings);
    BlockId { number, hash }
}

/// The names are those of op-node, of the registry, and of kona, which splits what op-node packs.
fn read_system_config(mut section: Section<'_>, findings: &mut Findings) -> SystemConfig {
    let mut config = SystemConfig {
        batcher: section.required(&["batcherAddr", "batcherAddress"], findings),
        overhead: section.optional(&["overhead"], findings).unwrap_or_default(),
        scalar: section.optional(&["scalar"], findings).unwrap_or_default(),
        gas_limit: section.required(&["gasLimit"], findings),
        eip1559_params: section.optional(&["eip1559Params"], findings).unwrap_or_default(),
        operator_fee: section
            .optional::<B256>(&["operatorFeeParams"], findings)
            .map(|packed| OperatorFee::unpack(&packed))
            .unwrap_or_default(),
        min_base_fee: section.optional(&["minBaseFee"], findings).unwrap_or_default(),
        da_footprint_gas_scalar: section.optional(&["daFootprintGasScalar"], findings).unwrap_or_default(),
    };
    let denominator: Option<u32> = section.optional(&["eip1559Denominator"], findings);
    let elasticity: Option<u32> = section.optional(&["eip1559Elasticity"], findings);
    if let (Some(denominator), Some(elasticity)) = (denominator, elasticity) {
        config.eip1559_params = crate::extra_data::pack_eip1559_params(denominator, elasticity);
    }
    if let Some(scalar) = section.optional(&["operatorFeeScalar"], findings) {
        config.operator_fee.scalar = scalar;
    }
    if let Some(constant) = section.optional(&["operatorFeeConstant"], findings) {
        config.operator_fee.constant = constant;
    }
    // Later names for what `scalar` already says.
    section.ignore(&["baseFeeScalar", "blobBaseFeeScalar"]);
    section.finish(findings);
    config
}

/// The names are those of op-node and, with underscores, of the registry.
pub(super) fn read_fees(mut section: Section<'_>, findings: &mut Findings) -> FeeParams {
    let denominator = section.required(&["eip1559Denominator", "eip1559_denominator"], findings);
    let canyon = section.optional(&["eip1559DenominatorCanyon", "eip1559_denominator_canyon"], findings);
    let fees = FeeParams {
        elasticity: section.required(&["eip1559Elasticity", "eip1559_elasticity"], findings),
        denominator,
        denominator_canyon: canyon.unwrap_or(denominator),
    };
    section.finish(findings);
    fees
}

/// The names are those of op-node and of the registry.
pub(super) fn read_alt_da(mut section: Section<'_>, findings: &mut Findings) -> AltDa {
    let alt_da = AltDa {
        challenge_contract: section
            .optional(&["da_challenge_contract_address", "da_challenge_address", "da_challenge_contract"], findings),
        commitment_type: section.optional(&["da_commitment_type"], findings).unwrap_or_default(),
        challenge_window: section.optional(&["da_challenge_window"], findings).unwrap_or_default(),
        resolve_window: section.optional(&["da_resolve_window"], findings).unwrap_or_default(),
    };
    section.finish(findings);
    alt_da
}

fn write_genesis(genesis: &Genesis) -> Value {
    let config = &genesis.system_config;
    json!({
        "l1": genesis.l1,
        "l2": genesis.l2,
        "l2_time": genesis.l2_time,
        "system_config": {
            "batcherAddr": config.batcher,
            "overhead": config.overhead,
            "scalar": config.scalar,
            "gasLimit": config.gas_limit,
            "eip1559Params": config.eip1559_params,
            "operatorFeeParams": config.operator_fee.pack(),
            "minBaseFee": config.min_base_fee,
            "daFootprintGasScalar": config.da_footprint_gas_scalar,
        },
    })
}

fn write_alt_da(alt_da: &AltDa) -> Value {
    json!({
        "da_challenge_contract_address": alt_da.challenge_contract,
        "da_commitment_type": alt_da.commitment_type,
        "da_challenge_window": alt_da.challenge_window,
        "da_resolve_window": alt_da.resolve_window,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::chain;

    fn complete() -> Value {
        let mut config = chain(Forks::from_genesis(Fork::Jovian).with(Fork::Karst, 5000));
        config.genesis.system_config.batcher.0[0] = 1;
        config.to_rollup_json()
    }

    fn told(value: &Value) -> String {
        RollupConfig::from_rollup_json(&value.to_string()).expect_err("refused").to_string()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut config = chain(Forks::from_genesis(Fork::Jovian).with(Fork::Karst, 5000));
        config.genesis.system_config = SystemConfig {
            batcher: config.batch_inbox,
            overhead: B256::repeat_byte(1),
            scalar: B256::repeat_byte(2),
            gas_limit: 7,
            eip1559_params: crate::extra_data::pack_eip1559_params(250, 6),
            operator_fee: OperatorFee { scalar: 3, constant: u64::MAX },
            min_base_fee: 4,
            da_footprint_gas_scalar: 5,
        };
        config.pectra_blob_schedule_time = Some(9);
        config.keep_karst_upgrade_gas = true;
        let window = AltDa { challenge_window: 3, resolve_window: 4, ..AltDa::default() };
        config.alt_da = Some(AltDa { commitment_type: "GenericCommitment".into(), ..window });
        let read = RollupConfig::from_rollup_json(&config.to_rollup_json().to_string()).expect("reads");
        assert_eq!(read, Reading { config, unknown: vec![] });
    }

    #[test]
    fn a_block_time_below_a_second_is_refused_with_the_reason() {
        for fraction in ["0.2", "0.5", "1.5", "\"200ms\""] {
            let mut value = complete();
            value["block_time"] = serde_json::from_str(fraction).expect("it is JSON");
            let told = told(&value);
            assert!(told.contains(&format!("block_time is {fraction}")) && told.contains("whole seconds"), "{told}");
        }
        let mut value = complete();
        value["block_time"] = 0.into();
        assert!(told(&value).contains("block_time is 0; it has to be at least 1 second"));
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let mut value = complete();
        value["block_time"] = "two".into();
        value["genesis"]["l1"]["hash"] = "0x12".into();
        value["fjord_time"] = (-1).into();
        value.as_object_mut().expect("a table").remove("seq_window_size");
        let told = told(&value);
        for part in [
            "block_time is \"two\"; it has to be a whole number",
            "genesis.l1.hash is \"0x12\"; it has to be 0x and 64",
            "fjord_time is -1",
            "seq_window_size is missing",
        ] {
            assert!(told.contains(part), "{part} in: {told}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told_at_once() {
        let mut value = complete();
        value["seq_window_size"] = 1.into();
        value["l2_chain_id"] = value["l1_chain_id"].clone();
        value["granite_time"] = Value::Null;
        value["chain_op_config"]["eip1559Elasticity"] = 0.into();
        let told = told(&value);
        for part in [
            "seq_window_size is 1; it has to be at least 2",
            "l2_chain_id is 900, as l1_chain_id is",
            "granite_time has to be set, and not be later than holocene_time",
            "chain_op_config.eip1559Elasticity is 0",
        ] {
            assert!(told.contains(part), "{part} in: {told}");
        }
    }

    #[test]
    fn a_fork_after_karst_is_refused_by_its_key() {
        for key in ["lagoon_time", "interop_time", "someday_time"] {
            let mut value = complete();
            value[key] = 9_999_999_999_u64.into();
            let told = told(&value);
            assert!(told.starts_with(&format!("{key} is 9999999999")), "{told}");
            value[key] = Value::Null;
            RollupConfig::from_rollup_json(&value.to_string()).expect("a fork without a time is not planned");
        }
    }

    #[test]
    fn keys_that_mean_nothing_are_named() {
        let mut value = complete();
        value["sequencer_window"] = 2.into();
        value["genesis"]["l3"] = 3.into();
        value["granite_channel_timeout"] = 50.into();
        let reading = RollupConfig::from_rollup_json(&value.to_string()).expect("reads");
        assert_eq!(reading.unknown, ["genesis.l3", "sequencer_window"]);
        let told = reading.strict().expect_err("refused").to_string();
        assert!(told.contains("genesis.l3 is not a key") && told.contains("sequencer_window is not a key"), "{told}");
    }

    #[test]
    fn a_drift_is_needed_only_before_fjord() {
        let mut value = complete();
        value.as_object_mut().expect("a table").remove("max_sequencer_drift");
        RollupConfig::from_rollup_json(&value.to_string()).expect("Fjord from the start");
        for key in ["fjord_time", "granite_time", "holocene_time", "isthmus_time", "jovian_time"] {
            value[key] = 2000.into();
        }
        assert!(told(&value).contains("max_sequencer_drift is 0"));
    }

    #[test]
    fn what_is_no_configuration_is_no_panic() {
        for text in ["", "{", "[]", "7", "null", "\"x\"", "{\"genesis\": []}"] {
            RollupConfig::from_rollup_json(text).expect_err(text);
        }
        let long = " ".repeat(super::super::CONFIG_BYTES_MAX + 1);
        assert!(matches!(RollupConfig::from_rollup_json(&long), Err(ConfigError::TooLong { .. })));
    }
}
