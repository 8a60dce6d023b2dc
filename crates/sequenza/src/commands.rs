//! What each command does.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use node::{Difference, Outcome};

use crate::cli::{self, Asked, Given};
use crate::config::{self, ChainKind, Fault, Raw, Resolved, Sources, Surroundings};
use crate::exit::{Exit, Failure};
use crate::{logs, why, wiring};

/// How long threads that still work for an abandoned call may hold up the end of the process.
const THREADS_GRACE: Duration = Duration::from_millis(500);

/// Carries out what was asked.
///
/// # Errors
/// With the reason and the exit code.
pub(crate) fn run(asked: Asked) -> Result<ExitCode, Failure> {
    let done = match asked {
        Asked::Run(given) => start(&given),
        Asked::ConfigShow(given) => {
            let (raw, settings) = settings(&given)?;
            print(&config::show(&raw, &settings))
        }
        Asked::Replay { journal } => replay(&journal),
        Asked::Why { url, json } => return ask_why(url.as_deref(), json),
        Asked::Verify(given) => verify(&given),
        Asked::Completions(shell) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut cli::command(), "sequenza", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
        Asked::CompileClass(arguments) => return Ok(starknet::compiler::child(&arguments)),
        Asked::NotYet(command) => Err(Failure::new(
            Exit::Unavailable,
            format!(
                "`sequenza {command}` is not in this version: it has `sequenza starknet`, `sequenza evm` and `sequenza node`; see the README for what comes"
            ),
        )),
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn start(given: &Given) -> Result<(), Failure> {
    let (_, settings) = settings(given)?;
    logs::start(log(&settings));
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::RunTime, format!("cannot start threads: {error}")))?;
    let ended = match settings {
        Resolved::Starknet(settings) => runtime.block_on(wiring::run_starknet(*settings)),
        Resolved::Evm(settings) => runtime.block_on(wiring::run_evm(*settings)),
        Resolved::Node(settings) => runtime.block_on(wiring::run_node(*settings)),
    };
    runtime.shutdown_timeout(THREADS_GRACE);
    ended
}

/// Whether blocks come is the exit code; why not is what is printed.
fn ask_why(url: Option<&str>, json: bool) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(Exit::RunTime, format!("cannot wait for an answer: {error}")))?;
    let said = runtime.block_on(why::ask(url))?;
    print(&if json { said.json() } else { said.sentence() })?;
    Ok(if said.ready { ExitCode::SUCCESS } else { ExitCode::from(Exit::NotReady.code()) })
}

/// Every connection is a file. The system's soft limit (often 1024) is meant for programs that use `select`.
fn raise_file_limit() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

fn replay(journal: &Path) -> Result<(), Failure> {
    let verdict = node::replay(journal).map_err(|error| Failure::new(Exit::BadData, error))?;
    let torn = if verdict.torn { ", and a last line that was cut off in writing" } else { "" };
    match verdict.outcome {
        Outcome::Agreed => {
            let from = match verdict.from {
                0 => String::new(),
                part => format!(" from part {part} on, the oldest that is kept"),
            };
            print(&format!("run {}: {} steps decided again as recorded{from}{torn}\n", verdict.run, verdict.steps))
        }
        Outcome::Differed(difference) => {
            let Difference { file, line, at, event, recorded, decided } = *difference;
            let place = format!("run {}: {}, line {line}, at {at}", verdict.run, file.display());
            let story = format!("heard    {event:?}\nrecorded {recorded:?}\ndecided  {decided:?}");
            Err(Failure::new(Exit::BadData, format!("{place}: decided otherwise than recorded\n{story}")))
        }
    }
}

const NOT_VERIFIED: &str = "the folder of `sequenza node` cannot be checked by this command yet";

fn verify(given: &Given) -> Result<(), Failure> {
    let (_, settings) = settings(given)?;
    logs::start(log(&settings));
    let folder = match &settings {
        Resolved::Starknet(settings) => &settings.data_dir,
        Resolved::Evm(settings) => &settings.data_dir,
        Resolved::Node(_) => return Err(Failure::new(Exit::Usage, NOT_VERIFIED)),
    };
    if !wiring::holds_chain(folder) {
        let advice = "name the data folder of a chain with --db-path";
        return Err(Failure::new(Exit::CannotCreate, format!("{} holds no chain: {advice}", folder.display())));
    }
    let (block, root, accounts, slots) = match &settings {
        Resolved::Starknet(settings) => {
            let opened = wiring::open_chain(settings)?;
            let found = opened.chain.verify().map_err(|error| Failure::new(Exit::BadData, error))?;
            (found.block.to_string(), format!("{:#x}", found.state_root.0), found.contracts, found.slots)
        }
        Resolved::Evm(settings) => {
            let found = wiring::verify_evm(settings)?;
            (found.block.to_string(), found.state_root.to_string(), found.accounts, found.slots)
        }
        Resolved::Node(_) => return Err(Failure::new(Exit::Usage, NOT_VERIFIED)),
    };
    let kind = if matches!(settings, Resolved::Starknet(_)) { "contracts" } else { "accounts" };
    print(&format!(
        "{}: sound at block {block}: state root {root} recomputed from {accounts} {kind} and {slots} storage slots\n",
        folder.display()
    ))
}

fn log(settings: &Resolved) -> &config::Log {
    match settings {
        Resolved::Starknet(settings) => &settings.log,
        Resolved::Evm(settings) => &settings.log,
        Resolved::Node(settings) => &settings.log,
    }
}

/// Writes to stdout. A reader that has gone, such as `head`, is no fault of ours.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Disk, format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// The settings of a chain, out of flags, environment and file.
fn settings(given: &Given) -> Result<(Raw, Resolved), Failure> {
    let file = match &given.file {
        Some(path) => Some((path.as_path(), read_file(path)?)),
        None => None,
    };
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.to_string_lossy().into_owned())))
        .collect();
    let sources = Sources {
        chain: given.chain,
        flags: &given.flags,
        environment: &environment,
        file: file.as_ref().map(|(path, text)| (*path, text.as_str())),
        as_juno: given.as_juno,
    };
    let (raw, mut faults) = Raw::collect(&sources);
    let around = surroundings();
    let resolved = match given.chain {
        ChainKind::Starknet => config::resolve(&raw, &around).map(|settings| Resolved::Starknet(Box::new(settings))),
        ChainKind::Evm => config::resolve_evm(&raw, &around).map(|settings| Resolved::Evm(Box::new(settings))),
        ChainKind::Node => config::resolve_node(&raw, &around).map(|settings| Resolved::Node(Box::new(settings))),
    };
    match resolved {
        Ok(settings) if faults.is_empty() => Ok((raw, settings)),
        Ok(_) => Err(told(&faults)),
        Err(more) => {
            faults.extend(more);
            Err(told(&faults))
        }
    }
}

fn read_file(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::new(Exit::Usage, format!("--config={}: {error}: name a file of settings", path.display()))
    })
}

/// The machine and the user.
pub(crate) fn surroundings() -> Surroundings {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let variable = |name: &str| std::env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    // The XDG base directory specification; without a home, the working directory.
    let data_home = variable("XDG_DATA_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/share")));
    Surroundings { processors, data_home: data_home.unwrap_or_else(|| PathBuf::from(".")) }
}

fn told(faults: &[Fault]) -> Failure {
    if let [fault] = faults {
        return Failure::new(Exit::Usage, fault);
    }
    let mut text = format!("{} settings are wrong:", faults.len());
    for fault in faults {
        let _ = write!(text, "\n  {fault}");
    }
    Failure::new(Exit::Usage, text)
}
