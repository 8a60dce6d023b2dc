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
        let product = u128::from(self.low ^ word) * u128::from(0x9fb2_1c65_1e98_df25_u64);
        let [low, high] = [product, product >> 64].map(|half| u64::try_from(half & u128::from(u64::MAX)).unwrap_or(0));
        let folded = low ^ high;
        self.high = (self.high ^ folded).rotate_left(23).wrapping_add(word);
        self.low = self.low.rotate_left(29).wrapping_add(folded);
    }
}

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.high ^ self.low
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
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
