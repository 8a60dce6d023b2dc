//! What every [`Backend`] must do, as checks that run against any.
//!
//! Each check takes a function that makes a fresh chain. Chains made by it must share their genesis, so that one can import what another
//! built. A check panics where the backend does not conform, and says in what.

use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use types::{Attributes, BlockHash, BlockRef, BuildId, Heads, Payload, Slot, Timestamp, Verdict};

use sequencer::Record;

use crate::{Backend, BackendError, Persistence, Sealed};

/// A fresh chain that seals empty blocks.
pub type Subject = Arc<dyn Backend>;

/// A chain that keeps its own records.
pub trait Keeping: Backend + Persistence {}

impl<T: Backend + Persistence> Keeping for T {}

/// Runs every check, each on fresh chains.
///
/// # Panics
/// Where the backend does not conform.
pub async fn check_all<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Subject>,
{
    blocks_follow_each_other(make().await).await;
    sealing_again_yields_the_same(make().await).await;
    unknown_builds_cannot_be_sealed(make().await).await;
    a_cancelled_build_is_gone(make().await).await;
    another_build_takes_the_place_of_the_first(make().await).await;
    opening_again_changes_nothing(make().await).await;
    senseless_orders_are_refused(make().await).await;
    heads_must_be_imported(make().await).await;
    calls_may_be_dropped(make().await).await;
    another_chain_imports_what_this_one_built(make().await, make().await).await;
    lies_are_found(make().await, make().await).await;
}

/// Runs every check of what is asked of a backend whose unsafe chain may branch off, each on a fresh chain. Not every backend can: one
/// that cannot answers such orders with [`BackendError::Reset`].
///
/// # Panics
/// Where the backend does not conform.
pub async fn check_branching<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Subject>,
{
    a_sibling_takes_the_place_of_the_head(make().await).await;
    a_longer_branch_takes_the_place_of_the_chain(make().await).await;
    another_branch_is_imported(make().await, make().await).await;
}

