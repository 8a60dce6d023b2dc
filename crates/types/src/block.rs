//! What names a block, and where a chain stands.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Timestamp;
use crate::hexadecimal::{Hexadecimal, from_hexadecimal};

/// The height of a block; genesis is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockNumber(u64);

impl BlockNumber {
    /// The block of genesis.
    pub const GENESIS: Self = Self(0);

    /// The block at this height.
    pub const fn new(height: u64) -> Self {
        Self(height)
    }

    /// The plain height.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The height above this one. Saturates.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The height below this one; `None` below genesis.
    pub fn previous(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// The height `count` above this one. Saturates.
    #[must_use]
    pub const fn above(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl fmt::Display for BlockNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The hash of a block: 32 bytes whose meaning only the block's own chain knows. It stands for the whole content.
///
/// Written and read as `0x` and 64 hexadecimal digits in human-readable formats, as 32 bytes elsewhere.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash([u8; 32]);

impl BlockHash {
    /// All zero: the parent of genesis.
    pub const ZERO: Self = Self([0; 32]);

    /// A hash with these bytes, most significant first where the chain's hash is a number.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hexadecimal(&self.0).fmt(f)
    }
}

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not `0x` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotABlockHash(String);

impl fmt::Display for NotABlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a block hash: expected 0x and 64 hexadecimal digits", self.0)
    }
}

impl std::error::Error for NotABlockHash {}

impl FromStr for BlockHash {
    type Err = NotABlockHash;

    fn from_str(text: &str) -> Result<Self, NotABlockHash> {
        let bytes = from_hexadecimal(text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| NotABlockHash(text.chars().take(80).collect()))
    }
}

impl Serialize for BlockHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for BlockHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

/// Names one block and its place: what is left of a block when the body is taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlockRef {
    /// Height.
    pub number: BlockNumber,
    /// Hash of the block.
    pub hash: BlockHash,
    /// Hash of the block below; [`BlockHash::ZERO`] for genesis.
    pub parent: BlockHash,
    /// The block's own time. A chain that counts whole seconds may have rounded it down.
    pub timestamp: Timestamp,
}

impl BlockRef {
    /// Does this block sit directly on `parent`?
    pub fn extends(&self, parent: &BlockRef) -> bool {
        self.parent == parent.hash && self.number == parent.number.next()
    }
}

/// Where a chain stands: the newest decided block, the newest that landed on L1, the newest that is final there.
///
/// Always `finalized <= safe <= unsafe` by height; a value that breaks this order cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawHeads", into = "RawHeads")]
pub struct Heads {
    unsafe_head: BlockRef,
    safe_head: BlockRef,
    finalized_head: BlockRef,
}

impl Heads {
    /// All three heads on one block: a chain of which nothing else is known, such as one that starts at genesis.
    pub const fn at(block: BlockRef) -> Self {
        Self { unsafe_head: block, safe_head: block, finalized_head: block }
    }

    /// The three heads, if they are in order.
    ///
    /// # Errors
    /// [`HeadsOutOfOrder`] unless `finalized_head <= safe_head <= unsafe_head` by height, and equal height means equal block.
    pub fn new(unsafe_head: BlockRef, safe_head: BlockRef, finalized_head: BlockRef) -> Result<Self, HeadsOutOfOrder> {
        let heads = Self { unsafe_head, safe_head, finalized_head };
        let below = |low: &BlockRef, high: &BlockRef| {
            low.number < high.number || (low.number == high.number && low.hash == high.hash)
        };
        if below(&finalized_head, &safe_head) && below(&safe_head, &unsafe_head) {
            Ok(heads)
        } else {
            Err(HeadsOutOfOrder {
                unsafe_head: unsafe_head.number,
                safe_head: safe_head.number,
                finalized_head: finalized_head.number,
            })
        }
    }

    /// The newest decided block.
    pub const fn unsafe_head(&self) -> BlockRef {
        self.unsafe_head
    }

    /// The newest block that landed on L1.
    pub const fn safe_head(&self) -> BlockRef {
        self.safe_head
    }

    /// The newest block that is final on L1.
    pub const fn finalized_head(&self) -> BlockRef {
        self.finalized_head
    }
}

/// Three heads that do not satisfy `finalized <= safe <= unsafe`, or different blocks at one height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadsOutOfOrder {
    /// The unsafe head offered.
    pub unsafe_head: BlockNumber,
    /// The safe head offered.
    pub safe_head: BlockNumber,
    /// The finalized head offered.
    pub finalized_head: BlockNumber,
}

impl fmt::Display for HeadsOutOfOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unsafe_head, safe_head, finalized_head } = self;
        write!(
            f,
            "heads out of order: finalized {finalized_head}, safe {safe_head}, unsafe {unsafe_head}; \
             expected finalized <= safe <= unsafe, and one block at one height"
        )
    }
}

impl std::error::Error for HeadsOutOfOrder {}

/// The written form of [`Heads`], checked when read.
#[derive(Serialize, Deserialize)]
struct RawHeads {
    r#unsafe: BlockRef,
    safe: BlockRef,
    finalized: BlockRef,
}

impl From<Heads> for RawHeads {
    fn from(heads: Heads) -> Self {
        Self { r#unsafe: heads.unsafe_head, safe: heads.safe_head, finalized: heads.finalized_head }
    }
}

impl TryFrom<RawHeads> for Heads {
    type Error = HeadsOutOfOrder;

    fn try_from(raw: RawHeads) -> Result<Self, HeadsOutOfOrder> {
        Self::new(raw.r#unsafe, raw.safe, raw.finalized)
    }
}
