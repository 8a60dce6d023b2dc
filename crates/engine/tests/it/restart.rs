//! Either side is stopped and started again.

use std::sync::Arc;
use std::time::Duration;

use engine::Handed;
use node::conformance::order_on;
use node::{Backend, BackendError, Driver, Parts, Persistence, Sealed};
use optimism::Fork;
use sequencer::{AgreementConfig, Backoff, Config, Record, Timetable};
use types::{BuildId, Failure, Millis, Timestamp};

use crate::conformance::block;
use crate::world::World;

#[tokio::test]
async fn an_engine_that_was_restarted_has_forgotten_the_build() {
    let world = World::new(Fork::Karst).await;
    let (host, backend) = (&world.host, &world.backend);
    let genesis = backend.heads().await.unwrap().unsafe_head();
    let order = order_on(genesis);
    backend.open(BuildId::new(1), order).await.unwrap();
    host.stop();
    assert_eq!(backend.seal(BuildId::new(1)).await.unwrap_err().failure(), Failure::Retry, "nobody is there");
    host.start();
    assert_eq!(
        backend.seal(BuildId::new(1)).await.unwrap_err().failure(),
        Failure::Reset,
        "somebody who knows nothing"
    );
    assert_eq!(backend.heads().await.unwrap().unsafe_head(), genesis);
    block(&world, 2, order).await;
}

/// What was sealed stays sealed here, and an engine that lost it takes it again.
#[tokio::test]
async fn a_sealed_payload_outlives_the_engine() {
    let world = World::new(Fork::Karst).await;
    let (host, backend) = (&world.host, &world.backend);
    let genesis = backend.heads().await.unwrap().unsafe_head();
    backend.open(BuildId::new(1), order_on(genesis)).await.unwrap();
    let sealed = backend.seal(BuildId::new(1)).await.unwrap();
    host.stop();
    host.start();
    assert_eq!(backend.seal(BuildId::new(1)).await.unwrap(), sealed);
    let Sealed::Payload(payload) = sealed else { panic!("a block") };
    let heads = crate::world::heads(payload.block, genesis);
    assert!(matches!(backend.set_heads(heads).await, Err(BackendError::Reset(_))), "not imported");
    backend.import(&payload).await.unwrap();
    backend.set_heads(heads).await.unwrap();
    assert_eq!(backend.heads().await.unwrap(), heads);
}

/// Persisted and not yet announced or imported when the process was killed, on an engine that lost blocks before it
/// too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_persisted_is_imported_after_a_restart() {
    let builder = World::new(Fork::Karst).await;
    let folder = tempfile::tempdir().unwrap();
    let handed = Handed::open(folder.path(), 16).unwrap();
    let mut parent = builder.backend.heads().await.unwrap().unsafe_head();
    for build in 1..=3 {
        let payload = block(&builder, build, order_on(parent)).await;
        parent = payload.block;
        handed.persist(&Record::Payload(payload)).await.unwrap();
    }
    drop(handed);

    // Another engine with the same genesis stands for one that kept nothing.
    let world = World::new(Fork::Karst).await;
    let handed = Handed::open(folder.path(), 16).unwrap();
    // Nothing is built: what moves the chain is what was remembered.
    let config = Config {
        timetable: Timetable::gapless(Timestamp::from_millis(0), Millis::new(2_000)).unwrap(),
        agreement: AgreementConfig::Solo,
        active: false,
        backoff: Backoff::default(),
        seal_lead_adapts: false,
        origins: None,
    };
    let mut registry = Default::default();
    let parts = Parts {
        backend: Arc::new(world.backend_again()),
        persistence: Arc::new(handed.clone()),
        journal: None,
        metrics: node::Metrics::register(&mut registry),
        clock: node::Clock::System,
        deadlines: Default::default(),
        outside: Default::default(),
    };
    let (driver, handle) = Driver::start(config, handed.memory(), parts).await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(driver.run(stop.clone()));
    // Bounded by the test runner alone.
    while world.backend.heads().await.unwrap().unsafe_head() != parent {
        assert!(!running.is_finished(), "the driver ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    drop(handle);
}
