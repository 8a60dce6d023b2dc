//! A Starknet account that signs by itself, written from the specification and independent of every client library.
//!
//! Transaction hash of an INVOKE of version 3: <https://docs.starknet.io/learn/cheatsheets/transactions-reference>.

use serde_json::{Value, json};
use starknet_crypto::{Felt, get_public_key, poseidon_hash_many, rfc6979_generate_k, sign};
use starknet_types_core::hash::{Poseidon, StarkHash};

use crate::STRK;

/// `sn_keccak("transfer")`.
const TRANSFER: &str = "0x83afd3f4caedc6eebf44246fe54e38c95e3179a5ec9ea81740eca5b482d12e";

/// Bounds that suffice for a transfer at the prices of a development chain.
const BOUNDS: [Bound; 3] = [
    Bound { name: b"L1_GAS", amount: 100_000, price: 1_000_000_000_000_000 },
    Bound { name: b"L2_GAS", amount: 20_000_000, price: 100_000_000_000 },
    Bound { name: b"L1_DATA", amount: 100_000, price: 1_000_000_000_000_000 },
];

/// What a transaction may use of one resource.
struct Bound {
    name: &'static [u8],
    amount: u64,
    price: u128,
}

impl Bound {
    /// Name, amount (64 bits) and price (128 bits), packed into one field element.
    fn packed(&self) -> Felt {
        let mut bytes = [0; 32];
        bytes[8 - self.name.len()..8].copy_from_slice(self.name);
        bytes[8..16].copy_from_slice(&self.amount.to_be_bytes());
        bytes[16..].copy_from_slice(&self.price.to_be_bytes());
        Felt::from_bytes_be(&bytes)
    }

    fn to_json(&self) -> Value {
        json!({ "max_amount": format!("{:#x}", self.amount), "max_price_per_unit": format!("{:#x}", self.price) })
    }
}

/// A funded account and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its address.
    pub address: Felt,
    /// Its private key.
    pub private_key: Felt,
}

/// A transfer of STRK, signed and ready to be sent.
#[derive(Debug, Clone)]
pub struct SignedTransfer {
    /// The hash that the chain will know it by.
    pub hash: Felt,
    /// The sender's nonce.
    pub nonce: u64,
    /// The transaction as `starknet_addInvokeTransaction` takes it.
    pub transaction: Value,
}

impl Account {
    /// The accounts that a start-up banner shows: `#0  0x1…` and, below it, `private 0x2…`. After a restart the banner
    /// is there twice; each account comes once.
    pub fn from_banner(banner: &str) -> Vec<Account> {
        let mut accounts: Vec<Account> = Vec::new();
        let mut address = None;
        for line in banner.lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next().and_then(|word| Felt::from_hex(word).ok())) {
                (Some(mark), Some(felt)) if mark.starts_with('#') => address = Some(felt),
                (Some("private"), Some(private_key)) => {
                    let found = address.take().map(|address| Account { address, private_key });
                    accounts.extend(found.filter(|found| !accounts.contains(found)));
                }
                _ => {}
            }
        }
        accounts
    }

    /// Address and keys by the names that the scripts of the other clients read.
    pub fn to_json(&self) -> Value {
        json!({
            "address": hex(&self.address),
            "privateKey": hex(&self.private_key),
            "publicKey": hex(&get_public_key(&self.private_key)),
        })
    }

    /// Signs a transfer of `amount` of STRK's smallest unit for the chain `chain_id`.
    pub fn transfer(&self, chain_id: Felt, nonce: u64, recipient: Felt, amount: u64) -> SignedTransfer {
        let calldata = [
            Felt::ONE,
            Felt::from_hex_unchecked(STRK),
            Felt::from_hex_unchecked(TRANSFER),
            Felt::THREE,
            recipient,
            Felt::from(amount),
            Felt::ZERO,
        ];
        let hash = self.invoke_hash(chain_id, nonce, &calldata);
        let k = rfc6979_generate_k(&hash, &self.private_key, None);
        let signature = sign(&self.private_key, &hash, &k).expect("a k made for this message and key signs it");
        let [l1_gas, l2_gas, l1_data_gas] = BOUNDS.map(|bound| bound.to_json());
        let transaction = json!({
            "type": "INVOKE",
            "version": "0x3",
            "sender_address": hex(&self.address),
            "calldata": calldata.iter().map(hex).collect::<Vec<_>>(),
            "signature": [hex(&signature.r), hex(&signature.s)],
            "nonce": format!("{nonce:#x}"),
            "resource_bounds": { "l1_gas": l1_gas, "l2_gas": l2_gas, "l1_data_gas": l1_data_gas },
            "tip": "0x0",
            "paymaster_data": [],
            "account_deployment_data": [],
            "nonce_data_availability_mode": "L1",
            "fee_data_availability_mode": "L1",
        });
        SignedTransfer { hash, nonce, transaction }
    }

    fn invoke_hash(&self, chain_id: Felt, nonce: u64, calldata: &[Felt]) -> Felt {
        let [l1_gas, l2_gas, l1_data_gas] = BOUNDS.map(|bound| bound.packed());
        let tip = Felt::ZERO;
        let nothing = Poseidon::hash_array(&[]);
        poseidon_hash_many(&[
            Felt::from_bytes_be_slice(b"invoke"),
            Felt::THREE,
            self.address,
            poseidon_hash_many(&[tip, l1_gas, l2_gas, l1_data_gas]),
            nothing,
            chain_id,
            Felt::from(nonce),
            Felt::ZERO,
            nothing,
            poseidon_hash_many(calldata),
        ])
    }
}

/// A field element as JSON-RPC writes it.
pub fn hex(felt: &Felt) -> String {
    format!("{felt:#x}")
}

#[cfg(test)]
mod tests {
    use super::{Account, Felt, TRANSFER};

    #[test]
    fn reads_the_accounts_of_a_banner() {
        let banner =
            "Sequenza\n\n  #0  0x10  5 STRK\n      private 0x11\n      public  0x12\n  #1  0x20\n      private 0x21\n";
        let accounts = Account::from_banner(&banner.repeat(2));
        let felts: Vec<_> = accounts.iter().map(|account| (account.address, account.private_key)).collect();
        assert_eq!(felts, [(0x10.into(), 0x11.into()), (0x20.into(), 0x21.into())]);
    }

    /// Guards against a crash test that judges the chain by hashes which nobody else would compute. The expected hash
    /// was computed with starknet.js 10.8.0 for the same transaction.
    #[test]
    fn hashes_as_other_clients_do() {
        let account = Account { address: Felt::from(0x1234), private_key: Felt::from(0xabcd) };
        let signed = account.transfer(Felt::from_bytes_be_slice(b"SN_SEPOLIA"), 7, Felt::from(0x99), 1_000);
        assert_eq!(super::hex(&signed.hash), "0x312a0bb9e756c79965c89cb720f6bd49f11ac53b1bba3cda984d92664e4c182");
        assert_eq!(signed.transaction["calldata"][2], TRANSFER);
    }
}
