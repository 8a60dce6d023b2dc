//! What happened, in one number: the same seed must give the same one.

use std::hash::Hasher;

/// A running digest. Quick, and sensitive to every byte and to the order; no protection against an adversary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digest {
    high: u64,
    low: u64,
}

impl Default for Digest {
    fn default() -> Self {
        Self { high: 0x9e37_79b9_7f4a_7c15, low: 0xc2b2_ae3d_27d4_eb4f }
    }
}

impl Digest {
    /// The digest of all that was written.
    pub(crate) fn value(&self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }

    fn mix(&mut self, word: u64) {
        self.low = (self.low ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25).rotate_left(31);
        self.high = (self.high ^ self.low).rotate_left(23).wrapping_add(word);
    }
}

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.high ^ self.low
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| self.mix(u64::from(*byte)));
    }

    fn write_u8(&mut self, word: u8) {
        self.mix(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.mix(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.mix(word.unsigned_abs() as u64);
    }
}
