//! The command says what happened, and how to see it again.

use std::process::{Command, Output};

fn sim(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments.split(' ')).output().expect("the command runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_good_seed_is_summed_up() {
    let output = sim("--mode committee --seed 7 --slots 40");
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for expected in ["blocks in 40 slots", "faults (per mille)", "healed: converged", "steps/s", "digest "] {
        assert!(said.contains(expected), "{expected:?} is missing in {said}");
    }
    let digest = |said: &str| said.lines().last().map(str::to_owned);
    assert_eq!(digest(&said), digest(&text(&sim("--mode committee --seed 7 --slots 40"))));
    assert_ne!(digest(&said), digest(&text(&sim("--mode committee --seed 8 --slots 40"))));
}

#[test]
fn a_bad_seed_fails_and_its_replay_fails_the_same_way() {
    let output = sim("--mode conductor --seeds 20 --slots 40 --mutant gossip-before-commit --calm --fault failure=50");
    let said = text(&output);
    assert!(!output.status.success(), "{said}");
    let replay =
        said.lines().find_map(|line| line.strip_prefix("replay: cargo run --release -p sim -- ")).expect(&said);
    let again = sim(replay);
    assert!(!again.status.success());
    let verdict =
        |said: &str| said.lines().find(|line| line.starts_with("seed") && line.contains("slot ")).map(str::to_owned);
    assert!(verdict(&said).is_some_and(|verdict| verdict.contains("decided_before_visible")), "{said}");
    assert_eq!(verdict(&said), verdict(&text(&again)));
}

#[test]
fn what_there_is_not_is_named_with_what_there_is() {
    for (arguments, expected) in [
        ("--mode solo --mutant none", "gossip-before-commit"),
        ("--mode solo --fault rain=1", "no fault \"rain\"; there are loss"),
        ("--mode solo --fault loss=1001", "a number from 0 to 1000"),
        ("--mode choir", "committee"),
    ] {
        let output = sim(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {said}");
        assert!(said.contains(expected), "{arguments}: {said}");
    }
}
