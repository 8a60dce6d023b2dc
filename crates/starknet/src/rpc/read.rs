//! Methods that read the chain.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use starknet_api::block::{BlockHash, BlockNumber};
use starknet_api::core::{ClassHash, ContractAddress};
use starknet_api::transaction::{Transaction, TransactionHash};
use starknet_types_core::felt::Felt;

use super::block::{BlockJson, Body, PreConfirmedJson};
use super::block_id::BlockId;
use super::class::{SierraJson, cairo0, casm};
use super::error::{
    BLOCK_NOT_FOUND, CLASS_HASH_NOT_FOUND, COMPILATION_ERROR, CONTRACT_NOT_FOUND, INVALID_TXN_INDEX, RpcError,
    STORAGE_PROOF_NOT_SUPPORTED, TXN_HASH_NOT_FOUND,
};
use super::events::{self, EventsJson, EventsRequest};
use super::hex::{Hex, Key};
use super::params::Params;
use super::proof::ProofJson;
use super::receipt::{Finality, InBlock, ReceiptJson, StatusJson};
use super::state_update::{PreConfirmedUpdateJson, StateDiffJson, StateUpdateJson};
use super::transaction::TransactionJson;
use super::{Answer, SPEC_VERSION, StarknetRpc, answer, from_chain, off_thread};
use crate::block::Block;
use crate::chain::Located;
use crate::classes::DeclaredClass;
use crate::pool::Pool;
use crate::view::{At, StateView};

/// Contracts that have storage without a class: block hashes and the aliases of state compression.
const SYSTEM_CONTRACTS: [u64; 2] = [1, 2];

impl StarknetRpc {
    /// How the chain calls the block that a client names.
    fn at(id: BlockId) -> Result<At, RpcError> {
        match id {
            BlockId::Number(number) => Ok(At::Number(BlockNumber(number))),
            BlockId::Hash(hash) => Ok(At::Hash(BlockHash(hash))),
            BlockId::Latest => Ok(At::Latest),
            BlockId::PreConfirmed => Ok(At::PreConfirmed),
            // The chain runs alone: no L1 has accepted any block of it.
            BlockId::L1Accepted => Err(BLOCK_NOT_FOUND.into()),
        }
    }

    /// The state at a block.
    pub(super) fn state(&self, id: BlockId) -> Result<StateView, RpcError> {
        self.chain().state(Self::at(id)?).map_err(from_chain)?.ok_or_else(|| BLOCK_NOT_FOUND.into())
    }

    /// A sealed block, or `None` for the open one.
    pub(super) fn sealed(&self, id: BlockId) -> Result<Option<Block>, RpcError> {
        match Self::at(id)? {
            At::PreConfirmed => Ok(None),
            at => self.chain().block(at).map_err(from_chain)?.map(Some).ok_or_else(|| BLOCK_NOT_FOUND.into()),
        }
    }

    fn located(&self, hash: TransactionHash) -> Result<Option<Located>, RpcError> {
        self.chain().transaction(hash).map_err(from_chain)
    }

