//! Which L1 block the next block cites, for as long as the heart does not choose: it orders blocks without an origin today. Once it
//! does, this module goes.
//!
//! The choice itself is `sequencer::origin`'s; here is only the asking.

use std::sync::atomic::{AtomicBool, Ordering};

use alloy_primitives::B256;
use l1::Epochs;
use node::BackendError;
use optimism::L2Block;
use sequencer::origin::{Choice, Origins};
use tokio::sync::Mutex;
use types::{BlockHash, Drift, L1Origin, Timestamp};

/// Chooses origins.
#[derive(Debug)]
pub(super) struct Chooser {
    epochs: Epochs,
    drift: Drift,
    confirmations: u64,
    recovering: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    origins: Origins,
    /// L1's head as it was told last.
    head: Option<B256>,
}

/// What the next block cites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) hash: B256,
    /// No transaction of the pool may be in it.
    pub(super) empty: bool,
}

impl Chooser {
    pub(super) fn new(epochs: Epochs, drift: Drift, confirmations: u64, recovering: bool) -> Self {
        let known = Mutex::new(Known { origins: Origins::default(), head: None });
        Self { epochs, drift, confirmations, recovering: AtomicBool::new(recovering), known }
    }

    /// Whether blocks are those that derivation would make by itself.
    pub(super) fn is_recovering(&self) -> bool {
        self.recovering.load(Ordering::Relaxed)
    }

    pub(super) fn recover(&self, recovering: bool) {
        self.recovering.store(recovering, Ordering::Relaxed);
    }

    /// The origin of a block on `parent` at `timestamp`.
    ///
    /// # Errors
    /// [`BackendError::Retry`] while L1 does not have what is needed; [`BackendError::Reset`] when L1 has another picture than the
    /// parent.
    pub(super) async fn choose(&self, parent: &L2Block, timestamp: Timestamp) -> Result<Chosen, BackendError> {
        let mut known = self.known.lock().await;
        let view = self.epochs.view();
        let Some(head) = view.latest() else {
            return Err(BackendError::Retry("L1 has not told its newest block yet".to_owned()));
        };
        if known.head.replace(head.hash()) != Some(head.hash()) {
            known.origins.head_moved();
        }
        let origins = &mut known.origins;
        origins.follow(BlockHash::new(parent.origin.hash.0));
        while let Some(lookup) = origins.wanted(false) {
            let found = self.epochs.look_up(lookup, self.confirmations).await;
            origins.found(lookup, found.map_err(|error| BackendError::Retry(error.to_string()))?);
        }
        let chosen = |origin: L1Origin, empty| Ok(Chosen { hash: B256::new(*origin.hash.as_bytes()), empty });
        match origins.choose(&self.drift, timestamp, self.is_recovering()) {
            Some(Choice::Advance { origin, empty } | Choice::Stay { origin, empty }) => chosen(origin, empty),
            Some(Choice::NeedNext) | None => Err(BackendError::Retry(format!(
                "a block on {} has run too far ahead of L1 block {} to cite it, and the next L1 block is not there, or not {} below the head",
                parent.id, parent.origin, self.confirmations
            ))),
            Some(Choice::Reset(contradiction)) => {
                origins.reset();
                // The head is told anew, so that what was absent is looked for again.
                known.head = None;
                Err(BackendError::Reset(contradiction.to_string()))
            }
        }
    }
}
