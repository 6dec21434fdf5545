//! Topics come, grow and go, on both sides.

use std::collections::BTreeMap;
use std::time::Duration;

use epochlog::{Durability, Error, TopicOptions};

use super::oracle::{NAMES, Part, TopicModel};
use super::player::Player;
use super::records::SEGMENT_BYTES;
use crate::support::{AT_ONCE, refused};

/// How long segments of a topic of kind 1 are kept.
pub const AGE: Duration = Duration::from_secs(6);
/// How many bytes of a partition of kind 3 are kept.
pub const BYTES: u64 = 20_000;
const PARTITIONS_MAX: usize = 4;

/// 0 is plain and durable, 1 is written and retires by age, 2 is written and syncs by bytes, 3 is durable and retires by
/// size.
fn options(kind: u32, partitions: u32) -> TopicOptions {
    let options = TopicOptions::new().partitions(partitions).segment_bytes_max(SEGMENT_BYTES[kind as usize]);
    match kind {
        0 => options,
        1 => options.durability(Durability::Written).retention_age(AGE).segment_age(AGE / 2),
        2 => options.durability(Durability::Written).sync_bytes(4000).unsynced_bytes_max(6000),
        _ => options.retention_bytes(BYTES),
    }
}

impl Player {
    pub fn create(&mut self, s: usize, name: usize, partitions: u32, kind: u32) {
        let created = self.sites[s].store().create_topic(NAMES[name], options(kind, partitions));
        let model = |epoch| Some(TopicModel::new(epoch, kind, partitions as usize));
        if self.sites[s].model.topics[name].is_some() {
            let refused = matches!(created, Err(Error::TopicExists { .. } | Error::Latched { .. }));
            assert!(refused, "P4: there is one already: {created:?}");
            return;
        }
        let unnamed =
            matches!(created, Err(Error::Io { operation: "sync", .. })).then_some((kind, partitions as usize));
        let created = self.settle(s, "create", created);
        let model_there = match created {
            Some(topic) => {
                self.sites[s].model.maybe[name].clear();
                model(topic.epoch())
            }
            None => {
                let there = self.sites[s].store().topic(NAMES[name]);
                assert!(
                    matches!(there, Err(Error::TopicNotFound { .. })),
                    "P1: it may be lost with its name: {there:?}"
                );
                self.sites[s].model.unnamed[name] = unnamed;
                None
            }
        };
        self.sites[s].model.topics[name] = model_there;
    }

    pub fn delete(&mut self, s: usize, name: usize) {
        let Some(old) = self.sites[s].model.topics[name].clone() else {
            let error = refused(self.sites[s].store().delete_topic(NAMES[name]));
            assert!(matches!(error, Error::TopicNotFound { .. } | Error::Latched { .. }), "{error}");
            return;
        };
        let partition = self.sites[s].partition(name, 0);
        let deleted = self.sites[s].store().delete_topic(NAMES[name]);
        if self.settle(s, "delete", deleted).is_none() {
            match self.sites[s].store().topic(NAMES[name]) {
                // It may come back, whole.
                Err(Error::TopicNotFound { .. }) => self.sites[s].model.maybe[name].push(Some(old)),
                Ok(_) => return,
                Err(error) => panic!("P11: {error}"),
            }
        } else {
            self.sites[s].model.maybe[name].clear();
        }
        let site = &mut self.sites[s];
        site.model.topics[name] = None;
        site.deleted.push(partition);
        let (gone, tails) = std::mem::take(&mut site.tails).into_iter().partition(|(key, _)| key.0 == name);
        site.tails = tails;
        for mut tail in BTreeMap::into_values(gone) {
            assert!(matches!(refused(tail.reader.read()), Error::TopicDeleted { .. }));
        }
        let (gone, live) = std::mem::take(&mut site.live).into_iter().partition(|(key, _)| key.0 == name);
        site.live = live;
        site.deleted_consumers.extend(BTreeMap::into_values(gone).map(|live| live.consumer));
        let surplus = site.deleted_consumers.len().saturating_sub(4);
        site.deleted_consumers.drain(..surplus);
    }

    pub fn widen(&mut self, s: usize, name: usize, by: usize) {
        let Some(model) = self.sites[s].topic(name) else { return };
        let had = model.parts.len();
        let total = (had + by).min(PARTITIONS_MAX);
        if total == had {
            return;
        }
        let added = self.sites[s].engine(name).add_partitions(u32::try_from(total).expect("is small"));
        let added = self.settle(s, "widen", added);
        let model = self.sites[s].topic(name).expect("lives");
        match added {
            Some(()) => {
                model.parts.resize_with(total, Part::default);
                model.may_have = None;
                self.begin_groups(s, name, had..total);
            }
            None => {
                model.may_have = Some(total);
                model.commits_uncertain = true;
            }
        }
    }

    /// Whoever has begun begins new partitions at their first record.
    fn begin_groups(&mut self, s: usize, name: usize, new: std::ops::Range<usize>) {
        let model = self.sites[s].topic(name).expect("lives");
        let (epoch, mut commits) = (model.epoch, model.commits.clone());
        let groups: std::collections::BTreeSet<usize> = commits.keys().map(|(group, _)| *group).collect();
        if groups.is_empty() {
            return;
        }
        for number in new {
            let place: epochlog::Place = format!("{number}:0@{epoch}").parse().expect("is a place");
            self.hand(s, name, place);
            commits.extend(groups.iter().map(|group| ((*group, place.partition()), place)));
        }
        self.sites[s].topic(name).expect("lives").commit(commits, true);
    }

    /// Whoever holds a topic that was deleted is told, for ever.
    pub fn check_deleted(&mut self, s: usize) {
        for partition in &self.sites[s].deleted {
            let error = refused(partition.append("late"));
            assert!(matches!(error, Error::TopicDeleted { .. }), "a deleted topic answers: {error}");
        }
        for consumer in &mut self.sites[s].deleted_consumers {
            assert!(matches!(refused(consumer.commit()), Error::TopicDeleted { .. }), "late commit");
            assert!(matches!(refused(consumer.poll(AT_ONCE)), Error::TopicDeleted { .. }), "late poll");
        }
    }
}
