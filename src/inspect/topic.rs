//! Verifies one topic: its header, its commits, and then its partitions.
//!
//! Invariant: what is wrong with one file keeps no other from being read, as long as the topic's creation epoch is
//! known. Called by `verify`; goes on to `partition`.

use std::path::Path;

use super::site::{Site, TopicDir};
use super::verify::{Verifier, total};
use super::{Whose, partition};
use crate::error::{Error, Result};
use crate::format::parse_segment;
use crate::io::Access;
use crate::offset::Epoch;
use crate::options::TopicOptions;
use crate::segment::missing;
use crate::topic::{check_commits, creation_told, partitions_there, read_header};

pub(super) fn verify(verifier: &mut Verifier<'_>, topic: &TopicDir) {
    let whose = Whose { topic: Some(topic.name.to_string()), partition: None };
    verifier.found.topics += 1;
    let (creation, options) = match read_topic(&verifier.site, topic) {
        Ok((creation, Ok(options))) => (creation, Some(options)),
        Ok((creation, Err(error))) => {
            damaged(verifier, topic, &whose, error);
            (creation, None)
        }
        Err(error) => return damaged(verifier, topic, &whose, error),
    };
    let site = &verifier.site;
    if let Err(error) = check_commits(&site.seam, site.store, &topic.path, creation) {
        damaged(verifier, topic, &whose, error);
    }
    match partitions(&verifier.site, topic, options.as_ref()) {
        Ok(numbers) => {
            for number in numbers {
                partition::verify(verifier, topic, creation, number);
            }
        }
        Err(error) => damaged(verifier, topic, &whose, error),
    }
}

/// Reports an error, unless the topic was deleted meanwhile.
pub(super) fn damaged(verifier: &mut Verifier<'_>, topic: &TopicDir, whose: &Whose, error: Error) {
    if verifier.site.is_there(topic) {
        verifier.found.damaged(whose, error);
    }
}

type Described = (Epoch, Result<TopicOptions>);

/// The topic's creation epoch, by its header or else by its other files, and what its header says.
pub(super) fn read_topic(site: &Site, topic: &TopicDir) -> Result<Described> {
    match read_header(&site.seam, site.store, &topic.path, &topic.name, topic.number) {
        Ok((creation, options)) => Ok((creation, Ok(options))),
        Err(error) => match creation_told(&site.seam, site.store, &topic.path, topic.number) {
            Ok(Some(creation)) => Ok((creation, Err(error))),
            _ => Err(error),
        },
    }
}

/// The partitions that must exist, or as many as there are if the topic can't say.
fn partitions(site: &Site, topic: &TopicDir, options: Option<&TopicOptions>) -> Result<Vec<u32>> {
    match options {
        Some(options) => Ok((0..options.partitions).collect()),
        None => partitions_there(&site.seam, &topic.path),
    }
}

/// The bytes of a topic's segments, for the measure of progress.
pub(super) fn segment_bytes(site: &Site, topic: &TopicDir) -> u64 {
    let partitions = partitions_there(&site.seam, &topic.path).unwrap_or_default();
    total(partitions.iter().map(|number| partition_bytes(site, &topic.path.join(number.to_string()))))
}

fn partition_bytes(site: &Site, dir: &Path) -> u64 {
    let entries = site.seam.dir.list(dir).unwrap_or_default();
    let segments = entries.iter().filter(|entry| parse_segment(&entry.name).is_some());
    let len = |name: &str| site.seam.dir.open(&dir.join(name), Access::Read).and_then(|file| file.len()).ok();
    total(segments.filter_map(|entry| len(&entry.name)))
}

/// A partition whose directory is gone.
pub(super) fn missing_partition(site: &Site, dir: &Path) -> Error {
    missing("partition", &site.shown(dir), None)
}
