use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use prometheus_client::registry::Registry;
use sequencer::origin::{Lookup, OriginRules};
use sequencer::{Backoff, Role};
use types::{BlockHash, BlockRef, Drift, L1Block, L1Origin};

use super::*;
use crate::fake::{FakeBackend, Mishap, Verb, genesis};
use crate::{L1Unavailable, Outcome, Readiness, replay};

const SLOT: Duration = Duration::from_secs(1);

fn config(agreement: AgreementConfig) -> Config {
    let timetable = Timetable::gapless(genesis().timestamp, Millis::new(1000)).expect("a second is a slot");
    Config { timetable, agreement, active: true, backoff: Backoff::default(), seal_lead_adapts: false, origins: None }
}

/// A driver on a fake chain, with its journal.
struct Rig {
    chain: FakeBackend,
    folder: tempfile::TempDir,
    registry: Registry,
    clock: Clock,
    outside: Outside,
    agreement: AgreementConfig,
    origins: Option<OriginRules>,
}

struct Running {
    handle: DriverHandle,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), DriverError>>,
    folder: tempfile::TempDir,
}

impl Rig {
    fn new(chain: FakeBackend) -> Self {
        let clock = Clock::steady(genesis().timestamp.after(Millis::new(10_000)));
        Self {
            chain,
            folder: tempfile::tempdir().expect("a folder"),
            registry: Registry::with_prefix("sequenza"),
            clock,
            outside: Outside::default(),
            agreement: AgreementConfig::Solo,
            origins: None,
        }
    }

    async fn start(&mut self) -> Result<(Driver, DriverHandle), DriverError> {
        let place =
            JournalPlace { folder: self.folder.path().join("journal"), options: crate::JournalOptions::default() };
        let parts = Parts {
            backend: Arc::new(self.chain.clone()),
            persistence: Arc::new(self.chain.clone()),
            journal: Some(place),
            metrics: Metrics::register(&mut self.registry),
            clock: self.clock,
            deadlines: Deadlines::default(),
            outside: std::mem::take(&mut self.outside),
        };
        let config = Config { origins: self.origins, ..config(self.agreement.clone()) };
        Driver::start(config, self.chain.memory(), parts).await
    }

    async fn run(mut self) -> Running {
        let (driver, handle) = self.start().await.expect("starts");
        let stop = CancellationToken::new();
        let task = tokio::spawn(driver.run(stop.clone()));
        Running { handle, stop, task, folder: self.folder }
    }
}

impl Running {
    async fn stop(self) -> Result<(), DriverError> {
        self.stop.cancel();
        let result = self.task.await.expect("the driver does not panic");
        agrees(&self.folder);
        result
    }
}

/// The journal of a run is decided again as it was recorded.
fn agrees(folder: &tempfile::TempDir) -> u64 {
    let verdict = replay(folder.path().join("journal")).expect("replays");
    assert_eq!(verdict.outcome, Outcome::Agreed);
    assert!(!verdict.torn);
    verdict.steps
}

