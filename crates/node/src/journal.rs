//! One line per step, and deciding it all again from the lines.
//!
//! A run is written to files `<start in ms>-<part>.jsonl`. The first line of a run says how the heart was set up; each further line is a step:
//! the time, what was heard, what was ordered. Bodies of blocks are left out, decisions never look at them. Lines are not synced: after a
//! power loss the last seconds may be missing, which harms nothing but the story.
//!
//! Each later file of a run begins with a checkpoint, all that the heart knew then. So a run can be decided again from the oldest file that is
//! still there, and each checkpoint on the way is compared with where the steps before it led.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sequencer::{Config, Effect, Effects, Event, Memory, Sequencer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use types::{Heads, Timestamp};

const SUFFIX: &str = ".jsonl";
const FORMAT: u32 = 1;
/// Longest line that is read; a step of a full committee stays well below.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// How much of the past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// A new file is begun when this is reached. Default 16 MiB.
    pub file_bytes: u64,
    /// Oldest files are removed when all together would exceed this. Default 256 MiB. The file being written always stays.
    pub total_bytes: u64,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { file_bytes: 16 << 20, total_bytes: 256 << 20 }
    }
}

/// How a heart was set up: with the events that follow it makes the same effects again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Its configuration.
    pub config: Config,
    /// Where the backend said that its chain stood.
    pub heads: Heads,
    /// What the records of earlier runs said.
    pub memory: Memory,
}

impl Start {
    /// The heart so set up.
    #[must_use]
    pub fn sequencer(&self) -> Sequencer {
        Sequencer::recover(self.config.clone(), self.heads, self.memory.clone())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Opening(Box<Opening>),
    Step(Box<Step>),
}

/// First line of a file.
#[derive(Serialize, Deserialize)]
struct Opening {
    format: u32,
    program: String,
    run: u64,
    part: u32,
    /// In the first part of a run alone.
    start: Option<Start>,
    /// In every other part: the heart as the steps before left it. Kept as written until it is needed, for a later release may know more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Value>,
}

#[derive(Serialize, Deserialize)]
struct Step {
    at: Timestamp,
    event: Event,
    effects: Vec<Effect>,
}

/// Writes the story of one run.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    options: JournalOptions,
    run: u64,
    part: u32,
    file: File,
    written: u64,
    line: Vec<u8>,
}

impl Journal {
    /// Begins a run that starts `at` this time, in a folder that is created if need be.
    ///
    /// # Errors
    /// When the folder or the file cannot be written.
    pub fn begin(folder: impl AsRef<Path>, at: Timestamp, start: &Start, options: JournalOptions) -> io::Result<Self> {
        let folder = folder.as_ref().to_owned();
        fs::create_dir_all(&folder)?;
        let newest = files(&folder)?.last().map_or(0, |file| file.run.saturating_add(1));
        let run = at.as_millis().max(newest);
        let file = create(&folder, run, 0)?;
        let mut journal = Self { folder, options, run, part: 0, file, written: 0, line: Vec::new() };
        journal.open_part(Some(start), None)?;
        Ok(journal)
    }

    /// Writes one step, which left the heart as `sequencer` is now.
    ///
    /// # Errors
    /// When the file cannot be written. The run then cannot be decided again beyond this step.
    pub fn step(&mut self, at: Timestamp, event: &Event, effects: &Effects, sequencer: &Sequencer) -> io::Result<()> {
        // Borrowed, so that a step costs no copy; the same shape as `Line::Step`.
        #[derive(Serialize)]
        struct BorrowedStep<'a> {
            at: Timestamp,
            event: &'a Event,
            effects: &'a Effects,
        }
        #[derive(Serialize)]
        struct Borrowed<'a> {
            step: BorrowedStep<'a>,
        }
        self.write(&Borrowed { step: BorrowedStep { at, event, effects } })?;
        if self.written >= self.options.file_bytes {
            self.part += 1;
            self.file = create(&self.folder, self.run, self.part)?;
            self.written = 0;
            self.open_part(None, Some(serde_json::to_value(sequencer)?))?;
        }
        Ok(())
    }

    fn open_part(&mut self, start: Option<&Start>, checkpoint: Option<Value>) -> io::Result<()> {
        let program = concat!("sequenza ", env!("CARGO_PKG_VERSION")).to_owned();
        let (run, part, start) = (self.run, self.part, start.cloned());
        let opening = Opening { format: FORMAT, program, run, part, start, checkpoint };
        self.write(&Line::Opening(Box::new(opening)))?;
        self.forget_oldest()
    }

    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        self.file.write_all(&self.line)?;
        self.written += self.line.len() as u64;
        Ok(())
    }

    /// Keeps room for the file being written.
    fn forget_oldest(&self) -> io::Result<()> {
        let mut files = files(&self.folder)?;
        files.pop();
        let allowed = self.options.total_bytes.saturating_sub(self.options.file_bytes);
        let mut kept = 0u64;
        for file in files.iter().rev() {
            kept = kept.saturating_add(fs::metadata(&file.path)?.len());
            if kept > allowed {
                fs::remove_file(&file.path)?;
            }
        }
        Ok(())
    }
}

