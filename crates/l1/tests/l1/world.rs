//! A made-up L1: a tree of headers.

use std::collections::HashMap;
use std::sync::Arc;

use alloy_primitives::{B256, U256};
use l1::Header;
use optimism::BlockId;

/// The header of a block on `parent`, one of many by `salt`.
pub(crate) fn child(parent: &Header, salt: u64) -> Header {
    Header::new(alloy_consensus::Header {
        number: parent.number + 1,
        parent_hash: parent.hash(),
        timestamp: parent.timestamp + 12,
        mix_hash: B256::from(U256::from(salt)),
        ..Default::default()
    })
}

pub(crate) fn genesis(number: u64) -> Header {
    Header::new(alloy_consensus::Header { number, timestamp: 1_700_000_000, ..Default::default() })
}

pub(crate) fn id(header: &Header) -> BlockId {
    BlockId { number: header.number, hash: header.hash() }
}

/// Every block that ever was, the chain that counts now, and every head that it had.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) all: HashMap<B256, Arc<Header>>,
    pub(crate) chain: Vec<Arc<Header>>,
    pub(crate) heads: Vec<Arc<Header>>,
    salt: u64,
}

impl World {
    pub(crate) fn new(lowest: u64, length: u64) -> Self {
        let first = Arc::new(genesis(lowest));
        let all = HashMap::from([(first.hash(), Arc::clone(&first))]);
        let mut world = Self { all, chain: vec![Arc::clone(&first)], heads: vec![first], salt: 0 };
        world.extend(length);
        world
    }

    pub(crate) fn head(&self) -> &Arc<Header> {
        self.chain.last().unwrap()
    }

    pub(crate) fn extend(&mut self, count: u64) {
        for _ in 0..count {
            self.salt += 1;
            let next = Arc::new(child(self.head(), self.salt));
            self.all.insert(next.hash(), Arc::clone(&next));
            self.chain.push(next);
            self.heads.push(Arc::clone(self.head()));
        }
    }

    /// Leaves `depth` blocks and puts `count` others in their place at once: nobody ever sees a head between.
    pub(crate) fn reorganise(&mut self, depth: usize, count: u64) {
        let keep = self.chain.len().saturating_sub(depth).max(1);
        self.chain.truncate(keep);
        let heads = self.heads.len();
        self.extend(count);
        self.heads.truncate(heads);
        self.heads.push(Arc::clone(self.head()));
    }

    /// The highest block of both branches.
    pub(crate) fn common_ancestor(&self, one: B256, other: B256) -> BlockId {
        let (mut one, mut other) = (&self.all[&one], &self.all[&other]);
        while one.hash() != other.hash() {
            if one.number >= other.number {
                one = &self.all[&one.parent_hash];
            } else {
                other = &self.all[&other.parent_hash];
            }
        }
        id(one)
    }
}
