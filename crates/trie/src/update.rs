//! Applying a batch: first the new shape, then all its hashes from the leaves up.

use std::marker::PhantomData;

use starknet_types_core::felt::Felt;

use crate::{Join, Node, NodeHash, NodeStore, Path, TrieError, hash_pairs};

/// What a batch did to a trie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Root after the batch; zero when the trie is empty.
    pub root: Felt,
    /// The nodes under `root` that the batch made, children before parents. Persist them before the root.
    pub nodes: Vec<(Felt, Node)>,
}

/// The shape of a trie after a batch, not hashed yet. Made by [`crate::Trie::plan`].
#[derive(Debug, Clone)]
pub struct Plan<H> {
    /// New nodes, children before parents.
    drafts: Vec<Draft>,
    root: Child,
    hash: PhantomData<H>,
}

/// A new node whose children may be new too.
#[derive(Debug, Clone, Copy)]
struct Draft {
    shape: Shape,
    /// Levels of new nodes below; nodes of one level can be hashed together.
    level: u32,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Binary { left: Child, right: Child },
    Edge { path: Path, child: Child },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Child {
    /// Hash of a node that exists, or the value of a leaf.
    Known(Felt),
    /// Place in `Plan::drafts`.
    New(usize),
}

impl<H: NodeHash> Plan<H> {
    /// Hashes this plan alone; [`commit_all`] for several at once is cheaper.
    #[must_use]
    pub fn commit<J: Join>(self, join: &J) -> Update {
        let mut updates = commit_all(vec![self], join);
        updates.pop().expect("one plan in, one update out")
    }

    /// Number of hashes that committing will take: one for each new node.
    #[must_use]
    pub fn hashes(&self) -> usize {
        self.drafts.len()
    }
}

/// Hashes the plans of several tries together, level by level, and returns their updates in the same order.
///
/// The storage tries of a block have few nodes each; hashed together they make batches wide enough to be cheap and to spread over
/// threads through `join`.
#[must_use]
pub fn commit_all<H: NodeHash, J: Join>(plans: Vec<Plan<H>>, join: &J) -> Vec<Update> {
    let mut updates: Vec<Update> = plans
        .iter()
        .map(|plan| Update { root: Felt::ZERO, nodes: vec![(Felt::ZERO, PLACEHOLDER); plan.drafts.len()] })
        .collect();

    for level in by_level(&plans) {
        let nodes: Vec<Node> =
            level.iter().map(|&(plan, draft)| plans[plan].drafts[draft].shape.resolved(&updates[plan])).collect();
        let preimages: Vec<_> = nodes.iter().map(Node::preimage).collect();
        let hashes = hash_pairs::<H, J>(&preimages, join);
        for ((&(plan, draft), node), hash) in level.iter().zip(nodes).zip(hashes) {
            updates[plan].nodes[draft] = (hash + node.addend(), node);
        }
    }

    for (plan, update) in plans.iter().zip(&mut updates) {
        update.root = plan.root.resolved(update);
    }
    updates
}

/// Stands in `Update::nodes` until its level is hashed.
const PLACEHOLDER: Node = Node::Binary { left: Felt::ZERO, right: Felt::ZERO };

/// Plan and draft numbers of all new nodes, by level from the leaves up.
fn by_level<H>(plans: &[Plan<H>]) -> Vec<Vec<(usize, usize)>> {
    let mut levels = Vec::new();
    for (plan, drafts) in plans.iter().map(|plan| &plan.drafts).enumerate() {
        for (draft, level) in drafts.iter().map(|draft| draft.level as usize).enumerate() {
            if levels.len() <= level {
                levels.resize(level + 1, Vec::new());
            }
            levels[level].push((plan, draft));
        }
    }
    levels
}

impl Shape {
    /// The node, once all nodes below it are hashed.
    fn resolved(&self, done: &Update) -> Node {
        match self {
            Self::Binary { left, right } => Node::Binary { left: left.resolved(done), right: right.resolved(done) },
            Self::Edge { path, child } => Node::Edge { path: *path, child: child.resolved(done) },
        }
    }
}

impl Child {
    fn resolved(self, done: &Update) -> Felt {
        match self {
            Self::Known(hash) => hash,
            Self::New(place) => done.nodes[place].0,
        }
    }
}

/// See [`crate::Trie::plan`].
pub(crate) fn plan<H: NodeHash, S: NodeStore>(
    height: u8,
    store: &S,
    root: Felt,
    changes: &[(Felt, Felt)],
) -> Result<Plan<H>, TrieError<S::Error>> {
    let changes = sorted(height, changes)?;
    let mut planner = Planner { height, store, drafts: Vec::new() };
    let before = if root == Felt::ZERO { Old::Empty } else { Old::Stored(root) };
    let after = planner.apply(before, 0, &changes)?;
    let root = planner.settled(after);
    Ok(Plan { drafts: planner.drafts, root, hash: PhantomData })
}

/// One write: the whole key, and the value (zero deletes).
type Change = (Path, Felt);

/// Sorts by key; of several writes to one key the last stays.
fn sorted<E>(height: u8, changes: &[(Felt, Felt)]) -> Result<Vec<Change>, TrieError<E>> {
    let mut sorted = Vec::with_capacity(changes.len());
    for &(key, value) in changes {
        let path = Path::new(key, height).ok_or(TrieError::Key { key, height })?;
        sorted.push((path, value));
    }
    sorted.sort_by_key(|&(path, _)| path);
    sorted.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            earlier.1 = later.1;
        }
        same
    });
    Ok(sorted)
}

