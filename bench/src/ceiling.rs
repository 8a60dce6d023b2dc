//! The ceiling: the execution library alone, on the same transfers, without anything that makes a chain of it.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use blockifier::blockifier::concurrent_transaction_executor::ConcurrentTransactionExecutor;
use blockifier::blockifier::config::WorkerPoolConfig;
use blockifier::blockifier::transaction_executor::DEFAULT_STACK_SIZE;
use blockifier::blockifier_versioned_constants::VersionedConstants;
use blockifier::bouncer::BouncerConfig;
use blockifier::concurrency::worker_pool::WorkerPool;
use blockifier::context::{BlockContext, ChainInfo, FeeTokenAddresses};
use blockifier::execution::contract_class::{CompiledClassV1, RunnableCompiledClass};
use blockifier::state::cached_state::CachedState;
use blockifier::state::errors::StateError;
use blockifier::state::state_api::{StateReader, StateResult};
use blockifier::transaction::account_transaction::AccountTransaction;
use blockifier::transaction::transaction_execution::Transaction;
use blockifier::transaction::transactions::ExecutableTransaction;
use cairo_lang_starknet_classes::casm_contract_class::CasmContractClass;
use cairo_lang_starknet_classes::contract_class::ContractClass;
use clap::Args;
use rayon::prelude::*;
use starknet_api::abi::abi_utils::{get_fee_token_var_address, get_storage_var_address};
use starknet_api::block::{
    BlockInfo, BlockNumber, BlockTimestamp, GasPrice, GasPriceVector, GasPrices, NonzeroGasPrice, StarknetVersion,
};
use starknet_api::contract_class::SierraVersion;
use starknet_api::core::{ChainId, ClassHash, CompiledClassHash, ContractAddress, Nonce, PatriciaKey};
use starknet_api::data_availability::DataAvailabilityMode;
use starknet_api::executable_transaction::{AccountTransaction as ApiAccountTransaction, InvokeTransaction};
use starknet_api::execution_resources::GasAmount;
use starknet_api::fee_token_defaults::{ETH_FEE_CONTRACT_ADDRESS, STRK_FEE_CONTRACT_ADDRESS};
use starknet_api::state::StorageKey;
use starknet_api::transaction::InvokeTransactionV3;
use starknet_api::transaction::fields::{
    AccountDeploymentData, AllResourceBounds, Calldata, PaymasterData, ResourceBounds, Tip, TransactionSignature,
    ValidResourceBounds,
};
use starknet_api::versioned_constants_logic::VersionedConstantsTrait;
use starknet_types_core::felt::Felt;

use crate::account::{Account, BOUNDS, Signed};
use crate::report::Table;

/// The classes that our chain deploys too.
const ACCOUNT_CLASS: &[u8] = include_bytes!("../../crates/starknet/assets/oz_account_1.0.0.sierra.json.gz");
const TOKEN_CLASS: &[u8] = include_bytes!("../../crates/starknet/assets/erc20_strk.sierra.json.gz");
const ACCOUNT_HASH: Felt =
    Felt::from_hex_unchecked("0x05b4b537eaa2399e3aa99c4e2e0208ebd6c71bc1467938cd52c798c601e43564");
const TOKEN_HASH: Felt = Felt::from_hex_unchecked("0x02e77ee61d4df3d988ee1f42ea5442e913862cc82c2584d212ecda76666498fc");
const BALANCE: u128 = 10_000_000_000_000_000_000_000;
const BYTECODE_FELTS_MAX: usize = 81_920;

/// What to execute.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Accounts that send in turn
    #[arg(long, default_value_t = 200)]
    pub(crate) accounts: usize,
    /// Transfers for each measurement
    #[arg(long, default_value_t = 3000)]
    pub(crate) transfers: usize,
    /// Transfers handed to the workers at once
    #[arg(long, default_value_t = 256)]
    pub(crate) chunk: usize,
}

/// Transfers a second: without workers, and with one and two.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ceiling {
    pub(crate) sequential: f64,
    pub(crate) one_worker: f64,
    pub(crate) two_workers: f64,
}

impl Ceiling {
    /// The best of the three.
    pub(crate) fn best(&self) -> f64 {
        self.sequential.max(self.one_worker).max(self.two_workers)
    }
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let ceiling = measure(options)?;
    let mut table = Table::new(&["execution alone", "transfers/s"]);
    for (name, value) in
        [("sequential", ceiling.sequential), ("one worker", ceiling.one_worker), ("two workers", ceiling.two_workers)]
    {
        table.row(&[name.to_owned(), format!("{value:.0}")]);
    }
    println!("{table}");
    Ok(())
}