    /// The class of the contract at an address.
    fn class_hash(state: &StateView, address: ContractAddress) -> Result<ClassHash, RpcError> {
        state.class_hash(address).map_err(from_chain)?.ok_or_else(|| CONTRACT_NOT_FOUND.into())
    }
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum TransactionFlag {
    IncludeProofFacts,
}

fn proof_facts(params: &Params<'_>, index: usize) -> Result<bool, RpcError> {
    let flags: Option<Vec<TransactionFlag>> = params.optional(index)?;
    Ok(flags.is_some_and(|flags| flags.contains(&TransactionFlag::IncludeProofFacts)))
}

fn transaction_hash(params: &Params<'_>, index: usize) -> Result<TransactionHash, RpcError> {
    Ok(TransactionHash(params.required::<Hex>(index)?.0))
}

pub(super) async fn spec_version(_: &StarknetRpc, _: Params<'_>) -> Answer {
    answer(&SPEC_VERSION)
}

pub(super) async fn chain_id(rpc: &StarknetRpc, _: Params<'_>) -> Answer {
    answer(&rpc.chain().config().chain_id.as_hex())
}

/// A chain that makes its own blocks is never behind.
pub(super) async fn syncing(_: &StarknetRpc, _: Params<'_>) -> Answer {
    answer(&false)
}

pub(super) async fn block_number(rpc: &StarknetRpc, _: Params<'_>) -> Answer {
    answer(&rpc.chain().head().number.0)
}

pub(super) async fn block_hash_and_number(rpc: &StarknetRpc, _: Params<'_>) -> Answer {
    #[derive(Serialize)]
    struct HashAndNumber {
        block_hash: Hex,
        block_number: u64,
    }
    let head = rpc.chain().head();
    answer(&HashAndNumber { block_hash: Hex(head.hash.0), block_number: head.number.0 })
}

pub(super) async fn block_with_tx_hashes(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    block(rpc, params.required(0)?, Body::Hashes)
}

pub(super) async fn block_with_txs(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    block(rpc, params.required(0)?, Body::Transactions { proof_facts: proof_facts(&params, 1)? })
}

pub(super) async fn block_with_receipts(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    block(rpc, params.required(0)?, Body::Receipts { proof_facts: proof_facts(&params, 1)? })
}

fn block(rpc: &StarknetRpc, id: BlockId, body: Body) -> Answer {
    match rpc.sealed(id)? {
        Some(block) => answer(&BlockJson::new(&block, body)),
        None => {
            let open = rpc.chain().pre_confirmed();
            answer(&PreConfirmedJson::new(&open, &open.transactions(), body))
        }
    }
}

pub(super) async fn block_transaction_count(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    match StarknetRpc::at(params.required(0)?)? {
        At::PreConfirmed => answer(&rpc.chain().pre_confirmed().len()),
        at => {
            let header = rpc.chain().header(at).map_err(from_chain)?;
            answer(&header.ok_or(RpcError::from(BLOCK_NOT_FOUND))?.transaction_count)
        }
    }
}

pub(super) async fn state_update(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    let id = params.required(0)?;
    let only: Option<Vec<Key>> = params.optional(1)?;
    let only: Option<BTreeSet<ContractAddress>> = only.map(|keys| keys.into_iter().map(Key::address).collect());
    let only = only.as_ref();
    match rpc.sealed(id)? {
        Some(Block { header, state_diff, .. }) => {
            let old_root = match header.number.0.checked_sub(1) {
                None => Felt::ZERO,
                Some(parent) => {
                    let parent = rpc.chain().header(At::Number(BlockNumber(parent))).map_err(from_chain)?;
                    parent.ok_or_else(|| RpcError::internal("the parent of a block is missing"))?.state_root.0
                }
            };
            answer(&StateUpdateJson {
                block_hash: Hex(header.hash.0),
                old_root: Hex(old_root),
                new_root: Hex(header.state_root.0),
                state_diff: StateDiffJson { diff: &state_diff, only },
            })
        }
        None => {
            let open = rpc.chain().pre_confirmed();
            answer(&PreConfirmedUpdateJson {
                old_root: Hex(open.parent().state_root.0),
                state_diff: StateDiffJson { diff: &open.state_diff().map_err(from_chain)?, only },
            })
        }
    }
}

pub(super) async fn storage_at(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    #[derive(Deserialize, PartialEq, Eq)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    enum Flag {
        IncludeLastUpdateBlock,
    }
    #[derive(Serialize)]
    struct WithBlock {
        value: Hex,
        last_update_block: u64,
    }
    let address = params.required::<Key>(0)?.address();
    let key = params.required::<Key>(1)?.storage();
    let state = rpc.state(params.required(2)?)?;
    let flags: Vec<Flag> = params.optional(3)?.unwrap_or_default();
    let system = SYSTEM_CONTRACTS.iter().any(|system| Felt::from(address) == Felt::from(*system));
    if !system && !state.is_deployed(address).map_err(from_chain)? {
        return Err(CONTRACT_NOT_FOUND.into());
    }
    let slot = state.storage(address, key).map_err(from_chain)?;
    if flags.contains(&Flag::IncludeLastUpdateBlock) {
        answer(&WithBlock { value: Hex(slot.value), last_update_block: slot.last_update.0 })
    } else {
        answer(&Hex(slot.value))
    }
}

