//! Pedersen hashes in batches.
//!
//! H(a, b) is the x coordinate of `P0 + a_low * P1 + a_high * P2 + b_low * P3 + b_high * P4`, where `low` are the lowest 248 bits and
//! `high` the four above (<https://docs.starkware.co/starkex/crypto/pedersen-hash-function.html>). Each input is cut into windows,
//! whose multiples are looked up, which leaves some fifty points to add for each hash.
//!
//! Adding affine points costs an inversion, which a batch shares: all points of all hashes are added pairwise, in rounds, and
//! each round inverts once. That is about half the multiplications of the projective addition that a single hash has to use.

mod field;

use std::sync::LazyLock;

use starknet_types_core::felt::Felt;
use starknet_types_core::hash::StarkHash;

use field::{Element, invert_all};

/// Bits of one window, for 1 MB of tables. Measured: 10 bits (3 MB) save a fifth of the additions and gain nothing, for the tables
/// leave the second cache; 6 bits lose a fifth.
const WINDOW_BITS: usize = 8;
/// Bits of an input that run over the first of its two generators.
const LOW_BITS: usize = 248;
const WINDOWS: usize = LOW_BITS.div_ceil(WINDOW_BITS);
/// Hashes that share their inversions. Twice as many would halve what the inversions cost, and leave the second cache.
const BATCH: usize = 32;
/// Multiples of one window, without the zeroth.
const MULTIPLES: usize = (1 << WINDOW_BITS) - 1;

/// A point of the curve y^2 = x^3 + x + beta, never the one at infinity. Aligned so that looking one up touches one cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(64))]
struct Point {
    x: Element,
    y: Element,
}

/// The generators, as published (starkware-libs/starkex-resources, `pedersen_params.json`, first points).
const GENERATORS: [(&str, &str); 5] = [
    (
        "0x49ee3eba8c1600700ee1b87eb599f16716b0b1022947733551fde4050ca6804",
        "0x3ca0cfe4b3bc6ddf346d49d06ea0ed34e621062c0e056c1d0405d266e10268a",
    ),
    (
        "0x234287dcbaffe7f969c748655fca9e58fa8120b6d56eb0c1080d17957ebe47b",
        "0x3b056f100f96fb21e889527d41f4e39940135dd7a6c94cc6ed0268ee89e5615",
    ),
    (
        "0x4fa56f376c83db33f9dab2656558f3399099ec1de5e3018b7a6932dba8aa378",
        "0x3fa0984c931c9e38113e0c0e47e4401562761f92a7a23b45168f4e80ff5b54d",
    ),
    (
        "0x4ba4cc166be8dec764910f75b45f74b40c690c74709e90f3aa372f0bd2d6997",
        "0x40301cf5c1751f4b971e46c4ede85fcac5c59a5ce5ae7c48151f27b24b219c",
    ),
    (
        "0x54302dcb0e6cc1c6e44cca8f61a63bb2ca65048d53fb325d36ff12c49a58202",
        "0x1b77b3e37d13504b348046268d8ae25ce98ad783c25561a879dcc77e99c2426",
    ),
];

