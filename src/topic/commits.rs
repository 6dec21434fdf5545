//! The commits of a topic's groups: how far each has read, partition by partition.
//!
//! Invariant: every commit carries its epoch, and the file begins with the topic's; commits of another topic of the same
//! name can't be here. One commit over several partitions is one frame, all or nothing. A partition that is added has a
//! commit at its first record for every group that has begun, before anybody sees it. What was read back after a crash is
//! written anew before anything is built on it. Used by `consumer`; it lives here because a delete takes its lock.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Shared;
use crate::error::{Error, IoContext, Latched, Result};
use crate::format::{
    COMMITS, DecodeError, Entry, FRAME_BYTES_MAX, FileKind, HEADER_BYTES, Identity, NO_EPOCH, Rest, Seed, encode_frame,
    is_worth_rewriting, read_frames, salvage_frames,
};
use crate::io::latch::Latch;
use crate::io::{self, Access, File, Headroom, Seam, read_all, read_settled, write_all_at};
use crate::name::{GroupName, TopicName};
use crate::offset::{Epoch, Offset, Position, Timestamp};
use crate::options::PARTITIONS_MAX;
use crate::place::Place;
use crate::segment::{header_of, not_found};

/// From this size on the file is worth compacting, when less than a quarter of it still counts. At half, a commit among very
/// many groups pays as much for rewrites as for itself.
const COMPACT_BYTES_MIN: u64 = 256 << 10;
/// A longer file isn't read.
const COMMITS_BYTES_MAX: u64 = 4 << 30;
/// So far it is written: the room that is reserved ahead is part of the file, too.
const APPEND_BYTES_MAX: u64 = COMMITS_BYTES_MAX - (1 << 20);
/// The longest metadata of a commit.
pub(crate) const METADATA_BYTES_MAX: usize = 4096;

/// How far one group has come in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) place: Place,
    pub(crate) time: Timestamp,
    /// One for all places of a commit.
    pub(crate) metadata: Option<Arc<[u8]>>,
}

type Groups = BTreeMap<GroupName, BTreeMap<u32, Commit>>;

/// So many are enough to say: there may be as many as groups times partitions.
const MISSED_LISTED_MAX: usize = 8;

/// What can be told of commits that are damaged or gone.
pub(super) struct Salvaged {
    /// For each group and partition the last one that is whole.
    pub(super) commits: Commits,
    /// Groups that may have had a later one in some partition.
    pub(super) older: BTreeSet<GroupName>,
    /// Groups that have none in so many partitions, and may have had one; with the first of these.
    pub(super) without: BTreeMap<GroupName, (usize, Vec<u32>)>,
    pub(super) lost_bytes: usize,
}

/// All commits of a topic, in memory and in its file.
#[derive(Debug)]
pub(crate) struct Commits {
    shared: Arc<Shared>,
    topic: TopicName,
    dir: PathBuf,
    seed: Seed,
    creation: Epoch,
    groups: Groups,
    file: Option<Arc<dyn File>>,
    position: u64,
    synced: u64,
    /// From here on it is looked whether the file is worth compacting, once.
    compact_at: u64,
    /// Whether `maintain` looks also below that.
    look_due: bool,
    /// Whether something was said behind which no [`Entry::End`] stands.
    open_ended: bool,
    headroom: Headroom,
    latch: Latch,
}

fn identity(store: [u8; 16], creation: Epoch) -> Identity {
    Identity { kind: FileKind::Commits, store, creation, partition: None, epoch: NO_EPOCH, base: Offset::ZERO }
}

impl Commits {
    /// Writes and syncs an empty file into a topic's new directory.
    pub(super) fn create(shared: &Shared, dir: &Path, creation: Epoch) -> Result<()> {
        let header = identity(shared.store, creation).encode(shared.seam.clock.now());
        io::write_new(&*shared.seam.dir, &dir.join(COMMITS), &header)
    }

    /// Reads them; to `harden` is to write them anew, as what was read may live in the page cache alone. What came of that is
    /// given beside them: under a name that may not be durable they are latched, and the next look would find them whole.
    pub(super) fn load(
        shared: &Arc<Shared>,
        dir: &Path,
        creation: Epoch,
        topic: &TopicName,
        harden: bool,
    ) -> Result<(Commits, Result<()>)> {
        let judged = read(&shared.seam, shared.store, dir, creation, shared.read_only)?;
        let torn = judged.torn;
        let mut commits = Commits::new(shared, dir, creation, topic, judged);
        // Before anybody builds on it.
        let hardened = if (torn || harden) && !shared.read_only { commits.rewrite() } else { Ok(()) };
        Ok((commits, hardened))
    }

