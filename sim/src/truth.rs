//! What really happened, seen from above all nodes.

use std::collections::{BTreeMap, BTreeSet};

use types::{Announcement, BlockHash, BlockNumber, BlockRef, Certificate, MemberId, Slot, Stage, Vow};

/// Slots whose votes are kept.
const SLOTS_KEPT: u64 = 4096;

/// Decided blocks and votes of all nodes, faulty ones included.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    chain: Vec<Announcement>,
    votes: BTreeMap<(Slot, Stage, BlockRef), u128>,
    /// All that was ever decided.
    ever: BTreeSet<BlockHash>,
}

impl Truth {
    /// The decided block at this height.
    pub fn decided(&self, number: BlockNumber) -> Option<&Announcement> {
        let index = number.previous()?.as_u64();
        self.chain.get(usize::try_from(index).ok()?)
    }

    /// The height up to which blocks are decided.
    pub fn height(&self) -> u64 {
        self.chain.len() as u64
    }

    /// The newest decided block.
    pub fn head(&self) -> Option<BlockRef> {
        self.chain.last().map(|announcement| announcement.payload.block)
    }

    /// Has exactly this block been decided?
    pub fn is_decided(&self, block: BlockRef) -> bool {
        self.decided(block.number).is_some_and(|announcement| announcement.payload.block == block)
    }

    /// Was this block decided once, though it may have been taken back since?
    pub fn was_decided(&self, block: BlockRef) -> bool {
        self.ever.contains(&block.hash)
    }

    /// A block is decided. It must be the next one, or one that was decided before.
    ///
    /// # Errors
    /// Says what contradicts it.
    pub fn decide(&mut self, announcement: Announcement) -> Result<(), String> {
        let block = announcement.payload.block;
        match self.decided(block.number) {
            Some(earlier) if earlier.payload.block == block => Ok(()),
            Some(earlier) => {
                Err(format!("decided at {}: {} and {}", block.number, earlier.payload.block.hash, block.hash))
            }
            None if block.number.as_u64() == self.height() + 1 => {
                self.ever.insert(block.hash);
                self.chain.push(announcement);
                Ok(())
            }
            None => Err(format!("decided at {} on a chain of height {}", block.number, self.height())),
        }
    }

    /// The chain was derived anew: blocks above this height are decided no more.
    pub(crate) fn take_back(&mut self, height: u64) {
        self.chain.truncate(usize::try_from(height).unwrap_or(usize::MAX));
    }

    /// A member has sent its vow to someone.
    pub fn voted(&mut self, member: MemberId, vow: Vow) {
        *self.votes.entry((vow.slot, vow.stage, vow.block)).or_default() |= 1 << member.as_u32();
        if let Some(entry) = self.votes.first_entry()
            && entry.key().0.as_u64() + SLOTS_KEPT < vow.slot.as_u64()
        {
            entry.remove();
        }
    }

    /// Have all who are said to have signed really done so?
    pub fn is_signed(&self, certificate: &Certificate) -> bool {
        let vow = certificate.vow;
        let voted = self.votes.get(&(vow.slot, vow.stage, vow.block)).copied().unwrap_or_default();
        certificate.signatures.iter().all(|(member, _)| voted >> member.as_u32() & 1 == 1)
    }
}
