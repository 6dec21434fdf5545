//! Partitions that close their files because others are appended to, and open them again.

use std::path::Path;
use std::time::Duration;

use epochlog::testing::{Fault, Image, SimDisk};
use epochlog::{
    Error, Mapping, Offset, OnDamage, Partition, Reader, Start, Store, StoreOptions, Timestamp, TopicOptions,
};

use crate::support::*;

/// A topic of so many partitions, of which one at a time is awake: whichever was appended to last.
struct Turns {
    disk: SimDisk,
    mapping: Mapping,
    store: Option<Store>,
}

impl Turns {
    fn new(mapping: Mapping, options: TopicOptions) -> Turns {
        let disk = SimDisk::new(7);
        let store = one_awake(&disk, mapping).create("/sim").expect("creates");
        store.create_topic("orders", options).expect("creates");
        Turns { disk, mapping, store: Some(store) }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("is open")
    }

    fn partitions(&self) -> Vec<Partition> {
        let topic = self.store().topic("orders").expect("is there");
        (0..topic.partitions()).map(|number| topic.partition(number).expect("is there")).collect()
    }

    fn reopen(&mut self) {
        self.store.take().expect("is open").close().expect("closes");
        self.store = Some(one_awake(&self.disk, self.mapping).open("/sim").expect("opens"));
    }

    fn go_down(&mut self, after: impl Fn(&Image) -> SimDisk) {
        let image = self.disk.image();
        self.disk.stop_after(0);
        drop(self.store.take());
        self.disk = after(&image);
        self.store = Some(one_awake(&self.disk, self.mapping).open("/sim").expect("opens"));
    }
}

fn of(partitions: u32) -> TopicOptions {
    small().partitions(partitions)
}

/// Two partitions, of which the first rests with these records.
fn at_rest(mapping: Mapping, options: TopicOptions, records: u64) -> (Turns, Partition, Partition) {
    let turns = Turns::new(mapping, options.partitions(2));
    let [first, second] = turns.partitions().try_into().expect("there are two");
    scribble(&first, "v", records);
    scribble(&second, "w", 1);
    (turns, first, second)
}

fn append_in_turn(partitions: &[Partition], range: std::ops::Range<u64>) {
    for n in range {
        for partition in partitions {
            partition.append_with(format!("v{n}").as_str(), written()).expect("appends");
        }
    }
}

#[test]
fn what_is_appended_in_turn_is_all_there_with_few_files_open() {
    both_ways(|mapping| {
        let mut turns = Turns::new(mapping, of(5));
        let before = turns.disk.open_files();
        for n in 0..200 {
            append_in_turn(&turns.partitions(), n..n + 1);
            let open = turns.disk.open_files() - before;
            // Of the one that is awake; and those of a segment that it filled, whose line waits for its sync.
            assert!(open <= 2 + 2, "{open} files are open more than before, in round {n}");
        }
        assert!(turns.partitions()[0].segments().len() > 1, "it also rolls");
        let is_whole =
            |turns: &Turns| turns.partitions().iter().all(|partition| all(partition) == numbered("v", 0..200));
        assert!(is_whole(&turns));
        turns.reopen();
        assert!(is_whole(&turns));
        assert!(!turns.store().recovery().needed);
    });
}

#[test]
fn whoever_rests_is_durable_and_no_crash_costs_it_a_record() {
    both_ways(|mapping| {
        let after: [fn(&Image) -> SimDisk; 2] = [Image::after_kill, |image| image.after(epochlog::testing::Loss::All)];
        for after in after {
            let mut turns = Turns::new(mapping, of(3));
            append_in_turn(&turns.partitions(), 0..50);
            let [first, second, _awake] = turns.partitions().try_into().expect("there are three");
            assert_eq!([first.durable_end(), second.durable_end()], [Offset::new(50); 2]);
            drop((first, second, _awake));
            turns.go_down(after);
            let [first, second, _awake] = turns.partitions().try_into().expect("there are three");
            assert_eq!([all(&first), all(&second)], [numbered("v", 0..50), numbered("v", 0..50)]);
        }
    });
}