/// What is looked up. Built once for a process, at the first hash, in a few milliseconds.
struct Tables {
    /// For both inputs, for each window from the lowest, its multiples from the first.
    low: [Vec<Point>; 2],
    /// `P0 + a_high * P2 + b_high * P4` at `a_high + 16 * b_high`.
    high: Vec<Point>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(Tables::new);

/// Hashes each pair into the same place of `out`.
pub(crate) fn hash_all(pairs: &[(Felt, Felt)], out: &mut [Felt]) {
    if let ([(a, b)], [out]) = (pairs, &mut *out) {
        // Alone, nothing is shared, and one inversion at the end is cheaper than one each round.
        *out = starknet_types_core::hash::Pedersen::hash(a, b);
        return;
    }
    let mut sums = Sums::default();
    for (pairs, out) in pairs.chunks(BATCH).zip(out.chunks_mut(BATCH)) {
        hash_batch(&mut sums, pairs, out);
    }
}

fn hash_batch(sums: &mut Sums, pairs: &[(Felt, Felt)], out: &mut [Felt]) {
    let tables = &*TABLES;
    sums.clear(pairs.len());
    for (a, b) in pairs {
        sums.open();
        let (a, b) = (a.to_le_digits(), b.to_le_digits());
        sums.push(tables.high[high(a) + 16 * high(b)]);
        for (input, table) in [a, b].into_iter().zip(&tables.low) {
            for window in 0..WINDOWS {
                if let Some(place) = digit(input, window).checked_sub(1) {
                    sums.push(table[window * MULTIPLES + place]);
                }
            }
        }
    }
    sums.reduce();
    for ((sum, (a, b)), out) in sums.ranges.iter().zip(pairs).zip(out) {
        *out = match sum {
            Range::Of { start, .. } => Felt::from(sums.points[*start].x),
            // No input is known that leads here: it would be a relation between the generators.
            Range::Irregular => starknet_types_core::hash::Pedersen::hash(a, b),
        };
    }
}

/// The four bits above the low ones.
fn high(input: [u64; 4]) -> usize {
    (input[3] >> (LOW_BITS - 192)) as usize & 15
}

fn digit(input: [u64; 4], window: usize) -> usize {
    let (from, to) = (window * WINDOW_BITS, ((window + 1) * WINDOW_BITS).min(LOW_BITS));
    let (word, shift) = (from / 64, from % 64);
    let mut bits = input[word] >> shift;
    if shift + WINDOW_BITS > 64 && word < 3 {
        bits |= input[word + 1] << (64 - shift);
    }
    bits as usize & ((1 << (to - from)) - 1)
}

/// Many sums of points, added up together.
#[derive(Default)]
struct Sums {
    points: Vec<Point>,
    ranges: Vec<Range>,
    differences: Vec<Element>,
    prefixes: Vec<Element>,
}

/// Where the summands of one sum are.
#[derive(Debug, Clone, Copy)]
enum Range {
    Of {
        start: usize,
        len: usize,
    },
    /// Two summands had the same x: the formula for a sum of different points does not hold.
    Irregular,
}

impl Sums {
    /// Forgets all sums and makes room for `count` new ones.
    fn clear(&mut self, count: usize) {
        self.points.clear();
        self.ranges.clear();
        self.points.reserve(count * (2 * WINDOWS + 1));
    }

    /// Starts a new sum; what is pushed from now on belongs to it.
    fn open(&mut self) {
        self.ranges.push(Range::Of { start: self.points.len(), len: 0 });
    }

    fn push(&mut self, point: Point) {
        if let Some(Range::Of { len, .. }) = self.ranges.last_mut() {
            *len += 1;
            self.points.push(point);
        }
    }

    /// Adds until each sum is one point, at its start. Each round halves the summands.
    fn reduce(&mut self) {
        while self.ranges.iter().any(|range| matches!(range, Range::Of { len, .. } if *len > 1)) {
            self.halve();
        }
    }

    /// One round: neighbours become their sum.
    fn halve(&mut self) {
        self.differences.clear();
        for range in &mut self.ranges {
            let Range::Of { start, len } = *range else { continue };
            let first = self.differences.len();
            for pair in self.points[start..start + len].chunks_exact(2) {
                self.differences.push(pair[1].x.minus(pair[0].x));
            }
            if self.differences[first..].iter().any(Element::is_zero) {
                self.differences.truncate(first);
                *range = Range::Irregular;
            }
        }
        invert_all(&mut self.differences, &mut self.prefixes);
        let mut inverses = self.differences.iter();
        for range in &mut self.ranges {
            let Range::Of { start, len } = range else { continue };
            let points = &mut self.points[*start..*start + *len];
            for (place, inverse) in (0..*len / 2).zip(&mut inverses) {
                points[place] = points[2 * place].plus(&points[2 * place + 1], inverse);
            }
            if *len % 2 == 1 {
                points[*len / 2] = points[*len - 1];
            }
            *len = len.div_ceil(2);
        }
    }
}

impl Point {
    /// The sum of two points with different x, given 1 / (other.x - self.x).
    #[inline(always)]
    fn plus(&self, other: &Self, inverse: &Element) -> Self {
        self.third(other, other.y.minus(self.y).times(*inverse))
    }

    /// Twice the point. No point of this curve's prime-order group has y = 0.
    fn doubled(&self) -> Self {
        let square = self.x.squared();
        let numerator = square.plus(square).plus(square).plus(Element::ONE);
        self.third(self, numerator.times(self.y.plus(self.y).inverse()))
    }

