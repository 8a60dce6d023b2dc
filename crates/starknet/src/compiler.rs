//! Compiling a declared class in a process of its own, with a bound on its memory and its processor time.
//!
//! Compilation happens before anyone has paid for it, and a class can be written so that it takes all the memory there is.
//! In a thread nothing could stop it; a child process can be killed without harm. The program that sets
//! [`CompilerBounds`] must answer the argument [`COMMAND`] with [`child`], because the child is the same program.
//!
//! Memory is what the child keeps resident, looked at by a thread of its own every few milliseconds: an address space
//! limit would also count what the allocator reserves and never touches. Processor time is the system's `RLIMIT_CPU`.

use std::io::{Read, Write};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use cairo_lang_starknet_classes::casm_contract_class::CasmContractClass;
use serde::{Deserialize, Serialize};
use starknet_api::state::SierraContractClass;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::classes::{ClassError, SierraClass};
use crate::deep::deep_thread;

/// First argument of the child.
pub const COMMAND: &str = "compile-class";

/// Exit code of a child that has outgrown its memory.
const OUT_OF_MEMORY: u8 = 12;
/// How often the child looks at its memory.
const WATCH_INTERVAL: Duration = Duration::from_millis(2);
/// What the child may write: CASM in JSON is some hundred bytes a felt.
const OUTPUT_BYTES_MAX: u64 = 128 << 20;
/// Waiting for a processor counts little, waiting for ever not at all: time on the clock per processor time allowed.
const PATIENCE: u32 = 10;
const KIB: u64 = 1024;

/// What compiling one class may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompilerBounds {
    /// Resident memory of the compiling process, in bytes.
    pub memory_bytes: u64,
    /// Its processor time; rounded up to seconds.
    pub cpu_time: Duration,
}

/// What the child says.
#[derive(Serialize, Deserialize)]
enum Said {
    Casm(CasmContractClass),
    Parse(String),
    Compile(String),
}

/// Compiles in a child process.
pub(crate) async fn compile(
    sierra: SierraContractClass,
    bytecode_felts: usize,
    bounds: CompilerBounds,
) -> Result<SierraClass, ClassError> {
    let broken =
        |what: &str, error: std::io::Error| ClassError::Compile(format!("the compiler's process {what}: {error}"));
    let seconds = bounds.cpu_time.as_secs() + u64::from(bounds.cpu_time.subsec_nanos() > 0);
    let input = serde_json::to_vec(&sierra).map_err(|error| ClassError::Parse(error.to_string()))?;
    let mut child = Command::new("/proc/self/exe")
        .args([COMMAND, &bytecode_felts.to_string(), &bounds.memory_bytes.to_string(), &seconds.to_string()])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| broken("did not start", error))?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(ClassError::Compile("the compiler's process has no pipes".to_owned()));
    };
    let (mut output, mut stdout) = (Vec::new(), stdout.take(OUTPUT_BYTES_MAX));
    let talk = async {
        let write = async {
            // A child that ends early says why by its exit code, not by the pipe.
            let _ = stdin.write_all(&input).await;
            drop(stdin);
        };
        let (_, read) = tokio::join!(write, stdout.read_to_end(&mut output));
        read?;
        child.wait().await
    };
    let Ok(ended) = tokio::time::timeout(bounds.cpu_time.saturating_mul(PATIENCE), talk).await else {
        return Err(ClassError::Compile(format!(
            "it took longer than the {seconds} s of processor time that it may take"
        )));
    };
    let status = ended.map_err(|error| broken("was lost", error))?;
    if !status.success() {
        return Err(ClassError::Compile(reason_of(status, bounds, seconds)));
    }
    match serde_json::from_slice(&output) {
        Ok(Said::Casm(casm)) => deep_thread("class hashes", move || SierraClass::with_casm(sierra, casm))
            .await
            .unwrap_or_else(|| Err(ClassError::Compile("its hashes could not be computed".to_owned()))),
        Ok(Said::Parse(reason)) => Err(ClassError::Parse(reason)),
        Ok(Said::Compile(reason)) => Err(ClassError::Compile(reason)),
        Err(error) => Err(ClassError::Compile(format!("the compiler's process said nothing sensible: {error}"))),
    }
}

fn reason_of(status: std::process::ExitStatus, bounds: CompilerBounds, seconds: u64) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) if code == i32::from(OUT_OF_MEMORY) => {
            format!("it needs more than the {} MB of memory that it may take", bounds.memory_bytes / 1_000_000)
        }
        // SIGXCPU and SIGKILL come from the limit of processor time.
        (_, Some(24 | 9)) => format!("it needs more than the {seconds} s of processor time that it may take"),
        _ => format!("the compiler ended with {status}"),
    }
}

/// The child's side: takes the arguments after [`COMMAND`], bounds itself, reads a class from standard input and writes
/// what came of it to standard output.
pub fn child(arguments: &[String]) -> ExitCode {
    let numbers: Option<Vec<u64>> = arguments.iter().map(|argument| argument.parse().ok()).collect();
    let Some([bytecode_felts, memory_bytes, cpu_seconds]) = numbers.as_deref() else {
        return ExitCode::from(2);
    };
    let limit = rustix::process::Rlimit { current: Some(*cpu_seconds), maximum: Some(cpu_seconds + 1) };
    if rustix::process::setrlimit(rustix::process::Resource::Cpu, limit).is_err() {
        return ExitCode::FAILURE;
    }
    let memory_kib = memory_bytes / KIB;
    std::thread::spawn(move || watch_memory(memory_kib));
    let mut json = String::new();
    if std::io::stdin().read_to_string(&mut json).is_err() {
        return ExitCode::FAILURE;
    }
    let felts = usize::try_from(*bytecode_felts).unwrap_or(usize::MAX);
    let work = move || match serde_json::from_str(&json) {
        Ok(sierra) => match crate::classes::casm_of(&sierra, felts) {
            Ok(casm) => Said::Casm(casm),
            Err(ClassError::Parse(reason)) => Said::Parse(reason),
            Err(ClassError::Compile(reason)) => Said::Compile(reason),
        },
        Err(error) => Said::Parse(error.to_string()),
    };
    let stack = blockifier::blockifier::transaction_executor::DEFAULT_STACK_SIZE;
    let worked = std::thread::Builder::new().stack_size(stack).spawn(work).map(std::thread::JoinHandle::join);
    let Ok(Ok(said)) = worked else { return ExitCode::FAILURE };
    match serde_json::to_vec(&said).map(|text| std::io::stdout().write_all(&text)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Ends the process when it has grown beyond its bound.
fn watch_memory(memory_kib: u64) {
    loop {
        if resident_kib().is_some_and(|resident| resident > memory_kib) {
            std::process::exit(i32::from(OUT_OF_MEMORY));
        }
        std::thread::sleep(WATCH_INTERVAL);
    }
}

/// Anonymous resident memory: the program's own pages, shared with its parent, do not count.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_resident() {
        assert!(resident_kib().is_some_and(|resident| resident > 100));
    }

    #[test]
    fn the_child_refuses_arguments_that_are_none() {
        for arguments in [&["1", "2"][..], &["a", "1", "1"], &[]] {
            let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(format!("{:?}", child(&arguments)), format!("{:?}", ExitCode::from(2)));
        }
    }
}
