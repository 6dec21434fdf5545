//! redb: a copy-on-write B-tree, keyed by the record's number.

use std::sync::atomic::{AtomicU64, Ordering};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use crate::peer::{Class, Engine, Peer, Reach, Result, Setup, Work};

pub const PEER: Peer = Peer {
    name: "redb",
    package: "redb",
    ours: false,
    open,
    reach: |work| match work {
        Work::Append | Work::Batch => Reach::Survives(Class::Memory, "`Durability::None`: lost at kill -9"),
        Work::Durable => Reach::Survives(Class::Power, "`Durability::Immediate`"),
        Work::Threads16 | Work::Threads64 => Reach::Survives(Class::Power, "one writer at a time"),
        Work::Scan | Work::Random => Reach::Reads("by key, one read transaction a call"),
        Work::Reopen => Reach::Reads("after a drop"),
    },
    reopen_to_scan: false,
    records_max: u64::MAX,
};

const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");

struct Redb {
    database: Database,
    next: AtomicU64,
}

fn open(setup: &Setup<'_>) -> Result<Box<dyn Engine>> {
    let database = Database::create(setup.dir.join("redb"))?;
    let transaction = database.begin_write()?;
    let next = match transaction.open_table(TABLE)?.last()? {
        Some((key, _)) => key.value() + 1,
        None => 0,
    };
    transaction.commit()?;
    Ok(Box::new(Redb { database, next: AtomicU64::new(next) }))
}

impl Redb {
    fn insert(&self, values: &[&[u8]], durability: Durability) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(durability)?;
        let from = self.next.fetch_add(values.len() as u64, Ordering::Relaxed);
        let mut table = transaction.open_table(TABLE)?;
        for (number, value) in (from..).zip(values) {
            table.insert(number, *value)?;
        }
        drop(table);
        Ok(transaction.commit()?)
    }
}

impl Engine for Redb {
    fn append(&self, value: &[u8]) -> Result<()> {
        self.insert(&[value], Durability::None)
    }

    fn append_batch(&self, values: &[&[u8]]) -> Result<()> {
        self.insert(values, Durability::None)
    }

    fn durable(&self, _: usize, value: &[u8]) -> Result<()> {
        self.insert(&[value], Durability::Immediate)
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        for record in self.database.begin_read()?.open_table(TABLE)?.iter()? {
            each(record?.1.value());
        }
        Ok(())
    }

    fn get(&self, number: u64, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let table = self.database.begin_read()?.open_table(TABLE)?;
        each(table.get(number)?.ok_or("no such key")?.value());
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
