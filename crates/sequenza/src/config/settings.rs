//! The tables of settings: one row is a flag, an environment variable and a key of the file. Each chain has a table of its
//! own; what all chains have stands in one table once.
//!
//! A row says how a setting is named and explained; `resolve` says what it means. A test checks that each row is read
//! there and changes the outcome.

use super::kona;
use super::refused::{self, Refused};

/// Which chain is to run, and so which settings there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ChainKind {
    /// `sequenza starknet`.
    #[default]
    Starknet,
    /// `sequenza evm`.
    Evm,
    /// `sequenza node`.
    Node,
}

impl ChainKind {
    pub(crate) const ALL: [ChainKind; 3] = [ChainKind::Starknet, ChainKind::Evm, ChainKind::Node];

    /// The subcommand that runs it.
    pub(crate) fn command(self) -> &'static str {
        match self {
            ChainKind::Starknet => "starknet",
            ChainKind::Evm => "evm",
            ChainKind::Node => "node",
        }
    }

    /// Its settings, in the order of the help.
    pub(crate) fn settings(self) -> impl Iterator<Item = &'static Setting> {
        let (own, endpoints) = match self {
            ChainKind::Starknet => (STARKNET, SHARED_ENDPOINTS),
            ChainKind::Evm => (EVM, SHARED_ENDPOINTS),
            // Its endpoints have kona-node's names.
            ChainKind::Node => (kona::NODE, &[] as &[Setting]),
        };
        own.iter().chain(endpoints).chain(SHARED)
    }

    /// The setting of this name.
    pub(crate) fn setting(self, key: &str) -> Option<&'static Setting> {
        self.settings().find(|setting| setting.key == key)
    }

    /// Flags of the program whose place it takes that have no effect to offer.
    pub(crate) fn refused(self) -> &'static [Refused] {
        match self {
            ChainKind::Starknet => refused::JUNO,
            ChainKind::Evm => refused::ANVIL,
            ChainKind::Node => kona::REFUSED,
        }
    }

    /// The variable that the program whose place it takes reads for this setting, where it has one.
    pub(crate) fn peer_variable(self, setting: &Setting) -> Option<String> {
        match self {
            ChainKind::Starknet => setting.juno_variable(),
            ChainKind::Evm => None,
            ChainKind::Node => kona::variable(setting.key),
        }
    }

    /// The same flag as the program whose place it takes names it.
    pub(crate) fn aliases(self, setting: &Setting) -> Vec<&'static str> {
        match self {
            ChainKind::Starknet => Vec::new(),
            ChainKind::Evm => setting.alias().into_iter().collect(),
            ChainKind::Node => kona::aliases(setting.key).to_vec(),
        }
    }

    /// Its letter there.
    pub(crate) fn letter(self, setting: &Setting) -> Option<char> {
        match self {
            ChainKind::Starknet => None,
            ChainKind::Evm => setting.letter(),
            ChainKind::Node => (setting.key == "chain").then_some('c'),
        }
    }
}

/// How a setting is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `--flag`, `--flag=true` or `--flag=false`.
    Switch,
    /// `--flag VALUE`; the word stands for the value in the help.
    Value(&'static str),
}

/// What holds when nobody says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// This text, read as if it had been given.
    Is(&'static str),
    /// Worked out by `resolve`; the text explains it.
    Computed(&'static str),
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// Name without dashes in front: the flag, and the key of the file.
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: Fallback,
    /// Heading in the help.
    pub(crate) group: &'static str,
    pub(crate) help: &'static str,
}

impl Setting {
    /// `SEQUENZA_HTTP_PORT` for `http-port`.
    pub(crate) fn variable(&self) -> String {
        environment_name("SEQUENZA", self.key)
    }

    /// Whether its value must not be shown.
    pub(crate) fn is_secret(&self) -> bool {
        self.key == "l2-engine-jwt-encoded"
    }

    /// The same flag as anvil names it.
    fn alias(&self) -> Option<&'static str> {
        match self.key {
            "http-host" => Some("host"),
            "http-port" => Some("port"),
            "genesis" => Some("init"),
            _ => None,
        }
    }

    /// anvil's letter for it.
    fn letter(&self) -> Option<char> {
        match self.key {
            "http-port" => Some('p'),
            "accounts" => Some('a'),
            "mnemonic" => Some('m'),
            "block-time" => Some('b'),
            _ => None,
        }
    }

    /// The variable that Juno reads for the same setting, where it has it.
    pub(crate) fn juno_variable(&self) -> Option<String> {
        JUNO_SETTINGS.contains(&self.key).then(|| environment_name("JUNO", self.key))
    }
}

