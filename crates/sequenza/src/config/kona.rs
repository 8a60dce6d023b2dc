//! The settings of `sequenza node`: kona-node's names for them, and its flags that have no effect here.
//!
//! Names, aliases, variables and defaults: kona-node as of June 2026 (ethereum-optimism/optimism `rust/kona/bin/node/src/flags`).

use super::refused::{Refused, alone, with_value};
use super::settings::Fallback::{Computed, Is};
use super::settings::{CHAIN, ENDPOINTS, ENGINE, GENESIS, LOGS, Setting, switch, value};

/// Before most of kona-node's variables.
const PREFIX: &str = "KONA_NODE_";
const L1: &str = "L1";
const SEQUENCER: &str = "Sequencer";

/// The settings of `sequenza node` alone, in the order of the help.
pub(super) const NODE: &[Setting] = &[
    value("mode", "MODE", Is("Validator"), CHAIN, "Sequencer builds blocks. (kona-node's Validator is not here yet)"),
    value(
        "l2-config-file",
        "FILE",
        Computed("none: --registry and --chain"),
        CHAIN,
        "The rollup's configuration as op-node writes it (rollup.json)",
    ),
    value("registry", "FILE", Computed("none"), CHAIN, "The superchain registry's configs.json, to find --chain in"),
    value(
        "chain",
        "CHAIN",
        Computed("that of --l2-config-file"),
        CHAIN,
        "The chain's id or its name in the registry; with --l2-config-file the id is compared with the file's",
    ),
    value(
        "db-path",
        "FOLDER",
        Computed("<user's data folder>/sequenza/node/<chain id>"),
        CHAIN,
        "Data folder: decided blocks, the journal, the embedded chain; one process at a time",
    ),
    value(
        "l1-eth-rpc",
        "URL,…",
        Computed("none; needed"),
        L1,
        "L1's JSON-RPC over HTTP. Several with commas between: the first good answer counts, and two have to agree on what is missing",
    ),
    switch(
        "l1-trust-rpc",
        "false",
        L1,
        "Believe the hashes that L1's endpoints name, instead of computing them. (kona-node's default is true)",
    ),
    value(
        "l1-beacon",
        "URL",
        Computed("none"),
        L1,
        "L1's beacon node, for blobs. It is asked at the start whether it answers; blocks are built without it",
    ),
    value(
        "l1-slot-duration-override",
        "SECONDS",
        Computed("as the beacon node says"),
        L1,
        "Length of L1's slots, for a beacon node that does not say it (anvil)",
    ),
    value(
        "l1-config-file",
        "FILE",
        Computed("known for Ethereum, Sepolia, Holesky, Hoodi and anvil"),
        L1,
        "L1's chain configuration (the config of its genesis file), for the price of blobs",
    ),
    value(
        "l2-engine-rpc",
        "URL",
        Computed("none: the embedded EVM chain is the engine"),
        ENGINE,
        "The execution engine's authenticated port, over HTTP",
    ),
    value(
        "l2-engine-jwt-secret",
        "FILE",
        Is("l2_jwt.hex"),
        ENGINE,
        "File with the engine's secret: 64 hexadecimal digits; made when it is not there",
    ),
    value(
        "l2-engine-jwt-encoded",
        "HEX",
        Computed("none"),
        ENGINE,
        "The engine's secret itself, in the place of a file",
    ),
    value(
        "l2-engine-timeout",
        "MILLISECONDS",
        Is("10000"),
        ENGINE,
        "How long the engine may take for one call. (kona-node's default, which it does not keep, is 30000)",
    ),
    value(
        "l2-genesis",
        "FILE",
        Computed("none; needed by an embedded chain that is new"),
        GENESIS,
        "Genesis of the embedded chain in geth's JSON format",
    ),
    value("http-host", "HOST", Is("127.0.0.1"), ENDPOINTS, "Address of the embedded chain's JSON-RPC"),
    value("http-port", "PORT", Is("9546"), ENDPOINTS, "Port of the embedded chain's JSON-RPC; 0 takes any free one"),
    switch("sequencer.stopped", "false", SEQUENCER, "Build nothing until admin_startSequencer"),
    value(
        "sequencer.l1-confs",
        "BLOCKS",
        Is("4"),
        SEQUENCER,
        "How deep below L1's head a block has to be before it is cited; 0 cites the head",
    ),
    switch(
        "sequencer.recover",
        "false",
        SEQUENCER,
        "Build what derivation would make by itself: empty blocks that cite the next L1 block wherever they may",
    ),
    value(
        "sequencer.auto-recover",
        "BLOCKS",
        Computed("a tenth of the sequencing window"),
        SEQUENCER,
        "Begin to recover by itself when so many L1 blocks of the sequencing window are left: what cites older ones would land too late \
         and be undone. 0 never does",
    ),
    value(
        "sequencer.sealing-duration",
        "TIME",
        Computed("50ms at first, then what blocks take"),
        SEQUENCER,
        "Seal each block so long before its time, whatever blocks take. (op-node's default is 50ms, for good)",
    ),
    value(
        "sequencer.max-safe-lag",
        "BLOCKS",
        Is("0"),
        SEQUENCER,
        "Build nothing while the newest block is so many ahead of the safe one; 0: no limit. Needs --l2-follow-source",
    ),
    value(
        "l2-follow-source",
        "URL",
        Computed("none: nothing becomes safe"),
        SEQUENCER,
        "JSON-RPC of a node that derives this chain: what is safe and final there, on the same L1 and the same chain, is so here. (Nothing is derived here yet)",
    ),
    value(
        "conductor.rpc",
        "URL",
        Computed("none: it runs alone"),
        SEQUENCER,
        "op-conductor's JSON-RPC over HTTP: blocks are decided once it holds them, and it starts and stops this sequencer",
    ),
    value(
        "conductor.rpc.timeout",
        "DURATION",
        Is("1"),
        SEQUENCER,
        "How long op-conductor may take for one call: seconds, or a time such as 500ms or 5s",
    ),
    value(
        "conductor.peers",
        "URL,…",
        Computed("none"),
        SEQUENCER,
        "JSON-RPC (eth_…) of the other sequencers' engines: what this one lacks is read there. (kona-node has no such flag)",
    ),
    switch("rpc.disabled", "false", ENDPOINTS, "Serve no JSON-RPC, health or metrics on the node's own port"),
    value(
        "rpc.addr",
        "HOST",
        Is("127.0.0.1"),
        ENDPOINTS,
        "Address of the node's own JSON-RPC, with health and metrics. (kona-node's default is 0.0.0.0)",
    ),
    value("port", "PORT", Is("9545"), ENDPOINTS, "Port of the node's own JSON-RPC; 0 takes any free one"),
    switch(
        "rpc.enable-admin",
        "false",
        ENDPOINTS,
        "Let callers start and stop the sequencer: the methods admin_…. Beyond this machine only with --rpc.jwt-secret",
    ),
    value(
        "rpc.jwt-secret",
        "FILE",
        Computed("none: no token is asked for"),
        ENDPOINTS,
        "File with a secret of 64 hexadecimal digits: calls of the node's own JSON-RPC need a token of it (HS256, as for an engine). (kona-node has no such flag)",
    ),
    value(
        "rpc.admin-state",
        "FILE",
        Computed("none: --sequencer.stopped says it at each start"),
        ENDPOINTS,
        "Keep in this file whether the sequencer was started or stopped; what it says goes before --sequencer.stopped",
    ),
    switch("rpc.ws-enabled", "false", ENDPOINTS, "Take WebSockets on the node's own port too"),
    switch("metrics.enabled", "false", ENDPOINTS, "Serve /metrics and health on a port of their own as well"),
    value(
        "metrics.addr",
        "HOST",
        Is("127.0.0.1"),
        ENDPOINTS,
        "Address of the metrics port. (kona-node's default is 0.0.0.0)",
    ),
    value("metrics.port", "PORT", Is("9090"), ENDPOINTS, "The metrics port"),
    switch("logs.stdout.quiet", "false", LOGS, "Log nothing"),
    value("logs.stdout.format", "FORMAT", Is("full"), LOGS, "full, or json: one object per line"),
];

