//! Health that tells the truth, and an end when one is asked for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tests::{Chain, Launch, skipped};

async fn ready(chain: &Chain) -> (u16, Value) {
    let (status, body) = chain.fetch("/readyz").await.expect("health answers");
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{body}: {error}")))
}

/// Guards against health that is a constant: it must name what it looked at.
#[tokio::test]
async fn a_chain_that_makes_blocks_is_live_and_ready() {
    let chain = Launch::new().start().await;
    let (status, body) = ready(&chain).await;
    assert_eq!((status, &body["ok"]), (200, &Value::Bool(true)), "{body}");
    let checks = body["checks"].as_array().unwrap();
    assert!(!checks.is_empty());
    assert!(checks.iter().all(|check| check["reason"].as_str().is_some_and(|reason| !reason.is_empty())), "{body}");
    for path in ["/livez", "/live", "/ready", "/ready/sync", "/health"] {
        assert_eq!(chain.fetch(path).await.map(|(status, _)| status), Some(200), "{path}");
    }
}

/// Guards against metrics that stand still while blocks come.
#[tokio::test]
async fn metrics_move_with_the_chain() {
    let chain = Launch::new().start().await;
    let heights = async || {
        let (status, text) = chain.fetch("/metrics").await.unwrap();
        assert_eq!(status, 200);
        assert!(text.ends_with("# EOF\n"), "metrics are OpenMetrics text: {text}");
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        text.lines().filter(|line| line.starts_with("sequenza_")).filter_map(value).sum::<f64>()
    };
    let before = heights().await;
    chain.blocks(3).await;
    assert!(heights().await > before);
}

/// Guards against the outage that nobody notices: the API is up, and no block comes. A frozen file system stops the
/// log, so nothing can be sealed; when it thaws, blocks come again.
#[tokio::test]
async fn a_chain_that_makes_no_blocks_is_not_ready_and_says_why() {
    let launch = Launch::new();
    let Some(disk) = FreezableDisk::mount(launch.folder()) else {
        return skipped("a_chain_that_makes_no_blocks_is_not_ready_and_says_why", "mounting a loop device needs root");
    };
    let chain = launch.flag("--db-path", disk.path.join("data")).start().await;
    chain.blocks(1).await;
    let frozen_disk = disk.freeze();
    let frozen = Instant::now();
    let stalled = loop {
        let (status, body) = ready(&chain).await;
        if status == 503 {
            break body;
        }
        assert!(frozen.elapsed() < Duration::from_secs(10), "ready for 10 s with a frozen disk: {body}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let bad = stalled["checks"].as_array().unwrap().iter().find(|check| check["ok"] == false).unwrap();
    assert!(bad["reason"].as_str().unwrap().contains("block"), "it says what is missing: {bad}");
    drop(frozen_disk);
    chain.ready().await;
    chain.blocks(1).await;
    drop(chain);
}

/// Guards against a stop that waits for idle clients, and against an exit code that alarms a service manager.
#[tokio::test]
async fn sigterm_and_sigint_end_it_in_time() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut chain = Launch::new().start().await;
        let idle = TcpStream::connect(("127.0.0.1", chain.launch().port())).unwrap();
        chain.signal(signal);
        let status = chain.ended(Duration::from_secs(10)).await;
        assert_eq!(status.code(), Some(0), "{signal:?}: {}", chain.log());
        drop(idle);
    }
}

/// Guards against a stop that cannot be hurried.
#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut chain = Launch::new().start().await;
    // A request whose body never comes keeps a gentle stop waiting.
    let mut request = TcpStream::connect(("127.0.0.1", chain.launch().port())).unwrap();
    let head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    request.write_all(head.as_bytes()).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    chain.signal(Signal::TERM);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(chain.is_running(), "it waits for the request: {}", chain.log());
    chain.signal(Signal::TERM);
    let status = chain.ended(Duration::from_secs(2)).await;
    assert_eq!(status.code(), Some(130), "{}", chain.log());
    let _ = request.read(&mut [0; 16]);
}

/// An ext4 in a file, whose writes can be held up.
struct FreezableDisk {
    path: PathBuf,
}

impl FreezableDisk {
    fn mount(folder: &Path) -> Option<FreezableDisk> {
        let (image, path) = (folder.join("disk.img"), folder.join("disk"));
        std::fs::create_dir(&path).unwrap();
        std::fs::File::create(&image).unwrap().set_len(256 << 20).unwrap();
        let done = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        let mounted = done(Command::new("mkfs.ext4").arg("-q").arg(&image))
            && done(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&path));
        mounted.then_some(FreezableDisk { path })
    }

    /// Holds up every write until what is returned is dropped. That must happen before the chain is: a process that waits
    /// for the disk cannot even be killed.
    fn freeze(&self) -> Frozen<'_> {
        let status = Command::new("fsfreeze").arg("--freeze").arg(&self.path).status().unwrap();
        assert!(status.success(), "fsfreeze: {status}");
        Frozen(self)
    }
}

struct Frozen<'a>(&'a FreezableDisk);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(&self.0.path).output();
    }
}

impl Drop for FreezableDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).output();
    }
}
