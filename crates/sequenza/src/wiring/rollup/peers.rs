//! The other sequencers' engines, where blocks are read that this one lacks (`--conductor.peers`).
//!
//! ```text
//!   peer's newest ──► at our height the same block? ──► announced to the heart ──► it fetches what lies between, up to 32 at a time
//! ```
//!
//! A peer is not trusted with more than the order of blocks: each is read whole and checked against its own hash, each must sit on the
//! one below, and what is fetched counts only while the peer's chain leads to the block that is wanted.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use engine::{BlockAt, EngineClient, EngineError, WholeBlock, to_payload};
use futures::{StreamExt, stream};
use node::Outgoing;
use optimism::RollupConfig;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use types::{Announcement, BlockNumber, BlockRef, Slot};

/// How long a peer may take for one call.
pub(super) const DEADLINE: Duration = Duration::from_secs(2);
/// Blocks that are read of one peer at once.
const AT_ONCE: usize = 4;
/// How long blocks are read for one answer: the driver waits for longer (`node::Deadlines::ask`), and asks for the rest.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Between two lines of the log on the same gap.
const SAID_EVERY: Duration = Duration::from_secs(5);

/// Where missing blocks are read.
#[derive(Debug)]
pub(super) struct Peers {
    config: Arc<RollupConfig>,
    /// Each with its name for people.
    all: Vec<(String, EngineClient)>,
    /// The block that the chain is to reach.
    wanted: Mutex<Option<BlockRef>>,
    /// What was wrong last.
    trouble: Mutex<Option<String>>,
    said: Mutex<Option<Instant>>,
}

