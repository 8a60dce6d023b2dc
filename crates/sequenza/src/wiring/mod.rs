//! `sequenza starknet`: opens everything in order, says so, and stays until something ends it.
//!
//! ```text
//!  sockets ─► data folder ─► key ─► chain ─► pool ─► builder ─► driver
//!                                     └────────┴──► JSON-RPC, health, metrics on the sockets
//! ```
//!
//! Sockets come first because a port in use is the most common fault and costs nothing to find.

mod drive;
mod folder;
mod gauges;
mod listen;
mod namespace;
mod stop;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use mempool::Order;
use node::Supervisor;
use prometheus_client::registry::Registry;
use rpc::{Cors, Health, Service, Surface};
use starknet::Chain;
use starknet::admission::AdmissionLimits;
use starknet::backend::StarknetBackend;
use starknet::compiler::CompilerBounds;
use starknet::config::GasPriceConfig;
use starknet::pool::{Pool, PoolConfig};
use starknet::rpc::StarknetRpc;
use starknet_api::block::{GasPrice, NonzeroGasPrice};
use starknet_api::core::{ChainId, ContractAddress, PatriciaKey};
use starknet_types_core::felt::Felt;
use tokio_util::sync::CancellationToken;

use self::gauges::Gauges;
use self::listen::{Listening, listen};
use self::namespace::Starknet as StarknetNamespace;
use crate::banner::{Account, Banner};
use crate::config::{self, ChainSettings, Compilation, Endpoints};
use crate::exit::{Exit, Failure};

pub(crate) use self::folder::{Opened, holds_chain, open_chain};

/// Where JSON-RPC is answered. The last ones are how Juno and the devnets name the same.
const RPC_PATHS: [&str; 8] = ["/", "/rpc", "/rpc/v0_10", "/v0_10", "/ws", "/ws/v0_10", "/ws/rpc/v0_10", "/rpc/v0_10/"];

/// Runs the chain until it is told to stop or a part of it ends.
///
/// # Errors
/// With the reason and the exit code.
pub(crate) async fn run(settings: config::Starknet) -> Result<(), Failure> {
    // First of all, so that a signal during the start ends it as cleanly as a later one.
    let mut supervisor = Supervisor::new();
    stop::on_signals(supervisor.stop());
    let sockets = Sockets::open(&settings.endpoints).await?;
    let chain_settings = settings.clone();
    let Opened { folder, chain } = blocking(move || open_chain(&chain_settings)).await?;
    let pool = open_pool(&settings, &folder, &chain).await?;
    let backend = StarknetBackend::start(chain.clone(), Arc::new(pool.clone()), settings.empty_blocks)
        .map_err(folder::chain_failure)?;
    let mut registry = Registry::with_prefix("sequenza");
    registry.register_collector(Box::new(Gauges { chain: chain.clone(), pool: pool.clone() }));
    // Threads of the builder's worker pool panic when the pool is dropped, so one handle stays to the end of the process.
    std::mem::forget(backend.clone());
    let driver = drive::start(settings.block_time, &folder, backend, &mut registry, &mut supervisor).await?;
    let limits = starknet::rpc::Limits {
        event_page: settings.event_page_max,
        executions: settings.executions,
        admission: admission(&settings.compilation),
        ..starknet::rpc::Limits::default()
    };
    let namespace = Arc::new(StarknetNamespace(StarknetRpc::new(chain.clone(), pool, limits)));
    let service = service(&settings, namespace, drive::health(&driver), registry);
    // Who closed stdout does not want the banner; the chain runs all the same.
    let _ = std::io::stdout().write_all(banner(&settings, &chain, &sockets).text().as_bytes());
    sockets.serve(&service, settings.endpoints.websocket_on_http, &mut supervisor);
    let ended = supervisor.run(CancellationToken::new()).await;
    drop((driver, folder));
    if ended.is_clean() {
        tracing::info!("stopped");
        return Ok(());
    }
    Err(Failure::new(folder::exit_of(&ended.to_string()), ended))
}

/// Runs what waits for the disk where waiting harms nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::new(Exit::Internal, format!("starting up failed in an unforeseen way: {error}"))),
    }
}

