//! The one source of chance.

use std::ops::RangeInclusive;

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Parts of a thousand.
pub type Permille = u64;

/// Chance, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The dice of a seed.
    pub fn of(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `limit`; 0 if there is none.
    pub fn below(&mut self, limit: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(limit);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number of the range.
    pub fn within(&mut self, range: &RangeInclusive<u64>) -> u64 {
        range.start() + self.below((range.end() - range.start()).saturating_add(1))
    }

    /// True in so many of a thousand cases.
    pub fn happens(&mut self, permille: Permille) -> bool {
        permille > 0 && self.below(1000) < permille
    }
}
