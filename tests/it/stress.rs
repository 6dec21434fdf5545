//! Threads against each other: appenders, tailing readers, committing consumers, and one that trims, retires, truncates,
//! deletes and recreates. Each writes down what it saw; the properties are checked afterwards, over what was written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use epochlog::testing::{Dir, Fault, SimDisk};
use epochlog::{
    AppendOptions, Durability, Epoch, Error, Mapping, Offset, Partition, Place, Reader, Record, Start, Store,
    StoreOptions, TopicOptions, Visibility,
};

use crate::support::*;

const RUN: Duration = Duration::from_millis(1500);
const APPENDERS: u64 = 4;

/// What an appender was told of a batch.
struct Appended {
    place: Place,
    base: Offset,
    values: Vec<String>,
    durable: bool,
}

/// What a reader saw: a record, in the epoch that it names.
struct Read {
    topic: Epoch,
    epoch: Epoch,
    offset: Offset,
    value: String,
}

#[derive(Default)]
struct Log {
    appended: Mutex<Vec<Appended>>,
    read: Mutex<Vec<Read>>,
    cycles: AtomicU64,
    deletes: AtomicU64,
    stop: AtomicBool,
}

impl Log {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

fn topic_options() -> TopicOptions {
    TopicOptions::new().segment_bytes_max(16 << 10).retention_bytes(128 << 10)
}

/// The partition of the topic that has the name now; `None` while there is none.
fn current(store: &Store) -> Option<Partition> {
    match store.topic("orders") {
        Ok(topic) => match topic.partition(0) {
            Ok(partition) => Some(partition),
            Err(Error::TopicDeleted { .. }) => None,
            Err(other) => panic!("{other}"),
        },
        Err(Error::TopicNotFound { .. }) => None,
        Err(other) => panic!("{other}"),
    }
}

fn append(store: &Store, log: &Log, thread: u64) {
    let mut sequence = 0_u64;
    while log.goes_on() {
        let Some(partition) = current(store) else { continue };
        let topic = partition.topic().epoch().number;
        loop {
            let count = 1 + sequence % 5;
            let values: Vec<String> = (0..count).map(|n| format!("{topic}/{thread}/{sequence}/{n}of{count}")).collect();
            sequence += 1;
            let records: Vec<Record<'_>> = values.iter().map(Record::new).collect();
            let durable = (sequence + thread).is_multiple_of(3);
            let durability = if durable { Durability::Durable } else { Durability::Written };
            match partition.append_batch_with(&records, AppendOptions::new().durability(durability)) {
                Ok(ack) => {
                    let appended = Appended { place: ack.next(), base: ack.offset(), values, durable };
                    log.appended.lock().expect("lives").push(appended);
                }
                Err(Error::Diverged { .. }) => {}
                Err(Error::TopicDeleted { .. }) => break,
                Err(other) => panic!("{other}"),
            }
            if !log.goes_on() {
                return;
            }
        }
    }
}

/// Reads on from one end of a topic's life to the other. Every jump has its event.
fn tail(store: &Store, log: &Log, visibility: Visibility) {
    while log.goes_on() {
        let Some(partition) = current(store) else { continue };
        let Ok(reader) = partition.read_from(Start::Earliest) else { continue };
        let mut reader = reader.visibility(visibility).bytes_max(4096);
        let mut next = reader.place().next();
        while log.goes_on() {
            match reader.poll(Duration::from_millis(50)) {
                Ok(records) => {
                    let mut read = log.read.lock().expect("lives");
                    for record in &records {
                        assert_eq!(record.offset(), next, "a reader skips, repeats or goes back");
                        next = next.next();
                        read.push(Read {
                            topic: partition.topic().epoch(),
                            epoch: record.epoch(),
                            offset: record.offset(),
                            value: String::from_utf8(record.value().to_vec()).expect("is text"),
                        });
                    }
                }
                Err(Error::OffsetOutOfRange { .. } | Error::Diverged { .. }) => {
                    if reader.seek(Start::Earliest).is_err() {
                        break;
                    }
                    next = reader.place().next();
                }
                Err(Error::TopicDeleted { epoch, .. }) => {
                    assert_eq!(epoch, partition.topic().epoch());
                    break;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
}

fn consume(store: &Store, log: &Log, group: &str) {
    while log.goes_on() {
        let Some(partition) = current(store) else { continue };
        let topic = partition.topic();
        let mut consumer = match topic.consumer(group).bytes_max(4096).open() {
            Ok(consumer) => consumer,
            Err(Error::TopicDeleted { .. }) => continue,
            Err(other) => panic!("{other}"),
        };
        while log.goes_on() {
            let before = consumer.places().first().map(Place::next);
            let step = consumer.poll(Duration::from_millis(20)).and_then(|records| {
                if let (Some(before), Some(first)) = (before, records.iter().next()) {
                    assert_eq!(first.offset(), before, "a consumer skips, repeats or goes back");
                }
                consumer.commit()
            });
            match step {
                Ok(()) => {}
                Err(Error::OffsetOutOfRange { .. } | Error::Diverged { .. }) => {
                    if consumer.seek(0, Start::Earliest).is_err() {
                        break;
                    }
                }
                Err(Error::TopicDeleted { .. }) => break,
                Err(other) => panic!("{other}"),
            }
        }
    }
}

/// Trims, retires, truncates, deletes, recreates.
fn disturb(store: &Store, log: &Log) {
    let began = Instant::now();
    for n in 0_u64.. {
        let partition = current(store).expect("nobody else deletes");
        // Gives the others a little to work on; they count on no time.
        let enough = partition.end().plus(40 + n % 97);
        while partition.end() < enough && began.elapsed() < RUN {
            std::thread::yield_now();
        }
        let (start, end) = (partition.start(), partition.end());
        match n % 7 {
            0 | 3 => in_range(&partition.trim(start.plus(end.since(start) / 3))),
            1 | 4 | 5 => in_range(&partition.truncate(end.minus(n % 60))),
            2 => assert!(store.maintain().is_ok()),
            _ if n % 3 == 0 => {
                store.delete_topic("orders").expect("deletes");
                store.create_topic("orders", topic_options()).expect("creates");
                log.deletes.fetch_add(1, Ordering::Relaxed);
            }
            _ => partition.sync().expect("syncs"),
        }
        log.cycles.fetch_add(1, Ordering::Relaxed);
        if began.elapsed() >= RUN {
            log.stop.store(true, Ordering::Relaxed);
            return;
        }
    }
}

/// Retention may have been faster.
fn in_range(result: &Result<(), Error>) {
    assert!(matches!(result, Ok(()) | Err(Error::OffsetOutOfRange { .. })), "{result:?}");
}

fn run(store: &Store) -> Log {
    let log = Log::default();
    store.create_topic("orders", topic_options()).expect("creates");
    std::thread::scope(|threads| {
        for thread in 0..APPENDERS {
            let log = &log;
            threads.spawn(move || append(store, log, thread));
        }
        threads.spawn(|| tail(store, &log, Visibility::Written));
        threads.spawn(|| tail(store, &log, Visibility::Durable));
        threads.spawn(|| consume(store, &log, "billing"));
        threads.spawn(|| consume(store, &log, "audit"));
        threads.spawn(|| disturb(store, &log));
    });
    log
}

/// P2, P4, P5 and the order within P3, over what all threads wrote down.
fn check(log: &Log, last: &Partition) {
    let appended = log.appended.lock().expect("lives");
    let read = log.read.lock().expect("lives");
    let mut bound: HashMap<(Epoch, Offset), &str> = HashMap::new();
    for batch in appended.iter() {
        for (n, value) in batch.values.iter().enumerate() {
            let twice = bound.insert((batch.place.epoch(), batch.base.plus(n as u64)), value);
            assert!(twice.is_none(), "P4: two records acknowledged at one offset of one epoch");
        }
    }
    let mut seen: HashMap<(Epoch, Offset), &str> = HashMap::new();
    let mut at: HashMap<&str, (Epoch, Offset)> = HashMap::new();
    for record in read.iter() {
        let key = (record.epoch, record.offset);
        assert!(record.value.starts_with(&format!("{}/", record.topic.number)), "a record of another topic");
        let before = seen.insert(key, &record.value).or_else(|| bound.get(&key).copied());
        assert!(before.is_none_or(|before| before == record.value), "P4: {before:?} and {} at {key:?}", record.value);
        let elsewhere = at.insert(&record.value, key);
        assert!(elsewhere.is_none_or(|elsewhere| elsewhere == key), "P2: {} is there twice", record.value);
    }
    // P3: within an epoch each appender's batches stand in the order in which it made them.
    let mut newest: BTreeMap<(u64, u64, &str), (Offset, u64)> = BTreeMap::new();
    let mut ordered: Vec<_> = at.iter().map(|(value, key)| (key.0.number, key.1, *value)).collect();
    ordered.sort_unstable();
    for (epoch, offset, value) in ordered {
        let fields: Vec<&str> = value.split('/').collect();
        let sequence: u64 = fields[2].parse().expect("is a number");
        let before = newest.insert((epoch, 0, fields[1]), (offset, sequence));
        assert!(before.is_none_or(|(_, before)| before <= sequence), "P3: {value} stands behind {before:?}");
    }
    check_last(&appended, last);
}

/// P1 and P5 over what is there in the end: durable batches of the last topic that no truncate and no trim took.
fn check_last(appended: &[Appended], last: &Partition) {
    let mut reader = last.read_from(Start::Earliest).expect("begins");
    let mut there: HashMap<(Epoch, Offset), String> = HashMap::new();
    loop {
        let records = reader.read().expect("reads");
        if records.is_empty() {
            break;
        }
        there.extend(
            records.iter().map(|record| {
                ((record.epoch(), record.offset()), String::from_utf8_lossy(record.value()).into_owned())
            }),
        );
    }
    let lineage = last.lineage();
    let cut_of = |epoch: Epoch| {
        let later = lineage.iter().skip_while(|described| described.epoch != epoch).skip(1);
        later.map(|described| described.start).min().unwrap_or(Offset::MAX)
    };
    let mine: HashSet<Epoch> = lineage.iter().map(|described| described.epoch).collect();
    let (start, mut checked) = (last.start(), 0);
    for batch in appended.iter().filter(|batch| mine.contains(&batch.place.epoch())) {
        let cut = cut_of(batch.place.epoch());
        for (n, value) in batch.values.iter().enumerate() {
            let offset = batch.base.plus(n as u64);
            let found = there.get(&(batch.place.epoch(), offset));
            if offset >= start && offset < cut {
                assert_eq!(found, Some(value), "P1: durable {}", batch.durable);
                checked += 1;
            } else {
                assert_eq!(found, None);
            }
        }
    }
    assert_eq!(there.len() as u64, last.end().since(start));
    assert!(checked > 0 || there.is_empty(), "something was checked");
}

fn stress(name: &str, options: &StoreOptions, path: &std::path::Path) {
    let store = options.clone().create(path).expect("creates");
    let log = run(&store);
    let last = current(&store).expect("is there");
    check(&log, &last);
    drop(last);
    store.close().expect("closes");
    let store = options.clone().open(path).expect("opens");
    check(&log, &current(&store).expect("is there"));
    let (appended, read) = (log.appended.lock().expect("lives").len(), log.read.lock().expect("lives").len());
    let (cycles, deletes) = (log.cycles.load(Ordering::Relaxed), log.deletes.load(Ordering::Relaxed));
    eprintln!("{name}: {appended} batches, {read} records read, {cycles} disturbances, {deletes} deletes");
    assert!(appended > 50 && read > 50 && cycles > 10);
}

#[test]
fn threads_on_a_simulated_disk_see_one_history() {
    both_ways(|mapping| {
        let disk = SimDisk::new(11);
        stress(&format!("simulated, {mapping:?}"), &options(&disk, mapping), "/sim".as_ref());
    });
}

#[test]
fn threads_on_a_real_disk_see_one_history() {
    both_ways(|mapping| {
        let dir = tempfile::tempdir().expect("makes a directory");
        let options = StoreOptions::new().mapping(mapping).background(true);
        stress(&format!("real, {mapping:?}"), &options, &dir.path().join("data"));
    });
}

#[test]
fn a_reader_never_crosses_a_cut_that_was_grown_over() {
    let world = world(Mapping::Auto);
    let topic = world.store().create_topic("orders", TopicOptions::new()).expect("creates");
    let partition = topic.partition(0).expect("is there");
    std::thread::scope(|threads| {
        let read = || (0..200).for_each(|_| read_admitted(&partition));
        let readers: Vec<_> = (0..3).map(|_| threads.spawn(read)).collect();
        // As long as anybody reads, however slowly.
        for n in (1..=5).cycle().take_while(|_| readers.iter().any(|reader| !reader.is_finished())) {
            partition.append_batch_with(&[Record::new("v"); 8], written()).expect("appends");
            partition.truncate(partition.end().minus(n)).expect("truncates");
            partition.append_batch_with(&[Record::new("v"); 3], written()).expect("appends");
        }
    });
}

/// Reads until told of a cut. What is read after a place must continue that place's history.
fn read_admitted(partition: &Partition) {
    let mut reader: Reader = partition.read_from(Start::Latest).expect("begins").bytes_max(1);
    let lineage = |epoch: Epoch| {
        let lineage = partition.lineage();
        let later = lineage.iter().skip_while(|described| described.epoch != epoch).skip(1);
        later.map(|described| (described.epoch, described.start)).collect::<Vec<_>>()
    };
    for _ in 0..50 {
        let before = reader.place();
        let Ok(records) = reader.poll(Duration::from_millis(1)) else { return };
        if let Some(first) = records.iter().next() {
            for (epoch, start) in lineage(before.epoch()) {
                let cut_before_this = epoch.number <= first.epoch().number && start < before.next();
                assert!(!cut_before_this, "{before} was cut at {start} by {epoch}, and read on in {}", first.epoch());
            }
        }
    }
}

// Who waits is woken.

/// Lets somebody wait for an hour, does something, and gives what they were told.
fn waits_until<T: Send>(waiter: impl FnOnce() -> T + Send, event: impl FnOnce()) -> T {
    let began = Instant::now();
    let told = std::thread::scope(|threads| {
        let waiting = threads.spawn(waiter);
        // The event may come before the wait or in it: both must do.
        (0..200).for_each(|_| std::thread::yield_now());
        event();
        waiting.join().expect("is woken")
    });
    assert!(began.elapsed() < Duration::from_secs(30), "woken too late");
    told
}

const AN_HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_blocked_poll_is_woken_by_an_append_a_delete_and_a_close() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        for round in 0..24 {
            let partition = world.partition();
            let spin = if round % 3 == 0 { AN_HOUR } else { Duration::ZERO };
            // The first append of a session begins an epoch, and that is news as well.
            partition.append_batch_with(&[record("old")], written()).expect("appends");
            let mut reader = partition.read_from(Start::Latest).expect("begins").spin(spin);
            let mut consumer =
                partition.topic().consumer("billing").start(Start::Latest).spin(spin).open().expect("opens");
            assert!(consumer.poll(AT_ONCE).expect("polls").is_empty());
            let (read, polled) = waits_until(
                || {
                    std::thread::scope(|threads| {
                        let polling = threads.spawn(|| consumer.poll(AN_HOUR).map(|records| values(&records)));
                        (reader.poll(AN_HOUR).map(|records| values(&records)), polling.join().expect("is woken"))
                    })
                },
                || assert!(partition.append_batch_with(&[record("news")], written()).is_ok()),
            );
            assert_eq!(read.expect("reads"), ["news"]);
            assert_eq!(polled.expect("polls"), ["news"]);
            if round % 2 == 0 {
                let told =
                    waits_until(|| reader.poll(AN_HOUR), || world.store().delete_topic("orders").expect("deletes"));
                assert!(matches!(refused(told), Error::TopicDeleted { .. }));
                assert!(matches!(refused(consumer.poll(AN_HOUR)), Error::TopicDeleted { .. }));
            } else {
                let closing = world.store().clone();
                let told = waits_until(|| reader.poll(AN_HOUR), || closing.close().expect("closes"));
                assert!(matches!(refused(told), Error::Closed));
                drop((consumer, partition));
                world.reopen();
                world.store().delete_topic("orders").expect("deletes");
            }
        }
    });
}

#[test]
fn a_poll_for_durable_records_is_woken_by_the_sync_alone() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        let mut reader = partition.read_from(Start::Latest).expect("begins").visibility(Visibility::Durable);
        // Often enough that the poll has fallen asleep before at least one of the syncs.
        for n in (0..60).step_by(3) {
            scribble(&partition, "v", 3);
            assert!(reader.read().expect("reads").is_empty(), "nothing is durable yet");
            let read = waits_until(|| reader.poll(AN_HOUR), || partition.sync().expect("syncs"));
            assert_eq!(values(&read.expect("reads")), numbered("v", n..n + 3));
        }
    });
}

