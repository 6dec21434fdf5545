//! Makes calls to a store whose disk fails, goes on after every error, and keeps what it was told.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use epochlog::testing::{Image, SimDisk};
use epochlog::{
    AppendOptions, Durability, Error, Mapping, Offset, Partition, Record, Start, Store, Topic, TopicOptions,
};
use parking_lot::Mutex;

use super::oracle::{Exists, Fate, GROUP, Generation, TOPIC, Told, Verdict, fate_of};
use crate::support::{AT_ONCE, options};

/// A topic that no call of a workload touches; it holds one record.
pub const OTHER: &str = "audit";

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Create,
    Append(Durability),
    Batch(usize, Durability),
    /// Appends until the segment is full.
    Roll(Durability),
    Sync,
    /// Trims to so many records behind the start.
    Trim(u64),
    /// Takes back so many records.
    Truncate(u64),
    /// Reads to the end in a group, and commits.
    Commit,
    Delete,
    Maintain,
    Close,
    Open,
}

/// A call that failed.
#[derive(Debug)]
pub struct Failed {
    pub call: Call,
    pub error: Error,
}

/// The operation that was hit.
#[derive(Clone, Debug)]
pub struct Hit {
    pub number: u64,
    pub name: &'static str,
    pub path: PathBuf,
}

impl Hit {
    pub fn is_sync(&self) -> bool {
        self.name == "sync" || self.name == "sync_dir"
    }

    /// Whether the operation changes something.
    pub fn is_write(&self) -> bool {
        !["list", "open", "try_lock", "len", "read", "map_read", "map_write"].contains(&self.name)
    }
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {} `{}` on `{}`", self.number, self.name, self.path.display())
    }
}

pub struct Player {
    pub disk: SimDisk,
    pub mapping: Mapping,
    pub store: Option<Store>,
    pub told: Told,
    pub failed: Vec<Failed>,
    /// Whether what is there must be what was told; not on a disk that lies.
    pub trusts: bool,
}

pub fn segments() -> TopicOptions {
    TopicOptions::new().segment_bytes_max(1024)
}

impl Player {
    pub fn new(mapping: Mapping) -> Player {
        let disk = SimDisk::new(7);
        let store = options(&disk, mapping).create("/sim").expect("creates");
        store.create_topic(OTHER, segments()).and_then(|topic| topic.append("other-0")).expect("appends");
        Player { disk, mapping, store: Some(store), told: Told::default(), failed: Vec::new(), trusts: true }
    }

    /// Goes on after a crash.
    pub fn adopt(disk: SimDisk, mapping: Mapping, told: Told) -> Player {
        Player { disk, mapping, store: None, told, failed: Vec::new(), trusts: true }
    }

    pub fn play(&mut self, calls: &[Call]) {
        calls.iter().for_each(|&call| self.call(call));
    }

    /// Makes the call; an error is kept.
    pub fn call(&mut self, call: Call) {
        if self.store.is_none() && call != Call::Open {
            return;
        }
        if let Err(error) = self.attempt(call) {
            self.failed.push(Failed { call, error });
        }
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().expect("is open")
    }

    pub fn topic(&mut self) -> Result<Topic, Error> {
        let topic = self.store().topic(TOPIC);
        if matches!(topic, Err(Error::TopicNotFound { .. })) {
            let owed = self.told.generations.iter().any(|generation| generation.exists == Exists::Yes);
            assert!(!owed, "P1: the topic is gone");
        }
        topic
    }

    pub fn partition(&mut self) -> Result<Partition, Error> {
        self.topic()?.partition(0)
    }

    fn attempt(&mut self, call: Call) -> Result<(), Error> {
        match call {
            Call::Create => self.create(),
            Call::Append(durability) => self.append(1, durability),
            Call::Batch(count, durability) => self.append(count, durability),
            Call::Roll(durability) => self.roll(durability),
            Call::Sync => self.sync(),
            Call::Trim(count) => self.trim(count),
            Call::Truncate(count) => self.truncate(count),
            Call::Commit => self.commit(),
            Call::Delete => self.delete(),
            Call::Maintain => self.store().maintain().map(drop),
            Call::Close => self.close(),
            Call::Open => self.open(),
        }
    }

