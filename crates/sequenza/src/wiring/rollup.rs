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
//!
//! Behind a conductor, `ConductorClient` speaks with it, `Brought` takes blocks that others built, and `Peers` gets those that are missing.

mod admin_state;
mod api;
mod attributes;
mod brought;
mod chains;
mod embedded;
mod follow_source;
mod health;
mod metrics;
mod on_l1;
mod op_conductor;
mod origins;
mod peers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use engine::{AttributesBuilder, EngineBackend, EngineClient, Handed, HttpTransport, Secret, SecretError, Transport};
use l1::{Epochs, EpochsConfig, Follower, FollowerConfig};
use node::{
    Backend, BackendError, Bearing, Clock, Conductor, ConductorClient, ConductorHandle, Deadlines, DriverHandle,
    L1Origins, Outside,
};
use optimism::RollupConfig;
use rpc::{JwtSecret, Namespace, Service, Surface};
use sequencer::{AgreementConfig, Backoff, Config, Event, Stamp, Timetable, TimetableConfig, TimetableFault};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use types::{Failure as Remedy, Millis, Timestamp};

use self::admin_state::AdminState;
use self::api::NodeApi;
use self::attributes::OpAttributes;
use self::brought::Brought;
use self::embedded::Embedded;
use self::follow_source::FollowSource;
use self::health::{Beginning, EngineSight};
use self::metrics::{EngineCalls, L1Gauges};
use self::on_l1::OnL1;
use self::op_conductor::OpConductor;
use self::origins::{Lookups, NEWS_MAX, tell_news};
use self::peers::Peers;
use super::drive;
use super::folder::{exit_of, open_folder};
use super::listen::{Listening, listen};
use super::process::{Process, blocking, callers_secret};
use crate::banner::RollupBanner;
use crate::config::{ConductorAt, EngineAt, Node, SecretSource};
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
/// Calls of the conductor that one answer may take: one that is under way, the call itself, and the look at who leads.
const CONDUCTOR_CALLS: u32 = 3;
/// Calls to the conductor that wait. The heart has one commit and one question outstanding.
const CONDUCTOR_CALLS_MAX: usize = 4;
/// What waits to be carried; the rest is dropped.
const CARRIED_MAX: usize = 16;
/// How long a call to the chain in this process may take.
const EMBEDDED_DEADLINE: Duration = Duration::from_secs(60);

/// What a program that has the node inside puts in the place of our own.
#[derive(Default)]
pub(crate) struct Custom {
    /// Around the attributes builder.
    pub(crate) attributes: Option<Around<dyn AttributesBuilder>>,
    /// Around the view of L1.
    pub(crate) origins: Option<Around<dyn L1Origins>>,
    /// Around the conductor, where there is one.
    pub(crate) conductor: Option<Around<dyn Conductor>>,
    /// The engine's secret.
    pub(crate) secret: Option<Secret>,
}

/// Makes one of its kind around another.
pub(crate) type Around<T> = Box<dyn FnOnce(Arc<T>) -> Arc<T> + Send>;

fn around<T: ?Sized>(inner: Arc<T>, outer: Option<Around<T>>) -> Arc<T> {
    match outer {
        Some(outer) => outer(inner),
        None => inner,
    }
}

/// A node that stands, and is served by [`Opened::run`].
pub(crate) struct Opened {
    process: Process,
    service: Service,
    banner: RollupBanner,
    driver: DriverHandle,
    embedded: Option<SocketAddr>,
    /// Locked for as long as the node runs.
    folder: store::DataDir,
}

impl Opened {
    /// Where the JSON-RPC of the node is, and that of the chain in this process.
    pub(crate) fn places(&self) -> (Option<&str>, Option<SocketAddr>) {
        (self.banner.places.http.as_deref(), self.embedded)
    }

    pub(crate) fn driver(&self) -> &DriverHandle {
        &self.driver
    }

    /// Cancelled, it ends the node.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.process.supervisor.stop()
    }

    /// Serves it until it is told to stop or a part of it ends.
    ///
    /// # Errors
    /// When a part of it ended.
    pub(crate) async fn run(self, said: &str) -> Result<(), Failure> {
        let ended = self.process.run(said, self.service).await;
        drop((self.driver, self.folder));
        ended
    }
}

/// Runs the node until it is told to stop or a part of it ends.
///
/// # Errors
/// With the reason and the exit code.
pub(crate) async fn run(settings: Node) -> Result<(), Failure> {
    let process = Process::begin(&settings.endpoints).await?;
    let stop = process.supervisor.stop();
    let running = async {
        let Some(opened) = start(settings, Custom::default(), process).await? else { return Ok(()) };
        let said = opened.banner.text();
        opened.run(&said).await
    };
    tokio::select! {
        biased;
        ended = running => ended,
        // Whoever waits for L1 or the engine at the start is not kept by them. A process that runs ends by itself.
        () = async { stop.cancelled().await; tokio::time::sleep(node::STOP_GRACE * 2).await } => Ok(()),
    }
}

