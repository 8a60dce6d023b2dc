//! A chain on disk, from the outside: what is built is what is executed again, whatever the transactions do.

use std::path::Path;
use std::sync::Arc;

use alloy_consensus::{SignableTransaction, Transaction as _, TxEip1559, TxEip2930, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use evm::genesis::{DEV_BASE_FEE, DEV_GAS_LIMIT, DevGenesis};
use evm::pool::Refusal;
use evm::{At, BlockPolicy, Chain, EvmBackend, Pool, Transaction};
use node::{Backend, Persistence, Sealed, conformance};
use proptest::prelude::*;
use sequencer::{Effect, Effects, Event, Record, Sequencer};
use tempfile::TempDir;
use types::{Attributes, BuildId, Heads, Millis, Payload, Slot, Timestamp, Verdict};

const CHAIN_ID: u64 = 31_337;
const ETHER: u128 = 1_000_000_000_000_000_000;
/// Keeps its argument at the slot of the same number and logs it; reverts for 0. Hand-assembled:
/// `calldataload(0) dup iszero jumpi(revert) dup dup sstore mstore(0) log0(0, 32) stop revert: revert(0, 0)`.
const KEEPER: [u8; 26] = hex!("600035801560145780805560005260206000a0005b60006000fd");
/// Deploys what follows it: `codecopy(0, 11, 26) return(0, 26)`.
const DEPLOYER: [u8; 11] = hex!("601a80600b6000396000f3");

struct World {
    _folder: Option<TempDir>,
    chain: Chain,
    pool: Pool,
    backend: EvmBackend,
    builds: u64,
}

fn keys() -> Vec<PrivateKeySigner> {
    (1..=4_u8).map(|byte| PrivateKeySigner::from_bytes(&B256::with_last_byte(byte)).expect("a key")).collect()
}

fn genesis() -> alloy_genesis::Genesis {
    let balances = keys().iter().map(|key| (key.address(), U256::from(10 * ETHER))).collect();
    let (gas_limit, base_fee) = (DEV_GAS_LIMIT, DEV_BASE_FEE);
    DevGenesis { chain_id: CHAIN_ID, balances, gas_limit, base_fee, timestamp: 1_700_000_000 }.into_file()
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let world = Self::open(folder.path());
        Self { _folder: Some(folder), ..world }
    }

    fn open(folder: &Path) -> Self {
        Self::begin(folder, genesis())
    }

    fn begin(folder: &Path, genesis: alloy_genesis::Genesis) -> Self {
        let chain = Chain::open(&folder.join("chain"), Some(genesis)).expect("opens");
        let pool =
            Pool::open(&folder.join("pool"), &chain, mempool::Limits::default(), mempool::Order::Tip).expect("opens");
        let policy = BlockPolicy {
            beneficiary: Address::repeat_byte(0xbe),
            gas_limit: DEV_GAS_LIMIT,
            extra_data: Bytes::from_static(b"test"),
            empty_blocks: true,
        };
        let backend = EvmBackend::new(chain.clone(), pool.clone(), policy);
        Self { _folder: None, chain, pool, backend, builds: 0 }
    }

    /// Seals a block without making it part of the chain.
    async fn seal(&mut self) -> Payload {
        let build = self.open_build().await;
        self.seal_build(build).await
    }

    async fn open_build(&mut self) -> BuildId {
        self.builds += 1;
        let (build, parent) = (BuildId::new(self.builds), evm::block::block_ref(&self.chain.head()));
        let timestamp = Timestamp::from_secs(parent.timestamp.as_secs() + 1);
        let slot = Slot::new(parent.number.as_u64() + 1);
        let attributes = Attributes { slot, parent, timestamp, origin: None, use_pool: true };
        self.backend.open(build, attributes).await.expect("opens");
        build
    }

    async fn seal_build(&self, build: BuildId) -> Payload {
        match self.backend.seal(build).await.expect("seals") {
            Sealed::Payload(payload) => payload,
            Sealed::Nothing => panic!("empty blocks are wanted"),
        }
    }

    async fn adopt(&self, payload: &Payload) {
        assert_eq!(self.backend.import(payload).await, Ok(Verdict::Valid));
        self.backend.persist(&Record::Payload(payload.clone())).await.expect("durable");
        self.backend.set_heads(Heads::at(payload.block)).await.expect("set");
    }

    async fn block(&mut self) -> Payload {
        let payload = self.seal().await;
        self.adopt(&payload).await;
        payload
    }

    fn nonce(&self, key: &PrivateKeySigner) -> u64 {
        self.pool.next_nonce(key.address()).expect("readable")
    }

    fn balance(&self, address: Address) -> U256 {
        self.chain.state(At::Latest).expect("readable").expect("there").account(address).expect("readable").balance
    }
}

fn signed<T: SignableTransaction<alloy_primitives::Signature>>(key: &PrivateKeySigner, transaction: T) -> Bytes
where
    Transaction: From<alloy_consensus::Signed<T>>,
{
    let signature = key.sign_hash_sync(&transaction.signature_hash()).expect("signs");
    Transaction::from(transaction.into_signed(signature)).encoded_2718().into()
}

fn call(nonce: u64, to: TxKind, value: U256, input: Bytes, gas_limit: u64) -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit,
        max_fee_per_gas: 3_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to,
        value,
        access_list: Default::default(),
        input,
    }
}

