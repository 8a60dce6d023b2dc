//! Configuration: raw text with its origin, then meaning, with every fault at once.
//!
//! `settings` names the settings, those of `sequenza node` stand in `kona`; `raw` gathers who said what; `resolve`, `evm` and
//! `node` say what it means; `refused` lists what Juno and anvil have and we do not; `show` prints it all.

mod evm;
mod kona;
mod node;
mod raw;
mod refused;
mod resolve;
mod settings;
mod show;
mod values;

pub(crate) use evm::{Engine, Evm, EvmGenesis, Mining, StateSource, resolve_evm};
pub(crate) use node::{ConductorAt, EngineAt, L1, Node, RollupSource, SecretSource, resolve_node, resolve_node_of};
pub(crate) use raw::{Fault, Raw, Sources};
pub(crate) use resolve::{
    ChainSettings, Compilation, DAY, Endpoints, HostPort, Log, PoolLimits, Starknet, Surroundings, resolve,
};
pub(crate) use settings::{ChainKind, Fallback, Kind, Setting};
pub(crate) use show::{Resolved, show};
