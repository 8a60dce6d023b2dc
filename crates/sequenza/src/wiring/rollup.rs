//! `sequenza node`.
//!
//! ```text
//!  L1 endpoints ──► Sources ──► Follower ──► view ──► Epochs
//!                                             │         │ looked up, receipts
//!                                        news │         ├────────────────┐
//!                                             ▼         ▼                ▼
//!                                            driver (the heart) ──► OnL1 ──► EngineBackend ◄── OpAttributes
//!                                               │                                │
//!                                               ▼                                ▼
//!                                             Handed                       EngineClient ──► HTTP, or the chain in this process
//! ```

mod admin_state;
mod api;
mod attributes;
mod chains;
mod embedded;
mod health;
mod metrics;
mod on_l1;
mod origins;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use engine::{EngineBackend, EngineClient, Handed, HttpTransport, Secret, SecretError, Transport};
use l1::{Epochs, EpochsConfig, Follower, FollowerConfig};
use node::{Backend, BackendError, Outside};
use optimism::RollupConfig;
use rpc::{Namespace, Service, Surface};
use sequencer::{AgreementConfig, Backoff, Config, Stamp, Timetable, TimetableConfig, TimetableFault};
use tokio::sync::mpsc;
use types::{Failure as Remedy, Millis, Timestamp};

use self::admin_state::AdminState;
use self::api::NodeApi;
use self::attributes::OpAttributes;
use self::embedded::Embedded;
use self::health::{Beginning, EngineSight};
use self::metrics::{EngineCalls, L1Gauges};
use self::on_l1::OnL1;
use self::origins::{Lookups, NEWS_MAX, tell_news};
use super::drive;
use super::folder::{exit_of, open_folder};
use super::listen::{Listening, listen};
use super::process::{Process, blocking};
use crate::banner::RollupBanner;
use crate::config::{EngineAt, Node, SecretSource};
use crate::exit::{Exit, Failure};

/// Where JSON-RPC is answered.
const RPC_PATHS: [&str; 3] = ["/", "/rpc", "/ws"];
/// How long before its time the first block is sealed, before it is known how long blocks take: what op-node gives itself for good
/// (`--sequencer.sealing-duration`).
const SEAL_LEAD: Millis = Millis::new(50);
/// Decided blocks that are kept for an engine that loses its newest in a crash: op-geth keeps that many states in memory.
const HANDED_KEPT: usize = 256;
/// Between two attempts to reach the engine at the start.
const PATIENCE: Duration = Duration::from_secs(1);
/// Folder of the decided blocks in the data folder.
const HANDED: &str = "handed";
/// How long a call to the chain in this process may take.
const EMBEDDED_DEADLINE: Duration = Duration::from_secs(60);

/// Runs the node until it is told to stop or a part of it ends.
///
/// # Errors
/// With the reason and the exit code.
pub(crate) async fn run(settings: Node) -> Result<(), Failure> {
    let process = Process::begin(&settings.endpoints).await?;
    let stop = process.supervisor.stop();
    tokio::select! {
        biased;
        ended = start(settings, process) => ended,
        // Whoever waits for L1 or the engine at the start is not kept by them. A process that runs ends by itself.
        () = async { stop.cancelled().await; tokio::time::sleep(node::STOP_GRACE * 2).await } => Ok(()),
    }
}

