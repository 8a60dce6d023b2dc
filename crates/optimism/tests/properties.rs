//! What holds for every value, and for every input from outside: what is written is read again as the same, and nothing
//! panics.

use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, Bytes, Log, LogData, U256};
use op_alloy_consensus::TxDeposit;
use optimism::{
    BlobFees, BlobSchedule, BlockId, BlockParts, CONFIG_UPDATE_TOPIC, DEPOSIT_TOPIC, FeeScalars, FeesInHeader, Fork,
    Forks, L1BlockInfo, L1Fees, L1InfoFormat, L2Block, OperatorFee, RollupConfig, SystemConfig, Update, parse_bundle,
    user_deposit,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn word() -> impl Strategy<Value = B256> + Clone {
    any::<[u8; 32]>().prop_map(B256::new)
}

fn fees() -> impl Strategy<Value = L1Fees> {
    let blobs = (any::<u32>(), any::<u32>(), word()).prop_map(|(base_fee, blob_base_fee, fee)| BlobFees {
        scalars: FeeScalars { base_fee, blob_base_fee },
        blob_base_fee: fee.into(),
    });
    let operator = (any::<u32>(), any::<u64>()).prop_map(|(scalar, constant)| OperatorFee { scalar, constant });
    prop_oneof![
        (word(), word()).prop_map(|(overhead, scalar)| L1Fees::Bedrock { overhead, scalar }),
        blobs.clone().prop_map(L1Fees::Ecotone),
        (blobs.clone(), operator.clone()).prop_map(|(blobs, operator)| L1Fees::Isthmus(blobs, operator)),
        (blobs, operator, any::<u16>()).prop_map(|(blobs, operator, gas)| L1Fees::Jovian(blobs, operator, gas)),
    ]
}

fn info() -> impl Strategy<Value = L1BlockInfo> {
    let numbers = any::<(u64, u64, u64)>();
    (numbers, word(), word(), any::<[u8; 20]>(), fees()).prop_map(|(numbers, base_fee, hash, batcher, fees)| {
        L1BlockInfo {
            number: numbers.0,
            timestamp: numbers.1,
            base_fee: base_fee.into(),
            hash,
            sequence_number: numbers.2,
            batcher: batcher.into(),
            fees,
        }
    })
}

/// Bytes that look enough like the real thing to get past the first look.
fn almost_info() -> impl Strategy<Value = Vec<u8>> {
    let shaped = (0..4_usize, vec(any::<u8>(), 250..270), any::<bool>()).prop_map(|(format, rest, exact)| {
        let format = L1InfoFormat::ALL[format];
        let mut call = format.selector().to_vec();
        call.extend(rest);
        if exact {
            call.truncate(format.bytes());
        }
        call
    });
    prop_oneof![vec(any::<u8>(), 0..300), shaped]
}

fn log(topic: B256) -> impl Strategy<Value = Log> {
    let small = (0..9_u64).prop_map(|number| B256::from(U256::from(number)));
    let topics = vec(prop_oneof![small, word()], 0..5);
    let run = (0..4_u64, vec(any::<u8>(), 0..200)).prop_map(|(words, rest)| {
        let mut data = U256::from(32).to_be_bytes::<32>().to_vec();
        data.extend(U256::from(words * 32 + 8).to_be_bytes::<32>());
        data.extend(rest);
        data
    });
    (topics, prop_oneof![vec(any::<u8>(), 0..300), run]).prop_map(move |(mut topics, data)| {
        topics.insert(0, topic);
        topics.truncate(4);
        Log { address: Address::ZERO, data: LogData::new_unchecked(topics, data.into()) }
    })
}

/// A deposit as the portal writes it: mint, value, gas, creation, data.
fn portal_log(mint: u128, value: B256, gas: u64, creation: bool, input: &[u8]) -> Log {
    let mut run = U256::from(mint).to_be_bytes::<32>().to_vec();
    run.extend(value);
    run.extend(gas.to_be_bytes());
    run.push(creation.into());
    run.extend(input);
    let mut data = U256::from(32).to_be_bytes::<32>().to_vec();
    data.extend(U256::from(run.len()).to_be_bytes::<32>());
    data.extend(&run);
    data.resize(data.len().next_multiple_of(32), 0);
    let topics = vec![DEPOSIT_TOPIC, B256::left_padding_from(&[1]), B256::left_padding_from(&[2]), B256::ZERO];
    Log { address: Address::ZERO, data: LogData::new_unchecked(topics, data.into()) }
}

fn config() -> RollupConfig {
    let text = r#"{
        "genesis": {
            "l1": { "number": 1, "hash": "0x0101010101010101010101010101010101010101010101010101010101010101" },
            "l2": { "number": 0, "hash": "0x0202020202020202020202020202020202020202020202020202020202020202" },
            "l2_time": 1000,
            "system_config": { "batcherAddr": "0x0000000000000000000000000000000000000001", "gasLimit": 30000000 }
        },
        "block_time": 2, "max_sequencer_drift": 600, "seq_window_size": 3600, "channel_timeout": 300,
        "l1_chain_id": 1, "l2_chain_id": 2,
        "batch_inbox_address": "0x0000000000000000000000000000000000000002",
        "deposit_contract_address": "0x0000000000000000000000000000000000000003",
        "l1_system_config_address": "0x0000000000000000000000000000000000000004"
    }"#;
    RollupConfig::from_rollup_json(text).expect("reads").config
}