/// Measures.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Ceiling> {
    let world = Arc::new(World::new(options.accounts)?);
    let transfers = world.transfers(options.transfers)?;
    Ok(Ceiling {
        sequential: sequentially(&world, &transfers)?,
        one_worker: by_workers(&world, &transfers, 1, options.chunk)?,
        two_workers: by_workers(&world, &transfers, 2, options.chunk)?,
    })
}

fn sequentially(world: &Arc<World>, transfers: &[Transaction]) -> anyhow::Result<f64> {
    let context = context()?;
    let mut state = CachedState::new(Reader(Arc::clone(world)));
    let started = Instant::now();
    for transfer in transfers {
        let done = transfer.execute(&mut state, &context).map_err(|error| anyhow!("a transfer failed: {error}"))?;
        if let Some(reason) = done.revert_error {
            bail!("a transfer was reverted: {reason}");
        }
    }
    Ok(transfers.len() as f64 / started.elapsed().as_secs_f64())
}

fn by_workers(world: &Arc<World>, transfers: &[Transaction], workers: usize, chunk: usize) -> anyhow::Result<f64> {
    let config = WorkerPoolConfig { n_workers: workers, stack_size: DEFAULT_STACK_SIZE };
    let pool = Arc::new(WorkerPool::start(&config));
    let reader = Reader(Arc::clone(world));
    let mut executor = ConcurrentTransactionExecutor::start_block(reader, context()?, None, Arc::clone(&pool), None)?;
    let started = Instant::now();
    let mut executed = 0;
    for transfers in transfers.chunks(chunk) {
        for result in executor.add_txs_and_wait(transfers) {
            let (done, _) = result.map_err(|error| anyhow!("a transfer failed: {error}"))?;
            if let Some(reason) = done.revert_error {
                bail!("a transfer was reverted: {reason}");
            }
            executed += 1;
        }
    }
    let rate = executed as f64 / started.elapsed().as_secs_f64();
    executor.close_block(executed).map_err(|error| anyhow!("closing the block: {error}"))?;
    drop(executor);
    // Workers whose pool is dropped without a word panic.
    Arc::try_unwrap(pool).map_err(|_| anyhow!("the pool of workers is still in use"))?.join();
    Ok(rate)
}

fn context() -> anyhow::Result<BlockContext> {
    let price = NonzeroGasPrice::new(GasPrice(1_000_000_000)).map_err(|error| anyhow!("{error}"))?;
    let prices = GasPriceVector { l1_gas_price: price, l1_data_gas_price: price, l2_gas_price: price };
    let info = BlockInfo {
        block_number: BlockNumber(1),
        block_timestamp: BlockTimestamp(1_700_000_000),
        starknet_version: StarknetVersion::V0_14_3,
        sequencer_address: address(Felt::from(1234))?,
        gas_prices: GasPrices { eth_gas_prices: prices.clone(), strk_gas_prices: prices },
        use_kzg_da: false,
    };
    let chain = ChainInfo {
        chain_id: ChainId::Sepolia,
        fee_token_addresses: FeeTokenAddresses {
            strk_fee_token_address: *STRK_FEE_CONTRACT_ADDRESS,
            eth_fee_token_address: *ETH_FEE_CONTRACT_ADDRESS,
        },
        is_l3: false,
    };
    let constants = VersionedConstants::get(&StarknetVersion::V0_14_3)?.clone();
    Ok(BlockContext::new(info, chain, constants, BouncerConfig::max()))
}

/// A state of funded accounts and a token.
struct World {
    accounts: Vec<Account>,
    storage: HashMap<(ContractAddress, StorageKey), Felt>,
    contracts: HashMap<ContractAddress, ClassHash>,
    classes: HashMap<ClassHash, RunnableCompiledClass>,
}

struct Reader(Arc<World>);

impl World {
    fn new(count: usize) -> anyhow::Result<Self> {
        let mut world = Self {
            accounts: Vec::with_capacity(count),
            storage: HashMap::new(),
            contracts: HashMap::from([(*STRK_FEE_CONTRACT_ADDRESS, ClassHash(TOKEN_HASH))]),
            classes: HashMap::from([
                (ClassHash(ACCOUNT_HASH), compiled(ACCOUNT_CLASS)?),
                (ClassHash(TOKEN_HASH), compiled(TOKEN_CLASS)?),
            ]),
        };
        for number in 1..=count as u64 {
            let account = Account { address: Felt::from(0xacc0_0000 + number), private_key: Felt::from(number) };
            let at = address(account.address)?;
            world.contracts.insert(at, ClassHash(ACCOUNT_HASH));
            let public_key = starknet_crypto::get_public_key(&account.private_key);
            world.storage.insert((at, get_storage_var_address("Account_public_key", &[])), public_key);
            let balance = get_fee_token_var_address(at);
            world.storage.insert((*STRK_FEE_CONTRACT_ADDRESS, balance), Felt::from(BALANCE));
            world.accounts.push(account);
        }
        Ok(world)
    }

