//! The Starknet interface as the transport takes it, and the transport's sink as the interface takes it.

use std::sync::Arc;

use async_trait::async_trait;
use rpc::{ErrorObject, Namespace, SubscriptionId};
use serde_json::value::{RawValue, to_raw_value};
use starknet::rpc::{RpcError, SinkClosed, StarknetRpc};

/// The methods of one Starknet chain.
pub(super) struct Starknet(pub(super) StarknetRpc);

#[async_trait]
impl Namespace for Starknet {
    fn methods(&self) -> Vec<String> {
        StarknetRpc::methods().iter().map(|name| (*name).to_owned()).collect()
    }

    fn subscriptions(&self) -> Vec<String> {
        StarknetRpc::subscriptions().iter().map(|name| (*name).to_owned()).collect()
    }

    fn unsubscribe_method(&self) -> Option<String> {
        Some("starknet_unsubscribe".to_owned())
    }

    fn unknown_subscription(&self) -> ErrorObject {
        error(StarknetRpc::unknown_subscription())
    }

    async fn call(&self, method: &str, params: Option<&RawValue>) -> Result<Box<RawValue>, ErrorObject> {
        self.0.call(method, params).await.map_err(error)
    }

    async fn subscribe(
        &self,
        method: &str,
        params: Option<&RawValue>,
        sink: rpc::Sink,
    ) -> Result<SubscriptionId, ErrorObject> {
        let id = self.0.subscribe(method, params, Arc::new(Sink(sink))).await.map_err(error)?;
        Ok(SubscriptionId::new(id))
    }

    fn openrpc(&self) -> Option<Box<RawValue>> {
        to_raw_value(StarknetRpc::openrpc()).ok()
    }
}

fn error(from: RpcError) -> ErrorObject {
    let error = ErrorObject::new(from.code, from.message);
    match from.data {
        Some(data) => error.with_data(data),
        None => error,
    }
}

struct Sink(rpc::Sink);

#[async_trait]
impl starknet::rpc::Sink for Sink {
    async fn send(&self, method: &'static str, params: Box<RawValue>) -> Result<(), SinkClosed> {
        self.0.send(method, &params).await.map_err(|rpc::Closed| SinkClosed)
    }

    async fn closed(&self) {
        self.0.closed().await;
    }
}
