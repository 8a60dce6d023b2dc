//! Accounts, and signed transfers from them.

use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use starknet_types_core::felt::Felt;
use starknet_types_core::hash::{Poseidon, StarkHash};

use crate::endpoint::Endpoint;

/// The STRK token, at the same address on every network.
pub(crate) const STRK: Felt =
    Felt::from_hex_unchecked("0x04718f5a0fc34cc1af16a1cdee98ffb20c31f5cd61d6ab07201858f4287c938d");
/// `starknet_keccak("transfer")`.
pub(crate) const TRANSFER: Felt =
    Felt::from_hex_unchecked("0x83afd3f4caedc6eebf44246fe54e38c95e3179a5ec9ea81740eca5b482d12e");
/// What each transfer moves: one FRI.
const AMOUNT: u64 = 1;
/// Resource bounds of each transfer: amount and price for L1 gas, L2 gas and L1 data gas. Well above what a transfer takes at a
/// price of 10^9, and still less than a thousandth of a development account's balance.
pub(crate) const BOUNDS: [(&str, &[u8], u64, u128); 3] = [
    ("l1_gas", b"L1_GAS", 30_000, 2_000_000_000),
    ("l2_gas", b"L2_GAS", 6_000_000, 2_000_000_000),
    ("l1_data_gas", b"L1_DATA", 2_000, 2_000_000_000),
];

/// An OpenZeppelin account with its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Account {
    pub(crate) address: Felt,
    pub(crate) private_key: Felt,
}

/// A transfer, signed.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) hash: Felt,
    /// The transaction as `starknet_addInvokeTransaction` takes it.
    pub(crate) json: Value,
    pub(crate) calldata: Vec<Felt>,
    pub(crate) signature: [Felt; 2],
}

impl Account {
    /// A signed v3 invoke transaction that sends one FRI to `recipient`.
    pub(crate) fn transfer(&self, chain_id: Felt, nonce: u64, recipient: Felt) -> Signed {
        let calldata = vec![Felt::ONE, STRK, TRANSFER, Felt::THREE, recipient, Felt::from(AMOUNT), Felt::ZERO];
        let hash = invoke_hash(self.address, chain_id, nonce, &calldata);
        let k = starknet_crypto::rfc6979_generate_k(&hash, &self.private_key, None);
        let signature = starknet_crypto::sign(&self.private_key, &hash, &k)
            .expect("the hash is below 2^251 but for one chance in 2^58, and the nonce is in range by construction");
        let signature = [signature.r, signature.s];
        let bounds: serde_json::Map<String, Value> = BOUNDS
            .iter()
            .map(|(name, _, amount, price)| {
                let bound = json!({"max_amount": format!("{amount:#x}"), "max_price_per_unit": format!("{price:#x}")});
                ((*name).to_owned(), bound)
            })
            .collect();
        let json = json!({
            "type": "INVOKE",
            "version": "0x3",
            "sender_address": hex(&self.address),
            "calldata": calldata.iter().map(hex).collect::<Vec<_>>(),
            "signature": signature.iter().map(hex).collect::<Vec<_>>(),
            "nonce": format!("{nonce:#x}"),
            "resource_bounds": bounds,
            "tip": "0x0",
            "paymaster_data": [],
            "account_deployment_data": [],
            "nonce_data_availability_mode": "L1",
            "fee_data_availability_mode": "L1",
        });
        Signed { hash, json, calldata, signature }
    }
}

/// Hash of a v3 invoke transaction with [`BOUNDS`], no tip, L1 data availability (SNIP-8).
pub(crate) fn invoke_hash(sender: Felt, chain_id: Felt, nonce: u64, calldata: &[Felt]) -> Felt {
    let mut fees = vec![Felt::ZERO];
    fees.extend(BOUNDS.iter().map(|(_, name, amount, price)| {
        let name = Felt::from_bytes_be_slice(name);
        name * Felt::TWO.pow(192u8) + Felt::from(*amount) * Felt::TWO.pow(128u8) + Felt::from(*price)
    }));
    let nothing = Poseidon::hash_array(&[]);
    Poseidon::hash_array(&[
        Felt::from_bytes_be_slice(b"invoke"),
        Felt::THREE,
        sender,
        Poseidon::hash_array(&fees),
        nothing,
        chain_id,
        Felt::from(nonce),
        Felt::ZERO,
        nothing,
        Poseidon::hash_array(calldata),
    ])
}

/// A felt as the specification writes it.
pub(crate) fn hex(felt: &Felt) -> String {
    format!("{felt:#x}")
}

/// Accounts out of a JSON file.
pub(crate) fn from_file(file: &Path) -> anyhow::Result<Vec<Account>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading accounts from {}", file.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{}: expected [{{\"address\": \"0x…\", \"private_key\": \"0x…\"}}]", file.display()))
}

/// The accounts that a development chain says it deployed.
pub(crate) async fn predeployed(endpoint: &Endpoint) -> anyhow::Result<Vec<Account>> {
    endpoint
        .call("devnet_getPredeployedAccounts", json!({}))
        .await
        .context("the chain does not tell its predeployed accounts: name some with --accounts-file")
}

/// The accounts in the text that a server of ours prints when it starts.
pub(crate) fn from_banner(text: &str) -> anyhow::Result<Vec<Account>> {
    let mut accounts = Vec::new();
    let mut address = None;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [number, at, ..] if number.starts_with('#') && at.starts_with("0x") => address = Some(Felt::from_hex(at)?),
            ["private", key] => {
                let Some(address) = address.take() else { bail!("a private key without an address: {line}") };
                accounts.push(Account { address, private_key: Felt::from_hex(key)? });
            }
            _ => (),
        }
    }
    if accounts.is_empty() {
        bail!("the server's banner names no accounts");
    }
    Ok(accounts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use starknet_api::core::ChainId;
    use starknet_api::transaction::{InvokeTransaction, TransactionHasher, TransactionVersion};

    const ACCOUNT: Account =
        Account { address: Felt::from_hex_unchecked("0x1234"), private_key: Felt::from_hex_unchecked("0x5678") };

    #[test]
    fn hashes_agree_with_the_reference() {
        let chain_id = Felt::from_bytes_be_slice(b"SN_SEPOLIA");
        let signed = ACCOUNT.transfer(chain_id, 7, Felt::from(0x99));
        let reference: InvokeTransaction = crate::ceiling::invoke(&ACCOUNT, 7, &signed).into();
        let hash = reference
            .calculate_transaction_hash(&ChainId::Sepolia, &TransactionVersion::THREE)
            .expect("a version 3 transaction has a hash");
        assert_eq!(hash.0, signed.hash);
        let key = starknet_crypto::get_public_key(&ACCOUNT.private_key);
        let valid = starknet_crypto::verify(&key, &signed.hash, &signed.signature[0], &signed.signature[1]);
        assert!(valid.is_ok_and(|valid| valid));
    }

    #[test]
    fn banners_are_read() {
        let text = "Sequenza\n\n  #0  0x12  10 STRK and ETH\n      private 0xab\n      public  0xcd\n  #1  0x13  1 STRK\n      private 0xac\n";
        let accounts = from_banner(text).expect("two accounts");
        assert_eq!(accounts.len(), 2);
        assert_eq!(accounts[1], Account { address: Felt::from(0x13), private_key: Felt::from(0xac) });
        assert!(from_banner("nothing here").is_err());
    }
}
