//! The transactions that a fork puts into its first block: contracts deployed anew, proxies turned to them.
//!
//! Sources: <https://specs.optimism.io/protocol/>, the derivation page of each fork; from Karst on bundles
//! (`op-core/nuts` of ethereum-optimism/optimism). The code itself is in `data/`, with where each file comes from.

use alloy_primitives::{Address, Bytes, TxKind, U256, address, hex};
use op_alloy_consensus::{NetworkUpgradeTransaction, NutBundle, TxDeposit, UpgradeDepositSource};
use serde::Deserialize;

use crate::Fork;
use crate::l1_info::{L1_BLOCK, L1_INFO_SENDER};

/// Gas that the first block of Karst has beyond its limit, for its bundle: the sum of the bundle's own limits.
pub const KARST_UPGRADE_GAS: u64 = 55_370_657;

const GAS_PRICE_ORACLE: Address = address!("0x420000000000000000000000000000000000000f");
const OPERATOR_FEE_VAULT: Address = address!("0x420000000000000000000000000000000000001b");
/// The accounts without a key from which EIP-4788 and EIP-2935 have their contracts deployed.
const BEACON_ROOTS_DEPLOYER: Address = address!("0x0b799c86a49deeb90402691f1041aa3af2d3c875");
const BLOCK_HASHES_DEPLOYER: Address = address!("0x3462413af4609098e1e27a490f554f260213d685");

/// `upgradeTo(address)`.
const UPGRADE_TO: [u8; 4] = [0x36, 0x59, 0xcf, 0xe6];
/// The gas to turn a proxy.
const PROXY_GAS: u64 = 50_000;
/// The version of bundles that is known.
const BUNDLE_VERSION: &str = "1.0.0";
/// A bundle has some dozens of transactions.
const BUNDLE_TRANSACTIONS_MAX: usize = 1_000;

/// The transactions of a fork's first block, in order; none for a fork that has none.
pub fn upgrade_transactions(fork: Fork) -> Vec<TxDeposit> {
    match fork {
        Fork::Bedrock | Fork::Regolith | Fork::Canyon | Fork::Delta | Fork::Granite | Fork::Holocene => Vec::new(),
        Fork::Ecotone => ecotone(),
        Fork::Fjord => fjord(),
        Fork::Isthmus => isthmus(),
        Fork::Jovian => jovian(),
        Fork::Karst => karst(),
    }
}

/// Gas that a fork's first block has beyond its limit. Before Karst the transactions had to fit.
pub const fn upgrade_gas(fork: Fork) -> u64 {
    match fork {
        Fork::Karst => KARST_UPGRADE_GAS,
        Fork::Bedrock
        | Fork::Regolith
        | Fork::Canyon
        | Fork::Delta
        | Fork::Ecotone
        | Fork::Fjord
        | Fork::Granite
        | Fork::Holocene
        | Fork::Isthmus
        | Fork::Jovian => 0,
    }
}

fn ecotone() -> Vec<TxDeposit> {
    let [l1_block, oracle] = [0, 1].map(deployer);
    vec![
        deploy("Ecotone: L1 Block Deployment", l1_block, 375_000, include_str!("../data/ecotone-l1-block.hex")),
        deploy(
            "Ecotone: Gas Price Oracle Deployment",
            oracle,
            1_000_000,
            include_str!("../data/ecotone-gas-price-oracle.hex"),
        ),
        turn("Ecotone: L1 Block Proxy Update", L1_BLOCK, l1_block),
        turn("Ecotone: Gas Price Oracle Proxy Update", GAS_PRICE_ORACLE, oracle),
        enable("Ecotone: Gas Price Oracle Set Ecotone", 80_000, [0x22, 0xb9, 0x0a, 0xb3]),
        deploy(
            "Ecotone: beacon block roots contract deployment",
            BEACON_ROOTS_DEPLOYER,
            250_000,
            include_str!("../data/ecotone-beacon-roots.hex"),
        ),
    ]
}

