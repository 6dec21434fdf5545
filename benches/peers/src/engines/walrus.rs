//! walrus-rust with its file descriptors: a reader consumes what it reads.

use walrus_rust::{FsyncSchedule, ReadConsistency, Walrus};

use crate::peer::{Class, Engine, Mode, Peer, Reach, Result, Setup, Work, unsupported};

pub const PEER: Peer = Peer {
    name: "walrus",
    package: "walrus-rust",
    ours: false,
    open,
    reach: |work| match work {
        Work::Append => Reach::Survives(Class::Process, "`NoFsync`: one `pwrite` a call"),
        Work::Batch => Reach::Survives(Class::Power, "io_uring, and always synced"),
        Work::Durable => Reach::Survives(Class::Power, "`SyncEach`: the file is opened with `O_SYNC`"),
        Work::Threads16 | Work::Threads64 => Reach::Survives(Class::Power, "`SyncEach`, no group commit"),
        Work::Scan => Reach::Reads("consumes: once after each open"),
        Work::Random => Reach::No("no reading by number"),
        Work::Reopen => Reach::Reads("after a drop"),
    },
    reopen_to_scan: true,
    records_max: u64::MAX,
};

/// Where it puts all its directories: nothing but this variable says so. It is set before any thread is started.
pub const BASE_VARIABLE: &str = "WALRUS_DATA_DIR";
pub const QUIET_VARIABLE: &str = "WALRUS_QUIET";

const TOPIC: &str = "bench";

struct Log(Walrus);

fn open(setup: &Setup<'_>) -> Result<Box<dyn Engine>> {
    let key = setup.dir.file_name().and_then(|name| name.to_str()).ok_or("a directory with a name")?;
    let schedule = match setup.mode {
        Mode::Written => FsyncSchedule::NoFsync,
        Mode::Durable => FsyncSchedule::SyncEach,
    };
    let consistency = ReadConsistency::AtLeastOnce { persist_every: u32::MAX };
    Ok(Box::new(Log(Walrus::with_consistency_and_schedule_for_key(key, consistency, schedule)?)))
}

impl Engine for Log {
    fn append(&self, value: &[u8]) -> Result<()> {
        Ok(self.0.append_for_topic(TOPIC, value)?)
    }

    fn append_batch(&self, values: &[&[u8]]) -> Result<()> {
        Ok(self.0.batch_append_for_topic(TOPIC, values)?)
    }

    fn durable(&self, _: usize, value: &[u8]) -> Result<()> {
        self.append(value)
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        loop {
            let records = self.0.batch_read_for_topic(TOPIC, 1 << 20, true)?;
            if records.is_empty() {
                return Ok(());
            }
            records.iter().for_each(|record| each(&record.data));
        }
    }

    fn get(&self, _: u64, _: &mut dyn FnMut(&[u8])) -> Result<()> {
        Err(unsupported())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
