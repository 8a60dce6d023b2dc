//! Who may wait for a block: everything a transaction must satisfy before its hash is given back.
//!
//! The checks go from cheap to dear, and each is made once. What the sender's balance, the prices and the nonce say is
//! compared directly. A signature of an account whose class is known is checked natively, which costs a tenth of running
//! its `__validate__` in the VM; the block runs that in any case, and drops what it refuses. Everything else is validated
//! by `blockifier` on the state of the open block. A class is compiled only for a sender who could pay for it.

mod ecdsa;
mod native;
mod refusal;

use std::sync::Arc;

use blockifier::blockifier::stateful_validator::StatefulValidator;
use blockifier::state::cached_state::CachedState;
use blockifier::transaction::account_transaction::{AccountTransaction as Flagged, ExecutionFlags};
use mempool::Refusal as PoolRefusal;
use starknet_api::StarknetApiError;
use starknet_api::block::FeeType;
use starknet_api::core::{ClassHash, CompiledClassHash, ContractAddress, Nonce};
use starknet_api::data_availability::DataAvailabilityMode;
use starknet_api::executable_transaction::{
    AccountTransaction, DeclareTransaction, DeployAccountTransaction, InvokeTransaction, L1HandlerTransaction,
    Transaction,
};
use starknet_api::fee_token_defaults::STRK_FEE_CONTRACT_ADDRESS;
use starknet_api::rpc_transaction::{
    RpcDeclareTransaction, RpcDeclareTransactionV3, RpcDeployAccountTransaction, RpcInvokeTransaction, RpcTransaction,
};
use starknet_api::state::SierraContractClass;
use starknet_api::transaction::TransactionHash;
use starknet_api::transaction::fields::{AllResourceBounds, Fee, Tip, ValidResourceBounds};
use starknet_types_core::felt::Felt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::refusal::Refused;
use crate::chain::{Chain, ChainError};
use crate::classes::{BYTECODE_FELTS_MAX, ClassError, DeclaredClass, SierraClass};
use crate::compiler::{self, CompilerBounds};
use crate::deep::deep_thread;
use crate::pool::{Inserted, Pool};
use crate::source::ReadyTransaction;
use crate::view::{At, StateView};

/// Bounds on one transaction. The defaults are those of the public network's gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Felts of calldata, constructor calldata included.
    pub calldata_felts: usize,
    /// Felts of signature.
    pub signature_felts: usize,
    /// Bytes that a declared Sierra class may have as JSON.
    pub class_bytes: usize,
    /// Felts of bytecode that a class may compile to.
    pub bytecode_felts: usize,
    /// L2 gas that an invoke or a deployment may offer where fees are taken, in units of gas. A declaration may offer more:
    /// its cost grows with the class.
    pub l2_gas: u64,
    /// Transactions that are read, hashed and checked without the VM at the same time; further ones wait.
    pub checks: usize,
    /// Classes that compile at the same time; further ones wait.
    pub compilations: usize,
    /// What compiling one class may take, in a process of its own; `None` compiles in this process, without bounds.
    pub compiler: Option<CompilerBounds>,
    /// Validations that run in the VM at the same time; further ones wait.
    pub validations: usize,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            calldata_felts: 5_000,
            signature_felts: 4_000,
            class_bytes: 4_089_446,
            bytecode_felts: BYTECODE_FELTS_MAX,
            l2_gas: 1_210_000_000,
            checks: threads,
            compilations: threads,
            compiler: None,
            validations: threads,
        }
    }
}

/// The way into the pool. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    chain: Chain,
    pool: Pool,
    limits: AdmissionLimits,
    checks: Arc<Semaphore>,
    compilations: Arc<Semaphore>,
    validations: Arc<Semaphore>,
}

/// What a sender is told of an accepted transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Its hash.
    pub hash: TransactionHash,
    /// The class that it declares.
    pub class_hash: Option<ClassHash>,
    /// The account that it deploys.
    pub contract_address: Option<ContractAddress>,
}

