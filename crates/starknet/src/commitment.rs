//! What a block commits to: state tries, commitments over its contents, hash and signature.

use std::collections::BTreeSet;

use rayon::prelude::*;
use starknet_api::block::{BlockHash, StarknetVersion};
use starknet_api::block_hash::block_hash_calculator::{
    BlockHeaderCommitments, PartialBlockHashComponents, calculate_block_hash, concat_counts,
};
use starknet_api::block_hash::state_diff_hash::calculate_state_diff_hash;
use starknet_api::core::{
    ContractAddress, EventCommitment, GlobalRoot, ReceiptCommitment, StateDiffCommitment, TransactionCommitment,
};
use starknet_api::data_availability::L1DataAvailabilityMode;
use starknet_api::hash::starknet_keccak_hash;
use starknet_api::state::ThinStateDiff;
use starknet_api::transaction::fields::TransactionSignature;
use starknet_api::transaction::{DeclareTransaction, DeployAccountTransaction, Event, InvokeTransaction, Transaction};
use starknet_types_core::felt::Felt;
use starknet_types_core::hash::{Poseidon, StarkHash};
use trie::{CLASSES, CONTRACTS, ContractState, Join, Node, NodeStore, STORAGE, Trie, TrieError};

use crate::block::{ExecutedTransaction, Header, StateDiff};
use crate::chain::ChainError;

/// Height of the trees over transactions, events and receipts.
const LIST_TREE_HEIGHT: u8 = 64;
const LIST_TREE: Trie<trie::Poseidon> = Trie::new(LIST_TREE_HEIGHT);

/// Commitments over the contents of a block, without state root and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitments {
    /// Root over transactions.
    pub transactions: TransactionCommitment,
    /// Root over events.
    pub events: EventCommitment,
    /// Root over receipts.
    pub receipts: ReceiptCommitment,
    /// Hash of the state diff.
    pub state_diff: StateDiffCommitment,
    /// Entries of the state diff.
    pub state_diff_length: u64,
    /// Number of events.
    pub event_count: u64,
}

/// New roots with everything that has to be written for them.
#[derive(Clone, Debug, Default)]
pub struct TrieChanges {
    /// Root of the contracts trie.
    pub contracts_root: Felt,
    /// Root of the classes trie.
    pub classes_root: Felt,
    /// Contracts touched, as they are now.
    pub contracts: Vec<(ContractAddress, ContractState)>,
    /// Trie nodes that did not exist before.
    pub nodes: Vec<(Felt, Node)>,
}

impl TrieChanges {
    /// Root of the whole state.
    pub fn state_root(&self) -> GlobalRoot {
        GlobalRoot(trie::state_root(self.contracts_root, self.classes_root))
    }
}

/// Commits to the contents of a block, on all cores.
pub fn commit_contents(
    transactions: &[impl AsRef<ExecutedTransaction> + Sync],
    diff: &StateDiff,
    version: StarknetVersion,
) -> Commitments {
    let thin = ThinStateDiff::from(diff);
    let ((transaction_root, event_root), (receipt_root, state_diff)) = rayon::join(
        || {
            rayon::join(
                || list_root(transactions.par_iter().map(|tx| transaction_leaf(tx.as_ref(), version))),
                || list_root(transactions.par_iter().flat_map_iter(|tx| event_leaves(tx.as_ref()))),
            )
        },
        || {
            rayon::join(
                || list_root(transactions.par_iter().map(|tx| receipt_leaf(tx.as_ref()))),
                || calculate_state_diff_hash(&thin),
            )
        },
    );
    Commitments {
        transactions: TransactionCommitment(transaction_root),
        events: EventCommitment(event_root),
        receipts: ReceiptCommitment(receipt_root),
        state_diff,
        state_diff_length: thin.len() as u64,
        event_count: transactions.iter().map(|tx| tx.as_ref().outcome.events.len() as u64).sum(),
    }
}

/// Root of the tree of height 64 whose leaf `i` is the `i`-th item.
fn list_root(leaves: impl ParallelIterator<Item = Felt>) -> Felt {
    let leaves: Vec<Felt> = leaves.collect();
    let keyed = leaves.into_iter().enumerate().map(|(index, leaf)| (Felt::from(index as u64), leaf));
    // An index fits 64 bits, and a Poseidon hash is zero for no known input, so no leaf is lost.
    LIST_TREE.root_from_scratch(keyed, &Rayon).expect("every index fits a tree of height 64")
}

/// Leaf of a transaction: Poseidon(hash, signature…).
pub fn transaction_leaf(executed: &ExecutedTransaction, version: StarknetVersion) -> Felt {
    let mut elements = vec![executed.hash.0];
    let signature = signature(&executed.transaction);
    elements.extend_from_slice(&signature.0);
    // Before 0.13.4 an empty signature counted as one zero (`calculate_block_commitments` in starknet_api).
    if signature.0.is_empty() && version < StarknetVersion::V0_13_4 {
        elements.push(Felt::ZERO);
    }
    Poseidon::hash_array(&elements)
}

