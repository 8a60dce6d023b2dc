use std::collections::BTreeMap;
use std::path::PathBuf;

use alloy_primitives::keccak256;
use alloy_trie::HashBuilder;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// A trie over its own nodes.
struct Grown {
    nodes: Nodes,
    root: B256,
}

impl Grown {
    fn new() -> Self {
        Self { nodes: Nodes::default(), root: EMPTY_ROOT }
    }

    fn apply(&mut self, changes: Vec<(Vec<u8>, Option<Bytes>)>) {
        let update = update(&self.nodes, self.root, changes).expect("sound");
        self.nodes.extend(update.nodes);
        self.root = update.root;
    }

    /// The same, and what is gone is forgotten.
    fn replace(&mut self, changes: Vec<(Vec<u8>, Option<Bytes>)>) {
        let update = update(&self.nodes, self.root, changes).expect("sound");
        self.nodes.extend(update.nodes);
        self.root = update.root;
        update.gone.iter().for_each(|hash| assert!(self.nodes.0.remove(hash).is_some(), "gone twice"));
    }
}

/// The root by independent code, from scratch.
fn root_from_scratch(entries: &BTreeMap<B256, Bytes>) -> B256 {
    let mut builder = HashBuilder::default();
    for (key, value) in entries {
        builder.add_leaf(Nibbles::unpack(key), value);
    }
    builder.root()
}

fn vectors() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = std::env::var_os("SEQUENZA_VECTORS").map_or_else(beside, PathBuf::from).join("evm/trie");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: vectors evm/trie: {} is not there", folder.display());
    None
}

fn text(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("text");
    text.strip_prefix("0x").map_or_else(|| text.into(), |digits| alloy_primitives::hex::decode(digits).expect("hex"))
}

fn pairs(value: &Value) -> Vec<(Vec<u8>, Option<Bytes>)> {
    let change = |key: Vec<u8>, value: &Value| (key, (!value.is_null()).then(|| Bytes::from(text(value))));
    match value {
        Value::Array(pairs) => pairs.iter().map(|pair| change(text(&pair[0]), &pair[1])).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| change(text(&key.as_str().into()), value)).collect(),
        other => panic!("neither a list nor a map: {other}"),
    }
}

/// Official roots, with all changes at once and one by one.
#[test]
fn published_roots_are_met() {
    let Some(folder) = vectors() else { return };
    let mut tries = 0;
    for file in [
        "trietest.json",
        "trieanyorder.json",
        "trietest_secureTrie.json",
        "trieanyorder_secureTrie.json",
        "hex_encoded_securetrie_test.json",
    ] {
        let text = std::fs::read_to_string(folder.join(file)).expect("readable");
        let tests: BTreeMap<String, Value> = serde_json::from_str(&text).expect("JSON");
        for (name, test) in tests {
            let mut changes = pairs(&test["in"]);
            if file.contains("secure") {
                changes.iter_mut().for_each(|(key, _)| *key = keccak256(&key).to_vec());
            }
            let root: B256 = test["root"].as_str().expect("text").parse().expect("a root");
            let mut at_once = Grown::new();
            at_once.apply(changes.clone());
            assert_eq!(at_once.root, root, "{file} {name}");
            let mut in_turn = Grown::new();
            for change in changes {
                in_turn.apply(vec![change]);
            }
            assert_eq!(in_turn.root, root, "{file} {name}, one by one");
            tries += 1;
        }
    }
    assert!(tries >= 20, "{tries} tries");
}

/// Few bytes, so that keys share stretches and meet again; 32 long, as those of the state.
fn key() -> impl Strategy<Value = B256> {
    vec(prop_oneof![8 => Just(0_u8), 1 => Just(0x01), 1 => Just(0x10), 1 => 0xf0..=0xff_u8], 32)
        .prop_map(|bytes| B256::from_slice(&bytes))
}

fn batch() -> impl Strategy<Value = Vec<(B256, Option<u8>)>> {
    vec((key(), proptest::option::weighted(0.6, any::<u8>())), 0..40)
}

