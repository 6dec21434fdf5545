//! writeahead: records are found by an address that the caller keeps.

use std::sync::Mutex;

use futures::StreamExt;
use futures::executor::block_on;
use writeahead::{RecordID, WriteAhead, WriteAheadOptions, WriteHandle};

use crate::peer::{Class, Engine, Peer, Reach, Result, Setup, Work};

pub const PEER: Peer = Peer {
    name: "writeahead",
    package: "writeahead",
    ours: false,
    open,
    reach: |work| match work {
        Work::Append => Reach::No("always durable: see `durable`"),
        Work::Batch => Reach::Survives(Class::Power, "always synced"),
        Work::Durable => Reach::Survives(Class::Power, "always synced"),
        Work::Threads16 | Work::Threads64 => Reach::Survives(Class::Power, "group commit"),
        Work::Scan => Reach::Reads("a stream"),
        Work::Random => Reach::Reads("by an address that the caller kept"),
        Work::Reopen => Reach::Reads("after a drop"),
    },
    reopen_to_scan: false,
    records_max: u64::MAX,
};

struct Ahead {
    log: WriteAhead,
    writer: WriteHandle,
    addresses: Mutex<Vec<RecordID>>,
}

fn open(setup: &Setup<'_>) -> Result<Box<dyn Engine>> {
    let options = WriteAheadOptions { log_dir: setup.dir.join("writeahead"), ..WriteAheadOptions::default() };
    let mut log = WriteAhead::with_options(options);
    log.start()?;
    let writer = log.writer()?;
    Ok(Box::new(Ahead { log, writer, addresses: Mutex::default() }))
}

impl Engine for Ahead {
    fn append(&self, value: &[u8]) -> Result<()> {
        let address = block_on(self.writer.write(value.to_vec()))?;
        self.addresses.lock().expect("no panic").push(address);
        Ok(())
    }

    fn append_batch(&self, values: &[&[u8]]) -> Result<()> {
        let records = values.iter().map(|value| value.to_vec()).collect();
        let addresses = block_on(self.writer.write_batch(records))?;
        self.addresses.lock().expect("no panic").extend(addresses);
        Ok(())
    }

    fn durable(&self, _: usize, value: &[u8]) -> Result<()> {
        self.append(value)
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut stream = self.log.create_stream()?;
        while let Some(record) = block_on(stream.next()) {
            each(&record?.1);
        }
        Ok(())
    }

    fn get(&self, number: u64, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let addresses = self.addresses.lock().expect("no panic");
        let address = addresses.get(usize::try_from(number)?).ok_or("no such address")?;
        each(&self.log.read(address.file_id, address.file_offset)?);
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