async fn start(settings: Node, mut process: Process) -> Result<(), Failure> {
    let source = settings.rollup.clone();
    let config = Arc::new(blocking(move || chains::rollup(&source)).await?);
    let schedule = chains::schedule(settings.l1_config.as_deref(), config.l1_chain_id)?;
    let timetable = timetable(&config, settings.sealing)?;
    let rules = origins::rules(&config, settings.recovering, settings.auto_recover)?;
    let (id, named, home) = (config.l2_chain_id, settings.data_dir.clone(), settings.data_home.clone());
    let data_dir = named.unwrap_or_else(|| home.join("sequenza").join("node").join(id.to_string()));
    let opening = data_dir.clone();
    let folder = blocking(move || open_folder(&opening, &format!("node {id}"))).await?;
    let handed_place = folder.join(HANDED);
    let handed = blocking(move || {
        Handed::open(&handed_place, HANDED_KEPT).map_err(|error| Failure::new(exit_of(&error.to_string()), error))
    });
    let handed = handed.await?;
    let engine = Engine::open(&settings, &folder, &mut process).await?;
    let calls = EngineCalls::register(&mut process.registry);
    let client = EngineClient::new(Arc::clone(&engine.transport), engine.deadline);
    let engine_seen = EngineSight::default();
    let seen = engine_seen.clone();
    let client = client.observed(Arc::new(move |call: &engine::Ended<'_>| {
        calls.ended(call);
        seen.ended(call);
    }));

    let sources = chains::sources(&settings.l1)?;
    let beacon = chains::beacon(&settings.l1)?;
    let stop = process.supervisor.stop();
    let beginning = Beginning::default();
    let told = process.tell_health(beginning.health(sources.clone(), engine_seen.clone()))?;
    let reached = async {
        chains::check_l1(&sources, config.l1_chain_id).await?;
        beginning.l1_answered();
        check_engine(&client, &config).await?;
        beginning.engine_answered();
        Ok(())
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        reached = reached => reached?,
    }

    let mut following = FollowerConfig::default();
    if let Some(seconds) = settings.l1.slot_seconds {
        // Nothing happens more often than once a slot, and where slots are short nothing should be late.
        following.latest_every = following.latest_every.min(Duration::from_secs(seconds));
    }
    let (follower, view) = Follower::new(sources.clone(), following);
    let epochs = Epochs::new(sources.clone(), view.clone(), EpochsConfig::default());
    process.registry.register_collector(Box::new(L1Gauges { sources: sources.clone(), epochs: epochs.clone() }));
    let attributes = OpAttributes {
        config: Arc::clone(&config),
        schedule,
        client: client.clone(),
        handed: handed.clone(),
        epochs: epochs.clone(),
    };
    let backend = OnL1 {
        inner: EngineBackend::new(client.clone(), Arc::clone(&config), Arc::new(attributes)),
        client: client.clone(),
        config: Arc::clone(&config),
        handed: handed.clone(),
        epochs: epochs.clone(),
    };
    let stands = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        stands = where_it_stands(&backend) => stands,
    };
    stands?;
    let agreement = AgreementConfig::Solo;
    let kept_in = settings.admin_state.clone();
    let (state, said) = blocking(move || AdminState::open(kept_in)).await?;
    let active = said.unwrap_or(settings.active);
    let seal_lead_adapts = settings.sealing.is_none();
    let heart =
        Config { timetable, agreement, active, backoff: Backoff::default(), seal_lead_adapts, origins: Some(rules) };
    let lookups = Lookups { epochs: epochs.clone(), confirmations: settings.confirmations };
    let (news, incoming) = mpsc::channel(NEWS_MAX);
    let outside = Outside { origins: Some(Arc::new(lookups)), incoming: Some(incoming), ..Outside::default() };
    let (memory, kept) = (handed.memory(), Arc::new(handed.clone()));
    let driver = drive::start_with(heart, memory, &folder, Arc::new(backend), kept, outside, &mut process).await?;

    follow_l1(&mut process, follower, &epochs);
    let stop = process.supervisor.stop();
    process.supervisor.spawn("news of L1", async move {
        tell_news(view, news, stop).await;
        Ok(())
    });
    if let Some(beacon) = beacon {
        tokio::spawn(async move { chains::check_beacon(&beacon).await });
    }
    let api: Arc<dyn Namespace> = Arc::new(NodeApi {
        config: Arc::clone(&config),
        client,
        epochs,
        handed,
        recovering: AtomicBool::new(settings.recovering),
        driver: driver.clone(),
        state: Arc::new(state),
        admin: settings.admin,
    });
    let greeting = format!(
        "Sequenza {}: the JSON-RPC endpoint of the sequencer of rollup {id}.\nSend requests by POST. Health is at /readyz, metrics at \
         /metrics.\n",
        env!("CARGO_PKG_VERSION"),
    );
    let service =
        process.service(&settings.rpc, settings.cors_any, greeting, health::health(&driver, sources, engine_seen));
    let banner = banner(&settings, &process, &config, data_dir, &engine, &driver.pulse().borrow());
    if let Some(chain) = engine.chain {
        chain.serve(&service, &mut process);
    }
    let service = RPC_PATHS.iter().fold(service, |service, path| service.mount(path, api.clone()));
    told.end().await;
    let ended = process.run(&banner.text(), service).await;
    drop((driver, folder));
    ended
}

/// The engine, and how it is reached.
struct Engine {
    transport: Arc<dyn Transport>,
    deadline: Duration,
    /// Where it is, in words.
    place: String,
    /// The chain in this process, if it is that.
    chain: Option<ServedChain>,
}

/// The JSON-RPC of the chain in this process, and the socket that it will be served on.
struct ServedChain {
    methods: Arc<dyn Namespace>,
    socket: Listening,
}

impl ServedChain {
    fn serve(self, beside: &Service, process: &mut Process) {
        let service = RPC_PATHS.iter().fold(beside.beside(), |service, path| service.mount(path, self.methods.clone()));
        let surface = Surface { http: true, websocket: true, health: true, metrics: false };
        process.serve("embedded chain", service.shared(), self.socket, surface);
    }
}