/// The next record, which is there: a read that gives nothing would be a lie.
fn next(reader: &mut Reader) -> String {
    let records = reader.read().expect("reads");
    values(&records).into_iter().next().expect("there is one")
}

#[test]
fn a_reader_at_the_end_misses_nothing_of_a_partition_that_rests_and_wakes() {
    both_ways(|mapping| {
        let turns = Turns::new(mapping, of(2));
        let partitions = turns.partitions();
        let begin = |partition: &Partition| partition.read_from(Start::Earliest).expect("begins").bytes_max(1);
        let mut readers: Vec<Reader> = partitions.iter().map(begin).collect();
        for n in 0..300 {
            for (partition, reader) in partitions.iter().zip(&mut readers) {
                partition.append_with(format!("v{n}").as_str(), written()).expect("appends");
                // Every third reads while it rests, the others while it is awake.
                if n % 3 > 0 {
                    assert_eq!(next(reader), format!("v{}", if n % 3 == 1 { n - 1 } else { n }));
                }
            }
            if n % 3 == 1 {
                readers.iter_mut().for_each(|reader| assert_eq!(next(reader), format!("v{n}")));
            }
        }
    });
}

#[test]
fn a_record_of_a_resting_partition_is_found_by_its_index() {
    let (turns, first, _awake) = at_rest(Mapping::Never, TopicOptions::new(), 5000);
    let opened = turns.disk.count("open");
    assert_eq!(values(&first.get(Offset::new(4321)).expect("is there")), ["v4321"]);
    let latest = first.read_from(Start::Time(Timestamp::MAX)).expect("looks");
    assert_eq!(latest.place().next(), Offset::new(5000));
    assert_eq!(turns.disk.count("open") - opened, 2, "the log and the index, and not the log again to build another");
    let guessed = turns.disk.count("read");
    assert_eq!(values(&first.get(Offset::new(1234)).expect("is there")), ["v1234"]);
    assert!(turns.disk.count("read") - guessed < 4, "its index stays open");
}

#[test]
fn the_index_goes_on_where_it_was_left() {
    both_ways(|mapping| {
        let (mut turns, first, second) = at_rest(mapping, TopicOptions::new(), 500);
        for n in 500..1500 {
            first.append_with(format!("v{n}").as_str(), written()).expect("appends");
            if n % 100 == 0 {
                scribble(&second, "w", 1);
            }
        }
        drop((first, second));
        turns.reopen();
        let found = epochlog::inspect::verify(turns.store(), &mut |_| {}).expect("verifies");
        assert!(found.is_clean(), "{:?}", found.damage);
        let before = turns.disk.count("read");
        assert_eq!(values(&turns.partitions()[0].get(Offset::new(1400)).expect("is there")), ["v1400"]);
        assert!(turns.disk.count("read") - before < 10);
    });
}

#[test]
fn a_sync_that_fails_for_it_to_rest_is_told_to_its_own_appenders() {
    both_ways(|mapping| {
        let turns = Turns::new(mapping, of(2));
        let [first, second] = turns.partitions().try_into().expect("there are two");
        scribble(&first, "v", 3);
        turns.disk.fail(Fault::of("sync").on("orders@1/0/"));
        scribble(&second, "w", 1);
        assert!(matches!(refused(first.append("v")), Error::Latched { .. }));
        scribble(&second, "w", 1);
        first.reopen().expect("reopens").expect("was latched");
        assert_eq!(all(&first), numbered("v", 0..3));
        scribble(&first, "v", 1);
        scribble(&second, "w", 1);
        assert_eq!((first.durable_end(), all(&first)), (Offset::new(4), numbered("v", 0..4)));
    });
}

