//! The blobs of L1 blocks, from a beacon node.
//!
//! Methods: <https://ethereum.github.io/beacon-APIs/>, `getGenesis`, `getSpec`, `getBlobs`, and `getBlobSidecars` for
//! nodes that do not know `getBlobs`.
//!
//! **What comes is not proven to be the blob of its versioned hash**: no library for KZG commitments in pure Rust is
//! among ours. Until there is one, a beacon node is trusted with the contents of blobs. Each blob is asked for by its
//! own hash, so that a node cannot mix them up by mistake.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use alloy_eips::eip4844::{BYTES_PER_BLOB, BYTES_PER_COMMITMENT, kzg_to_versioned_hash};
use alloy_primitives::{B256, Bytes};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use url::Url;

use crate::http::{Http, cut};
use crate::source::{BadSource, Fault, SourceError};

/// Blobs asked for at the same time.
const AT_ONCE: usize = 4;

/// A beacon node, as an operator describes it.
#[derive(Clone, Debug)]
pub struct BeaconConfig {
    /// Where it is: http or https. Never shown whole.
    pub url: Url,
    /// How long one call may take. Default 10 s.
    pub deadline: Duration,
    /// Bytes of one answer. Default 64 MiB: all sidecars of a block are asked for at once from an old node.
    pub answer_bytes_max: usize,
    /// Seconds of a slot, for nodes that do not tell (anvil). Otherwise they are asked for.
    pub slot_seconds: Option<u64>,
}

impl BeaconConfig {
    /// With defaults.
    pub fn new(url: Url) -> Self {
        Self { url, deadline: Duration::from_secs(10), answer_bytes_max: 64 << 20, slot_seconds: None }
    }
}

/// A beacon node.
#[derive(Debug)]
pub struct Beacon {
    http: Http,
    slot_seconds: Option<u64>,
    slots: OnceCell<Slots>,
    /// What worked last is the old method.
    sidecars: AtomicBool,
}

/// How slots follow from time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// When slot 0 begins: seconds since the Unix epoch.
    pub genesis: u64,
    /// Seconds of a slot; not 0.
    pub seconds: u64,
}

impl Slots {
    /// The slot of this time, in seconds since the Unix epoch; `None` before genesis.
    pub fn at(&self, time: u64) -> Option<u64> {
        time.checked_sub(self.genesis)?.checked_div(self.seconds)
    }
}

impl Beacon {
    /// Connects nowhere yet.
    ///
    /// # Errors
    /// If the address is not one of HTTP, or this machine cannot speak https.
    pub fn new(config: BeaconConfig) -> Result<Self, BadSource> {
        let BeaconConfig { url, deadline, answer_bytes_max, slot_seconds } = config;
        let http = Http::new(url, deadline, answer_bytes_max)?;
        Ok(Self { http, slot_seconds, slots: OnceCell::new(), sidecars: AtomicBool::new(false) })
    }

