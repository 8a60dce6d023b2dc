//! Accounts that both chains fund at their start, and signed transactions from them.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex};
use alloy_signer::SignerSync;
use alloy_signer_local::coins_bip39::English;
use alloy_signer_local::{MnemonicBuilder, PrivateKeySigner};
use anyhow::Context;
use rayon::prelude::*;

use crate::endpoint::request;

/// anvil's words, which are ours as well.
const MNEMONIC: &str = "test test test test test test test test test test test junk";
/// What both chains call themselves.
pub(crate) const CHAIN_ID: u64 = 31_337;
/// Far above what a base fee comes to, in wei.
const PRICE: u128 = 100_000_000_000;
/// Gas of a transfer of ether.
const TRANSFER_GAS: u64 = 21_000;
/// Gas that a transfer of the token may use.
const TOKEN_GAS: u64 = 100_000;

/// A token in the shape of ERC-20's two functions that matter here, written by hand. Its maker owns 2^128; `transfer` keeps balances where
/// Solidity keeps a mapping at slot 0, refuses what is not there, and logs `Transfer`.
const TOKEN: &[u8] = &hex!(
    "336000526000602052600160801b60406000205560a8602060003960a86000f3" // the maker's balance; the code that follows
    "60003560e01c8063a9059cbb14601e576370a082311460885760006000fd"     // which function
    "5b503360005260006020526040600020805460243580821060a2578091038255" // transfer: from
    "90506004356000526040600020805482019055"                           // to
    "600052600435337fddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef60206000a3600160005260206000f3"
    "5b600435600052600060205260406000205460005260206000f3" // balanceOf
    "5b60006000fd"
);

/// A key with its address.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    key: PrivateKeySigner,
    /// What the chain that it sends on calls itself.
    chain_id: u64,
}

/// A signed transaction as it is sent.
pub(crate) struct Signed {
    pub(crate) hash: B256,
    /// The whole JSON-RPC request.
    pub(crate) body: String,
}

impl Account {
    /// The first accounts of the development mnemonic, for the chain of this id.
    pub(crate) fn development(count: usize, chain_id: u64) -> anyhow::Result<Vec<Self>> {
        let key = |index| {
            let built = MnemonicBuilder::<English>::default().phrase(MNEMONIC).index(index)?.build()?;
            Ok(Self { key: built, chain_id })
        };
        (0..u32::try_from(count).context("--accounts")?).into_par_iter().map(key).collect()
    }

    pub(crate) fn address(&self) -> Address {
        self.key.address()
    }

    /// The token's creation.
    pub(crate) fn create_token(&self, nonce: u64) -> Signed {
        self.sign(nonce, TxKind::Create, U256::ZERO, Bytes::from_static(TOKEN), 1_000_000)
    }

    /// One wei to `to`.
    pub(crate) fn transfer(&self, nonce: u64, to: Address) -> Signed {
        self.sign(nonce, TxKind::Call(to), U256::ONE, Bytes::new(), TRANSFER_GAS)
    }

    /// Some of the token to `to`.
    pub(crate) fn transfer_token(&self, token: Address, nonce: u64, to: Address, amount: u64) -> Signed {
        let mut input = hex!("a9059cbb").to_vec();
        input.extend(to.into_word());
        input.extend(B256::left_padding_from(&amount.to_be_bytes()));
        self.sign(nonce, TxKind::Call(token), U256::ZERO, input.into(), TOKEN_GAS)
    }

    fn sign(&self, nonce: u64, to: TxKind, value: U256, input: Bytes, gas_limit: u64) -> Signed {
        let transaction = TxEip1559 {
            chain_id: self.chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: PRICE,
            max_priority_fee_per_gas: 1,
            to,
            value,
            access_list: Default::default(),
            input,
        };
        let signature = self.key.sign_hash_sync(&transaction.signature_hash());
        let signature = signature.expect("a key signs any hash but for one chance in 2^127");
        let signed = TxEnvelope::from(transaction.into_signed(signature));
        let raw = Bytes::from(signed.encoded_2718());
        Signed { hash: *signed.tx_hash(), body: request("eth_sendRawTransaction", &serde_json::json!([raw])) }
    }
}
