//! The chain on disk: opening, reading, taking in blocks, and what it tells others.
//!
//! ```text
//!             seal                     persist / import             set head
//!  open block ────► staged (memory) ───────────────────► block log ──────────► tables, caches, readers
//! ```
//!
//! The block log is the truth: a block is in it, durable, before tables or readers show it. The tables name the log record
//! up to which they stand and catch up from there when the chain is opened.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use blockifier::blockifier_versioned_constants::VersionedConstants;
use blockifier::context::BlockContext;
use bytes::Bytes;
use parking_lot::Mutex;
use sequencer::{Memory, Record};
use serde::{Deserialize, Serialize};
use starknet_api::block::{BlockHash, BlockInfo, BlockNumber, BlockTimestamp};
use starknet_api::core::{ClassHash, ContractAddress, GlobalRoot};
use starknet_api::state::StorageKey;
use starknet_api::transaction::TransactionHash;
use starknet_types_core::felt::Felt;
use store::{Log, LogOptions, Position};
use tokio::sync::{broadcast, watch};
use trie::{CLASSES, CONTRACTS, STORAGE};
use types::{BlockRef, Payload, Slot, Timestamp};

use crate::block::{Block, ExecutedTransaction, Header, StateDiff};
use crate::classes::DeclaredClass;
use crate::codec::Body;
use crate::commitment::{self, Rayon, TrieChanges, trie_error};
use crate::config::ChainConfig;
use crate::events::{self, EventCursor, EventFilter, EventPage};
use crate::genesis::{self, PredeployedAccount};
use crate::pending::PreConfirmed;
use crate::rules::Rules;
use crate::source::ReadyTransaction;
use crate::tables::StateTables;
use crate::view::{At, ContractLeaf, ProofNode, ProofNodeKind, StateView, StorageProof};

/// Kind of a log record: a decided block, as slot and body.
const BLOCK_RECORD: u8 = 1;
/// Kind of a log record: anything else the heart wants to outlive the process.
const HEART_RECORD: u8 = 2;
/// Kind of a log record: which chain this is. The first record.
const CHAIN_RECORD: u8 = 3;

/// Largest block that the log takes, in bytes.
const BLOCK_BYTES_MAX: usize = 512 << 20;
/// Sealed or imported blocks that wait for a decision.
const STAGED_MAX: usize = 16;
/// Notices that a slow listener may lag behind before it loses the oldest.
const NOTICES_MAX: usize = 4096;
/// Rough bytes of a decoded transaction with its outcome, for bounding the cache of blocks.
const TRANSACTION_BYTES: usize = 4096;
/// Blocks looked through by one call of [`Chain::events`] at most, so that a call ends; the cursor says where to go on.
const EVENT_BLOCKS_MAX: u64 = 100_000;

/// A chain on disk. Cheap to clone; all clones are the same chain.
#[derive(Clone)]
pub struct Chain {
    inner: Arc<Inner>,
}

struct Inner {
    rules: Arc<Rules>,
    log: Log,
    tables: Arc<StateTables>,
    head: watch::Sender<Arc<Header>>,
    open: watch::Sender<PreConfirmed>,
    notices: broadcast::Sender<Notice>,
    staged: Mutex<VecDeque<Arc<Staged>>>,
    blocks: Mutex<BlockCache>,
    accounts: Vec<PredeployedAccount>,
    public_key: Felt,
}

/// A block that is complete but not the head yet.
pub(crate) struct Staged {
    pub(crate) payload: Payload,
    pub(crate) body: Body,
    /// The transactions as they came from the source, to hand them back if the block is not decided.
    pub(crate) ready: Vec<Arc<ReadyTransaction>>,
    changes: TrieChanges,
    position: Mutex<Option<Position>>,
}

impl Staged {
    /// The same block in the very bytes that its maker gave it.
    pub(crate) fn claimed(&self, payload: Payload, body: Body) -> Self {
        let (ready, changes) = (self.ready.clone(), self.changes.clone());
        Self { payload, body, ready, changes, position: Mutex::new(None) }
    }
}

/// Why the chain cannot answer or go on.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The disk failed, or what it holds does not fit together.
    #[error("storage: {0}")]
    Storage(String),
    /// The genesis file is missing, unreadable or wrong; says which key.
    #[error("genesis: {0}")]
    Genesis(String),
    /// Execution failed in a way no transaction can cause.
    #[error("execution: {0}")]
    Execution(String),
}

