//! raft-engine: the log store of a replicated key-value database.

use std::sync::Mutex;

use protobuf::reflect::MessageDescriptor;
use protobuf::well_known_types::BytesValue;
use protobuf::{Clear, CodedInputStream, CodedOutputStream, Message, ProtobufResult, UnknownFields};
use raft_engine::{Config, LogBatch, MessageExt};

use crate::peer::{Class, Engine, Peer, Reach, Result, Setup, Work};

pub const PEER: Peer = Peer {
    name: "raft-engine",
    package: "raft-engine",
    ours: false,
    open,
    reach: |work| match work {
        Work::Append | Work::Batch => Reach::Survives(Class::Process, "`write(.., false)`"),
        Work::Durable => Reach::Survives(Class::Power, "`write(.., true)`"),
        Work::Threads16 | Work::Threads64 => {
            Reach::Survives(Class::Power, "group commit; one raft group a thread, as an index must follow the last")
        }
        Work::Scan | Work::Random => Reach::Reads("by its index"),
        Work::Reopen => Reach::Reads("after a drop"),
    },
    reopen_to_scan: false,
    records_max: u64::MAX,
};

/// So many raft groups may be written at once.
const GROUPS: u64 = 64;

struct Raft {
    engine: raft_engine::Engine,
    /// The last index of each group.
    last: Vec<Mutex<u64>>,
}

fn open(setup: &Setup<'_>) -> Result<Box<dyn Engine>> {
    let dir = setup.dir.join("raft").to_string_lossy().into_owned();
    let engine = raft_engine::Engine::open(Config { dir, ..Config::default() })?;
    let last = (0..GROUPS).map(|group| Mutex::new(engine.last_index(group + 1).unwrap_or(0))).collect();
    Ok(Box::new(Raft { engine, last }))
}

impl Raft {
    fn write(&self, group: usize, values: &[&[u8]], sync: bool) -> Result<()> {
        let mut last = self.last[group].lock().expect("no panic");
        let entries: Vec<Entry> = (*last + 1..).zip(values).map(|(index, value)| Entry::new(index, value)).collect();
        let mut batch = LogBatch::with_capacity(1);
        batch.add_entries::<Entries>(group as u64 + 1, &entries)?;
        self.engine.write(&mut batch, sync)?;
        *last += values.len() as u64;
        Ok(())
    }
}

impl Engine for Raft {
    fn append(&self, value: &[u8]) -> Result<()> {
        self.write(0, &[value], false)
    }

    fn append_batch(&self, values: &[&[u8]]) -> Result<()> {
        self.write(0, values, false)
    }

    fn durable(&self, thread: usize, value: &[u8]) -> Result<()> {
        self.write(thread, &[value], true)
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut entries = Vec::new();
        for group in 1..=GROUPS {
            let (Some(mut next), Some(last)) = (self.engine.first_index(group), self.engine.last_index(group)) else {
                continue;
            };
            while next <= last {
                let end = (last + 1).min(next + 256);
                self.engine.fetch_entries_to::<Entries>(group, next, end, None, &mut entries)?;
                entries.drain(..).for_each(|entry| each(entry.value()));
                next = end;
            }
        }
        Ok(())
    }

    fn get(&self, number: u64, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let entry = self.engine.get_entry::<Entries>(1, number + 1)?.ok_or("no such entry")?;
        each(entry.value());
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct Entries;

impl MessageExt for Entries {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        u64::from_le_bytes(entry.0.value[..8].try_into().expect("eight bytes"))
    }
}

/// The least message that knows its index: it stands in front of the value.
#[derive(Clone, Debug, Default, PartialEq)]
struct Entry(BytesValue);

impl Entry {
    fn new(index: u64, value: &[u8]) -> Entry {
        let mut bytes = Vec::with_capacity(8 + value.len());
        bytes.extend_from_slice(&index.to_le_bytes());
        bytes.extend_from_slice(value);
        Entry(BytesValue { value: bytes, ..BytesValue::default() })
    }

    fn value(&self) -> &[u8] {
        &self.0.value[8..]
    }
}

impl Clear for Entry {
    fn clear(&mut self) {
        self.0.clear();
    }
}

impl Message for Entry {
    fn descriptor(&self) -> &'static MessageDescriptor {
        self.0.descriptor()
    }

    fn is_initialized(&self) -> bool {
        self.0.is_initialized()
    }

    fn merge_from(&mut self, stream: &mut CodedInputStream<'_>) -> ProtobufResult<()> {
        self.0.merge_from(stream)
    }

    fn write_to_with_cached_sizes(&self, stream: &mut CodedOutputStream<'_>) -> ProtobufResult<()> {
        self.0.write_to_with_cached_sizes(stream)
    }

    fn compute_size(&self) -> u32 {
        self.0.compute_size()
    }

    fn get_cached_size(&self) -> u32 {
        self.0.get_cached_size()
    }

    fn get_unknown_fields(&self) -> &UnknownFields {
        self.0.get_unknown_fields()
    }

    fn mut_unknown_fields(&mut self) -> &mut UnknownFields {
        self.0.mut_unknown_fields()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn new() -> Entry {
        Entry::default()
    }

    fn default_instance() -> &'static Entry {
        static INSTANCE: std::sync::LazyLock<Entry> = std::sync::LazyLock::new(Entry::default);
        &INSTANCE
    }
}
