//! The chain on disk: a log of blocks that is the truth, tables that follow it, and a head.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use alloy_consensus::transaction::Recovered;
use alloy_consensus::{BlockBody, Sealable};
use alloy_eips::eip4895::Withdrawals;
use alloy_evm::EvmEnv;
use alloy_genesis::Genesis;
use alloy_primitives::{B256, Bytes};
use alloy_rlp::{Decodable, Encodable};
use parking_lot::Mutex;
use sequencer::{Memory, Record};
use store::{AppendError, Log, LogError, LogOptions, Position, TablesError};
use thiserror::Error;
use tokio::sync::{broadcast, watch};
use trie::merkle::{self, MerkleError};
use types::{Payload, Slot};

use crate::block::{Block, ExecutedTransaction, RawBlock, Receipt, SealedHeader, Transaction, block_ref};
use crate::execute::{self, BlockAttributes, Executed, Feed, Refused};
use crate::tables::{StateTables, TrieChanges};
use crate::{At, ChainSpec, StateView, genesis};

/// Kind of the log's first record: the genesis that the chain began with.
const GENESIS_RECORD: u8 = 1;
/// Kind of a record that holds a block.
const BLOCK_RECORD: u8 = 2;
/// Largest block that the log takes.
const BLOCK_BYTES_MAX: usize = 64 << 20;
/// Complete blocks that wait for a decision, at most.
const STAGED_MAX: usize = 8;
/// Blocks held decoded, at most.
const CACHED_MAX: usize = 64;
/// News that a listener may lag behind before it loses the oldest.
const NOTICES_MAX: usize = 1_024;

/// Why the chain cannot answer or go on.
#[derive(Clone, Debug, Error)]
pub enum ChainError {
    /// The disk failed, or what it holds does not fit together.
    #[error("storage: {0}")]
    Storage(String),
    /// The genesis is wrong, or not the one that the folder's chain began with.
    #[error("genesis: {0}")]
    Genesis(String),
    /// Execution failed in a way that no transaction can cause.
    #[error("execution: {0}")]
    Execution(String),
}

impl From<TablesError> for ChainError {
    fn from(error: TablesError) -> Self {
        Self::Storage(error.to_string())
    }
}

impl From<LogError> for ChainError {
    fn from(error: LogError) -> Self {
        Self::Storage(error.to_string())
    }
}

impl From<AppendError> for ChainError {
    fn from(error: AppendError) -> Self {
        Self::Storage(error.to_string())
    }
}

impl From<store::ReadError> for ChainError {
    fn from(error: store::ReadError) -> Self {
        Self::Storage(error.to_string())
    }
}

impl From<MerkleError<ChainError>> for ChainError {
    fn from(error: MerkleError<ChainError>) -> Self {
        match error {
            MerkleError::Store(error) => error,
            other => Self::Storage(format!("a state trie: {other}")),
        }
    }
}

/// A chain on disk. Cheap to clone; all clones are the same chain.
#[derive(Clone)]
pub struct Chain {
    inner: Arc<Inner>,
}

struct Inner {
    spec: ChainSpec,
    genesis: Genesis,
    log: Log,
    tables: Arc<StateTables>,
    head: watch::Sender<Arc<SealedHeader>>,
    notices: broadcast::Sender<Block>,
    staged: Mutex<VecDeque<Arc<Staged>>>,
    blocks: Mutex<VecDeque<Block>>,
}

/// A block that is complete but not the head yet.
pub(crate) struct Staged {
    pub(crate) payload: Payload,
    header: Arc<SealedHeader>,
    executed: Executed,
    tries: TrieChanges,
    position: Mutex<Option<Position>>,
}

impl Staged {
    pub(crate) fn header(&self) -> &SealedHeader {
        &self.header
    }

    pub(crate) fn transactions(&self) -> &[ExecutedTransaction] {
        &self.executed.transactions
    }
}

/// Where a transaction is.
#[derive(Clone, Debug)]
pub struct Located {
    /// The block that holds it.
    pub block: Block,
    /// Its place there.
    pub index: usize,
}

impl Located {
    /// The transaction itself.
    pub fn transaction(&self) -> &ExecutedTransaction {
        &self.block.transactions[self.index]
    }
}

/// What [`Chain::verify`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The block whose state was recomputed.
    pub block: u64,
    /// Its state root, equal both ways.
    pub state_root: B256,
    /// Accounts looked at.
    pub accounts: u64,
    /// Slots looked at.
    pub slots: u64,
}

