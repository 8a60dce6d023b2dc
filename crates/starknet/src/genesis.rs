//! Block 0: from a seed or from a file.
//!
//! Both come down to one [`Plan`]: classes, contracts with constructor arguments, calls, and values written straight into
//! the state, carried out in that order on an empty state. The result depends on the plan alone, so equal plans give equal
//! genesis blocks; its timestamp is 0 unless the file says otherwise.
//!
//! # Accounts of a development chain
//! Account `i` of seed `s` has the private key `Poseidon("SEQUENZA_DEV_ACCOUNT", s, i)` cut to its low 250 bits. Its
//! address is that of an OpenZeppelin 1.0.0 account with the public key as constructor argument and as salt, deployed from
//! address 0, so that wallets that know the key find the account.

pub mod bundled;
mod file;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use blockifier::context::{BlockContext, TransactionContext};
use blockifier::execution::contract_class::RunnableCompiledClass;
use blockifier::execution::entry_point::{
    CallEntryPoint, CallType, ConstructorContext, EntryPointExecutionContext, SierraGasRevertTracker,
    execute_constructor_entry_point,
};
use blockifier::state::cached_state::{CachedState, StateMaps};
use blockifier::state::errors::StateError;
use blockifier::state::state_api::{State, StateReader, StateResult};
use blockifier::transaction::objects::{CurrentTransactionInfo, TransactionInfo};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use starknet_api::abi::abi_utils::selector_from_name;
use starknet_api::block::{BlockNumber, BlockTimestamp, StarknetVersion};
use starknet_api::contract_class::EntryPointType;
use starknet_api::core::{
    ClassHash, CompiledClassHash, ContractAddress, EntryPointSelector, Nonce, PatriciaKey, calculate_contract_address,
};
use starknet_api::execution_resources::GasAmount;
use starknet_api::fee_token_defaults::{ETH_FEE_CONTRACT_ADDRESS, STRK_FEE_CONTRACT_ADDRESS};
use starknet_api::state::StorageKey;
use starknet_api::transaction::fields::{Calldata, ContractAddressSalt};
use starknet_types_core::felt::Felt;
use starknet_types_core::hash::{Poseidon, StarkHash};

use crate::block::StateDiff;
use crate::chain::ChainError;
use crate::classes::{CachedClass, DeclaredClass};
use crate::config::GenesisSource;
use crate::rules::Rules;

/// Address of the universal deployer of 2024.
pub const UDC_ADDRESS: Felt =
    Felt::from_hex_unchecked("0x02ceed65a4bd731034c01113685c831b01c15d7d432f71afb1cf1634b53a2125");
/// Address of the universal deployer before.
pub const UDC_LEGACY_ADDRESS: Felt =
    Felt::from_hex_unchecked("0x041a78e741e5af2fec34b695679bc6891742439f7afb8484ecd7766661ad02bf");

/// An account that genesis deployed, with its key: for development only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredeployedAccount {
    /// Address.
    pub address: ContractAddress,
    /// STARK public key.
    pub public_key: Felt,
    /// STARK private key. Never logged; shown in the banner of a development chain only.
    pub private_key: Felt,
    /// Class of the account; 0 when the genesis file names only a key pair.
    pub class_hash: ClassHash,
    /// Balance in each fee token at genesis, smallest unit; 0 when it comes from calls in a genesis file.
    pub balance: u128,
}

/// Where a chain's block 0 came from, as remembered in its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Origin {
    /// Accounts from a seed. The balance is text because the JSON of numbers ends at 64 bits.
    Dev { accounts: u16, seed: u64, balance: String },
    /// A file, by the path given then.
    File(String),
}

impl Origin {
    /// The accounts with their keys: derived again, or read again from the file if it is still there.
    pub(crate) fn accounts(&self) -> Vec<PredeployedAccount> {
        match self {
            Self::Dev { accounts, seed, balance } => {
                dev_accounts(*accounts, *seed, balance.parse().unwrap_or_default())
            }
            Self::File(path) => file::accounts(path.as_ref()),
        }
    }
}