pub(super) async fn nonce(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    let state = rpc.state(params.required(0)?)?;
    let address = params.required::<Key>(1)?.address();
    StarknetRpc::class_hash(&state, address)?;
    answer(&Hex(state.nonce(address).map_err(from_chain)?.0))
}

pub(super) async fn class_hash_at(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    let state = rpc.state(params.required(0)?)?;
    let address = params.required::<Key>(1)?.address();
    answer(&Hex(StarknetRpc::class_hash(&state, address)?.0))
}

pub(super) async fn class(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    let state = rpc.state(params.required(0)?)?;
    let hash = ClassHash(params.required::<Hex>(1)?.0);
    off_thread(move || class_json(&state, hash)).await
}

pub(super) async fn class_at(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    let state = rpc.state(params.required(0)?)?;
    let address = params.required::<Key>(1)?.address();
    let hash = StarknetRpc::class_hash(&state, address)?;
    off_thread(move || class_json(&state, hash)).await
}

fn class_json(state: &StateView, hash: ClassHash) -> Answer {
    let class = state.class(hash).map_err(from_chain)?.ok_or(RpcError::from(CLASS_HASH_NOT_FOUND))?;
    match &*class {
        DeclaredClass::Sierra(class) => answer(&SierraJson::from(&*class.sierra)),
        DeclaredClass::Cairo0(class) => answer(&cairo0(class)?),
    }
}

pub(super) async fn compiled_casm(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    let hash = ClassHash(params.required::<Hex>(0)?.0);
    let state = rpc.state(BlockId::PreConfirmed)?;
    off_thread(move || {
        let class = state.class(hash).map_err(from_chain)?.ok_or(RpcError::from(CLASS_HASH_NOT_FOUND))?;
        match &*class {
            DeclaredClass::Sierra(class) => answer(&casm(&class.casm)),
            DeclaredClass::Cairo0(_) => Err(COMPILATION_ERROR.with(serde_json::json!({
                "compilation_error": "this is a Cairo 0 class: it has no Sierra program that could be compiled to CASM"
            }))),
        }
    })
    .await
}

pub(super) async fn transaction_status(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    let hash = transaction_hash(&params, 0)?;
    match find(rpc, hash, |pool| pool.status(hash))? {
        Found::Executed(located) => answer(&StatusJson::executed(finality(&located), &located.transaction.outcome)),
        Found::Waiting(status) => answer(&StatusJson::waiting(status.into())),
    }
}

/// Where a transaction was found.
enum Found<T> {
    Executed(Located),
    Waiting(T),
}

/// Looks for a transaction in the chain, then in the pool, then once more in the chain: it may have moved meanwhile,
/// and it leaves the pool only after the chain shows it.
fn find<T>(
    rpc: &StarknetRpc,
    hash: TransactionHash,
    in_pool: impl FnOnce(&Pool) -> Option<T>,
) -> Result<Found<T>, RpcError> {
    if let Some(located) = rpc.located(hash)? {
        return Ok(Found::Executed(located));
    }
    if let Some(waiting) = in_pool(rpc.pool()) {
        return Ok(Found::Waiting(waiting));
    }
    rpc.located(hash)?.map(Found::Executed).ok_or_else(|| not_found(rpc, hash))
}

/// No such transaction; if it was accepted and then dropped, why.
fn not_found(rpc: &StarknetRpc, hash: TransactionHash) -> RpcError {
    match rpc.pool().rejection(hash) {
        Some(reason) => TXN_HASH_NOT_FOUND.with(format!("it was dropped: {reason}")),
        None => TXN_HASH_NOT_FOUND.into(),
    }
}

fn finality(located: &Located) -> Finality {
    in_block(located).finality()
}

fn in_block(located: &Located) -> InBlock {
    InBlock { number: located.block, hash: located.header.as_ref().map(|header| header.hash) }
}

pub(super) async fn transaction_by_hash(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    let hash = transaction_hash(&params, 0)?;
    let proof_facts = proof_facts(&params, 1)?;
    match find(rpc, hash, |pool| pool.transaction(hash))? {
        Found::Executed(located) => {
            let transaction = &located.transaction.transaction;
            answer(&TransactionJson { transaction, hash: Some(hash), proof_facts })
        }
        Found::Waiting(ready) => {
            let transaction = &Transaction::from(ready.transaction.clone());
            answer(&TransactionJson { transaction, hash: Some(hash), proof_facts })
        }
    }
}