    /// What of a damaged or missing file can be told. A commit is surely the last one only behind the damage: each
    /// partition has its own. Changes nothing.
    pub(super) fn salvage(
        shared: &Arc<Shared>,
        dir: &Path,
        creation: Epoch,
        topic: &TopicName,
        partitions: u32,
    ) -> Result<Salvaged> {
        let path = dir.join(COMMITS);
        let shown = shared.shown(&path);
        let file = io::open_if_there(&*shared.seam.dir, &path).at("open", &shown)?;
        let bytes = file.map_or(Ok(Vec::new()), |file| read_all(&*file, COMMITS_BYTES_MAX)).at("read", &shown)?;
        let seed = identity(shared.store, creation).seed();
        let corrupt = |error: DecodeError| error.at("commits", &shown, Some(Position::new(HEADER_BYTES as u64)), None);
        let salvage = salvage_frames(&bytes, seed).map_err(corrupt)?;
        let behind = groups_of(salvage.behind.clone()).map_err(corrupt)?;
        let groups = groups_of([salvage.before, salvage.behind].concat()).map_err(corrupt)?;
        let is_sure =
            |group: &GroupName, number: &u32| behind.get(group).is_some_and(|commits| commits.contains_key(number));
        let is_older = |group: &GroupName, commits: &BTreeMap<u32, Commit>| commits.keys().any(|n| !is_sure(group, n));
        let older = groups.iter().filter(|(group, commits)| is_older(group, commits));
        let older = older.map(|(group, _)| group.clone()).collect();
        let missed = |commits: &BTreeMap<u32, Commit>| {
            let first = (0..partitions).filter(|n| !commits.contains_key(n)).take(MISSED_LISTED_MAX).collect();
            (partitions as usize - commits.range(..partitions).count(), first)
        };
        let without = groups.iter().map(|(group, commits)| (group.clone(), missed(commits)));
        let without = without.filter(|(_, (missed, _))| *missed > 0).collect();
        let told = Judged { groups, torn: false, position: HEADER_BYTES as u64, open_ended: false };
        let commits = Commits::new(shared, dir, creation, topic, told);
        Ok(Salvaged { commits, older, without, lost_bytes: salvage.lost_bytes })
    }

    /// What a file said up to its last good frame, all of it synced.
    fn new(shared: &Arc<Shared>, dir: &Path, creation: Epoch, topic: &TopicName, told: Judged) -> Commits {
        let Judged { groups, position, open_ended, .. } = told;
        Commits {
            shared: shared.clone(),
            topic: topic.clone(),
            dir: dir.to_path_buf(),
            seed: identity(shared.store, creation).seed(),
            creation,
            groups,
            file: None,
            position,
            synced: position,
            compact_at: COMPACT_BYTES_MIN,
            look_due: false,
            open_ended,
            headroom: Headroom::default(),
            latch: Latch::default(),
        }
    }

    /// Where the file is, for messages.
    pub(crate) fn shown(&self) -> PathBuf {
        self.shared.shown(&self.dir.join(COMMITS))
    }

    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    pub(crate) fn of(&self, group: &GroupName) -> Option<&BTreeMap<u32, Commit>> {
        self.groups.get(group)
    }

    /// Commits places of a group, all of them or none.
    pub(super) fn commit(
        &mut self,
        group: &GroupName,
        places: &[Place],
        metadata: Option<&[u8]>,
        durable: bool,
    ) -> Result<()> {
        check_metadata(metadata)?;
        if places.is_empty() {
            return Ok(());
        }
        let time = self.shared.seam.clock.now();
        let entry = Entry::Commit {
            group: group.clone(),
            time,
            places: places.to_vec(),
            metadata: metadata.map(<[u8]>::to_vec),
        };
        self.append(&entry)?;
        self.sync_if(durable)?;
        note(&mut self.groups, group, places, time, metadata);
        Ok(())
    }

