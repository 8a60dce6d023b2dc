//! Reads tables of keys and values, collecting every fault instead of stopping at the first.

use alloy_primitives::{Address, B64, B256};
use serde_json::{Map, Value};

use super::Fault;

/// What a text got wrong, and what it says that means nothing.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) faults: Vec<Fault>,
    pub(super) unknown: Vec<String>,
}

impl Findings {
    pub(super) fn fault(&mut self, key: impl Into<String>, problem: impl Into<String>) {
        self.faults.push(Fault { key: key.into(), problem: problem.into() });
    }
}

/// A value that a key may have.
pub(super) trait Field: Default {
    /// What the value has to be, for the error.
    const WANTED: &'static str;

    /// The value, if it is what it has to be.
    fn read(value: &Value) -> Option<Self>;
}

macro_rules! number {
    ($kind:ty, $wanted:literal) => {
        impl Field for $kind {
            const WANTED: &'static str = $wanted;

            fn read(value: &Value) -> Option<Self> {
                value.as_u64().and_then(|number| number.try_into().ok())
            }
        }
    };
}

number!(u64, "a whole number from 0 to 18446744073709551615");
number!(u32, "a whole number from 0 to 4294967295");
number!(u16, "a whole number from 0 to 65535");

/// Seconds from a block to the next.
///
/// op-node reads an unsigned whole number as well (`rollup/types.go`, `Config.BlockTime`), and dates blocks of the Engine API with it.
#[derive(Default)]
pub(super) struct BlockTime(pub(super) u64);

impl Field for BlockTime {
    const WANTED: &'static str = "a whole number of seconds, at least 1: blocks of the OP Stack are dated in whole seconds, each later \
                                  than the one before, so that no protocol date is left for a block in between";

    fn read(value: &Value) -> Option<Self> {
        value.as_u64().map(Self)
    }
}

impl Field for bool {
    const WANTED: &'static str = "true or false";

    fn read(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Field for String {
    const WANTED: &'static str = "a text";

    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

macro_rules! hexadecimal {
    ($kind:ty, $wanted:literal) => {
        impl Field for $kind {
            const WANTED: &'static str = $wanted;

            fn read(value: &Value) -> Option<Self> {
                let text = value.as_str().filter(|text| text.starts_with("0x"))?;
                text.parse().ok()
            }
        }
    };
}

hexadecimal!(Address, "an address: 0x and 40 hexadecimal digits");
hexadecimal!(B64, "0x and 16 hexadecimal digits");
hexadecimal!(B256, "0x and 64 hexadecimal digits");

/// One table of a text. What is asked for is known; what is left in the end is not.
pub(super) struct Section<'a> {
    path: String,
    fields: Option<&'a Map<String, Value>>,
    known: Vec<&'a str>,
}

impl<'a> Section<'a> {
    /// The table that the whole text is.
    pub(super) fn root(value: &'a Value, findings: &mut Findings) -> Self {
        Self::of("", value, findings)
    }

    /// A table inside a text, at `path`.
    pub(super) fn of(path: &str, value: &'a Value, findings: &mut Findings) -> Self {
        if !value.is_object() {
            findings.fault(if path.is_empty() { "the text" } else { path }, "has to be a table of keys and values");
        }
        Self { path: path.to_owned(), fields: value.as_object(), known: Vec::new() }
    }

    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The first of these names that has a value, and the value.
    fn find(&mut self, keys: &[&'a str]) -> Option<(&'a str, &'a Value)> {
        self.known.extend(keys);
        let fields = self.fields?;
        keys.iter().find_map(|key| fields.get(*key).filter(|value| !value.is_null()).map(|value| (*key, value)))
    }

    /// A value under one of several names for it.
    pub(super) fn optional<T: Field>(&mut self, keys: &[&'a str], findings: &mut Findings) -> Option<T> {
        let (key, value) = self.find(keys)?;
        let read = T::read(value);
        if read.is_none() {
            findings.fault(self.path(key), format!("is {}; it has to be {}", shortened(value), T::WANTED));
        }
        read
    }

    /// A value that must be there. What takes its place after a fault is never used.
    pub(super) fn required<T: Field>(&mut self, keys: &[&'a str], findings: &mut Findings) -> T {
        if self.find(keys).is_none() {
            // Where the whole table is missing, that is said once, elsewhere.
            if self.fields.is_some() {
                findings.fault(self.path(keys[0]), format!("is missing; it has to be {}", T::WANTED));
            }
            return T::default();
        }
        self.optional(keys, findings).unwrap_or_default()
    }

    /// A table inside this one.
    pub(super) fn table(&mut self, keys: &[&'a str], findings: &mut Findings) -> Option<Section<'a>> {
        let (key, value) = self.find(keys)?;
        Some(Section::of(&self.path(key), value, findings))
    }

    /// A table that must be there.
    pub(super) fn required_table(&mut self, keys: &[&'a str], findings: &mut Findings) -> Section<'a> {
        self.table(keys, findings).unwrap_or_else(|| {
            if self.fields.is_some() {
                findings.fault(self.path(keys[0]), "is missing; it has to be a table of keys and values");
            }
            Section { path: self.path(keys[0]), fields: None, known: Vec::new() }
        })
    }

    /// Names that are known and change nothing here.
    pub(super) fn ignore(&mut self, keys: &[&'a str]) {
        self.known.extend(keys);
    }

    /// The keys that nobody asked for.
    pub(super) fn rest(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + '_ {
        let fields = self.fields.into_iter().flatten();
        fields.map(|(key, value)| (key.as_str(), value)).filter(|(key, _)| !self.known.contains(key))
    }

    /// Reports what is left.
    pub(super) fn finish(self, findings: &mut Findings) {
        for (key, _) in self.rest() {
            findings.unknown.push(self.path(key));
        }
    }
}

/// A value as the text has it, not longer than an error should be.
fn shortened(value: &Value) -> String {
    const LENGTH_MAX: usize = 80;
    let text = value.to_string();
    if text.chars().count() <= LENGTH_MAX {
        return text;
    }
    text.chars().take(LENGTH_MAX).chain(['…']).collect()
}
