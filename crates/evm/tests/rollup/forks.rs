//! One chain through every fork: its upgrade, what its headers say, what a transfer costs.

use alloy_eips::eip2718::Encodable2718;
use alloy_genesis::Genesis;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, address, keccak256};
use alloy_signer_local::PrivateKeySigner;
use op_alloy_consensus::{OpTxEnvelope, TxDeposit};
use serde_json::{Value, json};

use crate::world::{
    BASE_FEE_VAULT, Engine, L1_FEE_VAULT, OPERATOR_VAULT, SEQUENCER_VAULT, Versions, deposit, transfer,
};
use crate::{genesis, upgrades, vectors};

const FORKS: [&str; 10] =
    ["bedrock", "regolith", "canyon", "ecotone", "fjord", "granite", "holocene", "isthmus", "jovian", "karst"];
/// Seconds from fork to fork: three blocks.
const APART: u64 = 6;
const ETHER: u128 = 1_000_000_000_000_000_000;

const L1_BASE_FEE: u64 = 10_000_000_000;
const OVERHEAD: u64 = 188;
const BEDROCK_SCALAR: u64 = 684_000;
const BASE_FEE_SCALAR: u32 = 1_368;
const BLOB_SCALAR: u32 = 810_949;
const BLOB_BASE_FEE: u64 = 3_000_000_000;
const OPERATOR_SCALAR: u32 = 2_000_000;
const OPERATOR_CONSTANT: u64 = 5_000;
const FOOTPRINT_SCALAR: u16 = 400;

/// The chain of the registry's oldest genesis, with a fork each six seconds.
fn chain(folder: &std::path::Path) -> (Genesis, u64) {
    let mut file = genesis::file(folder, "mainnet-mode.genesis.json.gz");
    let began: Genesis = serde_json::from_value(file.clone()).expect("a genesis file");
    for (fork, at) in FORKS.iter().zip(0..).skip(1) {
        file["config"][format!("{fork}Time")] = (began.timestamp + at * APART).into();
    }
    (serde_json::from_value(file).expect("a genesis file"), began.timestamp)
}

fn versions(fork: usize) -> Versions {
    let (update, give, fetch) = match FORKS[fork] {
        "bedrock" | "regolith" | "canyon" => (2, 2, 2),
        "ecotone" | "fjord" | "granite" | "holocene" => (3, 3, 3),
        "isthmus" | "jovian" => (3, 4, 4),
        _ => (3, 4, 5),
    };
    Versions { update, give, fetch }
}

/// What the first transaction of a block tells about L1, in the format of a fork.
fn l1_info(fork: usize, first: bool, number: u64, seconds: u64) -> Bytes {
    // The first block of a fork still tells about L1 in the old format.
    let format = fork - usize::from(first);
    let (hash, batcher) = (B256::repeat_byte(0x11), address!("0x99199a22125034c808ff20f377d91187e8050f2e"));
    let input = if format < 3 {
        let mut input = vec![0x01, 0x5d, 0x8e, 0xb9];
        for word in [number, seconds, L1_BASE_FEE] {
            input.extend(B256::left_padding_from(&word.to_be_bytes()));
        }
        input.extend(hash);
        input.extend(B256::left_padding_from(&0_u64.to_be_bytes()));
        input.extend(batcher.into_word());
        for word in [OVERHEAD, BEDROCK_SCALAR] {
            input.extend(B256::left_padding_from(&word.to_be_bytes()));
        }
        input
    } else {
        let selector: [u8; 4] = match format {
            3..7 => [0x44, 0x0a, 0x5e, 0x20],
            7 => [0x09, 0x89, 0x99, 0xbe],
            _ => [0x3d, 0xb6, 0xbe, 0x2b],
        };
        let mut input = selector.to_vec();
        input.extend(BASE_FEE_SCALAR.to_be_bytes());
        input.extend(BLOB_SCALAR.to_be_bytes());
        for word in [0, seconds, number] {
            input.extend(word.to_be_bytes());
        }
        for word in [L1_BASE_FEE, BLOB_BASE_FEE] {
            input.extend(B256::left_padding_from(&word.to_be_bytes()));
        }
        input.extend(hash);
        input.extend(batcher.into_word());
        if format >= 7 {
            input.extend(OPERATOR_SCALAR.to_be_bytes());
            input.extend(OPERATOR_CONSTANT.to_be_bytes());
        }
        if format >= 8 {
            input.extend(FOOTPRINT_SCALAR.to_be_bytes());
        }
        input
    };
    let deposit = TxDeposit {
        source_hash: keccak256(number.to_be_bytes()),
        from: address!("0xdeaddeaddeaddeaddeaddeaddeaddeaddead0001"),
        to: TxKind::Call(address!("0x4200000000000000000000000000000000000015")),
        mint: 0,
        value: U256::ZERO,
        gas_limit: if fork == 0 { 150_000_000 } else { 1_000_000 },
        is_system_transaction: fork == 0,
        input: input.into(),
    };
    OpTxEnvelope::from(deposit).encoded_2718().into()
}

