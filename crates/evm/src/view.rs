//! Which block, and the state at its end.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256};
use revm::bytecode::Bytecode;
use revm::database_interface::{DBErrorMarker, DatabaseRef};
use revm::state::AccountInfo;

use crate::ChainError;
use crate::block::SealedHeader;
use crate::ground::Ground;

/// Names a block of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The newest block.
    Latest,
    /// The block that would be next if it were made now, as far as somebody looked ahead; the newest block where nobody did.
    Pending,
    /// By height.
    Number(u64),
    /// By hash.
    Hash(B256),
}

/// The state at the end of one block.
///
/// A snapshot: it does not change while the chain goes on. Cheap to clone. Implements revm's [`DatabaseRef`].
#[derive(Clone, Debug)]
pub struct StateView {
    ground: Ground,
    header: Arc<SealedHeader>,
}

impl StateView {
    pub(crate) fn new(ground: Ground, header: Arc<SealedHeader>) -> Self {
        Self { ground, header }
    }

    pub(crate) fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Header of the block whose state this is.
    pub fn header(&self) -> &SealedHeader {
        &self.header
    }

    /// Nonce and balance of an account; zeros where there is none.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn account(&self, address: Address) -> Result<AccountInfo, ChainError> {
        Ok(self.basic_ref(address)?.unwrap_or_default())
    }

    /// Code of an account; empty where there is none.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn code(&self, address: Address) -> Result<Bytes, ChainError> {
        let info = self.account(address)?;
        if info.is_empty_code_hash() {
            return Ok(Bytes::new());
        }
        Ok(self.ground.code(info.code_hash)?.unwrap_or_default())
    }

    /// A slot of an account.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn storage(&self, address: Address, slot: U256) -> Result<U256, ChainError> {
        self.ground.slot(address, slot)
    }
}

impl DBErrorMarker for ChainError {}

impl DatabaseRef for StateView {
    type Error = ChainError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, ChainError> {
        let row = self.ground.account(address)?;
        Ok(row.map(|row| AccountInfo {
            balance: row.account.balance,
            nonce: row.account.nonce,
            code_hash: row.account.code_hash,
            ..AccountInfo::default().without_code()
        }))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, ChainError> {
        match self.ground.code(hash)? {
            Some(code) => Ok(Bytecode::new_raw(code)),
            None => Err(ChainError::Storage(format!("the code {hash} is missing"))),
        }
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, ChainError> {
        self.storage(address, slot)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, ChainError> {
        if number == self.header.number {
            return Ok(self.header.seal());
        }
        Ok(self.ground.block_hash(number)?.unwrap_or_default())
    }
}
