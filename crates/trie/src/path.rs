//! A run of up to 251 bits: a whole key, or the part of one that an edge node spans.

use std::fmt;

use starknet_types_core::felt::Felt;

/// Bits, first one first, at most 251 of them.
///
/// Held as a number of `len` bits, most significant bit first: the same pair of number and length that an edge node is hashed
/// over and that `starknet_getStorageProof` answers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// Big-endian limbs; bits above `len` are zero. First field on purpose: paths of equal length order like their numbers.
    limbs: [u64; 4],
    len: u8,
}

impl Path {
    /// Most bits a path can have: no key is longer, and every such number is a field element.
    pub const LEN_MAX: u8 = 251;

    /// No bits.
    pub const EMPTY: Self = Self { limbs: [0; 4], len: 0 };

    /// The lowest `len` bits of `number`; `None` when it has more bits than that, or `len` exceeds [`Path::LEN_MAX`].
    #[must_use]
    pub fn new(number: Felt, len: u8) -> Option<Self> {
        let path = Self { limbs: number.to_be_digits(), len };
        (len <= Self::LEN_MAX && path.masked() == path).then_some(path)
    }

    /// The bits as a number, below 2^251.
    #[must_use]
    pub fn number(&self) -> Felt {
        Felt::from_bytes_be(&self.to_bytes())
    }

    /// How many bits there are, 0 to 251.
    #[must_use]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bit at `index`, counted from the first; `false` beyond the end.
    #[must_use]
    pub fn bit(&self, index: u8) -> bool {
        index < self.len && {
            let from_lowest = self.len - 1 - index;
            self.limbs[3 - usize::from(from_lowest / 64)] >> (from_lowest % 64) & 1 == 1
        }
    }

    /// The first `len` bits; the whole path when it is shorter.
    #[must_use]
    pub fn first(&self, len: u8) -> Self {
        let len = len.min(self.len);
        Self { limbs: shifted_right(self.limbs, self.len - len), len }
    }

    /// What is left after the first `len` bits.
    #[must_use]
    pub fn skip(&self, len: u8) -> Self {
        Self { limbs: self.limbs, len: self.len - len.min(self.len) }.masked()
    }

    /// `self` and then `tail`. The caller keeps the sum within [`Path::LEN_MAX`]: both parts lie on one way from root to leaf.
    pub(crate) fn then(&self, tail: &Self) -> Self {
        debug_assert!(self.len + tail.len <= Self::LEN_MAX, "both parts lie on one way from root to leaf");
        let mut limbs = shifted_left(self.limbs, tail.len);
        for (limb, low) in limbs.iter_mut().zip(tail.limbs) {
            *limb |= low;
        }
        Self { limbs, len: self.len + tail.len }
    }

    /// One bit.
    pub(crate) const fn of_bit(bit: bool) -> Self {
        Self { limbs: [0, 0, 0, bit as u64], len: 1 }
    }

    /// How many leading bits `self` and `other` share.
    pub(crate) fn shared_with(&self, other: &Self) -> u8 {
        let len = self.len.min(other.len);
        let (a, b) = (self.first(len), other.first(len));
        let mut equal = 0;
        for (a, b) in a.limbs.iter().zip(b.limbs) {
            let zeros = (a ^ b).leading_zeros();
            equal += zeros;
            if zeros < 64 {
                break;
            }
        }
        // 256 - len leading zeros are padding.
        (equal + u32::from(len) - 256) as u8
    }

    /// The number as 32 big-endian bytes.
    pub(crate) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, limb) in bytes.chunks_exact_mut(8).zip(self.limbs) {
            chunk.copy_from_slice(&limb.to_be_bytes());
        }
        bytes
    }

    fn masked(mut self) -> Self {
        for (place, limb) in self.limbs.iter_mut().rev().enumerate() {
            let bits = u32::from(self.len).saturating_sub(64 * place as u32).min(64);
            *limb &= if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
        }
        self
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}/{}", self.number(), self.len)
    }
}

fn shifted_right(limbs: [u64; 4], by: u8) -> [u64; 4] {
    let (whole, part) = (usize::from(by / 64), u32::from(by % 64));
    let mut out = [0; 4];
    for (place, out) in out.iter_mut().enumerate().skip(whole) {
        *out = limbs[place - whole] >> part;
        if part > 0 && place > whole {
            *out |= limbs[place - whole - 1] << (64 - part);
        }
    }
    out
}

fn shifted_left(limbs: [u64; 4], by: u8) -> [u64; 4] {
    let (whole, part) = (usize::from(by / 64), u32::from(by % 64));
    let mut out = [0; 4];
    for (place, out) in out.iter_mut().enumerate().take(4 - whole) {
        *out = limbs[place + whole] << part;
        if part > 0 && place + whole < 3 {
            *out |= limbs[place + whole + 1] >> (64 - part);
        }
    }
    out
}
