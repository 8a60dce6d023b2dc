//! Published blocks and headers of Ethereum, good ones and spoiled ones: op-service/sources/testdata.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use alloy_rpc_types_eth::{Block as RpcBlock, Header as RpcHeader};
use flate2::read::GzDecoder;
use l1::{At, Lie, block, header};
use serde_json::Value;

/// Name, contents, is it to be refused?
type Sample = (String, Value, bool);

/// The text of a published file; `None`, and said so, where the vectors are absent.
pub(crate) fn vector(file: &str) -> Option<String> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors");
    let folder = std::env::var_os("SEQUENZA_VECTORS").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let path = folder.join("opstack/l1").join(file);
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("skipped: {} is not there (SEQUENZA_VECTORS names another place)", path.display());
        return None;
    };
    if !file.ends_with(".gz") {
        return Some(String::from_utf8(bytes).unwrap());
    }
    let mut text = String::new();
    GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    Some(text)
}

fn samples(file: &str) -> Option<Vec<Sample>> {
    let text = vector(file)?;
    let all: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    let sample = |(name, entry): (String, Value)| {
        let refused = entry["metadata"]["fail"] == Value::Bool(true);
        (name, entry["data"].clone(), refused)
    };
    Some(all.into_iter().map(sample).collect())
}

#[test]
fn headers() {
    let Some(samples) = samples("el_headers.json.gz") else { return };
    assert_eq!(samples.len(), 7);
    for (name, data, refused) in samples {
        let answer: RpcHeader = serde_json::from_value(data).unwrap();
        let at = At::Hash(answer.hash);
        let verdict = header(at, answer.clone(), false);
        assert_eq!(verdict.is_err(), refused, "{name}: {verdict:?}");
        // An endpoint that is trusted is believed the hash, and nothing else.
        assert!(header(at, answer.clone(), true).is_ok());
        let other = At::Number(answer.number + 1);
        assert!(matches!(header(other, answer, true), Err(Lie::OtherBlock { .. })));
    }
}

#[test]
fn blocks() {
    let Some(samples) = samples("el_blocks.json.gz") else { return };
    assert_eq!(samples.len(), 12);
    for (name, data, refused) in samples {
        let hash = data["hash"].as_str().unwrap().parse().unwrap();
        // A null among the transactions or withdrawals cannot even be read.
        let answer = serde_json::from_value::<RpcBlock>(data);
        let verdict = answer.map_err(|error| error.to_string());
        let verdict = verdict.and_then(|answer| block(At::Hash(hash), answer, false).map_err(|lie| lie.to_string()));
        assert_eq!(verdict.is_err(), refused, "{name}: {:?}", verdict.err());
    }
}

/// What no root vouches for is not taken over: a false hash or sender of a transaction changes nothing.
#[test]
fn hashes_of_transactions_are_not_believed() {
    let Some(samples) = samples("el_blocks.json.gz") else { return };
    let (_, data, _) = samples.into_iter().find(|(name, ..)| name == "post-shanghai-success").unwrap();
    let hash = data["hash"].as_str().unwrap().parse().unwrap();
    let read = |data: Value| block(At::Hash(hash), serde_json::from_value(data).unwrap(), false).unwrap();
    let honest = read(data.clone());
    let mut forged = data.clone();
    let zero = Value::from(format!("{:#066x}", 0));
    forged["transactions"][0]["hash"] = zero;
    forged["transactions"][0]["from"] = Value::from(format!("{:#042x}", 0));
    assert_eq!(read(forged).transactions[0].tx_hash(), honest.transactions[0].tx_hash());
    let told = data["transactions"][0]["hash"].as_str().unwrap();
    assert_eq!(honest.transactions[0].tx_hash().to_string(), told);
}
