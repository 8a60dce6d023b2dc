//! Blocks that others built: those that op-conductor or an operator posts, and those of the other sequencers, which a stopped one
//! follows. All go to the heart as announced; what lies between is fetched by it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use engine::{BlockAt, EngineClient, Handed, cited_origin, envelope_from_json, to_payload};
use node::{DriverHandle, Persistence};
use optimism::RollupConfig;
use sequencer::{Event, Peer};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use types::{Announcement, BlockRef};

use super::peers::{Peers, slot_of};

/// Whoever posts is not one of the peers.
const POSTED: Peer = Peer::new(1);
/// The heart's handle of all peers.
const READ: Peer = Peer::new(2);
/// How long a posted block may bring the chain no further before the post is given up.
const STALLED_MAX: Duration = Duration::from_secs(8);
/// Between two looks at how far the chain has come.
const LOOK: Duration = Duration::from_millis(50);

/// Where others' blocks come in.
#[derive(Debug)]
pub(super) struct Brought {
    pub(super) config: Arc<RollupConfig>,
    pub(super) client: EngineClient,
    pub(super) handed: Handed,
    pub(super) driver: DriverHandle,
    pub(super) heart: mpsc::Sender<Event>,
    pub(super) peers: Arc<Peers>,
    /// One gap is filled at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
}

/// Where a posted block stands to our chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is on the chain.
    Known,
    /// It sits on our newest block.
    Next,
    /// Blocks are missing below it.
    Above,
}

impl Brought {
    /// Brings a posted block into the chain, with all that is missing below it. Nothing happens if it is there already.
    ///
    /// # Errors
    /// When it is no block, not of this chain, or something is missing: which, and where it was looked for.
    pub(super) async fn post(&self, envelope: &Value) -> Result<(), String> {
        let envelope = envelope_from_json(&self.config, envelope)?;
        let payload = &envelope.execution_payload;
        let origin = payload.as_v1().transactions.first().and_then(|first| cited_origin(first));
        let slot = slot_of(&self.config, payload.as_v1().timestamp);
        let announcement = Announcement { payload: to_payload(slot, origin, &envelope), certificate: None };
        let block = announcement.payload.block;
        let _turn = self.turn.lock().await;
        let head = self.head().await?;
        match self.place(block, head).await? {
            Place::Known => return Ok(()),
            Place::Next | Place::Above if self.driver.pulse().borrow().active => {
                return Err(format!(
                    "the sequencer builds blocks itself now, and takes none from others: block {} {}",
                    block.number, block.hash
                ));
            }
            Place::Next => {}
            Place::Above => self.can_be_filled(block, head).await?,
        }
        self.peers.want(block);
        self.bring(announcement, head).await
    }

    /// What is at the block's height decides.
    async fn place(&self, block: BlockRef, head: BlockRef) -> Result<Place, String> {
        if block.extends(&head) {
            return Ok(Place::Next);
        }
        if block.number == head.number.next() {
            let BlockRef { number, hash, parent, .. } = block;
            return Err(format!(
                "block {number} {hash} is of another chain: it sits on {parent}, and the newest block here is {} {}",
                head.number, head.hash
            ));
        }
        if block.number > head.number {
            return Ok(Place::Above);
        }
        let ours = self.at(BlockAt::Number(block.number.as_u64())).await?;
        let ours = ours.ok_or_else(|| format!("the engine does not tell its block {}", block.number))?;
        if ours.hash == block.hash {
            return Ok(Place::Known);
        }
        let finalized = self.at(BlockAt::Finalized).await?.map_or(0, |block| block.number.as_u64());
        let what = if block.number.as_u64() <= finalized {
            "contradicts the final block"
        } else {
            "is of another chain: here is block"
        };
        Err(format!("block {} {} {what} {} {}", block.number, block.hash, ours.number, ours.hash))
    }

