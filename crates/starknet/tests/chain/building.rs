//! How blocks are built: one bad transaction, full blocks, cancelled blocks, the open block on the way.

use std::time::{Duration, Instant};

use node::{Backend, Sealed, conformance};
use starknet::At;
use starknet::chain::Notice;
use starknet::config::BouncerProfile;
use starknet::events::{EventCursor, EventFilter};
use starknet_api::block::BlockNumber;
use starknet_api::fee_token_defaults::STRK_FEE_CONTRACT_ADDRESS;
use starknet_types_core::felt::Felt;
use types::{Heads, Verdict};

use crate::kit::{World, address, block_on, call, config, transfer};

#[test]
fn the_chain_is_a_sound_backend() {
    // Fresh chains are made one after the other; their folders must outlive the checks.
    let folders = parking_lot::Mutex::new(Vec::new());
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        let world = World::open(folder.path(), config(1));
        folders.lock().push(folder);
        async move { std::sync::Arc::new(world.backend) as conformance::Subject }
    };
    block_on(conformance::check_all(make));
}

#[test]
fn a_bad_transaction_leaves_its_neighbours_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(folder.path(), config(4));
    let accounts = world.chain.accounts().to_vec();
    let to = address(Felt::from(0x77));
    let good: Vec<_> = (0..3).map(|i| transfer(&world.chain, &accounts[i], 0, to, 10 + i as u128)).collect();
    let wrong_nonce = transfer(&world.chain, &accounts[3], 7, to, 1);
    let (bad, hashes) = (wrong_nonce.tx_hash(), good.iter().map(|tx| tx.tx_hash()).collect::<Vec<_>>());
    let mut all = good;
    all.insert(1, wrong_nonce);
    world.queue.push(all);
    let block = world.make_block();
    assert_eq!(block.transactions.iter().map(|tx| tx.hash).collect::<Vec<_>>(), hashes);
    let log = world.queue.log.lock();
    assert_eq!(log.rejected.len(), 1);
    assert_eq!(log.rejected[0].0, bad);
    assert!(log.rejected[0].1.to_lowercase().contains("nonce"), "{}", log.rejected[0].1);
    assert_eq!(log.included.iter().map(|(_, hash)| *hash).collect::<Vec<_>>(), hashes);
    drop(log);
    world.chain.verify().unwrap();
}

#[test]
fn a_reverted_transaction_leaves_nothing_but_its_fee_and_nonce() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(folder.path(), config(2));
    let accounts = world.chain.accounts().to_vec();
    let before = world.strk(accounts[0].address);
    // More than there is.
    world.queue.push([transfer(&world.chain, &accounts[0], 0, accounts[1].address, u128::MAX)]);
    let block = world.make_block();
    let outcome = &block.transactions[0].outcome;
    assert!(outcome.revert_reason.is_some());
    assert_eq!(world.strk(accounts[0].address), before - outcome.fee.0);
    assert_eq!(world.nonce(&accounts[0]), 1);
    let touched: Vec<_> = block.state_diff.storage.keys().copied().collect();
    assert!(touched.contains(&STRK_FEE_CONTRACT_ADDRESS));
    assert_eq!(block.state_diff.storage[&*STRK_FEE_CONTRACT_ADDRESS].len(), 2, "payer and sequencer");
}

#[test]
fn a_full_block_closes_and_the_rest_goes_into_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(1);
    config.bouncer = BouncerProfile::Mainnet;
    let mut world = World::open(folder.path(), config);
    let account = world.chain.accounts()[0].clone();
    // More calls than 5000 events allow: each multicall emits 40 transfers.
    let count = 140u64;
    let calls: Vec<_> = (0..count).map(|nonce| many_transfers(&world, &account, nonce, 40)).collect();
    let hashes: Vec<_> = calls.iter().map(|tx| tx.tx_hash()).collect();
    world.queue.push(calls);
    let mut included = Vec::new();
    while included.len() < count as usize {
        let build = world.open_block();
        let until = Instant::now() + Duration::from_secs(60);
        let opened = Instant::now();
        let may_close = |world: &World| opened.elapsed().as_secs() > 2 && !world.chain.pre_confirmed().is_empty();
        while !world.queue.is_drained() && !may_close(&world) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        let started = Instant::now();
        let payload = world.seal(build);
        assert!(started.elapsed() < Duration::from_secs(10), "closing waited for the queue");
        let block = world.decide(&payload);
        assert!(block.header.event_count <= 5_000, "{} events", block.header.event_count);
        assert!(!block.transactions.is_empty(), "a block that could have held something is empty");
        included.extend(block.transactions.iter().map(|tx| tx.hash));
    }
    assert_eq!(included, hashes, "all of them, in order, none twice");
    assert!(world.chain.head().number > BlockNumber(2), "one block took more than fits");
    assert!(world.queue.log.lock().rejected.is_empty());
}

