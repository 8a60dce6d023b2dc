//! What the chain keeps in tables. All of it is derived from the block log.
//!
//! State is versioned: a key ends in the inverted number of the block that wrote it, so that the first entry at or after
//! `key ‖ !block` is the value as of that block. Versions are never changed, so a reader at a block needs no snapshot.
//!
//! ```text
//! accounts       address ‖ !block            nonce ‖ balance ‖ code hash ‖ storage root; empty when gone
//! storage        address ‖ slot ‖ !block     value
//! code           hash                        code
//! trie_nodes     owner ‖ hash                number of the block that wrote it last ‖ trie node; no owner: the trie of all accounts
//! replaced       number                      keys of the trie nodes that the block put others in the place of
//! blocks         number                      log position ‖ header
//! block_hashes   block hash                  number
//! transactions   transaction hash            number ‖ index
//! outcomes       number                      receipts in order, without what follows from the rest (`kept_receipt`)
//! touched        number                      accounts and slots that the block wrote: what goes when the block goes
//! roots          number                      state root of a block whose state was edited afterwards
//! undo           number ‖ edit               what an edit replaced
//! labels         name                        hash of the block that is safe, or finalized
//! history        "oldest"                    the oldest block whose state is kept
//! ```
//!
//! Where history is bounded, each new block lets go of the oldest state: of whatever the block wrote that is the oldest then, earlier versions are
//! dropped, and of the tries the nodes that it replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy_consensus::{EMPTY_ROOT_HASH, Header, Sealable};
use alloy_eips::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rlp::Decodable;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use store::{Batch, Position, Slice, Standing, Table, Tables, TablesOptions};

use crate::ChainError;
use crate::block::{Account, ExecutedTransaction, Receipt, SealedHeader, StateChanges};
use crate::ground::{Owner, TrieChanges};
use crate::kept_receipt;

const NAMES: [&str; 14] = [
    "accounts",
    "storage",
    "code",
    "trie_nodes",
    "replaced",
    "blocks",
    "block_hashes",
    "transactions",
    "outcomes",
    "touched",
    "roots",
    "undo",
    "labels",
    "history",
];
/// Blocks whose state is let go of at once: after the bound was lowered, a new block has little more to do than otherwise.
const LET_GO_MAX: u64 = 16;
/// The one key of the table of history.
const OLDEST: &[u8] = b"oldest";
/// Trie nodes held in memory: about so many, of so many bytes together.
const KNOWN_NODES: usize = 100_000;
const KNOWN_NODES_BYTES_MAX: u64 = 32 << 20;
/// What a node held in memory takes beyond its bytes: its name, its place, and the counts of its users.
const NODE_OVERHEAD_BYTES: usize = 128;
const ADDRESS_BYTES: usize = 20;
const SLOT_KEY_BYTES: usize = ADDRESS_BYTES + 32;
const ACCOUNT_BYTES: usize = 8 + 32 + 32 + 32;

/// The tables of a chain.
#[derive(Debug)]
pub(crate) struct StateTables {
    tables: Tables,
    accounts: Table,
    storage: Table,
    code: Table,
    nodes: Table,
    replaced: Table,
    blocks: Table,
    block_hashes: Table,
    transactions: Table,
    receipts: Table,
    touched: Table,
    roots: Table,
    undo: Table,
    labels: Table,
    history: Table,
    oldest: AtomicU64,
    /// Nodes that were read or written of late. A node is named by its content, so whose it is does not matter here, and none ever changes.
    known_nodes: Cache<B256, Bytes, NodeWeight>,
}

/// What a node occupies in memory.
#[derive(Clone, Debug)]
struct NodeWeight;

impl Weighter<B256, Bytes> for NodeWeight {
    fn weight(&self, _hash: &B256, node: &Bytes) -> u64 {
        (node.len() + NODE_OVERHEAD_BYTES) as u64
    }
}

/// An account's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AccountRow {
    pub(crate) account: Account,
    pub(crate) storage_root: B256,
}

