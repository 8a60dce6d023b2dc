//! The open block as others see it: a snapshot that grows as transactions execute.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use blockifier::state::cached_state::StateMaps;
use parking_lot::RwLock;
use starknet_api::block::{BlockHash, BlockInfo};
use starknet_api::core::{ClassHash, CompiledClassHash, ContractAddress, Nonce};
use starknet_api::state::StorageKey;
use starknet_api::transaction::TransactionHash;
use starknet_types_core::felt::Felt;

use crate::block::{ExecutedTransaction, Header, StateDiff};
use crate::chain::ChainError;
use crate::classes::CachedClass;
use crate::events::{EventFilter, PlacedEvent, search_transactions};
use crate::tables::StateTables;

/// The open block at one moment: immutable, cheap to clone. A later snapshot of the same block has more transactions.
///
/// All snapshots of a block share what has been written so far; each sees only what the first [`len`](Self::len)
/// transactions wrote.
#[derive(Clone, Debug)]
pub struct PreConfirmed {
    open: Arc<Open>,
    len: usize,
}

#[derive(Debug)]
struct Open {
    info: Arc<BlockInfo>,
    parent: Arc<Header>,
    tables: Arc<StateTables>,
    written: RwLock<Written>,
}

/// What the block wrote so far. Version 0 is what opening it wrote, version `i` what transaction `i - 1` wrote.
#[derive(Debug, Default)]
struct Written {
    transactions: Vec<Arc<ExecutedTransaction>>,
    by_hash: HashMap<TransactionHash, usize>,
    storage: Versions<(ContractAddress, StorageKey), Felt>,
    nonces: Versions<ContractAddress, Nonce>,
    class_hashes: Versions<ContractAddress, ClassHash>,
    compiled: Versions<ClassHash, CompiledClassHash>,
    declared: HashMap<ClassHash, (usize, Arc<CachedClass>)>,
}

#[derive(Debug)]
struct Versions<K, V>(HashMap<K, Vec<(usize, V)>>);

impl<K, V> Default for Versions<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, V: Copy> Versions<K, V> {
    fn put(&mut self, key: K, version: usize, value: V) {
        self.0.entry(key).or_default().push((version, value));
    }

    fn at(&self, key: &K, version: usize) -> Option<V> {
        newest(self.0.get(key)?, version)
    }

    fn all_at(&self, version: usize) -> impl Iterator<Item = (&K, V)> {
        self.0.iter().filter_map(move |(key, values)| newest(values, version).map(|value| (key, value)))
    }
}

fn newest<V: Copy>(values: &[(usize, V)], version: usize) -> Option<V> {
    values.iter().rev().find(|(written, _)| *written <= version).map(|(_, value)| *value)
}

impl PreConfirmed {
    /// An empty block on `parent`.
    pub(crate) fn open(tables: Arc<StateTables>, parent: Arc<Header>, info: BlockInfo) -> Self {
        let open = Open { info: Arc::new(info), parent, tables, written: RwLock::default() };
        Self { open: Arc::new(open), len: 0 }
    }

    /// Notes what opening the block wrote (the hash of an old block). Before any transaction.
    pub(crate) fn opened_with(&self, address: ContractAddress, key: StorageKey, value: Felt) {
        self.open.written.write().storage.put((address, key), 0, value);
    }

    /// The snapshot with one more transaction. Call on the newest snapshot only.
    pub(crate) fn with(
        &self,
        executed: Arc<ExecutedTransaction>,
        writes: &StateMaps,
        declared: Option<Arc<CachedClass>>,
    ) -> Self {
        let version = self.len + 1;
        let mut written = self.open.written.write();
        written.by_hash.insert(executed.hash, self.len);
        written.transactions.push(executed);
        for (key, value) in &writes.storage {
            written.storage.put(*key, version, *value);
        }
        for (address, nonce) in &writes.nonces {
            written.nonces.put(*address, version, *nonce);
        }
        for (address, class) in &writes.class_hashes {
            written.class_hashes.put(*address, version, *class);
        }
        for (class, compiled) in &writes.compiled_class_hashes {
            written.compiled.put(*class, version, *compiled);
        }
        if let Some(class) = declared {
            written.declared.entry(class.declared.hash()).or_insert((version, class));
        }
        drop(written);
        Self { open: Arc::clone(&self.open), len: version }
    }

    /// The same block as it was after its first `len` transactions.
    #[must_use]
    pub fn truncated(&self, len: usize) -> Self {
        Self { open: Arc::clone(&self.open), len: len.min(self.len) }
    }