/// What a rollup node orders for a block of a fork.
fn attributes(fork: usize, timestamp: u64, transactions: &[Bytes], gas_limit: u64, pool: bool) -> Value {
    let mut attributes = json!({
        "timestamp": format!("{timestamp:#x}"),
        "prevRandao": B256::repeat_byte(1),
        "suggestedFeeRecipient": SEQUENCER_VAULT,
        "transactions": transactions,
        "noTxPool": !pool,
        "gasLimit": format!("{gas_limit:#x}"),
    });
    if fork >= 2 {
        attributes["withdrawals"] = json!([]);
    }
    if fork >= 3 {
        attributes["parentBeaconBlockRoot"] = json!(B256::repeat_byte(7));
    }
    if fork >= 6 {
        attributes["eip1559Params"] = json!("0x000000fa00000006");
    }
    if fork >= 8 {
        attributes["minBaseFee"] = json!("0x3e8");
    }
    attributes
}

/// What bringing a transaction to L1 costs by the formulas of the specification, where they need no compression.
fn l1_fee(fork: usize, encoded: &[u8]) -> Option<U256> {
    let zeros = encoded.iter().filter(|byte| **byte == 0).count() as u64;
    let gas = zeros * 4 + (encoded.len() as u64 - zeros) * 16;
    let extra = if fork == 0 { 68 * 16 } else { 0 };
    match fork {
        0..3 => {
            let gas = U256::from(gas + extra + OVERHEAD);
            Some(gas * U256::from(L1_BASE_FEE) * U256::from(BEDROCK_SCALAR) / U256::from(1_000_000))
        }
        3 => {
            let price = U256::from(16 * L1_BASE_FEE) * U256::from(BASE_FEE_SCALAR)
                + U256::from(BLOB_BASE_FEE) * U256::from(BLOB_SCALAR);
            Some(U256::from(gas) * price / U256::from(16_000_000))
        }
        _ => None,
    }
}

fn operator_fee(fork: usize, gas: u64) -> U256 {
    let product = U256::from(gas) * U256::from(OPERATOR_SCALAR);
    match fork {
        0..7 => U256::ZERO,
        7 => product / U256::from(1_000_000) + U256::from(OPERATOR_CONSTANT),
        _ => product * U256::from(100) + U256::from(OPERATOR_CONSTANT),
    }
}

fn number(value: &Value) -> U256 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no number"))
}

/// What headers of a fork say beyond Ethereum's.
fn check_header(engine: &Engine, fork: usize, footprint: u64) {
    let header = engine.chain.head();
    let extra_data = match fork {
        0..6 => "0x",
        6 | 7 => "0x00000000fa00000006",
        _ => "0x01000000fa0000000600000000000003e8",
    };
    assert_eq!(header.extra_data.to_string(), extra_data);
    let messages = engine
        .chain
        .proof(&header, address!("0x4200000000000000000000000000000000000016"), &[])
        .expect("readable")
        .storage_root;
    let withdrawals = match fork {
        0 | 1 => None,
        2..7 => Some(alloy_consensus::EMPTY_ROOT_HASH),
        _ => Some(messages),
    };
    assert_eq!(header.withdrawals_root, withdrawals);
    assert_eq!(header.blob_gas_used, (fork >= 3).then_some(if fork >= 8 { footprint } else { 0 }));
    assert_eq!(header.excess_blob_gas, (fork >= 3).then_some(0));
    assert_eq!(header.parent_beacon_block_root, (fork >= 3).then_some(B256::repeat_byte(7)));
    let empty = alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
    assert_eq!(header.requests_hash, (fork >= 7).then_some(empty));
}