fn environment_name(prefix: &str, key: &str) -> String {
    format!("{prefix}_{}", key.replace(['-', '.'], "_").to_ascii_uppercase())
}

/// The settings whose names and meanings are Juno's.
const JUNO_SETTINGS: [&str; 29] = [
    "log-level",
    "log-json",
    "colour",
    "http",
    "http-host",
    "http-port",
    "ws",
    "ws-host",
    "ws-port",
    "metrics",
    "metrics-host",
    "metrics-port",
    "db-path",
    "network",
    "disable-l1-verification",
    "seq-enable",
    "seq-block-time",
    "seq-genesis-file",
    "seq-disable-fees",
    "rpc-call-max-steps",
    "rpc-call-max-gas",
    "max-vms",
    "rpc-cors-enable",
    "rpc-request-timeout",
    "rpc-max-concurrent-requests",
    "disable-rpc-batch-requests",
    "max-compilation-memory",
    "max-compilation-cpu-time",
    "max-concurrent-compilations",
];

pub(super) const CHAIN: &str = "Chain";
const BLOCKS: &str = "Blocks";
pub(super) const GENESIS: &str = "Genesis and development accounts";
const FEES: &str = "Fees and gas prices";
const EXECUTION: &str = "Execution and classes";
const POOL: &str = "Transaction pool";
pub(super) const ENDPOINTS: &str = "Endpoints";
const RPC: &str = "JSON-RPC limits";
pub(super) const LOGS: &str = "Logs";
pub(super) const ENGINE: &str = "Engine API";
const JUNO: &str = "Accepted for Juno's command lines";

pub(super) const fn value(
    key: &'static str,
    word: &'static str,
    default: Fallback,
    group: &'static str,
    help: &'static str,
) -> Setting {
    Setting { key, kind: Kind::Value(word), default, group, help }
}

pub(super) const fn switch(
    key: &'static str,
    default: &'static str,
    group: &'static str,
    help: &'static str,
) -> Setting {
    Setting { key, kind: Kind::Switch, default: Fallback::Is(default), group, help }
}

use Fallback::{Computed, Is};

