//! `cargo xtask docs`: pages that come out of the program, so that they cannot tell something else.
//!
//! A test in `tests/end_to_end/command_line.rs` compares the pages with the program.

use std::process::Command;

use anyhow::{Context, bail};

use crate::steps::{Root, run};

/// For each chain where its page of flags is, from the root folder, and what stands above the help in it, up to and with the line that opens
/// the block of text.
const FLAGS: [(&str, &str, &str); 3] = [
    ("starknet", "docs/starknet/flags.md", include_str!("docs/flags_head.txt")),
    ("evm", "docs/evm/flags.md", include_str!("docs/flags_head_evm.txt")),
    ("node", "docs/operators/node-flags.md", include_str!("docs/flags_head_node.txt")),
];

/// Builds the program and writes the pages.
pub(crate) fn docs(root: &Root) -> anyhow::Result<()> {
    run("build", root.cargo(["build", "--locked", "--package", "sequenza"]))?;
    for (chain, page, head) in FLAGS {
        let help = Command::new(root.artifact("debug", "sequenza")).args([chain, "--help"]).output()?;
        if !help.status.success() {
            bail!("sequenza {chain} --help: {}", help.status);
        }
        let help = String::from_utf8(help.stdout).context("the help is not text")?;
        let text = format!("{head}{}\n```\n", help.trim_end());
        std::fs::write(root.path().join(page), text).with_context(|| format!("cannot write {page}"))?;
    }
    Ok(())
}