/// Something others may want to hear at once. Slow listeners lose the oldest and learn how many.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A transaction executed in the open block.
    PreConfirmed {
        /// Number of the open block.
        block: BlockNumber,
        /// Position in the block.
        index: u64,
        /// The transaction with its outcome.
        transaction: Arc<ExecutedTransaction>,
    },
    /// A block became the newest.
    Block(Block),
    /// The open block was given up; its transactions went back to the pool.
    Cancelled(BlockNumber),
}

/// Where a transaction is.
#[derive(Clone, Debug)]
pub struct Located {
    /// The transaction with its outcome.
    pub transaction: Arc<ExecutedTransaction>,
    /// Block number.
    pub block: BlockNumber,
    /// Header of the block, or `None` while pre-confirmed.
    pub header: Option<Arc<Header>>,
    /// Position in the block.
    pub index: u64,
}

/// What [`Chain::verify`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The block whose state was recomputed.
    pub block: BlockNumber,
    /// Its state root, equal both ways.
    pub state_root: GlobalRoot,
    /// Contracts looked at.
    pub contracts: u64,
    /// Storage slots looked at.
    pub slots: u64,
}

/// The first record of a chain's log.
#[derive(Serialize, Deserialize)]
struct ChainRecord {
    chain_id: String,
    genesis: genesis::Origin,
}

impl Chain {
    /// Opens the chain in a folder that belongs to this process alone; builds genesis when the folder holds no block.
    /// May take long: not on an async thread.
    ///
    /// # Errors
    /// [`ChainError::Storage`] for damage, a full disk, or another chain's folder; [`ChainError::Genesis`] when block 0 cannot
    /// be built.
    pub fn open(folder: &Path, config: ChainConfig) -> Result<Self, ChainError> {
        let public_key = starknet_crypto::get_public_key(&config.signing_key);
        let rules = Arc::new(Rules::new(config)?);
        let options = LogOptions { record_bytes_max: BLOCK_BYTES_MAX, ..LogOptions::default() };
        let log = Log::open(folder.join("blocks"), options).map_err(|error| ChainError::Storage(error.to_string()))?;
        let tables_folder = folder.join("tables");
        let mut tables = Arc::new(StateTables::open(&tables_folder, rules.config.cache_bytes)?);
        let ahead = |standing: store::Standing| standing.position >= log.end();
        if tables.standing()?.is_some_and(ahead) {
            tracing::warn!("tables stand behind the end of the block log: building them again");
            drop(tables);
            tables = Arc::new(StateTables::rebuild(&tables_folder, rules.config.cache_bytes)?);
        }
        let origin = origin(&log, &rules)?;
        let origin = match origin {
            Some(origin) => origin,
            None => write_genesis(&log, &rules, &tables)?,
        };
        let head = Arc::new(catch_up(&log, &tables)?);
        tables.resume(head.number);
        let open = empty_block(&rules, &tables, &head, head.timestamp);
        Ok(Self {
            inner: Arc::new(Inner {
                accounts: origin.accounts(),
                rules,
                log,
                tables,
                head: watch::Sender::new(head),
                open: watch::Sender::new(open),
                notices: broadcast::Sender::new(NOTICES_MAX),
                staged: Mutex::default(),
                blocks: Mutex::default(),
                public_key,
            }),
        })
    }

    /// What the operator chose.
    pub fn config(&self) -> &ChainConfig {
        &self.inner.rules.config
    }

    /// Constants of the protocol version in force.
    pub fn constants(&self) -> &VersionedConstants {
        &self.inner.rules.constants
    }

    /// Context to execute in, for a block with this information.
    pub fn context(&self, block: BlockInfo) -> BlockContext {
        self.inner.rules.context(block)
    }

    /// Accounts that genesis deployed or named, with their keys, for the banner of a development chain.
    pub fn accounts(&self) -> &[PredeployedAccount] {
        &self.inner.accounts
    }

    /// STARK public key that block signatures verify under.
    pub fn public_key(&self) -> Felt {
        self.inner.public_key
    }

    /// Header of the newest block. There always is one: genesis.
    pub fn head(&self) -> Arc<Header> {
        Arc::clone(&self.inner.head.borrow())
    }

