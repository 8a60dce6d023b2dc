//! `sequenza evm`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, U256};
use alloy_signer_local::coins_bip39::English;
use alloy_signer_local::{MnemonicBuilder, PrivateKeySigner};
use evm::chain::Verified;
use evm::engine_api::EngineApi;
use evm::genesis::DevGenesis;
use evm::pool::PoolError;
use evm::rpc::{ChainClock, DevControl, Development, EthRpc};
use evm::{BlockPolicy, Chain, ChainError, EvmBackend, Pool, StateFile};
use mempool::Order;
use node::DriverHandle;
use rpc::{Check, Fault, Finding, Health, JwtSecret, Namespace, Service, Surface};
use sequencer::AgreementConfig;
use store::DataDir;

use super::drive;
use super::folder::{CHAIN, exit_of, exit_of_kind, open_folder};
use super::gauges::{Figures, Gauges};
use super::listen::{Listening, listen};
use super::mining::Miner;
use super::namespace::{Both, Engine as EngineNamespace, Ethereum};
use super::process::{Process, blocking, callers_secret};
use super::starknet::pool_limits;
use crate::banner::{EvmAccount, EvmBanner};
use crate::config::{self, DAY, Evm, EvmGenesis, Mining, StateSource};
use crate::exit::{Exit, Failure};

/// Where JSON-RPC is answered.
const RPC_PATHS: [&str; 3] = ["/", "/rpc", "/ws"];
/// How long who drives the chain through the Engine API may say nothing.
const DRIVER_SILENT_MAX: Duration = Duration::from_secs(60);
/// Wei of one ether.
const ETHER: u64 = 1_000_000_000_000_000_000;
/// Free bytes in the header of each block.
const EXTRA_DATA: &[u8] = b"sequenza";

/// What the chain begins with, and the keys that are known for it.
#[derive(Clone)]
struct Beginning {
    genesis: alloy_genesis::Genesis,
    signers: Vec<PrivateKeySigner>,
    /// Whether another time of block 0 is the same beginning: none was asked for.
    any_time: bool,
}

/// Runs the chain until it is told to stop or a part of it ends.
///
/// # Errors
/// With the reason and the exit code.
pub(crate) async fn run(settings: Evm) -> Result<(), Failure> {
    let mut process = Process::begin(&settings.endpoints).await?;
    let opening = settings.clone();
    let Opened { folder, data_dir, chain, signers } = blocking(move || open(&opening)).await?;
    chain.keep_history(settings.history);
    let (path, on, limits) = (folder.join("pool"), chain.clone(), pool_limits(&settings.pool));
    let order = if settings.by_fees { Order::Tip } else { Order::Fifo };
    let pool = blocking(move || Pool::open(&path, &on, limits, order).map_err(pool_failure)).await?;
    register(&mut process, &chain, &pool);
    let policy = BlockPolicy {
        beneficiary: Address::ZERO,
        gas_limit: chain.head().gas_limit,
        extra_data: EXTRA_DATA.into(),
        empty_blocks: true,
    };
    let backend = EvmBackend::new(chain.clone(), pool.clone(), policy);
    let led = match &settings.engine {
        Some(engine) => Led::Outside(EnginePort::open(engine, &chain, &pool, &backend).await?),
        None => lead(&settings, &folder, backend.clone(), &pool, &mut process).await?,
    };
    let (engine_url, health) = match &led {
        Led::Outside(port) => (Some(port.url()), led_from_outside(&port.api)),
        Led::Here { driver, .. } => (None, drive::health(driver)),
    };
    let text = banner(&settings, &process, &chain, data_dir, &signers, engine_url).text();
    let greeting = format!(
        "Sequenza {}: the JSON-RPC endpoint of the EVM chain {}.\nSend requests by POST, or open a WebSocket. Health is at \
         /readyz, metrics at /metrics.\n",
        env!("CARGO_PKG_VERSION"),
        chain.spec().chain_id()
    );
    let namespace = namespace(&chain, &pool, backend, &led, signers);
    let service = process.service(&settings.rpc, settings.cors_any, greeting, health);
    let driver = match led {
        Led::Here { driver, .. } => Some(driver),
        Led::Outside(port) => {
            port.serve(&service, namespace.clone(), &mut process);
            None
        }
    };
    let service = RPC_PATHS.iter().fold(service, |service, path| service.mount(path, namespace.clone()));
    let ended = process.run(&text, service).await;
    drop(driver);
    let dumped = match settings.dump {
        Some(path) => blocking(move || dump(&chain, &path)).await,
        None => Ok(()),
    };
    drop(folder);
    ended.and(dumped)
}

