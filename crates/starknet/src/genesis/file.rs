//! Genesis files: the format of Juno's sequencer as it is, and keys of our own beside it.
//!
//! | key | meaning |
//! |---|---|
//! | `classes` | class files (Sierra or Cairo 0 JSON), by a path relative to the working directory or to the genesis file, or `bundled:NAME` |
//! | `contracts` | address to `class_hash` (a hash, or `bundled:NAME`) and `constructor_args` (absent or null: no constructor call); deployed in the order of the file |
//! | `function_calls` | calls in order: `contract_address`, `entry_point_selector`, `calldata`, and `caller_address` (0 when absent) |
//! | `bootstrap_accounts` | `address`, `publicKey`, `privateKey`: shown at start, nothing else |
//! | `transactions` | INVOKE and DEPLOY_ACCOUNT, executed with validation and fee skipped; their hash is taken as stated |
//! | `predeploy` | any of `strk`, `eth`, `udc`, `udc_legacy`: bundled contracts at their mainnet addresses, deployed before `contracts` |
//! | `accounts` | accounts to deploy: `private_key` or `public_key`, `class` (default `bundled:oz_account_1.0.0`), `balance` in both tokens, `nonce` |
//! | `balances` | address to `strk` and `eth`, in the smallest unit; written after all calls, total supply follows |
//! | `nonces` | address to nonce |
//! | `storage` | address to slot to value; written last |
//! | `timestamp` | Unix seconds of block 0; 0 when absent |
//! | `chain_id` | must be the configured chain id; an older version of the format required it |
//!
//! Numbers are hexadecimal text (`"0x1f"`), decimal text or JSON integers. Any other key is refused.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blockifier::context::BlockContext;
use blockifier::state::cached_state::CachedState;
use blockifier::state::state_api::{State, StateReader};
use blockifier::transaction::account_transaction::{AccountTransaction, ExecutionFlags};
use blockifier::transaction::transactions::ExecutableTransaction;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use starknet_api::abi::abi_utils::{get_fee_token_var_address, get_storage_var_address};
use starknet_api::core::{
    ClassHash, ContractAddress, EntryPointSelector, Nonce, PatriciaKey, calculate_contract_address,
};
use starknet_api::data_availability::DataAvailabilityMode;
use starknet_api::executable_transaction::{
    AccountTransaction as ApiAccountTransaction, DeployAccountTransaction as ExecutableDeploy,
    InvokeTransaction as ExecutableInvoke,
};
use starknet_api::fee_token_defaults::{ETH_FEE_CONTRACT_ADDRESS, STRK_FEE_CONTRACT_ADDRESS};
use starknet_api::state::StorageKey;
use starknet_api::transaction::fields::{
    AccountDeploymentData, Calldata, ContractAddressSalt, Fee, PaymasterData, ProofFacts, Tip, TransactionSignature,
    ValidResourceBounds,
};
use starknet_api::transaction::{
    DeployAccountTransaction, DeployAccountTransactionV1, DeployAccountTransactionV3, InvokeTransaction,
    InvokeTransactionV1, InvokeTransactionV3, TransactionHash,
};
use starknet_types_core::felt::Felt;

use super::bundled;
use super::{Empty, Plan, PlannedCall, PlannedContract, PredeployedAccount, account_address, address, token_arguments};
use super::{UDC_ADDRESS, UDC_LEGACY_ADDRESS, state_error};
use crate::chain::ChainError;
use crate::classes::DeclaredClass;
use crate::rules::Rules;