    /// Lets every group that has commits begin these new partitions at their first record, durably.
    pub(super) fn begin(&mut self, partitions: &Range<u32>) -> Result<()> {
        let (creation, time) = (self.creation, self.shared.seam.clock.now());
        let begins = |commits: &BTreeMap<u32, Commit>| -> Vec<Place> {
            // One is there already if a crash, or an error, came between this and the partition.
            let new = partitions.clone().filter(|number| !commits.contains_key(number));
            new.map(|number| Place::new(number, Offset::ZERO, creation)).collect()
        };
        let groups = self.groups.iter().map(|(group, commits)| (group.clone(), begins(commits)));
        let begun: Vec<_> = groups.filter(|(_, places)| !places.is_empty()).collect();
        if begun.is_empty() {
            return Ok(());
        }
        for (group, places) in &begun {
            self.append(&Entry::Commit { group: group.clone(), time, places: places.clone(), metadata: None })?;
        }
        self.sync()?;
        begun.iter().for_each(|(group, places)| note(&mut self.groups, group, places, time, None));
        Ok(())
    }

    /// Deletes the commits of a group.
    pub(crate) fn forget(&mut self, group: &GroupName) -> Result<()> {
        let time = self.shared.seam.clock.now();
        self.append(&Entry::Forget { group: group.clone(), time })?;
        self.sync()?;
        self.groups.remove(group);
        self.look_soon();
        Ok(())
    }

    fn append(&mut self, entry: &Entry) -> Result<()> {
        self.latched()?;
        let mark = u32::try_from(self.position - self.synced).unwrap_or(u32::MAX);
        let frame = encode_frame(std::slice::from_ref(entry), self.seed, self.position, mark);
        check_size(self.position + frame.len() as u64)?;
        let file = self.file()?;
        self.headroom.keep(&*self.shared.seam.dir, &*file, self.position + frame.len() as u64);
        let reserve = &self.shared.reserve;
        let write = || write_all_at(&*file, &frame, self.position);
        reserve.with_room(|| write().or_else(|error| Err(error).taking(frame.len(), "write", &self.shown())))?;
        self.position += frame.len() as u64;
        self.open_ended = *entry != Entry::End;
        Ok(())
    }

    fn sync_if(&mut self, durable: bool) -> Result<()> {
        if durable { self.sync() } else { Ok(()) }
    }

    /// Makes all commits durable, and says behind the last of them that they are: without that, damage to it would look
    /// like an end that a crash tore.
    pub(super) fn close(&mut self) -> Result<()> {
        // What fails here can wait.
        let _left_long = self.compact_if_worth();
        self.sync()?;
        if self.open_ended {
            // On a full disk it stays unsaid: nothing that was committed depends on it.
            let _unsaid = self.append(&Entry::End);
        }
        self.sync()
    }

