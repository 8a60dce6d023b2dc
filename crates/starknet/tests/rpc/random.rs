//! Whatever the specification's request schemas allow, the node reads: it may know no such block or contract, but it
//! does not call the parameters invalid.

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Map, Value, value::RawValue};

use crate::instances::instance;
use crate::world::{SPECIFICATION, World};

/// Instances per method; the schemas are small.
const ROUNDS: u64 = 60;

/// What the schemas allow and the node refuses, with the reason.
fn refused_for_good_reason(method: &str, why: &str) -> bool {
    match method {
        // The schemas still have transactions of old versions in places; only version 3 exists since 0.14.0.
        "starknet_estimateFee" | "starknet_simulateTransactions" => why.contains("version"),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_request_schemas_allow_is_read() {
    let world = World::new();
    for method in SPECIFICATION.methods() {
        if method == "starknet_unsubscribe" {
            continue;
        }
        let mut random = StdRng::seed_from_u64(7);
        for round in 0..ROUNDS {
            let mut params = Map::new();
            for (name, required, schema) in SPECIFICATION.params(method) {
                if required || rand::Rng::random::<bool>(&mut random) {
                    params.insert(name.to_owned(), instance(&SPECIFICATION, schema, &mut random));
                }
            }
            let params = Value::Object(params);
            let raw = RawValue::from_string(params.to_string()).expect("JSON");
            let answer = if method.starts_with("starknet_subscribe") {
                let sink = crate::world::deaf();
                world.rpc.subscribe(method, Some(&raw), sink).await.map(drop)
            } else {
                world.rpc.call(method, Some(&raw)).await.map(drop)
            };
            let Err(error) = answer else { continue };
            let why = error.data.as_ref().map(Value::to_string).unwrap_or_default();
            assert!(error.code != -32603, "{method}, round {round}: {error}\n{params}");
            if error.code == -32602 {
                assert!(refused_for_good_reason(method, &why), "{method}, round {round}: {error}\n{params}");
            } else {
                SPECIFICATION.check_error(method, error.code, &error.message, error.data.as_ref());
            }
        }
    }
}
