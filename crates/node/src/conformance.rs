//! What every [`Backend`] must do, as checks that run against any.
//!
//! Each check takes a function that makes a fresh chain. Chains made by it must share their genesis, so that one can import what another
//! built. A check panics where the backend does not conform, and says in what.

use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use types::{Attributes, BlockHash, BlockRef, BuildId, Heads, Payload, Slot, Timestamp, Verdict};

use crate::{Backend, BackendError, Sealed};

/// A fresh chain that seals empty blocks.
pub type Subject = Arc<dyn Backend>;

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
