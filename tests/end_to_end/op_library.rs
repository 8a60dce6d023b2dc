//! The node as a library: the example program is a user of it.

use std::process::{Command, Stdio};

use crate::op_node::Rollup;

/// Guards against a library that only compiles: seams that are not called, blocks that are not told, a node that does not stop.
#[tokio::test]
async fn the_example_has_blocks_built_tells_of_them_and_stops() {
    let Some(rollup) = Rollup::begin("op_library").await else { return };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut example = Command::new(cargo);
    // Alone, for the reason that the program is built alone.
    example.args(["run", "--quiet", "--package", "sequenza", "--example", "rollup_node", "--"]);
    example.args([rollup.config.as_os_str(), rollup.genesis.as_os_str(), rollup.l1.http().as_ref()]);
    example.arg("4").current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    let ended = tokio::task::spawn_blocking(move || example.output()).await.unwrap().expect("cargo starts");
    let (said, log) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{said}\n{log}");
    for part in ["node at http://127.0.0.1:", "to build on block 0: 1 forced transactions", "stopped at block "] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(said.lines().filter(|line| line.starts_with("block ")).count(), 4, "{said}");
}
