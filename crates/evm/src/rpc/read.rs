//! What only looks at the chain and the pool.

use std::collections::BTreeMap;

use alloy_consensus::Transaction as _;
use alloy_eips::BlockId;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, U64, U256, keccak256};
use alloy_rpc_types_eth::{EIP1186AccountProofResponse, EIP1186StorageProof};
use alloy_serde::JsonStorageKey;
use serde_json::{Value, json};

use super::params::Params;
use super::{Answer, Inner, RpcError, answer};
use crate::block::Block;
use crate::{At, Located};

/// Slots proved in one call.
const PROOF_SLOTS_MAX: usize = 1_024;

/// Whether a method is answered by a look or two, without reading blocks or proofs.
pub(super) fn is_quick(method: &str) -> bool {
    match method.split_once('_') {
        Some(("eth", what)) => {
            let constant = ["chainId", "blockNumber", "protocolVersion", "syncing", "mining", "hashrate", "coinbase"];
            let state = ["getBalance", "getCode", "getStorageAt", "getTransactionCount"];
            constant.contains(&what) || state.contains(&what)
        }
        Some(("net" | "web3" | "rpc", _)) => true,
        _ => false,
    }
}

pub(super) fn call(inner: &Inner, method: &str, params: Params<'_>) -> Answer {
    let chain = &inner.chain;
    match method {
        "eth_chainId" => answer(&U64::from(chain.spec().chain_id())),
        "eth_blockNumber" => answer(&U64::from(chain.head().number)),
        "eth_protocolVersion" => answer(&U64::from(68)),
        // Whoever makes the blocks is never behind.
        "eth_syncing" | "eth_mining" => answer(&false),
        "eth_hashrate" => answer(&U64::ZERO),
        "eth_coinbase" => answer(&chain.head().beneficiary),
        "net_version" => answer(&chain.spec().chain_id().to_string()),
        "net_listening" => answer(&true),
        "net_peerCount" => answer(&U64::ZERO),
        "web3_clientVersion" => answer(&client_version()),
        "web3_sha3" => answer(&keccak256(params.required::<Bytes>(0)?)),
        "rpc_modules" => {
            answer(&json!({"eth": "1.0", "net": "1.0", "web3": "1.0", "txpool": "1.0", "debug": "1.0", "rpc": "1.0"}))
        }
        "eth_getBalance" => answer(&inner.state(params.block(1)?)?.account(params.required(0)?)?.balance),
        "eth_getCode" => answer(&inner.state(params.block(1)?)?.code(params.required(0)?)?),
        "eth_getStorageAt" => {
            let value = inner.state(params.block(2)?)?.storage(params.required(0)?, params.slot(1)?.into())?;
            answer(&B256::from(value))
        }
        "eth_getTransactionCount" => transaction_count(inner, params.required(0)?, params.block(1)?),
        "eth_getProof" => proof(inner, params),
        _ if method.starts_with("txpool_") => pool(inner, method, params),
        _ if method.starts_with("eth_getUncle") => uncles(inner, method, params),
        _ => blocks(inner, method, params),
    }
}

/// Name and version, as `web3_clientVersion` tells it.
pub(super) fn client_version() -> String {
    format!("sequenza/{}", env!("CARGO_PKG_VERSION"))
}

fn transaction_count(inner: &Inner, address: Address, block: BlockId) -> Answer {
    if block.is_pending() {
        return answer(&U64::from(inner.pool.next_nonce(address)?));
    }
    answer(&U64::from(inner.state(block)?.account(address)?.nonce))
}

