//! What users deposit on L1: logs of the portal, each of which becomes a transaction of the rollup.
//!
//! Sources: <https://specs.optimism.io/protocol/deposits.html>, "User-Deposited Transactions"; the contract
//! `OptimismPortal.sol`, event `TransactionDeposited(address indexed from, address indexed to, uint256 indexed version,
//! bytes opaqueData)`.

use alloy_consensus::TxReceipt;
use alloy_primitives::{Address, B256, Bytes, Log, TxKind, U256, b256};
use op_alloy_consensus::{TxDeposit, UserDepositSource};

use crate::RollupConfig;
use crate::abi::{self, Cursor};
use crate::receipts::logs_of;

/// `keccak256("TransactionDeposited(address,address,uint256,bytes)")`.
pub const DEPOSIT_TOPIC: B256 = b256!("0xb3813568d9991fc951961fcb4c784893574240a28925604d09fc577c55bb7c32");

/// Mint, value, gas and the mark of a creation; the call's data follows.
const FIXED_BYTES: usize = 32 + 32 + 8 + 1;

/// A log of the portal that is no deposit. The portal cannot have written it and no deposit may be left out, so nothing
/// can go on: the configured contract is not the portal, or the L1 endpoint lies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "log {log_index} of L1 block {l1_block} is no deposit: {fault}. Check deposit_contract_address and the L1 endpoint"
)]
pub struct BadDeposit {
    /// The L1 block.
    pub l1_block: B256,
    /// The log's place among all logs of the block.
    pub log_index: u64,
    /// What is wrong with it.
    pub fault: DepositFault,
}

/// What is wrong with a log of the portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DepositFault {
    /// The event has its name, a sender, a recipient and a version.
    #[error("{0} topics; a deposit has 4")]
    Topics(usize),
    /// The event is another.
    #[error("event {0} is not that of a deposit")]
    Event(B256),
    /// Only version 0 is known.
    #[error("version {0} is not known; only 0 is")]
    Version(B256),
    /// The data does not hold one run of bytes, padded to whole words, as the contract writes it.
    #[error("{bytes} bytes of data do not hold one run of bytes as a contract writes it: {reason}")]
    Data {
        /// The length of the data.
        bytes: usize,
        /// What does not fit.
        reason: &'static str,
    },
    /// The run of bytes is too short for what it must hold.
    #[error("{0} bytes; a deposit has at least {FIXED_BYTES}")]
    Short(usize),
    /// No account can be given so much.
    #[error("{0} wei to mint; up to 16 bytes are possible")]
    Mint(U256),
}

/// The deposits in the receipts of one L1 block, in their order.
///
/// # Errors
/// With the first log of the portal that is none.
pub fn user_deposits<R>(config: &RollupConfig, l1_block: B256, receipts: &[R]) -> Result<Vec<TxDeposit>, BadDeposit>
where
    R: TxReceipt<Log = Log>,
{
    let logs = logs_of(receipts, config.deposit_contract, DEPOSIT_TOPIC);
    let deposit = |(log_index, log)| {
        user_deposit(l1_block, log_index, log).map_err(|fault| BadDeposit { l1_block, log_index, fault })
    };
    logs.map(deposit).collect()
}

/// The transaction that one log of the portal becomes. `log_index` counts all logs of the L1 block.
///
/// # Errors
/// With what is wrong with it.
pub fn user_deposit(l1_block: B256, log_index: u64, log: &Log) -> Result<TxDeposit, DepositFault> {
    let [event, from, to, version] = log.topics() else { return Err(DepositFault::Topics(log.topics().len())) };
    if *event != DEPOSIT_TOPIC {
        return Err(DepositFault::Event(*event));
    }
    // A contract cannot write more than an address there, so nodes agree not to look.
    let [from, to] = [from, to].map(|word| Address::from_word(*word));
    if *version != B256::ZERO {
        return Err(DepositFault::Version(*version));
    }
    let packed = run_of_bytes(&log.data.data)?;
    let mut cursor = Cursor::new(packed);
    let short = || DepositFault::Short(packed.len());
    let mint: U256 = cursor.word().ok_or_else(short)?.into();
    let value = cursor.word().ok_or_else(short)?.into();
    let gas_limit = cursor.take().map(u64::from_be_bytes).ok_or_else(short)?;
    let [creation] = cursor.take().ok_or_else(short)?;
    Ok(TxDeposit {
        source_hash: UserDepositSource::new(l1_block, log_index).source_hash(),
        from,
        to: if creation == 0 { TxKind::Call(to) } else { TxKind::Create },
        mint: mint.try_into().map_err(|_| DepositFault::Mint(mint))?,
        value,
        gas_limit,
        is_system_transaction: false,
        input: Bytes::copy_from_slice(cursor.rest()),
    })
}

/// The one run of bytes that the data holds: where it begins, how long it is, the bytes, zeros up to a whole word.
fn run_of_bytes(data: &[u8]) -> Result<&[u8], DepositFault> {
    let fault = |reason| DepositFault::Data { bytes: data.len(), reason };
    if !data.len().is_multiple_of(32) {
        return Err(fault("they are not whole words"));
    }
    let mut cursor = Cursor::new(data);
    let (Some(begin), Some(length)) = (cursor.word(), cursor.word()) else { return Err(fault("there are too few")) };
    if abi::number(&begin) != Some(32) {
        return Err(fault("the run does not begin at byte 32"));
    }
    let rest = cursor.rest();
    let length = abi::number(&length).and_then(|length| usize::try_from(length).ok());
    let run = length.and_then(|length| rest.get(..length)).ok_or_else(|| fault("the run is longer than the data"))?;
    if rest.len() - run.len() >= 32 {
        return Err(fault("more follows than fills the last word"));
    }
    Ok(run)
}