fn fjord() -> Vec<TxDeposit> {
    let oracle = deployer(2);
    vec![
        deploy(
            "Fjord: Gas Price Oracle Deployment",
            oracle,
            1_450_000,
            include_str!("../data/fjord-gas-price-oracle.hex"),
        ),
        turn("Fjord: Gas Price Oracle Proxy Update", GAS_PRICE_ORACLE, oracle),
        enable("Fjord: Gas Price Oracle Set Fjord", 90_000, [0x8e, 0x98, 0xb1, 0x06]),
    ]
}

fn isthmus() -> Vec<TxDeposit> {
    let [l1_block, oracle, vault] = [3, 4, 5].map(deployer);
    vec![
        deploy("Isthmus: L1 Block Deployment", l1_block, 425_000, include_str!("../data/isthmus-l1-block.hex")),
        deploy(
            "Isthmus: Gas Price Oracle Deployment",
            oracle,
            1_625_000,
            include_str!("../data/isthmus-gas-price-oracle.hex"),
        ),
        deploy(
            "Isthmus: Operator Fee Vault Deployment",
            vault,
            500_000,
            include_str!("../data/isthmus-operator-fee-vault.hex"),
        ),
        turn("Isthmus: L1 Block Proxy Update", L1_BLOCK, l1_block),
        turn("Isthmus: Gas Price Oracle Proxy Update", GAS_PRICE_ORACLE, oracle),
        turn("Isthmus: Operator Fee Vault Proxy Update", OPERATOR_FEE_VAULT, vault),
        enable("Isthmus: Gas Price Oracle Set Isthmus", 90_000, [0x29, 0x1b, 0x03, 0x83]),
        deploy(
            "Isthmus: EIP-2935 Contract Deployment",
            BLOCK_HASHES_DEPLOYER,
            250_000,
            include_str!("../data/isthmus-block-hashes.hex"),
        ),
    ]
}

fn jovian() -> Vec<TxDeposit> {
    let [l1_block, oracle] = [6, 7].map(deployer);
    vec![
        deploy("Jovian: L1 Block Deployment", l1_block, 447_315, include_str!("../data/jovian-l1-block.hex")),
        turn("Jovian: L1 Block Proxy Update", L1_BLOCK, l1_block),
        deploy(
            "Jovian: Gas Price Oracle Deployment",
            oracle,
            1_750_714,
            include_str!("../data/jovian-gas-price-oracle.hex"),
        ),
        turn("Jovian: Gas Price Oracle Proxy Update", GAS_PRICE_ORACLE, oracle),
        enable("Jovian: Gas Price Oracle Set Jovian", 90_000, [0xb3, 0xd7, 0x20, 0x79]),
    ]
}

fn karst() -> Vec<TxDeposit> {
    let bundle = parse_bundle(Fork::Karst.name(), include_str!("../data/karst-bundle.json"));
    let transactions = bundle.and_then(|bundle| Ok(bundle.to_deposit_transactions()?));
    transactions.expect("the bundle is part of the program, and a test reads it")
}

/// The account without a key from which the `count`-th contract of the upgrades is deployed.
fn deployer(count: u8) -> Address {
    let mut deployer = address!("0x4210000000000000000000000000000000000000");
    deployer.0[19] = count;
    deployer
}

/// Deploys a contract, as the first transaction of `from`.
fn deploy(intent: &str, from: Address, gas_limit: u64, code: &str) -> TxDeposit {
    let code = hex::decode(code.trim()).expect("the code is part of the program, and a test reads it");
    transaction(intent, from, TxKind::Create, gas_limit, code.into())
}

/// Turns a proxy to the first contract that `deployer` deployed. The zero address may do so.
fn turn(intent: &str, proxy: Address, deployer: Address) -> TxDeposit {
    let mut call = UPGRADE_TO.to_vec();
    call.extend(deployer.create(0).into_word());
    transaction(intent, Address::ZERO, TxKind::Call(proxy), PROXY_GAS, call.into())
}

/// Tells the oracle of fees that the fork is there.
fn enable(intent: &str, gas_limit: u64, function: [u8; 4]) -> TxDeposit {
    transaction(intent, L1_INFO_SENDER, TxKind::Call(GAS_PRICE_ORACLE), gas_limit, function.into())
}

