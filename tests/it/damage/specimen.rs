//! The store that is harmed: about 64 KiB that hold every kind of file, batch, record and entry, and what must be read
//! from it.
//!
//! Invariant: what is known was gathered as it was appended, in plain vectors; nothing of it came out of the store.

use std::collections::BTreeMap;
use std::path::Path;

use epochlog::testing::{Clock, Image, SimDisk};
use epochlog::{Mapping, Offset, Partition, Record, Start, Store, Timestamp, Topic};

use crate::support::*;

/// How the store was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    Closed,
    /// Without a close, with everything durable: what comes next recovers.
    Killed,
}

/// A record as it must be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub offset: u64,
    pub timestamp: Timestamp,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A topic's name and the number of a partition.
pub type Where = (&'static str, u32);

/// What a group committed last, by partition: the offset and the metadata.
pub type Committed = BTreeMap<String, BTreeMap<u32, Commit>>;

/// The offset and the metadata.
pub type Commit = (u64, Option<Vec<u8>>);

/// A group, a partition, and what was committed.
pub type Made = (String, u32, Commit);

pub struct Specimen {
    pub disk: SimDisk,
    pub left: Left,
    pub mapping: Mapping,
    pub known: BTreeMap<Where, Vec<Known>>,
    /// What was trimmed, though its file is still there.
    pub trimmed: BTreeMap<Where, Vec<Known>>,
    pub commits: Committed,
    /// What they were before the last of them.
    pub commits_before: Committed,
    /// All that were ever made: the group, the partition, and what.
    pub commits_made: Vec<Made>,
    /// The disk after the first session.
    pub older: SimDisk,
}

pub const PARTITIONS: [Where; 4] = [("audit", 0), ("orders", 0), ("orders", 1), ("orders", 2)];

pub fn specimen(left: Left, mapping: Mapping) -> Specimen {
    let mut builder = Builder {
        world: world(mapping),
        known: BTreeMap::new(),
        trimmed: BTreeMap::new(),
        commits: Committed::new(),
        commits_before: Committed::new(),
        commits_made: Vec::new(),
        given: 0,
    };
    for place in PARTITIONS {
        builder.known.insert(place, Vec::new());
    }
    builder.world.store().create_topic("orders", small().partitions(3)).expect("creates");
    builder.world.store().create_topic("audit", small().segment_bytes_max(16 << 10)).expect("creates");
    builder.first_session();
    builder.world.close();
    let older = builder.world.disk.clone_synced();
    builder.world.open();
    builder.second_session();
    builder.finish(left, older)
}

struct Builder {
    world: World,
    known: BTreeMap<Where, Vec<Known>>,
    trimmed: BTreeMap<Where, Vec<Known>>,
    commits: Committed,
    commits_before: Committed,
    commits_made: Vec<Made>,
    given: u64,
}

impl Builder {
    fn partition(&self, place: Where) -> Partition {
        topic(self.world.store(), place).partition(place.1).expect("is there")
    }

    fn first_session(&mut self) {
        for _ in 0..8 {
            self.shapes(("orders", 0));
        }
        for _ in 0..3 {
            self.shapes(("orders", 1));
        }
        self.single(("audit", 0), 12);
        self.commit("billing", None);
        self.commit("forgotten", None);
        self.cut(("orders", 0), 60);
        self.shapes(("orders", 0));
        self.trim(("orders", 0), 20);
    }

    fn second_session(&mut self) {
        for _ in 0..6 {
            self.shapes(("orders", 0));
        }
        for _ in 0..6 {
            self.shapes(("orders", 1));
        }
        self.single(("audit", 0), 240);
        self.single(("orders", 2), 1);
        self.trim(("orders", 1), 50);
        self.world.topic("orders").delete_group("forgotten").expect("forgets");
        self.commits.remove("forgotten");
        self.commit("shipping", Some(b"by \xff hand"));
        self.commit("billing", Some(b""));
        self.shapes(("orders", 1));
    }

    /// Every shape of a record, one by one and in batches.
    fn shapes(&mut self, place: Where) {
        let time = Timestamp::from_millis(1_700_000_000_000);
        let headers: &[epochlog::Header<'_>] = &[("unit", b"celsius"), ("", b""), ("unit", b"\x00\xff")];
        self.append(place, &[Record::new("plain")]);
        self.append(place, &[Record::new("keyed").key("device-7"), Record::new(""), Record::tombstone("device-8")]);
        self.append(place, &[Record::new("headed").headers(headers).timestamp(time)]);
        self.single(place, 6);
        self.append(place, &[Record::new(&[0; 40]), Record::new(&[0xff; 300]).key("").timestamp(time)]);
    }

    fn single(&mut self, place: Where, count: u64) {
        for _ in 0..count {
            self.given += 1;
            let value = format!("value {}", self.given);
            self.append(place, &[Record::new(&value)]);
        }
    }

    fn append(&mut self, place: Where, records: &[Record<'_>]) {
        let partition = self.partition(place);
        let base = partition.end().get();
        self.world.disk.clock().advance(std::time::Duration::from_millis(7));
        let now = self.world.disk.clock().now();
        partition.append_batch(records).expect("appends");
        let known = records.iter().zip(base..).map(|(record, offset)| Known {
            offset,
            timestamp: record.get_timestamp().unwrap_or(now),
            key: record.get_key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            headers: record.get_headers().iter().map(|(name, value)| ((*name).into(), value.to_vec())).collect(),
        });
        self.known.get_mut(&place).expect("is one of them").extend(known);
    }

    fn cut(&mut self, place: Where, to: u64) {
        self.partition(place).truncate(Offset::new(to)).expect("truncates");
        self.known.get_mut(&place).expect("is one of them").retain(|known| known.offset < to);
    }

    fn trim(&mut self, place: Where, to: u64) {
        self.partition(place).trim(Offset::new(to)).expect("trims");
        let known = self.known.get_mut(&place).expect("is one of them");
        let (trimmed, kept) = std::mem::take(known).into_iter().partition(|known| known.offset < to);
        *known = kept;
        self.trimmed.insert(place, trimmed);
    }

    /// Commits the end of all partitions of `orders`.
    fn commit(&mut self, group: &str, metadata: Option<&[u8]>) {
        let orders = self.world.topic("orders");
        let mut consumer = orders.consumer(group).open().expect("opens");
        for number in 0..3 {
            consumer.seek(number, Start::Latest).expect("seeks");
        }
        match metadata {
            Some(metadata) => consumer.commit_with_metadata(metadata).expect("commits"),
            None => consumer.commit().expect("commits"),
        }
        self.commits_before = self.commits.clone();
        let commits = self.commits.entry(group.into()).or_default();
        for number in 0..3 {
            let end = orders.partition(number).expect("is there").end().get();
            let commit = (end, metadata.map(<[u8]>::to_vec));
            self.commits_made.push((group.into(), number, commit.clone()));
            commits.insert(number, commit);
        }
    }

    fn finish(mut self, left: Left, older: SimDisk) -> Specimen {
        match left {
            Left::Closed => self.world.close(),
            Left::Killed => self.world.go_down(Image::after_kill),
        }
        let (disk, mapping) = (self.world.disk, self.world.mapping);
        Specimen {
            disk,
            left,
            mapping,
            known: self.known,
            trimmed: self.trimmed,
            commits: self.commits,
            commits_before: self.commits_before,
            commits_made: self.commits_made,
            older,
        }
    }
}

fn topic(store: &Store, place: Where) -> Topic {
    store.topic(place.0).expect("is there")
}

impl Specimen {
    /// The partition that a file belongs to.
    pub fn place_of(&self, path: &Path) -> Option<Where> {
        let mut parts = path.iter().skip(1).map(|part| part.to_string_lossy());
        let (topic, number) = (parts.next()?, parts.next()?.parse().ok()?);
        PARTITIONS.into_iter().find(|(name, n)| topic.starts_with(&format!("{name}@")) && *n == number)
    }

    /// The topic that a file belongs to.
    pub fn topic_of(&self, path: &Path) -> Option<&'static str> {
        let topic = path.iter().nth(1)?.to_string_lossy();
        ["audit", "orders"].into_iter().find(|name| topic.starts_with(&format!("{name}@")))
    }
}
