//! The engine in this process: an EVM chain in the data folder, called without a network.

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::Bytes;
use async_trait::async_trait;
use engine::{CallError, Transport};
use evm::engine_api::EngineApi;
use evm::rpc::EthRpc;
use evm::{BlockPolicy, Chain, ChainError, EvmBackend, Pool};
use mempool::Order;
use optimism::SEQUENCER_FEE_VAULT;
use rpc::Namespace;
use serde_json::Value;
use serde_json::value::RawValue;
use store::DataDir;

use super::super::evm::{chain_failure, pool_failure, read_genesis, register};
use super::super::folder::CHAIN;
use super::super::namespace::Ethereum;
use super::super::process::{Process, blocking};
use super::super::starknet::pool_limits;
use crate::config::PoolLimits;
use crate::exit::{Exit, Failure};

/// The chain and how it is called.
pub(super) struct Embedded {
    pub(super) transport: Arc<dyn Transport>,
    /// Its JSON-RPC.
    pub(super) methods: Arc<dyn Namespace>,
}

impl Embedded {
    /// Opens the chain, or begins it with this genesis.
    ///
    /// # Errors
    /// With the exit code of the fault.
    pub(super) async fn open(
        folder: &DataDir,
        genesis: Option<&Path>,
        limits: &PoolLimits,
        process: &mut Process,
    ) -> Result<Self, Failure> {
        let (place, pool_place, genesis) = (folder.join(CHAIN), folder.join("pool"), genesis.map(Path::to_owned));
        let limits = pool_limits(limits);
        let (chain, pool) = blocking(move || {
            let chain = open_chain(&place, genesis.as_deref())?;
            let pool = Pool::open(&pool_place, &chain, limits, Order::Tip).map_err(pool_failure)?;
            Ok((chain, pool))
        })
        .await?;
        register(process, &chain, &pool);
        let policy = BlockPolicy {
            beneficiary: SEQUENCER_FEE_VAULT,
            gas_limit: chain.head().gas_limit,
            extra_data: Bytes::new(),
            empty_blocks: true,
        };
        let backend = EvmBackend::new(chain.clone(), pool.clone(), policy);
        let rpc = || EthRpc::new(chain.clone(), pool.clone(), evm::rpc::Limits::default(), None);
        let api = EngineApi::new(chain.clone(), pool.clone(), backend);
        Ok(Self { transport: Arc::new(InProcess { api, rpc: rpc() }), methods: Arc::new(Ethereum(rpc())) })
    }
}

fn open_chain(place: &Path, genesis: Option<&Path>) -> Result<Chain, Failure> {
    let given = genesis.map(|path| read_genesis("l2-genesis", path)).transpose()?;
    let kept = place.join("blocks").is_dir().then(|| Chain::open(place, None));
    match (kept, given) {
        // A folder that a crash left before the chain began holds none yet.
        (None | Some(Err(ChainError::Genesis(_))), Some(genesis)) => {
            Chain::open(place, Some(genesis)).map_err(chain_failure)
        }
        (None, None) => {
            let remedy = "name its genesis in geth's format by --l2-genesis, or an engine by --l2-engine-rpc";
            Err(Failure::new(Exit::Usage, format!("the embedded chain is new: {remedy}")))
        }
        (Some(kept), given) => {
            let chain = kept.map_err(chain_failure)?;
            match given {
                Some(given) if *chain.genesis() != given => {
                    let remedy = "give the genesis of then or none, or choose another folder with --db-path";
                    let text =
                        format!("--l2-genesis: the chain in {} began with another one: {remedy}", place.display());
                    Err(Failure::new(Exit::Configuration, text))
                }
                _ => Ok(chain),
            }
        }
    }
}

struct InProcess {
    api: EngineApi,
    rpc: EthRpc,
}

#[async_trait]
impl Transport for InProcess {
    async fn call(&self, method: &str, params: Value) -> Result<Value, CallError> {
        let params = serde_json::value::to_raw_value(&params).map_err(garbled)?;
        let answer: Box<RawValue> = if method.starts_with("engine_") {
            let answer = self.api.call(method, Some(&params)).await;
            answer.map_err(|error| CallError::Rpc { code: error.code, message: error.to_string() })?
        } else {
            let answer = self.rpc.call(method, Some(&params)).await;
            answer.map_err(|error| CallError::Rpc { code: error.code, message: error.message })?
        };
        serde_json::from_str(answer.get()).map_err(garbled)
    }
}

fn garbled(error: serde_json::Error) -> CallError {
    CallError::Garbled(error.to_string())
}
