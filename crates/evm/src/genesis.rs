//! Block 0: out of a genesis file in geth's format, or made for development.

use std::collections::BTreeMap;

use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header, proofs};
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_eips::{eip2935, eip4788, eip7002, eip7251};
use alloy_genesis::{Genesis, GenesisAccount};
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};

use crate::block::{Account, StateChanges};
use crate::execute::{self, Roots};
use crate::{ChainError, ChainSpec};

/// Gas of a development chain's block: anvil's default.
pub const DEV_GAS_LIMIT: u64 = 30_000_000;
/// Base fee of a development chain's first block in wei: 1 gwei.
pub const DEV_BASE_FEE: u64 = 1_000_000_000;

/// A development chain's block 0.
#[derive(Clone, Debug)]
pub struct DevGenesis {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Who has how much from the start, in wei.
    pub balances: Vec<(Address, U256)>,
    /// Gas of a block.
    pub gas_limit: u64,
    /// Base fee of block 0 in wei.
    pub base_fee: u64,
    /// When block 0 was, in seconds since the epoch.
    pub timestamp: u64,
}

impl DevGenesis {
    /// The same as a genesis file says it: all of Osaka's rules, with the system contracts that these rules call.
    pub fn into_file(self) -> Genesis {
        let system = [
            (eip4788::BEACON_ROOTS_ADDRESS, &eip4788::BEACON_ROOTS_CODE),
            (eip2935::HISTORY_STORAGE_ADDRESS, &eip2935::HISTORY_STORAGE_CODE),
            (eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, &eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_CODE),
            (eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, &eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_CODE),
        ];
        let contract = |code: &Bytes| GenesisAccount { nonce: Some(1), code: Some(code.clone()), ..Default::default() };
        let mut alloc: BTreeMap<Address, GenesisAccount> =
            system.into_iter().map(|(address, code)| (address, contract(code))).collect();
        for (address, balance) in self.balances {
            alloc.entry(address).or_default().balance = balance;
        }
        Genesis {
            config: ChainSpec::dev(self.chain_id),
            timestamp: self.timestamp,
            gas_limit: self.gas_limit,
            base_fee_per_gas: Some(self.base_fee.into()),
            alloc,
            ..Genesis::default()
        }
    }
}

/// Reads a genesis file in geth's format.
///
/// # Errors
/// [`ChainError::Genesis`] with the line and what is wrong there.
pub fn parse(text: &str) -> Result<Genesis, ChainError> {
    serde_json::from_str(text).map_err(|error| ChainError::Genesis(error.to_string()))
}

/// What block 0 writes.
pub(crate) fn changes(genesis: &Genesis) -> StateChanges {
    let mut changes = StateChanges::default();
    for (address, account) in &genesis.alloc {
        let code = account.code.clone().filter(|code| !code.is_empty());
        let code_hash = code.as_ref().map_or(alloy_consensus::constants::KECCAK_EMPTY, keccak256);
        if let Some(code) = code {
            changes.code.insert(code_hash, code);
        }
        let nonce = account.nonce.unwrap_or_default();
        changes.accounts.insert(*address, Some(Account { nonce, balance: account.balance, code_hash }));
        let slots: BTreeMap<U256, U256> =
            account.storage_slots().map(|(slot, value)| (U256::from_be_bytes(slot.0), value)).collect();
        if !slots.is_empty() {
            changes.storage.insert(*address, slots);
        }
    }
    changes
}

/// The header of block 0 over a state with these roots.
pub(crate) fn header(genesis: &Genesis, spec: &ChainSpec, roots: Roots) -> Header {
    let time = genesis.timestamp;
    let cancun = spec.is_cancun_active_at_timestamp(time);
    Header {
        parent_hash: genesis.parent_hash.unwrap_or_default(),
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: genesis.coinbase,
        state_root: roots.state,
        transactions_root: proofs::calculate_transaction_root::<crate::Transaction>(&[]),
        receipts_root: proofs::calculate_receipt_root::<crate::Receipt>(&[]),
        difficulty: genesis.difficulty,
        number: genesis.number.unwrap_or_default(),
        gas_limit: genesis.gas_limit,
        timestamp: time,
        extra_data: genesis.extra_data.clone(),
        mix_hash: genesis.mix_hash,
        nonce: genesis.nonce.into(),
        base_fee_per_gas: Some(genesis.base_fee_per_gas.and_then(|fee| fee.try_into().ok()).unwrap_or(DEV_BASE_FEE)),
        withdrawals_root: execute::withdrawals_root(spec, time, roots.messages),
        blob_gas_used: cancun.then_some(genesis.blob_gas_used.unwrap_or_default()),
        excess_blob_gas: cancun.then_some(genesis.excess_blob_gas.unwrap_or_default()),
        parent_beacon_block_root: cancun.then_some(B256::ZERO),
        requests_hash: spec.is_prague_active_at_timestamp(time).then_some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}
