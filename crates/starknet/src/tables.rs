//! What the chain keeps in tables: state by block, classes, trie nodes, indexes. All of it is derived from the log.
//!
//! State is versioned: a key ends in the inverted number of the block that wrote it, so that the first entry at or after
//! `key ‖ !block` is the value as of that block. Versions are never changed, so a reader at a block needs no snapshot.
//!
//! ```text
//! storage        contract ‖ slot ‖ !block    value
//! contracts      contract ‖ !block           class ‖ nonce ‖ storage root
//! classes        class                       declared in block ‖ class
//! compiled       class ‖ !block              compiled class hash
//! nodes          hash                        trie node
//! blocks         number                      log position ‖ header
//! block_hashes   block hash                  number
//! transactions   transaction hash            number ‖ index
//! blooms         number                      bloom filter of events
//! ```

use std::path::Path;
use std::sync::Arc;

use starknet_api::block::BlockNumber;
use starknet_api::core::{ClassHash, CompiledClassHash, ContractAddress, Nonce};
use starknet_api::state::StorageKey;
use starknet_api::transaction::TransactionHash;
use starknet_types_core::felt::Felt;
use store::{Batch, Position, Slice, Standing, Table, Tables, TablesError, TablesOptions};
use trie::{ContractState, Node, NodeStore};

use crate::block::Header;
use crate::cache::Generations;
use crate::chain::ChainError;
use crate::classes::{CachedClass, ClassCache};
use crate::codec::{Body, Reader, Writer, decode_header};
use crate::commitment::TrieChanges;
use crate::events::Bloom;

const NAMES: [&str; 9] =
    ["storage", "contracts", "classes", "compiled", "nodes", "blocks", "block_hashes", "transactions", "blooms"];

/// Bytes that one cached slot takes, roughly: key, value, map overhead.
const SLOT_BYTES: usize = 160;
/// Bytes that one cached trie node takes, roughly.
const NODE_BYTES: usize = 160;

/// The tables of a chain with the caches in front of them.
#[derive(Debug)]
pub(crate) struct StateTables {
    tables: Tables,
    storage: Table,
    contracts: Table,
    classes: Table,
    compiled: Table,
    nodes: Table,
    blocks: Table,
    block_hashes: Table,
    transactions: Table,
    blooms: Table,
    slots: Latest<(ContractAddress, StorageKey), Felt>,
    contract_cache: Latest<ContractAddress, ContractState>,
    node_cache: Generations<Felt, Node>,
    class_cache: ClassCache,
}

/// A value with the block that wrote it.
pub(crate) type Versioned<T> = (T, BlockNumber);

/// Newest values, each with the block that wrote it. Right for every reader at that block or later, up to the head.
#[derive(Debug)]
struct Latest<K, V> {
    head: parking_lot::RwLock<u64>,
    values: Generations<K, Versioned<V>>,
}

impl<K: Eq + std::hash::Hash + Clone, V: Clone> Latest<K, V> {
    fn new(entries_max: usize) -> Self {
        Self { head: parking_lot::RwLock::new(0), values: Generations::new(entries_max) }
    }

    /// Reads through: `load` must give the value as of block `at`.
    fn get(
        &self,
        key: &K,
        at: BlockNumber,
        load: impl FnOnce() -> Result<Versioned<V>, ChainError>,
    ) -> Result<Versioned<V>, ChainError> {
        if let Some((value, since)) = self.values.get(key)
            && since <= at
        {
            return Ok((value, since));
        }
        let loaded = load()?;
        // Under the read lock no newer block can slip in between the check and the insertion.
        let head = self.head.read();
        if *head == at.0 {
            self.values.put(key.clone(), loaded.clone());
        }
        Ok(loaded)
    }

    /// Moves on to a block that wrote these values.
    fn advance(&self, block: BlockNumber, written: impl Iterator<Item = (K, V)>) {
        let mut head = self.head.write();
        *head = block.0;
        for (key, value) in written {
            self.values.put(key, (value, block));
        }
    }
}