fn transfer(nonce: u64, to: Address, value: u128) -> TxEip1559 {
    call(nonce, TxKind::Call(to), U256::from(value), Bytes::new(), 21_000)
}

#[tokio::test]
async fn a_transfer_moves_what_it_says_and_costs_what_it_says() {
    let mut world = World::new();
    let (key, to) = (&keys()[0], Address::repeat_byte(0x77));
    let before = world.balance(key.address());
    let hash = world.pool.submit(signed(key, transfer(0, to, 5))).await.expect("accepted");
    assert!(world.pool.transaction(hash).is_some());
    world.block().await;

    let located = world.chain.transaction(hash).expect("readable").expect("in the chain");
    let executed = located.transaction();
    assert!(executed.receipt.status());
    assert_eq!((executed.gas_used, executed.sender, located.index), (21_000, key.address(), 0));
    let base_fee = located.block.header.base_fee_per_gas.expect("London");
    let price = u128::from(base_fee) + 1_000_000_000;
    assert_eq!(world.balance(to), U256::from(5));
    assert_eq!(world.balance(key.address()), before - U256::from(5 + price * 21_000));
    assert_eq!(world.balance(Address::repeat_byte(0xbe)), U256::from(1_000_000_000_u128 * 21_000), "the tip");
    assert!(world.pool.transactions().is_empty());
    assert_eq!(world.chain.verify().expect("sound").block, 1);
    // The block before is still there to be asked.
    let earlier = world.chain.state(At::Number(0)).expect("readable").expect("kept");
    assert_eq!(earlier.account(to).expect("readable").balance, U256::ZERO);
}

#[tokio::test]
async fn refusals_say_what_geth_says() {
    let world = World::new();
    let key = &keys()[0];
    let gas = |gas| call(0, TxKind::Call(Address::ZERO), U256::ZERO, Bytes::new(), gas);
    let foreign = TxEip1559 { chain_id: 1, ..transfer(0, Address::ZERO, 1) };
    let legacy = TxLegacy {
        chain_id: None,
        gas_price: 2_000_000_000,
        gas_limit: 21_000,
        to: Address::ZERO.into(),
        ..Default::default()
    };
    let greedy = TxEip1559 { max_priority_fee_per_gas: 4_000_000_000, ..transfer(0, Address::ZERO, 1) };
    let large = call(0, TxKind::Create, U256::ZERO, vec![0; 50_000].into(), 1_000_000);
    let refused: [(Bytes, &str); 10] = [
        (Bytes::from_static(&[0xc0]), "rlp: "),
        (Bytes::from_static(&[0x02, 0xc0]), "rlp: "),
        (Bytes::from_static(&[0x03, 0xc0]), "transaction type not supported"),
        (signed(key, foreign), "invalid chain id for signer: have 1 want 31337"),
        (signed(key, legacy), "invalid chain id for signer: have 0 want 31337"),
        (signed(key, gas(20_999)), "intrinsic gas too low: gas 20999, minimum needed 21000"),
        (signed(key, gas(40_000_000)), "exceeds block gas limit"),
        (signed(key, gas(20_000_000)), "transaction gas limit too high (cap: 16777216, tx: 20000000)"),
        (signed(key, greedy), "max priority fee per gas higher than max fee per gas"),
        (signed(key, large), "max initcode size exceeded: code size 50000, limit 49152"),
    ];
    for (raw, text) in refused {
        let refusal = world.pool.submit(raw).await.expect_err(text).to_string();
        assert!(refusal.starts_with(text), "{refusal:?} for {text:?}");
    }
    let rich = world.pool.submit(signed(key, transfer(0, Address::ZERO, 11 * ETHER))).await;
    assert!(matches!(rich, Err(Refusal::Funds { .. })), "{rich:?}");

    let first = signed(key, transfer(0, Address::ZERO, 1));
    world.pool.submit(first.clone()).await.expect("accepted");
    assert!(matches!(world.pool.submit(first).await, Err(Refusal::Known)));
    let dearer = |percent: u128| {
        let price = |price: u128| price * (100 + percent) / 100_u128;
        let plain = transfer(0, Address::ZERO, 2);
        TxEip1559 {
            max_fee_per_gas: price(plain.max_fee_per_gas),
            max_priority_fee_per_gas: price(plain.max_priority_fee_per_gas),
            ..plain
        }
    };
    assert!(matches!(world.pool.submit(signed(key, dearer(9))).await, Err(Refusal::Underpriced)));
    world.pool.submit(signed(key, dearer(10))).await.expect("replaces");
    assert_eq!(world.pool.transactions().len(), 1);
}

#[tokio::test]
async fn nonce_gaps_wait_and_close() {
    let mut world = World::new();
    let key = &keys()[0];
    for nonce in (0..50).rev() {
        world.pool.submit(signed(key, transfer(nonce, Address::repeat_byte(1), 1))).await.expect("accepted");
    }
    world.block().await;
    assert_eq!(world.chain.head().gas_used, 50 * 21_000);
    world.pool.submit(signed(key, transfer(51, Address::repeat_byte(1), 1))).await.expect("parked");
    world.block().await;
    assert_eq!((world.chain.head().gas_used, world.pool.transactions().len()), (0, 1));
}

