//! A store on a simulated disk, the oracle beside it, and the calls that are made to both.
//!
//! Invariant: whatever is called, the oracle knows of it before the store does (as a call in flight), and of its success
//! right after.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use epochlog::testing::{Loss, SimDisk};
use epochlog::{
    AppendOptions, Consumer, Durability, Error, Mapping, Offset, Partition, Place, Record, Start, Store, TopicOptions,
};

use super::call::{Call, Shape};
use super::film::Camera;
use super::oracle::{Appended, BESIDE, Commits, Flight, GROUPS, Log, Oracle, TOPIC, Topic, Verdict, begun_at};
use super::sight::{Sight, cells, look, read_all, value_of};
use crate::support::one_awake;

pub struct Machine {
    pub disk: SimDisk,
    pub mapping: Mapping,
    pub store: Option<Store>,
    pub oracle: Arc<Mutex<Oracle>>,
    pub camera: Option<Camera>,
}

const RECORD_BYTES: usize = 96;
/// Two of them are more than a page, so that a batch tears within a record and between two.
const WIDE_RECORD_BYTES: usize = 2496;
const AGE: Duration = Duration::from_secs(300);
const WAIT: Duration = Duration::from_secs(600);

impl Machine {
    /// A new store.
    pub fn new(seed: u64, mapping: Mapping) -> Machine {
        let disk = SimDisk::new(seed);
        let store = one_awake(&disk, mapping).create("/sim").expect("creates");
        Machine { store: Some(store), ..Machine::adopt(disk, mapping, Oracle::default()) }
    }

    /// A topic beside the one that everything is done to.
    pub fn create_beside(&mut self) {
        self.store().create_topic(BESIDE, TopicOptions::new()).expect("creates");
        let generation = self.number();
        self.know().topics.insert(BESIDE, Topic::new(generation, 1, false));
        self.apply(Call::Beside(Durability::Durable));
    }

    /// Goes on after a crash.
    pub fn adopt(disk: SimDisk, mapping: Mapping, oracle: Oracle) -> Machine {
        Machine { disk, mapping, store: None, oracle: Arc::new(Mutex::new(oracle)), camera: None }
    }

    /// What is known. A test that panicked while it looked is over.
    pub fn know(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the disk, so that nothing is written by the drop of the store.
    pub fn go_down(&mut self) {
        self.disk.stop_after(0);
        drop(self.store.take());
    }

    fn crash(&mut self, disk: SimDisk) {
        self.go_down();
        self.disk = disk;
        if let Some(camera) = &self.camera {
            camera.watch(&self.disk, &self.oracle);
        }
        self.open();
    }

    fn open(&mut self) {
        self.try_open().unwrap_or_else(|story| panic!("{story}"));
    }

    /// Opens the store, compares what is there with the oracle, and goes on from what is known then.
    pub fn try_open(&mut self) -> Verdict<Sight> {
        let before = self.disk.image();
        let store = one_awake(&self.disk, self.mapping).open("/sim").map_err(|error| format!("P11: {error}"))?;
        let sight = look(&store)?;
        let known = self.know().clone();
        let settled = known.accept(&sight)?;
        let cut = known.cut(&settled);
        if !cut.is_empty() {
            let (had, has) = (cells(&before.after(Loss::None), &cut), cells(&self.disk, &cut));
            if let Some((record, cell)) = had.difference(&has).next() {
                return Err(format!("P9: cell {cell} of record {record} was there, was cut, and is nowhere"));
            }
        }
        *self.know() = settled;
        self.store = Some(store);
        self.hand_all();
        Ok(sight)
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().expect("is open")
    }

    fn topic(&self) -> epochlog::Topic {
        self.store().topic(TOPIC).expect("is there")
    }

    /// The partition whose turn it is.
    fn turn(&self) -> (usize, Partition) {
        let mut oracle = self.know();
        oracle.turn += 1;
        let number = oracle.turn % oracle.topics[TOPIC].logs.len();
        drop(oracle);
        (number, self.topic().partition(number as u32).expect("is there"))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Topic) -> T) -> T {
        change(self.know().topics.get_mut(TOPIC).expect("there is a topic"))
    }

    fn change_log<T>(&self, number: usize, change: impl FnOnce(&mut Log) -> T) -> T {
        self.change(|topic| change(&mut topic.logs[number]))
    }

    fn number(&self) -> u64 {
        let mut oracle = self.know();
        oracle.given += 1;
        oracle.given
    }

    fn fly(&self, flight: Flight) {
        self.know().flight = flight;
    }

    /// Everything that a reader is given now was handed out.
    pub fn hand_all(&self) {
        let topics = self.know().topics.clone();
        for (name, topic) in topics {
            let opened = self.store().topic(name).expect("is there");
            for (i, log) in topic.logs.iter().enumerate() {
                let partition = opened.partition(i as u32).expect("is there");
                let (places, _) = read_all(&partition).unwrap_or_else(|story| panic!("{story}"));
                let ids = log.ids();
                let mut oracle = self.know();
                for place in places {
                    oracle.hand(place, topic.generation, &ids[..place.next().get() as usize]);
                }
            }
        }
    }

