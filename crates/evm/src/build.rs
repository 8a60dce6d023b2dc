//! One block in the making, on a thread of its own: what piles up in the pool is executed before the block is due, so that little is left to
//! do when it is.
//!
//! ```text
//!  open ──► execute while there is a backlog ──► called ──► execute the rest, close, roots, header ──► sealed
//!                         └──────────────► called off: everything goes back to the pool
//! ```

use std::sync::Arc;
use std::thread::JoinHandle;

use types::Slot;

use crate::chain::{Chain, ChainError, Staged, complete};
use crate::execute::BlockAttributes;
use crate::ledger::Made;
use crate::pool::{Pool, Turn};
use crate::{StateView, execute};

/// Of the gas of a block that has a limit people reach, this part is given away before it is due; the rest is for those that pay most then.
const EARLY_PART: u64 = 2;

/// A block in the making. Dropped, it is called off.
#[derive(Debug)]
pub(crate) struct Making {
    pool: Pool,
    turn: Arc<Turn>,
    thread: Option<JoinHandle<Result<Option<Made>, ChainError>>>,
}

impl Making {
    /// Begins a block on `parent`, with transactions of the pool or without any.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn begin(
        chain: &Chain,
        pool: &Pool,
        parent: StateView,
        attributes: BlockAttributes,
        use_pool: bool,
    ) -> Result<Self, ChainError> {
        let turn = Arc::new(Turn::default());
        let work = {
            let (chain, pool, turn) = (chain.clone(), pool.clone(), Arc::clone(&turn));
            move || match use_pool {
                true => make(&chain, parent, &attributes, &pool, &turn),
                false => chain.build_on(parent, &attributes, &mut Nobody).map(Some),
            }
        };
        let thread = std::thread::Builder::new().name("builder".into()).spawn(work);
        let thread = thread.map_err(|error| ChainError::Execution(format!("no thread to build on: {error}")))?;
        Ok(Self { pool: pool.clone(), turn, thread: Some(thread) })
    }

    /// The block is due, in this slot: fills it and waits until it is complete.
    ///
    /// # Errors
    /// When execution failed in a way that no transaction can cause; everything is the pool's again then.
    pub(crate) fn finish(mut self, slot: Slot) -> Result<Arc<Staged>, ChainError> {
        self.pool.call(&self.turn);
        let made = self.thread.take().map(JoinHandle::join);
        let gone = || ChainError::Execution("the thread that builds a block ended badly".into());
        match made {
            Some(Ok(made)) => made?.map(|made| complete(slot, made)).ok_or_else(gone),
            Some(Err(_)) | None => Err(gone()),
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.pool.call_off(&self.turn);
        // It ends after the transaction that it is at, or has ended before it was called off.
        if let Ok(Ok(Some(made))) = thread.join() {
            self.pool.returned(&made.executed.hashes());
        }
    }
}

/// Makes the block; `None` when it was called off.
fn make(
    chain: &Chain,
    parent: StateView,
    attributes: &BlockAttributes,
    pool: &Pool,
    turn: &Arc<Turn>,
) -> Result<Option<Made>, ChainError> {
    let mut feed = pool.feed_by(Arc::clone(turn), attributes.gas_limit / EARLY_PART);
    let (header, ground) = (parent.header().clone(), parent.ground().clone());
    let made = execute::execute(chain.spec(), parent, attributes, &mut feed).and_then(|executed| {
        if turn.is_over() { Ok(None) } else { chain.close(&header, &ground, attributes, executed).map(Some) }
    });
    if made.is_err() {
        // Before the feed is dropped: what it handed out is in no block.
        pool.call_off(turn);
    }
    made
}

/// No transactions at all.
struct Nobody;

impl execute::Feed for Nobody {
    fn next(&mut self, _gas_left: u64) -> Option<Arc<crate::pool::Signed>> {
        None
    }

    fn refused(&mut self, _transaction: &crate::pool::Signed, _reason: execute::Refused) {}
}
