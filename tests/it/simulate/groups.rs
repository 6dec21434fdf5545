//! Groups on both sides: consumers that stay alive across everything, commits, resets.

use epochlog::{Error, Expired, Place, Records, Start, Target, Timestamp, Visibility};

use super::oracle::{Commits, GROUPS, Handed, Part, Verdict};
use super::player::{Live, Player};
use super::readers::{assert_refused, compare};
use super::records::{at, index};
use crate::support::AT_ONCE;

/// A start request of every kind.
pub fn start_of(kind: u32, number: u32) -> Start {
    match kind {
        1 => Start::Latest,
        2 => Start::At(at(number as usize)),
        3 => Start::FromBeginning(u64::from(number)),
        4 => Start::FromEnd(u64::from(number)),
        5 => Start::Time(Timestamp::from_millis(1_700_000_000_000 + i64::from(number) * 500)),
        _ => Start::Earliest,
    }
}

/// Where it leads; nothing if out of range.
pub fn resolve(start: Start, part: &Part) -> Option<usize> {
    let offset = match start {
        Start::Latest => Some(part.end()),
        Start::At(offset) => Some(index(offset)),
        Start::FromBeginning(n) => Some(part.start + n as usize),
        Start::FromEnd(n) => part.end().checked_sub(n as usize),
        Start::Time(time) => Some(part.find(time)),
        _ => Some(part.start),
    };
    offset.filter(|offset| (part.start..=part.end()).contains(offset))
}

fn told_skipped(live: &mut Live) -> Vec<(u32, usize, usize)> {
    live.consumer.skipped().iter().map(|one| (one.partition, index(one.from), index(one.to))).collect()
}

impl Player {
    /// Bits of `flags`: sees what is durable, commits by itself, goes on at the start, has partition 0 alone.
    pub fn join(&mut self, s: usize, name: usize, group: usize, start: u32, flags: u32, number: u32) {
        if self.sites[s].topic(name).is_none() {
            return;
        }
        let flag = |bit: u32| flags & (1 << bit) != 0;
        let start = start_of(start, number);
        let visibility = if flag(0) { Visibility::Durable } else { Visibility::Written };
        let expired = if flag(2) { Expired::Earliest } else { Expired::Refuse };
        let builder = self.sites[s].engine(name).consumer(GROUPS[group]).start(start).visibility(visibility);
        let builder = builder.auto_commit(flag(1)).when_expired(expired).bytes_max(2000);
        let opened = if flag(3) { builder.partitions(&[0]).open() } else { builder.open() };
        if self.sites[s].live.contains_key(&(name, group)) {
            assert!(matches!(opened, Err(Error::GroupInUse { .. })), "{opened:?}");
            return;
        }
        let Some(consumer) = self.settle(s, "join", opened) else { return };
        let (read, auto_commit, skips) = (std::collections::BTreeMap::new(), flag(1), flag(2));
        let live = Live { consumer, read, start, visibility, auto_commit, skips };
        self.sites[s].live.insert((name, group), live);
    }

    /// Whether calls may have failed unseen, so that commits have to be looked up.
    fn is_shaky(&self, s: usize) -> bool {
        let site = &self.sites[s];
        site.armed || site.hurt || site.full
    }

    /// Where a consumer stands and hasn't committed, and whether that was cut.
    fn uncommitted(&mut self, s: usize, name: usize, group: usize, live: &Live) -> Vec<(Handed, bool)> {
        let model = self.sites[s].model.topics[name].as_ref().expect("lives");
        let moved = |place: &epochlog::Place| model.commits.get(&(group, place.partition())) != Some(place);
        let places = live.consumer.places().into_iter().filter(moved);
        places
            .map(|place| self.book.get(place).clone())
            .map(|handed| {
                let is_cut = matches!(model.judge(&handed), Verdict::Diverged(_));
                (handed, is_cut)
            })
            .collect()
    }

