//! The OpenRPC documents as judges: every answer is held against the schema of its method.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

const FILES: [&str; 5] = [
    "starknet_api_openrpc.json",
    "starknet_write_api.json",
    "starknet_trace_api_openrpc.json",
    "starknet_executables.json",
    "starknet_ws_api.json",
];

/// The documents in one, with their slips mended so that the schemas say what they mean.
pub(crate) struct Specification {
    whole: Value,
    methods: BTreeMap<String, Method>,
    names: BTreeSet<String>,
}

struct Method {
    /// Where it is described, as a JSON pointer into `whole`.
    at: String,
    result: Option<Validator>,
    /// Result of a notification.
    notified: Option<Validator>,
    errors: Vec<SpecError>,
}

/// An error of the specification.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SpecError {
    pub(crate) name: String,
    pub(crate) code: i64,
    pub(crate) message: String,
    pub(crate) data: Option<Value>,
}

impl Specification {
    /// From the files that the program is built with; the same as the vectors, which one test compares.
    pub(crate) fn load() -> Self {
        let mut definitions = Map::new();
        for file in FILES {
            let path = assets().join(file);
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let mut document: Value = serde_json::from_str(&text).expect("the specification is JSON");
            point_inside(&mut document, file);
            mend_all(&mut document);
            definitions.insert(file.to_owned(), document);
        }
        let whole = json!({ "definitions": definitions });
        let mut names = BTreeSet::new();
        property_names(&whole, &mut names);
        let mut specification = Self { whole, methods: BTreeMap::new(), names };
        for file in FILES {
            let count = specification.whole["definitions"][file]["methods"].as_array().map_or(0, Vec::len);
            for index in 0..count {
                specification.add(&format!("/definitions/{file}/methods/{index}"));
            }
        }
        specification
    }

    fn add(&mut self, at: &str) {
        let method = self.at(at);
        let name = method["name"].as_str().expect("a method has a name").to_owned();
        let errors = method["errors"].as_array().map_or(&[][..], |errors| errors);
        let errors = errors.iter().map(|error| self.error(error["$ref"].as_str().expect("a reference"))).collect();
        let result = method.get("result").is_some().then(|| self.validator(&format!("#{at}/result/schema")));
        let notified =
            name.starts_with("starknet_subscription").then(|| self.validator(&format!("#{at}/params/1/schema")));
        self.methods.insert(name, Method { at: at.to_owned(), result, notified, errors });
    }

    fn at(&self, pointer: &str) -> &Value {
        self.whole.pointer(pointer).unwrap_or_else(|| panic!("{pointer} leads nowhere"))
    }

    fn error(&self, reference: &str) -> SpecError {
        let error = self.at(reference.trim_start_matches('#'));
        SpecError {
            name: reference.rsplit('/').next().unwrap_or_default().to_owned(),
            code: error["code"].as_i64().expect("a code"),
            message: error["message"].as_str().expect("a message").to_owned(),
            data: error.get("data").cloned(),
        }
    }

    fn validator(&self, reference: &str) -> Validator {
        self.compile(json!({ "$ref": reference }))
    }

    fn compile(&self, schema: Value) -> Validator {
        let schema = json!({ "allOf": [schema], "definitions": self.whole["definitions"] });
        jsonschema::options().with_draft(Draft::Draft7).build(&schema).expect("the schema is one")
    }

    /// Names of what can be called: methods, subscriptions, and the end of a subscription.
    pub(crate) fn methods(&self) -> Vec<&str> {
        self.methods.iter().filter(|(_, method)| method.result.is_some()).map(|(name, _)| name.as_str()).collect()
    }

    /// The errors that a method may give.
    pub(crate) fn errors(&self, method: &str) -> &[SpecError] {
        &self.method(method).errors
    }

    fn method(&self, name: &str) -> &Method {
        self.methods.get(name).unwrap_or_else(|| panic!("{name} is not in the specification"))
    }