    /// Header of a sealed block, without reading its body; `None` when there is none such, and for [`At::PreConfirmed`].
    pub fn header(&self, at: At) -> Result<Option<Arc<Header>>, ChainError> {
        let head = self.head();
        let number = match at {
            At::PreConfirmed => return Ok(None),
            At::Latest => head.number,
            At::Number(number) => number,
            At::Hash(hash) if hash == head.hash => head.number,
            At::Hash(hash) => match self.inner.tables.number_of(hash.0)? {
                Some(number) => number,
                None => return Ok(None),
            },
        };
        if number == head.number {
            return Ok(Some(head));
        }
        if number > head.number {
            return Ok(None);
        }
        Ok(self.inner.tables.block(number)?.map(|(header, _)| Arc::new(header)))
    }

    /// A sealed block; `None` when there is none such, and for [`At::PreConfirmed`].
    pub fn block(&self, at: At) -> Result<Option<Block>, ChainError> {
        match self.header(at)? {
            Some(header) => self.inner.block(header.number),
            None => Ok(None),
        }
    }

    /// A transaction in the open block or the chain.
    pub fn transaction(&self, hash: TransactionHash) -> Result<Option<Located>, ChainError> {
        let open = self.pre_confirmed();
        if let Some((index, transaction)) = open.find(hash) {
            let block = open.block_info().block_number;
            return Ok(Some(Located { transaction, block, header: None, index: index as u64 }));
        }
        let Some((block, index)) = self.inner.tables.locate(hash)? else { return Ok(None) };
        let Some(block) = self.inner.block(block)? else { return Ok(None) };
        let found = block.transactions.get(index as usize).cloned();
        Ok(found.map(|transaction| Located {
            transaction,
            block: block.header.number,
            header: Some(block.header),
            index,
        }))
    }

    /// The open block, or an empty one on the newest block when none is open.
    pub fn pre_confirmed(&self) -> PreConfirmed {
        self.inner.open.borrow().clone()
    }

    /// The state at a block; `None` when there is no such block.
    pub fn state(&self, at: At) -> Result<Option<StateView>, ChainError> {
        if at == At::PreConfirmed {
            return Ok(Some(self.state_in(self.pre_confirmed())));
        }
        Ok(self.header(at)?.map(|header| self.state_after(&header)))
    }

    /// The state in the open block after the transactions that `open` shows; see [`PreConfirmed::truncated`] for earlier.
    pub fn state_in(&self, open: PreConfirmed) -> StateView {
        StateView::open_at(Arc::clone(&self.inner.tables), Arc::clone(&self.inner.rules), open)
    }

    /// The state in the open block before its transaction at `index`.
    pub fn state_before(&self, open: &PreConfirmed, index: usize) -> StateView {
        self.state_in(open.truncated(index))
    }

    pub(crate) fn state_after(&self, header: &Header) -> StateView {
        StateView::sealed_at(Arc::clone(&self.inner.tables), Arc::clone(&self.inner.rules), header)
    }

    /// Matching events of sealed blocks from `cursor` to `last` (inclusive), at most `limit` of them.
    ///
    /// May come back early with fewer (even none) and a cursor when very many blocks were looked through.
    pub fn events(
        &self,
        filter: &EventFilter,
        cursor: EventCursor,
        last: BlockNumber,
        limit: usize,
    ) -> Result<EventPage, ChainError> {
        let last = last.min(self.head().number);
        let mut page = EventPage::default();
        let stop = BlockNumber(cursor.block.0.saturating_add(EVENT_BLOCKS_MAX));
        for entry in self.inner.tables.blooms(cursor.block, last) {
            let (number, bloom) = entry?;
            if number >= stop {
                page.next = Some(EventCursor { block: number, event: 0 });
                return Ok(page);
            }
            if !bloom.may_match(filter) {
                continue;
            }
            let Some(block) = self.inner.block(number)? else { continue };
            let from = if number == cursor.block { cursor.event } else { 0 };
            if let Some(event) = events::search(&block, filter, from, limit, &mut page.events) {
                page.next = Some(EventCursor { block: number, event });
                return Ok(page);
            }
        }
        Ok(page)
    }

