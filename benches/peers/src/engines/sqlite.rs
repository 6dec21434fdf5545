//! SQLite in WAL mode, through rusqlite: one table, keyed by the record's number.

use std::sync::Mutex;

use rusqlite::Connection;

use crate::peer::{Class, Engine, Mode, Peer, Reach, Result, Setup, Work};

pub const PEER: Peer = Peer {
    name: "SQLite",
    package: "rusqlite",
    ours: false,
    open,
    reach: |work| match work {
        Work::Append | Work::Batch => Reach::Survives(Class::Process, "WAL mode, `synchronous=NORMAL`"),
        Work::Durable => Reach::Survives(Class::Power, "WAL mode, `synchronous=FULL`"),
        Work::Threads16 | Work::Threads64 => Reach::Survives(Class::Power, "one connection behind a lock"),
        Work::Scan | Work::Random => Reach::Reads("by rowid"),
        Work::Reopen => Reach::Reads("after a close, which checkpoints"),
    },
    reopen_to_scan: false,
    records_max: u64::MAX,
};

struct Sqlite(Mutex<Connection>);

fn open(setup: &Setup<'_>) -> Result<Box<dyn Engine>> {
    let connection = Connection::open(setup.dir.join("sqlite"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = match setup.mode {
        Mode::Written => "NORMAL",
        Mode::Durable => "FULL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.execute("CREATE TABLE IF NOT EXISTS records (number INTEGER PRIMARY KEY, value BLOB)", ())?;
    Ok(Box::new(Sqlite(Mutex::new(connection))))
}

const INSERT: &str = "INSERT INTO records (value) VALUES (?1)";

impl Engine for Sqlite {
    fn append(&self, value: &[u8]) -> Result<()> {
        self.0.lock().expect("no panic").prepare_cached(INSERT)?.execute([value])?;
        Ok(())
    }

    fn append_batch(&self, values: &[&[u8]]) -> Result<()> {
        let mut connection = self.0.lock().expect("no panic");
        let transaction = connection.transaction()?;
        let mut insert = transaction.prepare_cached(INSERT)?;
        for value in values {
            insert.execute([value])?;
        }
        drop(insert);
        Ok(transaction.commit()?)
    }

    fn durable(&self, _: usize, value: &[u8]) -> Result<()> {
        self.append(value)
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let connection = self.0.lock().expect("no panic");
        let mut select = connection.prepare_cached("SELECT value FROM records ORDER BY number")?;
        let mut rows = select.query(())?;
        while let Some(row) = rows.next()? {
            each(row.get_ref(0)?.as_blob()?);
        }
        Ok(())
    }

    fn get(&self, number: u64, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let connection = self.0.lock().expect("no panic");
        let mut select = connection.prepare_cached("SELECT value FROM records WHERE number = ?1")?;
        let mut rows = select.query([i64::try_from(number)? + 1])?;
        each(rows.next()?.ok_or("no such row")?.get_ref(0)?.as_blob()?);
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.0.into_inner().expect("no panic").close().map_err(|(_, error)| error.into())
    }
}