/// An account with the proof of it and of some of its slots (EIP-1186).
#[derive(Clone, Debug)]
pub struct AccountProof {
    /// Root of the account's storage.
    pub storage_root: B256,
    /// Nodes from the state root to the account.
    pub account: Vec<Bytes>,
    /// For each slot asked for its value and the nodes from the storage root to it.
    pub slots: Vec<(B256, alloy_primitives::U256, Vec<Bytes>)>,
}

impl Chain {
    /// Opens the chain in a folder that belongs to this process alone. A new folder becomes the chain of `genesis`; a folder with a chain
    /// goes on where it stood, and must have begun with `genesis` where one is given. May take long: not on an async thread.
    ///
    /// # Errors
    /// [`ChainError::Storage`] for damage or a full disk; [`ChainError::Genesis`] for another chain's folder, or when there is neither
    /// a chain nor a genesis.
    pub fn open(folder: &Path, genesis: Option<Genesis>) -> Result<Self, ChainError> {
        let options = LogOptions { record_bytes_max: BLOCK_BYTES_MAX, ..LogOptions::default() };
        let log = Log::open(folder.join("blocks"), options)?;
        let genesis = founded(&log, genesis)?;
        let spec = ChainSpec::new(genesis.config.clone())?;
        let tables_folder = folder.join("tables");
        let mut tables = Arc::new(StateTables::open(&tables_folder)?);
        let ahead = |standing: store::Standing| standing.position >= log.end();
        if tables.standing()?.is_some_and(ahead) {
            tracing::warn!("tables stand behind the end of the block log: building them again");
            drop(tables);
            tables = Arc::new(StateTables::rebuild(&tables_folder)?);
        }
        let head = catch_up(&log, &spec, &genesis, &tables)?;
        Ok(Self {
            inner: Arc::new(Inner {
                spec,
                genesis,
                log,
                tables,
                head: watch::Sender::new(Arc::new(head)),
                notices: broadcast::Sender::new(NOTICES_MAX),
                staged: Mutex::default(),
                blocks: Mutex::default(),
            }),
        })
    }

    // --- reading ------------------------------------------------------------------------------------------------------------

    /// The chain's rules.
    pub fn spec(&self) -> &ChainSpec {
        &self.inner.spec
    }

    /// What the chain began with.
    pub fn genesis(&self) -> &Genesis {
        &self.inner.genesis
    }

    /// Header of the newest block. There always is one.
    pub fn head(&self) -> Arc<SealedHeader> {
        Arc::clone(&self.inner.head.borrow())
    }

    /// The newest header from now on.
    pub fn watch_head(&self) -> watch::Receiver<Arc<SealedHeader>> {
        self.inner.head.subscribe()
    }

    /// Blocks that become the newest from now on. A slow listener loses the oldest and learns how many.
    pub fn notices(&self) -> broadcast::Receiver<Block> {
        self.inner.notices.subscribe()
    }