/// The signature of a transaction; empty for kinds that carry none.
pub fn signature(transaction: &Transaction) -> TransactionSignature {
    match transaction {
        Transaction::Invoke(InvokeTransaction::V0(tx)) => tx.signature.clone(),
        Transaction::Invoke(InvokeTransaction::V1(tx)) => tx.signature.clone(),
        Transaction::Invoke(InvokeTransaction::V3(tx)) => tx.signature.clone(),
        Transaction::Declare(DeclareTransaction::V0(tx) | DeclareTransaction::V1(tx)) => tx.signature.clone(),
        Transaction::Declare(DeclareTransaction::V2(tx)) => tx.signature.clone(),
        Transaction::Declare(DeclareTransaction::V3(tx)) => tx.signature.clone(),
        Transaction::DeployAccount(DeployAccountTransaction::V1(tx)) => tx.signature.clone(),
        Transaction::DeployAccount(DeployAccountTransaction::V3(tx)) => tx.signature.clone(),
        Transaction::Deploy(_) | Transaction::L1Handler(_) => TransactionSignature::default(),
    }
}

/// Leaves of a transaction's events: Poseidon(emitter, transaction hash, number of keys, keys…, number of data, data…).
pub fn event_leaves(executed: &ExecutedTransaction) -> impl Iterator<Item = Felt> + '_ {
    executed.outcome.events.iter().map(|Event { from_address, content }| {
        let mut elements = Vec::with_capacity(4 + content.keys.len() + content.data.0.len());
        elements.extend([*from_address.0.key(), executed.hash.0, Felt::from(content.keys.len())]);
        elements.extend(content.keys.iter().map(|key| key.0));
        elements.push(Felt::from(content.data.0.len()));
        elements.extend_from_slice(&content.data.0);
        Poseidon::hash_array(&elements)
    })
}

/// Leaf of a receipt: Poseidon(transaction hash, fee, messages, revert reason, 0, L1 gas, L1 data gas). The zero stands where L2 gas would be.
pub fn receipt_leaf(executed: &ExecutedTransaction) -> Felt {
    let outcome = &executed.outcome;
    let mut messages = vec![Felt::from(outcome.messages.len())];
    for message in &outcome.messages {
        messages.extend([
            *message.from_address.0.key(),
            Felt::from(message.to_address),
            Felt::from(message.payload.0.len()),
        ]);
        messages.extend_from_slice(&message.payload.0);
    }
    let reason = outcome.revert_reason.as_ref().map_or(Felt::ZERO, |reason| starknet_keccak_hash(reason.as_bytes()));
    Poseidon::hash_array(&[
        executed.hash.0,
        Felt::from(outcome.fee.0),
        Poseidon::hash_array(&messages),
        reason,
        Felt::ZERO,
        Felt::from(outcome.gas.l1_gas.0),
        Felt::from(outcome.gas.l1_data_gas.0),
    ])
}

/// Hash of a block out of its header (its own `hash` field is not looked at).
pub fn block_hash(header: &Header) -> Result<BlockHash, ChainError> {
    let data_mode = L1DataAvailabilityMode::from_use_kzg_da(header.blob_data);
    let commitments = BlockHeaderCommitments {
        transaction_commitment: header.transaction_commitment,
        event_commitment: header.event_commitment,
        receipt_commitment: header.receipt_commitment,
        state_diff_commitment: header.state_diff_commitment,
        concatenated_counts: concat_counts(
            header.transaction_count as usize,
            header.event_count as usize,
            header.state_diff_length as usize,
            data_mode,
        ),
    };
    let components = PartialBlockHashComponents::new(&header.block_info(), commitments);
    calculate_block_hash(&components, header.state_root, header.parent_hash)
        .map_err(|error| ChainError::Execution(format!("block hash: {error}")))
}

/// STARK ECDSA over Poseidon(block hash, state diff commitment), with the deterministic nonce of RFC 6979.
pub fn sign(key: &Felt, hash: BlockHash, state_diff: StateDiffCommitment) -> Result<(Felt, Felt), ChainError> {
    let message = Poseidon::hash_array(&[hash.0, state_diff.0.0]);
    let nonce = starknet_crypto::rfc6979_generate_k(&message, key, None);
    let signature = starknet_crypto::sign(key, &message, &nonce)
        .map_err(|error| ChainError::Execution(format!("signing a block: {error}")))?;
    Ok((signature.r, signature.s))
}

/// Whether `signature` over a block is by the holder of `public_key`.
pub fn verify_signature(
    public_key: &Felt,
    hash: BlockHash,
    state_diff: StateDiffCommitment,
    signature: &(Felt, Felt),
) -> bool {
    let message = Poseidon::hash_array(&[hash.0, state_diff.0.0]);
    starknet_crypto::verify(public_key, &message, &signature.0, &signature.1).unwrap_or(false)
}