    /// Proofs at a sealed block; `None` when there is no such block.
    pub fn storage_proof(
        &self,
        at: At,
        classes: &[ClassHash],
        contracts: &[ContractAddress],
        storage: &[(ContractAddress, Vec<StorageKey>)],
    ) -> Result<Option<StorageProof>, ChainError> {
        let Some(header) = self.header(at)? else { return Ok(None) };
        let tables = self.inner.tables.as_ref();
        let class_keys: Vec<Felt> = classes.iter().map(|class| class.0).collect();
        let contract_keys: Vec<Felt> = contracts.iter().map(|address| *address.0.key()).collect();
        let class_nodes = CLASSES.prove(tables, header.classes_root, &class_keys).map_err(trie_error)?;
        let contract_nodes = CONTRACTS.prove(tables, header.contracts_root, &contract_keys).map_err(trie_error)?;
        let mut proof = StorageProof {
            block_hash: header.hash,
            contracts_root: header.contracts_root,
            classes_root: header.classes_root,
            classes: proof_nodes(class_nodes),
            contracts: proof_nodes(contract_nodes),
            ..StorageProof::default()
        };
        for address in contracts {
            let contract = tables.contract(*address, header.number)?;
            proof.leaves.push((contract != crate::tables::ABSENT).then(|| ContractLeaf {
                nonce: crate::tables::nonce_of(&contract),
                class_hash: ClassHash(contract.class_hash),
                storage_root: contract.storage_root,
            }));
        }
        for (address, keys) in storage {
            let root = tables.contract(*address, header.number)?.storage_root;
            let keys: Vec<Felt> = keys.iter().map(|key| *key.0.key()).collect();
            proof.storage.push(proof_nodes(STORAGE.prove(tables, root, &keys).map_err(trie_error)?));
        }
        Ok(Some(proof))
    }

