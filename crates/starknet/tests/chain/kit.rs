//! A development chain, a queue of transactions, and signed transfers.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use node::{Backend, Persistence, Sealed};
use parking_lot::Mutex;
use sequencer::Record;
use starknet::backend::StarknetBackend;
use starknet::config::{BouncerProfile, GasPriceConfig, GenesisSource};
use starknet::genesis::PredeployedAccount;
use starknet::source::{Doorbell, ReadyTransaction, TransactionSource};
use starknet::{At, Block, Chain, ChainConfig};
use starknet_api::abi::abi_utils::{get_fee_token_var_address, selector_from_name};
use starknet_api::block::{BlockNumber, GasPrice, NonzeroGasPrice, StarknetVersion};
use starknet_api::core::{ChainId, ContractAddress, Nonce, PatriciaKey};
use starknet_api::data_availability::DataAvailabilityMode;
use starknet_api::executable_transaction::{AccountTransaction, InvokeTransaction as ExecutableInvoke, Transaction};
use starknet_api::execution_resources::GasAmount;
use starknet_api::fee_token_defaults::STRK_FEE_CONTRACT_ADDRESS;
use starknet_api::transaction::fields::{
    AccountDeploymentData, AllResourceBounds, Calldata, PaymasterData, ProofFacts, ResourceBounds, Tip,
    TransactionSignature, ValidResourceBounds,
};
use starknet_api::transaction::{InvokeTransaction, InvokeTransactionV3, TransactionHash};
use starknet_types_core::felt::Felt;
use types::{Attributes, BlockRef, BuildId, Heads, Payload, Slot, Timestamp, Verdict};

/// Balance of each account at genesis: 10^24, a million tokens.
pub(crate) const BALANCE: u128 = 1_000_000_000_000_000_000_000_000;

pub(crate) fn config(accounts: u16) -> ChainConfig {
    let price = |fri: u128| NonzeroGasPrice::new(GasPrice(fri)).unwrap();
    ChainConfig {
        chain_id: ChainId::Other("SN_SEQUENZA_TEST".into()),
        protocol: StarknetVersion::V0_14_3,
        bouncer: BouncerProfile::Dev,
        fees: true,
        gas_prices: GasPriceConfig {
            l1_wei: price(1_000_000_000),
            l1_fri: price(1_000_000_000),
            l1_data_wei: price(1_000_000_000),
            l1_data_fri: price(1_000_000_000),
            l2_wei: price(1_000_000_000),
            l2_fri: price(1_000_000_000),
        },
        sequencer_address: address(Felt::from(0x5e9u32)),
        blob_data: true,
        workers: 2,
        call_max_steps: 4_000_000,
        call_max_gas: 1_000_000_000,
        signing_key: Felt::from(0x1234567u32),
        genesis: GenesisSource::Dev { accounts, seed: 0, balance: BALANCE },
        cache_bytes: 64 << 20,
    }
}

pub(crate) fn address(felt: Felt) -> ContractAddress {
    ContractAddress(PatriciaKey::try_from(felt).unwrap())
}

/// A chain with its backend and a plain queue before it.
pub(crate) struct World {
    pub(crate) chain: Chain,
    pub(crate) backend: StarknetBackend,
    pub(crate) queue: Arc<Queue>,
    builds: u64,
}

impl World {
    pub(crate) fn open(folder: &Path, config: ChainConfig) -> Self {
        let chain = Chain::open(folder, config).unwrap();
        let queue = Arc::new(Queue::default());
        let backend = StarknetBackend::start(chain.clone(), queue.clone(), true).unwrap();
        Self { chain, backend, queue, builds: 0 }
    }

    pub(crate) fn head_ref(&self) -> BlockRef {
        block_on(self.backend.heads()).unwrap().unsafe_head()
    }

    pub(crate) fn open_block(&mut self) -> BuildId {
        self.builds += 1;
        let build = BuildId::new(self.builds);
        let parent = self.head_ref();
        let attributes = Attributes {
            slot: Slot::new(self.builds),
            parent,
            timestamp: Timestamp::from_secs(parent.timestamp.as_secs().max(1_700_000_000) + 1),
            origin: None,
            use_pool: true,
        };
        block_on(self.backend.open(build, attributes)).unwrap();
        build
    }

    pub(crate) fn seal(&self, build: BuildId) -> Payload {
        match block_on(self.backend.seal(build)).unwrap() {
            Sealed::Payload(payload) => payload,
            Sealed::Nothing => panic!("an empty block was wanted"),
        }
    }

    pub(crate) fn decide(&self, payload: &Payload) -> Block {
        block_on(self.backend.persist(&Record::Payload(payload.clone()))).unwrap();
        assert_eq!(block_on(self.backend.import(payload)).unwrap(), Verdict::Valid);
        block_on(self.backend.set_heads(Heads::at(payload.block))).unwrap();
        self.chain.block(At::Latest).unwrap().unwrap()
    }

    /// Opens a block, waits until the queue is dealt with, seals and decides.
    pub(crate) fn make_block(&mut self) -> Block {
        let build = self.open_block();
        self.queue.wait_until_drained();
        let payload = self.seal(build);
        self.decide(&payload)
    }

    pub(crate) fn nonce(&self, account: &PredeployedAccount) -> u64 {
        let nonce = self.chain.state(At::PreConfirmed).unwrap().unwrap().nonce(account.address).unwrap();
        u64::try_from(nonce.0).unwrap()
    }