impl Gateway {
    /// The way into `pool` for transactions on `chain`.
    #[must_use]
    pub fn new(chain: Chain, pool: Pool, limits: AdmissionLimits) -> Self {
        let turns = |count: usize| Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        Self(Arc::new(Inner {
            chain,
            pool,
            limits,
            checks: turns(limits.checks),
            compilations: turns(limits.compilations),
            validations: turns(limits.validations),
        }))
    }

    /// Checks a transaction and puts it into the pool. When this returns its hash, it is durable.
    ///
    /// # Errors
    /// See [`Refused`]; the pool is then unchanged.
    pub async fn submit(&self, transaction: RpcTransaction) -> Result<Admitted, Refused> {
        let Examined { state, sender, nonce, executable } =
            self.checked(move |gateway| gateway.examine(transaction)).await?;
        let (executable, verdict, class) = match executable {
            Examination::Complete(executable, verdict) => (executable, verdict, None),
            Examination::Declaration(transaction) => {
                let (executable, class) = self.declaration(*transaction).await?;
                (executable, None, Some(class))
            }
        };
        let hash = executable.tx_hash();
        if self.0.pool.status(hash).is_some() {
            return Err(Refused::Duplicate);
        }
        match verdict {
            Some(verdict) => verdict?,
            None => self.validate(state, &executable).await?,
        }
        let admitted = Admitted {
            hash,
            class_hash: class.as_ref().map(|class| class.hash()),
            contract_address: matches!(executable, AccountTransaction::DeployAccount(_)).then_some(sender),
        };
        self.insert(ReadyTransaction { transaction: Transaction::Account(executable), class }, sender, nonce).await?;
        Ok(admitted)
    }

    /// Puts a message from L1 into the pool, without a look at what it does: L1 has checked it, and it pays nothing here. When
    /// this returns its hash, it is durable.
    ///
    /// # Errors
    /// See [`Refused`]; the pool is then unchanged.
    pub async fn submit_message(&self, message: L1HandlerTransaction) -> Result<TransactionHash, Refused> {
        let Inner { chain, pool, .. } = &*self.0;
        let hash = message.tx_hash;
        if chain.transaction(hash)?.is_some() {
            return Err(Refused::Duplicate);
        }
        let ready = ReadyTransaction { transaction: Transaction::L1Handler(message), class: None };
        let inserted = pool.insert(ready, Nonce::default()).map_err(from_pool)?;
        stored(inserted).await?;
        Ok(hash)
    }

    /// Does work that takes processor time where no other call waits for it, when it is its turn.
    async fn checked<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Refused> {
        let turn = turn(&self.0.checks).await?;
        let gateway = self.clone();
        let checked = tokio::task::spawn_blocking(move || {
            let checked = work(&gateway);
            drop(turn);
            checked
        });
        checked.await.unwrap_or_else(|_| Err(Refused::Unexpected("the check ended without a result".to_owned())))
    }

