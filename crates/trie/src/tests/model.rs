//! Random batches against a model that knows no increments: a sorted map whose root is computed by splitting bit by bit.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use starknet_types_core::felt::Felt;

use super::Grown;
use crate::{
    CONTRACTS, DecodeError, Join, Memory, Node, NodeHash, NodeStore, Path, Pedersen, Poseidon, STORAGE, Sequential,
    Trie, TrieError, commit_all, hash_pairs,
};

/// A hash function without cryptography, so that ten thousand tries take a second: multiply and add in the field.
struct Toy;

impl NodeHash for Toy {
    fn pair(left: &Felt, right: &Felt) -> Felt {
        let mixed = (*left + Felt::from(0x9e37_79b9_u64)) * (*right + Felt::from(0x0100_0193_u64));
        mixed * mixed + *left - *right * Felt::THREE + Felt::ONE
    }
}

/// Root of the leaves below one prefix, each given by the bits that remain.
fn naive_root<H: NodeHash>(leaves: &[(Vec<bool>, Felt)]) -> Felt {
    match leaves {
        [] => return Felt::ZERO,
        [(bits, value)] if bits.is_empty() => return *value,
        _ => (),
    }
    let bits = &leaves[0].0;
    let mut shared = 0;
    while shared < bits.len() && leaves.iter().all(|leaf| leaf.0[shared] == bits[shared]) {
        shared += 1;
    }
    if shared > 0 {
        let below: Vec<_> = leaves.iter().map(|(bits, value)| (bits[shared..].to_vec(), *value)).collect();
        let path = bits[..shared].iter().fold(Felt::ZERO, |path, bit| path * Felt::TWO + Felt::from(u8::from(*bit)));
        return H::pair(&naive_root::<H>(&below), &path) + Felt::from(shared);
    }
    let side = |side: bool| {
        let below: Vec<_> =
            leaves.iter().filter(|leaf| leaf.0[0] == side).map(|(bits, value)| (bits[1..].to_vec(), *value)).collect();
        naive_root::<H>(&below)
    };
    H::pair(&side(false), &side(true))
}

fn model_root<H: NodeHash>(height: u8, model: &BTreeMap<Felt, Felt>) -> Felt {
    let leaves: Vec<_> =
        model.iter().map(|(key, value)| (key.to_bits_be()[256 - usize::from(height)..].to_vec(), *value)).collect();
    naive_root::<H>(&leaves)
}

/// Keys that collide in long prefixes as well as far-apart ones.
fn key(height: u8) -> impl Strategy<Value = Felt> {
    let bits = u32::from(height);
    prop_oneof![
        4 => (0..24u64).prop_map(Felt::from),
        2 => (0..bits, 0..4u64).prop_map(move |(shift, low)| {
            let high = Felt::TWO.pow(shift);
            high + if shift > 2 { Felt::from(low) } else { Felt::ZERO }
        }),
        2 => prop::array::uniform32(any::<u8>()).prop_map(move |bytes| {
            let number = Felt::from_bytes_be(&bytes);
            let modulus = Felt::TWO.pow(bits).try_into().expect("a power of two below the prime is not zero");
            number.mod_floor(&modulus)
        }),
    ]
}

fn batches(height: u8) -> impl Strategy<Value = Vec<Vec<(Felt, Felt)>>> {
    let value = prop_oneof![2 => Just(Felt::ZERO), 3 => (1..5u64).prop_map(Felt::from)];
    prop::collection::vec(prop::collection::vec((key(height), value), 0..14), 1..8)
}