    pub(crate) fn strk(&self, of: ContractAddress) -> u128 {
        let state = self.chain.state(At::Latest).unwrap().unwrap();
        let value = state.storage(*STRK_FEE_CONTRACT_ADDRESS, get_fee_token_var_address(of)).unwrap().value;
        u128::try_from(value).unwrap()
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: std::sync::LazyLock<tokio::runtime::Runtime> =
        std::sync::LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap());
    RUNTIME.block_on(future)
}

/// First in, first out.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<VecDeque<Arc<ReadyTransaction>>>,
    pub(crate) log: Mutex<QueueLog>,
    doorbell: Arc<Doorbell>,
}

#[derive(Default)]
pub(crate) struct QueueLog {
    pub(crate) taken: usize,
    pub(crate) executed: Vec<TransactionHash>,
    pub(crate) rejected: Vec<(TransactionHash, String)>,
    pub(crate) returned: usize,
    pub(crate) included: Vec<(BlockNumber, TransactionHash)>,
}

impl Queue {
    pub(crate) fn push(&self, transactions: impl IntoIterator<Item = Transaction>) {
        let ready = transactions.into_iter().map(|transaction| Arc::new(ReadyTransaction { transaction, class: None }));
        self.waiting.lock().extend(ready);
        self.doorbell.ring();
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Whether nothing waits and nothing is in flight.
    pub(crate) fn is_drained(&self) -> bool {
        let waiting = self.waiting.lock();
        let log = self.log.lock();
        waiting.is_empty() && log.taken == log.executed.len() + log.rejected.len() + log.returned
    }

    pub(crate) fn wait_until_drained(&self) {
        let until = Instant::now() + Duration::from_secs(120);
        while !self.is_drained() {
            assert!(Instant::now() < until, "the queue is not worked off");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl TransactionSource for Queue {
    fn take(&self, max: usize) -> Vec<Arc<ReadyTransaction>> {
        let mut waiting = self.waiting.lock();
        let count = max.min(waiting.len());
        let taken: Vec<_> = waiting.drain(..count).collect();
        self.log.lock().taken += taken.len();
        taken
    }

    fn doorbell(&self) -> Arc<Doorbell> {
        self.doorbell.clone()
    }

    fn executed(&self, hash: TransactionHash) {
        self.log.lock().executed.push(hash);
    }

    fn rejected(&self, hash: TransactionHash, reason: &str) {
        self.log.lock().rejected.push((hash, reason.to_owned()));
    }

    fn returned(&self, transactions: Vec<Arc<ReadyTransaction>>) {
        let mut waiting = self.waiting.lock();
        self.log.lock().returned += transactions.len();
        for transaction in transactions.into_iter().rev() {
            waiting.push_front(transaction);
        }
    }

    fn included(&self, block: BlockNumber, hashes: &[TransactionHash]) {
        self.log.lock().included.extend(hashes.iter().map(|hash| (block, *hash)));
    }
}

/// A signed STRK transfer.
pub(crate) fn transfer(
    chain: &Chain,
    from: &PredeployedAccount,
    nonce: u64,
    to: ContractAddress,
    amount: u128,
) -> Transaction {
    let arguments = [*to.0.key(), Felt::from(amount), Felt::ZERO];
    call(chain, from, nonce, *STRK_FEE_CONTRACT_ADDRESS, "transfer", &arguments)
}

/// A signed call of one entry point.
pub(crate) fn call(
    chain: &Chain,
    from: &PredeployedAccount,
    nonce: u64,
    contract: ContractAddress,
    entry_point: &str,
    arguments: &[Felt],
) -> Transaction {
    let mut call = vec![*contract.0.key(), selector_from_name(entry_point).0, Felt::from(arguments.len())];
    call.extend_from_slice(arguments);
    multicall(chain, from, nonce, &[call])
}

/// Signed calls in one transaction, each as contract, selector, number of arguments, arguments.
pub(crate) fn multicall(
    chain: &Chain,
    from: &PredeployedAccount,
    nonce: u64,
    calls: &[impl AsRef<[Felt]>],
) -> Transaction {
    let mut calldata = vec![Felt::from(calls.len())];
    calls.iter().for_each(|call| calldata.extend_from_slice(call.as_ref()));
    let bound = |amount: u64, price: u128| ResourceBounds {
        max_amount: GasAmount(amount),
        max_price_per_unit: GasPrice(price),
    };
    let mut tx = InvokeTransactionV3 {
        resource_bounds: ValidResourceBounds::AllResources(AllResourceBounds {
            l1_gas: bound(10_000, 10_000_000_000),
            l2_gas: bound(100_000_000, 10_000_000_000),
            l1_data_gas: bound(10_000, 10_000_000_000),
        }),
        tip: Tip(0),
        signature: TransactionSignature::default(),
        nonce: Nonce(Felt::from(nonce)),
        sender_address: from.address,
        calldata: Calldata::from(calldata),
        nonce_data_availability_mode: DataAvailabilityMode::L1,
        fee_data_availability_mode: DataAvailabilityMode::L1,
        paymaster_data: PaymasterData(Vec::new()),
        account_deployment_data: AccountDeploymentData(Vec::new()),
        proof_facts: ProofFacts::default(),
    };
    let hash = ExecutableInvoke::create(InvokeTransaction::V3(tx.clone()), &chain.config().chain_id).unwrap().tx_hash;
    let nonce = starknet_crypto::rfc6979_generate_k(&hash.0, &from.private_key, None);
    let signature = starknet_crypto::sign(&from.private_key, &hash.0, &nonce).unwrap();
    tx.signature = TransactionSignature(Arc::new(vec![signature.r, signature.s]));
    let invoke = ExecutableInvoke { tx: InvokeTransaction::V3(tx), tx_hash: hash };
    Transaction::Account(AccountTransaction::Invoke(invoke))
}
