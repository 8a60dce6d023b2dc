//! Which transactions the pool takes, with the texts that geth gives for those that it does not: clients know them.

use alloy_consensus::Transaction as _;
use alloy_consensus::transaction::SignerRecoverable;
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_eips::eip7825::MAX_TX_GAS_LIMIT_OSAKA;
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::{Address, B256, Bytes, U256};
use op_alloy_consensus::OpTxType;
use revm::primitives::eip3860::MAX_INITCODE_SIZE;
use thiserror::Error;

use super::{Pool, Signed};
use crate::block::Transaction;
use crate::publication::Publication;
use crate::{At, ChainError, StateView, disguise};

/// Largest transaction that is taken: as geth's pool.
const TRANSACTION_BYTES_MAX: usize = 128 * 1024;

/// Why a transaction is not in the pool.
#[derive(Clone, Debug, Error)]
pub enum Refusal {
    /// The bytes are no transaction.
    #[error("rlp: {0}")]
    Malformed(String),
    /// Of a type that this chain does not take.
    #[error("transaction type not supported")]
    Type,
    /// Larger than any transaction may be.
    #[error("oversized data: transaction size {size}, limit {TRANSACTION_BYTES_MAX}")]
    Oversized {
        /// Its bytes.
        size: usize,
    },
    /// No account can have made this signature.
    #[error("invalid sender: {0}")]
    Sender(String),
    /// Signed for another chain.
    #[error("invalid chain id for signer: have {have} want {want}")]
    ChainId {
        /// The one signed for; 0 for none.
        have: u64,
        /// This chain's.
        want: u64,
    },
    /// Asks for more gas than any block has.
    #[error("exceeds block gas limit")]
    BlockGas,
    /// Takes more room on L1 than any block has.
    #[error("exceeds block gas limit: its DA footprint is {size} bytes at {scalar} gas each, a block has {limit}")]
    Footprint {
        /// Bytes on L1, estimated.
        size: u64,
        /// Gas that a byte counts for.
        scalar: u16,
        /// Gas of a block.
        limit: u64,
    },
    /// Asks for more gas than a transaction may (EIP-7825).
    #[error("transaction gas limit too high (cap: {MAX_TX_GAS_LIMIT_OSAKA}, tx: {0})")]
    TransactionGas(u64),
    /// Too little gas to begin with.
    #[error("intrinsic gas too low: gas {have}, minimum needed {want}")]
    IntrinsicGas {
        /// What it offers.
        have: u64,
        /// What it needs.
        want: u64,
    },
    /// Too little gas for its calldata (EIP-7623).
    #[error("insufficient gas for floor data gas cost: gas {have}, minimum needed {want}")]
    FloorGas {
        /// What it offers.
        have: u64,
        /// What it needs.
        want: u64,
    },
    /// Creates a contract from more code than allowed (EIP-3860).
    #[error("max initcode size exceeded: code size {0}, limit {MAX_INITCODE_SIZE}")]
    InitCode(usize),
    /// Offers a tip above its highest price.
    #[error("max priority fee per gas higher than max fee per gas")]
    TipAboveCap,
    /// A set-code transaction without an authorization (EIP-7702).
    #[error("EIP-7702 transaction with empty auth list")]
    NoAuthorization,
    /// Its nonce is used.
    #[error("nonce too low: next nonce {expected}, tx nonce {got}")]
    NonceTooLow {
        /// The lowest that would do.
        expected: u64,
        /// The one that came.
        got: u64,
    },
    /// The account cannot pay.
    #[error("insufficient funds for gas * price + value: balance {balance}, tx cost {cost}")]
    Funds {
        /// What it has, in wei.
        balance: U256,
        /// What the transaction may cost, in wei.
        cost: U256,
    },
    /// The sender has code that is no delegation (EIP-3607).
    #[error("sender not an eoa: {0} has code")]
    SenderHasCode(Address),
    /// It is here already.
    #[error("already known")]
    Known,
    /// Another with its nonce is here and offers nearly as much.
    #[error("replacement transaction underpriced")]
    Underpriced,
    /// The pool's own limits.
    #[error("{0}")]
    Pool(String),
    /// The disk does not take it.
    #[error("the transaction could not be made durable: {0}")]
    Disk(String),
    /// The chain's state cannot be read.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The process is about to end.
    #[error("the node is stopping")]
    Stopping,
}

impl From<mempool::Refusal<alloy_primitives::B256>> for Refusal {
    fn from(refusal: mempool::Refusal<alloy_primitives::B256>) -> Self {
        match refusal {
            mempool::Refusal::Duplicate(_) => Self::Known,
            mempool::Refusal::NonceTooLow { expected, got } => Self::NonceTooLow { expected, got },
            mempool::Refusal::Underpriced(_) => Self::Underpriced,
            other => Self::Pool(other.to_string()),
        }
    }
}

impl Pool {
    /// Everything about a transaction that can be said before it executes. Returns it with its sender, the sender's nonce
    /// and the block that says so.
    pub(super) fn check(&self, raw: &Bytes) -> Result<(Signed, (u64, B256)), Refusal> {
        if raw.len() > TRANSACTION_BYTES_MAX {
            return Err(Refusal::Oversized { size: raw.len() });
        }
        let transaction = decode(raw)?;
        self.check_form(&transaction)?;
        let sender = transaction.recover_signer().map_err(|error| Refusal::Sender(error.to_string()))?;
        let nonce = self.check_account(&transaction, sender)?;
        Ok((Signed::new_unchecked(transaction, sender), nonce))
    }

