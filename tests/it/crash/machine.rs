//! A store on a simulated disk, the oracle beside it, and the calls that are made to both.

use std::sync::Arc;
use std::time::Duration;

use epochlog::testing::{Image, Loss, SimDisk};
use epochlog::{AppendOptions, Durability, Error, Mapping, Offset, Partition, Record, Start, Store, TopicOptions};
use parking_lot_free::Mutex;

use super::oracle::{Appended, Flight, GROUP, Log, Oracle, TOPIC, look, read_all};
use crate::support::options;

/// `std`'s mutex without its poison: a test that panicked is over.
mod parking_lot_free {
    #[derive(Default)]
    pub struct Mutex<T>(std::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Mutex<T> {
            Mutex(std::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> std::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}

/// One call of a workload.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    Create,
    CreateRetaining,
    CreateWritten,
    Delete,
    Append,
    Scribble,
    /// Appends, or scribbles, a record whose value is that of others, too.
    Same(Durability),
    Batch(u64, Durability),
    /// Appends records until the segment is full.
    Roll(Durability),
    Sync,
    /// Trims to so many records behind the start.
    Trim(u64),
    /// Takes back so many records.
    Truncate(u64),
    Commit,
    Maintain,
    Close,
    Open,
    Kill,
    Power,
}

/// The disk before an operation, and what must be there.
pub struct Shot {
    pub step: usize,
    pub number: u64,
    pub name: &'static str,
    pub path: String,
    pub image: Image,
    pub oracle: Arc<Oracle>,
}

#[derive(Default)]
pub struct Album {
    pub step: usize,
    pub shots: Vec<Shot>,
}

pub struct Machine {
    pub disk: SimDisk,
    pub mapping: Mapping,
    pub store: Option<Store>,
    pub oracle: Arc<Mutex<Oracle>>,
    album: Option<Arc<Mutex<Album>>>,
}

/// They change nothing, so the disk before them is the disk before the next one that does.
const LOOKS: [&str; 7] = ["list", "open", "try_lock", "len", "read", "map_read", "map_write"];

impl Machine {
    pub fn new(seed: u64, mapping: Mapping) -> Machine {
        let disk = SimDisk::new(seed);
        let store = options(&disk, mapping).create("/sim").expect("creates");
        Machine { disk, mapping, store: Some(store), oracle: Arc::default(), album: None }
    }

    /// Goes on after a crash.
    pub fn adopt(disk: SimDisk, mapping: Mapping, oracle: Oracle) -> Machine {
        Machine { disk, mapping, store: None, oracle: Arc::new(Mutex::new(oracle)), album: None }
    }

    /// Runs the calls and takes the disk before each operation, and after each call.
    pub fn film(mut self, ops: &[Op]) -> Vec<Shot> {
        let album = Arc::new(Mutex::new(Album::default()));
        self.album = Some(album.clone());
        self.watch();
        for (step, &op) in ops.iter().enumerate() {
            album.lock().step = step;
            self.apply(op);
            let oracle = Arc::new(self.oracle.lock().clone());
            let shot = Shot {
                step,
                number: self.disk.operations(),
                name: "after",
                path: String::new(),
                image: self.disk.image(),
                oracle,
            };
            album.lock().shots.push(shot);
        }
        self.go_down();

        std::mem::take(&mut album.lock().shots)
    }

    fn watch(&self) {
        let Some(album) = self.album.clone() else { return };
        let oracle = self.oracle.clone();
        self.disk.on_operation(Box::new(move |operation| {
            if LOOKS.contains(&operation.name) {
                return;
            }
            let oracle = Arc::new(oracle.lock().clone());
            let mut album = album.lock();
            let (number, name, path) = (operation.number, operation.name, operation.path.display().to_string());
            let shot = Shot { step: album.step, number, name, path, image: operation.image(), oracle };
            album.shots.push(shot);
        }));
    }

    /// Stops the disk, so that nothing is written by the drop of the store.
    pub fn go_down(&mut self) {
        self.disk.stop_after(0);
        drop(self.store.take());
    }

    fn crash(&mut self, disk: SimDisk) {
        self.go_down();
        self.disk = disk;
        self.watch();
        self.open();
    }

    pub fn open(&mut self) {
        self.try_open().unwrap_or_else(|story| panic!("{story}"));
    }

    /// Opens the store, compares what is there with the oracle, and goes on from what is known then.
    pub fn try_open(&mut self) -> Result<(), String> {
        let store = options(&self.disk, self.mapping).open("/sim").map_err(|error| format!("P11: {error}"))?;
        let seen = look(&store)?;
        let settled = self.oracle.lock().accept(seen.as_ref())?;
        *self.oracle.lock() = settled;
        self.store = Some(store);
        self.hand_all();
        Ok(())
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().expect("is open")
    }

    fn partition(&self) -> Partition {
        self.store().topic(TOPIC).expect("is there").partition(0).expect("is there")
    }

    fn log<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        change(self.oracle.lock().log.as_mut().expect("there is a topic"))
    }

    fn number(&self) -> u64 {
        let mut oracle = self.oracle.lock();
        oracle.given += 1;
        oracle.given
    }

    fn fly(&self, flight: Flight) {
        self.oracle.lock().flight = flight;
    }

    /// Everything that a reader is given now was handed out.
    fn hand_all(&self) {
        let mut oracle = self.oracle.lock();
        let Some(log) = oracle.log.clone() else { return };
        let (places, _) = read_all(&self.partition()).unwrap_or_else(|story| panic!("{story}"));
        let ids = log.ids();
        for place in places {
            oracle.hand(place, log.generation, &ids[..place.next().get() as usize]);
        }
    }

    pub fn apply(&mut self, op: Op) {
        match op {
            Op::Create => self.create(false, Durability::Durable),
            Op::CreateRetaining => self.create(true, Durability::Durable),
            Op::CreateWritten => self.create(false, Durability::Written),
            Op::Delete => {
                self.fly(Flight::Delete);
                self.store().delete_topic(TOPIC).expect("deletes");
                self.oracle.lock().log = None;
            }
            Op::Append => self.append(vec![None], Durability::Durable),
            Op::Scribble => self.append(vec![None], Durability::Written),
            Op::Same(durability) => self.append(vec![Some("same")], durability),
            Op::Batch(count, durability) => self.append(vec![None; count as usize], durability),
            Op::Roll(durability) => self.roll(durability),
            Op::Sync => {
                self.partition().sync().expect("syncs");
                self.log(|log| log.durable = log.records.len());
            }
            Op::Trim(count) => self.trim(count),
            Op::Truncate(count) => self.truncate(count),
            Op::Commit => self.commit(),
            Op::Maintain => drop(self.store().maintain().expect("maintains")),
            Op::Close => {
                self.store.take().expect("is open").close().expect("closes");
                if let Some(log) = self.oracle.lock().log.as_mut() {
                    (log.durable, log.commits) = (log.records.len(), log.commits.split_off(log.commits.len() - 1));
                }
            }
            Op::Open => self.open(),
            Op::Kill => self.crash(self.disk.image().after_kill()),
            Op::Power => self.crash(self.disk.image().after(Loss::All)),
        }
        self.fly(Flight::Nothing);
        if self.store.is_some() {
            if let Some(log) = self.oracle.lock().log.as_mut().filter(|log| log.retains) {
                log.start = self.partition().start().get() as usize;
            }
            self.hand_all();
        }
    }

    fn create(&self, retains: bool, durability: Durability) {
        let new = Log { generation: self.number(), commits: vec![None], retains, ..Log::default() };
        self.fly(Flight::Create(new.clone()));
        let mut options = TopicOptions::new().segment_bytes_max(1024).durability(durability);
        if retains {
            options = options.retention_bytes(2048);
        }
        self.store().create_topic(TOPIC, options).expect("creates");
        self.oracle.lock().log = Some(new);
    }

    fn append(&self, values: Vec<Option<&str>>, durability: Durability) {
        let batch = self.number();
        let records: Vec<Appended> = values
            .iter()
            .map(|value| {
                let id = self.number();
                let value = value.map_or_else(|| format!("{id:-<100}"), |value| format!("{value:-<100}"));
                Appended { id, batch, value }
            })
            .collect();
        self.fly(Flight::Append(records.clone()));
        let given: Vec<Record<'_>> = records.iter().map(|record| Record::new(&record.value)).collect();
        let options = AppendOptions::new().durability(durability);
        let ack = self.partition().append_batch_with(&given, options).expect("appends");
        let mut oracle = self.oracle.lock();
        oracle.flight = Flight::Nothing;
        let log = oracle.log.as_mut().expect("there is a topic");
        assert_eq!(ack.offset().get() as usize, log.records.len(), "P3");
        log.records.extend(records);
        if durability == Durability::Durable {
            log.durable = log.records.len();
        }
        let (generation, ids) = (log.generation, log.ids());
        oracle.hand(ack.next(), generation, &ids);
    }

    fn roll(&self, durability: Durability) {
        let segments = self.partition().segments().last().map(|segment| segment.base);
        while self.partition().segments().last().map(|segment| segment.base) == segments {
            self.append(vec![None], durability);
        }
    }

    fn trim(&self, count: u64) {
        let to = self.partition().start().plus(count);
        let to = to.min(self.partition().end());
        self.fly(Flight::Trim(to.get() as usize));
        self.partition().trim(to).expect("trims");
        self.log(|log| {
            log.start = to.get() as usize;
            log.durable = log.durable.max(log.start);
        });
    }

    fn truncate(&self, count: u64) {
        let to = Offset::new(self.partition().end().get().saturating_sub(count)).max(self.partition().start());
        self.fly(Flight::Truncate(to.get() as usize));
        self.partition().truncate(to).expect("truncates");
        self.log(|log| {
            log.records.truncate(to.get() as usize);
            log.durable = log.records.len();
        });
    }

    /// A consumer reads to the end and commits; if what it committed is gone it begins anew.
    fn commit(&self) {
        let partition = self.partition();
        let (places, _) = read_all(&partition).unwrap_or_else(|story| panic!("{story}"));
        let policy = places.first().copied();
        let places: Vec<_> = places.first().into_iter().chain(places.last()).copied().collect();
        self.fly(Flight::Commit(places));
        let mut consumer = self.store().topic(TOPIC).expect("is there").consumer(GROUP).open().expect("opens");
        let now = Duration::ZERO;
        let mut polled = consumer.poll(now);
        if let Err(Error::Diverged { .. } | Error::OffsetOutOfRange { .. }) = polled {
            consumer.seek(0, Start::Earliest).expect("seeks");
            polled = consumer.poll(now);
        }
        while !polled.expect("polls").is_empty() {
            polled = consumer.poll(now);
        }
        consumer.commit().expect("commits");
        let (place, topic) = (consumer.places()[0], consumer.topic());
        let durable = topic.options().get_durability() == Durability::Durable;
        self.log(|log| {
            if durable {
                log.commits.clear();
                log.durable = log.durable.max(place.next().get() as usize);
            } else if log.commits.last() == Some(&None) {
                // Where the start policy led is stored durably in any topic.
                log.commits = vec![policy];
            }
            log.commits.push(Some(place));
        });
    }
}