async fn open_pool(settings: &config::Starknet, folder: &store::DataDir, chain: &Chain) -> Result<Pool, Failure> {
    let limits = mempool::Limits {
        count: settings.pool.transactions,
        bytes: settings.pool.bytes,
        per_account: settings.pool.per_account,
        nonce_gap: settings.pool.nonce_gap,
        ttl: Some(settings.pool.ttl),
        ..mempool::Limits::default()
    };
    let (path, chain) = (folder.join("pool"), chain.clone());
    blocking(move || Pool::open(&path, PoolConfig { limits, order: Order::Tip }, &chain).map_err(folder::pool_failure))
        .await
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

fn service(
    settings: &config::Starknet,
    namespace: Arc<StarknetNamespace>,
    health: Health,
    mut registry: Registry,
) -> Arc<Service> {
    let service = Service::new(settings.rpc.clone());
    service.register_metrics(&mut registry);
    let greeting = format!(
        "Sequenza {}: the JSON-RPC endpoint of the Starknet chain {}.\nSend requests by POST, or open a WebSocket. \
         Health is at /readyz, metrics at /metrics; rpc.discover describes every method.\n",
        env!("CARGO_PKG_VERSION"),
        settings.chain.chain_id
    );
    let cors = if settings.cors_any { Cors::Any } else { Cors::Off };
    let service = service.health(health).registry(Arc::new(registry)).cors(cors).greeting(greeting);
    RPC_PATHS.iter().fold(service, |service, path| service.mount(path, namespace.clone())).shared()
}

/// Every socket that the settings ask for.
struct Sockets {
    http: Option<Listening>,
    websocket: Option<Listening>,
    metrics: Option<Listening>,
}

impl Sockets {
    async fn open(endpoints: &Endpoints) -> Result<Self, Failure> {
        let mut opened = [None, None, None];
        let places = [&endpoints.http, &endpoints.websocket, &endpoints.metrics];
        for (opened, place) in opened.iter_mut().zip(places) {
            if let Some(place) = place {
                *opened = Some(listen(place).await?);
            }
        }
        let [http, websocket, metrics] = opened;
        Ok(Sockets { http, websocket, metrics })
    }

    /// Addresses that others on the network can reach and that take transactions.
    fn exposed(&self) -> Vec<String> {
        let open = [&self.http, &self.websocket].into_iter().flatten().filter(|socket| socket.is_exposed());
        open.map(|socket| socket.address.to_string()).collect()
    }

    fn serve(self, service: &Arc<Service>, websocket_on_http: bool, supervisor: &mut Supervisor) {
        let on_http = Surface { websocket: websocket_on_http, ..Surface::ALL };
        let served = [
            ("http", self.http, on_http),
            ("websocket", self.websocket, Surface::WEBSOCKET),
            ("metrics", self.metrics, Surface::METRICS),
        ];
        for (name, socket, surface) in served {
            if let Some(socket) = socket {
                let (service, stop) = (Arc::clone(service), supervisor.stop());
                supervisor.spawn(name, async move {
                    service.serve(socket.listener, surface, stop).await;
                    Ok(())
                });
            }
        }
    }
}

fn banner(settings: &config::Starknet, chain: &Chain, sockets: &Sockets) -> Banner {
    let url = |socket: &Option<Listening>, scheme: &str, path: &str| {
        socket.as_ref().map(|socket: &Listening| -> String {
            let address: SocketAddr = socket.reached_at();
            format!("{scheme}://{address}{path}")
        })
    };
    let on_http = settings.endpoints.websocket_on_http.then(|| url(&sockets.http, "ws", "/ws")).flatten();
    let watched = if sockets.http.is_some() { &sockets.http } else { &sockets.metrics };
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
        http: url(&sockets.http, "http", ""),
        websocket: url(&sockets.websocket, "ws", "/ws").or(on_http),
        health: url(watched, "http", "/readyz"),
        metrics: url(if sockets.metrics.is_some() { &sockets.metrics } else { watched }, "http", "/metrics"),
        exposed: sockets.exposed(),
        from_juno: settings.from_juno,
    }
}