    /// Is there anybody who has what lies between? If not the heart is not told: it would wait for it for ever.
    async fn can_be_filled(&self, block: BlockRef, head: BlockRef) -> Result<(), String> {
        let below = block.number.previous().unwrap_or_default();
        let own = self.handed.fetch(head.number.next(), below).await;
        let complete = own.len() as u64 == below.as_u64().saturating_sub(head.number.as_u64())
            && own.last().is_some_and(|last| last.payload.block.hash == block.parent);
        if complete || self.peers.know(B256::new(*block.parent.as_bytes())).await {
            return Ok(());
        }
        Err(self.missing(block, head))
    }

    /// Waits for as long as the chain grows.
    async fn bring(&self, announcement: Announcement, mut head: BlockRef) -> Result<(), String> {
        let block = announcement.payload.block;
        self.announce(POSTED, announcement.clone()).await?;
        let mut grown = Instant::now();
        loop {
            let now = self.driver.pulse().borrow().head;
            if now.number >= block.number {
                let on_chain = self.at(BlockAt::Number(block.number.as_u64())).await?;
                return match on_chain {
                    Some(ours) if ours.hash == block.hash => Ok(()),
                    Some(ours) => Err(format!("another block became the chain's {}: {}", ours.number, ours.hash)),
                    None => Err(format!("the engine does not tell its block {}", block.number)),
                };
            }
            if now.number > head.number {
                (head, grown) = (now, Instant::now());
                // Only what is near is kept by the heart: the block itself may have to be told again.
                self.announce(POSTED, announcement.clone()).await?;
            }
            if grown.elapsed() > STALLED_MAX {
                return Err(self.missing(block, head));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn missing(&self, block: BlockRef, head: BlockRef) -> String {
        let (from, to) = (head.number.next(), block.number.previous().unwrap_or_default());
        let where_looked = match (self.peers.len(), self.peers.trouble()) {
            (0, _) => "they are not kept here, and no --conductor.peers are named".to_owned(),
            (_, None) => "they are not kept here, and the peers did not bring them in time".to_owned(),
            (_, Some(trouble)) => format!("they are not kept here, and of --conductor.peers none has them: {trouble}"),
        };
        if from > to {
            let trouble = self.driver.pulse().borrow().trouble.as_ref().map(|trouble| trouble.what.clone());
            let trouble = trouble.unwrap_or_else(|| "the engine did not take it in time".to_owned());
            return format!("block {} {} did not become the head: {trouble}", block.number, block.hash);
        }
        format!("block {} {} needs blocks {from} to {to}: {where_looked}", block.number, block.hash)
    }

    /// Follows the peers while the sequencer does not run, at the pace of blocks, until it is told to stop.
    pub(super) async fn follow(&self, stop: CancellationToken) {
        let pace = Duration::from_secs(self.config.block_time.max(1));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pace) => {}
            }
            let (active, head) = {
                let pulse = self.driver.pulse();
                let pulse = pulse.borrow();
                (pulse.active, pulse.head)
            };
            let Ok(_turn) = self.turn.try_lock() else { continue };
            if active {
                continue;
            }
            let newest = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                newest = self.peers.newest_above(head) => newest,
            };
            // It may have been started meanwhile.
            if let Some(announcement) = newest.filter(|_| !self.driver.pulse().borrow().active) {
                self.peers.want(announcement.payload.block);
                if self.announce(READ, announcement).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn announce(&self, peer: Peer, announcement: Announcement) -> Result<(), String> {
        let told = self.heart.send(Event::Announced { peer, announcement }).await;
        told.map_err(|_| "the driver has ended".to_owned())
    }

    async fn head(&self) -> Result<BlockRef, String> {
        self.at(BlockAt::Latest).await?.ok_or_else(|| "the engine has no newest block yet".to_owned())
    }

    async fn at(&self, at: BlockAt) -> Result<Option<BlockRef>, String> {
        self.client.block_ref(at).await.map_err(|error| error.to_string())
    }
}
