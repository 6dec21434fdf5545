//! open-wal: one writer that stages records in memory and commits them.

use std::sync::Mutex;

use open_wal::{Lsn, Wal, WalConfig};

use crate::peer::{Class, Engine, Peer, Reach, Result, Setup, Work, unsupported};

pub const PEER: Peer = Peer {
    name: "open-wal",
    package: "open-wal",
    ours: false,
    open,
    reach: |work| match work {
        Work::Append => Reach::Survives(Class::Memory, "staged in its own buffer until `commit`"),
        Work::Batch => Reach::Survives(Class::Power, "`commit` syncs"),
        Work::Durable => Reach::Survives(Class::Power, "`commit` syncs"),
        Work::Threads16 | Work::Threads64 => Reach::Survives(Class::Power, "behind a lock, no group commit"),
        Work::Scan => Reach::Reads("a reader from the start"),
        Work::Random => Reach::No("a reader walks to its start"),
        Work::Reopen => Reach::Reads("after a drop"),
    },
    reopen_to_scan: false,
    records_max: u64::MAX,
};

struct Open(Mutex<Wal>);

fn open(setup: &Setup<'_>) -> Result<Box<dyn Engine>> {
    let dir = setup.dir.join("open-wal");
    std::fs::create_dir_all(&dir)?;
    Ok(Box::new(Open(Mutex::new(Wal::open(&dir, WalConfig::default())?.0))))
}

impl Engine for Open {
    fn append(&self, value: &[u8]) -> Result<()> {
        self.0.lock().expect("no panic").append(value)?;
        Ok(())
    }

    fn append_batch(&self, values: &[&[u8]]) -> Result<()> {
        let mut log = self.0.lock().expect("no panic");
        for value in values {
            log.append(value)?;
        }
        log.commit()?;
        Ok(())
    }

    fn durable(&self, _: usize, value: &[u8]) -> Result<()> {
        self.append_batch(&[value])
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let log = self.0.lock().expect("no panic");
        let mut reader = log.reader_from(Lsn(0))?;
        while let Some(record) = reader.next() {
            each(record?.1);
        }
        Ok(())
    }

    fn get(&self, _: u64, _: &mut dyn FnMut(&[u8])) -> Result<()> {
        Err(unsupported())
    }

    fn settle(&self) -> Result<()> {
        self.0.lock().expect("no panic").commit()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
