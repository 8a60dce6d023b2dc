//! The JSON-RPC interface of a real chain, judged by the specification's own documents.

mod admission;
mod client;
mod errors;
mod events;
mod instances;
mod methods;
mod proofs;
mod random;
mod specification;
mod subscriptions;
mod world;
