//! Genesis from a seed and from files.

use std::path::PathBuf;

use starknet::config::GenesisSource;
use starknet::{At, Chain};
use starknet_api::fee_token_defaults::{ETH_FEE_CONTRACT_ADDRESS, STRK_FEE_CONTRACT_ADDRESS};
use starknet_types_core::felt::Felt;

use crate::kit::{World, address, config, transfer};

fn with_file(folder: &std::path::Path, json: &str) -> Result<Chain, String> {
    let file = folder.join("genesis.json");
    std::fs::write(&file, json).unwrap();
    let mut config = config(0);
    config.genesis = GenesisSource::File(file);
    Chain::open(&folder.join("chain"), config).map_err(|error| error.to_string())
}

#[test]
fn a_seed_always_gives_the_same_block() {
    let hash = || {
        let folder = tempfile::tempdir().unwrap();
        Chain::open(folder.path(), config(2)).unwrap().head().hash
    };
    assert_eq!(hash(), hash());
}

#[test]
fn faults_name_file_key_and_reason() {
    for (json, words) in [
        ("{", &["genesis.json", "EOF"][..]),
        (r#"{"clases": []}"#, &["genesis.json", "clases", "unknown field"]),
        (r#"{"classes": ["./nowhere.json"]}"#, &["classes[0]", "./nowhere.json", "working directory"]),
        (r#"{"classes": ["bundled:nothing"]}"#, &["classes[0]", "nothing", "oz_account_1.0.0"]),
        (r#"{"contracts": {"0x5": {"class_hash": "0x7"}}}"#, &["0x5", "not among the classes"]),
        (r#"{"contracts": {"0x5": {"class_hash": "hat"}}}"#, &["contracts.0x5.class_hash", "hat"]),
        (r#"{"nonces": {"0x5": "seven"}}"#, &["nonces", "seven"]),
        (r#"{"chain_id": "SN_OTHER"}"#, &["chain_id", "SN_OTHER", "SN_SEQUENZA_TEST"]),
        (r#"{"balances": {"0x5": {"strk": 1}}}"#, &["balance", "no token"]),
        (
            r#"{"bootstrap_accounts": [{"address": "0x1", "publicKey": "0x2", "privateKey": "0x3"}]}"#,
            &["bootstrap_accounts[0]", "publicKey"],
        ),
        (
            r#"{"transactions": [{"type": "DECLARE", "version": "0x3", "transaction_hash": "0x1"}]}"#,
            &["transactions[0]", "DECLARE"],
        ),
        (
            r#"{"predeploy": ["strk"], "function_calls": [{"contract_address":
                "0x04718f5a0fc34cc1af16a1cdee98ffb20c31f5cd61d6ab07201858f4287c938d", "entry_point_selector": "0x1"}]}"#,
            &["function_calls[0]"],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let error = with_file(folder.path(), json).err().unwrap_or_else(|| panic!("{json} was taken"));
        for word in words {
            assert!(error.contains(word), "{json}: {error:?} lacks {word:?}");
        }
    }
}

#[test]
fn the_richer_keys_do_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let json = r#"{
        "predeploy": ["strk", "eth", "udc", "udc_legacy"],
        "accounts": [{"private_key": "0x71d7bb07b9a64f6f78ac4c816aff4da9", "balance": "1000000000000000000000000"}],
        "balances": {"0xb0b": {"strk": "0x10", "eth": 32}},
        "nonces": {"0xb0b": 5},
        "storage": {"0xb0b": {"0x1": "0x2"}},
        "timestamp": 1700000000
    }"#;
    let chain = with_file(folder.path(), json).unwrap();
    chain.verify().unwrap();
    assert_eq!(chain.head().timestamp.0, 1_700_000_000);
    let accounts = chain.accounts().to_vec();
    let file = folder.path().join("genesis.json");
    drop(chain);
    let mut config = config(0);
    config.genesis = GenesisSource::File(file);
    let mut world = World::open(&folder.path().join("chain"), config);
    let bob = address(Felt::from(0xb0b));
    let state = world.chain.state(At::Latest).unwrap().unwrap();
    assert_eq!(world.strk(bob), 16);
    assert_eq!(state.nonce(bob).unwrap().0, Felt::from(5));
    assert_eq!(state.storage(bob, 1u128.into()).unwrap().value, Felt::TWO);
    assert!(state.is_deployed(*ETH_FEE_CONTRACT_ADDRESS).unwrap());
    world.queue.push([transfer(&world.chain, &accounts[0], 0, bob, 4)]);
    let block = world.make_block();
    assert_eq!(block.transactions[0].outcome.revert_reason, None);
    assert_eq!(world.strk(bob), 20);
}

/// Our own example, in the very keys of Juno's, must be usable with fees on.
#[test]
fn the_shipped_example_runs_with_fees() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(0);
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    config.genesis = GenesisSource::File(root.join("genesis/genesis_prefund_accounts.json"));
    let mut world = World::open(folder.path(), config);
    world.chain.verify().unwrap();
    let accounts = world.chain.accounts().to_vec();
    assert_eq!(accounts.len(), 3);
    let state = world.chain.state(At::Latest).unwrap().unwrap();
    for token in [*STRK_FEE_CONTRACT_ADDRESS, *ETH_FEE_CONTRACT_ADDRESS] {
        assert!(state.is_deployed(token).unwrap());
    }
    let nonce = world.nonce(&accounts[0]);
    world.queue.push([transfer(&world.chain, &accounts[0], nonce, accounts[1].address, 9)]);
    let before = world.strk(accounts[1].address);
    let block = world.make_block();
    assert!(world.queue.log.lock().rejected.is_empty(), "{:?}", world.queue.log.lock().rejected);
    assert_eq!(block.transactions[0].outcome.revert_reason, None);
    assert!(block.transactions[0].outcome.fee.0 > 0);
    assert_eq!(world.strk(accounts[1].address), before + 9);
}

/// Juno's published example names class files that are not published with it: the error says which one is missing.
#[test]
fn junos_example_without_its_class_files_is_refused_by_name() {
    let vectors = std::env::var_os("SEQUENZA_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"), PathBuf::from);
    let file = vectors.join("starknet/genesis/juno_genesis_prefund_accounts.json");
    let Ok(text) = std::fs::read_to_string(&file) else {
        eprintln!("skipped: {} is not there; set SEQUENZA_VECTORS", file.display());
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let error = with_file(folder.path(), &text).unwrap_err();
    assert!(error.contains("classes[0]") && error.contains("strk.json"), "{error}");

    // With classes at those places every other key is read; the tokens of the example then need their own constructor.
    let parsed = text.replace("\"./genesis/classes/strk.json\"", "\"bundled:erc20_strk\"");
    let parsed = parsed.replace("\"./genesis/classes/account.json\"", "\"bundled:oz_account_1.0.0\"");
    let parsed = parsed.replace("\"./genesis/classes/universaldeployer.json\"", "\"bundled:udc_2\"");
    let parsed = parsed.replace("\"./genesis/classes/udacnt.json\"", "\"bundled:oz_account_0.5.1\"");
    let folder = tempfile::tempdir().unwrap();
    let error = with_file(folder.path(), &parsed).unwrap_err();
    assert!(error.contains("0x3182d1ef7f16f9f0e8481a10d0182eb6e4fb59d5ffd58ba8204d57322f4ab90"), "{error}");
}

/// DEPLOY_ACCOUNT of version 1 and INVOKE of version 3 with no bounds, as in Juno's example: executed unsigned and for free.
#[test]
fn transactions_of_the_file_are_executed_without_validation_and_fee() {
    let folder = tempfile::tempdir().unwrap();
    let json = r#"{
        "classes": ["bundled:oz_account_1.0.0"],
        "predeploy": ["strk"],
        "contracts": {"0x101": {"class_hash": "bundled:oz_account_1.0.0", "constructor_args": ["0x7"]}},
        "function_calls": [{
            "contract_address": "0x04718f5a0fc34cc1af16a1cdee98ffb20c31f5cd61d6ab07201858f4287c938d",
            "entry_point_selector": "0x1c67057e2995950900dbf33db0f5fc9904f5a18aae4a3768f721c43efe5d288",
            "calldata": ["0x101", "0x1111", "0x0"], "caller_address": "0x1"
        }],
        "transactions": [
            {"type": "DEPLOY_ACCOUNT", "version": "0x1", "transaction_hash": "0x1", "max_fee": "0x69c71f05154",
             "signature": [], "nonce": "0x0",
             "class_hash": "0x05b4b537eaa2399e3aa99c4e2e0208ebd6c71bc1467938cd52c798c601e43564",
             "contract_address_salt": "0x0", "constructor_calldata": ["0x9"]},
            {"type": "INVOKE", "version": "0x3", "transaction_hash": "0x2", "sender_address": "0x101",
             "signature": ["0x1", "0x2"], "nonce": "0x0", "tip": "0x0",
             "calldata": ["0x1", "0x04718f5a0fc34cc1af16a1cdee98ffb20c31f5cd61d6ab07201858f4287c938d",
                "0x83afd3f4caedc6eebf44246fe54e38c95e3179a5ec9ea81740eca5b482d12e", "0x3", "0x105", "0x1000", "0x0"],
             "resource_bounds": {"l1_gas": {"max_amount": "0x0", "max_price_per_unit": "0x0"}}}
        ]
    }"#;
    let chain = with_file(folder.path(), json).unwrap();
    let state = chain.state(At::Latest).unwrap().unwrap();
    let balance = |of: u32| {
        let key = starknet_api::abi::abi_utils::get_fee_token_var_address(address(Felt::from(of)));
        state.storage(*STRK_FEE_CONTRACT_ADDRESS, key).unwrap().value
    };
    assert_eq!((balance(0x101), balance(0x105)), (Felt::from(0x111), Felt::from(0x1000)));
    assert_eq!(state.nonce(address(Felt::from(0x101))).unwrap().0, Felt::ONE);
    let deployed = chain.block(At::Latest).unwrap().unwrap().state_diff.deployed.len();
    assert_eq!(deployed, 3, "token, account and the account that the file's transaction deployed");
}