    fn file(&mut self) -> Result<Arc<dyn File>> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let file = self.shared.seam.dir.open(&self.dir.join(COMMITS), Access::Write).at("open", &self.shown())?;
        self.file = Some(file.clone());
        Ok(file)
    }

    /// Whether nothing is known of what was last made of the file.
    pub(super) fn is_latched(&self) -> bool {
        self.latch.is_down()
    }

    fn latched(&self) -> Result<()> {
        self.latch.check(|| Latched::Commits { topic: self.topic.clone() })
    }

    /// Writes what is committed into a new file, if a sync has failed. The commit that failed isn't among it.
    pub(super) fn reopen(&mut self) -> Result<()> {
        if self.latch.is_down() {
            self.rewrite()?;
            self.latch.lift();
        }
        Ok(())
    }

    /// Makes all commits durable.
    pub(crate) fn sync(&mut self) -> Result<()> {
        // First: a compacted file whose name isn't durable has nothing unsynced in it.
        self.latched()?;
        if self.synced == self.position {
            return Ok(());
        }
        let shown = self.shown();
        self.file()?.sync().at("sync", &shown).inspect_err(|_| self.latch.fall("sync", &shown))?;
        self.synced = self.position;
        // Only a file with unsynced bytes has to stay open: an error of the disk is told to open files alone.
        self.file = None;
        Ok(())
    }

    /// Whether so much was appended since the last look that it may be worth compacting. Costs nothing.
    pub(super) fn has_grown(&self) -> bool {
        self.position >= self.compact_at
    }

    /// Lets `maintain` look though the file hasn't grown: less counts, or what was worth it couldn't be done. No commit does:
    /// that would be a walk for each beside groups that come and go.
    pub(super) fn look_soon(&mut self) {
        self.look_due = true;
    }

    /// Whether most of the file no longer counts. That is a walk over all that does, so it is one only where that may be.
    pub(super) fn is_worth_compacting(&mut self) -> bool {
        let is_due = std::mem::take(&mut self.look_due) || self.has_grown();
        is_due && self.live_if_worth_compacting().is_some()
    }

    /// What it would be then.
    fn live_if_worth_compacting(&mut self) -> Option<Vec<u8>> {
        let (mut walked, mut live) = (COMPACT_BYTES_MIN, None);
        let walk = || {
            let bytes = live.insert(self.live_bytes()).len() as u64;
            walked = walked.max(bytes);
            bytes
        };
        let is_worth = !self.latch.is_down() && is_worth_rewriting(self.position, COMPACT_BYTES_MIN, 4, walk);
        self.compact_at = self.position + walked;
        live.filter(|_| is_worth)
    }

    /// Rewrites the file if most of it no longer counts. That makes all commits durable: the caller has done so with the
    /// records.
    pub(super) fn compact_if_worth(&mut self) -> Result<()> {
        let Some(bytes) = self.live_if_worth_compacting() else { return Ok(()) };
        // This can wait, and what the reserve alone can't hold would likely take it for nothing.
        if self.shared.reserve.holds(bytes.len()) { self.rewrite_by(&bytes) } else { self.replace(&bytes) }
    }

    /// Replaces the file by one with just the live commits, atomically and durably.
    pub(super) fn rewrite(&mut self) -> Result<()> {
        self.rewrite_by(&self.live_bytes())
    }

    fn rewrite_by(&mut self, bytes: &[u8]) -> Result<()> {
        let shared = self.shared.clone();
        shared.reserve.with_room(|| self.replace(bytes))
    }

    fn replace(&mut self, bytes: &[u8]) -> Result<()> {
        let sync = io::replace(&*self.shared.seam.dir, &self.dir.join(COMMITS), bytes)?;
        let shown = self.shared.shown(&self.dir);
        sync().at("sync", &shown).inspect_err(|_| self.latch.fall("sync", &shown))?;
        (self.file, self.position, self.synced) = (None, bytes.len() as u64, bytes.len() as u64);
        self.compact_at = self.position + self.position.max(COMPACT_BYTES_MIN);
        self.open_ended = false;
        self.headroom = Headroom::default();
        Ok(())
    }

    /// A file that says just what counts, and longer by no more than its end than the one that said it: what was committed
    /// together stays together.
    fn live_bytes(&self) -> Vec<u8> {
        let mut bytes = identity(self.shared.store, self.creation).encode(self.shared.seam.clock.now()).to_vec();
        for (group, commits) in &self.groups {
            for ((time, metadata), places) in together(commits) {
                // More partitions no topic has, but a file may name them, and a frame hold fewer.
                for places in places.chunks(PARTITIONS_MAX as usize) {
                    let (places, metadata) = (places.to_vec(), metadata.map(<[u8]>::to_vec));
                    let entry = Entry::Commit { group: group.clone(), time, places, metadata };
                    let at = bytes.len() as u64;
                    bytes.extend_from_slice(&encode_frame(&[entry], self.seed, at, 0));
                }
            }
        }
        if bytes.len() > HEADER_BYTES {
            let at = bytes.len() as u64;
            bytes.extend_from_slice(&encode_frame(&[Entry::End], self.seed, at, 0));
        }
        bytes
    }
}

/// A group's places by what was said of them.
fn together(commits: &BTreeMap<u32, Commit>) -> BTreeMap<(Timestamp, Option<&[u8]>), Vec<Place>> {
    let mut together = BTreeMap::<_, Vec<Place>>::new();
    for commit in commits.values() {
        together.entry((commit.time, commit.metadata.as_deref())).or_default().push(commit.place);
    }
    together
}

const _: () = assert!(METADATA_BYTES_MAX < FRAME_BYTES_MAX / 2);