    /// The names of a method's parameters, whether they are required, and their schemas.
    pub(crate) fn params(&self, method: &str) -> Vec<(&str, bool, &Value)> {
        let params = self.at(&self.method(method).at)["params"].as_array().map_or(&[][..], |params| params);
        params
            .iter()
            .map(|param| (param["name"].as_str().expect("a name"), param["required"] == true, &param["schema"]))
            .collect()
    }

    /// Follows a reference out of a schema.
    pub(crate) fn follow(&self, reference: &str) -> &Value {
        self.at(reference.trim_start_matches('#'))
    }

    /// Panics unless `result` is what the specification lets `method` answer.
    pub(crate) fn check_result(&self, method: &str, result: &Value) {
        let validator = self.method(method).result.as_ref().unwrap_or_else(|| panic!("{method} has no result"));
        self.check(validator, method, result);
    }

    /// Panics unless `result` may be in the notification `name`.
    pub(crate) fn check_notification(&self, name: &str, result: &Value) {
        let validator = self.method(name).notified.as_ref().unwrap_or_else(|| panic!("{name} is no notification"));
        self.check(validator, name, result);
    }

    fn check(&self, validator: &Validator, what: &str, result: &Value) {
        let faults: Vec<String> = validator
            .iter_errors(result)
            .take(3)
            .map(|error| format!("{} at {}", last_words(&error.to_string()), error.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{what}: {}\n{}", faults.join("\n"), shortened(result));
        // The schemas allow any further member, so a slip in the name of an optional one would pass them.
        let mut unknown = BTreeSet::new();
        unknown_names(result, &self.names, &mut unknown);
        assert!(unknown.is_empty(), "{what}: no schema knows {unknown:?}\n{}", shortened(result));
    }

    /// Panics unless the specification lets `method` fail like this; returns the error's name.
    pub(crate) fn check_error(&self, method: &str, code: i64, message: &str, data: Option<&Value>) -> String {
        let errors = self.errors(method);
        let error = errors.iter().find(|error| error.code == code);
        let error = error.unwrap_or_else(|| panic!("{method} may not answer with {code} {message}: {data:?}"));
        assert_eq!(error.message, message, "{method}");
        if let Some(schema) = &error.data {
            let data = data.unwrap_or_else(|| panic!("{method}: error {code} must carry data"));
            let validator = self.compile(schema.clone());
            assert!(validator.is_valid(data), "{method}: error {code} with {data}");
        }
        error.name.clone()
    }
}

fn assets() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/openrpc")
}

/// References between the files and inside of each become references into the one document.
fn point_inside(value: &mut Value, file: &str) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| point_inside(item, file)),
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                match member {
                    Value::String(reference) if name == "$ref" => {
                        let (other, pointer) = reference.split_once('#').expect("a reference has a fragment");
                        let other = if other.is_empty() { file } else { other.rsplit('/').next().unwrap_or(file) };
                        *reference = format!("#/definitions/{other}{pointer}");
                    }
                    member => point_inside(member, file),
                }
            }
        }
        _ => {}
    }
}

/// Mends every schema of a document. The blocks being built lack what sealed ones have, but their schemas do not say so:
/// a sealed block would fit both, where it may fit but one.
fn mend_all(document: &mut Value) {
    let components = document["components"].as_object_mut().expect("components");
    for body in ["TX_HASHES", "TXS", "RECEIPTS"] {
        let name = format!("PRE_CONFIRMED_BLOCK_WITH_{body}");
        if let Some(parts) = components["schemas"].get_mut(&name).and_then(|schema| schema["allOf"].as_array_mut()) {
            parts.push(json!({ "not": { "required": ["block_hash"] } }));
        }
    }
    components.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut).for_each(mend);
    for method in document["methods"].as_array_mut().expect("methods") {
        if let Some(schema) = method.pointer_mut("/result/schema") {
            mend(schema);
        }
        for param in method["params"].as_array_mut().into_iter().flatten() {
            mend(&mut param["schema"]);
        }
    }
}

