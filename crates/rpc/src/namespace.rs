//! The seam: what answers calls, and the way back to a subscriber.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use crate::message::{self, ErrorObject};

/// A set of methods that a chain offers.
///
/// The transport calls [`Namespace::call`] only with a name out of [`Namespace::methods`], and
/// [`Namespace::subscribe`] only with one out of [`Namespace::subscriptions`] and only over WebSocket; anything else it
/// answers itself. Calls run concurrently, a panic in one is answered as an internal error.
#[async_trait]
pub trait Namespace: Send + Sync + 'static {
    /// Names that [`Namespace::call`] answers.
    fn methods(&self) -> Vec<String>;

    /// Names that [`Namespace::subscribe`] answers.
    fn subscriptions(&self) -> Vec<String> {
        Vec::new()
    }

    /// The name of the method that ends a subscription. Its one parameter is the id.
    fn unsubscribe_method(&self) -> Option<String> {
        None
    }

    /// What to say when a subscription to be ended is not open on the connection.
    fn unknown_subscription(&self) -> ErrorObject {
        ErrorObject::invalid_params("no such subscription on this connection")
    }

    /// Carries out a call. `params` is an array or an object, as the client wrote it.
    async fn call(&self, method: &str, params: Option<&RawValue>) -> Result<Box<RawValue>, ErrorObject>;

    /// Opens a subscription and returns its id, which the client is told before anything that goes into `sink`.
    ///
    /// Whoever holds the sink should end when [`Sink::closed`] does; the subscription is over when the last clone of
    /// the sink is dropped.
    async fn subscribe(
        &self,
        method: &str,
        _params: Option<&RawValue>,
        _sink: Sink,
    ) -> Result<SubscriptionId, ErrorObject> {
        Err(ErrorObject::method_not_found(method))
    }

    /// The OpenRPC document that `rpc.discover` answers with, if there is one.
    fn openrpc(&self) -> Option<Box<RawValue>> {
        None
    }
}

/// Names a subscription on one connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(String);

impl SubscriptionId {
    /// An id that is a string on the wire.
    pub fn new(id: impl Into<String>) -> Self {
        SubscriptionId(id.into())
    }

    /// The id as the client sees it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn result(&self) -> Result<Box<RawValue>, ErrorObject> {
        to_raw_value(&self.0).map_err(ErrorObject::internal)
    }

    /// The id in the parameters of an unsubscribe call: the one element, or the one member whatever its name.
    /// A number is taken as the string of its digits, because some clients send it so.
    pub(crate) fn from_params(params: Option<&RawValue>) -> Result<Self, ErrorObject> {
        let wrong = || ErrorObject::invalid_params("the one parameter is the id of the subscription");
        let params = params.ok_or_else(wrong)?;
        let id = match serde_json::from_str::<BTreeMap<String, &RawValue>>(params.get()) {
            Ok(members) if members.len() == 1 => members.into_values().next(),
            Ok(_) => None,
            Err(_) => match serde_json::from_str::<Vec<&RawValue>>(params.get()) {
                Ok(elements) if elements.len() == 1 => elements.into_iter().next(),
                _ => None,
            },
        };
        let id = id.ok_or_else(wrong)?;
        match serde_json::from_str::<String>(id.get()) {
            Ok(text) => Ok(SubscriptionId(text)),
            Err(_) if id.get().bytes().all(|byte| byte.is_ascii_digit()) => Ok(SubscriptionId(id.get().to_owned())),
            Err(_) => Err(wrong()),
        }
    }
}

/// The subscriber is gone, or has ended the subscription, or reads too slowly and was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the subscriber is gone")]
pub struct Closed;

/// The way to one subscriber.
#[derive(Clone, Debug)]
pub struct Sink(Arc<Open>);

