//! Plays operations on the engine and on the oracle, and compares both after each.

use std::time::Duration;

use epochlog::testing::Loss;
use epochlog::{
    AppendOptions, Consumer, Durability, Error, Mapping, Offset, Partition, Place, Reader, Record, RecordView, Start,
    Topic, TopicOptions,
};

use super::Op;
use super::oracle::{Given, Kept, Part, Prefix, TopicModel, Verdict, at, index};
use crate::support::{AT_ONCE, World, refused, world};

const NAMES: [&str; 2] = ["plain", "retired"];
const GROUPS: [&str; 2] = ["billing", "audit"];

/// A consumer, and how far it has read in each partition it has begun.
struct Live {
    consumer: Consumer,
    read: Vec<Option<Prefix>>,
}

struct Tail {
    reader: Reader,
    prefix: Prefix,
}

pub struct Player {
    world: World,
    topics: [Option<TopicModel>; 2],
    live: [[Option<Live>; 2]; 2],
    tails: [[Option<Tail>; 2]; 2],
    given: Vec<Given>,
    /// Handles of topics that were deleted since the last open.
    deleted: Vec<Partition>,
    deleted_consumers: Vec<Consumer>,
    ids: u64,
}

impl Player {
    pub fn new(mapping: Mapping) -> Player {
        let mut player = Player {
            world: world(mapping),
            topics: [None, None],
            live: Default::default(),
            tails: Default::default(),
            given: Vec::new(),
            deleted: Vec::new(),
            deleted_consumers: Vec::new(),
            ids: 0,
        };
        (0..2).for_each(|topic| player.create(topic));
        player
    }

    pub fn play(&mut self, op: Op) {
        match op {
            Op::Append { topic, partition, count, bytes, durable } => {
                self.append(topic, partition, count, bytes, durable);
            }
            Op::Sync { topic, partition } => self.sync(topic, partition),
            Op::Trim { topic, partition, to } => self.trim(topic, partition, to),
            Op::Truncate { topic, partition, to } => self.truncate(topic, partition, to),
            Op::Create { topic } => self.create(topic),
            Op::Delete { topic } => self.delete(topic),
            Op::AddPartition { topic } => self.add_partition(topic),
            Op::Open { topic, group } => self.open(topic, group),
            Op::Poll { topic, group } => self.poll(topic, group),
            Op::Seek { topic, group, partition, given } => self.seek(topic, group, partition, given),
            Op::Commit { topic, group } => self.commit(topic, group),
            Op::Drop { topic, group } => self.live[topic][group] = None,
            Op::Tail { topic, partition } => self.tail(topic, partition),
            Op::Resume { given } => self.resume(given),
            Op::Advance { ms } => self.world.disk.clock().advance(Duration::from_millis(ms)),
            Op::Maintain => drop(self.world.store().maintain().expect("maintains")),
            Op::Reopen => self.reopen(),
            Op::Kill => self.kill(),
            Op::PowerCut { seed } => self.power_cut(seed),
        }
        self.check();
    }

    fn engine(&self, topic: usize) -> Topic {
        self.world.store().topic(NAMES[topic]).expect("is there")
    }

    fn partition(&self, topic: usize, partition: usize) -> Partition {
        self.engine(topic).partition(u32::try_from(partition).expect("is small")).expect("is there")
    }

    fn part(&mut self, topic: usize, partition: usize) -> Option<&mut Part> {
        self.topics[topic].as_mut()?.parts.get_mut(partition)
    }

    fn give(&mut self, name: usize, partition: usize, place: Place) {
        let Some(model) = &self.topics[name] else { return };
        let prefix = model.parts[partition].prefix(index(place.next()));
        self.given.push(Given { name, topic: model.epoch, place, prefix });
    }

    // Appending and cutting.

    fn record(&mut self, bytes: usize) -> Kept {
        self.ids += 1;
        let id = self.ids;
        let text = format!("{id}-{}", "x".repeat(bytes));
        Kept {
            id,
            value: (!id.is_multiple_of(7)).then(|| text.into_bytes()),
            key: (id.is_multiple_of(7) || id.is_multiple_of(3)).then(|| format!("key-{id}").into_bytes()),
            headers: (0..id % 3).map(|n| (format!("h{n}"), id.to_le_bytes().to_vec())).collect(),
        }
    }

