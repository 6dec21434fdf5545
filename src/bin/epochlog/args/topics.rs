//! The options of `topic`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use epochlog::Offset;

use crate::bytes::parse_size;
use crate::time::parse_duration;

#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Create a topic
    Create(CreateArgs),
    /// List all topics
    List,
    /// Tell everything about one topic
    Describe { topic: String },
    /// Delete a topic: its records and its groups' commits, in one step
    Delete { topic: String },
    /// Give a topic more partitions
    AddPartitions {
        /// The name of the topic
        topic: String,
        /// How many it shall have in all
        total: u32,
    },
    /// Remove the oldest records, below an offset
    Trim(CutArgs),
    /// Remove the newest records, from an offset on; begins a new epoch
    Truncate(CutArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The name of the topic
    pub(crate) topic: String,
    /// The number of partitions
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) partitions: u32,
    /// The most bytes of a segment; a record or batch must fit into one [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) segment_bytes: Option<u64>,
    /// Begin a new segment when the active one is older [default: the retention age, if there is one]
    #[arg(long, value_name = "AGE", value_parser = parse_duration)]
    pub(crate) segment_age: Option<Duration>,
    /// Remove segments whose newest record is older
    #[arg(long, value_name = "AGE", value_parser = parse_duration)]
    pub(crate) retention_age: Option<Duration>,
    /// Remove the oldest segments while a partition takes more
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) retention_bytes: Option<u64>,
    /// What an acknowledgement survives
    #[arg(long, value_enum, default_value_t = DurabilityArg::Durable)]
    pub(crate) durability: DurabilityArg,
    /// Sync what is written about this often
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) sync_interval: Option<Duration>,
    /// Sync whenever this much is written and not synced
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) sync_bytes: Option<u64>,
    /// The most that may be written and not synced [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) unsynced_bytes_max: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DurabilityArg {
    /// The loss of power
    Durable,
    /// A kill of the process
    Written,
}

#[derive(Debug, Args)]
pub(crate) struct CutArgs {
    /// The name of the topic
    pub(crate) topic: String,
    /// The offset at which to cut
    #[arg(long, value_name = "OFFSET")]
    pub(crate) to: Offset,
    /// The partition; may be left out if there is only one
    #[arg(short, long, value_name = "N")]
    pub(crate) partition: Option<u32>,
}
