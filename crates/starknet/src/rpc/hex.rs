//! Numbers as the interface writes them: `0x`, lower case, no leading zeros (schemas `FELT`, `u64`, `u128`).
//!
//! Writing is on the path of every response, so a felt is formatted into a buffer on the stack. Reading is
//! stricter than the field's own parser, which takes any number modulo the prime: a number that is not a field
//! element is refused here. It is also a little more lenient than the schema: leading zeros and capital digits
//! pass, since wallets pad addresses.

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeSeq, Serializer};
use starknet_api::core::{ContractAddress, PatriciaKey};
use starknet_api::state::StorageKey;
use starknet_types_core::felt::Felt;

/// Hex digits of the largest felt.
const FELT_DIGITS: usize = 64;

/// A felt in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Hex(pub(crate) Felt);

impl<T: Into<Felt>> From<T> for Hex {
    fn from(value: T) -> Self {
        Self(value.into())
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut digits = [0_u8; FELT_DIGITS + 2];
        serializer.serialize_str(write_hex(&self.0.to_bytes_be(), &mut digits))
    }
}

/// `bytes`, big-endian, as `0x` and their hex digits without leading zeros.
fn write_hex<'a>(bytes: &[u8; 32], out: &'a mut [u8; FELT_DIGITS + 2]) -> &'a str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out[0] = b'0';
    out[1] = b'x';
    let mut length = 2;
    for byte in bytes {
        for nibble in [byte >> 4, byte & 0xf] {
            if nibble != 0 || length > 2 {
                out[length] = DIGITS[usize::from(nibble)];
                length += 1;
            }
        }
    }
    if length == 2 {
        out[2] = b'0';
        length = 3;
    }
    // Only ASCII was written; the fallback is unreachable and harmless.
    std::str::from_utf8(&out[..length]).unwrap_or("0x0")
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Hex;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a field element as a string of hex digits after 0x")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Hex, E> {
                parse_felt(text).map(Hex).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// A felt from `0x` and hex digits.
///
/// # Errors
/// Says what is wrong with the text: no prefix, no digits, a character that is none, or a number outside the field.
pub(crate) fn parse_felt(text: &str) -> Result<Felt, String> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .ok_or_else(|| format!("{:?} does not start with 0x", shorten(text)))?;
    if digits.is_empty() {
        return Err("0x has no digits".to_owned());
    }
    let significant = digits.trim_start_matches('0');
    if significant.len() > FELT_DIGITS {
        return Err(format!("{:?} is larger than the field", shorten(text)));
    }
    let mut bytes = [0_u8; 32];
    for (position, character) in significant.bytes().rev().enumerate() {
        let digit = char::from(character)
            .to_digit(16)
            .ok_or_else(|| format!("{:?} has a character that is no hex digit", shorten(text)))?;
        // A hex digit fits four bits.
        bytes[31 - position / 2] |= (digit as u8) << (4 * (position % 2));
    }
    let felt = Felt::from_bytes_be(&bytes);
    if felt.to_bytes_be() != bytes {
        return Err(format!("{:?} is not below the field's prime", shorten(text)));
    }
    Ok(felt)
}

/// At most a line's worth of what the caller sent, for messages.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.len() <= SHOWN {
        return text.to_owned();
    }
    let cut = (0..=SHOWN).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0);
    format!("{}...", &text[..cut])
}

/// A storage key in JSON (schema `STORAGE_KEY`): its first digit is at most 7, whatever its length. Where it would be
/// more, a zero stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StorageKeyHex(pub(crate) Felt);

impl Serialize for StorageKeyHex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut digits = [0_u8; FELT_DIGITS + 2];
        let text = write_hex(&self.0.to_bytes_be(), &mut digits);
        match text.as_bytes().get(2) {
            Some(b'8' | b'9' | b'a'..=b'f') => serializer.collect_str(&format_args!("0x0{}", &text[2..])),
            _ => serializer.serialize_str(text),
        }
    }
}

/// A list of felts in JSON, written from where they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Felts<'a>(pub(crate) &'a [Felt]);

impl Serialize for Felts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        list(serializer, self.0.iter().map(|felt| Hex(*felt)))
    }
}

/// A JSON list written item by item, without collecting it first.
pub(crate) fn list<S, I>(serializer: S, items: I) -> Result<S::Ok, S::Error>
where
    S: Serializer,
    I: IntoIterator,
    I::Item: Serialize,
{
    let items = items.into_iter();
    let mut sequence = serializer.serialize_seq(items.size_hint().1.filter(|upper| *upper == items.size_hint().0))?;
    for item in items {
        sequence.serialize_element(&item)?;
    }
    sequence.end()
}

/// A felt that is below 2^251 and may therefore be an address or a storage key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(pub(crate) PatriciaKey);

impl Key {
    pub(crate) fn address(self) -> ContractAddress {
        ContractAddress(self.0)
    }

    pub(crate) fn storage(self) -> StorageKey {
        StorageKey(self.0)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let felt = Hex::deserialize(deserializer)?.0;
        PatriciaKey::try_from(felt).map(Self).map_err(|_| {
            de::Error::custom(format!("{felt:#x} is too large for an address or a key, which are below 2^251"))
        })
    }
}

/// An L1 address: 20 bytes (schema `ETH_ADDRESS`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EthAddress(pub(crate) Felt);

impl<'de> Deserialize<'de> for EthAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let felt = Hex::deserialize(deserializer)?.0;
        if felt >= Felt::TWO.pow(160_u32) {
            return Err(de::Error::custom(format!("{felt:#x} is too large for an L1 address, which has 20 bytes")));
        }
        Ok(Self(felt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn felts_are_written_as_the_schema_wants() {
        for (felt, text) in [
            (Felt::ZERO, "0x0"),
            (Felt::ONE, "0x1"),
            (Felt::from(0x10_u8), "0x10"),
            (Felt::from(0xabcdef_u32), "0xabcdef"),
            (Felt::MAX, "0x800000000000011000000000000000000000000000000000000000000000000"),
        ] {
            assert_eq!(serde_json::to_value(Hex(felt)).expect("a string"), text);
            assert_eq!(parse_felt(text), Ok(felt));
        }
        for (key, text) in [(0x7f_u8, "0x7f"), (0x80, "0x080"), (0xab, "0x0ab"), (0, "0x0")] {
            assert_eq!(serde_json::to_value(StorageKeyHex(Felt::from(key))).expect("a string"), text);
        }
        assert_eq!(serde_json::to_string(&Felts(&[Felt::ONE, Felt::TWO])).expect("a list"), r#"["0x1","0x2"]"#);
    }

    #[test]
    fn what_is_no_felt_is_refused_with_the_reason() {
        for (text, reason) in [
            ("12", "does not start with 0x"),
            ("0x", "no digits"),
            ("0xg", "no hex digit"),
            ("0x800000000000011000000000000000000000000000000000000000000000001", "prime"),
            (&format!("0x1{}", "0".repeat(64)), "larger than the field"),
        ] {
            let error = parse_felt(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert_eq!(parse_felt("0x00AB"), Ok(Felt::from(0xab_u8)));
    }
}
