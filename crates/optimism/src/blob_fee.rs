//! What blobs cost on L1, which every block of the rollup from Ecotone on repeats.
//!
//! Sources: EIP-4844, EIP-7691, EIP-7892 for the formula and its one parameter; the times of L1's forks are those of
//! its public networks (geth `params/config.go`), for others those of its genesis file.

use alloy_consensus::Header;
use alloy_eips::eip4844::{BLOB_TX_MIN_BLOB_GASPRICE, fake_exponential};
use alloy_eips::eip7840::BlobParams;
use serde_json::Value;

use crate::RollupConfig;

/// How the blob fee follows demand on one L1, by the time of its blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobSchedule {
    /// From this time on, in ascending order: the update fraction.
    fractions: Vec<(u64, u128)>,
}

/// Why an L1 chain's configuration gives no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("L1 configuration, {key}: {problem}")]
pub struct BadL1Config {
    /// The key.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The names of L1's forks that may change the blob fee, in their order.
const L1_FORKS: [&str; 9] = ["cancun", "prague", "osaka", "bpo1", "bpo2", "bpo3", "bpo4", "bpo5", "amsterdam"];

impl BlobSchedule {
    /// The schedule of a public L1: Ethereum, Sepolia, Holesky, Hoodi. `None` for any other chain id.
    pub fn of_l1(chain_id: u64) -> Option<Self> {
        // The times of Cancun, Prague, and the first two forks that changed blobs alone. Osaka left the fee as Prague
        // had it.
        let times = match chain_id {
            1 => [1_710_338_135, 1_746_612_311, 1_765_290_071, 1_767_747_671],
            11_155_111 => [1_706_655_072, 1_741_159_776, 1_761_017_184, 1_761_607_008],
            17_000 => [1_707_305_664, 1_740_434_112, 1_759_800_000, 1_760_389_824],
            560_048 => [0, 1_742_999_832, 1_762_365_720, 1_762_955_544],
            _ => return None,
        };
        let params = [BlobParams::cancun(), BlobParams::prague(), BlobParams::bpo1(), BlobParams::bpo2()];
        let fractions = times.into_iter().zip(params.map(|params| params.update_fraction)).collect();
        Some(Self { fractions })
    }

    /// The schedule in the `config` of an L1 genesis file: `cancunTime`, `pragueTime`, … with `blobSchedule`. Forks
    /// without an entry there have the values of Ethereum.
    ///
    /// # Errors
    /// With the key that is not what it should be.
    pub fn from_l1_config(text: &str) -> Result<Self, BadL1Config> {
        let bad = |key: &str, problem: String| BadL1Config { key: key.to_owned(), problem };
        let value: Value = serde_json::from_str(text).map_err(|error| bad("the text", format!("no JSON: {error}")))?;
        let config = value.get("config").unwrap_or(&value);
        if !config.is_object() {
            return Err(bad("config", "has to be a table of keys and values".to_owned()));
        }
        let mut fractions = Vec::new();
        for fork in L1_FORKS {
            let key = format!("{fork}Time");
            let Some(time) = config.get(&key).filter(|time| !time.is_null()) else { continue };
            let time = time.as_u64().ok_or_else(|| bad(&key, format!("{time} is no time in whole seconds")))?;
            if let Some(fraction) = named_fraction(config, fork)? {
                fractions.push((time, fraction));
            }
        }
        fractions.sort_by_key(|(time, _)| *time);
        Ok(Self { fractions })
    }

    /// What a blob's gas costs in an L1 block, in wei; 1 before L1 has blobs.
    pub fn fee(&self, l1_block: &Header) -> u128 {
        let Some(excess) = l1_block.excess_blob_gas else { return BLOB_TX_MIN_BLOB_GASPRICE };
        let begun = self.fractions.iter().rev().find(|(time, _)| *time <= l1_block.timestamp);
        let fraction = begun.map_or(BlobParams::cancun().update_fraction, |(_, fraction)| *fraction);
        blob_fee(excess, fraction)
    }

