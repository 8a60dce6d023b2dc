//! `sequenza starknet`.

use std::sync::Arc;

use mempool::Order;
use sequencer::AgreementConfig;
use starknet::admission::AdmissionLimits;
use starknet::backend::StarknetBackend;
use starknet::compiler::CompilerBounds;
use starknet::config::GasPriceConfig;
use starknet::pool::{Pool, PoolConfig, PoolError};
use starknet::rpc::StarknetRpc;
use starknet::{Chain, ChainError};
use starknet_api::block::{GasPrice, NonzeroGasPrice};
use starknet_api::core::{ChainId, ContractAddress, PatriciaKey};
use starknet_types_core::felt::Felt;
use store::DataDir;

use super::drive;
use super::folder::{CHAIN, exit_of, exit_of_kind, open_folder};
use super::gauges::{Figures, Gauges};
use super::namespace::Starknet as StarknetNamespace;
use super::process::{Process, blocking};
use crate::banner::{Account, Banner, Places};
use crate::config::{self, ChainSettings, Compilation};
use crate::exit::{Exit, Failure};
use crate::keys;

/// Where JSON-RPC is answered. The last ones are how Juno and the devnets name the same.
const RPC_PATHS: [&str; 8] = ["/", "/rpc", "/rpc/v0_10", "/v0_10", "/ws", "/ws/v0_10", "/ws/rpc/v0_10", "/rpc/v0_10/"];

/// Runs the chain until it is told to stop or a part of it ends.
///
/// # Errors
/// With the reason and the exit code.
pub(crate) async fn run(settings: config::Starknet) -> Result<(), Failure> {
    let mut process = Process::begin(&settings.endpoints).await?;
    let chain_settings = settings.clone();
    let Opened { folder, chain } = blocking(move || open_chain(&chain_settings)).await?;
    let pool = open_pool(&settings, &folder, &chain).await?;
    let backend =
        StarknetBackend::start(chain.clone(), Arc::new(pool.clone()), settings.empty_blocks).map_err(chain_failure)?;
    let (seen, waiting) = (chain.clone(), pool.clone());
    process.registry.register_collector(Box::new(Gauges::new(move || {
        let (head, load) = (seen.head(), waiting.load());
        Figures {
            head: head.number.0,
            head_time: head.timestamp.0,
            pool_transactions: load.transactions as u64,
            pool_bytes: load.bytes as u64,
            pool_disk_bytes: Some(load.disk_bytes),
            pool_in_flight: None,
        }
    })));
    let timetable = drive::each("seq-block-time", settings.block_time)?;
    let driver = drive::start(timetable, AgreementConfig::Solo, &folder, Arc::new(backend), &mut process).await?;
    let limits = starknet::rpc::Limits {
        event_page: settings.event_page_max,
        executions: settings.executions,
        admission: admission(&settings.compilation),
        ..starknet::rpc::Limits::default()
    };
    let namespace = Arc::new(StarknetNamespace(StarknetRpc::new(chain.clone(), pool, limits)));
    let greeting = format!(
        "Sequenza {}: the JSON-RPC endpoint of the Starknet chain {}.\nSend requests by POST, or open a WebSocket. \
         Health is at /readyz, metrics at /metrics; rpc.discover describes every method.\n",
        env!("CARGO_PKG_VERSION"),
        settings.chain.chain_id
    );
    let service = process.service(&settings.rpc, settings.cors_any, greeting, drive::health(&driver));
    let service = RPC_PATHS.iter().fold(service, |service, path| service.mount(path, namespace.clone()));
    let banner = banner(&settings, &chain, process.places("/ws")).text();
    let ended = process.run(&banner, service).await;
    drop((driver, folder));
    ended
}

/// A chain and the folder that it is in, which stays locked as long as this lives.
pub(crate) struct Opened {
    pub(crate) folder: DataDir,
    pub(crate) chain: Chain,
}

/// Locks the folder and opens the chain in it; makes both when they are not there. Waits for the disk.
///
/// # Errors
/// With the exit code of the fault.
pub(crate) fn open_chain(settings: &config::Starknet) -> Result<Opened, Failure> {
    let folder = open_folder(&settings.data_dir, &format!("starknet {}", settings.chain.chain_id))?;
    let key = keys::block_signing(folder.path())?;
    let chain = Chain::open(&folder.join(CHAIN), chain_config(&settings.chain, key)?).map_err(chain_failure)?;
    Ok(Opened { folder, chain })
}