/// Whether it may stand beside a commit.
pub(crate) fn check_metadata(metadata: Option<&[u8]>) -> Result<()> {
    let (size, limit) = (metadata.map_or(0, <[u8]>::len) as u64, METADATA_BYTES_MAX as u64);
    if size > limit { Err(Error::TooLarge { what: "metadata of a commit", size, limit }) } else { Ok(()) }
}

/// Whether the file may grow so far: what is longer couldn't be read back.
fn check_size(size: u64) -> Result<()> {
    let limit = APPEND_BYTES_MAX;
    if size > limit { Err(Error::TooLarge { what: "file of commits", size, limit }) } else { Ok(()) }
}

/// What the bytes of the file say.
struct Judged {
    groups: Groups,
    torn: bool,
    /// Behind the last good frame.
    position: u64,
    /// Whether that one isn't an [`Entry::End`]: a close had no room for it, or there was none.
    open_ended: bool,
}

/// Reads the file of a topic; `beside` another process, which may be appending to it.
fn read(seam: &Seam, store: [u8; 16], dir: &Path, creation: Epoch, beside: bool) -> Result<Judged> {
    let path = dir.join(COMMITS);
    let shown = seam.dir.root().join(&path);
    let read = || {
        let file = seam.dir.open(&path, Access::Read).map_err(|source| not_found(source, &shown, "commits"))?;
        read_all(&*file, COMMITS_BYTES_MAX).at("read", &shown)
    };
    let identity = identity(store, creation);
    let judge = |bytes: &[u8]| judged(&identity, bytes, &shown);
    if beside { read_settled(read, judge) } else { judge(&read()?) }
}

/// Whether a topic's commits would be read, beside a writer too.
pub(crate) fn check_commits(seam: &Seam, store: [u8; 16], dir: &Path, creation: Epoch) -> Result<()> {
    read(seam, store, dir, creation, true).map(drop)
}

fn judged(identity: &Identity, bytes: &[u8], shown: &Path) -> Result<Judged> {
    let corrupt =
        |what, error: DecodeError, position: usize| error.at(what, shown, Some(Position::new(position as u64)), None);
    identity.check(bytes).map_err(|error| corrupt(header_of(FileKind::Commits), error, 0))?;
    let frames = read_frames(bytes, identity.seed()).map_err(|error| corrupt("commits", error, HEADER_BYTES))?;
    let torn = match frames.rest {
        Rest::Clean => false,
        Rest::Torn { .. } => true,
        Rest::Damaged { position, error } => return Err(corrupt("commits", error, position)),
    };
    let groups = groups_of(frames.entries).map_err(|error| corrupt("commits", error, HEADER_BYTES))?;
    Ok(Judged { groups, torn, position: frames.ends as u64, open_ended: frames.open_ended })
}

fn groups_of(entries: Vec<Entry>) -> Result<Groups, DecodeError> {
    let mut groups = Groups::new();
    for entry in entries {
        match entry {
            Entry::Commit { group, time, places, metadata } => {
                note(&mut groups, &group, &places, time, metadata.as_deref());
            }
            Entry::Forget { group, .. } => drop(groups.remove(&group)),
            _ => return Err(DecodeError::Malformed("an entry that doesn't belong into the commits")),
        }
    }
    Ok(groups)
}

fn note(groups: &mut Groups, group: &GroupName, places: &[Place], time: Timestamp, metadata: Option<&[u8]>) {
    if !groups.contains_key(group) {
        groups.insert(group.clone(), BTreeMap::new());
    }
    let commits = groups.get_mut(group).expect("was just looked for");
    let metadata: Option<Arc<[u8]>> = metadata.map(Arc::from);
    for place in places {
        commits.insert(place.partition(), Commit { place: *place, time, metadata: metadata.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_another_file_says_is_no_commit() {
        let refused = Err(DecodeError::Malformed("an entry that doesn't belong into the commits"));
        assert_eq!(groups_of(vec![Entry::Clean { end: Offset::ZERO }]), refused);
    }

    #[test]
    fn the_file_grows_no_longer_than_can_be_read_back() {
        check_size(APPEND_BYTES_MAX).expect("fits");
        let error = check_size(APPEND_BYTES_MAX + 1).expect_err("is refused").to_string();
        let size = "file of commits of 4293918721 bytes is larger than the limit of 4293918720";
        assert_eq!(error, format!("{size}; `maintain` compacts it, once what is latched was reopened"));
    }
}