/// The settings of `sequenza starknet` alone, in the order of the help.
const STARKNET: &[Setting] = &[
    value(
        "network",
        "NAME",
        Computed("no name: the chain id decides"),
        CHAIN,
        "Take the chain id of a network: sequencer (SN_JUNO_SEQUENCER), sepolia, sepolia-integration or mainnet",
    ),
    value(
        "chain-id",
        "ID",
        Computed("the network's, else SN_SEPOLIA, which wallets and test tools expect of a local chain"),
        CHAIN,
        "Chain id, as text (SN_MYCHAIN) or as a felt (0x534e…); goes before --network",
    ),
    value(
        "protocol-version",
        "VERSION",
        Is("0.14.3"),
        CHAIN,
        "Starknet version whose constants price and bound execution: 0.14.0, 0.14.1, 0.14.2, 0.14.3 or 0.14.4",
    ),
    value(
        "db-path",
        "FOLDER",
        Computed("<user's data folder>/sequenza/starknet/<chain id>"),
        CHAIN,
        "Data folder; made when it does not exist; one process at a time",
    ),
    value(
        "seq-block-time",
        "TIME",
        Is("2s"),
        BLOCKS,
        "A block each so often: 1, 0.5, 500ms, 1m; a number alone is seconds. (Juno's default is 60)",
    ),
    switch("no-empty-blocks", "false", BLOCKS, "Seal no block while there is nothing to put into it"),
    value(
        "block-profile",
        "PROFILE",
        Is("dev"),
        BLOCKS,
        "How full a block may get: dev (generous) or mainnet (the public network's limits)",
    ),
    value(
        "sequencer-address",
        "FELT",
        Is("0x4d2"),
        BLOCKS,
        "Who collects fees and is named in each block. (1234 as in Juno)",
    ),
    value("da-mode", "MODE", Is("calldata"), BLOCKS, "How state diffs are priced: calldata or blob"),
    value(
        "seq-genesis-file",
        "FILE",
        Computed("none: funded accounts from --seed"),
        GENESIS,
        "Genesis in Juno's JSON format or ours; read only when the data folder is new",
    ),
    value("accounts", "N", Is("10"), GENESIS, "Development accounts to deploy and fund, 0 to 1000"),
    value("seed", "N", Is("0"), GENESIS, "Seed of the development accounts' keys; the same seed, the same accounts"),
    value(
        "initial-balance",
        "AMOUNT",
        Is("10000000000000000000000"),
        GENESIS,
        "What each development account holds in STRK and in ETH, in the smallest unit (10^18 is one)",
    ),
    switch("seq-disable-fees", "false", FEES, "Charge no fees"),
    value("gas-price-wei", "PRICE", Is("1000000000"), FEES, "Price of L1 gas in WEI"),
    value("gas-price-fri", "PRICE", Is("1000000000"), FEES, "Price of L1 gas in FRI"),
    value("data-gas-price-wei", "PRICE", Is("1000000000"), FEES, "Price of L1 data gas in WEI"),
    value("data-gas-price-fri", "PRICE", Is("1000000000"), FEES, "Price of L1 data gas in FRI"),
    value("l2-gas-price-wei", "PRICE", Is("1000000000"), FEES, "Price of L2 gas in WEI"),
    value("l2-gas-price-fri", "PRICE", Is("1000000000"), FEES, "Price of L2 gas in FRI"),
    value(
        "workers",
        "N",
        Computed("one per processor, at most 16"),
        EXECUTION,
        "Threads that execute the open block's transactions",
    ),
    value("cache-size", "BYTES", Is("128MB"), EXECUTION, "Memory for caches of state, tries, classes and blocks"),
    value(
        "max-vms",
        "N",
        Computed("one per processor"),
        EXECUTION,
        "Calls, estimates, simulations and traces that execute at once; further ones wait",
    ),
    value("rpc-call-max-steps", "N", Is("4000000"), EXECUTION, "VM steps that one starknet_call may take"),
    value("rpc-call-max-gas", "N", Is("10000000000"), EXECUTION, "L2 gas that one starknet_call may take"),
    value(
        "max-compilation-memory",
        "MEGABYTES",
        Is("4096"),
        EXECUTION,
        "Memory that the compiler of a declared class may take",
    ),
    value(
        "max-compilation-cpu-time",
        "TIME",
        Is("10s"),
        EXECUTION,
        "Processor time that the compiler of a declared class may take",
    ),
    value("max-concurrent-compilations", "N", Is("2"), EXECUTION, "Declared classes compiled at once"),
    value("rpc-event-page-max", "N", Is("1024"), EXECUTION, "Events on one page of starknet_getEvents"),
    switch("seq-enable", "true", JUNO, "Sequencing is what this command does; false is refused"),
    switch("disable-l1-verification", "true", JUNO, "There is no L1 in this mode; false is refused"),
    value(
        "http-port",
        "PORT",
        Is("6060"),
        ENDPOINTS,
        "Port to listen on; 0 takes any free one. (Dev tools often expect 5050)",
    ),
    value("ws-port", "PORT", Is("6061"), ENDPOINTS, "The WebSocket port; giving it opens that port"),
];

