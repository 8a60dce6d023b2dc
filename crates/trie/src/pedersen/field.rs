//! The field of the STARK curve, for speed: p = 2^251 + 17 * 2^192 + 1.
//!
//! Elements are kept in Montgomery form with R = 2^256 and always below p, which is also how [`Felt`] keeps them: going from one
//! to the other copies four words. Because p is 1 modulo 2^192 a reduction step costs one multiplication of words instead of
//! five.

use starknet_types_core::felt::Felt;

/// The only words of p that are not zero.
const P0: u64 = 1;
const P3: u64 = 0x0800_0000_0000_0011;

/// An element, lowest word first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element([u64; 4]);

impl Element {
    /// 2^256 mod p.
    pub(super) const ONE: Self = Self([0xffff_ffff_ffff_ffe1, u64::MAX, u64::MAX, 0x07ff_ffff_ffff_fdf0]);

    pub(super) const fn is_zero(&self) -> bool {
        let [a, b, c, d] = self.0;
        a | b | c | d == 0
    }

    #[inline(always)]
    pub(super) const fn plus(self, other: Self) -> Self {
        let (a, b) = (self.0, other.0);
        let (r0, carry) = add(a[0], b[0], 0);
        let (r1, carry) = add(a[1], b[1], carry);
        let (r2, carry) = add(a[2], b[2], carry);
        // Both are below 2^252: no carry leaves the last word.
        let (r3, _) = add(a[3], b[3], carry);
        reduced_once([r0, r1, r2, r3])
    }

    #[inline(always)]
    pub(super) const fn minus(self, other: Self) -> Self {
        let (a, b) = (self.0, other.0);
        let (r0, borrow) = sub(a[0], b[0], 0);
        let (r1, borrow) = sub(a[1], b[1], borrow);
        let (r2, borrow) = sub(a[2], b[2], borrow);
        let (r3, borrow) = sub(a[3], b[3], borrow);
        // Adds p when the difference went below zero.
        let mask = 0u64.wrapping_sub(borrow);
        let (r0, carry) = add(r0, P0 & mask, 0);
        let (r1, carry) = add(r1, 0, carry);
        let (r2, carry) = add(r2, 0, carry);
        let (r3, _) = add(r3, P3 & mask, carry);
        Self([r0, r1, r2, r3])
    }

    #[inline(always)]
    pub(super) const fn times(self, other: Self) -> Self {
        let (a, b) = (self.0, other.0);
        let mut t = [0u64; 5];
        let mut word = 0;
        while word < 4 {
            let (t0, carry) = mul_add(t[0], a[0], b[word], 0);
            let (t1, carry) = mul_add(t[1], a[1], b[word], carry);
            let (t2, carry) = mul_add(t[2], a[2], b[word], carry);
            let (t3, carry) = mul_add(t[3], a[3], b[word], carry);
            let t4 = t[4] + carry;
            // Adding m * p with m = -t0 (for p is 1 modulo 2^64) clears the lowest word, which is then dropped.
            let m = t0.wrapping_neg();
            let carry = (t0 != 0) as u64;
            let (t1, carry) = add(t1, 0, carry);
            let (t2, carry) = add(t2, 0, carry);
            let (t3, carry) = mul_add(t3, m, P3, carry);
            t = [t1, t2, t3, t4 + carry, 0];
            word += 1;
        }
        reduced_once([t[0], t[1], t[2], t[3]])
    }

    #[inline(always)]
    pub(super) const fn squared(self) -> Self {
        self.times(self)
    }

    fn squared_times(mut self, times: usize) -> Self {
        for _ in 0..times {
            self = self.squared();
        }
        self
    }

    /// 1 / self, by Fermat: p - 2 = 2^251 + 2^196 + (2^192 - 1). Zero for zero.
    pub(super) fn inverse(self) -> Self {
        // power = self^(2^bits - 1)
        let (mut power, mut bits) = (self, 1);
        for after in [2, 3, 6, 12, 24, 48, 96, 192] {
            power =
                if after == bits + 1 { power.squared().times(self) } else { power.squared_times(bits).times(power) };
            bits = after;
        }
        let two_to_196 = power.times(self).squared_times(4);
        let two_to_251 = two_to_196.squared_times(55);
        two_to_251.times(two_to_196).times(power)
    }
}

impl From<&Felt> for Element {
    fn from(felt: &Felt) -> Self {
        Self(felt.to_raw_reversed())
    }
}

