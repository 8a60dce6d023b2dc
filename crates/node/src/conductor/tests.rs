use parking_lot::Mutex;
use sequencer::{AgreementConfig, Backoff, Config, Timetable};
use tokio_util::sync::CancellationToken;
use types::{BlockHash, BlockNumber, Millis, Slot};

use super::*;
use crate::fake::{FakeBackend, genesis};
use crate::{Deadlines, Driver, DriverHandle, Metrics, Outside, Parts};

const SLOT: Duration = Duration::from_secs(1);

fn block(number: u64) -> BlockRef {
    BlockRef {
        number: BlockNumber::new(number),
        hash: BlockHash::new([u8::try_from(number).expect("small"); 32]),
        ..BlockRef::default()
    }
}

/// Each place, each word: what is so then, and what the heart hears.
#[test]
fn what_follows_from_each_word() {
    let (one, two) = (block(1), block(2));
    let leads = |newest, unclear| Tenure::Leads { newest, unclear };
    let (sure, unsure) = (leads(one, None), leads(one, Some(two)));
    let table = [
        (Tenure::Follows, Word::Started(one), sure, Some(Role::Leader)),
        (Tenure::Follows, Word::Stopped, Tenure::Follows, None),
        // Late answers begin nothing, and an election alone starts nobody.
        (Tenure::Follows, Word::Committed(two), Tenure::Follows, None),
        (Tenure::Follows, Word::Unclear(two), Tenure::Follows, None),
        (Tenure::Follows, Word::Refused, Tenure::Follows, None),
        (Tenure::Follows, Word::WeLead, Tenure::Follows, None),
        (Tenure::Follows, Word::AnotherLeads, Tenure::Follows, None),
        (Tenure::Follows, Word::Silent, Tenure::Follows, None),
        (sure, Word::Started(two), leads(two, None), None),
        (sure, Word::Stopped, Tenure::Follows, Some(Role::Follower)),
        (sure, Word::Committed(two), leads(two, None), None),
        (sure, Word::Unclear(two), unsure, None),
        (sure, Word::Refused, Tenure::Follows, Some(Role::Follower)),
        (sure, Word::WeLead, sure, None),
        (sure, Word::AnotherLeads, Tenure::Follows, Some(Role::Follower)),
        (sure, Word::Silent, sure, None),
        // What is unclear stays so until it is held, or the tenure is over.
        (unsure, Word::WeLead, unsure, None),
        (unsure, Word::Silent, unsure, None),
        (unsure, Word::Unclear(two), unsure, None),
        (unsure, Word::Committed(two), leads(two, None), None),
        (unsure, Word::Refused, Tenure::Follows, Some(Role::Follower)),
        (unsure, Word::AnotherLeads, Tenure::Follows, Some(Role::Follower)),
        (unsure, Word::Stopped, Tenure::Follows, Some(Role::Follower)),
    ];
    for (before, word, after, told) in table {
        assert_eq!((before.after(word), before.told(before.after(word))), (after, told), "{before:?}, {word:?}");
    }
}

#[test]
fn health_says_why_nothing_is_built() {
    let at = Timestamp::from_millis;
    let status = ConductorStatus::new();
    let leads = Tenure::Leads { newest: block(1), unclear: None };
    let unclear = Tenure::Leads { newest: block(1), unclear: Some(block(2)) };
    let silent = Some("no answer within 1s".to_owned());
    let table = [
        (status.clone(), Err("does not say who leads")),
        (ConductorStatus { trouble: silent.clone(), ..status.clone() }, Err("no answer within 1s")),
        (ConductorStatus { elected: Some(true), ..status.clone() }, Err("the conductor has not started it")),
        (ConductorStatus { elected: Some(false), ..status.clone() }, Err("not the leader")),
        (ConductorStatus { tenure: leads, elected: Some(true), ..status.clone() }, Ok("holds block 1")),
        (
            ConductorStatus { tenure: unclear, unclear_since: Some(at(1_000)), trouble: silent, ..status.clone() },
            Err("commit unclear since 2000ms: whether the conductor holds block 2: no answer within 1s"),
        ),
        (ConductorStatus { tenure: leads, overridden: true, ..status }, Ok("admin_overrideLeader(false)")),
    ];
    for (status, expected) in table {
        let told = status.readiness(at(3_000));
        let fits = match (&told, expected) {
            (Ok(told), Ok(word)) | (Err(told), Err(word)) => told.contains(word),
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        };
        assert!(fits, "{told:?}, not {expected:?}");
    }
}

