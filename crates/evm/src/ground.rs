//! What a block stands on: the chain up to some block, and complete blocks above that are not, or not yet, part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy_consensus::EMPTY_ROOT_HASH;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_trie::TrieAccount;
use trie::merkle::{self, NodeSource, Nodes};

use crate::ChainError;
use crate::block::{Account, StateChanges};
use crate::chain::Staged;
use crate::execute::Roots;
use crate::rollup::MESSAGE_PASSER;
use crate::tables::{AccountRow, StateTables};

/// The state at the end of one block, whichever branch it is on.
#[derive(Clone)]
pub(crate) struct Ground {
    tables: Arc<StateTables>,
    /// The block of the chain below; `None` before genesis.
    base: Option<u64>,
    /// Blocks above it, from below upwards.
    above: Vec<Arc<Staged>>,
    root: B256,
}

/// Whose trie a node is of: an account's, or, with `None`, that of all accounts. Each trie keeps its nodes by itself, so that one that is
/// replaced is nobody else's.
pub(crate) type Owner = Option<Address>;

/// What a block's changes make of the tries.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrieChanges {
    pub(crate) state_root: B256,
    pub(crate) storage_roots: BTreeMap<Address, B256>,
    /// New nodes of each trie, and those that they replace.
    pub(crate) nodes: BTreeMap<Owner, Nodes>,
    pub(crate) gone: BTreeMap<Owner, Vec<B256>>,
    /// Slots of wiped accounts, all zero from now on.
    pub(crate) zeroed: BTreeMap<Address, Vec<U256>>,
}

impl Ground {
    /// Before there is any block.
    pub(crate) fn nothing(tables: Arc<StateTables>) -> Self {
        Self { tables, base: None, above: Vec::new(), root: EMPTY_ROOT_HASH }
    }

    /// The end of a block of the chain with this state root.
    pub(crate) fn sealed(tables: Arc<StateTables>, number: u64, root: B256) -> Self {
        Self { tables, base: Some(number), above: Vec::new(), root }
    }

    /// The end of a block on top of this.
    pub(crate) fn with(mut self, staged: Arc<Staged>) -> Self {
        self.root = staged.tries().state_root;
        self.above.push(staged);
        self
    }

    pub(crate) fn account(&self, address: Address) -> Result<Option<AccountRow>, ChainError> {
        let mut storage_root = None;
        for staged in self.above.iter().rev() {
            storage_root = storage_root.or_else(|| staged.tries().storage_roots.get(&address).copied());
            match staged.changes().accounts.get(&address) {
                Some(None) => return Ok(None),
                Some(Some(account)) => {
                    let storage_root = storage_root.unwrap_or(EMPTY_ROOT_HASH);
                    return Ok(Some(AccountRow { account: *account, storage_root }));
                }
                None => {}
            }
        }
        let Some(base) = self.base else { return Ok(None) };
        let row = self.tables.account(address, base)?;
        Ok(row.map(|row| AccountRow { storage_root: storage_root.unwrap_or(row.storage_root), ..row }))
    }

    pub(crate) fn slot(&self, address: Address, slot: U256) -> Result<U256, ChainError> {
        for staged in self.above.iter().rev() {
            let changes = staged.changes();
            if let Some(value) = changes.storage.get(&address).and_then(|slots| slots.get(&slot)) {
                return Ok(*value);
            }
            if changes.wiped.contains(&address) || matches!(changes.accounts.get(&address), Some(None)) {
                return Ok(U256::ZERO);
            }
        }
        self.base.map_or(Ok(U256::ZERO), |base| self.tables.slot(address, slot, base))
    }

    /// All slots of an account that are not zero.
    fn slots(&self, address: Address) -> Result<Vec<U256>, ChainError> {
        Ok(self.filled_slots(address)?.into_iter().map(|(slot, _)| slot).collect())
    }

    /// The same with what they hold.
    pub(crate) fn filled_slots(&self, address: Address) -> Result<Vec<(U256, U256)>, ChainError> {
        let Some(base) = self.base else { return Ok(Vec::new()) };
        let mut slots: BTreeSet<U256> = self.tables.slots(address, base)?.into_iter().map(|(slot, _)| slot).collect();
        for staged in &self.above {
            slots.extend(staged.changes().storage.get(&address).into_iter().flat_map(BTreeMap::keys));
        }
        let mut filled = Vec::new();
        for slot in slots {
            let value = self.slot(address, slot)?;
            if !value.is_zero() {
                filled.push((slot, value));
            }
        }
        Ok(filled)
    }