/// Sends so many transfers of an account, from the account's next nonce on, and gives the last hash.
async fn send(world: &World, key: &PrivateKeySigner, count: u64, tip: u128) -> B256 {
    let (first, mut last) = (world.nonce(key), B256::ZERO);
    for nonce in first..first + count {
        let fees = TxEip1559 { max_priority_fee_per_gas: tip, ..transfer(nonce, Address::repeat_byte(1), 1) };
        last = world.pool.submit(signed(key, fees)).await.expect("accepted");
    }
    last
}

/// Waits until at least so many transactions are in the block in the making.
async fn taken(world: &World, count: usize) {
    for _ in 0..3_000 {
        if world.pool.in_flight() >= count {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{} transactions were taken, not {count}", world.pool.in_flight());
}

fn senders(world: &World) -> Vec<Address> {
    let block = world.chain.block(At::Latest).expect("readable").expect("there");
    block.transactions.iter().map(|executed| executed.sender).collect()
}

/// How many transactions of the newest block come one after the other from this account, beginning with the block's first.
fn leading(world: &World, key: &PrivateKeySigner) -> usize {
    senders(world).into_iter().take_while(|sender| *sender == key.address()).count()
}

#[tokio::test]
async fn a_backlog_is_executed_before_the_block_is_due() {
    let mut world = World::new();
    let (slow, quick) = (&keys()[0], &keys()[1]);
    let build = world.open_build().await;
    send(&world, slow, 900, 1).await;
    // Of what waits a part stays for the moment at which the block is due, and half of the block's gas.
    taken(&world, 300).await;
    assert!(world.pool.in_flight() <= 714 + 64, "half of the block was to be kept");
    send(&world, quick, 600, 2_000_000_000).await;
    let payload = world.seal_build(build).await;
    world.adopt(&payload).await;
    let of_quick = senders(&world).iter().filter(|sender| **sender == quick.address()).count();
    assert_eq!(of_quick, 600, "those that pay more have their place, though they came last");
    assert!(leading(&world, slow) >= 300, "what was taken first comes first");
    assert_eq!(world.chain.head().gas_used, 1_428 * 21_000);
    assert_eq!((world.pool.load().0, world.pool.in_flight()), (72, 0));

    // Another chain executes it as it is.
    let other = World::new();
    assert_eq!(other.backend.import(&payload).await, Ok(Verdict::Valid));
}

#[tokio::test]
async fn few_transactions_wait_until_the_block_is_due() {
    let mut world = World::new();
    let (slow, quick) = (&keys()[0], &keys()[1]);
    let build = world.open_build().await;
    send(&world, slow, 200, 1).await;
    send(&world, quick, 10, 2_000_000_000).await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(world.pool.in_flight(), 0);
    let payload = world.seal_build(build).await;
    world.adopt(&payload).await;
    assert_eq!(leading(&world, quick), 10, "who pays most comes first");
}

#[tokio::test]
async fn a_block_given_up_half_made_gives_back_what_it_took() {
    let mut world = World::new();
    let (slow, quick) = (&keys()[0], &keys()[1]);
    let build = world.open_build().await;
    send(&world, slow, 700, 1).await;
    taken(&world, 100).await;
    world.backend.cancel(build).await;
    assert_eq!(world.pool.in_flight(), 0);
    send(&world, quick, 10, 2_000_000_000).await;

    // Another order does the same to it, and so does an edit of the state.
    world.open_build().await;
    taken(&world, 100).await;
    world.open_build().await;
    taken(&world, 100).await;
    world
        .backend
        .edit(vec![evm::Edit::Balance { address: Address::repeat_byte(9), balance: U256::from(1) }])
        .await
        .expect("edited");
    assert_eq!(world.pool.in_flight(), 0);
    world.block().await;
    assert_eq!(senders(&world).len(), 710);
    assert_eq!(leading(&world, quick), 10, "nothing is left of the order in which it was taken");
}

#[tokio::test]
async fn a_block_that_is_expected_is_begun_before_it_is_ordered() {
    let mut world = World::new();
    let (slow, quick) = (&keys()[0], &keys()[1]);
    let in_seconds = |world: &World, seconds| Timestamp::from_secs(world.chain.head().timestamp + seconds);
    // As it is ordered: what was executed by then is its beginning, whatever pays more later.
    send(&world, slow, 500, 1).await;
    world.backend.expect(in_seconds(&world, 1)).await.expect("begun");
    taken(&world, 100).await;
    send(&world, quick, 10, 2_000_000_000).await;
    let payload = world.block().await;
    assert_eq!((senders(&world).len(), world.pool.in_flight()), (510, 0));
    assert!(leading(&world, slow) >= 100, "it was begun anew");
    assert_eq!(World::new().backend.import(&payload).await, Ok(Verdict::Valid));

    // Of another date: it is begun anew.
    send(&world, slow, 500, 1).await;
    world.backend.expect(in_seconds(&world, 2)).await.expect("begun");
    taken(&world, 100).await;
    send(&world, quick, 10, 2_000_000_000).await;
    world.block().await;
    assert_eq!((senders(&world).len(), leading(&world, quick)), (510, 10));

    // Not any more, or on a state that is another now: everything is the pool's again.
    send(&world, slow, 500, 1).await;
    world.backend.expect(in_seconds(&world, 1)).await.expect("begun");
    taken(&world, 100).await;
    world.backend.expect_nothing().await;
    assert_eq!(world.pool.in_flight(), 0);
    world.backend.expect(in_seconds(&world, 1)).await.expect("begun");
    taken(&world, 100).await;
    let rich = evm::Edit::Balance { address: Address::repeat_byte(9), balance: U256::from(1) };
    world.backend.edit(vec![rich]).await.expect("edited");
    assert_eq!(world.pool.in_flight(), 0);

    // A build that is open goes on undisturbed.
    let build = world.open_build().await;
    world.backend.expect(in_seconds(&world, 1)).await.expect("no fault");
    let payload = world.seal_build(build).await;
    world.adopt(&payload).await;
    assert_eq!(senders(&world).len(), 500);
    world.chain.verify().expect("sound");
}

#[tokio::test]
async fn it_conforms_to_what_a_backend_must_do() {
    let make = || async {
        let world = World::new();
        // The folder must outlive the chain; the test's end takes it along.
        std::mem::forget(world._folder);
        Arc::new(world.backend) as conformance::Subject
    };
    conformance::check_all(make).await;
    conformance::check_branching(make).await;
    let folder = tempfile::tempdir().expect("a folder");
    conformance::heads_are_kept(|| async {
        Arc::new(World::open(folder.path()).backend) as Arc<dyn conformance::Keeping>
    })
    .await;
}

/// What is acknowledged is in the pool again, what is sealed and durable in the chain, whatever was in the tables.
#[tokio::test]
async fn everything_durable_is_there_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = &keys()[0];
    let (sealed, waiting) = {
        let mut world = World::open(folder.path());
        let sealed = world.pool.submit(signed(key, transfer(0, Address::repeat_byte(1), 7))).await.expect("accepted");
        let payload = world.seal().await;
        // Durable, and then the process dies: the block never became the head.
        world.backend.persist(&Record::Payload(payload)).await.expect("durable");
        let waiting = world.pool.submit(signed(key, transfer(1, Address::repeat_byte(1), 8))).await.expect("accepted");
        (sealed, waiting)
    };
    for without_tables in [false, true] {
        if without_tables {
            std::fs::remove_dir_all(folder.path().join("chain/tables")).expect("removed");
        }
        let world = World::open(folder.path());
        assert_eq!(world.chain.head().number, 1);
        assert_eq!(world.chain.transaction(sealed).expect("readable").expect("there").index, 0);
        assert_eq!(world.balance(Address::repeat_byte(1)), U256::from(7));
        let pool: Vec<B256> = world.pool.transactions().iter().map(|(signed, _)| signed.tx_hash()).collect();
        assert_eq!(pool, [waiting]);
        world.chain.verify().expect("sound");
    }
    let mut other = genesis();
    other.gas_limit += 1;
    let refused = Chain::open(&folder.path().join("chain"), Some(other)).expect_err("another genesis");
    assert!(refused.to_string().contains("another beginning"), "{refused}");
    assert_eq!(Chain::open(&folder.path().join("chain"), None).expect("goes on").head().number, 1);
}

/// With a bound on history the tables stop growing, the states within it are whole, and those before it are refused by name.
#[tokio::test]
async fn old_states_are_let_go_of_and_nothing_else_is() {
    const KEPT: u64 = 5;
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::open(folder.path());
    world.chain.keep_history(Some(KEPT));
    let (key, to) = (&keys()[0], Address::repeat_byte(0x77));
    let creation = call(0, TxKind::Create, U256::ZERO, [&DEPLOYER[..], &KEEPER].concat().into(), 200_000);
    world.pool.submit(signed(key, creation)).await.expect("accepted");
    world.block().await;
    let keeper = key.address().create(0);
    let mut rows = Vec::new();
    for number in 2..=40_u64 {
        world.pool.submit(signed(key, transfer(world.nonce(key), to, 1))).await.expect("accepted");
        // The same few slots, again and again: one is written to what it was before.
        let kept = call(
            world.nonce(key),
            TxKind::Call(keeper),
            U256::ZERO,
            U256::from(1 + number % 3).to_be_bytes_vec().into(),
            100_000,
        );
        world.pool.submit(signed(key, kept)).await.expect("accepted");
        world.block().await;
        rows.push(world.chain.state_rows().expect("readable"));
        world.chain.verify().expect("the newest state is whole");
    }
    assert_eq!(rows[20..].iter().max(), rows[30..].iter().max(), "the rows stop growing: {rows:?}");

    let balance = |chain: &Chain, number| {
        let state = chain.state(At::Number(number))?.expect("a block of the chain");
        state.account(to).map(|account| account.balance)
    };
    let oldest = world.chain.oldest_state();
    assert_eq!(oldest, 40 - KEPT);
    let whole = |chain: &Chain| {
        for number in oldest..=40 {
            assert_eq!(balance(chain, number).expect("kept"), U256::from(number - 1));
            let header = chain.header(At::Number(number)).expect("readable").expect("there");
            let proof = chain.proof(&header, keeper, &[B256::with_last_byte(1)]).expect("all nodes are kept");
            assert!(!proof.account.is_empty() && !proof.slots[0].2.is_empty());
        }
    };
    whole(&world.chain);
    let refused = balance(&world.chain, oldest - 1).expect_err("let go of").to_string();
    assert!(refused.contains("historical state of block 34 is not available"), "{refused}");
    assert_eq!(world.chain.block(At::Number(2)).expect("readable").expect("kept").transactions.len(), 2);

    // It holds after a start, also where the tables are made again of the whole log.
    for without_tables in [false, true] {
        drop(world);
        if without_tables {
            std::fs::remove_dir_all(folder.path().join("chain/tables")).expect("removed");
        }
        world = World::open(folder.path());
        assert_eq!(world.chain.oldest_state(), if without_tables { 0 } else { oldest });
        // Nothing is in memory any more that the tables do not have.
        whole(&world.chain);
        world.chain.verify().expect("sound");
    }
}

#[tokio::test]
async fn a_chain_may_begin_above_block_0() {
    let folder = tempfile::tempdir().expect("a folder");
    let above = || alloy_genesis::Genesis { number: Some(1_000), ..genesis() };
    let mut world = World::begin(folder.path(), above());
    assert_eq!((world.chain.first(), world.chain.head().number, world.chain.oldest_state()), (1_000, 1_000, 1_000));
    assert!(world.chain.header(At::Number(999)).expect("readable").is_none());
    assert_eq!(world.chain.memory().expect("readable"), sequencer::Memory::default(), "nobody decided the first block");
    let key = &keys()[0];
    for _ in 0..3 {
        world.pool.submit(signed(key, transfer(world.nonce(key), Address::repeat_byte(1), 1))).await.expect("accepted");
        world.block().await;
    }
    let heads = world.backend.heads().await.expect("told");
    assert_eq!((heads.unsafe_head().number.as_u64(), world.chain.head().number), (1_003, 1_003));
    let fetched = world.backend.fetch(types::BlockNumber::new(0), types::BlockNumber::new(2_000)).await;
    let fetched: Vec<u64> = fetched.iter().map(|announced| announced.payload.block.number.as_u64()).collect();
    assert_eq!(fetched, [1_001, 1_002, 1_003]);
    let head = world.chain.head();

    // What it writes to a file begins another chain where this one stands.
    let file = evm::StateFile::parse(&world.chain.state_file().expect("readable")).expect("well formed");
    assert_eq!((file.number, file.written_at), (1_003, Some(head.seal())));
    let other = World::begin(&folder.path().join("other"), file.begin(genesis()));
    let state = other.chain.state(At::Latest).expect("readable").expect("there");
    assert_eq!(other.chain.head().number, 1_003);
    assert_eq!(state.account(key.address()).expect("readable").nonce, 3);
    assert!(file.belongs_to(&other.chain).expect("readable") && file.belongs_to(&world.chain).expect("readable"));
    assert!(!file.belongs_to(&World::new().chain).expect("readable"));

    for without_tables in [false, true] {
        drop(world);
        if without_tables {
            std::fs::remove_dir_all(folder.path().join("chain/tables")).expect("removed");
        }
        world = World::begin(folder.path(), above());
        assert_eq!((world.chain.first(), world.chain.oldest_state(), world.chain.head()), (1_000, 1_000, head.clone()));
        world.chain.verify().expect("sound");
    }
}

#[test]
fn a_genesis_that_cannot_be_executed_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(Chain::open(folder.path(), None).expect_err("no genesis").to_string().contains("needs one"));
    let mut early = genesis();
    early.config.cancun_time = None;
    let mut optimism = genesis();
    optimism.config.extra_fields.insert("optimism".into(), serde_json::json!({}));
    let mut late = genesis();
    late.config.amsterdam_time = Some(0);
    for (genesis, key) in [(early, "cancunTime"), (optimism, "optimism"), (late, "amsterdamTime")] {
        let refused = Chain::open(folder.path(), Some(genesis)).expect_err(key).to_string();
        assert!(refused.contains(key), "{refused}");
    }
    Chain::open(folder.path(), Some(genesis())).expect("nothing was written before");
}

