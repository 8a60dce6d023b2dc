//! What goes wrong, and how often.

use std::ops::RangeInclusive;

use crate::dice::{Dice, Permille};

/// One list of faults makes both types, so that none is forgotten in drawing, naming or healing.
macro_rules! faults {
    ($($(#[$meaning:meta])* $name:ident: $range:expr),* $(,)?) => {
        /// From where to where each fault may be drawn. The ranges for the network are those of TigerBeetle's VOPR (`src/vopr.zig`).
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct FaultRanges {
            $($(#[$meaning])* pub $name: RangeInclusive<Permille>,)*
        }

        impl Default for FaultRanges {
            fn default() -> Self {
                Self { $($name: $range,)* }
            }
        }

        /// How often each thing goes wrong in one run.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Faults {
            $($(#[$meaning])* pub $name: Permille,)*
        }

        impl Faults {
            /// Nothing goes wrong.
            pub const NONE: Self = Self { $($name: 0,)* };

            /// The names of all faults.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)*];

            /// Draws each fault from its range; every third is left at its least, so that runs differ in kind and not only in degree.
            pub fn draw(ranges: &FaultRanges, dice: &mut Dice) -> Self {
                let mut draw = |range: &RangeInclusive<Permille>| {
                    let drawn = dice.within(range);
                    if dice.happens(333) { *range.start() } else { drawn }
                };
                Self { $($name: draw(&ranges.$name),)* }
            }

            /// The fault of this name, to be changed.
            pub fn named(&mut self, name: &str) -> Option<&mut Permille> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)*
                    _ => None,
                }
            }
        }
    };
}

faults! {
    /// Messages lost.
    loss: 0..=300,
    /// Messages that arrive twice.
    duplication: 0..=500,
    /// Messages that take up to two slots, and so overtake or fall behind others.
    delay: 0..=100,
    /// Chance, for each pair of nodes and each direction, to be cut off, drawn anew every ten slots or so.
    partition: 0..=150,
    /// Ten times the effects at which the process dies; what it had not persisted is gone.
    crash: 0..=20,
    /// Outside calls that fail before they do anything.
    failure: 0..=150,
    /// Outside calls that do what they should, and whose answer is lost, or comes after a time-out was told.
    unclear: 0..=100,
    /// Outside calls that take up to two slots.
    slowness: 0..=50,
    /// Outside calls at which the backend dies and comes back without what it had not flushed.
    reset: 0..=20,
    /// Chance for each slot that a backend refuses everything for some slots.
    refusal: 0..=20,
    /// Chance for each slot of a change of leadership.
    election: 0..=150,
    /// Furthest that a clock may be off, in thousandths of a slot.
    skew: 0..=500,
    /// Seals of an empty block on a chain that wants none.
    nothing_to_seal: 0..=200,
    /// Chance for each slot that a whole process is suspended for up to forty slots.
    suspension: 0..=20,
    /// Effects of a faulty member that it turns against the others. Healing does not reform it.
    malice: 200..=1000,
    /// Chance for each slot that L1 takes back up to three blocks.
    l1_reorg: 0..=60,
    /// Chance for each slot that L1 stands still for up to forty slots.
    l1_stall: 0..=30,
    /// L1 blocks that are dated up to forty slots ahead.
    l1_ahead: 0..=200,
}