    /// Header of a block; `None` when there is none such.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn header(&self, at: At) -> Result<Option<Arc<SealedHeader>>, ChainError> {
        let head = self.head();
        let number = match at {
            At::Latest => return Ok(Some(head)),
            At::Number(number) => number,
            At::Hash(hash) => match self.inner.tables.number_of(hash)? {
                Some(number) => number,
                None => return Ok(None),
            },
        };
        if number > head.number {
            return Ok(None);
        }
        Ok(self.inner.tables.block(number)?.map(|(header, _)| Arc::new(header)))
    }

    /// A block with the outcomes of its transactions.
    ///
    /// # Errors
    /// When log or tables cannot be read.
    pub fn block(&self, at: At) -> Result<Option<Block>, ChainError> {
        let Some(header) = self.header(at)? else { return Ok(None) };
        if let Some(block) = self.inner.blocks.lock().iter().find(|block| block.header.seal() == header.seal()) {
            return Ok(Some(block.clone()));
        }
        let block = self.inner.read_block(header)?;
        self.inner.keep(block.clone());
        Ok(Some(block))
    }

    /// A transaction of the chain.
    ///
    /// # Errors
    /// When log or tables cannot be read.
    pub fn transaction(&self, hash: B256) -> Result<Option<Located>, ChainError> {
        let Some((number, index)) = self.inner.tables.transaction(hash)? else { return Ok(None) };
        let located = self.block(At::Number(number))?.map(|block| Located { block, index });
        Ok(located.filter(|located| located.index < located.block.transactions.len()))
    }

    /// The state at the end of a block.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn state(&self, at: At) -> Result<Option<StateView>, ChainError> {
        let header = self.header(at)?;
        Ok(header.map(|header| StateView::new(Arc::clone(&self.inner.tables), header)))
    }

    /// The environment of a sealed block, for calls that are made as if in it.
    pub fn environment(&self, header: &SealedHeader) -> EvmEnv {
        let blobs = self.inner.spec.blob_params(header.timestamp);
        EvmEnv::for_eth_block(header.inner(), &self.inner.spec, self.inner.spec.chain_id(), blobs)
    }

    /// The base fee of the block after this one, in wei.
    pub fn next_base_fee(&self, header: &SealedHeader) -> u64 {
        execute::next_base_fee(&self.inner.spec, header)
    }

    /// An account and some of its slots at a block, with proofs.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn proof(
        &self,
        header: &SealedHeader,
        address: alloy_primitives::Address,
        slots: &[B256],
    ) -> Result<AccountProof, ChainError> {
        let tables = &*self.inner.tables;
        let account = merkle::prove(tables, header.state_root, alloy_primitives::keccak256(address))?;
        let row = tables.account(address, header.number)?;
        let storage_root = row.map_or(merkle::EMPTY_ROOT, |row| row.storage_root);
        let prove = |slot: &B256| {
            let value = tables.slot(address, (*slot).into(), header.number)?;
            let proof = merkle::prove(tables, storage_root, alloy_primitives::keccak256(slot))?;
            Ok((*slot, value, proof))
        };
        let slots = slots.iter().map(prove).collect::<Result<_, ChainError>>()?;
        Ok(AccountProof { storage_root, account, slots })
    }

    /// Recomputes the state root of the head from every account and slot, and compares.
    ///
    /// # Errors
    /// [`ChainError::Storage`] when they differ.
    pub fn verify(&self) -> Result<Verified, ChainError> {
        let (head, tables) = (self.head(), &self.inner.tables);
        let (mut accounts, mut slots) = (0, 0);
        let mut leaves = Vec::new();
        for (address, row) in tables.all_accounts(head.number)? {
            let stored = tables.slots(address, head.number)?;
            accounts += 1;
            slots += stored.len() as u64;
            let hashed = stored.into_iter().map(|(slot, value)| (B256::from(slot), value));
            let root = alloy_trie::root::storage_root_unhashed(hashed);
            if root != row.storage_root {
                return Err(ChainError::Storage(format!(
                    "storage root of {address} from scratch is {root}, stored {}",
                    row.storage_root
                )));
            }
            let crate::block::Account { nonce, balance, code_hash } = row.account;
            let leaf = alloy_trie::TrieAccount { nonce, balance, storage_root: root, code_hash, ..Default::default() };
            leaves.push((address, leaf));
        }
        let state_root = alloy_trie::root::state_root_unhashed(leaves);
        if state_root != head.state_root {
            return Err(ChainError::Storage(format!(
                "state root from scratch is {state_root}, that of block {} is {}",
                head.number, head.state_root
            )));
        }
        Ok(Verified { block: head.number, state_root, accounts, slots })
    }

    /// What the heart wrote down last: the newest block of the log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn memory(&self) -> Result<Memory, ChainError> {
        let mut memory = Memory::default();
        // All but the last block of the log are in the tables; only what stands at the end can be undecided business.
        if let Some(payload) = self.payload(self.head().number)?.filter(|payload| payload.block.number.as_u64() > 0) {
            memory.remember(Record::Payload(payload));
        }
        Ok(memory)
    }

    /// Waits until everything in the tables is on the disk, so that the next start is short.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn flush(&self) -> Result<(), ChainError> {
        self.inner.tables.persist()
    }

    // --- building and importing ---------------------------------------------------------------------------------------------

    /// Builds a block on the head from `feed`.
    pub(crate) fn build(
        &self,
        slot: Slot,
        attributes: &BlockAttributes,
        feed: &mut impl Feed,
    ) -> Result<Arc<Staged>, ChainError> {
        let head = self.head();
        let state = StateView::new(Arc::clone(&self.inner.tables), Arc::clone(&head));
        let executed = execute::execute(&self.inner.spec, state, attributes, feed)?;
        let tries = self.inner.tables.commit(Some((head.number, head.state_root)), &executed.changes)?;
        let header = execute::header(&self.inner.spec, &head, attributes, &executed, tries.state_root).seal_slow();
        Ok(self.inner.complete(slot, header, executed, tries))
    }

    /// Executes another's block on the head; `None` when a claim in it does not hold.
    pub(crate) fn execute(&self, payload: &Payload) -> Result<Option<Arc<Staged>>, ChainError> {
        let Ok(raw) = decode_block(&payload.body) else { return Ok(None) };
        let claimed = raw.header.hash_slow();
        if claimed.0 != *payload.block.hash.as_bytes() {
            return Ok(None);
        }
        let head = self.head();
        match rebuild(&self.inner.spec, &self.inner.tables, &head, raw)? {
            Some((header, executed, tries)) if header.seal() == claimed => {
                let staged = self.inner.complete(payload.slot, header, executed, tries);
                Ok((staged.payload.body == payload.body).then_some(staged))
            }
            _ => Ok(None),
        }
    }

    /// A complete block that waits for a decision.
    pub(crate) fn staged(&self, hash: B256) -> Option<Arc<Staged>> {
        self.inner.staged.lock().iter().find(|staged| staged.header.seal() == hash).cloned()
    }

    /// Keeps a complete block until it is decided or pushed out.
    pub(crate) fn stage(&self, staged: Arc<Staged>) {
        let mut all = self.inner.staged.lock();
        if all.iter().any(|known| known.header.seal() == staged.header.seal()) {
            return;
        }
        if all.len() == STAGED_MAX {
            all.pop_front();
        }
        all.push_back(staged);
    }

    pub(crate) fn unstage(&self, hash: B256) {
        self.inner.staged.lock().retain(|staged| staged.header.seal() != hash);
    }

    /// Writes a block to the log and waits until it is durable.
    pub(crate) fn persist(&self, payload: &Payload) -> Result<Position, ChainError> {
        let staged = self.staged(B256::from(*payload.block.hash.as_bytes()));
        if let Some(position) = staged.as_ref().and_then(|staged| *staged.position.lock()) {
            return Ok(position);
        }
        let position = self.inner.log.append(BLOCK_RECORD, &block_record(payload.slot, &payload.body)).wait()?;
        if let Some(staged) = staged {
            *staged.position.lock() = Some(position);
        }
        Ok(position)
    }

    /// Makes a staged block the head: durable first, then tables, then readers.
    pub(crate) fn advance(&self, staged: &Staged) -> Result<Block, ChainError> {
        let position = self.persist(&staged.payload)?;
        apply(&self.inner.tables, &staged.header, &staged.executed, &staged.tries, position)?;
        let block = Block {
            header: Arc::clone(&staged.header),
            transactions: staged.executed.transactions.clone().into(),
            size: staged.payload.body.len(),
        };
        self.inner.keep(block.clone());
        self.inner.head.send_replace(Arc::clone(&block.header));
        // Candidates at this height or below have lost.
        self.inner.staged.lock().retain(|other| other.header.number > block.header.number);
        // No listener is not an error.
        let _ = self.inner.notices.send(block.clone());
        Ok(block)
    }

    /// A block of the chain as it was sealed.
    pub(crate) fn payload(&self, number: u64) -> Result<Option<Payload>, ChainError> {
        let Some((header, position)) = self.inner.tables.block(number)? else { return Ok(None) };
        let record = self.inner.log.read(position)?;
        let (slot, body) = split_record(&record.payload)?;
        Ok(Some(Payload { slot, block: block_ref(&header), origin: None, body }))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("head", &self.head().number).finish_non_exhaustive()
    }
}

