//! The OpenRPC document that `rpc.discover` answers with: the methods that we serve, described by the specification's
//! own documents (`assets/openrpc`), merged into one so that every reference stays inside.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::{SPEC_VERSION, method_names, subscription_names};

/// The document that the others refer to; its names are kept.
const BASE: &str = include_str!("../../assets/openrpc/starknet_api_openrpc.json");
/// What the other documents put before a reference into `BASE`.
const INTO_BASE: &str = "./api/starknet_api_openrpc.json#/components/";
const OTHERS: [&str; 4] = [
    include_str!("../../assets/openrpc/starknet_write_api.json"),
    include_str!("../../assets/openrpc/starknet_trace_api_openrpc.json"),
    include_str!("../../assets/openrpc/starknet_executables.json"),
    include_str!("../../assets/openrpc/starknet_ws_api.json"),
];

/// Prefix of the notifications that subscribers get; they are described beside the methods.
const NOTIFICATION: &str = "starknet_subscription";

/// The document.
pub(super) fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
        let mut merged = Merged::default();
        for text in [BASE].into_iter().chain(OTHERS) {
            // The files are part of the program and a test reads them all.
            merged.add(serde_json::from_str(text).unwrap_or_default());
        }
        merged.document()
    });
    &DOCUMENT
}

#[derive(Default)]
struct Merged {
    methods: BTreeMap<String, Value>,
    schemas: Map<String, Value>,
    errors: Map<String, Value>,
}

impl Merged {
    fn add(&mut self, mut document: Value) {
        let aliases = aliases(&document);
        rewrite(&mut document, &aliases);
        if let Some(Value::Array(methods)) = document.get_mut("methods").map(Value::take) {
            for method in methods {
                if let Some(name) = method["name"].as_str() {
                    self.methods.insert(name.to_owned(), method);
                }
            }
        }
        let Some(components) = document.get_mut("components") else { return };
        if let Some(Value::Object(schemas)) = components.get_mut("schemas").map(Value::take) {
            self.schemas.extend(schemas.into_iter().filter(|(name, _)| !aliases.contains_key(name)));
        }
        if let Some(Value::Object(errors)) = components.get_mut("errors").map(Value::take) {
            self.errors.extend(errors);
        }
    }

    fn document(mut self) -> Value {
        let served = method_names().iter().chain(subscription_names()).chain(&["starknet_unsubscribe"]);
        let mut methods: Vec<Value> = served.filter_map(|name| self.methods.remove(*name)).collect();
        methods.extend(
            self.methods.into_iter().filter(|(name, _)| name.starts_with(NOTIFICATION)).map(|(_, method)| method),
        );
        json!({
            "openrpc": "1.3.2",
            "info": {
                "title": "Sequenza: Starknet JSON-RPC",
                "version": SPEC_VERSION,
                "description": "What this node serves of the Starknet node, write, trace, executables and WebSocket interfaces. \
                                Subscriptions and starknet_unsubscribe need a WebSocket connection.",
            },
            "methods": methods,
            "components": { "schemas": self.schemas, "errors": self.errors, "contentDescriptors": {} },
        })
    }
}

/// Schemas of a document that only name one of `BASE`, with the name there. Merged, each would stand for itself: the
/// trace document's `EVENT`, for one, is the base's `EVENT_CONTENT`.
fn aliases(document: &Value) -> BTreeMap<String, String> {
    let Some(Value::Object(schemas)) = document.pointer("/components/schemas") else { return BTreeMap::new() };
    schemas
        .iter()
        .filter_map(|(name, schema)| {
            let target = schema.get("$ref")?.as_str()?.strip_prefix(INTO_BASE)?.strip_prefix("schemas/")?;
            Some((name.clone(), target.to_owned()))
        })
        .collect()
}

/// Points every reference at its place in the merged document.
fn rewrite(value: &mut Value, aliases: &BTreeMap<String, String>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite(item, aliases)),
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                match member {
                    Value::String(reference) if name == "$ref" => {
                        *reference = match reference.strip_prefix(INTO_BASE) {
                            Some(rest) => format!("#/components/{rest}"),
                            None => {
                                match reference.strip_prefix("#/components/schemas/").and_then(|name| aliases.get(name))
                                {
                                    Some(target) => format!("#/components/schemas/{target}"),
                                    None => std::mem::take(reference),
                                }
                            }
                        };
                    }
                    member => rewrite(member, aliases),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn references<'a>(value: &'a Value, out: &mut BTreeSet<&'a str>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| references(item, out)),
            Value::Object(members) => {
                for (name, member) in members {
                    match member.as_str() {
                        Some(reference) if name == "$ref" => drop(out.insert(reference)),
                        _ => references(member, out),
                    }
                }
            }
            _ => {}
        }
    }

    #[test]
    fn every_reference_has_a_target_inside() {
        let document = document();
        let mut found = BTreeSet::new();
        references(document, &mut found);
        assert!(found.len() > 100, "{}", found.len());
        for reference in found {
            let path = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads outside"));
            assert!(document.pointer(path).is_some(), "{reference} leads nowhere");
        }
    }

    #[test]
    fn no_two_documents_give_one_name_to_different_schemas() {
        let mut seen: BTreeMap<String, Value> = BTreeMap::new();
        for text in [BASE].into_iter().chain(OTHERS) {
            let mut document: Value = serde_json::from_str(text).expect("JSON");
            let aliases = aliases(&document);
            rewrite(&mut document, &aliases);
            let schemas = document["components"]["schemas"].as_object().expect("schemas");
            for (name, schema) in schemas.iter().filter(|(name, _)| !aliases.contains_key(*name)) {
                if let Some(other) = seen.insert(name.clone(), schema.clone()) {
                    assert_eq!(&other, schema, "{name}");
                }
            }
        }
    }

    #[test]
    fn the_whole_specification_is_served() {
        let served: BTreeSet<&str> = document()["methods"]
            .as_array()
            .expect("methods")
            .iter()
            .filter_map(|method| method["name"].as_str())
            .collect();
        for text in [BASE].into_iter().chain(OTHERS) {
            let specification: Value = serde_json::from_str(text).expect("JSON");
            for method in specification["methods"].as_array().expect("methods") {
                let name = method["name"].as_str().expect("a name");
                assert!(served.contains(name), "{name} is in the specification and not served");
            }
        }
        assert_eq!(served.len(), 25 + 3 + 3 + 1 + 6 + 6);
    }

    #[test]
    fn parameters_are_those_of_the_specification() {
        for method in document()["methods"].as_array().expect("methods") {
            let name = method["name"].as_str().expect("a name");
            let Some(ours) = super::super::parameter_names(name) else { continue };
            let theirs: Vec<&str> = method["params"]
                .as_array()
                .map_or(&[][..], |params| params)
                .iter()
                .filter_map(|param| param["name"].as_str())
                .collect();
            assert_eq!(ours, theirs, "{name}");
        }
    }
}
