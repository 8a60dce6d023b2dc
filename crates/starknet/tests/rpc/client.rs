//! A client: makes and signs transactions as wallets do, in the JSON of the specification.

use serde_json::{Value, json};
use starknet_api::core::ChainId;
use starknet_api::rpc_transaction::{
    InternalRpcDeclareTransactionV3, RpcDeployAccountTransactionV3, RpcInvokeTransactionV3,
};
use starknet_api::transaction::{Transaction, TransactionHash};
use starknet_types_core::felt::Felt;

pub(crate) const STRK: &str = "0x4718f5a0fc34cc1af16a1cdee98ffb20c31f5cd61d6ab07201858f4287c938d";

/// Set in the version of transactions that are only simulated.
const QUERY_BIT: u32 = 128;

/// An account with its key.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) address: Felt,
    pub(crate) private_key: Felt,
    pub(crate) chain_id: ChainId,
}

/// One call of a multicall.
pub(crate) struct Call {
    pub(crate) to: Felt,
    pub(crate) selector: Felt,
    pub(crate) calldata: Vec<Felt>,
}

/// What a transaction has besides its calls.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) nonce: u64,
    pub(crate) tip: u64,
    pub(crate) l2_gas: u64,
    pub(crate) l2_price: u128,
    pub(crate) query: bool,
}

impl Terms {
    pub(crate) fn nonce(nonce: u64) -> Self {
        Self { nonce, tip: 0, l2_gas: 200_000_000, l2_price: 100_000_000_000, query: false }
    }

    fn json(&self) -> Value {
        let bound = |amount: u64, price: u128| json!({"max_amount": format!("{amount:#x}"), "max_price_per_unit": format!("{price:#x}")});
        json!({
            "version": if self.query { "0x100000000000000000000000000000003" } else { "0x3" },
            "nonce": format!("{:#x}", self.nonce),
            "tip": format!("{:#x}", self.tip),
            "paymaster_data": [],
            "nonce_data_availability_mode": "L1",
            "fee_data_availability_mode": "L1",
            "resource_bounds": {
                "l1_gas": bound(100_000, 100_000_000_000_000),
                "l1_data_gas": bound(100_000, 100_000_000_000_000),
                "l2_gas": bound(self.l2_gas, self.l2_price),
            },
            "signature": [],
        })
    }
}

pub(crate) fn selector(name: &str) -> Felt {
    starknet_api::abi::abi_utils::selector_from_name(name).0
}

pub(crate) fn hex(felt: Felt) -> String {
    format!("{felt:#x}")
}

fn with(mut base: Value, more: Value) -> Value {
    let (Value::Object(base_members), Value::Object(more)) = (&mut base, more) else { panic!("two objects") };
    base_members.extend(more);
    base
}

impl Account {
    /// An INVOKE of `calls`, signed.
    pub(crate) fn invoke(&self, terms: Terms, calls: &[Call]) -> Value {
        let mut calldata = vec![Felt::from(calls.len())];
        for call in calls {
            calldata.extend([call.to, call.selector, Felt::from(call.calldata.len())]);
            calldata.extend(&call.calldata);
        }
        let transaction = with(
            terms.json(),
            json!({
                "type": "INVOKE",
                "sender_address": hex(self.address),
                "calldata": calldata.into_iter().map(hex).collect::<Vec<_>>(),
                "account_deployment_data": [],
            }),
        );
        self.sign(transaction)
    }

    /// A transfer of STRK.
    pub(crate) fn transfer(&self, terms: Terms, to: Felt, amount: u128) -> Value {
        let calldata = vec![to, Felt::from(amount), Felt::ZERO];
        let to = Felt::from_hex(STRK).expect("an address");
        self.invoke(terms, &[Call { to, selector: selector("transfer"), calldata }])
    }

    /// A DECLARE of a Sierra class, as its JSON, signed.
    pub(crate) fn declare(&self, terms: Terms, class: &Value, compiled_class_hash: Felt) -> Value {
        let transaction = with(
            terms.json(),
            json!({
                "type": "DECLARE",
                "sender_address": hex(self.address),
                "compiled_class_hash": hex(compiled_class_hash),
                "contract_class": class,
                "account_deployment_data": [],
            }),
        );
        self.sign(transaction)
    }

    /// A DEPLOY_ACCOUNT of the class for this key, signed.
    pub(crate) fn deploy(&self, terms: Terms, class_hash: Felt, salt: Felt) -> Value {
        let public_key = starknet_crypto::get_public_key(&self.private_key);
        let transaction = with(
            terms.json(),
            json!({
                "type": "DEPLOY_ACCOUNT",
                "class_hash": hex(class_hash),
                "contract_address_salt": hex(salt),
                "constructor_calldata": [hex(public_key)],
            }),
        );
        self.sign(transaction)
    }

    /// Signs the hash of a transaction in JSON.
    pub(crate) fn sign(&self, mut transaction: Value) -> Value {
        let hash = hash(&transaction, &self.chain_id).0;
        let k = starknet_crypto::rfc6979_generate_k(&hash, &self.private_key, None);
        let signature = starknet_crypto::sign(&self.private_key, &hash, &k).expect("k is sound");
        transaction["signature"] = json!([hex(signature.r), hex(signature.s)]);
        transaction
    }
}

/// The hash of a submitted transaction.
pub(crate) fn hash(json: &Value, chain_id: &ChainId) -> TransactionHash {
    let query = json["version"] != "0x3";
    let transaction: Transaction = match json["type"].as_str().expect("a type") {
        "INVOKE" => {
            let transaction: RpcInvokeTransactionV3 = serde_json::from_value(json.clone()).expect("an invoke");
            Transaction::Invoke(starknet_api::transaction::InvokeTransaction::V3(transaction.into()))
        }
        "DEPLOY_ACCOUNT" => {
            let transaction: RpcDeployAccountTransactionV3 =
                serde_json::from_value(json.clone()).expect("a deployment");
            Transaction::DeployAccount(starknet_api::transaction::DeployAccountTransaction::V3(transaction.into()))
        }
        _ => {
            let class: starknet_api::state::SierraContractClass =
                serde_json::from_value(json["contract_class"].clone()).expect("a class");
            let mut json = json.clone();
            json["class_hash"] = serde_json::to_value(class.calculate_class_hash()).expect("a hash");
            let transaction: InternalRpcDeclareTransactionV3 = serde_json::from_value(json).expect("a declaration");
            Transaction::Declare(starknet_api::transaction::DeclareTransaction::V3(transaction.into()))
        }
    };
    if !query {
        return transaction.calculate_transaction_hash(chain_id).expect("a hash");
    }
    use starknet_api::transaction::{TransactionHasher, TransactionVersion};
    let version = TransactionVersion(Felt::THREE + Felt::TWO.pow(QUERY_BIT));
    let hash = match &transaction {
        Transaction::Invoke(transaction) => transaction.calculate_transaction_hash(chain_id, &version),
        Transaction::DeployAccount(transaction) => transaction.calculate_transaction_hash(chain_id, &version),
        Transaction::Declare(transaction) => transaction.calculate_transaction_hash(chain_id, &version),
        other => panic!("{other:?} is not submitted"),
    };
    hash.expect("a hash")
}