proptest! {
    #[test]
    fn an_l1_info_is_read_as_it_was_written(info in info()) {
        let call = info.encode();
        prop_assert_eq!(call.len(), info.format().bytes());
        prop_assert_eq!(L1BlockInfo::decode(info.format(), &call), Ok(info));
        prop_assert_eq!(L1BlockInfo::decode_any(&call), Ok(info));
        for format in L1InfoFormat::ALL.into_iter().filter(|format| *format != info.format()) {
            prop_assert!(L1BlockInfo::decode(format, &call).is_err());
        }
    }

    #[test]
    fn what_is_read_as_an_l1_info_is_written_as_it_was(call in almost_info()) {
        for format in L1InfoFormat::ALL {
            if let Ok(info) = L1BlockInfo::decode(format, &call) {
                prop_assert_eq!(info.encode(), Bytes::from(call.clone()));
            }
        }
    }

    #[test]
    fn the_deposit_of_an_l1_info_is_read_again(info in info(), regolith: bool) {
        let deposit = info.deposit(regolith);
        let again = TxDeposit::decode_2718_exact(&deposit.encoded_2718());
        prop_assert_eq!(again.ok(), Some(deposit));
    }

    #[test]
    fn a_deposit_of_the_portal_is_read_as_it_was_written(
        mint: u128, value in word(), gas: u64, creation: bool, input in vec(any::<u8>(), 0..100)
    ) {
        let log = portal_log(mint, value, gas, creation, &input);
        let deposit = user_deposit(B256::ZERO, 7, &log).expect("a deposit");
        prop_assert_eq!((deposit.mint, deposit.value, deposit.gas_limit), (mint, value.into(), gas));
        prop_assert_eq!((deposit.to.is_create(), &deposit.input[..]), (creation, &input[..]));
        let again = TxDeposit::decode_2718_exact(&deposit.encoded_2718());
        prop_assert_eq!(again.ok(), Some(deposit));
    }

    #[test]
    fn no_log_makes_anything_panic(deposit in log(DEPOSIT_TOPIC), update in log(CONFIG_UPDATE_TOPIC)) {
        let _ = user_deposit(B256::ZERO, u64::MAX, &deposit);
        if let Ok(update) = Update::decode(&update) {
            let _ = SystemConfig::default().apply(update, true);
        }
    }

    #[test]
    fn no_block_makes_anything_panic(
        number: u64, timestamp: u64, gas_limit: u64, extra_data in vec(any::<u8>(), 0..20),
        first in vec(any::<u8>(), 0..300), call in almost_info(), wrapped: bool, last in 0..11_usize
    ) {
        let mut config = config();
        config.forks = Forks::from_genesis(Fork::ALL[last]);
        let deposit = TxDeposit { input: call.into(), ..TxDeposit::default() };
        let first = if wrapped { deposit.encoded_2718() } else { first };
        let block = BlockParts {
            id: BlockId { number, hash: B256::ZERO },
            parent: B256::ZERO,
            timestamp,
            gas_limit,
            extra_data: &extra_data,
            first_transaction: Some(&first),
        };
        let _ = (L2Block::of(&config, &block), SystemConfig::of(&config, &block));
        let _ = FeesInHeader::of(&config, timestamp, &extra_data);
    }

    #[test]
    fn no_text_makes_anything_panic(text: String, chain: String) {
        let _ = RollupConfig::from_rollup_json(&text);
        let _ = RollupConfig::from_registry(&text, &chain);
        let _ = RollupConfig::from_registry_toml(&text, &chain);
        let _ = BlobSchedule::from_l1_config(&text);
        let _ = parse_bundle(&chain, &text);
    }

    #[test]
    fn scalars_are_read_as_they_were_written(base_fee: u32, blob_base_fee: u32, scalar: u32, constant: u64) {
        let scalars = FeeScalars { base_fee, blob_base_fee };
        let system = SystemConfig { scalar: scalars.pack(), ..SystemConfig::default() };
        prop_assert_eq!(system.fee_scalars(), Ok(scalars));
        let fee = OperatorFee { scalar, constant };
        prop_assert_eq!(OperatorFee::unpack(&fee.pack()), fee);
    }
}
