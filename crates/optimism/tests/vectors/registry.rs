//! Every chain of the superchain registry, in both of its forms.

use optimism::{ConfigError, Fork, Reading, RollupConfig};
use serde_json::Value;

use crate::{json, list, number, text, vectors};

/// Chains that plan a fork after Karst.
const WITH_LAGOON: [u64; 2] = [420_120_009, 420_120_010];

/// All chains of `configs.json`, each with what was made of it.
fn chains() -> Option<Vec<(Value, Result<Reading, ConfigError>)>> {
    let text = text("registry/configs.json")?;
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let chains = list(&all["superchains"]).iter().flat_map(|superchain| list(&superchain["chains"]).to_vec());
    let read = |chain: Value| {
        let id = number(&chain["l2_chain_id"]).to_string();
        let reading = RollupConfig::from_registry(&text, &id);
        (chain, reading)
    };
    Some(chains.map(read).collect())
}

fn forks(config: &RollupConfig) -> Vec<Option<u64>> {
    Fork::ALL.into_iter().map(|fork| config.forks.time(fork)).collect()
}

#[test]
fn every_registered_chain_is_read_or_refused_by_name() {
    let Some(chains) = chains() else { return };
    assert_eq!(chains.len(), 57);
    for (chain, reading) in chains {
        let id = number(&chain["l2_chain_id"]);
        if WITH_LAGOON.contains(&id) {
            let told = reading.expect_err("plans Lagoon").to_string();
            assert!(told.contains("hardfork_configuration.lagoon_time is 1749150000"), "{told}");
            continue;
        }
        let reading = reading.unwrap_or_else(|error| panic!("{}: {error}", chain["Name"]));
        assert_eq!(reading.unknown, Vec::<String>::new(), "{}", chain["Name"]);
        let config = reading.config;
        assert_eq!(config.l2_chain_id, id);
        assert_eq!(config.genesis.l2_time, number(&chain["genesis"]["l2_time"]));
        assert_eq!(config.block_time, number(&chain["block_time"]));
        assert_eq!(config.bedrock_sequencer_drift, number(&chain["max_sequencer_drift"]));
        // What is written for op-node is read again as the same.
        let written = config.to_rollup_json().to_string();
        let again = RollupConfig::from_rollup_json(&written).unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!(again.strict(), Ok(config));
    }
}

#[test]
fn each_fork_turns_on_once_at_its_time() {
    let Some(chains) = chains() else { return };
    for config in chains.into_iter().filter_map(|(_, reading)| Some(reading.ok()?.config)) {
        let times = forks(&config);
        assert!(times.iter().flatten().is_sorted(), "{}: {times:?}", config.l2_chain_id);
        for fork in Fork::ALL {
            let Some(time) = config.forks.time(fork).filter(|time| *time > config.genesis.l2_time) else { continue };
            assert!(config.is_active(fork, time) && !config.is_active(fork, time - 1), "{fork}");
            // The first block at or after the fork's time.
            let number = config.number_at(time - 1).expect("after genesis") + 1;
            let block = config.time_of(number).expect("in time");
            assert!(config.activates(fork, block - config.block_time, block), "{fork} at {block}");
            assert!(config.is_activation_block(fork, block), "{fork} at {block}");
            assert!(!config.is_activation_block(fork, block + config.block_time), "{fork} after {block}");
            assert!(!config.is_activation_block(fork, block - config.block_time), "{fork} before {block}");
        }
    }
}

