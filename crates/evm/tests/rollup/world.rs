//! A sequencing node's engine and a verifying one beside it, both driven through the Engine API.

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::eip2718::Encodable2718;
use alloy_genesis::Genesis;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, address};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use evm::engine_api::{EngineApi, EngineError};
use evm::rpc::EthRpc;
use evm::{At, BlockPolicy, Chain, EvmBackend, Pool};
use op_alloy_consensus::{OpTxEnvelope, TxDeposit};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Earns the tips.
pub(crate) const SEQUENCER_VAULT: Address = address!("0x4200000000000000000000000000000000000011");
/// Where the base fee goes.
pub(crate) const BASE_FEE_VAULT: Address = address!("0x4200000000000000000000000000000000000019");
/// Where the fee for the room on L1 goes.
pub(crate) const L1_FEE_VAULT: Address = address!("0x420000000000000000000000000000000000001a");
/// Where the operator's fee goes.
pub(crate) const OPERATOR_VAULT: Address = address!("0x420000000000000000000000000000000000001b");

/// Which versions of the methods a fork is driven with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Versions {
    pub(crate) update: u8,
    pub(crate) give: u8,
    pub(crate) fetch: u8,
}

pub(crate) struct Engine {
    pub(crate) chain: Chain,
    pub(crate) pool: Pool,
    api: EngineApi,
    rpc: EthRpc,
    _folder: TempDir,
}

impl Engine {
    pub(crate) fn new(genesis: &Genesis) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let chain = Chain::open(&folder.path().join("chain"), Some(genesis.clone())).expect("opens");
        let (limits, order) = (mempool::Limits::default(), mempool::Order::Tip);
        let pool = Pool::open(&folder.path().join("pool"), &chain, limits, order).expect("opens");
        let policy = BlockPolicy {
            beneficiary: SEQUENCER_VAULT,
            gas_limit: genesis.gas_limit,
            extra_data: Bytes::new(),
            empty_blocks: true,
        };
        let backend = EvmBackend::new(chain.clone(), pool.clone(), policy);
        let api = EngineApi::new(chain.clone(), pool.clone(), backend);
        let rpc = EthRpc::new(chain.clone(), pool.clone(), Default::default(), None);
        Self { chain, pool, api, rpc, _folder: folder }
    }

    pub(crate) async fn ask(&self, method: &str, params: Value) -> Result<Value, EngineError> {
        let params = RawValue::from_string(params.to_string()).expect("JSON");
        let answer = self.api.call(method, Some(&params)).await?;
        Ok(serde_json::from_str(answer.get()).expect("JSON"))
    }

    pub(crate) async fn rpc(&self, method: &str, params: Value) -> Value {
        let params = RawValue::from_string(params.to_string()).expect("JSON");
        let answer = self.rpc.call(method, Some(&params)).await.expect("answered");
        serde_json::from_str(answer.get()).expect("JSON")
    }

    /// Makes a block the head, and orders one on top of it where attributes are given.
    pub(crate) async fn update(&self, version: u8, head: B256, attributes: Value) -> Result<Value, EngineError> {
        let state = json!({ "headBlockHash": head, "safeBlockHash": B256::ZERO, "finalizedBlockHash": B256::ZERO });
        self.ask(&format!("engine_forkchoiceUpdatedV{version}"), json!([state, attributes])).await
    }

    /// Orders a block on the head and fetches it.
    pub(crate) async fn build(&self, versions: Versions, attributes: Value) -> Value {
        let updated = self.update(versions.update, self.chain.head().seal(), attributes).await.expect("ordered");
        assert_eq!(updated["payloadStatus"]["status"], "VALID", "{updated}");
        let method = format!("engine_getPayloadV{}", versions.fetch);
        self.ask(&method, json!([updated["payloadId"]])).await.expect("fetched")
    }

    /// Brings a block and makes it the head.
    pub(crate) async fn adopt(&self, versions: Versions, payload: &Value, beacon_root: B256) {
        let params = match versions.give {
            1 | 2 => json!([payload]),
            3 => json!([payload, [], beacon_root]),
            _ => json!([payload, [], beacon_root, []]),
        };
        let status = self.ask(&format!("engine_newPayloadV{}", versions.give), params).await.expect("taken");
        assert_eq!(status["status"], "VALID", "{status} of {payload:#}");
        let hash: B256 = payload["blockHash"].as_str().and_then(|hash| hash.parse().ok()).expect("a hash");
        let updated = self.update(versions.update, hash, Value::Null).await.expect("updated");
        assert_eq!(updated["payloadStatus"]["status"], "VALID", "{updated}");
        assert_eq!(self.chain.head().seal(), hash);
    }

    pub(crate) fn balance(&self, address: Address) -> U256 {
        self.chain.state(At::Latest).expect("readable").expect("there").account(address).expect("readable").balance
    }

    pub(crate) fn code_hash(&self, address: Address) -> B256 {
        self.chain.state(At::Latest).expect("readable").expect("there").account(address).expect("readable").code_hash
    }
}

/// A user's deposit.
pub(crate) fn deposit(number: u64, from: Address, to: TxKind, mint: u128, value: U256, gas_limit: u64) -> Bytes {
    let deposit = TxDeposit {
        source_hash: B256::left_padding_from(&number.to_be_bytes()),
        from,
        to,
        mint,
        value,
        gas_limit,
        is_system_transaction: false,
        input: Bytes::new(),
    };
    OpTxEnvelope::from(deposit).encoded_2718().into()
}

/// A transfer of one wei.
pub(crate) fn transfer(key: &PrivateKeySigner, chain_id: u64, nonce: u64, to: Address) -> Bytes {
    let transaction = TxEip1559 {
        chain_id,
        nonce,
        gas_limit: 100_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 7,
        to: TxKind::Call(to),
        value: U256::ONE,
        ..TxEip1559::default()
    };
    let signature = key.sign_hash_sync(&transaction.signature_hash()).expect("signs");
    OpTxEnvelope::from(transaction.into_signed(signature)).encoded_2718().into()
}
