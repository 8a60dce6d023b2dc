//! How the binary is started.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Chain;

/// How long a program that is expected to end may take.
const END_MAX: Duration = Duration::from_secs(60);

/// The binary under test: the one that `SEQUENZA_BIN` names, or else one built now, alone.
///
/// Alone matters: built together with the simulator, cargo would unite their features and switch on its seeded bugs.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| std::env::var_os("SEQUENZA_BIN").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--package", "sequenza", "--message-format", "json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo starts: it runs this test");
    assert!(output.status.success(), "cargo build --package sequenza: {}", output.status);
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let artifact = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "sequenza")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    artifact.expect("cargo tells where it put the binary")
}

/// A `sequenza starknet` to be started in an own, empty folder on an own, free port, with a block every 200 ms.
#[derive(Clone)]
pub struct Launch {
    program: PathBuf,
    subcommand: Option<OsString>,
    flags: Vec<(String, Option<OsString>)>,
    environment: Vec<(String, OsString)>,
    folder: Arc<TempDir>,
    port: u16,
}

impl Default for Launch {
    fn default() -> Launch {
        Launch::new()
    }
}

impl Launch {
    /// The defaults of this harness; every one can be replaced with [`Launch::flag`] or taken away.
    pub fn new() -> Launch {
        let folder = Arc::new(tempfile::tempdir().expect("the system's temporary folder is writable"));
        let port = free_port();
        Launch {
            program: program().to_owned(),
            subcommand: Some("starknet".into()),
            flags: Vec::new(),
            environment: Vec::new(),
            folder: folder.clone(),
            port,
        }
        .switch("--http")
        .flag("--http-port", port.to_string())
        .flag("--db-path", folder.path().join("data"))
        .flag("--seq-block-time", "200ms")
    }

    /// A `sequenza evm` in an own, empty folder on an own, free port, with a block for each transaction.
    pub fn evm() -> Launch {
        let bare = Launch { flags: Vec::new(), ..Launch::new() };
        let (port, data) = (bare.port.to_string(), bare.folder.path().join("data"));
        bare.subcommand("evm").flag("--http-port", port).flag("--db-path", data)
    }

    /// Nothing but the subcommand: what a newcomer types.
    pub fn bare() -> Launch {
        Launch { flags: Vec::new(), ..Launch::new() }
    }

    /// Sets a flag with a value, in the place of an earlier one of that name.
    pub fn flag(mut self, name: &str, value: impl Into<OsString>) -> Launch {
        let value = Some(value.into());
        match self.flags.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.flags.push((name.to_owned(), value)),
        }
        self
    }

    /// Sets a flag without value, or any other single word.
    pub fn switch(mut self, name: &str) -> Launch {
        self.flags.push((name.to_owned(), None));
        self
    }

    /// Takes a flag away.
    pub fn without(mut self, name: &str) -> Launch {
        self.flags.retain(|(known, _)| known != name);
        self
    }

    /// Sets a variable of the environment.
    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Launch {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Starts another program, such as a link to the binary, and names no subcommand.
    pub fn as_program(mut self, program: PathBuf) -> Launch {
        self.program = program;
        self.subcommand = None;
        self
    }

    /// Another subcommand than `starknet`.
    pub fn subcommand(mut self, name: &str) -> Launch {
        self.subcommand = Some(name.into());
        self
    }

    /// Says on which port the program will be reached, when a flag of another name or a default decides it.
    pub fn reached_at(mut self, port: u16) -> Launch {
        self.port = port;
        self
    }

    /// The folder that all of this happens in; gone when the last clone is dropped.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the chain keeps its data.
    pub fn data(&self) -> PathBuf {
        let given = self.flags.iter().find(|(name, _)| name == "--db-path").and_then(|(_, value)| value.clone());
        given.map_or_else(|| self.folder().join("sequenza-data"), PathBuf::from)
    }

    /// The port that the chain is reached at.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The command as it will be run, in the folder, with nothing of our own environment that it would listen to.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(self.folder()).args(&self.subcommand);
        for (name, value) in &self.flags {
            match value {
                Some(value) if name.starts_with("--") => {
                    let mut both = OsString::from(format!("{name}="));
                    both.push(value);
                    command.arg(both);
                }
                _ => {
                    command.arg(name);
                }
            }
        }
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SEQUENZA_")) {
            command.env_remove(name);
        }
        command.env("RUST_BACKTRACE", "1").envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    /// Starts it and waits until it says that it is ready.
    pub async fn start(&self) -> Chain {
        let chain = self.start_unready();
        chain.ready().await;
        chain
    }

    /// Starts it and does not wait.
    pub fn start_unready(&self) -> Chain {
        let (out, err) = (self.stdout_path(), self.stderr_path());
        let child = self.command().stdout(append(&out)).stderr(append(&err)).spawn();
        Chain::new(self.clone(), child.unwrap_or_else(|error| panic!("{}: {error}", self.program.display())))
    }

    /// Runs it to its end: for command lines that are refused, and for commands that only print.
    pub fn run(&self) -> Ended {
        let (out, err) = (self.folder().join("run.out"), self.folder().join("run.err"));
        let create = |path: &Path| File::create(path).expect("the own folder is writable");
        let child = self.command().stdout(create(&out)).stderr(create(&err)).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let started = Instant::now();
        let status = loop {
            match child.try_wait().expect("the child is ours") {
                Some(status) => break status,
                None if started.elapsed() < END_MAX => std::thread::sleep(Duration::from_millis(10)),
                None => {
                    let _ = child.kill();
                    let _ = child.wait();
                    panic!("still runs after {END_MAX:?}, expected it to end: {:?}\n{}", self.flags, read(&out));
                }
            }
        };
        Ended { status, stdout: read(&out), stderr: read(&err) }
    }

    /// Where standard output of the chain goes, over all its restarts.
    pub(crate) fn stdout_path(&self) -> PathBuf {
        self.folder().join("chain.out")
    }

    /// Where standard error of the chain goes, over all its restarts.
    pub(crate) fn stderr_path(&self) -> PathBuf {
        self.folder().join("chain.err")
    }
}

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Ended {
    /// Checks the exit code and that standard error holds every one of `parts`.
    #[track_caller]
    pub fn says(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        for part in parts {
            assert!(self.stderr.contains(part), "standard error lacks {part:?}: {self:#?}");
        }
    }
}

/// A port that nobody listens on at this moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("the own folder is writable")
}

/// What a file holds; nothing when it is not there.
pub(crate) fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
