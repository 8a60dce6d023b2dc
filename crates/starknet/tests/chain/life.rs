//! A transfer from genesis to a restarted chain.

use starknet::At;
use starknet_api::block::BlockNumber;
use starknet_types_core::felt::Felt;

use crate::kit::{BALANCE, World, address, config, transfer};

#[test]
fn a_transfer_lands_in_a_block_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(folder.path(), config(3));
    let genesis = world.chain.head();
    assert_eq!(genesis.number, BlockNumber(0));
    let accounts = world.chain.accounts().to_vec();
    assert_eq!(world.strk(accounts[0].address), BALANCE);
    world.chain.verify().unwrap();

    let to = address(Felt::from(0xabcu32));
    world.queue.push([transfer(&world.chain, &accounts[0], 0, to, 77)]);
    let block = world.make_block();
    assert!(world.queue.log.lock().rejected.is_empty(), "{:?}", world.queue.log.lock().rejected);
    assert_eq!(block.transactions.len(), 1);
    let outcome = &block.transactions[0].outcome;
    assert_eq!(outcome.revert_reason, None);
    assert!(outcome.fee.0 > 0);
    assert_eq!(world.strk(to), 77);
    assert_eq!(world.strk(accounts[0].address), BALANCE - 77 - outcome.fee.0);
    assert_eq!(world.strk(world.chain.config().sequencer_address), outcome.fee.0);
    world.chain.verify().unwrap();
    let before = world.chain.head();
    drop(world);

    let world = World::open(folder.path(), config(3));
    assert_eq!(world.chain.head(), before);
    assert_eq!(world.strk(to), 77);
    let again = world.chain.block(At::Number(BlockNumber(1))).unwrap().unwrap();
    assert_eq!(again.transactions, block.transactions);
    assert_eq!(again.state_diff, block.state_diff);
    let past = world.chain.state(At::Number(BlockNumber(0))).unwrap().unwrap();
    assert_eq!(past.nonce(accounts[0].address).unwrap().0, Felt::ZERO);
    world.chain.verify().unwrap();
}