#[test]
fn op_mainnet_is_as_it_is_known() {
    let Some(text) = text("registry/configs.json") else { return };
    let config = RollupConfig::from_registry(&text, "op mainnet").expect("by name").config;
    assert_eq!(config, RollupConfig::from_registry(&text, "10").expect("by chain id").config);
    let known = [
        (Fork::Regolith, 0),
        (Fork::Canyon, 1_704_992_401),
        (Fork::Delta, 1_708_560_000),
        (Fork::Ecotone, 1_710_374_401),
        (Fork::Fjord, 1_720_627_201),
        (Fork::Granite, 1_726_070_401),
        (Fork::Holocene, 1_736_445_601),
        (Fork::Isthmus, 1_746_806_401),
        (Fork::Jovian, 1_764_691_201),
        (Fork::Karst, 1_783_526_401),
    ];
    for (fork, time) in known {
        assert_eq!(config.forks.time(fork), Some(time), "{fork}");
    }
    assert_eq!((config.l1_chain_id, config.l2_chain_id), (1, 10));
    assert_eq!(config.genesis.l2.number, 105_235_063);
    assert_eq!(config.genesis.system_config.gas_limit, 30_000_000);
    assert_eq!(config.l1_system_config.to_string(), "0x229047fed2591dbec1eF1118d64F7aF3dB9EB290");
    assert_eq!(config.deposit_contract.to_string(), "0xbEb5Fc579115071764c7423A4f12eDde41f106Ed");
    assert_eq!(config.batch_inbox.to_string(), "0xFF00000000000000000000000000000000000010");
}

#[test]
fn both_forms_say_the_same_of_a_chain() {
    let Some(folder) = vectors() else { return };
    let read = |name: &str| std::fs::read_to_string(folder.join("registry").join(name)).expect("the vectors hold it");
    let all = read("configs.json");
    for (chain, superchain) in [
        ("mainnet-op", "mainnet"),
        ("mainnet-ink", "mainnet"),
        ("mainnet-unichain", "mainnet"),
        ("sepolia-op", "sepolia"),
    ] {
        let superchain = read(&format!("{superchain}-superchain.toml"));
        let file = RollupConfig::from_registry_toml(&read(&format!("{chain}.toml")), &superchain);
        let file = file.unwrap_or_else(|error| panic!("{chain}: {error}")).strict().expect("nothing unknown");
        let listed = RollupConfig::from_registry(&all, &file.l2_chain_id.to_string()).expect("listed").config;
        // The list is older than the key.
        assert!(file.keep_karst_upgrade_gas && !listed.keep_karst_upgrade_gas, "{chain}");
        assert_eq!(file, RollupConfig { keep_karst_upgrade_gas: true, ..listed }, "{chain}");
    }
}

#[test]
fn a_development_chain_is_read_with_every_fork_at_genesis() {
    let (chain, superchain) =
        ("registry/sepolia-devnet-2-sepolia-devnet-2.toml", "registry/sepolia-devnet-2-superchain.toml");
    let Some((chain, superchain)) = text(chain).zip(text(superchain)) else { return };
    let config = RollupConfig::from_registry_toml(&chain, &superchain).expect("reads").strict().expect("all known");
    assert_eq!(forks(&config), [Some(0); 11]);
    assert_eq!((config.l1_chain_id, config.l2_chain_id), (11_155_111, 420_130_015));
    assert_eq!(config.genesis.l2_time, 1_783_536_096);
    assert!(!config.keep_karst_upgrade_gas);
}

#[test]
fn a_chain_that_plans_lagoon_is_refused_by_the_key() {
    let Some((chain, superchain)) =
        text("registry/rehearsal-0-bn-0.toml").zip(text("registry/sepolia-superchain.toml"))
    else {
        return;
    };
    let told = RollupConfig::from_registry_toml(&chain, &superchain).expect_err("refused").to_string();
    assert!(told.contains("hardforks.lagoon_time is 1749150000") && told.contains("after Karst"), "{told}");
}

#[test]
fn the_list_of_chains_and_the_configurations_agree() {
    let Some((listed, chains)) = json("registry/chainList.json").zip(chains()) else { return };
    let name = |id: u64| list(&listed).iter().find(|chain| chain["chainId"] == id).map(|chain| chain["name"].clone());
    let named = chains.iter().filter(|(chain, _)| name(number(&chain["l2_chain_id"])) == Some(chain["Name"].clone()));
    assert!(named.count() > 50, "nearly all chains are in both");
}

#[test]
fn what_is_asked_for_has_to_be_there() {
    let Some(all) = text("registry/configs.json") else { return };
    for chain in ["11", "Nowhere", ""] {
        assert!(matches!(RollupConfig::from_registry(&all, chain), Err(ConfigError::Chain(_))), "{chain:?}");
    }
}
