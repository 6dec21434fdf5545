//! commitlog: a file of messages and a mapped index.

use std::sync::Mutex;

use commitlog::message::{MessageBuf, MessageSet};
use commitlog::{CommitLog, LogOptions, ReadLimit};

use crate::peer::{Class, Engine, Peer, Reach, Result, Setup, Work, unsupported};

pub const PEER: Peer = Peer {
    name: "commitlog",
    package: "commitlog",
    ours: false,
    open,
    reach: |work| match work {
        Work::Append | Work::Batch => Reach::Survives(Class::Process, "one `write` a call"),
        Work::Durable | Work::Threads16 | Work::Threads64 => Reach::No("`flush` issues no sync of the messages"),
        Work::Scan => Reach::Reads("checksums not verified"),
        Work::Random => Reach::Reads("by its offset"),
        Work::Reopen => Reach::Reads("after `flush`"),
    },
    reopen_to_scan: false,
    records_max: u64::MAX,
};

struct Log(Mutex<CommitLog>);

fn open(setup: &Setup<'_>) -> Result<Box<dyn Engine>> {
    Ok(Box::new(Log(Mutex::new(CommitLog::new(LogOptions::new(setup.dir.join("log")))?))))
}

impl Engine for Log {
    fn append(&self, value: &[u8]) -> Result<()> {
        self.0.lock().expect("no panic").append_msg(value)?;
        Ok(())
    }

    fn append_batch(&self, values: &[&[u8]]) -> Result<()> {
        let mut messages: MessageBuf = values.iter().collect();
        self.0.lock().expect("no panic").append(&mut messages)?;
        Ok(())
    }

    fn durable(&self, _: usize, _: &[u8]) -> Result<()> {
        Err(unsupported())
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let log = self.0.lock().expect("no panic");
        let mut next = 0;
        while next < log.next_offset() {
            let messages = log.read(next, ReadLimit::max_bytes(64 << 10))?;
            for message in messages.iter() {
                each(message.payload());
                next = message.offset() + 1;
            }
        }
        Ok(())
    }

    fn get(&self, number: u64, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let messages = self.0.lock().expect("no panic").read(number, ReadLimit::max_bytes(1200))?;
        messages.iter().take(1).for_each(|message| each(message.payload()));
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.into_inner().expect("no panic").flush()?)
    }
}
