//! From text to meaning: every setting parsed, every fault reported at once.

use std::num::NonZeroU128;
use std::path::PathBuf;
use std::time::Duration;

use starknet::config::{BouncerProfile, GenesisSource};
use starknet_api::block::StarknetVersion;
use starknet_types_core::felt::Felt;

use super::raw::{Fault, Origin, Raw};
use super::settings::Setting;
use super::values::{amount, bytes, number, switch, time};

/// Everything `sequenza starknet` was told, understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Starknet {
    pub(crate) chain: ChainSettings,
    pub(crate) data_dir: PathBuf,
    pub(crate) block_time: Duration,
    pub(crate) empty_blocks: bool,
    pub(crate) compilation: Compilation,
    pub(crate) pool: PoolLimits,
    pub(crate) endpoints: Endpoints,
    pub(crate) rpc: rpc::Limits,
    pub(crate) event_page_max: usize,
    pub(crate) executions: usize,
    pub(crate) cors_any: bool,
    pub(crate) log: Log,
    /// Settings that came by a name of Juno's, for the banner.
    pub(crate) from_juno: usize,
}

/// What makes the chain the chain that it is, and how it executes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChainSettings {
    pub(crate) chain_id: String,
    pub(crate) protocol: StarknetVersion,
    pub(crate) profile: BouncerProfile,
    pub(crate) fees: bool,
    pub(crate) prices: Prices,
    pub(crate) sequencer_address: Felt,
    pub(crate) blob_data: bool,
    pub(crate) workers: usize,
    pub(crate) call_max_steps: u32,
    pub(crate) call_max_gas: u64,
    pub(crate) genesis: GenesisSource,
    pub(crate) cache_bytes: usize,
}

/// Gas prices, none of them zero.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Prices {
    pub(crate) l1_wei: NonZeroU128,
    pub(crate) l1_fri: NonZeroU128,
    pub(crate) l1_data_wei: NonZeroU128,
    pub(crate) l1_data_fri: NonZeroU128,
    pub(crate) l2_wei: NonZeroU128,
    pub(crate) l2_fri: NonZeroU128,
}

/// Bounds of the compiler of declared classes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Compilation {
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_time: Duration,
    pub(crate) concurrent: usize,
}

/// Bounds of the pool.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PoolLimits {
    pub(crate) transactions: usize,
    pub(crate) bytes: usize,
    pub(crate) per_account: usize,
    pub(crate) nonce_gap: u64,
    pub(crate) ttl: Duration,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Endpoints {
    /// JSON-RPC, health and metrics.
    pub(crate) http: Option<HostPort>,
    /// Whether the HTTP port takes WebSockets too.
    pub(crate) websocket_on_http: bool,
    /// A port for WebSockets.
    pub(crate) websocket: Option<HostPort>,
    /// A port for the scraper.
    pub(crate) metrics: Option<HostPort>,
}

/// An address to listen on, not yet looked up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HostPort {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The flag that chooses the port, for what is said when it is taken.
    pub(crate) flag: &'static str,
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Log {
    pub(crate) filter: String,
    pub(crate) json: bool,
    pub(crate) colour: bool,
}

/// Facts of the machine and the user that some defaults follow.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) processors: usize,
    /// The user's data folder, such as `~/.local/share`.
    pub(crate) data_home: PathBuf,
}

/// Reads every setting. Either all of them hold, or all faults are told.
pub(crate) fn resolve(raw: &Raw, around: &Surroundings) -> Result<Starknet, Vec<Fault>> {
    resolve_noting(raw, around).0
}

/// The same, with the keys that were read, so that a test can tell whether one was forgotten.
pub(super) fn resolve_noting(raw: &Raw, around: &Surroundings) -> (Result<Starknet, Vec<Fault>>, Vec<&'static str>) {
    read_with(raw, |reader| read_all(reader, around))
}