    fn with_places(&mut self, s: usize, name: usize, group: usize, places: &[Handed]) -> Commits {
        let mut commits = self.sites[s].topic(name).expect("lives").commits.clone();
        commits.extend(places.iter().map(|handed| ((group, handed.place.partition()), handed.place)));
        commits
    }

    fn committed(&mut self, s: usize, name: usize, commits: Commits, durable: bool) {
        let model = self.sites[s].topic(name).expect("lives");
        let begins = commits.keys().any(|key| !model.commits.contains_key(key));
        if commits != model.commits {
            model.commit(commits, durable || begins);
        }
    }

    /// A call has failed that may have written commits.
    fn look_up_commits(&mut self, s: usize, name: usize) {
        let found = self.found_commits(s, name);
        found.values().for_each(|place| {
            self.book.get(*place);
        });
        let model = self.sites[s].topic(name).expect("lives");
        model.commit(found, false);
        model.commits_uncertain = true;
    }

    pub fn poll(&mut self, s: usize, name: usize, group: usize) {
        let Some(mut live) = self.sites[s].live.remove(&(name, group)) else { return };
        if live.auto_commit {
            let moved = self.uncommitted(s, name, group, &live);
            let kept: Vec<Handed> = moved.into_iter().filter(|(_, is_cut)| !is_cut).map(|(handed, _)| handed).collect();
            let (commits, durable) = (self.with_places(s, name, group, &kept), self.is_durable(s, name));
            if !self.is_shaky(s) {
                self.committed(s, name, commits, durable);
            }
        }
        let stood = live.consumer.places();
        let polled = live.consumer.poll(AT_ONCE);
        self.begin_where_sought(s, name, group, &stood, polled.as_ref().ok());
        let mut skipped = Vec::new();
        self.begin_partitions(s, name, group, &mut live, polled.as_ref().ok(), &mut skipped);
        match polled {
            Ok(records) => self.take(s, name, &mut live, &records, &mut skipped),
            Err(error) => self.take_error(s, name, group, &mut live, error),
        }
        assert_eq!(told_skipped(&mut live), skipped, "P6: what was passed over is said");
        for place in live.consumer.places() {
            assert_eq!(index(place.next()), live.read[&place.partition()].len(), "P6: it stands where it has read to");
            self.book.get(place);
        }
        if self.is_shaky(s) {
            self.look_up_commits(s, name);
        }
        self.sites[s].live.insert((name, group), live);
    }

    /// A partition that was sought in, and where the group had no commit, has one there before a record of it is given.
    fn begin_where_sought(&mut self, s: usize, name: usize, group: usize, stood: &[Place], records: Option<&Records>) {
        if self.is_shaky(s) {
            return;
        }
        let found = self.found_commits(s, name);
        for place in stood {
            let key = (group, place.partition());
            let mut commits = self.sites[s].topic(name).expect("lives").commits.clone();
            if commits.contains_key(&key) {
                continue;
            }
            let gave = records.is_some_and(|records| records.iter().any(|record| record.partition() == key.1));
            assert!(!gave || found.contains_key(&key), "P6: records from {place}, and the group has begun nowhere");
            if let Some(begun) = found.get(&key) {
                assert_eq!(begun, place, "P6: it begins elsewhere");
                self.hand(s, name, *place);
                commits.insert(key, *place);
                self.committed(s, name, commits, true);
            }
        }
    }

    fn is_durable(&mut self, s: usize, name: usize) -> bool {
        self.sites[s].topic(name).expect("lives").is_durable()
    }

