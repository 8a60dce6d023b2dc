//! Which rollup on which L1: the configuration read, and L1's endpoints asked whether they serve that L1.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use l1::{Beacon, BeaconConfig, Source, SourceConfig, Sources, SourcesConfig};
use optimism::{BlobSchedule, CONFIG_BYTES_MAX, Reading, RollupConfig};
use url::Url;

use crate::config::{self, RollupSource};
use crate::exit::{Exit, Failure};

/// Between two attempts to reach L1 at the start.
const PATIENCE: Duration = Duration::from_secs(1);
/// anvil's chain id. Its rules are Ethereum's as of Osaka, from the first block on.
const ANVIL: u64 = 31_337;
const ANVIL_FORKS: &str = r#"{ "cancunTime": 0, "pragueTime": 0, "osakaTime": 0 }"#;

/// The rollup's configuration.
///
/// # Errors
/// When the file cannot be read, or with everything that is wrong in it.
pub(super) fn rollup(source: &RollupSource) -> Result<Arc<RollupConfig>, Failure> {
    match source {
        RollupSource::Given(config) => Ok(Arc::clone(config)),
        RollupSource::File(path, wanted) => parsed("l2-config-file", path, |text| {
            let config = RollupConfig::from_rollup_json(text).and_then(Reading::strict);
            let config = config.map_err(|error| error.to_string())?;
            match wanted {
                Some(id) if *id != config.l2_chain_id => {
                    Err(format!("it is the configuration of chain {}, and --chain is {id}", config.l2_chain_id))
                }
                _ => Ok(config),
            }
        }),
        RollupSource::Registry(path, chain) => parsed("registry", path, |text| {
            let reading = RollupConfig::from_registry(text, chain);
            reading.map(|reading| reading.config).map_err(|error| error.to_string())
        }),
    }
}

fn parsed(
    flag: &str,
    path: &Path,
    parse: impl FnOnce(&str) -> Result<RollupConfig, String>,
) -> Result<Arc<RollupConfig>, Failure> {
    let config = read(path).and_then(|text| parse(&text));
    let bad = |reason| Failure::new(Exit::BadData, format!("--{flag}={}: {reason}", path.display()));
    config.map(Arc::new).map_err(bad)
}

/// What L1 asks for blobs.
///
/// # Errors
/// When L1 is not one that is known and no file says it, or with what is wrong in that file.
pub(super) fn schedule(path: Option<&Path>, l1_chain_id: u64) -> Result<BlobSchedule, Failure> {
    let bad = |path: &Path, reason: String| {
        Failure::new(Exit::BadData, format!("--l1-config-file={}: {reason}", path.display()))
    };
    if let Some(path) = path {
        let text = read(path).map_err(|reason| bad(path, reason))?;
        return BlobSchedule::from_l1_config(&text).map_err(|error| bad(path, error.to_string()));
    }
    let known = BlobSchedule::of_l1(l1_chain_id);
    let known = known.or_else(|| BlobSchedule::from_l1_config(ANVIL_FORKS).ok().filter(|_| l1_chain_id == ANVIL));
    known.ok_or_else(|| {
        let remedy = "name its chain configuration (the config of its genesis file) by --l1-config-file";
        Failure::new(Exit::Usage, format!("L1 has chain id {l1_chain_id}, which is none that is known: {remedy}"))
    })
}