/// What genesis does, in this order.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) classes: Vec<Arc<DeclaredClass>>,
    pub(crate) contracts: Vec<PlannedContract>,
    pub(crate) calls: Vec<PlannedCall>,
    pub(crate) transactions: Vec<file::PlannedTransaction>,
    /// Token, owner, amount.
    pub(crate) balances: Vec<(ContractAddress, ContractAddress, u128)>,
    pub(crate) nonces: Vec<(ContractAddress, Nonce)>,
    pub(crate) storage: Vec<(ContractAddress, StorageKey, Felt)>,
    pub(crate) timestamp: u64,
}

/// A contract to deploy. Without arguments its constructor is not run.
#[derive(Debug)]
pub(crate) struct PlannedContract {
    pub(crate) address: ContractAddress,
    pub(crate) class_hash: ClassHash,
    pub(crate) arguments: Option<Vec<Felt>>,
}

/// A call to make.
#[derive(Debug)]
pub(crate) struct PlannedCall {
    pub(crate) contract: ContractAddress,
    pub(crate) selector: EntryPointSelector,
    pub(crate) calldata: Vec<Felt>,
    pub(crate) caller: ContractAddress,
}

/// Block 0 before its commitments.
pub(crate) struct Built {
    pub(crate) timestamp: BlockTimestamp,
    pub(crate) state_diff: StateDiff,
    pub(crate) classes: Vec<Arc<DeclaredClass>>,
    pub(crate) origin: Origin,
}

/// Builds block 0 as configured.
pub(crate) fn build(rules: &Rules) -> Result<Built, ChainError> {
    let (plan, origin) = match &rules.config.genesis {
        GenesisSource::Dev { accounts, seed, balance } => (
            dev_plan(*accounts, *seed, *balance)?,
            Origin::Dev { accounts: *accounts, seed: *seed, balance: balance.to_string() },
        ),
        GenesisSource::File(path) => (file::plan(path, rules)?, Origin::File(path.display().to_string())),
    };
    warn_missing_fee_token(&plan, rules);
    carry_out(plan, rules, origin)
}

/// The accounts that a seed gives.
pub fn dev_accounts(count: u16, seed: u64, balance: u128) -> Vec<PredeployedAccount> {
    (0..count).map(|index| dev_account(index, seed, balance)).collect()
}

fn dev_account(index: u16, seed: u64, balance: u128) -> PredeployedAccount {
    let tag = Felt::from_bytes_be_slice(b"SEQUENZA_DEV_ACCOUNT");
    let hash = Poseidon::hash_array(&[tag, Felt::from(seed), Felt::from(index)]);
    let mut bytes = hash.to_bytes_be();
    bytes[0] &= 0x03;
    let private_key = Felt::from_bytes_be(&bytes);
    let public_key = starknet_crypto::get_public_key(&private_key);
    let class_hash = ClassHash(OZ_ACCOUNT_HASH);
    PredeployedAccount {
        address: account_address(class_hash, public_key),
        public_key,
        private_key,
        class_hash,
        balance,
    }
}

/// Class hash of the bundled OpenZeppelin account 1.0.0.
const OZ_ACCOUNT_HASH: Felt =
    Felt::from_hex_unchecked("0x05b4b537eaa2399e3aa99c4e2e0208ebd6c71bc1467938cd52c798c601e43564");

fn account_address(class_hash: ClassHash, public_key: Felt) -> ContractAddress {
    let calldata = Calldata::from(vec![public_key]);
    calculate_contract_address(ContractAddressSalt(public_key), class_hash, &calldata, ContractAddress::default())
        .expect("a deployed address is computed modulo the bound of addresses")
}

