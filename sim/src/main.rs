//! `sim`: attacks the heart from the command line.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use sim::{Faults, Mode, Permille, Scenario, drawn_faults, mutant_named, mutants};

/// Lets hearts live in a world in which everything goes wrong that can, and says what happened.
#[derive(Parser)]
struct Arguments {
    /// How the nodes agree.
    #[arg(long, value_enum)]
    mode: Mode,
    /// Decides all that happens.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many slots things go wrong; after them the world is healed and must converge.
    #[arg(long, default_value_t = 1_000)]
    slots: u64,
    /// Runs this many seeds one after the other, from --seed on.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Puts a known mistake into every heart.
    #[arg(long, value_parser = parse_mutant)]
    mutant: Option<sequencer::Mutant>,
    /// Nothing goes wrong but what --fault says.
    #[arg(long)]
    calm: bool,
    /// Makes a fault happen so often, in thousandths, whatever the seed says; may be given several times.
    #[arg(long, value_name = "NAME=PERMILLE", value_parser = parse_fault)]
    fault: Vec<(String, Permille)>,
    /// Prints every step: event, then effects.
    #[arg(long)]
    trace: bool,
}

fn parse_mutant(text: &str) -> Result<sequencer::Mutant, String> {
    let names = || mutants().iter().map(|(_, _, name)| *name).collect::<Vec<_>>().join(", ");
    mutant_named(text).ok_or_else(|| format!("no such mutant; there are {}", names()))
}

fn parse_fault(text: &str) -> Result<(String, Permille), String> {
    let names = || Faults::NAMES.join(", ");
    let (name, permille) =
        text.split_once('=').ok_or_else(|| format!("expected NAME=PERMILLE with one of {}", names()))?;
    let mut none = Faults::NONE;
    none.named(name).ok_or_else(|| format!("no fault {name:?}; there are {}", names()))?;
    let permille = permille.parse().ok().filter(|permille| *permille <= 1000);
    permille.map(|permille| (name.to_owned(), permille)).ok_or_else(|| "expected a number from 0 to 1000".to_owned())
}

/// What goes wrong: as the seed says, unless told otherwise.
fn faults(arguments: &Arguments, seed: u64) -> Faults {
    let mut faults = if arguments.calm { Faults::NONE } else { drawn_faults(seed) };
    for (name, permille) in &arguments.fault {
        if let Some(fault) = faults.named(name) {
            *fault = *permille;
        }
    }
    faults
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    for seed in arguments.seed..arguments.seed.saturating_add(arguments.seeds) {
        let scenario = Scenario {
            mode: arguments.mode,
            seed,
            slots: arguments.slots,
            mutant: arguments.mutant,
            faults: Some(faults(&arguments, seed)),
            trace: arguments.trace,
        };
        let (begun, worked) = (Instant::now(), processor_seconds());
        match scenario.run() {
            Ok(outcome) => {
                let seconds = begun.elapsed().as_secs_f64();
                let worked = processor_seconds().zip(worked).map_or(seconds, |(after, before)| after - before);
                let worked = if worked > 0.0 { worked } else { seconds };
                let (nodes, faulty) = outcome.nodes;
                let steps = outcome.counts.steps as f64;
                println!(
                    "seed {seed}: {nodes} nodes, {faulty} faulty; {} blocks in {} slots",
                    outcome.blocks, scenario.slots
                );
                println!("  faults (per mille): {:?}", outcome.faults);
                println!("  {:?}", outcome.counts);
                println!("  healed: converged within {} slots", outcome.converged_in);
                println!(
                    "  {:.2} million steps/s ({seconds:.2} s; {:.2} million per second of processor time)",
                    steps / seconds / 1e6,
                    steps / worked / 1e6
                );
                println!("  digest {:032x}", outcome.digest);
            }
            Err(failed) => {
                println!("seed {seed}: {failed}");
                println!("replay: {}", scenario.replay());
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Processor time of this process so far, where the system tells: on a busy machine the clock on the wall says little.
fn processor_seconds() -> Option<f64> {
    let told = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    let nanoseconds: f64 = told.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}
