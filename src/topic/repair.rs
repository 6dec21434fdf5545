//! Puts one topic right: its header, its commits, and then its partitions.
//!
//! Invariant: planning writes nothing, and what is wrong with one file keeps no other from being looked at. The creation
//! epoch is that of most files of the topic, and a header that is of another is told anew like a damaged one: it is never
//! drawn again, since every file and every place is bound to it. A group keeps the last commit that is whole, and never
//! loses one without its being said. Planned and applied by `store::repair`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::commits::{Commits, Salvaged};
use super::dirs::{creation_told, partitions_there, uncounted};
use super::{Shared, header};
use crate::error::{Error, IoContext, Result};
use crate::format::{COMMITS, TOPIC, TOPICS, topic_dir};
use crate::log::{Aside, Epochs, OnDamage, PartitionRepair, Remedy, RepairStep};
use crate::name::{GroupName, TopicName};
use crate::offset::Epoch;
use crate::options::TopicOptions;
use crate::segment::missing;

const NO_IDENTITY: &str = "no file tells which creation epoch it had; delete the topic, or restore its directory";
const DISPUTED: &str = "move those of another copy of the store out of it, and repair again; or restore the directory";
const NO_PARTITION: &str = "its records are gone; restore the directory from a backup, or delete the topic";
const LATER_VERSION: &str = "a later version wrote it; repair it with that one";
const NOT_TOLD: &str = "what is left of it makes no sense; restore the directory from a backup, or delete the topic";
const TOO_LONG: &str = "it is longer than such a file can be; move it out of the store, and repair tells it anew";
const NO_FILE: &str = "a directory stands in the place of a file; move it out of the store, and repair again";

/// What is to be done to one topic.
pub(crate) struct TopicRepair {
    shared: Arc<Shared>,
    name: TopicName,
    dir: PathBuf,
    creation: Epoch,
    /// To be written anew, if it is damaged.
    header: Option<TopicOptions>,
    commits: Option<Commits>,
    partitions: Vec<PartitionRepair>,
}

impl TopicRepair {
    /// Decides what is to be done, and adds it to `steps`; `None` if there is nothing. `shared` is read-only.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub(crate) fn plan(
        shared: &Arc<Shared>,
        name: &TopicName,
        number: u64,
        on_damage: OnDamage,
        steps: &mut Vec<RepairStep>,
    ) -> Result<Option<TopicRepair>> {
        let dir = Path::new(TOPICS).join(topic_dir(name, number));
        let told = plan_header(shared, &dir, name, number, steps)?;
        let Some((creation, options, is_retold)) = told else { return Ok(None) };
        let header = is_retold.then(|| options.clone());
        let (shared, name) = (shared.clone(), name.clone());
        let mut repair = TopicRepair { shared, name, dir, creation, header, commits: None, partitions: Vec::new() };
        repair.plan_commits(options.partitions, steps)?;
        for partition in 0..options.partitions {
            repair.plan_partition(partition, on_damage, steps)?;
        }
        let idle = repair.header.is_none() && repair.commits.is_none() && repair.partitions.is_empty();
        Ok((!idle).then_some(repair))
    }

    fn plan_commits(&mut self, partitions: u32, steps: &mut Vec<RepairStep>) -> Result<()> {
        let error = match Commits::load(&self.shared, &self.dir, self.creation, &self.name, false) {
            Ok(_) => return Ok(()),
            Err(error @ Error::Corrupt(_)) => error,
            Err(error) => return left(error, &self.name, None, steps),
        };
        let salvaged = match Commits::salvage(&self.shared, &self.dir, self.creation, &self.name, partitions) {
            Ok(salvaged) => salvaged,
            Err(error) => return left(error, &self.name, None, steps),
        };
        let mut step = RepairStep::new(Some(&self.name), None, error, Remedy::Rebuild);
        step.files = vec![salvaged.commits.shown()];
        step.note = Some(commits_note(&salvaged));
        steps.push(step);
        self.commits = Some(salvaged.commits);
        Ok(())
    }

    fn plan_partition(&mut self, number: u32, on_damage: OnDamage, steps: &mut Vec<RepairStep>) -> Result<()> {
        let home = self.shared.home(&self.dir, self.creation, number, self.shared.unclean);
        let shown = self.shared.shown(&home.dir);
        match self.shared.seam.dir.list(&home.dir) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                steps.push(refused(&self.name, Some(number), missing("partition", &shown, None), NO_PARTITION));
                return Ok(());
            }
            other => other.at("list", &shown)?,
        };
        let mut partition = match PartitionRepair::plan(&home, &self.name, on_damage) {
            Ok(partition) => partition,
            Err(error) => return left(error, &self.name, Some(number), steps),
        };
        let found = partition.take_steps();
        if found.iter().any(RepairStep::changes) {
            self.partitions.push(partition);
        }
        steps.extend(found);
        Ok(())
    }

    /// The greatest number of an epoch that was seen here.
    pub(crate) fn greatest_number(&self) -> u64 {
        self.partitions.iter().map(PartitionRepair::greatest_number).max().unwrap_or(self.creation.number)
    }

    /// Does it; gives the epochs that began.
    pub(crate) fn apply(self, epochs: &dyn Epochs, aside: &mut Aside) -> Result<Vec<(TopicName, u32, Epoch)>> {
        let mut begun = Vec::new();
        for partition in self.partitions {
            let number = partition.number();
            let epoch = partition.apply(epochs, aside)?;
            begun.extend(epoch.map(|epoch| (self.name.clone(), number, epoch)));
        }
        if let Some(mut commits) = self.commits {
            aside.copy(&self.dir.join(COMMITS), 0)?;
            aside.sync()?;
            commits.rewrite()?;
        }
        if let Some(options) = self.header {
            aside.copy(&self.dir.join(TOPIC), 0)?;
            aside.sync()?;
            let sync = header::replace(&self.shared, &self.dir, &self.name, self.creation, &options)?;
            // A store that was closed cleanly is believed: no later open syncs this name.
            sync().at("sync", &self.shared.shown(&self.dir))?;
        }
        Ok(begun)
    }
}

