//! What the pool promises to senders, to the builder and across restarts, without a chain.

use std::collections::BTreeSet;

use mempool::Limits;
use starknet_api::block::GasPrice;
use starknet_api::data_availability::DataAvailabilityMode;
use starknet_api::executable_transaction::{InvokeTransaction, L1HandlerTransaction};
use starknet_api::execution_resources::GasAmount;
use starknet_api::transaction::fields::{AllResourceBounds, Fee, ResourceBounds, Tip};
use starknet_api::transaction::{InvokeTransaction as Invoke, InvokeTransactionV3, L1HandlerTransaction as Message};
use starknet_types_core::felt::Felt;
use tempfile::TempDir;

use super::*;

fn chain_id() -> ChainId {
    ChainId::Other("SN_TEST".to_owned())
}

fn invoke(sender: u64, nonce: u64, tip: u64) -> ReadyTransaction {
    let bound = ResourceBounds { max_amount: GasAmount(1_000), max_price_per_unit: GasPrice(100 + u128::from(tip)) };
    let tx = InvokeTransactionV3 {
        resource_bounds: ValidResourceBounds::AllResources(AllResourceBounds {
            l1_gas: bound,
            l2_gas: bound,
            l1_data_gas: bound,
        }),
        tip: Tip(tip),
        signature: Default::default(),
        nonce: Nonce(nonce.into()),
        sender_address: address(sender),
        calldata: Default::default(),
        nonce_data_availability_mode: DataAvailabilityMode::L1,
        fee_data_availability_mode: DataAvailabilityMode::L1,
        paymaster_data: Default::default(),
        account_deployment_data: Default::default(),
        proof_facts: Default::default(),
    };
    let invoke = InvokeTransaction::create(Invoke::V3(tx), &chain_id()).expect("it can be hashed");
    ReadyTransaction { transaction: Executable::Account(invoke.into()), class: None }
}

fn message(nonce: u64) -> ReadyTransaction {
    let tx = Message { nonce: Nonce(nonce.into()), contract_address: address(9), ..Message::default() };
    let handler = L1HandlerTransaction::create(tx, &chain_id(), Fee(7)).expect("it can be hashed");
    ReadyTransaction { transaction: Executable::L1Handler(handler), class: None }
}

fn address(number: u64) -> ContractAddress {
    ContractAddress::try_from(Felt::from(number)).expect("a small number is an address")
}

/// The log is compacted when it is larger than this.
const COMPACT_BYTES: u64 = 64 << 10;

struct Setup {
    folder: TempDir,
    config: PoolConfig,
    pool: Option<Pool>,
}

impl Setup {
    fn new(limits: Limits) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut setup = Self { folder, config: PoolConfig { limits, order: Order::Tip }, pool: None };
        setup.restart(&[], 0);
        setup
    }

    fn pool(&self) -> &Pool {
        self.pool.as_ref().expect("it was opened")
    }

    /// Opens the pool again beside a chain that contains `included` and expects `nonce` of every account.
    fn restart(&mut self, included: &[TransactionHash], nonce: u64) {
        self.pool = None;
        let pool = Pool::open_empty(self.folder.path(), self.config, COMPACT_BYTES).expect("its folder is there");
        let included: BTreeSet<TransactionHash> = included.iter().copied().collect();
        pool.recover(&chain_id(), |hash| Ok(included.contains(&hash)), |_| Ok(Nonce(nonce.into())))
            .expect("it is sound");
        self.pool = Some(pool);
    }

    fn insert(&self, ready: ReadyTransaction) -> TransactionHash {
        let hash = ready.hash();
        let inserted = self.pool().insert(ready, Nonce::default()).unwrap_or_else(|refusal| panic!("{refusal}"));
        futures::executor::block_on(inserted.durable()).expect("the disk has room");
        hash
    }

    fn take(&self) -> Vec<TransactionHash> {
        self.pool().take(usize::MAX).iter().map(|ready| ready.hash()).collect()
    }

    /// Hashes in the log that no tombstone names, in its order.
    fn on_disk(&self) -> Vec<TransactionHash> {
        // The log answers in order: when this tombstone of nobody is durable, so are those before it.
        self.pool().0.log.append(record::GONE, &[]).wait().expect("the disk has room");
        self.pool().stored(&chain_id()).expect("it is sound").iter().map(|(ready, _)| ready.hash()).collect()
    }
}

