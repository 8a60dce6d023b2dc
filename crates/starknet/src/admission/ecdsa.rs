//! STARK ECDSA for keys that come back: who sends once sends again, so the multiples of a key's point are kept.
//!
//! With the multiples of both points at hand a signature is verified by about 120 additions; without them it takes some
//! 750 additions and doublings. `starknet_crypto::verify` gives the same answers, except that it panics where the sum of
//! the two products is the point at infinity, which the owner of a key can bring about on purpose.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use starknet_types_core::curve::{AffinePoint, ProjectivePoint};
use starknet_types_core::felt::{Felt, NonZeroFelt};

/// Order of the group that the generator makes.
const ORDER: NonZeroFelt = NonZeroFelt::from_felt_unchecked(Felt::from_hex_unchecked(
    "0x800000000000010ffffffffffffffffb781126dcae7b2321e66a241adc64d2f",
));
/// Elements of a signature, its inverse and the message lie below 2^251.
const ELEMENT_UPPER_BOUND: Felt =
    Felt::from_hex_unchecked("0x800000000000000000000000000000000000000000000000000000000000000");
const BETA: Felt = Felt::from_hex_unchecked("0x6f21413efbe40de150e596d72f7a8c5609ad26c15c915c1f4cdfcb99cee9e89");

/// Keys whose multiples are kept: about 90 kB each.
const TABLES_MAX: usize = 256;
/// Keys that are counted until they have multiples.
const SEEN_MAX: usize = 8_192;
/// The multiples of a key are computed when it is seen this often. They cost as much as verifying four times without.
const SEEN_OFTEN: u32 = 4;
/// The multiples of a key that was not used for so many verifications may go to make room.
const IDLE: u64 = 4 * TABLES_MAX as u64;

const WINDOW_BITS: usize = 4;
const DIGITS: usize = (1 << WINDOW_BITS) - 1;
/// Windows of a number below 2^252.
const WINDOWS: usize = 252 / WINDOW_BITS;

static GENERATOR: LazyLock<Multiples> = LazyLock::new(|| {
    let generator = AffinePoint::generator();
    Multiples::of(&ProjectivePoint::from_affine_unchecked(generator.x(), generator.y()))
});
static KEYS: LazyLock<Mutex<Keys>> = LazyLock::new(Mutex::default);

/// Whether `(r, s)` is a signature of `message` by the owner of `public_key`, the x coordinate of a point.
pub(super) fn verify(public_key: &Felt, message: &Felt, r: &Felt, s: &Felt) -> bool {
    let in_range = |felt: &Felt| *felt != Felt::ZERO && *felt < ELEMENT_UPPER_BOUND;
    if *message >= ELEMENT_UPPER_BOUND || !in_range(r) || !in_range(s) {
        return false;
    }
    let Some(inverse) = NonZeroFelt::try_from(*s).ok().and_then(|s| Felt::from(s).mod_inverse(&ORDER)) else {
        return false;
    };
    if !in_range(&inverse) {
        return false;
    }
    let key = KEYS.lock().multiples(public_key);
    let by_generator = GENERATOR.times(&message.mul_mod(&inverse, &ORDER));
    let factor = r.mul_mod(&inverse, &ORDER);
    let by_key = match key {
        Known::Multiples(multiples) => multiples.times(&factor),
        Known::Often => {
            let Some(point) = point(public_key) else { return false };
            let multiples = Arc::new(Multiples::of(&point));
            KEYS.lock().keep(*public_key, Arc::clone(&multiples));
            multiples.times(&factor)
        }
        Known::Little => {
            let Some(point) = point(public_key) else { return false };
            times(&point, &factor)
        }
    };
    // Which of the two points with this x coordinate is the key's is not known: the sum serves one, the difference the
    // other.
    has_x(&(&by_generator + &by_key), r) || has_x(&(&by_generator - &by_key), r)
}

/// A point with this x coordinate.
fn point(x: &Felt) -> Option<ProjectivePoint> {
    let y = (x.square() * x + x + BETA).sqrt()?;
    Some(ProjectivePoint::from_affine_unchecked(*x, y))
}

/// Compares without dividing. The point at infinity has no x coordinate.
fn has_x(point: &ProjectivePoint, x: &Felt) -> bool {
    !point.is_identity() && point.x() == *x * point.z()
}

/// The point times a number, window by window from the top.
fn times(point: &ProjectivePoint, factor: &Felt) -> ProjectivePoint {
    let multiples = small_multiples(point);
    let mut product = ProjectivePoint::identity();
    for digit in digits(factor).into_iter().rev() {
        for _ in 0..WINDOW_BITS {
            product = product.double();
        }
        if let Some(multiple) = digit.checked_sub(1).and_then(|at| multiples.get(at)) {
            product += multiple;
        }
    }
    product
}

/// The point once, twice and so on, as many times as a digit can say.
fn small_multiples(point: &ProjectivePoint) -> Vec<ProjectivePoint> {
    let mut multiples = vec![point.clone(), point.double()];
    while multiples.len() < DIGITS {
        multiples.extend(multiples.last().map(|last| last + point));
    }
    multiples
}

/// The digits of a number below 2^252, the lowest first.
fn digits(number: &Felt) -> [usize; WINDOWS] {
    let bytes = number.to_bytes_le();
    std::array::from_fn(|window| usize::from(bytes[window / 2] >> (WINDOW_BITS * (window % 2))) & DIGITS)
}

/// Every digit at every place, times one point.
#[derive(Debug)]
struct Multiples(Vec<ProjectivePoint>);

