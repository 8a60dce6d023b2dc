//! Flags of Juno and of anvil (kona-node's stand in `kona`) that Sequenza cannot honour, each with the reason. They are refused by name, never ignored.

/// A flag of another program that has no effect to offer here.
pub(crate) struct Refused {
    pub(crate) flag: &'static str,
    /// Whether the flag stands alone. Only for reading the command line; the answer is the same.
    pub(crate) switch: bool,
    pub(crate) reason: &'static str,
}

pub(super) const fn with_value(flag: &'static str, reason: &'static str) -> Refused {
    Refused { flag, switch: false, reason }
}

pub(super) const fn alone(flag: &'static str, reason: &'static str) -> Refused {
    Refused { flag, switch: true, reason }
}

const NO_L1: &str = "a chain of this mode has no L1; leave it out";
const NO_PEERS: &str = "a chain of this mode has no peers; leave it out";
const NO_GATEWAY: &str = "a chain of this mode follows no gateway; leave it out";
const NO_PPROF: &str = "profiling is Go's; use the metrics at /metrics, or perf on the process";
const NO_GRPC: &str = "there is no raw database access; use JSON-RPC or `sequenza verify`";
const OTHER_STORE: &str = "it tunes Juno's database, which is another one; --cache-size bounds our memory";
const OTHER_NETWORK: &str = "a network of one's own is --chain-id; there is nothing else to set";

/// Juno's flags as of 0.15 and 0.16, less those in the table of settings.
pub(crate) const JUNO: &[Refused] = &[
    with_value("eth-node", NO_L1),
    alone("pprof", NO_PPROF),
    with_value("pprof-host", NO_PPROF),
    with_value("pprof-port", NO_PPROF),
    alone("grpc", NO_GRPC),
    with_value("grpc-host", NO_GRPC),
    with_value("grpc-port", NO_GRPC),
    with_value("remote-db", NO_GRPC),
    alone("p2p", NO_PEERS),
    with_value("p2p-addr", NO_PEERS),
    with_value("p2p-public-addr", NO_PEERS),
    with_value("p2p-peers", NO_PEERS),
    alone("p2p-feeder-node", NO_PEERS),
    with_value("p2p-private-key", NO_PEERS),
    with_value("gw-api-key", NO_GATEWAY),
    with_value("gw-timeouts", NO_GATEWAY),
    with_value("pending-poll-interval", NO_GATEWAY),
    with_value("preconfirmed-poll-interval", NO_GATEWAY),
    with_value("cn-name", OTHER_NETWORK),
    with_value("cn-feeder-url", OTHER_NETWORK),
    with_value("cn-gateway-url", OTHER_NETWORK),
    with_value("cn-l1-chain-id", OTHER_NETWORK),
    with_value("cn-l2-chain-id", OTHER_NETWORK),
    with_value("cn-core-contract-address", OTHER_NETWORK),
    with_value("cn-unverifiable-range", OTHER_NETWORK),
    with_value("db-cache-size", OTHER_STORE),
    with_value("db-max-handles", OTHER_STORE),
    with_value("db-memtable-size", OTHER_STORE),
    with_value("db-memtable-count", OTHER_STORE),
    with_value("db-compression", OTHER_STORE),
    with_value("db-compaction-concurrency", OTHER_STORE),
    alone("new-state", OTHER_STORE),
    alone("transaction-combined-layout", OTHER_STORE),
    with_value("prune-mode", "every block is kept; there is no pruning yet"),
    with_value("plugin-path", "Go plug-ins cannot be loaded; subscribe to starknet_subscribeNewHeads instead"),
    with_value("versioned-constants-file", "constants are chosen by --protocol-version; files are not read yet"),
    with_value("max-vm-queue", "what waits for --max-vms is bounded by --rpc-max-concurrent-requests"),
    with_value(
        "rpc-max-block-scan",
        "starknet_getEvents reads an index of events, not blocks; --rpc-event-page-max bounds it",
    ),
    with_value(
        "submitted-transactions-cache-size",
        "submitted transactions are found in the pool itself: --pool-transactions",
    ),
    with_value(
        "submitted-transactions-cache-entry-ttl",
        "submitted transactions are found in the pool itself: --pool-ttl",
    ),
    alone("disable-received-txn-stream", "subscribers get what they ask for; there is no stream to switch off"),
    with_value("readiness-block-tolerance", "not ready is: no block for two block times, see /readyz"),
    with_value("http-update-host", "the log level cannot be changed while running; set --log-level"),
    with_value("http-update-port", "the log level cannot be changed while running; set --log-level"),
    with_value("log-host", "the log level cannot be changed while running; set --log-level"),
    with_value("log-port", "the log level cannot be changed while running; set --log-level"),
    alone("forbid-rpc-batch-requests", "its newer name is --disable-rpc-batch-requests"),
];

const NO_FORK: &str = "this chain begins with a genesis of its own; it does not continue another one's state";
const KEPT: &str = "the data folder (--db-path) keeps everything by itself, at every moment; --dump-state writes \
                    when the process stops";
const DIALECT: &str = "the rules are those of Osaka; a genesis file (--genesis) may ask for earlier ones";

/// anvil's flags as of 1.7, less those in the table of settings.
pub(crate) const ANVIL: &[Refused] = &[
    with_value("state-interval", KEPT),
    alone("preserve-historical-states", KEPT),
    with_value("fork-url", NO_FORK),
    with_value("rpc-url", NO_FORK),
    with_value("fork-block-number", NO_FORK),
    with_value("fork-chain-id", NO_FORK),
    with_value("hardfork", DIALECT),
    alone("optimism", DIALECT),
    with_value("network", DIALECT),
    alone("auto-impersonate", "impersonate each address by anvil_impersonateAccount"),
    alone("mixed-mining", "blocks come each --block-time, or one for each transaction; not both"),
    with_value("derivation-path", "accounts come from m/44'/60'/0'/0/n"),
    with_value("mnemonic-random", "make words with another tool and give them by --mnemonic"),
    with_value("mnemonic-seed-unsafe", "make words with another tool and give them by --mnemonic"),
    with_value("slots-in-an-epoch", "safe and finalized are the newest block: there is no L1 that could undo it"),
    with_value("gas-price", "there is a base fee: --base-fee says where it begins"),
    alone("disable-block-gas-limit", "raise it by --gas-limit"),
    with_value("code-size-limit", DIALECT),
    alone("disable-code-size-limit", DIALECT),
    with_value("allow-origin", "use --rpc-cors-enable to let web pages of any origin call"),
    alone("no-cors", "web pages may not call unless --rpc-cors-enable is given"),
    alone("steps-tracing", "debug_traceTransaction executes again when it is asked; nothing has to be recorded"),
    with_value("config-out", "`sequenza config show evm` prints the settings"),
    with_value("ipc", "there are HTTP and WebSocket"),
    with_value("transaction-block-keeper", "every block is kept"),
    alone("prune-history", "old states are dropped by --history.state; blocks are kept"),
];

#[cfg(test)]
mod tests {
    use crate::config::settings::ChainKind;

    #[test]
    fn no_flag_is_both_a_setting_and_refused() {
        for chain in ChainKind::ALL {
            for refused in chain.refused() {
                assert!(chain.setting(refused.flag).is_none(), "{}", refused.flag);
                assert!(!refused.reason.is_empty());
            }
        }
    }
}
