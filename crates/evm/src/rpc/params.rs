//! Parameters: by position or by name, each read once into its type, every fault named.

use std::borrow::Cow;
use std::collections::BTreeMap;

use alloy_eips::BlockId;
use alloy_primitives::{B256, U256};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::{RpcError, shorten};

/// The parameters of one call, not read yet.
pub(crate) struct Params<'a> {
    names: &'static [&'static str],
    /// In the order of `names`; absent and `null` are the same.
    values: Vec<Option<Cow<'a, RawValue>>>,
}

impl<'a> Params<'a> {
    /// Sorts `raw` (a list, an object, or nothing) under `names`, the method's parameters in their order.
    ///
    /// # Errors
    /// −32602 for anything but a list or an object, for too many and for unknown parameters.
    pub(crate) fn sort(names: &'static [&'static str], raw: Option<&'a RawValue>) -> Result<Self, RpcError> {
        let mut values = vec![None; names.len()];
        let text = raw.map_or("null", RawValue::get).trim_start();
        match text.as_bytes().first() {
            Some(b'[') => {
                let given: Vec<&RawValue> = read(text, "the parameters")?;
                let given: Vec<_> = given.into_iter().map(present).collect();
                if let Some(more) = given.get(names.len()..).filter(|more| more.iter().any(Option::is_some)) {
                    let count = names.len() + more.len();
                    return Err(RpcError::invalid_params(format!(
                        "too many arguments, want at most {}: {count} are given, this method takes {}",
                        names.len(),
                        takes(names)
                    )));
                }
                for (slot, value) in values.iter_mut().zip(given) {
                    *slot = value.map(Cow::Borrowed);
                }
            }
            Some(b'{') => {
                let given: BTreeMap<String, &RawValue> = read(text, "the parameters")?;
                for (name, value) in given {
                    let Some(index) = names.iter().position(|known| *known == name) else {
                        return Err(RpcError::invalid_params(format!(
                            "{:?} is not a parameter of this method, which takes {}",
                            shorten(&name),
                            takes(names)
                        )));
                    };
                    values[index] = present(value).map(Cow::Borrowed);
                }
            }
            _ if raw.is_none() || text == "null" => {}
            _ => {
                return Err(RpcError::invalid_params(format!(
                    "the parameters are {}, not a list or an object",
                    shorten(text)
                )));
            }
        }
        Ok(Self { names, values })
    }

    /// The same without the request that they came in, to be read on another thread.
    pub(crate) fn into_owned(self) -> Params<'static> {
        let owned = |value: Cow<'_, RawValue>| Cow::Owned(value.into_owned());
        Params { names: self.names, values: self.values.into_iter().map(|value| value.map(owned)).collect() }
    }

    /// The parameter at `index`, which the method cannot do without.
    ///
    /// # Errors
    /// −32602 when it is absent or not a `T`.
    pub(crate) fn required<T: DeserializeOwned>(&self, index: usize) -> Result<T, RpcError> {
        self.optional(index)?.ok_or_else(|| self.missing(index))
    }

    /// The parameter at `index`, or nothing.
    ///
    /// # Errors
    /// −32602 when it is there and not a `T`.
    pub(crate) fn optional<T: DeserializeOwned>(&self, index: usize) -> Result<Option<T>, RpcError> {
        self.raw(index).map(|raw| read(raw.get(), self.names[index])).transpose()
    }

    /// The parameter at `index` as it came.
    pub(crate) fn raw(&self, index: usize) -> Option<&RawValue> {
        self.values[index].as_deref()
    }

    /// The whole number at `index`: `"0x1f"`, `"31"` or `31`.
    ///
    /// # Errors
    /// −32602 when it is absent or no such number.
    pub(crate) fn number(&self, index: usize) -> Result<U256, RpcError> {
        self.optional_number(index)?.ok_or_else(|| self.missing(index))
    }

    /// As [`Params::number`], or nothing.
    ///
    /// # Errors
    /// −32602 when it is there and no whole number.
    pub(crate) fn optional_number(&self, index: usize) -> Result<Option<U256>, RpcError> {
        self.raw(index).map(|raw| number(raw.get(), self.names[index])).transpose()
    }

    /// As [`Params::number`], within 64 bits.
    ///
    /// # Errors
    /// −32602 when it is absent, no whole number or too large.
    pub(crate) fn small(&self, index: usize) -> Result<u64, RpcError> {
        self.optional_small(index)?.ok_or_else(|| self.missing(index))
    }

    /// As [`Params::small`], or nothing.
    ///
    /// # Errors
    /// −32602 when it is there and no whole number of 64 bits.
    pub(crate) fn optional_small(&self, index: usize) -> Result<Option<u64>, RpcError> {
        let Some(value) = self.optional_number(index)? else { return Ok(None) };
        let small = u64::try_from(value);
        small.map(Some).map_err(|_| RpcError::invalid_params(format!("{}: {value} is too large", self.names[index])))
    }

    /// A place in storage: 32 bytes in hexadecimal, or fewer, or a number.
    ///
    /// # Errors
    /// −32602 when it is absent or longer than 32 bytes.
    pub(crate) fn slot(&self, index: usize) -> Result<B256, RpcError> {
        self.number(index).map(B256::from)
    }

    /// The block at `index`; the newest when none is named.
    ///
    /// # Errors
    /// −32602 when it is there and names no block.
    pub(crate) fn block(&self, index: usize) -> Result<BlockId, RpcError> {
        let Some(raw) = self.raw(index) else { return Ok(BlockId::latest()) };
        if raw.get().starts_with(|first: char| first.is_ascii_digit()) {
            return self.small(index).map(BlockId::number);
        }
        read(raw.get(), self.names[index])
    }

    fn missing(&self, index: usize) -> RpcError {
        RpcError::invalid_params(format!("missing value for required argument {index} ({})", self.names[index]))
    }
}

