//! Finding events by address and key, block range and page.

use starknet_api::block::{BlockHash, BlockNumber};
use starknet_api::core::ContractAddress;
use starknet_api::transaction::{Event, TransactionHash};
use starknet_types_core::felt::Felt;

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Emitters; empty means any.
    pub addresses: Vec<ContractAddress>,
    /// Per key position the values that match; an empty position matches all.
    pub keys: Vec<Vec<Felt>>,
}

/// Where a search goes on: the first event not looked at yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventCursor {
    /// Block.
    pub block: BlockNumber,
    /// Position of the event in the block, over all its transactions.
    pub event: u64,
}

/// An event with its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedEvent {
    /// Block.
    pub block_number: BlockNumber,
    /// Hash of the block, or `None` in the open block.
    pub block_hash: Option<BlockHash>,
    /// Transaction that emitted it.
    pub transaction_hash: TransactionHash,
    /// Position of the transaction in the block.
    pub transaction_index: u64,
    /// Position of the event in the transaction.
    pub event_index: u64,
    /// The event.
    pub event: Event,
}

/// One page of events.
#[derive(Clone, Debug, Default)]
pub struct EventPage {
    /// Matching events in chain order.
    pub events: Vec<PlacedEvent>,
    /// Where to go on, or `None` when the range is exhausted.
    pub next: Option<EventCursor>,
}

impl EventFilter {
    /// Whether an event matches.
    pub fn matches(&self, event: &Event) -> bool {
        let emitter = self.addresses.is_empty() || self.addresses.contains(&event.from_address);
        emitter
            && self.keys.iter().enumerate().all(|(position, wanted)| {
                wanted.is_empty() || event.content.keys.get(position).is_some_and(|key| wanted.contains(&key.0))
            })
    }
}
