//! Which block a caller means (schemas `BLOCK_ID` and `BLOCK_TAG`).

use serde::de::{self, Deserialize, Deserializer, MapAccess};
use starknet_types_core::felt::Felt;

use super::hex::{Hex, shorten};

/// A block by number, hash or tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockId {
    Number(u64),
    Hash(Felt),
    /// The newest sealed block.
    Latest,
    /// The block that is being built.
    PreConfirmed,
    /// The newest block whose state L1 has accepted.
    L1Accepted,
}

const TAGS: &str = "latest, pre_confirmed or l1_accepted";

impl<'de> Deserialize<'de> for BlockId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = BlockId;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(formatter, "a block: {{\"block_number\": n}}, {{\"block_hash\": \"0x...\"}}, {TAGS}")
            }

            fn visit_str<E: de::Error>(self, tag: &str) -> Result<BlockId, E> {
                match tag {
                    "latest" => Ok(BlockId::Latest),
                    "pre_confirmed" => Ok(BlockId::PreConfirmed),
                    "l1_accepted" => Ok(BlockId::L1Accepted),
                    "pending" => Err(E::custom("the tag pending was replaced by pre_confirmed in version 0.9")),
                    _ => Err(E::custom(format!("{:?} is not a block tag, which are {TAGS}", shorten(tag)))),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BlockId, A::Error> {
                let Some(key) = map.next_key::<String>()? else {
                    return Err(de::Error::custom("an empty object names no block: give block_number or block_hash"));
                };
                let id = match key.as_str() {
                    "block_number" => BlockId::Number(map.next_value()?),
                    "block_hash" => BlockId::Hash(map.next_value::<Hex>()?.0),
                    _ => return Err(de::Error::unknown_field(&key, &["block_number", "block_hash"])),
                };
                match map.next_key::<String>()? {
                    None => Ok(id),
                    Some(second) => Err(de::Error::custom(format!(
                        "{key} and {:?} are given: a block is named by exactly one of block_number and block_hash",
                        shorten(&second)
                    ))),
                }
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_a_number_a_hash_or_a_tag() {
        for (text, id) in [
            (r#"{"block_number": 7}"#, BlockId::Number(7)),
            (r#"{"block_hash": "0x7"}"#, BlockId::Hash(Felt::from(7))),
            (r#""latest""#, BlockId::Latest),
            (r#""pre_confirmed""#, BlockId::PreConfirmed),
            (r#""l1_accepted""#, BlockId::L1Accepted),
        ] {
            assert_eq!(serde_json::from_str::<BlockId>(text).expect(text), id);
        }
    }

    #[test]
    fn anything_else_says_what_would_be_right() {
        for (text, part) in [
            (r#""pending""#, "pre_confirmed"),
            (r#""newest""#, "latest, pre_confirmed or l1_accepted"),
            (r#"{"block_number": -1}"#, "invalid value"),
            (r#"{"block_number": "0x1"}"#, "invalid type"),
            (r#"{"number": 1}"#, "block_number"),
            (r#"{"block_number": 1, "block_hash": "0x1"}"#, "exactly one"),
            ("{}", "block_number"),
            ("7", "block_number"),
        ] {
            let error = serde_json::from_str::<BlockId>(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