/// Other names of the same flags.
const ALIASES: &[(&str, &[&str])] = &[
    ("chain", &["l2-chain-id"]),
    ("l1-eth-rpc", &["l1"]),
    ("l1-trust-rpc", &["l1.trust-rpc"]),
    ("l1-beacon", &["l1.beacon"]),
    ("l1-config-file", &["rollup-l1-cfg"]),
    ("l2-engine-rpc", &["l2"]),
    ("l2-engine-jwt-secret", &["l2.jwt-secret"]),
    ("l2-engine-jwt-encoded", &["l2.jwt-secret-encoded"]),
    ("l2-engine-timeout", &["l2.timeout"]),
    ("l2-config-file", &["rollup-cfg"]),
    ("l2-follow-source", &["l2.follow.source"]),
    ("port", &["rpc.port"]),
];

/// Variables that are not the flag's name in capitals after [`PREFIX`]. Where none is named, kona-node has none.
const VARIABLES: &[(&str, Option<&str>)] = &[
    ("chain", Some("KONA_NODE_L2_CHAIN_ID")),
    ("l2-engine-jwt-secret", Some("KONA_NODE_L2_ENGINE_AUTH")),
    ("l2-engine-jwt-encoded", Some("KONA_NODE_L2_ENGINE_AUTH_ENCODED")),
    ("l2-config-file", Some("KONA_NODE_ROLLUP_CONFIG")),
    ("l1-config-file", Some("KONA_NODE_L1_CHAIN_CONFIG")),
    ("port", Some("KONA_NODE_RPC_PORT")),
    ("metrics.enabled", Some("KONA_METRICS_ENABLED")),
    ("metrics.port", Some("KONA_METRICS_PORT")),
    ("metrics.addr", Some("KONA_METRICS_ADDR")),
    ("log-level", Some("KONA_LOG_LEVEL")),
    ("logs.stdout.quiet", Some("KONA_STDOUT_LOG_QUIET")),
    ("logs.stdout.format", Some("KONA_LOG_STDOUT_FORMAT")),
    ("logs.file.directory", Some("KONA_LOG_FILE_DIRECTORY")),
    ("logs.file.format", Some("KONA_LOG_FILE_FORMAT")),
    ("logs.file.rotation", Some("KONA_LOG_FILE_ROTATION")),
    ("l2-follow-source", Some("KONA_NODE_L2_FOLLOW_SOURCE")),
    ("sequencer.auto-recover", None),
    ("sequencer.sealing-duration", None),
    ("registry", None),
    ("db-path", None),
    ("l2-genesis", None),
    ("http-host", None),
    ("http-port", None),
    ("conductor.peers", None),
    ("rpc.jwt-secret", None),
];

