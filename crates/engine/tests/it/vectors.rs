//! Published payloads and gossip messages.

use std::path::PathBuf;

use alloy_primitives::{Bytes, keccak256};
use engine::{decode_body, encode_body};
use op_alloy_rpc_types_engine::OpNetworkPayloadEnvelope;
use serde_json::Value;

/// A file of test data; `None`, and said so, where it is absent.
fn vectors(name: &str) -> Option<Value> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors");
    let root = std::env::var_os("SEQUENZA_VECTORS").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let path = root.join("opstack/engine").join(name);
    if !path.is_file() {
        eprintln!("skipped: {} is not there (SEQUENZA_VECTORS names another place)", path.display());
        return None;
    }
    Some(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
}

fn bytes(value: &Value) -> Bytes {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn a_body_is_what_gossip_carries_after_its_first_byte() {
    let Some(known) = vectors("ssz_envelope.json") else { return };
    for case in known["vectors"].as_array().unwrap() {
        // Its name says version 3, its fixed part has the withdrawals root of version 4.
        let body = [&[4], &bytes(&case["input"])[..]].concat();
        let envelope = decode_body(&body).unwrap();
        let inner = envelope.execution_payload.as_v1();
        let expected = &case["expected"];
        assert_eq!(
            serde_json::to_value(envelope.parent_beacon_block_root).unwrap(),
            expected["parent_beacon_block_root"]
        );
        assert_eq!(serde_json::to_value(inner.parent_hash).unwrap(), expected["parent_hash"]);
        assert_eq!(encode_body(&envelope), body);
    }
}

#[test]
fn what_gossip_signs_is_a_body() {
    let Some(known) = vectors("gossip_envelopes.json") else { return };
    for case in known["vectors"].as_array().unwrap() {
        let message = bytes(&case["message"]);
        let version = case["version"].as_u64().unwrap();
        let decode = match version {
            1 => OpNetworkPayloadEnvelope::decode_v1,
            2 => OpNetworkPayloadEnvelope::decode_v2,
            3 => OpNetworkPayloadEnvelope::decode_v3,
            _ => OpNetworkPayloadEnvelope::decode_v4,
        };
        let heard = decode(&message).unwrap();
        let envelope = op_alloy_rpc_types_engine::OpExecutionPayloadEnvelope {
            parent_beacon_block_root: heard.parent_beacon_block_root,
            execution_payload: heard.payload,
        };
        let body = encode_body(&envelope);
        assert_eq!(u64::from(body[0]), version, "{}", case["name"]);
        assert_eq!(keccak256(&body[1..]), heard.payload_hash.0, "{}", case["name"]);
        assert_eq!(decode_body(&body).unwrap(), envelope, "{}", case["name"]);
    }
}
