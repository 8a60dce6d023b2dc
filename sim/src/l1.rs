//! The chain below: grows, stalls and reorganises, and looks a little different to whoever asks.

use std::collections::BTreeMap;

use sequencer::origin::{Lookup, is_deep_enough};
use types::{BlockHash, BlockRef, L1Block, L1Origin, Millis, Timestamp};

use crate::dice::Dice;

/// Time between two L1 blocks.
pub(crate) const L1_TIME: Millis = Millis::new(4_000);
/// Most blocks that a reorganisation takes back.
pub(crate) const REORG_MAX: u64 = 3;
/// How deep a height must lie to be found.
const CONFIRMATIONS: u64 = 1;
/// Height of the block that genesis cites.
const FIRST: u64 = 100;

/// L1, and what each block of the rollup cites.
#[derive(Clone, Debug)]
pub(crate) struct L1 {
    /// The canonical chain, from [`FIRST`] on.
    chain: Vec<L1Block>,
    /// All blocks that ever were.
    all: BTreeMap<BlockHash, L1Block>,
    /// The blocks of the rollup that ever were.
    rollup: BTreeMap<BlockHash, (BlockRef, L1Origin)>,
}

impl L1 {
    /// A chain of one block, which `genesis` cites.
    pub(crate) fn at(genesis: BlockRef, dawn: Timestamp) -> Self {
        let mut l1 = Self { chain: Vec::new(), all: BTreeMap::new(), rollup: BTreeMap::new() };
        l1.grow(dawn, 0);
        let first = l1.head();
        l1.cite(genesis, first);
        l1
    }

    /// One more block.
    pub(crate) fn grow(&mut self, timestamp: Timestamp, salt: u64) {
        let number = FIRST + self.chain.len() as u64;
        let mut hash = [0x11; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        hash[8..16].copy_from_slice(&salt.to_le_bytes());
        let origin = L1Origin { number, hash: BlockHash::new(hash), timestamp };
        let parent = self.chain.last().map_or(BlockHash::ZERO, |block| block.origin.hash);
        let block = L1Block { origin, parent };
        self.chain.push(block);
        self.all.insert(origin.hash, block);
    }

    /// The last blocks are others now, of the same times. The first stays.
    pub(crate) fn reorganise(&mut self, depth: u64, salt: u64) {
        let kept = self.chain.len().saturating_sub(usize::try_from(depth).unwrap_or(0)).max(1);
        let times: Vec<Timestamp> = self.chain.drain(kept..).map(|block| block.origin.timestamp).collect();
        times.into_iter().for_each(|time| self.grow(time, salt));
    }

    /// The newest block.
    pub(crate) fn head(&self) -> L1Origin {
        self.chain.last().map_or_else(|| unreachable!("the first stays"), |block| block.origin)
    }

    /// What an endpoint answers, which may be a block behind, and may have forgotten blocks that were taken back.
    pub(crate) fn look_up(&self, lookup: Lookup, dice: &mut Dice) -> Option<L1Block> {
        let head = self.head().number.saturating_sub(dice.below(2)).max(FIRST);
        match lookup {
            Lookup::ByHash(hash) => {
                let block = *self.all.get(&hash)?;
                let seen = block.origin.number <= head && (self.has(&block.origin) || dice.happens(500));
                seen.then_some(block)
            }
            Lookup::ByNumber(number) => {
                let block = *self.chain.get(usize::try_from(number.checked_sub(FIRST)?).ok()?)?;
                is_deep_enough(number, CONFIRMATIONS, Some(head)).then_some(block)
            }
        }
    }

    /// Is this block on the chain?
    pub(crate) fn has(&self, origin: &L1Origin) -> bool {
        let index = origin.number.checked_sub(FIRST).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.chain.get(index)).is_some_and(|block| block.origin == *origin)
    }

    /// A block of the rollup cites this.
    pub(crate) fn cite(&mut self, block: BlockRef, origin: L1Origin) {
        self.rollup.insert(block.hash, (block, origin));
    }

    /// What a block of the rollup cites.
    pub(crate) fn cited_by(&self, block: BlockHash) -> Option<L1Origin> {
        self.rollup.get(&block).map(|(_, origin)| *origin)
    }

    /// The highest block down from this one that cites L1's chain.
    pub(crate) fn borne(&self, from: BlockRef) -> BlockRef {
        let mut at = from.hash;
        loop {
            match self.rollup.get(&at) {
                Some((block, origin)) if self.has(origin) => return *block,
                Some((block, _)) => at = block.parent,
                None => unreachable!("the first block cites the first of L1, which stays"),
            }
        }
    }

    /// The L1 block of this hash, on the chain or not.
    pub(crate) fn any(&self, hash: BlockHash) -> Option<L1Block> {
        self.all.get(&hash).copied()
    }
}
