//! A place where blocks are made and checked, which forgets what it has not flushed.

use bytes::Bytes;
use types::{Attributes, BlockHash, BlockRef, BuildId, Failure, Heads, Payload, Verdict};

use crate::dice::Dice;

/// Builds kept at once; the oldest goes.
const BUILDS_MAX: usize = 4;
/// Imported blocks kept above the head; the oldest goes.
const IMPORTED_MAX: usize = 16;
/// First byte of the body of a payload that breaks the chain's rules.
pub(crate) const INVALID: u8 = 0xff;

/// The blocks of one node.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    heads: Heads,
    flushed: Heads,
    /// Is everything flushed at once?
    keeps: bool,
    imported: Vec<BlockRef>,
    builds: Vec<(BuildId, Attributes, Option<Payload>)>,
}

impl Backend {
    /// A chain that stands at `heads`, and `keeps` where it stands or loses some of it when it dies.
    pub(crate) fn at(heads: Heads, keeps: bool) -> Self {
        Self { keeps, heads, flushed: heads, imported: Vec::new(), builds: Vec::new() }
    }

    /// Where the chain stands.
    pub(crate) fn heads(&self) -> Heads {
        self.heads
    }

    /// Dies and comes back: what was not flushed is gone.
    pub(crate) fn crash(&mut self) {
        self.heads = self.flushed;
        self.imported.clear();
        self.builds.clear();
    }

    /// The chain was derived anew, and stands here.
    pub(crate) fn derive(&mut self, heads: Heads) {
        self.flushed = heads;
        self.crash();
    }

    /// Starts a block on the head.
    ///
    /// # Errors
    /// [`Failure::Reset`] on any other block.
    pub(crate) fn open(&mut self, build: BuildId, attributes: Attributes) -> Result<(), Failure> {
        if attributes.parent != self.heads.unsafe_head() {
            return Err(Failure::Reset);
        }
        if self.builds.len() == BUILDS_MAX {
            self.builds.remove(0);
        }
        self.builds.retain(|(other, ..)| *other != build);
        self.builds.push((build, attributes, None));
        Ok(())
    }

    /// Closes a block; closing it again yields the same one.
    ///
    /// # Errors
    /// [`Failure::Reset`] if there is no such build.
    pub(crate) fn seal(&mut self, build: BuildId, dice: &mut Dice) -> Result<Payload, Failure> {
        let found = self.builds.iter_mut().find(|(other, ..)| *other == build);
        let (_, attributes, sealed) = found.ok_or(Failure::Reset)?;
        Ok(sealed.get_or_insert_with(|| payload(attributes, dice.number())).clone())
    }

    /// Forgets a build.
    pub(crate) fn cancel(&mut self, build: BuildId) {
        self.builds.retain(|(other, ..)| *other != build);
    }

    /// Judges a payload, and keeps it if it is valid.
    pub(crate) fn import(&mut self, payload: &Payload) -> Verdict {
        let (block, head) = (payload.block, self.heads.unsafe_head());
        let known = |hash: BlockHash| hash == head.hash || self.imported.iter().any(|other| other.hash == hash);
        if payload.body.first() == Some(&INVALID) {
            Verdict::Invalid
        } else if block.number <= head.number || known(block.hash) {
            Verdict::Valid
        } else if known(block.parent) {
            if self.imported.len() == IMPORTED_MAX {
                self.imported.remove(0);
            }
            self.imported.push(block);
            Verdict::Valid
        } else {
            Verdict::ParentUnknown
        }
    }

    /// Moves the heads, and flushes now and then.
    ///
    /// # Errors
    /// [`Failure::Reset`] if the unsafe head is not known.
    pub(crate) fn set_heads(&mut self, heads: Heads, dice: &mut Dice) -> Result<(), Failure> {
        let head = heads.unsafe_head();
        if head != self.heads.unsafe_head() && !self.imported.contains(&head) {
            return Err(Failure::Reset);
        }
        self.heads = heads;
        self.imported.retain(|block| block.number > head.number);
        if self.keeps || dice.happens(400) {
            self.flushed = heads;
        }
        Ok(())
    }
}

/// A block of these attributes; another salt makes another block.
pub(crate) fn payload(attributes: &Attributes, salt: u64) -> Payload {
    let mut hash = *attributes.parent.hash.as_bytes();
    let (slot, number) = (attributes.slot.as_u64(), attributes.parent.number.next());
    for (at, word) in [salt, slot, number.as_u64()].into_iter().enumerate() {
        let word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
        hash[at * 8..at * 8 + 8].iter_mut().zip(word.to_le_bytes()).for_each(|(byte, other)| *byte ^= other);
    }
    let block = BlockRef {
        number,
        hash: BlockHash::new(hash),
        parent: attributes.parent.hash,
        timestamp: attributes.timestamp,
    };
    let mut body = [0; 9];
    body[1..].copy_from_slice(&salt.to_le_bytes());
    Payload { slot: attributes.slot, block, origin: attributes.origin, body: Bytes::copy_from_slice(&body) }
}