/// A conductor in memory.
#[derive(Debug, Default)]
struct Fake {
    leads: Mutex<Option<bool>>,
    held: Mutex<Vec<BlockRef>>,
    /// What the next commits end with; held all the same where that is unclear.
    ends: Mutex<Vec<CommitError>>,
    asked: Mutex<usize>,
}

#[async_trait]
impl Conductor for Fake {
    async fn leader(&self) -> Result<bool, String> {
        *self.asked.lock() += 1;
        self.leads.lock().ok_or_else(|| "gone".to_owned())
    }

    async fn commit(&self, payload: &Payload) -> Result<(), CommitError> {
        let ends = self.ends.lock().pop();
        if *self.leads.lock() != Some(true) || matches!(ends, Some(CommitError::Refused(_))) {
            return Err(ends.unwrap_or(CommitError::Refused("node is not the leader".to_owned())));
        }
        self.held.lock().push(payload.block);
        ends.map_or(Ok(()), Err)
    }
}

/// An L1 that bears everything.
struct All;

#[async_trait]
impl Bearing for All {
    async fn borne(&self, block: BlockRef) -> Result<BlockRef, String> {
        Ok(block)
    }
}

struct Rig {
    chain: FakeBackend,
    conductor: Arc<Fake>,
    client: ConductorHandle,
    driver: DriverHandle,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

async fn rig() -> Rig {
    let (chain, conductor) = (FakeBackend::new(), Arc::new(Fake::default()));
    *conductor.leads.lock() = Some(true);
    let clock = Clock::steady(genesis().timestamp.after(Millis::new(10_000)));
    let (call, calls) = mpsc::channel(4);
    let (tell, incoming) = mpsc::channel(4);
    let mut registry = Registry::default();
    let kept = Arc::new(chain.clone());
    let (client, handle) =
        ConductorClient::new(Arc::clone(&conductor) as _, Arc::new(All), kept, tell, calls, clock, &mut registry);
    let timetable = Timetable::gapless(genesis().timestamp, Millis::new(1_000)).expect("a second is a slot");
    let agreement = AgreementConfig::Conductor;
    let config = Config {
        timetable,
        agreement,
        active: false,
        backoff: Backoff::default(),
        seal_lead_adapts: false,
        origins: None,
    };
    let parts = Parts {
        backend: Arc::new(chain.clone()),
        persistence: Arc::new(chain.clone()),
        journal: None,
        metrics: Metrics::register(&mut registry),
        clock,
        deadlines: Deadlines::default(),
        outside: Outside { conductor: Some(call), incoming: Some(incoming), ..Outside::default() },
    };
    let (driver, running) = Driver::start(config, chain.memory(), parts).await.expect("starts");
    let stop = CancellationToken::new();
    let ends = stop.clone();
    let tasks =
        vec![tokio::spawn(async move { driver.run(ends).await.expect("ends well") }), tokio::spawn(client.run())];
    Rig { chain, conductor, client: handle, driver: running, stop, tasks }
}

impl Rig {
    fn height(&self) -> u64 {
        self.chain.head().number.as_u64()
    }

    async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.expect("no panic");
        }
    }
}

