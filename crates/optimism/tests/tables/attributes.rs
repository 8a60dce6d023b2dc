//! The order for the next block.

use alloy_consensus::Receipt;
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{B64, B256, Bytes};
use op_alloy_consensus::TxDeposit;
use optimism::{
    AttributesError, BlockId, Fork, Forks, KARST_UPGRADE_GAS, L1_BLOCK, L1BlockInfo, L1InfoFormat, Order, Plan,
    SEQUENCER_FEE_VAULT, SystemConfig, UpdateFault, deposits_only, pack_eip1559_params, upgrade_transactions,
};
use types::Failure;

use crate::world::{chain, deposit, l1_block, new_gas_limit, one_more, parent, receipt, schedule, system, turning};

fn decoded(order: &Order) -> Vec<TxDeposit> {
    let transactions = order.attributes.transactions.as_deref().unwrap_or_default();
    transactions.iter().map(|encoded| TxDeposit::decode_2718_exact(encoded).expect("a deposit")).collect()
}

fn l1_info(order: &Order, format: L1InfoFormat) -> L1BlockInfo {
    L1BlockInfo::decode(format, &decoded(order)[0].input).expect("L1 info")
}

#[test]
fn each_fork_adds_its_field() {
    let table = [
        // fork, withdrawals, beacon root, fee parameters, minimum base fee, format of the L1 info
        (Fork::Bedrock, false, false, false, false, L1InfoFormat::Bedrock),
        (Fork::Regolith, false, false, false, false, L1InfoFormat::Bedrock),
        (Fork::Canyon, true, false, false, false, L1InfoFormat::Bedrock),
        (Fork::Delta, true, false, false, false, L1InfoFormat::Bedrock),
        (Fork::Ecotone, true, true, false, false, L1InfoFormat::Ecotone),
        (Fork::Fjord, true, true, false, false, L1InfoFormat::Ecotone),
        (Fork::Granite, true, true, false, false, L1InfoFormat::Ecotone),
        (Fork::Holocene, true, true, true, false, L1InfoFormat::Ecotone),
        (Fork::Isthmus, true, true, true, false, L1InfoFormat::Isthmus),
        (Fork::Jovian, true, true, true, true, L1InfoFormat::Jovian),
        (Fork::Karst, true, true, true, true, L1InfoFormat::Jovian),
    ];
    for (fork, withdrawals, beacon_root, fee_params, min_base_fee, format) in table {
        let order = one_more(&chain(Forks::from_genesis(fork)), 1010).expect("an order");
        let (attributes, engine) = (&order.attributes, &order.attributes.payload_attributes);
        assert_eq!(engine.timestamp, 1010, "{fork}");
        assert_eq!(engine.prev_randao, B256::repeat_byte(0xaa), "{fork}");
        assert_eq!(engine.suggested_fee_recipient, SEQUENCER_FEE_VAULT, "{fork}");
        assert_eq!(engine.withdrawals, withdrawals.then(Vec::new), "{fork}");
        assert_eq!(engine.parent_beacon_block_root, beacon_root.then(|| B256::repeat_byte(0xbb)), "{fork}");
        assert_eq!(attributes.eip_1559_params, fee_params.then_some(B64::ZERO), "{fork}");
        assert_eq!(attributes.min_base_fee, min_base_fee.then_some(0), "{fork}");
        assert_eq!(attributes.gas_limit, Some(60_000_000), "{fork}");
        assert_eq!(attributes.no_tx_pool, Some(false), "{fork}");
        let info = l1_info(&order, format);
        assert_eq!((info.number, info.hash, info.sequence_number), (11, B256::repeat_byte(11), 4), "{fork}");
        let first = &decoded(&order)[0];
        assert_eq!(first.is_system_transaction, fork < Fork::Regolith, "{fork}");
        assert_eq!(first.to, L1_BLOCK.into(), "{fork}");
        assert_eq!(decoded(&order).len(), 1, "{fork}");
    }
}

#[test]
fn the_first_block_of_a_fork_carries_its_upgrade_and_nothing_else() {
    for fork in Fork::ALL.into_iter().skip(1) {
        let config = chain(turning(fork, 1010));
        let upgrades: Vec<Bytes> =
            upgrade_transactions(fork).iter().map(|transaction| transaction.encoded_2718().into()).collect();
        let order = one_more(&config, 1010).expect("an order");
        let transactions = order.attributes.transactions.clone().expect("forced");
        assert_eq!(transactions[1..], upgrades, "{fork}");
        assert_eq!(order.attributes.no_tx_pool, Some(!upgrades.is_empty()), "{fork}");
        let added = if fork == Fork::Karst { KARST_UPGRADE_GAS } else { 0 };
        assert_eq!(order.attributes.gas_limit, Some(60_000_000 + added), "{fork}");
        assert_eq!(order.system.gas_limit, 60_000_000, "{fork}: what L1 set is not what the block has");
        for time in [1008, 1012] {
            let order = one_more(&config, time).expect("an order");
            assert_eq!(order.attributes.transactions.map(|transactions| transactions.len()), Some(1), "{fork}");
            assert_eq!(order.attributes.no_tx_pool, Some(false), "{fork} at {time}");
            assert_eq!(order.attributes.gas_limit, Some(60_000_000), "{fork} at {time}");
        }
    }
}

