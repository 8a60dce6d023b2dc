//! Data folders in trouble: each fault has its own exit code and a text that says what to do, and damages nothing.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tests::{Launch, RpcError, hex, skipped};

/// Guards against two processes that write one log.
#[tokio::test]
async fn a_second_process_is_turned_away() {
    let chain = Launch::new().start().await;
    let folder = chain.launch().data().display().to_string();
    let second = chain.launch().clone().flag("--http-port", "0").run();
    second.says(75, &[&folder, "in use by process", "--db-path"]);
    chain.blocks(1).await;
}

/// Guards against a bare "No such file or directory".
#[test]
fn a_folder_that_cannot_be_is_named() {
    let launch = Launch::new();
    let file = launch.folder().join("file");
    fs::write(&file, "not a folder").unwrap();
    launch.clone().flag("--db-path", file.join("data")).run().says(73, &["file/data", "--db-path"]);
    launch.clone().flag("--db-path", &file).run().says(73, &["is not a folder"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "not a folder");
}

/// Guards against a data folder that cannot be written and a chain that finds out later.
#[test]
fn an_unwritable_folder_is_named() {
    let launch = Launch::new();
    let folder = launch.folder().join("read-only");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(folder.join("probe"), "").is_ok() {
        return skipped("an_unwritable_folder_is_named", "this user may write everywhere");
    }
    launch.clone().flag("--db-path", &folder).run().says(73, &["read-only", "write access"]);
}

/// Guards against taking over somebody's home folder.
#[test]
fn a_folder_of_something_else_is_left_alone() {
    let launch = Launch::new();
    fs::create_dir(launch.data()).unwrap();
    fs::write(launch.data().join("thesis.txt"), "chapter one").unwrap();
    launch.run().says(78, &["thesis.txt", "not a Sequenza data folder"]);
    assert_eq!(fs::read_dir(launch.data()).unwrap().count(), 1);
}

/// Guards against one chain's blocks under another chain's id.
#[tokio::test]
async fn the_folder_of_another_chain_is_refused() {
    let mut chain = Launch::new().start().await;
    assert!(chain.stop().await.success());
    chain.launch().clone().flag("--chain-id", "SN_OTHER").run().says(78, &["belongs to", "SN_OTHER"]);
    chain.start_again().await;
}

/// Guards against an old program that misreads what a new one wrote.
#[tokio::test]
async fn a_newer_schema_is_refused() {
    let mut chain = Launch::new().start().await;
    assert!(chain.stop().await.success());
    let schema = chain.launch().data().join("schema");
    let (ours, newer) = with_version(&schema, 999);
    fs::write(&schema, newer).unwrap();
    chain.launch().run().says(78, &["schema version 999", "newer"]);
    fs::write(&schema, ours).unwrap();
    chain.start_again().await;
}

/// The schema file as it is, and the same with another version: `sequenza-data <version>`, whose it is, CRC-32C of both.
fn with_version(schema: &Path, version: u32) -> (String, String) {
    let ours = fs::read_to_string(schema).unwrap();
    let identity = ours.lines().nth(1).expect("the second line says whose data it is");
    let body = format!("sequenza-data {version}\n{identity}\n");
    let newer = format!("{body}{:08x}\n", crc32c::crc32c(body.as_bytes()));
    (ours, newer)
}

/// Guards against blocks built on a log in which a bit has turned.
#[tokio::test]
async fn a_damaged_log_is_noticed_and_left_as_it_is() {
    let mut chain = Launch::new().start().await;
    chain.blocks(3).await;
    assert!(chain.stop().await.success());
    let log = largest_file(&chain.launch().data().join("chain/blocks"));
    let mut bytes = fs::read(&log).unwrap();
    // Within the first record: genesis is long, and blocks follow it, so this is no torn end of the log.
    let middle = 4_096;
    bytes[middle] ^= 0x10;
    fs::write(&log, &bytes).unwrap();
    chain.launch().clone().subcommand("verify").run().says(65, &["damaged"]);
    chain.launch().run().says(65, &["damaged"]);
    assert_eq!(fs::read(&log).unwrap(), bytes, "a damaged log must not be written to");
}

fn largest_file(folder: &Path) -> PathBuf {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((fs::metadata(&path).unwrap().len(), path));
            }
        }
    }
    files.into_iter().max().expect("a file").1
}

/// Guards against a chain that goes on, or loses what it acknowledged, when the disk is full.
#[tokio::test]
async fn a_full_disk_ends_the_chain_and_loses_nothing() {
    let launch = Launch::new();
    let Some(disk) = Disk::mount(&launch.folder().join("disk"), 256) else {
        return skipped("a_full_disk_ends_the_chain_and_loses_nothing", "mounting a small tmpfs needs root");
    };
    let mut chain = launch.flag("--db-path", disk.path.join("data")).start().await;
    let account = chain.accounts().remove(0);
    let chain_id = chain.rpc("starknet_chainId", json!([])).await.unwrap();
    let chain_id = tests::Felt::from_hex(chain_id.as_str().unwrap()).unwrap();
    let ballast = disk.fill();

    let mut acknowledged = Vec::new();
    for nonce in 0..10_000 {
        let transfer = account.transfer(chain_id, nonce, account.address, 1);
        match chain.rpc("starknet_addInvokeTransaction", json!([transfer.transaction])).await {
            Ok(_) => acknowledged.push(hex(&transfer.hash)),
            Err(RpcError::Lost(_)) => break,
            Err(error) => assert_eq!(error.code(), Some(63), "{error:?}"),
        }
    }
    let status = chain.ended(Duration::from_secs(30)).await;
    assert_eq!(status.code(), Some(74), "{}", chain.log());
    assert!(chain.stderr().contains("No space left") || chain.stderr().contains("no space left"), "{}", chain.log());

    fs::remove_file(ballast).unwrap();
    chain.start_again().await;
    chain.blocks(2).await;
    for hash in acknowledged {
        let status = chain.rpc("starknet_getTransactionStatus", json!([hash])).await;
        assert!(status.is_ok(), "{hash} was acknowledged and is gone: {status:?}\n{}", chain.log());
    }
    drop(chain);
}

/// A small disk in memory, gone when dropped.
pub(crate) struct Disk {
    path: PathBuf,
}

impl Disk {
    fn mount(path: &Path, megabytes: u32) -> Option<Disk> {
        fs::create_dir(path).unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).output().ok()?;
        mounted.status.success().then(|| Disk { path: path.to_owned() })
    }

    /// Takes all the room that is left, to the last page.
    fn fill(&self) -> PathBuf {
        let ballast = self.path.join("ballast");
        let mut file = fs::File::create(&ballast).unwrap();
        for piece in [1 << 20, 4_096] {
            while file.write_all(&vec![0; piece]).is_ok() {}
        }
        ballast
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).output();
    }
}