fn proof(inner: &Inner, params: Params<'_>) -> Answer {
    let (address, keys): (Address, Vec<JsonStorageKey>) = (params.required(0)?, params.required(1)?);
    if keys.len() > PROOF_SLOTS_MAX {
        return Err(RpcError::limit_exceeded(format!(
            "{} slots are asked for, at most {PROOF_SLOTS_MAX} are proved at once",
            keys.len()
        )));
    }
    // A block that is only looked at has no tries to prove anything from.
    let id = params.block(2)?;
    let state = inner.state(if id.is_pending() { BlockId::latest() } else { id })?;
    let slots: Vec<B256> = keys.iter().map(JsonStorageKey::as_b256).collect();
    let proof = inner.chain.proof(state.header(), address, &slots)?;
    let account = state.account(address)?;
    let shown = |(key, (_, value, proof)): (JsonStorageKey, (B256, U256, Vec<Bytes>))| EIP1186StorageProof {
        key,
        value,
        proof,
    };
    answer(&EIP1186AccountProofResponse {
        address,
        balance: account.balance,
        code_hash: account.code_hash,
        nonce: account.nonce,
        storage_hash: proof.storage_root,
        account_proof: proof.account,
        storage_proof: keys.into_iter().zip(proof.slots).map(shown).collect(),
    })
}

/// A block by the method's first parameter: a hash where its name says so, else a number or tag.
fn block(inner: &Inner, method: &str, params: &Params<'_>) -> Result<Option<Block>, RpcError> {
    let at = if method.contains("ByHash") || method.contains("ByBlockHash") {
        At::Hash(params.required(0)?)
    } else {
        inner.at(params.block(0)?)?
    };
    Ok(inner.chain.block(at)?)
}

fn blocks(inner: &Inner, method: &str, params: Params<'_>) -> Answer {
    match method {
        "eth_getBlockByNumber" | "eth_getBlockByHash" => {
            let full = params.optional(1)?.unwrap_or(false);
            let block = block(inner, method, &params)?.map(|block| answer::block(&block, full));
            match method == "eth_getBlockByNumber" && params.block(0)?.is_pending() {
                true => answer(&unsealed(block)?),
                false => answer(&block),
            }
        }
        "eth_getHeaderByNumber" | "eth_getHeaderByHash" => {
            let block = block(inner, method, &params)?;
            answer(&block.map(|block| answer::header(&block.header, Some(block.size))))
        }
        "eth_getBlockTransactionCountByNumber" | "eth_getBlockTransactionCountByHash" => {
            answer(&block(inner, method, &params)?.map(|block| U64::from(block.transactions.len())))
        }
        "eth_getTransactionByBlockNumberAndIndex" | "eth_getTransactionByBlockHashAndIndex" => {
            let index = usize::try_from(params.small(1)?).unwrap_or(usize::MAX);
            answer(&block(inner, method, &params)?.and_then(|block| answer::transaction(&block, index)))
        }
        "eth_getBlockReceipts" => {
            let Some(block) = inner.chain.block(inner.at(params.block(0)?)?)? else { return answer(&()) };
            let publication = answer::publication(&inner.chain, &block)?;
            let receipt = |index| answer::receipt(&block, index, publication.as_ref());
            let receipts = (0..block.transactions.len()).filter_map(receipt);
            answer(&receipts.collect::<Vec<_>>())
        }
        _ => transactions(inner, params.required(0)?, method),
    }
}

/// A block that is not made yet, as geth shows it: nobody can name it, and who will seal it is open.
fn unsealed(block: Option<answer::BlockAnswer>) -> Result<Value, RpcError> {
    let Some(block) = block else { return Ok(Value::Null) };
    let mut block = serde_json::to_value(block).map_err(RpcError::internal)?;
    for field in ["hash", "nonce", "miner"] {
        block[field] = Value::Null;
    }
    for transaction in block["transactions"].as_array_mut().into_iter().flatten().filter(|one| one.is_object()) {
        transaction["blockHash"] = Value::Null;
    }
    Ok(block)
}

/// The receipt of a transaction of the chain.
pub(super) fn receipt(inner: &Inner, located: Option<Located>) -> Answer {
    let Some(located) = located else { return answer(&()) };
    let publication = answer::publication(&inner.chain, &located.block)?;
    answer(&answer::receipt(&located.block, located.index, publication.as_ref()))
}

