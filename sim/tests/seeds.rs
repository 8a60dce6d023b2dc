//! Hundreds of worlds, each of its own seed: nothing that must never be, and all come together once healed.

use sim::{Failed, Faults, Mode, Scenario};

/// Runs seeds one after the other and shows how to run the first bad one again.
#[track_caller]
fn all_survive(mode: Mode, seeds: std::ops::Range<u64>) {
    let mut blocks = 0;
    for seed in seeds.clone() {
        let scenario = Scenario::new(mode, seed);
        match scenario.run() {
            Ok(outcome) => blocks += outcome.blocks,
            Err(failed) => panic!("seed {seed}: {failed}\nreplay: {} --trace", scenario.replay()),
        }
    }
    // A heart that does nothing breaks no rule.
    let (slots, seeds) = (Scenario::new(mode, 0).slots, seeds.end - seeds.start);
    assert!(blocks * 4 > slots * seeds, "{blocks} blocks in {seeds} runs of {slots} slots");
}

#[test]
fn solo_survives_200_seeds() {
    all_survive(Mode::Solo, 0..200);
}

#[test]
fn on_demand_survives_200_seeds() {
    all_survive(Mode::OnDemand, 0..200);
}

#[test]
fn l1_survives_200_seeds() {
    all_survive(Mode::L1, 0..200);
}

#[test]
fn rollup_survives_200_seeds() {
    all_survive(Mode::Rollup, 0..200);
}

#[test]
fn conductor_survives_200_seeds() {
    all_survive(Mode::Conductor, 0..200);
}

#[test]
fn committee_survives_the_first_100_seeds() {
    all_survive(Mode::Committee, 0..100);
}

#[test]
fn committee_survives_100_more_seeds() {
    all_survive(Mode::Committee, 100..200);
}

#[test]
fn the_same_seed_gives_the_same_digest() {
    for mode in [Mode::Solo, Mode::OnDemand, Mode::L1, Mode::Conductor, Mode::Rollup, Mode::Committee] {
        let digests: Vec<u128> =
            (0..20).map(|seed| Scenario::new(mode, seed).run().expect("it survives").digest).collect();
        for (seed, digest) in (0..20).zip(&digests) {
            assert_eq!(Scenario::new(mode, seed).run().expect("it survives").digest, *digest, "{mode:?} {seed}");
        }
        let distinct: std::collections::BTreeSet<&u128> = digests.iter().collect();
        assert_eq!(distinct.len(), digests.len(), "other seeds give other digests");
    }
}

/// Every block of a day passes the invariants on what it cites (`cites_l1`), the drift among them; L1 stalls, reorganises and runs ahead
/// now and then, and whoever builds changes. Each slot has its block in the end.
#[test]
fn a_day_of_blocks_stays_within_the_drift() {
    let faults = Faults { l1_stall: 2, l1_reorg: 5, l1_ahead: 10, loss: 20, election: 10, crash: 1, ..Faults::NONE };
    for mode in [Mode::L1, Mode::Rollup] {
        let scenario = Scenario { faults: Some(faults), slots: 86_400, ..Scenario::new(mode, 7) };
        let outcome = scenario.run().unwrap_or_else(|failed| panic!("{failed}\nreplay: {}", scenario.replay()));
        assert!(outcome.blocks + 60 >= scenario.slots, "{mode:?}: {} blocks", outcome.blocks);
    }
}

/// R6 of the reliability goals: 95 % of slots produce a block at 10 % message loss.
#[test]
fn a_committee_that_loses_a_tenth_of_its_messages_misses_few_slots() {
    let faults = Some(Faults { loss: 100, ..Faults::NONE });
    let (mut blocks, mut slots) = (0, 0);
    for seed in 0..10 {
        let scenario = Scenario { faults, slots: 200, ..Scenario::new(Mode::Committee, seed) };
        let outcome = scenario.run().unwrap_or_else(|failed: Failed| panic!("seed {seed}: {failed}"));
        blocks += outcome.blocks;
        slots += scenario.slots;
    }
    assert!(blocks * 100 >= slots * 95, "{blocks} blocks in {slots} slots");
}

#[test]
fn the_replay_command_names_what_differs_from_the_seed() {
    let scenario = Scenario::new(Mode::Conductor, 5);
    assert_eq!(scenario.replay(), "cargo run --release -p sim -- --mode conductor --seed 5 --slots 60");
    let drawn = sim::drawn_faults(5);
    let lossy = Scenario { faults: Some(Faults { loss: 999, ..drawn }), ..scenario };
    assert_eq!(lossy.replay(), "cargo run --release -p sim -- --mode conductor --seed 5 --slots 60 --fault loss=999");
}