fn dev_plan(accounts: u16, seed: u64, balance: u128) -> Result<Plan, ChainError> {
    let accounts = dev_accounts(accounts, seed, balance);
    let names = [bundled::OZ_ACCOUNT, bundled::STRK, bundled::ETH, bundled::UDC, bundled::UDC_LEGACY];
    let classes = names.par_iter().map(|name| bundled_class(name)).collect::<Result<Vec<_>, _>>()?;
    let hash = |index: usize| classes[index].hash();
    // Whoever owns the first account may mint: that is what a faucet needs.
    let minter = accounts.first().map_or_else(|| address(Felt::ONE), |account| account.address);
    let mut plan = Plan::default();
    for (token, class_hash, name, symbol) in [
        (*STRK_FEE_CONTRACT_ADDRESS, hash(1), "Starknet Token", "STRK"),
        (*ETH_FEE_CONTRACT_ADDRESS, hash(2), "Ether", "ETH"),
    ] {
        let arguments = Some(token_arguments(name, symbol, minter));
        plan.contracts.push(PlannedContract { address: token, class_hash, arguments });
        plan.calls.extend(accounts.iter().map(|account| mint(token, minter, account.address, balance)));
    }
    for (deployer, class_hash) in [(UDC_ADDRESS, hash(3)), (UDC_LEGACY_ADDRESS, hash(4))] {
        plan.contracts.push(PlannedContract { address: address(deployer), class_hash, arguments: None });
    }
    plan.contracts.extend(accounts.iter().map(|account| PlannedContract {
        address: account.address,
        class_hash: account.class_hash,
        arguments: Some(vec![account.public_key]),
    }));
    plan.classes = classes;
    Ok(plan)
}

fn bundled_class(name: &str) -> Result<Arc<DeclaredClass>, ChainError> {
    let class = bundled::class(name).ok_or_else(|| ChainError::Genesis(format!("no bundled class `{name}`")))?;
    class.map(Arc::new).map_err(|error| ChainError::Genesis(format!("bundled class `{name}`: {error}")))
}

/// Constructor arguments of the bundled tokens: nothing minted yet, `minter` may mint and governs.
pub(crate) fn token_arguments(name: &str, symbol: &str, minter: ContractAddress) -> Vec<Felt> {
    let minter = *minter.0.key();
    let mut arguments = short_byte_array(name).to_vec();
    arguments.extend(short_byte_array(symbol));
    arguments.push(Felt::from(18));
    arguments.extend([Felt::ZERO, Felt::ZERO]);
    arguments.extend([minter, minter, minter]);
    arguments.push(Felt::ZERO);
    arguments
}

/// A Cairo `ByteArray` of at most 30 bytes: no full words, the pending word, its length.
fn short_byte_array(text: &str) -> [Felt; 3] {
    debug_assert!(text.len() < 31, "longer texts need full words");
    [Felt::ZERO, Felt::from_bytes_be_slice(text.as_bytes()), Felt::from(text.len())]
}

pub(crate) fn mint(
    token: ContractAddress,
    minter: ContractAddress,
    account: ContractAddress,
    amount: u128,
) -> PlannedCall {
    PlannedCall {
        contract: token,
        selector: selector_from_name("permissioned_mint"),
        calldata: vec![*account.0.key(), Felt::from(amount), Felt::ZERO],
        caller: minter,
    }
}

/// An address that is known to be in range.
fn address(felt: Felt) -> ContractAddress {
    ContractAddress(PatriciaKey::try_from(felt).expect("constants of this file are addresses"))
}

fn warn_missing_fee_token(plan: &Plan, rules: &Rules) {
    let there = plan.contracts.iter().any(|contract| contract.address == *STRK_FEE_CONTRACT_ADDRESS);
    if there || !rules.config.fees {
        return;
    }
    tracing::warn!(
        address = format!("{:#x}", STRK_FEE_CONTRACT_ADDRESS.0.key()),
        "genesis deploys no STRK token and fees are on: every transaction will fail to pay; deploy a token with storage \
         `ERC20_balances` there (class `bundled:erc20_strk`) or turn fees off with --seq-disable-fees"
    );
}

