//! What the settings of `sequenza evm` mean.

use std::path::PathBuf;
use std::time::Duration;

use super::raw::{Fault, Raw};
use super::resolve::{
    BLOCK_TIME_MIN, DAY, Endpoints, HostPort, Log, PoolLimits, Reader, Surroundings, data_dir, endpoints, host_name,
    log, log_filter, pool, read_with, rpc_limits,
};
use super::values::{file, number, time};

/// Least bound on history, in blocks.
const HISTORY_MIN: u64 = 128;

/// Everything `sequenza evm` was told, understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Evm {
    pub(crate) chain_id: u64,
    pub(crate) genesis: EvmGenesis,
    /// The state to begin with when the folder is new.
    pub(crate) load: Option<StateSource>,
    /// Where the state goes when the process stops.
    pub(crate) dump: Option<PathBuf>,
    pub(crate) gas_limit: u64,
    /// Blocks below the newest whose state is kept; `None`: all.
    pub(crate) history: Option<u64>,
    pub(crate) data_dir: PathBuf,
    /// Whether the folder was named, rather than made of the chain id.
    pub(crate) folder_given: bool,
    pub(crate) mining: Mining,
    /// Whether who pays most comes first, rather than who came first.
    pub(crate) by_fees: bool,
    pub(crate) pool: PoolLimits,
    pub(crate) endpoints: Endpoints,
    /// Where a rollup node drives the chain, if one does.
    pub(crate) engine: Option<Engine>,
    pub(crate) rpc: rpc::Limits,
    pub(crate) cors_any: bool,
    pub(crate) log: Log,
}

/// When a block is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mining {
    /// One for each transaction.
    EachTransaction,
    /// One each so often.
    Each(Duration),
    /// Only when asked for.
    Asked,
}

/// A file with a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateSource {
    pub(crate) path: PathBuf,
    /// The flag that named it.
    pub(crate) flag: &'static str,
    /// Whether it must be there.
    pub(crate) needed: bool,
}

/// What the chain begins with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum EvmGenesis {
    /// Funded accounts.
    Dev {
        accounts: u32,
        /// Of each, in ether.
        balance: u64,
        mnemonic: String,
        /// In wei.
        base_fee: u64,
        /// Seconds since the epoch; none is now.
        timestamp: Option<u64>,
    },
    /// A file in geth's format.
    File(PathBuf),
}

/// The Engine API's port.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Engine {
    pub(crate) place: HostPort,
    pub(crate) secret: PathBuf,
}

/// Reads every setting. Either all of them hold, or all faults are told.
pub(crate) fn resolve_evm(raw: &Raw, around: &Surroundings) -> Result<Evm, Vec<Fault>> {
    read_with(raw, |reader| Some(read_all(reader, around))).0
}

fn read_all(reader: &mut Reader<'_>, around: &Surroundings) -> Evm {
    let chain_id = reader.value("chain-id", 1, whole);
    let data_dir =
        data_dir(reader).unwrap_or_else(|| around.data_home.join("sequenza").join("evm").join(chain_id.to_string()));
    let engine = engine(reader);
    let (load, dump) = state(reader);
    Evm {
        load,
        dump,
        chain_id,
        genesis: genesis(reader),
        gas_limit: reader.value("gas-limit", 0, |text| number(text, 5_000, u64::from(u32::MAX))),
        history: history(reader),
        data_dir,
        folder_given: reader.is_given("db-path"),
        mining: mining(reader, engine.is_some()),
        by_fees: reader.value("order", true, |text| match text {
            "fees" => Ok(true),
            "fifo" => Ok(false),
            _ => Err("use fees or fifo".to_owned()),
        }),
        pool: pool(reader),
        endpoints: endpoints(reader),
        engine,
        rpc: rpc_limits(reader),
        cors_any: reader.switch("rpc-cors-enable"),
        log: log(reader, log_filter),
    }
}

/// Below the least bound a reorg, a snapshot or a wallet's look at yesterday's block would find nothing.
fn history(reader: &mut Reader<'_>) -> Option<u64> {
    let blocks = reader.value("history.state", 0, |text| match number(text, 0, u64::MAX)? {
        1..HISTORY_MIN => Err(format!("use 0 to keep all, or a whole number from {HISTORY_MIN}")),
        blocks => Ok(blocks),
    });
    (blocks > 0).then_some(blocks)
}