/// Writes the state at the end of the newest block to a file, which is as it was until the new one is whole.
fn dump(chain: &Chain, path: &Path) -> Result<(), Failure> {
    let failure = |error: String| {
        let advice = "the chain itself is whole in its data folder; name a file that can be written";
        Failure::new(Exit::BadData, format!("the state was not written to {}: {error}: {advice}", path.display()))
    };
    let text = chain.state_file().map_err(|error| failure(error.to_string()))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| failure(error.to_string()))?;
    tracing::info!(block = chain.head().number, file = %path.display(), "the state was written");
    Ok(())
}

/// A chain without its driver stands still. Before the driver's first word that is no fault: it may be waiting for us to be ready.
fn led_from_outside(api: &Arc<EngineApi>) -> Health {
    let api = Arc::clone(api);
    Health::new().ready(Check::new("driver", move || led_lately(api.last_led())))
}

fn led_lately(last: Option<Duration>) -> Finding {
    match last {
        None => Finding::Good("waits for the first forkchoice of a rollup node".to_owned()),
        Some(ago) if ago < DRIVER_SILENT_MAX => {
            Finding::Good(format!("the last forkchoice came {} s ago", ago.as_secs()))
        }
        Some(ago) => Finding::Bad(Fault {
            cause: "not_driven".to_owned(),
            reason: format!("no forkchoice for {} s", ago.as_secs()),
            remedy: "look whether the rollup node that drives this chain runs and reaches --authrpc.port".to_owned(),
        }),
    }
}

/// Who decides when a block is due.
enum Led {
    /// The driver in this process, and who demands blocks of it.
    Here { driver: DriverHandle, miner: Arc<Miner>, clock: Arc<ChainClock> },
    /// Whoever calls the Engine API.
    Outside(EnginePort),
}

/// The Engine API and the socket that it will be served on.
struct EnginePort {
    api: Arc<EngineApi>,
    secret: JwtSecret,
    socket: Listening,
}

impl EnginePort {
    async fn open(
        settings: &config::Engine,
        chain: &Chain,
        pool: &Pool,
        backend: &EvmBackend,
    ) -> Result<Self, Failure> {
        let secret = callers_secret("authrpc.jwtsecret", &settings.secret)?;
        let socket = listen(&settings.place).await?;
        let api = Arc::new(EngineApi::new(chain.clone(), pool.clone(), backend.clone()));
        Ok(EnginePort { api, secret, socket })
    }

    fn url(&self) -> String {
        format!("http://{}", self.socket.reached_at())
    }

    /// Answers the Engine API and, as rollup nodes expect it on this port, the chain's own methods too.
    fn serve(self, beside: &Service, chain: Arc<dyn Namespace>, process: &mut Process) {
        let both = Arc::new(Both(Arc::new(EngineNamespace(self.api)), chain));
        let service = beside.beside().authenticated(self.secret).mount("/", both).shared();
        let surface = Surface { http: true, websocket: true, health: false, metrics: false };
        process.serve("engine api", service, self.socket, surface);
    }
}