pub(super) async fn transaction_by_block_id_and_index(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    let id = params.required(0)?;
    let index = usize::try_from(params.required::<u64>(1)?).unwrap_or(usize::MAX);
    let proof_facts = proof_facts(&params, 2)?;
    let executed = match rpc.sealed(id)? {
        Some(block) => block.transactions.get(index).cloned(),
        None => rpc.chain().pre_confirmed().transaction(index),
    };
    let executed = executed.ok_or(RpcError::from(INVALID_TXN_INDEX))?;
    answer(&TransactionJson { transaction: &executed.transaction, hash: Some(executed.hash), proof_facts })
}

pub(super) async fn transaction_receipt(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    let hash = transaction_hash(&params, 0)?;
    let located = rpc.located(hash)?.ok_or_else(|| not_found(rpc, hash))?;
    let block = in_block(&located);
    answer(&ReceiptJson { executed: &located.transaction, finality: block.finality(), block: Some(block) })
}

/// The chain runs alone: no L1 transaction ever sent it a message.
pub(super) async fn messages_status(_: &StarknetRpc, params: Params<'_>) -> Answer {
    /// Bytes of an L1 transaction hash.
    const L1_HASH_BYTES: usize = 32;
    let hash: String = params.required(0)?;
    let digits = hash.strip_prefix("0x").unwrap_or_default();
    if digits.is_empty() || digits.len() > 2 * L1_HASH_BYTES || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(RpcError::invalid_params(format!(
            "transaction_hash: {:?} is not an L1 transaction hash, 0x and at most 64 hex digits",
            super::hex::shorten(&hash)
        )));
    }
    Err(TXN_HASH_NOT_FOUND.into())
}

pub(super) async fn get_events(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    let request: EventsRequest = params.required(0)?;
    let (chain, limits) = (rpc.chain().clone(), *rpc.limits());
    off_thread(move || {
        let page = events::page(&chain, &limits, request)?;
        answer(&EventsJson::from(&page))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StorageKeys {
    contract_address: Key,
    storage_keys: Vec<Key>,
}

pub(super) async fn storage_proof(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    let id: BlockId = params.required(0)?;
    let classes: Vec<Hex> = params.optional(1)?.unwrap_or_default();
    let contracts: Vec<Key> = params.optional(2)?.unwrap_or_default();
    let storage: Vec<StorageKeys> = params.optional(3)?.unwrap_or_default();
    let asked = classes.len() + contracts.len() + storage.iter().map(|item| 1 + item.storage_keys.len()).sum::<usize>();
    if asked > rpc.limits().proof_keys {
        return Err(RpcError::invalid_params(format!(
            "{asked} keys are to be proved, at most {} are in one call",
            rpc.limits().proof_keys
        )));
    }
    if id == BlockId::PreConfirmed {
        return Err(RpcError::invalid_params(
            "block_id: the open block (pre_confirmed) has no state root to prove against",
        ));
    }
    let at = StarknetRpc::at(id)?;
    let chain = rpc.chain().clone();
    off_thread(move || {
        let header = chain.header(at).map_err(from_chain)?.ok_or(RpcError::from(BLOCK_NOT_FOUND))?;
        let classes: Vec<ClassHash> = classes.into_iter().map(|hash| ClassHash(hash.0)).collect();
        let contracts: Vec<ContractAddress> = contracts.into_iter().map(Key::address).collect();
        let storage: Vec<_> = storage
            .into_iter()
            .map(|item| {
                (item.contract_address.address(), item.storage_keys.into_iter().map(Key::storage).collect::<Vec<_>>())
            })
            .collect();
        let proof = chain
            .storage_proof(At::Number(header.number), &classes, &contracts, &storage)
            .map_err(from_chain)?
            .ok_or(RpcError::from(STORAGE_PROOF_NOT_SUPPORTED))?;
        answer(&ProofJson::from(&proof))
    })
    .await
}
