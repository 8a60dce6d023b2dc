//! Random instances of the specification's schemas: whatever a schema allows, the node must be able to read.

use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::{Map, Value, json};

use crate::specification::Specification;

/// Deepest nesting of random values.
const DEPTH_MAX: usize = 12;

/// A random value that `schema` allows.
pub(crate) fn instance(specification: &Specification, schema: &Value, random: &mut impl Rng) -> Value {
    generate(specification, schema, random, 0)
}

fn generate(specification: &Specification, schema: &Value, random: &mut impl Rng, depth: usize) -> Value {
    assert!(depth < DEPTH_MAX * 2, "the schema nests without end");
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return named(name, random)
            .unwrap_or_else(|| generate(specification, specification.follow(reference), random, depth + 1));
    }
    if let Some(Value::Array(all)) = schema.get("allOf") {
        return all_of(specification, all, random, depth);
    }
    if let Some(Value::Array(choices)) = schema.get("oneOf") {
        return generate(specification, choices.choose(random).expect("a choice"), random, depth + 1);
    }
    if let Some(Value::Array(choices)) = schema.get("enum") {
        return choices.choose(random).expect("a choice").clone();
    }
    match schema["type"].as_str() {
        Some("object") => object(specification, schema, random, depth),
        Some("array") => {
            let length = if depth > DEPTH_MAX { 0 } else { random.random_range(0..3) };
            (0..length).map(|_| generate(specification, &schema["items"], random, depth + 1)).collect()
        }
        Some("integer") => json!(random.random_range(schema["minimum"].as_u64().unwrap_or(0)..1_000)),
        Some("boolean") => json!(random.random::<bool>()),
        Some("string") => match schema["pattern"].as_str() {
            Some(pattern) if pattern.contains("A-Za-z0-9+/") => json!(["", "AAAA", "c2VxdWVuemE="].choose(random)),
            Some(_) => hex(random, 8),
            None => json!("text"),
        },
        _ => panic!("no way to make an instance of {schema}"),
    }
}

/// Schemas that a pattern describes, with the bounds that their descriptions give.
fn named(name: &str, random: &mut impl Rng) -> Option<Value> {
    Some(match name {
        // 62 digits are below the prime, and below 2^251, whatever they are.
        "FELT" | "ADDRESS" | "TXN_HASH" | "BLOCK_HASH" | "STORAGE_KEY" => hex(random, 62),
        "u64" => hex(random, 16),
        "u128" => hex(random, 32),
        "NUM_AS_HEX" | "L1_TXN_HASH" | "CHAIN_ID" => hex(random, 62),
        "ETH_ADDRESS" => json!(format!("0x{:040x}", random.random::<u128>())),
        _ => return None,
    })
}

fn hex(random: &mut impl Rng, digits_max: usize) -> Value {
    let digits = random.random_range(0..=digits_max);
    let mut text = String::from("0x");
    for position in 0..digits {
        // The first digit is no zero, and 1 to 7 for the sake of storage keys.
        let digit = if position == 0 { random.random_range(1..8) } else { random.random_range(0..16) };
        text.push(char::from_digit(digit, 16).expect("a hex digit"));
    }
    if digits == 0 {
        text.push('0');
    }
    json!(text)
}

fn object(specification: &Specification, schema: &Value, random: &mut impl Rng, depth: usize) -> Value {
    let required: Vec<&str> =
        schema["required"].as_array().map_or(&[][..], |names| names).iter().filter_map(Value::as_str).collect();
    let mut out = Map::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if required.contains(&name.as_str()) || random.random::<bool>() {
            out.insert(name.clone(), generate(specification, property, random, depth + 1));
        }
    }
    Value::Object(out)
}

/// All parts together; a part that forbids values makes the others try again.
fn all_of(specification: &Specification, all: &[Value], random: &mut impl Rng, depth: usize) -> Value {
    let forbidden: Vec<&Value> = all
        .iter()
        .filter_map(|part| part.get("not"))
        .flat_map(|not| not["enum"].as_array().map_or(&[][..], |values| values))
        .collect();
    loop {
        let mut out = Value::Null;
        for part in all.iter().filter(|part| part.get("not").is_none()) {
            match (&mut out, generate(specification, part, random, depth + 1)) {
                (Value::Object(out), Value::Object(more)) => out.extend(more),
                (out, more) => *out = more,
            }
        }
        if !forbidden.contains(&&out) {
            return out;
        }
    }
}
