//! `sequenza why` and what is behind it: health that names the cause and the remedy, and metrics that the documentation knows.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Chain, Ended, Launch};

use super::op_node::Rollup;

/// How long something that has to happen may take, on a machine with other work.
const WAIT_MAX: Duration = Duration::from_secs(90);
const METRICS: &str = include_str!("../../docs/operators/metrics.md");

/// What is said of whoever answers there.
fn why(url: &str) -> Ended {
    Launch::bare().subcommand("why").flag("--url", url).run()
}

/// The same for programs; null if nobody answers.
fn why_json(url: &str) -> (Option<i32>, Value) {
    let ended = Launch::bare().subcommand("why").flag("--url", url).switch("--json").run();
    if ended.status.code() == Some(4) {
        return (Some(4), Value::Null);
    }
    let said = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:#?}"));
    (ended.status.code(), said)
}

/// Waits until the cause is this one; what else is said then.
async fn until_cause(chain: &Chain, cause: &str) -> Value {
    let began = Instant::now();
    loop {
        let (code, said) = why_json(&chain.http());
        if said["cause"] == cause {
            assert_eq!((code, &said["ready"]), (Some(3), &json!(false)), "{said}");
            return said;
        }
        assert!(began.elapsed() < WAIT_MAX, "not in {WAIT_MAX:?}: {cause}: {said}\n{}", chain.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Guards against a command that does not tell a good process from none, or from another program.
#[tokio::test]
async fn who_makes_blocks_is_told_from_who_does_not_answer() {
    for launch in [Launch::new(), Launch::evm()] {
        let mut chain = launch.start().await;
        let ended = why(&chain.http());
        assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
        assert!(ended.stdout.contains("blocks come: block "), "{ended:#?}");
        let (code, said) = why_json(&format!("{}/readyz", chain.http()));
        assert_eq!((code, &said["ready"], &said["cause"]), (Some(0), &json!(true), &Value::Null), "{said}");
        assert!(chain.stop().await.success());
        why(&chain.http()).says(4, &["--url=http://127.0.0.1:", "start the process"]);
    }
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = format!("http://{}", socket.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = socket.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").unwrap();
    });
    why(&other).says(4, &["not Sequenza's health"]);
}

/// Guards against health of a node that says that something is wrong and not what, against metrics that the documentation does not
/// know, and against a time to seal that a recorded run does not have.
#[tokio::test]
async fn a_node_says_what_it_waits_for_and_what_to_do() {
    let Some(rollup) = Rollup::begin("op_node why").await else { return };
    let launch = rollup.sequencer().flag("--l2-genesis", rollup.genesis.as_os_str()).flag("--http-port", "0");
    let mut node = launch.start().await;
    assert_eq!(why(&node.http()).status.code(), Some(0), "{}", node.log());

    // Blocks have gone through each phase, and every metric is on the page.
    let began = Instant::now();
    let text = loop {
        let (_, text) = node.fetch("/metrics").await.unwrap();
        let counted = |phase: &str| {
            let count = format!("sequenza_sequencer_phase_duration_seconds_count{{phase=\"{phase}\"}}");
            text.lines().any(|line| line.starts_with(&count))
        };
        if ["plan", "build", "seal", "import"].into_iter().all(counted) {
            break text;
        }
        assert!(began.elapsed() < WAIT_MAX, "{text}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(METRICS.contains(name), "docs/operators/metrics.md lacks {name}");
    }
    let lead = text.lines().find_map(|line| line.strip_prefix("sequenza_sequencer_seal_lead_seconds "));
    let lead: f64 = lead.and_then(|lead| lead.parse().ok()).unwrap_or_else(|| panic!("{text}"));
    assert!((0.010..=0.333).contains(&lead), "{lead}");

    // Stopped by the operator, and started again.
    node.rpc("admin_stopSequencer", json!([])).await.unwrap();
    let said = until_cause(&node, "stopped").await;
    assert!(said["remedy"].as_str().unwrap().contains("admin_startSequencer"), "{said}");
    node.rpc("admin_startSequencer", json!([])).await.unwrap();
    node.ready().await;
    assert!(node.stop().await.success());
    let replayed = Launch::bare().subcommand("replay").switch(launch.data().join("journal").to_str().unwrap()).run();
    assert_eq!(replayed.status.code(), Some(0), "{replayed:#?}");

    // Without L1 it does not begin, and says why; JSON-RPC says that it is to be tried again.
    rollup.l1.stop();
    let waiting = launch.start_unready();
    let said = until_cause(&waiting, "l1_silent").await;
    assert!(said["reason"].as_str().unwrap().contains("127.0.0.1:"), "{said}");
    assert!(said["remedy"].as_str().unwrap().contains("--l1-eth-rpc"), "{said}");
    assert_eq!(waiting.post("{}".to_owned()).await.map(|(status, _)| status), Some(503));
}

/// Guards against a node that says that its engine refuses something when it is not there, and against one that does not come back.
#[tokio::test]
async fn a_node_without_its_engine_says_since_when() {
    let Some(rollup) = Rollup::begin("op_node why engine").await else { return };
    let (mut engine, url, secret) = rollup.engine().await;
    let launch = rollup.sequencer().flag("--l2", url);
    let node = launch.flag("--l2.jwt-secret", secret.as_os_str()).start().await;
    engine.kill();
    let said = until_cause(&node, "engine_unreachable").await;
    assert!(said["reason"].as_str().unwrap().contains("the engine has not answered for"), "{said}");
    assert!(said["remedy"].as_str().unwrap().contains("--l2-engine-rpc"), "{said}");
    engine.start_again().await;
    node.ready().await;
}
