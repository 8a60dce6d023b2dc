//! Parameters: by position or by name, each read once into its type, every fault named.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::RpcError;
use super::hex::shorten;

/// The parameters of one call, not read yet.
pub(crate) struct Params<'a> {
    names: &'static [&'static str],
    /// In the order of `names`; absent and `null` are the same.
    values: Vec<Option<&'a RawValue>>,
}

impl<'a> Params<'a> {
    /// Sorts `raw` (a list, an object, or nothing) under `names`, the method's parameters in the order of the
    /// specification.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for anything but a list or an object, for too many and for unknown parameters.
    pub(crate) fn sort(names: &'static [&'static str], raw: Option<&'a RawValue>) -> Result<Self, RpcError> {
        let mut values = vec![None; names.len()];
        let text = raw.map_or("null", RawValue::get).trim_start();
        match text.as_bytes().first() {
            Some(b'[') => {
                let given: Vec<&RawValue> = read(text, "the parameters")?;
                if given.len() > names.len() {
                    return Err(RpcError::invalid_params(format!(
                        "{} parameters are given, this method takes {}",
                        given.len(),
                        takes(names)
                    )));
                }
                for (slot, value) in values.iter_mut().zip(given) {
                    *slot = present(value);
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
                    values[index] = present(value);
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

    /// The parameter at `index`, which the method cannot do without.
    ///
    /// # Errors
    /// `INVALID_PARAMS` when it is absent or not a `T`.
    pub(crate) fn required<T: DeserializeOwned>(&self, index: usize) -> Result<T, RpcError> {
        match self.optional(index)? {
            Some(value) => Ok(value),
            None => Err(RpcError::invalid_params(format!("{}: this parameter is missing", self.names[index]))),
        }
    }

    /// The parameter at `index`, or nothing.
    ///
    /// # Errors
    /// `INVALID_PARAMS` when it is there and not a `T`.
    pub(crate) fn optional<T: DeserializeOwned>(&self, index: usize) -> Result<Option<T>, RpcError> {
        self.raw(index).map(|raw| read(raw.get(), self.names[index])).transpose()
    }

    /// The parameter at `index` as it came.
    pub(crate) fn raw(&self, index: usize) -> Option<&'a RawValue> {
        self.values[index]
    }

    /// The parameter at `index` as it came.
    ///
    /// # Errors
    /// `INVALID_PARAMS` when it is absent.
    pub(crate) fn required_raw(&self, index: usize) -> Result<&'a RawValue, RpcError> {
        self.raw(index)
            .ok_or_else(|| RpcError::invalid_params(format!("{}: this parameter is missing", self.names[index])))
    }
}

fn present(value: &RawValue) -> Option<&RawValue> {
    (value.get() != "null").then_some(value)
}

fn takes(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Reads `text`, which is what came under `name`, into a `T`.
///
/// # Errors
/// `INVALID_PARAMS` that gives the path to the fault inside the parameter, the fault and the value.
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
        RpcError::invalid_params(format!("{path}: {fault} (got {})", shorten(text)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::hex::Hex;
    use starknet_types_core::felt::Felt;

    const NAMES: &[&str] = &["first", "second"];

    fn check(raw: Option<&str>, expected: Result<(u64, Option<Hex>), &str>) {
        let raw = raw.map(|text| RawValue::from_string(text.to_owned()).expect("JSON"));
        let read = Params::sort(NAMES, raw.as_deref())
            .and_then(|params| Ok((params.required::<u64>(0)?, params.optional::<Hex>(1)?)));
        match (read, expected) {
            (Ok(read), Ok(expected)) => assert_eq!(read, expected),
            (Err(error), Err(part)) => {
                let why = error.data.expect("a reason").to_string();
                assert_eq!(error.code, -32602);
                assert!(why.contains(part), "{why}");
            }
            (read, expected) => panic!("{read:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn parameters_come_by_position_or_by_name() {
        let one = Some(Hex(Felt::ONE));
        check(Some("[7]"), Ok((7, None)));
        check(Some(r#"[7, "0x1"]"#), Ok((7, one)));
        check(Some("[7, null]"), Ok((7, None)));
        check(Some(r#"{"second": "0x1", "first": 7}"#), Ok((7, one)));
        check(Some(r#"{"first": 7}"#), Ok((7, None)));
    }

    #[test]
    fn faults_name_the_parameter_and_the_value() {
        check(None, Err("first: this parameter is missing"));
        check(Some("null"), Err("first: this parameter is missing"));
        check(Some("[]"), Err("first: this parameter is missing"));
        check(Some("[1, \"0x1\", 3]"), Err("3 parameters are given, this method takes first, second"));
        check(Some(r#"{"third": 1}"#), Err("third"));
        check(Some("7"), Err("not a list or an object"));
        check(Some(r#"["x"]"#), Err("first: invalid type"));
        check(Some(r#"[7, "12"]"#), Err("does not start with 0x"));
    }
}
