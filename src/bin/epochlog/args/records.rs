//! The options of `produce`, `consume`, `group` and `segment`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use epochlog::{Offset, Place, Timestamp};

use crate::format::Template;
use crate::time::parse_time;

#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    /// The name of the topic
    pub(crate) topic: String,
    /// Read this file and not standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// What is before this in a line is the key
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["key", "raw"])]
    pub(crate) key_separator: Option<String>,
    /// The key of every record
    #[arg(long, value_name = "TEXT")]
    pub(crate) key: Option<String>,
    /// A header of every record; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = parse_header)]
    pub(crate) headers: Vec<(String, String)>,
    /// The partition; without it the key decides, or they take turns
    #[arg(short, long, value_name = "N")]
    pub(crate) partition: Option<u32>,
    /// All of the input is one record
    #[arg(long)]
    pub(crate) raw: bool,
    /// The most lines that are appended as one batch; what has arrived is never held back for more
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// Acknowledge what survives a kill, and sync once at the end
    #[arg(long)]
    pub(crate) written: bool,
    /// Print each acknowledged place as it comes: everything before it is kept
    #[arg(long)]
    pub(crate) acks: bool,
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected `NAME=VALUE`")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// The name of the topic
    pub(crate) topic: String,
    /// Read as this group: begin at its commit, and commit what was printed
    #[arg(short, long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    #[command(flatten)]
    pub(crate) from: FromArgs,
    /// Stop at the end of what is there; this is the default
    #[arg(short = 'd', long = "disable-follow", conflicts_with = "follow")]
    pub(crate) to_end: bool,
    /// Go on with what comes
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Go around damaged batches and say which records that leaves out; without it the first one ends the command
    #[arg(long)]
    pub(crate) skip_damaged: bool,
    /// Print only the first N records of each partition
    #[arg(long, value_name = "N")]
    pub(crate) head: Option<u64>,
    /// Stop before this offset
    #[arg(long, value_name = "OFFSET")]
    pub(crate) end: Option<Offset>,
    /// Stop before the first record of this time or later: `10m` ago, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "follow")]
    pub(crate) until: Option<Timestamp>,
    /// Only this partition; may be repeated [default: all]
    #[arg(short, long = "partition", value_name = "N")]
    pub(crate) partitions: Vec<u32>,
    /// How to print a record: {{value}} {{key}} {{offset}} {{partition}} {{timestamp}} {{headers}} {{place}} \t \n
    #[arg(long, value_name = "TEMPLATE", value_parser = Template::parse)]
    pub(crate) format: Option<Template>,
}

/// Where to begin: one of these, and with a group only where it has no commit.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct FromArgs {
    /// Begin at the first record; this is the default; with a group only where it has no commit
    #[arg(short = 'B', long)]
    pub(crate) beginning: bool,
    /// Begin N records before the end of each partition; at the first if there are fewer; with a group only where it
    /// has no commit
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<u64>,
    /// Begin at this offset; with a group only where it has no commit
    #[arg(long, value_name = "OFFSET")]
    pub(crate) start: Option<Offset>,
    /// Begin at the first record of this time or later: `10m` ago, or RFC 3339; with a group only where it has no commit
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) since: Option<Timestamp>,
    /// Resume at a place that was printed or acknowledged, such as `0:72@7.9f3a5c01d2e4b687`; with a group only where
    /// it has no commit
    #[arg(long, value_name = "PLACE")]
    pub(crate) at: Option<String>,
}

impl FromArgs {
    pub(crate) fn place(&self) -> Result<Option<Place>, epochlog::Error> {
        self.at.as_deref().map(str::parse).transpose()
    }

    /// The option that was given.
    pub(crate) fn option(&self) -> Option<&'static str> {
        let given = [
            (self.beginning, "--beginning"),
            (self.tail.is_some(), "--tail"),
            (self.start.is_some(), "--start"),
            (self.since.is_some(), "--since"),
            (self.at.is_some(), "--at"),
        ];
        given.into_iter().find(|(is_given, _)| *is_given).map(|(_, option)| option)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// List the groups of a topic, or of all topics
    List { topic: Option<String> },
    /// Tell how far a group has come
    Describe { topic: String, group: String },
    /// Move a group
    Reset(ResetArgs),
    /// Forget a group's commits in a topic
    Delete { topic: String, group: String },
}

#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    /// The name of the topic
    pub(crate) topic: String,
    /// The name of the group
    pub(crate) group: String,
    /// Where to: earliest, latest, an offset, a time (`10m` ago, or RFC 3339) or a place
    #[arg(long, value_name = "WHERE")]
    pub(crate) to: String,
    /// Only this partition; may be repeated [default: all, or that of the place]
    #[arg(short, long = "partition", value_name = "N")]
    pub(crate) partitions: Vec<u32>,
    /// Only say what would happen
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SegmentCommand {
    /// List the segments of a topic
    List {
        /// The name of the topic
        topic: String,
        /// Only this partition; may be repeated [default: all]
        #[arg(short, long = "partition", value_name = "N")]
        partitions: Vec<u32>,
    },
    /// Tell the batches of one segment, damaged ones too
    Dump {
        /// The name of the topic
        topic: String,
        /// The base offset of the segment, or any offset in it
        base: Offset,
        /// The partition
        #[arg(short, long, value_name = "N", default_value_t = 0)]
        partition: u32,
        /// Tell the records too
        #[arg(long)]
        records: bool,
    },
}
