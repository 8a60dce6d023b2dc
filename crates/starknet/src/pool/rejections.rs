//! Why accepted transactions were dropped, for those who come back to ask.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use starknet_api::transaction::TransactionHash;

/// Reasons remembered; the oldest go first.
const REASONS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Rejections {
    reasons: HashMap<TransactionHash, Arc<str>>,
    order: VecDeque<TransactionHash>,
}

impl Rejections {
    pub(super) fn remember(&mut self, hash: TransactionHash, reason: Arc<str>) {
        if self.reasons.insert(hash, reason).is_none() {
            self.order.push_back(hash);
        }
        while self.order.len() > REASONS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.reasons.remove(&oldest);
            }
        }
    }

    /// It was sent and accepted again.
    pub(super) fn forget(&mut self, hash: TransactionHash) {
        if self.reasons.remove(&hash).is_some() {
            self.order.retain(|other| *other != hash);
        }
    }

    pub(super) fn reason(&self, hash: TransactionHash) -> Option<Arc<str>> {
        self.reasons.get(&hash).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::{REASONS_MAX, Rejections};
    use starknet_api::transaction::TransactionHash;

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut rejections = Rejections::default();
        let hash = |n: usize| TransactionHash(n.into());
        for n in 0..=REASONS_MAX {
            rejections.remember(hash(n), n.to_string().into());
        }
        assert_eq!(rejections.reason(hash(0)), None);
        assert_eq!(rejections.reason(hash(1)).as_deref(), Some("1"));
        rejections.forget(hash(1));
        assert_eq!(rejections.reason(hash(1)), None);
        assert_eq!(rejections.order.len(), REASONS_MAX - 1);
    }
}
