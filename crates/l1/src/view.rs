//! What is known of L1 at one moment, for everyone who reads.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use alloy_primitives::B256;
use optimism::BlockId;

use crate::chain::{bytes_of, id};
use crate::verify::Header;

/// A change on L1.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// The next block. Every block is told, one after the other.
    Advanced(Arc<Header>),
    /// Blocks were left. What is on the chain instead follows as [`News::Advanced`].
    Reorged {
        /// The head before.
        from: BlockId,
        /// The highest block that stays.
        to: BlockId,
        /// How many blocks were left; at least 1.
        depth: u64,
    },
    /// The link between two heads is lost: L1 moved further than what is kept. Find out anew where things stand.
    Skipped {
        /// The head before.
        from: BlockId,
        /// The head now. Between them may be blocks that were never told, and a reorganisation.
        to: BlockId,
    },
    /// A higher block is safe.
    Safe(Arc<Header>),
    /// A higher block is final.
    Finalized(Arc<Header>),
}

/// L1 at one moment. Cheap to clone; never changes.
#[derive(Clone, Debug, Default)]
pub struct L1View {
    branches: Arc<Branches>,
    safe: Option<Arc<Header>>,
    finalized: Option<Arc<Header>>,
}

impl L1View {
    pub(crate) fn new(branches: Arc<Branches>, safe: Option<Arc<Header>>, finalized: Option<Arc<Header>>) -> Self {
        Self { branches, safe, finalized }
    }

    /// Is it the same picture, to the same blocks?
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same = |one: &Option<Arc<Header>>, two: &Option<Arc<Header>>| {
            one.as_ref().map(|header| header.hash()) == two.as_ref().map(|header| header.hash())
        };
        Arc::ptr_eq(&self.branches, &other.branches)
            && same(&self.safe, &other.safe)
            && same(&self.finalized, &other.finalized)
    }

    /// The newest block; `None` before any was heard of.
    pub fn latest(&self) -> Option<&Arc<Header>> {
        self.branches.head()
    }

    /// The highest safe block. Lower than before only after a reorganisation.
    pub fn safe(&self) -> Option<&Arc<Header>> {
        self.safe.as_ref()
    }

    /// The highest final block. Never lower than before.
    pub fn finalized(&self) -> Option<&Arc<Header>> {
        self.finalized.as_ref()
    }

    /// The lowest block of the chain that is kept.
    pub fn lowest(&self) -> Option<&Arc<Header>> {
        self.branches.lowest()
    }

    /// The block of the chain at this height, if it is kept.
    pub fn by_number(&self, number: u64) -> Option<&Arc<Header>> {
        self.branches.by_number(number)
    }

    /// The block of this hash, if it is kept: on the chain, or on a branch that was left not long ago.
    pub fn by_hash(&self, hash: B256) -> Option<Arc<Header>> {
        let canonical = self.branches.canonical_number(&hash).and_then(|number| self.by_number(number).cloned());
        canonical.or_else(|| self.branches.left(&hash))
    }

    /// Is this block on the chain?
    pub fn is_canonical(&self, block: &BlockId) -> bool {
        self.branches.is_canonical(block)
    }

    /// The block of the chain that sits on the one of this hash; `None` at the head, and for a block that is not on
    /// the chain.
    pub fn child_of(&self, hash: B256) -> Option<&Arc<Header>> {
        let number = self.branches.canonical_number(&hash)?.checked_add(1)?;
        self.by_number(number)
    }

    /// What happened to the head since a reader last saw `seen` as the head. Afterwards it has seen
    /// [`L1View::latest`]. However many views were missed in between, no block of the chain is left out, unless
    /// [`News::Skipped`] says so.
    pub fn since(&self, seen: BlockId) -> Vec<News> {
        let Some(head) = self.latest().map(|head| id(head)) else { return Vec::new() };
        let Some(ancestor) = self.branches.ancestor_on_chain(&seen) else {
            return vec![News::Skipped { from: seen, to: head }];
        };
        let left = (ancestor != seen).then(|| {
            let depth = seen.number - ancestor.number;
            News::Reorged { from: seen, to: ancestor, depth }
        });
        let above = self.branches.above(ancestor.number).map(|header| News::Advanced(Arc::clone(header)));
        left.into_iter().chain(above).collect()
    }
}

