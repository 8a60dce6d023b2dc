//! The three kinds of node and their RLP.

use alloy_primitives::{B256, Bytes, keccak256};
use alloy_rlp::{BufMut, Encodable, Header, PayloadView};
use alloy_trie::nodes::encode_path_leaf;
use nybbles::Nibbles;

/// Items of a branch's list: sixteen children and a value.
const BRANCH_ITEMS: usize = 17;
/// A node whose RLP is shorter stands in its parent.
const NAME_BYTES: usize = 32;
/// Inline nodes within inline nodes: each level takes at least a byte of the 31 that there are.
const INLINE_DEPTH_MAX: usize = NAME_BYTES;

/// A node in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// The rest of a key and its value.
    Leaf { path: Nibbles, value: Bytes },
    /// A stretch that all keys below share. Its child is a branch.
    Extension { path: Nibbles, child: Child },
    /// A child for each next nibble, and the value of the key that ends here.
    Branch { children: Box<[Child; 16]>, value: Option<Bytes> },
}

/// What a node refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Child {
    /// Nothing.
    #[default]
    Empty,
    /// A node in the store.
    Hash(B256),
    /// A node at hand: new, or so short that it stands in its parent.
    Node(Box<Node>),
}

impl From<Node> for Child {
    fn from(node: Node) -> Self {
        Self::Node(Box::new(node))
    }
}

impl Node {
    /// Reads a node's RLP.
    pub(super) fn decode(rlp: &[u8]) -> Result<Self, &'static str> {
        Self::decode_at(rlp, 0)
    }

    fn decode_at(mut rlp: &[u8], depth: usize) -> Result<Self, &'static str> {
        if depth > INLINE_DEPTH_MAX {
            return Err("nodes within nodes without end");
        }
        let view = Header::decode_raw(&mut rlp).map_err(|_| "no RLP")?;
        let PayloadView::List(items) = view else { return Err("no list") };
        if !rlp.is_empty() {
            return Err("bytes after its end");
        }
        match items.as_slice() {
            [path, rest] => {
                let (path, is_leaf) = decode_path(string(path)?)?;
                if is_leaf {
                    return Ok(Self::Leaf { path, value: Bytes::copy_from_slice(string(rest)?) });
                }
                match Child::decode(rest, depth)? {
                    Child::Empty => Err("an extension without a child"),
                    _ if path.is_empty() => Err("an extension of no length"),
                    child => Ok(Self::Extension { path, child }),
                }
            }
            items if items.len() == BRANCH_ITEMS => {
                let mut children: Box<[Child; 16]> = Box::default();
                for (child, item) in children.iter_mut().zip(items) {
                    *child = Child::decode(item, depth)?;
                }
                let value = string(items[16])?;
                let value = (!value.is_empty()).then(|| Bytes::copy_from_slice(value));
                Ok(Self::Branch { children, value })
            }
            _ => Err("a list that is neither of 2 nor of 17 items"),
        }
    }

    /// Writes the node's RLP; `inner` is what stands for each child, in order.
    fn encode(&self, inner: &[Vec<u8>]) -> Vec<u8> {
        let mut payload = Vec::new();
        match self {
            Self::Leaf { path, value } => {
                encode_path_leaf(path, true).as_slice().encode(&mut payload);
                value.encode(&mut payload);
            }
            Self::Extension { path, .. } => {
                encode_path_leaf(path, false).as_slice().encode(&mut payload);
                inner.iter().for_each(|child| payload.put_slice(child));
            }
            Self::Branch { value, .. } => {
                inner.iter().for_each(|child| payload.put_slice(child));
                value.as_deref().map_or(&[][..], |value| value).encode(&mut payload);
            }
        }
        let mut rlp = Vec::with_capacity(payload.len() + 4);
        Header { list: true, payload_length: payload.len() }.encode(&mut rlp);
        rlp.extend_from_slice(&payload);
        rlp
    }

    fn children(&self) -> &[Child] {
        match self {
            Self::Leaf { .. } => &[],
            Self::Extension { child, .. } => std::slice::from_ref(child),
            Self::Branch { children, .. } => children.as_slice(),
        }
    }

    /// The node's RLP. Nodes below that have a name are added to `named`, children before parents.
    pub(super) fn finish(&self, named: &mut Vec<(B256, Bytes)>) -> Vec<u8> {
        let inner: Vec<_> = self.children().iter().map(|child| child.finish(named)).collect();
        self.encode(&inner)
    }
}

impl Child {
    fn decode(rlp: &[u8], depth: usize) -> Result<Self, &'static str> {
        match rlp {
            [0x80] => Ok(Self::Empty),
            [0xa0, hash @ ..] if hash.len() == NAME_BYTES => Ok(Self::Hash(B256::from_slice(hash))),
            [0xc0..=0xff, ..] if rlp.len() < NAME_BYTES => Node::decode_at(rlp, depth + 1).map(Self::from),
            _ => Err("a child that is neither a name nor a short node"),
        }
    }

    /// What stands for this child in its parent. New nodes that have a name are added to `named`.
    fn finish(&self, named: &mut Vec<(B256, Bytes)>) -> Vec<u8> {
        match self {
            Self::Empty => vec![0x80],
            Self::Hash(hash) => alloy_rlp::encode(hash),
            Self::Node(node) => {
                let rlp = node.finish(named);
                if rlp.len() < NAME_BYTES {
                    return rlp;
                }
                let hash = keccak256(&rlp);
                named.push((hash, rlp.into()));
                alloy_rlp::encode(hash)
            }
        }
    }
}

/// The bytes of an RLP string.
fn string(mut rlp: &[u8]) -> Result<&[u8], &'static str> {
    let bytes = Header::decode_bytes(&mut rlp, false).map_err(|_| "a list where bytes belong")?;
    if rlp.is_empty() { Ok(bytes) } else { Err("bytes after an item's end") }
}

/// Hex-prefix coding, yellow paper appendix C: the first nibble says whether it is a leaf's path and whether its length is odd.
fn decode_path(bytes: &[u8]) -> Result<(Nibbles, bool), &'static str> {
    let first = *bytes.first().ok_or("a path without its first byte")?;
    if first >> 4 > 3 || bytes.len() > super::KEY_BYTES_MAX + 1 {
        return Err("a path that is none");
    }
    let (is_leaf, is_odd) = (first & 0x20 != 0, first & 0x10 != 0);
    if !is_odd && first & 0x0f != 0 {
        return Err("a path with a nibble too many");
    }
    let mut path = Nibbles::new();
    if is_odd {
        if bytes.len() > super::KEY_BYTES_MAX {
            return Err("a path that is too long");
        }
        path.push(first & 0x0f);
    }
    for byte in &bytes[1..] {
        path.push(byte >> 4);
        path.push(byte & 0x0f);
    }
    Ok((path, is_leaf))
}