/// Starts the driver and who demands blocks of it.
async fn lead(
    settings: &Evm,
    folder: &DataDir,
    backend: EvmBackend,
    pool: &Pool,
    process: &mut Process,
) -> Result<Led, Failure> {
    let expected = match settings.mining {
        Mining::Each(time) => time,
        // No block is due as long as nobody wants one.
        Mining::EachTransaction | Mining::Asked => DAY,
    };
    let timetable = drive::each("block-time", expected)?;
    let driver = drive::start(timetable, AgreementConfig::OnDemand, folder, Arc::new(backend.clone()), process).await?;
    let (miner, clock) = (Miner::new(driver.clone(), backend, settings.mining), Arc::new(ChainClock::default()));
    let mining = Arc::clone(&miner).run(pool.clone(), Arc::clone(&clock), process.supervisor.stop());
    process.supervisor.spawn("mining", async move {
        mining.await;
        Ok(())
    });
    Ok(Led::Here { driver, miner, clock })
}

/// A chain, the folder that it is in, which stays locked as long as this lives, and the keys of its accounts.
struct Opened {
    folder: DataDir,
    data_dir: PathBuf,
    chain: Chain,
    signers: Vec<PrivateKeySigner>,
}

/// Locks the folder and opens the chain in it; makes both when they are not there. Waits for the disk.
fn open(settings: &Evm) -> Result<Opened, Failure> {
    let Beginning { mut genesis, signers, any_time } = beginning(settings)?;
    let state = read_state(settings)?;
    let chain_id = genesis.config.chain_id;
    let data_dir = if settings.folder_given {
        settings.data_dir.clone()
    } else {
        settings.data_dir.with_file_name(chain_id.to_string())
    };
    let folder = open_folder(&data_dir, &format!("evm {chain_id}"))?;
    let place = folder.join(CHAIN);
    let chain = match place.join("blocks").is_dir().then(|| Chain::open(&place, None)) {
        // A folder that a crash left before the chain began holds none yet.
        None | Some(Err(ChainError::Genesis(_))) => {
            let genesis = state.map_or(genesis.clone(), |state| state.begin(genesis));
            Chain::open(&place, Some(genesis)).map_err(chain_failure)?
        }
        Some(chain) => {
            let chain = chain.map_err(chain_failure)?;
            if any_time {
                genesis.timestamp = chain.genesis().timestamp;
            }
            match &state {
                Some(state) => check_state(settings, state, &chain, &data_dir)?,
                // The file may be gone by now; what came of it is in the folder.
                None if is_of_development(settings) && StateFile::began(chain.genesis()) => {}
                None if *chain.genesis() != genesis => return Err(another_beginning(&data_dir)),
                None => {}
            }
            chain
        }
    };
    Ok(Opened { folder, data_dir, chain, signers })
}

fn is_of_development(settings: &Evm) -> bool {
    matches!(settings.genesis, EvmGenesis::Dev { .. })
}