    /// A partition that was looked at for the first time goes on at its commit, or has one now, where the policy led.
    fn begin_partitions(
        &mut self,
        s: usize,
        name: usize,
        group: usize,
        live: &mut Live,
        records: Option<&Records>,
        skipped: &mut Vec<(u32, usize, usize)>,
    ) {
        for place in live.consumer.places() {
            let n = place.partition();
            if live.read.contains_key(&n) {
                continue;
            }
            let first = records.and_then(|records| records.iter().find(|record| record.partition() == n));
            let began = first.map_or(index(place.next()), |record| index(record.offset()));
            let model = self.sites[s].model.topics[name].as_ref().expect("lives");
            let part = &model.parts[n as usize];
            let expected = match model.commits.get(&(group, n)) {
                Some(committed) => {
                    let handed = self.book.get(*committed);
                    match model.judge(handed) {
                        Verdict::Here => handed.prefix.len(),
                        Verdict::Expired if live.skips => {
                            skipped.push((n, handed.prefix.len(), part.start));
                            part.start
                        }
                        other => panic!("P7, P13: it goes on at a commit that is {other:?}"),
                    }
                }
                None => resolve(live.start, part).expect("P7: the policy is within the range"),
            };
            assert_eq!(began, expected, "P6: partition {n} begins elsewhere");
            live.read.insert(n, part.prefix(began));
            if !model.commits.contains_key(&(group, n)) {
                let begins = self.sites[s].partition(name, n).place_at(at(began)).expect("is in range");
                self.hand(s, name, begins);
                let mut commits = self.sites[s].topic(name).expect("lives").commits.clone();
                commits.insert((group, n), begins);
                self.committed(s, name, commits, true);
            }
        }
    }

    /// Takes what a poll gave.
    fn take(
        &mut self,
        s: usize,
        name: usize,
        live: &mut Live,
        records: &Records,
        skipped: &mut Vec<(u32, usize, usize)>,
    ) {
        let model = self.sites[s].model.topics[name].as_ref().expect("lives");
        for (n, read) in &mut live.read {
            let part = &model.parts[*n as usize];
            if live.skips && part.judge(read) == Verdict::Expired {
                let stands = live
                    .consumer
                    .places()
                    .iter()
                    .any(|place| place.partition() == *n && index(place.next()) > read.len());
                let gave = records.iter().any(|record| record.partition() == *n);
                if stands || gave {
                    skipped.push((*n, read.len(), part.start));
                    *read = part.prefix(part.start);
                }
            }
        }
        for record in records {
            let n = record.partition();
            let (part, read) = (&model.parts[n as usize], live.read.get_mut(&n).expect("was begun"));
            assert_eq!(part.judge(read), Verdict::Here, "P7: nothing is read behind a cut");
            assert_eq!(index(record.offset()), read.len(), "P6: the next one");
            compare(&record, &part.records[read.len()]);
            *read = part.prefix(read.len() + 1);
            let durable = live.visibility == Visibility::Durable;
            assert!(
                !durable || record.offset() < self.sites[s].partition(name, n).durable_end(),
                "P1: not durable yet"
            );
        }
        if records.is_empty() {
            for (n, read) in &live.read {
                let verdict = model.parts[*n as usize].judge(read);
                assert_eq!(verdict, Verdict::Here, "P7: it is told of a cut in {n}, whatever is behind it");
            }
            for n in live.consumer.partitions() {
                let partition = self.sites[s].partition(name, n);
                let durable = live.visibility == Visibility::Durable;
                let end = if durable { partition.durable_end() } else { partition.end() };
                let read = live.read.get(&n).map(|read| read.len());
                assert!(read.is_some_and(|read| read >= index(end)), "P6: {n} has more than {read:?}, up to {end}");
            }
        }
    }

    fn take_error(&mut self, s: usize, name: usize, group: usize, live: &mut Live, error: Error) {
        let model = self.sites[s].model.topics[name].as_ref().expect("lives");
        let (n, said) = match &error {
            Error::OffsetOutOfRange { partition, .. } | Error::TooFewRecords { partition, .. } => {
                (*partition, Verdict::Expired)
            }
            Error::Diverged { place, fork, .. } => (place.partition(), Verdict::Diverged(index(*fork))),
            _ => {
                self.settle::<()>(s, "poll", Err(error));
                return;
            }
        };
        let part = &model.parts[n as usize];
        let committed = model.commits.get(&(group, n)).map(|place| self.book.get(*place).prefix.clone());
        match live.read.get(&n).cloned().or(committed) {
            Some(prefix) => assert_eq!(part.judge(&prefix), said, "P7: {error}"),
            None => assert!(said == Verdict::Expired && resolve(live.start, part).is_none(), "P7: {error}"),
        }
        live.consumer.seek(n, Start::Earliest).expect("seeks");
        live.read.insert(n, part.prefix(part.start));
    }