impl Inner {
    fn complete(&self, slot: Slot, header: SealedHeader, executed: Executed, tries: TrieChanges) -> Arc<Staged> {
        let transactions = executed.transactions.iter().map(|executed| executed.transaction.clone()).collect();
        let body = encode_block(&header, transactions);
        let payload = Payload { slot, block: block_ref(&header), origin: None, body: body.into() };
        Arc::new(Staged { payload, header: Arc::new(header), executed, tries, position: Mutex::new(None) })
    }

    fn read_block(&self, header: Arc<SealedHeader>) -> Result<Block, ChainError> {
        let missing = || ChainError::Storage(format!("block {} is missing", header.number));
        let (_, position) = self.tables.block(header.number)?.ok_or_else(missing)?;
        let record = self.log.read(position)?;
        let (_, body) = split_record(&record.payload)?;
        let raw = decode_block(&body)?;
        let receipts = self.tables.receipts(header.number)?;
        let transactions = outcomes(raw.body.transactions, receipts)?;
        Ok(Block { header, transactions: transactions.into(), size: body.len() })
    }

    fn keep(&self, block: Block) {
        let mut blocks = self.blocks.lock();
        if blocks.iter().any(|known| known.header.seal() == block.header.seal()) {
            return;
        }
        if blocks.len() == CACHED_MAX {
            blocks.pop_front();
        }
        blocks.push_back(block);
    }
}

