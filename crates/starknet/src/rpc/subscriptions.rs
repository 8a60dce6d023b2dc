//! Subscriptions: what a client asked to be told, as it happens.
//!
//! Each subscription is one task between the chain's notices and a [`Sink`]. It first hears, then looks at what is
//! there already, then goes on with what it hears and has not told yet, so that nothing falls between. A subscriber
//! that reads more slowly than the chain speaks is cut off rather than told half: heads are caught up from the chain,
//! for everything else a gap ends the subscription.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use starknet_api::block::BlockNumber;
use starknet_api::core::ContractAddress;
use starknet_api::transaction::{CalculateContractAddress, DeployAccountTransaction, Transaction, TransactionHash};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::block::HeaderJson;
use super::block_id::BlockId;
use super::error::{BLOCK_NOT_FOUND, RpcError, TOO_MANY_ADDRESSES_IN_FILTER, TOO_MANY_BLOCKS_BACK};
use super::events::{Addresses, EmittedJson, keys};
use super::hex::{Hex, Key};
use super::params::Params;
use super::receipt::{Finality, InBlock, ReceiptJson, StatusJson};
use super::transaction::TransactionJson;
use super::{Method, StarknetRpc, from_chain};
use crate::block::{Block, ExecutedTransaction};
use crate::chain::{Chain, Notice};
use crate::events::{EventFilter, PlacedEvent};
use crate::pool::PoolNotice;
use crate::source::ReadyTransaction;
use crate::view::At;

/// The way to one subscriber.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Sends the notification `method` with its `params`, `{"subscription_id": ..., "result": ...}`. Waits while there
    /// is no room, but not without end.
    ///
    /// # Errors
    /// [`SinkClosed`] when the subscriber has gone, has unsubscribed or does not make room.
    async fn send(&self, method: &'static str, params: Box<RawValue>) -> Result<(), SinkClosed>;

    /// Ends when the subscription is over.
    async fn closed(&self);
}

/// Nobody listens any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the subscriber is gone")]
pub struct SinkClosed;

/// Subscriptions with their parameters, in the order of the specification.
pub(super) const METHODS: &[Method] = &[
    Method { name: NAMES[0], params: &["block_id"] },
    Method { name: NAMES[1], params: &["from_address", "keys", "block_id", "finality_status"] },
    Method { name: NAMES[2], params: &["transaction_hash"] },
    Method { name: NAMES[3], params: &["finality_status", "sender_address"] },
    Method { name: NAMES[4], params: &["finality_status", "sender_address", "tags"] },
];

/// Names of the subscriptions.
pub(super) const NAMES: &[&str] = &[
    "starknet_subscribeNewHeads",
    "starknet_subscribeEvents",
    "starknet_subscribeTransactionStatus",
    "starknet_subscribeNewTransactionReceipts",
    "starknet_subscribeNewTransactions",
];

