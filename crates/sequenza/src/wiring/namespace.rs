//! The chains' interfaces as the transport takes them, and the transport's sink as the interfaces take it.

use std::sync::Arc;

use async_trait::async_trait;
use evm::engine_api::EngineApi;
use evm::rpc::EthRpc;
use rpc::{ErrorObject, Namespace, SubscriptionId};
use serde_json::value::{RawValue, to_raw_value};
use starknet::rpc::{RpcError, SinkClosed, StarknetRpc};

/// The methods of one Starknet chain.
pub(super) struct Starknet(pub(super) StarknetRpc);

#[async_trait]
impl Namespace for Starknet {
    fn methods(&self) -> Vec<String> {
        StarknetRpc::methods().iter().chain(self.0.extra_methods()).map(|name| (*name).to_owned()).collect()
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

/// The methods of one EVM chain.
pub(super) struct Ethereum(pub(super) EthRpc);

#[async_trait]
impl Namespace for Ethereum {
    fn methods(&self) -> Vec<String> {
        EthRpc::methods().into_iter().map(str::to_owned).collect()
    }

    fn subscriptions(&self) -> Vec<String> {
        EthRpc::subscriptions().iter().map(|name| (*name).to_owned()).collect()
    }

    fn unsubscribe_method(&self) -> Option<String> {
        Some("eth_unsubscribe".to_owned())
    }

    fn unknown_subscription(&self) -> ErrorObject {
        eth_error(EthRpc::unknown_subscription())
    }

    async fn call(&self, method: &str, params: Option<&RawValue>) -> Result<Box<RawValue>, ErrorObject> {
        self.0.call(method, params).await.map_err(eth_error)
    }

    async fn subscribe(
        &self,
        method: &str,
        params: Option<&RawValue>,
        sink: rpc::Sink,
    ) -> Result<SubscriptionId, ErrorObject> {
        let id = self.0.subscribe(method, params, Arc::new(Sink(sink))).await.map_err(eth_error)?;
        Ok(SubscriptionId::new(id))
    }
}

fn eth_error(from: evm::rpc::RpcError) -> ErrorObject {
    let error = ErrorObject::new(from.code, from.message);
    match from.data {
        Some(data) => error.with_data(data),
        None => error,
    }
}

#[async_trait]
impl evm::rpc::Sink for Sink {
    async fn send(&self, method: &'static str, params: Box<RawValue>) -> Result<(), evm::rpc::SinkClosed> {
        self.0.send(method, &params).await.map_err(|rpc::Closed| evm::rpc::SinkClosed)
    }

    async fn closed(&self) {
        self.0.closed().await;
    }
}

/// The Engine API of one EVM chain.
pub(super) struct Engine(pub(super) Arc<EngineApi>);

#[async_trait]
impl Namespace for Engine {
    fn methods(&self) -> Vec<String> {
        EngineApi::methods().iter().map(|name| (*name).to_owned()).collect()
    }

    async fn call(&self, method: &str, params: Option<&RawValue>) -> Result<Box<RawValue>, ErrorObject> {
        self.0.call(method, params).await.map_err(|from| {
            let error = ErrorObject::new(from.code, from.message);
            match from.data {
                Some(data) => error.with_data(data),
                None => error,
            }
        })
    }
}

/// Two namespaces at one address. Names of the first go before those of the second, which alone has subscriptions.
pub(super) struct Both(pub(super) Arc<dyn Namespace>, pub(super) Arc<dyn Namespace>);

#[async_trait]
impl Namespace for Both {
    fn methods(&self) -> Vec<String> {
        [self.0.methods(), self.1.methods()].concat()
    }

    fn subscriptions(&self) -> Vec<String> {
        self.1.subscriptions()
    }

    fn unsubscribe_method(&self) -> Option<String> {
        self.1.unsubscribe_method()
    }

    fn unknown_subscription(&self) -> ErrorObject {
        self.1.unknown_subscription()
    }

    async fn call(&self, method: &str, params: Option<&RawValue>) -> Result<Box<RawValue>, ErrorObject> {
        let first = self.0.methods().iter().any(|name| name == method);
        if first { self.0.call(method, params).await } else { self.1.call(method, params).await }
    }

    async fn subscribe(
        &self,
        method: &str,
        params: Option<&RawValue>,
        sink: rpc::Sink,
    ) -> Result<SubscriptionId, ErrorObject> {
        self.1.subscribe(method, params, sink).await
    }
}