#[test]
fn one_that_no_file_could_be_opened_for_rests_with_the_next() {
    const EMFILE: i32 = 24;
    both_ways(|mapping| {
        let turns = Turns::new(mapping, of(3));
        let [first, second, third] = turns.partitions().try_into().expect("there are three");
        let before = turns.disk.open_files();
        scribble(&first, "v", 1);
        turns.disk.fail(Fault::of("open_dir").on("orders@1/0").os_error(EMFILE));
        scribble(&second, "w", 1);
        assert!(turns.disk.open_files() - before > 2, "the first stays awake");
        scribble(&third, "x", 1);
        assert_eq!(turns.disk.open_files() - before, 2, "the third is awake");
        for partition in [&first, &second, &third] {
            scribble(partition, "y", 1);
            assert_eq!(turns.disk.open_files() - before, 2);
        }
    });
}

#[test]
fn an_append_that_cannot_open_the_files_again_changes_nothing_and_the_next_one_does() {
    both_ways(|mapping| {
        let (turns, first, _other) = at_rest(mapping, of(2), 3);
        turns.disk.fail(Fault::of("open").on("orders@1/0/"));
        let error = refused_untouched(&turns.disk, || first.append_with("v3", written()));
        assert!(matches!(error, Error::Io { operation: "open", .. }), "{error}");
        scribble(&first, "v", 1);
        assert_eq!(all(&first), numbered("v", 0..4));
    });
}

#[test]
fn a_file_that_was_cut_while_it_rested_is_damage_to_who_appends_and_to_who_reads() {
    both_ways(|mapping| {
        let (mut turns, first, other) = at_rest(mapping, of(2), 30);
        let path = first.segments()[0].path.strip_prefix("/sim").expect("lies there").to_path_buf();
        turns.disk.truncate(&path, 500);
        let short = |error: Error| {
            assert!(
                error.to_string().starts_with("short segment in") || error.to_string().contains("500 bytes"),
                "{error}"
            );
        };
        short(refused_untouched(&turns.disk, || first.append_with("v30", written())));
        short(refused(first.read_from(Start::Earliest).expect("begins").read()));
        // A close makes nothing up.
        drop((first, other));
        turns.reopen();
        assert_eq!(turns.disk.read(&path).len(), 500);
        let mut reader = turns.partitions()[0].read_from(Start::Earliest).expect("begins");
        assert!(reader.read().expect("reads what is there").len() < 30);
        short(refused(reader.read()));
    });
}

#[test]
fn without_its_index_or_with_a_part_of_it_alone_it_wakes_all_the_same() {
    both_ways(|mapping| {
        let harms: [fn(&SimDisk, &Path); 2] = [|disk, path| disk.remove(path), |disk, path| disk.truncate(path, 150)];
        for harm in harms {
            let (turns, first, _other) = at_rest(mapping, TopicOptions::new(), 500);
            let path = first.segments()[0].path.strip_prefix("/sim").expect("lies there").with_extension("index");
            harm(&turns.disk, &path);
            scribble(&first, "v", 500);
            assert_eq!(values(&first.get(Offset::new(987)).expect("is there")), ["v987"]);
            assert_eq!(all(&first), numbered("v", 0..1000));
        }
    });
}

#[test]
fn one_that_rests_is_rolled_by_age_and_goes_on_in_a_new_segment() {
    both_ways(|mapping| {
        let options = of(2).segment_age(Duration::from_secs(60)).retention_age(Duration::from_secs(600));
        let (mut turns, first, other) = at_rest(mapping, options, 30);
        turns.disk.clock().advance(Duration::from_secs(61));
        let done = turns.store().maintain().expect("maintains");
        assert_eq!((done.segments_rolled, first.segments().len()), (2, 1), "{done:?}");
        assert!(first.segments()[0].sealed);
        scribble(&first, "v", 10);
        assert_eq!((first.segments().len(), all(&first)), (2, numbered("v", 0..40)));
        drop((first, other));
        turns.reopen();
        assert_eq!(all(&turns.partitions()[0]), numbered("v", 0..40));
        assert_eq!(turns.partitions()[0].lineage().len(), 2, "no epoch began");
    });
}

