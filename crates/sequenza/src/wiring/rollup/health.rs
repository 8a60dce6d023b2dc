//! Why no block comes: what the heart says of itself, with what is seen of L1 and of the engine.
//!
//! The heart knows that something is not answered; who does not answer, and since when, is known here. All of it is judged in one place,
//! [`explain`], from what was seen, so that a table says what operators are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use engine::{Ended, Outcome};
use l1::{BreakerState, EndpointStatus, Sources};
use node::{Blocked, BlockedBy, Clock, ConductorHandle, ConductorStatus, DriverHandle, Party};
use parking_lot::Mutex;
use rpc::{Check, Fault, Finding, Health};

use super::on_l1::LEFT_FINAL;
use crate::wiring::drive;

/// An endpoint of L1 that has not answered well for so long counts as silent: it is asked every four seconds at least.
const SILENT_AFTER: Duration = Duration::from_secs(15);

/// A call that was given up after so long was not answered, rather than not wanted.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(5);

const L1_REMEDY: &str = "see that these endpoints run and can be reached from here, or name others with --l1-eth-rpc; blocks come again \
                         by themselves when one answers";
const ENGINE_REMEDY: &str = "see that the engine runs and that its authenticated port can be reached from here (--l2-engine-rpc), and \
                             read its log; the call is repeated until it is answered";
const SYNCING_REMEDY: &str = "wait until the engine has caught up, or bring it there: its log says how far it is; blocks come again by \
                              themselves";
const FAILING_REMEDY: &str = "read what the engine said, and its log; the call is repeated until it succeeds";
const LEFT_REMEDY: &str = "see whether --l1-eth-rpc names the L1 of this rollup, and whether its endpoints agree; if L1 itself left a \
                           final block, the rollup has to be begun again from a block that L1 still has";
const STOPPED_REMEDY: &str = "call admin_startSequencer (it needs --rpc.enable-admin), or start without --sequencer.stopped and with \
                              an --rpc.admin-state that says so";
const AWAITS_REMEDY: &str = "wait for L1; if L1 has that block already, its endpoints lag behind: name others with --l1-eth-rpc. A smaller \
                             --sequencer.l1-confs takes L1 blocks sooner";

const SAFE_REMEDY: &str = "see that the batcher publishes, and that the node of --l2-follow-source derives and has our chain (the log says \
                           where they differ); blocks come again by themselves when more is safe";

const CONDUCTOR_REMEDY: &str = "nothing, where another sequencer leads; else ask op-conductor who does (conductor_leaderWithID) and read its \
                                log: it starts whoever leads, once their chains agree";

/// How the calls of the engine end.
#[derive(Clone, Debug, Default)]
pub(super) struct EngineSight(Arc<Mutex<Option<Silence>>>);

/// Calls that get no answer.
#[derive(Clone, Debug)]
struct Silence {
    since: Instant,
    method: String,
}

impl EngineSight {
    /// A call ended. An error is an answer too.
    pub(super) fn ended(&self, call: &Ended<'_>) {
        let mut silence = self.0.lock();
        match call.outcome {
            Outcome::Answered | Outcome::Refused(_) => *silence = None,
            // What is no longer wanted says nothing, unless it was waited for in vain: the driver has deadlines of its own.
            Outcome::Dropped if call.took < GIVEN_UP_AFTER => {}
            Outcome::TimedOut | Outcome::Lost | Outcome::Dropped => match &mut *silence {
                Some(silence) => call.method.clone_into(&mut silence.method),
                None => {
                    // It has been silent since it was called.
                    let since = Instant::now().checked_sub(call.took).unwrap_or_else(Instant::now);
                    *silence = Some(Silence { since, method: call.method.to_owned() });
                }
            },
        }
    }

    /// For how long no call has been answered, and which was tried last.
    fn silent(&self) -> Option<(Duration, String)> {
        self.0.lock().as_ref().map(|silence| (silence.since.elapsed(), silence.method.clone()))
    }
}

/// The checks of a node whose driver runs. Behind a conductor, whether it leads is part of whether it is ready, and why it was stopped is
/// the conductor's affair.
pub(super) fn health(
    driver: &DriverHandle,
    sources: Sources,
    engine: EngineSight,
    conductor: Option<&ConductorHandle>,
) -> Health {
    let Some(conductor) = conductor.map(ConductorHandle::status) else {
        return drive::health_with(driver, move |blocked| explain(blocked, &sources.status(), engine.silent()));
    };
    let status = conductor.clone();
    let health = drive::health_with(driver, move |blocked| {
        let stopped = blocked.cause == BlockedBy::Stopped;
        match behind(&conductor.borrow()) {
            Err(fault) if stopped => fault,
            Ok(_) | Err(_) => explain(blocked, &sources.status(), engine.silent()),
        }
    });
    health.ready(Check::new("conductor", move || match behind(&status.borrow()) {
        Ok(reason) => Finding::Good(reason),
        Err(fault) => Finding::Bad(fault),
    }))
}

