//! What the next blocks need of L1: the headers and receipts of the blocks that they cite.
//!
//! What is cached is served without asking anyone. What the chain will cite next is read ahead, so that the beginning
//! of an epoch does not wait for L1.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use lru::LruCache;
use parking_lot::Mutex;
use sequencer::origin::{Lookup, is_deep_enough};
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use types::L1Block;

use crate::sources::{ReadError, Sources};
use crate::verify::{At, Header, Receipt};
use crate::view::L1View;

/// Bytes of a receipt in memory beside its logs, and of a log beside its topics and data.
const RECEIPT_BYTES: usize = size_of::<Receipt>();
const LOG_BYTES: usize = 96;
/// Pause after something could not be read ahead.
const RETRY: Duration = Duration::from_millis(500);

/// How much is kept and read ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochsConfig {
    /// L1 blocks above the origin whose receipts are read ahead. Default 4.
    pub ahead: u64,
    /// Headers kept beside those of the view. Default 1024.
    pub headers_max: usize,
    /// L1 blocks whose receipts are kept. Default 64.
    pub receipts_max: usize,
    /// Bytes of receipts kept; the newest are kept even if they alone are more. Default 64 MiB.
    pub receipts_bytes_max: usize,
}

impl Default for EpochsConfig {
    fn default() -> Self {
        Self { ahead: 4, headers_max: 1024, receipts_max: 64, receipts_bytes_max: 64 << 20 }
    }
}

/// The receipts of one L1 block, in order.
pub type Receipts = Arc<[Receipt]>;

/// Headers and receipts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Epochs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sources: Sources,
    view: watch::Receiver<L1View>,
    config: EpochsConfig,
    /// Of blocks that the view does not have.
    headers: Mutex<LruCache<B256, Arc<Header>>>,
    receipts: Mutex<LruCache<B256, Slot>>,
    origin: watch::Sender<Option<u64>>,
}

/// Receipts, or whoever fetches them: others wait for the same answer.
type Slot = Arc<OnceCell<Receipts>>;

impl Epochs {
    /// Reads through these endpoints what this view does not have.
    pub fn new(sources: Sources, view: watch::Receiver<L1View>, config: EpochsConfig) -> Self {
        let size = |max: usize| NonZeroUsize::new(max).unwrap_or(NonZeroUsize::MIN);
        let headers = Mutex::new(LruCache::new(size(config.headers_max)));
        let receipts = Mutex::new(LruCache::new(size(config.receipts_max)));
        Self(Arc::new(Inner { sources, view, config, headers, receipts, origin: watch::Sender::new(None) }))
    }

    /// What is known of L1 now.
    pub fn view(&self) -> L1View {
        self.0.view.borrow().clone()
    }