const NO_PEERS: &str =
    "blocks are not sent to peers yet: whoever follows the chain reads it from L1 or from the engine; leave it out";
const NO_FORK_CHANGES: &str = "fork times are those of the rollup's configuration: change them in --l2-config-file";
const NO_LOG_FILES: &str =
    "logs go to standard error; send them to a file there (2>> FILE) and rotate it with the system's means";

/// kona-node's flags, less those in the table of settings.
pub(super) const REFUSED: &[Refused] = &[
    with_value("l2-trust-rpc", "blocks of the engine are always checked against their hashes; leave it out"),
    with_value("interop.dependency-set", "interop begins with Lagoon, whose rules are not here; leave it out"),
    alone(
        "rpc.no-restart",
        "a server that fails ends the process, and whoever watches that starts it again; leave it out",
    ),
    alone("rpc.dev-enabled", "there is no queue of engine tasks to look at; /metrics says how long engine calls take"),
    with_value("p2p.sequencer.key", NO_PEERS),
    with_value("p2p.sequencer.key.path", NO_PEERS),
    with_value("p2p.signer.endpoint", NO_PEERS),
    with_value("p2p.signer.address", NO_PEERS),
    with_value("p2p.signer.header", NO_PEERS),
    with_value("p2p.signer.tls.ca", NO_PEERS),
    with_value("p2p.signer.tls.cert", NO_PEERS),
    with_value("p2p.signer.tls.key", NO_PEERS),
    alone("p2p.no-discovery", NO_PEERS),
    with_value("p2p.priv.path", NO_PEERS),
    with_value("p2p.priv.raw", NO_PEERS),
    with_value("p2p.advertise.ip", NO_PEERS),
    with_value("p2p.advertise.tcp", NO_PEERS),
    with_value("p2p.advertise.udp", NO_PEERS),
    with_value("p2p.listen.ip", NO_PEERS),
    with_value("p2p.listen.tcp", NO_PEERS),
    with_value("p2p.listen.udp", NO_PEERS),
    with_value("p2p.peers.lo", NO_PEERS),
    with_value("p2p.peers.hi", NO_PEERS),
    with_value("p2p.peers.grace", NO_PEERS),
    with_value("p2p.gossip.mesh.d", NO_PEERS),
    with_value("p2p.gossip.mesh.lo", NO_PEERS),
    with_value("p2p.gossip.mesh.dhi", NO_PEERS),
    with_value("p2p.gossip.mesh.dlazy", NO_PEERS),
    alone("p2p.gossip.mesh.floodpublish", NO_PEERS),
    with_value("p2p.scoring", NO_PEERS),
    alone("p2p.ban.peers", NO_PEERS),
    with_value("p2p.ban.threshold", NO_PEERS),
    with_value("p2p.ban.duration", NO_PEERS),
    with_value("p2p.discovery.interval", NO_PEERS),
    with_value("p2p.discovery.randomize", NO_PEERS),
    with_value("p2p.bootstore", NO_PEERS),
    alone("p2p.no-bootstore", NO_PEERS),
    with_value("p2p.bootnodes", NO_PEERS),
    with_value("p2p.redial", NO_PEERS),
    with_value("p2p.redial.period", NO_PEERS),
    alone("p2p.topic-scoring", NO_PEERS),
    with_value("p2p.unsafe.block.signer", NO_PEERS),
    with_value("canyon-override", NO_FORK_CHANGES),
    with_value("delta-override", NO_FORK_CHANGES),
    with_value("ecotone-override", NO_FORK_CHANGES),
    with_value("fjord-override", NO_FORK_CHANGES),
    with_value("granite-override", NO_FORK_CHANGES),
    with_value("holocene-override", NO_FORK_CHANGES),
    with_value("pectra-blob-schedule-override", NO_FORK_CHANGES),
    with_value("isthmus-override", NO_FORK_CHANGES),
    with_value("jovian-override", NO_FORK_CHANGES),
    with_value("karst-override", NO_FORK_CHANGES),
    with_value("interop-override", NO_FORK_CHANGES),
    with_value("logs.file.directory", NO_LOG_FILES),
    with_value("logs.file.format", NO_LOG_FILES),
    with_value("logs.file.rotation", NO_LOG_FILES),
];