impl StateTables {
    /// Opens or creates the tables; `cache_bytes` is shared out over the caches.
    pub(crate) fn open(folder: &Path, cache_bytes: usize) -> Result<Self, ChainError> {
        let options = options(cache_bytes);
        match Tables::open(folder, &NAMES, options) {
            Ok(tables) => Self::with(tables, cache_bytes),
            Err(error) if error.is_damage() => {
                tracing::warn!(%error, "tables are damaged: building them again from the block log");
                Self::rebuild(folder, cache_bytes)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the tables and starts empty.
    pub(crate) fn rebuild(folder: &Path, cache_bytes: usize) -> Result<Self, ChainError> {
        Self::with(Tables::rebuild(folder, &NAMES, options(cache_bytes))?, cache_bytes)
    }

    fn with(tables: Tables, cache_bytes: usize) -> Result<Self, ChainError> {
        let table = |name| tables.table(name);
        Ok(Self {
            storage: table("storage")?,
            contracts: table("contracts")?,
            classes: table("classes")?,
            compiled: table("compiled")?,
            nodes: table("nodes")?,
            blocks: table("blocks")?,
            block_hashes: table("block_hashes")?,
            transactions: table("transactions")?,
            blooms: table("blooms")?,
            slots: Latest::new(cache_bytes / 8 / SLOT_BYTES),
            contract_cache: Latest::new(cache_bytes / 16 / SLOT_BYTES),
            node_cache: Generations::new(cache_bytes / 4 / NODE_BYTES),
            class_cache: ClassCache::new(cache_bytes / 4),
            tables,
        })
    }

    pub(crate) fn standing(&self) -> Result<Option<Standing>, ChainError> {
        Ok(self.tables.standing()?)
    }

    pub(crate) fn persist(&self) -> Result<(), ChainError> {
        Ok(self.tables.persist()?)
    }

    /// Tells the caches which block is the newest, after opening.
    pub(crate) fn resume(&self, head: BlockNumber) {
        self.slots.advance(head, std::iter::empty());
        self.contract_cache.advance(head, std::iter::empty());
    }

    /// The newest version of `prefix` at or before block `at`.
    fn version(&self, table: &Table, prefix: &[u8], at: BlockNumber) -> Result<Option<Versioned<Slice>>, ChainError> {
        let from = versioned(prefix, at);
        let until = versioned(prefix, BlockNumber(0));
        let Some(entry) = self.tables.snapshot().range(table, from..=until).next() else { return Ok(None) };
        let (key, value) = entry?;
        let block = key.last_chunk::<8>().map_or(0, |inverted| !u64::from_be_bytes(*inverted));
        Ok(Some((value, BlockNumber(block))))
    }

    /// A storage slot as of a block; zero since block 0 when never written.
    pub(crate) fn slot(
        &self,
        address: ContractAddress,
        key: StorageKey,
        at: BlockNumber,
    ) -> Result<Versioned<Felt>, ChainError> {
        self.slots.get(&(address, key), at, || {
            let prefix = [address.0.key().to_bytes_be(), key.0.key().to_bytes_be()].concat();
            match self.version(&self.storage, &prefix, at)? {
                Some((value, block)) => Ok((felt(&value)?, block)),
                None => Ok((Felt::ZERO, BlockNumber(0))),
            }
        })
    }

    /// A contract as of a block; all zero when there is none.
    pub(crate) fn contract(&self, address: ContractAddress, at: BlockNumber) -> Result<ContractState, ChainError> {
        let load = || match self.version(&self.contracts, &address.0.key().to_bytes_be(), at)? {
            Some((value, block)) => Ok((contract_from(&value)?, block)),
            None => Ok((ABSENT, BlockNumber(0))),
        };
        Ok(self.contract_cache.get(&address, at, load)?.0)
    }

    /// A class as of a block, ready to run.
    pub(crate) fn class(&self, hash: ClassHash, at: BlockNumber) -> Result<Option<Arc<CachedClass>>, ChainError> {
        if let Some(cached) = self.class_cache.get(hash)
            && cached.declared_in <= at
        {
            return Ok(Some(cached));
        }
        let Some(value) = self.tables.snapshot().get(&self.classes, hash.0.to_bytes_be())? else { return Ok(None) };
        let (block, class) = value.split_first_chunk::<8>().ok_or_else(|| damaged("class"))?;
        let block = BlockNumber(u64::from_be_bytes(*block));
        if block > at {
            return Ok(None);
        }
        let class = Reader::new(class).class().map_err(|error| damaged(&format!("class {:#x}: {error}", hash.0)))?;
        self.class_cache
            .put(Arc::new(class), block)
            .map(Some)
            .map_err(|error| ChainError::Storage(format!("class {:#x}: {error}", hash.0)))
    }

    /// The compiled class hash in force at a block; `None` for classes not declared or Cairo 0.
    pub(crate) fn compiled_hash(
        &self,
        hash: ClassHash,
        at: BlockNumber,
    ) -> Result<Option<CompiledClassHash>, ChainError> {
        let version = self.version(&self.compiled, &hash.0.to_bytes_be(), at)?;
        version.map(|(value, _)| felt(&value).map(CompiledClassHash)).transpose()
    }

    /// Header and log position of a block.
    pub(crate) fn block(&self, number: BlockNumber) -> Result<Option<(Header, Position)>, ChainError> {
        let Some(value) = self.tables.snapshot().get(&self.blocks, number.0.to_be_bytes())? else { return Ok(None) };
        let (position, header) = value.split_first_chunk::<8>().ok_or_else(|| damaged("block index"))?;
        let header = decode_header(header).map_err(|error| damaged(&format!("header of block {number}: {error}")))?;
        Ok(Some((header, Position::from_u64(u64::from_be_bytes(*position)))))
    }

    pub(crate) fn number_of(&self, hash: Felt) -> Result<Option<BlockNumber>, ChainError> {
        let value = self.tables.snapshot().get(&self.block_hashes, hash.to_bytes_be())?;
        value.map(|value| number(&value).map(BlockNumber)).transpose()
    }

    /// Block and position of a transaction.
    pub(crate) fn locate(&self, hash: TransactionHash) -> Result<Option<(BlockNumber, u64)>, ChainError> {
        let Some(value) = self.tables.snapshot().get(&self.transactions, hash.0.to_bytes_be())? else {
            return Ok(None);
        };
        let (block, index) = value.split_at_checked(8).ok_or_else(|| damaged("transaction index"))?;
        Ok(Some((BlockNumber(number(block)?), number(index)?)))
    }

    /// Event filters of blocks from `first` on.
    pub(crate) fn blooms(
        &self,
        first: BlockNumber,
        last: BlockNumber,
    ) -> impl Iterator<Item = Result<(BlockNumber, Bloom), ChainError>> + use<> {
        let entries = self.tables.snapshot().range(&self.blooms, first.0.to_be_bytes()..=last.0.to_be_bytes());
        entries.map(|entry| {
            let (key, value) = entry?;
            Ok((BlockNumber(number(&key)?), Bloom::from_bytes(&value)))
        })
    }

    /// All slots of all contracts, newest version of each as of a block, in order. For verification.
    pub(crate) fn all_slots(
        &self,
        at: BlockNumber,
    ) -> impl Iterator<Item = Result<(Felt, Felt, Felt), ChainError>> + use<> {
        newest(self.tables.snapshot().range::<&[u8]>(&self.storage, ..), 64, at).map(|entry| {
            let (key, value) = entry?;
            Ok((felt(&key[..32])?, felt(&key[32..64])?, felt(&value)?))
        })
    }

    /// All contracts, newest version of each as of a block.
    pub(crate) fn all_contracts(
        &self,
        at: BlockNumber,
    ) -> impl Iterator<Item = Result<(Felt, ContractState), ChainError>> + use<> {
        newest(self.tables.snapshot().range::<&[u8]>(&self.contracts, ..), 32, at).map(|entry| {
            let (key, value) = entry?;
            Ok((felt(&key[..32])?, contract_from(&value)?))
        })
    }

    /// All compiled class hashes, newest version of each as of a block.
    pub(crate) fn all_compiled(
        &self,
        at: BlockNumber,
    ) -> impl Iterator<Item = Result<(Felt, Felt), ChainError>> + use<> {
        newest(self.tables.snapshot().range::<&[u8]>(&self.compiled, ..), 32, at).map(|entry| {
            let (key, value) = entry?;
            Ok((felt(&key[..32])?, felt(&value)?))
        })
    }

    /// Writes a block and all that follows from it, in one batch, and moves the caches on.
    pub(crate) fn apply(&self, body: &Body, changes: &TrieChanges, position: Position) -> Result<(), ChainError> {
        let number = body.header.number;
        let mut batch = self.tables.batch();
        self.write_state(&mut batch, body, changes);
        self.write_indexes(&mut batch, body, position);
        // The position of this very record: whoever continues there skips one block.
        batch.commit(Standing { block: number.0, position })?;
        for (hash, node) in &changes.nodes {
            self.node_cache.put(*hash, *node);
        }
        let slots = body.state_diff.storage.iter();
        self.slots.advance(
            number,
            slots.flat_map(|(address, slots)| slots.iter().map(|(key, value)| ((*address, *key), *value))),
        );
        self.contract_cache.advance(number, changes.contracts.iter().copied());
        Ok(())
    }

    fn write_state(&self, batch: &mut Batch, body: &Body, changes: &TrieChanges) {
        let number = body.header.number;
        for (address, slots) in &body.state_diff.storage {
            for (key, value) in slots {
                let prefix = [address.0.key().to_bytes_be(), key.0.key().to_bytes_be()].concat();
                batch.put(&self.storage, versioned(&prefix, number), value.to_bytes_be());
            }
        }
        for (address, contract) in &changes.contracts {
            batch.put(&self.contracts, versioned(&address.0.key().to_bytes_be(), number), contract_bytes(contract));
        }
        for class in &body.classes {
            let mut to = Writer::default();
            to.class(class);
            batch.put(
                &self.classes,
                class.hash().0.to_bytes_be(),
                [&number.0.to_be_bytes()[..], &to.finish()].concat(),
            );
        }
        for (class, compiled) in body.state_diff.declared.iter().chain(&body.state_diff.migrated) {
            batch.put(&self.compiled, versioned(&class.0.to_bytes_be(), number), compiled.0.to_bytes_be());
        }
        for (hash, node) in &changes.nodes {
            batch.put(&self.nodes, hash.to_bytes_be(), node.encode());
        }
    }

    fn write_indexes(&self, batch: &mut Batch, body: &Body, position: Position) {
        let number = body.header.number.0.to_be_bytes();
        let mut header = Writer::default();
        header.versioned_header(&body.header);
        batch.put(&self.blocks, number, [&position.to_u64().to_be_bytes()[..], &header.finish()].concat());
        batch.put(&self.block_hashes, body.header.hash.0.to_bytes_be(), number);
        for (index, transaction) in body.transactions.iter().enumerate() {
            let place = [number, (index as u64).to_be_bytes()].concat();
            batch.put(&self.transactions, transaction.hash.0.to_bytes_be(), place);
        }
        let bloom = Bloom::of(&body.transactions);
        if !bloom.is_empty() {
            batch.put(&self.blooms, number, bloom.to_bytes());
        }
    }
}

impl NodeStore for StateTables {
    type Error = ChainError;

    fn node(&self, hash: &Felt) -> Result<Option<Node>, ChainError> {
        if let Some(node) = self.node_cache.get(hash) {
            return Ok(Some(node));
        }
        let Some(bytes) = self.tables.snapshot().get(&self.nodes, hash.to_bytes_be())? else { return Ok(None) };
        let node = Node::decode(&bytes).map_err(|error| damaged(&format!("trie node {hash:#x}: {error}")))?;
        self.node_cache.put(*hash, node);
        Ok(Some(node))
    }
}

/// A contract that does not exist.
pub(crate) const ABSENT: ContractState =
    ContractState { class_hash: Felt::ZERO, storage_root: Felt::ZERO, nonce: Felt::ZERO };

fn options(cache_bytes: usize) -> TablesOptions {
    TablesOptions { cache_bytes: (cache_bytes / 4) as u64, ..TablesOptions::default() }
}

/// `prefix ‖ !block`.
fn versioned(prefix: &[u8], block: BlockNumber) -> Vec<u8> {
    [prefix, &(!block.0).to_be_bytes()].concat()
}

/// The first entry of each prefix that is not newer than `at`.
fn newest(
    entries: store::Entries,
    prefix_len: usize,
    at: BlockNumber,
) -> impl Iterator<Item = Result<(Slice, Slice), ChainError>> {
    let mut last: Option<Slice> = None;
    entries.filter_map(move |entry| {
        let (key, value) = match entry {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error.into())),
        };
        let block = key.last_chunk::<8>().map_or(u64::MAX, |inverted| !u64::from_be_bytes(*inverted));
        let seen = last.as_ref().is_some_and(|last| last[..prefix_len] == key[..prefix_len]);
        if block > at.0 || seen {
            return None;
        }
        last = Some(key.clone());
        Some(Ok((key, value)))
    })
}

fn contract_bytes(contract: &ContractState) -> Vec<u8> {
    [contract.class_hash, contract.nonce, contract.storage_root].map(|felt| felt.to_bytes_be()).concat()
}

fn contract_from(bytes: &[u8]) -> Result<ContractState, ChainError> {
    if bytes.len() != 96 {
        return Err(damaged("contract"));
    }
    Ok(ContractState {
        class_hash: felt(&bytes[..32])?,
        nonce: felt(&bytes[32..64])?,
        storage_root: felt(&bytes[64..])?,
    })
}

/// Nonce of a contract record.
pub(crate) fn nonce_of(contract: &ContractState) -> Nonce {
    Nonce(contract.nonce)
}

fn felt(bytes: &[u8]) -> Result<Felt, ChainError> {
    let bytes: &[u8; 32] = bytes.try_into().map_err(|_| damaged("felt"))?;
    Ok(Felt::from_bytes_be(bytes))
}

fn number(bytes: &[u8]) -> Result<u64, ChainError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| damaged("number"))
}

fn damaged(what: &str) -> ChainError {
    ChainError::Storage(format!(
        "{what} in the tables is damaged: delete the tables folder, it is rebuilt from the log"
    ))
}

impl From<TablesError> for ChainError {
    fn from(error: TablesError) -> Self {
        Self::Storage(error.to_string())
    }
}