fn behind(status: &ConductorStatus) -> Result<String, Fault> {
    status.readiness(Clock::System.now()).map_err(|reason| fault("conductor", reason, CONDUCTOR_REMEDY))
}

/// What a node that has not begun yet waits for.
#[derive(Clone, Debug, Default)]
pub(super) struct Beginning(Arc<AtomicU8>);

impl Beginning {
    const L1: u8 = 0;
    const ENGINE: u8 = 1;
    const HEADS: u8 = 2;

    /// An endpoint of L1 has answered.
    pub(super) fn l1_answered(&self) {
        self.0.store(Self::ENGINE, Ordering::Relaxed);
    }

    /// The engine has answered.
    pub(super) fn engine_answered(&self) {
        self.0.store(Self::HEADS, Ordering::Relaxed);
    }

    /// The checks meanwhile.
    pub(super) fn health(&self, sources: Sources, engine: EngineSight) -> Health {
        let beginning = self.clone();
        let stage = move || match beginning.0.load(Ordering::Relaxed) {
            Self::L1 => {
                let names: Vec<_> = sources.status().into_iter().map(|status| status.name.to_string()).collect();
                let reason = format!("it starts, and no endpoint of L1 has answered yet: {}", names.join(", "));
                fault("l1_silent", reason, L1_REMEDY)
            }
            Self::ENGINE => {
                let tried = engine.silent().map(|(_, method)| format!(" ({method})")).unwrap_or_default();
                fault(
                    "engine_unreachable",
                    format!("it starts, and the engine has not answered yet{tried}"),
                    ENGINE_REMEDY,
                )
            }
            _ => fault(
                "engine_failing",
                "it starts, and the engine does not say yet where its chain stands".to_owned(),
                FAILING_REMEDY,
            ),
        };
        Health::new().ready(Check::new("blocks", move || Finding::Bad(stage())))
    }
}

fn fault(cause: &str, reason: String, remedy: &str) -> Fault {
    Fault { cause: cause.to_owned(), reason, remedy: remedy.to_owned() }
}

/// Names the cause behind what the driver sees: who is silent goes before what cannot be done for it.
fn explain(blocked: Blocked, l1: &[EndpointStatus], engine: Option<(Duration, String)>) -> Fault {
    let l1 = silent(l1);
    let why = blocked.why.clone();
    match blocked.cause {
        BlockedBy::Failing(Party::Backend) if why.contains(LEFT_FINAL) => fault("l1_left_final", why, LEFT_REMEDY),
        BlockedBy::Failing(Party::Backend) | BlockedBy::Unanswered if engine.is_some() => {
            let (since, method) = engine.unwrap_or_default();
            let silence = format!("the engine has not answered for {} s, last {method}", since.as_secs());
            fault("engine_unreachable", format!("{why}; {silence}"), ENGINE_REMEDY)
        }
        BlockedBy::AwaitsL1 | BlockedBy::Failing(Party::L1) | BlockedBy::Unanswered if l1.is_some() => {
            fault("l1_silent", format!("{why}; {}", l1.unwrap_or_default()), L1_REMEDY)
        }
        // The backend needs L1 too: for what blocks cite, and for deposits.
        BlockedBy::Failing(Party::Backend) if l1.is_some() && why.contains(L1_ENDPOINT) => {
            fault("l1_silent", format!("{why}; {}", l1.unwrap_or_default()), L1_REMEDY)
        }
        BlockedBy::Failing(Party::Backend) if why.contains(engine::SYNCING) => {
            fault("engine_syncing", why, SYNCING_REMEDY)
        }
        BlockedBy::Failing(Party::Backend) => fault("engine_failing", why, FAILING_REMEDY),
        BlockedBy::AwaitsL1 => fault("awaits_l1", why, AWAITS_REMEDY),
        BlockedBy::AwaitsSafe => fault("awaits_safe", why, SAFE_REMEDY),
        BlockedBy::Stopped => fault("stopped", why, STOPPED_REMEDY),
        BlockedBy::Halted
        | BlockedBy::Failing(Party::L1 | Party::Conductor)
        | BlockedBy::CatchingUp
        | BlockedBy::Following
        | BlockedBy::Unanswered => drive::as_told(blocked),
    }
}

/// How reads of L1 that brought nothing begin to speak of it.
const L1_ENDPOINT: &str = "L1 endpoint";