#[test]
fn one_that_rests_is_cut_trimmed_closed_and_deleted_like_any_other() {
    both_ways(|mapping| {
        let (mut turns, first, other) = at_rest(mapping, of(2), 100);
        first.trim(Offset::new(80)).expect("trims");
        first.truncate(Offset::new(90)).expect("cuts");
        assert_eq!(all(&first), numbered("v", 80..90));
        scribble(&other, "w", 1);
        first.append_with("v90", written()).expect("appends");
        assert_eq!(all(&first), numbered("v", 80..91));
        scribble(&other, "w", 1);
        drop((first, other));
        turns.reopen();
        assert_eq!(all(&turns.partitions()[0]), numbered("v", 80..91));
        let [first, other] = turns.partitions().try_into().expect("there are two");
        scribble(&first, "v", 1);
        scribble(&other, "w", 1);
        turns.store().delete_topic("orders").expect("deletes");
        assert!(matches!(refused(first.append("v")), Error::TopicDeleted { .. }));
        turns.store().create_topic("orders", of(3)).expect("creates");
        append_in_turn(&turns.partitions(), 0..3);
    });
}

#[test]
fn full_segments_that_wait_for_their_sync_keep_few_files_open() {
    both_ways(|mapping| {
        let turns = Turns::new(mapping, small().segment_bytes_max(1024));
        let [only] = turns.partitions().try_into().expect("there is one");
        scribble(&only, "v", 5000);
        assert!(only.segments().len() > 200);
        assert!(turns.disk.open_files() < 100, "{} files", turns.disk.open_files());
        assert_eq!(all(&only), numbered("v", 0..5000));
    });
}

#[test]
fn appends_that_find_no_room_keep_no_files_open() {
    both_ways(|mapping| {
        let turns = Turns::new(mapping, TopicOptions::new().partitions(6));
        let partitions = turns.partitions();
        let before = turns.disk.open_files();
        append_in_turn(&partitions, 0..1);
        turns.disk.set_capacity(Some(0));
        for partition in &partitions {
            let error = refused(partition.append_with(&[7; 40_000], written()));
            assert!(matches!(error, Error::StorageFull { .. }), "{error}");
            assert_eq!(turns.disk.open_files() - before, 2, "of the one that is awake");
        }
        turns.disk.set_capacity(None);
        append_in_turn(&partitions, 1..2);
        assert!(partitions.iter().all(|partition| all(partition) == numbered("v", 0..2)));
    });
}

#[test]
fn an_append_that_lets_another_partition_rest_asks_for_no_reserve() {
    both_ways(|mapping| {
        let turns = Turns::new(mapping, of(3));
        let [first, second, third] = turns.partitions().try_into().expect("there are three");
        let before = turns.disk.open_files();
        while first.segments().len() < 2 {
            scribble(&first, "v", 1);
        }
        let full = Fault::of("write").on("orders@1/0/history").kind(std::io::ErrorKind::StorageFull);
        turns.disk.fail(full.forever());
        scribble(&second, "w", 1);
        assert!(turns.disk.files().iter().any(|file| file.ends_with("RESERVE")));
        assert!(turns.disk.open_files() - before > 4, "the first stays awake");
        turns.disk.heal();
        scribble(&third, "x", 1);
        assert_eq!(turns.disk.open_files() - before, 2, "the third is awake");
    });
}

#[test]
fn how_many_are_awake_is_checked() {
    let disk = SimDisk::new(3);
    type Opens = fn(StoreOptions) -> Result<(), Error>;
    let ways: [Opens; 5] = [
        |options| options.create("/sim").map(drop),
        |options| options.open("/sim").map(drop),
        |options| options.open_or_create("/sim").map(drop),
        |options| options.open_read_only("/sim").map(drop),
        |options| options.repair("/sim", OnDamage::Keep).map(drop),
    ];
    for way in ways {
        let none = options(&disk, Mapping::Auto).open_partitions_max(0);
        assert_eq!(
            refused_untouched(&disk, || way(none)).to_string(),
            "option `open_partitions_max` is invalid: 0 was given; allowed is at least 1"
        );
    }
}