    fn append(&mut self, topic: usize, partition: usize, count: usize, bytes: usize, durable: bool) {
        if self.part(topic, partition).is_none() {
            return;
        }
        let kept: Vec<Kept> = (0..count).map(|_| self.record(bytes)).collect();
        let headers: Vec<Vec<(&str, &[u8])>> = kept
            .iter()
            .map(|kept| kept.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect())
            .collect();
        let records: Vec<Record<'_>> = kept
            .iter()
            .zip(&headers)
            .map(|(kept, headers)| {
                let record = kept.value.as_ref().map_or_else(Record::default, Record::new);
                record.with_key(kept.key.as_deref()).headers(headers)
            })
            .collect();
        let durability = if durable { Durability::Durable } else { Durability::Written };
        let options = AppendOptions::new().durability(durability);
        let appended = self.partition(topic, partition).append_batch_with(&records, options);
        let part = self.part(topic, partition).expect("is there");
        match appended {
            Ok(ack) => {
                assert_eq!(ack.offsets(), at(part.end())..at(part.end() + count));
                part.append(kept);
                part.synced = if durable { part.end() } else { part.synced };
                self.give(topic, partition, ack.next());
            }
            Err(error) => assert!(matches!(error, Error::TooLarge { .. }), "{error}"),
        }
    }

    fn sync(&mut self, topic: usize, partition: usize) {
        if let Some(part) = self.part(topic, partition) {
            part.synced = part.end();
            self.partition(topic, partition).sync().expect("syncs");
        }
    }

    fn trim(&mut self, topic: usize, partition: usize, to: usize) {
        let Some(part) = self.part(topic, partition) else { return };
        let to = to % (part.end() + 2);
        let within = (part.start..=part.end()).contains(&to);
        if within {
            part.start = to;
            part.synced = part.synced.max(to);
        }
        Self::in_range(self.partition(topic, partition).trim(at(to)), within);
    }

    fn truncate(&mut self, topic: usize, partition: usize, to: usize) {
        let Some(part) = self.part(topic, partition) else { return };
        let to = to % (part.end() + 2);
        let within = (part.start..=part.end()).contains(&to);
        if within && to < part.end() {
            part.cut(to);
            part.synced = to;
        }
        Self::in_range(self.partition(topic, partition).truncate(at(to)), within);
    }

    fn in_range(result: Result<(), Error>, within: bool) {
        match result {
            Ok(()) => assert!(within),
            Err(error) => assert!(!within && matches!(error, Error::OffsetOutOfRange { .. }), "{error}"),
        }
    }

    // Topics.

    fn create(&mut self, topic: usize) {
        let retires = topic == 1;
        let mut options = TopicOptions::new().partitions(2).segment_bytes_max(3000);
        if retires {
            options = options
                .durability(Durability::Written)
                .retention_bytes(12_000)
                .retention_age(Duration::from_secs(6))
                .segment_age(Duration::from_secs(3));
        }
        match self.world.store().create_topic(NAMES[topic], options) {
            Ok(created) => {
                assert!(self.topics[topic].is_none());
                self.topics[topic] = Some(TopicModel::new(created.epoch(), 2, !retires, retires));
                self.tails[topic] = [None, None];
            }
            Err(error) => {
                assert!(self.topics[topic].is_some() && matches!(error, Error::TopicExists { .. }), "{error}");
            }
        }
    }

    fn delete(&mut self, topic: usize) {
        let Some(_) = &self.topics[topic] else {
            let error = refused(self.world.store().delete_topic(NAMES[topic]));
            assert!(matches!(error, Error::TopicNotFound { .. }));
            return;
        };
        self.deleted.push(self.partition(topic, 0));
        self.world.store().delete_topic(NAMES[topic]).expect("deletes");
        self.topics[topic] = None;
        for tail in &mut self.tails[topic] {
            if let Some(mut tail) = tail.take() {
                assert!(matches!(refused(tail.reader.read()), Error::TopicDeleted { .. }));
            }
        }
        for live in &mut self.live[topic] {
            self.deleted_consumers.extend(live.take().map(|live| live.consumer));
        }
    }

    fn add_partition(&mut self, topic: usize) {
        let Some(model) = &mut self.topics[topic] else { return };
        if model.parts.len() < 3 {
            model.parts.push(Part::default());
            self.engine(topic).add_partitions(3).expect("adds");
        }
    }

    // Consumers.

