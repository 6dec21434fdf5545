//! Reading on both sides: tails that stay alive, places that are offered, lookups by time, a reader beside the writer.

use epochlog::{Error, RecordView, Start, Timestamp, Visibility};

use super::oracle::{Handed, Kept, NAMES, Verdict};
use super::player::{Player, Tail};
use super::records::{at, index, named};
use crate::support::options;

/// A refusal says what the oracle says: P7.
pub fn assert_refused<T: std::fmt::Debug>(verdict: &Verdict, said: Result<T, Error>, handed: &Handed) {
    let is_right = match (verdict, &said) {
        (Verdict::Stale | Verdict::Elsewhere(_), Err(Error::StaleEpoch { .. }))
        | (Verdict::Expired, Err(Error::OffsetOutOfRange { .. })) => true,
        (Verdict::Diverged(at) | Verdict::Elsewhere(at), Err(Error::Diverged { fork, .. })) => index(*fork) == *at,
        _ => false,
    };
    assert!(
        is_right,
        "P7: {} with {} records before it is {verdict:?}, and is told {said:?}",
        handed.place,
        handed.prefix.len()
    );
}

pub fn compare(record: &RecordView<'_>, kept: &Kept) {
    let headers: Vec<(String, Vec<u8>)> =
        record.headers().map(|(name, value)| (name.to_string(), value.to_vec())).collect();
    let same = record.is_tombstone() == kept.value.is_none()
        && record.value() == kept.value.as_deref().unwrap_or_default()
        && record.key() == kept.key.as_deref()
        && headers == kept.headers;
    assert!(same, "P1, P2, P4: offset {} should hold record {} and shows {record:?}", record.offset(), kept.id);
    let time = record.timestamp();
    assert_eq!(time, kept.timestamp.unwrap_or(record.append_time()), "P1: the time of record {}", kept.id);
    assert_eq!(*kept.time.get().get_or_insert(time), time, "P4: the time of record {} has changed", kept.id);
    kept.time.set(Some(time));
}

impl Player {
    pub fn tail(&mut self, s: usize, name: usize, part: u32, durable: bool) {
        let Some(number) = self.number(s, name, part) else { return };
        let tail = self.sites[s].tails.remove(&(name, number));
        let partition = self.sites[s].partition(name, number);
        let part = self.sites[s].part(name, number);
        let begin = || {
            let visibility = if durable { Visibility::Durable } else { Visibility::Written };
            let reader = partition.read_from(Start::Earliest).expect("begins").bytes_max(3000).visibility(visibility);
            Tail { reader, prefix: part.prefix(part.start), visibility }
        };
        let mut tail = tail.unwrap_or_else(begin);
        let end = if tail.visibility == Visibility::Durable { partition.durable_end() } else { partition.end() };
        match tail.reader.read() {
            Ok(records) => {
                assert!(!records.is_empty() || tail.prefix.len() >= index(end), "P6: there is more");
                assert_eq!(part.judge(&tail.prefix), Verdict::Here, "P7: it is told of a cut, whatever is behind it");
                for record in &records {
                    assert_eq!(part.judge(&tail.prefix), Verdict::Here, "P7: nothing is read behind a cut");
                    assert_eq!(record.offset(), at(tail.prefix.len()), "P6: the next one");
                    assert!(record.offset() < end, "P1: it isn't to be seen yet");
                    compare(&record, &part.records[tail.prefix.len()]);
                    tail.prefix = part.prefix(tail.prefix.len() + 1);
                }
                let place = tail.reader.place();
                if part.judge(&tail.prefix) == Verdict::Here {
                    self.hand(s, name, place);
                }
                self.sites[s].tails.insert((name, number), tail);
            }
            Err(error @ (Error::OffsetOutOfRange { .. } | Error::Diverged { .. })) => {
                let handed =
                    Handed { topic: partition.topic().epoch(), place: tail.reader.place(), prefix: tail.prefix };
                assert_refused::<()>(&part.judge(&handed.prefix), Err(error), &handed);
            }
            Err(error) => {
                self.settle::<()>(s, "tail", Err(error));
            }
        }
    }

