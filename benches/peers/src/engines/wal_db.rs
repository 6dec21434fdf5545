//! wal-db: records are found by a byte position that the caller keeps.

use std::sync::Mutex;

use wal_db::{Lsn, Wal};

use crate::peer::{Class, Engine, Peer, Reach, Result, Setup, Work};

pub const PEER: Peer = Peer {
    name: "wal-db",
    package: "wal-db",
    ours: false,
    open,
    reach: |work| match work {
        Work::Append => Reach::Survives(Class::Process, "one `pwrite` a call"),
        Work::Batch => Reach::No("no batches"),
        Work::Durable => Reach::Survives(Class::Power, "`append_and_sync`"),
        Work::Threads16 | Work::Threads64 => Reach::Survives(Class::Power, "group commit"),
        Work::Scan => Reach::Reads("an iterator"),
        Work::Random => Reach::Reads("by a position that the caller kept"),
        Work::Reopen => Reach::Reads("after a drop"),
    },
    reopen_to_scan: false,
    records_max: u64::MAX,
};

struct Db {
    log: Wal,
    positions: Mutex<Vec<Lsn>>,
}

fn open(setup: &Setup<'_>) -> Result<Box<dyn Engine>> {
    Ok(Box::new(Db { log: Wal::open(setup.dir.join("wal"))?, positions: Mutex::default() }))
}

impl Engine for Db {
    fn append(&self, value: &[u8]) -> Result<()> {
        let position = self.log.append(value)?;
        self.positions.lock().expect("no panic").push(position);
        Ok(())
    }

    fn append_batch(&self, values: &[&[u8]]) -> Result<()> {
        values.iter().try_for_each(|value| self.append(value))
    }

    fn durable(&self, _: usize, value: &[u8]) -> Result<()> {
        self.log.append_and_sync(value).map(|_| ()).map_err(Into::into)
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        for record in self.log.iter()? {
            each(record?.data());
        }
        Ok(())
    }

    fn get(&self, number: u64, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let position = self.positions.lock().expect("no panic")[usize::try_from(number)?];
        each(self.log.iter_from(position)?.next().ok_or("no such record")??.data());
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