/// One step of a random sequence.
#[derive(Clone, Copy, Debug)]
enum Act {
    Transfer { value: u128 },
    Keep { number: u8, gas: u64 },
    Deploy { gas: u64, broken: bool },
    Legacy { value: u128 },
    Listed { number: u8 },
    Block,
}

/// About every second fails, runs out of gas or reverts.
fn act() -> impl Strategy<Value = (usize, Act)> {
    let act = prop_oneof![
        2 => (1..3 * ETHER).prop_map(|value| Act::Transfer { value }),
        2 => (0..4_u8).prop_map(|number| Act::Keep { number, gas: 100_000 }),
        2 => (1..4_u8, 21_100..46_000_u64).prop_map(|(number, gas)| Act::Keep { number, gas }),
        1 => (55_000..200_000_u64, any::<bool>()).prop_map(|(gas, broken)| Act::Deploy { gas, broken }),
        1 => (0..ETHER).prop_map(|value| Act::Legacy { value }),
        1 => (0..3_u8).prop_map(|number| Act::Listed { number }),
        2 => Just(Act::Block),
    ];
    (0..4_usize, act)
}

fn raw(world: &World, key: &PrivateKeySigner, keeper: Address, act: Act) -> Bytes {
    let nonce = world.nonce(key);
    let word = |number: u8| Bytes::copy_from_slice(B256::with_last_byte(number).as_slice());
    match act {
        Act::Transfer { value } => signed(key, transfer(nonce, keys()[1].address(), value)),
        Act::Keep { number, gas } => signed(key, call(nonce, keeper.into(), U256::ZERO, word(number), gas)),
        Act::Deploy { gas, broken } => {
            let code = if broken { vec![0xfe] } else { [&DEPLOYER[..], &KEEPER].concat() };
            signed(key, call(nonce, TxKind::Create, U256::ZERO, code.into(), gas))
        }
        Act::Legacy { value } => {
            let to = Address::repeat_byte(9).into();
            let (chain_id, gas_price, gas_limit) = (Some(CHAIN_ID), 2_000_000_000, 21_000);
            let value = U256::from(value);
            signed(key, TxLegacy { chain_id, nonce, gas_price, gas_limit, to, value, input: Bytes::new() })
        }
        Act::Listed { number } => {
            let access_list = vec![alloy_eips::eip2930::AccessListItem {
                address: keeper,
                storage_keys: vec![B256::with_last_byte(number)],
            }];
            let transaction = TxEip2930 {
                chain_id: CHAIN_ID,
                nonce,
                gas_price: 2_000_000_000,
                gas_limit: 100_000,
                to: keeper.into(),
                value: U256::ZERO,
                access_list: access_list.into(),
                input: word(number),
            };
            signed(key, transaction)
        }
        Act::Block => Bytes::new(),
    }
}