/// The settings of `sequenza evm` alone, in the order of the help.
const EVM: &[Setting] = &[
    value("chain-id", "ID", Is("31337"), CHAIN, "Chain id (EIP-155), decimal or 0x…; a genesis file brings its own"),
    value(
        "db-path",
        "FOLDER",
        Computed("<user's data folder>/sequenza/evm/<chain id>"),
        CHAIN,
        "Data folder; made when it does not exist; one process at a time",
    ),
    value(
        "history.state",
        "BLOCKS",
        Is("0"),
        CHAIN,
        "Blocks below the newest whose state is kept for queries, from 128; 0 keeps all. Blocks, receipts and logs are kept always",
    ),
    value(
        "block-time",
        "TIME",
        Computed("none: a block for each transaction"),
        BLOCKS,
        "A block each so often, empty or not: 1, 0.5, 500ms, 1m; a number alone is seconds",
    ),
    switch("no-mining", "false", BLOCKS, "Make a block only when evm_mine or anvil_mine asks for one"),
    value(
        "order",
        "ORDER",
        Is("fees"),
        BLOCKS,
        "Which transaction comes first: fees (who pays most) or fifo (who came first)",
    ),
    value(
        "gas-limit",
        "GAS",
        Is("30000000"),
        BLOCKS,
        "Gas that the transactions of a block may use together; a genesis file brings its own",
    ),
    value(
        "genesis",
        "FILE",
        Computed("none: funded accounts from --mnemonic"),
        GENESIS,
        "Genesis in geth's JSON format; a data folder that began with another one is refused",
    ),
    value(
        "load-state",
        "FILE",
        Computed("none"),
        GENESIS,
        "Begin with the accounts of this file, as anvil dumps them, at the file's block, when the data folder is new",
    ),
    value(
        "dump-state",
        "FILE",
        Computed("none"),
        GENESIS,
        "Write the accounts at the end of the newest block to this file when the process stops, as anvil does",
    ),
    value("state", "FILE", Computed("none"), GENESIS, "Both: --load-state, if the file is there, and --dump-state"),
    value("accounts", "N", Is("10"), GENESIS, "Development accounts to fund, 0 to 1000"),
    value("balance", "ETH", Is("10000"), GENESIS, "What each development account holds, in ether"),
    value(
        "mnemonic",
        "WORDS",
        Is("test test test test test test test test test test test junk"),
        GENESIS,
        "BIP-39 words that the accounts' keys come from (m/44'/60'/0'/0/n). The default is anvil's and public",
    ),
    value("base-fee", "WEI", Is("1000000000"), GENESIS, "Base fee of block 1; later ones follow demand (EIP-1559)"),
    value(
        "timestamp",
        "SECONDS",
        Computed("now, when the data folder is new"),
        GENESIS,
        "When the first block was, in seconds since 1970",
    ),
    value(
        "authrpc.port",
        "PORT",
        Computed("none: this process decides by itself when a block is due"),
        ENGINE,
        "Serve the Engine API here, for a rollup node to drive the chain: no block is then made but on its order",
    ),
    value("authrpc.addr", "HOST", Is("127.0.0.1"), ENGINE, "Address of the Engine API's port"),
    value(
        "authrpc.jwtsecret",
        "FILE",
        Computed("none; needed with --authrpc.port"),
        ENGINE,
        "File with the secret of the Engine API: 64 hexadecimal digits, shared with the node that calls",
    ),
    value("http-port", "PORT", Is("8545"), ENDPOINTS, "Port to listen on; 0 takes any free one"),
    value("ws-port", "PORT", Is("8546"), ENDPOINTS, "The WebSocket port; giving it opens that port"),
];

/// The endpoints of a chain that runs alone.
const SHARED_ENDPOINTS: &[Setting] = &[
    switch("http", "true", ENDPOINTS, "Serve JSON-RPC over HTTP, with health and metrics beside it"),
    value(
        "http-host",
        "HOST",
        Is("127.0.0.1"),
        ENDPOINTS,
        "Address to listen on; 0.0.0.0 is every interface. The chain's dev keys are public: think first",
    ),
    Setting {
        key: "ws",
        kind: Kind::Switch,
        default: Computed("on the HTTP port, no port of its own"),
        group: ENDPOINTS,
        help: "With --ws WebSockets get a port of their own besides; --ws=false switches them off",
    },
    value("ws-host", "HOST", Is("127.0.0.1"), ENDPOINTS, "Address of the WebSocket port; giving it opens that port"),
    switch("metrics", "false", ENDPOINTS, "Serve /metrics and health on a port of their own as well"),
    value("metrics-host", "HOST", Is("127.0.0.1"), ENDPOINTS, "Address of the metrics port; giving it opens that port"),
    value("metrics-port", "PORT", Is("9090"), ENDPOINTS, "The metrics port; giving it opens that port"),
];

