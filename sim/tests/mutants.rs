//! The simulator is tested too: a heart with a known mistake in it must be caught.

use std::time::{Duration, Instant};

use sim::{Scenario, mutants};

/// Each mistake is to be found within a minute; the tests give it far fewer seeds than that.
const SEEDS_MAX: u64 = 400;

#[test]
fn every_mutant_is_caught() {
    let mut escaped = Vec::new();
    for (mutant, mode, name) in mutants() {
        let begun = Instant::now();
        let mut seeds = 0..SEEDS_MAX;
        let caught = seeds.find_map(|seed| {
            let scenario = Scenario { mutant: Some(*mutant), ..Scenario::new(*mode, seed) };
            scenario.run().err().map(|failed| (seed, failed))
        });
        match caught {
            Some((seed, failed)) if begun.elapsed() < Duration::from_secs(60) => {
                println!("{name}: caught by seed {seed} in {:?}: {failed}", begun.elapsed());
            }
            Some(_) | None => escaped.push(*name),
        }
    }
    assert!(escaped.is_empty(), "not caught: {escaped:?}");
}

#[test]
fn without_a_mutant_the_same_seeds_pass() {
    for (_, mode, name) in mutants() {
        let outcome = Scenario::new(*mode, 1).run();
        assert!(outcome.is_ok(), "{name}: {outcome:?}");
    }
}
