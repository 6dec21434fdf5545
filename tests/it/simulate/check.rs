//! After every step: everything that is there is what the oracle says. After every open: what is there may be there.

use epochlog::{Partition, Start};

use super::oracle::{Batch, Commits, Down, GROUPS, NAMES, Part, TopicModel};
use super::player::{Player, Site};
use super::readers::compare;
use super::records::{index, named};
use super::topics::BYTES;

impl Site {
    pub fn found_commits(&self, name: usize) -> Commits {
        let groups = self.engine(name).groups().unwrap_or_else(|error| panic!("P11: the commits don't open: {error}"));
        let number = |group: &str| GROUPS.iter().position(|name| *name == group).expect("P2: a group of ours");
        let commits = groups.iter().flat_map(|group| group.commits.iter().map(move |commit| (group, commit)));
        commits
            .map(|(group, commit)| ((number(group.group.as_str()), commit.place.partition()), commit.place))
            .collect()
    }
}

impl Player {
    pub fn found_commits(&self, s: usize, name: usize) -> Commits {
        self.sites[s].found_commits(name)
    }

    /// The store was opened: settles what was uncertain by what is there.
    pub fn accept(&mut self, s: usize, down: Down) {
        let site = &mut self.sites[s];
        let down = if site.model.reverted && down == Down::Killed { Down::Powerless } else { down };
        site.model.reverted = false;
        for (name, said) in NAMES.iter().enumerate() {
            let mut may_be = std::mem::take(&mut site.model.maybe[name]);
            may_be.push(site.model.topics[name].take());
            let unnamed = site.model.unnamed[name].take();
            let found = site.store().topic(said);
            let found = match found {
                Err(epochlog::Error::TopicNotFound { .. }) => None,
                other => Some(other.unwrap_or_else(|error| panic!("P11: `{said}`: {error}"))),
            };
            let epoch = found.as_ref().map(epochlog::Topic::epoch);
            if let (Some(epoch), Some((kind, partitions))) = (epoch, unnamed) {
                may_be.insert(0, Some(TopicModel::new(epoch, kind, partitions)));
            }
            let fits = |model: &Option<TopicModel>| model.as_ref().map(|model| model.epoch) == epoch;
            let at = may_be.iter().rposition(fits);
            let at = at.unwrap_or_else(|| panic!("P1, P2: `{said}` is {epoch:?} after {down:?}"));
            site.model.topics[name] = may_be.swap_remove(at).map(|model| site.accept_topic(name, model, down));
            // Of a partition that a call may have added before it failed, nobody was told where it begins.
            let model = site.model.topics[name].iter();
            for (model, place) in model.flat_map(|model| model.commits.values().map(move |place| (model, *place))) {
                if place.next() == epochlog::Offset::ZERO {
                    self.book.hand(model.epoch, place, &model.parts[place.partition() as usize]);
                }
            }
        }
    }

    pub fn check(&mut self, s: usize) {
        let names: Vec<String> =
            self.sites[s].store().topics().expect("lists").iter().map(ToString::to_string).collect();
        let there = |n: &usize| self.sites[s].model.topics[*n].is_some();
        let mut expected: Vec<&str> = (0..NAMES.len()).filter(there).map(|n| NAMES[n]).collect();
        expected.sort_unstable();
        assert_eq!(names, expected, "P1, P2: the topics");
        for name in 0..NAMES.len() {
            let Some(mut model) = self.sites[s].model.topics[name].take() else { continue };
            let topic = self.sites[s].engine(name);
            assert_eq!(topic.epoch(), model.epoch, "P4");
            assert_eq!(topic.partitions() as usize, model.parts.len(), "P2: the partitions");
            let commits = self.found_commits(s, name);
            if commits != model.commits {
                let allowed =
                    model.commits_uncertain && commits.values().all(|place| self.book.get(*place).topic == model.epoch);
                assert!(allowed, "P13: commits {commits:?}, expected {:?}", model.commits);
                model.commit(commits, false);
            }
            for n in 0..model.parts.len() {
                self.check_part(s, name, n, &mut model);
            }
            self.sites[s].model.topics[name] = Some(model);
        }
        self.check_deleted(s);
        for _ in 0..3 {
            let (number, late) = (self.dice.below(1 << 16), self.dice.below(60));
            let name = number as usize % NAMES.len();
            let picked = [self.book.pick(number).cloned(), self.book.pick_late(late).cloned()];
            picked.iter().flatten().for_each(|handed| self.offer(s, name, handed, true));
        }
    }

