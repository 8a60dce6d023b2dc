//! Finding events by address and key, block range and page.

use std::sync::Arc;

use starknet_api::block::{BlockHash, BlockNumber};
use starknet_api::core::ContractAddress;
use starknet_api::transaction::{Event, TransactionHash};
use starknet_types_core::felt::Felt;

use crate::block::{Block, ExecutedTransaction};

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

/// Which emitters and keys occur in a block's events: no false "no", few false "yes".
///
/// The number of bits grows with the number of events, so that big blocks stay selective.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bloom {
    /// Empty for a block without events, else a power of two of bytes.
    bits: Vec<u8>,
}

const BLOOM_BYTES_MIN: usize = 64;
const BLOOM_BYTES_MAX: usize = 1 << 16;
/// Bits set per element.
const BLOOM_HASHES: u64 = 4;
/// Bits per element before rounding up.
const BLOOM_DENSITY: usize = 10;
/// Key positions that the filter knows; deeper keys are only checked in the block.
const BLOOM_KEY_POSITIONS: usize = 8;

impl Bloom {
    pub(crate) fn of(transactions: &[impl AsRef<ExecutedTransaction>]) -> Self {
        let events = || transactions.iter().flat_map(|tx| &tx.as_ref().outcome.events);
        let elements: usize = events().map(|event| 1 + event.content.keys.len().min(BLOOM_KEY_POSITIONS)).sum();
        if elements == 0 {
            return Self::default();
        }
        let bytes = (elements * BLOOM_DENSITY / 8).next_power_of_two().clamp(BLOOM_BYTES_MIN, BLOOM_BYTES_MAX);
        let mut bloom = Self { bits: vec![0; bytes] };
        for event in events() {
            bloom.insert(emitter_hash(&event.from_address));
            for (position, key) in event.content.keys.iter().take(BLOOM_KEY_POSITIONS).enumerate() {
                bloom.insert(key_hash(position, &key.0));
            }
        }
        bloom
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self { bits: bytes.to_vec() }
    }

    pub(crate) fn to_bytes(&self) -> &[u8] {
        &self.bits
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// Whether the block may hold an event that matches.
    pub(crate) fn may_match(&self, filter: &EventFilter) -> bool {
        if self.is_empty() {
            return false;
        }
        let emitter = filter.addresses.is_empty() || filter.addresses.iter().any(|a| self.contains(emitter_hash(a)));
        emitter
            && filter.keys.iter().take(BLOOM_KEY_POSITIONS).enumerate().all(|(position, wanted)| {
                wanted.is_empty() || wanted.iter().any(|key| self.contains(key_hash(position, key)))
            })
    }

    fn insert(&mut self, hash: u64) {
        for bit in self.places(hash) {
            self.bits[bit / 8] |= 1 << (bit % 8);
        }
    }

    fn contains(&self, hash: u64) -> bool {
        self.places(hash).all(|bit| self.bits[bit / 8] & (1 << (bit % 8)) != 0)
    }

    fn places(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let mask = self.bits.len() as u64 * 8 - 1;
        // Two halves of one hash give as many as needed (Kirsch, Mitzenmacher 2006).
        let step = (hash >> 32) | 1;
        (0..BLOOM_HASHES).map(move |i| (hash.wrapping_add(i.wrapping_mul(step)) & mask) as usize)
    }
}

fn emitter_hash(address: &ContractAddress) -> u64 {
    mix(u64::MAX, address.0.key())
}

fn key_hash(position: usize, key: &Felt) -> u64 {
    mix(position as u64, key)
}

/// FNV-1a with a final avalanche: stable over versions, which the standard library's hasher is not.
fn mix(salt: u64, felt: &Felt) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in salt.to_be_bytes().into_iter().chain(felt.to_bytes_be()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

/// Searches one block's events from position `from` on; appends matches until `limit`. Returns where it stopped, or `None`
/// when the block is exhausted.
pub(crate) fn search(
    block: &Block,
    filter: &EventFilter,
    from: u64,
    limit: usize,
    found: &mut Vec<PlacedEvent>,
) -> Option<u64> {
    let place = (block.header.number, Some(block.header.hash));
    search_transactions(place, &block.transactions, filter, from, limit, found)
}

/// [`search`] over any run of transactions, such as those of the open block.
pub(crate) fn search_transactions(
    (block_number, block_hash): (BlockNumber, Option<BlockHash>),
    transactions: &[Arc<ExecutedTransaction>],
    filter: &EventFilter,
    from: u64,
    limit: usize,
    found: &mut Vec<PlacedEvent>,
) -> Option<u64> {
    let mut position = 0;
    for (transaction_index, executed) in transactions.iter().enumerate() {
        for (event_index, event) in executed.outcome.events.iter().enumerate() {
            if position >= from && filter.matches(event) {
                if found.len() == limit {
                    return Some(position);
                }
                found.push(PlacedEvent {
                    block_number,
                    block_hash,
                    transaction_hash: executed.hash,
                    transaction_index: transaction_index as u64,
                    event_index: event_index as u64,
                    event: event.clone(),
                });
            }
            position += 1;
        }
    }
    None
}
