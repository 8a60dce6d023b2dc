//! A bounded map that forgets what was not used lately.

use std::collections::HashMap;
use std::hash::Hash;

use parking_lot::Mutex;

/// Two generations: what is read from the old one moves to the young one; when the young one is full it becomes the old
/// one, whose leftovers are dropped. Bounded by entries, approximately least-recently-used, no bookkeeping per read.
#[derive(Debug)]
pub(crate) struct Generations<K, V> {
    entries_max: usize,
    maps: Mutex<[HashMap<K, V>; 2]>,
}

impl<K: Eq + Hash + Clone, V: Clone> Generations<K, V> {
    /// Holds between `entries_max` and half of it when warm. At least 2.
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { entries_max: entries_max.max(2), maps: Mutex::new([HashMap::new(), HashMap::new()]) }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let mut maps = self.maps.lock();
        if let Some(value) = maps[0].get(key) {
            return Some(value.clone());
        }
        let (key, value) = maps[1].remove_entry(key)?;
        self.insert(&mut maps, key, value.clone());
        Some(value)
    }

    pub(crate) fn put(&self, key: K, value: V) {
        self.insert(&mut self.maps.lock(), key, value);
    }

    fn insert(&self, maps: &mut [HashMap<K, V>; 2], key: K, value: V) {
        maps[1].remove(&key);
        maps[0].insert(key, value);
        if maps[0].len() >= self.entries_max / 2 {
            maps.swap(0, 1);
            maps[0].clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Generations;

    #[test]
    fn stays_bounded_and_keeps_what_is_used() {
        let cache = Generations::new(100);
        cache.put(u64::MAX, 1);
        for key in 0..1000u64 {
            cache.put(key, 0);
            assert_eq!(cache.get(&u64::MAX), Some(1), "read often, so kept");
            let held: usize = cache.maps.lock().iter().map(std::collections::HashMap::len).sum();
            assert!(held <= 100, "{held} entries");
        }
        assert_eq!(cache.get(&0), None, "not read since, so forgotten");
    }
}