    fn open(&mut self, topic: usize, group: usize) {
        if self.topics[topic].is_none() {
            return;
        }
        let opened = self.engine(topic).consumer(GROUPS[group]).bytes_max(2000).open();
        match opened {
            Ok(consumer) => {
                assert!(self.live[topic][group].is_none());
                self.live[topic][group] = Some(Live { consumer, read: Vec::new() });
            }
            Err(error) => {
                assert!(self.live[topic][group].is_some() && matches!(error, Error::GroupInUse { .. }), "{error}");
            }
        }
    }

    fn poll(&mut self, topic: usize, group: usize) {
        let Some(mut live) = self.live[topic][group].take() else { return };
        let polled = live.consumer.poll(AT_ONCE);
        let model = self.topics[topic].as_mut().expect("lives");
        live.read.resize(model.parts.len(), None);
        // A partition that was looked at for the first time goes on at its commit, or has one now, at the start.
        let begun: Vec<usize> = live.consumer.places().iter().map(|place| place.partition() as usize).collect();
        for n in begun {
            if live.read[n].is_none() {
                let first = model.committed(group, n).cloned();
                let prefix = first.unwrap_or_else(|| {
                    let prefix = model.parts[n].prefix(model.parts[n].start);
                    model.commit(group, n, prefix.clone());
                    prefix
                });
                live.read[n] = Some(prefix);
            }
        }
        match polled {
            Ok(records) => {
                for record in &records {
                    let n = record.partition() as usize;
                    let (part, read) = (&model.parts[n], live.read[n].as_mut().expect("was begun"));
                    assert_eq!(record.offset(), at(read.len()), "the next one");
                    assert_eq!(part.judge(read), Verdict::Here);
                    compare(&record, &part.records[read.len()]);
                    read.push(part.records[read.len()].id);
                }
                if records.is_empty() {
                    let ends: Vec<usize> = model.parts.iter().map(Part::end).collect();
                    let read: Vec<usize> =
                        live.read.iter().map(|read| read.as_ref().map_or(usize::MAX, Vec::len)).collect();
                    assert_eq!(read, ends, "nothing is left to read");
                }
            }
            Err(error) => {
                let (n, is_so) = match &error {
                    Error::OffsetOutOfRange { partition, .. } => (*partition as usize, Verdict::Expired),
                    Error::Diverged { place, fork, .. } => {
                        (place.partition() as usize, Verdict::Diverged(index(*fork)))
                    }
                    other => panic!("{other}"),
                };
                let prefix = live.read[n].as_ref().or_else(|| model.committed(group, n)).expect("stood somewhere");
                assert_eq!(model.parts[n].judge(prefix), is_so, "{error}");
                live.consumer.seek(u32::try_from(n).expect("is small"), Start::Earliest).expect("seeks");
                live.read[n] = Some(model.parts[n].prefix(model.parts[n].start));
            }
        }
        let places = live.consumer.places();
        self.live[topic][group] = Some(live);
        for place in places {
            let n = place.partition() as usize;
            let read = self.live[topic][group].as_ref().and_then(|live| live.read[n].clone()).expect("was begun");
            assert_eq!(index(place.next()), read.len());
            let epoch = self.topics[topic].as_ref().expect("lives").epoch;
            self.given.push(Given { name: topic, topic: epoch, place, prefix: read });
        }
    }

    fn seek(&mut self, topic: usize, group: usize, partition: usize, given: usize) {
        let Some(live) = self.live[topic][group].as_mut() else { return };
        if self.given.is_empty() {
            return;
        }
        let given = &self.given[given % self.given.len()];
        if given.place.partition() as usize != partition {
            return;
        }
        let model = self.topics[topic].as_ref().expect("lives");
        live.read.resize(model.parts.len(), None);
        let sought = live.consumer.seek(given.place.partition(), given.place);
        if expect(model, given, topic, &sought) {
            live.read[partition] = Some(given.prefix.clone());
        }
    }