/// Reads settings with `read`, and turns noted faults into an error.
pub(super) fn read_with<T>(
    raw: &Raw,
    read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
) -> (Result<T, Vec<Fault>>, Vec<&'static str>) {
    let mut reader = Reader { raw, faults: Vec::new(), read: Vec::new() };
    let resolved = read(&mut reader);
    let result = match resolved {
        Some(resolved) if reader.faults.is_empty() => Ok(resolved),
        _ => Err(reader.faults),
    };
    (result, reader.read)
}

/// Reads settings one by one and keeps the faults.
pub(super) struct Reader<'a> {
    raw: &'a Raw,
    faults: Vec<Fault>,
    read: Vec<&'static str>,
}

impl Reader<'_> {
    /// The setting, or none with the fault noted. A default that is to be worked out is no fault.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read.push(key);
        let text = self.raw.given(key)?.text.as_deref()?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(remedy) => {
                self.fault(key, remedy);
                None
            }
        }
    }

    /// The setting, or `stand_in` with the fault noted. `stand_in` never gets out, because a fault ends it all.
    pub(super) fn value<T>(
        &mut self,
        key: &'static str,
        stand_in: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        self.optional(key, parse).unwrap_or(stand_in)
    }

    pub(super) fn switch(&mut self, key: &'static str) -> bool {
        self.value(key, false, switch)
    }

    pub(super) fn count(&mut self, key: &'static str, least: u64, most: u64) -> usize {
        let number = self.value(key, least, |text| number(text, least, most));
        usize::try_from(number).unwrap_or(usize::MAX)
    }

    pub(super) fn bytes(&mut self, key: &'static str, least: u64) -> usize {
        let bytes = self.value(key, least, |text| bytes(text, least));
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    pub(super) fn time(&mut self, key: &'static str, least: Duration, most: Duration) -> Duration {
        self.value(key, least, |text| time(text, least, most))
    }

    fn price(&mut self, key: &'static str) -> NonZeroU128 {
        self.value(key, NonZeroU128::MIN, |text| {
            amount(text, 1).and_then(|price| NonZeroU128::new(price).ok_or_else(|| "use at least 1".to_owned()))
        })
    }

    /// Whether somebody said it, rather than nobody.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.raw.given(key).is_some_and(|given| given.origin != Origin::Default)
    }

    pub(super) fn fault(&mut self, key: &'static str, remedy: impl Into<String>) {
        let Some(given) = self.raw.given(key) else { return };
        let secret = self.raw.chain.setting(key).is_some_and(Setting::is_secret);
        self.faults.push(Fault {
            key: key.to_owned(),
            value: given.text.clone().filter(|_| !secret),
            origin: given.origin.clone(),
            remedy: remedy.into(),
        });
    }
}

const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
const MILLISECOND: Duration = Duration::from_millis(1);
/// The shortest slot that the heart takes (`sequencer::SLOT_MIN`).
pub(super) const BLOCK_TIME_MIN: Duration = Duration::from_millis(200);

fn read_all(reader: &mut Reader<'_>, around: &Surroundings) -> Option<Starknet> {
    mode(reader);
    let chain = chain(reader, around);
    let data_dir = data_dir(reader)
        .unwrap_or_else(|| around.data_home.join("sequenza").join("starknet").join(folder_name(&chain.chain_id)));
    Some(Starknet {
        chain,
        data_dir,
        block_time: reader.time("seq-block-time", BLOCK_TIME_MIN, DAY),
        empty_blocks: !reader.switch("no-empty-blocks"),
        compilation: Compilation {
            memory_bytes: reader.value("max-compilation-memory", 1, |text| number(text, 16, 1 << 20)) * 1_000_000,
            cpu_time: reader.time("max-compilation-cpu-time", Duration::from_secs(1), DAY),
            concurrent: reader.count("max-concurrent-compilations", 1, 256),
        },
        pool: pool(reader),
        endpoints: endpoints(reader),
        rpc: rpc_limits(reader),
        event_page_max: reader.count("rpc-event-page-max", 1, 100_000),
        executions: reader
            .optional("max-vms", |text| number(text, 1, 4096))
            .map_or(around.processors.max(1), |count| usize::try_from(count).unwrap_or(usize::MAX)),
        cors_any: reader.switch("rpc-cors-enable"),
        log: log(reader, log_filter),
        from_juno: reader.raw.from_juno,
    })
}

