//! Configuration: raw text with its origin, then meaning, with every fault at once.
//!
//! `settings` names the settings, `raw` gathers who said what, `resolve` says what it means, `refused` lists what Juno
//! has and we do not, `show` prints it all.

mod raw;
mod refused;
mod resolve;
mod settings;
mod show;
mod values;

pub(crate) use raw::{Fault, Raw, Sources};
pub(crate) use refused::REFUSED;
pub(crate) use resolve::{ChainSettings, Compilation, Endpoints, HostPort, Log, Starknet, Surroundings, resolve};
pub(crate) use settings::{Fallback, Kind, SETTINGS, Setting};
pub(crate) use show::show;
