//! Ourselves, once for each level of durability, and once without maps.

use epochlog::{
    AppendOptions, Durability, Mapping, Offset, Partition, Record, Start, Store, StoreOptions, TopicOptions,
};

use crate::peer::{Class, Engine, Peer, Reach, Result, Setup, Work};

pub const WRITTEN: Peer = Peer {
    name: "epochlog",
    package: "epochlog",
    ours: true,
    open: |setup| open(setup, Durability::Written, Mapping::Auto),
    reach: |work| match work {
        Work::Append | Work::Batch => Reach::Survives(Class::Process, "`Written`: copied into a mapped file"),
        Work::Durable | Work::Threads16 | Work::Threads64 => Reach::No("see `epochlog-durable`"),
        Work::Scan | Work::Random => Reach::Reads("checksums verified"),
        Work::Reopen => Reach::Reads("after `Store::close`"),
    },
    reopen_to_scan: false,
    records_max: u64::MAX,
};

pub const DURABLE: Peer = Peer {
    name: "epochlog-durable",
    open: |setup| open(setup, Durability::Durable, Mapping::Auto),
    reach: |work| match work {
        Work::Append => Reach::No("the same as `durable`"),
        Work::Batch => Reach::Survives(Class::Power, "`Durable`: one `fdatasync` a batch"),
        Work::Durable => Reach::Survives(Class::Power, "`Durable`: one `fdatasync` a record"),
        Work::Threads16 | Work::Threads64 => Reach::Survives(Class::Power, "`Durable`: group commit"),
        Work::Scan | Work::Random | Work::Reopen => Reach::No("see `epochlog`"),
    },
    ..WRITTEN
};

pub const UNMAPPED: Peer = Peer {
    name: "epochlog-unmapped",
    open: |setup| open(setup, Durability::Written, Mapping::Never),
    reach: |work| match work {
        Work::Append | Work::Batch => Reach::Survives(Class::Process, "`Mapping::Never`: one `pwrite` a call"),
        other => (WRITTEN.reach)(other),
    },
    ..WRITTEN
};

struct Ours {
    store: Store,
    partition: Partition,
    options: AppendOptions,
}

fn open(setup: &Setup<'_>, durability: Durability, mapping: Mapping) -> Result<Box<dyn Engine>> {
    let mut topic = TopicOptions::new();
    if let Some(bytes) = setup.unsynced_bytes_max {
        topic = topic.unsynced_bytes_max(bytes);
    }
    let store = StoreOptions::new().mapping(mapping).background(true).open_or_create(setup.dir.join("store"))?;
    let partition = store.topic_or_create("bench", topic)?.partition(0)?;
    Ok(Box::new(Ours { store, partition, options: AppendOptions::new().durability(durability) }))
}

impl Engine for Ours {
    fn append(&self, value: &[u8]) -> Result<()> {
        self.partition.append_with(Record::new(value), self.options)?;
        Ok(())
    }

    fn append_batch(&self, values: &[&[u8]]) -> Result<()> {
        let records: Vec<Record<'_>> = values.iter().map(Record::new).collect();
        self.partition.append_batch_with(&records, self.options)?;
        Ok(())
    }

    fn durable(&self, _: usize, value: &[u8]) -> Result<()> {
        self.append(value)
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut reader = self.partition.read_from(Start::Earliest)?;
        loop {
            let records = reader.read()?;
            if records.is_empty() {
                return Ok(());
            }
            records.iter().for_each(|record| each(record.value()));
        }
    }

    fn get(&self, number: u64, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.partition.get(Offset::new(number))?.iter().take(1).for_each(|record| each(record.value()));
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.store.close()?)
    }
}