    /// Where the line of this slope through both points meets the curve again, mirrored.
    #[inline(always)]
    fn third(&self, other: &Self, slope: Element) -> Self {
        let x = slope.squared().minus(self.x).minus(other.x);
        Self { x, y: slope.times(self.x.minus(x)).minus(self.y) }
    }
}

impl Tables {
    fn new() -> Self {
        let [p0, p1, p2, p3, p4] = GENERATORS.map(|(x, y)| Point {
            x: Element::from(&Felt::from_hex_unchecked(x)),
            y: Element::from(&Felt::from_hex_unchecked(y)),
        });
        Self { low: [p1, p3].map(low_table), high: high_table(p0, p2, p4) }
    }
}

/// Multiples of all windows of one generator: `d * 2^(window * WINDOW_BITS) * generator`.
fn low_table(generator: Point) -> Vec<Point> {
    let mut base = generator;
    let mut table = vec![base; WINDOWS * MULTIPLES];
    for window in table.chunks_exact_mut(MULTIPLES) {
        window[0] = base;
        window[1] = base.doubled();
        for _ in 0..WINDOW_BITS {
            base = base.doubled();
        }
    }
    // The others grow by the first of their window, in all windows at once.
    let mut prefixes = Vec::new();
    for multiple in 2..MULTIPLES {
        let mut inverses: Vec<_> =
            table.chunks_exact(MULTIPLES).map(|window| window[0].x.minus(window[multiple - 1].x)).collect();
        invert_all(&mut inverses, &mut prefixes);
        for (window, inverse) in table.chunks_exact_mut(MULTIPLES).zip(&inverses) {
            window[multiple] = window[multiple - 1].plus(&window[0], inverse);
        }
    }
    table
}

fn high_table(p0: Point, p2: Point, p4: Point) -> Vec<Point> {
    let sum = |a: &Point, b: &Point| a.plus(b, &b.x.minus(a.x).inverse());
    let mut table = Vec::with_capacity(256);
    let mut row = p0;
    for _ in 0..16 {
        let mut point = row;
        for _ in 0..16 {
            table.push(point);
            point = sum(&point, &p2);
        }
        row = sum(&row, &p4);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn felt() -> impl Strategy<Value = Felt> {
        let small = (0..300u64).prop_map(Felt::from);
        let large = (0..300u64).prop_map(|below| Felt::MAX - Felt::from(below));
        let single = (0..251u32).prop_map(|shift| Felt::TWO.pow(shift));
        let sparse = (any::<[u8; 32]>(), any::<u32>()).prop_map(|(mut bytes, zeros)| {
            for (place, byte) in bytes.iter_mut().enumerate() {
                *byte &= if zeros >> place & 1 == 1 { 0 } else { 0xff };
            }
            Felt::from_bytes_be(&bytes)
        });
        prop_oneof![small, large, single, sparse]
    }

    fn check(pairs: &[(Felt, Felt)]) {
        let mut out = vec![Felt::ZERO; pairs.len()];
        hash_all(pairs, &mut out);
        for ((a, b), hash) in pairs.iter().zip(out) {
            assert_eq!(hash, starknet_types_core::hash::Pedersen::hash(a, b), "{a:#x} {b:#x}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn batches_agree_with_the_reference(pairs in prop::collection::vec((felt(), felt()), 0..40)) {
            check(&pairs);
        }
    }

    #[test]
    fn every_bit_counts() {
        let bits: Vec<_> = (0..252u32).map(|bit| Felt::TWO.pow(bit)).filter(|felt| *felt <= Felt::MAX).collect();
        let left: Vec<_> = bits.iter().map(|bit| (*bit, Felt::ZERO)).collect();
        let right: Vec<_> = bits.iter().map(|bit| (Felt::ZERO, *bit)).collect();
        check(&left);
        check(&right);
        check(&[(Felt::ZERO, Felt::ZERO), (Felt::MAX, Felt::MAX)]);
    }

    #[test]
    fn equal_points_fall_back() {
        let mut sums = Sums::default();
        for _ in 0..2 {
            sums.open();
            sums.push(TABLES.high[1]);
            sums.push(TABLES.high[2]);
        }
        sums.open();
        sums.push(TABLES.high[3]);
        sums.push(TABLES.high[3]);
        sums.reduce();
        assert!(matches!(sums.ranges[..], [Range::Of { .. }, Range::Of { .. }, Range::Irregular]));
    }
}