#[test]
fn what_was_accepted_is_there_after_a_restart_in_the_order_of_arrival() {
    let mut setup = Setup::new(Limits::default());
    let sent = [invoke(1, 0, 1), invoke(2, 1, 1), invoke(1, 1, 1), invoke(2, 0, 1)].map(|ready| setup.insert(ready));
    setup.restart(&[], 0);
    assert_eq!(setup.take(), [sent[0], sent[2], sent[3], sent[1]], "each account in the order of its nonces");
    setup.restart(&[], 0);
    assert_eq!(setup.on_disk(), sent, "taking is not including");
}

#[test]
fn what_the_chain_contains_is_not_offered_again_and_leaves_the_disk() {
    let mut setup = Setup::new(Limits::default());
    let [first, second] = [invoke(1, 0, 1), invoke(1, 1, 1)].map(|ready| setup.insert(ready));
    setup.take();
    // The process is killed after the block was written and before the pool heard of it.
    setup.restart(&[first], 1);
    assert_eq!(setup.on_disk(), [second]);
    assert_eq!(setup.take(), [second]);
}

#[test]
fn one_whose_nonce_was_used_by_another_is_dropped_on_restart() {
    let mut setup = Setup::new(Limits::default());
    setup.insert(invoke(1, 0, 1));
    let later = setup.insert(invoke(1, 1, 1));
    setup.restart(&[], 1);
    assert_eq!(setup.on_disk(), [later]);
}

#[test]
fn included_replaced_evicted_and_rejected_ones_leave_the_disk() {
    let setup = Setup::new(Limits { count: 3, ..Limits::default() });
    let included = setup.insert(invoke(1, 0, 50));
    let replaced = setup.insert(invoke(2, 0, 10));
    let replacement = setup.insert(invoke(2, 0, 40));
    let evicted = setup.insert(invoke(3, 0, 1));
    let rejected = setup.insert(invoke(4, 0, 30));
    assert_eq!(setup.on_disk(), [included, replacement, rejected]);
    assert_eq!(setup.take(), [included, replacement, rejected]);
    setup.pool().included(BlockNumber(1), &[included]);
    setup.pool().rejected(rejected, "the account does not want it");
    let last = setup.insert(invoke(5, 0, 60));
    assert_eq!(setup.on_disk(), [replacement, last]);
    for (hash, reason) in [
        (included, None),
        (replaced, Some("replaced by a transaction with the same nonce")),
        (evicted, Some("evicted from a full pool")),
        (rejected, Some("the account does not want it")),
    ] {
        assert_eq!(setup.pool().status(hash), None);
        assert_eq!(setup.pool().rejection(hash).as_deref(), reason);
    }
}

#[test]
fn statuses_follow_a_transaction() {
    let setup = Setup::new(Limits::default());
    let mut notices = setup.pool().notices();
    let hash = setup.insert(invoke(1, 0, 1));
    assert_eq!(setup.pool().status(hash), Some(PoolStatus::Received));
    let taken = setup.pool().take(10);
    assert_eq!(setup.pool().status(hash), Some(PoolStatus::Candidate));
    setup.pool().returned(taken);
    assert_eq!(setup.pool().status(hash), Some(PoolStatus::Received));
    setup.take();
    setup.pool().executed(hash);
    setup.pool().included(BlockNumber(1), &[hash]);
    assert_eq!(setup.pool().status(hash), None);
    let told: Vec<PoolNotice> = std::iter::from_fn(|| notices.try_recv().ok()).collect();
    let [PoolNotice::Received(_), PoolNotice::Candidate(_), PoolNotice::Candidate(_)] = told.as_slice() else {
        panic!("{told:?}");
    };
}

#[test]
fn a_rejection_does_not_take_those_behind_it_along() {
    let setup = Setup::new(Limits::default());
    let sent = [0, 1, 2].map(|nonce| setup.insert(invoke(1, nonce, 1)));
    assert_eq!(setup.take(), sent);
    setup.pool().rejected(sent[0], "its signature is wrong");
    setup.pool().rejected(sent[1], "nonce 0x1 where 0x0 is expected");
    setup.pool().rejected(sent[2], "nonce 0x2 where 0x0 is expected");
    assert_eq!(setup.pool().rejection(sent[1]), None);
    assert_eq!(setup.take(), [], "they wait for another nonce 0");
    let again = setup.insert(invoke(1, 0, 2));
    assert_eq!(setup.take(), [again, sent[1], sent[2]]);
}

