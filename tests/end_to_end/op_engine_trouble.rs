//! `sequenza node` while its engine hangs, fails, or is killed, at each step of the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Chain, Fate, Proxy};

use crate::op_l1_trouble::{Load, cites_above};
use crate::op_node::{Rollup, WAIT_MAX, assert_sound, blocks, until};

/// How long the node waits for the engine.
const DEADLINE: Duration = Duration::from_millis(700);
/// How long the trouble lasts at least.
const TROUBLE: Duration = Duration::from_millis(1_000);
/// Calls of the engine in a second that are more than a loop with pauses in it makes. A block takes four, and some questions.
const CALLS_MAX: usize = 40;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    /// No answer comes, and nothing is done.
    Hangs,
    /// It is done, and no answer comes.
    Swallowed,
    /// An error of this code.
    Refused(i64),
    /// This is what the engine says of the block.
    Says(&'static str),
    /// It is killed when it is asked, and started again.
    Killed,
}

/// The step at which it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Begin,
    Fetch,
    Bring,
    Lead,
}

impl Step {
    fn of(method: &str, params: &Value) -> Option<Step> {
        match method.trim_start_matches("engine_").trim_end_matches(|c: char| c == 'V' || c.is_ascii_digit()) {
            "forkchoiceUpdated" if params[1].is_null() => Some(Step::Lead),
            "forkchoiceUpdated" => Some(Step::Begin),
            "getPayload" => Some(Step::Fetch),
            "newPayload" => Some(Step::Bring),
            _ => None,
        }
    }
}

/// What becomes of a call at the step.
fn fate(step: Step, mishap: Mishap) -> Fate {
    match mishap {
        Mishap::Hangs | Mishap::Killed => Fate::Hangs,
        Mishap::Swallowed => Fate::Swallowed,
        Mishap::Refused(code) => Fate::Refused(code),
        Mishap::Says(status) => {
            let status = json!({ "status": status, "latestValidHash": null, "validationError": null });
            match step {
                Step::Begin | Step::Lead => Fate::Answered(json!({ "payloadStatus": status, "payloadId": null })),
                Step::Fetch | Step::Bring => Fate::Answered(status),
            }
        }
    }
}

/// A node, its engine, and what is between.
struct World {
    rollup: Rollup,
    engine: Chain,
    proxy: Proxy,
    node: Chain,
    /// The blocks that the node brought, by height.
    brought: Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>,
}

impl World {
    async fn begin(test: &str) -> Option<World> {
        let rollup = Rollup::begin(test).await?;
        let (engine, url, secret) = rollup.engine().await;
        let proxy = Proxy::start(url).await;
        let launch = rollup.sequencer().flag("--l2", proxy.http()).flag("--l2.jwt-secret", secret.as_os_str());
        let launch = launch.flag("--l2-engine-timeout", DEADLINE.as_millis().to_string());
        let node = launch.start().await;
        Some(World { rollup, engine, proxy, node, brought: Arc::default() })
    }

    /// Lets calls of the step fare so, and writes down what is brought. How many calls fared so is counted.
    fn let_go_wrong(&self, trouble: Option<(Step, Mishap)>) -> Arc<AtomicUsize> {
        let (count, brought) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&self.brought));
        let counted = Arc::clone(&count);
        self.proxy.rule(move |method, params| {
            let step = Step::of(method, params);
            if step == Some(Step::Bring) {
                let text = |key: &str| params[0][key].as_str().unwrap().to_owned();
                brought.lock().unwrap().entry(text("blockNumber")).or_default().insert(text("blockHash"));
            }
            match trouble {
                Some((at, mishap)) if step == Some(at) => {
                    counted.fetch_add(1, Ordering::Relaxed);
                    fate(at, mishap)
                }
                _ => Fate::Pass,
            }
        });
        count
    }

    /// Goes through one case, and sees blocks come again.
    async fn suffer(&mut self, step: Step, mishap: Mishap) {
        let before = self.proxy.calls("");
        let began = Instant::now();
        let count = self.let_go_wrong(Some((step, mishap)));
        let what = format!("{step:?} {mishap:?}");
        until(&format!("{what} happens\n{}", self.node.log()), async || count.load(Ordering::Relaxed) > 0).await;
        if mishap == Mishap::Killed {
            self.engine.kill();
        }
        tokio::time::sleep(TROUBLE).await;
        let (calls, seconds) = (self.proxy.calls("") - before, began.elapsed().as_secs_f64().ceil());
        assert!(calls as f64 <= CALLS_MAX as f64 * seconds, "{what}: {calls} calls of the engine in {seconds} s");
        if mishap == Mishap::Killed {
            self.engine.start_again().await;
        }
        self.let_go_wrong(None);
        let wanted = self.height().await + 1;
        until(&format!("block {wanted} after {what}\n{}", self.node.log()), async || self.height().await >= wanted)
            .await;
    }

    /// The height of the chain, once the node can say it.
    async fn height(&self) -> u64 {
        let mut height = None;
        until(&format!("the node answers\n{}", self.node.log()), async || {
            let status = self.node.rpc("optimism_syncStatus", json!([])).await;
            height = status.ok().and_then(|status| status["unsafe_l2"]["number"].as_u64());
            height.is_some()
        })
        .await;
        height.unwrap()
    }

    /// The chain is whole, in the present, and has all that was sent.
    async fn end(self, load: Load) {
        let sent = load.end().await;
        blocks(&self.node, 1).await;
        let chain = self.engine.caller();
        for hash in &sent {
            until(&format!("{hash} is in a block"), async || {
                chain.rpc("eth_getTransactionReceipt", json!([hash])).await.is_ok_and(|receipt| !receipt.is_null())
            })
            .await;
        }
        assert_sound(&chain, &self.node, &self.rollup.l1).await;
    }

    /// Heights at which the node brought more than one block.
    fn twice(&self) -> Vec<String> {
        let brought = self.brought.lock().unwrap();
        brought.iter().filter(|(_, hashes)| hashes.len() > 1).map(|(height, _)| height.clone()).collect()
    }
}

