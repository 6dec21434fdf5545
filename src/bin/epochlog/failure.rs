//! How a command fails, what it says then, and with which exit code.
//!
//! Invariant: an error of the library is told in the library's words, with its causes, and then what to do in the words
//! of this program; a closed pipe is not a failure.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::args::Cli;
use crate::hint::hint;
use crate::say;

/// What a command comes to.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command didn't do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library refused.
    Refused(epochlog::Error),
    /// The input couldn't be read.
    Input { path: PathBuf, source: io::Error },
    /// Standard output couldn't be written.
    Output(io::Error),
    /// The program itself refused, before or beside the library.
    Told(String),
    /// Damage was found, and told already.
    Damage,
    /// The command line was wrong.
    Usage(String),
}

impl From<epochlog::Error> for Failure {
    fn from(error: epochlog::Error) -> Failure {
        Failure::Refused(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

impl Failure {
    pub(crate) fn input(path: &Path, source: io::Error) -> Failure {
        Failure::Input { path: path.to_path_buf(), source }
    }

    /// Says what went wrong and gives the exit code.
    pub(crate) fn report(self, cli: &Cli) -> ExitCode {
        match self {
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Failure::Usage(message) => Cli::command().error(clap::error::ErrorKind::ValueValidation, message).exit(),
            Failure::Output(error) => say(&format!("error: cannot write to standard output\ncaused by: {error}")),
            Failure::Input { path, source } => {
                say(&format!("error: cannot read `{}`\ncaused by: {source}", path.display()));
            }
            Failure::Told(message) => say(&format!("error: {message}")),
            Failure::Refused(error) => {
                report_refusal(&error);
                if let Some(hint) = hint(cli, &error) {
                    say(&format!("hint: {hint}"));
                }
            }
            Failure::Damage => {}
        }
        ExitCode::FAILURE
    }
}

/// An error of the library and everything that caused it.
pub(crate) fn report_refusal(error: &epochlog::Error) {
    say(&format!("error: {error}"));
    causes(error).for_each(|cause| say(&format!("caused by: {cause}")));
}

fn causes(error: &epochlog::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}
