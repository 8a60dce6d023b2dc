//! Changes of the state that no transaction makes: what a developer asks of a development chain.

use alloy_consensus::constants::KECCAK_EMPTY;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use serde::{Deserialize, Serialize};

use crate::ChainError;
use crate::block::{Account, StateChanges};
use crate::ground::Ground;

/// One change of the state at the end of the newest block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edit {
    /// The account has this much, in wei.
    Balance {
        /// The account.
        address: Address,
        /// In wei.
        balance: U256,
    },
    /// The account's next transaction has this nonce.
    Nonce {
        /// The account.
        address: Address,
        /// The nonce.
        nonce: u64,
    },
    /// The account has this code.
    Code {
        /// The account.
        address: Address,
        /// The code; empty for none.
        code: Bytes,
    },
    /// A slot of the account has this value.
    Slot {
        /// The account.
        address: Address,
        /// The slot.
        slot: U256,
        /// The value.
        value: U256,
    },
}

/// A moment to go back to: a block, and how often its state had been edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub(crate) number: u64,
    pub(crate) hash: B256,
    pub(crate) edits: u64,
}

impl Snapshot {
    /// Height of the block.
    pub fn number(&self) -> u64 {
        self.number
    }
}

/// What the edits change, one after the other.
pub(crate) fn changes(ground: &Ground, edits: &[Edit]) -> Result<StateChanges, ChainError> {
    let mut changes = StateChanges::default();
    for edit in edits {
        let address = match edit {
            Edit::Balance { address, .. }
            | Edit::Nonce { address, .. }
            | Edit::Code { address, .. }
            | Edit::Slot { address, .. } => *address,
        };
        let mut account = match changes.accounts.get(&address) {
            Some(account) => *account,
            None => ground.account(address)?.map(|row| row.account),
        }
        .unwrap_or(Account { nonce: 0, balance: U256::ZERO, code_hash: KECCAK_EMPTY });
        match edit {
            Edit::Balance { balance, .. } => account.balance = *balance,
            Edit::Nonce { nonce, .. } => account.nonce = *nonce,
            Edit::Code { code, .. } => {
                account.code_hash = if code.is_empty() { KECCAK_EMPTY } else { keccak256(code) };
                if !code.is_empty() {
                    changes.code.insert(account.code_hash, code.clone());
                }
            }
            Edit::Slot { slot, value, .. } => {
                changes.storage.entry(address).or_default().insert(*slot, *value);
            }
        }
        changes.accounts.insert(address, Some(account));
    }
    Ok(changes)
}

/// What makes these changes undone.
pub(crate) fn reverse(ground: &Ground, changes: &StateChanges) -> Result<StateChanges, ChainError> {
    let mut reverse = StateChanges::default();
    for address in changes.accounts.keys() {
        reverse.accounts.insert(*address, ground.account(*address)?.map(|row| row.account));
    }
    for (address, slots) in &changes.storage {
        for slot in slots.keys() {
            let value = ground.slot(*address, *slot)?;
            reverse.storage.entry(*address).or_default().insert(*slot, value);
        }
    }
    Ok(reverse)
}
