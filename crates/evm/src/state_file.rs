//! A state in a file, in the form in which anvil 1.7 dumps and loads it (`--state`): accounts with code and storage, and the block at whose end
//! they were so.
//!
//! Of what else such a file may hold, earlier blocks, receipts and traces, nothing is read: the chain that begins with it begins at that
//! block. In a file that is written stands the newest block's header alone, which anvil needs to know by hash.

use std::collections::BTreeMap;

use alloy_consensus::Header;
use alloy_genesis::{Genesis, GenesisAccount};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::block::SealedHeader;
use crate::ground::Ground;
use crate::{Chain, ChainError};

/// A state and where in a chain it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFile {
    /// Height of the block at whose end the accounts were so.
    pub number: u64,
    /// When that block was, in seconds since the epoch.
    pub timestamp: u64,
    /// Its base fee in wei.
    pub base_fee: u64,
    /// Everybody who has anything.
    pub accounts: BTreeMap<Address, GenesisAccount>,
    /// The block's hash, where a chain of this program wrote the file.
    pub written_at: Option<B256>,
    /// Hash of the whole text: names the file as it is now.
    pub fingerprint: B256,
}

/// The text of a file, as far as it is read. Other keys may stand beside these.
#[derive(Deserialize)]
struct Text {
    block: TextBlock,
    accounts: BTreeMap<Address, TextAccount>,
    #[serde(default)]
    best_block_number: Option<U256>,
    #[serde(default)]
    sequenza: Option<Mark>,
}

/// The environment of the newest block.
#[derive(Deserialize)]
struct TextBlock {
    number: U256,
    timestamp: U256,
    basefee: u64,
}

#[derive(Serialize, Deserialize)]
struct TextAccount {
    nonce: u64,
    balance: U256,
    code: Bytes,
    storage: BTreeMap<B256, B256>,
}

/// What names the chain that wrote the file. anvil passes over it.
#[derive(Serialize, Deserialize)]
struct Mark {
    block_hash: B256,
}

impl StateFile {
    /// Reads a file's text.
    ///
    /// # Errors
    /// [`ChainError::Genesis`] with the place and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, ChainError> {
        let wrong = |reason: String| ChainError::Genesis(format!("not a state as anvil dumps it: {reason}"));
        let read: Text = serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(text))
            .map_err(|error| wrong(error.to_string()))?;
        let small = |name: &str, value: U256| {
            u64::try_from(value).map_err(|_| wrong(format!("{name} is {value}, more than 64 bits hold")))
        };
        Ok(Self {
            number: small("best_block_number", read.best_block_number.unwrap_or(read.block.number))?,
            timestamp: small("block.timestamp", read.block.timestamp)?,
            base_fee: read.block.basefee,
            accounts: read.accounts.into_iter().map(|(address, account)| (address, account.into())).collect(),
            written_at: read.sequenza.map(|mark| mark.block_hash),
            fingerprint: keccak256(text),
        })
    }

    /// The same beginning with these accounts in the place of its own, at this block. The header's free bytes name the file.
    pub fn begin(&self, genesis: Genesis) -> Genesis {
        let mut alloc = genesis.alloc;
        alloc.extend(self.accounts.iter().map(|(address, account)| (*address, account.clone())));
        Genesis {
            number: Some(self.number),
            timestamp: self.timestamp,
            base_fee_per_gas: Some(self.base_fee.into()),
            extra_data: self.fingerprint.into(),
            alloc,
            ..genesis
        }
    }

    /// Whether a chain with this genesis began with a file.
    pub fn began(genesis: &Genesis) -> bool {
        genesis.extra_data.len() == B256::len_bytes()
    }

    /// Whether the chain is the one that this file began, or one that wrote it.
    ///
    /// # Errors
    /// When the chain cannot be read.
    pub fn belongs_to(&self, chain: &Chain) -> Result<bool, ChainError> {
        if chain.genesis().extra_data[..] == self.fingerprint[..] {
            return Ok(true);
        }
        match self.written_at {
            Some(hash) => Ok(chain.header(crate::At::Hash(hash))?.is_some()),
            None => Ok(false),
        }
    }
}

impl From<TextAccount> for GenesisAccount {
    fn from(account: TextAccount) -> Self {
        let TextAccount { nonce, balance, code, storage } = account;
        Self {
            nonce: Some(nonce),
            balance,
            code: (!code.is_empty()).then_some(code),
            storage: (!storage.is_empty()).then_some(storage),
            private_key: None,
        }
    }
}

/// The text of a file with this state, which is that at the end of the newest block.
pub(crate) fn text(
    header: &SealedHeader,
    ground: &Ground,
    accounts: &[(Address, crate::block::Account)],
) -> Result<String, ChainError> {
    let mut told = BTreeMap::new();
    for (address, account) in accounts {
        let slots = ground.filled_slots(*address)?;
        let storage = slots.into_iter().map(|(slot, value)| (slot.into(), value.into())).collect();
        let code = ground.code(account.code_hash)?.unwrap_or_default();
        told.insert(*address, TextAccount { nonce: account.nonce, balance: account.balance, code, storage });
    }
    let value = json!({
        "block": environment(header),
        "accounts": told,
        "best_block_number": header.number,
        "blocks": [{ "header": header.inner(), "transactions": [], "ommers": [], "withdrawals": null }],
        "transactions": [],
        "historical_states": null,
        "sequenza": Mark { block_hash: header.seal() },
    });
    Ok(value.to_string())
}

/// A block's environment, as revm writes it.
fn environment(header: &Header) -> Value {
    json!({
        "number": U256::from(header.number),
        "beneficiary": header.beneficiary,
        "timestamp": U256::from(header.timestamp),
        "gas_limit": header.gas_limit,
        "basefee": header.base_fee_per_gas.unwrap_or_default(),
        "difficulty": header.difficulty,
        "prevrandao": header.mix_hash,
        "blob_excess_gas_and_price": {
            "excess_blob_gas": header.excess_blob_gas.unwrap_or_default(),
            "blob_gasprice": 1,
        },
        "slot_num": 0,
    })
}