    /// News from now on.
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.inner.notices.subscribe()
    }

    /// The open block, always the newest snapshot.
    pub fn watch_pre_confirmed(&self) -> watch::Receiver<PreConfirmed> {
        self.inner.open.subscribe()
    }

    /// Header of the newest block, as it changes.
    pub fn watch_head(&self) -> watch::Receiver<Arc<Header>> {
        self.inner.head.subscribe()
    }

    /// Recomputes the state root of the newest block from every slot, contract and class in the tables, and compares it with the
    /// header's. Reads everything: for tests and for doubt, not for every start.
    ///
    /// # Errors
    /// [`ChainError::Storage`] naming what differs.
    pub fn verify(&self) -> Result<Verified, ChainError> {
        let head = self.head();
        let tables = &self.inner.tables;
        let differs = |what: String| ChainError::Storage(format!("at block {}: {what}", head.number));
        let mut roots = std::collections::BTreeMap::<Felt, Felt>::new();
        let mut slots = 0;
        let mut current: Option<(Felt, Vec<(Felt, Felt)>)> = None;
        let finish = |roots: &mut std::collections::BTreeMap<Felt, Felt>, contract: (Felt, Vec<(Felt, Felt)>)| {
            let root = STORAGE.root_from_scratch(contract.1, &Rayon).map_err(|error| differs(error.to_string()))?;
            roots.insert(contract.0, root);
            Ok::<(), ChainError>(())
        };
        for entry in tables.all_slots(head.number) {
            let (address, key, value) = entry?;
            slots += 1;
            match &mut current {
                Some((contract, entries)) if *contract == address => entries.push((key, value)),
                _ => {
                    if let Some(done) = current.replace((address, vec![(key, value)])) {
                        finish(&mut roots, done)?;
                    }
                }
            }
        }
        if let Some(done) = current {
            finish(&mut roots, done)?;
        }
        let mut leaves = Vec::new();
        for entry in tables.all_contracts(head.number) {
            let (address, contract) = entry?;
            let root = roots.get(&address).copied().unwrap_or_default();
            if root != contract.storage_root {
                let stored = contract.storage_root;
                return Err(differs(format!("storage root of {address:#x} is {root:#x}, stored {stored:#x}")));
            }
            leaves.push((address, trie::contract_leaf(&contract)));
        }
        let contracts = leaves.len() as u64;
        let scratch = |error: trie::TrieError<std::convert::Infallible>| differs(error.to_string());
        let contracts_root = CONTRACTS.root_from_scratch(leaves, &Rayon).map_err(scratch)?;
        let classes = tables.all_compiled(head.number).collect::<Result<Vec<_>, _>>()?;
        let classes = classes.into_iter().map(|(class, compiled)| (class, trie::class_leaf(compiled)));
        let classes_root = CLASSES.root_from_scratch(classes, &Rayon).map_err(scratch)?;
        let state_root = GlobalRoot(trie::state_root(contracts_root, classes_root));
        if state_root != head.state_root {
            let stored = head.state_root.0;
            return Err(differs(format!("state root from scratch is {:#x}, stored {stored:#x}", state_root.0)));
        }
        Ok(Verified { block: head.number, state_root, contracts, slots })
    }

    /// What the heart wrote down in earlier runs, folded. Reads the whole log.
    pub fn memory(&self) -> Result<Memory, ChainError> {
        let mut memory = Memory::default();
        for record in self.inner.log.records(self.inner.log.start()) {
            let record = record.map_err(|error| ChainError::Storage(error.to_string()))?;
            match record.kind {
                BLOCK_RECORD => {
                    let (slot, body) = split_block(&record.payload)?;
                    let header = crate::codec::decode_header(&body).map_err(damaged_block)?;
                    if header.number != BlockNumber(0) {
                        memory.remember(Record::Payload(Payload {
                            slot,
                            block: block_ref(&header),
                            origin: None,
                            body,
                        }));
                    }
                }
                HEART_RECORD => memory.remember(decode_heart(&record.payload)?),
                _ => {}
            }
        }
        Ok(memory)
    }

    /// Writes a record of the heart and waits until it is durable.
    pub(crate) fn persist(&self, record: &Record) -> Result<(), ChainError> {
        if let Record::Payload(payload) = record {
            return self.persist_block(payload).map(|_| ());
        }
        let ticket = self.inner.log.append(HEART_RECORD, &encode_heart(record));
        ticket.wait().map(|_| ()).map_err(|error| ChainError::Storage(error.to_string()))
    }

    fn persist_block(&self, payload: &Payload) -> Result<Position, ChainError> {
        let staged = self.staged(felt_hash(payload.block.hash));
        let known = staged.as_ref().and_then(|staged| *staged.position.lock());
        if let Some(position) = known {
            return Ok(position);
        }
        let record = [&payload.slot.as_u64().to_be_bytes()[..], &payload.body].concat();
        let ticket = self.inner.log.append(BLOCK_RECORD, &record);
        let position = ticket.wait().map_err(|error| ChainError::Storage(error.to_string()))?;
        if let Some(staged) = staged {
            *staged.position.lock() = Some(position);
        }
        Ok(position)
    }

    /// A complete block that waits for a decision.
    pub(crate) fn staged(&self, hash: BlockHash) -> Option<Arc<Staged>> {
        self.inner.staged.lock().iter().find(|staged| staged.body.header.hash == hash).cloned()
    }

    /// Completes a block on `parent`: tries, commitments, hash, signature. The parent must be the head.
    pub(crate) fn complete(
        &self,
        slot: Slot,
        info: &BlockInfo,
        transactions: Vec<Arc<ExecutedTransaction>>,
        state_diff: StateDiff,
        classes: Vec<Arc<DeclaredClass>>,
        ready: Vec<Arc<ReadyTransaction>>,
    ) -> Result<Arc<Staged>, ChainError> {
        let parent = self.head();
        let (body, changes) =
            complete(&self.inner.rules, &self.inner.tables, Some(&parent), info, transactions, state_diff, classes)?;
        let encoded = Bytes::from(body.encode());
        let payload = Payload { slot, block: block_ref(&body.header), origin: None, body: encoded };
        Ok(Arc::new(Staged { payload, body, ready, changes, position: Mutex::new(None) }))
    }

    /// Executes someone else's payload on the head and compares; `None` when a claim in it does not hold.
    pub(crate) fn execute(&self, payload: &Payload) -> Result<Option<Arc<Staged>>, ChainError> {
        crate::check::execute(self, payload)
    }

    /// A block of the chain as it was sealed.
    pub(crate) fn payload(&self, number: BlockNumber) -> Result<Option<Payload>, ChainError> {
        let Some((header, position)) = self.inner.tables.block(number)? else { return Ok(None) };
        let record = self.inner.log.read(position).map_err(|error| ChainError::Storage(error.to_string()))?;
        let (slot, body) = split_block(&record.payload)?;
        Ok(Some(Payload { slot, block: block_ref(&header), origin: None, body }))
    }

    /// Keeps a complete block until it is decided or pushed out.
    pub(crate) fn stage(&self, staged: Arc<Staged>) {
        let mut all = self.inner.staged.lock();
        if all.iter().any(|known| known.body.header.hash == staged.body.header.hash) {
            return;
        }
        if all.len() == STAGED_MAX {
            all.pop_front();
        }
        all.push_back(staged);
    }

    pub(crate) fn unstage(&self, hash: BlockHash) {
        self.inner.staged.lock().retain(|staged| staged.body.header.hash != hash);
    }

    /// Makes a staged block the head: durable first, then tables, then readers. Returns the block.
    pub(crate) fn advance(&self, staged: &Staged) -> Result<Block, ChainError> {
        let position = self.persist_block(&staged.payload)?;
        self.inner.tables.apply(&staged.body, &staged.changes, position)?;
        let block = Block {
            header: Arc::new(staged.body.header.clone()),
            transactions: staged.body.transactions.clone().into(),
            state_diff: Arc::new(staged.body.state_diff.clone()),
        };
        self.inner.blocks.lock().put(&block, self.inner.rules.config.cache_bytes / 8);
        self.inner.head.send_replace(Arc::clone(&block.header));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let timestamp = BlockTimestamp(now.max(block.header.timestamp.0));
        self.publish(empty_block(&self.inner.rules, &self.inner.tables, &block.header, timestamp));
        // Candidates at this height or below have lost.
        self.inner.staged.lock().retain(|other| other.body.header.number > block.header.number);
        self.notify(Notice::Block(block.clone()));
        Ok(block)
    }

    /// Shows a snapshot of the open block.
    pub(crate) fn publish(&self, open: PreConfirmed) {
        self.inner.open.send_replace(open);
    }

    pub(crate) fn notify(&self, notice: Notice) {
        // No listener is not an error.
        let _ = self.inner.notices.send(notice);
    }

    /// An empty block on the head with this timestamp (or the head's, if that is later).
    pub(crate) fn empty_on_head(&self, timestamp: BlockTimestamp) -> PreConfirmed {
        let head = self.head();
        let timestamp = BlockTimestamp(timestamp.0.max(head.timestamp.0));
        empty_block(&self.inner.rules, &self.inner.tables, &head, timestamp)
    }

    /// Waits until everything in the tables is on the disk, so that the next start is short.
    pub fn flush(&self) -> Result<(), ChainError> {
        self.inner.tables.persist()
    }

    /// Bytes of the block log on disk.
    pub fn log_bytes(&self) -> u64 {
        self.inner.log.disk_bytes()
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("head", &self.head().number).finish_non_exhaustive()
    }
}