/// Mends the specification's slips. Left as they are, a validator would take these parts for no restriction at all.
///
/// - `{"schema": {...}}` where a schema belongs (`TXN_WITH_HASH`, `SUBSCRIPTION_BLOCK_ID`, ...)
/// - `required` among the properties instead of beside them (`COMMON_RECEIPT_PROPERTIES`)
/// - `required` as a string, and `data` as the name of a type (errors)
/// - hints whose offsets from a register may not be negative (`CellRef`)
fn mend(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mend),
        Value::Object(members) => {
            members.values_mut().for_each(mend);
            if let Some(Value::Object(inner)) = members.get("schema").cloned() {
                *members = inner;
            }
            let required = members.get_mut("properties").and_then(Value::as_object_mut).and_then(|properties| {
                properties.get("required").is_some_and(Value::is_array).then(|| properties.remove("required")).flatten()
            });
            if let Some(required) = required {
                members.insert("required".to_owned(), required);
            }
            if let Some(Value::String(name)) = members.get("required").cloned() {
                members.insert("required".to_owned(), json!([name]));
            }
            if members.contains_key("code") && members.get("data").is_some_and(Value::is_string) {
                let name = members["data"].clone();
                members.insert("data".to_owned(), json!({ "type": name }));
            }
            let of_register = members.get("properties").is_some_and(|properties| properties.get("register").is_some());
            if of_register && let Some(offset) = members["properties"]["offset"].as_object_mut() {
                offset.remove("minimum");
            }
        }
        _ => {}
    }
}

/// Every name that a schema gives to a property.
fn property_names(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| property_names(item, names)),
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get("properties") {
                names.extend(properties.keys().cloned());
            }
            members.values().for_each(|member| property_names(member, names));
        }
        _ => {}
    }
}

/// Members that no schema knows. What contracts bring along (ABI, hints, attributes of code) is theirs.
fn unknown_names(value: &Value, names: &BTreeSet<String>, out: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| unknown_names(item, names, out)),
        Value::Object(members) => {
            for (name, member) in members {
                if !names.contains(name) {
                    out.insert(name.clone());
                }
                if !["abi", "hints"].contains(&name.as_str()) {
                    unknown_names(member, names, out);
                }
            }
        }
        _ => {}
    }
}

/// A fault quotes the whole instance first.
fn last_words(fault: &str) -> String {
    let count = fault.chars().count();
    fault.chars().skip(count.saturating_sub(200)).collect()
}

fn shortened(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.chars().take(4_000).collect()
}

#[test]
fn the_specification_is_the_one_of_the_vectors() {
    let root = std::env::var_os("SEQUENZA_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"), PathBuf::from);
    let folder = root.join("starknet/openrpc/0.10.2");
    if !folder.exists() {
        eprintln!("skipped: there are no vectors at {}", folder.display());
        return;
    }
    for file in FILES {
        let (ours, theirs) = (std::fs::read(assets().join(file)), std::fs::read(folder.join(file)));
        assert!(ours.expect("our file") == theirs.expect("their file"), "{file} differs from the vectors");
    }
}

#[test]
fn the_mended_schemas_refuse_what_they_should() {
    let specification = Specification::load();
    let receipt = json!({"type": "INVOKE", "execution_status": "SUCCEEDED", "block_number": 1});
    let method = specification.method("starknet_getTransactionReceipt");
    let validator = method.result.as_ref().expect("a result");
    assert!(!validator.is_valid(&receipt), "a receipt without a hash passes");
    let validator = specification.method("starknet_getTransactionByHash").result.as_ref().expect("a result");
    assert!(!validator.is_valid(&json!({"type": "INVOKE"})), "a transaction without anything passes");
    let validator = specification.method("starknet_subscriptionNewTransaction").notified.as_ref().expect("a result");
    assert!(!validator.is_valid(&json!({"finality_status": "RECEIVED"})), "a notification without transaction passes");
    assert_eq!(specification.methods().len(), 25 + 3 + 3 + 1 + 6);
}
