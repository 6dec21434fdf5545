//! Appending, syncing and cutting, on both sides.

use std::cell::Cell;
use std::rc::Rc;

use epochlog::{AppendOptions, Durability, Error, Header, Record, Timestamp};

use super::oracle::{Batch, Kept, NAMES, Verdict};
use super::player::{Player, Site};

/// The segments of each kind of topic.
pub const SEGMENT_BYTES: [u64; 4] = [3000, 3000, 1024, 9000];

pub fn at(offset: usize) -> epochlog::Offset {
    epochlog::Offset::new(offset as u64)
}

pub fn index(offset: epochlog::Offset) -> usize {
    usize::try_from(offset.get()).expect("is small")
}

fn with(durable: bool) -> AppendOptions {
    AppendOptions::new().durability(if durable { Durability::Durable } else { Durability::Written })
}

/// Lends the records of a batch to an append.
fn lend<T>(batch: &Batch, append: impl FnOnce(&[Record<'_>]) -> T) -> T {
    let headers: Vec<Vec<Header<'_>>> = batch
        .iter()
        .map(|kept| kept.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect())
        .collect();
    let records: Vec<Record<'_>> = batch
        .iter()
        .zip(&headers)
        .map(|(kept, headers)| {
            let record = kept.value.as_ref().map_or_else(Record::default, Record::new);
            let record = record.with_key(kept.key.as_deref()).headers(headers);
            kept.timestamp.map_or(record, |timestamp| record.timestamp(timestamp))
        })
        .collect();
    append(&records)
}

impl Player {
    /// A record of one of all shapes: with a key or not, headers, a timestamp of its own, empty, a tombstone.
    fn record(&mut self, bytes: usize) -> Rc<Kept> {
        self.ids += 1;
        let id = self.ids;
        let value = match id % 7 {
            0 => None,
            3 if bytes.is_multiple_of(2) => Some(Vec::new()),
            _ => Some(format!("{id}-{}", "x".repeat(bytes)).into_bytes()),
        };
        let keyed = value.as_ref().is_none_or(Vec::is_empty) || id.is_multiple_of(3);
        let own_time = Timestamp::from_millis(1_700_000_000_000 + i64::try_from(id * 7919 % 20_000).expect("is small"));
        Rc::new(Kept {
            id,
            value,
            key: keyed.then(|| format!("key-{id}").into_bytes()),
            headers: (0..id % 3).map(|n| (format!("h{n}"), id.to_le_bytes().to_vec())).collect(),
            timestamp: (id % 5 == 2).then_some(own_time),
            time: Cell::new(None),
        })
    }

    /// The largest value that about fits a segment alone.
    pub fn fitting(site: &Site, name: usize) -> usize {
        let kind = site.model.topics[name].as_ref().map_or(0, |model| model.kind);
        usize::try_from(SEGMENT_BYTES[kind as usize]).expect("is small") - 170
    }

    pub fn append(&mut self, s: usize, name: usize, part: u32, count: usize, bytes: usize, durable: bool) {
        let Some(part) = self.number(s, name, part) else { return };
        let batch: Batch = (0..count).map(|_| self.record(bytes)).collect();
        let partition = self.sites[s].partition(name, part);
        let appended = lend(&batch, |records| partition.append_batch_with(records, with(durable)));
        if let Err(Error::TooLarge { size, .. }) = appended {
            assert!(size > 800 && (count > 1 || bytes > 700), "P11: {size} bytes are too large");
            return;
        }
        let end = self.sites[s].part(name, part).end();
        match self.settle(s, "append", appended) {
            Some(ack) => {
                assert_eq!(ack.offsets(), at(end)..at(end + count), "P3: in order, without a hole");
                self.sites[s].part(name, part).append(batch);
                self.acknowledged(s, name, part, durable);
                self.hand(s, name, ack.next());
                self.sites[s].acks.push((name, partition, ack));
            }
            None => self.append_failed(s, name, part, batch),
        }
    }

    /// A durable acknowledgement holds, and with it the name of the topic.
    fn acknowledged(&mut self, s: usize, name: usize, part: u32, durable: bool) {
        let part = self.sites[s].part(name, part);
        if durable {
            part.synced = part.end();
            self.sites[s].model.maybe[name].retain(Option::is_some);
        }
    }

    /// It is seen, or it may yet be found by the next open, or it was undone.
    fn append_failed(&mut self, s: usize, name: usize, number: u32, batch: Batch) {
        let end = index(self.sites[s].partition(name, number).end());
        let part = self.sites[s].part(name, number);
        if end == part.end() + batch.len() {
            part.append(batch);
        } else {
            assert_eq!(end, part.end(), "P5: a failed append is there whole or not at all");
            part.limbo.push(batch);
        }
    }

    /// Lets the topic choose the partition.
    pub fn spread(&mut self, s: usize, name: usize, bytes: usize, durable: bool) {
        if self.sites[s].topic(name).is_none() {
            return;
        }
        let record = self.record(bytes);
        let topic = self.sites[s].engine(name);
        let batch = vec![record];
        let appended = lend(&batch, |records| topic.append_with(records[0], with(durable)));
        match self.settle(s, "spread", appended) {
            Some(ack) => {
                let part = self.sites[s].part(name, ack.partition());
                assert_eq!(index(ack.offset()), part.end(), "P3: in order, without a hole");
                part.append(batch);
                self.acknowledged(s, name, ack.partition(), durable);
                self.hand(s, name, ack.next());
            }
            None => {
                for number in 0..topic.partitions() {
                    self.append_failed(s, name, number, batch.clone());
                }
            }
        }
    }

    /// 0 syncs a partition, 1 its topic, 2 the store.
    pub fn sync(&mut self, s: usize, name: usize, part: u32, level: u32) {
        let Some(part) = self.number(s, name, part) else { return };
        let site = &self.sites[s];
        let synced = match level {
            0 => site.partition(name, part).sync(),
            1 => site.engine(name).sync(),
            _ => site.store().sync(),
        };
        if self.settle(s, "sync", synced).is_some() {
            let all = |n: usize, p: usize| level == 2 || (n == name && (level == 1 || p == part as usize));
            for (n, model) in self.sites[s].model.topics.iter_mut().enumerate() {
                let parts = model.iter_mut().flat_map(|model| &mut model.parts).enumerate();
                parts.filter(|(p, _)| all(n, *p)).for_each(|(_, part)| part.synced = part.end());
            }
        }
    }

    /// Waits for an append of long ago.
    pub fn wait(&mut self, s: usize, number: u32) {
        let site = &self.sites[s];
        let Some((name, partition, ack)) = site.acks.get(number as usize % site.acks.len().max(1)).cloned() else {
            return;
        };
        let waited = partition.wait_durable(&ack);
        let handed = self.book.get(ack.next()).clone();
        let lives = self.sites[s].topic(name).filter(|model| model.epoch == handed.topic);
        let Some(verdict) = lives.map(|model| model.judge(&handed)) else {
            assert!(matches!(waited, Err(Error::TopicDeleted { .. })), "{waited:?}");
            return;
        };
        match (waited, verdict) {
            (Err(Error::Diverged { fork, .. }), verdict) => {
                assert_eq!(verdict, Verdict::Diverged(index(fork)), "P7: {handed:?}");
            }
            (waited, Verdict::Here | Verdict::Expired) => {
                if self.settle(s, "wait", waited).is_some() {
                    let part = self.sites[s].part(name, ack.partition());
                    part.synced = part.synced.max(handed.prefix.len());
                }
            }
            (waited, verdict) => panic!("P7: {waited:?} for what is {verdict:?}"),
        }
    }

    pub fn trim(&mut self, s: usize, name: usize, part: u32, to: u32) {
        let Some(number) = self.number(s, name, part) else { return };
        let part = self.sites[s].part(name, number);
        let to = part.start + to as usize % (part.end() - part.start + 2);
        let within = to <= part.end();
        let trimmed = self.sites[s].partition(name, number).trim(at(to));
        if !within {
            assert!(matches!(trimmed, Err(Error::OffsetOutOfRange { .. } | Error::Latched { .. })), "{trimmed:?}");
            return;
        }
        let trimmed = self.settle(s, "trim", trimmed);
        let start = index(self.sites[s].partition(name, number).start());
        let part = self.sites[s].part(name, number);
        if trimmed.is_some() || start == to {
            part.start = to;
            part.synced = part.synced.max(to);
        } else {
            part.may_start.push(to);
        }
    }

    pub fn truncate(&mut self, s: usize, name: usize, part: u32, back: u32) {
        let Some(number) = self.number(s, name, part) else { return };
        let part = self.sites[s].part(name, number);
        let to = part.start + back as usize % (part.end() - part.start + 2);
        let within = to <= part.end();
        let truncated = self.sites[s].partition(name, number).truncate(at(to));
        if !within {
            assert!(matches!(truncated, Err(Error::OffsetOutOfRange { .. } | Error::Latched { .. })), "{truncated:?}");
            return;
        }
        let truncated = self.settle(s, "truncate", truncated);
        let end = index(self.sites[s].partition(name, number).end());
        let part = self.sites[s].part(name, number);
        if (truncated.is_some() || end == to) && to < part.end() {
            part.cut(to);
            part.synced = to;
        } else if truncated.is_none() {
            part.may_cut.push(to);
        }
    }

    pub fn maintain(&mut self, s: usize) {
        let maintained = self.sites[s].store().maintain();
        if let Some(done) = self.settle(s, "maintain", maintained) {
            assert!(!self.sites[s].jumped || done.retention_suspended, "F14: the clock jumped");
        }
    }
}

/// For messages.
pub fn named(name: usize, part: usize) -> String {
    format!("partition {part} of `{}`", NAMES[name])
}