    fn check_part(&mut self, s: usize, name: usize, n: usize, model: &mut TopicModel) {
        let partition = self.sites[s].partition(name, u32::try_from(n).expect("is small"));
        let (kind, epoch) = (model.kind, model.epoch);
        let (site, part) = (&self.sites[s], &mut model.parts[n]);
        check_start(&partition, part, kind, site);
        assert_eq!(index(partition.end()), part.end(), "P1, P2: the end of {}", named(name, n));
        let durable = index(partition.durable_end());
        assert!(
            part.synced <= durable && durable <= part.end(),
            "P1: durable up to {durable}, expected {}",
            part.synced
        );
        part.synced = durable;
        let (reverted, mut next) = (site.model.reverted, part.start);
        let mut reader = partition.read_from(Start::Earliest).expect("begins");
        self.book.hand(epoch, reader.place(), part);
        let mut time = None;
        loop {
            let records = match reader.read() {
                Ok(records) => records,
                // The disk took back what it had been given: that much is no longer there to be read.
                Err(epochlog::Error::Corrupt(_)) if reverted && next >= part.synced => return,
                Err(error) => panic!("P1: {} can't be read at {next}: {error}", named(name, n)),
            };
            if records.is_empty() {
                break;
            }
            for record in &records {
                assert_eq!(index(record.offset()), next, "P3: dense");
                compare(&record, part.records.get(next).expect("P2: was appended"));
                assert!(time <= Some(record.append_time()), "F14: append times never fall");
                time = Some(record.append_time());
                self.book.hand(epoch, record.next(), part);
                next += 1;
                self.totals.records += 1;
            }
        }
        assert_eq!(next, part.end(), "P1: everything is read");
        if part.start < part.end() {
            let middle = usize::midpoint(part.start, part.end());
            let found = partition.get(super::records::at(middle)).expect("reads");
            compare(&found.iter().next().expect("is there"), &part.records[middle]);
        }
    }
}

/// Only retention raises the start by itself, only as far as it may.
fn check_start(partition: &Partition, part: &mut Part, kind: u32, site: &Site) {
    let start = index(partition.start());
    let segments: Vec<(usize, u64)> = partition.segments().iter().map(|one| (index(one.base), one.bytes)).collect();
    if start != part.start {
        let within = start > part.start && start <= part.end();
        assert!(within && (kind == 1 || kind == 3), "P1: the start went from {} to {start}", part.start);
        assert!(kind == 3 || !site.jumped, "F14: the clock jumped, and records went");
        let last = part.segments.iter().rev().find(|(base, _)| *base < start);
        let kept: u64 = segments.iter().filter(|(base, _)| *base >= start).map(|(_, bytes)| bytes).sum();
        if let Some((_, bytes)) = last.filter(|_| kind == 3) {
            // What was still being written when it was looked at has grown since.
            let grown = 9000_u64.saturating_sub(*bytes);
            assert!(kept + bytes + grown > BYTES, "P1: retention left {kept} bytes and took the last {bytes}");
        }
        part.start = start;
    }
    part.segments = segments;
}

impl Site {
    fn accept_topic(&self, name: usize, mut model: TopicModel, down: Down) -> TopicModel {
        let has = self.engine(name).partitions() as usize;
        assert!(has == model.parts.len() || model.may_have == Some(has), "P2: {has} partitions");
        model.parts.resize_with(has, Part::default);
        model.may_have = None;
        for (n, part) in model.parts.iter_mut().enumerate() {
            let partition = self.partition(name, u32::try_from(n).expect("is small"));
            accept_part(&partition, part, down, &named(name, n), model.kind);
        }
        let found = self.found_commits(name);
        let known = match down {
            _ if model.commits_uncertain => true,
            Down::Powerless => model.commits_after_power.contains(&found),
            Down::Closed | Down::Killed => model.commits == found,
        };
        assert!(known, "P13: after {down:?} commits {found:?}, expected one of {:?}", model.commits_after_power);
        model.commits_uncertain = false;
        model.commit(found, true);
        model
    }
}

fn accept_part(partition: &Partition, part: &mut Part, down: Down, name: &str, kind: u32) {
    let (start, end) = (index(partition.start()), index(partition.end()));
    let retired = (kind == 1 || kind == 3) && start > part.start;
    let is_start = start == part.start || part.may_start.contains(&start) || retired;
    assert!(is_start, "P1: {name} begins at {start}, expected {} or {:?}", part.start, part.may_start);
    let had = part.end();
    if part.may_end_at(end, down) {
        if end < had {
            part.cut(end);
        }
    } else {
        let same = |batch: &&Batch| end == had + batch.len() && holds(partition, had, batch);
        let batch = part.limbo.iter().find(same).cloned();
        let batch = batch.unwrap_or_else(|| {
            panic!("P1, P3, P5: {name} ends at {end} after {down:?}, was {}..{had}, synced {}", part.start, part.synced)
        });
        part.append(batch);
    }
    (part.start, part.synced) = (start, part.end());
    part.limbo.clear();
    part.may_cut.clear();
    part.may_start.clear();
}

/// Whether the first record there is that of the batch.
fn holds(partition: &Partition, at: usize, batch: &Batch) -> bool {
    let found = partition.get(super::records::at(at)).unwrap_or_else(|error| panic!("P1: {error}"));
    found.iter().next().is_some_and(|record| {
        record.value() == batch[0].value.as_deref().unwrap_or_default() && record.key() == batch[0].key.as_deref()
    })
}
