//! The root of a list that is still growing: what a header says of its block's transactions and receipts is nearly done when the last of
//! them is known.

use alloy_consensus::EMPTY_ROOT_HASH;
use alloy_primitives::B256;
use alloy_trie::{HashBuilder, Nibbles};

/// The trie from the index of each item, as RLP, to its bytes.
///
/// Source: the Yellow Paper, section 4.3.2; the same as `alloy_trie::root::ordered_trie_root_with_encoder`, item by item.
#[derive(Default)]
pub(crate) struct GrowingRoot {
    tree: HashBuilder,
    /// Item 0 until its turn: its key is 0x80, which comes after those of 1 to 127.
    first: Option<Vec<u8>>,
    count: usize,
}

/// The index that stands right after index 0 in the order of keys.
const AFTER_FIRST: usize = 128;

impl GrowingRoot {
    /// Adds the next item.
    pub(crate) fn push(&mut self, item: Vec<u8>) {
        match self.count {
            0 => self.first = Some(item),
            index => {
                if index == AFTER_FIRST {
                    self.place_first();
                }
                self.place(index, &item);
            }
        }
        self.count += 1;
    }

    /// The root of the list as it is now.
    pub(crate) fn finish(mut self) -> B256 {
        if self.count == 0 {
            return EMPTY_ROOT_HASH;
        }
        self.place_first();
        self.tree.root()
    }

    fn place_first(&mut self) {
        if let Some(first) = self.first.take() {
            self.place(0, &first);
        }
    }

    fn place(&mut self, index: usize, item: &[u8]) {
        self.tree.add_leaf(Nibbles::unpack(alloy_rlp::encode_fixed_size(&index)), item);
    }
}

#[cfg(test)]
mod tests {
    use alloy_trie::root::ordered_trie_root_with_encoder;

    use super::*;

    #[test]
    fn it_is_the_root_of_the_whole_list_at_every_length() {
        let items: Vec<Vec<u8>> = (0..700_usize).map(|index| vec![index as u8; 1 + index % 70]).collect();
        let lengths = (0..300).chain([511, 512, 513, 700]);
        for length in lengths {
            let mut growing = GrowingRoot::default();
            items[..length].iter().for_each(|item| growing.push(item.clone()));
            let whole = ordered_trie_root_with_encoder(&items[..length], |item, out| out.extend_from_slice(item));
            assert_eq!(growing.finish(), whole, "{length} items");
        }
    }
}
