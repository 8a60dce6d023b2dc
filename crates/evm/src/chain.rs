//! The chain on disk: a log of blocks that is the truth, tables that follow it, and a head.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use alloy_eips::eip7685::Requests;
use alloy_evm::EvmEnv;
use alloy_genesis::Genesis;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use parking_lot::Mutex;
use sequencer::{Memory, Record};
use store::{AppendError, LogError, Position, TablesError};
use thiserror::Error;
use tokio::sync::{broadcast, watch};
use trie::merkle::{self, MerkleError};
use types::{Payload, Slot};

use crate::block::{Block, ExecutedTransaction, SealedHeader, StateChanges, Transaction, block_ref};
use crate::edit::{Edit, Snapshot};
use crate::execute::{self, BlockAttributes, Executed, Feed};
use crate::ground::{Ground, TrieChanges};
use crate::ledger::{Ledger, Made, decode_block, encode_block};
use crate::{At, ChainSpec, StateView, state_file};

/// Complete blocks that wait for a decision, at most.
const STAGED_MAX: usize = 64;
/// Blocks held decoded, at most.
const CACHED_MAX: usize = 64;
/// Transactions of those blocks together, at most: about as many as 20 MB hold. The newest block is held whatever its size.
const CACHED_TRANSACTIONS_MAX: usize = 20_000;
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
    /// The state of a block is not kept any more.
    #[error("historical state of block {block} is not available: it is kept from block {oldest} on (--history.state)")]
    History {
        /// The block.
        block: u64,
        /// The oldest block whose state is kept.
        oldest: u64,
    },
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
    ledger: Ledger,
    head: watch::Sender<Arc<SealedHeader>>,
    notices: broadcast::Sender<Block>,
    staged: Mutex<VecDeque<Arc<Staged>>>,
    blocks: Mutex<VecDeque<Block>>,
    /// The block that would be next.
    preview: Mutex<Option<Arc<Staged>>>,
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
    fn block(&self) -> Block {
        Block {
            header: Arc::clone(&self.header),
            transactions: Arc::clone(&self.executed.transactions),
            size: self.payload.body.len(),
        }
    }

    /// Hashes of its transactions.
    pub(crate) fn hashes(&self) -> Vec<B256> {
        self.executed.hashes()
    }

    pub(crate) fn header(&self) -> &SealedHeader {
        &self.header
    }

    pub(crate) fn changes(&self) -> &StateChanges {
        &self.executed.changes
    }

    pub(crate) fn tries(&self) -> &TrieChanges {
        &self.tries
    }

    pub(crate) fn transactions(&self) -> &[ExecutedTransaction] {
        &self.executed.transactions
    }

    /// What its transactions ask of the consensus layer.
    pub(crate) fn requests(&self) -> &Requests {
        &self.executed.requests
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
    pub slots: Vec<(B256, U256, Vec<Bytes>)>,
}

impl Chain {
    /// Opens the chain in a folder that belongs to this process alone. A new folder becomes the chain of `genesis`; a folder with a chain
    /// goes on where it stood, and must have begun with `genesis` where one is given. May take long: not on an async thread.
    ///
    /// # Errors
    /// [`ChainError::Storage`] for damage or a full disk; [`ChainError::Genesis`] for another chain's folder, or when there is neither
    /// a chain nor a genesis.
    pub fn open(folder: &Path, genesis: Option<Genesis>) -> Result<Self, ChainError> {
        let (ledger, head) = Ledger::open(folder, genesis)?;
        Ok(Self {
            inner: Arc::new(Inner {
                ledger,
                head: watch::Sender::new(Arc::new(head)),
                notices: broadcast::Sender::new(NOTICES_MAX),
                staged: Mutex::default(),
                blocks: Mutex::default(),
                preview: Mutex::default(),
            }),
        })
    }

    /// Keeps the state of so many blocks below the newest one from now on, and lets go of that of older ones. Blocks, receipts and logs are
    /// kept all the same. `None` keeps everything that there is.
    pub fn keep_history(&self, blocks: Option<u64>) {
        self.inner.ledger.keep_history(blocks);
    }

