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
    let sub = if root == Felt::ZERO { Sub::Empty } else { Sub::Stored(root) };
    let after = planner.apply(sub, 0, &changes)?;
    let root = planner.settled(after).unwrap_or(Child::Known(Felt::ZERO));
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

/// A sub-trie while the batch is applied. Edges stay out of the drafts until their parent is known, because they may still grow
/// upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sub {
    Empty,
    /// A sub-trie as it is in the store (or a leaf, at the bottom), by its hash. Not read yet.
    Stored(Felt),
    /// A new binary node.
    Drafted(usize),
    /// A new edge; its child is no edge.
    Edge {
        path: Path,
        child: Child,
    },
}

struct Planner<'a, S> {
    height: u8,
    store: &'a S,
    drafts: Vec<Draft>,
}

impl<S: NodeStore> Planner<'_, S> {
    /// The sub-trie at `depth` after `changes`, all of which lie in it. Comes back as the same `Stored` when nothing changed.
    fn apply(&mut self, sub: Sub, depth: u8, changes: &[Change]) -> Result<Sub, TrieError<S::Error>> {
        let [first, rest @ ..] = changes else { return Ok(sub) };
        if depth == self.height {
            return Ok(if first.1 == Felt::ZERO { Sub::Empty } else { Sub::Stored(first.1) });
        }
        match sub {
            Sub::Empty => self.grow(depth, changes),
            Sub::Stored(hash) => match self.read(hash, depth)? {
                Node::Binary { left, right } => self.apply_below(sub, depth, [left, right].map(Sub::Stored), changes),
                Node::Edge { path, child } => {
                    let last = rest.last().unwrap_or(first);
                    self.apply_to_edge(sub, depth, (path, Child::Known(child)), [first, last], changes)
                }
            },
            Sub::Edge { path, child } => {
                let last = rest.last().unwrap_or(first);
                self.apply_to_edge(sub, depth, (path, child), [first, last], changes)
            }
            Sub::Drafted(_) => unreachable!("changes are sorted: a sub-trie is drafted after its last change"),
        }
    }

    /// An edge under changes: either all run along it, or it forks where the first one leaves.
    fn apply_to_edge(
        &mut self,
        sub: Sub,
        depth: u8,
        (path, child): (Path, Child),
        ends: [&Change; 2],
        changes: &[Change],
    ) -> Result<Sub, TrieError<S::Error>> {
        // Sorted keys: whatever first and last share with the edge, all between them share too.
        let [first, last] = ends.map(|(key, _)| key.skip(depth).shared_with(&path));
        let shared = first.min(last);
        if shared == path.len() {
            let Child::Known(hash) = child else { unreachable!("only edges of the store run down to a change") };
            let below = self.apply(Sub::Stored(hash), depth + shared, changes)?;
            return if below == Sub::Stored(hash) { Ok(sub) } else { self.under(path, below, depth + shared) };
        }
        let fork = depth + shared;
        let remainder = path.skip(shared + 1);
        let old = if remainder.is_empty() {
            match child {
                Child::Known(hash) => Sub::Stored(hash),
                Child::New(place) => Sub::Drafted(place),
            }
        } else {
            Sub::Edge { path: remainder, child }
        };
        let sides = if path.bit(shared) { [Sub::Empty, old] } else { [old, Sub::Empty] };
        let forked = self.apply_below(Sub::Edge { path: path.skip(shared), child }, fork, sides, changes)?;
        if forked == (Sub::Edge { path: path.skip(shared), child }) {
            return Ok(sub);
        }
        self.under(path.first(shared), forked, fork)
    }

    /// Applies changes to both children of a node at `depth` and joins what comes back.
    fn apply_below(
        &mut self,
        sub: Sub,
        depth: u8,
        sides: [Sub; 2],
        changes: &[Change],
    ) -> Result<Sub, TrieError<S::Error>> {
        let middle = changes.partition_point(|(key, _)| !key.bit(depth));
        let (lefts, rights) = changes.split_at(middle);
        let left = self.apply(sides[0], depth + 1, lefts)?;
        let right = self.apply(sides[1], depth + 1, rights)?;
        if [left, right] == sides {
            return Ok(sub);
        }
        match (self.settled_unless_lonely(left, right), left, right) {
            (Some([left, right]), ..) => Ok(Sub::Drafted(self.draft(Shape::Binary { left, right }))),
            (None, Sub::Empty, lonely) => self.under(Path::of_bit(true), lonely, depth + 1),
            (None, lonely, _) => self.under(Path::of_bit(false), lonely, depth + 1),
        }
    }

    /// A new sub-trie at `depth` out of changes alone.
    fn grow(&mut self, depth: u8, changes: &[Change]) -> Result<Sub, TrieError<S::Error>> {
        let live: Vec<Change> = changes.iter().filter(|(_, value)| *value != Felt::ZERO).copied().collect();
        Ok(self.grown(depth, &live))
    }

    fn grown(&mut self, depth: u8, live: &[Change]) -> Sub {
        let (Some((first, value)), Some((last, _))) = (live.first(), live.last()) else { return Sub::Empty };
        let (first, last) = (first.skip(depth), last.skip(depth));
        if live.len() == 1 {
            return edge_or(first, Child::Known(*value));
        }
        let shared = first.shared_with(&last);
        let fork = depth + shared;
        let middle = live.partition_point(|(key, _)| !key.bit(fork));
        let left = self.grown(fork + 1, &live[..middle]);
        let right = self.grown(fork + 1, &live[middle..]);
        let [left, right] =
            self.settled_unless_lonely(left, right).expect("the first and the last key part at the fork");
        let place = self.draft(Shape::Binary { left, right });
        edge_or(first.first(shared), Child::New(place))
    }

    /// `sub`, which stands at `depth`, hung under `path`: edges in a row become one.
    fn under(&mut self, path: Path, sub: Sub, depth: u8) -> Result<Sub, TrieError<S::Error>> {
        Ok(match sub {
            Sub::Empty => Sub::Empty,
            Sub::Drafted(place) => edge_or(path, Child::New(place)),
            Sub::Edge { path: below, child } => edge_or(path.then(&below), child),
            Sub::Stored(_) if path.is_empty() => sub,
            Sub::Stored(leaf) if depth == self.height => edge_or(path, Child::Known(leaf)),
            Sub::Stored(hash) => match self.read(hash, depth)? {
                Node::Binary { .. } => edge_or(path, Child::Known(hash)),
                Node::Edge { path: below, child } => edge_or(path.then(&below), Child::Known(child)),
            },
        })
    }

    /// Both sides as children of a binary node; `None` when one of them is empty.
    fn settled_unless_lonely(&mut self, left: Sub, right: Sub) -> Option<[Child; 2]> {
        if left == Sub::Empty || right == Sub::Empty {
            return None;
        }
        Some([self.settled(left)?, self.settled(right)?])
    }

    /// `sub` as a child: nothing above will change it any more.
    fn settled(&mut self, sub: Sub) -> Option<Child> {
        match sub {
            Sub::Empty => None,
            Sub::Stored(hash) => Some(Child::Known(hash)),
            Sub::Drafted(place) => Some(Child::New(place)),
            Sub::Edge { path, child } => Some(Child::New(self.draft(Shape::Edge { path, child }))),
        }
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
        Child::Known(hash) => Sub::Stored(hash),
        Child::New(place) => Sub::Drafted(place),
    }
}