/// A node inside another program, to which signals and the standard output belong.
///
/// # Errors
/// With the reason.
pub(crate) async fn open(settings: Node, custom: Custom) -> Result<Opened, Failure> {
    let process = Process::inside(&settings.endpoints).await?;
    let opened = start(settings, custom, process).await?;
    opened.ok_or_else(|| Failure::new(Exit::Internal, "it was told to stop before anybody could"))
}

/// Opens everything. `None` if it was told to stop meanwhile.
async fn start(settings: Node, custom: Custom, mut process: Process) -> Result<Option<Opened>, Failure> {
    let secret = rpc_secret(&settings, &process.places("/ws").exposed)?;
    let source = settings.rollup.clone();
    let config = blocking(move || chains::rollup(&source)).await?;
    let schedule = chains::schedule(settings.l1_config.as_deref(), config.l1_chain_id)?;
    let timetable = timetable(&config, settings.sealing)?;
    let rules = origins::rules(&config, &settings)?;
    let (id, named, home) = (config.l2_chain_id, settings.data_dir.clone(), settings.data_home.clone());
    let data_dir = named.unwrap_or_else(|| home.join("sequenza").join("node").join(id.to_string()));
    let opening = data_dir.clone();
    let folder = blocking(move || open_folder(&opening, &format!("node {id}"))).await?;
    let handed_place = folder.join(HANDED);
    let handed = blocking(move || {
        Handed::open(&handed_place, HANDED_KEPT).map_err(|error| Failure::new(exit_of(&error.to_string()), error))
    });
    let handed = handed.await?;
    let engine = Engine::open(&settings, custom.secret, &folder, &mut process).await?;
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
        () = stop.cancelled() => return Ok(None),
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
    let attributes = around(Arc::new(attributes) as Arc<dyn AttributesBuilder>, custom.attributes);
    let backend = Arc::new(OnL1 {
        inner: EngineBackend::new(client.clone(), Arc::clone(&config), attributes),
        client: client.clone(),
        config: Arc::clone(&config),
        handed: handed.clone(),
        epochs: epochs.clone(),
    });
    let stands = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(None),
        stands = where_it_stands(&backend) => stands,
    };
    stands?;
    let agreement = if settings.conductor.is_some() { AgreementConfig::Conductor } else { AgreementConfig::Solo };
    let kept_in = settings.admin_state.clone();
    let (state, said) = blocking(move || AdminState::open(kept_in)).await?;
    let active = said.unwrap_or(settings.active);
    let seal_lead_adapts = settings.sealing.is_none();
    let heart =
        Config { timetable, agreement, active, backoff: Backoff::default(), seal_lead_adapts, origins: Some(rules) };
    let lookups = Lookups { epochs: epochs.clone(), confirmations: settings.confirmations };
    let (news, incoming) = mpsc::channel(NEWS_MAX);
    let origins = around(Arc::new(lookups) as Arc<dyn L1Origins>, custom.origins);
    let mut outside = Outside { origins: Some(origins), incoming: Some(incoming), ..Outside::default() };
    let mut deadlines = Deadlines::default();
    let peers = Arc::new(Peers::new(Arc::clone(&config), peers(settings.conductor.as_ref())?));
    let mut conductor = None;
    if let Some(at) = &settings.conductor {
        deadlines.conductor = at.deadline * CONDUCTOR_CALLS + Deadlines::default().conductor;
        let op_conductor = OpConductor { transport: plain("conductor.rpc", &at.url)?, deadline: at.deadline };
        let seam = around(Arc::new(op_conductor) as Arc<dyn Conductor>, custom.conductor);
        let seams = (seam, Arc::clone(&backend) as Arc<dyn Bearing>);
        conductor = Some(join_conductor(seams, &handed, &peers, &news, &mut outside, &mut process));
    }
    let (memory, kept) = (handed.memory(), Arc::new(handed.clone()));
    let others = (outside, deadlines);
    let driver = drive::start_with((heart, memory), &folder, backend, kept, others, &mut process).await?;
    let brought = Arc::new(Brought {
        config: Arc::clone(&config),
        client: client.clone(),
        handed,
        driver: driver.clone(),
        heart: news.clone(),
        peers: Arc::clone(&peers),
        turn: tokio::sync::Mutex::default(),
    });
    if peers.len() > 0 {
        let (following, stop) = (Arc::clone(&brought), process.supervisor.stop());
        process.supervisor.spawn("peers", async move {
            following.follow(stop).await;
            Ok(())
        });
    }

    follow_l1(&mut process, follower, &epochs);
    if let Some(url) = &settings.follow_source {
        let other = plain("l2-follow-source", url)?;
        let source = FollowSource { other, engine: client.clone(), epochs: epochs.clone() };
        let (heart, stop) = (news.clone(), process.supervisor.stop());
        process.supervisor.spawn("follow source", async move {
            source.follow(heart, stop).await;
            Ok(())
        });
    }
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
        recovering: AtomicBool::new(settings.recovering),
        driver: driver.clone(),
        state: Arc::new(state),
        conductor: conductor.clone(),
        brought,
        admin: settings.admin,
    });
    let greeting = format!(
        "Sequenza {}: the JSON-RPC endpoint of the sequencer of rollup {id}.\nSend requests by POST. Health is at /readyz, metrics at \
         /metrics.\n",
        env!("CARGO_PKG_VERSION"),
    );
    let health = health::health(&driver, sources, engine_seen, conductor.as_ref());
    let service = process.service(&settings.rpc, settings.cors_any, greeting, health);
    let banner = banner(&settings, &process, &config, data_dir, &engine, &driver.pulse().borrow());
    let embedded = engine.chain.as_ref().map(|chain| chain.socket.reached_at());
    if let Some(chain) = engine.chain {
        chain.serve(&service, &mut process);
    }
    let service = match secret {
        Some(secret) => service.authenticated(secret),
        None => service,
    };
    let service = RPC_PATHS.iter().fold(service, |service, path| service.mount(path, api.clone()));
    told.end().await;
    Ok(Some(Opened { process, service, banner, driver, embedded, folder }))
}