fn genesis(reader: &mut Reader<'_>) -> EvmGenesis {
    let file = reader.optional("genesis", file);
    let accounts = reader.count("accounts", 0, 1_000);
    let balance = reader.value("balance", 0, |text| number(text, 0, u64::MAX));
    let mnemonic = reader.value("mnemonic", String::new(), |text| match text.split_whitespace().count() {
        12 | 15 | 18 | 21 | 24 => Ok(text.split_whitespace().collect::<Vec<_>>().join(" ")),
        _ => Err("use 12, 15, 18, 21 or 24 words in quotation marks".to_owned()),
    });
    let base_fee = reader.value("base-fee", 0, |text| number(text, 0, u64::MAX));
    let timestamp = reader.optional("timestamp", |text| number(text, 0, u64::from(u32::MAX)));
    let Some(file) = file else {
        let accounts = u32::try_from(accounts).unwrap_or(u32::MAX);
        return EvmGenesis::Dev { accounts, balance, mnemonic, base_fee, timestamp };
    };
    for key in ["chain-id", "accounts", "balance", "mnemonic", "base-fee", "timestamp", "gas-limit"] {
        if reader.is_given(key) {
            reader.fault(key, "has no effect with --genesis, which says it itself; leave out one of them");
        }
    }
    EvmGenesis::File(file)
}

/// Where a state comes from and where it goes.
fn state(reader: &mut Reader<'_>) -> (Option<StateSource>, Option<PathBuf>) {
    let [both, load, dump] = ["state", "load-state", "dump-state"].map(|key| reader.optional(key, file));
    for key in ["load-state", "dump-state"] {
        if both.is_some() && reader.is_given(key) {
            reader.fault(key, "is half of what --state does; leave out one of them");
        }
    }
    if let Some(key) = ["state", "load-state"].into_iter().find(|key| reader.is_given(key)) {
        for other in ["genesis", "timestamp", "base-fee"] {
            if reader.is_given(other) {
                reader.fault(
                    other,
                    format!("contradicts --{key}, whose file says where the chain begins; leave out one"),
                );
            }
        }
    }
    let source = |flag, needed| move |path| StateSource { path, flag, needed };
    let from = load.map(source("load-state", true)).or_else(|| both.clone().map(source("state", false)));
    (from, dump.or(both))
}

fn mining(reader: &mut Reader<'_>, driven: bool) -> Mining {
    let block_time = reader.optional("block-time", |text| time(text, BLOCK_TIME_MIN, DAY));
    let asked_only = reader.switch("no-mining");
    if asked_only && block_time.is_some() {
        reader.fault("no-mining", "contradicts --block-time; leave out one of them");
    }
    for key in ["no-mining", "block-time"] {
        if driven && reader.is_given(key) {
            reader.fault(key, "has no effect with --authrpc.port: the node that calls it decides when a block is due");
        }
    }
    match block_time {
        Some(block_time) => Mining::Each(block_time),
        None if asked_only => Mining::Asked,
        None => Mining::EachTransaction,
    }
}

fn engine(reader: &mut Reader<'_>) -> Option<Engine> {
    let port = reader.optional("authrpc.port", |text| number(text, 0, 65_535));
    let host = reader.value("authrpc.addr", String::new(), host_name);
    let secret = reader.optional("authrpc.jwtsecret", file);
    let Some(port) = port.and_then(|port| u16::try_from(port).ok()) else {
        for key in ["authrpc.addr", "authrpc.jwtsecret"] {
            if reader.is_given(key) && !reader.is_given("authrpc.port") {
                reader.fault(key, "has no effect without --authrpc.port, which opens the Engine API");
            }
        }
        return None;
    };
    let Some(secret) = secret else {
        reader.fault(
            "authrpc.port",
            "needs --authrpc.jwtsecret=FILE: the Engine API is open to holders of a secret only",
        );
        return None;
    };
    Some(Engine { place: HostPort { host, port, flag: "authrpc.port" }, secret })
}