fn chain_failure(error: ChainError) -> Failure {
    let exit = match &error {
        ChainError::Genesis(_) => Exit::BadData,
        ChainError::Storage(reason) => exit_of(reason),
        ChainError::Execution(_) => Exit::Internal,
    };
    Failure::new(exit, error)
}

fn pool_failure(error: PoolError) -> Failure {
    let exit = match &error {
        PoolError::Log(log) => exit_of_kind(log.kind()),
        PoolError::Record(_) => Exit::Configuration,
        PoolError::Chain(ChainError::Genesis(_)) => Exit::BadData,
        PoolError::Read(_) | PoolError::Chain(_) => exit_of(&error.to_string()),
    };
    Failure::new(exit, format!("the pool: {error}"))
}

async fn open_pool(settings: &config::Starknet, folder: &DataDir, chain: &Chain) -> Result<Pool, Failure> {
    let limits = pool_limits(&settings.pool);
    let (path, chain) = (folder.join("pool"), chain.clone());
    blocking(move || Pool::open(&path, PoolConfig { limits, order: Order::Tip }, &chain).map_err(pool_failure)).await
}

/// The settings of a pool as the pool takes them.
pub(super) fn pool_limits(settings: &config::PoolLimits) -> mempool::Limits {
    mempool::Limits {
        count: settings.transactions,
        bytes: settings.bytes,
        per_account: settings.per_account,
        nonce_gap: settings.nonce_gap,
        ttl: Some(settings.ttl),
        ..mempool::Limits::default()
    }
}

fn admission(compilation: &Compilation) -> AdmissionLimits {
    let Compilation { memory_bytes, cpu_time, concurrent } = *compilation;
    let compiler = Some(CompilerBounds { memory_bytes, cpu_time });
    AdmissionLimits { compilations: concurrent, compiler, ..AdmissionLimits::default() }
}

/// The settings of the chain as the chain takes them.
fn chain_config(settings: &ChainSettings, signing_key: Felt) -> Result<starknet::ChainConfig, Failure> {
    let price = |price: std::num::NonZeroU128| {
        NonzeroGasPrice::new(GasPrice(price.get())).map_err(|error| Failure::new(Exit::Internal, error))
    };
    let ChainSettings {
        chain_id,
        protocol,
        profile,
        fees,
        prices,
        sequencer_address,
        blob_data,
        workers,
        call_max_steps,
        call_max_gas,
        genesis,
        cache_bytes,
    } = settings;
    let sequencer_address = PatriciaKey::try_from(*sequencer_address)
        .map(ContractAddress)
        .map_err(|_| Failure::new(Exit::Usage, "--sequencer-address is not an address: use a smaller felt"))?;
    Ok(starknet::ChainConfig {
        chain_id: ChainId::from(chain_id.clone()),
        protocol: *protocol,
        bouncer: *profile,
        fees: *fees,
        gas_prices: GasPriceConfig {
            l1_wei: price(prices.l1_wei)?,
            l1_fri: price(prices.l1_fri)?,
            l1_data_wei: price(prices.l1_data_wei)?,
            l1_data_fri: price(prices.l1_data_fri)?,
            l2_wei: price(prices.l2_wei)?,
            l2_fri: price(prices.l2_fri)?,
        },
        sequencer_address,
        blob_data: *blob_data,
        workers: *workers,
        call_max_steps: *call_max_steps,
        call_max_gas: *call_max_gas,
        signing_key,
        genesis: genesis.clone(),
        cache_bytes: *cache_bytes,
    })
}

fn banner(settings: &config::Starknet, chain: &Chain, places: Places) -> Banner {
    let hex = |felt: &Felt| format!("{felt:#066x}");
    let accounts = chain.accounts().iter().map(|account| Account {
        address: hex(account.address.0.key()),
        public_key: hex(&account.public_key),
        private_key: hex(&account.private_key),
        balance: account.balance,
    });
    Banner {
        chain_id: settings.chain.chain_id.clone(),
        protocol: settings.chain.protocol.to_string(),
        block_time: humantime::format_duration(settings.block_time).to_string(),
        empty_blocks: settings.empty_blocks,
        fees: settings.chain.fees,
        head: chain.head().number.0,
        data_dir: std::path::absolute(&settings.data_dir).unwrap_or_else(|_| settings.data_dir.clone()),
        accounts: accounts.collect(),
        places,
        from_juno: settings.from_juno,
    }
}