#[test]
fn fifty_rising_nonces_in_any_order_come_out_in_order() {
    let setup = Setup::new(Limits::default());
    let mut nonces: Vec<u64> = (0..50).collect();
    nonces.sort_by_key(|nonce| (nonce * 37 + 11) % 50);
    for nonce in nonces {
        setup.insert(invoke(1, nonce, 1));
    }
    let taken = setup.pool().take(usize::MAX);
    let taken: Vec<Nonce> = taken.iter().map(|ready| ready.transaction.nonce()).collect();
    assert_eq!(taken, (0u64..50).map(|nonce| Nonce(nonce.into())).collect::<Vec<_>>());
}

#[test]
fn one_that_was_parked_by_a_lagging_nonce_is_released_by_the_next_look() {
    let setup = Setup::new(Limits::default());
    let ready = invoke(1, 3, 1);
    let hash = ready.hash();
    assert!(setup.pool().insert(ready, Nonce::default()).expect("it has room").parked);
    assert_eq!(setup.take(), []);
    setup.pool().observe(address(1), Nonce(3.into()));
    assert_eq!(setup.take(), [hash]);
}

#[test]
fn messages_from_l1_go_first_follow_no_nonce_and_survive() {
    let mut setup = Setup::new(Limits::default());
    let transaction = setup.insert(invoke(1, 0, 9));
    let messages = [message(7), message(3)].map(|ready| setup.insert(ready));
    assert!(matches!(setup.pool().insert(message(7), Nonce::default()), Err(Refusal::Duplicate(_))));
    setup.restart(&[], 0);
    assert_eq!(setup.take(), [messages[0], messages[1], transaction]);
    setup.pool().included(BlockNumber(1), &[messages[0]]);
    setup.restart(&[], 0);
    assert_eq!(setup.take(), [messages[1], transaction]);
}

#[test]
fn the_log_stays_small_while_much_goes_through() {
    let setup = Setup::new(Limits::default());
    let waiting = setup.insert(invoke(1, 0, 0));
    let mut largest = 0;
    for round in 0..20_u64 {
        let hashes: Vec<TransactionHash> = (0..100)
            .map(|n| {
                let ready = invoke(2 + n, round, 1);
                let hash = ready.hash();
                drop(setup.pool().insert(ready, Nonce(round.into())).expect("it has room"));
                hash
            })
            .collect();
        setup.pool().take(100);
        setup.pool().included(BlockNumber(round), &hashes);
        largest = largest.max(setup.pool().load().disk_bytes);
    }
    let last = setup.insert(invoke(1, 1, 0));
    assert_eq!(setup.on_disk(), [waiting, last]);
    assert!(largest < 3 * COMPACT_BYTES, "{largest} bytes");
}

#[test]
fn a_pool_of_another_chain_is_refused() {
    let setup = Setup::new(Limits::default());
    setup.insert(invoke(1, 0, 1));
    let folder = setup.folder;
    drop(setup.pool);
    let pool = Pool::open_empty(folder.path(), setup.config, COMPACT_BYTES).expect("its folder is there");
    let other = ChainId::Other("SN_OTHER".to_owned());
    let error = pool.recover(&other, |_| Ok(false), |_| Ok(Nonce::default())).expect_err("the hashes differ");
    assert!(matches!(error, PoolError::Record(_)), "{error}");
}

#[test]
fn waiting_is_counted_across_restarts() {
    let ttl = Duration::from_secs(60);
    let mut setup = Setup::new(Limits { ttl: Some(ttl), ..Limits::default() });
    let now = setup.pool().now();
    let (old, young, untimed) = (invoke(1, 0, 1), invoke(2, 0, 1), invoke(3, 0, 1));
    let hashes = [&old, &young, &untimed].map(|ready| ready.hash());
    let record = |ready: &ReadyTransaction, age: Duration| record::accepted(ready, now.saturating_sub(age));
    for bytes in [record(&old, ttl * 2), record(&young, ttl / 2), without_time(&untimed)] {
        setup.pool().0.log.append(record::ACCEPTED, &bytes).wait().expect("the disk has room");
    }
    setup.restart(&[], 0);
    assert_eq!(setup.take(), [hashes[1], hashes[2]], "what has no time is as old as the pool");
    assert!(setup.pool().rejection(hashes[0]).is_some(), "who asks for the other learns why");
    assert_eq!(setup.on_disk(), [hashes[1], hashes[2]]);
    // Compaction at the restart has kept the time.
    let stored = setup.pool().stored(&chain_id()).expect("it is sound");
    assert!(stored.iter().any(|(ready, at)| ready.hash() == hashes[1] && at.is_some_and(|at| at < now - ttl / 3)));
}

/// A record as it was before times were kept.
fn without_time(ready: &ReadyTransaction) -> Vec<u8> {
    let record = record::accepted(ready, Duration::ZERO);
    [&[1], &record[2..]].concat()
}
