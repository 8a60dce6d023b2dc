//! The middle of a changing set.

use std::collections::BTreeSet;

/// A set that knows its median: two halves, the lower never smaller than the upper and at most one element larger.
#[derive(Clone, Debug)]
pub(crate) struct Median<K> {
    low: BTreeSet<K>,
    high: BTreeSet<K>,
}

impl<K: Ord + Copy> Median<K> {
    pub(crate) fn new() -> Self {
        Self { low: BTreeSet::new(), high: BTreeSet::new() }
    }

    /// The lower one of the two middle elements where their number is even.
    pub(crate) fn median(&self) -> Option<K> {
        self.low.last().copied()
    }

    pub(crate) fn insert(&mut self, key: K) {
        if self.high.first().is_some_and(|first| key > *first) {
            self.high.insert(key);
        } else {
            self.low.insert(key);
        }
        self.balance();
    }

    pub(crate) fn remove(&mut self, key: K) {
        if !self.low.remove(&key) {
            self.high.remove(&key);
        }
        self.balance();
    }

    fn balance(&mut self) {
        while self.low.len() > self.high.len() + 1 {
            self.high.extend(self.low.pop_last());
        }
        while self.high.len() > self.low.len() {
            self.low.extend(self.high.pop_first());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Median;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_sorted_list(ops in prop::collection::vec((any::<bool>(), 0u32..40), 0..200)) {
            let mut median = Median::new();
            let mut list = std::collections::BTreeSet::new();
            for (insert, key) in ops {
                if insert {
                    if list.insert(key) { median.insert(key); }
                } else {
                    list.remove(&key);
                    median.remove(key);
                }
                let sorted: Vec<_> = list.iter().copied().collect();
                let middle = sorted.len().saturating_sub(1) / 2;
                prop_assert_eq!(median.median(), sorted.get(middle).copied());
            }
        }
    }
}
