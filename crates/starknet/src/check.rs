//! Checking someone else's block: execute it again and compare everything it claims.

use std::sync::Arc;

use blockifier::blockifier::config::{ConcurrencyConfig, TransactionExecutorConfig};
use blockifier::blockifier::transaction_executor::{DEFAULT_STACK_SIZE, TransactionExecutor};
use starknet_api::executable_transaction::{
    AccountTransaction, DeclareTransaction as ExecutableDeclare, DeployAccountTransaction as ExecutableDeploy,
    InvokeTransaction as ExecutableInvoke, L1HandlerTransaction as ExecutableL1Handler, Transaction as Executable,
};
use starknet_api::transaction::{DeclareTransaction, Transaction};
use types::Payload;

use crate::block::{ExecutedTransaction, Header};
use crate::builder::{executable, executed, net_diff, old_block_hash};
use crate::chain::{Chain, ChainError, Staged, block_ref};
use crate::classes::DeclaredClass;
use crate::codec::Body;
use crate::commitment::verify_signature;
use crate::source::ReadyTransaction;
use crate::view::StateView;

/// Seconds that a block's timestamp may lie ahead of this machine's clock.
const CLOCK_SKEW_MAX: u64 = 60;

/// Executes a payload on the head. `None` when any claim in it does not hold, with the reason logged.
pub(crate) fn execute(chain: &Chain, payload: &Payload) -> Result<Option<Arc<Staged>>, ChainError> {
    let checked = Body::decode(&payload.body)
        .map_err(|error| Refused::Claim(format!("body: {error}")))
        .and_then(|body| check(chain, payload, body));
    match checked {
        Ok(staged) => Ok(Some(staged)),
        Err(Refused::Claim(reason)) => {
            tracing::warn!(block = %payload.block.number, hash = %payload.block.hash, reason, "invalid block");
            Ok(None)
        }
        Err(Refused::Failure(error)) => Err(error),
    }
}

/// Why a payload was not taken.
enum Refused {
    /// It claims something that is not so.
    Claim(String),
    /// It could not be judged.
    Failure(ChainError),
}

impl From<ChainError> for Refused {
    fn from(error: ChainError) -> Self {
        Self::Failure(error)
    }
}

fn check(chain: &Chain, payload: &Payload, body: Body) -> Result<Arc<Staged>, Refused> {
    let claim = |holds: bool, what: &str| if holds { Ok(()) } else { Err(Refused::Claim(what.to_owned())) };
    let parent = chain.head();
    let header = &body.header;
    claim(block_ref(header) == payload.block, "the reference does not fit the header")?;
    claim(header.parent_hash == parent.hash && header.number.0 == parent.number.0 + 1, "not on the head")?;
    claim(header.timestamp >= parent.timestamp, "the timestamp goes back")?;
    claim(header.timestamp.0 <= now().saturating_add(CLOCK_SKEW_MAX), "the timestamp lies in the future")?;
    claim(header.version == chain.config().protocol, "another protocol version")?;
    let signed = verify_signature(&chain.public_key(), header.hash, header.state_diff_commitment, &header.signature);
    claim(signed, "the signature is not the sequencer's")?;

    let base = chain.state_after(&parent);
    let info = header.block_info();
    let old_hash = old_block_hash(chain, info.block_number)?;
    let config = TransactionExecutorConfig {
        concurrency_config: ConcurrencyConfig { enabled: false, n_workers: 0, chunk_size: 0 },
        stack_size: DEFAULT_STACK_SIZE,
    };
    let mut executor =
        TransactionExecutor::pre_process_and_create(base.clone(), chain.context(info.clone()), old_hash, config)
            .map_err(|error| ChainError::Execution(error.to_string()))?;
    let mut ready = Vec::with_capacity(body.transactions.len());
    for claimed in &body.transactions {
        let transaction = to_executable(claimed, &base, &body.classes, chain)?;
        claim(transaction.tx_hash() == claimed.hash, "a transaction hash does not fit its transaction")?;
        let (execution, _) = executor
            .execute(&executable(&transaction, chain.config().fees))
            .map_err(|error| Refused::Claim(format!("transaction {:#x}: {error}", claimed.hash.0)))?;
        claim(executed(&transaction, &execution) == **claimed, "a transaction has another outcome")?;
        let class = class_of(claimed, &body.classes);
        ready.push(Arc::new(ReadyTransaction { transaction, class }));
    }
    let summary = executor.finalize().map_err(|error| ChainError::Execution(error.to_string()))?;
    let declared = |hash: &_| body.classes.iter().any(|class| class.hash() == *hash);
    let diff = net_diff(summary.state_diff, &base, declared)?;
    claim(diff == body.state_diff, "the state diff is another")?;
    let staged = chain.complete(payload.slot, &info, body.transactions.clone(), diff, body.classes.clone(), ready)?;
    claim(same(&staged.body.header, header), "the header claims another root, commitment or hash")?;
    Ok(Arc::new(staged.claimed(payload.clone(), body)))
}