    /// The header of this hash, on the chain or not; `None` if L1 does not know it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn header(&self, hash: B256) -> Result<Option<Arc<Header>>, ReadError> {
        let known = self.view().by_hash(hash).or_else(|| self.0.headers.lock().get(&hash).cloned());
        if known.is_some() {
            return Ok(known);
        }
        self.fetch_header(At::Hash(hash)).await
    }

    /// Asks for a header that the view does not have, and keeps it.
    async fn fetch_header(&self, at: At) -> Result<Option<Arc<Header>>, ReadError> {
        let header = self.0.sources.header(at).await?.map(Arc::new);
        if let Some(header) = &header {
            self.0.headers.lock().put(header.hash(), Arc::clone(header));
        }
        Ok(header)
    }

    /// The block of the chain at this height, if it is `confirmations` below L1's head; `None` if it is not, or does
    /// not exist. Genesis is never held back, and nothing is while the head is unknown (opstack origin selector,
    /// "confirmation depth").
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn by_number(&self, number: u64, confirmations: u64) -> Result<Option<Arc<Header>>, ReadError> {
        let view = self.view();
        let head = view.latest().map(|head| head.number);
        if !is_deep_enough(number, confirmations, head) {
            return Ok(None);
        }
        if let Some(header) = view.by_number(number) {
            return Ok(Some(Arc::clone(header)));
        }
        // Above the head there is nothing that is linked to it; below what is kept, what an endpoint says counts.
        if head.is_some_and(|head| number > head) {
            return Ok(None);
        }
        self.fetch_header(At::Number(number)).await
    }

    /// Answers what [`sequencer::origin::Origins`] wants to look up. Only a height is held back until it is deep enough.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn look_up(&self, lookup: Lookup, confirmations: u64) -> Result<Option<L1Block>, ReadError> {
        let header = match lookup {
            Lookup::ByHash(hash) => self.header(B256::new(*hash.as_bytes())).await?,
            Lookup::ByNumber(number) => self.by_number(number, confirmations).await?,
        };
        Ok(header.map(|header| optimism::l1_block(&header)))
    }

    /// The receipts of the block of this hash; `None` if L1 does not know the block.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn receipts(&self, hash: B256) -> Result<Option<Receipts>, ReadError> {
        let slot = {
            let mut receipts = self.0.receipts.lock();
            Arc::clone(receipts.get_or_insert(hash, Slot::default))
        };
        if let Some(receipts) = slot.get() {
            return Ok(Some(Arc::clone(receipts)));
        }
        let Some(header) = self.header(hash).await? else {
            self.0.receipts.lock().pop(&hash);
            return Ok(None);
        };
        let fetch = || async { self.0.sources.receipts(&header).await.map(Receipts::from) };
        let receipts = Arc::clone(slot.get_or_try_init(fetch).await?);
        self.bound_receipts();
        Ok(Some(receipts))
    }

    /// Are the receipts of this block here?
    pub fn has_receipts(&self, hash: B256) -> bool {
        self.0.receipts.lock().peek(&hash).is_some_and(|slot| slot.initialized())
    }

    /// The rollup cites this L1 height now: what comes after it is read ahead.
    pub fn origin_moved(&self, number: u64) {
        self.0.origin.send_if_modified(|origin| origin.replace(number) != Some(number));
    }

    /// Reads ahead until it is told to stop.
    pub async fn read_ahead(self, stop: CancellationToken) {
        let (mut view, mut origin) = (self.0.view.clone(), self.0.origin.subscribe());
        let mut running = JoinSet::new();
        let mut asked = HashSet::new();
        loop {
            for hash in self.wanted_ahead() {
                if asked.insert(hash) {
                    let epochs = self.clone();
                    running.spawn(async move {
                        if let Err(error) = epochs.receipts(hash).await {
                            debug!(%error, %hash, "L1 receipts could not be read ahead");
                            sleep(RETRY).await;
                        }
                        hash
                    });
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(done) = running.join_next() => match done {
                    Ok(hash) => { asked.remove(&hash); }
                    Err(_) => asked.clear(),
                },
                Ok(()) = origin.changed() => {}
                Ok(()) = view.changed() => {}
                else => return,
            }
        }
    }

    /// Blocks above the origin whose receipts are not here.
    fn wanted_ahead(&self) -> Vec<B256> {
        let Some(origin) = *self.0.origin.borrow() else { return Vec::new() };
        let view = self.view();
        let heights = origin.saturating_add(1)..=origin.saturating_add(self.0.config.ahead);
        let blocks = heights.map_while(|number| view.by_number(number).map(|header| header.hash()));
        blocks.filter(|hash| !self.has_receipts(*hash)).collect()
    }

    fn bound_receipts(&self) {
        let mut receipts = self.0.receipts.lock();
        let mut bytes: usize = receipts.iter().map(|(_, slot)| bytes_in(slot)).sum();
        while bytes > self.0.config.receipts_bytes_max && receipts.len() > 1 {
            let Some((_, slot)) = receipts.pop_lru() else { return };
            bytes -= bytes_in(&slot);
        }
    }
}

fn bytes_in(slot: &Slot) -> usize {
    slot.get().map_or(0, |receipts| receipts.iter().map(bytes_of).sum())
}

fn bytes_of(receipt: &Receipt) -> usize {
    let log = |log: &alloy_primitives::Log| LOG_BYTES + log.data.topics().len() * 32 + log.data.data.len();
    RECEIPT_BYTES + receipt.logs().iter().map(log).sum::<usize>()
}
