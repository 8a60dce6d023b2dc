//! The binary is killed again and again while transactions pour in. Whatever was acknowledged must be there afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tests::{Account, Chain, Launch, RpcError, hex};
use tokio::task::JoinSet;

/// Transactions found again in the chain are looked at again in samples: one in so many, at each reopening.
const SAMPLE: usize = 20;

/// A full check of the data folder from scratch comes after each so many kills, and at the end.
const KILLS_PER_VERIFY: u32 = 10;

/// How long the pool may take to empty at the end.
const DRAINED_WITHIN: Duration = Duration::from_secs(60);

/// Guards against an acknowledged transaction that a power cut forgets, a block that is half there, and a state root that
/// the state does not have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_lose_nothing() {
    kills(50, seed()).await;
}

/// The same for ten times as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes about twenty minutes"]
async fn five_hundred_kills_lose_nothing_slow() {
    kills(500, seed()).await;
}

/// A new one each time, unless `SEQUENZA_CRASH_SEED` asks for one again.
fn seed() -> u64 {
    std::env::var("SEQUENZA_CRASH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random)
}

async fn kills(count: u32, seed: u64) {
    println!("seed {seed}: run again with SEQUENZA_CRASH_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut chain = Launch::new().start().await;
    let mut book = Book::open(&chain).await;
    for kill in 1..=count {
        let after = Duration::from_millis(rng.random_range(0..600));
        let load = book.load(&chain);
        tokio::time::sleep(after).await;
        chain.kill();
        book.settle(load).await;
        if kill % KILLS_PER_VERIFY == 0 {
            verify(&chain);
        }
        chain.start_again().await;
        book.check(&chain, &mut rng).await;
    }
    book.drain(&chain).await;
    assert!(chain.stop().await.success(), "{}", chain.log());
    verify(&chain);
    println!("{count} kills: {} transactions acknowledged, all of them in the chain", book.acknowledged);
    assert!(book.acknowledged > u64::from(count), "hardly anything was acknowledged: the kills hit nothing");
}

/// Checks the folder of a chain that does not run: log, blocks, and the state root from scratch.
fn verify(chain: &Chain) {
    let ended = chain.launch().clone().subcommand("verify").run();
    assert!(ended.status.success(), "{ended:#?}\n{}", chain.log());
}

/// What the chain promised, and what has been seen of it.
struct Book {
    chain_id: tests::Felt,
    senders: Vec<Sender>,
    acknowledged: u64,
    /// Acknowledged and not yet seen in a sealed block.
    waiting: Vec<String>,
    /// Seen in this sealed block.
    sealed: BTreeMap<String, u64>,
    /// The newest block that was looked at: number and hash.
    tip: (u64, String),
}

/// One account, which sends one transaction after the other.
#[derive(Clone)]
struct Sender {
    account: Account,
    recipient: Account,
    nonce: u64,
}

/// What a sender learnt until the chain was gone.
struct Heard {
    sender: usize,
    nonce: u64,
    acknowledged: Vec<String>,
}

impl Book {
    async fn open(chain: &Chain) -> Book {
        let chain_id = chain.rpc("starknet_chainId", json!([])).await.unwrap();
        let accounts = chain.accounts();
        assert!(accounts.len() >= 4, "the banner shows accounts: {}", chain.stdout());
        let senders = accounts.iter().enumerate().map(|(index, account)| Sender {
            account: account.clone(),
            recipient: accounts[(index + 1) % accounts.len()].clone(),
            nonce: 0,
        });
        Book {
            chain_id: tests::Felt::from_hex(chain_id.as_str().unwrap()).unwrap(),
            senders: senders.collect(),
            acknowledged: 0,
            waiting: Vec::new(),
            sealed: BTreeMap::new(),
            tip: (0, block(chain, 0).await.0),
        }
    }

    /// Every account sends, until the chain is gone.
    fn load(&self, chain: &Chain) -> JoinSet<Heard> {
        let mut load = JoinSet::new();
        for (index, sender) in self.senders.iter().enumerate() {
            let (caller, sender, chain_id) = (chain.caller(), sender.clone(), self.chain_id);
            load.spawn(async move {
                let mut heard = Heard { sender: index, nonce: sender.nonce, acknowledged: Vec::new() };
                loop {
                    let recipient = sender.recipient.address;
                    let transfer = sender.account.transfer(chain_id, heard.nonce, recipient, 1);
                    let sent = caller.rpc("starknet_addInvokeTransaction", json!([transfer.transaction])).await;
                    match sent {
                        Ok(answer) => assert_eq!(answer["transaction_hash"], hex(&transfer.hash)),
                        // It was taken before the last kill, which swallowed the answer: known, or included already.
                        Err(error) if matches!(error.code(), Some(59 | 52)) => {}
                        Err(RpcError::Lost(_)) => return heard,
                        Err(error) => panic!("{error:?}: {:?}", transfer.transaction),
                    }
                    heard.acknowledged.push(hex(&transfer.hash));
                    heard.nonce += 1;
                }
            });
        }
        load
    }

    /// Takes in what the senders heard.
    async fn settle(&mut self, mut load: JoinSet<Heard>) {
        while let Some(heard) = load.join_next().await {
            let heard = heard.unwrap();
            self.senders[heard.sender].nonce = heard.nonce;
            self.acknowledged += heard.acknowledged.len() as u64;
            self.waiting.extend(heard.acknowledged);
        }
    }

    /// After a reopening: every promise is kept so far, and the chain holds together.
    async fn check(&mut self, chain: &Chain, rng: &mut StdRng) {
        self.follow(chain).await;
        for hash in std::mem::take(&mut self.waiting) {
            match chain.rpc("starknet_getTransactionStatus", json!([hash])).await {
                Ok(status) if status["finality_status"] == "ACCEPTED_ON_L2" => {
                    assert_eq!(status["execution_status"], "SUCCEEDED", "{hash}: {status}");
                    // Sealed since the blocks were followed; the next time will find it in one.
                    if !self.sealed.contains_key(&hash) {
                        self.waiting.push(hash);
                    }
                }
                Ok(_) => self.waiting.push(hash),
                Err(error) => panic!("{hash} was acknowledged and is gone: {error:?}\n{}", chain.log()),
            }
        }
        let again: Vec<_> = self.sealed.iter().filter(|_| rng.random_ratio(1, SAMPLE as u32)).collect();
        for (hash, number) in again {
            let receipt = chain.rpc("starknet_getTransactionReceipt", json!([hash])).await.unwrap();
            assert_eq!(receipt["block_number"], *number, "{hash} moved: {receipt}");
        }
    }

    /// Looks at every block that is new: each continues the one before, and no transaction comes twice.
    async fn follow(&mut self, chain: &Chain) {
        let height = chain.height().await;
        assert!(height >= self.tip.0, "the chain lost blocks: {height} after {}\n{}", self.tip.0, chain.log());
        assert_eq!(block(chain, self.tip.0).await.0, self.tip.1, "block {} changed", self.tip.0);
        for number in self.tip.0 + 1..=height {
            let (hash, block) = block(chain, number).await;
            assert_eq!(block["parent_hash"], self.tip.1, "block {number} does not continue its parent");
            let transactions = block["transactions"].as_array().unwrap();
            assert_eq!(block["transaction_count"], transactions.len(), "block {number} is torn: {block}");
            for transaction in transactions {
                let transaction = transaction["receipt"]["transaction_hash"].as_str().unwrap().to_owned();
                let earlier = self.sealed.insert(transaction.clone(), number);
                assert_eq!(earlier, None, "{transaction} is in block {number} too");
            }
            self.tip = (number, hash);
        }
        self.waiting.retain(|hash| !self.sealed.contains_key(hash));
    }

    /// With the load gone, everything that was promised ends up in the chain.
    async fn drain(&mut self, chain: &Chain) {
        let started = tokio::time::Instant::now();
        while !self.waiting.is_empty() {
            if started.elapsed() > DRAINED_WITHIN {
                panic!("never sealed:\n{}\n{}", self.stuck(chain).await, chain.log());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.follow(chain).await;
        }
    }

    /// What the chain says about promises that it has not kept: the status of each, and where each sender stands.
    async fn stuck(&self, chain: &Chain) -> String {
        let mut told = String::new();
        for hash in &self.waiting {
            let status = chain.rpc("starknet_getTransactionStatus", json!([hash])).await;
            told += &format!("{hash}: {status:?}\n");
        }
        for sender in &self.senders {
            let address = hex(&sender.account.address);
            let nonce = chain.rpc("starknet_getNonce", json!(["pre_confirmed", address])).await;
            told += &format!("{address}: nonce {nonce:?}, next to be sent {}\n", sender.nonce);
        }
        told
    }
}

/// The hash of a block, and the block with its receipts.
async fn block(chain: &Chain, number: u64) -> (String, Value) {
    let block = chain.rpc("starknet_getBlockWithReceipts", json!([{ "block_number": number }])).await;
    let block = block.unwrap_or_else(|error| panic!("block {number}: {error:?}\n{}", chain.log()));
    assert_eq!(block["status"], "ACCEPTED_ON_L2");
    (block["block_hash"].as_str().unwrap().to_owned(), block)
}