/// The chain, and branches that were left.
#[derive(Clone, Debug, Default)]
pub(crate) struct Branches {
    /// Lowest first, without gaps.
    canonical: VecDeque<Arc<Header>>,
    numbers: HashMap<B256, u64>,
    left: HashMap<B256, Arc<Header>>,
    /// Oldest first.
    left_order: VecDeque<B256>,
}

impl Branches {
    pub(crate) fn head(&self) -> Option<&Arc<Header>> {
        self.canonical.back()
    }

    pub(crate) fn lowest(&self) -> Option<&Arc<Header>> {
        self.canonical.front()
    }

    pub(crate) fn len(&self) -> usize {
        self.canonical.len()
    }

    pub(crate) fn by_number(&self, number: u64) -> Option<&Arc<Header>> {
        let index = number.checked_sub(self.lowest()?.number)?;
        self.canonical.get(usize::try_from(index).ok()?)
    }

    pub(crate) fn canonical_number(&self, hash: &B256) -> Option<u64> {
        self.numbers.get(hash).copied()
    }

    pub(crate) fn is_canonical(&self, block: &BlockId) -> bool {
        self.canonical_number(&block.hash) == Some(block.number)
    }

    pub(crate) fn left(&self, hash: &B256) -> Option<Arc<Header>> {
        self.left.get(hash).cloned()
    }

    pub(crate) fn is_left(&self, hash: &B256) -> bool {
        self.left.contains_key(hash)
    }

    /// The block itself, or the highest block below it that is on the chain; `None` if the way there is not kept.
    fn ancestor_on_chain(&self, block: &BlockId) -> Option<BlockId> {
        let mut hash = block.hash;
        loop {
            if let Some(number) = self.canonical_number(&hash) {
                return Some(BlockId { number, hash });
            }
            hash = self.left.get(&hash)?.parent_hash;
        }
    }

    fn above(&self, number: u64) -> impl Iterator<Item = &Arc<Header>> {
        let lowest = self.lowest().map_or(0, |lowest| lowest.number);
        let skip = number.saturating_add(1).saturating_sub(lowest);
        self.canonical.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX))
    }

    pub(crate) fn extend(&mut self, header: Arc<Header>) {
        if self.left.remove(&header.hash()).is_some() {
            self.left_order.retain(|left| *left != header.hash());
        }
        self.numbers.insert(header.hash(), header.number);
        self.canonical.push_back(header);
    }

    pub(crate) fn deepen(&mut self, header: Arc<Header>) {
        self.numbers.insert(header.hash(), header.number);
        self.canonical.push_front(header);
    }

    /// Leaves every block above `ancestor`, and keeps `keep` blocks that were left. Returns how many bytes the chain
    /// lost.
    pub(crate) fn rewind(&mut self, ancestor: u64, keep: usize) -> usize {
        let mut bytes = 0;
        while let Some(header) = self.canonical.pop_back_if(|header| header.number > ancestor) {
            bytes += bytes_of(&header);
            self.numbers.remove(&header.hash());
            self.left_order.push_back(header.hash());
            self.left.insert(header.hash(), header);
        }
        while self.left_order.len() > keep {
            let oldest = self.left_order.pop_front();
            oldest.and_then(|oldest| self.left.remove(&oldest));
        }
        bytes
    }

    pub(crate) fn drop_lowest(&mut self) -> Option<Arc<Header>> {
        let lowest = self.canonical.pop_front()?;
        self.numbers.remove(&lowest.hash());
        Some(lowest)
    }
}