/// A sub-trie before the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Old {
    Empty,
    /// As it is in the store (or a leaf, at the bottom), by its hash. Not read yet.
    Stored(Felt),
    /// The lower part of a stored edge that a change has forked.
    Edge {
        path: Path,
        child: Felt,
    },
}

/// A sub-trie after the batch. Edges stay out of the drafts until their parent is known, because they may still grow upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sub {
    /// Something the batch did not make, or a leaf.
    Is(Old),
    /// A new binary node, by its place in the drafts.
    Binary(usize),
    /// A new edge; its child is no edge.
    Edge { path: Path, child: Child },
}

struct Planner<'a, S> {
    height: u8,
    store: &'a S,
    drafts: Vec<Draft>,
}

impl<S: NodeStore> Planner<'_, S> {
    /// The sub-trie at `depth` after `changes`, all of which lie in it. Comes back as it was when nothing changed.
    fn apply(&mut self, old: Old, depth: u8, changes: &[Change]) -> Result<Sub, TrieError<S::Error>> {
        let Some((_, value)) = changes.first() else { return Ok(Sub::Is(old)) };
        if depth == self.height {
            return Ok(Sub::Is(if *value == Felt::ZERO { Old::Empty } else { Old::Stored(*value) }));
        }
        match old {
            Old::Empty => Ok(self.grow(depth, changes)),
            Old::Edge { path, child } => self.apply_to_edge(old, depth, (path, child), changes),
            Old::Stored(hash) => match self.read(hash, depth)? {
                Node::Binary { left, right } => self.apply_below(old, depth, [left, right].map(Old::Stored), changes),
                Node::Edge { path, child } => self.apply_to_edge(old, depth, (path, child), changes),
            },
        }
    }

    /// An edge under changes: either all run along it, or it forks where the first one leaves.
    fn apply_to_edge(
        &mut self,
        old: Old,
        depth: u8,
        (path, child): (Path, Felt),
        changes: &[Change],
    ) -> Result<Sub, TrieError<S::Error>> {
        // Sorted keys: whatever the first and the last share with the edge, all between them share too.
        let shared_by = |change: Option<&Change>| change.map_or(0, |(key, _)| key.skip(depth).shared_with(&path));
        let shared = shared_by(changes.first()).min(shared_by(changes.last()));
        let end = depth + shared;
        if shared == path.len() {
            let below = self.apply(Old::Stored(child), end, changes)?;
            return if below == Sub::Is(Old::Stored(child)) { Ok(Sub::Is(old)) } else { self.under(path, below, end) };
        }
        let lower = path.skip(shared + 1);
        let lower = if lower.is_empty() { Old::Stored(child) } else { Old::Edge { path: lower, child } };
        let sides = if path.bit(shared) { [Old::Empty, lower] } else { [lower, Old::Empty] };
        let before = Old::Edge { path: path.skip(shared), child };
        let forked = self.apply_below(before, end, sides, changes)?;
        if forked == Sub::Is(before) { Ok(Sub::Is(old)) } else { self.under(path.first(shared), forked, end) }
    }

    /// Applies changes to both children of a node at `depth` and joins what comes back.
    fn apply_below(
        &mut self,
        old: Old,
        depth: u8,
        sides: [Old; 2],
        changes: &[Change],
    ) -> Result<Sub, TrieError<S::Error>> {
        let middle = changes.partition_point(|(key, _)| !key.bit(depth));
        let (lefts, rights) = changes.split_at(middle);
        let left = self.apply(sides[0], depth + 1, lefts)?;
        let right = self.apply(sides[1], depth + 1, rights)?;
        match [left, right] {
            same if same == sides.map(Sub::Is) => Ok(Sub::Is(old)),
            [Sub::Is(Old::Empty), lonely] => self.under(Path::of_bit(true), lonely, depth + 1),
            [lonely, Sub::Is(Old::Empty)] => self.under(Path::of_bit(false), lonely, depth + 1),
            both => Ok(Sub::Binary(self.binary(both))),
        }
    }

    /// A new sub-trie at `depth` out of changes alone.
    fn grow(&mut self, depth: u8, changes: &[Change]) -> Sub {
        let live: Vec<Change> = changes.iter().filter(|(_, value)| *value != Felt::ZERO).copied().collect();
        self.grow_live(depth, &live)
    }

    fn grow_live(&mut self, depth: u8, live: &[Change]) -> Sub {
        let [(first, value), rest @ ..] = live else { return Sub::Is(Old::Empty) };
        let first = first.skip(depth);
        let Some((last, _)) = rest.last() else { return edge_or(first, Child::Known(*value)) };
        let shared = first.shared_with(&last.skip(depth));
        let fork = depth + shared;
        let middle = live.partition_point(|(key, _)| !key.bit(fork));
        let left = self.grow_live(fork + 1, &live[..middle]);
        let right = self.grow_live(fork + 1, &live[middle..]);
        let place = self.binary([left, right]);
        edge_or(first.first(shared), Child::New(place))
    }

    /// `sub`, which stands at `depth`, hung under `path`: edges in a row become one.
    fn under(&mut self, path: Path, sub: Sub, depth: u8) -> Result<Sub, TrieError<S::Error>> {
        Ok(match sub {
            _ if path.is_empty() => sub,
            Sub::Is(Old::Empty) => sub,
            Sub::Binary(place) => edge_or(path, Child::New(place)),
            Sub::Edge { path: below, child } => edge_or(path.then(&below), child),
            Sub::Is(Old::Edge { path: below, child }) => edge_or(path.then(&below), Child::Known(child)),
            Sub::Is(Old::Stored(leaf)) if depth == self.height => edge_or(path, Child::Known(leaf)),
            Sub::Is(Old::Stored(hash)) => match self.read(hash, depth)? {
                Node::Binary { .. } => edge_or(path, Child::Known(hash)),
                Node::Edge { path: below, child } => edge_or(path.then(&below), Child::Known(child)),
            },
        })
    }

    /// A new binary node over two sub-tries, neither of them empty; its place in the drafts.
    fn binary(&mut self, sides: [Sub; 2]) -> usize {
        let [left, right] = sides.map(|side| self.settled(side));
        self.draft(Shape::Binary { left, right })
    }

    /// `sub` as a child (or root): nothing above will change it any more. Empty is zero.
    fn settled(&mut self, sub: Sub) -> Child {
        let edge = match sub {
            Sub::Is(Old::Empty) => return Child::Known(Felt::ZERO),
            Sub::Is(Old::Stored(hash)) => return Child::Known(hash),
            Sub::Binary(place) => return Child::New(place),
            Sub::Is(Old::Edge { path, child }) => Shape::Edge { path, child: Child::Known(child) },
            Sub::Edge { path, child } => Shape::Edge { path, child },
        };
        Child::New(self.draft(edge))
    }

    fn draft(&mut self, shape: Shape) -> usize {
        let above = |child: Child| match child {
            Child::Known(_) => 0,
            Child::New(place) => self.drafts[place].level + 1,
        };
        let level = match shape {
            Shape::Binary { left, right } => above(left).max(above(right)),
            Shape::Edge { child, .. } => above(child),
        };
        self.drafts.push(Draft { shape, level });
        self.drafts.len() - 1
    }

    fn read(&self, hash: Felt, depth: u8) -> Result<Node, TrieError<S::Error>> {
        read(self.height, self.store, hash, depth)
    }
}

/// The node that must be in the store under `hash`, at `depth` of a trie of `height`.
pub(crate) fn read<S: NodeStore>(height: u8, store: &S, hash: Felt, depth: u8) -> Result<Node, TrieError<S::Error>> {
    let node = store.node(&hash).map_err(TrieError::Store)?.ok_or(TrieError::Missing { hash })?;
    match node {
        Node::Edge { path, .. } if path.is_empty() || path.len() > height - depth => {
            Err(TrieError::Corrupt { hash, depth })
        }
        node => Ok(node),
    }
}

/// An edge; without bits, what stands at its end.
fn edge_or(path: Path, child: Child) -> Sub {
    match child {
        _ if !path.is_empty() => Sub::Edge { path, child },
        Child::Known(hash) => Sub::Is(Old::Stored(hash)),
        Child::New(place) => Sub::Binary(place),
    }
}
