//! What the settings of `sequenza node` mean.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use optimism::RollupConfig;

use super::raw::{Fault, Raw};
use super::resolve::{
    DAY, Endpoints, HostPort, Log, PoolLimits, Reader, Surroundings, data_dir, host_name, log, log_filter, pool,
    read_with, rpc_limits,
};
use super::values::{file, number, time};

/// Endpoints of L1 that are used together.
const L1_ENDPOINTS_MAX: usize = 16;
/// The deepest that L1 blocks may have to be: far beyond the depth at which they are final.
const CONFIRMATIONS_MAX: u64 = 10_000;
/// Other sequencers that blocks are read from.
const PEERS_MAX: usize = 16;
/// The shortest and the longest that op-conductor may take for a call.
const CONDUCTOR_TIMES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));

/// Everything `sequenza node` was told, understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) rollup: RollupSource,
    /// Where L1's chain configuration is, if it is not one that is known.
    pub(crate) l1_config: Option<PathBuf>,
    /// Where everything is kept; none is named after the chain.
    pub(crate) data_dir: Option<PathBuf>,
    /// The user's data folder.
    pub(crate) data_home: PathBuf,
    pub(crate) l1: L1,
    pub(crate) engine: EngineAt,
    /// Whether it builds from the start. Never behind a conductor, which starts it.
    pub(crate) active: bool,
    /// Who elects it, if it does not run alone.
    pub(crate) conductor: Option<ConductorAt>,
    /// How deep below L1's head a block has to be before it is cited.
    pub(crate) confirmations: u64,
    pub(crate) recovering: bool,
    /// How many blocks the newest may be ahead of the safe one.
    pub(crate) max_safe_lag: Option<u64>,
    /// The node whose word is taken on what is safe.
    pub(crate) follow_source: Option<String>,
    /// How many L1 blocks before the end of the sequencing window it begins to recover by itself, 0 never; a tenth of the window if
    /// nobody said.
    pub(crate) auto_recover: Option<u64>,
    /// How long before its time each block is sealed; what blocks take if nobody said.
    pub(crate) sealing: Option<Duration>,
    pub(crate) endpoints: Endpoints,
    pub(crate) admin: bool,
    /// Where the secret is whose tokens callers of the own JSON-RPC must have.
    pub(crate) rpc_secret: Option<PathBuf>,
    /// Where it is kept whether the operator started or stopped the sequencer.
    pub(crate) admin_state: Option<PathBuf>,
    pub(crate) pool: PoolLimits,
    pub(crate) rpc: rpc::Limits,
    pub(crate) cors_any: bool,
    pub(crate) log: Log,
}

/// Where the rollup's configuration comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RollupSource {
    /// op-node's `rollup.json`; the chain's id has to be this one, if one was named.
    File(PathBuf, Option<u64>),
    /// The registry's `configs.json`, and which chain of it.
    Registry(PathBuf, String),
    /// This one, from whoever runs a node inside a program.
    Given(Arc<RollupConfig>),
}

/// How L1 is reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct L1 {
    /// Each over HTTP; at least one.
    pub(crate) endpoints: Vec<String>,
    pub(crate) trusted: bool,
    pub(crate) beacon: Option<String>,
    /// Length of L1's slots, where the beacon node does not say it.
    pub(crate) slot_seconds: Option<u64>,
}

/// op-conductor, and the other sequencers behind theirs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConductorAt {
    pub(crate) url: String,
    /// For one call.
    pub(crate) deadline: Duration,
    /// JSON-RPC of the other sequencers' engines.
    pub(crate) peers: Vec<String>,
}

/// Where blocks are executed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum EngineAt {
    /// In this process: the genesis of a new chain, and where its JSON-RPC is served.
    Embedded { genesis: Option<PathBuf>, place: HostPort },
    /// Behind this address, with this secret; a call may take so long.
    Remote { url: String, secret: SecretSource, deadline: Duration },
}

/// Where the engine's secret comes from.
#[derive(Clone, PartialEq)]
pub(crate) enum SecretSource {
    /// A file, made if it is not there.
    File(PathBuf),
    /// The text itself.
    Text(String),
}

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SecretSource::File(path) => f.debug_tuple("File").field(path).finish(),
            SecretSource::Text(_) => f.write_str("Text(hidden)"),
        }
    }
}