/// What happened to each block, in the order of the solo row: durable, then imported, then the head, one block after the other.
fn check_order(chain: &FakeBackend) {
    let trace = chain.trace();
    let first = |what: String| trace.iter().position(|line| *line == what);
    for number in 1..=chain.head().number.as_u64() {
        let persisted =
            first(format!("persist {number}")).unwrap_or_else(|| panic!("block {number} was not persisted"));
        let imported = first(format!("import {number}")).expect("imported");
        let headed = first(format!("heads {number}")).expect("became the head");
        assert!(persisted < imported && imported < headed, "block {number}: {trace:?}");
        if let Some(opened) = first(format!("open {}", number + 1)) {
            assert!(headed < opened, "block {number} is the head before the next is opened");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_block_every_slot_each_durable_before_it_shows() {
    let chain = FakeBackend::new();
    let mut rig = Rig::new(chain.clone());
    let (driver, handle) = rig.start().await.expect("starts");
    let stop = CancellationToken::new();
    let task = tokio::spawn(driver.run(stop.clone()));
    tokio::time::sleep(SLOT * 50).await;
    let blocks = chain.head().number.as_u64();
    assert!((49..=51).contains(&blocks), "{blocks} blocks in 50 slots");
    check_order(&chain);
    let pulse = handle.pulse().borrow().clone();
    assert_eq!(pulse.head, chain.head());
    assert!(matches!(pulse.readiness(rig.clock.now()), Readiness::Ready(_)));
    stop.cancel();
    task.await.expect("no panic").expect("stops well");
    assert!(agrees(&rig.folder) > 200);

    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &rig.registry).expect("encodes");
    assert!(text.contains(&format!("sequenza_sequencer_blocks_total {blocks}")), "{text}");
    assert!(text.contains(&format!("sequenza_sequencer_head_number {blocks}")), "{text}");
    assert!(
        text.contains("sequenza_sequencer_call_duration_seconds_bucket") && text.contains("call=\"seal\""),
        "{text}"
    );
    assert!(!text.contains("missed_slots_total{"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn slow_lost_and_refused_calls_cost_slots_at_most() {
    let retry = || BackendError::Retry("busy".to_owned());
    let reset = || BackendError::Reset("elsewhere".to_owned());
    let mishaps = [
        Mishap::Slow(Duration::from_millis(2500)),
        Mishap::Slow(Duration::from_secs(100)),
        Mishap::Lost(retry()),
        Mishap::Refused(retry()),
        Mishap::Lost(reset()),
        Mishap::Refused(reset()),
    ];
    for verb in [Verb::Open, Verb::Seal, Verb::Import, Verb::SetHeads] {
        for mishap in &mishaps {
            let chain = FakeBackend::new();
            let running = Rig::new(chain.clone()).run().await;
            for number in 0..200u64 {
                if number % 60 == 20 {
                    chain.mishaps(verb, [mishap.clone(), mishap.clone()]);
                }
                chain.submit([number]);
                tokio::time::sleep(SLOT).await;
            }
            let blocks = chain.head().number.as_u64();
            let slow = matches!(mishap, Mishap::Slow(delay) if *delay > Duration::from_secs(10));
            let least = if slow { 10 } else { 180 };
            assert!(blocks >= least, "{verb:?} {mishap:?}: {blocks} blocks");
            check_order(&chain);
            running.stop().await.expect("stops well");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fatal_answer_halts_with_its_reason() {
    let chain = FakeBackend::new();
    let running = Rig::new(chain.clone()).run().await;
    chain.mishaps(Verb::Seal, [Mishap::Refused(BackendError::Fatal("the state is damaged".to_owned()))]);
    let error = running.task.await.expect("no panic").expect_err("halts");
    let text = error.to_string();
    assert!(text.contains("halted") && text.contains("the state is damaged"), "{text}");
    agrees(&running.folder);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_made_durable_is_not_done() {
    for mishap in
        [Mishap::Refused(BackendError::Fatal("disk full".to_owned())), Mishap::Slow(Duration::from_secs(1000))]
    {
        let chain = FakeBackend::new();
        let running = Rig::new(chain.clone()).run().await;
        tokio::time::sleep(SLOT * 3).await;
        let before = chain.head();
        chain.mishaps(Verb::Persist, [mishap]);
        let error = running.task.await.expect("no panic").expect_err("stops");
        assert!(matches!(error, DriverError::Persist(_)), "{error}");
        assert_eq!(chain.head(), before, "the block that was not durable is not shown");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_or_a_kill_at_any_stage_loses_nothing() {
    for moment in (0..3000).step_by(61) {
        for delay in [0, 700] {
            let chain = FakeBackend::new();
            let slow = || (0..20).map(move |_| Mishap::Slow(Duration::from_millis(delay)));
            for verb in [Verb::Open, Verb::Seal, Verb::Import, Verb::SetHeads, Verb::Persist] {
                chain.mishaps(verb, slow());
            }
            let running = Rig::new(chain.clone()).run().await;
            chain.submit(0..5);
            tokio::time::sleep(Duration::from_millis(moment)).await;
            chain.submit(5..9);
            let killed = chain.after_kill();
            let begun = Instant::now();
            running.stop().await.expect("stops well");
            assert!(begun.elapsed() <= Deadlines::default().stop, "{:?}", begun.elapsed());
            for survivor in [killed, chain.after_kill()] {
                lands_everything(survivor, moment).await;
            }
        }
    }
}

/// After a restart every number is in the chain, once.
async fn lands_everything(chain: FakeBackend, moment: u64) {
    let mut rig = Rig::new(chain.clone());
    rig.clock = Clock::steady(genesis().timestamp.after(Millis::new(20_000)));
    let before = chain.head();
    let running = rig.run().await;
    tokio::time::sleep(SLOT * 3).await;
    assert!(chain.head().number > before.number, "goes on after {moment} ms");
    running.stop().await.expect("stops well");
    let chain = chain.after_kill();
    assert_eq!(chain.pool(), Vec::<u64>::new(), "everything landed, {moment} ms");
    let landed = chain.included();
    assert_eq!(landed.len(), 9, "{landed:?} after {moment} ms");
    assert_eq!(landed.into_iter().collect::<BTreeSet<_>>(), (0..9).collect());
}

#[tokio::test(start_paused = true)]
async fn the_operator_can_stop_and_start_leading() {
    let chain = FakeBackend::new();
    let clock;
    let running = {
        let rig = Rig::new(chain.clone());
        clock = rig.clock;
        rig.run().await
    };
    tokio::time::sleep(SLOT * 3).await;
    assert!(running.handle.rest().await);
    tokio::time::sleep(SLOT).await;
    let rested = chain.head();
    tokio::time::sleep(SLOT * 5).await;
    assert_eq!(chain.head(), rested);
    let pulse = running.handle.pulse().borrow().clone();
    assert!(
        matches!(pulse.readiness(clock.now()), Readiness::NotReady(blocked) if blocked.why.contains("told not to lead"))
    );
    assert!(running.handle.lead().await);
    tokio::time::sleep(SLOT * 3).await;
    assert!(chain.head().number > rested.number);
    running.stop().await.expect("stops well");
}

#[tokio::test(start_paused = true)]
async fn a_chain_without_empty_blocks_is_ready_while_it_waits() {
    let chain = FakeBackend::without_empty_blocks();
    let rig = Rig::new(chain.clone());
    let clock = rig.clock;
    let running = rig.run().await;
    tokio::time::sleep(SLOT * 10).await;
    assert_eq!(chain.head(), genesis());
    let ready = |running: &Running| running.handle.pulse().borrow().readiness(clock.now());
    assert!(matches!(ready(&running), Readiness::Ready(_)), "{:?}", ready(&running));
    chain.submit([1]);
    tokio::time::sleep(SLOT * 2).await;
    assert_eq!(chain.head().number.as_u64(), 1);
    chain.mishaps(Verb::Seal, [Mishap::Slow(Duration::from_secs(20))]);
    tokio::time::sleep(SLOT * 5).await;
    assert!(matches!(ready(&running), Readiness::NotReady(_)));
    running.stop().await.expect("stops well");
}

#[tokio::test(start_paused = true)]
async fn agreements_without_their_handles_are_refused() {
    let committee = AgreementConfig::Committee {
        committee: types::Committee::of(4).expect("four"),
        me: None,
        began: BlockNumber::GENESIS,
        resend: Millis::new(300),
    };
    for agreement in [AgreementConfig::Conductor, committee] {
        let mut rig = Rig::new(FakeBackend::new());
        rig.agreement = agreement;
        let error = rig.start().await.expect_err("refused");
        assert!(matches!(error, DriverError::NoConductor | DriverError::NoCarrier), "{error}");
    }
}

/// A conductor in a page: holds what it is given, and loses the answer of every third commit.
async fn conduct(mut calls: mpsc::Receiver<ConductorCall>) {
    let mut held: Option<BlockRef> = None;
    let mut commits = 0;
    while let Some(call) = calls.recv().await {
        match call {
            ConductorCall::Commit { payload, answer } => {
                held = Some(payload.block);
                commits += 1;
                if commits % 3 != 0 {
                    let _ = answer.send(Ok(()));
                }
            }
            ConductorCall::Head { answer } => drop(answer.send(Ok(held))),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_conductor_holds_every_block_before_it_is_announced() {
    let chain = FakeBackend::new();
    let mut rig = Rig::new(chain.clone());
    rig.agreement = AgreementConfig::Conductor;
    let (conductor, calls) = mpsc::channel(4);
    let (bring, incoming) = mpsc::channel(4);
    let (carrier, mut carried) = mpsc::channel(100);
    rig.outside =
        Outside { conductor: Some(conductor), carrier: Some(carrier), incoming: Some(incoming), ..Outside::default() };
    tokio::spawn(conduct(calls));
    let running = rig.run().await;
    tokio::time::sleep(SLOT * 5).await;
    assert_eq!(chain.head(), genesis(), "not elected, no block");
    bring.send(Event::Leadership(Role::Leader)).await.expect("heard");
    tokio::time::sleep(SLOT * 20).await;
    let blocks = chain.head().number.as_u64();
    assert!(blocks >= 15, "{blocks}");
    let mut announced = 0;
    while let Ok(outgoing) = carried.try_recv() {
        announced += u64::from(matches!(outgoing, Outgoing::Announce(_)));
    }
    assert!(announced >= blocks, "{announced} of {blocks}");
    running.stop().await.expect("stops well");
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_does_not_keep_up_stops_nobody() {
    let chain = FakeBackend::new();
    let mut rig = Rig::new(chain.clone());
    let (publisher, mut published) = mpsc::channel(2);
    rig.outside.publisher = Some(publisher);
    let running = rig.run().await;
    tokio::time::sleep(SLOT * 10).await;
    assert!(chain.head().number.as_u64() >= 9);
    assert_eq!(published.recv().await.map(|a| a.payload.block.number.as_u64()), Some(1));
    running.stop().await.expect("stops well");
}

#[tokio::test]
async fn the_fake_conforms() {
    crate::conformance::check_all(|| async { Arc::new(FakeBackend::new()) as Arc<dyn Backend> }).await;
    crate::conformance::check_branching(|| async { Arc::new(FakeBackend::new()) as Arc<dyn Backend> }).await;
    let mut chain = FakeBackend::new();
    crate::conformance::heads_are_kept(|| {
        chain = chain.after_kill();
        std::future::ready(Arc::new(chain.clone()) as Arc<dyn crate::conformance::Keeping>)
    })
    .await;
}

#[test]
fn journal_lines_leave_bodies_out() {
    let payload = types::Payload {
        slot: types::Slot::new(1),
        block: genesis(),
        origin: None,
        body: Bytes::from_static(b"secret"),
    };
    let line = serde_json::to_string(&Effect::Import(payload)).expect("serialises");
    assert!(!line.contains("body"), "{line}");
}

/// A demand is answered by a block of the date asked for, and the handle tells when.
#[tokio::test(start_paused = true)]
async fn blocks_are_built_on_demand() {
    let mut rig = Rig { agreement: AgreementConfig::OnDemand, ..Rig::new(FakeBackend::new()) };
    let (driver, handle) = rig.start().await.expect("starts");
    let stop = CancellationToken::new();
    let task = tokio::spawn(driver.run(stop.clone()));
    let mut pulse = handle.pulse();
    tokio::time::sleep(60 * SLOT).await;
    assert_eq!(pulse.borrow().head, genesis(), "no clock makes a block");
    let readiness = pulse.borrow().readiness(rig.clock.now());
    assert!(matches!(&readiness, Readiness::Ready(why) if why.contains("asked for")), "{readiness:?}");
    let date = genesis().timestamp.after(Millis::new(777_000));
    for count in 1..=3 {
        assert!(handle.demand(date.after(Millis::new(1_000 * count))).await);
    }
    let served = pulse.wait_for(|pulse| pulse.served == 3).await.expect("served").clone();
    assert_eq!((served.head.number.as_u64(), served.head.timestamp), (3, date.after(Millis::new(3_000))));
    stop.cancel();
    task.await.expect("no panic").expect("a clean end");
}

/// An L1 with a block every four seconds, the first of which genesis cites. Every third answer does not come, every fifth is an error.
#[derive(Debug)]
struct FakeL1 {
    clock: Clock,
    asked: std::sync::atomic::AtomicU64,
}

fn l1_block(number: u64) -> L1Block {
    let hash = |number: u64| BlockHash::new([u8::try_from(number).expect("few"); 32]);
    let timestamp = genesis().timestamp.after(Millis::new(number * 4_000));
    L1Block { origin: L1Origin { number, hash: hash(number), timestamp }, parent: hash(number.saturating_sub(1)) }
}

#[async_trait]
impl L1Origins for FakeL1 {
    async fn look_up(&self, lookup: Lookup) -> Result<Option<L1Block>, L1Unavailable> {
        let asked = self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        if asked.is_multiple_of(3) {
            std::future::pending::<()>().await;
        }
        if asked.is_multiple_of(5) {
            return Err(L1Unavailable { reason: "the endpoint is busy".to_owned() });
        }
        let block = l1_block(match lookup {
            Lookup::ByHash(hash) => hash.as_bytes()[0].into(),
            Lookup::ByNumber(number) => number,
        });
        Ok((block.origin.timestamp <= self.clock.now()).then_some(block))
    }
}

fn rules() -> OriginRules {
    let drift = Millis::new(60_000);
    let drift = Drift { bedrock: drift, fjord: drift, fjord_begins: None };
    OriginRules { drift, sequencing_window: 3_600, recovers_before: None, recovering: false, max_safe_lag: None }
}

/// A chain that cites L1 through an endpoint that hangs and fails brings a block nearly every slot, each of which cites its parent's
/// L1 block or the next, and a restart goes on from what the head cites.
#[tokio::test(start_paused = true)]
async fn blocks_cite_l1_however_badly_it_answers() {
    let chain = FakeBackend::new();
    chain.begins_at(l1_block(0).origin);
    for restart in 0..2_u64 {
        let mut rig = Rig { origins: Some(rules()), ..Rig::new(chain.clone()) };
        rig.clock = Clock::steady(chain.head().timestamp.after(Millis::new(10_000)));
        rig.outside.origins = Some(Arc::new(FakeL1 { clock: rig.clock, asked: Default::default() }));
        let running = rig.run().await;
        tokio::time::sleep(SLOT * 60).await;
        running.stop().await.expect("stops well");
        let blocks = chain.head().number.as_u64();
        assert!(blocks > 45 * (restart + 1), "{blocks} blocks after {restart} restarts");
    }
    let cited: Vec<u64> = chain.cited().iter().map(|origin| origin.expect("each cites").number).collect();
    assert!(cited.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1), "{cited:?}");
    assert!(cited.last() >= Some(&20), "{cited:?}");
}

/// Rules for citing L1 and somewhere to look it up come together.
#[tokio::test]
async fn rules_and_l1_come_together() {
    let mut rig = Rig { origins: Some(rules()), ..Rig::new(FakeBackend::new()) };
    let error = rig.start().await.expect_err("nowhere to look up");
    assert!(error.to_string().contains("give an L1 endpoint"), "{error}");
    let mut rig = Rig::new(FakeBackend::new());
    rig.outside.origins = Some(Arc::new(FakeL1 { clock: rig.clock, asked: Default::default() }));
    let error = rig.start().await.expect_err("nothing to look up for");
    assert!(error.to_string().contains("no rules for citing them"), "{error}");
}

/// A chain that cannot say what its head cites builds nothing, and says why.
#[tokio::test(start_paused = true)]
async fn a_head_that_cites_nothing_is_not_built_on() {
    let chain = FakeBackend::new();
    let mut rig = Rig { origins: Some(rules()), ..Rig::new(chain.clone()) };
    rig.outside.origins = Some(Arc::new(FakeL1 { clock: rig.clock, asked: Default::default() }));
    let running = rig.run().await;
    tokio::time::sleep(SLOT * 10).await;
    let trouble = running.handle.pulse().borrow().trouble.clone().expect("it is said");
    assert!(trouble.what.contains("which L1 block is cited by block 0: it cites none"), "{trouble:?}");
    assert_eq!(chain.head(), genesis());
    // The operator's word is heard all the same.
    assert!(running.handle.recover(true).await);
    running.stop().await.expect("stops well");
}