#[cfg(test)]
mod tests {
    use alloy_consensus::Receipt;
    use alloy_primitives::{LogData, address};

    use super::*;
    use crate::config::tests::chain;
    use crate::{Fork, Forks};

    fn log(config: &RollupConfig, run: &[u8]) -> Log {
        let mut data = vec![0; 64];
        data[31] = 32;
        data[56..64].copy_from_slice(&(run.len() as u64).to_be_bytes());
        data.extend(run);
        data.resize(data.len().next_multiple_of(32), 0);
        let topics = vec![DEPOSIT_TOPIC, B256::left_padding_from(&[1]), B256::left_padding_from(&[2]), B256::ZERO];
        Log { address: config.deposit_contract, data: LogData::new_unchecked(topics, data.into()) }
    }

    fn run(creation: u8, input: &[u8]) -> Vec<u8> {
        let mut run = vec![0; FIXED_BYTES];
        (run[31], run[63], run[71], run[72]) = (3, 4, 5, creation);
        run.extend(input);
        run
    }

    fn receipt(success: bool, logs: Vec<Log>) -> Receipt {
        Receipt { status: success.into(), cumulative_gas_used: 0, logs }
    }

    #[test]
    fn only_successful_receipts_count_and_the_index_is_that_of_the_block() {
        let config = chain(Forks::from_genesis(Fork::Karst));
        // Any mark but zero is one of a creation.
        let (call, creation) = (log(&config, &run(0, b"call")), log(&config, &run(2, b"")));
        let mut foreign = log(&config, b"");
        foreign.address = config.batch_inbox;
        let mut other_event = log(&config, b"");
        other_event.data = LogData::new_unchecked(vec![B256::repeat_byte(7)], Bytes::new());
        let receipts = [
            receipt(true, vec![foreign, call.clone()]),
            receipt(false, vec![call]),
            receipt(true, vec![other_event, creation]),
        ];
        let block = B256::repeat_byte(9);
        let deposits = user_deposits(&config, block, &receipts).expect("well-formed");
        let [call, creation] = deposits.as_slice() else { panic!("{deposits:?}") };
        let wanted = TxDeposit {
            source_hash: UserDepositSource::new(block, 1).source_hash(),
            from: address!("0x0000000000000000000000000000000000000001"),
            to: TxKind::Call(address!("0x0000000000000000000000000000000000000002")),
            mint: 3,
            value: U256::from(4),
            gas_limit: 5,
            is_system_transaction: false,
            input: Bytes::from_static(b"call"),
        };
        assert_eq!(*call, wanted);
        assert_eq!(creation.source_hash, UserDepositSource::new(block, 4).source_hash());
        assert_eq!((creation.to, creation.input.len()), (TxKind::Create, 0));
    }

    #[test]
    fn a_malformed_log_stops_everything() {
        let config = chain(Forks::from_genesis(Fork::Karst));
        let receipts = [receipt(true, vec![log(&config, &run(0, b"")), log(&config, &[0; FIXED_BYTES - 1])])];
        let told = user_deposits(&config, B256::ZERO, &receipts).expect_err("malformed");
        assert_eq!((told.log_index, told.fault), (1, DepositFault::Short(FIXED_BYTES - 1)));
    }

    #[test]
    fn data_is_what_a_contract_writes() {
        let config = chain(Forks::from_genesis(Fork::Karst));
        let judged = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut log = log(&config, &run(0, b"1234567890"));
            let mut data = log.data.data.to_vec();
            change(&mut data);
            log.data.data = data.into();
            user_deposit(B256::ZERO, 0, &log)
        };
        judged(&|_| {}).expect("as a contract writes it");
        type Change<'a> = &'a dyn Fn(&mut Vec<u8>);
        let table: [(Change<'_>, &str); 8] = [
            (&|data| data.truncate(95), "whole words"),
            (&|data| data.truncate(32), "too few"),
            (&|data| data.clear(), "too few"),
            (&|data| data[31] = 64, "begin at byte 32"),
            (&|data| data[0] = 1, "begin at byte 32"),
            (&|data| data[32] = 1, "longer than the data"),
            (&|data| data[63] = 200, "longer than the data"),
            (&|data| data.resize(data.len() + 32, 0), "more follows"),
        ];
        for (change, wanted) in table {
            let told = judged(change).expect_err(wanted).to_string();
            assert!(told.contains(wanted), "{told}");
        }
        assert_eq!(judged(&|data| data[64] = 1), Err(DepositFault::Mint((U256::ONE << 248) + U256::from(3))));
    }

    #[test]
    fn topics_are_what_a_contract_writes() {
        let config = chain(Forks::from_genesis(Fork::Karst));
        let with = |topics: &[B256]| {
            let mut log = log(&config, &run(0, b""));
            log.data = LogData::new_unchecked(topics.to_vec(), log.data.data);
            user_deposit(B256::ZERO, 0, &log)
        };
        let (zero, full) = (B256::ZERO, B256::repeat_byte(1));
        assert_eq!(with(&[DEPOSIT_TOPIC, zero, zero]), Err(DepositFault::Topics(3)));
        assert_eq!(with(&[full, zero, zero, zero]), Err(DepositFault::Event(full)));
        assert_eq!(with(&[DEPOSIT_TOPIC, zero, zero, full]), Err(DepositFault::Version(full)));
    }
}