/// Reads every setting. Either all of them hold, or all faults are told.
pub(crate) fn resolve_node(raw: &Raw, around: &Surroundings) -> Result<Node, Vec<Fault>> {
    read_with(raw, |reader| read_all(reader, rollup, around)).0
}

/// The same for a rollup whose configuration is at hand.
pub(crate) fn resolve_node_of(config: Arc<RollupConfig>, raw: &Raw, around: &Surroundings) -> Result<Node, Vec<Fault>> {
    let given = |reader: &mut Reader<'_>| {
        for key in ["l2-config-file", "registry", "chain"] {
            if reader.is_given(key) {
                reader.fault(key, "has no effect where the rollup's configuration is given; leave it out");
            }
        }
        Some(RollupSource::Given(config))
    };
    read_with(raw, |reader| read_all(reader, given, around)).0
}

fn read_all(
    reader: &mut Reader<'_>,
    rollup: impl FnOnce(&mut Reader<'_>) -> Option<RollupSource>,
    around: &Surroundings,
) -> Option<Node> {
    mode(reader);
    let rollup = rollup(reader);
    let data_dir = data_dir(reader);
    let l1 = l1(reader);
    let engine = engine(reader);
    let admin = reader.switch("rpc.enable-admin");
    let conductor = conductor(reader, admin);
    let max_safe_lag = reader.value("sequencer.max-safe-lag", 0, |text| number(text, 0, u64::MAX));
    let follow_source = reader.optional("l2-follow-source", |text| over_http(text).map(|()| text.to_owned()));
    if max_safe_lag > 0 && !reader.is_given("l2-follow-source") {
        reader.fault(
            "sequencer.max-safe-lag",
            "what is safe is not derived from L1 yet, so that the limit would stop the chain for good: name a node that does by \
             --l2-follow-source, or leave it out",
        );
    }
    let node = Node {
        rollup: rollup?,
        l1_config: reader.optional("l1-config-file", file),
        data_dir,
        data_home: around.data_home.clone(),
        l1,
        engine,
        active: !reader.switch("sequencer.stopped") && conductor.is_none(),
        conductor,
        confirmations: reader.value("sequencer.l1-confs", 0, |text| number(text, 0, CONFIRMATIONS_MAX)),
        recovering: reader.switch("sequencer.recover"),
        max_safe_lag: (max_safe_lag > 0).then_some(max_safe_lag),
        follow_source,
        auto_recover: reader.optional("sequencer.auto-recover", |text| number(text, 0, u64::MAX)),
        sealing: reader.optional("sequencer.sealing-duration", |text| time(text, Duration::ZERO, DAY)),
        endpoints: endpoints(reader),
        admin,
        rpc_secret: reader.optional("rpc.jwt-secret", file),
        admin_state: reader.optional("rpc.admin-state", file),
        pool: pool(reader),
        rpc: rpc_limits(reader),
        cors_any: reader.switch("rpc-cors-enable"),
        log: logs(reader),
    };
    without_effect(reader, &node);
    Some(node)
}

fn mode(reader: &mut Reader<'_>) {
    reader.optional("mode", |text| match text.to_ascii_lowercase().as_str() {
        "sequencer" => Ok(()),
        "validator" => Err("a node that only follows is not here yet: use --mode=Sequencer".to_owned()),
        _ => Err("use Sequencer".to_owned()),
    });
}

fn rollup(reader: &mut Reader<'_>) -> Option<RollupSource> {
    let config = reader.optional("l2-config-file", file);
    let registry = reader.optional("registry", file);
    let chain = reader.optional("chain", |text| match text.trim() {
        "" => Err("name a chain by its id or its name".to_owned()),
        text => Ok(text.to_owned()),
    });
    match (config, registry, chain) {
        (Some(_), Some(_), _) => {
            reader.fault("registry", "contradicts --l2-config-file; leave out one of them");
            None
        }
        (Some(config), None, chain) => {
            // A file says all of a chain but whether it is the one that is meant.
            let id = chain.map(|chain| number(&chain, 1, u64::MAX)).transpose();
            match id {
                Ok(id) => Some(RollupSource::File(config, id)),
                Err(remedy) => {
                    reader.fault("chain", format!("with --l2-config-file, {remedy}, the chain's id"));
                    None
                }
            }
        }
        (None, Some(registry), Some(chain)) => Some(RollupSource::Registry(registry, chain)),
        (None, Some(_), None) => {
            reader.fault("registry", "needs --chain: which chain of it");
            None
        }
        (None, None, Some(_)) => {
            reader
                .fault("chain", "needs --registry=FILE (the superchain registry's configs.json) to find the chain in");
            None
        }
        (None, None, None) => {
            let remedy =
                "name the rollup's configuration: --l2-config-file=rollup.json, or --registry=configs.json --chain=ID";
            reader.fault("l2-config-file", remedy);
            None
        }
    }
}

fn l1(reader: &mut Reader<'_>) -> L1 {
    let endpoints = reader.optional("l1-eth-rpc", |text| {
        let urls: Vec<String> =
            text.split(',').map(|url| url.trim().to_owned()).filter(|url| !url.is_empty()).collect();
        match urls.len() {
            0 => Err("name L1's JSON-RPC, such as http://127.0.0.1:8545".to_owned()),
            1..=L1_ENDPOINTS_MAX => urls.iter().try_for_each(|url| over_http(url)).map(|()| urls),
            many => Err(format!("{many} endpoints are too many: name up to {L1_ENDPOINTS_MAX}")),
        }
    });
    if endpoints.is_none() && !reader.is_given("l1-eth-rpc") {
        reader.fault("l1-eth-rpc", "is needed: name L1's JSON-RPC, such as http://127.0.0.1:8545");
    }
    let beacon = reader.optional("l1-beacon", |text| over_http(text).map(|()| text.to_owned()));
    let slot_seconds = reader.optional("l1-slot-duration-override", |text| number(text, 1, 3_600));
    if slot_seconds.is_some() && !reader.is_given("l1-beacon") {
        reader.fault("l1-slot-duration-override", "has no effect without --l1-beacon; leave it out");
    }
    let endpoints = endpoints.unwrap_or_default();
    L1 { endpoints, trusted: reader.switch("l1-trust-rpc"), beacon, slot_seconds }
}

/// Settings of the engine that is not used.
const OF_REMOTE: [&str; 3] = ["l2-engine-jwt-secret", "l2-engine-jwt-encoded", "l2-engine-timeout"];
const OF_EMBEDDED: [&str; 8] = [
    "l2-genesis",
    "http-host",
    "http-port",
    "pool-transactions",
    "pool-size",
    "pool-per-account",
    "pool-nonce-gap",
    "pool-ttl",
];

fn engine(reader: &mut Reader<'_>) -> EngineAt {
    let url = reader.optional("l2-engine-rpc", |text| over_http(text).map(|()| text.to_owned()));
    let path = reader.value("l2-engine-jwt-secret", PathBuf::new(), file);
    let text = reader.optional("l2-engine-jwt-encoded", |text| {
        let digits = text.trim().trim_start_matches("0x");
        let sound = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if sound { Ok(text.to_owned()) } else { Err("use 64 hexadecimal digits".to_owned()) }
    });
    if text.is_some() && reader.is_given("l2-engine-jwt-secret") {
        reader.fault("l2-engine-jwt-encoded", "contradicts --l2-engine-jwt-secret; leave out one of them");
    }
    let millis = reader.value("l2-engine-timeout", 1, |text| number(text, 1, 600_000));
    let genesis = reader.optional("l2-genesis", file);
    let host = reader.value("http-host", String::new(), host_name);
    let port = reader.value("http-port", 0, |text| number(text, 0, 65_535)).try_into().unwrap_or(0);
    match url {
        Some(url) => {
            let secret = text.map_or(SecretSource::File(path), SecretSource::Text);
            EngineAt::Remote { url, secret, deadline: Duration::from_millis(millis) }
        }
        None => EngineAt::Embedded { genesis, place: HostPort { host, port, flag: "http-port" } },
    }
}

fn conductor(reader: &mut Reader<'_>, admin: bool) -> Option<ConductorAt> {
    let url = reader.optional("conductor.rpc", |text| over_plain_http(text).map(|()| text.to_owned()));
    let (least, most) = CONDUCTOR_TIMES;
    let deadline = reader.value("conductor.rpc.timeout", least, |text| time(text, least, most));
    let peers = reader.optional("conductor.peers", |text| {
        let urls: Vec<String> =
            text.split(',').map(|url| url.trim().to_owned()).filter(|url| !url.is_empty()).collect();
        match urls.len() {
            0 => Err("name the other sequencers' engines, such as http://10.0.0.2:8545".to_owned()),
            1..=PEERS_MAX => urls.iter().try_for_each(|url| over_plain_http(url)).map(|()| urls),
            many => Err(format!("{many} are too many: name up to {PEERS_MAX}")),
        }
    });
    if !reader.is_given("conductor.rpc") {
        for key in ["conductor.rpc.timeout", "conductor.peers"] {
            if reader.is_given(key) {
                reader.fault(key, "has no effect without --conductor.rpc; leave it out");
            }
        }
        return None;
    }
    if !admin {
        let remedy = "needs --rpc.enable-admin: a sequencer behind op-conductor starts stopped, and op-conductor starts it by the \
                      admin methods";
        reader.fault("conductor.rpc", remedy);
    }
    if reader.is_given("rpc.admin-state") {
        let remedy = "contradicts --conductor.rpc: only op-conductor says whether the sequencer runs, and a start that is remembered \
                      would not ask it; leave out one of them";
        reader.fault("rpc.admin-state", remedy);
    }
    Some(ConductorAt { url: url?, deadline, peers: peers.unwrap_or_default() })
}

fn without_effect(reader: &mut Reader<'_>, node: &Node) {
    let (keys, reason): (&[&str], _) = match node.engine {
        EngineAt::Remote { .. } => {
            (&OF_EMBEDDED, "has no effect with --l2-engine-rpc, whose chain is not in this process")
        }
        EngineAt::Embedded { .. } => {
            (&OF_REMOTE, "has no effect without --l2-engine-rpc: the engine is in this process")
        }
    };
    for key in keys {
        if reader.is_given(key) {
            reader.fault(key, reason);
        }
    }
}

/// The node's own JSON-RPC, and a port for the scraper.
fn endpoints(reader: &mut Reader<'_>) -> Endpoints {
    let mut place = |host: &'static str, port: &'static str| HostPort {
        host: reader.value(host, String::new(), host_name),
        port: reader.value(port, 0, |text| number(text, 0, 65_535)).try_into().unwrap_or(0),
        flag: port,
    };
    let (own, metrics) = (place("rpc.addr", "port"), place("metrics.addr", "metrics.port"));
    let disabled = reader.switch("rpc.disabled");
    let measured = reader.switch("metrics.enabled");
    let websocket = reader.switch("rpc.ws-enabled");
    for key in ["metrics.addr", "metrics.port"] {
        if !measured && reader.is_given(key) {
            reader.fault(key, "has no effect without --metrics.enabled; add it, or leave this out");
        }
    }
    for key in ["rpc.addr", "port", "rpc.ws-enabled", "rpc.enable-admin", "rpc.jwt-secret"] {
        if disabled && reader.is_given(key) {
            reader.fault(key, "has no effect with --rpc.disabled; leave out one of them");
        }
    }
    Endpoints {
        http: (!disabled).then_some(own),
        websocket_on_http: websocket,
        websocket: None,
        metrics: measured.then_some(metrics),
    }
}

/// Our log with kona-node's ways to set it: a level by its number, and formats by name.
fn logs(reader: &mut Reader<'_>) -> Log {
    let quiet = reader.switch("logs.stdout.quiet");
    let json = reader.value("logs.stdout.format", false, |text| match text.to_ascii_lowercase().as_str() {
        "full" => Ok(false),
        "json" => Ok(true),
        _ => Err("use full or json".to_owned()),
    });
    let log = log(reader, numbered_level);
    let filter = if quiet { "off".to_owned() } else { log.filter };
    Log { filter, json: json || log.json, ..log }
}

/// kona-node counts levels from 1 (error) to 5 (trace); `-v` stands for 1, `-vv` for 2.
fn numbered_level(text: &str) -> Result<String, String> {
    match text.trim() {
        "0" => Ok("off".to_owned()),
        "1" => Ok("error".to_owned()),
        "2" => Ok("warn".to_owned()),
        "3" => Ok("info".to_owned()),
        "4" => Ok("debug".to_owned()),
        "5" => Ok("trace".to_owned()),
        word => log_filter(word),
    }
}

/// Payloads go to op-conductor, and blocks come from peers, without encryption: machines of one operator.
fn over_plain_http(url: &str) -> Result<(), String> {
    match url.strip_prefix("http://") {
        Some(place) if !place.is_empty() => Ok(()),
        _ => Err(
            "use an address over plain HTTP, such as http://127.0.0.1:8547; put what encrypts in front of both sides"
                .to_owned(),
        ),
    }
}

/// Where the address goes is found out by whoever calls it; here only what it cannot be is told.
fn over_http(url: &str) -> Result<(), String> {
    let place = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).unwrap_or_default();
    if place.is_empty() { Err("use an address over HTTP, such as http://127.0.0.1:8545".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw::Sources;
    use crate::config::settings::ChainKind;

    fn around() -> Surroundings {
        Surroundings { processors: 4, data_home: PathBuf::from("/d") }
    }

    fn raw(flags: &[(&str, &str)]) -> Raw {
        Raw::told(ChainKind::Node, flags)
    }

    /// What every node needs, with these settings besides.
    fn with(flags: &[(&str, &str)]) -> Raw {
        let needed = [("mode", "Sequencer"), ("l1-eth-rpc", "http://l1"), ("l2-config-file", "rollup.json")];
        raw(&[&needed, flags].concat())
    }

    fn resolved(flags: &[(&str, &str)]) -> Node {
        resolve_node(&with(flags), &around()).unwrap_or_else(|faults| panic!("{flags:?}: {faults:?}"))
    }

    fn told(raw: &Raw) -> Vec<String> {
        resolve_node(raw, &around()).map_or_else(|faults| faults.iter().map(Fault::to_string).collect(), |_| vec![])
    }

    #[test]
    fn every_setting_is_read() {
        let mut read = read_with(&with(&[]), |reader| read_all(reader, rollup, &around())).1;
        let mut keys: Vec<_> = ChainKind::Node.settings().map(|setting| setting.key).collect();
        read.sort_unstable();
        keys.sort_unstable();
        assert_eq!(read, keys);
    }

    #[test]
    fn every_own_setting_changes_the_outcome() {
        let remote = ("l2-engine-rpc", "http://engine:8551");
        let beacon = ("l1-beacon", "http://beacon");
        let secret = "11".repeat(32);
        let table: Vec<Vec<(&str, &str)>> = vec![
            vec![("l2-config-file", "other.json")],
            vec![("chain", "10")],
            vec![("db-path", "./elsewhere")],
            vec![("l1-eth-rpc", "http://one,http://two")],
            vec![("l1-trust-rpc", "true")],
            vec![beacon],
            vec![beacon, ("l1-slot-duration-override", "2")],
            vec![("l1-config-file", "l1.json")],
            vec![remote],
            vec![remote, ("l2-engine-jwt-secret", "jwt.hex")],
            vec![remote, ("l2-engine-jwt-encoded", &secret)],
            vec![remote, ("l2-engine-timeout", "500")],
            vec![("l2-genesis", "genesis.json")],
            vec![("http-host", "0.0.0.0")],
            vec![("http-port", "1")],
            vec![("sequencer.stopped", "true")],
            vec![("sequencer.l1-confs", "0")],
            vec![("sequencer.recover", "true")],
            vec![("l2-follow-source", "http://other")],
            vec![("l2-follow-source", "http://other"), ("sequencer.max-safe-lag", "100")],
            vec![("sequencer.auto-recover", "0")],
            vec![("sequencer.sealing-duration", "50ms")],
            vec![("rpc.disabled", "true")],
            vec![("rpc.addr", "0.0.0.0")],
            vec![("port", "1")],
            vec![("rpc.enable-admin", "true")],
            vec![("rpc.jwt-secret", "rpc.hex")],
            vec![("rpc.admin-state", "state.json")],
            vec![("rpc.ws-enabled", "true")],
            vec![("rpc.enable-admin", "true"), ("conductor.rpc", "http://c")],
            vec![("rpc.enable-admin", "true"), ("conductor.rpc", "http://c"), ("conductor.rpc.timeout", "500ms")],
            vec![("rpc.enable-admin", "true"), ("conductor.rpc", "http://c"), ("conductor.peers", "http://a,http://b")],
            vec![("metrics.enabled", "true")],
            vec![("metrics.enabled", "true"), ("metrics.addr", "0.0.0.0")],
            vec![("metrics.enabled", "true"), ("metrics.port", "1")],
            vec![("logs.stdout.quiet", "true")],
            vec![("logs.stdout.format", "json")],
            vec![("log-level", "4")],
            vec![("pool-size", "9MB")],
        ];
        let mut outcomes: Vec<Node> = vec![resolved(&[])];
        for flags in &table {
            let outcome = resolved(flags);
            assert!(!outcomes.contains(&outcome), "{flags:?} has no effect");
            outcomes.push(outcome);
        }
        let of_registry =
            raw(&[("mode", "sequencer"), ("l1-eth-rpc", "http://l1"), ("registry", "configs.json"), ("chain", "op")]);
        let node = resolve_node(&of_registry, &around()).unwrap();
        assert_eq!(node.rollup, RollupSource::Registry(PathBuf::from("configs.json"), "op".to_owned()));
        // Each setting is in the table, or has one position and is judged in the next test.
        let tried = table.iter().flatten().map(|(key, _)| *key).chain(["mode", "registry"]);
        let tried: std::collections::BTreeSet<_> = tried.collect();
        for setting in super::super::kona::NODE {
            assert!(tried.contains(setting.key), "{} is not tried", setting.key);
        }
    }

    #[test]
    fn what_cannot_be_is_told_with_its_remedy() {
        let table: [(&[(&str, &str)], &str); 28] = [
            (&[("mode", "Validator")], "--mode=Sequencer"),
            (&[("mode", "Both")], "use Sequencer"),
            (&[("registry", "configs.json")], "contradicts"),
            (&[("chain", "op")], "the chain's id"),
            (&[("l1-eth-rpc", ",")], "name L1's JSON-RPC"),
            (&[("l1-eth-rpc", "ws://l1")], "over HTTP"),
            (&[("l1-slot-duration-override", "2")], "--l1-beacon"),
            (&[("l2-engine-timeout", "500")], "--l2-engine-rpc"),
            (&[("l2-engine-rpc", "http://e"), ("l2-engine-jwt-encoded", "0x11")], "64 hexadecimal digits"),
            (&[("l2-engine-rpc", "http://e"), ("l2-genesis", "g")], "--l2-engine-rpc"),
            (&[("l2-engine-rpc", "http://e"), ("pool-ttl", "5m")], "--l2-engine-rpc"),
            (&[("l2-engine-rpc", "engine:8551")], "over HTTP"),
            (&[("sequencer.max-safe-lag", "100")], "not derived"),
            (&[("sequencer.l1-confs", "-1")], "whole number"),
            (&[("sequencer.auto-recover", "soon")], "whole number"),
            (&[("sequencer.sealing-duration", "soon")], "such as"),
            (&[("metrics.port", "1")], "--metrics.enabled"),
            (&[("rpc.disabled", "true"), ("rpc.enable-admin", "true")], "--rpc.disabled"),
            (&[("port", "65536")], "65535"),
            (&[("logs.stdout.format", "pretty")], "full or json"),
            (&[("log-level", "6")], "--log-level"),
            (&[("conductor.rpc", "http://c")], "--rpc.enable-admin"),
            (&[("conductor.rpc", "c:8547"), ("rpc.enable-admin", "true")], "plain HTTP"),
            (&[("conductor.rpc", "https://c"), ("rpc.enable-admin", "true")], "plain HTTP"),
            (
                &[("conductor.rpc", "http://c"), ("rpc.enable-admin", "true"), ("rpc.admin-state", "s")],
                "only op-conductor",
            ),
            (&[("conductor.rpc", "http://c"), ("rpc.enable-admin", "true"), ("conductor.peers", ",")], "engines"),
            (&[("conductor.rpc.timeout", "5s")], "without --conductor.rpc"),
            (&[("conductor.peers", "http://a")], "without --conductor.rpc"),
        ];
        for (flags, word) in table {
            let told = told(&with(flags));
            assert!(told.len() == 1 && told[0].contains(word), "{flags:?}: {told:?}");
        }
    }

    #[test]
    fn a_bare_command_is_told_all_that_it_needs() {
        let told = told(&raw(&[]));
        for (fault, word) in told.iter().zip(["--mode=Sequencer", "--l2-config-file", "--l1-eth-rpc"]) {
            assert!(fault.contains(word) || fault.contains(word.trim_start_matches("--")), "{word}: {told:?}");
        }
        assert_eq!(told.len(), 3);
    }

    /// kona-node's ways to write the time-out, and what a conductor makes of the other settings.
    #[test]
    fn behind_a_conductor_it_starts_stopped() {
        let behind = |text: &str| {
            let flags =
                [("conductor.rpc", "http://c:8547"), ("rpc.enable-admin", "true"), ("conductor.rpc.timeout", text)];
            resolved(&flags)
        };
        for (text, millis) in [("1", 1_000), ("5s", 5_000), ("500ms", 500), ("0.25", 250)] {
            let node = behind(text);
            assert!(!node.active);
            assert_eq!(
                node.conductor.map(|conductor| conductor.deadline),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
        let flags = [("conductor.rpc", "http://c:8547"), ("rpc.enable-admin", "true"), ("sequencer.stopped", "false")];
        let node = resolved(&flags);
        assert!(!node.active);
        let expected =
            ConductorAt { url: "http://c:8547".to_owned(), deadline: Duration::from_secs(1), peers: Vec::new() };
        assert_eq!(node.conductor, Some(expected));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let text = "ab".repeat(32);
        let raw = with(&[("l2-engine-rpc", "http://e"), ("l2-engine-jwt-encoded", &text)]);
        let node = resolve_node(&raw, &around()).unwrap();
        assert!(!format!("{node:?}").contains(&text));
        let shown = crate::config::show(&raw, &crate::config::Resolved::Node(Box::new(node)));
        assert!(shown.contains("l2-engine-jwt-encoded = (not shown)") && !shown.contains(&text), "{shown}");
        let told = told(&with(&[("l2-engine-rpc", "http://e"), ("l2-engine-jwt-encoded", "abcd")]));
        assert!(told.len() == 1 && !told[0].contains("abcd"), "{told:?}");
    }

    #[test]
    fn variables_of_kona_node_are_heard_or_refused() {
        let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let environment = [
            pair("KONA_NODE_MODE", "Sequencer"),
            pair("KONA_NODE_L1_ETH_RPC", "http://l1"),
            pair("KONA_NODE_ROLLUP_CONFIG", "rollup.json"),
            pair("KONA_NODE_RPC_PORT", "7"),
            pair("KONA_METRICS_ENABLED", ""),
            pair("KONA_LOG_LEVEL", "4"),
        ];
        let sources = Sources { chain: ChainKind::Node, environment: &environment, ..Sources::default() };
        let (raw, faults) = Raw::collect(&sources);
        assert_eq!(faults, []);
        let node = resolve_node(&raw, &around()).unwrap();
        assert_eq!(node.endpoints.http.map(|place| place.port), Some(7));
        assert_eq!(node.endpoints.metrics.map(|place| place.port), Some(9090));
        assert_eq!(node.log.filter, "debug");
        let environment = [pair("KONA_NODE_L2_TRUST_RPC", "false"), pair("KONA_NODE_NO_SUCH", "1")];
        let (_, faults) =
            Raw::collect(&Sources { chain: ChainKind::Node, environment: &environment, ..Sources::default() });
        let told: Vec<_> = faults.iter().map(Fault::to_string).collect();
        assert!(
            told.len() == 2 && told[0].contains("always checked") && told[1].contains("no such setting"),
            "{told:?}"
        );
    }
}
