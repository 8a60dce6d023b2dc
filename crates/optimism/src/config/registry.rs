//! The forms of the superchain registry: one TOML file for each chain with one for its superchain, and `configs.json`,
//! which holds all.
//!
//! Sources: <https://github.com/ethereum-optimism/superchain-registry>, whose tools decide what a chain inherits from
//! its superchain (`ops/internal/config/hardforks.go`, `CopyHardforks`).

use serde_json::Value;

use super::reading::{BlockTime, Findings, Section};
use super::rollup_json::{conclude, read_alt_da, read_fees, read_forks, read_genesis, refuse_unknown_forks};
use super::{AltDa, BEDROCK_CHANNEL_TIMEOUT, ConfigError, FeeParams, Reading, RollupConfig};
use crate::{Fork, Forks};

/// Longer texts are not read: all chains of the registry together have 200 kB.
pub const CONFIG_BYTES_MAX: usize = 8 << 20;

/// Keys about a chain that change no rule, in TOML.
const TOML_WITHOUT_EFFECT: [&str; 10] = [
    "name",
    "public_rpc",
    "sequencer_rpc",
    "explorer",
    "superchain_level",
    "governed_by_optimism",
    "data_availability_type",
    "gas_paying_token",
    "roles",
    "interop",
];

/// The same in `configs.json`.
const JSON_WITHOUT_EFFECT: [&str; 10] = [
    "Name",
    "PublicRPC",
    "SequencerRPC",
    "Explorer",
    "SuperchainLevel",
    "GovernedByOptimism",
    "DataAvailabilityType",
    "GasPayingToken",
    "Roles",
    "interop",
];

impl RollupConfig {
    /// The configuration of one chain in the registry's `configs.json`. `chain` is its chain id, or its name in full
    /// (capital letters do not matter).
    ///
    /// # Errors
    /// With everything that is wrong with it, or the names that there are.
    pub fn from_registry(text: &str, chain: &str) -> Result<Reading, ConfigError> {
        let value = parse_json(text)?;
        let (superchain, chain) = find(&value, chain)?;
        read(&JSON, chain, superchain.get("config"))
    }

    /// The configuration in the registry's TOML file of a chain, with that of its superchain.
    ///
    /// # Errors
    /// With everything that is wrong with either.
    pub fn from_registry_toml(chain: &str, superchain: &str) -> Result<Reading, ConfigError> {
        let (chain, superchain) = (parse_toml(chain)?, parse_toml(superchain)?);
        read(&TOML, &chain, Some(&superchain))
    }
}

/// How one of the two forms names things.
struct Names {
    without_effect: &'static [&'static str],
    l2_chain_id: &'static str,
    batch_inbox: &'static str,
    forks: &'static str,
    superchain_time: &'static str,
    addresses: &'static str,
}

const TOML: Names = Names {
    without_effect: &TOML_WITHOUT_EFFECT,
    l2_chain_id: "chain_id",
    batch_inbox: "batch_inbox_addr",
    forks: "hardforks",
    superchain_time: "superchain_time",
    addresses: "addresses",
};

const JSON: Names = Names {
    without_effect: &JSON_WITHOUT_EFFECT,
    l2_chain_id: "l2_chain_id",
    batch_inbox: "batch_inbox_address",
    forks: "hardfork_configuration",
    superchain_time: "SuperchainTime",
    addresses: "Addresses",
};

fn read(names: &Names, chain: &Value, superchain: Option<&Value>) -> Result<Reading, ConfigError> {
    let mut findings = Findings::default();
    let mut section = Section::root(chain, &mut findings);
    section.ignore(names.without_effect);
    let config = read_chain(names, &mut section, superchain.unwrap_or(&Value::Null), &mut findings);
    section.finish(&mut findings);
    conclude(config, findings)
}

fn read_chain(names: &Names, section: &mut Section<'_>, superchain: &Value, findings: &mut Findings) -> RollupConfig {
    let superchain = read_superchain(superchain, findings);
    let superchain_time = section.optional(&[names.superchain_time], findings);
    let own = section.required_table(&[names.forks], findings);
    let mut schedule = read_schedule(own, findings);
    let genesis = section.required_table(&["genesis"], findings);
    let genesis = read_genesis(genesis, findings);
    if let Some(since) = superchain_time {
        schedule.inherit(&superchain.schedule, since, genesis.l2_time);
    }
    // Every chain of the registry has begun with it.
    schedule.forks.set(Fork::Regolith, Some(0));
    let mut contracts = section.required_table(&[names.addresses], findings);
    RollupConfig {
        l1_chain_id: superchain.l1_chain_id,
        l2_chain_id: section.required(&[names.l2_chain_id], findings),
        genesis,
        block_time: section.required::<BlockTime>(&["block_time"], findings).0,
        bedrock_sequencer_drift: section.optional(&["max_sequencer_drift"], findings).unwrap_or_default(),
        sequencing_window: section.required(&["seq_window_size"], findings),
        bedrock_channel_timeout: BEDROCK_CHANNEL_TIMEOUT,
        forks: schedule.forks,
        pectra_blob_schedule_time: schedule.pectra_blob_schedule_time,
        keep_karst_upgrade_gas: schedule.keep_karst_upgrade_gas,
        batch_inbox: section.required(&[names.batch_inbox], findings),
        // The table holds every contract of the chain; these two matter here.
        deposit_contract: contracts.required(&["OptimismPortalProxy"], findings),
        l1_system_config: contracts.required(&["SystemConfigProxy"], findings),
        fees: section.table(&["optimism"], findings).map_or_else(FeeParams::default, |fees| read_fees(fees, findings)),
        alt_da: read_alt_da_of(section, findings),
    }
}