    /// The same as a rollup repeats it: chains that missed Prague's schedule count by Cancun's until a time of their
    /// own.
    pub(crate) fn fee_for(&self, config: &RollupConfig, l1_block: &Header) -> u128 {
        match (config.pectra_blob_schedule_time, l1_block.excess_blob_gas) {
            (Some(time), Some(excess)) if l1_block.timestamp < time => {
                blob_fee(excess, BlobParams::cancun().update_fraction)
            }
            _ => self.fee(l1_block),
        }
    }
}

/// The formula of EIP-4844. Saturates.
fn blob_fee(excess_blob_gas: u64, update_fraction: u128) -> u128 {
    fake_exponential(BLOB_TX_MIN_BLOB_GASPRICE, excess_blob_gas.into(), update_fraction)
}

/// The update fraction of a fork: as its entry in `blobSchedule` says, else as on Ethereum, else that of the fork
/// before it.
fn named_fraction(config: &Value, fork: &str) -> Result<Option<u128>, BadL1Config> {
    let key = "baseFeeUpdateFraction";
    let named = &config["blobSchedule"][fork][key];
    if !named.is_null() {
        let fraction = named.as_u64().filter(|fraction| *fraction > 0);
        let bad = || BadL1Config {
            key: format!("blobSchedule.{fork}.{key}"),
            problem: format!("{named} is no whole number above 0"),
        };
        return fraction.map(|fraction| Some(fraction.into())).ok_or_else(bad);
    }
    let usual = match fork {
        "cancun" => BlobParams::cancun(),
        "prague" | "osaka" => BlobParams::prague(),
        "bpo1" => BlobParams::bpo1(),
        "bpo2" => BlobParams::bpo2(),
        _ => return Ok(None),
    };
    Ok(Some(usual.update_fraction))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Forks;
    use crate::config::tests::chain;

    fn block(timestamp: u64, excess_blob_gas: Option<u64>) -> Header {
        Header { timestamp, excess_blob_gas, ..Header::default() }
    }

    #[test]
    fn the_fee_follows_the_schedule_of_its_l1() {
        let sepolia = BlobSchedule::of_l1(11_155_111).expect("public");
        let fees = [1_741_159_775, 1_741_159_776, 1_761_017_184, 1_761_607_008]
            .map(|time| sepolia.fee(&block(time, Some(100_000_000))));
        // e to the excess over the fraction: 29.95, 19.97, 11.98, 8.56.
        assert_eq!(fees.map(|fee| fee.ilog2()), [43, 28, 17, 12], "{fees:?}");
        assert_eq!(sepolia.fee(&block(0, None)), 1, "no blobs yet");
        assert_eq!(sepolia.fee(&block(u64::MAX, Some(u64::MAX))), u128::MAX, "no panic beyond all measure");
        assert_eq!(BlobSchedule::of_l1(31_337), None);
    }

    #[test]
    fn a_chain_that_missed_prague_counts_by_cancun_until_its_own_time() {
        let mut config = chain(Forks::default());
        config.pectra_blob_schedule_time = Some(1_742_486_400);
        let sepolia = BlobSchedule::of_l1(11_155_111).expect("public");
        let fees = [1_742_486_399, 1_742_486_400].map(|time| sepolia.fee_for(&config, &block(time, Some(100_000_000))));
        assert_eq!(fees.map(|fee| fee.ilog2()), [43, 28]);
        assert_eq!(sepolia.fee_for(&config, &block(1_742_486_399, None)), 1);
    }

    #[test]
    fn a_private_l1_brings_its_own_schedule() {
        let text = r#"{ "config": { "cancunTime": 0, "pragueTime": 10, "osakaTime": 20, "bpo1Time": 30, "bpo3Time": 40,
            "blobSchedule": { "prague": { "baseFeeUpdateFraction": 5000000 },
                "bpo3": { "baseFeeUpdateFraction": 77 } } } }"#;
        let schedule = BlobSchedule::from_l1_config(text).expect("reads");
        let wanted = [(0, 3_338_477), (10, 5_000_000), (20, 5_007_716), (30, 8_346_193), (40, 77)];
        assert_eq!(schedule.fractions, wanted);
        for (text, wanted) in [
            ("{", "no JSON"),
            ("7", "has to be a table"),
            (r#"{ "cancunTime": "x" }"#, "cancunTime"),
            (r#"{ "cancunTime": 0, "blobSchedule": { "cancun": { "baseFeeUpdateFraction": 0 } } }"#, "above 0"),
        ] {
            let told = BlobSchedule::from_l1_config(text).expect_err(wanted).to_string();
            assert!(told.contains(wanted), "{told}");
        }
    }
}