/// What the topic's header says, or is to say, and whether it is to be written anew; `None` if nobody can tell.
fn plan_header(
    shared: &Shared,
    dir: &Path,
    name: &TopicName,
    number: u64,
    steps: &mut Vec<RepairStep>,
) -> Result<Option<(Epoch, TopicOptions, bool)>> {
    let (seam, store) = (&shared.seam, shared.store);
    let read = match header::read(seam, store, dir, name, number) {
        Err(error) if !matches!(error, Error::Corrupt(_)) => return left(error, name, None, steps).map(|()| None),
        read => read,
    };
    let creation = match creation_told(seam, store, dir, number) {
        Ok(Some(creation)) => creation,
        Ok(None) => {
            steps.extend(read.err().map(|error| refused(name, None, error, NO_IDENTITY)));
            return Ok(None);
        }
        Err(error @ Error::Corrupt(_)) => {
            steps.push(refused(name, None, error, DISPUTED));
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let error = match read {
        Ok((found, _)) if found != creation => header::of_another(shared, dir, found, creation),
        Ok((_, options)) => match uncounted(seam, dir, options.partitions)? {
            None => return Ok(Some((creation, options, false))),
            Some(error) => error,
        },
        Err(error) => error,
    };
    match tell_header(shared, dir, name, creation, error) {
        Ok((options, step)) => {
            steps.push(step);
            Ok(options.map(|options| (creation, options, true)))
        }
        Err(error) => left(error, name, None, steps).map(|()| None),
    }
}

pub(crate) fn refused(name: &TopicName, partition: Option<u32>, problem: Error, way_out: &str) -> RepairStep {
    RepairStep::new(Some(name), partition, problem, Remedy::Refuse(way_out.into()))
}

/// What can't be put right here, and is no reason to leave the rest alone: what a later version wrote is no damage, and a
/// file that can't be ours is for a person to look at. An error of the disk is passed on.
fn left(error: Error, name: &TopicName, partition: Option<u32>, steps: &mut Vec<RepairStep>) -> Result<()> {
    let way_out = match &error {
        Error::UnsupportedVersion { .. } => LATER_VERSION,
        Error::Corrupt(_) => NOT_TOLD,
        Error::Io { source, .. } if source.kind() == io::ErrorKind::InvalidData => TOO_LONG,
        Error::Io { source, .. } if source.kind() == io::ErrorKind::IsADirectory => NO_FILE,
        _ => return Err(error),
    };
    steps.push(refused(name, partition, error, way_out));
    Ok(())
}

/// The options of a header to be written anew, if they can be told, and what is to be said of it.
fn tell_header(
    shared: &Shared,
    dir: &Path,
    name: &TopicName,
    creation: Epoch,
    error: Error,
) -> Result<(Option<TopicOptions>, RepairStep)> {
    let mut step = RepairStep::new(Some(name), None, error, Remedy::Rebuild);
    step.files = vec![shared.shown(&dir.join(TOPIC))];
    let whole = header::salvage(shared, dir, name, creation)?;
    if let Some(options) = &whole
        && uncounted(&shared.seam, dir, options.partitions)?.is_none()
    {
        step.note = Some("its options are whole; nothing is lost".into());
        return Ok((whole, step));
    }
    let last = partitions_there(&shared.seam, dir)?.last().copied().unwrap_or(0);
    let partitions = last.saturating_add(1);
    if TopicOptions::new().partitions(partitions).check().is_err() {
        let way_out =
            format!("no topic has a partition {last}; move that directory out of the store, and repair again");
        return Ok((None, refused(name, None, step.problem, &way_out)));
    }
    step.note = Some(match whole {
        Some(_) => format!("{partitions} partitions are there; its other options are whole"),
        None => format!("its options are lost: {partitions} partitions are there, all else is as by default"),
    });
    Ok((Some(whole.unwrap_or_default().partitions(partitions)), step))
}

fn commits_note(salvaged: &Salvaged) -> String {
    let Salvaged { commits, older, without, lost_bytes } = salvaged;
    let list = |names: &mut dyn Iterator<Item = String>| {
        let names: Vec<String> = names.collect();
        if names.is_empty() { "none".to_string() } else { names.join(", ") }
    };
    let quoted = |group: &GroupName| format!("`{group}`");
    let is_sure = |group: &&GroupName| !older.contains(*group) && !without.contains_key(*group);
    format!(
        "{lost_bytes} bytes are lost; groups that go on at their last commit: {}; at one that may be older, so that they \
         read records again: {}; without one in some partitions, where they begin as their start policy says: {}; any \
         other group is lost, and begins where its start policy says",
        list(&mut commits.groups().keys().filter(is_sure).map(quoted)),
        list(&mut older.iter().map(quoted)),
        list(&mut without.iter().map(|(group, (missed, first))| format!("`{group}` ({})", numbers(*missed, first))))
    )
}

/// So many partitions, of which these are the first.
fn numbers(count: usize, first: &[u32]) -> String {
    let mut listed: Vec<String> = first.iter().map(u32::to_string).collect();
    if count > first.len() {
        listed.push(format!("and {} more", count - first.len()));
    }
    listed.join(", ")
}