    pub fn apply(&mut self, call: Call) {
        match call {
            Call::Create(shape) => self.create(shape),
            Call::Delete => {
                self.fly(Flight::Delete);
                self.store().delete_topic(TOPIC).expect("deletes");
                self.know().topics.remove(TOPIC);
            }
            Call::Append(durability) => self.append(1, false, durability),
            Call::Same(durability) => self.append(1, true, durability),
            Call::Batch(count, durability) => self.append(count, false, durability),
            Call::Beside(durability) => {
                let partition = self.store().topic(BESIDE).expect("is there").partition(0).expect("is there");
                self.append_to(BESIDE, 0, &partition, self.values(1, RECORD_BYTES), durability);
            }
            Call::Roll(durability) => self.roll(durability),
            Call::Sync => {
                self.topic().sync().expect("syncs");
                self.change(|topic| topic.logs.iter_mut().for_each(|log| log.durable = log.records.len()));
            }
            Call::Trim(count) => self.trim(count),
            Call::Truncate(count) => self.truncate(count),
            Call::Commit(group) => self.commit(GROUPS[group]),
            Call::Forget(group) => self.forget(GROUPS[group]),
            Call::Grow => self.grow(),
            Call::Wait => self.disk.clock().advance(WAIT),
            Call::Maintain => drop(self.store().maintain().expect("maintains")),
            Call::Close => {
                self.store.take().expect("is open").close().expect("closes");
                self.know().topics.values_mut().for_each(Topic::settle);
            }
            Call::Open => self.open(),
            Call::Kill => self.crash(self.disk.image().after_kill()),
            Call::Power => self.crash(self.disk.image().after(Loss::All)),
        }
        self.fly(Flight::Nothing);
        if self.store.is_some() {
            self.follow_retention();
            self.hand_all();
        }
    }

    /// Takes over where retention has raised the starts to.
    pub fn follow_retention(&self) {
        if self.know().topics.get(TOPIC).is_some_and(|topic| topic.retains) {
            let topic = self.topic();
            let start = |i| topic.partition(i).expect("is there").start().get() as usize;
            let starts: Vec<usize> = (0..topic.partitions()).map(start).collect();
            self.change(|topic| topic.logs.iter_mut().zip(starts).for_each(|(log, start)| log.start = start));
        }
    }

    fn create(&self, shape: Shape) {
        let retains = matches!(shape, Shape::BySize | Shape::ByAge);
        let partitions = if shape == Shape::Two { 2 } else { 1 };
        let new = Topic::new(self.number(), partitions, retains);
        self.fly(Flight::Create(new.clone()));
        let options = TopicOptions::new().segment_bytes_max(1024).partitions(partitions as u32);
        let options = match shape {
            Shape::Plain | Shape::Two => options,
            Shape::Written => options.durability(Durability::Written),
            Shape::BySize => options.retention_bytes(2048),
            Shape::ByAge => options.retention_age(AGE).segment_age(AGE),
            Shape::Wide => options.segment_bytes_max(16 << 10),
        };
        self.store().create_topic(TOPIC, options).expect("creates");
        self.know().topics.insert(TOPIC, new);
    }

    fn is_wide(&self) -> bool {
        self.topic().options().get_segment_bytes_max() > 1024
    }

    /// Values that no other record has.
    fn values(&self, count: u64, bytes: usize) -> Vec<(u64, Arc<str>)> {
        let value = |id| (id, value_of(id, bytes).into());
        (0..count).map(|_| value(self.number())).collect()
    }

    fn append(&self, count: u64, same: bool, durability: Durability) {
        let bytes = if self.is_wide() { WIDE_RECORD_BYTES } else { RECORD_BYTES };
        let mut values = self.values(count, bytes);
        if same {
            values.iter_mut().for_each(|(_, value)| *value = "same".into());
        }
        let (number, partition) = self.turn();
        self.append_to(TOPIC, number, &partition, values, durability);
    }

    pub fn append_to(
        &self,
        name: &'static str,
        number: usize,
        partition: &Partition,
        values: Vec<(u64, Arc<str>)>,
        durability: Durability,
    ) {
        let batch = self.number();
        let records: Vec<Appended> = values.into_iter().map(|(id, value)| Appended { id, batch, value }).collect();
        self.fly(Flight::Append(name, number, records.clone()));
        let given: Vec<Record<'_>> = records.iter().map(|record| Record::new(&*record.value)).collect();
        let options = AppendOptions::new().durability(durability);
        let ack = partition.append_batch_with(&given, options).expect("appends");
        let mut oracle = self.know();
        oracle.flight = Flight::Nothing;
        let topic = oracle.topics.get_mut(name).expect("there is a topic");
        let (generation, log) = (topic.generation, &mut topic.logs[number]);
        assert_eq!(ack.offset().get() as usize, log.records.len(), "P3");
        log.records.extend(records);
        if durability == Durability::Durable {
            log.durable = log.records.len();
        }
        let ids = log.ids();
        oracle.hand(ack.next(), generation, &ids);
    }

