//! L1 as a rollup node sees it.
mod breaker;
mod chain;
mod source;
mod verify;
mod view;

pub use breaker::{Breaker, BreakerConfig, BreakerState, Severity};
pub use chain::{Chain, ChainConfig, EndpointId, Objection, Outcome, Wanted};
pub use source::{BadSource, Fault, Source, SourceConfig, SourceError};
pub use verify::{At, Block, EXTRA_DATA_BYTES_MAX, Header, Lie, Receipt, Tag, block, header, receipts};
pub use view::{L1View, News};
