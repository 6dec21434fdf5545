//! fjall: a log-structured merge tree, keyed by the record's number.

use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::peer::{Class, Engine, Peer, Reach, Result, Setup, Work};

pub const PEER: Peer = Peer {
    name: "fjall",
    package: "fjall",
    ours: false,
    open,
    reach: |work| match work {
        Work::Append | Work::Batch => Reach::Survives(Class::Process, "its journal is written at every commit"),
        Work::Durable => Reach::Survives(Class::Power, "`persist(SyncData)`"),
        Work::Threads16 | Work::Threads64 => Reach::Survives(Class::Power, "`persist(SyncData)`, no group commit"),
        Work::Scan => Reach::Reads("by key"),
        Work::Random => Reach::Reads("by key"),
        Work::Reopen => Reach::Reads("after a drop"),
    },
    reopen_to_scan: false,
    records_max: u64::MAX,
};

struct Fjall {
    database: Database,
    records: Keyspace,
    next: AtomicU64,
}

fn open(setup: &Setup<'_>) -> Result<Box<dyn Engine>> {
    let database = Database::builder(setup.dir.join("fjall")).open()?;
    let records = database.keyspace("records", KeyspaceCreateOptions::default)?;
    let last = records.last_key_value().map(fjall::Guard::key).transpose()?;
    let next = match last {
        Some(key) => u64::from_be_bytes(key.as_ref().try_into()?) + 1,
        None => 0,
    };
    Ok(Box::new(Fjall { database, records, next: AtomicU64::new(next) }))
}

impl Engine for Fjall {
    fn append(&self, value: &[u8]) -> Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(self.records.insert(number.to_be_bytes(), value)?)
    }

    fn append_batch(&self, values: &[&[u8]]) -> Result<()> {
        let from = self.next.fetch_add(values.len() as u64, Ordering::Relaxed);
        let mut batch = self.database.batch();
        for (number, value) in (from..).zip(values) {
            batch.insert(&self.records, number.to_be_bytes(), *value);
        }
        Ok(batch.commit()?)
    }

    fn durable(&self, _: usize, value: &[u8]) -> Result<()> {
        self.append(value)?;
        Ok(self.database.persist(PersistMode::SyncData)?)
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        for record in self.records.iter() {
            each(&record.value()?);
        }
        Ok(())
    }

    fn get(&self, number: u64, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        each(&self.records.get(number.to_be_bytes())?.ok_or("no such key")?);
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