#[test]
fn forks_at_one_time_upgrade_in_their_order() {
    let mut forks = Forks::from_genesis(Fork::Delta);
    for fork in [Fork::Ecotone, Fork::Fjord, Fork::Granite, Fork::Holocene, Fork::Isthmus, Fork::Jovian, Fork::Karst] {
        forks.set(fork, Some(1010));
    }
    let order = one_more(&chain(forks), 1010).expect("an order");
    let in_order = [Fork::Ecotone, Fork::Fjord, Fork::Isthmus, Fork::Jovian, Fork::Karst];
    let wanted: Vec<TxDeposit> = in_order.into_iter().flat_map(upgrade_transactions).collect();
    assert_eq!(decoded(&order)[1..], wanted);
    l1_info(&order, L1InfoFormat::Bedrock);
    assert_eq!(order.attributes.eip_1559_params, Some(B64::ZERO));
    assert_eq!(order.attributes.min_base_fee, Some(0));
}

#[test]
fn a_new_epoch_brings_deposits_and_changes_before_the_upgrade() {
    let config = chain(turning(Fork::Jovian, 1010));
    let origin = l1_block(12, 1009);
    let mut malformed = new_gas_limit(1);
    malformed.data.data = Bytes::from_static(&[0; 95]);
    let receipts =
        [receipt(vec![deposit(21_000), malformed]), receipt(vec![new_gas_limit(70_000_000), deposit(22_000)])];
    let plan = Plan {
        parent: &parent(1008),
        parent_system: &system(),
        origin: &origin,
        receipts: Some(&receipts[..]),
        timestamp: 1010,
        use_pool: true,
    };
    let order = Order::prepare(&config, &schedule(), &plan).expect("an order");
    let transactions = decoded(&order);
    assert_eq!(transactions.len(), 1 + 2 + 5);
    assert_eq!(transactions[0].to, L1_BLOCK.into());
    assert_eq!([transactions[1].gas_limit, transactions[2].gas_limit], [21_000, 22_000]);
    assert_eq!(transactions[3..], upgrade_transactions(Fork::Jovian));
    assert_eq!(l1_info(&order, L1InfoFormat::Isthmus).sequence_number, 0);
    assert_eq!((order.sequence_number, order.origin), (0, BlockId { number: 12, hash: origin.hash() }));
    assert_eq!(order.system.gas_limit, 70_000_000);
    assert_eq!(order.attributes.gas_limit, Some(70_000_000));
    let [skipped] = order.skipped.as_slice() else { panic!("{:?}", order.skipped) };
    assert_eq!((skipped.log_index, skipped.fault), (1, UpdateFault::DataLength { found: 95, wanted: 96 }));
}

#[test]
fn what_l1_set_before_goes_into_the_order() {
    let set = SystemConfig { eip1559_params: pack_eip1559_params(100, 3), min_base_fee: 9, ..system() };
    let origin = l1_block(11, 1000);
    let plan: Plan<'_, Receipt> = Plan {
        parent: &parent(1008),
        parent_system: &set,
        origin: &origin,
        receipts: None,
        timestamp: 1010,
        use_pool: false,
    };
    let order = Order::prepare(&chain(Forks::from_genesis(Fork::Jovian)), &schedule(), &plan).expect("an order");
    assert_eq!(order.attributes.eip_1559_params, Some(pack_eip1559_params(100, 3)));
    assert_eq!(order.attributes.min_base_fee, Some(9));
    assert_eq!(order.attributes.no_tx_pool, Some(true), "as the plan says");
    assert_eq!(order.system, set);
}

#[test]
fn a_block_too_far_ahead_of_l1_is_empty() {
    let table = [
        (Fork::Ecotone, 1600, false),
        (Fork::Ecotone, 1602, true),
        (Fork::Fjord, 2800, false),
        (Fork::Fjord, 2802, true),
    ];
    for (fork, time, empty) in table {
        let order = one_more(&chain(Forks::from_genesis(fork)), time).expect("an order");
        assert_eq!(order.attributes.no_tx_pool, Some(empty), "{fork} at {time}");
    }
}