    fn commit(&mut self, topic: usize, group: usize) {
        let Some(live) = self.live[topic][group].as_mut() else { return };
        let model = self.topics[topic].as_mut().expect("lives");
        let read: Vec<(usize, Prefix)> =
            live.read.iter().enumerate().filter_map(|(n, read)| Some((n, read.clone()?))).collect();
        // What is committed already is not looked at again.
        let moved = |(n, read): &&(usize, Prefix)| model.committed(group, *n) != Some(read);
        let is_cut = |(n, read): &(usize, Prefix)| matches!(model.parts[*n].judge(read), Verdict::Diverged(_));
        let (cut_moved, any_cut) = (read.iter().filter(moved).any(is_cut), read.iter().any(is_cut));
        match live.consumer.commit() {
            Ok(()) => {
                assert!(!cut_moved, "a place that was cut is committed");
                read.into_iter().for_each(|(n, prefix)| model.commit(group, n, prefix));
            }
            Err(error) => assert!(any_cut && matches!(error, Error::Diverged { .. }), "{error}"),
        }
    }

    // Readers.

    fn tail(&mut self, topic: usize, partition: usize) {
        let tail = self.tails[topic][partition].take();
        let Some(model) = self.topics[topic].as_ref() else { return };
        let part = &model.parts[partition];
        let begin = || {
            let reader = self.partition(topic, partition).read_from(Start::Earliest).expect("begins");
            Tail { reader: reader.bytes_max(3000), prefix: part.prefix(part.start) }
        };
        let mut tail = tail.unwrap_or_else(begin);
        let kept = match tail.reader.read() {
            Ok(records) => {
                assert!(!records.is_empty() || tail.prefix.len() == part.end());
                for record in &records {
                    assert_eq!(part.judge(&tail.prefix), Verdict::Here);
                    assert_eq!(record.offset(), at(tail.prefix.len()));
                    compare(&record, &part.records[tail.prefix.len()]);
                    tail.prefix.push(part.records[tail.prefix.len()].id);
                }
                true
            }
            Err(Error::OffsetOutOfRange { .. }) => {
                assert_eq!(part.judge(&tail.prefix), Verdict::Expired);
                false
            }
            Err(Error::Diverged { fork, .. }) => {
                assert_eq!(part.judge(&tail.prefix), Verdict::Diverged(index(fork)));
                false
            }
            Err(other) => panic!("{other}"),
        };
        self.tails[topic][partition] = kept.then_some(tail);
    }

    fn resume(&mut self, given: usize) {
        if self.given.is_empty() {
            return;
        }
        let given = self.given[given % self.given.len()].clone();
        for topic in 0..2 {
            let Some(model) = &self.topics[topic] else { continue };
            let partition = given.place.partition() as usize;
            if partition >= model.parts.len() {
                continue;
            }
            let resumed = self.partition(topic, partition).read_from(given.place);
            if expect(model, &given, topic, &resumed) {
                let records = resumed.expect("was admitted").read().expect("reads");
                let rest = &model.parts[partition].records[given.prefix.len()..];
                records.iter().zip(rest).for_each(|(record, kept)| compare(&record, kept));
                assert_eq!(records.is_empty(), rest.is_empty());
            }
        }
    }

    // The end of the process.

    fn drop_handles(&mut self) {
        self.live = Default::default();
        self.tails = Default::default();
        self.deleted.clear();
        self.deleted_consumers.clear();
    }

    fn reopen(&mut self) {
        self.drop_handles();
        self.world.reopen();
        assert!(self.world.store().recovery().is_clean());
        self.topics.iter_mut().flatten().for_each(TopicModel::all_synced);
    }

    fn kill(&mut self) {
        self.drop_handles();
        self.world.kill();
        self.topics.iter_mut().flatten().for_each(TopicModel::all_synced);
    }

    fn power_cut(&mut self, seed: u64) {
        self.drop_handles();
        self.world.become_image(|image| {
            let image = if seed.is_multiple_of(2) { image.clone().by_sector() } else { image.clone() };
            let lost: Vec<bool> = image.pending().iter().enumerate().map(|(n, _)| is_lost(seed, n as u64)).collect();
            image.after(Loss::Subset(&lost))
        });
        for topic in 0..2 {
            let Some(mut model) = self.topics[topic].take() else { continue };
            let engine = self.engine(topic);
            for (n, part) in model.parts.iter_mut().enumerate() {
                let end = index(self.partition(topic, n).end());
                assert!(part.may_end_at(end), "{n} ends at {end}; {part:?}");
                if end < part.end() {
                    part.cut(end);
                }
            }
            for (group, name) in GROUPS.iter().enumerate() {
                let found = engine.group(name).ok();
                for (n, candidates) in model.commits[group].iter_mut().enumerate() {
                    let commits = found.iter().flat_map(|found| &found.commits);
                    let next = commits
                        .filter(|commit| commit.place.partition() as usize == n)
                        .map(|commit| index(commit.place.next()));
                    match next.max() {
                        Some(next) => {
                            candidates.retain(|candidate| candidate.len() == next);
                            assert!(!candidates.is_empty(), "a commit at {next} that nobody made");
                        }
                        None => {
                            assert!(!model.durable || candidates.is_empty(), "a durable commit is lost");
                            candidates.clear();
                        }
                    }
                }
            }
            model.all_synced();
            self.topics[topic] = Some(model);
        }
    }