/// Transactions out of the log with the outcomes that the tables hold.
fn outcomes(transactions: Vec<Transaction>, receipts: Vec<Receipt>) -> Result<Vec<ExecutedTransaction>, ChainError> {
    if transactions.len() != receipts.len() {
        return Err(ChainError::Storage("a block has not as many receipts as transactions".into()));
    }
    let (mut logs, mut gas) = (0, 0);
    transactions
        .into_iter()
        .zip(receipts)
        .map(|(transaction, receipt)| {
            let sender = recover(&transaction)?;
            let executed = execute::outcome(transaction, sender, receipt, gas, logs);
            logs += executed.receipt.logs().len() as u64;
            gas += executed.gas_used;
            Ok(executed)
        })
        .collect()
}

fn recover(transaction: &Transaction) -> Result<alloy_primitives::Address, ChainError> {
    use alloy_consensus::transaction::SignerRecoverable;
    let unsigned = |error| ChainError::Storage(format!("a transaction in the log has no sender: {error}"));
    transaction.recover_signer().map_err(unsigned)
}

/// A block executed again: header, execution and tries as its attributes and transactions make them; `None` when it cannot be executed.
type Rebuilt = Option<(SealedHeader, Executed, TrieChanges)>;

fn rebuild(
    spec: &ChainSpec,
    tables: &Arc<StateTables>,
    parent: &Arc<SealedHeader>,
    raw: RawBlock,
) -> Result<Rebuilt, ChainError> {
    use alloy_consensus::transaction::SignerRecoverable;
    let attributes = BlockAttributes::of(&raw.header);
    if raw.header.parent_hash != parent.seal() || raw.header.timestamp <= parent.timestamp {
        return Ok(None);
    }
    let mut given = Given { transactions: VecDeque::new(), refused: false };
    for transaction in raw.body.transactions {
        let Ok(recovered) = transaction.try_into_recovered() else { return Ok(None) };
        given.transactions.push_back(Arc::new(recovered));
    }
    let state = StateView::new(Arc::clone(tables), Arc::clone(parent));
    let executed = execute::execute(spec, state, &attributes, &mut given)?;
    if given.refused {
        return Ok(None);
    }
    let tries = tables.commit(Some((parent.number, parent.state_root)), &executed.changes)?;
    let header = execute::header(spec, parent, &attributes, &executed, tries.state_root).seal_slow();
    Ok(Some((header, executed, tries)))
}

/// The transactions of another's block, all of which must be executed.
struct Given {
    transactions: VecDeque<Arc<Recovered<Transaction>>>,
    refused: bool,
}

impl Feed for Given {
    fn next(&mut self, _gas_left: u64) -> Option<Arc<Recovered<Transaction>>> {
        if self.refused { None } else { self.transactions.pop_front() }
    }

    fn refused(&mut self, _transaction: &Recovered<Transaction>, _reason: Refused) {
        self.refused = true;
    }
}

/// The genesis of the chain in the log. A new log takes the one given.
fn founded(log: &Log, given: Option<Genesis>) -> Result<Genesis, ChainError> {
    let unreadable = |error: serde_json::Error| ChainError::Storage(format!("the log's first record: {error}"));
    if let Some(record) = log.records(log.start()).next() {
        let record = record?;
        if record.kind != GENESIS_RECORD {
            return Err(ChainError::Storage("the block log does not begin with a genesis".into()));
        }
        let stored: Genesis = serde_json::from_slice(&record.payload).map_err(unreadable)?;
        return match given {
            Some(given) if given != stored => Err(ChainError::Genesis(format!(
                "the data folder holds a chain with another beginning (its chain id is {}): choose another folder, or leave the genesis out to go on with that chain",
                stored.config.chain_id
            ))),
            _ => Ok(stored),
        };
    }
    let genesis = given.ok_or_else(|| ChainError::Genesis("a new chain needs one".into()))?;
    // Refused before anything is written.
    ChainSpec::new(genesis.config.clone())?;
    let record = serde_json::to_vec(&genesis).map_err(unreadable)?;
    log.append(GENESIS_RECORD, &record).wait()?;
    Ok(genesis)
}