impl Inner {
    fn block(&self, number: BlockNumber) -> Result<Option<Block>, ChainError> {
        if let Some(block) = self.blocks.lock().get(number) {
            return Ok(Some(block));
        }
        let Some((_, position)) = self.tables.block(number)? else { return Ok(None) };
        let record = self.log.read(position).map_err(|error| ChainError::Storage(error.to_string()))?;
        let (_, body) = split_block(&record.payload)?;
        let body = Body::decode(&body).map_err(damaged_block)?;
        let block = Block {
            header: Arc::new(body.header),
            transactions: body.transactions.into(),
            state_diff: Arc::new(body.state_diff),
        };
        self.blocks.lock().put(&block, self.rules.config.cache_bytes / 8);
        Ok(Some(block))
    }
}

/// Blocks lately read or made, bounded by a rough weight.
#[derive(Default)]
struct BlockCache {
    blocks: VecDeque<Block>,
    weight: usize,
}

impl BlockCache {
    fn get(&mut self, number: BlockNumber) -> Option<Block> {
        let place = self.blocks.iter().position(|block| block.header.number == number)?;
        let block = self.blocks.remove(place)?;
        self.blocks.push_back(block.clone());
        Some(block)
    }

    fn put(&mut self, block: &Block, weight_max: usize) {
        if self.blocks.iter().any(|known| known.header.number == block.header.number) {
            return;
        }
        self.weight += weight(block);
        self.blocks.push_back(block.clone());
        while self.weight > weight_max || self.blocks.len() > BLOCKS_CACHED_MAX {
            let Some(dropped) = self.blocks.pop_front() else { break };
            self.weight -= weight(&dropped);
        }
    }
}

/// Blocks held decoded, at most; looked through one by one.
const BLOCKS_CACHED_MAX: usize = 128;

fn weight(block: &Block) -> usize {
    1024 + block.transactions.len() * TRANSACTION_BYTES
}