/// Short values make nodes that stand in their parents.
fn long(byte: u8) -> Bytes {
    let length = if byte < 100 { 1 } else { usize::from(byte) % 80 + 1 };
    Bytes::from(vec![byte | 1; length])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_batches_lead_to_the_root_from_scratch(batches in vec(batch(), 1..8)) {
        let mut trie = Grown::new();
        let mut model = BTreeMap::new();
        let mut known = Vec::new();
        for batch in batches {
            // What is there already is changed and taken out more often than chance would have it.
            let again = batch.iter().filter_map(|(_, byte)| {
                let place = usize::from(byte.unwrap_or(7));
                (!known.is_empty()).then(|| (known[place % known.len()], byte.filter(|byte| byte % 2 == 0)))
            });
            let changes: Vec<(B256, Option<u8>)> = batch.iter().copied().chain(again).collect();
            for (key, byte) in &changes {
                match byte {
                    Some(byte) => drop(model.insert(*key, long(*byte))),
                    None => drop(model.remove(key)),
                }
                known.push(*key);
            }
            trie.replace(changes.into_iter().map(|(key, byte)| (key.to_vec(), byte.map(long))).collect());
            prop_assert_eq!(trie.root, root_from_scratch(&model));
            // Nothing is left over of earlier tries, and nothing is missing of this one.
            let alone = update(&Nodes::default(), EMPTY_ROOT, model.iter().map(|(key, value)| (key, Some(value.clone()))));
            let alone: BTreeMap<B256, Bytes> = alone.expect("sound").nodes.into_iter().collect();
            prop_assert_eq!(trie.nodes.iter().map(|(hash, node)| (*hash, node.clone())).collect::<BTreeMap<_, _>>(), alone);
        }
        for key in known.iter().take(50) {
            let expected = model.get(key).cloned();
            prop_assert_eq!(value(&trie.nodes, trie.root, key).expect("sound"), expected.clone());
            let proof = prove(&trie.nodes, trie.root, key).expect("sound");
            prop_assert_eq!(verify(trie.root, key, &proof), Ok(expected.clone()));
            let theirs = alloy_trie::proof::verify_proof(trie.root, Nibbles::unpack(key), expected.map(Vec::from), &proof);
            // The other verifier takes the proof of an empty trie for none at all.
            prop_assert!(theirs.is_ok() || model.is_empty(), "{:?}", theirs);
        }
    }

    /// Whatever is called a node: an error or a node, never a panic, and never one for two names.
    #[test]
    fn anything_is_read_without_harm(bytes in vec(any::<u8>(), 0..80)) {
        if let Ok(node) = node::Node::decode(&bytes) {
            prop_assert_eq!(node.finish(&mut Vec::new()), bytes);
        }
    }
}

#[test]
fn what_is_missing_or_damaged_is_named() {
    let mut trie = Grown::new();
    trie.apply((0..100_u8).map(|byte| (keccak256([byte]).to_vec(), Some(long(byte | 0x80)))).collect());
    let empty = Nodes::default();
    let key = keccak256([1]);
    assert_eq!(value(&empty, trie.root, key), Err(MerkleError::Missing(trie.root)));
    assert_eq!(value(&empty, trie.root, [0; 33]), Err(MerkleError::Key(33)));
    let mut damaged = trie.nodes.clone();
    damaged.extend([(trie.root, Bytes::from_static(&[0xc1, 0x80]))]);
    assert!(matches!(value(&damaged, trie.root, key), Err(MerkleError::Corrupt { hash, .. }) if hash == trie.root));

    let proof = prove(&trie.nodes, trie.root, key).expect("sound");
    assert!(proof.len() > 1);
    assert!(matches!(verify(trie.root, key, &proof[..1]), Err(ProofFault::Incomplete(_))));
    let mut longer = proof.clone();
    longer.push(Bytes::from_static(&[0x80]));
    assert_eq!(verify(trie.root, key, &longer), Err(ProofFault::Superfluous(1)));
    let other = prove(&trie.nodes, trie.root, keccak256([2])).expect("sound");
    assert!(verify(trie.root, key, &other).is_err());
}

/// Only what a batch changed is written: a block's worth of changes in a large trie makes a few nodes for each change.
#[test]
fn a_batch_writes_what_it_changed() {
    let mut trie = Grown::new();
    trie.apply((0..20_000_u32).map(|n| (keccak256(n.to_be_bytes()).to_vec(), Some(long(200)))).collect());
    let changes: Vec<_> = (0..100_u32).map(|n| (keccak256(n.to_be_bytes()).to_vec(), Some(long(210)))).collect();
    let update = update(&trie.nodes, trie.root, changes.clone()).expect("sound");
    assert!(update.nodes.len() < 100 * 5, "{}", update.nodes.len());
    let again = super::update(&trie.nodes, trie.root, changes.into_iter().map(|(key, _)| (key, Some(long(200)))));
    assert_eq!(again.expect("sound").root, trie.root, "the same values again");
}