/// Which endpoints are silent and since when, if all of them are.
fn silent(endpoints: &[EndpointStatus]) -> Option<String> {
    let is_silent = |endpoint: &EndpointStatus| {
        endpoint.breaker != BreakerState::Closed || endpoint.silent_for.is_none_or(|silent| silent >= SILENT_AFTER)
    };
    let word = |endpoint: &EndpointStatus| match endpoint.silent_for {
        Some(silent) => format!("{} for {} s", endpoint.name, silent.as_secs()),
        None => format!("{} since the start", endpoint.name),
    };
    let all = !endpoints.is_empty() && endpoints.iter().all(is_silent);
    all.then(|| {
        let words: Vec<_> = endpoints.iter().map(word).collect();
        format!("no endpoint of L1 has answered: {}", words.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use l1::{ReadError, Source, SourceConfig, SourcesConfig};

    use super::*;

    /// An endpoint that answered last so many seconds ago.
    fn endpoint(silent_secs: Option<u64>) -> EndpointStatus {
        let source = Source::new(SourceConfig::new("http://l1.example:8545".parse().unwrap())).unwrap();
        let sources = Sources::new(vec![source], SourcesConfig::default(), None);
        let status = sources.status().remove(0);
        EndpointStatus { silent_for: silent_secs.map(Duration::from_secs), ..status }
    }

    fn blocked(cause: BlockedBy, why: &str) -> Blocked {
        Blocked { cause, why: why.to_owned(), remedy: "as the driver says".to_owned() }
    }

    /// What the driver sees and says, L1's endpoints, the engine's silence; the cause that is told, and words with it.
    type Row<'a> = (BlockedBy, &'a str, &'a [EndpointStatus], Option<(Duration, String)>, &'a str, &'a [&'a str]);

    #[test]
    fn each_cause_is_named_with_its_remedy() {
        let (answers, resting) =
            ([endpoint(Some(1))], [EndpointStatus { breaker: BreakerState::Open, ..endpoint(Some(1)) }]);
        let (quiet, never) = ([endpoint(Some(31))], [endpoint(None)]);
        let one_of_two = [endpoint(Some(31)), endpoint(Some(1))];
        let backend = BlockedBy::Failing(Party::Backend);
        let unread = ReadError::Failed(Vec::new()).to_string();
        let silent = || Some((Duration::from_secs(7), "engine_getPayloadV5".to_owned()));
        let left = format!("asking where the chain stands: {LEFT_FINAL} 3");
        let syncing = format!("importing block 4: {}, and more", engine::SYNCING);
        let rows: [Row<'_>; 15] = [
            (BlockedBy::AwaitsL1, "", &answers, None, "awaits_l1", &["--sequencer.l1-confs"]),
            (BlockedBy::AwaitsL1, "", &quiet, None, "l1_silent", &["l1.example:8545 for 31 s", "--l1-eth-rpc"]),
            (BlockedBy::AwaitsL1, "", &resting, None, "l1_silent", &["l1.example:8545 for 1 s"]),
            (BlockedBy::AwaitsL1, "", &one_of_two, None, "awaits_l1", &["--l1-eth-rpc"]),
            (BlockedBy::Failing(Party::L1), "", &never, None, "l1_silent", &["since the start"]),
            (BlockedBy::Failing(Party::L1), "", &answers, None, "l1_failing", &["as the driver says"]),
            (backend, &unread, &quiet, None, "l1_silent", &["31 s"]),
            (backend, "sealing: refused", &quiet, None, "engine_failing", &["what the engine said"]),
            (backend, "sealing: lost", &answers, silent(), "engine_unreachable", &["7 s", "V5", "--l2-engine-rpc"]),
            (BlockedBy::Unanswered, "", &answers, silent(), "engine_unreachable", &["7 s"]),
            (BlockedBy::Unanswered, "", &quiet, None, "l1_silent", &["31 s"]),
            (backend, &syncing, &answers, None, "engine_syncing", &["caught up"]),
            (backend, &left, &quiet, silent(), "l1_left_final", &["final", "--l1-eth-rpc"]),
            (BlockedBy::Stopped, "", &quiet, silent(), "stopped", &["admin_startSequencer"]),
            (BlockedBy::Failing(Party::Conductor), "", &quiet, silent(), "conductor_failing", &["as the driver says"]),
        ];
        for (cause, why, l1, engine, expected, words) in rows {
            let told = explain(blocked(cause, why), l1, engine);
            assert_eq!(told.cause, expected, "{told:?}");
            for word in words {
                assert!(told.reason.contains(word) || told.remedy.contains(word), "{word:?} in {told:?}");
            }
        }
    }

    #[test]
    fn an_engine_that_answers_anything_is_not_silent() {
        let sight = EngineSight::default();
        let ended = |outcome| sight.ended(&Ended { method: "m", took: Duration::ZERO, outcome });
        ended(Outcome::Lost);
        assert!(sight.silent().is_some());
        ended(Outcome::Dropped);
        assert!(sight.silent().is_some());
        ended(Outcome::Refused(-38_002));
        assert!(sight.silent().is_none());
        ended(Outcome::TimedOut);
        assert!(sight.silent().is_some());
        ended(Outcome::Answered);
        assert!(sight.silent().is_none());
        ended(Outcome::Dropped);
        assert!(sight.silent().is_none());
        sight.ended(&Ended { method: "m", took: GIVEN_UP_AFTER, outcome: Outcome::Dropped });
        assert!(sight.silent().is_some_and(|(silent, _)| silent >= GIVEN_UP_AFTER));
    }
}