/// The settings that every chain has, after its own.
const SHARED: &[Setting] = &[
    switch("rpc-cors-enable", "false", ENDPOINTS, "Let web pages of any origin call"),
    switch("disable-rpc-batch-requests", "false", RPC, "Refuse batches"),
    value("rpc-batch-max", "N", Is("100"), RPC, "Calls in one batch"),
    value("rpc-body-max", "BYTES", Is("5MB"), RPC, "Size of a request over HTTP"),
    value("rpc-response-max", "BYTES", Is("15MB"), RPC, "Size of a response"),
    value("rpc-request-timeout", "TIME", Is("1m"), RPC, "How long a call may take, waiting for its turn included"),
    value(
        "rpc-max-concurrent-requests",
        "N",
        Is("1024"),
        RPC,
        "Calls worked on at once; as many again may wait. (Juno's default is 20000)",
    ),
    value("rpc-connections-max", "N", Is("1000"), RPC, "Open sockets, half-open ones included"),
    value("rpc-header-timeout", "TIME", Is("10s"), RPC, "How long the headers of a request may take to arrive"),
    value("rpc-body-timeout", "TIME", Is("30s"), RPC, "How long the body of a request may take to arrive"),
    value("rpc-idle-timeout", "TIME", Is("1m"), RPC, "How long a connection may stay silent between requests"),
    value("rpc-write-timeout", "TIME", Is("20s"), RPC, "How long a client may leave what we write unread"),
    value("rpc-subscriptions-max", "N", Is("1024"), RPC, "Subscriptions on one WebSocket"),
    value("ws-message-max", "BYTES", Is("5MB"), RPC, "Size of a WebSocket message from a client"),
    value("ws-queue-max", "N", Is("512"), RPC, "Messages waiting to be written to one WebSocket"),
    value("ws-calls-max", "N", Is("32"), RPC, "Messages of one WebSocket worked on at once"),
    value("ws-ping-interval", "TIME", Is("30s"), RPC, "A ping each so often; two unanswered ones end the connection"),
    value("pool-transactions", "N", Is("50000"), POOL, "Transactions that may wait for a block"),
    value("pool-size", "BYTES", Is("256MB"), POOL, "Memory that waiting transactions may take"),
    value("pool-per-account", "N", Is("500"), POOL, "Transactions of one account that may wait"),
    value("pool-nonce-gap", "N", Is("200"), POOL, "How far above the account's next nonce a transaction may be"),
    value("pool-ttl", "TIME", Is("1h"), POOL, "A transaction that waits longer is dropped"),
    value(
        "log-level",
        "LEVEL",
        Is("info"),
        LOGS,
        "trace, debug, info, warn or error; or a filter such as info,rpc=debug",
    ),
    switch("log-json", "false", LOGS, "One JSON object per line"),
    switch("colour", "true", LOGS, "Colours in the log, where it goes to a terminal"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kebab_case_and_unique() {
        for chain in ChainKind::ALL {
            let mut keys: Vec<_> = chain.settings().map(|setting| setting.key).collect();
            let sound = |c: char| c == '-' || c == '.' || c.is_ascii_lowercase() || c.is_ascii_digit();
            assert!(keys.iter().all(|key| key.chars().all(sound)));
            keys.sort_unstable();
            keys.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
        }
    }

    #[test]
    fn every_name_taken_from_juno_is_a_setting() {
        let setting = |key: &str| ChainKind::Starknet.setting(key);
        for key in JUNO_SETTINGS {
            assert!(setting(key).is_some(), "{key}");
        }
        assert_eq!(setting("http-port").map(Setting::variable).as_deref(), Some("SEQUENZA_HTTP_PORT"));
        assert_eq!(setting("db-path").and_then(Setting::juno_variable).as_deref(), Some("JUNO_DB_PATH"));
        assert_eq!(setting("workers").and_then(Setting::juno_variable), None);
    }
}
