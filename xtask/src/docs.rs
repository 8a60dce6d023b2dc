//! `cargo xtask docs`: pages that come out of the program, so that they cannot tell something else.
//!
//! A test in `tests/end_to_end/command_line.rs` compares the pages with the program.

use std::process::Command;

use anyhow::{Context, bail};

use crate::steps::{Root, run};

/// Where the page of flags is, from the root folder.
const FLAGS: &str = "docs/starknet/flags.md";

/// What stands above the help in that page, up to and with the line that opens the block of text.
const FLAGS_HEAD: &str = include_str!("docs/flags_head.txt");

/// Builds the program and writes the pages.
pub(crate) fn docs(root: &Root) -> anyhow::Result<()> {
    run("build", root.cargo(["build", "--locked", "--package", "sequenza"]))?;
    let help = Command::new(root.artifact("debug", "sequenza")).args(["starknet", "--help"]).output()?;
    if !help.status.success() {
        bail!("sequenza starknet --help: {}", help.status);
    }
    let help = String::from_utf8(help.stdout).context("the help is not text")?;
    let page = format!("{FLAGS_HEAD}{}\n```\n", help.trim_end());
    std::fs::write(root.path().join(FLAGS), page).with_context(|| format!("cannot write {FLAGS}"))
}
