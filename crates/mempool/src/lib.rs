//! Transactions waiting for a block.
//!
//! A [`Mempool`] admits transactions, keeps the nonces of each account in order, hands out the best ones to whoever
//! builds a block, takes back what did not make it, and forgets what did. It works for any chain whose accounts count
//! nonces upwards: a chain describes its transaction through [`Pooled`] and says how much may wait in [`Limits`].
//!
//! What it deliberately does not know: what a transaction does, whether its signature holds, what the account can pay,
//! how anything is stored, what time it is. It has no clock and no randomness: the time is passed in, and every
//! collection is ordered, so the same calls always give the same answers.
//!
//! ```text
//!              admit                         take                      included
//!   outside ──────────▶ parked ──▶ ready ──────────────▶ in flight ───────────────▶ forgotten
//!              │          (gap closes)  ▲                  │      │
//!              │ Refusal                └──── returned ────┘      └── rejected ──▶ forgotten
//!              ▼
//!   replaced, evicted, expired, outdated transactions are handed back to the caller, who may have them on disk
//! ```
//!
//! Every operation costs O(log n) for each transaction that it touches.
//!
//! Start from [`Mempool::admit`] and [`Mempool::take`].
//!
//! ```
//! use mempool::{Limits, Mempool, Order, Outcome, Pooled};
//! use std::time::Duration;
//!
//! #[derive(Clone)]
//! struct Payment { hash: u64, from: &'static str, nonce: u64, tip: u128 }
//!
//! impl Pooled for Payment {
//!     type Hash = u64;
//!     type Sender = &'static str;
//!     fn hash(&self) -> u64 { self.hash }
//!     fn sender(&self) -> &'static str { self.from }
//!     fn nonce(&self) -> u64 { self.nonce }
//!     fn tip(&self) -> u128 { self.tip }
//!     fn max_price(&self) -> u128 { 100 }
//!     fn bytes(&self) -> usize { 200 }
//! }
//!
//! let mut pool = Mempool::new(Limits::default(), Order::Tip);
//! let now = Duration::ZERO;
//! let later = Payment { hash: 1, from: "ann", nonce: 1, tip: 9 };
//! let first = Payment { hash: 2, from: "ann", nonce: 0, tip: 1 };
//!
//! // Nonce 1 before nonce 0: it is parked, and released in order as soon as the gap closes.
//! assert!(matches!(pool.admit(later, 0, now)?.outcome, Outcome::Parked));
//! assert!(matches!(pool.admit(first, 0, now)?.outcome, Outcome::Admitted));
//! let block: Vec<u64> = pool.take(10).iter().map(Pooled::hash).collect();
//! assert_eq!(block, [2, 1]);
//! # Ok::<(), mempool::Refusal<u64>>(())
//! ```

mod account;
mod median;
mod pool;

pub use pool::Mempool;

use std::time::Duration;

/// What the pool must know of a transaction.
///
/// `Clone` should be cheap (an `Arc` around the body): a transaction that is handed out stays in the pool as well.
pub trait Pooled: Clone {
    /// Names a transaction; two transactions with one hash are the same.
    type Hash: Copy + Eq + std::hash::Hash;
    /// The account whose nonce the transaction uses up.
    type Sender: Copy + Ord;

    /// The name of this transaction.
    fn hash(&self) -> Self::Hash;
    /// The account that pays.
    fn sender(&self) -> Self::Sender;
    /// The nonce that it uses up; an account's transactions are handed out in rising order without a hole.
    fn nonce(&self) -> u64;
    /// What the sender adds for being early, per unit of gas: the order of [`Order::Tip`].
    fn tip(&self) -> u128;
    /// The highest price per unit of gas that the sender accepts, compared with [`Mempool::set_price_threshold`].
    fn max_price(&self) -> u128;
    /// What it occupies in memory and on disk.
    fn bytes(&self) -> usize;
}

/// In which order ready transactions are handed out. Nonces of one account always rise, whatever the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The highest tip first; among equal tips the earliest.
    Tip,
    /// The earliest first, whatever it pays.
    Fifo,
}