impl Multiples {
    fn of(point: &ProjectivePoint) -> Self {
        let mut multiples = Vec::with_capacity(WINDOWS * DIGITS);
        let mut base = point.clone();
        for _ in 0..WINDOWS {
            multiples.extend(small_multiples(&base));
            for _ in 0..WINDOW_BITS {
                base = base.double();
            }
        }
        Self(multiples)
    }

    fn times(&self, factor: &Felt) -> ProjectivePoint {
        let mut product = ProjectivePoint::identity();
        for (window, digit) in digits(factor).into_iter().enumerate() {
            if let Some(at) = digit.checked_sub(1) {
                product += &self.0[window * DIGITS + at];
            }
        }
        product
    }
}

/// What is known of a key.
enum Known {
    Multiples(Arc<Multiples>),
    /// Seen so often that its multiples should be computed.
    Often,
    Little,
}

#[derive(Debug, Default)]
struct Keys {
    /// Counts verifications.
    clock: u64,
    seen: HashMap<Felt, u32>,
    tables: HashMap<Felt, (u64, Arc<Multiples>)>,
}

impl Keys {
    fn multiples(&mut self, key: &Felt) -> Known {
        self.clock += 1;
        if let Some((used, multiples)) = self.tables.get_mut(key) {
            *used = self.clock;
            return Known::Multiples(Arc::clone(multiples));
        }
        if self.seen.len() >= SEEN_MAX {
            self.seen.clear();
        }
        let seen = self.seen.entry(*key).or_default();
        *seen += 1;
        if *seen < SEEN_OFTEN || !self.has_room() {
            return Known::Little;
        }
        self.seen.remove(key);
        Known::Often
    }

    fn has_room(&self) -> bool {
        self.tables.len() < TABLES_MAX || self.idle().is_some()
    }

    fn idle(&self) -> Option<Felt> {
        let (key, (used, _)) = self.tables.iter().min_by_key(|(_, (used, _))| *used)?;
        (*used + IDLE < self.clock).then_some(*key)
    }

    fn keep(&mut self, key: Felt, multiples: Arc<Multiples>) {
        if self.tables.len() >= TABLES_MAX {
            let Some(idle) = self.idle() else { return };
            self.tables.remove(&idle);
        }
        self.tables.insert(key, (self.clock, multiples));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sign(key: &Felt, message: &Felt) -> (Felt, Felt) {
        let k = starknet_crypto::rfc6979_generate_k(message, key, None);
        let signature = starknet_crypto::sign(key, message, &k).expect("k is sound");
        (signature.r, signature.s)
    }

    fn felt() -> impl Strategy<Value = Felt> {
        any::<[u8; 31]>().prop_map(|bytes| Felt::from_bytes_be_slice(&bytes) + Felt::ONE)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// Before and after the key's multiples are kept.
        #[test]
        fn agrees_with_the_reference(key in felt(), message in felt(), noise in felt()) {
            let public = starknet_crypto::get_public_key(&key);
            let (r, s) = sign(&key, &message);
            for _ in 0..=SEEN_OFTEN {
                for (message, r, s) in [
                    (message, r, s),
                    (message, s, r),
                    (message, r, Felt::from(ORDER) - s),
                    (message, noise, s),
                    (message, r, noise),
                    (noise, r, s),
                    (message, r + Felt::ONE, s),
                ] {
                    let wanted = starknet_crypto::verify(&public, &message, &r, &s).unwrap_or(false);
                    prop_assert_eq!(verify(&public, &message, &r, &s), wanted);
                }
            }
        }
    }

    #[test]
    fn what_is_out_of_range_is_no_signature() {
        let (key, message) = (Felt::from(77), Felt::from(5));
        let public = starknet_crypto::get_public_key(&key);
        let (r, s) = sign(&key, &message);
        assert!(verify(&public, &message, &r, &s));
        for bad in [Felt::ZERO, ELEMENT_UPPER_BOUND, Felt::from(ORDER), Felt::MAX] {
            assert!(!verify(&public, &message, &bad, &s));
            assert!(!verify(&public, &message, &r, &bad));
        }
        assert!(!verify(&public, &ELEMENT_UPPER_BOUND, &r, &s));
        // No point of the curve has this x coordinate.
        let nowhere = (1..).map(Felt::from).find(|x: &Felt| point(x).is_none()).expect("half of all have none");
        assert!(!verify(&nowhere, &message, &r, &s));
    }

    /// The owner of a key chooses r so that the products cancel out.
    #[test]
    fn a_sum_at_infinity_is_no_signature() {
        let (key, message) = (Felt::from(77), Felt::from(5));
        let public = starknet_crypto::get_public_key(&key);
        let inverse =
            Felt::from(NonZeroFelt::try_from(key).expect("not 0")).mod_inverse(&ORDER).expect("a prime order");
        let r = message.mul_mod(&inverse, &ORDER);
        for r in [r, Felt::from(ORDER) - r] {
            assert!(!verify(&public, &message, &r, &Felt::ONE));
            assert!(!verify(&public, &message, &r, &Felt::THREE));
        }
    }

    #[test]
    fn tables_are_bounded_and_do_not_thrash() {
        let mut keys = Keys::default();
        let table = Arc::new(Multiples(Vec::new()));
        for n in 0..2 * TABLES_MAX {
            for _ in 0..SEEN_OFTEN {
                if matches!(keys.multiples(&Felt::from(n)), Known::Often) {
                    keys.keep(Felt::from(n), Arc::clone(&table));
                }
            }
        }
        assert_eq!(keys.tables.len(), TABLES_MAX);
        let first: Felt = Felt::ZERO;
        assert!(!keys.tables.contains_key(&first), "unused since long ago, it made room");
    }
}
