//! A conductor: one leader at a time, and a log that only the leader extends.

use types::{BlockRef, Failure, Payload};

/// What the conductor's quorum agrees on. Perfect in itself: what is disputed is what the nodes hear of it, and when.
#[derive(Clone, Debug)]
pub(crate) struct Conductor {
    leader: Option<usize>,
    head: BlockRef,
}

impl Conductor {
    /// Without a leader, on a chain that ends here.
    pub(crate) fn at(head: BlockRef) -> Self {
        Self { leader: None, head }
    }

    /// The one leader.
    pub(crate) fn leader(&self) -> Option<usize> {
        self.leader
    }

    /// Elects another, or nobody.
    pub(crate) fn elect(&mut self, leader: Option<usize>) {
        self.leader = leader;
    }

    /// The newest block of the log, told to the leader alone.
    ///
    /// # Errors
    /// [`Failure::Retry`] to anyone else.
    pub(crate) fn head(&self, asker: usize) -> Result<BlockRef, Failure> {
        if self.leader == Some(asker) { Ok(self.head) } else { Err(Failure::Retry) }
    }

    /// Takes a payload from the leader if it extends the log, ends it already, or stands `in_place` of its end. Says whether the
    /// log has grown.
    ///
    /// # Errors
    /// [`Failure::Reset`] if it does not, or comes from anyone else.
    pub(crate) fn commit(&mut self, from: usize, payload: &Payload, in_place: bool) -> Result<bool, Failure> {
        if payload.block == self.head {
            Ok(false)
        } else if self.leader == Some(from) && (payload.block.extends(&self.head) || in_place) {
            self.head = payload.block;
            Ok(true)
        } else {
            Err(Failure::Reset)
        }
    }
}
