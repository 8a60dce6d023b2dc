//! Sequenza sequences rollups: the command line, configuration and wiring.
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
mod why;
mod wiring;

use std::process::ExitCode;

/// Freed memory goes back to the system, and threads that allocate at once do not wait for each other. The system's
/// allocator was turned down because a node that has seen one large declare keeps its peak for good.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
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