/// Subscription ids are numbers of this process, written as strings.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl StarknetRpc {
    /// Opens the subscription `method` and returns its id. Notifications go into `sink` until it says that it is
    /// closed; the transport must hand the id to the client before the first of them.
    ///
    /// # Errors
    /// The specification's errors for the subscription, `-32601` for an unknown one, `-32602` for wrong parameters.
    pub async fn subscribe(
        &self,
        method: &str,
        params: Option<&RawValue>,
        sink: std::sync::Arc<dyn Sink>,
    ) -> Result<String, RpcError> {
        let Some(subscription) = METHODS.iter().find(|known| known.name == method) else {
            return Err(RpcError::method_not_found(method));
        };
        let params = Params::sort(subscription.params, params)?;
        let feed = Feed::open(self, sink);
        let id = feed.id.clone();
        match subscription.name {
            "starknet_subscribeNewHeads" => {
                let first = self.start(params.optional(0)?)?;
                tokio::spawn(feed.heads(first));
            }
            "starknet_subscribeEvents" => {
                let addresses: Addresses = params.optional(0)?.unwrap_or_default();
                self.check_addresses(addresses.0.len(), "from_address")?;
                let keys = keys(params.optional(1)?, self.limits())?;
                let first = self.start(params.optional(2)?)?;
                let lowest = params.optional(3)?.unwrap_or(EventFinality::AcceptedOnL2);
                let wants = match lowest {
                    EventFinality::AcceptedOnL2 => Wants { accepted: true, ..Wants::default() },
                    // What was pre-confirmed is told again once it is accepted.
                    EventFinality::PreConfirmed => Wants { accepted: true, pre_confirmed: true, ..Wants::default() },
                };
                let filter = EventFilter { addresses: addresses.0, keys };
                tokio::spawn(feed.follow(What::Events(filter), wants, first));
            }
            "starknet_subscribeTransactionStatus" => {
                let hash = TransactionHash(params.required::<Hex>(0)?.0);
                tokio::spawn(feed.with_pool().status(hash));
            }
            "starknet_subscribeNewTransactionReceipts" => {
                let wanted: Option<Vec<ReceiptFinality>> = params.optional(0)?;
                let senders = self.senders(params.optional(1)?)?;
                let first = self.chain().head().number.unchecked_next();
                tokio::spawn(feed.follow(What::Receipts { senders }, Wants::from_receipts(wanted), first));
            }
            _ => {
                let wanted: Option<Vec<TransactionFinality>> = params.optional(0)?;
                let senders = self.senders(params.optional(1)?)?;
                let tags: Vec<Tag> = params.optional(2)?.unwrap_or_default();
                let what = What::Transactions { senders, proof_facts: tags.contains(&Tag::IncludeProofFacts) };
                let first = self.chain().head().number.unchecked_next();
                let wants = Wants::from_transactions(wanted);
                let feed = if wants.received || wants.candidate { feed.with_pool() } else { feed };
                tokio::spawn(feed.follow(what, wants, first));
            }
        }
        Ok(id)
    }

    /// The first block that a subscription tells of: the one named, or the next one.
    fn start(&self, id: Option<BlockId>) -> Result<BlockNumber, RpcError> {
        let head = self.chain().head().number;
        let number = match id {
            None | Some(BlockId::Latest) => return Ok(head.unchecked_next()),
            Some(BlockId::PreConfirmed | BlockId::L1Accepted) => {
                return Err(RpcError::invalid_params(
                    "block_id: a subscription starts at a block number, a block hash or latest, not at another tag",
                ));
            }
            Some(BlockId::Number(number)) => BlockNumber(number),
            Some(BlockId::Hash(hash)) => {
                let at = At::Hash(starknet_api::block::BlockHash(hash));
                self.chain().header(at).map_err(from_chain)?.ok_or(RpcError::from(BLOCK_NOT_FOUND))?.number
            }
        };
        match head.0.checked_sub(number.0) {
            None => Err(BLOCK_NOT_FOUND.into()),
            Some(back) if back > self.limits().blocks_back => Err(TOO_MANY_BLOCKS_BACK.into()),
            Some(_) => Ok(number),
        }
    }

    /// The specification has no error of its own for too many addresses of events.
    fn check_addresses(&self, count: usize, name: &str) -> Result<(), RpcError> {
        let limit = self.limits().filter_addresses;
        if count > limit {
            return Err(RpcError::invalid_params(format!(
                "{name}: {count} addresses are given, at most {limit} are taken"
            )));
        }
        Ok(())
    }

    fn senders(&self, addresses: Option<Vec<Key>>) -> Result<BTreeSet<ContractAddress>, RpcError> {
        let addresses = addresses.unwrap_or_default();
        if addresses.len() > self.limits().filter_addresses {
            return Err(TOO_MANY_ADDRESSES_IN_FILTER.into());
        }
        Ok(addresses.into_iter().map(Key::address).collect())
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum EventFinality {
    PreConfirmed,
    #[serde(rename = "ACCEPTED_ON_L2")]
    AcceptedOnL2,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ReceiptFinality {
    PreConfirmed,
    #[serde(rename = "ACCEPTED_ON_L2")]
    AcceptedOnL2,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum TransactionFinality {
    Received,
    Candidate,
    PreConfirmed,
    #[serde(rename = "ACCEPTED_ON_L2")]
    AcceptedOnL2,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Tag {
    IncludeProofFacts,
}

/// At which steps of a transaction's life the subscriber wants to hear of it.
#[derive(Clone, Copy, Debug, Default)]
struct Wants {
    received: bool,
    candidate: bool,
    pre_confirmed: bool,
    accepted: bool,
}

impl Wants {
    fn from_receipts(wanted: Option<Vec<ReceiptFinality>>) -> Self {
        let wanted = wanted.unwrap_or_else(|| vec![ReceiptFinality::AcceptedOnL2]);
        Self {
            pre_confirmed: wanted.contains(&ReceiptFinality::PreConfirmed),
            accepted: wanted.contains(&ReceiptFinality::AcceptedOnL2),
            ..Self::default()
        }
    }

    fn from_transactions(wanted: Option<Vec<TransactionFinality>>) -> Self {
        let wanted = wanted.unwrap_or_else(|| vec![TransactionFinality::AcceptedOnL2]);
        Self {
            received: wanted.contains(&TransactionFinality::Received),
            candidate: wanted.contains(&TransactionFinality::Candidate),
            pre_confirmed: wanted.contains(&TransactionFinality::PreConfirmed),
            accepted: wanted.contains(&TransactionFinality::AcceptedOnL2),
        }
    }
}

/// What is told of a transaction.
enum What {
    Events(EventFilter),
    /// An empty set of senders means all.
    Receipts {
        senders: BTreeSet<ContractAddress>,
    },
    Transactions {
        senders: BTreeSet<ContractAddress>,
        proof_facts: bool,
    },
}

impl What {
    fn notification(&self) -> &'static str {
        match self {
            Self::Events(_) => "starknet_subscriptionEvents",
            Self::Receipts { .. } => "starknet_subscriptionNewTransactionReceipts",
            Self::Transactions { .. } => "starknet_subscriptionNewTransaction",
        }
    }
}

/// What a task hears.
enum Heard {
    Notice(Notice),
    Pool(PoolNotice),
    /// Notices were lost: the task was too slow.
    Gap,
}

/// One subscriber with its source of news.
struct Feed {
    chain: Chain,
    rpc: StarknetRpc,
    notices: broadcast::Receiver<Notice>,
    /// `None` for those whom the pool does not concern.
    pool: Option<broadcast::Receiver<PoolNotice>>,
    sink: std::sync::Arc<dyn Sink>,
    id: String,
}

impl Feed {
    fn open(rpc: &StarknetRpc, sink: std::sync::Arc<dyn Sink>) -> Self {
        Self {
            chain: rpc.chain().clone(),
            rpc: rpc.clone(),
            notices: rpc.chain().notices(),
            pool: None,
            sink,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed).to_string(),
        }
    }

    /// Hears the pool as well.
    fn with_pool(mut self) -> Self {
        self.pool = Some(self.rpc.pool().notices());
        self
    }

    /// The next news; ends with the subscriber or with the chain. The pool's come first: a transaction is received
    /// before it is executed.
    async fn hear(&mut self) -> Result<Heard, SinkClosed> {
        let pool = async {
            match &mut self.pool {
                Some(pool) => pool.recv().await,
                None => std::future::pending().await,
            }
        };
        let heard = tokio::select! {
            biased;
            () = self.sink.closed() => return Err(SinkClosed),
            heard = pool => heard.map(Heard::Pool),
            heard = self.notices.recv() => heard.map(Heard::Notice),
        };
        match heard {
            Ok(heard) => Ok(heard),
            Err(RecvError::Lagged(_)) => Ok(Heard::Gap),
            Err(RecvError::Closed) => Err(SinkClosed),
        }
    }

    async fn tell<T: Serialize>(&self, method: &'static str, result: &T) -> Result<(), SinkClosed> {
        #[derive(Serialize)]
        struct Params<'a, T> {
            subscription_id: &'a str,
            result: &'a T,
        }
        let params = to_raw_value(&Params { subscription_id: &self.id, result }).map_err(|error| {
            tracing::error!(%error, method, "a notification cannot be written");
            SinkClosed
        })?;
        self.sink.send(method, params).await
    }

    /// Tells of every sealed block from `next` on.
    async fn heads(mut self, next: BlockNumber) {
        let _ = self.tell_heads(next).await;
    }

    async fn tell_heads(&mut self, mut next: BlockNumber) -> Result<(), SinkClosed> {
        const NOTIFICATION: &str = "starknet_subscriptionNewHeads";
        loop {
            while next <= self.chain.head().number {
                let header = self.chain.header(At::Number(next)).ok().flatten().ok_or(SinkClosed)?;
                self.tell(NOTIFICATION, &HeaderJson::from(&*header)).await?;
                next = next.unchecked_next();
            }
            if let Heard::Notice(Notice::Block(block)) = self.hear().await?
                && block.header.number == next
            {
                self.tell(NOTIFICATION, &HeaderJson::from(&*block.header)).await?;
                next = next.unchecked_next();
            }
        }
    }

    /// Tells `what` of every transaction, at the steps that `wants` names, from the sealed block `next` on.
    async fn follow(mut self, what: What, wants: Wants, next: BlockNumber) {
        let _ = self.tell_all(&what, wants, next).await;
    }

    async fn tell_all(&mut self, what: &What, wants: Wants, next: BlockNumber) -> Result<(), SinkClosed> {
        let mut told = Told { next, open: next, of_open: 0 };
        self.catch_up(what, wants, &mut told).await?;
        loop {
            match self.hear().await? {
                Heard::Notice(Notice::PreConfirmed { block, index, transaction }) => {
                    if wants.pre_confirmed && told.is_new(block, index) {
                        self.tell_one(what, &transaction, index, InBlock { number: block, hash: None }).await?;
                        told.told(block, index);
                    }
                }
                Heard::Notice(Notice::Block(block)) if block.header.number == told.next => {
                    self.tell_block(what, wants, &block).await?;
                    told.next = told.next.unchecked_next();
                }
                // What a given-up block held will be executed, and told, anew.
                Heard::Notice(Notice::Cancelled(block)) if block == told.open => told.of_open = 0,
                Heard::Notice(_) => {}
                Heard::Pool(PoolNotice::Received(ready)) if wants.received => {
                    self.tell_waiting(what, &ready, Finality::Received).await?;
                }
                Heard::Pool(PoolNotice::Candidate(ready)) if wants.candidate => {
                    self.tell_waiting(what, &ready, Finality::Candidate).await?;
                }
                Heard::Pool(_) => {}
                Heard::Gap => self.catch_up(what, wants, &mut told).await?,
            }
        }
    }

    /// Tells what the chain holds and was not told yet: sealed blocks, then the open one.
    async fn catch_up(&mut self, what: &What, wants: Wants, told: &mut Told) -> Result<(), SinkClosed> {
        while told.next <= self.chain.head().number {
            if let Some(block) = self.chain.block(At::Number(told.next)).ok().flatten() {
                self.tell_block(what, wants, &block).await?;
            }
            told.next = told.next.unchecked_next();
        }
        if !wants.pre_confirmed {
            return Ok(());
        }
        let open = self.chain.pre_confirmed();
        let number = open.block_info().block_number;
        for (index, executed) in open.transactions().iter().enumerate() {
            let index = index as u64;
            if told.is_new(number, index) {
                self.tell_one(what, executed, index, InBlock { number, hash: None }).await?;
                told.told(number, index);
            }
        }
        Ok(())
    }

    async fn tell_block(&self, what: &What, wants: Wants, block: &Block) -> Result<(), SinkClosed> {
        if wants.accepted {
            let place = InBlock { number: block.header.number, hash: Some(block.header.hash) };
            for (index, executed) in block.transactions.iter().enumerate() {
                self.tell_one(what, executed, index as u64, place).await?;
            }
        }
        Ok(())
    }

    async fn tell_one(
        &self,
        what: &What,
        executed: &ExecutedTransaction,
        transaction_index: u64,
        place: InBlock,
    ) -> Result<(), SinkClosed> {
        let notification = what.notification();
        match what {
            What::Events(filter) => {
                let events = executed.outcome.events.iter().enumerate().filter(|(_, event)| filter.matches(event));
                for (event_index, event) in events {
                    let placed = PlacedEvent {
                        block_number: place.number,
                        block_hash: place.hash,
                        transaction_hash: executed.hash,
                        transaction_index,
                        event_index: event_index as u64,
                        event: event.clone(),
                    };
                    let finality_status = place.finality();
                    self.tell(notification, &WithFinality { item: EmittedJson::from(&placed), finality_status })
                        .await?;
                }
                Ok(())
            }
            What::Receipts { senders } => {
                if !sent_by(&executed.transaction, senders) {
                    return Ok(());
                }
                let receipt = ReceiptJson { executed, finality: place.finality(), block: Some(place) };
                self.tell(notification, &receipt).await
            }
            What::Transactions { .. } => {
                self.tell_transaction(what, &executed.transaction, executed.hash, place.finality()).await
            }
        }
    }

    async fn tell_transaction(
        &self,
        what: &What,
        transaction: &Transaction,
        hash: TransactionHash,
        finality_status: Finality,
    ) -> Result<(), SinkClosed> {
        let What::Transactions { senders, proof_facts } = what else { return Ok(()) };
        if !sent_by(transaction, senders) {
            return Ok(());
        }
        let item = TransactionJson { transaction, hash: Some(hash), proof_facts: *proof_facts };
        self.tell(what.notification(), &WithFinality { item, finality_status }).await
    }

    async fn tell_waiting(&self, what: &What, ready: &ReadyTransaction, finality: Finality) -> Result<(), SinkClosed> {
        let transaction = Transaction::from(ready.transaction.clone());
        self.tell_transaction(what, &transaction, ready.hash(), finality).await
    }

    /// Tells where one transaction stands, now and whenever it moves on.
    async fn status(mut self, hash: TransactionHash) {
        let _ = self.tell_status(hash).await;
    }

    async fn tell_status(&mut self, hash: TransactionHash) -> Result<(), SinkClosed> {
        let mut last = None;
        self.look_up(hash, &mut last).await?;
        loop {
            match self.hear().await? {
                Heard::Notice(Notice::PreConfirmed { transaction, .. }) if transaction.hash == hash => {
                    self.tell_stand(
                        hash,
                        StatusJson::executed(Finality::PreConfirmed, &transaction.outcome),
                        &mut last,
                    )
                    .await?;
                }
                Heard::Notice(Notice::Block(block)) => {
                    if let Some(executed) = block.transactions.iter().find(|executed| executed.hash == hash) {
                        let status = StatusJson::executed(Finality::AcceptedOnL2, &executed.outcome);
                        self.tell_stand(hash, status, &mut last).await?;
                    }
                }
                Heard::Notice(Notice::Cancelled(_)) if last == Some(Finality::PreConfirmed) => last = None,
                Heard::Notice(_) => {}
                Heard::Pool(PoolNotice::Received(ready)) if ready.hash() == hash => {
                    self.tell_stand(hash, StatusJson::waiting(Finality::Received), &mut last).await?;
                }
                Heard::Pool(PoolNotice::Candidate(ready)) if ready.hash() == hash => {
                    self.tell_stand(hash, StatusJson::waiting(Finality::Candidate), &mut last).await?;
                }
                // It may be submitted anew, and would then be told from the start.
                Heard::Pool(PoolNotice::Dropped { hash: dropped, .. }) if dropped == hash => last = None,
                Heard::Pool(_) => {}
                Heard::Gap => self.look_up(hash, &mut last).await?,
            }
        }
    }

    async fn look_up(&self, hash: TransactionHash, last: &mut Option<Finality>) -> Result<(), SinkClosed> {
        let waiting = self.rpc.pool().status(hash);
        match self.chain.transaction(hash).ok().flatten() {
            Some(located) => {
                let finality = if located.header.is_some() { Finality::AcceptedOnL2 } else { Finality::PreConfirmed };
                self.tell_stand(hash, StatusJson::executed(finality, &located.transaction.outcome), last).await
            }
            None => match waiting {
                Some(status) => self.tell_stand(hash, StatusJson::waiting(status.into()), last).await,
                None => Ok(()),
            },
        }
    }

    /// Tells a status unless it, or a later one, was told before.
    async fn tell_stand(
        &self,
        hash: TransactionHash,
        status: StatusJson<'_>,
        last: &mut Option<Finality>,
    ) -> Result<(), SinkClosed> {
        #[derive(Serialize)]
        struct Stand<'a> {
            transaction_hash: Hex,
            status: StatusJson<'a>,
        }
        if *last >= Some(status.finality_status) {
            return Ok(());
        }
        *last = Some(status.finality_status);
        self.tell("starknet_subscriptionTransactionStatus", &Stand { transaction_hash: Hex(hash.0), status }).await
    }
}