/// Guards against a chain that is left with a hole or with two blocks at one height, or a node that asks in a circle, when a call of the
/// engine fails.
#[tokio::test]
async fn a_chain_outlives_each_failure_of_its_engine() {
    let Some(mut world) = World::begin("op_engine_trouble failures").await else { return };
    let load = Load::on(&world.engine.caller());
    cites_above(&world.node, 1).await;
    let cases = [
        (Step::Begin, Mishap::Hangs),
        (Step::Begin, Mishap::Swallowed),
        (Step::Begin, Mishap::Refused(-32_000)),
        (Step::Begin, Mishap::Refused(-38_002)),
        (Step::Begin, Mishap::Refused(-38_003)),
        (Step::Begin, Mishap::Says("SYNCING")),
        (Step::Fetch, Mishap::Hangs),
        (Step::Fetch, Mishap::Swallowed),
        (Step::Fetch, Mishap::Refused(-32_000)),
        (Step::Fetch, Mishap::Refused(-38_001)),
        (Step::Bring, Mishap::Hangs),
        (Step::Bring, Mishap::Swallowed),
        (Step::Bring, Mishap::Refused(-32_000)),
        (Step::Bring, Mishap::Says("SYNCING")),
        (Step::Lead, Mishap::Hangs),
        (Step::Lead, Mishap::Swallowed),
        (Step::Lead, Mishap::Refused(-32_000)),
        (Step::Lead, Mishap::Refused(-38_002)),
        (Step::Lead, Mishap::Says("SYNCING")),
    ];
    for (step, mishap) in cases {
        world.suffer(step, mishap).await;
        assert_eq!(world.twice(), Vec::<String>::new(), "{step:?} {mishap:?}: two blocks at one height");
    }
    // The head is called invalid, for no reason: it is asked for again.
    for step in [Step::Begin, Step::Lead] {
        world.suffer(step, Mishap::Says("INVALID")).await;
    }
    world.end(load).await;
}

/// Guards against a chain that is lost for good, or has a hole, when the engine is killed in the middle of a block.
#[tokio::test]
async fn a_chain_outlives_the_death_of_its_engine_at_each_step() {
    let Some(mut world) = World::begin("op_engine_trouble killed").await else { return };
    let load = Load::on(&world.engine.caller());
    cites_above(&world.node, 1).await;
    for step in [Step::Begin, Step::Fetch, Step::Bring, Step::Lead] {
        world.suffer(step, Mishap::Killed).await;
        assert_eq!(world.twice(), Vec::<String>::new(), "{step:?}: two blocks at one height");
    }
    world.end(load).await;
}

/// Guards against a chain that goes on as if nothing had happened when its engine refuses what it built itself, and against one that does not
/// come back when the engine thinks better of it.
#[tokio::test]
async fn an_engine_that_calls_its_own_block_invalid_stops_the_node_with_the_reason() {
    let Some(mut world) = World::begin("op_engine_trouble invalid").await else { return };
    cites_above(&world.node, 1).await;
    world.let_go_wrong(Some((Step::Bring, Mishap::Says("INVALID"))));
    let status = world.node.ended(WAIT_MAX).await;
    assert!(!status.success());
    let said = world.node.stderr();
    assert!(said.contains("DecidedButInvalid"), "{said}");
    // What was decided is not decided anew.
    world.let_go_wrong(None);
    world.node.start_again().await;
    blocks(&world.node, 2).await;
    assert_eq!(world.twice(), Vec::<String>::new());
    assert_sound(&world.engine.caller(), &world.node, &world.rollup.l1).await;
}