    pub fn commit(&mut self, s: usize, name: usize, group: usize, metadata: bool) {
        let Some(mut live) = self.sites[s].live.remove(&(name, group)) else { return };
        let moved = self.uncommitted(s, name, group, &live);
        let is_cut = moved.iter().any(|(_, is_cut)| *is_cut);
        let begins = metadata && live.consumer.places().is_empty();
        let committed = if metadata { live.consumer.commit_with_metadata(b"so far") } else { live.consumer.commit() };
        if begins {
            self.begun_by_commit(s, name, group, live, committed);
            return;
        }
        self.sites[s].live.insert((name, group), live);
        let places: Vec<Handed> = moved.into_iter().map(|(handed, _)| handed).collect();
        match committed {
            Err(Error::Diverged { place, fork, .. }) => {
                let model = self.sites[s].model.topics[name].as_ref().expect("lives");
                assert_eq!(model.judge(self.book.get(place)), Verdict::Diverged(index(fork)), "P7: {place}");
            }
            other => {
                assert!(!is_cut || other.is_err(), "P13: a place that was cut is committed");
                self.committed_or_not(s, name, group, &places, other);
            }
        }
    }

    /// Metadata has to stand beside something: who hasn't polled yet begins with it.
    fn begun_by_commit(&mut self, s: usize, name: usize, group: usize, mut live: Live, committed: Result<(), Error>) {
        let mut skipped = Vec::new();
        self.begin_partitions(s, name, group, &mut live, None, &mut skipped);
        assert_eq!(told_skipped(&mut live), skipped, "P6: what was passed over is said");
        let places: Vec<Handed> =
            live.consumer.places().into_iter().map(|place| self.book.get(place).clone()).collect();
        match committed {
            Ok(()) => self.committed_or_not(s, name, group, &places, Ok(())),
            Err(error) => self.take_error(s, name, group, &mut live, error),
        }
        if self.is_shaky(s) {
            self.look_up_commits(s, name);
        }
        self.sites[s].live.insert((name, group), live);
    }

    fn committed_or_not(&mut self, s: usize, name: usize, group: usize, places: &[Handed], done: Result<(), Error>) {
        let (commits, durable) = (self.with_places(s, name, group, places), self.is_durable(s, name));
        match self.settle(s, "commit", done) {
            Some(()) => self.committed(s, name, commits, durable),
            None => {
                let model = self.sites[s].topic(name).expect("lives");
                model.commits_uncertain = true;
            }
        }
    }

    pub fn commit_to(&mut self, s: usize, name: usize, group: usize, number: u32) {
        let Some(handed) = self.book.pick_late(number).cloned() else { return };
        let Some(live) = self.sites[s].live.get_mut(&(name, group)) else { return };
        let done = live.consumer.commit_to(handed.place);
        let has = live.consumer.partitions().contains(&handed.place.partition());
        if !has {
            assert!(matches!(done, Err(Error::NotAssigned { .. } | Error::PartitionNotFound { .. })), "{done:?}");
            return;
        }
        match self.sites[s].topic(name).expect("lives").judge(&handed) {
            Verdict::Here | Verdict::Expired => self.committed_or_not(s, name, group, &[handed], done),
            verdict => assert_refused(&verdict, done, &handed),
        }
    }