fn read(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > CONFIG_BYTES_MAX as u64 {
        return Err(format!("it has {size} bytes; up to {CONFIG_BYTES_MAX} are read. Give the right file"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// L1's endpoints; none of them is asked yet.
///
/// # Errors
/// When an address is none.
pub(super) fn sources(settings: &config::L1) -> Result<Sources, Failure> {
    let source = |text: &String| {
        let url = address("l1-eth-rpc", text)?;
        let source = Source::new(SourceConfig { trusted: settings.trusted, ..SourceConfig::new(url) });
        source.map_err(|error| Failure::new(Exit::Usage, format!("--l1-eth-rpc: {error}")))
    };
    let sources = settings.endpoints.iter().map(source).collect::<Result<_, _>>()?;
    Ok(Sources::new(sources, SourcesConfig::default(), None))
}

/// The beacon node, if one is named.
///
/// # Errors
/// When its address is none.
pub(super) fn beacon(settings: &config::L1) -> Result<Option<Beacon>, Failure> {
    let Some(text) = &settings.beacon else { return Ok(None) };
    let url = address("l1-beacon", text)?;
    let config = BeaconConfig { slot_seconds: settings.slot_seconds, ..BeaconConfig::new(url) };
    let beacon = Beacon::new(config).map_err(|error| Failure::new(Exit::Usage, format!("--l1-beacon: {error}")))?;
    Ok(Some(beacon))
}

/// The words of an error, never the address: keys are often part of it.
fn address(flag: &str, text: &str) -> Result<Url, Failure> {
    text.parse().map_err(|error| {
        Failure::new(
            Exit::Usage,
            format!("--{flag}: an address is wrong: {error}: use one such as http://127.0.0.1:8545"),
        )
    })
}

/// Waits until an endpoint answers, and asks all whether they serve the right L1.
///
/// # Errors
/// When one serves another chain.
pub(super) async fn check_l1(sources: &Sources, wanted: u64) -> Result<(), Failure> {
    loop {
        let mut sound = 0;
        for (endpoint, answer) in sources.chain_ids().await {
            match answer {
                Ok(id) if id == wanted => sound += 1,
                Ok(id) => {
                    let place = sources.status().into_iter().find(|status| status.endpoint == endpoint);
                    let place = place.map_or_else(String::new, |status| status.name.to_string());
                    let text = format!("--l1-eth-rpc: {place} serves chain {id}, and the rollup is on L1 {wanted}");
                    return Err(Failure::new(Exit::Configuration, format!("{text}: name endpoints of that chain")));
                }
                Err(error) => tracing::warn!(%error, "an L1 endpoint does not tell its chain"),
            }
        }
        if sound > 0 {
            return Ok(());
        }
        tracing::warn!("no L1 endpoint answers; it will be tried again");
        tokio::time::sleep(PATIENCE).await;
    }
}

/// Asks the beacon node once. Blocks are built without it, so that its silence is only told.
pub(super) async fn check_beacon(beacon: &Beacon) {
    match beacon.slots().await {
        Ok(slots) => tracing::info!(genesis = slots.genesis, seconds = slots.seconds, "the beacon node answers"),
        Err(error) => tracing::warn!(%error, "the beacon node does not answer: blobs could not be read"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// The registry's file of all chains, where the test vectors are on this machine.
    fn registry() -> Option<PathBuf> {
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors");
        let root = std::env::var_os("SEQUENZA_VECTORS").map_or_else(|| PathBuf::from(beside), PathBuf::from);
        let path = root.join("opstack/registry/configs.json");
        if path.is_file() {
            return Some(path);
        }
        eprintln!("skipped: {} is not there (SEQUENZA_VECTORS names another place)", path.display());
        None
    }

    #[test]
    fn a_chain_of_the_registry_is_found_and_its_file_means_the_same() {
        let Some(path) = registry() else { return };
        let of_registry = |chain: &str| rollup(&RollupSource::Registry(path.clone(), chain.to_owned()));
        let config = of_registry("10").unwrap();
        assert_eq!((config.l1_chain_id, config.l2_chain_id, config.block_time), (1, 10, 2));
        schedule(None, config.l1_chain_id).unwrap();
        let failure = of_registry("no such chain").unwrap_err();
        assert!(failure.exit == Exit::BadData && failure.message.contains("no such chain"), "{failure:?}");

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rollup.json");
        std::fs::write(&file, config.to_rollup_json().to_string()).unwrap();
        assert_eq!(rollup(&RollupSource::File(file.clone(), Some(10))).unwrap(), config);
        let failure = rollup(&RollupSource::File(file.clone(), Some(11))).unwrap_err();
        assert!(failure.message.contains("chain 10") && failure.message.contains("--chain is 11"), "{failure:?}");
        let mut unknown = config.to_rollup_json();
        unknown["no_such_rule"] = 1.into();
        std::fs::write(&file, unknown.to_string()).unwrap();
        let failure = rollup(&RollupSource::File(file, None)).unwrap_err();
        assert!(failure.message.contains("no_such_rule"), "{failure:?}");
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rollup.json");
        std::fs::File::create(&file).unwrap().set_len(CONFIG_BYTES_MAX as u64 + 1).unwrap();
        let failure = rollup(&RollupSource::File(file, None)).unwrap_err();
        assert!(failure.message.contains("up to"), "{failure:?}");
    }

    #[test]
    fn an_l1_that_is_not_known_needs_its_configuration() {
        let header = alloy_header(0);
        assert_eq!(schedule(None, ANVIL).unwrap().fee(&header), 1);
        let failure = schedule(None, 900).unwrap_err();
        assert!(failure.message.contains("900") && failure.message.contains("--l1-config-file"), "{failure:?}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("l1.json");
        std::fs::write(&file, ANVIL_FORKS).unwrap();
        // The same forks at the same times ask the same price.
        let busy = alloy_header(50_000_000);
        assert_eq!(schedule(Some(&file), 900).unwrap().fee(&busy), schedule(None, ANVIL).unwrap().fee(&busy));
        std::fs::write(&file, r#"{"cancunTime":"soon"}"#).unwrap();
        let failure = schedule(Some(&file), 900).unwrap_err();
        assert!(failure.message.contains("cancunTime"), "{failure:?}");
    }

    fn alloy_header(excess_blob_gas: u64) -> alloy_consensus::Header {
        alloy_consensus::Header { excess_blob_gas: Some(excess_blob_gas), ..Default::default() }
    }

    #[test]
    fn addresses_are_told_by_their_flag_and_never_shown() {
        let l1 = |endpoints: &[&str], beacon: Option<&str>| config::L1 {
            endpoints: endpoints.iter().map(|url| (*url).to_owned()).collect(),
            trusted: false,
            beacon: beacon.map(str::to_owned),
            slot_seconds: None,
        };
        assert_eq!(sources(&l1(&["http://one", "https://two/key"], None)).unwrap().ids().count(), 2);
        let failure = sources(&l1(&["http://one", "http://[secret-key"], None)).unwrap_err();
        assert!(failure.message.contains("--l1-eth-rpc") && !failure.message.contains("secret-key"), "{failure:?}");
        assert!(beacon(&l1(&[], None)).unwrap().is_none());
        assert!(beacon(&l1(&[], Some("http://beacon"))).unwrap().is_some());
        let failure = beacon(&l1(&[], Some("http://[secret-key"))).unwrap_err();
        assert!(failure.message.contains("--l1-beacon") && !failure.message.contains("secret-key"), "{failure:?}");
    }
}
