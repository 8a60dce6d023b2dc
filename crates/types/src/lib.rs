//! The nouns of sequencing: slots, blocks, heads, attributes, payloads, vows and certificates.
//!
//! Everything here is plain data that can be compared, ordered, hashed and written down. What it deliberately does not know: what a
//! transaction is, how a block is encoded ([`Payload::body`] is opaque), how a hash or a signature is made, what time it is, and any
//! wire format; those live with the chains and at the edges.
//!
//! Start with [`BlockRef`], which names a block, and [`Payload`], which carries one.
//!
//! ```
//! use types::{BlockHash, BlockNumber, BlockRef, Committee, Heads, Slot, Timestamp};
//!
//! let genesis = BlockRef { timestamp: Timestamp::from_secs(1_700_000_000), ..BlockRef::default() };
//! let first = BlockRef { number: BlockNumber::new(1), hash: BlockHash::new([1; 32]), parent: genesis.hash, ..genesis };
//! assert!(first.extends(&genesis));
//!
//! // Heads are in order by construction.
//! assert!(Heads::new(first, genesis, genesis).is_ok());
//! assert!(Heads::new(genesis, first, genesis).is_err());
//!
//! // Seven members bear two faulty ones, and five signatures prove something.
//! let committee = Committee::of(7).expect("seven is within the limit");
//! assert_eq!((committee.faulty_max(), committee.quorum()), (2, 5));
//! assert_eq!(committee.proposer(Slot::new(8)).as_u32(), 1);
//! ```

mod block;
mod committee;
mod hexadecimal;
mod l1;
mod payload;
mod time;

pub use block::{BlockHash, BlockNumber, BlockRef, Heads, HeadsOutOfOrder, NotABlockHash};
pub use committee::{Attestation, Certificate, Committee, MemberId, Proposal, Signature, Stage, Vow};
pub use l1::{Drift, L1Block, L1Origin};
pub use payload::{Announcement, Attributes, BuildId, Failure, Payload, Verdict};
pub use time::{Millis, Slot, Timestamp};
