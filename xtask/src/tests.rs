//! `cargo xtask test`: from a fresh clone to one verdict.
//!
//! 1. `npm ci` in `tests/clients`, unless what is installed already matches the lock file; and starknet.py into a virtual
//!    environment in the target folder, where there is a Python that can.
//! 2. Build every target but the simulator's. The simulator switches on `sequencer`'s `mutants`; cargo unites the
//!    features of what it builds together, so building it here would put seeded bugs into the binary under test.
//! 3. Keep a copy of the binary aside and name it in `SEQUENZA_BIN`: `tests/` drives that one.
//! 4. Run the tests of everything but the simulator, then the simulator's.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, bail};

use crate::TestArgs;
use crate::steps::{Root, announce, run, spoken};

/// Where the npm packages of the test clients are described.
const CLIENTS: &str = "tests/clients";

/// What `pip` installs for the Python client, named in the environment's mark so that another version replaces it.
const STARKNET_PY: &str = "starknet-py==0.30.0";

/// Everything that is built with the features the product has.
const PRODUCT: [&str; 4] = ["--workspace", "--exclude", "sim", "--locked"];

/// Sets up, builds, runs, sums up; an error when any test failed.
pub(crate) fn test(root: &Root, args: &TestArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    install_clients(&root.path().join(CLIENTS))?;
    let python = install_python(&root.artifact("xtask", "python"));
    let mut build = root.cargo(["build", "--all-targets"]);
    build.args(PRODUCT);
    run("build", build)?;
    let binary = set_aside(root)?;

    let mut tally = Tally::default();
    let mut product = root.cargo(["test", "--no-fail-fast"]);
    product.args(PRODUCT).env("SEQUENZA_BIN", &binary);
    if let Some(python) = python {
        product.env("SEQUENZA_PYTHON", python);
    }
    watch("tests", select(product, args), &mut tally)?;
    let sim = root.cargo(["test", "--no-fail-fast", "--locked", "--package", "sim"]);
    watch("tests of the simulator", select(sim, args), &mut tally)?;

    eprintln!("\n{tally}\n{}", spoken(started.elapsed()));
    match tally.verdict() {
        Verdict::Green => Ok(()),
        Verdict::Red(why) => bail!("{why}"),
    }
}

/// `npm ci` when the installed packages are not the ones of the lock file.
///
/// npm writes what it installed to `node_modules/.package-lock.json`; a copy of our lock file beside it says that this
/// very lock was installed to the end.
fn install_clients(clients: &Path) -> anyhow::Result<()> {
    let wanted = std::fs::read(clients.join("package-lock.json")).context("tests/clients/package-lock.json")?;
    let mark = clients.join("node_modules/.installed-from.json");
    if std::fs::read(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(clients);
    run("npm packages of the test clients", npm)
        .context("the tests drive the chain with starknet.js: install node (20 or newer) with npm and try again")?;
    std::fs::write(&mark, wanted).with_context(|| format!("cannot write {}", mark.display()))
}

/// The Python of a virtual environment with starknet.py; `None`, said plainly, where this machine cannot have one: the test that
/// needs it then counts as skipped.
fn install_python(environment: &Path) -> Option<PathBuf> {
    let (python, mark) = (environment.join("bin/python"), environment.join("installed"));
    if std::fs::read_to_string(&mark).is_ok_and(|installed| installed == STARKNET_PY) {
        return Some(python);
    }
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(environment);
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", STARKNET_PY]);
    let installed = run("a Python environment", venv)
        .and_then(|()| run("starknet.py", pip))
        .and_then(|()| std::fs::write(&mark, STARKNET_PY).context("cannot write the environment's mark"));
    match installed {
        Ok(()) => Some(python),
        Err(error) => {
            eprintln!("    without starknet.py: {error:#}");
            None
        }
    }
}

/// Copies the binary out of cargo's way: a later build may replace it while tests still run it.
fn set_aside(root: &Root) -> anyhow::Result<PathBuf> {
    let built = root.artifact("debug", "sequenza");
    let kept = root.artifact("xtask", "sequenza");
    if let Some(folder) = kept.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let staged = kept.with_extension("new");
    std::fs::copy(&built, &staged).with_context(|| format!("cannot copy {}", built.display()))?;
    std::fs::rename(&staged, &kept).with_context(|| format!("cannot put {} in its place", kept.display()))?;
    Ok(kept)
}

/// Adds what libtest has to know: the filter, and whether the long tests run too.
fn select(mut command: Command, args: &TestArgs) -> Command {
    command.args(&args.filter);
    if args.slow {
        command.args(["--", "--include-ignored"]);
    }
    command
}

/// Runs a test command with its output on the terminal, and counts.
fn watch(step: &str, mut command: Command, tally: &mut Tally) -> anyhow::Result<()> {
    announce(step);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{step}: cannot start cargo"))?;
    let errors = child.stderr.take().context("standard error was piped")?;
    let output = child.stdout.take().context("standard output was piped")?;
    let skipped = thread::spawn(move || echo(errors, std::io::stderr(), skipped));
    for line in echo(output, std::io::stdout(), |line| Some(line.to_owned())) {
        tally.observe(&line);
    }
    tally.skipped.extend(skipped.join().unwrap_or_default());
    let status = child.wait().with_context(|| format!("{step}: lost"))?;
    if !status.success() {
        tally.broken.push(format!("{step}: {status}"));
    }
    Ok(())
}

/// Passes every line on and keeps what `keep` makes of it. A terminal that went away is no reason to stop.
fn echo(from: impl Read, mut to: impl Write, keep: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut kept = Vec::new();
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        let _ = writeln!(to, "{line}");
        kept.extend(keep(&line));
    }
    kept
}

