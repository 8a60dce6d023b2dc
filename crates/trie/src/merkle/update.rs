//! Changing many keys at once.

use std::cell::RefCell;
use std::collections::BTreeSet;

use alloy_primitives::{B256, Bytes, keccak256};
use nybbles::Nibbles;

use super::node::{Child, Node};
use super::{EMPTY_ROOT, MerkleError, NodeSource, load, nibbles};

/// What a batch of changes did to a trie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The root afterwards.
    pub root: B256,
    /// Nodes under that root that the batch made, children before parents. Persist them before the root. A node that the batch left as it
    /// was may be among them.
    pub nodes: Vec<(B256, Bytes)>,
    /// Nodes under the root before that are not under this one, as far as the batch went. Who keeps the nodes of one trie by themselves and
    /// needs no earlier root may drop them; between tries, nodes are shared.
    pub gone: Vec<B256>,
}

/// The store, and which of its nodes were looked at to be replaced.
struct Reader<'s, S> {
    store: &'s S,
    opened: RefCell<BTreeSet<B256>>,
}

impl<S: NodeSource> Reader<'_, S> {
    fn open(&self, child: Child) -> Result<Option<Node>, MerkleError<S::Error>> {
        match child {
            Child::Empty => Ok(None),
            Child::Hash(hash) => {
                self.opened.borrow_mut().insert(hash);
                load(self.store, hash).map(|(node, _)| Some(node))
            }
            Child::Node(node) => Ok(Some(*node)),
        }
    }

    /// It was looked at and stays.
    fn stays(&self, hash: &B256) {
        self.opened.borrow_mut().remove(hash);
    }
}

/// A key and its new value; `None` takes it out.
type Change = (Nibbles, Option<Bytes>);

/// Applies `changes` on top of `root`. They may come in any order; where a key occurs twice, its last value counts. An empty value takes a
/// key out, as `None` does.
///
/// Cost: a read and a hash for each node on the union of the changed paths, and a read of the sibling where a deletion leaves a branch with
/// one child.
///
/// # Errors
/// [`MerkleError::Key`] for a key too long; otherwise when the store does not hold what the root promises.
pub fn update<S: NodeSource, K: AsRef<[u8]>>(
    store: &S,
    root: B256,
    changes: impl IntoIterator<Item = (K, Option<Bytes>)>,
) -> Result<Update, MerkleError<S::Error>> {
    let mut sorted = Vec::new();
    for (key, value) in changes {
        sorted.push((nibbles(key.as_ref())?, value.filter(|value| !value.is_empty())));
    }
    // Stable, so that the last of equal keys stays the last.
    sorted.sort_by_key(|(key, _)| *key);
    sorted.reverse();
    sorted.dedup_by(|(earlier, _), (later, _)| earlier == later);
    sorted.reverse();

    let before = if root == EMPTY_ROOT { Child::Empty } else { Child::Hash(root) };
    let reader = Reader { store, opened: RefCell::default() };
    let after = apply(&reader, before, &sorted, 0)?;
    let mut nodes = Vec::new();
    let root = match after {
        Child::Empty => EMPTY_ROOT,
        Child::Hash(hash) => hash,
        Child::Node(node) => {
            let rlp = node.finish(&mut nodes);
            let hash = keccak256(&rlp);
            // The root has a name however short it is.
            nodes.push((hash, rlp.into()));
            hash
        }
    };
    reader.stays(&root);
    nodes.iter().for_each(|(hash, _)| reader.stays(hash));
    Ok(Update { root, nodes, gone: reader.opened.into_inner().into_iter().collect() })
}

/// The subtree at `depth` nibbles after the changes, all of which lie in it.
fn apply<S: NodeSource>(
    store: &Reader<'_, S>,
    child: Child,
    changes: &[Change],
    depth: usize,
) -> Result<Child, MerkleError<S::Error>> {
    let Some((first, _)) = changes.first() else { return Ok(child) };
    match store.open(child)? {
        None => Ok(grow(changes.iter().filter_map(present).collect::<Vec<_>>().as_slice(), depth)),
        Some(Node::Leaf { path, value }) => {
            let key = first.slice(..depth).join(&path);
            let entry = (key, value);
            let mut entries: Vec<(Nibbles, Bytes)> = changes.iter().filter_map(present).collect();
            if !changes.iter().any(|(changed, _)| *changed == entry.0) {
                let place = entries.partition_point(|(other, _)| *other < entry.0);
                entries.insert(place, entry);
            }
            Ok(grow(&entries, depth))
        }
        Some(Node::Extension { path, child }) => apply_below(store, path, child, changes, depth),
        Some(Node::Branch { children, value }) => apply_to_branch(store, *children, value, changes, depth),
    }
}

fn present((key, value): &Change) -> Option<(Nibbles, Bytes)> {
    value.clone().map(|value| (*key, value))
}

