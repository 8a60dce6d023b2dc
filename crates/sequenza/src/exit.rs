//! How the process ends when it does not end well: a code for scripts, a text for people.
//!
//! The codes follow `sysexits.h` where it has one. `docs/exit-codes.md` is checked against this table.

use std::fmt;
use std::process::ExitCode;

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// A task ended that must not, or anything without a code of its own.
    RunTime,
    /// The command line or a setting is wrong.
    Usage,
    /// A process was asked why no block is being built, and there was a reason.
    NotReady,
    /// A process was asked, and nobody answered.
    Silent,
    /// Data is bad: genesis, a damaged file in the data folder, a replay that disagrees.
    BadData,
    /// Something needed is not there: an address that is taken, a command that this version does not have.
    Unavailable,
    /// A defect of ours.
    Internal,
    /// A folder or file cannot be created.
    CannotCreate,
    /// The disk is full or failed.
    Disk,
    /// Passing: the data folder is in use by another process. Trying again may help.
    Temporary,
    /// The system does not permit it: a key file that others can read, a privileged port.
    Permission,
    /// The data folder belongs to another chain, or to an older or newer release.
    Configuration,
}

impl Exit {
    /// Every code, for the table in the documentation.
    pub(crate) const ALL: [Exit; 12] = [
        Exit::RunTime,
        Exit::Usage,
        Exit::NotReady,
        Exit::Silent,
        Exit::BadData,
        Exit::Unavailable,
        Exit::Internal,
        Exit::CannotCreate,
        Exit::Disk,
        Exit::Temporary,
        Exit::Permission,
        Exit::Configuration,
    ];

    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::RunTime => 1,
            Exit::Usage => 2,
            Exit::NotReady => 3,
            Exit::Silent => 4,
            Exit::BadData => 65,
            Exit::Unavailable => 69,
            Exit::Internal => 70,
            Exit::CannotCreate => 73,
            Exit::Disk => 74,
            Exit::Temporary => 75,
            Exit::Permission => 77,
            Exit::Configuration => 78,
        }
    }

    /// The line of the help.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Exit::RunTime => "a part of the node ended; the log names it",
            Exit::Usage => "wrong command line or setting",
            Exit::NotReady => "`sequenza why`: no block is being built, and it is said why",
            Exit::Silent => "`sequenza why`: no process answers",
            Exit::BadData => "bad genesis, damaged data, or a replay that disagrees",
            Exit::Unavailable => "an address is taken, or the command is not in this version",
            Exit::Internal => "a defect of Sequenza",
            Exit::CannotCreate => "a folder or file cannot be created",
            Exit::Disk => "the disk is full or failed",
            Exit::Temporary => "the data folder is in use by another process",
            Exit::Permission => "not permitted: key file open to others, privileged port",
            Exit::Configuration => "the data folder is another chain's or another release's",
        }
    }
}

/// An end with its reason.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Failure { exit, message: message.to_string() }
    }

    /// Says it on stderr and gives the code.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("error: {}", self.message);
        ExitCode::from(self.exit.code())
    }
}

/// The table of codes as the help shows it.
pub(crate) fn table() -> String {
    let mut text = String::from("Exit codes:\n   0  ended as asked\n");
    for exit in Exit::ALL {
        text.push_str(&format!("  {:>2}  {}\n", exit.code(), exit.meaning()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_every_code_with_its_meaning() {
        let page = include_str!("../../../docs/exit-codes.md");
        for exit in Exit::ALL {
            let row = format!("| {} | {} |", exit.code(), exit.meaning());
            assert!(page.contains(&row), "docs/exit-codes.md lacks the row: {row}");
        }
    }
}