/// Carries out a plan on an empty state.
fn carry_out(plan: Plan, rules: &Rules, origin: Origin) -> Result<Built, ChainError> {
    let timestamp = BlockTimestamp(plan.timestamp);
    let info = rules.block_info(BlockNumber(0), timestamp);
    let context = Arc::new(rules.context(info));
    let known = plan
        .classes
        .iter()
        .map(|class| {
            let runnable = class.runnable().map_err(|error| ChainError::Genesis(error.to_string()))?;
            let cached = CachedClass { declared: Arc::clone(class), declared_in: BlockNumber(0), runnable };
            Ok((class.hash(), cached))
        })
        .collect::<Result<HashMap<_, _>, ChainError>>()?;
    let mut state = CachedState::new(Empty { classes: known });
    for contract in &plan.contracts {
        deploy(&mut state, &context, rules, contract)?;
    }
    for (index, call) in plan.calls.iter().enumerate() {
        run_call(&mut state, &context, rules, call).map_err(|error| {
            ChainError::Genesis(format!("function_calls[{index}] of {:#x}: {error}", call.contract.0.key()))
        })?;
    }
    file::run_transactions(&mut state, &context, &plan.transactions)?;
    file::set_balances(&mut state, &plan.balances)?;
    for (address, key, value) in &plan.storage {
        state.set_storage_at(*address, *key, *value).map_err(state_error)?;
    }
    let maps = state.to_state_diff().map_err(state_error)?.state_maps;
    let mut state_diff = diff_of(maps, &plan.classes, rules.config.protocol);
    state_diff.nonces.extend(plan.nonces.iter().copied());
    Ok(Built { timestamp, state_diff, classes: plan.classes, origin })
}

fn deploy(
    state: &mut CachedState<Empty>,
    context: &Arc<BlockContext>,
    rules: &Rules,
    contract: &PlannedContract,
) -> Result<(), ChainError> {
    let failed = |reason: String| {
        let (address, class) = (contract.address.0.key(), contract.class_hash.0);
        ChainError::Genesis(format!("contract {address:#x} of class {class:#x}: {reason}"))
    };
    if !state.state.classes.contains_key(&contract.class_hash) {
        return Err(failed("its class is not among the classes of this genesis".into()));
    }
    // A state diff is taken against what was read; a class hash is never written unread.
    state.get_class_hash_at(contract.address).map_err(state_error)?;
    state.set_class_hash_at(contract.address, contract.class_hash).map_err(state_error)?;
    let Some(arguments) = &contract.arguments else { return Ok(()) };
    let constructor = ConstructorContext {
        class_hash: contract.class_hash,
        code_address: Some(contract.address),
        storage_address: contract.address,
        caller_address: ContractAddress::default(),
    };
    let (mut execution, mut gas) = call_context(context, rules);
    let arguments = Calldata::from(arguments.clone());
    execute_constructor_entry_point(state, &mut execution, constructor, arguments, &mut gas)
        .map_err(|error| failed(format!("constructor: {error}")))?;
    Ok(())
}

fn run_call(
    state: &mut CachedState<Empty>,
    context: &Arc<BlockContext>,
    rules: &Rules,
    call: &PlannedCall,
) -> Result<(), String> {
    let (mut execution, mut gas) = call_context(context, rules);
    let entry_point = CallEntryPoint {
        class_hash: None,
        code_address: None,
        entry_point_type: EntryPointType::External,
        entry_point_selector: call.selector,
        calldata: Calldata::from(call.calldata.clone()),
        storage_address: call.contract,
        caller_address: call.caller,
        call_type: CallType::Call,
        initial_gas: gas,
    };
    let done = entry_point.execute(state, &mut execution, &mut gas).map_err(|error| error.to_string())?;
    if done.execution.failed {
        let reason: Vec<String> = done.execution.retdata.0.iter().map(readable).collect();
        return Err(format!("reverted: {}", reason.join(", ")));
    }
    Ok(())
}