/// Largest genesis or class file read, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GenesisFile {
    #[serde(default)]
    classes: Vec<String>,
    #[serde(default)]
    contracts: InOrder<Number, ContractEntry>,
    #[serde(default)]
    function_calls: Vec<CallEntry>,
    #[serde(default)]
    bootstrap_accounts: Vec<BootstrapEntry>,
    #[serde(default)]
    transactions: Vec<TransactionEntry>,
    #[serde(default)]
    predeploy: Vec<Predeployed>,
    #[serde(default)]
    accounts: Vec<AccountEntry>,
    #[serde(default)]
    balances: InOrder<Number, BalanceEntry>,
    #[serde(default)]
    nonces: InOrder<Number, Number>,
    #[serde(default)]
    storage: InOrder<Number, InOrder<Number, Number>>,
    #[serde(default)]
    timestamp: u64,
    chain_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContractEntry {
    #[serde(alias = "class")]
    class_hash: String,
    #[serde(default)]
    constructor_args: Option<Vec<Number>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallEntry {
    contract_address: Number,
    entry_point_selector: Number,
    #[serde(default)]
    calldata: Vec<Number>,
    #[serde(default)]
    caller_address: Number,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BootstrapEntry {
    address: Number,
    #[serde(rename = "publicKey", alias = "public_key")]
    public_key: Number,
    #[serde(rename = "privateKey", alias = "private_key")]
    private_key: Number,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountEntry {
    private_key: Option<Number>,
    public_key: Option<Number>,
    #[serde(default = "default_account_class")]
    class: String,
    #[serde(default)]
    balance: Amount,
    #[serde(default)]
    nonce: Number,
}

fn default_account_class() -> String {
    format!("{}{}", bundled::PREFIX, bundled::OZ_ACCOUNT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BalanceEntry {
    strk: Option<Amount>,
    eth: Option<Amount>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Predeployed {
    Strk,
    Eth,
    Udc,
    UdcLegacy,
}

/// An RPC transaction of either kind; which fields must be there depends on kind and version.
#[derive(Clone, Debug, Deserialize)]
struct TransactionEntry {
    r#type: String,
    version: Number,
    transaction_hash: Number,
    #[serde(default)]
    signature: Vec<Number>,
    #[serde(default)]
    nonce: Number,
    #[serde(default)]
    max_fee: Amount,
    sender_address: Option<Number>,
    #[serde(default)]
    calldata: Vec<Number>,
    class_hash: Option<Number>,
    contract_address_salt: Option<Number>,
    #[serde(default)]
    constructor_calldata: Vec<Number>,
}

/// A transaction of the file with its place there.
#[derive(Debug)]
pub(crate) struct PlannedTransaction {
    index: usize,
    transaction: ApiAccountTransaction,
}

/// The key pairs that a file names, or none when it cannot be read any more.
pub(super) fn accounts(path: &Path) -> Vec<PredeployedAccount> {
    let Ok(file) = read(path) else { return Vec::new() };
    let bootstrap = file.bootstrap_accounts.iter().filter_map(|entry| {
        Some(PredeployedAccount {
            address: contract_address(entry.address.0).ok()?,
            public_key: entry.public_key.0,
            private_key: entry.private_key.0,
            class_hash: ClassHash::default(),
            balance: 0,
        })
    });
    let own = file.accounts.iter().filter_map(|entry| {
        let private_key = entry.private_key?.0;
        let public_key = starknet_crypto::get_public_key(&private_key);
        let class_hash = known_hash(&entry.class)?;
        let address = account_address(class_hash, public_key);
        Some(PredeployedAccount { address, public_key, private_key, class_hash, balance: entry.balance.0 })
    });
    bootstrap.chain(own).collect()
}

/// The hash that a class is given by, without compiling anything.
fn known_hash(class: &str) -> Option<ClassHash> {
    match class.strip_prefix(bundled::PREFIX) {
        Some(bundled::OZ_ACCOUNT) => Some(ClassHash(super::OZ_ACCOUNT_HASH)),
        Some(name) => bundled::class(name)?.ok().map(|class| class.hash()),
        None => parse_number(class).map(ClassHash),
    }
}

/// Reads a file into what genesis does.
pub(super) fn plan(path: &Path, rules: &Rules) -> Result<Plan, ChainError> {
    let file = read(path)?;
    let reader = Reading { path, classes: Vec::new() };
    reader.plan(file, rules)
}

fn read(path: &Path) -> Result<GenesisFile, ChainError> {
    let text = read_text(path).map_err(|reason| genesis_error(path, "", &reason))?;
    let mut json = serde_json::Deserializer::from_str(&text);
    let file = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let key = error.path().to_string();
        genesis_error(path, if key == "." { "" } else { &key }, &error.inner().to_string())
    })?;
    json.end().map_err(|error| genesis_error(path, "", &error.to_string()))?;
    Ok(file)
}

fn read_text(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("has {length} bytes, at most {FILE_BYTES_MAX} are read"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn genesis_error(path: &Path, key: &str, reason: &str) -> ChainError {
    let key = if key.is_empty() { String::new() } else { format!(": {key}") };
    ChainError::Genesis(format!("{}{key}: {reason}", path.display()))
}

struct Reading<'a> {
    path: &'a Path,
    classes: Vec<Arc<DeclaredClass>>,
}

impl Reading<'_> {
    fn error(&self, key: &str, reason: &str) -> ChainError {
        genesis_error(self.path, key, reason)
    }

    fn plan(mut self, file: GenesisFile, rules: &Rules) -> Result<Plan, ChainError> {
        let configured = rules.config.chain_id.to_string();
        if let Some(named) = file.chain_id.filter(|named| *named != configured) {
            let reason = format!("is {named:?}, but the configured chain id is {configured:?}");
            return Err(self.error("chain_id", &reason));
        }
        for (index, name) in file.classes.iter().enumerate() {
            self.load(&format!("classes[{index}]"), name)?;
        }
        let mut plan = Plan { timestamp: file.timestamp, ..Plan::default() };
        self.predeploy(&file.predeploy, &file.accounts, &mut plan)?;
        for (at, entry) in file.contracts.0 {
            let key = format!("contracts.{:#x}", at.0);
            plan.contracts.push(PlannedContract {
                address: contract_address(at.0).map_err(|reason| self.error(&key, &reason))?,
                class_hash: self.class_of(&format!("{key}.class_hash"), &entry.class_hash)?,
                arguments: entry.constructor_args.map(|arguments| felts(&arguments)),
            });
        }
        self.deploy_accounts(&file.accounts, &mut plan)?;
        for (index, entry) in file.function_calls.iter().enumerate() {
            let key = format!("function_calls[{index}]");
            plan.calls.push(PlannedCall {
                contract: contract_address(entry.contract_address.0).map_err(|reason| self.error(&key, &reason))?,
                selector: EntryPointSelector(entry.entry_point_selector.0),
                calldata: felts(&entry.calldata),
                caller: contract_address(entry.caller_address.0).map_err(|reason| self.error(&key, &reason))?,
            });
        }
        for (index, entry) in file.transactions.iter().enumerate() {
            let transaction =
                entry.executable().map_err(|reason| self.error(&format!("transactions[{index}]"), &reason))?;
            plan.transactions.push(PlannedTransaction { index, transaction });
        }
        self.values(file.balances, file.nonces, file.storage, &mut plan)?;
        self.check_keys(&file.bootstrap_accounts)?;
        plan.classes = self.classes;
        Ok(plan)
    }

    /// Loads a class if it is not there yet.
    fn load(&mut self, key: &str, name: &str) -> Result<ClassHash, ChainError> {
        let class = match name.strip_prefix(bundled::PREFIX) {
            Some(bundled) => bundled::class(bundled).ok_or_else(|| {
                let known: Vec<_> = bundled::names().collect();
                self.error(key, &format!("there is no bundled class {bundled:?}; there are {}", known.join(", ")))
            })?,
            None => {
                let path = self.find(name).ok_or_else(|| {
                    let reason =
                        format!("class file {name:?} is neither in the working directory nor beside the genesis file");
                    self.error(key, &reason)
                })?;
                let text = read_text(&path)
                    .map_err(|reason| self.error(key, &format!("class file {}: {reason}", path.display())))?;
                DeclaredClass::from_json(&text)
            }
        };
        let class = class.map_err(|error| self.error(key, &format!("{name:?}: {error}")))?;
        let hash = class.hash();
        if !self.classes.iter().any(|known| known.hash() == hash) {
            self.classes.push(Arc::new(class));
        }
        Ok(hash)
    }

    /// A file by its path as it is, else by its path from the folder of the genesis file.
    fn find(&self, name: &str) -> Option<PathBuf> {
        let beside = self.path.parent().map(|folder| folder.join(name));
        [Some(PathBuf::from(name)), beside].into_iter().flatten().find(|path| path.is_file())
    }

    /// A class by hash or by bundled name, which is then loaded.
    fn class_of(&mut self, key: &str, class: &str) -> Result<ClassHash, ChainError> {
        if class.starts_with(bundled::PREFIX) {
            return self.load(key, class);
        }
        let number = parse_number(class);
        number.map(ClassHash).ok_or_else(|| self.error(key, &format!("{class:?} is neither a hash nor `bundled:NAME`")))
    }

    fn predeploy(
        &mut self,
        wanted: &[Predeployed],
        accounts: &[AccountEntry],
        plan: &mut Plan,
    ) -> Result<(), ChainError> {
        // As on a development chain, the first account may mint; without accounts, nobody whose key is known.
        let minter = match accounts.first().map(|account| self.account(0, account)) {
            Some(first) => first?.1,
            None => address(Felt::ONE),
        };
        for predeployed in wanted {
            let (name, at, arguments) = match predeployed {
                Predeployed::Strk => {
                    (bundled::STRK, *STRK_FEE_CONTRACT_ADDRESS, Some(token_arguments("Starknet Token", "STRK", minter)))
                }
                Predeployed::Eth => {
                    (bundled::ETH, *ETH_FEE_CONTRACT_ADDRESS, Some(token_arguments("Ether", "ETH", minter)))
                }
                Predeployed::Udc => (bundled::UDC, address(UDC_ADDRESS), None),
                Predeployed::UdcLegacy => (bundled::UDC_LEGACY, address(UDC_LEGACY_ADDRESS), None),
            };
            let class_hash = self.load("predeploy", &format!("{}{name}", bundled::PREFIX))?;
            plan.contracts.push(PlannedContract { address: at, class_hash, arguments });
        }
        Ok(())
    }

    /// Public key, address and class of an entry of `accounts`.
    fn account(
        &mut self,
        index: usize,
        entry: &AccountEntry,
    ) -> Result<(Felt, ContractAddress, ClassHash), ChainError> {
        let key = format!("accounts[{index}]");
        let derived = entry.private_key.map(|private| starknet_crypto::get_public_key(&private.0));
        let public_key = match (derived, entry.public_key) {
            (Some(derived), Some(stated)) if derived != stated.0 => {
                return Err(self.error(&key, "`public_key` does not belong to `private_key`"));
            }
            (Some(public_key), _) => public_key,
            (None, Some(stated)) => stated.0,
            (None, None) => return Err(self.error(&key, "needs `private_key` or `public_key`")),
        };
        let class_hash = self.class_of(&format!("{key}.class"), &entry.class)?;
        Ok((public_key, account_address(class_hash, public_key), class_hash))
    }

    fn deploy_accounts(&mut self, accounts: &[AccountEntry], plan: &mut Plan) -> Result<(), ChainError> {
        for (index, entry) in accounts.iter().enumerate() {
            let (public_key, address, class_hash) = self.account(index, entry)?;
            let arguments = Some(vec![public_key]);
            plan.contracts.push(PlannedContract { address, class_hash, arguments });
            if entry.balance.0 > 0 {
                plan.balances.push((*STRK_FEE_CONTRACT_ADDRESS, address, entry.balance.0));
                plan.balances.push((*ETH_FEE_CONTRACT_ADDRESS, address, entry.balance.0));
            }
            if entry.nonce.0 != Felt::ZERO {
                plan.nonces.push((address, Nonce(entry.nonce.0)));
            }
        }
        Ok(())
    }

    fn values(
        &self,
        balances: InOrder<Number, BalanceEntry>,
        nonces: InOrder<Number, Number>,
        storage: InOrder<Number, InOrder<Number, Number>>,
        plan: &mut Plan,
    ) -> Result<(), ChainError> {
        let address_in = |key: &str, at: Number| {
            contract_address(at.0).map_err(|reason| self.error(&format!("{key}.{:#x}", at.0), &reason))
        };
        for (at, entry) in balances.0 {
            let owner = address_in("balances", at)?;
            for (token, amount) in [(*STRK_FEE_CONTRACT_ADDRESS, entry.strk), (*ETH_FEE_CONTRACT_ADDRESS, entry.eth)] {
                plan.balances.extend(amount.map(|amount| (token, owner, amount.0)));
            }
        }
        for (at, nonce) in nonces.0 {
            plan.nonces.push((address_in("nonces", at)?, Nonce(nonce.0)));
        }
        for (at, slots) in storage.0 {
            let owner = address_in("storage", at)?;
            for (slot, value) in slots.0 {
                let key = PatriciaKey::try_from(slot.0)
                    .map_err(|error| self.error(&format!("storage.{:#x}.{:#x}", at.0, slot.0), &error.to_string()))?;
                plan.storage.push((owner, StorageKey(key), value.0));
            }
        }
        Ok(())
    }

    fn check_keys(&self, accounts: &[BootstrapEntry]) -> Result<(), ChainError> {
        for (index, entry) in accounts.iter().enumerate() {
            if starknet_crypto::get_public_key(&entry.private_key.0) != entry.public_key.0 {
                let key = format!("bootstrap_accounts[{index}]");
                return Err(self.error(&key, "`publicKey` does not belong to `privateKey`"));
            }
        }
        Ok(())
    }
}

impl TransactionEntry {
    fn executable(&self) -> Result<ApiAccountTransaction, String> {
        let tx_hash = TransactionHash(self.transaction_hash.0);
        let signature = TransactionSignature(Arc::new(felts(&self.signature)));
        let nonce = Nonce(self.nonce.0);
        // Fees are skipped, so the bounds only limit gas: none is what "skipped" means.
        let resource_bounds = ValidResourceBounds::new_unlimited_gas_no_fee_enforcement();
        match (self.r#type.as_str(), self.version.0) {
            ("INVOKE", version) => {
                let sender = self.sender_address.ok_or("`sender_address` is missing")?;
                let sender_address = contract_address(sender.0)?;
                let calldata = Calldata::from(felts(&self.calldata));
                let tx = if version == Felt::ONE {
                    let max_fee = Fee(self.max_fee.0);
                    InvokeTransaction::V1(InvokeTransactionV1 { max_fee, signature, nonce, sender_address, calldata })
                } else if version == Felt::THREE {
                    InvokeTransaction::V3(InvokeTransactionV3 {
                        resource_bounds,
                        tip: Tip(0),
                        signature,
                        nonce,
                        sender_address,
                        calldata,
                        nonce_data_availability_mode: DataAvailabilityMode::L1,
                        fee_data_availability_mode: DataAvailabilityMode::L1,
                        paymaster_data: PaymasterData(Vec::new()),
                        account_deployment_data: AccountDeploymentData(Vec::new()),
                        proof_facts: ProofFacts::default(),
                    })
                } else {
                    return Err(format!("INVOKE has version {version:#x}; 0x1 and 0x3 are known"));
                };
                Ok(ApiAccountTransaction::Invoke(ExecutableInvoke { tx, tx_hash }))
            }
            ("DEPLOY_ACCOUNT", version) => {
                let class_hash = ClassHash(self.class_hash.ok_or("`class_hash` is missing")?.0);
                let contract_address_salt = ContractAddressSalt(self.contract_address_salt.unwrap_or_default().0);
                let constructor_calldata = Calldata::from(felts(&self.constructor_calldata));
                let contract_address = calculate_contract_address(
                    contract_address_salt,
                    class_hash,
                    &constructor_calldata,
                    ContractAddress::default(),
                )
                .map_err(|error| error.to_string())?;
                let tx = if version == Felt::ONE {
                    DeployAccountTransaction::V1(DeployAccountTransactionV1 {
                        max_fee: Fee(self.max_fee.0),
                        signature,
                        nonce,
                        class_hash,
                        contract_address_salt,
                        constructor_calldata,
                    })
                } else if version == Felt::THREE {
                    DeployAccountTransaction::V3(DeployAccountTransactionV3 {
                        resource_bounds,
                        tip: Tip(0),
                        signature,
                        nonce,
                        class_hash,
                        contract_address_salt,
                        constructor_calldata,
                        nonce_data_availability_mode: DataAvailabilityMode::L1,
                        fee_data_availability_mode: DataAvailabilityMode::L1,
                        paymaster_data: PaymasterData(Vec::new()),
                    })
                } else {
                    return Err(format!("DEPLOY_ACCOUNT has version {version:#x}; 0x1 and 0x3 are known"));
                };
                Ok(ApiAccountTransaction::DeployAccount(ExecutableDeploy { tx, tx_hash, contract_address }))
            }
            (other, _) => Err(format!("type {other:?} is not executed at genesis; INVOKE and DEPLOY_ACCOUNT are")),
        }
    }
}

/// Executes the file's transactions with validation and fee skipped.
pub(super) fn run_transactions(
    state: &mut CachedState<Empty>,
    context: &Arc<BlockContext>,
    transactions: &[PlannedTransaction],
) -> Result<(), ChainError> {
    for PlannedTransaction { index, transaction } in transactions {
        let failed = |reason: String| ChainError::Genesis(format!("transactions[{index}]: {reason}"));
        let execution_flags =
            ExecutionFlags { only_query: false, charge_fee: false, validate: false, strict_nonce_check: true };
        let account = AccountTransaction { tx: transaction.clone(), execution_flags };
        let execution = account.execute(state, context).map_err(|error| failed(error.to_string()))?;
        if let Some(error) = execution.revert_error {
            return Err(failed(format!("reverted: {error}")));
        }
    }
    Ok(())
}

/// Sets balances in the tokens' storage; the total supply follows the difference.
pub(super) fn set_balances(
    state: &mut CachedState<Empty>,
    balances: &[(ContractAddress, ContractAddress, u128)],
) -> Result<(), ChainError> {
    let supply_key = get_storage_var_address("ERC20_total_supply", &[]);
    for (token, owner, amount) in balances {
        let failed = |reason: &str| ChainError::Genesis(format!("balance of {:#x}: {reason}", owner.0.key()));
        if state.get_class_hash_at(*token).map_err(state_error)? == ClassHash::default() {
            return Err(failed(&format!(
                "no token is deployed at {:#x}: add it to `predeploy` or `contracts`",
                token.0.key()
            )));
        }
        let key = get_fee_token_var_address(*owner);
        let before = low_word(state.get_storage_at(*token, key).map_err(state_error)?);
        let supply = low_word(state.get_storage_at(*token, supply_key).map_err(state_error)?);
        let supply = supply.saturating_sub(before).checked_add(*amount);
        let supply = supply.ok_or_else(|| failed("the total supply exceeds 128 bits"))?;
        state.set_storage_at(*token, key, Felt::from(*amount)).map_err(state_error)?;
        state.set_storage_at(*token, supply_key, Felt::from(supply)).map_err(state_error)?;
    }
    Ok(())
}

/// The low word of a `u256` in storage, which has 128 bits.
fn low_word(felt: Felt) -> u128 {
    u128::try_from(felt).unwrap_or(u128::MAX)
}

fn contract_address(felt: Felt) -> Result<ContractAddress, String> {
    PatriciaKey::try_from(felt).map(ContractAddress).map_err(|error| error.to_string())
}

fn felts(numbers: &[Number]) -> Vec<Felt> {
    numbers.iter().map(|number| number.0).collect()
}

/// Hexadecimal with `0x`, or decimal.
fn parse_number(text: &str) -> Option<Felt> {
    match text.strip_prefix("0x") {
        Some(digits) if !digits.is_empty() && digits.len() <= 64 => Felt::from_hex(text).ok(),
        Some(_) => None,
        None if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => Felt::from_dec_str(text).ok(),
        None => None,
    }
}

/// A felt as text (hexadecimal or decimal) or as an integer.
#[derive(Clone, Copy, Debug, Default)]
struct Number(Felt);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let text = match &value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        parse_number(&text).map(Number).ok_or_else(|| {
            de::Error::custom(format!(
                "{value} is not a number below the field's prime, as \"0x…\", decimal text or integer"
            ))
        })
    }
}

/// A number of at most 128 bits.
#[derive(Clone, Copy, Debug, Default)]
struct Amount(u128);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = Number::deserialize(deserializer)?;
        u128::try_from(number.0).map(Amount).map_err(|_| de::Error::custom("an amount has at most 128 bits"))
    }
}

/// A JSON object in the order of the file.
struct InOrder<K, V>(Vec<(K, V)>);

impl<K, V> Default for InOrder<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for InOrder<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<K, V>(std::marker::PhantomData<(K, V)>);
        impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for Entries<K, V> {
            type Value = InOrder<K, V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InOrder<K, V>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(InOrder(entries))
            }
        }
        deserializer.deserialize_map(Entries(std::marker::PhantomData))
    }
}