    /// Everything that can be said before a class is compiled or the VM runs.
    fn examine(&self, transaction: RpcTransaction) -> Result<Examined, Refused> {
        let Inner { chain, pool, limits, .. } = &*self.0;
        let (chain_id, fees) = (&chain.config().chain_id, chain.config().fees);
        check_form(&transaction, limits, fees)?;
        let sender = transaction.calculate_sender_address().map_err(malformed)?;
        let state = open_state(chain)?;
        let account = Account::read(chain, pool, &state, sender, &transaction)?;
        if let RpcTransaction::DeployAccount(RpcDeployAccountTransaction::V3(deployment)) = &transaction
            && state.class(deployment.class_hash)?.is_none()
        {
            return Err(Refused::ClassNotFound);
        }
        if fees {
            check_fee(&state, sender, &transaction)?;
        }
        let executable = match transaction {
            RpcTransaction::Invoke(transaction) => {
                let executable = InvokeTransaction::create(transaction.into(), chain_id).map_err(malformed)?;
                self.complete(&state, &account, AccountTransaction::Invoke(executable))?
            }
            RpcTransaction::DeployAccount(transaction) => {
                let executable = DeployAccountTransaction::create(transaction.into(), chain_id).map_err(malformed)?;
                self.complete(&state, &account, AccountTransaction::DeployAccount(executable))?
            }
            RpcTransaction::Declare(RpcDeclareTransaction::V3(transaction)) => {
                if state.class(transaction.contract_class.calculate_class_hash())?.is_some() {
                    return Err(Refused::ClassAlreadyDeclared);
                }
                Examination::Declaration(Box::new(transaction))
            }
        };
        Ok(Examined { state, sender, nonce: account.nonce, executable })
    }

    async fn insert(&self, ready: ReadyTransaction, sender: ContractAddress, nonce: Nonce) -> Result<(), Refused> {
        let Inner { chain, pool, .. } = &*self.0;
        let inserted = pool.insert(ready, nonce).map_err(from_pool)?;
        if inserted.parked {
            // The account may have gone on since its nonce was read.
            pool.observe(sender, open_state(chain)?.nonce(sender)?);
        }
        stored(inserted).await
    }

    /// The declaration with its hash, and the class that it declares, compiled.
    async fn declaration(
        &self,
        transaction: RpcDeclareTransactionV3,
    ) -> Result<(AccountTransaction, Arc<DeclaredClass>), Refused> {
        let class = self.compile(transaction.contract_class.clone(), transaction.compiled_class_hash).await?;
        self.checked(move |gateway| {
            let chain_id = &gateway.0.chain.config().chain_id;
            let transaction = RpcDeclareTransaction::V3(transaction).into();
            let executable =
                DeclareTransaction::create(transaction, class.class_info(), chain_id).map_err(malformed)?;
            Ok((AccountTransaction::Declare(executable), Arc::new(DeclaredClass::Sierra(class))))
        })
        .await
    }

    async fn compile(&self, sierra: SierraContractClass, wanted: CompiledClassHash) -> Result<SierraClass, Refused> {
        let turn = turn(&self.0.compilations).await?;
        let bytecode_felts = self.0.limits.bytecode_felts;
        let compiled = match self.0.limits.compiler {
            Some(bounds) => {
                let compiled = compiler::compile(sierra, bytecode_felts, bounds).await;
                drop(turn);
                compiled
            }
            None => {
                let compiled = deep_thread("compilation", move || {
                    let compiled = SierraClass::compile(sierra, bytecode_felts);
                    drop(turn);
                    compiled
                });
                compiled.await.ok_or_else(|| Refused::CompilationFailed("the compiler panicked".to_owned()))?
            }
        };
        let compiled = compiled.map_err(|error| match error {
            ClassError::Parse(reason) => Refused::UnsupportedClassVersion(reason),
            ClassError::Compile(reason) => Refused::CompilationFailed(reason),
        })?;
        if compiled.compiled_hash_v2 != wanted {
            return Err(Refused::CompiledClassHashMismatch { computed: compiled.compiled_hash_v2, given: wanted });
        }
        Ok(compiled)
    }

    fn complete(
        &self,
        state: &StateView,
        account: &Account,
        executable: AccountTransaction,
    ) -> Result<Examination, Refused> {
        let Inner { chain, pool, .. } = &*self.0;
        if pool.status(executable.tx_hash()).is_some() {
            return Err(Refused::Duplicate);
        }
        let verdict = match (account.class_hash, &account.deployment) {
            (Some(class_hash), _) => native::verify(state, class_hash, &executable, chain.config().fees)?,
            (None, Some(deployment)) => Some(verdict_undeployed(deployment, &executable)),
            (None, None) => None,
        };
        Ok(Examination::Complete(executable, verdict))
    }