    fn create(&mut self) -> Result<(), Error> {
        match self.store().create_topic(TOPIC, segments()) {
            Ok(topic) => {
                for before in &mut self.told.generations {
                    assert_ne!(before.exists, Exists::Yes, "a topic of that name was there");
                    before.exists = Exists::No;
                }
                self.told.generations.push(Generation::new(Some(topic.epoch())));
                Ok(())
            }
            Err(Error::TopicExists { .. }) => {
                assert!(self.told.generations.iter().any(|before| before.exists != Exists::No), "nobody created it");
                Ok(())
            }
            Err(error) => {
                self.told.generations.push(Generation::new(None));
                Err(error)
            }
        }
    }

    fn append(&mut self, count: usize, durability: Durability) -> Result<(), Error> {
        let partition = self.partition()?;
        let values: Vec<String> = (0..count).map(|_| self.told.value()).collect();
        self.told.batches += 1;
        let batch = self.told.batches;
        let records: Vec<Record<'_>> = values.iter().map(Record::new).collect();
        let appended = partition.append_batch_with(&records, AppendOptions::new().durability(durability));
        let end = partition.end().get();
        let generation = self.told.of(partition.topic().epoch());
        let is_there = end == generation.end + count as u64;
        assert!(is_there || end == generation.end, "P5: the end is {end} after {count} records at {}", generation.end);
        let fate = match &appended {
            Ok(ack) => {
                assert_eq!((ack.offset().get(), is_there), (generation.end, true), "offsets are dense");
                fate_of(durability)
            }
            Err(Error::StorageFull { .. }) => {
                assert!(!is_there, "an append that says it was undone is there");
                Fate::Gone
            }
            Err(_) => Fate::Open,
        };
        let tried = |(i, value)| {
            let offset = is_there.then_some(generation.end + i);
            super::oracle::Tried { value, batch, offset, fate }
        };
        generation.records.extend((0..).zip(values).map(tried).collect::<Vec<_>>());
        generation.end = end;
        if fate == Fate::Durable {
            generation.open_cut = None;
            generation.harden(end);
        }
        appended.map(drop)
    }

