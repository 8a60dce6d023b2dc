//! What happens when: a queue in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use types::Timestamp;

/// Things to come, in order of time; those of one moment in the order in which they were planned.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    order: BinaryHeap<Reverse<(Timestamp, u64, usize)>>,
    items: Vec<Option<T>>,
    free: Vec<usize>,
    planned: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { order: BinaryHeap::new(), items: Vec::new(), free: Vec::new(), planned: 0 }
    }
}

impl<T> Agenda<T> {
    /// Plans something.
    pub(crate) fn plan(&mut self, at: Timestamp, item: T) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.items.push(None);
            self.items.len() - 1
        });
        self.items[place] = Some(item);
        self.planned += 1;
        self.order.push(Reverse((at, self.planned, place)));
    }

    /// The next thing.
    pub(crate) fn next(&mut self) -> Option<(Timestamp, T)> {
        loop {
            let Reverse((at, _, place)) = self.order.pop()?;
            self.free.push(place);
            if let Some(item) = self.items[place].take() {
                return Some((at, item));
            }
        }
    }
}