impl Engine {
    async fn open(settings: &Node, folder: &store::DataDir, process: &mut Process) -> Result<Self, Failure> {
        match &settings.engine {
            EngineAt::Embedded { genesis, place } => {
                let socket = listen(place).await?;
                let Embedded { transport, methods } =
                    Embedded::open(folder, genesis.as_deref(), &settings.pool, process).await?;
                let place = format!("in this process, JSON-RPC at http://{}", socket.reached_at());
                let chain = Some(ServedChain { methods, socket });
                Ok(Self { transport, deadline: EMBEDDED_DEADLINE, place, chain })
            }
            EngineAt::Remote { url, secret, deadline } => {
                let secret = read_secret(secret)?;
                let transport = HttpTransport::new(url, Some(secret))
                    .map_err(|error| Failure::new(Exit::Usage, format!("--l2-engine-rpc: {error}")))?;
                Ok(Self { transport: Arc::new(transport), deadline: *deadline, place: url.clone(), chain: None })
            }
        }
    }
}

fn read_secret(source: &SecretSource) -> Result<Secret, Failure> {
    let (flag, read) = match source {
        SecretSource::File(path) => ("l2-engine-jwt-secret", Secret::from_file_or_new(path)),
        SecretSource::Text(text) => ("l2-engine-jwt-encoded", Secret::from_hex(text)),
    };
    read.map_err(|error| {
        let exit = match &error {
            SecretError::Unreadable { .. } => Exit::Permission,
            SecretError::Unwritable { .. } => Exit::CannotCreate,
            SecretError::Malformed { .. } => Exit::BadData,
        };
        Failure::new(exit, format!("--{flag}: {error}"))
    })
}

/// Waits until the engine answers, and asks whether it runs this chain.
async fn check_engine(client: &EngineClient, config: &RollupConfig) -> Result<(), Failure> {
    loop {
        let now = node::Clock::System.now().as_secs();
        match client.check(config, now).await {
            Ok(()) => return Ok(()),
            Err(error) if error.failure() == Remedy::Retry => {
                tracing::warn!(%error, "the engine does not answer; it will be tried again");
                tokio::time::sleep(PATIENCE).await;
            }
            Err(error) => return Err(Failure::new(Exit::Configuration, error)),
        }
    }
}

/// Waits until the engine has all that was decided, and says where its chain stands.
async fn where_it_stands(backend: &OnL1) -> Result<(), Failure> {
    loop {
        match backend.heads().await {
            Ok(_) => return Ok(()),
            Err(BackendError::Fatal(reason)) => return Err(Failure::new(Exit::Configuration, reason)),
            Err(error) => {
                tracing::warn!(%error, "the engine does not stand where it should; it will be asked again");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
}

/// The tasks that keep the picture of L1.
fn follow_l1(process: &mut Process, follower: Follower, epochs: &Epochs) {
    let (stop, ahead) = (process.supervisor.stop(), epochs.clone());
    process.supervisor.spawn("L1 follower", async move {
        follower.run(stop).await;
        Ok(())
    });
    let stop = process.supervisor.stop();
    process.supervisor.spawn("L1 read-ahead", async move {
        ahead.read_ahead(stop).await;
        Ok(())
    });
}

/// Slots of the rollup: block n is dated with the end of slot n − 1, and sealed shortly before. A build is opened as soon as its
/// parent is the head.
fn timetable(config: &RollupConfig, sealing: Option<Duration>) -> Result<Timetable, Failure> {
    let slot = Millis::new(1_000).times(config.block_time);
    let genesis = Timestamp::from_secs(config.genesis.l2_time);
    let seal_lead =
        sealing.map_or(SEAL_LEAD, |sealing| Millis::new(u64::try_from(sealing.as_millis()).unwrap_or(u64::MAX)));
    let table = TimetableConfig { genesis, slot, build_ahead: slot, seal_lead, stamp: Stamp::Closing };
    Timetable::new(table).map_err(|fault| match fault {
        TimetableFault::SealLead { .. } => {
            Failure::new(Exit::Usage, format!("--sequencer.sealing-duration: {fault}: use a shorter time"))
        }
        TimetableFault::Slot(_) | TimetableFault::BuildAhead { .. } => Failure::new(
            Exit::BadData,
            format!("block_time of the rollup's configuration is {}: {fault}", config.block_time),
        ),
    })
}

fn banner(
    settings: &Node,
    process: &Process,
    config: &RollupConfig,
    data_dir: PathBuf,
    engine: &Engine,
    pulse: &node::Pulse,
) -> RollupBanner {
    RollupBanner {
        chain_id: config.l2_chain_id,
        l1_chain_id: config.l1_chain_id,
        block_time: humantime::format_duration(Duration::from_secs(config.block_time)).to_string(),
        head: pulse.head.number.as_u64(),
        active: pulse.active,
        confirmations: settings.confirmations,
        l1_endpoints: settings.l1.endpoints.len(),
        engine: engine.place.clone(),
        admin: settings.admin,
        data_dir: std::path::absolute(&data_dir).unwrap_or(data_dir),
        places: process.places("/ws"),
    }
}