    // After every step.

    fn check(&mut self) {
        let names: Vec<String> = self.world.store().topics().expect("lists").iter().map(ToString::to_string).collect();
        let expected: Vec<&str> = (0..2).filter(|&n| self.topics[n].is_some()).map(|n| NAMES[n]).collect();
        assert_eq!(names, expected);
        for topic in 0..2 {
            let Some(mut model) = self.topics[topic].take() else { continue };
            assert_eq!(self.engine(topic).epoch(), model.epoch);
            assert_eq!(self.engine(topic).partitions() as usize, model.parts.len());
            for n in 0..model.parts.len() {
                let retires = model.retires;
                check_part(&self.partition(topic, n), &mut model.parts[n], retires);
            }
            self.topics[topic] = Some(model);
        }
        for partition in &self.deleted {
            let error = refused(partition.append_with("late", AppendOptions::new()));
            assert!(matches!(error, Error::TopicDeleted { .. }), "{error}");
        }
        for consumer in &mut self.deleted_consumers {
            assert!(matches!(refused(consumer.commit()), Error::TopicDeleted { .. }));
            assert!(matches!(refused(consumer.poll(AT_ONCE)), Error::TopicDeleted { .. }));
        }
    }
}

fn check_part(partition: &Partition, part: &mut Part, retires: bool) {
    let start = index(partition.start());
    assert!(start == part.start || (retires && start > part.start && start <= part.end()), "start {start}; {part:?}");
    part.start = start;
    assert_eq!(index(partition.end()), part.end());
    let durable = index(partition.durable_end());
    assert!(part.synced <= durable && durable <= part.end(), "durable {durable}; {part:?}");
    part.synced = durable;
    let mut reader = partition.read_from(Start::Earliest).expect("begins");
    let mut expected = part.records[start..].iter();
    loop {
        let records = reader.read().expect("reads");
        if records.is_empty() {
            break;
        }
        for record in &records {
            compare(&record, expected.next().expect("was appended"));
        }
    }
    assert!(expected.next().is_none(), "everything is read");
    if let Some(middle) = (start < part.end()).then_some((start + part.end()) / 2) {
        let found = partition.get(Offset::new(middle as u64)).expect("reads");
        compare(&found.iter().next().expect("is there"), &part.records[middle]);
    }
}

fn compare(record: &RecordView<'_>, kept: &Kept) {
    assert_eq!(record.is_tombstone(), kept.value.is_none());
    assert_eq!(record.value(), kept.value.as_deref().unwrap_or_default());
    assert_eq!(record.key(), kept.key.as_deref());
    let headers: Vec<(String, Vec<u8>)> =
        record.headers().map(|(name, value)| (name.to_string(), value.to_vec())).collect();
    assert_eq!(headers, kept.headers);
}

/// Compares what was said of a place with what the oracle says; whether it was admitted.
fn expect<T: std::fmt::Debug>(model: &TopicModel, given: &Given, topic: usize, said: &Result<T, Error>) -> bool {
    if given.topic != model.epoch || given.name != topic {
        assert!(matches!(said, Err(Error::StaleEpoch { .. })), "{said:?} of {given:?}");
        return false;
    }
    let expected = model.parts[given.place.partition() as usize].judge(&given.prefix);
    let found = match said {
        Ok(_) => Verdict::Here,
        Err(Error::OffsetOutOfRange { .. }) => Verdict::Expired,
        Err(Error::Diverged { fork, .. }) => Verdict::Diverged(index(*fork)),
        Err(other) => panic!("{other}"),
    };
    assert_eq!(found, expected, "{given:?}");
    found == Verdict::Here
}

/// A coin for each pending page, from a seed.
fn is_lost(seed: u64, n: u64) -> bool {
    let mixed = (seed ^ n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 31)) & 8 != 0
}