/// The data folder, where one is named.
pub(super) fn data_dir(reader: &mut Reader<'_>) -> Option<PathBuf> {
    reader.optional("db-path", |text| match text {
        "" => Err("name a folder".to_owned()),
        text => Ok(PathBuf::from(text)),
    })
}

pub(super) fn pool(reader: &mut Reader<'_>) -> PoolLimits {
    PoolLimits {
        transactions: reader.count("pool-transactions", 1, 100_000_000),
        bytes: reader.bytes("pool-size", 1_000_000),
        per_account: reader.count("pool-per-account", 1, 1_000_000),
        nonce_gap: reader.value("pool-nonce-gap", 0, |text| number(text, 0, 1_000_000)),
        ttl: reader.time("pool-ttl", Duration::from_secs(1), 30 * DAY),
    }
}

pub(super) fn log(reader: &mut Reader<'_>, level: impl FnOnce(&str) -> Result<String, String>) -> Log {
    Log {
        filter: reader.value("log-level", String::new(), level),
        json: reader.switch("log-json"),
        colour: reader.switch("colour"),
    }
}

/// The switches of Juno that have one position here.
fn mode(reader: &mut Reader<'_>) {
    if !reader.switch("seq-enable") {
        reader.fault("seq-enable", "this command always sequences; leave it out");
    }
    if !reader.switch("disable-l1-verification") {
        reader.fault("disable-l1-verification", "there is no L1 to verify against in this mode; leave it out");
    }
}

fn chain(reader: &mut Reader<'_>, around: &Surroundings) -> ChainSettings {
    let network = reader.optional("network", network_chain_id);
    let chain_id = reader.optional("chain-id", chain_id);
    let block_zero = match reader.optional("seq-genesis-file", |text| Ok(PathBuf::from(text))) {
        // Juno's default is the empty text.
        Some(path) if !path.as_os_str().is_empty() => Some(path),
        _ => None,
    };
    let accounts = reader.count("accounts", 0, 1_000);
    let seed = reader.value("seed", 0, |text| number(text, 0, u64::MAX));
    let balance = reader.value("initial-balance", 0, |text| amount(text, 0));
    let genesis = match block_zero {
        Some(path) => {
            for key in ["accounts", "seed", "initial-balance"] {
                if reader.is_given(key) {
                    reader.fault(key, "has no effect with --seq-genesis-file; leave out one of them");
                }
            }
            GenesisSource::File(path)
        }
        None => GenesisSource::Dev { accounts: u16::try_from(accounts).unwrap_or(u16::MAX), seed, balance },
    };
    ChainSettings {
        chain_id: chain_id.or(network).unwrap_or_else(|| "SN_SEPOLIA".to_owned()),
        protocol: reader.value("protocol-version", StarknetVersion::V0_14_3, protocol),
        profile: reader.value("block-profile", BouncerProfile::Dev, |text| match text {
            "dev" => Ok(BouncerProfile::Dev),
            "mainnet" => Ok(BouncerProfile::Mainnet),
            _ => Err("use dev or mainnet".to_owned()),
        }),
        fees: !reader.switch("seq-disable-fees"),
        prices: Prices {
            l1_wei: reader.price("gas-price-wei"),
            l1_fri: reader.price("gas-price-fri"),
            l1_data_wei: reader.price("data-gas-price-wei"),
            l1_data_fri: reader.price("data-gas-price-fri"),
            l2_wei: reader.price("l2-gas-price-wei"),
            l2_fri: reader.price("l2-gas-price-fri"),
        },
        sequencer_address: reader.value("sequencer-address", Felt::ZERO, |text| {
            felt(text).filter(|felt| *felt != Felt::ZERO).ok_or_else(|| "use a felt above 0, such as 0x4d2".to_owned())
        }),
        blob_data: reader.value("da-mode", false, |text| match text {
            "calldata" => Ok(false),
            "blob" => Ok(true),
            _ => Err("use calldata or blob".to_owned()),
        }),
        workers: reader
            .optional("workers", |text| number(text, 1, 256))
            .map_or(around.processors.clamp(1, 16), |workers| usize::try_from(workers).unwrap_or(1)),
        call_max_steps: reader
            .value("rpc-call-max-steps", 1, |text| number(text, 1, u64::from(u32::MAX)))
            .try_into()
            .unwrap_or(u32::MAX),
        call_max_gas: reader.value("rpc-call-max-gas", 1, |text| number(text, 1, u64::MAX)),
        genesis,
        cache_bytes: reader.bytes("cache-size", 1_000_000),
    }
}

