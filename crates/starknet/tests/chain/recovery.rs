//! What is on the disk is enough: log, tables, both torn.

use std::path::Path;

use proptest::prelude::*;
use starknet::{At, Chain};
use starknet_api::block::BlockNumber;

use crate::kit::{BALANCE, World, config, transfer};

/// One random transfer: from, to, amount (`None`: more than there is).
type Random = (usize, usize, Option<u64>);

const ACCOUNTS: usize = 4;

fn blocks() -> impl Strategy<Value = Vec<Vec<Random>>> {
    let random = (0..ACCOUNTS, 0..ACCOUNTS, prop::option::weighted(0.8, 1..1_000_000u64));
    prop::collection::vec(prop::collection::vec(random, 0..5), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    /// Random transfers, some of which fail: money is neither made nor lost, the root kept up to date equals the root from
    /// scratch, and a chain rebuilt from the log alone equals the one that lived.
    #[test]
    fn a_chain_rebuilt_from_its_log_is_the_same(blocks in blocks()) {
        let folder = tempfile::tempdir().unwrap();
        let mut world = World::open(folder.path(), config(ACCOUNTS as u16));
        let accounts = world.chain.accounts().to_vec();
        let mut nonces = [0u64; ACCOUNTS];
        for block in &blocks {
            for (from, to, amount) in block {
                let amount = amount.map_or(u128::MAX, u128::from);
                let tx = transfer(&world.chain, &accounts[*from], nonces[*from], accounts[*to].address, amount);
                nonces[*from] += 1;
                world.queue.push([tx]);
            }
            let made = world.make_block();
            prop_assert_eq!(made.transactions.len(), block.len());
            for (tx, (_, _, amount)) in made.transactions.iter().zip(block) {
                prop_assert_eq!(tx.outcome.revert_reason.is_some(), amount.is_none());
            }
        }
        let total: u128 = accounts.iter().map(|account| world.strk(account.address)).sum();
        let collected = world.strk(world.chain.config().sequencer_address);
        prop_assert_eq!(total + collected, BALANCE * ACCOUNTS as u128);
        let live = world.chain.verify().unwrap();
        let head = world.chain.head();
        drop(world);

        std::fs::remove_dir_all(folder.path().join("tables")).unwrap();
        let rebuilt = Chain::open(folder.path(), config(ACCOUNTS as u16)).unwrap();
        prop_assert_eq!(rebuilt.head(), head);
        prop_assert_eq!(rebuilt.verify().unwrap(), live);
    }
}

/// Copies a chain's folder as a crash would leave it: the log as it is, the tables as they were `behind` blocks ago.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            drop(std::fs::copy(entry.path(), target))
        }
    }
}

#[test]
fn tables_that_stand_behind_catch_up() {
    let folder = tempfile::tempdir().unwrap();
    let old = tempfile::tempdir().unwrap();
    let mut world = World::open(folder.path(), config(2));
    let accounts = world.chain.accounts().to_vec();
    for nonce in 0..6 {
        if nonce == 3 {
            world.chain.flush().unwrap();
            copy(&folder.path().join("tables"), &old.path().join("tables"));
        }
        world.queue.push([transfer(&world.chain, &accounts[0], nonce, accounts[1].address, 1)]);
        world.make_block();
    }
    let head = world.chain.head();
    drop(world);
    std::fs::remove_dir_all(folder.path().join("tables")).unwrap();
    copy(&old.path().join("tables"), &folder.path().join("tables"));
    let chain = Chain::open(folder.path(), config(2)).unwrap();
    assert_eq!(chain.head(), head);
    chain.verify().unwrap();
    for number in 0..=head.number.0 {
        let state = chain.state(At::Number(BlockNumber(number))).unwrap().unwrap();
        assert_eq!(u64::try_from(state.nonce(accounts[0].address).unwrap().0).unwrap(), number, "at block {number}");
    }
}

#[test]
fn a_block_persisted_but_not_adopted_is_there_after_a_crash() {
    use node::Persistence;
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(folder.path(), config(2));
    let accounts = world.chain.accounts().to_vec();
    world.queue.push([transfer(&world.chain, &accounts[0], 0, accounts[1].address, 1)]);
    let build = world.open_block();
    world.queue.wait_until_drained();
    let payload = world.seal(build);
    let record = sequencer::Record::Payload(payload.clone());
    crate::kit::block_on(world.backend.persist(&record)).unwrap();
    drop(world);
    let chain = Chain::open(folder.path(), config(2)).unwrap();
    assert_eq!(chain.head().hash.0.to_bytes_be(), *payload.block.hash.as_bytes());
    let mut expected = sequencer::Memory::default();
    expected.remember(record);
    assert_eq!(chain.memory().unwrap(), expected);
}

#[test]
fn another_chain_id_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(Chain::open(folder.path(), config(1)).unwrap());
    let mut other = config(1);
    other.chain_id = starknet_api::core::ChainId::Other("SN_OTHER".into());
    let error = Chain::open(folder.path(), other).unwrap_err().to_string();
    assert!(error.contains("SN_OTHER") && error.contains("SN_SEQUENZA_TEST"), "{error}");
}