/// What deciding a run again found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Start of the run in milliseconds since the epoch, which names it.
    pub run: u64,
    /// The part from which it was decided again: 0 is its beginning, a later one the oldest that is still there.
    pub from: u32,
    /// Steps decided again.
    pub steps: u64,
    /// Whether the last line was cut off in writing, and left out.
    pub torn: bool,
    /// Whether the heart decided as recorded.
    pub outcome: Outcome,
}

/// Whether the heart decided as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In every step.
    Agreed,
    /// Not in this one; here is the first difference.
    Differed(Box<Difference>),
}

/// A step that is decided otherwise than it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The file.
    pub file: PathBuf,
    /// Line in the file, from 1.
    pub line: u64,
    /// When the step was.
    pub at: Timestamp,
    /// What was heard.
    pub event: Event,
    /// What the journal says was ordered.
    pub recorded: Vec<Effect>,
    /// What is ordered now.
    pub decided: Vec<Effect>,
}

/// Why a journal cannot be decided again.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// Nothing there.
    #[error(
        "{0} holds no journal: give a file `<run>-<part>.jsonl` or the folder of such files, usually <data folder>/journal"
    )]
    NoJournal(PathBuf),
    /// Not readable.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A part in the middle is gone.
    #[error("part {part} of run {run} is missing")]
    PartMissing {
        /// The run.
        run: u64,
        /// The part.
        part: u32,
    },
    /// A line is not what the journal writes.
    #[error("{file}, line {line}: {reason}")]
    BadLine {
        /// The file.
        file: PathBuf,
        /// Line in the file, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// Decides a recorded run again and compares, step by step.
///
/// `path` is a journal folder, whose newest run is taken, or one file, whose run is taken up to that file: from its beginning, or where that
/// was removed to save space, from the oldest file that is still there.
///
/// # Errors
/// See [`ReplayError`]. A difference is no error.
pub fn replay(path: impl AsRef<Path>) -> Result<Verdict, ReplayError> {
    let path = path.as_ref();
    let parts = parts_of_run(path)?;
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
        return Err(ReplayError::NoJournal(path.to_owned()));
    };
    let (run, from) = (first.run, first.part);
    if let Some(gap) = parts.windows(2).find(|pair| pair[1].part != pair[0].part + 1) {
        return Err(ReplayError::PartMissing { run, part: gap[0].part + 1 });
    }
    let mut again = Again { sequencer: None, effects: Effects::new(), steps: 0 };
    for part in &parts {
        let mut lines = Lines::open(&part.path)?;
        while let Some((line, text)) = lines.next_line()? {
            if text.last() != Some(&b'\n') && part.part == last.part {
                return Ok(Verdict { run, from, steps: again.steps, torn: true, outcome: Outcome::Agreed });
            }
            let parsed = serde_json::from_slice(&text).map_err(|error| lines.bad(line, error.to_string()))?;
            if let Some(difference) = again.take(&part.path, line, parsed).map_err(|reason| lines.bad(line, reason))? {
                let outcome = Outcome::Differed(Box::new(difference));
                return Ok(Verdict { run, from, steps: again.steps, torn: false, outcome });
            }
        }
    }
    Ok(Verdict { run, from, steps: again.steps, torn: false, outcome: Outcome::Agreed })
}