/// A failed transaction leaves nothing but its charge: the sender's nonce and gas, the tip, and what others did.
fn charge_only(world: &World, payload: &Payload) {
    let block =
        world.chain.block(At::Hash(B256::from(*payload.block.hash.as_bytes()))).expect("readable").expect("there");
    let (before, after) = (block.header.number - 1, block.header.number);
    let account = |number, address| {
        let state = world.chain.state(At::Number(number)).expect("readable").expect("kept");
        state.account(address).expect("readable")
    };
    let base_fee = block.header.base_fee_per_gas.expect("London");
    for key in keys() {
        let sent = block.transactions.iter().filter(|executed| executed.sender == key.address());
        let (mut cost, mut count) = (U256::ZERO, 0);
        for executed in sent {
            let price = executed.transaction.effective_gas_price(Some(base_fee));
            cost += U256::from(price) * U256::from(executed.gas_used);
            if executed.receipt.status() {
                cost += executed.transaction.value();
            } else {
                assert!(executed.receipt.logs().is_empty(), "a failed transaction has no logs");
            }
            count += 1;
        }
        let received: U256 = block
            .transactions
            .iter()
            .filter(|executed| executed.receipt.status() && executed.transaction.to() == Some(key.address()))
            .map(|executed| executed.transaction.value())
            .sum();
        let (old, new) = (account(before, key.address()), account(after, key.address()));
        assert_eq!(new.balance, old.balance + received - cost);
        assert_eq!(new.nonce, old.nonce + count);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_is_built_is_what_is_executed_again(acts in proptest::collection::vec(act(), 10..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (mut maker, checker, keys) = (World::new(), World::new(), keys());
            let deployment = call(0, TxKind::Create, U256::ZERO, [&DEPLOYER[..], &KEEPER].concat().into(), 200_000);
            maker.pool.submit(signed(&keys[0], deployment)).await.expect("accepted");
            let keeper = keys[0].address().create(0);
            let mut payloads = vec![maker.block().await];
            for (key, act) in acts.into_iter().chain([(0, Act::Block)]) {
                if matches!(act, Act::Block) {
                    let payload = maker.block().await;
                    charge_only(&maker, &payload);
                    payloads.push(payload);
                } else {
                    // Who cannot pay any more is refused, and that is right.
                    let _ = maker.pool.submit(raw(&maker, &keys[key], keeper, act)).await;
                }
            }
            for payload in &payloads {
                checker.adopt(payload).await;
            }
            assert_eq!(maker.chain.head().seal(), checker.chain.head().seal());
            let (made, checked) = (maker.chain.verify().expect("sound"), checker.chain.verify().expect("sound"));
            assert_eq!(made, checked);
        });
    }
}

