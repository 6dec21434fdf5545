//! What an engine must offer to be measured, and what it says about itself.

use std::path::Path;

use clap::ValueEnum;
use serde::Serialize;

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Error>;

/// How many records one call of `batch` appends.
pub const BATCH: usize = 100;

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    Append,
    Batch,
    Durable,
    Threads16,
    Threads64,
    Scan,
    Random,
    Reopen,
}

impl Work {
    pub const ALL: [Work; 8] = [
        Work::Append,
        Work::Batch,
        Work::Durable,
        Work::Threads16,
        Work::Threads64,
        Work::Scan,
        Work::Random,
        Work::Reopen,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Work::Append => "append",
            Work::Batch => "batch",
            Work::Durable => "durable",
            Work::Threads16 => "16 threads",
            Work::Threads64 => "64 threads",
            Work::Scan => "scan",
            Work::Random => "random",
            Work::Reopen => "reopen",
        }
    }
}

/// What an acknowledged record survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Nothing: it is in a buffer of the engine's own.
    Memory,
    /// kill -9 of the process.
    Process,
    /// A power cut.
    Power,
}

/// What an engine makes of a kind of work, and why.
#[derive(Clone, Copy, Debug)]
pub enum Reach {
    Survives(Class, &'static str),
    Reads(&'static str),
    No(&'static str),
}

impl Reach {
    pub fn can(self) -> bool {
        !matches!(self, Reach::No(_))
    }

    pub fn class(self) -> Option<Class> {
        match self {
            Reach::Survives(class, _) => Some(class),
            Reach::Reads(_) | Reach::No(_) => None,
        }
    }

    pub fn why(self) -> &'static str {
        match self {
            Reach::Survives(_, why) | Reach::Reads(why) | Reach::No(why) => why,
        }
    }
}

/// What the records of an open engine shall survive, for those that are told when they are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Written,
    Durable,
}

/// Where and how an engine is opened; one that isn't there is created.
pub struct Setup<'a> {
    pub dir: &'a Path,
    pub mode: Mode,
    /// Ours alone.
    pub unsynced_bytes_max: Option<u64>,
}

/// An open engine, holding records with the numbers from 0.
pub trait Engine: Send + Sync {
    fn append(&self, value: &[u8]) -> Result<()>;

    fn append_batch(&self, values: &[&[u8]]) -> Result<()>;

    /// Appends one record and makes it as durable as this engine can. The threads that call it are numbered from 0.
    fn durable(&self, thread: usize, value: &[u8]) -> Result<()>;

    /// Hands over all records in order; those of different threads may be mixed.
    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> Result<()>;

    /// Hands over the record with this number.
    fn get(&self, number: u64, each: &mut dyn FnMut(&[u8])) -> Result<()>;

    /// Whatever it takes, untimed, that a scan finds what was appended.
    fn settle(&self) -> Result<()> {
        Ok(())
    }

    /// A clean close.
    fn close(self: Box<Self>) -> Result<()>;
}

/// An engine as it is listed.
#[derive(Clone, Copy)]
pub struct Peer {
    /// As in the tables and behind `--only`.
    pub name: &'static str,
    /// Its package, to find the version in the lock file.
    pub package: &'static str,
    pub ours: bool,
    pub open: fn(&Setup<'_>) -> Result<Box<dyn Engine>>,
    pub reach: fn(Work) -> Reach,
    /// It hands its records over but once, or only when it is opened.
    pub reopen_to_scan: bool,
    /// More records than this would take it minutes.
    pub records_max: u64,
}

/// For an operation that the engine has not, and that [`Peer::reach`] says so of.
pub fn unsupported() -> Error {
    "this engine has no such operation".into()
}