impl From<Element> for Felt {
    fn from(Element([a, b, c, d]): Element) -> Self {
        Felt::from_raw([d, c, b, a])
    }
}

/// Inverts all `elements`, none of which is zero, at the price of one inversion and three multiplications each. `prefixes` is
/// scratch space.
pub(super) fn invert_all(elements: &mut [Element], prefixes: &mut Vec<Element>) {
    prefixes.clear();
    let mut product = Element::ONE;
    for element in elements.iter() {
        prefixes.push(product);
        product = product.times(*element);
    }
    let mut inverse = product.inverse();
    for (element, prefix) in elements.iter_mut().zip(prefixes.iter()).rev() {
        let own = inverse.times(*prefix);
        inverse = inverse.times(*element);
        *element = own;
    }
}

/// `r` below 2p, brought below p.
#[inline(always)]
const fn reduced_once(r: [u64; 4]) -> Element {
    let (s0, borrow) = sub(r[0], P0, 0);
    let (s1, borrow) = sub(r[1], 0, borrow);
    let (s2, borrow) = sub(r[2], 0, borrow);
    let (s3, borrow) = sub(r[3], P3, borrow);
    let keep = 0u64.wrapping_sub(borrow);
    Element([
        (r[0] & keep) | (s0 & !keep),
        (r[1] & keep) | (s1 & !keep),
        (r[2] & keep) | (s2 & !keep),
        (r[3] & keep) | (s3 & !keep),
    ])
}

#[inline(always)]
const fn add(a: u64, b: u64, carry: u64) -> (u64, u64) {
    let sum = a as u128 + b as u128 + carry as u128;
    (sum as u64, (sum >> 64) as u64)
}

#[inline(always)]
const fn sub(a: u64, b: u64, borrow: u64) -> (u64, u64) {
    let difference = (a as u128).wrapping_sub(b as u128 + borrow as u128);
    (difference as u64, (difference >> 127) as u64)
}

/// sum + a * b + carry.
#[inline(always)]
const fn mul_add(sum: u64, a: u64, b: u64, carry: u64) -> (u64, u64) {
    let result = sum as u128 + a as u128 * b as u128 + carry as u128;
    (result as u64, (result >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn felt() -> impl Strategy<Value = Felt> {
        let near_zero = (0..3u64).prop_map(Felt::from);
        let near_prime = (0..3u64).prop_map(|below| Felt::MAX - Felt::from(below));
        // Runs of zero and of full bytes are where carries go wrong.
        let bytes = (any::<[u8; 32]>(), any::<u32>(), any::<u32>()).prop_map(|(mut bytes, zeros, ones)| {
            for (place, byte) in bytes.iter_mut().enumerate() {
                *byte |= if ones >> place & 1 == 1 { 0xff } else { 0 };
                *byte &= if zeros >> place & 1 == 1 { 0 } else { 0xff };
            }
            Felt::from_bytes_be(&bytes)
        });
        prop_oneof![1 => near_zero, 1 => near_prime, 6 => bytes]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn arithmetic_agrees_with_felt(a in felt(), b in felt()) {
            let (x, y) = (Element::from(&a), Element::from(&b));
            prop_assert_eq!(Felt::from(x), a);
            prop_assert_eq!(Felt::from(x.plus(y)), a + b);
            prop_assert_eq!(Felt::from(x.minus(y)), a - b);
            prop_assert_eq!(Felt::from(x.times(y)), a * b);
            prop_assert_eq!(Felt::from(x.squared()), a * a);
            prop_assert_eq!(Felt::from(x.inverse()), a.inverse().unwrap_or(Felt::ZERO));
            prop_assert_eq!(x.is_zero(), a == Felt::ZERO);
        }

        #[test]
        fn inverses_of_a_batch_agree(felts in prop::collection::vec(felt(), 0..20)) {
            let felts: Vec<_> = felts.into_iter().filter(|felt| *felt != Felt::ZERO).collect();
            let mut elements: Vec<_> = felts.iter().map(Element::from).collect();
            invert_all(&mut elements, &mut Vec::new());
            for (element, felt) in elements.into_iter().zip(felts) {
                prop_assert_eq!(Some(Felt::from(element)), felt.inverse());
            }
        }
    }

    #[test]
    fn one_is_one() {
        assert_eq!(Felt::from(Element::ONE), Felt::ONE);
    }
}