fn check_batches<H: NodeHash>(height: u8, batches: &[Vec<(Felt, Felt)>]) {
    let mut trie = Grown::<H>::new(height);
    let mut model = BTreeMap::new();
    let mut past = Vec::new();
    for batch in batches {
        let before = model.clone();
        trie.apply(batch);
        for (key, value) in batch {
            model.insert(*key, *value);
        }
        model.retain(|_, value| *value != Felt::ZERO);
        assert_eq!(trie.root, model_root::<H>(height, &model));
        assert_eq!(Trie::<H>::new(height).root_from_scratch(model.clone(), &Sequential), Ok(trie.root));
        if before == model {
            assert!(trie.apply(batch).nodes.is_empty(), "a batch without effect makes no nodes");
        }
        past.push((trie.root, model.clone()));
    }
    // Every root that ever was is still readable.
    for (root, model) in past {
        for key in batches.iter().flatten().map(|change| change.0) {
            let expected = model.get(&key).copied().unwrap_or(Felt::ZERO);
            assert_eq!(trie.rules.value(&trie.nodes, root, key), Ok(expected));
        }
    }
    // Deleting all there is leaves nothing.
    let deletions: Vec<_> = model.keys().map(|key| (*key, Felt::ZERO)).collect();
    assert_eq!(trie.apply(&deletions).root, Felt::ZERO);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn batches_agree_with_the_model_tall(batches in batches(251)) {
        check_batches::<Toy>(251, &batches);
    }

    #[test]
    fn batches_agree_with_the_model_short(batches in batches(5).prop_map(|batches| fold_keys(batches, 5))) {
        check_batches::<Toy>(5, &batches);
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..70), tag in any::<u8>()) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() { *first = tag }
        if let Ok(node) = Node::decode(&bytes) {
            prop_assert_eq!(node.encode(), bytes, "each node has one encoding");
        }
    }

    #[test]
    fn paths_agree_with_bit_lists(number in prop::array::uniform32(any::<u8>()), len in 0..=251u8, cut in 0..=251u8) {
        let bits = Felt::from_bytes_be(&number).to_bits_be()[256 - usize::from(len)..].to_vec();
        let of = |bits: &[bool]| {
            let number = bits.iter().fold(Felt::ZERO, |n, bit| n * Felt::TWO + Felt::from(u8::from(*bit)));
            Path::new(number, bits.len() as u8).expect("built from as many bits")
        };
        let path = of(&bits);
        let cut = cut.min(len);
        prop_assert_eq!(path.first(cut), of(&bits[..usize::from(cut)]));
        prop_assert_eq!(path.skip(cut), of(&bits[usize::from(cut)..]));
        prop_assert_eq!(path.first(cut).then(&path.skip(cut)), path);
        for (index, bit) in bits.iter().enumerate() {
            prop_assert_eq!(path.bit(index as u8), *bit);
            let mut other = bits.clone();
            other[index] = !bit;
            prop_assert_eq!(path.shared_with(&of(&other)), index as u8);
        }
        prop_assert_eq!(path.shared_with(&path), len);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn batches_agree_with_the_model_pedersen(batches in batches(251)) {
        check_batches::<Pedersen>(251, &batches);
    }

    #[test]
    fn batches_agree_with_the_model_poseidon(batches in batches(251)) {
        check_batches::<Poseidon>(251, &batches);
    }
}

/// Brings keys into range for a trie too short for the general strategy.
fn fold_keys(mut batches: Vec<Vec<(Felt, Felt)>>, height: u8) -> Vec<Vec<(Felt, Felt)>> {
    let modulus = Felt::TWO.pow(height).try_into().expect("not zero");
    for (key, _) in batches.iter_mut().flatten() {
        *key = key.mod_floor(&modulus);
    }
    batches
}

#[test]
fn nodes_survive_encoding() {
    let max = Felt::MAX;
    let path = |number: u64, len| Path::new(Felt::from(number), len).expect("fits");
    let longest = Path::new(Felt::TWO.pow(251u8) - Felt::ONE, 251).expect("251 ones are 251 bits");
    let nodes = [
        Node::Binary { left: Felt::ONE, right: max },
        Node::Edge { path: path(0, 1), child: Felt::ONE },
        Node::Edge { path: path(0x1ff, 9), child: max },
        Node::Edge { path: path(0, 251), child: Felt::TWO },
        Node::Edge { path: longest, child: max },
    ];
    for node in nodes {
        let bytes = node.encode();
        assert!(bytes.len() <= Node::ENCODED_BYTES_MAX);
        assert_eq!(Node::decode(&bytes), Ok(node));
        for len in 0..bytes.len() {
            assert!(Node::decode(&bytes[..len]).is_err(), "cut to {len}");
        }
        assert!(Node::decode(&[bytes.clone(), vec![0]].concat()).is_err(), "one byte too many");
    }
}

#[test]
fn broken_encodings_are_named() {
    let prime = {
        let mut bytes = Felt::MAX.to_bytes_be();
        bytes[31] += 1;
        bytes
    };
    let one = Felt::ONE.to_bytes_be();
    let rows: [(Vec<u8>, DecodeError); 6] = [
        (vec![], DecodeError::Length { found: 0 }),
        (vec![0; 64], DecodeError::Length { found: 64 }),
        ([&[0][..], &prime, &one].concat(), DecodeError::Element),
        ([&[0][..], &one, &[0; 32]].concat(), DecodeError::EmptyChild),
        ([&[3][..], &[8], &one].concat(), DecodeError::Path),
        ([&[252][..], &one, &one].concat(), DecodeError::Path),
    ];
    for (bytes, expected) in rows {
        assert_eq!(Node::decode(&bytes), Err(expected), "{bytes:?}");
    }
}