/// Other names of the flag.
pub(super) fn aliases(key: &str) -> &'static [&'static str] {
    ALIASES.iter().find(|(of, _)| *of == key).map_or(&[], |(_, aliases)| *aliases)
}

/// The variable that kona-node reads for the flag, if the flag is one of its own.
pub(super) fn variable(key: &str) -> Option<String> {
    if let Some((_, named)) = VARIABLES.iter().find(|(of, _)| *of == key) {
        return named.map(str::to_owned);
    }
    let theirs = NODE.iter().any(|setting| setting.key == key) || REFUSED.iter().any(|refused| refused.flag == key);
    theirs.then(|| in_capitals(key))
}

fn in_capitals(flag: &str) -> String {
    // kona-node's variables for the times of forks begin with the word that its flags end with.
    let name = match flag.strip_suffix("-override").filter(|_| flag != "l1-slot-duration-override") {
        Some(fork) => format!("override-{fork}"),
        None => flag.to_owned(),
    };
    format!("{PREFIX}{}", name.replace(['-', '.'], "_").to_ascii_uppercase())
}

/// What a variable of the environment is to us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// None of kona-node's.
    NotTheirs,
    /// A setting.
    Setting,
    /// Theirs, and refused for this reason.
    Refused(&'static str),
    /// It looks like theirs, and is not known.
    Unknown,
}