/// Every claim of a header is checked.
#[tokio::test]
async fn a_forged_block_is_refused() {
    use alloy_consensus::Header;
    use alloy_rlp::{Decodable, Encodable};
    let (mut maker, checker) = (World::new(), World::new());
    maker.pool.submit(signed(&keys()[0], transfer(0, Address::repeat_byte(1), 7))).await.expect("accepted");
    let payload = maker.seal().await;
    let forgeries: [fn(&mut Header); 12] = [
        |header| header.state_root = B256::repeat_byte(1),
        |header| header.receipts_root = B256::repeat_byte(1),
        |header| header.transactions_root = B256::repeat_byte(1),
        |header| header.gas_used += 1,
        |header| header.base_fee_per_gas = Some(1),
        |header| header.logs_bloom.0[0] = 1,
        |header| header.number += 1,
        |header| header.blob_gas_used = Some(1),
        |header| header.excess_blob_gas = Some(1 << 20),
        |header| header.requests_hash = None,
        |header| header.timestamp = 1_700_000_000,
        |header| header.difficulty = U256::from(1),
    ];
    for (index, forge) in forgeries.into_iter().enumerate() {
        let mut block = evm::block::RawBlock::decode(&mut &payload.body[..]).expect("a block");
        forge(&mut block.header);
        let mut forged = payload.clone();
        forged.block.hash = types::BlockHash::new(block.header.hash_slow().0);
        forged.block.timestamp = Timestamp::from_secs(block.header.timestamp);
        let mut body = Vec::new();
        block.encode(&mut body);
        forged.body = body.into();
        assert_eq!(checker.backend.import(&forged).await, Ok(Verdict::Invalid), "forgery {index}");
    }
    let mut renamed = payload.clone();
    renamed.block.hash = types::BlockHash::new([9; 32]);
    assert_eq!(checker.backend.import(&renamed).await, Ok(Verdict::Invalid));
    let mut cut = payload.clone();
    cut.body = payload.body.slice(..payload.body.len() - 1);
    assert_eq!(checker.backend.import(&cut).await, Ok(Verdict::Invalid));
    assert_eq!(checker.backend.import(&payload).await, Ok(Verdict::Valid));
}