fn many_transfers(
    world: &World,
    account: &starknet::genesis::PredeployedAccount,
    nonce: u64,
    count: usize,
) -> starknet_api::executable_transaction::Transaction {
    let call_of = |i: usize| {
        let selector = starknet_api::abi::abi_utils::selector_from_name("transfer").0;
        [*STRK_FEE_CONTRACT_ADDRESS.0.key(), selector, Felt::THREE, Felt::from(0x900 + i % 3), Felt::ONE, Felt::ZERO]
    };
    crate::kit::multicall(&world.chain, account, nonce, &(0..count).map(call_of).collect::<Vec<_>>())
}

#[test]
fn a_cancelled_block_gives_its_transactions_back_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(folder.path(), config(1));
    let account = world.chain.accounts()[0].clone();
    let to = address(Felt::from(5));
    let transfers: Vec<_> = (0..5).map(|nonce| transfer(&world.chain, &account, nonce, to, 1)).collect();
    let hashes: Vec<_> = transfers.iter().map(|tx| tx.tx_hash()).collect();
    world.queue.push(transfers);
    // Once before sealing, once after.
    let build = world.open_block();
    world.queue.wait_until_drained();
    assert_eq!(world.chain.pre_confirmed().len(), 5);
    block_on(world.backend.cancel(build));
    assert_eq!(world.queue.waiting(), 5);
    assert!(world.chain.pre_confirmed().is_empty());
    let build = world.open_block();
    let until = Instant::now() + Duration::from_secs(60);
    while world.queue.waiting() > 0 || world.chain.pre_confirmed().len() < 5 {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(1));
    }
    world.seal(build);
    block_on(world.backend.cancel(build));
    assert_eq!(world.queue.waiting(), 5);
    *world.queue.log.lock() = Default::default();
    let block = world.make_block();
    assert_eq!(block.transactions.iter().map(|tx| tx.hash).collect::<Vec<_>>(), hashes);
}

#[test]
fn the_open_block_shows_each_transaction_as_it_executes() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(folder.path(), config(1));
    let account = world.chain.accounts()[0].clone();
    let to = address(Felt::from(0x44));
    let mut notices = world.chain.notices();
    let build = world.open_block();
    for nonce in 0..3 {
        assert_eq!(world.nonce(&account), nonce, "the nonce after pre-confirmed transactions");
        world.queue.push([transfer(&world.chain, &account, nonce, to, 5)]);
        world.queue.wait_until_drained();
        let Ok(Notice::PreConfirmed { index, transaction, .. }) = notices.try_recv() else { panic!("no notice") };
        assert_eq!(index, nonce);
        let open = world.chain.pre_confirmed();
        assert_eq!(open.len() as u64, nonce + 1);
        assert_eq!(open.find(transaction.hash).unwrap().0 as u64, nonce);
        assert!(world.chain.transaction(transaction.hash).unwrap().unwrap().header.is_none());
        let earlier = world.chain.state_before(&open, nonce as usize);
        assert_eq!(earlier.nonce(account.address).unwrap().0, Felt::from(nonce));
    }
    let open = world.chain.pre_confirmed();
    let mut shown = open.state_diff().unwrap();
    let (events, next) = open.events(&EventFilter::default(), 0, 1000);
    assert_eq!(next, None);
    let payload = world.seal(build);
    let block = world.decide(&payload);
    // The alias contract is written when the block closes; all else was shown before.
    shown.storage.extend(
        block.state_diff.storage.iter().filter(|(at, _)| **at == address(Felt::TWO)).map(|(a, s)| (*a, s.clone())),
    );
    assert_eq!(shown, *block.state_diff);
    assert_eq!(events.len() as u64, block.header.event_count);
}

