//! A beacon node that answers with published data (Goerli, slot 7422094), by the new method and the old one; and
//! anvil's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use alloy_eips::eip4844::kzg_to_versioned_hash;
use alloy_primitives::{B256, Bytes};
use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use l1::{Beacon, BeaconConfig, Fault, Slots};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use crate::vectors::vector;

const SLOT: u64 = 7_422_094;

/// The published answers, and which methods the node knows.
struct Node {
    genesis: String,
    spec: String,
    sidecars: Value,
    knows_blobs: bool,
    calls: AtomicUsize,
}

impl Node {
    fn published(knows_blobs: bool) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            genesis: vector("eth_v1_beacon_genesis_goerli.json")?,
            spec: vector("eth_v1_config_spec_goerli.json")?,
            sidecars: serde_json::from_str(&vector("eth_v1_beacon_blob_sidecars_7422094_goerli.json.gz")?).unwrap(),
            knows_blobs,
            calls: AtomicUsize::new(0),
        }))
    }

    fn hashes(&self) -> Vec<B256> {
        let list = self.sidecars["data"].as_array().unwrap();
        let commitment = |entry: &Value| serde_json::from_value::<Bytes>(entry["kzg_commitment"].clone()).unwrap();
        list.iter().map(|entry| kzg_to_versioned_hash(&commitment(entry))).collect()
    }

    fn blob(&self, index: usize) -> Bytes {
        serde_json::from_value(self.sidecars["data"][index]["blob"].clone()).unwrap()
    }

    fn answer(&self, uri: &Uri) -> Option<String> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match uri.path() {
            "/under/eth/v1/beacon/genesis" => Some(self.genesis.clone()),
            "/under/eth/v1/config/spec" => Some(self.spec.clone()),
            "/under/eth/v1/beacon/blob_sidecars/7422094" if !self.knows_blobs => Some(self.sidecars.to_string()),
            "/under/eth/v1/beacon/blobs/7422094" if self.knows_blobs => {
                let query = uri.query().unwrap();
                let wanted = query.strip_prefix("key=secret&versioned_hashes=").unwrap();
                let index = self.hashes().iter().position(|hash| hash.to_string() == wanted);
                let found: Vec<Bytes> = index.map(|index| self.blob(index)).into_iter().collect();
                Some(json!({ "execution_optimistic": false, "finalized": true, "data": found }).to_string())
            }
            _ => None,
        }
    }

    async fn serve(self: Arc<Self>) -> BeaconConfig {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = move |uri: Uri| {
            let answer = self.answer(&uri);
            async move { answer.map_or_else(|| StatusCode::NOT_FOUND.into_response(), IntoResponse::into_response) }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        BeaconConfig::new(Url::parse(&format!("http://{address}/under/?key=secret")).unwrap())
    }
}

#[tokio::test]
async fn blobs_by_their_hashes_from_new_nodes_and_old_ones() {
    for knows_blobs in [true, false] {
        let Some(node) = Node::published(knows_blobs) else { return };
        let beacon = Beacon::new(Arc::clone(&node).serve().await).unwrap();
        let slots = beacon.slots().await.unwrap();
        assert_eq!(slots.seconds, 12);
        let time = slots.genesis + SLOT * 12;
        let hashes = node.hashes();
        // In the order asked for, which is not that of the block.
        let wanted = [hashes[3], hashes[0]];
        for _ in 0..2 {
            let blobs = beacon.blobs(time, &wanted).await.unwrap().unwrap();
            assert_eq!(blobs, [node.blob(3), node.blob(0)]);
        }
        // Genesis and slot length are asked for once; an old node is not asked by the new method again.
        let calls = node.calls.load(Ordering::SeqCst);
        let of_blobs = if knows_blobs { [2, 2] } else { [2 + 1, 1] };
        assert_eq!(calls, 2 + of_blobs.iter().sum::<usize>());
        assert_eq!(beacon.blobs(time, &[hashes[1], B256::ZERO]).await.unwrap(), None);
        assert_eq!(beacon.blobs(time + 12, &hashes[..1]).await.unwrap(), None);
        assert_eq!(beacon.blobs(time, &[]).await.unwrap(), Some(vec![]));
        let early = beacon.blobs(slots.genesis - 1, &hashes[..1]).await.unwrap_err();
        assert!(matches!(early.fault, Fault::Garbled(_)), "{early}");
    }
}

#[tokio::test]
async fn answers_that_are_no_blobs_are_refused() {
    let Some(mut node) = Node::published(false) else { return };
    let hashes = node.hashes();
    Arc::get_mut(&mut node).unwrap().sidecars["data"][0]["blob"] = json!("0x1234");
    let beacon = Beacon::new(BeaconConfig { slot_seconds: Some(1), ..node.serve().await }).unwrap();
    let slots = beacon.slots().await.unwrap();
    assert_eq!(slots.seconds, 1);
    let error = beacon.blobs(slots.genesis + SLOT, &hashes[..1]).await.unwrap_err();
    assert!(matches!(error.fault, Fault::Garbled(_)), "{error}");
    let zero = Slots { genesis: 5, seconds: 12 };
    assert_eq!((zero.at(4), zero.at(5), zero.at(16), zero.at(17)), (None, Some(0), Some(0), Some(1)));
}