pub(super) fn endpoints(reader: &mut Reader<'_>) -> Endpoints {
    let mut place = |host: &'static str, port: &'static str| HostPort {
        host: reader.value(host, String::new(), host_name),
        port: reader.value(port, 0, |text| number(text, 0, 65_535)).try_into().unwrap_or(0),
        flag: port,
    };
    let (http_place, websocket_place, metrics_place) =
        (place("http-host", "http-port"), place("ws-host", "ws-port"), place("metrics-host", "metrics-port"));
    let http = reader.switch("http");
    let websocket = reader.optional("ws", switch);
    let metrics = reader.switch("metrics");
    let websocket_asked = reader.is_given("ws-host") || reader.is_given("ws-port");
    let metrics_asked = reader.is_given("metrics-host") || reader.is_given("metrics-port");
    if websocket == Some(false) && websocket_asked {
        reader.fault("ws", "contradicts --ws-host or --ws-port; leave out one of them");
    }
    if !metrics && reader.is_given("metrics") && metrics_asked {
        reader.fault("metrics", "contradicts --metrics-host or --metrics-port; leave out one of them");
    }
    let own_websocket = websocket == Some(true) || (websocket.is_none() && websocket_asked);
    if !http && !own_websocket {
        reader.fault("http", "nothing would be served; leave it out, or add --ws for WebSockets alone");
    }
    Endpoints {
        http: http.then_some(http_place),
        websocket_on_http: websocket != Some(false),
        websocket: own_websocket.then_some(websocket_place),
        metrics: (metrics || metrics_asked).then_some(metrics_place),
    }
}

pub(super) fn rpc_limits(reader: &mut Reader<'_>) -> rpc::Limits {
    let batches = !reader.switch("disable-rpc-batch-requests");
    let batch = reader.count("rpc-batch-max", 1, 100_000);
    rpc::Limits {
        body_bytes_max: reader.bytes("rpc-body-max", 1_000),
        message_bytes_max: reader.bytes("ws-message-max", 1_000),
        batch_calls_max: if batches { batch } else { 0 },
        response_bytes_max: reader.bytes("rpc-response-max", 1_000),
        connections_max: reader.count("rpc-connections-max", 1, 1_000_000),
        header_timeout: reader.time("rpc-header-timeout", MILLISECOND, DAY),
        body_timeout: reader.time("rpc-body-timeout", MILLISECOND, DAY),
        idle_timeout: reader.time("rpc-idle-timeout", MILLISECOND, DAY),
        write_timeout: reader.time("rpc-write-timeout", MILLISECOND, DAY),
        request_timeout: reader.time("rpc-request-timeout", MILLISECOND, 60 * MINUTE),
        concurrent_calls_max: reader.count("rpc-max-concurrent-requests", 1, 1_000_000),
        socket_calls_max: reader.count("ws-calls-max", 1, 100_000),
        socket_queue_max: reader.count("ws-queue-max", 1, 1_000_000),
        subscriptions_max: reader.count("rpc-subscriptions-max", 0, 1_000_000),
        ping_interval: reader.time("ws-ping-interval", MILLISECOND, DAY),
        ..rpc::Limits::default()
    }
}