#[test]
fn an_l1_without_beacon_roots_has_a_zero_one() {
    let (header, hash) = l1_block(11, 1000).into_parts();
    let header = alloy_consensus::Header { parent_beacon_block_root: None, excess_blob_gas: None, ..header };
    let origin = alloy_primitives::Sealed::new_unchecked(header, hash);
    let plan: Plan<'_, Receipt> = Plan {
        parent: &parent(1008),
        parent_system: &system(),
        origin: &origin,
        receipts: None,
        timestamp: 1010,
        use_pool: true,
    };
    let order = Order::prepare(&chain(Forks::from_genesis(Fork::Ecotone)), &schedule(), &plan).expect("an order");
    assert_eq!(order.attributes.payload_attributes.parent_beacon_block_root, Some(B256::ZERO));
}

/// What a plan with one thing changed is refused with.
fn refusal(change: impl FnOnce(&mut Case)) -> AttributesError {
    let mut case = Case {
        forks: Forks::from_genesis(Fork::Jovian),
        system: system(),
        number: 12,
        l1_time: 1009,
        parent_hash: B256::repeat_byte(11),
        hash: B256::repeat_byte(12),
        receipts: Some(vec![]),
        timestamp: 1010,
    };
    change(&mut case);
    let (mut header, _) = l1_block(case.number, case.l1_time).into_parts();
    header.parent_hash = case.parent_hash;
    let plan = Plan {
        parent: &parent(1008),
        parent_system: &case.system,
        origin: &alloy_primitives::Sealed::new_unchecked(header, case.hash),
        receipts: case.receipts.as_deref(),
        timestamp: case.timestamp,
        use_pool: true,
    };
    Order::prepare(&chain(case.forks), &schedule(), &plan).expect_err("refused")
}

struct Case {
    forks: Forks,
    system: SystemConfig,
    number: u8,
    l1_time: u64,
    parent_hash: B256,
    hash: B256,
    receipts: Option<Vec<Receipt>>,
    timestamp: u64,
}

#[test]
fn a_refusal_says_what_to_do() {
    use AttributesError as E;
    let missing = refusal(|case| case.receipts = None);
    assert!(matches!(missing, E::ReceiptsMissing(_)) && missing.failure() == Failure::Retry, "{missing}");

    let conflict = refusal(|case| (case.number, case.hash) = (11, B256::repeat_byte(0xee)));
    assert!(matches!(conflict, E::OriginConflict { .. }) && conflict.failure() == Failure::Reset, "{conflict}");
    let elsewhere = refusal(|case| case.parent_hash = B256::ZERO);
    assert!(matches!(elsewhere, E::OriginDoesNotFollow { .. }) && elsewhere.failure() == Failure::Reset);
    let skipping = refusal(|case| case.number = 13);
    assert!(matches!(skipping, E::OriginDoesNotFollow { .. }), "{skipping}");
    let ahead = refusal(|case| case.l1_time = 1011);
    assert!(matches!(ahead, E::OriginAhead { .. }) && ahead.failure() == Failure::Reset, "{ahead}");

    let late = refusal(|case| case.timestamp = 1011);
    assert!(matches!(late, E::OffTimetable { .. }) && late.failure() == Failure::Fatal, "{late}");
    let mut short = deposit(1);
    short.data.data = short.data.data.slice(..64);
    let deposit = refusal(|case| case.receipts = Some(vec![receipt(vec![short])]));
    assert!(matches!(deposit, E::Deposit(_)) && deposit.failure() == Failure::Fatal, "{deposit}");
    let scalars = refusal(|case| case.system.scalar = B256::repeat_byte(9));
    assert!(matches!(scalars, E::Scalars(_)) && scalars.failure() == Failure::Fatal, "{scalars}");
    let gas = refusal(|case| {
        case.forks = turning(Fork::Karst, 1010);
        case.system.gas_limit = u64::MAX;
    });
    assert!(matches!(gas, E::GasLimit(u64::MAX)) && gas.failure() == Failure::Fatal, "{gas}");
}

#[test]
fn an_l1_block_may_have_the_time_of_the_block_that_cites_it() {
    // One second later it is refused: see above.
    let origin = l1_block(12, 1010);
    let receipts: [Receipt; 0] = [];
    let plan = Plan {
        parent: &parent(1008),
        parent_system: &system(),
        origin: &origin,
        receipts: Some(&receipts[..]),
        timestamp: 1010,
        use_pool: true,
    };
    Order::prepare(&chain(Forks::from_genesis(Fork::Jovian)), &schedule(), &plan).expect("an order");
}

#[test]
fn without_other_transactions_the_deposits_keep_their_order() {
    let attributes = one_more(&chain(turning(Fork::Jovian, 1010)), 1010).expect("an order").attributes;
    let mut derived = attributes.clone();
    let transactions = derived.transactions.as_mut().expect("forced");
    transactions.push(Bytes::from_static(&[0x02, 0xc0]));
    transactions.insert(1, Bytes::from_static(&[0xf8]));
    transactions.push(Bytes::new());
    derived.no_tx_pool = Some(false);
    assert_eq!(deposits_only(derived), attributes, "an upgrade takes nothing from the pool either");
}
