//! okaywal: a write-ahead log that is read when it is recovered, and only then.

use std::io;
use std::sync::{Arc, Mutex};

use okaywal::{Configuration, Entry, EntryId, LogManager, SegmentReader, WriteAheadLog};

use crate::peer::{Class, Engine, Peer, Reach, Result, Setup, Work, unsupported};

pub const PEER: Peer = Peer {
    name: "okaywal",
    package: "okaywal",
    ours: false,
    open,
    reach: |work| match work {
        Work::Append => Reach::No("always durable: see `durable`"),
        Work::Batch => Reach::Survives(Class::Power, "one entry of 100 chunks, always synced"),
        Work::Durable => Reach::Survives(Class::Power, "always synced"),
        Work::Threads16 | Work::Threads64 => Reach::Survives(Class::Power, "group commit"),
        Work::Scan | Work::Random => Reach::No("read only when it is recovered"),
        Work::Reopen => Reach::Reads("after `shutdown`; hands over all records"),
    },
    reopen_to_scan: true,
    records_max: u64::MAX,
};

/// What was recovered; nothing is ever checkpointed away.
#[derive(Clone, Debug, Default)]
struct Recovered(Arc<Mutex<Vec<Vec<u8>>>>);

impl LogManager for Recovered {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        if let Some(chunks) = entry.read_all_chunks()? {
            self.0.lock().expect("no panic").extend(chunks);
        }
        Ok(())
    }

    fn checkpoint_to(&mut self, _: EntryId, _: &mut SegmentReader, _: &WriteAheadLog) -> io::Result<()> {
        Ok(())
    }
}

struct Okay {
    log: WriteAheadLog,
    recovered: Recovered,
}

fn open(setup: &Setup<'_>) -> Result<Box<dyn Engine>> {
    let recovered = Recovered::default();
    let log = Configuration::default_for(setup.dir.join("okaywal"))
        .preallocate_bytes(32 << 20)
        .checkpoint_after_bytes(1 << 40)
        .open(recovered.clone())?;
    Ok(Box::new(Okay { log, recovered }))
}

impl Engine for Okay {
    fn append(&self, value: &[u8]) -> Result<()> {
        self.append_batch(&[value])
    }

    fn append_batch(&self, values: &[&[u8]]) -> Result<()> {
        let mut entry = self.log.begin_entry()?;
        for value in values {
            entry.write_chunk(value)?;
        }
        entry.commit()?;
        Ok(())
    }

    fn durable(&self, _: usize, value: &[u8]) -> Result<()> {
        self.append(value)
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.recovered.0.lock().expect("no panic").iter().for_each(|value| each(value));
        Ok(())
    }

    fn get(&self, _: u64, _: &mut dyn FnMut(&[u8])) -> Result<()> {
        Err(unsupported())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.log.shutdown()?)
    }
}