    /// How slots follow from time. Asked for once.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn slots(&self) -> Result<Slots, SourceError> {
        self.slots.get_or_try_init(|| self.ask_slots()).await.copied()
    }

    /// The blobs of these hashes, in this order, of the L1 block of this time (seconds since the Unix epoch). `None`
    /// if the node lacks any of them: the block has no such blob, or it is too old and was dropped.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn blobs(&self, time: u64, hashes: &[B256]) -> Result<Option<Vec<Bytes>>, SourceError> {
        let slots = self.slots().await?;
        let before = || Fault::Garbled(format!("genesis is at {}, after the L1 block's time {time}", slots.genesis));
        let slot = slots.at(time).ok_or_else(|| self.http.error("genesis", before()))?;
        // What worked last is asked first: an old node is not asked in vain each time.
        let old = self.sidecars.load(Ordering::Relaxed);
        for sidecars in [old, !old] {
            let found =
                if sidecars { self.in_sidecars(slot, hashes).await? } else { self.by_hash(slot, hashes).await? };
            if found.is_some() {
                self.sidecars.store(sidecars, Ordering::Relaxed);
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn by_hash(&self, slot: u64, hashes: &[B256]) -> Result<Option<Vec<Bytes>>, SourceError> {
        let one = |hash: B256| self.blob(slot, hash);
        let all: Vec<_> = stream::iter(hashes.to_vec()).map(one).buffered(AT_ONCE).try_collect().await?;
        Ok(all.into_iter().collect())
    }

    async fn ask_slots(&self) -> Result<Slots, SourceError> {
        let genesis: Option<Genesis> = self.get("genesis", "eth/v1/beacon/genesis", None).await?;
        let missing = |what| self.http.error(what, Fault::Status(404));
        let genesis = genesis.ok_or_else(|| missing("genesis"))?.genesis_time;
        let genesis = self.number("genesis", &genesis)?;
        let seconds = match self.slot_seconds {
            Some(seconds) => seconds,
            None => {
                let spec: Option<Spec> = self.get("spec", "eth/v1/config/spec", None).await?;
                self.number("spec", &spec.ok_or_else(|| missing("spec"))?.seconds_per_slot)?
            }
        };
        if seconds == 0 {
            return Err(self.http.error("spec", Fault::Garbled("slots of 0 seconds".to_owned())));
        }
        Ok(Slots { genesis, seconds })
    }

    async fn blob(&self, slot: u64, hash: B256) -> Result<Option<Bytes>, SourceError> {
        let method = "blobs";
        let query = format!("versioned_hashes={hash}");
        let found: Option<Vec<Bytes>> = self.get(method, &format!("eth/v1/beacon/blobs/{slot}"), Some(query)).await?;
        let Some(found) = found else { return Ok(None) };
        match <[Bytes; 1]>::try_from(found) {
            Ok([blob]) => self.whole(method, blob).map(Some),
            Err(others) if others.is_empty() => Ok(None),
            Err(others) => {
                let reason = format!("one blob of slot {slot} was asked for, and {} came", others.len());
                Err(self.http.error(method, Fault::Garbled(reason)))
            }
        }
    }

    async fn in_sidecars(&self, slot: u64, hashes: &[B256]) -> Result<Option<Vec<Bytes>>, SourceError> {
        let method = "blob_sidecars";
        let path = format!("eth/v1/beacon/blob_sidecars/{slot}");
        let found: Option<Vec<Sidecar>> = self.get(method, &path, None).await?;
        let Some(found) = found else { return Ok(None) };
        let one = |hash: &B256| found.iter().find(|sidecar| sidecar.hash() == Some(*hash));
        let chosen: Option<Vec<&Sidecar>> = hashes.iter().map(one).collect();
        let Some(chosen) = chosen else { return Ok(None) };
        chosen.into_iter().map(|sidecar| self.whole(method, sidecar.blob.clone())).collect::<Result<_, _>>().map(Some)
    }

    /// One question; `None` where the node does not have it, or does not know the question.
    async fn get<T: DeserializeOwned + Send + 'static>(
        &self,
        method: &'static str,
        path: &str,
        query: Option<String>,
    ) -> Result<Option<T>, SourceError> {
        let mut url = self.http.url.clone();
        // The configured address may have a path of its own, and a key in its query.
        url.set_path(&format!("{}/{path}", self.http.url.path().trim_end_matches('/')));
        let both = [self.http.url.query().map(str::to_owned), query];
        let query = both.into_iter().flatten().collect::<Vec<_>>().join("&");
        url.set_query((!query.is_empty()).then_some(&query));
        let request = self.http.get(url).header("accept", "application/json");
        let read = |status: u16, bytes: &[u8]| match status {
            200 => serde_json::from_slice::<Data<T>>(bytes)
                .map(|answer| Some(answer.data))
                .map_err(|error| Fault::Garbled(cut(&error.to_string()))),
            // Gone is what anvil answers to sidecars.
            404 | 405 | 410 | 501 => Ok(None),
            status => Err(Fault::Status(status)),
        };
        self.http.exchange(method, request, read).await
    }

    fn number(&self, method: &'static str, text: &str) -> Result<u64, SourceError> {
        let garbled = |_| self.http.error(method, Fault::Garbled(format!("{:?} is not a number", cut(text))));
        text.parse().map_err(garbled)
    }

    fn whole(&self, method: &'static str, blob: Bytes) -> Result<Bytes, SourceError> {
        if blob.len() == BYTES_PER_BLOB {
            return Ok(blob);
        }
        let reason = format!("a blob of {} bytes, where every blob has {BYTES_PER_BLOB}", blob.len());
        Err(self.http.error(method, Fault::Garbled(reason)))
    }
}

#[derive(Debug, Deserialize)]
struct Data<T> {
    data: T,
}

#[derive(Debug, Deserialize)]
struct Genesis {
    genesis_time: String,
}

#[derive(Debug, Deserialize)]
struct Spec {
    #[serde(rename = "SECONDS_PER_SLOT")]
    seconds_per_slot: String,
}

#[derive(Debug, Deserialize)]
struct Sidecar {
    blob: Bytes,
    kzg_commitment: Bytes,
}

impl Sidecar {
    /// EIP-4844, `kzg_to_versioned_hash`.
    fn hash(&self) -> Option<B256> {
        (self.kzg_commitment.len() == BYTES_PER_COMMITMENT).then(|| kzg_to_versioned_hash(&self.kzg_commitment))
    }
}