impl Peers {
    pub(super) fn new(config: Arc<RollupConfig>, all: Vec<(String, EngineClient)>) -> Self {
        let (wanted, trouble, said) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { config, all, wanted, trouble, said }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// What was wrong when blocks were read last, if anything was.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// The chain is to reach this block: fetches are answered by peers whose chain leads there.
    pub(super) fn want(&self, block: BlockRef) {
        *self.wanted.lock() = Some(block);
    }

    /// Answers the driver's fetches until there will be no more. What else it would have carried goes nowhere: there is no gossip here.
    pub(super) async fn carry(&self, mut outgoing: mpsc::Receiver<Outgoing>) {
        while let Some(outgoing) = outgoing.recv().await {
            match outgoing {
                Outgoing::Fetch { from, to, answer } => {
                    let found = self.fetch(from, to).await;
                    // Whoever asked may have given up.
                    let _ = answer.send(found);
                }
                Outgoing::Announce(_) | Outgoing::Propose(_) | Outgoing::Attest(_) | Outgoing::Penalize(..) => {}
            }
        }
    }

    /// Blocks of this range, lowest first, as many as could be had in time.
    async fn fetch(&self, from: BlockNumber, to: BlockNumber) -> Vec<Announcement> {
        let Some(wanted) = *self.wanted.lock() else { return Vec::new() };
        for (name, peer) in &self.all {
            match self.fetch_from(peer, wanted, from, to).await {
                Ok(found) if !found.is_empty() => {
                    *self.trouble.lock() = None;
                    self.say(name, from, wanted);
                    return found;
                }
                Ok(_) => self.fault(
                    name,
                    format!("has no block {from} on a chain that leads to block {} {}", wanted.number, wanted.hash),
                ),
                Err(error) => self.fault(name, error),
            }
        }
        Vec::new()
    }

    async fn fetch_from(
        &self,
        peer: &EngineClient,
        wanted: BlockRef,
        from: BlockNumber,
        to: BlockNumber,
    ) -> Result<Vec<Announcement>, EngineError> {
        if !leads_to(peer, wanted).await? {
            return Ok(Vec::new());
        }
        let began = Instant::now();
        let last = to.as_u64().min(wanted.number.as_u64());
        let reads = (from.as_u64()..=last).map(|number| peer.block(BlockAt::Number(number)));
        let mut reads = stream::iter(reads).buffered(AT_ONCE);
        let mut found: Vec<Announcement> = Vec::new();
        while let Some(read) = reads.next().await {
            let Some(block) = read? else { break };
            let announcement = self.announcement(&block);
            let sits = found.last().is_none_or(|below| announcement.payload.block.extends(&below.payload.block));
            if !sits {
                break;
            }
            found.push(announcement);
            if began.elapsed() > ANSWER_WITHIN {
                break;
            }
        }
        Ok(found)
    }

    /// The newest block of a peer that is above `ours` and whose chain has `ours`.
    pub(super) async fn newest_above(&self, ours: BlockRef) -> Option<Announcement> {
        for (name, peer) in &self.all {
            match self.newest_of(peer, ours).await {
                Ok(Some(block)) => {
                    *self.trouble.lock() = None;
                    return Some(self.announcement(&block));
                }
                Ok(None) => {}
                Err(error) => self.fault(name, error),
            }
        }
        None
    }

    async fn newest_of(&self, peer: &EngineClient, ours: BlockRef) -> Result<Option<WholeBlock>, String> {
        let told = |error: EngineError| error.to_string();
        let Some(newest) = peer.block_ref(BlockAt::Latest).await.map_err(told)? else { return Ok(None) };
        if newest.number <= ours.number {
            return Ok(None);
        }
        let at_ours = peer.block_ref(BlockAt::Number(ours.number.as_u64())).await.map_err(told)?;
        match at_ours {
            Some(theirs) if theirs.hash == ours.hash => peer.block(BlockAt::Hash(hash_of(newest))).await.map_err(told),
            // Where L1 has reorganised, one of the two went on from a block below: the heart finds out which.
            Some(theirs) => {
                self.fault_of_chain(ours, theirs);
                peer.block(BlockAt::Hash(hash_of(theirs))).await.map_err(told)
            }
            None => Err(format!("it has block {} and does not tell block {}", newest.number, ours.number)),
        }
    }

    fn fault_of_chain(&self, ours: BlockRef, theirs: BlockRef) {
        let text = format!("a peer has block {} {}, and this node {}", ours.number, theirs.hash, ours.hash);
        *self.trouble.lock() = Some(text);
    }

    /// Does any peer have this block?
    pub(super) async fn know(&self, hash: B256) -> bool {
        for (name, peer) in &self.all {
            match peer.block_ref(BlockAt::Hash(hash)).await {
                Ok(Some(_)) => return true,
                Ok(None) => self.fault(name, format!("does not have block {hash}")),
                Err(error) => self.fault(name, error),
            }
        }
        false
    }

    /// A block as the heart hears of it.
    pub(super) fn announcement(&self, block: &WholeBlock) -> Announcement {
        let envelope = block.to_envelope();
        let slot = slot_of(&self.config, block.header().timestamp);
        Announcement { payload: to_payload(slot, block.cited_origin(), &envelope), certificate: None }
    }

    fn say(&self, name: &str, from: BlockNumber, wanted: BlockRef) {
        let missing = wanted.number.as_u64().saturating_sub(from.as_u64()) + 1;
        let mut said = self.said.lock();
        if missing > 1 && said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
            tracing::info!(%from, to = %wanted.number, missing, peer = name, "reading missing blocks from another sequencer");
            *said = Some(Instant::now());
        }
    }

    fn fault(&self, name: &str, what: impl Display) {
        let text = format!("{name}: {what}");
        tracing::debug!(trouble = text, "a peer does not help");
        *self.trouble.lock() = Some(text);
    }
}

/// Is this block on the peer's chain, or the next one of it?
async fn leads_to(peer: &EngineClient, wanted: BlockRef) -> Result<bool, EngineError> {
    if let Some(theirs) = peer.block_ref(BlockAt::Number(wanted.number.as_u64())).await? {
        return Ok(theirs.hash == wanted.hash);
    }
    let Some(below) = wanted.number.previous() else { return Ok(false) };
    let theirs = peer.block_ref(BlockAt::Number(below.as_u64())).await?;
    Ok(theirs.is_some_and(|theirs| theirs.hash == wanted.parent))
}

/// The slot of a block of this time: a block is dated with its slot's end.
pub(super) fn slot_of(config: &RollupConfig, timestamp: u64) -> Slot {
    let since = timestamp.saturating_sub(config.genesis.l2_time);
    Slot::new((since / config.block_time.max(1)).saturating_sub(1))
}

fn hash_of(block: BlockRef) -> B256 {
    B256::new(*block.hash.as_bytes())
}