/// A heart that is taken through a recorded run.
struct Again {
    sequencer: Option<Sequencer>,
    effects: Effects,
    steps: u64,
}

impl Again {
    fn take(&mut self, file: &Path, number: u64, line: Line) -> Result<Option<Difference>, String> {
        match line {
            Line::Opening(opening) if opening.format != FORMAT => {
                Err(format!("journal format {} is not known, this program reads {FORMAT}", opening.format))
            }
            Line::Opening(opening) => {
                if let Some(start) = opening.start {
                    self.sequencer = Some(start.sequencer());
                }
                opening.checkpoint.map_or(Ok(()), |checkpoint| self.stand_at(checkpoint, &opening.program))?;
                Ok(None)
            }
            Line::Step(step) => {
                let sequencer = self.sequencer.as_mut().ok_or("a step before the run's beginning")?;
                self.effects.clear();
                sequencer.step(step.at, step.event.clone(), &mut self.effects);
                self.steps += 1;
                let decided = self.effects.as_slice();
                Ok((decided != step.effects).then(|| Difference {
                    file: file.to_owned(),
                    line: number,
                    at: step.at,
                    event: step.event,
                    recorded: step.effects,
                    decided: decided.to_vec(),
                }))
            }
        }
    }
}

impl Again {
    /// Begins at a checkpoint, or checks that the steps so far lead to it.
    fn stand_at(&mut self, checkpoint: Value, program: &str) -> Result<(), String> {
        let Some(sequencer) = &self.sequencer else {
            let sequencer = serde_json::from_value(checkpoint);
            let foreign = |error| format!("the checkpoint of {program} cannot be read by this release: {error}");
            self.sequencer = Some(sequencer.map_err(foreign)?);
            return Ok(());
        };
        let reached = serde_json::to_value(sequencer).map_err(|error| error.to_string())?;
        if reached == checkpoint {
            return Ok(());
        }
        Err(format!("the steps before do not lead to this checkpoint: they lead to {reached}"))
    }
}

/// Lines of a file, without trust in their length.
struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, ReplayError> {
        let file = File::open(path).map_err(|source| ReplayError::Io { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), reader: BufReader::new(file), line: 0 })
    }

    fn next_line(&mut self) -> Result<Option<(u64, Vec<u8>)>, ReplayError> {
        let mut text = Vec::new();
        let read = (&mut self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut text);
        read.map_err(|source| ReplayError::Io { path: self.path.clone(), source })?;
        self.line += 1;
        Ok((!text.is_empty()).then_some((self.line, text)))
    }

    fn bad(&self, line: u64, reason: String) -> ReplayError {
        ReplayError::BadLine { file: self.path.clone(), line, reason }
    }
}

struct Part {
    path: PathBuf,
    run: u64,
    part: u32,
}

fn parse_name(path: &Path) -> Option<Part> {
    let stem = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    let (run, part) = stem.split_once('-')?;
    Some(Part { path: path.to_owned(), run: run.parse().ok()?, part: part.parse().ok()? })
}

/// Journal files of a folder, oldest first.
fn files(folder: &Path) -> io::Result<Vec<Part>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        files.extend(parse_name(&entry?.path()));
    }
    files.sort_by_key(|file| (file.run, file.part));
    Ok(files)
}

fn parts_of_run(path: &Path) -> Result<Vec<Part>, ReplayError> {
    let io = |source| ReplayError::Io { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(io)?;
    let (folder, wanted) = if metadata.is_dir() {
        (path, None)
    } else {
        let wanted = parse_name(path).ok_or_else(|| ReplayError::NoJournal(path.to_owned()))?;
        (path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")), Some(wanted))
    };
    let files = files(folder).map_err(io)?;
    let Some(newest) = files.last() else { return Ok(Vec::new()) };
    let (run, part) = wanted.map_or((newest.run, u32::MAX), |wanted| (wanted.run, wanted.part));
    Ok(files.into_iter().filter(|file| file.run == run && file.part <= part).collect())
}

fn create(folder: &Path, run: u64, part: u32) -> io::Result<File> {
    let path = folder.join(format!("{run:013}-{part:06}{SUFFIX}"));
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests;
