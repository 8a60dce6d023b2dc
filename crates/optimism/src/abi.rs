//! Words and packed numbers as contracts write them.

use alloy_primitives::{Address, B256};

/// Reads bytes from the front, each time exactly as many as are wanted or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next bytes; `None` if there are not enough.
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    /// The next word of 32 bytes.
    pub(crate) fn word(&mut self) -> Option<B256> {
        self.take().map(B256::new)
    }

    /// What has not been read.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// The number in a word; `None` if it needs more than 8 bytes.
pub(crate) fn number(word: &B256) -> Option<u64> {
    let (padding, value) = word.split_last_chunk::<8>()?;
    padding.iter().all(|byte| *byte == 0).then(|| u64::from_be_bytes(*value))
}

/// The address in a word; `None` if the 12 bytes before it are not all zero.
pub(crate) fn address(word: &B256) -> Option<Address> {
    let (padding, value) = word.split_last_chunk::<20>()?;
    padding.iter().all(|byte| *byte == 0).then(|| Address::new(*value))
}