/// Changes at or beside an extension.
fn apply_below<S: NodeSource>(
    store: &Reader<'_, S>,
    path: Nibbles,
    child: Child,
    changes: &[Change],
    depth: usize,
) -> Result<Child, MerkleError<S::Error>> {
    let shared = |key: &Nibbles| key.slice(depth..).common_prefix_length(&path);
    // Taking out what is not there changes nothing, and must not split the extension.
    let changes: Vec<Change> =
        changes.iter().filter(|(key, value)| value.is_some() || shared(key) == path.len()).cloned().collect();
    let Some(split) = changes.iter().map(|(key, _)| shared(key)).min() else {
        return Ok(Node::Extension { path, child }.into());
    };
    if split == path.len() {
        let below = apply(store, child, &changes, depth + split)?;
        return prefixed(store, path, below);
    }
    let rest = path.slice(split + 1..);
    let mut children: [Child; 16] = Default::default();
    children[nibble(&path, split)] = if rest.is_empty() { child } else { Node::Extension { path: rest, child }.into() };
    let branch = apply_to_branch(store, children, None, &changes, depth + split)?;
    prefixed(store, path.slice(..split), branch)
}

fn apply_to_branch<S: NodeSource>(
    store: &Reader<'_, S>,
    mut children: [Child; 16],
    mut value: Option<Bytes>,
    mut changes: &[Change],
    depth: usize,
) -> Result<Child, MerkleError<S::Error>> {
    if let Some(((key, new), rest)) = changes.split_first()
        && key.len() == depth
    {
        value.clone_from(new);
        changes = rest;
    }
    for group in changes.chunk_by(|(a, _), (b, _)| a.get(depth) == b.get(depth)) {
        let child = &mut children[nibble(&group[0].0, depth)];
        *child = apply(store, std::mem::take(child), group, depth + 1)?;
    }
    let mut taken = children.iter().enumerate().filter(|(_, child)| **child != Child::Empty);
    match (taken.next(), taken.next(), &value) {
        (None, _, None) => Ok(Child::Empty),
        (None, _, Some(_)) => Ok(value.map_or(Child::Empty, |value| Node::Leaf { path: Nibbles::new(), value }.into())),
        (Some((only, _)), None, None) => {
            let step = Nibbles::from_nibbles([u8::try_from(only).unwrap_or_default()]);
            prefixed(store, step, std::mem::take(&mut children[only]))
        }
        _ => Ok(Node::Branch { children: Box::new(children), value }.into()),
    }
}

/// The child behind a stretch of path, in the one form that the rules allow.
fn prefixed<S: NodeSource>(store: &Reader<'_, S>, path: Nibbles, child: Child) -> Result<Child, MerkleError<S::Error>> {
    if path.is_empty() {
        return Ok(child);
    }
    let hash = match &child {
        Child::Hash(hash) => Some(*hash),
        _ => None,
    };
    Ok(match store.open(child)? {
        None => Child::Empty,
        Some(Node::Leaf { path: rest, value }) => Node::Leaf { path: path.join(&rest), value }.into(),
        Some(Node::Extension { path: rest, child }) => Node::Extension { path: path.join(&rest), child }.into(),
        Some(branch @ Node::Branch { .. }) => {
            // A branch that only moved keeps its name.
            hash.iter().for_each(|hash| store.stays(hash));
            let child = hash.map_or_else(|| branch.into(), Child::Hash);
            Node::Extension { path, child }.into()
        }
    })
}

/// A subtree made of these entries alone: sorted, distinct, and alike up to `depth`.
fn grow(entries: &[(Nibbles, Bytes)], depth: usize) -> Child {
    let ((first, value), (last, _)) = match (entries.first(), entries.last()) {
        (Some(first), Some(last)) => (first, last),
        _ => return Child::Empty,
    };
    if entries.len() == 1 {
        return Node::Leaf { path: first.slice(depth..), value: value.clone() }.into();
    }
    let shared = first.slice(depth..).common_prefix_length(&last.slice(depth..));
    let fork = depth + shared;
    let (ends_here, longer) = if first.len() == fork { entries.split_at(1) } else { entries.split_at(0) };
    let mut children: Box<[Child; 16]> = Box::default();
    for group in longer.chunk_by(|(a, _), (b, _)| a.get(fork) == b.get(fork)) {
        children[nibble(&group[0].0, fork)] = grow(group, fork + 1);
    }
    let branch = Node::Branch { children, value: ends_here.first().map(|(_, value)| value.clone()) };
    if shared == 0 {
        return branch.into();
    }
    Node::Extension { path: first.slice(depth..fork), child: branch.into() }.into()
}

/// The nibble at a place that the caller knows to be within the path.
fn nibble(path: &Nibbles, place: usize) -> usize {
    usize::from(path.get(place).unwrap_or_default())
}