impl StateTables {
    pub(crate) fn open(folder: &Path) -> Result<Self, ChainError> {
        match Tables::open(folder, &NAMES, TablesOptions::default()) {
            Ok(tables) => Self::with(tables),
            Err(error) if error.is_damage() => {
                tracing::warn!(%error, "tables are damaged: building them again from the block log");
                Self::rebuild(folder)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the tables and starts empty.
    pub(crate) fn rebuild(folder: &Path) -> Result<Self, ChainError> {
        Self::with(Tables::rebuild(folder, &NAMES, TablesOptions::default())?)
    }

    fn with(tables: Tables) -> Result<Self, ChainError> {
        let table = |name| tables.table(name);
        let history = table("history")?;
        let oldest = tables.snapshot().get(&history, OLDEST)?;
        let oldest = oldest.map_or(Ok(0), |oldest| decode_u64(&oldest))?;
        Ok(Self {
            history,
            known_nodes: Cache::with_weighter(KNOWN_NODES, KNOWN_NODES_BYTES_MAX, NodeWeight),
            oldest: AtomicU64::new(oldest),
            accounts: table("accounts")?,
            storage: table("storage")?,
            code: table("code")?,
            nodes: table("trie_nodes")?,
            replaced: table("replaced")?,
            blocks: table("blocks")?,
            block_hashes: table("block_hashes")?,
            transactions: table("transactions")?,
            receipts: table("outcomes")?,
            touched: table("touched")?,
            roots: table("roots")?,
            undo: table("undo")?,
            labels: table("labels")?,
            tables,
        })
    }

    pub(crate) fn standing(&self) -> Result<Option<Standing>, ChainError> {
        Ok(self.tables.standing()?)
    }

    /// Whether block `number` is there with its receipts and the root of its state: not so in tables that an earlier version laid out differently.
    pub(crate) fn is_whole_at(&self, number: u64) -> Result<bool, ChainError> {
        let Some((header, _)) = self.block(number)? else { return Ok(false) };
        if self.tables.snapshot().get(&self.receipts, number.to_be_bytes())?.is_none() {
            return Ok(false);
        }
        let root = self.state_root(&header)?;
        Ok(root == EMPTY_ROOT_HASH || self.node(None, root)?.is_some())
    }

    pub(crate) fn persist(&self) -> Result<(), ChainError> {
        Ok(self.tables.persist()?)
    }

    // --- reading ------------------------------------------------------------------------------------------------------------

    /// The account as of the end of block `at`.
    pub(crate) fn account(&self, address: Address, at: u64) -> Result<Option<AccountRow>, ChainError> {
        match self.version(&self.accounts, address.as_slice(), at)? {
            Some(row) => decode_account(&row),
            None => Ok(None),
        }
    }

    /// The slot as of the end of block `at`.
    pub(crate) fn slot(&self, address: Address, slot: U256, at: u64) -> Result<U256, ChainError> {
        let key = [address.as_slice(), &slot.to_be_bytes::<32>()].concat();
        let value = self.version(&self.storage, &key, at)?;
        Ok(value.map_or(U256::ZERO, |value| U256::from_be_slice(&value)))
    }

    /// The newest version of a key at or before block `at`.
    fn version(&self, table: &Table, key: &[u8], at: u64) -> Result<Option<Slice>, ChainError> {
        let (from, to) = (versioned(key, at), versioned(key, 0));
        match self.tables.snapshot().range(table, from..=to).next() {
            Some(entry) => Ok(Some(entry?.1)),
            None => Ok(None),
        }
    }

    pub(crate) fn code(&self, hash: B256) -> Result<Option<Bytes>, ChainError> {
        let code = self.tables.snapshot().get(&self.code, hash)?;
        Ok(code.map(|code| Bytes::copy_from_slice(&code)))
    }

    /// The header of a block and where the log has it.
    pub(crate) fn block(&self, number: u64) -> Result<Option<(SealedHeader, Position)>, ChainError> {
        let Some(row) = self.tables.snapshot().get(&self.blocks, number.to_be_bytes())? else { return Ok(None) };
        let Some((position, mut header)) = row.split_first_chunk::<8>() else { return Err(damaged("a block's row")) };
        let header = Header::decode(&mut header).map_err(|_| damaged("a header"))?;
        Ok(Some((header.seal_slow(), Position::from_u64(u64::from_be_bytes(*position)))))
    }

    pub(crate) fn number_of(&self, hash: B256) -> Result<Option<u64>, ChainError> {
        let number = self.tables.snapshot().get(&self.block_hashes, hash)?;
        number.map(|number| decode_u64(&number)).transpose()
    }

    /// Block and index of a transaction.
    pub(crate) fn transaction(&self, hash: B256) -> Result<Option<(u64, usize)>, ChainError> {
        let Some(row) = self.tables.snapshot().get(&self.transactions, hash)? else { return Ok(None) };
        let Some((number, index)) = row.split_at_checked(8) else { return Err(damaged("a transaction's row")) };
        let index = usize::try_from(decode_u64(index)?).map_err(|_| damaged("a transaction's index"))?;
        Ok(Some((decode_u64(number)?, index)))
    }

    pub(crate) fn receipts(&self, number: u64) -> Result<Vec<Receipt>, ChainError> {
        let Some(row) = self.tables.snapshot().get(&self.receipts, number.to_be_bytes())? else {
            return Ok(Vec::new());
        };
        kept_receipt::decode(&row).map_err(|_| damaged("receipts"))
    }

    /// Slots that an account ever had, as of block `at`, with their values.
    pub(crate) fn slots(&self, address: Address, at: u64) -> Result<Vec<(U256, U256)>, ChainError> {
        let mut slots = BTreeMap::new();
        for entry in self.tables.snapshot().prefix(&self.storage, address) {
            let (key, value) = entry?;
            let Some((slot, version)) = key.get(20..).and_then(|rest| rest.split_at_checked(32)) else {
                return Err(damaged("a slot's key"));
            };
            if !decode_u64(version)? <= at {
                // The first one seen is the newest.
                slots.entry(U256::from_be_slice(slot)).or_insert_with(|| U256::from_be_slice(&value));
            }
        }
        Ok(slots.into_iter().filter(|(_, value)| !value.is_zero()).collect())
    }

    /// All accounts as of block `at`.
    pub(crate) fn all_accounts(&self, at: u64) -> Result<Vec<(Address, AccountRow)>, ChainError> {
        let mut accounts = BTreeMap::new();
        for entry in self.tables.snapshot().prefix(&self.accounts, []) {
            let (key, row) = entry?;
            let Some((address, version)) = key.split_at_checked(20) else { return Err(damaged("an account's key")) };
            if !decode_u64(version)? <= at {
                accounts.entry(Address::from_slice(address)).or_insert(decode_account(&row)?);
            }
        }
        Ok(accounts.into_iter().filter_map(|(address, row)| Some((address, row?))).collect())
    }

    // --- writing ------------------------------------------------------------------------------------------------------------

    /// Writes all that a block makes of the tables, as one batch.
    pub(crate) fn apply(
        &self,
        header: &SealedHeader,
        transactions: &[ExecutedTransaction],
        changes: &StateChanges,
        tries: &TrieChanges,
        position: Position,
    ) -> Result<(), ChainError> {
        let mut batch = self.tables.batch();
        self.put_state(&mut batch, header.number, changes, tries)?;
        let number = header.number.to_be_bytes();
        let row = [&position.to_u64().to_be_bytes()[..], &alloy_rlp::encode(header.inner())].concat();
        batch.put(&self.blocks, number, row);
        batch.put(&self.block_hashes, header.seal().as_slice(), number);
        for (index, transaction) in transactions.iter().enumerate() {
            let place = [number, (index as u64).to_be_bytes()].concat();
            batch.put(&self.transactions, transaction.transaction.trie_hash().as_slice(), place);
        }
        let mut row = Vec::new();
        transactions.iter().for_each(|executed| kept_receipt::encode(&executed.receipt, &mut row));
        batch.put(&self.receipts, number, row);
        Ok(batch.commit(Standing { block: header.number, position })?)
    }

    fn put_state(
        &self,
        batch: &mut Batch,
        number: u64,
        changes: &StateChanges,
        tries: &TrieChanges,
    ) -> Result<(), ChainError> {
        for (address, slots) in &tries.zeroed {
            for slot in slots {
                batch.put(&self.storage, slot_key(*address, *slot, number), []);
            }
        }
        for (address, slots) in &changes.storage {
            for (slot, value) in slots {
                batch.put(&self.storage, slot_key(*address, *slot, number), value.to_be_bytes_trimmed_vec());
            }
        }
        for (address, account) in &changes.accounts {
            if account.is_none() {
                batch.put(&self.accounts, versioned(address.as_slice(), number), []);
            }
        }
        for (address, storage_root) in &tries.storage_roots {
            let account = match changes.accounts.get(address) {
                Some(account) => *account,
                None => self.account(*address, number)?.map(|row| row.account),
            };
            if let Some(account) = account {
                let row = encode_account(&AccountRow { account, storage_root: *storage_root });
                batch.put(&self.accounts, versioned(address.as_slice(), number), row);
            }
        }
        for (hash, code) in &changes.code {
            batch.put(&self.code, hash.as_slice(), &code[..]);
        }
        let mut replaced = self.replaced(number)?;
        replaced.extend(tries.gone.iter().flat_map(|(owner, gone)| gone.iter().map(|hash| node_key(*owner, *hash))));
        for (owner, nodes) in &tries.nodes {
            for (hash, node) in nodes.iter() {
                let key = node_key(*owner, *hash);
                // An edit of the same block may bring back what one before it replaced.
                replaced.remove(&key);
                self.known_nodes.insert(*hash, node.clone());
                batch.put(&self.nodes, key, [&number.to_be_bytes()[..], node].concat());
            }
        }
        batch.put(&self.replaced, number.to_be_bytes(), encode_keys(&replaced));
        let mut touched = self.touched(number)?;
        touched.take(changes, tries);
        batch.put(&self.touched, number.to_be_bytes(), touched.encode());
        Ok(())
    }

    /// Changes the state at the end of the newest block, as the edit that `position` in the log holds; what it replaces is kept.
    pub(crate) fn amend(
        &self,
        number: u64,
        changes: &StateChanges,
        tries: &TrieChanges,
        undo: Option<(u64, &[u8])>,
        position: Position,
    ) -> Result<(), ChainError> {
        let mut batch = self.tables.batch();
        self.put_state(&mut batch, number, changes, tries)?;
        batch.put(&self.roots, number.to_be_bytes(), tries.state_root.as_slice());
        if let Some((edit, replaced)) = undo {
            batch.put(&self.undo, [number.to_be_bytes(), edit.to_be_bytes()].concat(), replaced);
        }
        Ok(batch.commit(Standing { block: number, position })?)
    }

    /// What edits of a block's state replaced, in the order of the edits.
    pub(crate) fn undo(&self, number: u64) -> Result<Vec<Bytes>, ChainError> {
        let entries = self.tables.snapshot().prefix(&self.undo, number.to_be_bytes());
        entries.map(|entry| Ok(Bytes::copy_from_slice(&entry?.1))).collect()
    }

    /// Takes the edits from this one on back out of the list.
    pub(crate) fn forget_edits(&self, number: u64, from: u64) -> Result<(), ChainError> {
        let mut batch = self.tables.batch();
        for edit in from..self.undo(number)?.len() as u64 {
            batch.delete(&self.undo, [number.to_be_bytes(), edit.to_be_bytes()].concat());
        }
        Ok(batch.commit_beside()?)
    }

    /// The state root at the end of a block: that of its header, unless the state was edited since.
    pub(crate) fn state_root(&self, header: &SealedHeader) -> Result<B256, ChainError> {
        let edited = self.tables.snapshot().get(&self.roots, header.number.to_be_bytes())?;
        Ok(edited.map_or(header.state_root, |root| B256::from_slice(&root)))
    }

    /// Takes the newest block out, as if it had never been. Its transactions are given. The standing is not changed: the write that makes
    /// another block the newest does that. A crash in between leaves tables that do not fit together, and they are built again.
    pub(crate) fn unwind(&self, header: &SealedHeader, transactions: &[B256]) -> Result<(), ChainError> {
        let (mut batch, number) = (self.tables.batch(), header.number.to_be_bytes());
        let touched = self.touched(header.number)?;
        for address in touched.accounts {
            batch.delete(&self.accounts, versioned(address.as_slice(), header.number));
        }
        for (address, slot) in touched.slots {
            batch.delete(&self.storage, slot_key(address, slot, header.number));
        }
        for hash in transactions {
            batch.delete(&self.transactions, hash.as_slice());
        }
        for edit in 0..self.undo(header.number)?.len() as u64 {
            batch.delete(&self.undo, [number, edit.to_be_bytes()].concat());
        }
        batch.delete(&self.block_hashes, header.seal().as_slice());
        for table in [&self.blocks, &self.receipts, &self.touched, &self.roots, &self.replaced] {
            batch.delete(table, number);
        }
        Ok(batch.commit_beside()?)
    }

    // --- letting go ---------------------------------------------------------------------------------------------------------

    /// The oldest block whose state is kept.
    pub(crate) fn oldest(&self) -> u64 {
        self.oldest.load(Ordering::Acquire)
    }

    /// No state is older than that of this block, with which the chain begins.
    pub(crate) fn begin_at(&self, number: u64) -> Result<(), ChainError> {
        if number > 0 {
            let mut batch = self.tables.batch();
            batch.put(&self.history, OLDEST, number.to_be_bytes());
            batch.commit_beside()?;
            self.oldest.store(number, Ordering::Release);
        }
        Ok(())
    }

    /// Rows that the states of all blocks occupy.
    pub(crate) fn state_rows(&self) -> Result<u64, ChainError> {
        let snapshot = self.tables.snapshot();
        let mut rows = 0;
        for table in [&self.accounts, &self.storage, &self.nodes, &self.replaced, &self.touched] {
            for entry in snapshot.prefix(table, []) {
                entry?;
                rows += 1;
            }
        }
        Ok(rows)
    }

    /// Lets go of the state of all blocks below this one, at most [`LET_GO_MAX`] blocks at a time.
    pub(crate) fn let_go_below(&self, number: u64) -> Result<(), ChainError> {
        let from = self.oldest() + 1;
        let to = number.min(from + LET_GO_MAX - 1);
        for oldest in from..=to {
            let batch = self.letting_go(oldest)?;
            batch.commit_beside()?;
            self.oldest.store(oldest, Ordering::Release);
        }
        Ok(())
    }

    /// What goes when this block becomes the oldest whose state is kept: whatever it wrote over, and how to take it back.
    fn letting_go(&self, oldest: u64) -> Result<Batch, ChainError> {
        let mut batch = self.tables.batch();
        let touched = self.touched(oldest)?;
        for address in touched.accounts {
            self.drop_versions(&mut batch, &self.accounts, address.as_slice(), oldest)?;
        }
        for (address, slot) in touched.slots {
            let key = [address.as_slice(), &slot.to_be_bytes::<32>()].concat();
            self.drop_versions(&mut batch, &self.storage, &key, oldest)?;
        }
        for key in self.replaced(oldest)? {
            let row = self.tables.snapshot().get(&self.nodes, &key)?;
            let born = row.as_deref().and_then(|row| row.first_chunk::<8>()).map(|born| u64::from_be_bytes(*born));
            // One that came back since is not gone.
            if born.is_some_and(|born| born <= oldest) {
                batch.delete(&self.nodes, key);
            }
        }
        for edit in 0..self.undo(oldest)?.len() as u64 {
            batch.delete(&self.undo, [oldest.to_be_bytes(), edit.to_be_bytes()].concat());
        }
        batch.delete(&self.touched, oldest.to_be_bytes());
        batch.delete(&self.replaced, oldest.to_be_bytes());
        batch.put(&self.history, OLDEST, oldest.to_be_bytes());
        Ok(batch)
    }

    /// Versions of a key from before this block; the one of this block as well, where it says that there is nothing.
    fn drop_versions(&self, batch: &mut Batch, table: &Table, key: &[u8], oldest: u64) -> Result<(), ChainError> {
        for (index, entry) in
            self.tables.snapshot().range(table, versioned(key, oldest)..=versioned(key, 0)).enumerate()
        {
            let (version, value) = entry?;
            if index > 0 || value.is_empty() || version[..] != versioned(key, oldest)[..] {
                batch.delete(table, version.to_vec());
            }
        }
        Ok(())
    }

    fn replaced(&self, number: u64) -> Result<BTreeSet<Vec<u8>>, ChainError> {
        let row = self.tables.snapshot().get(&self.replaced, number.to_be_bytes())?;
        row.map_or(Ok(BTreeSet::new()), |row| decode_keys(&row))
    }

    /// A node of a trie.
    pub(crate) fn node(&self, owner: Owner, hash: B256) -> Result<Option<Bytes>, ChainError> {
        if let Some(node) = self.known_nodes.get(&hash) {
            return Ok(Some(node));
        }
        let Some(row) = self.tables.snapshot().get(&self.nodes, node_key(owner, hash))? else { return Ok(None) };
        let node = Bytes::copy_from_slice(row.get(8..).ok_or_else(|| damaged("a trie node's row"))?);
        self.known_nodes.insert(hash, node.clone());
        Ok(Some(node))
    }

    /// Says that the tables stand at this block now, after this record of the log.
    pub(crate) fn stand(&self, block: u64, position: Position) -> Result<(), ChainError> {
        Ok(self.tables.batch().commit(Standing { block, position })?)
    }

    fn touched(&self, number: u64) -> Result<Touched, ChainError> {
        match self.tables.snapshot().get(&self.touched, number.to_be_bytes())? {
            Some(row) => Touched::decode(&row),
            None => Ok(Touched::default()),
        }
    }

    /// Remembers which block is called so.
    pub(crate) fn put_label(&self, name: &str, hash: B256) -> Result<(), ChainError> {
        let mut batch = self.tables.batch();
        batch.put(&self.labels, name.as_bytes(), hash.as_slice());
        Ok(batch.commit_beside()?)
    }

    /// Which block is called so.
    pub(crate) fn label(&self, name: &str) -> Result<Option<B256>, ChainError> {
        let label = self.tables.snapshot().get(&self.labels, name)?;
        Ok(label.filter(|label| label.len() == 32).map(|label| B256::from_slice(&label)))
    }
}

/// What a block wrote.
#[derive(Default)]
struct Touched {
    accounts: BTreeSet<Address>,
    slots: BTreeSet<(Address, U256)>,
}

impl Touched {
    fn take(&mut self, changes: &StateChanges, tries: &TrieChanges) {
        self.accounts.extend(changes.accounts.keys().chain(tries.storage_roots.keys()));
        let zeroed = tries.zeroed.iter().flat_map(|(address, slots)| slots.iter().map(|slot| (*address, *slot)));
        let written = changes.storage.iter().flat_map(|(address, slots)| slots.keys().map(|slot| (*address, *slot)));
        self.slots.extend(zeroed.chain(written));
    }

    fn encode(&self) -> Vec<u8> {
        let mut row = (self.accounts.len() as u64).to_be_bytes().to_vec();
        self.accounts.iter().for_each(|address| row.extend_from_slice(address.as_slice()));
        for (address, slot) in &self.slots {
            row.extend_from_slice(address.as_slice());
            row.extend_from_slice(&slot.to_be_bytes::<32>());
        }
        row
    }

    fn decode(row: &[u8]) -> Result<Self, ChainError> {
        let wrong = || damaged("what a block wrote");
        let (count, rest) = row.split_first_chunk::<8>().ok_or_else(wrong)?;
        let bytes = usize::try_from(u64::from_be_bytes(*count)).ok().and_then(|count| count.checked_mul(ADDRESS_BYTES));
        let (accounts, slots) = bytes.and_then(|bytes| rest.split_at_checked(bytes)).ok_or_else(wrong)?;
        let slot = |key: &[u8]| {
            let (address, slot) = key.split_at(ADDRESS_BYTES);
            (Address::from_slice(address), U256::from_be_slice(slot))
        };
        Ok(Self {
            accounts: accounts.chunks_exact(ADDRESS_BYTES).map(Address::from_slice).collect(),
            slots: slots.chunks_exact(SLOT_KEY_BYTES).map(slot).collect(),
        })
    }
}

fn node_key(owner: Owner, hash: B256) -> Vec<u8> {
    [owner.as_ref().map_or(&[][..], |owner| owner.as_slice()), hash.as_slice()].concat()
}

/// Keys one after the other, each with its length before it: none is longer than 52 bytes.
fn encode_keys(keys: &BTreeSet<Vec<u8>>) -> Vec<u8> {
    let mut row = Vec::new();
    for key in keys {
        row.push(key.len() as u8);
        row.extend_from_slice(key);
    }
    row
}

fn decode_keys(mut row: &[u8]) -> Result<BTreeSet<Vec<u8>>, ChainError> {
    let mut keys = BTreeSet::new();
    while let Some((length, rest)) = row.split_first() {
        let (key, rest) = rest.split_at_checked((*length).into()).ok_or_else(|| damaged("keys of trie nodes"))?;
        keys.insert(key.to_vec());
        row = rest;
    }
    Ok(keys)
}

fn slot_key(address: Address, slot: U256, number: u64) -> Vec<u8> {
    versioned(&[address.as_slice(), &slot.to_be_bytes::<32>()].concat(), number)
}

/// The key of the version that block `number` wrote.
fn versioned(key: &[u8], number: u64) -> Vec<u8> {
    [key, &(!number).to_be_bytes()].concat()
}

fn encode_account(row: &AccountRow) -> [u8; ACCOUNT_BYTES] {
    let mut bytes = [0; ACCOUNT_BYTES];
    bytes[..8].copy_from_slice(&row.account.nonce.to_be_bytes());
    bytes[8..40].copy_from_slice(&row.account.balance.to_be_bytes::<32>());
    bytes[40..72].copy_from_slice(row.account.code_hash.as_slice());
    bytes[72..].copy_from_slice(row.storage_root.as_slice());
    bytes
}

fn decode_account(row: &[u8]) -> Result<Option<AccountRow>, ChainError> {
    if row.is_empty() {
        return Ok(None);
    }
    if row.len() != ACCOUNT_BYTES {
        return Err(damaged("an account's row"));
    }
    let account = Account {
        nonce: decode_u64(&row[..8])?,
        balance: U256::from_be_slice(&row[8..40]),
        code_hash: B256::from_slice(&row[40..72]),
    };
    Ok(Some(AccountRow { account, storage_root: B256::from_slice(&row[72..]) }))
}

fn decode_u64(bytes: &[u8]) -> Result<u64, ChainError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| damaged("a number"))
}

fn damaged(what: &str) -> ChainError {
    ChainError::Storage(format!(
        "{what} in the tables is damaged: delete the tables folder, it is built again from the log"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_without_the_newest_state_are_not_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let tables = StateTables::open(folder.path()).expect("opens");
        let (root, position) = (B256::repeat_byte(1), Position::from_u64(0));
        let header = Header { state_root: root, ..Header::default() }.seal_slow();
        let mut tries = TrieChanges { state_root: root, ..TrieChanges::default() };
        let apply = |tries: &TrieChanges| tables.apply(&header, &[], &StateChanges::default(), tries, position);
        apply(&tries).expect("applied");
        assert!(!tables.is_whole_at(0).expect("readable"), "the root's node is not there");
        tries.nodes.entry(None).or_default().extend([(root, Bytes::from_static(b"node"))]);
        apply(&tries).expect("applied");
        assert!(tables.is_whole_at(0).expect("readable"));
        assert!(!tables.is_whole_at(1).expect("readable"), "no such block");
    }
}