#[tokio::test]
async fn a_chain_goes_through_every_fork_and_is_verified_beside() {
    let Some(folder) = vectors() else { return };
    let (file, began) = chain(&folder);
    let (sequencer, verifier) = (Engine::new(&file), Engine::new(&file));
    let chain_id = file.config.chain_id;
    let (key, to) = (PrivateKeySigner::from_bytes(&B256::repeat_byte(3)).expect("a key"), Address::repeat_byte(0x77));
    let (alice, bob) = (key.address(), Address::repeat_byte(0xb0));
    let blocks = FORKS.len() as u64 * APART / 2 - 1;
    let mut footprints = 0;

    for block in 0..blocks {
        let timestamp = began + 2 * (block + 1);
        let fork = ((timestamp - began) / APART).min(FORKS.len() as u64 - 1) as usize;
        let first = fork > 0 && (timestamp - began) % APART == 0;
        let mut forced = vec![l1_info(fork, first, block, timestamp)];
        if block == 0 {
            forced.push(deposit(block, alice, TxKind::Call(alice), 10 * ETHER, U256::ZERO, 50_000));
        }
        // A deposit that transfers more than there is fails, and is part of the block all the same; what it mints stays.
        let failing = (block == 1).then(|| deposit(7, bob, TxKind::Call(to), 5, U256::from(6), 50_000));
        forced.extend(failing.clone());
        let upgrades = if first { upgrades::of(FORKS[fork], &folder) } else { Vec::new() };
        forced.extend(upgrades.iter().map(|upgrade| upgrade.encoded.clone()));
        let pool = !first && block > 0;
        let encoded = transfer(&key, chain_id, sequencer.pool.next_nonce(alice).expect("readable"), to);
        let gas_limit = if first && FORKS[fork] == "karst" { 30_000_000 + 55_370_657 } else { 30_000_000 };
        if pool {
            sequencer.pool.submit(encoded.clone()).await.expect("accepted");
        }

        let vaults = [BASE_FEE_VAULT, SEQUENCER_VAULT, L1_FEE_VAULT, OPERATOR_VAULT];
        let paid_before = vaults.map(|vault| sequencer.balance(vault));
        let had = sequencer.balance(alice);
        let versions = versions(fork);
        let answer = sequencer.build(versions, attributes(fork, timestamp, &forced, gas_limit, pool)).await;
        let payload = &answer["executionPayload"];
        let beacon_root = B256::repeat_byte(7);
        sequencer.adopt(versions, payload, beacon_root).await;
        verifier.adopt(versions, payload, beacon_root).await;

        let tag = payload["blockNumber"].clone();
        let receipts = sequencer.rpc("eth_getBlockReceipts", json!([tag])).await;
        let receipts = receipts.as_array().expect("a list");
        assert_eq!(receipts.len(), forced.len() + usize::from(pool), "{}", FORKS[fork]);
        for (receipt, upgrade) in receipts.iter().skip(1).zip(&upgrades) {
            assert_eq!(receipt["status"], "0x1", "{}: {receipt:#}", upgrade.intent);
        }
        for (address, code) in upgrades.iter().filter_map(|upgrade| upgrade.deployed) {
            assert_eq!(sequencer.code_hash(address), code, "{address} of {}", FORKS[fork]);
        }
        assert_eq!(receipts[0]["status"], "0x1", "{}", receipts[0]);
        assert_eq!(receipts[0]["depositNonce"].is_string(), fork >= 1, "{}", receipts[0]);
        assert_eq!(receipts[0]["depositReceiptVersion"].is_string(), fork >= 2, "{}", receipts[0]);
        if failing.is_some() {
            assert_eq!(receipts[1]["status"], "0x0", "{}", receipts[1]);
            assert_eq!(sequencer.balance(bob), U256::from(5));
        }
        let mut footprint = 0;
        if let Some(receipt) = pool.then(|| &receipts[receipts.len() - 1]) {
            let price = number(&receipt["effectiveGasPrice"]);
            let gas = number(&receipt["gasUsed"]);
            let paid: Vec<U256> =
                vaults.iter().zip(paid_before).map(|(vault, before)| sequencer.balance(*vault) - before).collect();
            assert_eq!(paid[0], number(&payload["baseFeePerGas"]) * gas);
            assert_eq!(paid[1], U256::from(7) * gas);
            assert_eq!(paid[2], number(&receipt["l1Fee"]), "{}: {receipt:#}", FORKS[fork]);
            assert!(l1_fee(fork, &encoded).is_none_or(|fee| fee == paid[2]), "{}: {}", FORKS[fork], paid[2]);
            assert!(paid[2] > U256::ZERO);
            assert_eq!(paid[3], operator_fee(fork, gas.to()), "{}", FORKS[fork]);
            let spent = price * gas + paid[2] + paid[3] + U256::ONE;
            assert_eq!(had - sequencer.balance(alice), spent, "{}", FORKS[fork]);
            footprint = if fork >= 8 { number(&receipt["blobGasUsed"]).to() } else { 0 };
            footprints += footprint;
        }
        check_header(&sequencer, fork, footprint);
    }
    assert!(footprints > 0, "room on L1 was counted");
    assert_eq!(sequencer.chain.verify().expect("sound"), verifier.chain.verify().expect("sound"));
    assert_eq!(verifier.balance(to), U256::from(blocks - FORKS.len() as u64));
}