    fn roll(&mut self, durability: Durability) -> Result<(), Error> {
        let last = |partition: &Partition| partition.segments().last().map(|segment| segment.base);
        let partition = self.partition()?;
        let before = last(&partition);
        while last(&partition) == before {
            self.append(1, durability)?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        let partition = self.partition()?;
        partition.sync()?;
        let generation = self.told.of(partition.topic().epoch());
        generation.harden(generation.end);
        Ok(())
    }

    fn trim(&mut self, count: u64) -> Result<(), Error> {
        let partition = self.partition()?;
        let to = (partition.start().get() + count).min(partition.end().get());
        let trimmed = partition.trim(Offset::new(to));
        let generation = self.told.of(partition.topic().epoch());
        match trimmed {
            Ok(()) => {
                generation.start = to;
                generation.starts.clear();
                generation.harden(to);
            }
            Err(_) => generation.starts.push(to),
        }
        trimmed
    }

    fn truncate(&mut self, count: u64) -> Result<(), Error> {
        let partition = self.partition()?;
        let to = partition.end().get().saturating_sub(count).max(partition.start().get());
        let cut = partition.truncate(Offset::new(to));
        let generation = self.told.of(partition.topic().epoch());
        match cut {
            Ok(()) => {
                generation.cut(to, Fate::Gone);
                generation.harden(to);
            }
            Err(_) => generation.cut(to, Fate::Open),
        }
        cut
    }

    fn commit(&mut self) -> Result<(), Error> {
        let topic = self.topic()?;
        let partition = topic.partition(0)?;
        let policy = partition.place_at(partition.start())?;
        let mut consumer = topic.consumer(GROUP).open()?;
        let known = self.told.of(topic.epoch()).commits.clone();
        self.told.of(topic.epoch()).commits.push(Some(policy));
        let mut polled = consumer.poll(AT_ONCE);
        if let Err(Error::Diverged { .. } | Error::OffsetOutOfRange { .. }) = polled {
            consumer.seek(0, Start::Earliest)?;
            polled = consumer.poll(AT_ONCE);
        }
        while !polled?.is_empty() {
            polled = consumer.poll(AT_ONCE);
        }
        let (began, place) = (known.last() == Some(&None), consumer.places()[0]);
        let generation = self.told.of(topic.epoch());
        generation.commits = if began { vec![Some(policy)] } else { known };
        generation.commits.push(Some(place));
        consumer.commit()?;
        let generation = self.told.of(topic.epoch());
        generation.commits = vec![Some(place)];
        generation.harden(place.next().get());
        Ok(())
    }

    fn delete(&mut self) -> Result<(), Error> {
        let deleted = self.store().delete_topic(TOPIC);
        if let Err(Error::TopicNotFound { .. }) = deleted {
            let owed = self.told.generations.iter().any(|generation| generation.exists == Exists::Yes);
            assert!(!owed, "P1: the topic is gone");
            return Ok(());
        }
        let exists = if deleted.is_ok() { Exists::No } else { Exists::Maybe };
        for generation in self.told.generations.iter_mut().filter(|generation| generation.exists != Exists::No) {
            generation.exists = exists;
        }
        deleted
    }

    fn close(&mut self) -> Result<(), Error> {
        self.store.take().expect("is open").close()?;
        for generation in self.told.generations.iter_mut().filter(|generation| generation.exists == Exists::Yes) {
            generation.harden(generation.end);
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), Error> {
        if self.store.is_some() {
            return Ok(());
        }
        // A disk that fails once lets the second attempt through.
        let opened = options(&self.disk, self.mapping).open("/sim").map(|store| self.store = Some(store));
        if opened.is_err() {
            self.store = options(&self.disk, self.mapping).open("/sim").ok();
        }
        if let (false, Some(store)) = (self.trusts, &self.store)
            && let Ok(partition) = store.topic(TOPIC).and_then(|topic| topic.partition(0))
        {
            self.told.of(partition.topic().epoch()).end = partition.end().get();
        }
        opened
    }

    /// Every operation from now on.
    pub fn watch(&self) -> Arc<Mutex<Vec<Hit>>> {
        let hits: Arc<Mutex<Vec<Hit>>> = Arc::default();
        let seen = hits.clone();
        self.disk.on_operation(Box::new(move |operation| {
            let (number, name, path) = (operation.number, operation.name, operation.path.clone());
            seen.lock().push(Hit { number, name, path });
        }));
        hits
    }

    /// Stops the disk, so that nothing is written by the drop of the store.
    pub fn go_down(&mut self) -> Image {
        let image = self.disk.image();
        self.disk.stop_after(0);
        drop(self.store.take());
        image
    }

    /// Opens the store, looks at everything, and takes it for what is there.
    pub fn look(&mut self, least: Fate) -> Verdict {
        if self.store.is_none() {
            let store = options(&self.disk, self.mapping).open("/sim").map_err(|error| format!("P11: {error}"))?;
            self.store = Some(store);
        }
        let store = self.store.clone().expect("is open");
        self.told.accept(&store, least)
    }

    /// Creates, appends, commits: all of it must succeed.
    pub fn go_on(&mut self) -> Verdict {
        let before = self.failed.len();
        self.play(&[
            Call::Create,
            Call::Append(Durability::Durable),
            Call::Commit,
            Call::Batch(2, Durability::Written),
        ]);
        match self.failed.get(before) {
            None => Ok(()),
            Some(Failed { call, error }) => Err(format!("P11: {call:?} answers {error}")),
        }
    }
}