    /// Whether the sender's account wants this transaction, as the VM says.
    async fn validate(&self, state: StateView, executable: &AccountTransaction) -> Result<(), Refused> {
        let turn = turn(&self.0.validations).await?;
        let flags = ExecutionFlags {
            only_query: false,
            charge_fee: self.0.chain.config().fees,
            validate: true,
            // What comes before it is in the pool.
            strict_nonce_check: false,
        };
        let transaction = Flagged { tx: executable.clone(), execution_flags: flags };
        let validated = deep_thread("validation", move || {
            let context = state.context();
            let validated =
                StatefulValidator::create(CachedState::new(state), context).perform_validations(transaction);
            drop(turn);
            validated.map_err(Refused::from)
        });
        let validated = validated.await;
        validated.unwrap_or_else(|| Err(Refused::Unexpected("the validation ended without a result".to_owned())))
    }
}

/// A transaction in good form from a sender who can pay for it.
struct Examined {
    state: StateView,
    sender: ContractAddress,
    /// What the account's next nonce is.
    nonce: Nonce,
    executable: Examination,
}

#[allow(clippy::large_enum_variant, reason = "it lives for one submission and is moved once")]
enum Examination {
    /// With its hash, and what the native check of the signature says, if there is one for the account's class.
    Complete(AccountTransaction, Option<Result<(), Refused>>),
    /// Its class is new and has to be compiled.
    Declaration(Box<RpcDeclareTransactionV3>),
}