fn present(value: &RawValue) -> Option<&RawValue> {
    (value.get() != "null").then_some(value)
}

fn takes(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A whole number in JSON: with digits, or a string of digits, decimal or hexadecimal. Read from the text, so that no number type of
/// JSON comes between.
pub(crate) fn number(text: &str, name: &str) -> Result<U256, RpcError> {
    let wrong = || {
        RpcError::invalid_params(format!(
            "{name}: {} is no whole number of at most 256 bits, such as \"0x1f\"",
            shorten(text)
        ))
    };
    let digits = match text.starts_with('"') {
        true => serde_json::from_str::<String>(text).map_err(|_| wrong())?,
        false => text.to_owned(),
    };
    let parsed = match digits.strip_prefix("0x") {
        Some("") => Some(U256::ZERO),
        Some(hex) if hex.bytes().all(|digit| digit.is_ascii_hexdigit()) => U256::from_str_radix(hex, 16).ok(),
        None if !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            U256::from_str_radix(&digits, 10).ok()
        }
        _ => None,
    };
    parsed.ok_or_else(wrong)
}

/// Reads `text`, which is what came under `name`, into a `T`.
///
/// # Errors
/// −32602 with the path to the fault inside the parameter, the fault and the value.
pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a str, name: &str) -> Result<T, RpcError> {
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = match error.path().to_string() {
            path if path == "." => name.to_owned(),
            path if path.starts_with('[') => format!("{name}{path}"),
            path => format!("{name}.{path}"),
        };
        // Line and column point into a part of the request that the caller cannot see as such.
        let fault = error.inner().to_string();
        let fault = fault.split(" at line ").next().unwrap_or(&fault);
        RpcError::invalid_params(format!("invalid argument {path}: {fault} (got {})", shorten(text)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["first", "second"];

    fn check(raw: Option<&str>, expected: Result<(u64, Option<B256>), &str>) {
        let raw = raw.map(|text| RawValue::from_string(text.to_owned()).expect("JSON"));
        let read = Params::sort(NAMES, raw.as_deref())
            .and_then(|params| Ok((params.small(0)?, params.raw(1).map(|_| params.slot(1)).transpose()?)));
        match (read, expected) {
            (Ok(read), Ok(expected)) => assert_eq!(read, expected),
            (Err(error), Err(part)) => {
                assert_eq!(error.code, -32602);
                assert!(error.message.contains(part), "{}", error.message);
            }
            (read, expected) => panic!("{read:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn parameters_come_by_position_or_by_name() {
        let one = Some(B256::with_last_byte(1));
        check(Some("[7]"), Ok((7, None)));
        check(Some(r#"["0x7", "0x1"]"#), Ok((7, one)));
        check(Some("[7, null, null]"), Ok((7, None)));
        check(Some(r#"{"second": "0x01", "first": "7"}"#), Ok((7, one)));
        check(Some(r#"{"first": 18446744073709551615}"#), Ok((u64::MAX, None)));
    }

    #[test]
    fn faults_name_the_parameter_and_the_value() {
        check(None, Err("missing value for required argument 0 (first)"));
        check(Some("null"), Err("first"));
        check(Some("[]"), Err("first"));
        check(Some("[1, \"0x1\", 3]"), Err("too many arguments, want at most 2"));
        check(Some(r#"{"third": 1}"#), Err("third"));
        check(Some("7"), Err("not a list or an object"));
        check(Some(r#"["x"]"#), Err("\"x\" is no whole number"));
        check(Some("[-1]"), Err("-1 is no whole number"));
        check(Some("[1.5]"), Err("1.5"));
        check(Some("[18446744073709551616]"), Err("too large"));
        check(Some(&format!(r#"[1, "0x1{}"]"#, "0".repeat(64))), Err("second"));
    }

    #[test]
    fn blocks_are_named_in_every_known_way() {
        let hash = B256::repeat_byte(7);
        let table = [
            ("[]".to_owned(), Some(BlockId::latest())),
            ("[null]".to_owned(), Some(BlockId::latest())),
            (r#"["pending"]"#.to_owned(), Some(BlockId::pending())),
            (r#"["0x10"]"#.to_owned(), Some(BlockId::number(16))),
            ("[16]".to_owned(), Some(BlockId::number(16))),
            (format!(r#"["{hash}"]"#), Some(BlockId::hash(hash))),
            (format!(r#"[{{"blockHash":"{hash}","requireCanonical":true}}]"#), Some(BlockId::hash_canonical(hash))),
            (r#"[{"blockNumber":"0x10"}]"#.to_owned(), Some(BlockId::number(16))),
            (r#"["newest"]"#.to_owned(), None),
            ("[{}]".to_owned(), None),
        ];
        for (text, expected) in table {
            let raw = RawValue::from_string(text.clone()).expect("JSON");
            let read = Params::sort(&["block"], Some(&raw)).and_then(|params| params.block(0));
            assert_eq!(read.ok(), expected, "{text}");
        }
    }
}
