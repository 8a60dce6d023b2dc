//! The network upgrades of the OP Stack and when a chain takes them.
//!
//! Sources: <https://specs.optimism.io/protocol/superchain-upgrades.html>; the names of keys are those of op-node's
//! `rollup.json`.

use std::fmt;

/// A network upgrade. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fork {
    /// The base of all: every chain that can be configured has it from its genesis.
    Bedrock,
    /// Deposits pay for their gas; the L1-info transaction is no longer free.
    Regolith,
    /// Withdrawals in the header (Shanghai).
    Canyon,
    /// Span batches.
    Delta,
    /// Blobs, the beacon root, fee scalars for blobs (Cancun).
    Ecotone,
    /// Brotli channels, a constant drift, fees by compressed size.
    Fjord,
    /// Shorter channels.
    Granite,
    /// Strict order in derivation, fee parameters in attributes.
    Holocene,
    /// The operator's fee, withdrawals root in the header (Prague).
    Isthmus,
    /// A minimum base fee, the footprint on L1.
    Jovian,
    /// Osaka; the first whose upgrade transactions come as a bundle and with gas of their own.
    Karst,
}

impl Fork {
    /// All of them in their order.
    pub const ALL: [Self; 11] = [
        Self::Bedrock,
        Self::Regolith,
        Self::Canyon,
        Self::Delta,
        Self::Ecotone,
        Self::Fjord,
        Self::Granite,
        Self::Holocene,
        Self::Isthmus,
        Self::Jovian,
        Self::Karst,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bedrock => "Bedrock",
            Self::Regolith => "Regolith",
            Self::Canyon => "Canyon",
            Self::Delta => "Delta",
            Self::Ecotone => "Ecotone",
            Self::Fjord => "Fjord",
            Self::Granite => "Granite",
            Self::Holocene => "Holocene",
            Self::Isthmus => "Isthmus",
            Self::Jovian => "Jovian",
            Self::Karst => "Karst",
        }
    }

    /// The key that gives its time in a configuration; `None` for Bedrock, which has no time.
    pub const fn key(self) -> Option<&'static str> {
        match self {
            Self::Bedrock => None,
            Self::Regolith => Some("regolith_time"),
            Self::Canyon => Some("canyon_time"),
            Self::Delta => Some("delta_time"),
            Self::Ecotone => Some("ecotone_time"),
            Self::Fjord => Some("fjord_time"),
            Self::Granite => Some("granite_time"),
            Self::Holocene => Some("holocene_time"),
            Self::Isthmus => Some("isthmus_time"),
            Self::Jovian => Some("jovian_time"),
            Self::Karst => Some("karst_time"),
        }
    }
}

impl fmt::Display for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// When a chain takes which fork: seconds since the Unix epoch, by the time of its own blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Forks {
    times: [Option<u64>; Fork::ALL.len()],
}

impl Default for Forks {
    /// Bedrock alone.
    fn default() -> Self {
        let mut times = [None; Fork::ALL.len()];
        times[0] = Some(0);
        Self { times }
    }
}

impl Forks {
    /// Every fork up to this one from the beginning, none after it.
    pub fn from_genesis(last: Fork) -> Self {
        let mut forks = Self::default();
        for fork in Fork::ALL.into_iter().filter(|fork| *fork <= last) {
            forks.set(fork, Some(0));
        }
        forks
    }

    /// Gives a fork its time, or takes it away. Bedrock keeps its own.
    pub fn set(&mut self, fork: Fork, time: Option<u64>) {
        if fork != Fork::Bedrock {
            self.times[fork as usize] = time;
        }
    }

    /// The same with this fork at `time`.
    #[must_use]
    pub fn with(mut self, fork: Fork, time: u64) -> Self {
        self.set(fork, Some(time));
        self
    }

    /// When the fork begins; `None` if it is not planned.
    pub const fn time(&self, fork: Fork) -> Option<u64> {
        self.times[fork as usize]
    }

    /// Do the fork's rules hold for a block of this time?
    pub fn is_active(&self, fork: Fork, time: u64) -> bool {
        self.time(fork).is_some_and(|begins| time >= begins)
    }

    /// Is a block at `time` on a parent at `parent_time` the first under the fork's rules?
    pub fn activates(&self, fork: Fork, parent_time: u64, time: u64) -> bool {
        self.is_active(fork, time) && !self.is_active(fork, parent_time)
    }

    /// The latest fork whose rules hold at this time.
    pub fn newest(&self, time: u64) -> Fork {
        let active = Fork::ALL.into_iter().rev().find(|fork| self.is_active(*fork, time));
        active.unwrap_or(Fork::Bedrock)
    }

    /// The first fork that is planned without its predecessor, or before it: the predecessor and the fork.
    pub(crate) fn out_of_order(&self) -> Option<(Fork, Fork)> {
        Fork::ALL.windows(2).find_map(|pair| {
            let [before, fork] = *pair else { return None };
            let later = self.time(fork)?;
            self.time(before).is_none_or(|earlier| earlier > later).then_some((before, fork))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_is_active_from_its_time_on_and_activates_once() {
        let forks = Forks::from_genesis(Fork::Ecotone).with(Fork::Fjord, 100);
        let table = [(96, 98, false, false), (98, 100, true, true), (99, 101, true, true), (100, 102, true, false)];
        for (parent, time, active, activates) in table {
            assert_eq!(forks.is_active(Fork::Fjord, time), active, "at {time}");
            assert_eq!(forks.activates(Fork::Fjord, parent, time), activates, "at {time} on {parent}");
        }
        assert!(!forks.activates(Fork::Ecotone, 0, 2), "active from the beginning: no block is the first");
        assert!(!forks.is_active(Fork::Granite, u64::MAX), "not planned");
        assert_eq!([0, 99, 100].map(|time| forks.newest(time)), [Fork::Ecotone, Fork::Ecotone, Fork::Fjord]);
    }

    #[test]
    fn forks_stand_in_their_order() {
        let canyon = Forks::from_genesis(Fork::Canyon);
        assert_eq!(canyon.out_of_order(), None);
        assert_eq!(canyon.with(Fork::Ecotone, 5).out_of_order(), Some((Fork::Delta, Fork::Ecotone)));
        assert_eq!(canyon.with(Fork::Delta, 7).with(Fork::Ecotone, 7).out_of_order(), None);
        let backwards = canyon.with(Fork::Delta, 7).with(Fork::Ecotone, 6);
        assert_eq!(backwards.out_of_order(), Some((Fork::Delta, Fork::Ecotone)));
    }

    #[test]
    fn places_in_the_table_are_those_of_the_order() {
        for (place, fork) in Fork::ALL.into_iter().enumerate() {
            assert_eq!(fork as usize, place, "{fork}");
            assert_eq!(fork.key().is_none(), fork == Fork::Bedrock);
        }
    }
}