    /// Rows that the states of all blocks occupy: versions of accounts and slots, and nodes of tries. Counts them one by one.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn state_rows(&self) -> Result<u64, ChainError> {
        self.inner.ledger.tables.state_rows()
    }

    /// The oldest block whose state is kept.
    pub fn oldest_state(&self) -> u64 {
        self.inner.ledger.tables.oldest()
    }

    // --- reading ------------------------------------------------------------------------------------------------------------

    /// The chain's rules.
    pub fn spec(&self) -> &ChainSpec {
        &self.inner.ledger.spec
    }

    /// What the chain began with.
    pub fn genesis(&self) -> &Genesis {
        &self.inner.ledger.genesis
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
            At::Pending => return Ok(Some(self.ahead().map_or(head, |staged| Arc::clone(&staged.header)))),
            At::Number(number) => number,
            At::Hash(hash) => match self.inner.ledger.tables.number_of(hash)? {
                Some(number) => number,
                None => return Ok(None),
            },
        };
        if number > head.number {
            return Ok(None);
        }
        Ok(self.inner.ledger.tables.block(number)?.map(|(header, _)| Arc::new(header)))
    }

    /// A block with the outcomes of its transactions.
    ///
    /// # Errors
    /// When log or tables cannot be read.
    pub fn block(&self, at: At) -> Result<Option<Block>, ChainError> {
        if at == At::Pending
            && let Some(staged) = self.ahead()
        {
            return Ok(Some(staged.block()));
        }
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
        let Some((number, index)) = self.inner.ledger.tables.transaction(hash)? else { return Ok(None) };
        let located = self.block(At::Number(number))?.map(|block| Located { block, index });
        Ok(located.filter(|located| located.index < located.block.transactions.len()))
    }

    /// The state at the end of a block.
    ///
    /// # Errors
    /// [`ChainError::History`] when it is not kept any more; otherwise when the tables cannot be read.
    pub fn state(&self, at: At) -> Result<Option<StateView>, ChainError> {
        if at == At::Pending
            && let Some(staged) = self.ahead()
        {
            let header = Arc::clone(&staged.header);
            return Ok(Some(StateView::new(self.inner.ledger.ground(&self.head())?.with(staged), header)));
        }
        let Some(header) = self.header(at)? else { return Ok(None) };
        Ok(Some(StateView::new(self.inner.ledger.ground(&header)?, header)))
    }

    /// Root of the state at the end of the newest block, edits since then included.
    pub(crate) fn state_root(&self) -> Result<B256, ChainError> {
        self.inner.ledger.tables.state_root(&self.head())
    }

    /// The block that would be next, if somebody looked ahead from the newest block.
    fn ahead(&self) -> Option<Arc<Staged>> {
        let parent = self.head().seal();
        self.inner.preview.lock().clone().filter(|staged| staged.header.parent_hash == parent)
    }

    /// Builds the block that would be next, to be looked at as [`At::Pending`]. It is not part of the chain and never will be.
    pub(crate) fn look_ahead(&self, attributes: &BlockAttributes, feed: &mut impl Feed) -> Result<(), ChainError> {
        let staged = self.build(Slot::new(attributes.timestamp), attributes, feed)?;
        *self.inner.preview.lock() = Some(staged);
        Ok(())
    }

    /// The environment of a sealed block, for calls that are made as if in it. On a chain of the OP Stack its rules come on top.
    pub fn environment(&self, header: &SealedHeader) -> EvmEnv {
        execute::environment_of(&self.inner.ledger.spec, header)
    }

    /// The base fee of the block after this one, in wei.
    pub fn next_base_fee(&self, header: &SealedHeader) -> u64 {
        self.inner.ledger.spec.next_base_fee(header, header.timestamp.saturating_add(1))
    }

    /// An account and some of its slots at a block, with proofs.
    ///
    /// # Errors
    /// [`ChainError::History`] when its state is not kept any more; otherwise when the tables cannot be read.
    pub fn proof(&self, header: &SealedHeader, address: Address, slots: &[B256]) -> Result<AccountProof, ChainError> {
        let ground = self.inner.ledger.ground(header)?;
        let account = merkle::prove(&ground.trie(None), ground.root(), keccak256(address))?;
        let storage_root = ground.account(address)?.map_or(merkle::EMPTY_ROOT, |row| row.storage_root);
        let prove = |slot: &B256| {
            let value = ground.slot(address, (*slot).into())?;
            let proof = merkle::prove(&ground.trie(Some(address)), storage_root, keccak256(slot))?;
            Ok((*slot, value, proof))
        };
        let slots = slots.iter().map(prove).collect::<Result<_, ChainError>>()?;
        Ok(AccountProof { storage_root, account, slots })
    }

    /// The state at the end of the newest block as the text of a [`StateFile`](crate::StateFile).
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn state_file(&self) -> Result<String, ChainError> {
        let (head, tables) = (self.head(), &self.inner.ledger.tables);
        let accounts: Vec<_> =
            tables.all_accounts(head.number)?.into_iter().map(|(address, row)| (address, row.account)).collect();
        state_file::text(&head, &self.inner.ledger.ground(&head)?, &accounts)
    }

    /// Height of the block that the chain begins with: 0, unless its genesis says another.
    pub fn first(&self) -> u64 {
        self.inner.ledger.genesis.number.unwrap_or_default()
    }

    /// Recomputes the state root of the head from every account and slot, and compares.
    ///
    /// # Errors
    /// [`ChainError::Storage`] when they differ.
    pub fn verify(&self) -> Result<Verified, ChainError> {
        let (head, tables) = (self.head(), &self.inner.ledger.tables);
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
            let leaf = alloy_trie::TrieAccount { nonce, balance, storage_root: root, code_hash };
            leaves.push((address, leaf));
        }
        let state_root = alloy_trie::root::state_root_unhashed(leaves);
        let kept = tables.state_root(&head)?;
        if state_root != kept {
            let number = head.number;
            return Err(ChainError::Storage(format!(
                "state root from scratch is {state_root}, that of block {number} is {kept}"
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
        let above_first = Some(self.head().number).filter(|number| *number > self.first());
        if let Some(payload) = above_first.map_or(Ok(None), |number| self.payload(number))? {
            memory.remember(Record::Payload(payload));
        }
        Ok(memory)
    }

    /// Waits until everything in the tables is on the disk, so that the next start is short.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn flush(&self) -> Result<(), ChainError> {
        self.inner.ledger.tables.persist()
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
        let state = StateView::new(self.inner.ledger.ground(&head)?, head);
        Ok(complete(slot, self.build_on(state, attributes, feed)?))
    }

    /// Builds a block on the block whose state this is, from `feed`.
    pub(crate) fn build_on(
        &self,
        state: StateView,
        attributes: &BlockAttributes,
        feed: &mut impl Feed,
    ) -> Result<Made, ChainError> {
        let (parent, ground) = (state.header().clone(), state.ground().clone());
        let executed = execute::execute(&self.inner.ledger.spec, state, attributes, feed)?;
        self.close(&parent, &ground, attributes, executed)
    }

    /// Makes a block of what was executed on `parent`, at the end of which the state is `ground`: tries and header.
    pub(crate) fn close(
        &self,
        parent: &SealedHeader,
        ground: &Ground,
        attributes: &BlockAttributes,
        executed: Executed,
    ) -> Result<Made, ChainError> {
        self.inner.ledger.close(parent, ground, attributes, executed)
    }

    /// The state at the end of a block, on whichever branch; `None` when the block is not known.
    pub(crate) fn state_of(&self, hash: B256) -> Result<Option<StateView>, ChainError> {
        let mut above = Vec::new();
        let mut next = hash;
        // Complete blocks that wait are few, and none is its own ancestor.
        while above.len() <= STAGED_MAX {
            if let Some(header) = self.header(At::Hash(next))? {
                let ground = above.iter().rev().cloned().fold(self.inner.ledger.ground(&header)?, Ground::with);
                let header = above.first().map_or(header, |staged: &Arc<Staged>| Arc::clone(&staged.header));
                return Ok(Some(StateView::new(ground, header)));
            }
            let Some(staged) = self.staged(next) else { return Ok(None) };
            next = staged.header.parent_hash;
            above.push(staged);
        }
        Ok(None)
    }

    /// Executes another's block on its parent; `None` when a claim in it does not hold.
    pub(crate) fn execute(&self, state: StateView, payload: &Payload) -> Result<Option<Arc<Staged>>, ChainError> {
        let Ok(raw) = decode_block(&payload.body) else { return Ok(None) };
        let claimed = raw.header.hash_slow();
        if claimed.0 != *payload.block.hash.as_bytes() {
            return Ok(None);
        }
        match self.inner.ledger.rebuild(state, raw)? {
            Some(made) if made.header.seal() == claimed => {
                let staged = complete(payload.slot, made);
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
        let position = self.inner.ledger.write_block(payload.slot, &payload.body)?;
        if let Some(staged) = staged {
            *staged.position.lock() = Some(position);
        }
        Ok(position)
    }

    /// Makes a staged block the head: durable first, then tables, then readers. Its parent is the head or a block further down, and then the
    /// chain branches off there. Gives the block, and the transactions of those that are no longer part of the chain.
    pub(crate) fn advance(&self, staged: &Staged) -> Result<(Block, Vec<Transaction>), ChainError> {
        let position = self.persist(&staged.payload)?;
        let head = self.head();
        let gone = self.inner.ledger.lead(&head, &staged.header, &staged.executed, &staged.tries, position)?;
        let block = staged.block();
        self.inner.keep(block.clone());
        self.inner.head.send_replace(Arc::clone(&block.header));
        let staged_hash = staged.header.seal();
        self.inner.staged.lock().retain(|other| other.header.seal() != staged_hash);
        // No listener is not an error.
        let _ = self.inner.notices.send(block.clone());
        Ok((block, gone))
    }

    /// Goes on from an earlier block of the chain: those above are no longer part of it. Gives their transactions.
    pub(crate) fn retreat(&self, header: &SealedHeader) -> Result<Vec<Transaction>, ChainError> {
        let mut gone = Vec::new();
        for number in header.number + 1..=self.head().number {
            let block = self.block(At::Number(number))?;
            let transactions = block.iter().flat_map(|block| block.transactions.iter());
            gone.extend(transactions.map(|executed| executed.transaction.clone()));
        }
        let snapshot = self.inner.ledger.snapshot(header)?;
        self.revert(snapshot)?;
        Ok(gone)
    }

    // --- what a developer may do ---------------------------------------------------------------------------------------------

    /// Changes the state at the end of the newest block. Durable when it returns.
    pub(crate) fn edit(&self, edits: &[Edit]) -> Result<(), ChainError> {
        self.inner.ledger.edit(&self.head(), edits)
    }

    /// This moment, to go back to.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, ChainError> {
        self.inner.ledger.snapshot(&self.head())
    }

    /// Goes back to an earlier moment of this chain; `false` when it is not part of its past any more.
    pub(crate) fn revert(&self, to: Snapshot) -> Result<bool, ChainError> {
        let Some(header) = self.inner.ledger.revert(&self.head(), to)? else { return Ok(false) };
        self.inner.staged.lock().clear();
        self.inner.head.send_replace(Arc::new(header));
        Ok(true)
    }

    /// The block that was called so when it was last said, if it is part of the chain.
    pub(crate) fn label(&self, name: &str) -> Result<Option<Arc<SealedHeader>>, ChainError> {
        match self.inner.ledger.tables.label(name)? {
            Some(hash) => self.header(At::Hash(hash)),
            None => Ok(None),
        }
    }

    /// Remembers which block is called so.
    pub(crate) fn put_label(&self, name: &str, hash: B256) -> Result<(), ChainError> {
        self.inner.ledger.tables.put_label(name, hash)
    }

    /// A block of the chain as it was sealed.
    pub(crate) fn payload(&self, number: u64) -> Result<Option<Payload>, ChainError> {
        let Some((header, position)) = self.inner.ledger.tables.block(number)? else { return Ok(None) };
        let (slot, body) = self.inner.ledger.read_block(position)?;
        Ok(Some(Payload { slot, block: block_ref(&header), origin: None, body }))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("head", &self.head().number).finish_non_exhaustive()
    }
}

impl Inner {
    fn read_block(&self, header: Arc<SealedHeader>) -> Result<Block, ChainError> {
        let missing = || ChainError::Storage(format!("block {} is missing", header.number));
        let (_, position) = self.ledger.tables.block(header.number)?.ok_or_else(missing)?;
        let (_, body) = self.ledger.read_block(position)?;
        let transactions = match header.number == self.ledger.genesis.number.unwrap_or_default() {
            true => Vec::new(),
            false => self.ledger.transactions(header.number, &body)?,
        };
        Ok(Block { header, transactions: Arc::new(transactions), size: body.len() })
    }

    fn keep(&self, block: Block) {
        let mut blocks = self.blocks.lock();
        if blocks.iter().any(|known| known.header.seal() == block.header.seal()) {
            return;
        }
        blocks.push_back(block);
        let mut transactions: usize = blocks.iter().map(|block| block.transactions.len()).sum();
        while blocks.len() > 1 && (blocks.len() > CACHED_MAX || transactions > CACHED_TRANSACTIONS_MAX) {
            transactions -= blocks.pop_front().map_or(0, |block| block.transactions.len());
        }
    }
}

/// The block of a slot, with its body.
pub(crate) fn complete(slot: Slot, made: Made) -> Arc<Staged> {
    let Made { header, mut executed, tries } = made;
    let body = encode_block(&header, &std::mem::take(&mut executed.encoded));
    let payload = Payload { slot, block: block_ref(&header), origin: None, body: body.into() };
    Arc::new(Staged { payload, header: Arc::new(header), executed, tries, position: Mutex::new(None) })
}