#[test]
fn events_are_found_by_emitter_key_and_page() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(folder.path(), config(2));
    let accounts = world.chain.accounts().to_vec();
    for round in 0..3u64 {
        let to = address(Felt::from(0x100 + round));
        world.queue.push(accounts.iter().map(|from| transfer(&world.chain, from, round, to, 1)));
        world.make_block();
        world.make_block();
    }
    let start = EventCursor { block: BlockNumber(0), event: 0 };
    let last = BlockNumber(u64::MAX);
    let all = world.chain.events(&EventFilter::default(), start, last, 10_000).unwrap();
    let total: u64 = (0..=world.chain.head().number.0)
        .map(|n| world.chain.header(At::Number(BlockNumber(n))).unwrap().unwrap().event_count)
        .sum();
    assert_eq!(all.events.len() as u64, total);
    assert_eq!(all.next, None);
    // Every filter that an event suggests finds it, and what is found is what a plain search finds.
    let filters = all.events.iter().map(|placed| EventFilter {
        addresses: vec![placed.event.from_address],
        keys: placed.event.content.keys.iter().map(|key| vec![key.0]).collect(),
    });
    for filter in filters.chain([EventFilter { addresses: vec![address(Felt::from(0xdead))], keys: vec![] }]) {
        let wanted: Vec<_> = all.events.iter().filter(|placed| filter.matches(&placed.event)).cloned().collect();
        let mut paged = Vec::new();
        let mut cursor = Some(start);
        while let Some(from) = cursor {
            let page = world.chain.events(&filter, from, last, 1).unwrap();
            assert!(page.events.len() <= 1);
            paged.extend(page.events);
            cursor = page.next;
        }
        assert_eq!(paged, wanted);
    }
}

#[test]
fn an_empty_build_yields_no_block_when_empty_blocks_are_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(folder.path(), config(1));
    let quiet = starknet::backend::StarknetBackend::start(world.chain.clone(), world.queue.clone(), false).unwrap();
    world.backend = quiet;
    let build = world.open_block();
    assert_eq!(block_on(world.backend.seal(build)), Ok(Sealed::Nothing));
    let account = world.chain.accounts()[0].clone();
    world.queue.push([transfer(&world.chain, &account, 0, account.address, 1)]);
    assert_eq!(world.make_block().header.number, BlockNumber(1));
}

#[test]
fn another_node_with_the_same_key_accepts_the_blocks_and_refuses_forgeries() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut maker = World::open(one.path(), config(2));
    let follower = World::open(two.path(), config(2));
    let accounts = maker.chain.accounts().to_vec();
    for round in 0..12u64 {
        let to = accounts[1].address;
        let good = transfer(&maker.chain, &accounts[0], round, to, 3);
        let reverted = call(&maker.chain, &accounts[1], round, *STRK_FEE_CONTRACT_ADDRESS, "nonsense", &[]);
        maker.queue.push([good, reverted]);
        let build = maker.open_block();
        maker.queue.wait_until_drained();
        let payload = maker.seal(build);
        maker.decide(&payload);
        let mut forged = payload.clone();
        let mut body = forged.body.to_vec();
        let place = body.len() * (round as usize + 1) / 14;
        body[place] ^= 1;
        forged.body = body.into();
        assert_eq!(block_on(follower.backend.import(&forged)).unwrap(), Verdict::Invalid, "byte {place}");
        assert_eq!(block_on(follower.backend.import(&payload)).unwrap(), Verdict::Valid);
        block_on(follower.backend.set_heads(Heads::at(payload.block))).unwrap();
        assert_eq!(follower.chain.head(), maker.chain.head());
    }
    follower.chain.verify().unwrap();
}
