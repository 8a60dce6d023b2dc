//! `cargo xtask`: the chores of this repository, each one command.
//!
//! | command | does |
//! |---|---|
//! | `test` | sets up the test clients, builds the binary, runs every test, sums up |
//! | `tidy` | checks the rules between the rooms and a few habits that no compiler checks |
//! | `ci` | formatting, clippy with warnings as errors, `tidy`, `test` |
//! | `docs` | writes the pages that come out of the program |
//! | `bench` | builds for release and hands the rest of the line to the load generator |
//!
//! It depends on none of our rooms, so that it still runs when they do not build.

mod docs;
mod steps;
mod tests;
mod tidy;

use std::process::{Command, ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::steps::{Root, run};

/// The chores of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Set up everything that the tests need and run them all
    Test(TestArgs),
    /// Check the rules between the rooms, names, links and lock files
    Tidy,
    /// Formatting, clippy with warnings as errors, tidy, test
    Ci(TestArgs),
    /// Write the pages that come out of the program
    Docs,
    /// Build for release and run the load generator; what follows is handed to it
    Bench {
        /// Arguments of the load generator; `--help` shows them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
}

/// What to test.
#[derive(Args, Clone)]
pub(crate) struct TestArgs {
    /// Also run the long tests: those whose name ends in `_slow`
    #[arg(long)]
    slow: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

fn main() -> ExitCode {
    match perform(Cli::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nfailed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(chore: Chore) -> anyhow::Result<()> {
    let root = Root::find()?;
    match chore {
        Chore::Test(args) => tests::test(&root, &args),
        Chore::Tidy => tidy::tidy(&root),
        Chore::Ci(args) => ci(&root, &args),
        Chore::Docs => docs::docs(&root),
        Chore::Bench { rest } => bench(&root, &rest),
    }
}

/// The cheap and telling steps come first, so that a slip shows within seconds.
fn ci(root: &Root, args: &TestArgs) -> anyhow::Result<()> {
    run("formatting", root.cargo(["fmt", "--all", "--check"]))?;
    tidy::tidy(root)?;
    run("clippy", root.cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    tests::test(root, args)
}

/// One build for both programs: apart they ask for other features of what they share, and most of it would be built twice.
fn bench(root: &Root, rest: &[String]) -> anyhow::Result<()> {
    run(
        "release build",
        root.cargo(["build", "--release", "--locked", "--package", "sequenza", "--package", "bench"]),
    )?;
    let mut bench = Command::new(root.artifact("release", "bench"));
    bench.args(rest).env("BENCH_BINARY", root.artifact("release", "sequenza")).current_dir(root.path());
    run("bench", bench)
}