/// A longer branch takes the chain over: what was on the old one is undone, and its transactions wait again.
#[tokio::test]
async fn the_chain_branches_off_where_it_is_told_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut ours, mut theirs) = (World::open(folder.path()), World::new());
    let (keys, to) = (keys(), Address::repeat_byte(0x42));
    let deployment = call(0, TxKind::Create, U256::ZERO, [&DEPLOYER[..], &KEEPER].concat().into(), 200_000);
    let deployment = signed(&keys[0], deployment);
    let keeper = keys[0].address().create(0);
    for world in [&ours, &theirs] {
        world.pool.submit(deployment.clone()).await.expect("accepted");
    }
    let first = ours.block().await;
    theirs.adopt(&first).await;

    let word = |number: u8| Bytes::copy_from_slice(B256::with_last_byte(number).as_slice());
    let keep = |nonce, number| signed(&keys[0], call(nonce, keeper.into(), U256::ZERO, word(number), 100_000));
    let lost = ours.pool.submit(signed(&keys[1], transfer(0, to, 9))).await.expect("accepted");
    ours.pool.submit(keep(1, 5)).await.expect("accepted");
    ours.block().await;
    ours.block().await;
    theirs.pool.submit(keep(1, 6)).await.expect("accepted");
    let branch = [theirs.block().await, theirs.block().await, theirs.block().await];

    // Brought in order, none of it is the chain's before it is told so.
    let before = ours.chain.head().seal();
    for payload in &branch {
        assert_eq!(ours.backend.import(payload).await, Ok(Verdict::Valid));
    }
    assert_eq!(ours.chain.head().seal(), before);
    ours.backend.set_heads(Heads::at(branch[2].block)).await.expect("set");
    assert_eq!(ours.chain.head().seal(), theirs.chain.head().seal());
    assert_eq!(ours.chain.verify().expect("sound"), theirs.chain.verify().expect("sound"));
    assert_eq!(ours.chain.header(At::Hash(before)).expect("readable"), None, "what is not the chain's is not shown");
    let slot = |world: &World, number: u64| {
        let state = world.chain.state(At::Latest).expect("readable").expect("there");
        state.storage(keeper, U256::from(number)).expect("readable")
    };
    assert_eq!((slot(&ours, 5), slot(&ours, 6)), (U256::ZERO, U256::from(6)));
    assert_eq!(ours.balance(to), U256::ZERO);
    assert!(ours.chain.transaction(lost).expect("readable").is_none());
    assert!(ours.pool.transaction(lost).is_some(), "what was in a block waits again");
    ours.block().await;
    assert_eq!(ours.balance(to), U256::from(9));

    // Back to an earlier block, and on from there.
    let earlier = evm::block::block_ref(&ours.chain.header(At::Number(2)).expect("readable").expect("there"));
    ours.backend.set_heads(Heads::at(earlier)).await.expect("set");
    assert_eq!((ours.chain.head().number, ours.balance(to)), (2, U256::ZERO));
    ours.block().await;
    assert_eq!(ours.balance(to), U256::from(9));
    let (head, verified) = (ours.chain.head().seal(), ours.chain.verify().expect("sound"));
    drop(ours);
    for without_tables in [false, true] {
        if without_tables {
            std::fs::remove_dir_all(folder.path().join("chain/tables")).expect("removed");
        }
        let again = World::open(folder.path());
        assert_eq!((again.chain.head().seal(), again.chain.verify().expect("sound")), (head, verified));
    }
}

/// Safe and finalized blocks are known again after a restart.
#[tokio::test]
async fn heads_survive() {
    let folder = tempfile::tempdir().expect("a folder");
    let heads = {
        let mut world = World::open(folder.path());
        let blocks = [world.block().await.block, world.block().await.block, world.block().await.block];
        let heads = Heads::new(blocks[2], blocks[1], blocks[0]).expect("in order");
        world.backend.set_heads(heads).await.expect("set");
        heads
    };
    assert_eq!(World::open(folder.path()).backend.heads().await, Ok(heads));
}