/// Equal but for the signature, which was checked by itself.
fn same(ours: &Header, theirs: &Header) -> bool {
    Header { signature: theirs.signature, ..ours.clone() } == *theirs
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

fn class_of(executed: &ExecutedTransaction, classes: &[Arc<DeclaredClass>]) -> Option<Arc<DeclaredClass>> {
    let Transaction::Declare(DeclareTransaction::V3(tx)) = &executed.transaction else { return None };
    classes.iter().find(|class| class.hash() == tx.class_hash).cloned()
}

/// The transaction in the form that executes, with a class where it declares one.
fn to_executable(
    claimed: &ExecutedTransaction,
    base: &StateView,
    classes: &[Arc<DeclaredClass>],
    chain: &Chain,
) -> Result<Executable, Refused> {
    let in_block = class_of(claimed, classes);
    if let Some(class) = &in_block {
        honest_class(class)?;
    }
    let bad = |error: starknet_api::StarknetApiError| Refused::Claim(error.to_string());
    let chain_id = &chain.config().chain_id;
    Ok(match &claimed.transaction {
        Transaction::Invoke(tx) => Executable::Account(AccountTransaction::Invoke(
            ExecutableInvoke::create(tx.clone(), chain_id).map_err(bad)?,
        )),
        Transaction::DeployAccount(tx) => Executable::Account(AccountTransaction::DeployAccount(
            ExecutableDeploy::create(tx.clone(), chain_id).map_err(bad)?,
        )),
        Transaction::L1Handler(tx) => Executable::L1Handler(
            ExecutableL1Handler::create(tx.clone(), chain_id, claimed.paid_fee_on_l1).map_err(bad)?,
        ),
        Transaction::Declare(tx) => {
            let class = match in_block {
                Some(class) => Some(class),
                None => base.class(tx.class_hash())?,
            };
            let Some(DeclaredClass::Sierra(class)) = class.as_deref() else {
                return Err(Refused::Claim(format!("class {:#x} of a declaration is missing", tx.class_hash().0)));
            };
            Executable::Account(AccountTransaction::Declare(
                ExecutableDeclare::create(tx.clone(), class.class_info(), chain_id).map_err(bad)?,
            ))
        }
        Transaction::Deploy(_) => {
            return Err(Refused::Claim("a transaction of a kind this chain does not take".into()));
        }
    })
}

/// Whether a class in the body is what its hashes say. Compiles it, since CASM is the maker's claim.
fn honest_class(class: &DeclaredClass) -> Result<(), Refused> {
    let DeclaredClass::Sierra(claimed) = class else {
        return Err(Refused::Claim("a Cairo 0 class is declared".into()));
    };
    let compiled =
        crate::classes::SierraClass::compile(claimed.sierra.as_ref().clone(), crate::classes::BYTECODE_FELTS_MAX)
            .map_err(|error| Refused::Claim(error.to_string()))?;
    let same = compiled.hash == claimed.hash
        && compiled.casm == claimed.casm
        && compiled.compiled_hash_v1 == claimed.compiled_hash_v1
        && compiled.compiled_hash_v2 == claimed.compiled_hash_v2
        && compiled.sierra_version == claimed.sierra_version;
    if same { Ok(()) } else { Err(Refused::Claim(format!("class {:#x} is not what its hashes say", claimed.hash.0))) }
}

impl ExecutedTransaction {
    /// The transaction in the form that executes, for executing it again: traces and re-execution. `state` must hold the class
    /// that a DECLARE brought in.
    ///
    /// # Errors
    /// [`ChainError::Storage`] when the declared class is missing, [`ChainError::Execution`] when the hash cannot be computed.
    pub fn to_executable(&self, chain: &Chain, state: &StateView) -> Result<Executable, ChainError> {
        to_executable(self, state, &[], chain).map_err(|refused| match refused {
            Refused::Claim(reason) => ChainError::Execution(reason),
            Refused::Failure(error) => error,
        })
    }
}