    pub(crate) fn code(&self, hash: B256) -> Result<Option<Bytes>, ChainError> {
        match self.above.iter().rev().find_map(|staged| staged.changes().code.get(&hash)) {
            Some(code) => Ok(Some(code.clone())),
            None => self.tables.code(hash),
        }
    }

    /// The hash of a block below.
    pub(crate) fn block_hash(&self, number: u64) -> Result<Option<B256>, ChainError> {
        if let Some(staged) = self.above.iter().find(|staged| staged.header().number == number) {
            return Ok(Some(staged.header().seal()));
        }
        match self.base {
            Some(base) if number <= base => Ok(self.tables.block(number)?.map(|(header, _)| header.seal())),
            _ => Ok(None),
        }
    }

    /// What a header names of the state at the end of a block with these changes.
    pub(crate) fn roots(&self, tries: &TrieChanges) -> Result<Roots, ChainError> {
        let messages = match tries.storage_roots.get(&MESSAGE_PASSER) {
            Some(root) => *root,
            None => self.account(MESSAGE_PASSER)?.map_or(EMPTY_ROOT_HASH, |row| row.storage_root),
        };
        Ok(Roots { state: tries.state_root, messages })
    }

    /// The tries after `changes`.
    pub(crate) fn commit(&self, changes: &StateChanges) -> Result<TrieChanges, ChainError> {
        let mut commitment = TrieChanges::default();
        let mut leaves = Vec::new();
        let touched: BTreeSet<Address> =
            changes.accounts.keys().chain(changes.storage.keys()).chain(&changes.wiped).copied().collect();
        for address in touched {
            let row = self.account(address)?;
            let account = match changes.accounts.get(&address) {
                Some(account) => *account,
                None => row.map(|row| row.account),
            };
            let mut root = row.map_or(EMPTY_ROOT_HASH, |row| row.storage_root);
            if changes.wiped.contains(&address) || account.is_none() {
                commitment.zeroed.insert(address, self.slots(address)?);
                root = EMPTY_ROOT_HASH;
            }
            let Some(account) = account else {
                leaves.push((keccak256(address), None));
                continue;
            };
            if let Some(slots) = changes.storage.get(&address) {
                let slots = slots.iter().map(|(slot, value)| {
                    let value = (!value.is_zero()).then(|| Bytes::from(alloy_rlp::encode(value)));
                    (keccak256(slot.to_be_bytes::<32>()), value)
                });
                let update = merkle::update(&self.trie(Some(address)), root, slots)?;
                root = update.root;
                commitment.take(Some(address), update);
            }
            commitment.storage_roots.insert(address, root);
            let Account { nonce, balance, code_hash } = account;
            let leaf = TrieAccount { nonce, balance, storage_root: root, code_hash };
            leaves.push((keccak256(address), Some(Bytes::from(alloy_rlp::encode(leaf)))));
        }
        let update = merkle::update(&self.trie(None), self.root, leaves)?;
        commitment.state_root = update.root;
        commitment.take(None, update);
        Ok(commitment)
    }

    /// Root of the state.
    pub(crate) fn root(&self) -> B256 {
        self.root
    }

    /// The nodes of one trie.
    pub(crate) fn trie(&self, owner: Owner) -> Trie<'_> {
        Trie { ground: self, owner }
    }
}

impl TrieChanges {
    fn take(&mut self, owner: Owner, update: merkle::Update) {
        self.nodes.entry(owner).or_default().extend(update.nodes);
        self.gone.entry(owner).or_default().extend(update.gone);
    }
}

/// The nodes of one trie.
pub(crate) struct Trie<'a> {
    ground: &'a Ground,
    owner: Owner,
}

impl NodeSource for Trie<'_> {
    type Error = ChainError;

    fn node(&self, hash: B256) -> Result<Option<Bytes>, ChainError> {
        for staged in self.ground.above.iter().rev() {
            let nodes = staged.tries().nodes.get(&self.owner);
            if let Some(Ok(Some(node))) = nodes.map(|nodes| nodes.node(hash)) {
                return Ok(Some(node));
            }
        }
        self.ground.tables.node(self.owner, hash)
    }
}

impl std::fmt::Debug for Ground {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ground").field("base", &self.base).field("above", &self.above.len()).finish_non_exhaustive()
    }
}