    /// 0 and 1 offer a place, 2 asks for a start.
    pub fn seek(&mut self, s: usize, name: usize, group: usize, number: u32, kind: u32) {
        let Some(mut live) = self.sites[s].live.remove(&(name, group)) else { return };
        let picked = self.book.pick_late(number).cloned();
        let model = self.sites[s].model.topics[name].as_ref().expect("lives");
        if kind == 2 {
            let (n, start) = (live.consumer.partitions()[0], start_of(number % 7, number / 7 % 40));
            let part = &model.parts[n as usize];
            match (resolve(start, part), live.consumer.seek(n, start)) {
                (Some(offset), Ok(())) => drop(live.read.insert(n, part.prefix(offset))),
                (None, Err(Error::OffsetOutOfRange { .. } | Error::TooFewRecords { .. })) => {}
                (_, Err(error)) if self.sites[s].excuses(&error) => {}
                other => panic!("P7: seeking {start:?} in {}..{}: {other:?}", part.start, part.end()),
            }
        } else if let Some(handed) = picked {
            let n = handed.place.partition();
            let sought = live.consumer.seek(n, handed.place);
            match sought {
                _ if !live.consumer.partitions().contains(&n) => assert!(sought.is_err()),
                Ok(()) => {
                    assert_eq!(model.judge(&handed), Verdict::Here, "P7: {handed:?}");
                    live.read.insert(n, handed.prefix);
                }
                refused => assert_refused(&model.judge(&handed), refused, &handed),
            }
        }
        self.note_places(s, name, &live);
        self.sites[s].live.insert((name, group), live);
    }

    fn note_places(&mut self, s: usize, name: usize, live: &Live) {
        for place in live.consumer.places() {
            let model = self.sites[s].model.topics[name].as_ref().expect("lives");
            let read = &live.read[&place.partition()];
            if model.parts[place.partition() as usize].judge(read) == Verdict::Here {
                self.hand(s, name, place);
            }
        }
    }

    pub fn reset(&mut self, s: usize, name: usize, group: usize, number: u32, to_start: bool) {
        let Some(model) = self.sites[s].model.topics[name].clone() else { return };
        let Some(handed) = self.book.pick_late(number).cloned() else { return };
        let n = if to_start { 0 } else { handed.place.partition() };
        let target = if to_start { Target::Start(Start::Earliest) } else { Target::Place(handed.place) };
        let done = self.sites[s].engine(name).reset_group(GROUPS[group], &[(n, target)]);
        let live = self.sites[s].live.get(&(name, group));
        let is_used = live.is_some_and(|live| live.consumer.partitions().contains(&n));
        if n as usize >= model.parts.len() {
            assert!(matches!(done, Err(Error::PartitionNotFound { .. })), "{done:?}");
            return;
        }
        let verdict = if to_start { Verdict::Here } else { model.judge(&handed) };
        if verdict != Verdict::Here {
            return assert_refused(&verdict, done.map(drop), &handed);
        }
        if is_used {
            assert!(matches!(done, Err(Error::GroupInUse { .. })), "{done:?}");
            return;
        }
        match self.settle(s, "reset", done) {
            Some(places) => {
                self.hand(s, name, places[0]);
                let mut commits = model.commits;
                commits.insert((group, n), places[0]);
                self.sites[s].topic(name).expect("lives").commit(commits, true);
            }
            None => self.sites[s].topic(name).expect("lives").commits_uncertain = true,
        }
    }

    pub fn forget(&mut self, s: usize, name: usize, group: usize) {
        let Some(model) = self.sites[s].model.topics[name].clone() else { return };
        let done = self.sites[s].engine(name).delete_group(GROUPS[group]);
        if self.sites[s].live.contains_key(&(name, group)) {
            assert!(matches!(done, Err(Error::GroupInUse { .. })), "{done:?}");
            return;
        }
        if !model.commits.keys().any(|key| key.0 == group) {
            assert!(matches!(done, Err(Error::GroupNotFound { .. })), "{done:?}");
            return;
        }
        let mut commits = model.commits;
        commits.retain(|key, _| key.0 != group);
        match self.settle(s, "forget", done) {
            Some(()) => self.sites[s].topic(name).expect("lives").commit(commits, true),
            None => self.sites[s].topic(name).expect("lives").commits_uncertain = true,
        }
    }
}