async fn turn(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Refused> {
    let turn = Arc::clone(turns).acquire_owned().await;
    turn.map_err(|error| Refused::Unexpected(error.to_string()))
}

async fn stored(inserted: Inserted) -> Result<(), Refused> {
    let durable = inserted.durable().await;
    durable.map_err(|error| Refused::Unexpected(format!("the transaction was not stored: {error}")))
}

/// What the chain, the open block included, knows of the sender.
struct Account {
    nonce: Nonce,
    /// `None` when it is yet to be deployed, by this transaction or by one in the pool.
    class_hash: Option<ClassHash>,
    /// What deploys it, when that waits in the pool.
    deployment: Option<DeployAccountTransaction>,
}

impl Account {
    fn read(
        chain: &Chain,
        pool: &Pool,
        state: &StateView,
        sender: ContractAddress,
        transaction: &RpcTransaction,
    ) -> Result<Self, Refused> {
        let mut account = Self { nonce: state.nonce(sender)?, class_hash: state.class_hash(sender)?, deployment: None };
        let nonce = *transaction.nonce();
        if nonce < account.nonce {
            let hash = transaction_hash(chain, transaction);
            // Sent a second time, after it was executed.
            if let Some(hash) = hash
                && chain.transaction(hash)?.is_some()
            {
                return Err(Refused::Duplicate);
            }
            return Err(Refused::InvalidNonce(format!(
                "the account's next nonce is {:#x}, the transaction has {:#x}",
                account.nonce.0, nonce.0
            )));
        }
        let deploys = matches!(transaction, RpcTransaction::DeployAccount(_));
        if deploys && nonce != Nonce::default() {
            return Err(Refused::InvalidNonce(format!("a deployment has nonce 0x0, this one has {:#x}", nonce.0)));
        }
        if account.class_hash.is_none() && !deploys {
            let first = pool.at(sender, Nonce::default());
            account.deployment = first.and_then(|first| match &first.transaction {
                Transaction::Account(AccountTransaction::DeployAccount(deployment)) => Some(deployment.clone()),
                _ => None,
            });
            if account.deployment.is_none() || nonce == Nonce::default() {
                return Err(Refused::NonAccount);
            }
        }
        Ok(account)
    }
}

/// What can be said for an account that is still to be deployed: that its key signed, where the class is known; else
/// its first transaction is taken on trust, as on the public network, and no other.
fn verdict_undeployed(deployment: &DeployAccountTransaction, executable: &AccountTransaction) -> Result<(), Refused> {
    let first = Nonce(Felt::ONE);
    match native::verify_undeployed(deployment, executable) {
        Some(verdict) => verdict,
        None if executable.nonce() == first => Ok(()),
        None => Err(Refused::ValidationFailure(
            "the account's deployment is not executed yet: until then only its transaction with nonce 0x1 is taken"
                .to_owned(),
        )),
    }
}

/// The hash of what is no declaration; a declaration's needs its class.
fn transaction_hash(chain: &Chain, transaction: &RpcTransaction) -> Option<TransactionHash> {
    let transaction = starknet_api::transaction::Transaction::from(transaction.clone());
    transaction.calculate_transaction_hash(&chain.config().chain_id).ok()
}

fn open_state(chain: &Chain) -> Result<StateView, Refused> {
    chain.state(At::PreConfirmed)?.ok_or_else(|| Refused::Unexpected("the chain has no state".to_owned()))
}

/// What can be said of a transaction without looking at the chain.
fn check_form(transaction: &RpcTransaction, limits: &AdmissionLimits, fees: bool) -> Result<(), Refused> {
    let refuse = |what: String| Err(Refused::ValidationFailure(what));
    let signature = transaction.signature().0.len();
    if signature > limits.signature_felts {
        return refuse(format!("the signature has {signature} felts, at most {} are taken", limits.signature_felts));
    }
    let modes = [transaction.nonce_data_availability_mode(), transaction.fee_data_availability_mode()];
    if modes.iter().any(|mode| **mode != DataAvailabilityMode::L1) {
        return refuse("only the data availability mode L1 is in use".to_owned());
    }
    let (calldata, paymaster, deployment) = match transaction {
        RpcTransaction::Invoke(RpcInvokeTransaction::V3(tx)) => {
            if !tx.proof_facts.0.is_empty() || !tx.proof.is_empty() {
                return Err(Refused::InvalidProof("this node verifies no client-side proofs".to_owned()));
            }
            (tx.calldata.0.len(), tx.paymaster_data.0.len(), tx.account_deployment_data.0.len())
        }
        RpcTransaction::DeployAccount(RpcDeployAccountTransaction::V3(tx)) => {
            (tx.constructor_calldata.0.len(), tx.paymaster_data.0.len(), 0)
        }
        RpcTransaction::Declare(RpcDeclareTransaction::V3(tx)) => {
            check_class(&tx.contract_class, limits)?;
            (0, tx.paymaster_data.0.len(), tx.account_deployment_data.0.len())
        }
    };
    if calldata > limits.calldata_felts {
        return refuse(format!("the calldata has {calldata} felts, at most {} are taken", limits.calldata_felts));
    }
    let l2_gas = transaction.resource_bounds().l2_gas.max_amount.0;
    if fees && l2_gas > limits.l2_gas && !matches!(transaction, RpcTransaction::Declare(_)) {
        return refuse(format!("l2_gas.max_amount is {l2_gas:#x}, at most {:#x} is taken", limits.l2_gas));
    }
    if paymaster > 0 || deployment > 0 {
        return refuse("paymaster_data and account_deployment_data must be empty: neither is in use".to_owned());
    }
    Ok(())
}

fn check_class(class: &starknet_api::state::SierraContractClass, limits: &AdmissionLimits) -> Result<(), Refused> {
    use starknet_api::state::CONTRACT_CLASS_VERSION;
    if class.contract_class_version != CONTRACT_CLASS_VERSION {
        return Err(Refused::UnsupportedClassVersion(format!(
            "contract_class_version is {:?}, not {CONTRACT_CLASS_VERSION:?}",
            class.contract_class_version
        )));
    }
    let points = &class.entry_points_by_type;
    for (kind, points) in
        [("CONSTRUCTOR", &points.constructor), ("EXTERNAL", &points.external), ("L1_HANDLER", &points.l1handler)]
    {
        if !points.is_sorted_by(|one, next| one.selector < next.selector) {
            return Err(Refused::ValidationFailure(format!(
                "the class's entry points of kind {kind} are not in rising order of their selectors, each once"
            )));
        }
    }
    let bytes = json_bytes(class);
    if bytes > limits.class_bytes {
        return Err(Refused::ClassTooLarge { bytes, limit: limits.class_bytes });
    }
    Ok(())
}

/// Size of a class as JSON, near enough for a limit: digits, quotes and commas of the program, and the ABI.
fn json_bytes(class: &starknet_api::state::SierraContractClass) -> usize {
    const AROUND_A_FELT: usize = 5;
    let program: usize = class.sierra_program.iter().map(|felt| felt.bits().div_ceil(4).max(1) + AROUND_A_FELT).sum();
    program + class.abi.len()
}

/// Whether the sender offers enough per unit of gas, and has what it offers.
fn check_fee(state: &StateView, sender: ContractAddress, transaction: &RpcTransaction) -> Result<(), Refused> {
    let bounds: &AllResourceBounds = transaction.resource_bounds();
    let prices = state.block_info().gas_prices.gas_price_vector(&FeeType::Strk);
    for (name, offered, price) in [
        ("l1_gas", bounds.l1_gas, prices.l1_gas_price),
        ("l1_data_gas", bounds.l1_data_gas, prices.l1_data_gas_price),
        ("l2_gas", bounds.l2_gas, prices.l2_gas_price),
    ] {
        // A resource that is not used needs no price.
        let used = name == "l2_gas" || offered.max_amount.0 > 0;
        if used && offered.max_price_per_unit.0 < price.get().0 {
            return Err(Refused::FeeBelowMinimum(format!(
                "{name}: the highest price offered is {:#x}, the block's is {:#x}",
                offered.max_price_per_unit.0,
                price.get().0
            )));
        }
    }
    let tip: Tip = *transaction.tip();
    let most: Fee = ValidResourceBounds::AllResources(*bounds).max_possible_fee(tip);
    match balance(state, *STRK_FEE_CONTRACT_ADDRESS, sender)? {
        Some(balance) if balance < most.0 => Err(Refused::InsufficientBalance(format!(
            "the sender has {balance:#x} FRI, the highest possible fee is {:#x} FRI",
            most.0
        ))),
        _ => Ok(()),
    }
}

/// A balance in the fee token; `None` when it is more than any fee.
fn balance(state: &StateView, token: ContractAddress, owner: ContractAddress) -> Result<Option<u128>, Refused> {
    let low = starknet_api::abi::abi_utils::get_fee_token_var_address(owner);
    let high = low.next_storage_key().map_err(malformed)?;
    let (low, high) = (state.storage(token, low)?.value, state.storage(token, high)?.value);
    if high != Felt::ZERO {
        return Ok(None);
    }
    Ok(u128::try_from(low).ok())
}

fn malformed(error: StarknetApiError) -> Refused {
    Refused::ValidationFailure(error.to_string())
}

fn from_pool(refusal: PoolRefusal<TransactionHash>) -> Refused {
    match refusal {
        PoolRefusal::Duplicate(_) => Refused::Duplicate,
        PoolRefusal::NonceTooLow { .. } | PoolRefusal::NonceTooHigh { .. } => {
            Refused::InvalidNonce(refusal.to_string())
        }
        PoolRefusal::Underpriced(underbid) => Refused::Underpriced(underbid.to_string()),
        PoolRefusal::AccountFull { .. } | PoolRefusal::Full { .. } => Refused::Unexpected(refusal.to_string()),
    }
}

impl From<ChainError> for Refused {
    fn from(error: ChainError) -> Self {
        Self::Unexpected(error.to_string())
    }
}