/// Computes the tries after a diff on top of `parent`'s. `contract_before` gives contracts as of the parent.
pub fn commit_state<S>(
    nodes: &S,
    parent: Option<&Header>,
    diff: &StateDiff,
    contract_before: impl Fn(ContractAddress) -> Result<ContractState, ChainError> + Sync,
) -> Result<TrieChanges, ChainError>
where
    S: NodeStore<Error = ChainError> + Sync,
{
    let (contracts_root, classes_root) =
        parent.map_or((Felt::ZERO, Felt::ZERO), |header| (header.contracts_root, header.classes_root));
    let touched: BTreeSet<ContractAddress> = (diff.storage.keys())
        .chain(diff.deployed.keys())
        .chain(diff.replaced.keys())
        .chain(diff.nonces.keys())
        .copied()
        .collect();
    let mut contracts = Vec::with_capacity(touched.len());
    for address in touched {
        let mut contract = contract_before(address)?;
        if let Some(class) = diff.deployed.get(&address).or_else(|| diff.replaced.get(&address)) {
            contract.class_hash = class.0;
        }
        if let Some(nonce) = diff.nonces.get(&address) {
            contract.nonce = nonce.0;
        }
        contracts.push((address, contract));
    }
    let mut new_nodes = commit_storages(nodes, &mut contracts, diff)?;

    let states: Vec<ContractState> = contracts.iter().map(|(_, contract)| *contract).collect();
    let leaves = trie::contract_leaves(&states, &Rayon);
    let leaves: Vec<(Felt, Felt)> =
        contracts.iter().zip(leaves).map(|((address, _), leaf)| (*address.0.key(), leaf)).collect();
    let classes: Vec<(Felt, Felt)> = (diff.declared.iter().chain(&diff.migrated))
        .map(|(class, compiled)| (class.0, trie::class_leaf(compiled.0)))
        .collect();
    let (contracts_update, classes_update) = rayon::join(
        || CONTRACTS.update(nodes, contracts_root, &leaves, &Rayon),
        || CLASSES.update(nodes, classes_root, &classes, &Rayon),
    );
    let (contracts_update, classes_update) =
        (contracts_update.map_err(trie_error)?, classes_update.map_err(trie_error)?);
    new_nodes.extend(contracts_update.nodes);
    new_nodes.extend(classes_update.nodes);
    Ok(TrieChanges {
        contracts_root: contracts_update.root,
        classes_root: classes_update.root,
        contracts,
        nodes: new_nodes,
    })
}

/// Updates the storage roots in `contracts` and returns the new nodes of all storage tries.
fn commit_storages<S>(
    nodes: &S,
    contracts: &mut [(ContractAddress, ContractState)],
    diff: &StateDiff,
) -> Result<Vec<(Felt, Node)>, ChainError>
where
    S: NodeStore<Error = ChainError> + Sync,
{
    let changed: Vec<usize> = (contracts.iter().enumerate())
        .filter(|(_, (address, _))| diff.storage.contains_key(address))
        .map(|(index, _)| index)
        .collect();
    let plans = changed
        .par_iter()
        .map(|index| {
            let (address, contract) = &contracts[*index];
            let slots: Vec<(Felt, Felt)> =
                diff.storage[address].iter().map(|(key, value)| (*key.0.key(), *value)).collect();
            STORAGE.plan(nodes, contract.storage_root, &slots).map_err(trie_error)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut new_nodes = Vec::new();
    for (index, update) in changed.into_iter().zip(trie::commit_all(plans, &Rayon)) {
        contracts[index].1.storage_root = update.root;
        new_nodes.extend(update.nodes);
    }
    Ok(new_nodes)
}

/// Spreads hashing over the cores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rayon;

impl Join for Rayon {
    fn join<A, B, RA, RB>(&self, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce() -> RA + Send,
        B: FnOnce() -> RB + Send,
        RA: Send,
        RB: Send,
    {
        rayon::join(a, b)
    }
}

pub(crate) fn trie_error(error: TrieError<ChainError>) -> ChainError {
    match error {
        TrieError::Store(error) => error,
        other => ChainError::Storage(format!("tries: {other}")),
    }
}

impl From<&StateDiff> for ThinStateDiff {
    fn from(diff: &StateDiff) -> Self {
        Self {
            deployed_contracts: diff.deployed.iter().chain(&diff.replaced).map(|(a, c)| (*a, *c)).collect(),
            storage_diffs: (diff.storage.iter())
                .map(|(address, slots)| (*address, slots.iter().map(|(key, value)| (*key, *value)).collect()))
                .collect(),
            class_hash_to_compiled_class_hash: diff
                .declared
                .iter()
                .chain(&diff.migrated)
                .map(|(c, h)| (*c, *h))
                .collect(),
            deprecated_declared_classes: diff.deprecated_declared.iter().copied().collect(),
            nonces: diff.nonces.iter().map(|(address, nonce)| (*address, *nonce)).collect(),
        }
    }
}