/// What a developer changes by hand holds, is built upon, and is undone by going back.
#[tokio::test]
async fn edits_and_snapshots() {
    use evm::Edit;
    let folder = tempfile::tempdir().expect("a folder");
    let (key, rich, contract) = (&keys()[0], Address::repeat_byte(0xaa), Address::repeat_byte(0xcc));
    let mut world = World::open(folder.path());
    world.block().await;
    let early = world.backend.snapshot().await.expect("taken");
    let edits = vec![
        Edit::Balance { address: rich, balance: U256::from(77) },
        Edit::Code { address: contract, code: KEEPER.into() },
        Edit::Slot { address: contract, slot: U256::from(3), value: U256::from(9) },
        Edit::Nonce { address: key.address(), nonce: 5 },
    ];
    world.backend.edit(edits).await.expect("made");
    let late = world.backend.snapshot().await.expect("taken");
    world.backend.edit(vec![evm::Edit::Balance { address: rich, balance: U256::from(78) }]).await.expect("made");
    assert_eq!(world.balance(rich), U256::from(78));
    world.chain.verify().expect("sound");
    let word = Bytes::copy_from_slice(B256::with_last_byte(4).as_slice());
    let hash =
        world.pool.submit(signed(key, call(5, contract.into(), U256::ZERO, word, 100_000))).await.expect("accepted");
    world.block().await;
    assert!(world.chain.transaction(hash).expect("readable").expect("there").transaction().receipt.status());
    let slot = |world: &World, number: u64| {
        let state = world.chain.state(At::Latest).expect("readable").expect("there");
        state.storage(contract, U256::from(number)).expect("readable")
    };
    assert_eq!((slot(&world, 3), slot(&world, 4)), (U256::from(9), U256::from(4)));
    let verified = world.chain.verify().expect("sound");
    drop(world);
    for without_tables in [false, true] {
        if without_tables {
            std::fs::remove_dir_all(folder.path().join("chain/tables")).expect("removed");
        }
        assert_eq!(World::open(folder.path()).chain.verify().expect("sound"), verified);
    }

    let mut world = World::open(folder.path());
    assert!(world.backend.revert(late).await.expect("reverted"));
    assert_eq!((world.chain.head().number, world.balance(rich)), (1, U256::from(77)));
    assert_eq!((slot(&world, 3), slot(&world, 4)), (U256::from(9), U256::ZERO));
    world.chain.verify().expect("sound");
    assert!(world.backend.revert(early).await.expect("reverted"));
    assert_eq!((world.balance(rich), slot(&world, 3), world.nonce(key)), (U256::ZERO, U256::ZERO, 0));
    world.chain.verify().expect("sound");
    assert!(!world.backend.revert(late).await.expect("no fault"), "that moment is no part of the past any more");
    world.block().await;
    let verified = world.chain.verify().expect("sound");
    drop(world);
    std::fs::remove_dir_all(folder.path().join("chain/tables")).expect("removed");
    assert_eq!(World::open(folder.path()).chain.verify().expect("sound"), verified);
}

/// One block on demand: performs what the heart orders, until it orders nothing more.
async fn demand(heart: &mut Sequencer, backend: &EvmBackend, date: u64) {
    let now = Timestamp::from_secs(1_800_000_000);
    let mut events = vec![Event::Demand { date: Timestamp::from_secs(date) }];
    while let Some(event) = events.pop() {
        let mut effects = Effects::new();
        heart.step(now, event, &mut effects);
        for effect in effects {
            let answer = match effect {
                Effect::Open { build, attributes } => match backend.open(build, attributes).await {
                    Ok(()) => Event::Opened { build },
                    Err(error) => Event::OpenFailed { build, failure: error.failure() },
                },
                Effect::Seal { build } => match backend.seal(build).await.expect("seals") {
                    Sealed::Payload(payload) => Event::Sealed { build, payload },
                    Sealed::Nothing => Event::NothingToSeal { build },
                },
                Effect::Persist(record) => {
                    backend.persist(&record).await.expect("keeps");
                    continue;
                }
                Effect::Import(payload) => {
                    let verdict = backend.import(&payload).await.expect("judges");
                    Event::Imported { block: payload.block.hash, verdict }
                }
                Effect::SetHeads(heads) => {
                    backend.set_heads(heads).await.expect("sets");
                    Event::HeadsSet { block: heads.unsafe_head().hash }
                }
                Effect::AskHeads { query } => Event::HeadsTold { query, heads: backend.heads().await.expect("tells") },
                Effect::Announce(_) | Effect::Publish(_) | Effect::Cancel { .. } => continue,
                other => panic!("{other:?}"),
            };
            events.push(answer);
        }
    }
}

/// The heart is not told that a chain goes back: the next demand is answered where the chain then stands.
#[tokio::test]
async fn a_chain_that_goes_back_builds_on_from_there() {
    let world = World::new();
    let backend = &world.backend;
    let config = sequencer::Config {
        timetable: sequencer::Timetable::gapless(Timestamp::default(), Millis::new(1_000)).expect("makes sense"),
        agreement: sequencer::AgreementConfig::OnDemand,
        active: true,
        backoff: sequencer::Backoff::default(),
        seal_lead_adapts: false,
        origins: None,
    };
    let mut heart = Sequencer::new(config, backend.heads().await.expect("tells"));
    demand(&mut heart, backend, 1_700_000_010).await;
    let kept = world.chain.head();
    let snapshot = backend.snapshot().await.expect("remembers");
    for date in [1_700_000_020, 1_700_000_030] {
        demand(&mut heart, backend, date).await;
    }
    assert_eq!((world.chain.head().number, heart.served()), (3, 3));
    assert!(backend.revert(snapshot).await.expect("goes back"));
    demand(&mut heart, backend, 1_700_000_015).await;
    let head = world.chain.head();
    assert_eq!((head.number, head.parent_hash, head.timestamp), (2, kept.seal(), 1_700_000_015));
    assert_eq!(heart.served(), 4);
}