/// Judges a variable by its name.
pub(super) fn judge(name: &str) -> Judged {
    let is = |key: &str| variable(key).as_deref() == Some(name);
    if NODE.iter().any(|setting| is(setting.key)) || is("log-level") {
        return Judged::Setting;
    }
    match REFUSED.iter().find(|refused| is(refused.flag)) {
        Some(refused) => Judged::Refused(refused.reason),
        None if name.starts_with(PREFIX) => Judged::Unknown,
        None => Judged::NotTheirs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_those_of_the_table() {
        let table = [
            ("mode", "KONA_NODE_MODE"),
            ("chain", "KONA_NODE_L2_CHAIN_ID"),
            ("l1-eth-rpc", "KONA_NODE_L1_ETH_RPC"),
            ("l1-slot-duration-override", "KONA_NODE_L1_SLOT_DURATION_OVERRIDE"),
            ("l2-engine-jwt-secret", "KONA_NODE_L2_ENGINE_AUTH"),
            ("l2-config-file", "KONA_NODE_ROLLUP_CONFIG"),
            ("sequencer.l1-confs", "KONA_NODE_SEQUENCER_L1_CONFS"),
            ("rpc.enable-admin", "KONA_NODE_RPC_ENABLE_ADMIN"),
            ("port", "KONA_NODE_RPC_PORT"),
            ("metrics.port", "KONA_METRICS_PORT"),
            ("log-level", "KONA_LOG_LEVEL"),
            ("conductor.rpc", "KONA_NODE_CONDUCTOR_RPC"),
            ("p2p.sequencer.key.path", "KONA_NODE_P2P_SEQUENCER_KEY_PATH"),
            ("karst-override", "KONA_NODE_OVERRIDE_KARST"),
        ];
        for (key, name) in table {
            assert_eq!(variable(key).as_deref(), Some(name), "{key}");
        }
        for ours in ["db-path", "registry", "http-port", "conductor.peers", "rpc.jwt-secret", "pool-size"] {
            assert_eq!(variable(ours), None, "{ours}");
        }
    }

    #[test]
    fn each_variable_is_judged() {
        assert_eq!(judge("KONA_NODE_MODE"), Judged::Setting);
        assert_eq!(judge("KONA_LOG_LEVEL"), Judged::Setting);
        assert_eq!(judge("KONA_NODE_CONDUCTOR_RPC"), Judged::Setting);
        assert_eq!(judge("KONA_NODE_L2_FOLLOW_SOURCE"), Judged::Setting);
        assert!(matches!(judge("KONA_NODE_L2_TRUST_RPC"), Judged::Refused(_)));
        assert_eq!(judge("KONA_NODE_NO_SUCH"), Judged::Unknown);
        assert_eq!(judge("PATH"), Judged::NotTheirs);
    }

    #[test]
    fn no_name_stands_for_two_flags() {
        let flags = NODE.iter().map(|setting| setting.key).chain(REFUSED.iter().map(|refused| refused.flag));
        let mut names: Vec<&str> =
            flags.chain(ALIASES.iter().flat_map(|(_, aliases)| aliases.iter().copied())).collect();
        names.sort_unstable();
        names.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
    }
}
