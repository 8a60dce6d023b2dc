//! L1 as a rollup node sees it: through several endpoints that are checked, through every reorganisation, and ahead of need.
//!
//! ```text
//!  endpoints ──► Source (deadline, limit, hashes and roots checked)
//!                  └► Sources (first good answer wins; breaker; disagreement is told)
//!                       ├► Follower ──► Chain (pure: linked heads, reorganisations, what to ask) ──► watch<L1View>
//!                       └► Epochs ◄── L1View: headers and receipts of the blocks to cite, cached and read ahead
//!  beacon node ──► Beacon: blobs
//! ```
//!
//! [`Follower::run`] and [`Epochs::read_ahead`] are long tasks for the supervisor; all else is called. Readers of an [`L1View`]
//! never wait: it is a picture that does not change, and [`L1View::since`] tells what came between two pictures.
//!
//! What it deliberately does not know: what a deposit or a batch is, which L1 block a rollup cites, who signs L1's blocks, metrics
//! (an [`Observer`] hears of every call, [`Sources::status`] tells how endpoints do).

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