/// Tries, commitments, hash and signature of a block on `parent`.
#[allow(clippy::too_many_arguments)]
pub(crate) fn complete(
    rules: &Rules,
    tables: &StateTables,
    parent: Option<&Header>,
    info: &BlockInfo,
    transactions: Vec<Arc<ExecutedTransaction>>,
    state_diff: StateDiff,
    classes: Vec<Arc<DeclaredClass>>,
) -> Result<(Body, TrieChanges), ChainError> {
    let before = parent.map_or(BlockNumber(0), |parent| parent.number);
    let (changes, contents) = rayon::join(
        || commitment::commit_state(tables, parent, &state_diff, |address| tables.contract(address, before)),
        || commitment::commit_contents(&transactions, &state_diff, info.starknet_version),
    );
    let changes = changes?;
    let mut header = Header {
        number: info.block_number,
        hash: BlockHash::default(),
        parent_hash: parent.map_or(BlockHash::default(), |parent| parent.hash),
        state_root: changes.state_root(),
        timestamp: info.block_timestamp,
        sequencer: info.sequencer_address,
        gas_prices: info.gas_prices.clone(),
        blob_data: info.use_kzg_da,
        version: info.starknet_version,
        transaction_commitment: contents.transactions,
        event_commitment: contents.events,
        receipt_commitment: contents.receipts,
        state_diff_commitment: contents.state_diff,
        state_diff_length: contents.state_diff_length,
        transaction_count: transactions.len() as u64,
        event_count: contents.event_count,
        contracts_root: changes.contracts_root,
        classes_root: changes.classes_root,
        signature: (Felt::ZERO, Felt::ZERO),
    };
    header.hash = commitment::block_hash(&header)?;
    header.signature = commitment::sign(&rules.config.signing_key, header.hash, header.state_diff_commitment)?;
    Ok((Body { header, state_diff, classes, transactions }, changes))
}

fn empty_block(
    rules: &Rules,
    tables: &Arc<StateTables>,
    head: &Arc<Header>,
    timestamp: BlockTimestamp,
) -> PreConfirmed {
    let number = BlockNumber(head.number.0.saturating_add(1));
    PreConfirmed::open(Arc::clone(tables), Arc::clone(head), rules.block_info(number, timestamp))
}

/// Which chain the log holds; `None` when it holds no block yet.
fn origin(log: &Log, rules: &Rules) -> Result<Option<genesis::Origin>, ChainError> {
    let mut origin = None;
    for record in log.records(log.start()) {
        let record = record.map_err(|error| ChainError::Storage(error.to_string()))?;
        match record.kind {
            CHAIN_RECORD => {
                let chain: ChainRecord = serde_json::from_slice(&record.payload).map_err(damaged_chain)?;
                let wanted = rules.config.chain_id.to_string();
                if chain.chain_id != wanted {
                    return Err(ChainError::Storage(format!(
                        "the data folder holds chain {:?}, but {wanted:?} was asked for: give the right chain id or another folder",
                        chain.chain_id
                    )));
                }
                origin = Some(chain.genesis);
            }
            BLOCK_RECORD => return Ok(origin),
            _ => {}
        }
    }
    Ok(None)
}

fn write_genesis(log: &Log, rules: &Arc<Rules>, tables: &Arc<StateTables>) -> Result<genesis::Origin, ChainError> {
    let built = genesis::build(rules)?;
    let info = rules.block_info(BlockNumber(0), built.timestamp);
    let (body, _) = complete(rules, tables, None, &info, Vec::new(), built.state_diff, built.classes)?;
    let chain = ChainRecord { chain_id: rules.config.chain_id.to_string(), genesis: built.origin };
    let chain_bytes = serde_json::to_vec(&chain).map_err(damaged_chain)?;
    let chain_ticket = log.append(CHAIN_RECORD, &chain_bytes);
    let record = [&0u64.to_be_bytes()[..], &body.encode()].concat();
    let storage = |error: store::AppendError| ChainError::Storage(error.to_string());
    let block_ticket = log.append(BLOCK_RECORD, &record);
    chain_ticket.wait().map_err(storage)?;
    block_ticket.wait().map_err(storage)?;
    Ok(chain.genesis)
}