fn network_chain_id(text: &str) -> Result<String, String> {
    // Names and ids: Juno's blockchain/networks/network.go.
    match text.to_ascii_lowercase().as_str() {
        "sequencer" => Ok("SN_JUNO_SEQUENCER".to_owned()),
        "sepolia" => Ok("SN_SEPOLIA".to_owned()),
        "sepolia-integration" => Ok("SN_INTEGRATION_SEPOLIA".to_owned()),
        "mainnet" => Ok("SN_MAIN".to_owned()),
        _ => Err("use sequencer, sepolia, sepolia-integration or mainnet, or name a chain of your own by --chain-id"
            .to_owned()),
    }
}

/// A chain id is a short string: at most 31 ASCII characters packed into a felt.
fn chain_id(text: &str) -> Result<String, String> {
    let text = match text.strip_prefix("0x") {
        Some(_) => felt(text).and_then(short_string).unwrap_or_default(),
        None => text.to_owned(),
    };
    if (1..=31).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text);
    }
    Err("use 1 to 31 letters, digits or signs without spaces, such as SN_MYCHAIN, or the felt that packs them"
        .to_owned())
}

fn short_string(felt: Felt) -> Option<String> {
    let bytes = felt.to_bytes_be();
    let start = bytes.iter().position(|byte| *byte != 0)?;
    String::from_utf8(bytes[start..].to_vec()).ok()
}

fn felt(text: &str) -> Option<Felt> {
    match text.strip_prefix("0x") {
        Some(digits) if !digits.is_empty() && digits.len() <= 64 => Felt::from_hex(text).ok(),
        Some(_) => None,
        None => text.parse::<u128>().ok().map(Felt::from),
    }
}

fn protocol(text: &str) -> Result<StarknetVersion, String> {
    match text {
        "0.14.0" => Ok(StarknetVersion::V0_14_0),
        "0.14.1" => Ok(StarknetVersion::V0_14_1),
        "0.14.2" => Ok(StarknetVersion::V0_14_2),
        "0.14.3" => Ok(StarknetVersion::V0_14_3),
        "0.14.4" => Ok(StarknetVersion::V0_14_4),
        _ => Err("use 0.14.0, 0.14.1, 0.14.2, 0.14.3 or 0.14.4".to_owned()),
    }
}

pub(super) fn host_name(text: &str) -> Result<String, String> {
    let sound = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-_[]%".contains(&byte));
    sound.then(|| text.to_owned()).ok_or_else(|| "use an address such as 127.0.0.1, or a host name".to_owned())
}

pub(super) fn log_filter(text: &str) -> Result<String, String> {
    let wrong = || "use trace, debug, info, warn or error, or a filter such as info,rpc=debug".to_owned();
    let level = text.to_ascii_lowercase();
    if ["trace", "debug", "info", "warn", "error", "off"].contains(&level.as_str()) {
        return Ok(level);
    }
    if !text.contains('=') {
        return Err(wrong());
    }
    text.parse::<tracing_subscriber::filter::Targets>().map(|_| text.to_owned()).map_err(|_| wrong())
}