/// The state to begin with; none where no file is named, or one that need not be there is not.
fn read_state(settings: &Evm) -> Result<Option<StateFile>, Failure> {
    let Some(StateSource { path, flag, needed }) = &settings.load else { return Ok(None) };
    let bad = |reason: String| Failure::new(Exit::BadData, format!("--{flag}={}: {reason}", path.display()));
    match std::fs::read_to_string(path) {
        Ok(text) => StateFile::parse(&text).map(Some).map_err(|error| bad(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !needed => Ok(None),
        Err(error) => Err(bad(format!("{error}: name a state that anvil or this program dumped"))),
    }
}

/// A chain that is there goes on, and the file must be of it: what one holds that the other does not would be lost without a word.
fn check_state(settings: &Evm, state: &StateFile, chain: &Chain, data_dir: &Path) -> Result<(), Failure> {
    let Some(source) = &settings.load else { return Ok(()) };
    if state.belongs_to(chain).map_err(chain_failure)? {
        return Ok(());
    }
    let (flag, path, folder) = (source.flag, source.path.display(), data_dir.display());
    let advice = "choose another folder with --db-path for a chain that begins with the file, or leave the flag out";
    let reason =
        format!("--{flag}={path}: {folder} holds a chain that neither began with this file nor wrote it: {advice}");
    Err(Failure::new(Exit::Configuration, reason))
}

fn another_beginning(data_dir: &Path) -> Failure {
    let advice = "give the settings of then (accounts, balance, mnemonic, genesis, gas limit, base fee, timestamp), or choose another \
                  folder with --db-path";
    let reason = format!("{} belongs to a chain that began with another genesis: {advice}", data_dir.display());
    Failure::new(Exit::Configuration, reason)
}

/// Checks the chain of a folder that no process uses.
///
/// # Errors
/// With the exit code of the fault.
pub(crate) fn verify(settings: &Evm) -> Result<Verified, Failure> {
    let folder = open_folder(&settings.data_dir, &format!("evm {}", settings.chain_id))?;
    let chain = Chain::open(&folder.join(CHAIN), None).map_err(chain_failure)?;
    chain.verify().map_err(|error| Failure::new(Exit::BadData, error))
}

/// The genesis in this file, which the flag named.
pub(super) fn read_genesis(flag: &str, path: &Path) -> Result<alloy_genesis::Genesis, Failure> {
    let bad = |reason: String| Failure::new(Exit::BadData, format!("--{flag}={}: {reason}", path.display()));
    let text =
        std::fs::read_to_string(path).map_err(|error| bad(format!("{error}: name a genesis file in geth's format")))?;
    evm::genesis::parse(&text).map_err(|error| bad(error.to_string()))
}

fn beginning(settings: &Evm) -> Result<Beginning, Failure> {
    match &settings.genesis {
        EvmGenesis::File(path) => {
            let genesis = read_genesis("genesis", path)?;
            Ok(Beginning { genesis, signers: Vec::new(), any_time: false })
        }
        EvmGenesis::Dev { accounts, balance, mnemonic, base_fee, timestamp } => {
            let signers = signers(mnemonic, *accounts)?;
            let wei = U256::from(*balance) * U256::from(ETHER);
            let genesis = DevGenesis {
                chain_id: settings.chain_id,
                balances: signers.iter().map(|signer| (signer.address(), wei)).collect(),
                gas_limit: settings.gas_limit,
                base_fee: before_an_empty_block(*base_fee),
                timestamp: timestamp.unwrap_or_else(now),
            };
            Ok(Beginning { genesis: genesis.into_file(), signers, any_time: timestamp.is_none() })
        }
    }
}

/// The base fee of block 0 that makes `wanted` of the one after it: an empty block takes off an eighth, rounded down (EIP-1559).
fn before_an_empty_block(wanted: u64) -> u64 {
    let above = u128::from(wanted) * 8 / 7;
    u64::try_from(above).unwrap_or(u64::MAX)
}

/// The accounts at m/44'/60'/0'/0/n.
fn signers(mnemonic: &str, count: u32) -> Result<Vec<PrivateKeySigner>, Failure> {
    let words = MnemonicBuilder::<English>::default().phrase(mnemonic);
    let signer = |index| words.clone().index(index).and_then(|words| words.build());
    // The words themselves stay out of the message: they may be somebody's.
    let wrong =
        |_| Failure::new(Exit::Usage, "--mnemonic: not the words of BIP-39's English list, or their checksum is wrong");
    (0..count).map(signer).collect::<Result<_, _>>().map_err(wrong)
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

pub(super) fn register(process: &mut Process, chain: &Chain, pool: &Pool) {
    let (chain, pool) = (chain.clone(), pool.clone());
    process.registry.register_collector(Box::new(Gauges::new(move || {
        let (head, (transactions, bytes)) = (chain.head(), pool.load());
        Figures {
            head: head.number,
            head_time: head.timestamp,
            pool_transactions: transactions as u64,
            pool_bytes: bytes as u64,
            pool_disk_bytes: None,
            pool_in_flight: Some(pool.in_flight() as u64),
        }
    })));
}

pub(super) fn chain_failure(error: ChainError) -> Failure {
    let exit = match &error {
        ChainError::Genesis(_) => Exit::BadData,
        ChainError::Storage(reason) => exit_of(reason),
        ChainError::Execution(_) | ChainError::History { .. } => Exit::Internal,
    };
    Failure::new(exit, error)
}

pub(super) fn pool_failure(error: PoolError) -> Failure {
    let exit = match &error {
        PoolError::Log(log) => exit_of_kind(log.kind()),
        PoolError::Record => Exit::Configuration,
        PoolError::Read(_) | PoolError::Chain(_) => exit_of(&error.to_string()),
    };
    Failure::new(exit, format!("the pool: {error}"))
}

fn banner(
    settings: &Evm,
    process: &Process,
    chain: &Chain,
    data_dir: PathBuf,
    signers: &[PrivateKeySigner],
    engine: Option<String>,
) -> EvmBanner {
    let blocks = match settings.mining {
        _ if engine.is_some() => "on the order of the Engine API's caller".to_owned(),
        Mining::EachTransaction => "one for each transaction".to_owned(),
        Mining::Each(time) => format!("one each {}", humantime::format_duration(time)),
        Mining::Asked => "when evm_mine asks for one".to_owned(),
    };
    let (mnemonic, balance) = match &settings.genesis {
        EvmGenesis::Dev { mnemonic, balance, .. } => (mnemonic.clone(), *balance),
        EvmGenesis::File(_) => (String::new(), 0),
    };
    let head = chain.head();
    EvmBanner {
        chain_id: chain.spec().chain_id(),
        blocks,
        head: head.number,
        gas_limit: head.gas_limit,
        base_fee: chain.next_base_fee(&head),
        data_dir: std::path::absolute(&data_dir).unwrap_or(data_dir),
        accounts: signers
            .iter()
            .map(|signer| EvmAccount {
                address: signer.address().to_string(),
                private_key: alloy_primitives::hex::encode_prefixed(signer.to_bytes()),
            })
            .collect(),
        balance,
        mnemonic,
        places: process.places("/ws"),
        engine,
    }
}

/// The chain's methods; with those of a development chain where blocks are made here.
fn namespace(
    chain: &Chain,
    pool: &Pool,
    backend: EvmBackend,
    led: &Led,
    signers: Vec<PrivateKeySigner>,
) -> Arc<dyn Namespace> {
    let development = match led {
        Led::Here { miner, clock, .. } => {
            let control: Arc<dyn DevControl> = Arc::clone(miner) as _;
            Some(Development { signers, control, clock: Arc::clone(clock), backend })
        }
        // Two who make blocks would undo each other's.
        Led::Outside(_) => None,
    };
    let limits = evm::rpc::Limits::default();
    Arc::new(Ethereum(EthRpc::new(chain.clone(), pool.clone(), limits, development)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_one_has_the_base_fee_that_was_asked_for() {
        for wanted in [0, 1, 7, 8, 999, 1_000_000_000, 1_000_000_007, u64::from(u32::MAX)] {
            let before = before_an_empty_block(wanted);
            assert_eq!(before - before / 8, wanted, "{wanted}");
        }
    }

    #[test]
    fn a_driver_that_fell_silent_is_told() {
        let is_good = |last| matches!(led_lately(last), Finding::Good(_));
        assert!(is_good(None) && is_good(Some(Duration::from_secs(59))));
        let silent = led_lately(Some(Duration::from_secs(61)));
        assert!(
            matches!(&silent, Finding::Bad(fault) if fault.reason.contains("61 s") && fault.remedy.contains("--authrpc.port"))
        );
    }

    #[test]
    fn accounts_are_the_ones_that_everybody_knows() {
        let signers = signers("test test test test test test test test test test test junk", 2).unwrap();
        assert_eq!(signers[0].address().to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        assert_eq!(signers[1].address().to_string(), "0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
        let failure = signers_of_junk();
        assert!(failure.message.contains("--mnemonic") && !failure.message.contains("secretword"), "{failure:?}");
    }

    fn signers_of_junk() -> Failure {
        signers(&["secretword"; 12].join(" "), 1).unwrap_err()
    }
}