/// A felt as the short text that it may be, else as a number.
fn readable(felt: &Felt) -> String {
    let bytes = felt.to_bytes_be();
    let text: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    match String::from_utf8(text) {
        Ok(text) if !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() || c == ' ') => {
            format!("{felt:#x} ('{text}')")
        }
        _ => format!("{felt:#x}"),
    }
}

/// Context and gas of one call, bounded as calls over RPC are.
fn call_context(context: &Arc<BlockContext>, rules: &Rules) -> (EntryPointExecutionContext, u64) {
    let gas = rules.config.call_max_gas;
    let transaction = TransactionContext {
        block_context: Arc::clone(context),
        tx_info: TransactionInfo::Current(CurrentTransactionInfo::create_default_unlimited()),
    };
    let mut execution = EntryPointExecutionContext::new_invoke(
        Arc::new(transaction),
        false,
        SierraGasRevertTracker::new(GasAmount(gas)),
    );
    execution.vm_run_resources =
        cairo_vm::vm::runners::cairo_runner::RunResources::new(rules.config.call_max_steps as usize);
    (execution, gas)
}

fn diff_of(maps: StateMaps, classes: &[Arc<DeclaredClass>], protocol: StarknetVersion) -> StateDiff {
    let mut diff = StateDiff { deployed: maps.class_hashes.into_iter().collect(), ..StateDiff::default() };
    diff.nonces = maps.nonces.into_iter().collect::<BTreeMap<_, _>>();
    for ((address, key), value) in maps.storage {
        if value != Felt::ZERO {
            diff.storage.entry(address).or_default().insert(key, value);
        }
    }
    for class in classes {
        match class.as_ref() {
            DeclaredClass::Sierra(class) => {
                let compiled =
                    if protocol >= StarknetVersion::V0_14_1 { class.compiled_hash_v2 } else { class.compiled_hash_v1 };
                diff.declared.insert(class.hash, compiled);
            }
            DeclaredClass::Cairo0(class) => {
                diff.deprecated_declared.insert(class.hash);
            }
        }
    }
    diff
}

fn state_error(error: StateError) -> ChainError {
    ChainError::Genesis(error.to_string())
}

/// A state that holds classes and nothing else.
pub(crate) struct Empty {
    classes: HashMap<ClassHash, CachedClass>,
}

impl StateReader for Empty {
    fn get_storage_at(&self, _: ContractAddress, _: StorageKey) -> StateResult<Felt> {
        Ok(Felt::ZERO)
    }

    fn get_nonce_at(&self, _: ContractAddress) -> StateResult<Nonce> {
        Ok(Nonce::default())
    }

    fn get_class_hash_at(&self, _: ContractAddress) -> StateResult<ClassHash> {
        Ok(ClassHash::default())
    }

    fn get_compiled_class(&self, class_hash: ClassHash) -> StateResult<RunnableCompiledClass> {
        let class = self.classes.get(&class_hash).ok_or(StateError::UndeclaredClassHash(class_hash))?;
        Ok(class.runnable.clone())
    }

    fn get_compiled_class_hash(&self, class_hash: ClassHash) -> StateResult<CompiledClassHash> {
        Ok(match self.classes.get(&class_hash).map(|class| class.declared.as_ref()) {
            Some(DeclaredClass::Sierra(class)) => class.compiled_hash_v2,
            Some(DeclaredClass::Cairo0(_)) | None => CompiledClassHash::default(),
        })
    }

    fn get_compiled_class_hash_v2(
        &self,
        class_hash: ClassHash,
        _compiled_class: &RunnableCompiledClass,
    ) -> StateResult<CompiledClassHash> {
        match self.classes.get(&class_hash).map(|class| class.declared.as_ref()) {
            Some(DeclaredClass::Sierra(class)) => Ok(class.compiled_hash_v2),
            Some(DeclaredClass::Cairo0(_)) | None => Err(StateError::MissingCompiledClassHashV2(class_hash)),
        }
    }
}