/// Brings the tables up to the end of the log; returns the head.
fn catch_up(
    log: &Log,
    spec: &ChainSpec,
    genesis: &Genesis,
    tables: &Arc<StateTables>,
) -> Result<SealedHeader, ChainError> {
    let standing = tables.standing()?;
    let mut head = match standing {
        Some(standing) => tables.block(standing.block)?.map(|(header, _)| header),
        None => None,
    };
    for record in log.records(standing.map_or(log.start(), |standing| standing.position)) {
        let record = record?;
        head = match (record.kind, head) {
            (GENESIS_RECORD, None) => Some(apply_genesis(spec, genesis, tables, record.position)?),
            (BLOCK_RECORD, Some(head)) => Some(replay(spec, tables, head, &record)?),
            (_, head) => head,
        };
    }
    head.ok_or_else(|| ChainError::Storage("the block log holds no genesis".into()))
}

fn apply_genesis(
    spec: &ChainSpec,
    genesis: &Genesis,
    tables: &StateTables,
    position: Position,
) -> Result<SealedHeader, ChainError> {
    let changes = genesis::changes(genesis);
    let tries = tables.commit(None, &changes)?;
    let header = genesis::header(genesis, spec, tries.state_root).seal_slow();
    tables.apply(&header, &[], &[], &changes, &tries, position)?;
    Ok(header)
}

/// Executes a block of the log again, unless the tables have it already.
fn replay(
    spec: &ChainSpec,
    tables: &Arc<StateTables>,
    head: SealedHeader,
    record: &store::Record,
) -> Result<SealedHeader, ChainError> {
    let (_, body) = split_record(&record.payload)?;
    let raw = decode_block(&body)?;
    if raw.header.parent_hash != head.seal() {
        return Ok(head);
    }
    let (claimed, parent) = (raw.header.hash_slow(), Arc::new(head));
    match rebuild(spec, tables, &parent, raw)? {
        Some((header, executed, tries)) if header.seal() == claimed => {
            apply(tables, &header, &executed, &tries, record.position)?;
            Ok(header)
        }
        _ => Err(ChainError::Storage(format!(
            "block {} of the log does not come out as it was: the tables are damaged, delete the tables folder",
            parent.number + 1
        ))),
    }
}

fn apply(
    tables: &StateTables,
    header: &SealedHeader,
    executed: &Executed,
    tries: &TrieChanges,
    position: Position,
) -> Result<(), ChainError> {
    let transactions: Vec<Transaction> =
        executed.transactions.iter().map(|executed| executed.transaction.clone()).collect();
    let receipts: Vec<Receipt> = executed.transactions.iter().map(|executed| executed.receipt.clone()).collect();
    tables.apply(header, &transactions, &receipts, &executed.changes, tries, position)
}

fn encode_block(header: &SealedHeader, transactions: Vec<Transaction>) -> Vec<u8> {
    let body = BlockBody { transactions, ommers: Vec::new(), withdrawals: Some(Withdrawals::default()) };
    let mut bytes = Vec::new();
    RawBlock { header: header.inner().clone(), body }.encode(&mut bytes);
    bytes
}

fn decode_block(mut body: &[u8]) -> Result<RawBlock, ChainError> {
    RawBlock::decode(&mut body).map_err(|error| ChainError::Storage(format!("a block cannot be read: {error}")))
}

fn block_record(slot: Slot, body: &[u8]) -> Vec<u8> {
    [&slot.as_u64().to_be_bytes()[..], body].concat()
}

fn split_record(record: &bytes::Bytes) -> Result<(Slot, bytes::Bytes), ChainError> {
    let Some((slot, _)) = record.split_first_chunk::<8>() else {
        return Err(ChainError::Storage("a block record in the log is too short".into()));
    };
    Ok((Slot::new(u64::from_be_bytes(*slot)), record.slice(8..)))
}
