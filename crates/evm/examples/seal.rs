//! How long a full block takes from the order to seal it until it is the head, part by part:
//! `cargo run --release -p evm --example seal -- 5400`. Transfers of 200 accounts.

use std::time::{Duration, Instant};

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use evm::genesis::DevGenesis;
use evm::{BlockPolicy, Chain, EvmBackend, Pool, Transaction};
use node::{Backend, Persistence, Sealed};
use sequencer::Record;
use types::{Attributes, BuildId, Heads, Slot, Timestamp};

const CHAIN_ID: u64 = 31_337;
const ACCOUNTS: u64 = 200;
const GAS_LIMIT: u64 = 4_000_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u64 = std::env::args().nth(1).unwrap_or_else(|| "5400".into()).parse()?;
    let keys: Vec<PrivateKeySigner> = (1..=ACCOUNTS)
        .map(|key| PrivateKeySigner::from_bytes(&B256::from(U256::from(key))))
        .collect::<Result<_, _>>()?;
    let balances = keys.iter().map(|key| (key.address(), U256::from(10).pow(U256::from(20)))).collect();
    let genesis =
        DevGenesis { chain_id: CHAIN_ID, balances, gas_limit: GAS_LIMIT, base_fee: 1_000, timestamp: 1_700_000_000 };
    let folder = tempfile::tempdir()?;
    let chain = Chain::open(&folder.path().join("chain"), Some(genesis.into_file()))?;
    let pool = Pool::open(&folder.path().join("pool"), &chain, mempool::Limits::default(), mempool::Order::Tip)?;
    let policy = BlockPolicy {
        beneficiary: Address::repeat_byte(0xbe),
        gas_limit: GAS_LIMIT,
        extra_data: Bytes::new(),
        empty_blocks: true,
    };
    let backend = EvmBackend::new(chain.clone(), pool.clone(), policy);
    println!("transactions  waited  seal  import  persist  set_heads   in ms");
    for block in 1..=8_u64 {
        let parent = evm::block::block_ref(&chain.head());
        let timestamp = Timestamp::from_secs(parent.timestamp.as_secs() + 1);
        let attributes = Attributes { slot: Slot::new(block), parent, timestamp, origin: None, use_pool: true };
        backend.open(BuildId::new(block), attributes).await?;
        for index in 0..count {
            let key = &keys[(index % ACCOUNTS) as usize];
            let nonce = pool.next_nonce(key.address())?;
            pool.submit(transfer(key, nonce, index)?).await?;
        }
        let began = Instant::now();
        while pool.in_flight() + 512 < count as usize && began.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let waited = began.elapsed();
        let (sealed, seal) = timed(backend.seal(BuildId::new(block))).await;
        let Sealed::Payload(payload) = sealed? else { return Err("nothing was sealed".into()) };
        let (verdict, import) = timed(backend.import(&payload)).await;
        verdict?;
        let (kept, persist) = timed(backend.persist(&Record::Payload(payload.clone()))).await;
        kept?;
        let (set, heads) = timed(backend.set_heads(Heads::at(payload.block))).await;
        set?;
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        let included = chain.head().gas_used / 21_000;
        println!(
            "{included:12} {:7.1} {:5.1} {:7.1} {:8.1} {:10.1}",
            ms(waited),
            ms(seal),
            ms(import),
            ms(persist),
            ms(heads)
        );
    }
    Ok(())
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    (work.await, began.elapsed())
}

fn transfer(key: &PrivateKeySigner, nonce: u64, to: u64) -> Result<Bytes, alloy_signer::Error> {
    let transaction = TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 3_000_000_000,
        max_priority_fee_per_gas: 1,
        to: TxKind::Call(Address::left_padding_from(&to.to_be_bytes())),
        value: U256::from(1),
        ..TxEip1559::default()
    };
    let signature = key.sign_hash_sync(&transaction.signature_hash())?;
    Ok(Transaction::from(transaction.into_signed(signature)).encoded_2718().into())
}
