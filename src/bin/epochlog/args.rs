//! The command line, as clap reads it.
//!
//! Invariant: what clap can check is checked here, so that a wrong command line ends with exit code 2 before anything is
//! opened; what only the store can know is refused by the library. The commands' own options are in `args/`.

mod records;
mod repair;
mod topics;

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

pub(crate) use records::{ConsumeArgs, FromArgs, GroupCommand, ProduceArgs, ResetArgs, SegmentCommand};
pub(crate) use repair::{RepairArgs, VerifyArgs};
pub(crate) use topics::{CreateArgs, CutArgs, DurabilityArg, TopicCommand};

const EXIT_CODES: &str = "\
Exit codes:
  0  All went well, or whoever reads the output closed it early
  1  Something was refused or failed, or damage was found
  2  The command line is wrong";

/// An embedded log engine: topics, partitions and consumer groups in one directory.
#[derive(Debug, Parser)]
#[command(name = "epochlog", version, propagate_version = true, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// The store's directory
    #[arg(long, global = true, value_name = "DIR", env = "EPOCHLOG_DATA")]
    pub(crate) data: Option<PathBuf>,

    /// Whether the directory was typed here, and not found in the environment.
    #[arg(skip)]
    pub(crate) data_is_typed: bool,

    /// Whether files are memory-mapped
    #[arg(long, global = true, value_enum, default_value_t = MappingArg::Auto)]
    pub(crate) mapping: MappingArg,

    /// Tables for people, or JSON for programs: one document, or one object a line for records and batches
    #[arg(short = 'O', long = "output", global = true, value_enum, default_value_t = OutputArg::Table)]
    pub(crate) output: OutputArg,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// As the program was called; a wrong command line ends it.
    pub(crate) fn read() -> Cli {
        let matches = Cli::command().get_matches();
        let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        cli.data_is_typed = matches.value_source("data") == Some(ValueSource::CommandLine);
        cli
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MappingArg {
    /// Where the file system makes it safe
    Auto,
    /// Positioned reads and writes only
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputArg {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create an empty store in the directory
    Init,
    /// Create, list, describe, delete and cut topics
    Topic {
        #[command(subcommand)]
        command: TopicCommand,
    },
    /// Append records: each line of standard input, or of a file
    Produce(ProduceArgs),
    /// Print records, up to the end or following it
    Consume(ConsumeArgs),
    /// See and change how far groups have read
    Group {
        #[command(subcommand)]
        command: GroupCommand,
    },
    /// Look at the segments of a topic, read-only
    Segment {
        #[command(subcommand)]
        command: SegmentCommand,
    },
    /// Read everything and name what is damaged, read-only
    Verify(VerifyArgs),
    /// Put right what keeps a store, a topic or a partition closed; says first what it does and what that costs
    Repair(RepairArgs),
    /// See it work: append real lines, consume them, delete and recreate the topic, and meet the refusal
    ///
    /// Makes a store of its own, which stays: in the directory that `--data` names, or else in a new one among the
    /// temporary files. What `EPOCHLOG_DATA` names is left alone.
    Demo {
        /// A file or a directory whose lines are appended [default: the sources of epochlog]
        path: Option<PathBuf>,
    },
}