impl Sink {
    /// Sends a notification. Waits until the subscription's id has been handed to the client and until there is room;
    /// a client that makes no room within the write time-out is dropped.
    ///
    /// # Errors
    ///
    /// [`Closed`]: nobody listens any more; stop.
    pub async fn send(&self, method: &str, params: &RawValue) -> Result<(), Closed> {
        let text = message::notification(method, params);
        tokio::select! {
            biased;
            () = self.0.closed.cancelled() => return Err(Closed),
            () = self.0.announced.cancelled() => {}
        }
        let Some(peer) = self.0.peer.upgrade() else { return Err(Closed) };
        tokio::select! {
            biased;
            () = self.0.closed.cancelled() => Err(Closed),
            sent = peer.send(text) => sent,
        }
    }

    /// Ends when the subscription does, for whatever reason.
    pub async fn closed(&self) {
        self.0.closed.cancelled().await;
    }

    /// Whether the subscription has ended.
    pub fn is_closed(&self) -> bool {
        self.0.closed.is_cancelled()
    }

    pub(crate) fn open(peer: &Arc<Peer>, permit: OwnedSemaphorePermit) -> Self {
        Sink(Arc::new(Open {
            peer: Arc::downgrade(peer),
            id: OnceLock::new(),
            announced: CancellationToken::new(),
            closed: peer.closed.child_token(),
            _permit: permit,
        }))
    }

    /// Enters the subscription under the id that the namespace gave it; returns what to cancel once the client knows.
    pub(crate) fn enter(&self, id: &SubscriptionId) -> CancellationToken {
        if let Some(peer) = self.0.peer.upgrade() {
            let replaced = peer.subscriptions.lock().insert(id.clone(), self.0.closed.clone());
            if let Some(replaced) = replaced {
                replaced.cancel();
            }
        }
        let _ = self.0.id.set(id.clone());
        self.0.announced.clone()
    }
}

#[derive(Debug)]
struct Open {
    peer: Weak<Peer>,
    id: OnceLock<SubscriptionId>,
    announced: CancellationToken,
    closed: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        // An unsubscribed or replaced subscription has left the table already; its place may hold another one.
        if self.closed.is_cancelled() {
            return;
        }
        if let (Some(peer), Some(id)) = (self.peer.upgrade(), self.id.get()) {
            peer.subscriptions.lock().remove(id);
        }
    }
}

/// The far end of one WebSocket, as the dispatcher and the sinks see it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) outbound: mpsc::Sender<String>,
    pub(crate) closed: CancellationToken,
    pub(crate) subscriptions: Mutex<BTreeMap<SubscriptionId, CancellationToken>>,
    pub(crate) permits: Arc<tokio::sync::Semaphore>,
    pub(crate) write_timeout: Duration,
}

impl Peer {
    /// Queues a message for writing; drops the connection when the queue stays full.
    pub(crate) async fn send(&self, text: String) -> Result<(), Closed> {
        match self.outbound.send_timeout(text, self.write_timeout).await {
            Ok(()) => Ok(()),
            Err(_) => {
                self.closed.cancel();
                Err(Closed)
            }
        }
    }

    /// Ends a subscription; whether there was one.
    pub(crate) fn unsubscribe(&self, id: &SubscriptionId) -> bool {
        match self.subscriptions.lock().remove(id) {
            Some(open) => {
                open.cancel();
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_to_unsubscribe_is_read_from_either_form() {
        let read = |params: &str| {
            let params = RawValue::from_string(params.to_owned()).unwrap();
            SubscriptionId::from_params(Some(&params)).ok().map(|id| id.0)
        };
        let table = [
            (r#"["7"]"#, Some("7")),
            ("[7]", Some("7")),
            (r#"{"subscription_id":"a"}"#, Some("a")),
            (r#"{"subscription_id":9}"#, Some("9")),
            ("[]", None),
            (r#"["7","8"]"#, None),
            ("[[7]]", None),
            ("{}", None),
        ];
        for (params, expected) in table {
            assert_eq!(read(params).as_deref(), expected, "for {params}");
        }
    }
}
