//! What a configuration has to be, and how its faults are told: all at once.

use std::fmt;

use alloy_primitives::{Address, B256};

use super::RollupConfig;
use super::reading::Findings;
use crate::Fork;

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is not in the form that it should have, so that nothing in it can be judged.
    #[error("the configuration is not {form}: {reason}")]
    Form {
        /// `JSON` or `TOML`.
        form: &'static str,
        /// What the reader stumbled on, and where.
        reason: String,
    },
    /// The text is longer than any configuration.
    #[error("the configuration has {bytes} bytes; up to {limit} are read. Give the right file")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// [`CONFIG_BYTES_MAX`](super::CONFIG_BYTES_MAX).
        limit: usize,
    },
    /// The registry has no chain, or more than one, under this name.
    #[error("{0}")]
    Chain(String),
    /// What is wrong with its content: everything that was found.
    #[error("{}", listed(.0))]
    Content(Vec<Fault>),
}

impl ConfigError {
    /// Keys that mean nothing.
    pub(super) fn unknown_keys(keys: Vec<String>) -> Self {
        let problem = "is not a key that is known here; correct or remove it";
        Self::Content(keys.into_iter().map(|key| Fault { key, problem: problem.to_owned() }).collect())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key, by its path in the text.
    pub key: String,
    /// What it is, and what it should be.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.problem)
    }
}

fn listed(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// What no chain may have, in the words of `rollup.json`.
pub(super) fn check(config: &RollupConfig, findings: &mut Findings) {
    check_chains(config, findings);
    check_genesis(config, findings);
    check_numbers(config, findings);
    check_forks(config, findings);
}

fn check_chains(config: &RollupConfig, findings: &mut Findings) {
    for (key, id) in [("l1_chain_id", config.l1_chain_id), ("l2_chain_id", config.l2_chain_id)] {
        if id == 0 {
            findings.fault(key, "is 0; chain ids start at 1");
        }
    }
    if config.l1_chain_id == config.l2_chain_id {
        findings.fault("l2_chain_id", format!("is {}, as l1_chain_id is; the two differ", config.l2_chain_id));
    }
    let contracts = [
        ("batch_inbox_address", config.batch_inbox),
        ("deposit_contract_address", config.deposit_contract),
        ("l1_system_config_address", config.l1_system_config),
    ];
    for (key, address) in contracts {
        if address == Address::ZERO {
            findings.fault(key, "is the zero address; give the one that the chain was deployed with");
        }
    }
}

fn check_genesis(config: &RollupConfig, findings: &mut Findings) {
    let genesis = &config.genesis;
    for (key, block) in [("genesis.l1.hash", genesis.l1), ("genesis.l2.hash", genesis.l2)] {
        if block.hash == B256::ZERO {
            findings.fault(key, "is zero; give the block's hash");
        }
    }
    if genesis.l1.hash == genesis.l2.hash {
        findings.fault("genesis.l2.hash", "is genesis.l1.hash; a rollup's first block is not one of L1");
    }
    if genesis.l2_time == 0 {
        findings.fault("genesis.l2_time", "is 0; give the time of the rollup's first block");
    }
    if genesis.system_config.batcher == Address::ZERO {
        findings.fault("genesis.system_config.batcherAddr", "is the zero address; nobody could send batches");
    }
    if genesis.system_config.gas_limit == 0 {
        findings.fault("genesis.system_config.gasLimit", "is 0; no transaction would fit");
    }
}

fn check_numbers(config: &RollupConfig, findings: &mut Findings) {
    if config.block_time == 0 {
        findings.fault("block_time", "is 0; it has to be at least 1 second");
    }
    if config.sequencing_window < 2 {
        let problem = format!("is {}; it has to be at least 2 L1 blocks", config.sequencing_window);
        findings.fault("seq_window_size", problem);
    }
    if config.bedrock_channel_timeout == 0 {
        findings.fault("channel_timeout", "is 0; it has to cover at least one L1 block");
    }
    let fjord_from_the_start = config.is_active(Fork::Fjord, config.genesis.l2_time);
    if config.bedrock_sequencer_drift == 0 && !fjord_from_the_start {
        findings.fault("max_sequencer_drift", "is 0; a chain that begins before Fjord has to have one");
    }
    let fees = [
        ("eip1559Elasticity", config.fees.elasticity),
        ("eip1559Denominator", config.fees.denominator),
        ("eip1559DenominatorCanyon", config.fees.denominator_canyon),
    ];
    for (key, _) in fees.into_iter().filter(|(_, value)| *value == 0) {
        findings.fault(format!("chain_op_config.{key}"), "is 0; it divides, so it has to be at least 1");
    }
}

fn check_forks(config: &RollupConfig, findings: &mut Findings) {
    let Some((before, fork)) = config.forks.out_of_order() else { return };
    let (Some(before_key), Some(key)) = (before.key(), fork.key()) else { return };
    findings
        .fault(before_key, format!("has to be set, and not be later than {key}: {fork} holds the rules of {before}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Forks;
    use crate::config::tests::chain;

    /// A change that makes a configuration senseless.
    type Change = fn(&mut RollupConfig);

    fn told(change: Change) -> Vec<String> {
        let mut config = chain(Forks::from_genesis(Fork::Ecotone));
        config.genesis.system_config.batcher = config.batch_inbox;
        let mut findings = Findings::default();
        check(&config, &mut findings);
        assert_eq!(findings.faults, [], "without the change");
        change(&mut config);
        check(&config, &mut findings);
        findings.faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_fault_is_told_by_its_key() {
        let table: [(Change, &str); 19] = [
            (|config| config.l1_chain_id = 0, "l1_chain_id is 0"),
            (|config| config.l2_chain_id = 0, "l2_chain_id is 0"),
            (|config| config.l2_chain_id = 900, "l2_chain_id is 900, as l1_chain_id is"),
            (|config| config.batch_inbox = Address::ZERO, "batch_inbox_address is the zero address"),
            (|config| config.deposit_contract = Address::ZERO, "deposit_contract_address is the zero address"),
            (|config| config.l1_system_config = Address::ZERO, "l1_system_config_address is the zero address"),
            (|config| config.genesis.l1.hash = B256::ZERO, "genesis.l1.hash is zero"),
            (|config| config.genesis.l2.hash = B256::ZERO, "genesis.l2.hash is zero"),
            (|config| config.genesis.l2.hash = config.genesis.l1.hash, "genesis.l2.hash is genesis.l1.hash"),
            (|config| config.genesis.l2_time = 0, "genesis.l2_time is 0"),
            (|config| config.genesis.system_config.batcher = Address::ZERO, "batcherAddr is the zero address"),
            (|config| config.genesis.system_config.gas_limit = 0, "gasLimit is 0"),
            (|config| config.block_time = 0, "block_time is 0"),
            (|config| config.sequencing_window = 1, "seq_window_size is 1"),
            (|config| config.bedrock_channel_timeout = 0, "channel_timeout is 0"),
            (|config| config.bedrock_sequencer_drift = 0, "max_sequencer_drift is 0"),
            (|config| config.fees.denominator = 0, "eip1559Denominator is 0"),
            (|config| config.fees.denominator_canyon = 0, "eip1559DenominatorCanyon is 0"),
            (
                |config| config.forks.set(Fork::Canyon, None),
                "canyon_time has to be set, and not be later than delta_time",
            ),
        ];
        for (change, wanted) in table {
            let told = told(change);
            assert!(matches!(told.as_slice(), [only] if only.contains(wanted)), "{wanted}: {told:?}");
        }
    }
}
