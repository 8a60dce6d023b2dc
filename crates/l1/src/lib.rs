//! L1 as a rollup node sees it: through several endpoints that are checked, through every reorganisation, and ahead of
//! need.
//!
//! ```text
//!  endpoints ──► Source (deadline, limit, hashes and roots checked)
//!                  └► Sources (first good answer wins; breaker; disagreement is told)
//!                       ├► Follower ──► Chain (pure: linked heads, reorganisations, what to ask) ──► watch<L1View>
//!                       └► Epochs ◄── L1View: headers and receipts of the blocks to cite, cached and read ahead
//!  beacon node ──► Beacon: blobs
//! ```
//!
//! [`Follower::run`] and [`Epochs::read_ahead`] are long tasks for the supervisor; all else is called. Readers of an
//! [`L1View`] never wait: it is a picture that does not change, and [`L1View::since`] tells what came between two
//! pictures.
//!
//! ```
//! use std::sync::Arc;
//! use l1::{Chain, ChainConfig, EndpointId, Header, News};
//!
//! let on = |parent: &Header, salt: u8| {
//!     let (number, parent_hash, extra_data) = (parent.number + 1, parent.hash(), vec![salt].into());
//!     let header = alloy_consensus::Header { number, parent_hash, extra_data, ..Default::default() };
//!     Arc::new(Header::new(header))
//! };
//! let genesis = Arc::new(Header::new(alloy_consensus::Header::default()));
//! let (one, endpoint) = (on(&genesis, 0), EndpointId(0));
//! let (two, other_one) = (on(&one, 0), on(&genesis, 1));
//! let other_two = on(&other_one, 1);
//!
//! let mut chain = Chain::new(ChainConfig::default());
//! chain.hear_latest(endpoint, genesis.clone());
//! chain.hear_latest(endpoint, one);
//! chain.hear_latest(endpoint, two.clone());
//!
//! // Another head at the same height: its parent has to be seen before it counts.
//! assert!(chain.hear_latest(endpoint, other_two.clone()).news.is_empty());
//! let wanted = chain.wanted().expect("the parent of the other head");
//! assert_eq!(wanted.hash, other_one.hash());
//! let outcome = chain.hear_block(wanted.hash, Some(other_one.clone()));
//! assert!(matches!(outcome.news[0], News::Reorged { depth: 2, .. }));
//! assert_eq!(outcome.news[1..], [News::Advanced(other_one.clone()), News::Advanced(other_two.clone())]);
//!
//! let view = chain.view();
//! assert_eq!(view.latest(), Some(&other_two));
//! assert_eq!(view.child_of(genesis.hash()), Some(&other_one));
//! ```
//!
//! What it deliberately does not know: what a deposit or a batch is, which L1 block a rollup cites, who signs L1's
//! blocks, metrics (an [`Observer`] hears of every call, [`Sources::status`] tells how endpoints do).

mod beacon;
mod breaker;
mod chain;
mod epochs;
mod follower;
mod http;
mod source;
mod sources;
mod verify;
mod view;

pub use beacon::{Beacon, BeaconConfig, Slots};
pub use breaker::{Breaker, BreakerConfig, BreakerState, Severity};
pub use chain::{Chain, ChainConfig, EndpointId, Objection, Outcome, Wanted};
pub use epochs::{Epochs, EpochsConfig, Receipts};
pub use follower::{Follower, FollowerConfig};
pub use source::{BadSource, Fault, Source, SourceConfig, SourceError};
pub use sources::{Call, CallOutcome, EndpointStatus, Kind, Observer, ReadError, SourceEvent, Sources, SourcesConfig};
pub use verify::{At, Block, EXTRA_DATA_BYTES_MAX, Header, Lie, Receipt, Tag, block, header, receipts};
pub use view::{L1View, News};