    /// The same for a transaction in disguise, which only this process makes.
    pub(super) fn check_disguised(&self, transaction: Transaction) -> Result<(Signed, (u64, B256)), Refusal> {
        self.check_form(&transaction)?;
        let signed = disguise::recover(self.0.chain.spec(), transaction);
        let signed = signed.map_err(|error| Refusal::Sender(error.to_string()))?;
        let nonce = self.check_account(&signed, signed.signer())?;
        Ok((signed, nonce))
    }

    /// What needs no state.
    fn check_form(&self, transaction: &Transaction) -> Result<(), Refusal> {
        let (chain, head) = (&self.0.chain, self.0.chain.head());
        let spec = chain.spec();
        match transaction.tx_type() {
            OpTxType::Eip7702 if !spec.is_prague_active_at_timestamp(head.timestamp) => return Err(Refusal::Type),
            OpTxType::Eip7702 if transaction.authorization_list().is_none_or(<[_]>::is_empty) => {
                return Err(Refusal::NoAuthorization);
            }
            _ => {}
        }
        // Legacy transactions of before EIP-155 name no chain; geth does not take them over RPC either.
        match transaction.chain_id() {
            Some(have) if have == spec.chain_id() => {}
            have => return Err(Refusal::ChainId { have: have.unwrap_or_default(), want: spec.chain_id() }),
        }
        let gas = transaction.gas_limit();
        if gas > head.gas_limit {
            return Err(Refusal::BlockGas);
        }
        if gas > MAX_TX_GAS_LIMIT_OSAKA && spec.is_osaka_active_at_timestamp(head.timestamp) {
            return Err(Refusal::TransactionGas(gas));
        }
        if transaction.is_create() && transaction.input().len() > MAX_INITCODE_SIZE {
            return Err(Refusal::InitCode(transaction.input().len()));
        }
        if transaction.max_priority_fee_per_gas().is_some_and(|tip| tip > transaction.max_fee_per_gas()) {
            return Err(Refusal::TipAboveCap);
        }
        let environment = chain.environment(&head);
        let needed = revm::interpreter::gas::calculate_initial_tx_gas(
            environment.cfg_env.spec,
            transaction.input(),
            transaction.is_create(),
            transaction.access_list().map_or(0, |list| list.len() as u64),
            transaction.access_list().map_or(0, |list| list.storage_keys_count() as u64),
            transaction.authorization_list().map_or(0, |list| list.len() as u64),
        );
        if gas < needed.initial_total_gas {
            return Err(Refusal::IntrinsicGas { have: gas, want: needed.initial_total_gas });
        }
        if gas < needed.floor_gas {
            return Err(Refusal::FloorGas { have: gas, want: needed.floor_gas });
        }
        Ok(())
    }

    /// What the sender's account allows. Returns its nonce and the newest block, which it was read at.
    fn check_account(&self, transaction: &Transaction, sender: Address) -> Result<(u64, B256), Refusal> {
        let Some(state) = self.0.chain.state(At::Latest)? else { return Err(Refusal::Stopping) };
        let account = state.account(sender)?;
        let nonce = transaction.nonce();
        if nonce < account.nonce {
            return Err(Refusal::NonceTooLow { expected: account.nonce, got: nonce });
        }
        let price = U256::from(transaction.max_fee_per_gas());
        let cost = price.saturating_mul(U256::from(transaction.gas_limit())).saturating_add(transaction.value());
        let cost = cost.saturating_add(self.check_publication(transaction, &state)?);
        if cost > account.balance {
            return Err(Refusal::Funds { balance: account.balance, cost });
        }
        if !account.is_empty_code_hash() && transaction.signature().and_then(disguise::sender).is_none() {
            let code = state.code(sender)?;
            if !code.starts_with(&[0xef, 0x01, 0x00]) {
                return Err(Refusal::SenderHasCode(sender));
            }
        }
        Ok((account.nonce, state.header().seal()))
    }

    /// What bringing the transaction to L1 takes, in wei, as prices stand at the newest block; zero but on a chain of the OP Stack.
    fn check_publication(&self, transaction: &Transaction, state: &StateView) -> Result<U256, Refusal> {
        let Some(publication) = Publication::read(self.0.chain.spec(), state)? else { return Ok(U256::ZERO) };
        let encoded = transaction.encoded_2718();
        let limit = state.header().gas_limit;
        match publication.room(&encoded) {
            // No block could ever hold it.
            Some((size, scalar)) if size.saturating_mul(scalar.into()) > limit => {
                Err(Refusal::Footprint { size, scalar, limit })
            }
            _ => Ok(publication.cost(&encoded, transaction.gas_limit())),
        }
    }
}

fn decode(raw: &Bytes) -> Result<Transaction, Refusal> {
    // A list is a legacy transaction; of the others the first byte is the type.
    match raw.first() {
        None => return Err(Refusal::Malformed("no bytes".into())),
        Some(0xc0..) | Some(0x01 | 0x02 | 0x04) => {}
        Some(_) => return Err(Refusal::Type),
    }
    let mut rest = &raw[..];
    let transaction = Transaction::decode_2718(&mut rest).map_err(|error| Refusal::Malformed(error.to_string()))?;
    if rest.is_empty() { Ok(transaction) } else { Err(Refusal::Malformed("bytes after the transaction's end".into())) }
}