    /// Offers a place to a topic: what is said of it is what the oracle says.
    pub fn offer(&mut self, s: usize, name: usize, handed: &Handed, reading: bool) {
        let Some(model) = self.sites[s].model.topics[name].as_ref() else { return };
        let number = handed.place.partition();
        self.totals.places += 1;
        let topic = self.sites[s].engine(name);
        if number as usize >= model.parts.len() {
            let planned = topic.plan_reset("host", &[(number, handed.place.into())]);
            assert!(matches!(planned, Err(Error::PartitionNotFound { .. })), "P7: {planned:?}");
            return;
        }
        let verdict = model.judge(handed);
        let planned = topic.plan_reset("host", &[(number, handed.place.into())]);
        if verdict != Verdict::Here {
            return assert_refused(&verdict, planned, handed);
        }
        let place = planned.unwrap_or_else(|error| panic!("P7: {} is here, and is told: {error}", handed.place))[0];
        assert_eq!(place, handed.place);
        let part = &model.parts[number as usize];
        if reading && handed.prefix.len() < part.synced {
            let partition = self.sites[s].partition(name, number);
            let read = partition.read_from(handed.place).expect("was admitted").read();
            let Some(records) = self.settle(s, "offer", read) else { return };
            let part = &self.sites[s].model.topics[name].as_ref().expect("lives").parts[number as usize];
            assert!(!records.is_empty(), "P6: there is more");
            records.iter().zip(&part.records[handed.prefix.len()..]).for_each(|(record, kept)| compare(&record, kept));
        }
        let other = (number + 1) % u32::try_from(model_parts(self, s, name)).expect("is small");
        if other != number {
            let told = self.sites[s].partition(name, other).read_from(handed.place).map(drop);
            assert!(matches!(told, Err(Error::InvalidPlace { .. })), "P7: of another partition: {told:?}");
        }
    }

    pub fn offer_one(&mut self, s: usize, name: usize, number: u32) {
        if let Some(handed) = self.book.pick(number).cloned() {
            self.offer(s, name, &handed, true);
        }
    }

    /// Every place that was ever handed out, to everybody.
    pub fn offer_all(&mut self) {
        let all = self.book.all().to_vec();
        for s in 0..self.sites.len() {
            for name in 0..NAMES.len() {
                all.iter().for_each(|handed| self.offer(s, name, handed, false));
            }
        }
    }

    pub fn find(&mut self, s: usize, name: usize, part: u32, time: u32) {
        let Some(number) = self.number(s, name, part) else { return };
        let time = Timestamp::from_millis(1_700_000_000_000 + i64::from(time) * 25);
        let found = self.sites[s].partition(name, number).offset_at(time);
        let expected = self.sites[s].part(name, number).find(time);
        if let Some(found) = self.settle(s, "find", found) {
            assert_eq!(index(found), expected, "F14: the first record not older than {time:?}");
        }
    }

    /// Looks at the store with another one beside it, which stays open.
    pub fn look(&mut self, s: usize) {
        let site = &mut self.sites[s];
        if site.hurt || site.full || site.model.reverted {
            site.looker = None;
            return;
        }
        let looker = site.looker.take().unwrap_or_else(|| {
            options(&site.disk, self.mapping).open_read_only("/sim").unwrap_or_else(|error| panic!("P8: {error}"))
        });
        for (name, model) in site.model.topics.iter().enumerate() {
            let Some(model) = model else {
                let missing = looker.topic(NAMES[name]);
                assert!(matches!(missing, Err(Error::TopicNotFound { .. })), "P2: {missing:?}");
                continue;
            };
            let topic = looker.topic(NAMES[name]).unwrap_or_else(|error| panic!("P1: beside the writer: {error}"));
            assert_eq!(topic.epoch(), model.epoch, "P4: beside the writer");
            for (n, part) in model.parts.iter().enumerate() {
                let Ok(partition) = topic.partition(u32::try_from(n).expect("is small")) else {
                    // A store that was opened before the topic grew knows of fewer.
                    assert!(n >= topic.partitions() as usize, "P1: beside the writer");
                    continue;
                };
                let mut reader = partition.read_from(Start::Earliest).expect("begins");
                let mut expected = part.records[part.start..].iter();
                loop {
                    let records = reader.read().unwrap_or_else(|error| panic!("P8: beside the writer: {error}"));
                    if records.is_empty() {
                        break;
                    }
                    let one = |record: RecordView<'_>| compare(&record, expected.next().expect("P2: was appended"));
                    records.iter().for_each(one);
                }
                assert!(expected.next().is_none(), "P1: {} is short beside the writer", named(name, n));
            }
        }
        site.looker = Some(looker);
    }
}

fn model_parts(player: &Player, s: usize, name: usize) -> usize {
    player.sites[s].model.topics[name].as_ref().map_or(1, |model| model.parts.len())
}
