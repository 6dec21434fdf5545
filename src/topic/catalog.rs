//! Which topics there are: the names of directories.
//!
//! Invariant: a topic is there exactly when its directory is, under its final name. Two live directories of one name are
//! damage of that name alone.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Shared, Topic};
use crate::error::{Corruption, Damage, Error, IoContext, Result};
use crate::format::{TOPICS, parse_topic_dir};
use crate::io::Kind;
use crate::name::TopicName;

/// The topics of an open store, and those of them that were used.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    entries: BTreeMap<TopicName, Listed>,
}

#[derive(Debug)]
struct Listed {
    /// The numbers of the directories of this name: one, unless something is wrong.
    numbers: Vec<u64>,
    loaded: Option<Topic>,
}

/// The topics that the directory names, with their creation numbers.
pub(crate) fn list(shared: &Shared) -> Result<BTreeMap<TopicName, Vec<u64>>> {
    let path = Path::new(TOPICS);
    let mut found: BTreeMap<TopicName, Vec<u64>> = BTreeMap::new();
    for entry in shared.seam.dir.list(path).at("list", &shared.shown(path))? {
        if let (Kind::Dir, Some((name, number))) = (entry.kind, parse_topic_dir(&entry.name)) {
            found.entry(name).or_default().push(number);
        }
    }
    found.values_mut().for_each(|numbers| numbers.sort_unstable());
    Ok(found)
}

impl Catalog {
    /// Takes over what the directory says; topics that were loaded and are still there stay loaded.
    pub(crate) fn update(&mut self, found: BTreeMap<TopicName, Vec<u64>>) {
        let mut before = std::mem::take(&mut self.entries);
        for (name, numbers) in found {
            let loaded = before.remove(&name).and_then(|listed| listed.loaded);
            let loaded = loaded.filter(|topic| numbers == [topic.epoch().number]);
            self.entries.insert(name, Listed { numbers, loaded });
        }
    }

    pub(crate) fn names(&self) -> Vec<TopicName> {
        self.entries.keys().cloned().collect()
    }

    pub(crate) fn loaded(&self) -> Vec<Topic> {
        self.entries.values().filter_map(|listed| listed.loaded.clone()).collect()
    }

    /// The numbers of all directories of this name; empty if there is no such topic.
    pub(crate) fn numbers(&self, name: &TopicName) -> Vec<u64> {
        self.entries.get(name).map(|listed| listed.numbers.clone()).unwrap_or_default()
    }

    pub(crate) fn loaded_one(&self, name: &TopicName) -> Option<&Topic> {
        self.entries.get(name)?.loaded.as_ref()
    }

    /// The topic of this name, loaded by `load` if it isn't yet.
    pub(crate) fn get(
        &mut self,
        shared: &Shared,
        name: &TopicName,
        load: impl FnOnce(u64) -> Result<Topic>,
    ) -> Result<Topic> {
        let listed = self.entries.get_mut(name).ok_or_else(|| Error::TopicNotFound { topic: name.clone() })?;
        if let Some(topic) = &listed.loaded {
            return Ok(topic.clone());
        }
        let [number] = listed.numbers[..] else { return Err(duplicate(shared, name)) };
        let topic = load(number)?;
        listed.loaded = Some(topic.clone());
        Ok(topic)
    }

    pub(crate) fn insert(&mut self, topic: &Topic) {
        let listed = Listed { numbers: vec![topic.epoch().number], loaded: Some(topic.clone()) };
        self.entries.insert(topic.name().clone(), listed);
    }

    /// Forgets one directory of this name, and with the last of them the topic.
    pub(crate) fn remove(&mut self, name: &TopicName, number: u64) {
        let Some(listed) = self.entries.get_mut(name) else { return };
        listed.numbers.retain(|&other| other != number);
        if listed.numbers.is_empty() {
            self.entries.remove(name);
        }
    }
}

/// The error of a name that has several directories.
pub(crate) fn duplicate(shared: &Shared, name: &TopicName) -> Error {
    let path = shared.shown(&Path::new(TOPICS).join(format!("{name}@*")));
    Error::from(Box::new(Corruption {
        damage: Damage::Duplicate,
        what: "topic directory",
        path,
        position: None,
        offsets: None,
        topic: None,
        partition: None,
    }))
}