    /// Number, timestamp, prices and sequencer of the block.
    pub fn block_info(&self) -> &BlockInfo {
        &self.open.info
    }

    pub(crate) fn shared_info(&self) -> Arc<BlockInfo> {
        Arc::clone(&self.open.info)
    }

    /// Header of the block it stands on.
    pub fn parent(&self) -> &Arc<Header> {
        &self.open.parent
    }

    /// Hash of the block it stands on.
    #[allow(clippy::misnamed_getters, reason = "the hash of the parent, not the hash of the parent's parent")]
    pub fn parent_hash(&self) -> BlockHash {
        self.parent().hash
    }

    /// Transactions so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no transaction.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The transaction at a position.
    pub fn transaction(&self, index: usize) -> Option<Arc<ExecutedTransaction>> {
        if index < self.len { self.open.written.read().transactions.get(index).cloned() } else { None }
    }

    /// Position and transaction by hash.
    pub fn find(&self, hash: TransactionHash) -> Option<(usize, Arc<ExecutedTransaction>)> {
        let written = self.open.written.read();
        let index = *written.by_hash.get(&hash)?;
        if index < self.len { Some((index, Arc::clone(&written.transactions[index]))) } else { None }
    }

    /// All transactions so far, in order.
    pub fn transactions(&self) -> Vec<Arc<ExecutedTransaction>> {
        self.open.written.read().transactions[..self.len].to_vec()
    }

    /// Matching events from the `from`-th event of the block on, at most `limit`; and where to go on, `None` when the block
    /// is exhausted for now.
    pub fn events(&self, filter: &EventFilter, from: u64, limit: usize) -> (Vec<PlacedEvent>, Option<u64>) {
        let mut found = Vec::new();
        let place = (self.open.info.block_number, None);
        let next = search_transactions(place, &self.transactions(), filter, from, limit, &mut found);
        (found, next)
    }

    /// Changes so far, against the state of the block it stands on.
    pub fn state_diff(&self) -> Result<StateDiff, ChainError> {
        let (tables, base) = (&self.open.tables, self.open.parent.number);
        let written = self.open.written.read();
        let mut diff = StateDiff::default();
        for ((address, key), value) in written.storage.all_at(self.len) {
            if tables.slot(*address, *key, base)?.0 != value {
                diff.storage.entry(*address).or_default().insert(*key, value);
            }
        }
        for (address, nonce) in written.nonces.all_at(self.len) {
            if tables.contract(*address, base)?.nonce != nonce.0 {
                diff.nonces.insert(*address, nonce);
            }
        }
        for (address, class) in written.class_hashes.all_at(self.len) {
            let before = tables.contract(*address, base)?.class_hash;
            if before == Felt::ZERO {
                diff.deployed.insert(*address, class);
            } else if before != class.0 {
                diff.replaced.insert(*address, class);
            }
        }
        for (class, compiled) in written.compiled.all_at(self.len) {
            let of_block = written.declared.get(class).is_some_and(|(version, _)| *version <= self.len);
            if of_block {
                diff.declared.insert(*class, compiled)
            } else {
                diff.migrated.insert(*class, compiled)
            };
        }
        Ok(diff)
    }

    pub(crate) fn slot(&self, address: ContractAddress, key: StorageKey) -> Option<Felt> {
        self.open.written.read().storage.at(&(address, key), self.len)
    }

    pub(crate) fn nonce(&self, address: ContractAddress) -> Option<Nonce> {
        self.open.written.read().nonces.at(&address, self.len)
    }

    pub(crate) fn class_hash(&self, address: ContractAddress) -> Option<ClassHash> {
        self.open.written.read().class_hashes.at(&address, self.len)
    }

    pub(crate) fn compiled_hash(&self, class: ClassHash) -> Option<CompiledClassHash> {
        self.open.written.read().compiled.at(&class, self.len)
    }

    pub(crate) fn class(&self, class: ClassHash) -> Option<Arc<CachedClass>> {
        let written = self.open.written.read();
        let (version, class) = written.declared.get(&class)?;
        (*version <= self.len).then(|| Arc::clone(class))
    }

    /// Classes declared so far, in order of their hashes.
    pub(crate) fn declared(&self) -> Vec<Arc<CachedClass>> {
        let written = self.open.written.read();
        let mut classes: Vec<_> = written
            .declared
            .values()
            .filter(|(version, _)| *version <= self.len)
            .map(|(_, class)| class)
            .cloned()
            .collect();
        classes.sort_by_key(|class| class.declared.hash());
        classes
    }
}