/// The chain id as a folder's name. Ids may hold signs that paths should not.
fn folder_name(chain_id: &str) -> String {
    chain_id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::ChainKind;

    fn around() -> Surroundings {
        Surroundings { processors: 4, data_home: PathBuf::from("/home/u/.local/share") }
    }

    fn raw(flags: &[(&str, &str)]) -> Raw {
        Raw::told(ChainKind::Starknet, flags)
    }

    fn resolved(flags: &[(&str, &str)]) -> Starknet {
        resolve(&raw(flags), &around()).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    fn faults(flags: &[(&str, &str)]) -> Vec<String> {
        resolve(&raw(flags), &around()).map_or_else(|faults| faults.iter().map(Fault::to_string).collect(), |_| vec![])
    }

    #[test]
    fn every_setting_is_read() {
        let (_, mut read) = resolve_noting(&raw(&[]), &around());
        read.sort_unstable();
        let mut keys: Vec<_> = ChainKind::Starknet.settings().map(|setting| setting.key).collect();
        keys.sort_unstable();
        assert_eq!(read, keys);
    }

    /// For each setting a value other than its default. The two that have one position are in the next test.
    const OTHER_VALUES: [(&str, &str); 62] = [
        ("network", "sequencer"),
        ("chain-id", "SN_MINE"),
        ("protocol-version", "0.14.4"),
        ("db-path", "./elsewhere"),
        ("seq-block-time", "500ms"),
        ("no-empty-blocks", "true"),
        ("block-profile", "mainnet"),
        ("sequencer-address", "0x7"),
        ("da-mode", "blob"),
        ("seq-genesis-file", "g.json"),
        ("accounts", "3"),
        ("seed", "9"),
        ("initial-balance", "5"),
        ("seq-disable-fees", "true"),
        ("gas-price-wei", "2"),
        ("gas-price-fri", "2"),
        ("data-gas-price-wei", "2"),
        ("data-gas-price-fri", "2"),
        ("l2-gas-price-wei", "2"),
        ("l2-gas-price-fri", "2"),
        ("workers", "7"),
        ("cache-size", "9MB"),
        ("max-vms", "7"),
        ("rpc-call-max-steps", "4123000"),
        ("rpc-call-max-gas", "7"),
        ("max-compilation-memory", "512"),
        ("max-compilation-cpu-time", "3"),
        ("max-concurrent-compilations", "5"),
        ("pool-transactions", "7"),
        ("pool-size", "9MB"),
        ("pool-per-account", "7"),
        ("pool-nonce-gap", "7"),
        ("pool-ttl", "5m"),
        ("http-host", "0.0.0.0"),
        ("http-port", "5050"),
        ("ws", "true"),
        ("ws-host", "0.0.0.0"),
        ("ws-port", "6062"),
        ("metrics", "true"),
        ("metrics-host", "0.0.0.0"),
        ("metrics-port", "9091"),
        ("rpc-cors-enable", "true"),
        ("disable-rpc-batch-requests", "true"),
        ("rpc-batch-max", "7"),
        ("rpc-body-max", "1MB"),
        ("rpc-response-max", "1MB"),
        ("rpc-request-timeout", "7s"),
        ("rpc-max-concurrent-requests", "7"),
        ("rpc-connections-max", "7"),
        ("rpc-header-timeout", "7s"),
        ("rpc-body-timeout", "7s"),
        ("rpc-idle-timeout", "7s"),
        ("rpc-write-timeout", "7s"),
        ("rpc-event-page-max", "7"),
        ("rpc-subscriptions-max", "7"),
        ("ws-message-max", "1MB"),
        ("ws-queue-max", "7"),
        ("ws-calls-max", "7"),
        ("ws-ping-interval", "7s"),
        ("log-level", "debug"),
        ("log-json", "true"),
        ("colour", "false"),
    ];

    #[test]
    fn every_setting_changes_the_outcome() {
        let default = resolved(&[]);
        for (key, value) in OTHER_VALUES {
            assert_ne!(resolved(&[(key, value)]), default, "--{key}={value} has no effect");
        }
        assert_ne!(resolved(&[("http", "false"), ("ws", "true")]), resolved(&[("ws", "true")]));
        // These two, and `http` above, are the settings that the list leaves out.
        assert_eq!(faults(&[("seq-enable", "false"), ("disable-l1-verification", "false")]).len(), 2);
        assert_eq!(OTHER_VALUES.len() + 3, ChainKind::Starknet.settings().count());
    }

    #[test]
    fn juno_command_lines_mean_what_they_say() {
        let first = resolved(&[
            ("http", "true"),
            ("http-port", "6060"),
            ("http-host", "0.0.0.0"),
            ("db-path", "./seq-db-tmp"),
            ("log-level", "debug"),
            ("seq-enable", "true"),
            ("seq-block-time", "1"),
            ("network", "sequencer"),
            ("disable-l1-verification", "true"),
            ("rpc-call-max-steps", "4123000"),
        ]);
        assert_eq!(first.chain.chain_id, "SN_JUNO_SEQUENCER");
        assert_eq!(first.block_time, Duration::from_secs(1));
        assert_eq!(first.data_dir, PathBuf::from("./seq-db-tmp"));
        assert_eq!(first.chain.call_max_steps, 4_123_000);
        assert_eq!(first.log.filter, "debug");
        let http = first.endpoints.http.unwrap();
        assert_eq!((http.host.as_str(), http.port), ("0.0.0.0", 6060));
        let file = "./genesis/genesis_prefund_accounts.json";
        let second = resolved(&[("seq-genesis-file", file)]);
        assert_eq!(second.chain.genesis, GenesisSource::File(PathBuf::from(file)));
    }

    #[test]
    fn defaults_stay_on_this_machine_and_keep_what_they_wrote() {
        let config = resolved(&[]);
        assert_eq!(config.chain.chain_id, "SN_SEPOLIA");
        assert_eq!(config.endpoints.http.unwrap().host, "127.0.0.1");
        assert_eq!(config.data_dir, PathBuf::from("/home/u/.local/share/sequenza/starknet/SN_SEPOLIA"));
        assert!(!config.cors_any);
        assert!(config.endpoints.websocket.is_none() && config.endpoints.metrics.is_none());
        // The transport's own defaults and ours are one.
        assert_eq!(config.rpc, rpc::Limits::default());
    }

    #[test]
    fn all_faults_are_told_at_once_with_their_remedy() {
        let told = faults(&[("http-port", "99999"), ("seq-block-time", "soon"), ("accounts", "-1"), ("workers", "0")]);
        assert_eq!(
            told,
            [
                "--accounts=-1: use a whole number from 0 to 1000",
                "--workers=0: use a whole number from 1 to 256",
                concat!(
                    "--seq-block-time=soon: use a time from 200ms to 1day, such as 1, 0.5, 500ms or 1m; ",
                    "a number alone is seconds"
                ),
                "--http-port=99999: use a whole number from 0 to 65535",
            ]
        );
    }

    #[test]
    fn settings_that_undo_each_other_are_faults() {
        let table: [&[(&str, &str)]; 5] = [
            &[("http", "false")],
            &[("ws", "false"), ("ws-port", "1")],
            &[("metrics", "false"), ("metrics-port", "1")],
            &[("seq-genesis-file", "g.json"), ("accounts", "3")],
            &[("network", "moon")],
        ];
        for flags in table {
            assert_eq!(faults(flags).len(), 1, "{flags:?}");
        }
    }

    #[test]
    fn a_chain_id_is_text_or_its_felt() {
        assert_eq!(chain_id("0x534e5f5345504f4c4941").as_deref(), Ok("SN_SEPOLIA"));
        assert_eq!(chain_id("SN_MINE").as_deref(), Ok("SN_MINE"));
        for junk in ["", "0x", "0x0", "two words", "this-id-has-more-than-31-characters", "ünïcode"] {
            assert!(chain_id(junk).is_err(), "{junk}");
        }
        assert_eq!(folder_name("a/b..c"), "a_b__c");
    }

    #[test]
    fn log_levels_and_filters() {
        assert_eq!(log_filter("DEBUG").as_deref(), Ok("debug"));
        assert_eq!(log_filter("info,rpc=debug").as_deref(), Ok("info,rpc=debug"));
        assert!(log_filter("loud").is_err());
        assert!(log_filter("rpc=loud").is_err());
    }
}
