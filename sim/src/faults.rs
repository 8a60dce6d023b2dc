//! What goes wrong, and how often.

use std::ops::RangeInclusive;

use crate::dice::{Dice, Permille};

/// From where to where each fault may be drawn. The ranges for the network are those of TigerBeetle's VOPR (`src/vopr.zig`).
#[derive(Clone, Debug)]
pub struct FaultRanges {
    /// Messages lost.
    pub loss: RangeInclusive<Permille>,
    /// Messages that arrive twice.
    pub duplication: RangeInclusive<Permille>,
    /// Messages that take up to two slots, and so overtake or fall behind others.
    pub delay: RangeInclusive<Permille>,
    /// Chance, for each pair of nodes and direction, to be cut off, drawn anew a few times a minute.
    pub partition: RangeInclusive<Permille>,
    /// Effects at which the process dies.
    pub crash: RangeInclusive<Permille>,
    /// Outside calls that fail before they do anything.
    pub failure: RangeInclusive<Permille>,
    /// Outside calls that do what they should, and whose answer is lost, or comes after the time-out was told.
    pub unclear: RangeInclusive<Permille>,
    /// Outside calls that take up to two slots.
    pub slowness: RangeInclusive<Permille>,
    /// Outside calls at which the backend dies and comes back without what it had not flushed.
    pub reset: RangeInclusive<Permille>,
    /// Chance for each slot that a backend refuses everything for some slots.
    pub refusal: RangeInclusive<Permille>,
    /// Changes of leadership: chance for each slot.
    pub election: RangeInclusive<Permille>,
    /// Furthest that a clock may be off, in thousandths of a slot.
    pub skew: RangeInclusive<Permille>,
    /// Seals of an empty block on a chain that wants none.
    pub nothing_to_seal: RangeInclusive<Permille>,
    /// Chance for each slot that a whole process is suspended for some slots.
    pub suspension: RangeInclusive<Permille>,
    /// Effects of a faulty member that it turns against the others.
    pub malice: RangeInclusive<Permille>,
}

impl Default for FaultRanges {
    fn default() -> Self {
        Self {
            loss: 0..=300,
            duplication: 0..=500,
            delay: 0..=100,
            partition: 0..=150,
            crash: 0..=20,
            failure: 0..=150,
            unclear: 0..=100,
            slowness: 0..=50,
            reset: 0..=20,
            refusal: 0..=20,
            election: 0..=150,
            skew: 0..=500,
            nothing_to_seal: 0..=200,
            suspension: 0..=20,
            malice: 200..=1000,
        }
    }
}

/// How often each thing goes wrong in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named and explained in FaultRanges")]
pub struct Faults {
    pub loss: Permille,
    pub duplication: Permille,
    pub delay: Permille,
    pub partition: Permille,
    pub crash: Permille,
    pub failure: Permille,
    pub unclear: Permille,
    pub slowness: Permille,
    pub reset: Permille,
    pub refusal: Permille,
    pub election: Permille,
    pub skew: Permille,
    pub nothing_to_seal: Permille,
    pub suspension: Permille,
    pub malice: Permille,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        loss: 0,
        duplication: 0,
        delay: 0,
        partition: 0,
        crash: 0,
        failure: 0,
        unclear: 0,
        slowness: 0,
        reset: 0,
        refusal: 0,
        election: 0,
        skew: 0,
        nothing_to_seal: 0,
        suspension: 0,
        malice: 0,
    };

    /// Draws each fault from its range; every third fault is left out, so that runs differ in kind and not only in degree.
    pub fn draw(ranges: &FaultRanges, dice: &mut Dice) -> Self {
        let mut draw = |range: &RangeInclusive<Permille>| {
            let drawn = dice.within(range);
            if dice.happens(333) { *range.start() } else { drawn }
        };
        Self {
            loss: draw(&ranges.loss),
            duplication: draw(&ranges.duplication),
            delay: draw(&ranges.delay),
            partition: draw(&ranges.partition),
            crash: draw(&ranges.crash),
            failure: draw(&ranges.failure),
            unclear: draw(&ranges.unclear),
            slowness: draw(&ranges.slowness),
            reset: draw(&ranges.reset),
            refusal: draw(&ranges.refusal),
            election: draw(&ranges.election),
            skew: draw(&ranges.skew),
            nothing_to_seal: draw(&ranges.nothing_to_seal),
            suspension: draw(&ranges.suspension),
            malice: draw(&ranges.malice),
        }
    }
}