/// Applies what the log holds beyond the tables; returns the head.
fn catch_up(log: &Log, tables: &StateTables) -> Result<Header, ChainError> {
    let standing = tables.standing()?;
    let mut head = match standing {
        Some(standing) => tables.block(BlockNumber(standing.block))?.map(|(header, _)| header),
        None => None,
    };
    if let Some(head) = &head {
        tables.resume(head.number);
    }
    for record in log.records(standing.map_or(log.start(), |standing| standing.position)) {
        let record = record.map_err(|error| ChainError::Storage(error.to_string()))?;
        if record.kind != BLOCK_RECORD {
            continue;
        }
        let (_, body) = split_block(&record.payload)?;
        let body = Body::decode(&body).map_err(damaged_block)?;
        let follows = match &head {
            Some(head) => body.header.number.0 == head.number.0 + 1 && body.header.parent_hash == head.hash,
            None => body.header.number.0 == 0,
        };
        if !follows {
            // The record that the tables already hold, or one persisted twice.
            continue;
        }
        let before = head.as_ref().map_or(BlockNumber(0), |head| head.number);
        let changes = commitment::commit_state(tables, head.as_ref(), &body.state_diff, |address| {
            tables.contract(address, before)
        })?;
        if changes.state_root() != body.header.state_root {
            return Err(ChainError::Storage(format!(
                "block {} in the log claims state root {:#x}, applying it gives {:#x}: the tables are damaged, delete the tables folder",
                body.header.number,
                body.header.state_root.0,
                changes.state_root().0
            )));
        }
        tables.apply(&body, &changes, record.position)?;
        head = Some(body.header);
    }
    head.ok_or_else(|| ChainError::Storage("the block log holds no genesis".into()))
}

fn split_block(record: &Bytes) -> Result<(Slot, Bytes), ChainError> {
    let Some((slot, _)) = record.split_first_chunk::<8>() else {
        return Err(ChainError::Storage("a block record in the log is too short".into()));
    };
    Ok((Slot::new(u64::from_be_bytes(*slot)), record.slice(8..)))
}

/// A record of the heart: its JSON with length, then the body of the payload in it, if any.
fn encode_heart(record: &Record) -> Vec<u8> {
    let json = serde_json::to_vec(record).expect("records have string keys only");
    let body = match record {
        Record::Payload(payload) | Record::Vow { payload: Some(payload), .. } => payload.body.clone(),
        Record::Vow { payload: None, .. } | Record::Certificate(_) => Bytes::new(),
    };
    [&(json.len() as u64).to_be_bytes()[..], &json, &body].concat()
}

fn decode_heart(bytes: &Bytes) -> Result<Record, ChainError> {
    let short = || ChainError::Storage("a record in the log is too short".into());
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(short)?;
    let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| short())?;
    let json = rest.get(..length).ok_or_else(short)?;
    let mut record: Record = serde_json::from_slice(json).map_err(damaged_chain)?;
    if let Record::Payload(payload) | Record::Vow { payload: Some(payload), .. } = &mut record {
        payload.body = bytes.slice(8 + length..);
    }
    Ok(record)
}

/// The block as the heart names it.
pub(crate) fn block_ref(header: &Header) -> BlockRef {
    BlockRef {
        number: types::BlockNumber::new(header.number.0),
        hash: types::BlockHash::new(header.hash.0.to_bytes_be()),
        parent: types::BlockHash::new(header.parent_hash.0.to_bytes_be()),
        timestamp: Timestamp::from_secs(header.timestamp.0),
    }
}

/// The heart's hash as a felt. Bytes beyond the field name no block of this chain, and come out as some other felt.
pub(crate) fn felt_hash(hash: types::BlockHash) -> BlockHash {
    BlockHash(Felt::from_bytes_be(hash.as_bytes()))
}

fn proof_nodes(proof: trie::Proof) -> Vec<ProofNode> {
    let node = |(hash, node): (Felt, trie::Node)| ProofNode {
        hash,
        kind: match node {
            trie::Node::Binary { left, right } => ProofNodeKind::Binary { left, right },
            trie::Node::Edge { path, child } => ProofNodeKind::Edge { child, path: path.number(), length: path.len() },
        },
    };
    proof.nodes.into_iter().map(node).collect()
}

fn damaged_block(error: crate::codec::DecodeError) -> ChainError {
    ChainError::Storage(format!("a block in the log cannot be read: {error}"))
}

fn damaged_chain(error: serde_json::Error) -> ChainError {
    ChainError::Storage(format!("a record in the log cannot be read: {error}"))
}
