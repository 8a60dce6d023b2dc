//! Sequenza sequences rollups: the command line, configuration and wiring, and [`RollupNode`] for programs that have a node inside.
//!
//! The only crate that knows everyone. It reads settings (`config`), opens what they ask for (`wiring`), says where
//! things are (`banner`) and turns every end into a code and a text (`exit`). No decision of sequencing is made here.

mod banner;
mod cli;
mod commands;
mod config;
mod exit;
mod keys;
mod logs;
mod rollup_node;
mod why;
mod wiring;

use std::process::ExitCode;

pub use rollup_node::{
    BuildError, NodeMode, RollupNode, RollupNodeBuilder, RollupNodeError, RunningRollupNode, SequencerConfig, seams,
};

/// The program: reads the command line, does what it asks for, and says how it went.
#[must_use]
pub fn main() -> ExitCode {
    let asked = match cli::read(std::env::args_os()) {
        Ok(asked) => asked,
        // Help and version come this way too; clap knows the stream and the code of each.
        Err(said) => said.exit(),
    };
    match commands::run(asked) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
