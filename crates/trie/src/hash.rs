//! The hash functions of nodes, and how a batch of hashes is spread over threads that this crate does not have.

use starknet_types_core::felt::Felt;
use starknet_types_core::hash::StarkHash;

use crate::pedersen;

/// Batches at most this long are hashed by one call; longer ones are halved and offered to [`Join`]. Long enough that the
/// inversions of a Pedersen batch are well shared, short enough to spread a small block over two cores.
const PAIRS_PER_TASK: usize = 64;

/// A two-to-one hash function for nodes.
pub trait NodeHash {
    /// The hash of two elements.
    fn pair(left: &Felt, right: &Felt) -> Felt;

    /// Hashes each pair of `pairs` into the same place of `out`; both have the same length.
    fn pairs(pairs: &[(Felt, Felt)], out: &mut [Felt]) {
        for ((left, right), out) in pairs.iter().zip(out) {
            *out = Self::pair(left, right);
        }
    }
}

/// Pedersen over the STARK curve: contracts and storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pedersen;

/// Poseidon (Hades permutation of three elements): classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poseidon;

impl NodeHash for Pedersen {
    fn pair(left: &Felt, right: &Felt) -> Felt {
        let mut hash = [Felt::ZERO];
        Self::pairs(&[(*left, *right)], &mut hash);
        hash[0]
    }

    fn pairs(pairs: &[(Felt, Felt)], out: &mut [Felt]) {
        pedersen::hash_all(pairs, out);
    }
}

impl NodeHash for Poseidon {
    fn pair(left: &Felt, right: &Felt) -> Felt {
        starknet_types_core::hash::Poseidon::hash(left, right)
    }
}

/// Runs two closures and returns both results. The caller decides whether they run one after the other ([`Sequential`]) or at
/// once (`rayon::join` has this very shape).
pub trait Join: Sync {
    /// Runs `a` and `b`, in any order or together.
    fn join<A, B, RA, RB>(&self, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce() -> RA + Send,
        B: FnOnce() -> RB + Send,
        RA: Send,
        RB: Send;
}

/// One after the other, on the caller's thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sequential;

impl Join for Sequential {
    fn join<A, B, RA, RB>(&self, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce() -> RA + Send,
        B: FnOnce() -> RB + Send,
        RA: Send,
        RB: Send,
    {
        (a(), b())
    }
}

/// Hashes all `pairs`, halving the batch through `join` until a part is small enough for one task.
pub fn hash_pairs<H: NodeHash, J: Join>(pairs: &[(Felt, Felt)], join: &J) -> Vec<Felt> {
    let mut out = vec![Felt::ZERO; pairs.len()];
    spread::<H, J>(pairs, &mut out, join);
    out
}

fn spread<H: NodeHash, J: Join>(pairs: &[(Felt, Felt)], out: &mut [Felt], join: &J) {
    if pairs.len() <= PAIRS_PER_TASK {
        H::pairs(pairs, out);
        return;
    }
    let middle = pairs.len() / 2;
    let (pairs_left, pairs_right) = pairs.split_at(middle);
    let (out_left, out_right) = out.split_at_mut(middle);
    join.join(|| spread::<H, J>(pairs_left, out_left, join), || spread::<H, J>(pairs_right, out_right, join));
}