    fn roll(&self, durability: Durability) {
        let (number, partition) = self.turn();
        let bytes = if self.is_wide() { 2 * WIDE_RECORD_BYTES } else { RECORD_BYTES };
        let active = || partition.segments().last().map(|segment| segment.base);
        let before = active();
        while active() == before {
            self.append_to(TOPIC, number, &partition, self.values(1, bytes), durability);
        }
    }

    fn trim(&self, count: u64) {
        let (number, partition) = self.turn();
        let to = partition.start().plus(count).min(partition.end());
        let offset = to.get() as usize;
        self.fly(Flight::Trim(number, offset));
        partition.trim(to).expect("trims");
        self.change_log(number, |log| (log.start, log.durable) = (offset, log.durable.max(offset)));
    }

    fn truncate(&self, count: u64) {
        let (number, partition) = self.turn();
        let to = Offset::new(partition.end().get().saturating_sub(count)).max(partition.start());
        let offset = to.get() as usize;
        self.fly(Flight::Truncate(number, offset));
        partition.truncate(to).expect("truncates");
        self.change_log(number, |log| {
            // A cut of nothing changes nothing, and syncs nothing.
            if offset < log.records.len() {
                log.records.truncate(offset);
                log.durable = offset;
            }
        });
    }

    fn grow(&self) {
        let (number, generation) = self.change(|topic| (topic.logs.len(), topic.generation));
        let topic = self.topic();
        let place: Place = format!("{number}:0@{}", topic.epoch()).parse().expect("is a place");
        self.know().hand(place, generation, &[]);
        self.fly(Flight::Grow(place));
        topic.add_partitions(number as u32 + 1).expect("adds");
        self.change(|topic| {
            topic.logs.push(Log::default());
            // Whoever has begun begins there, and one sync makes that durable with all other commits.
            if topic.groups.values().any(|possible| possible.last().is_some_and(|commits| !commits.is_empty())) {
                topic.groups.values_mut().for_each(|possible| *possible = vec![begun_at(possible, place)]);
            }
        });
    }

    /// A consumer reads to the end and commits; where what it committed is gone it begins anew.
    fn commit(&self, group: &'static str) {
        let topic = self.topic();
        let (mut begins, mut ends) = (Commits::new(), Commits::new());
        for i in 0..topic.partitions() {
            let partition = topic.partition(i).expect("is there");
            let (places, _) = read_all(&partition).unwrap_or_else(|story| panic!("{story}"));
            begins.extend(places.first().map(|place| (i, *place)));
            ends.extend(places.last().map(|place| (i, *place)));
        }
        self.fly(Flight::Commit { group, begins: begins.clone(), ends: ends.clone() });
        let mut consumer = topic.consumer(group).open().expect("opens");
        read_to_the_end(&mut consumer);
        consumer.commit().expect("commits");
        let places: BTreeMap<_, _> = consumer.places().into_iter().map(|place| (place.partition(), place)).collect();
        assert_eq!(places, ends, "P6: the consumer stands elsewhere than at the end");
        let durable = topic.options().get_durability() == Durability::Durable;
        self.change(|topic| committed(topic, group, durable, begins, ends));
    }

    fn forget(&self, group: &'static str) {
        self.fly(Flight::Forget(group));
        self.topic().delete_group(group).expect("deletes");
        self.change(|topic| topic.groups.insert(group, vec![Commits::new()]));
    }
}

/// What a group's commits may be after a power cut.
fn committed(topic: &mut Topic, group: &'static str, durable: bool, begins: Commits, ends: Commits) {
    let mut possible = topic.commits(group);
    if durable {
        possible.clear();
        for (&number, place) in &ends {
            let log = &mut topic.logs[number as usize];
            log.durable = log.durable.max(place.next().get() as usize);
        }
    } else {
        // Where the start policy led is stored durably in any topic.
        let mut begun = possible.last().cloned().unwrap_or_default();
        if begins.keys().any(|number| !begun.contains_key(number)) {
            begins.into_iter().for_each(|(number, place)| _ = begun.entry(number).or_insert(place));
            possible = vec![begun];
        }
    }
    possible.push(ends);
    topic.groups.insert(group, possible);
}

pub fn read_to_the_end(consumer: &mut Consumer) {
    let mut failed = 0;
    loop {
        match consumer.poll(Duration::ZERO) {
            Err(Error::Diverged { place, .. }) if failed < 10 => {
                failed += 1;
                consumer.seek(place.partition(), Start::Earliest).expect("seeks");
            }
            Err(Error::OffsetOutOfRange { partition, .. }) if failed < 10 => {
                failed += 1;
                consumer.seek(partition, Start::Earliest).expect("seeks");
            }
            polled if polled.as_ref().expect("polls").is_empty() => return,
            _ => {}
        }
    }
}