fn transaction(intent: &str, from: Address, to: TxKind, gas_limit: u64, input: Bytes) -> TxDeposit {
    TxDeposit {
        source_hash: UpgradeDepositSource::new(intent.to_owned()).source_hash(),
        from,
        to,
        mint: 0,
        value: U256::ZERO,
        gas_limit,
        is_system_transaction: false,
        input,
    }
}

/// Why a text is no bundle of upgrade transactions.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not in the form of a bundle.
    #[error("no bundle of upgrade transactions: {0}")]
    Form(#[from] serde_json::Error),
    /// Another version.
    #[error("bundle version {0:?} is not known; {BUNDLE_VERSION:?} is")]
    Version(String),
    /// Too many transactions.
    #[error("{0} transactions in one bundle; up to {BUNDLE_TRANSACTIONS_MAX} are possible")]
    Many(usize),
    /// A transaction whose source nobody could tell.
    #[error(transparent)]
    Transaction(#[from] op_alloy_consensus::NutBundleError),
}

#[derive(Deserialize)]
struct BundleFile {
    metadata: BundleMetadata,
    transactions: Vec<BundledTransaction>,
}

#[derive(Deserialize)]
struct BundleMetadata {
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BundledTransaction {
    #[serde(default)]
    intent: String,
    from: Address,
    /// `null` deploys a contract.
    to: Option<Address>,
    data: Bytes,
    gas_limit: u64,
}

/// Reads a bundle in the form of op-core. `fork` is the name that goes into the sources of its transactions, with a
/// capital letter.
///
/// # Errors
/// With what is not as a bundle has it.
pub fn parse_bundle(fork: &str, text: &str) -> Result<NutBundle, BundleError> {
    let file: BundleFile = serde_json::from_str(text)?;
    if file.metadata.version != BUNDLE_VERSION {
        return Err(BundleError::Version(file.metadata.version));
    }
    if file.transactions.len() > BUNDLE_TRANSACTIONS_MAX {
        return Err(BundleError::Many(file.transactions.len()));
    }
    let unnamed = file.transactions.iter().position(|transaction| transaction.intent.is_empty());
    if let Some(place) = unnamed {
        return Err(op_alloy_consensus::NutBundleError::MissingIntent(place).into());
    }
    let transactions = file.transactions.into_iter().map(|transaction| NetworkUpgradeTransaction {
        intent: transaction.intent,
        from: transaction.from,
        to: transaction.to,
        data: transaction.data,
        gas_limit: transaction.gas_limit,
    });
    Ok(NutBundle { fork_name: fork.to_owned(), transactions: transactions.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fork_has_its_count_and_gas() {
        let table = [
            (Fork::Ecotone, 6, 1_805_000),
            (Fork::Fjord, 3, 1_590_000),
            (Fork::Isthmus, 8, 3_040_000),
            (Fork::Jovian, 5, 2_388_029),
            (Fork::Karst, 31, KARST_UPGRADE_GAS),
        ];
        for fork in Fork::ALL {
            let transactions = upgrade_transactions(fork);
            let gas: u64 = transactions.iter().map(|transaction| transaction.gas_limit).sum();
            let wanted =
                table.iter().find(|(known, ..)| *known == fork).map_or((0, 0), |(_, count, gas)| (*count, *gas));
            assert_eq!((transactions.len(), gas), wanted, "{fork}");
            assert_eq!(upgrade_gas(fork), if fork == Fork::Karst { gas } else { 0 }, "{fork}");
        }
    }

    #[test]
    fn a_bundle_has_a_limit() {
        let one = serde_json::json!({ "intent": "x", "from": Address::ZERO, "to": null, "data": "0x", "gasLimit": 1 });
        let bundle = |count: usize| {
            let transactions = vec![one.clone(); count];
            let file = serde_json::json!({ "metadata": { "version": "1.0.0" }, "transactions": transactions });
            parse_bundle("Test", &file.to_string())
        };
        assert_eq!(bundle(BUNDLE_TRANSACTIONS_MAX).expect("reads").transactions.len(), BUNDLE_TRANSACTIONS_MAX);
        assert!(matches!(bundle(BUNDLE_TRANSACTIONS_MAX + 1), Err(BundleError::Many(_))));
    }
}