fn transactions(inner: &Inner, hash: B256, method: &str) -> Answer {
    if method == "eth_getTransactionReceipt" {
        return receipt(inner, inner.chain.transaction(hash)?);
    }
    // The pool first: what leaves it for a block between two looks is in the chain by the second.
    let waiting = inner.pool.transaction(hash);
    let located = inner.chain.transaction(hash)?;
    if method == "eth_getTransactionByHash" {
        return match located {
            Some(located) => answer(&answer::transaction(&located.block, located.index)),
            None => answer(&waiting.map(|waiting| answer::waiting(&waiting))),
        };
    }
    let raw = match located {
        Some(located) => Some(located.transaction().transaction.encoded_2718()),
        None => waiting.map(|waiting| waiting.encoded_2718()),
    };
    answer(&raw.map(Bytes::from))
}

/// There are no uncles since the merge, and there were none before it on a chain that began after.
fn uncles(inner: &Inner, method: &str, params: Params<'_>) -> Answer {
    let block = block(inner, method, &params)?;
    if method.starts_with("eth_getUncleCount") { answer(&block.map(|_| U64::ZERO)) } else { answer(&Value::Null) }
}

fn pool(inner: &Inner, method: &str, params: Params<'_>) -> Answer {
    let only: Option<Address> = if method == "txpool_contentFrom" { Some(params.required(0)?) } else { None };
    let (mut pending, mut queued) = (BTreeMap::new(), BTreeMap::new());
    for (signed, ready) in inner.pool.transactions() {
        if only.is_none_or(|only| only == signed.signer()) {
            let accounts: &mut BTreeMap<String, BTreeMap<String, _>> = if ready { &mut pending } else { &mut queued };
            accounts.entry(signed.signer().to_string()).or_default().insert(signed.nonce().to_string(), signed);
        }
    }
    let count = |accounts: &BTreeMap<String, BTreeMap<String, _>>| {
        U64::from(accounts.values().map(BTreeMap::len).sum::<usize>())
    };
    match method {
        "txpool_status" => answer(&json!({ "pending": count(&pending), "queued": count(&queued) })),
        "txpool_inspect" => {
            let line = |signed: &crate::pool::Signed| {
                let to = signed.to().map_or_else(|| "contract creation".to_owned(), |to| to.to_string());
                format!("{to}: {} wei + {} gas × {} wei", signed.value(), signed.gas_limit(), signed.max_fee_per_gas())
            };
            let lines = |accounts: BTreeMap<String, BTreeMap<String, std::sync::Arc<crate::pool::Signed>>>| {
                let account =
                    |nonces: BTreeMap<String, std::sync::Arc<crate::pool::Signed>>| -> BTreeMap<String, String> {
                        nonces.into_iter().map(|(nonce, signed)| (nonce, line(&signed))).collect()
                    };
                accounts.into_iter().map(|(address, nonces)| (address, account(nonces))).collect::<BTreeMap<_, _>>()
            };
            answer(&json!({ "pending": lines(pending), "queued": lines(queued) }))
        }
        _ => {
            let shown = |accounts: BTreeMap<String, BTreeMap<String, std::sync::Arc<crate::pool::Signed>>>| {
                let account = |nonces: BTreeMap<String, std::sync::Arc<crate::pool::Signed>>| -> BTreeMap<String, _> {
                    nonces.into_iter().map(|(nonce, signed)| (nonce, answer::waiting(&signed))).collect()
                };
                accounts.into_iter().map(|(address, nonces)| (address, account(nonces))).collect::<BTreeMap<_, _>>()
            };
            let (pending, queued) = (shown(pending), shown(queued));
            match only {
                Some(only) => {
                    let of = |accounts: &BTreeMap<String, BTreeMap<String, super::answer::TransactionAnswer>>| {
                        json!(accounts.get(&only.to_string()).cloned().unwrap_or_default())
                    };
                    answer(&json!({ "pending": of(&pending), "queued": of(&queued) }))
                }
                None => answer(&json!({ "pending": pending, "queued": queued })),
            }
        }
    }
}