/// The reason in a line by which a test says that it cannot run here.
fn skipped(line: &str) -> Option<String> {
    let (_, reason) = line.split_once("skipped: ")?;
    Some(reason.trim().to_owned())
}

/// What the tests said.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    ignored: usize,
    failures: Vec<String>,
    skipped: Vec<String>,
    broken: Vec<String>,
}

enum Verdict {
    Green,
    Red(String),
}

impl Tally {
    /// Takes in one line of libtest's output.
    fn observe(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += count_before(counts, " passed");
            self.failed += count_before(counts, " failed");
            self.ignored += count_before(counts, " ignored");
        } else if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.failures.push(name.to_owned());
        }
    }

    fn verdict(&self) -> Verdict {
        if self.failed > 0 {
            Verdict::Red(format!("{} of {} tests failed", self.failed, self.passed + self.failed))
        } else if !self.broken.is_empty() {
            Verdict::Red(self.broken.join("; "))
        } else if self.passed == 0 {
            Verdict::Red("no test ran".to_owned())
        } else {
            Verdict::Green
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for name in &self.failures {
            writeln!(f, "FAILED   {name}")?;
        }
        for reason in &self.skipped {
            writeln!(f, "skipped  {reason}")?;
        }
        write!(
            f,
            "tests: {} passed, {} failed, {} left for --slow, {} skipped on this machine",
            self.passed,
            self.failed,
            self.ignored,
            self.skipped.len()
        )
    }
}

/// The number that stands before `word`: `count_before("ok. 12 passed; 0 failed", " passed")` is 12.
fn count_before(counts: &str, word: &str) -> usize {
    counts
        .split(word)
        .next()
        .and_then(|before| before.rsplit(|c: char| !c.is_ascii_digit()).next())
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod test {
    use super::{Tally, Verdict, skipped};

    /// Guards against a summary that stays green while a test failed.
    #[test]
    fn counts_what_libtest_prints() {
        let mut tally = Tally::default();
        for line in [
            "test pool::keeps_order ... ok",
            "test pool::drops_none ... FAILED",
            "test result: FAILED. 11 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.10s",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            tally.observe(line);
        }
        assert_eq!((tally.passed, tally.failed, tally.ignored), (14, 1, 2));
        assert_eq!(tally.failures, ["pool::drops_none"]);
        assert!(matches!(tally.verdict(), Verdict::Red(why) if why == "1 of 15 tests failed"));
    }

    /// Guards against calling a run green in which a test program crashed or nothing ran.
    #[test]
    fn a_crash_or_an_empty_run_is_red() {
        assert!(matches!(Tally::default().verdict(), Verdict::Red(_)));
        let crashed = Tally { passed: 3, broken: vec!["tests: signal 11".to_owned()], ..Tally::default() };
        assert!(matches!(crashed.verdict(), Verdict::Red(_)));
    }

    #[test]
    fn hears_a_test_that_cannot_run_here() {
        assert_eq!(skipped("skipped: vectors: folder absent"), Some("vectors: folder absent".to_owned()));
        assert_eq!(skipped("   Compiling tests v0.1.0"), None);
    }
}