    /// As many transfers as asked for, in the order in which the load generator sends them.
    fn transfers(&self, count: usize) -> anyhow::Result<Vec<Transaction>> {
        let chain_id = Felt::from_bytes_be_slice(b"SN_SEPOLIA");
        let accounts = &self.accounts;
        (0..count)
            .into_par_iter()
            .map(|number| {
                let (nonce, index) = ((number / accounts.len()) as u64, number % accounts.len());
                let recipient = accounts[(index + accounts.len() / 2) % accounts.len()].address;
                let signed = accounts[index].transfer(chain_id, nonce, recipient);
                let invoke = invoke(&accounts[index], nonce, &signed);
                let invoke = InvokeTransaction::create(invoke.into(), &ChainId::Sepolia)?;
                let account = AccountTransaction::new_for_sequencing(ApiAccountTransaction::Invoke(invoke));
                Ok(Transaction::Account(account))
            })
            .collect()
    }
}

/// A signed transfer in the library's types.
pub(crate) fn invoke(account: &Account, nonce: u64, signed: &Signed) -> InvokeTransactionV3 {
    let bounds = |index: usize| ResourceBounds {
        max_amount: GasAmount(BOUNDS[index].2),
        max_price_per_unit: GasPrice(BOUNDS[index].3),
    };
    InvokeTransactionV3 {
        resource_bounds: ValidResourceBounds::AllResources(AllResourceBounds {
            l1_gas: bounds(0),
            l2_gas: bounds(1),
            l1_data_gas: bounds(2),
        }),
        tip: Tip(0),
        signature: TransactionSignature(Arc::new(signed.signature.to_vec())),
        nonce: Nonce(Felt::from(nonce)),
        sender_address: ContractAddress(PatriciaKey::try_from(account.address).unwrap_or_default()),
        calldata: Calldata(Arc::new(signed.calldata.clone())),
        nonce_data_availability_mode: DataAvailabilityMode::L1,
        fee_data_availability_mode: DataAvailabilityMode::L1,
        paymaster_data: PaymasterData::default(),
        account_deployment_data: AccountDeploymentData::default(),
        proof_facts: Default::default(),
    }
}

fn address(felt: Felt) -> anyhow::Result<ContractAddress> {
    Ok(ContractAddress(PatriciaKey::try_from(felt)?))
}

/// A class out of its packed Sierra JSON, ready to run.
fn compiled(packed: &[u8]) -> anyhow::Result<RunnableCompiledClass> {
    let mut json = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut json)?;
    let mut json: serde_json::Value = serde_json::from_str(&json)?;
    // The compiler wants the ABI as an array or not at all, and has no use for it.
    json.as_object_mut().context("a class is an object")?.remove("abi");
    let class: ContractClass = serde_json::from_value(json)?;
    let program = class.extract_sierra_program(false)?;
    let version = SierraVersion::extract_from_program(&sierra_head(&class))?;
    let casm = CasmContractClass::from_contract_class(class, program, true, BYTECODE_FELTS_MAX)?;
    Ok(RunnableCompiledClass::V1(CompiledClassV1::try_from((casm, version))?))
}

/// The first felts of the Sierra program, which carry its version.
fn sierra_head(class: &ContractClass) -> Vec<Felt> {
    class.sierra_program.iter().take(6).map(|felt| Felt::from(&felt.value)).collect()
}

impl StateReader for Reader {
    fn get_storage_at(&self, contract: ContractAddress, key: StorageKey) -> StateResult<Felt> {
        Ok(self.0.storage.get(&(contract, key)).copied().unwrap_or_default())
    }

    fn get_nonce_at(&self, _: ContractAddress) -> StateResult<Nonce> {
        Ok(Nonce::default())
    }

    fn get_class_hash_at(&self, contract: ContractAddress) -> StateResult<ClassHash> {
        Ok(self.0.contracts.get(&contract).copied().unwrap_or_default())
    }

    fn get_compiled_class(&self, class_hash: ClassHash) -> StateResult<RunnableCompiledClass> {
        self.0.classes.get(&class_hash).cloned().ok_or(StateError::UndeclaredClassHash(class_hash))
    }

    fn get_compiled_class_hash(&self, class_hash: ClassHash) -> StateResult<CompiledClassHash> {
        Ok(CompiledClassHash(class_hash.0))
    }

    fn get_compiled_class_hash_v2(
        &self,
        class_hash: ClassHash,
        _: &RunnableCompiledClass,
    ) -> StateResult<CompiledClassHash> {
        // The same as above: nothing is to migrate.
        Ok(CompiledClassHash(class_hash.0))
    }
}
