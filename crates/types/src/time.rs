//! Slots, moments and spans of time.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The time window in which at most one block is due, counted from the timetable's first window.
///
/// A slot is not a block number: slots pass whether or not they bring a block, and nothing converts one into the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(u64);

impl Slot {
    /// The slot with this count.
    pub const fn new(count: u64) -> Self {
        Self(count)
    }

    /// The plain count.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The slot after this one. Saturates at the last representable slot.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The slot before this one; `None` before the first.
    pub fn previous(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A moment in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The last representable moment: "never".
    pub const MAX: Self = Self(u64::MAX);

    /// The moment this many milliseconds after the Unix epoch.
    pub const fn from_millis(since_epoch: u64) -> Self {
        Self(since_epoch)
    }

    /// The moment this many whole seconds after the Unix epoch. Saturates.
    pub const fn from_secs(since_epoch: u64) -> Self {
        Self(since_epoch.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// The moment `span` later. Saturates at [`Timestamp::MAX`].
    #[must_use]
    pub const fn after(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The moment `span` earlier. Saturates at the epoch.
    #[must_use]
    pub const fn before(self, span: Millis) -> Self {
        Self(self.0.saturating_sub(span.0))
    }

    /// The time that has passed since `earlier`, zero if `earlier` lies ahead.
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// A span of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(u64);

impl Millis {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of this many milliseconds.
    pub const fn new(millis: u64) -> Self {
        Self(millis)
    }

    /// The plain number of milliseconds.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The span `factor` times as long. Saturates.
    #[must_use]
    pub const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

impl From<Millis> for std::time::Duration {
    fn from(span: Millis) -> Self {
        Self::from_millis(span.0)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}
