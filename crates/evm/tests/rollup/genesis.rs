//! Registered chains begin with the block that everybody knows them by.

use std::io::Read;
use std::path::Path;

use alloy_primitives::B256;
use evm::Chain;
use serde_json::{Value, json};

/// A registered chain's genesis file; where it says nothing about forks, they come from the registry's own file.
pub(crate) fn file(folder: &Path, name: &str) -> Value {
    let packed = std::fs::File::open(folder.join("genesis").join(name)).expect("the vectors hold it");
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("gzip");
    let mut file: Value = serde_json::from_str(&text).expect("JSON");
    if file["config"].is_null() {
        let registered = folder.join("genesis").join(name.replace("genesis.json.gz", "toml"));
        let registered = std::fs::read_to_string(registered).expect("the vectors hold it");
        file["config"] = config(&registered.parse().expect("TOML"));
    }
    file
}

/// A registry's file as a genesis file's `config`.
fn config(registered: &toml::Table) -> Value {
    let number = |section: &str, key: &str| registered[section].get(key).and_then(toml::Value::as_integer);
    let mut config = json!({
        "chainId": registered["chain_id"].as_integer(),
        "bedrockBlock": 0,
        "regolithTime": 0,
        "optimism": {
            "eip1559Elasticity": number("optimism", "eip1559_elasticity"),
            "eip1559Denominator": number("optimism", "eip1559_denominator"),
            "eip1559DenominatorCanyon": number("optimism", "eip1559_denominator_canyon"),
        },
    });
    for fork in ["canyon", "ecotone", "fjord", "granite", "holocene", "isthmus", "jovian", "karst"] {
        if let Some(time) = number("hardforks", &format!("{fork}_time")) {
            config[format!("{fork}Time")] = time.into();
        }
    }
    config
}

#[test]
fn registered_chains_begin_with_their_registered_block() {
    let Some(folder) = crate::vectors() else { return };
    let known = std::fs::read_to_string(folder.join("genesis/hashes.json")).expect("the vectors hold it");
    let known: Value = serde_json::from_str(&known).expect("JSON");
    let chains = known["chains"].as_array().expect("a list");
    assert!(chains.len() >= 4);
    for chain in chains.iter().filter(|chain| chain["genesis_hash"].is_string()) {
        let name = chain["file"].as_str().expect("a name");
        let genesis = serde_json::from_value(file(&folder, name)).expect("a genesis file");
        let place = tempfile::tempdir().expect("a folder");
        let opened = Chain::open(place.path(), Some(genesis)).expect("opens");
        let hash = |key: &str| -> B256 { chain[key].as_str().and_then(|hash| hash.parse().ok()).expect("a hash") };
        assert_eq!(opened.head().state_root, hash("state_root"), "{name}");
        assert_eq!(opened.head().seal(), hash("genesis_hash"), "{name}: {:#?}", opened.head());
    }
}