fn read_alt_da_of(section: &mut Section<'_>, findings: &mut Findings) -> Option<AltDa> {
    let table = section.table(&["alt_da"], findings)?;
    Some(read_alt_da(table, findings))
}

/// What the chains of one superchain have in common.
struct Superchain {
    l1_chain_id: u64,
    schedule: Schedule,
}

fn read_superchain(value: &Value, findings: &mut Findings) -> Superchain {
    let mut section = Section::of("superchain", value, findings);
    let mut l1 = section.required_table(&["l1"], findings);
    let l1_chain_id = l1.required(&["chain_id"], findings);
    let forks = section.table(&["hardforks"], findings);
    let schedule = forks.map_or_else(Schedule::default, |forks| read_schedule(forks, findings));
    Superchain { l1_chain_id, schedule }
}

/// A table of fork times and what goes with them.
#[derive(Default)]
struct Schedule {
    forks: Forks,
    pectra_blob_schedule_time: Option<u64>,
    keep_karst_upgrade_gas: bool,
}

fn read_schedule(mut section: Section<'_>, findings: &mut Findings) -> Schedule {
    let schedule = Schedule {
        forks: read_forks(&mut section, findings),
        pectra_blob_schedule_time: section.optional(&["pectra_blob_schedule_time"], findings),
        keep_karst_upgrade_gas: section.optional(&["keep_karst_upgrade_gas"], findings).unwrap_or_default(),
    };
    let judged = refuse_unknown_forks(&mut section, findings);
    section.ignore(&judged);
    section.finish(findings);
    schedule
}

impl Schedule {
    /// Takes over what the superchain plans from `since` on and the chain does not say itself. A fork from before the
    /// chain's first block holds from that block on.
    fn inherit(&mut self, superchain: &Self, since: u64, l2_time: u64) {
        let inherited = |own: Option<u64>, planned: Option<u64>| {
            let planned = planned.filter(|time| *time >= since).map(|time| if time > l2_time { time } else { 0 });
            own.or(planned)
        };
        for fork in Fork::ALL {
            self.forks.set(fork, inherited(self.forks.time(fork), superchain.forks.time(fork)));
        }
        self.pectra_blob_schedule_time =
            inherited(self.pectra_blob_schedule_time, superchain.pectra_blob_schedule_time);
    }
}

/// The one chain of this id or name, with its superchain.
fn find<'a>(registry: &'a Value, wanted: &str) -> Result<(&'a Value, &'a Value), ConfigError> {
    let superchains = registry["superchains"].as_array().ok_or_else(|| {
        ConfigError::Chain("superchains is missing; the registry's configs.json has it as a list".to_owned())
    })?;
    let chains = superchains.iter().flat_map(|superchain| {
        let chains = superchain["chains"].as_array().into_iter().flatten();
        chains.map(move |chain| (superchain, chain))
    });
    let id: Option<u64> = wanted.parse().ok();
    let is_it = |chain: &Value| match id {
        Some(id) => chain["l2_chain_id"].as_u64() == Some(id),
        None => chain["Name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(wanted)),
    };
    let found: Vec<_> = chains.filter(|(_, chain)| is_it(chain)).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(ConfigError::Chain(format!(
            "no chain {wanted:?} in the registry; give a chain id like 10, or a name in full like \"OP Mainnet\""
        ))),
        many => Err(ConfigError::Chain(format!("{} chains are named {wanted:?}; give a chain id", many.len()))),
    }
}

pub(super) fn parse_json(text: &str) -> Result<Value, ConfigError> {
    within_limit(text)?;
    serde_json::from_str(text).map_err(|error| ConfigError::Form { form: "JSON", reason: error.to_string() })
}

fn parse_toml(text: &str) -> Result<Value, ConfigError> {
    within_limit(text)?;
    toml::from_str(text).map_err(|error| ConfigError::Form { form: "TOML", reason: error.to_string() })
}

fn within_limit(text: &str) -> Result<(), ConfigError> {
    if text.len() > CONFIG_BYTES_MAX {
        return Err(ConfigError::TooLong { bytes: text.len(), limit: CONFIG_BYTES_MAX });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_inherits_what_its_superchain_plans_after_it_joined() {
        let planned = Forks::from_genesis(Fork::Regolith)
            .with(Fork::Canyon, 100)
            .with(Fork::Delta, 200)
            .with(Fork::Ecotone, 300)
            .with(Fork::Fjord, 400);
        let superchain = Schedule { forks: planned, ..Schedule::default() };
        let table = [
            // Joined at 0, began at 250: what lies before its beginning holds from the beginning.
            (0, 250, [Some(0), Some(0), Some(300), Some(400)]),
            // Joined at 300: what came before is not its.
            (300, 50, [None, None, Some(300), Some(400)]),
            (301, 50, [None, None, None, Some(400)]),
            (0, 300, [Some(0), Some(0), Some(0), Some(400)]),
        ];
        for (since, l2_time, wanted) in table {
            let mut schedule = Schedule::default();
            schedule.inherit(&superchain, since, l2_time);
            let got = [Fork::Canyon, Fork::Delta, Fork::Ecotone, Fork::Fjord].map(|fork| schedule.forks.time(fork));
            assert_eq!(got, wanted, "joined at {since}, began at {l2_time}");
        }
        let mut own = Schedule { forks: Forks::default().with(Fork::Canyon, 7), ..Schedule::default() };
        own.inherit(&superchain, 0, 0);
        assert_eq!(own.forks.time(Fork::Canyon), Some(7), "what it says itself stays");
    }
}