fn whole(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.replace('_', "").parse().ok(),
    };
    // Above this, v = 2 · id + 36 of a legacy signature leaves 64 bits.
    parsed
        .filter(|id| (1..=u64::MAX / 2 - 36).contains(id))
        .ok_or_else(|| "use a whole number above 0, decimal or 0x…".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::ChainKind;

    fn around() -> Surroundings {
        Surroundings { processors: 4, data_home: PathBuf::from("/d") }
    }

    fn raw(flags: &[(&str, &str)]) -> Raw {
        Raw::told(ChainKind::Evm, flags)
    }

    fn resolved(flags: &[(&str, &str)]) -> Evm {
        resolve_evm(&raw(flags), &around()).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    fn faults(flags: &[(&str, &str)]) -> Vec<String> {
        resolve_evm(&raw(flags), &around())
            .map_or_else(|faults| faults.iter().map(Fault::to_string).collect(), |_| vec![])
    }

    #[test]
    fn every_setting_is_read_and_every_own_one_changes_the_outcome() {
        let mut read = read_with(&raw(&[]), |reader| Some(read_all(reader, &around()))).1;
        let mut keys: Vec<_> = ChainKind::Evm.settings().map(|setting| setting.key).collect();
        read.sort_unstable();
        keys.sort_unstable();
        assert_eq!(read, keys);
        let engine = [("authrpc.port", "8551"), ("authrpc.jwtsecret", "jwt.hex")];
        let table: [&[(&str, &str)]; 21] = [
            &[("chain-id", "0x7a69")],
            &[("chain-id", "10")],
            &[("db-path", "./elsewhere")],
            &[("block-time", "1")],
            &[("no-mining", "true")],
            &[("order", "fifo")],
            &[("gas-limit", "60000000")],
            &[("history.state", "128")],
            &[("genesis", "g.json")],
            &[("state", "s.json")],
            &[("load-state", "s.json")],
            &[("dump-state", "s.json")],
            &[("accounts", "3")],
            &[("balance", "5")],
            &[("mnemonic", "legal winner thank year wave sausage worth useful legal winner thank yellow")],
            &[("base-fee", "7")],
            &[("timestamp", "7")],
            &engine,
            &[engine[0], engine[1], ("authrpc.addr", "0.0.0.0")],
            &[("http-port", "0")],
            &[("ws-port", "1")],
        ];
        let mut outcomes: Vec<Evm> = Vec::new();
        for flags in &table[1..] {
            let outcome = resolved(flags);
            assert!(outcome != resolved(&[]) && !outcomes.contains(&outcome), "{flags:?} has no effect");
            outcomes.push(outcome);
        }
        assert_eq!(resolved(table[0]), resolved(&[]), "0x7a69 is the default");
    }

    #[test]
    fn a_newcomer_gets_what_anvil_gives() {
        let config = resolved(&[]);
        assert_eq!(config.chain_id, 31_337);
        assert_eq!(config.mining, Mining::EachTransaction);
        let http = config.endpoints.http.unwrap();
        assert_eq!((http.host.as_str(), http.port), ("127.0.0.1", 8545));
        assert_eq!(config.data_dir, PathBuf::from("/d/sequenza/evm/31337"));
        assert!(config.engine.is_none());
        assert_eq!(config.rpc, rpc::Limits::default());
    }

    #[test]
    fn settings_that_undo_each_other_are_faults() {
        let table: [(&[(&str, &str)], &str); 10] = [
            (&[("no-mining", "true"), ("block-time", "1")], "contradicts"),
            (&[("genesis", "g.json"), ("chain-id", "5")], "--genesis"),
            (&[("genesis", "g.json"), ("state", "s.json")], "--state"),
            (&[("state", "s.json"), ("dump-state", "t.json")], "--state"),
            (&[("authrpc.port", "8551")], "--authrpc.jwtsecret"),
            (&[("authrpc.jwtsecret", "x")], "--authrpc.port"),
            (&[("authrpc.port", "1"), ("authrpc.jwtsecret", "x"), ("block-time", "1")], "--authrpc.port"),
            (&[("mnemonic", "test test")], "words"),
            (&[("chain-id", "0")], "above 0"),
            (&[("history.state", "127")], "from 128"),
        ];
        for (flags, word) in table {
            let told = faults(flags);
            assert!(told.len() == 1 && told[0].contains(word), "{flags:?}: {told:?}");
        }
    }
}
