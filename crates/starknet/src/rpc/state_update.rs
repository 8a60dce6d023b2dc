//! What a block, or one transaction, changed (schemas `STATE_UPDATE`, `STATE_DIFF`).

use std::collections::BTreeSet;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use starknet_api::core::ContractAddress;
use starknet_types_core::felt::Felt;

use super::hex::{Hex, list};
use crate::block::StateDiff;

/// State update of a sealed block.
#[derive(Serialize)]
pub(crate) struct StateUpdateJson<'a> {
    pub(crate) block_hash: Hex,
    pub(crate) old_root: Hex,
    pub(crate) new_root: Hex,
    pub(crate) state_diff: StateDiffJson<'a>,
}

/// State update of the open block: it has no root yet.
#[derive(Serialize)]
pub(crate) struct PreConfirmedUpdateJson<'a> {
    pub(crate) old_root: Hex,
    pub(crate) state_diff: StateDiffJson<'a>,
}

/// A state diff, whole or only what concerns some contracts. Declarations are never filtered.
pub(crate) struct StateDiffJson<'a> {
    pub(crate) diff: &'a StateDiff,
    pub(crate) only: Option<&'a BTreeSet<ContractAddress>>,
}

impl<'a> StateDiffJson<'a> {
    pub(crate) fn whole(diff: &'a StateDiff) -> Self {
        Self { diff, only: None }
    }
}

impl Serialize for StateDiffJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { diff, only } = self;
        let wanted = |address: &ContractAddress| only.is_none_or(|only| only.contains(address));
        let mut json = serializer.serialize_struct("state_diff", 7)?;
        json.serialize_field(
            "storage_diffs",
            &List(|| {
                diff.storage.iter().filter(|(address, _)| wanted(address)).map(|(address, slots)| StorageDiff {
                    address: (*address).into(),
                    storage_entries: List(|| {
                        slots.iter().map(|(key, value)| Entry { key: (*key).into(), value: Hex(*value) })
                    }),
                })
            }),
        )?;
        json.serialize_field(
            "nonces",
            &List(|| {
                diff.nonces
                    .iter()
                    .filter(|(address, _)| wanted(address))
                    .map(|(address, nonce)| Nonce { contract_address: (*address).into(), nonce: Hex(nonce.0) })
            }),
        )?;
        json.serialize_field(
            "deployed_contracts",
            &List(|| {
                diff.deployed
                    .iter()
                    .filter(|(address, _)| wanted(address))
                    .map(|(address, class)| Deployed { address: (*address).into(), class_hash: Hex(class.0) })
            }),
        )?;
        json.serialize_field(
            "replaced_classes",
            &List(|| {
                diff.replaced
                    .iter()
                    .filter(|(address, _)| wanted(address))
                    .map(|(address, class)| Replaced { contract_address: (*address).into(), class_hash: Hex(class.0) })
            }),
        )?;
        json.serialize_field(
            "deprecated_declared_classes",
            &List(|| diff.deprecated_declared.iter().map(|class| Hex(class.0))),
        )?;
        json.serialize_field(
            "declared_classes",
            &List(|| diff.declared.iter().map(|(class, compiled)| Declared::new(class.0, compiled.0))),
        )?;
        json.serialize_field(
            "migrated_compiled_classes",
            &List(|| diff.migrated.iter().map(|(class, compiled)| Declared::new(class.0, compiled.0))),
        )?;
        json.end()
    }
}

/// A list made while it is written.
struct List<F>(F);

impl<F, I> Serialize for List<F>
where
    F: Fn() -> I,
    I: Iterator,
    I::Item: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        list(serializer, (self.0)())
    }
}

#[derive(Serialize)]
struct StorageDiff<L: Serialize> {
    address: Hex,
    storage_entries: L,
}

#[derive(Serialize)]
struct Entry {
    key: Hex,
    value: Hex,
}

#[derive(Serialize)]
struct Nonce {
    contract_address: Hex,
    nonce: Hex,
}

#[derive(Serialize)]
struct Deployed {
    address: Hex,
    class_hash: Hex,
}

#[derive(Serialize)]
struct Replaced {
    contract_address: Hex,
    class_hash: Hex,
}

#[derive(Serialize)]
struct Declared {
    class_hash: Hex,
    compiled_class_hash: Hex,
}

impl Declared {
    fn new(class_hash: Felt, compiled_class_hash: Felt) -> Self {
        Self { class_hash: Hex(class_hash), compiled_class_hash: Hex(compiled_class_hash) }
    }
}