#[test]
fn a_poll_is_woken_by_a_truncate_below_it() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 10);
        // Long enough to fall asleep again after the sync that a truncate begins with.
        world.disk.set_sync_delay(Duration::from_millis(5));
        for _ in 0..10 {
            let mut reader = partition.read_from(Start::Latest).expect("begins");
            let told = waits_until(|| reader.poll(AN_HOUR), || partition.truncate(Offset::new(4)).expect("truncates"));
            assert!(matches!(refused(told), Error::Diverged { fork, .. } if fork == Offset::new(4)));
            fill(&partition, "w", 6);
        }
    });
}

#[test]
fn appenders_that_wait_for_a_sync_are_told_of_a_delete() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 1);
        world.disk.set_sync_delay(Duration::from_millis(2));
        std::thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| {
                    let error = loop {
                        if let Err(error) = partition.append("v") {
                            break error;
                        }
                    };
                    assert!(matches!(error, Error::TopicDeleted { .. }), "{error}");
                });
            }
            while partition.end() < Offset::new(30) {
                std::thread::yield_now();
            }
            world.store().delete_topic("orders").expect("deletes");
        });
    });
}

#[test]
fn a_delete_and_a_maintain_may_both_be_at_the_same_trash() {
    both_ways(|mapping| {
        let world = world(mapping);
        fill(&world.partition(), "v", 3);
        world.disk.fail(Fault::of("remove_file").on("trash").forever());
        world.store().delete_topic("orders").expect("deletes, and leaves the files to be unlinked later");
        world.disk.heal();
        let faster = world.disk.clone();
        world.disk.on_operation(Box::new(move |operation| match operation.name {
            "remove_file" => faster.remove_file(&operation.path).expect("is there"),
            "remove_dir" => faster.remove_dir(&operation.path).expect("is there"),
            _ => {}
        }));
        let maintained = world.store().maintain();
        world.disk.on_operation(Box::new(|_| {}));
        maintained.expect("what another has unlinked is no error");
        let left = tree(&world.disk).into_keys().filter(|path| path.starts_with("trash")).count();
        assert_eq!(left, 1, "the empty trash itself");
    });
}
