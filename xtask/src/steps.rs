//! Where the repository is, and running one command after the other with its name and time.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;

/// The repository's root folder and the folder that cargo builds into.
pub(crate) struct Root {
    path: PathBuf,
    target: PathBuf,
}

/// The part of `cargo metadata --no-deps` that says where things are.
#[derive(Deserialize)]
struct Places {
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

impl Root {
    /// Asks cargo, which knows `CARGO_TARGET_DIR` and every configuration file.
    pub(crate) fn find() -> anyhow::Result<Root> {
        let output = cargo()
            .args(["metadata", "--format-version", "1", "--no-deps"])
            // Where cargo runs us, which need not be where we were built: a target folder may serve several clones.
            .current_dir(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| ".".into()))
            .output()
            .context("cannot start cargo")?;
        if !output.status.success() {
            bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        }
        let places: Places = serde_json::from_slice(&output.stdout).context("cargo metadata printed something else")?;
        Ok(Root { path: places.workspace_root, target: places.target_directory })
    }

    /// The folder that holds the root `Cargo.toml`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a program of profile `profile` (`debug` or `release`) is built to.
    pub(crate) fn artifact(&self, profile: &str, program: &str) -> PathBuf {
        self.target.join(profile).join(program)
    }

    /// A cargo command that runs in the root folder.
    pub(crate) fn cargo<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = cargo();
        command.args(args).current_dir(&self.path);
        command
    }
}

/// The cargo that runs us, so that a chosen toolchain stays chosen.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Says that a step begins.
pub(crate) fn announce(step: &str) {
    eprintln!("\n==> {step}");
}

/// Runs one step with its output on the terminal; an error names the step and the exit status.
pub(crate) fn run(step: &str, mut command: Command) -> anyhow::Result<()> {
    announce(step);
    let started = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("{step}: cannot start {}", command.get_program().to_string_lossy()))?;
    if !status.success() {
        bail!("{step}: {status}");
    }
    eprintln!("    {step}: {}", spoken(started.elapsed()));
    Ok(())
}

/// A duration as people say it: `48 s`, `3 min 05 s`.
pub(crate) fn spoken(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}