/// How far a subscriber has been told.
struct Told {
    /// The first sealed block not told.
    next: BlockNumber,
    /// The open block that was told of last, and how many of its transactions were.
    open: BlockNumber,
    of_open: u64,
}

impl Told {
    fn is_new(&self, block: BlockNumber, index: u64) -> bool {
        block > self.open || (block == self.open && index >= self.of_open)
    }

    fn told(&mut self, block: BlockNumber, index: u64) {
        self.open = block;
        self.of_open = index + 1;
    }
}

#[derive(Serialize)]
struct WithFinality<T> {
    #[serde(flatten)]
    item: T,
    finality_status: Finality,
}

/// Whether one of `senders` sent the transaction; no senders mean anyone.
fn sent_by(transaction: &Transaction, senders: &BTreeSet<ContractAddress>) -> bool {
    if senders.is_empty() {
        return true;
    }
    let sender = match transaction {
        Transaction::Invoke(transaction) => transaction.sender_address(),
        Transaction::Declare(transaction) => transaction.sender_address(),
        Transaction::DeployAccount(DeployAccountTransaction::V1(transaction)) => {
            return transaction.calculate_contract_address().is_ok_and(|address| senders.contains(&address));
        }
        Transaction::DeployAccount(DeployAccountTransaction::V3(transaction)) => {
            return transaction.calculate_contract_address().is_ok_and(|address| senders.contains(&address));
        }
        Transaction::L1Handler(_) | Transaction::Deploy(_) => return false,
    };
    senders.contains(&sender)
}