/// Whose tokens callers must have. Whoever can start and stop the sequencer is on this machine, or has one.
fn rpc_secret(settings: &Node, exposed: &[String]) -> Result<Option<JwtSecret>, Failure> {
    let Some(path) = &settings.rpc_secret else {
        if settings.admin && !exposed.is_empty() {
            let places = exposed.join(", ");
            let text = format!(
                "--rpc.enable-admin: others on the network can reach {places}, and would stop the sequencer there"
            );
            let remedy =
                "listen on this machine alone (--rpc.addr=127.0.0.1), or ask for a token (--rpc.jwt-secret=FILE)";
            return Err(Failure::new(Exit::Usage, format!("{text}: {remedy}")));
        }
        return Ok(None);
    };
    callers_secret("rpc.jwt-secret", path).map(Some)
}

/// The client of the conductor, with the channels through which the driver reaches it and what carries its fetches to the peers.
fn join_conductor(
    (conductor, bearing): (Arc<dyn Conductor>, Arc<dyn Bearing>),
    handed: &Handed,
    peers: &Arc<Peers>,
    heart: &mpsc::Sender<Event>,
    outside: &mut Outside,
    process: &mut Process,
) -> ConductorHandle {
    let (call, calls) = mpsc::channel(CONDUCTOR_CALLS_MAX);
    let (carry, carried) = mpsc::channel(CARRIED_MAX);
    (outside.conductor, outside.carrier) = (Some(call), Some(carry));
    let kept = Arc::new(handed.clone());
    let (client, handle) =
        ConductorClient::new(conductor, bearing, kept, heart.clone(), calls, Clock::System, &mut process.registry);
    // Both end with the driver, which may still need them when the process stops.
    process.supervisor.spawn("conductor's client", async move {
        client.run().await;
        Ok(())
    });
    let peers = Arc::clone(peers);
    process.supervisor.spawn("missing blocks", async move {
        peers.carry(carried).await;
        Ok(())
    });
    handle
}

/// The other sequencers' engines.
fn peers(conductor: Option<&ConductorAt>) -> Result<Vec<(String, EngineClient)>, Failure> {
    let urls = conductor.into_iter().flat_map(|conductor| &conductor.peers).enumerate();
    let peer = |(count, url): (usize, &String)| {
        let client = EngineClient::new(Arc::new(plain("conductor.peers", url)?), peers::DEADLINE);
        // Not its address: keys are often part of it.
        Ok((format!("peer {}", count + 1), client))
    };
    urls.map(peer).collect()
}

fn plain(flag: &str, url: &str) -> Result<HttpTransport, Failure> {
    HttpTransport::new(url, None).map_err(|error| Failure::new(Exit::Usage, format!("--{flag}: {error}")))
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
    async fn open(
        settings: &Node,
        given: Option<Secret>,
        folder: &store::DataDir,
        process: &mut Process,
    ) -> Result<Self, Failure> {
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
                let secret = given.map_or_else(|| read_secret(secret), Ok)?;
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
        conductor: settings.conductor.as_ref().map(|conductor| (conductor.url.clone(), conductor.peers.len())),
        confirmations: settings.confirmations,
        l1_endpoints: settings.l1.endpoints.len(),
        engine: engine.place.clone(),
        admin: settings.admin,
        token: settings.rpc_secret.is_some(),
        data_dir: std::path::absolute(&data_dir).unwrap_or(data_dir),
        places: process.places("/ws"),
    }
}