/// How much may wait, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Transactions in the pool, those in flight included.
    pub count: usize,
    /// Bytes in the pool ([`Pooled::bytes`]), those in flight included.
    pub bytes: usize,
    /// Transactions of one account, those in flight included.
    pub per_account: usize,
    /// How far a nonce may lie beyond the account's first missing one.
    pub nonce_gap: u64,
    /// How much more, in percent, a replacement must offer, in its tip and in its highest price.
    pub replacement_percent: u32,
    /// After which time in the pool a waiting transaction is dropped by [`Mempool::expire`]; `None`: never.
    pub ttl: Option<Duration>,
    /// The share, in percent of `count` and of `bytes`, that accounts without an executable transaction may occupy. It
    /// keeps transactions that may never pay from filling the pool, whatever they promise.
    pub gapped_percent: u32,
}

impl Default for Limits {
    /// 50,000 transactions, 256 MiB, 1,000 an account, nonce gap 200, replacement +10 %, five hours, half of it gapped.
    fn default() -> Self {
        Self {
            count: 50_000,
            bytes: 256 << 20,
            per_account: 1_000,
            nonce_gap: 200,
            replacement_percent: 10,
            ttl: Some(Duration::from_secs(5 * 3600)),
            gapped_percent: 50,
        }
    }
}

/// A transaction is in the pool now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission<T> {
    /// How it got in.
    pub outcome: Outcome<T>,
    /// What had to go to make room: gapped accounts first, then the lowest fees.
    pub evicted: Vec<T>,
}

/// How a transaction got into the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It follows on without a gap: it is handed out once those before it are.
    Admitted,
    /// It waits for an earlier nonce of its account.
    Parked,
    /// It took the place of this one, which has the same sender and nonce.
    Replaced(T),
}

/// Why a transaction is not in the pool. The pool is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal<H> {
    /// This very transaction is there already.
    #[error("the transaction is already in the pool")]
    Duplicate(H),
    /// The nonce is used up, by the chain or by a transaction in flight.
    #[error("nonce {got} is already used: the account's next nonce is {expected}")]
    NonceTooLow {
        /// The lowest nonce that would be accepted.
        expected: u64,
        /// The one that came.
        got: u64,
    },
    /// The nonce is further ahead than [`Limits::nonce_gap`] allows.
    #[error(
        "nonce {got} is too far ahead: the account's first missing nonce is {expected}, and at most {gap} may be skipped"
    )]
    NonceTooHigh {
        /// The account's first missing nonce.
        expected: u64,
        /// The one that came.
        got: u64,
        /// The limit.
        gap: u64,
    },
    /// Another transaction has this sender and nonce, and the newcomer does not offer enough more.
    #[error("{0}")]
    Underpriced(Box<Underbid<H>>),
    /// The account has as many transactions in the pool as [`Limits::per_account`] allows.
    #[error("the account has {count} transactions in the pool, which is the limit; retry when some are included")]
    AccountFull {
        /// How many there are.
        count: usize,
    },
    /// There is no room, and nothing in the pool is worth less.
    #[error(
        "the pool is full ({count} transactions, {bytes} bytes) with transactions that offer at least as much; retry later or offer a higher tip"
    )]
    Full {
        /// Transactions in the pool.
        count: usize,
        /// Bytes in the pool.
        bytes: usize,
    },
}

/// What a replacement offered, and what it would have to offer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a transaction with this nonce is in the pool: to replace it offer a tip of at least {tip_required} (got {tip}) and a highest \
     price of at least {max_price_required} (got {max_price}), one of them above the present one"
)]
pub struct Underbid<H> {
    /// The one that stays.
    pub existing: H,
    /// The tip that came.
    pub tip: u128,
    /// The tip that would do.
    pub tip_required: u128,
    /// The highest price that came.
    pub max_price: u128,
    /// The highest price that would do.
    pub max_price_required: u128,
}

/// Where a transaction of the pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It waits for its turn, with no nonce missing before it.
    Queued,
    /// It waits for a missing nonce.
    Parked,
    /// It was handed out and neither returned nor settled.
    InFlight,
}