/// Guards against a node that builds because it was elected, or was not told to stop, or goes on by itself when it is elected again.
#[tokio::test(start_paused = true)]
async fn it_builds_from_a_start_to_the_loss_of_leadership() {
    let rig = rig().await;
    tokio::time::sleep(SLOT * 5).await;
    assert_eq!(rig.height(), 0, "elected, not started");
    *rig.conductor.leads.lock() = Some(false);
    assert!(rig.client.start(genesis()).await.unwrap_err().contains("not the leader"));
    *rig.conductor.leads.lock() = None;
    assert!(rig.client.start(genesis()).await.unwrap_err().contains("gone"));
    *rig.conductor.leads.lock() = Some(true);
    rig.client.start(genesis()).await.expect("it leads");
    tokio::time::sleep(SLOT * 5).await;
    let built = rig.height();
    assert!(built >= 3, "{built}");
    assert!(rig.conductor.held.lock().len() as u64 >= built, "each was held first");
    // Nobody calls stop: the refusal of a commit, or a look, is heard.
    *rig.conductor.leads.lock() = Some(false);
    tokio::time::sleep(SLOT * 5).await;
    assert_eq!(rig.client.status().borrow().tenure, Tenure::Follows);
    assert!(!rig.driver.pulse().borrow().active);
    let stands = rig.height();
    *rig.conductor.leads.lock() = Some(true);
    tokio::time::sleep(SLOT * 5).await;
    assert_eq!(rig.height(), stands, "elected again, not started");
    rig.client.start(rig.chain.head()).await.expect("it leads");
    tokio::time::sleep(SLOT * 5).await;
    assert!(rig.height() > stands);
    rig.end().await;
}

/// Guards against a chain that goes on without the conductor's word, and against a second block in the place of one that may be held.
#[tokio::test(start_paused = true)]
async fn an_unclear_commit_is_repeated_with_the_same_payload() {
    let rig = rig().await;
    let unclear = CommitError::Unclear("no answer".to_owned());
    *rig.conductor.ends.lock() = vec![unclear.clone(), unclear.clone(), unclear];
    rig.client.start(genesis()).await.expect("it leads");
    tokio::time::sleep(SLOT * 10).await;
    let held = rig.conductor.held.lock().clone();
    assert!(held[..4].iter().all(|block| *block == held[0]), "{held:?}");
    assert!(rig.height() >= 5);
    rig.end().await;
}

/// Guards against an override that asks or tells the conductor, and against one that goes on when it has ended.
#[tokio::test(start_paused = true)]
async fn an_override_leaves_the_conductor_out_until_it_ends() {
    let rig = rig().await;
    *rig.conductor.leads.lock() = Some(false);
    rig.client.override_leader(true).await.expect("heard");
    let asked = *rig.conductor.asked.lock();
    rig.client.start(genesis()).await.expect("it counts as the leader");
    tokio::time::sleep(SLOT * 5).await;
    assert!(rig.height() >= 3);
    assert!(rig.conductor.held.lock().is_empty());
    assert_eq!(*rig.conductor.asked.lock(), asked);
    rig.client.override_leader(false).await.expect("heard");
    let stands = rig.height();
    tokio::time::sleep(SLOT * 5).await;
    assert!(rig.height() <= stands + 1 && !rig.driver.pulse().borrow().active, "the conductor says that another leads");
    rig.end().await;
}

/// Guards against a payload that reaches the conductor after the sequencer was stopped.
#[tokio::test]
async fn what_was_sealed_before_the_end_of_a_tenure_is_not_given_to_the_conductor() {
    let (conductor, chain) = (Arc::new(Fake::default()), FakeBackend::new());
    *conductor.leads.lock() = Some(true);
    let (call, calls) = mpsc::channel(4);
    let (tell, _heard) = mpsc::channel(4);
    let clock = Clock::steady(genesis().timestamp);
    let seam = Arc::clone(&conductor) as Arc<dyn Conductor>;
    let (client, _handle) =
        ConductorClient::new(seam, Arc::new(All), Arc::new(chain), tell, calls, clock, &mut Registry::default());
    let running = tokio::spawn(client.run());
    let payload = Payload { slot: Slot::new(1), block: block(1), origin: None, body: Default::default() };
    let (answer, answered) = oneshot::channel();
    call.send(ConductorCall::Commit { payload, answer }).await.expect("it runs");
    assert_eq!(answered.await.expect("answered"), Err(Failure::Reset));
    assert!(conductor.held.lock().is_empty());
    drop(call);
    running.await.expect("it ends with the driver");
}