#[test]
fn keys_out_of_range_are_refused() {
    let key = Felt::TWO.pow(251u8);
    let error = TrieError::Key { key, height: 251 };
    let none = Memory::default();
    assert_eq!(STORAGE.plan(&none, Felt::ZERO, &[(key, Felt::ONE)]).err(), Some(error.clone()));
    assert_eq!(STORAGE.value(&none, Felt::ZERO, key).err(), Some(error.clone()));
    assert_eq!(STORAGE.prove(&none, Felt::ZERO, &[key]).err(), Some(error));
}

#[test]
fn lost_and_misplaced_nodes_are_named() {
    let mut trie = Grown::<Pedersen>::new(251);
    let keys = [1u64, 2, 3].map(Felt::from);
    trie.apply(&keys.map(|key| (key, key)));
    let mut broken = trie.nodes.clone();
    broken.remove(&trie.root);
    assert_eq!(STORAGE.value(&broken, trie.root, keys[0]), Err(TrieError::Missing { hash: trie.root }));

    let short = Trie::<Pedersen>::new(3);
    assert_eq!(short.value(&trie.nodes, trie.root, Felt::ONE), Err(TrieError::Corrupt { hash: trie.root, depth: 0 }));
}

/// Counts reads, to see that nodes off the changed paths stay untouched.
struct Counted<'a>(&'a Memory, AtomicUsize);

impl NodeStore for Counted<'_> {
    type Error = std::convert::Infallible;

    fn node(&self, hash: &Felt) -> Result<Option<Node>, Self::Error> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.node(hash)
    }
}

#[test]
fn one_write_touches_one_path() {
    let mut trie = Grown::<Toy>::new(251);
    let spread = |n: u64| Felt::from(n) * Felt::TWO.pow(240u8) + Felt::from(n);
    trie.apply(&(0..1024).map(|n| (spread(n), Felt::ONE)).collect::<Vec<_>>());
    let store = Counted(&trie.nodes, AtomicUsize::new(0));
    let plan = trie.rules.plan(&store, trie.root, &[(spread(77), Felt::TWO)]).expect("memory answers");
    let reads = store.1.into_inner();
    assert!(reads <= 12, "{reads} reads for a path of about ten levels");
    assert_eq!(plan.hashes(), reads, "each node on the path is made anew, nothing else");
}

/// Runs the right half first: results must not depend on the order.
struct Backwards(AtomicUsize);

impl Join for Backwards {
    fn join<A, B, RA, RB>(&self, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce() -> RA + Send,
        B: FnOnce() -> RB + Send,
        RA: Send,
        RB: Send,
    {
        self.0.fetch_add(1, Ordering::Relaxed);
        let b = b();
        (a(), b)
    }
}

#[test]
fn plans_hash_together_as_they_do_alone() {
    let join = Backwards(AtomicUsize::new(0));
    let none = Memory::default();
    let plans = |from: u64| {
        let leaves: Vec<_> =
            (from..from + 300).map(|n| (Felt::from(n) * Felt::from(0x1234_5678_9abc_u64), Felt::from(n))).collect();
        CONTRACTS.plan(&none, Felt::ZERO, &leaves).expect("memory answers")
    };
    let together = commit_all(vec![plans(1), plans(1000), plans(5)], &join);
    assert!(join.0.into_inner() > 0, "300 leaves are more than one task");
    let alone = [1, 1000, 5].map(|from| plans(from).commit(&Sequential));
    assert_eq!(together, alone);
}

#[test]
fn a_batch_hashes_as_its_pairs() {
    let pairs: Vec<_> = (0..200u64).map(|n| (Felt::from(n), Felt::MAX - Felt::from(n * n))).collect();
    fn check<H: NodeHash>(pairs: &[(Felt, Felt)]) {
        let expected: Vec<_> = pairs.iter().map(|(left, right)| H::pair(left, right)).collect();
        assert_eq!(hash_pairs::<H, _>(pairs, &Sequential), expected);
    }
    check::<Pedersen>(&pairs);
    check::<Poseidon>(&pairs);
}