/// Where a chain stands is kept over restarts. `open` opens one chain that seals empty blocks, again and again; what it opened before
/// is dropped first.
///
/// # Panics
/// Where the backend does not conform.
pub async fn heads_are_kept<F, Fut>(mut open: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Arc<dyn Keeping>>,
{
    let mut blocks = Vec::new();
    let mut expected: Option<Heads> = None;
    for count in 1..=4_u64 {
        let chain = open().await;
        let found = chain.heads().await.expect("a sound backend says where it stands");
        assert_eq!(found, expected.unwrap_or(found), "heads are kept over restart {count}");
        let attributes = order_on(found.unsafe_head());
        assert_eq!(chain.open(BuildId::new(count), attributes).await, Ok(()), "the chain goes on after a restart");
        let Ok(Sealed::Payload(payload)) = chain.seal(BuildId::new(count)).await else {
            panic!("chains made for these checks seal empty blocks")
        };
        chain.persist(&Record::Payload(payload.clone())).await.expect("a sound backend keeps its blocks");
        assert_eq!(chain.import(&payload).await, Ok(Verdict::Valid));
        blocks.push(payload.block);
        // Safe and final lag behind by one block and two.
        let behind = |back: usize| blocks.len().checked_sub(1 + back).and_then(|at| blocks.get(at)).copied();
        let safe = behind(1).unwrap_or(found.safe_head());
        let heads = Heads::new(payload.block, safe, behind(2).unwrap_or(found.finalized_head())).expect("in order");
        assert_eq!(chain.set_heads(heads).await, Ok(()));
        assert_eq!(chain.heads().await, Ok(heads), "heads are what was set");
        expected = Some(heads);
    }
}

/// Two blocks on one parent: the chain goes from one to the other and back, and on from there.
pub async fn a_sibling_takes_the_place_of_the_head(chain: Subject) {
    let genesis = head(&chain).await;
    let first = build(&chain, 1, order_on(genesis)).await;
    assert_eq!(chain.import(&first).await, Ok(Verdict::Valid));
    adopt(&chain, first.block).await;

    let second = build(&chain, 2, later(order_on(genesis), 1)).await;
    assert!(second.block.extends(&genesis) && second.block != first.block, "a block on the parent that was ordered");
    assert_eq!(head(&chain).await, first.block, "a block beside the chain does not move it");
    assert_eq!(chain.import(&second).await, Ok(Verdict::Valid));
    assert_eq!(head(&chain).await, first.block);
    adopt(&chain, second.block).await;
    assert_eq!(head(&chain).await, second.block, "the sibling is the head");

    let third = build(&chain, 3, order_on(second.block)).await;
    assert!(third.block.extends(&second.block), "a block is built on the sibling");
    assert_eq!(chain.import(&third).await, Ok(Verdict::Valid));
    adopt(&chain, third.block).await;
    assert_eq!(head(&chain).await, third.block);
}

/// A branch of two, imported before any of it is the head.
pub async fn a_longer_branch_takes_the_place_of_the_chain(chain: Subject) {
    let genesis = head(&chain).await;
    let left = build(&chain, 1, order_on(genesis)).await;
    assert_eq!(chain.import(&left).await, Ok(Verdict::Valid));
    let right = build(&chain, 2, later(order_on(genesis), 1)).await;
    assert_eq!(chain.import(&right).await, Ok(Verdict::Valid));
    adopt(&chain, left.block).await;
    let above = build(&chain, 3, order_on(right.block)).await;
    assert_eq!(chain.import(&above).await, Ok(Verdict::Valid), "a block on one that is not the head");
    adopt(&chain, above.block).await;
    assert_eq!(head(&chain).await, above.block, "both blocks of the branch are the chain");
}

/// What one chain built on a branch is valid on another that stands elsewhere, and can be built upon before it is the head.
pub async fn another_branch_is_imported(builder: Subject, follower: Subject) {
    let genesis = head(&builder).await;
    let own = build(&follower, 1, order_on(genesis)).await;
    assert_eq!(follower.import(&own).await, Ok(Verdict::Valid));
    adopt(&follower, own.block).await;

    let theirs = build(&builder, 1, later(order_on(genesis), 1)).await;
    assert_eq!(follower.import(&theirs).await, Ok(Verdict::Valid), "a block beside the chain");
    assert_eq!(head(&follower).await, own.block);
    let above = build(&follower, 2, order_on(theirs.block)).await;
    assert!(above.block.extends(&theirs.block), "a block on one that was imported from another");
    assert_eq!(follower.import(&above).await, Ok(Verdict::Valid));
    adopt(&follower, above.block).await;
    assert_eq!(head(&follower).await, above.block);
}

/// Open, seal, import, set heads: three times.
pub async fn blocks_follow_each_other(chain: Subject) {
    for count in 1..=3 {
        let parent = head(&chain).await;
        let attributes = order_on(parent);
        let payload = build(&chain, count, attributes).await;
        assert_eq!(payload.slot, attributes.slot, "a payload carries the slot that was ordered");
        assert!(payload.block.extends(&parent), "a block extends the parent that was ordered");
        assert_eq!(payload.block.timestamp, attributes.timestamp, "a block has the time that was ordered");
        assert_eq!(head(&chain).await, parent, "sealing does not make a block part of the chain");
        assert_eq!(chain.import(&payload).await, Ok(Verdict::Valid), "a backend accepts what it built");
        assert_eq!(head(&chain).await, parent, "importing does not make a block part of the chain");
        adopt(&chain, payload.block).await;
        assert_eq!(head(&chain).await, payload.block, "the head is what was set");
        adopt(&chain, payload.block).await;
        assert_eq!(chain.import(&payload).await, Ok(Verdict::Valid), "importing twice does no harm");
        assert_eq!(head(&chain).await, payload.block);
    }
}

/// The same build, the same payload.
pub async fn sealing_again_yields_the_same(chain: Subject) {
    let first = build(&chain, 1, order_on(head(&chain).await)).await;
    let again = sealed(&chain, 1).await;
    assert_eq!(first, again, "sealing again yields the identical payload, body included");
    assert_eq!(chain.import(&first).await, Ok(Verdict::Valid));
    assert_eq!(first, sealed(&chain, 1).await, "also after the import");
}

/// Nothing comes from nothing.
pub async fn unknown_builds_cannot_be_sealed(chain: Subject) {
    reset(chain.seal(BuildId::new(7)).await, "sealing what was never opened");
    chain.cancel(BuildId::new(7)).await;
    build(&chain, 8, order_on(head(&chain).await)).await;
    reset(chain.seal(BuildId::new(7)).await, "sealing another build than the one that is open");
}

/// Before and after sealing, and without harm to what follows.
pub async fn a_cancelled_build_is_gone(chain: Subject) {
    let parent = head(&chain).await;
    open(&chain, 1, order_on(parent)).await;
    chain.cancel(BuildId::new(1)).await;
    chain.cancel(BuildId::new(1)).await;
    reset(chain.seal(BuildId::new(1)).await, "sealing a build that was cancelled");

    build(&chain, 2, order_on(parent)).await;
    chain.cancel(BuildId::new(2)).await;
    reset(chain.seal(BuildId::new(2)).await, "sealing again what was cancelled");
    assert_eq!(head(&chain).await, parent);

    let payload = build(&chain, 3, order_on(parent)).await;
    assert_eq!(chain.import(&payload).await, Ok(Verdict::Valid));
    adopt(&chain, payload.block).await;
    chain.cancel(BuildId::new(3)).await;
    assert_eq!(head(&chain).await, payload.block, "cancelling does not touch what is part of the chain");
}

/// At most one build.
pub async fn another_build_takes_the_place_of_the_first(chain: Subject) {
    let parent = head(&chain).await;
    open(&chain, 1, order_on(parent)).await;
    let payload = build(&chain, 2, order_on(parent)).await;
    reset(chain.seal(BuildId::new(1)).await, "sealing a build after another one was opened");
    assert!(payload.block.extends(&parent));
}

/// The order may come twice.
pub async fn opening_again_changes_nothing(chain: Subject) {
    let attributes = order_on(head(&chain).await);
    open(&chain, 1, attributes).await;
    let payload = build(&chain, 1, attributes).await;
    open(&chain, 1, attributes).await;
    assert_eq!(sealed(&chain, 1).await, payload, "opening a sealed build again does not unseal it");
}

/// Parents that are not there, times that are not later.
pub async fn senseless_orders_are_refused(chain: Subject) {
    let parent = head(&chain).await;
    let stranger = BlockRef { hash: BlockHash::new([9; 32]), ..parent };
    reset(chain.open(BuildId::new(1), order_on(stranger)).await, "opening on a block that is not there");
    let same_time = Attributes { timestamp: parent.timestamp, ..order_on(parent) };
    reset(chain.open(BuildId::new(2), same_time).await, "opening at the time of the parent");
}

/// Only what was imported can become the head.
pub async fn heads_must_be_imported(chain: Subject) {
    let parent = head(&chain).await;
    let stranger =
        BlockRef { hash: BlockHash::new([9; 32]), parent: parent.hash, number: parent.number.next(), ..parent };
    reset(chain.set_heads(heads_at(stranger, parent)).await, "setting a head that was never imported");
    assert_eq!(head(&chain).await, parent);
}

/// A call whose future is dropped may have taken effect or not; the next one finds a sound backend.
pub async fn calls_may_be_dropped(chain: Subject) {
    let parent = head(&chain).await;
    let attributes = order_on(parent);
    drop(chain.open(BuildId::new(1), attributes).now_or_never());
    open(&chain, 1, attributes).await;
    drop(chain.seal(BuildId::new(1)).now_or_never());
    let payload = sealed(&chain, 1).await;
    assert_eq!(payload, sealed(&chain, 1).await);
    drop(chain.import(&payload).now_or_never());
    assert_eq!(chain.import(&payload).await, Ok(Verdict::Valid));
    let heads = heads_at(payload.block, parent);
    drop(chain.set_heads(heads).now_or_never());
    assert_eq!(chain.set_heads(heads).await, Ok(()));
    assert_eq!(head(&chain).await, payload.block);
}

/// What is built here is valid there.
pub async fn another_chain_imports_what_this_one_built(builder: Subject, follower: Subject) {
    assert_eq!(head(&builder).await, head(&follower).await, "chains made for this check share their genesis");
    for count in 1..=2 {
        let payload = build(&builder, count, order_on(head(&builder).await)).await;
        for chain in [&builder, &follower] {
            assert_eq!(chain.import(&payload).await, Ok(Verdict::Valid));
            adopt(chain, payload.block).await;
        }
        assert_eq!(head(&builder).await, head(&follower).await);
    }
}

/// A payload that is not what its reference says, or whose parent is missing.
pub async fn lies_are_found(builder: Subject, follower: Subject) {
    let genesis = head(&builder).await;
    let first = build(&builder, 1, order_on(genesis)).await;
    assert_eq!(builder.import(&first).await, Ok(Verdict::Valid));
    adopt(&builder, first.block).await;
    let second = build(&builder, 2, order_on(first.block)).await;

    assert_eq!(follower.import(&second).await, Ok(Verdict::ParentUnknown));
    let mut lie = first.clone();
    lie.block.hash = BlockHash::new([9; 32]);
    assert_eq!(follower.import(&lie).await, Ok(Verdict::Invalid), "a hash that is not the block's");
    let mut lie = first.clone();
    lie.block.timestamp = first.block.timestamp.after(types::Millis::new(5000));
    assert_eq!(follower.import(&lie).await, Ok(Verdict::Invalid), "a time that is not the block's");
    assert_eq!(head(&follower).await, genesis);
    assert_eq!(follower.import(&first).await, Ok(Verdict::Valid), "a lie does not spoil the truth");
}

/// An order for the block after `parent`, on whole seconds, which every chain can count.
#[must_use]
pub fn order_on(parent: BlockRef) -> Attributes {
    Attributes {
        slot: Slot::new(parent.number.as_u64() + 1),
        parent,
        timestamp: Timestamp::from_secs(parent.timestamp.as_secs() + 2),
        origin: None,
        use_pool: true,
    }
}

/// The same order, some seconds later: another block.
fn later(attributes: Attributes, seconds: u64) -> Attributes {
    let timestamp = Timestamp::from_secs(attributes.timestamp.as_secs() + seconds);
    Attributes { timestamp, ..attributes }
}

async fn head(chain: &Subject) -> BlockRef {
    chain.heads().await.expect("a sound backend says where it stands").unsafe_head()
}

async fn open(chain: &Subject, build: u64, attributes: Attributes) {
    assert_eq!(chain.open(BuildId::new(build), attributes).await, Ok(()), "opening on {}", attributes.parent.number);
}

async fn sealed(chain: &Subject, build: u64) -> Payload {
    match chain.seal(BuildId::new(build)).await {
        Ok(Sealed::Payload(payload)) => payload,
        Ok(Sealed::Nothing) => panic!("chains made for these checks seal empty blocks"),
        Err(error) => panic!("sealing an open build: {error}"),
    }
}

async fn build(chain: &Subject, build: u64, attributes: Attributes) -> Payload {
    open(chain, build, attributes).await;
    sealed(chain, build).await
}

fn heads_at(block: BlockRef, safe: BlockRef) -> Heads {
    Heads::new(block, safe, safe).expect("a block is above its parent")
}

async fn adopt(chain: &Subject, block: BlockRef) {
    let before = chain.heads().await.expect("a sound backend says where it stands");
    let heads = Heads::new(block, before.safe_head(), before.finalized_head()).expect("a block is above what is safe");
    assert_eq!(chain.set_heads(heads).await, Ok(()), "setting an imported head");
}

fn reset<T: std::fmt::Debug>(result: Result<T, BackendError>, what: &str) {
    assert!(matches!(result, Err(BackendError::Reset(_))), "{what} answers Reset, not {result:?}");
}
