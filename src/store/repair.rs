//! What a person orders when damage keeps something closed: a plan first, and then its doing.
//!
//! Invariant: recovery loses nothing that was synced, repair may; so it says before what it will do and what that costs.
//! Planning takes the store's lock, so that nobody writes meanwhile, and changes nothing. What is changed goes to
//! `quarantine/` first. Interrupted anywhere, the next plan finds what is left to do; a store that is whole has an empty
//! plan, and nothing of it is written. The way goes down to `topic::repair` and `log::recover::repair`, which say what is
//! done for each kind of damage.
//!
//! `STORE` damaged or gone is told anew: its id from the other files, if they agree, and a next number so far above all
//! that are seen that none is issued twice. Two directories of one name are left to a person.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::identity::{self, StoreFile, missing_store};
use super::numbers::Numbers;
use super::open::{NUMBER_MAX, has_topics, leave_pid, names_at, next_number, no_store, take_lock};
use crate::error::{Corruption, Damage, Error, IoContext, Result};
use crate::format::{COMMITS, FileKind, HISTORY, RESERVE, STORE, TOPIC, TOPICS, parse_segment, topic_dir};
use crate::io::{Kind, Lock, Reserve, Seam};
use crate::log::{Aside, Awake, Epochs, OnDamage, Remedy, RepairStep};
use crate::name::TopicName;
use crate::offset::{Epoch, Position};
use crate::options::StoreOptions;
use crate::segment::{Cache, header_of};
use crate::topic::{Shared, TopicRepair, duplicate, identity_in, list, refused};

/// So far above every number that is seen a store without `STORE` goes on: numbers that left no trace lie below.
const FAR: u64 = 1 << 32;
const NO_AGREEMENT: &str = "the files of its topics don't tell of one store; restore `STORE` from a backup";
const ANOTHER_STORE: &str =
    "restore that of this store from a backup; or move it out of the store, and repair tells it anew by the topics";
const CHOOSE: &str = "move all but one of its directories out of `topics/`, or delete the topic";

/// Everything that is wrong with a store, and what would be done about it.
///
/// Its `Display` is for people.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RepairPlan {
    /// What is wrong and what is done, in the order of the topics' names.
    pub steps: Vec<RepairStep>,
}

impl RepairPlan {
    /// Whether there is nothing to do. Damage may be listed all the same: such as stays, or can't be repaired.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.steps.iter().any(RepairStep::changes)
    }

    /// Whether damage is left when it is done.
    #[must_use]
    pub fn leaves_damage(&self) -> bool {
        self.steps.iter().any(|step| !step.changes())
    }
}

impl fmt::Display for RepairPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            return f.write_str("nothing to repair");
        }
        let steps: Vec<String> = self.steps.iter().map(ToString::to_string).collect();
        f.write_str(&steps.join("\n"))
    }
}

/// What was done.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RepairReport {
    /// The plan.
    pub plan: RepairPlan,
    /// The originals that were kept: from where to where in the quarantine.
    pub quarantined: Vec<(PathBuf, PathBuf)>,
    /// The epochs that began where records may have been lost: of which topic and partition.
    pub epochs: Vec<(TopicName, u32, Epoch)>,
}

/// A store that nobody else may write, and what is to be repaired in it. Dropping it changes nothing.
///
/// ```
/// use epochlog::{OnDamage, Store, StoreOptions, TopicOptions};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("data");
/// let store = Store::create(&path)?;
/// store.create_topic("orders", TopicOptions::new())?;
/// store.close()?;
///
/// let repair = StoreOptions::new().repair(&path, OnDamage::Keep)?;
/// println!("{}", repair.plan());
/// assert!(repair.plan().is_empty());
/// let report = repair.apply()?;
/// assert!(report.quarantined.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Repair {
    seam: Seam,
    file: StoreFile,
    /// Whether the file `STORE` is told anew.
    retold: bool,
    topics: Vec<TopicRepair>,
    plan: RepairPlan,
    _lock: Box<dyn Lock>,
}

impl fmt::Debug for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repair({}, {:?})", self.seam.dir.root().display(), self.plan)
    }
}

impl StoreOptions {
    /// Finds out what is wrong with a store that is closed, and what can be done about it. Reads everything and changes
    /// nothing: [`Repair::plan`] tells, [`Repair::apply`] does it.
    ///
    /// What a crash left is no damage, and is recovered by the next open; repair is for what stays closed after that, and
    /// for damaged batches that a reader met. With [`OnDamage`] it is chosen what becomes of these.
    ///
    /// # Errors
    ///
    /// [`Error::NotAStore`]; [`Error::Locked`] if it is open for writing; [`Error::UnsupportedVersion`] if a later version
    /// wrote `STORE`; [`Error::InvalidOption`]; [`Error::Io`]: what can't be read now isn't taken for damage.
    pub fn repair(self, path: impl AsRef<Path>, on_damage: OnDamage) -> Result<Repair> {
        self.check()?;
        let path = path.as_ref();
        let seam = self.seam_at(path);
        let names = names_at(&seam, path)?;
        // Without topics and without `STORE` it never became one.
        let has_store = |names: &[String]| names.iter().any(|name| name == STORE);
        if !names.as_deref().is_some_and(has_store) && !has_topics(&seam)? {
            return Err(no_store(path, names.as_deref()));
        }
        let lock = take_lock(&seam, path)?;
        let mut plan = RepairPlan::default();
        let (file, retold) = match identity::read(&*seam.dir) {
            Ok(Some(file)) => (Some(file), false),
            Ok(None) => (tell_store(&seam, missing_store(&*seam.dir), &mut plan)?, true),
            Err(error) if is_damage(&error) => (tell_store(&seam, error, &mut plan)?, true),
            Err(other) => return Err(other),
        };
        let Some(file) = file else {
            let nothing = StoreFile { id: [0; 16], next_number: 0, clean: false };
            return Ok(Repair { seam, file: nothing, retold: false, topics: Vec::new(), plan, _lock: lock });
        };
        let shared = shared(&seam, &file);
        if let Some(step) = of_another_store(&shared)? {
            plan.steps.push(step);
            return Ok(Repair { seam, file, retold: false, topics: Vec::new(), plan, _lock: lock });
        }
        let mut topics = Vec::new();
        for (name, numbers) in list(&shared)? {
            match numbers[..] {
                [number] => topics.extend(TopicRepair::plan(&shared, &name, number, on_damage, &mut plan.steps)?),
                _ => plan.steps.push(refused(&name, None, duplicate(&shared, &name), CHOOSE)),
            }
        }
        Ok(Repair { seam, file, retold, topics, plan, _lock: lock })
    }
}

impl Repair {
    /// What is wrong, and what [`apply`](Repair::apply) would do.
    #[must_use]
    pub fn plan(&self) -> &RepairPlan {
        &self.plan
    }

    /// Does it, durably. If there is nothing to do, nothing is written.
    ///
    /// # Errors
    ///
    /// [`Error::StorageFull`], [`Error::Io`]: each partition, each file of commits and each header of a topic is as it was or
    /// as it is to be, some the one and some the other; plan again.
    pub fn apply(self) -> Result<RepairReport> {
        let mut report = RepairReport { plan: self.plan, ..RepairReport::default() };
        if report.plan.is_empty() {
            return Ok(report);
        }
        let mut aside = Aside::open(&self.seam)?;
        leave_pid(&self.seam);
        if self.retold {
            aside.copy(Path::new(STORE), 0)?;
            aside.sync()?;
            identity::write(&self.seam, &self.file)?;
        }
        let reserve = no_reserve(&self.seam);
        let numbers = Numbers::new(self.seam.clone(), reserve, self.file.id, next_number(&self.seam, &self.file)?);
        for topic in &self.topics {
            numbers.seen(topic.greatest_number());
        }
        numbers.begin()?;
        for topic in self.topics {
            report.epochs.extend(topic.apply(&numbers, &mut aside)?);
        }
        if self.file.clean {
            numbers.closed_cleanly()?;
        }
        report.quarantined = aside.kept;
        Ok(report)
    }
}

/// What can't be read now is no damage; a file that is longer than any of its kind is.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::Corrupt(_) => true,
        Error::Io { source, .. } => source.kind() == ErrorKind::InvalidData,
        _ => false,
    }
}

/// A repair takes its time: whoever orders it can make room.
fn no_reserve(seam: &Seam) -> Arc<Reserve> {
    Reserve::new(&seam.dir, RESERVE, 0)
}

fn shared(seam: &Seam, file: &StoreFile) -> Arc<Shared> {
    Arc::new(Shared {
        mapped: false,
        runner: Arc::default(),
        read_only: true,
        unclean: !file.clean,
        cache: Arc::new(Cache::new(1)),
        awake: Arc::new(Awake::new(1)),
        recovered: Arc::default(),
        store: file.id,
        epochs: Arc::new(Numbers::new(seam.clone(), no_reserve(seam), file.id, file.next_number)),
        reserve: no_reserve(seam),
        seam: seam.clone(),
    })
}

/// Tells `STORE` anew; `None` if that can't be done, and then nothing can.
fn tell_store(seam: &Seam, problem: Error, plan: &mut RepairPlan) -> Result<Option<StoreFile>> {
    let nobody = StoreFile { id: [0; 16], next_number: 0, clean: false };
    let shared = shared(seam, &nobody);
    let own = identity_in(seam, Path::new(STORE))?.filter(|identity| identity.kind == FileKind::Store);
    let (ids, seen) = look_into_topics(&shared)?;
    let greatest = next_number(seam, &nobody)?.max(seen);
    let id = own.map(|identity| identity.store).or(if let [id] = ids[..] { Some(id) } else { None });
    let mut step = RepairStep::new(None, None, problem, Remedy::Rebuild);
    step.files = vec![seam.dir.root().join(STORE)];
    let Some(id) = id else {
        (step.remedy, step.files) = (Remedy::Refuse(NO_AGREEMENT.into()), Vec::new());
        plan.steps.push(step);
        return Ok(None);
    };
    let next_number = greatest.saturating_add(FAR);
    step.note = Some(format!("the next epoch number is {next_number}, far above every one that is seen"));
    plan.steps.push(step);
    Ok(Some(StoreFile { id, next_number, clean: false }))
}

/// What is wrong with a `STORE` that is whole, if the files of all topics agree that they are of another store.
fn of_another_store(shared: &Shared) -> Result<Option<RepairStep>> {
    for (name, numbers) in list(shared)? {
        for number in numbers {
            let path = Path::new(TOPICS).join(topic_dir(&name, number)).join(TOPIC);
            if identity_in(&shared.seam, &path)?.is_some_and(|identity| identity.store == shared.store) {
                return Ok(None);
            }
        }
    }
    let (ids, _) = look_into_topics(shared)?;
    let [id] = ids[..] else { return Ok(None) };
    let told = |id: [u8; 16]| format!("store {:032x}", u128::from_be_bytes(id));
    Ok((id != shared.store).then(|| {
        let damage = Damage::Foreign { found: told(shared.store), expected: told(id) };
        let (what, path) = (header_of(FileKind::Store), shared.shown(Path::new(STORE)));
        let position = Some(Position::new(0));
        let corruption = Corruption { damage, what, path, position, offsets: None, topic: None, partition: None };
        RepairStep::new(None, None, Error::from(Box::new(corruption)), Remedy::Refuse(ANOTHER_STORE.into()))
    }))
}

/// The ids of the stores that the files of all topics tell of, each once, and the greatest number that a segment carries.
fn look_into_topics(shared: &Shared) -> Result<(Vec<[u8; 16]>, u64)> {
    let (mut ids, mut greatest) = (Vec::new(), 0);
    for (name, numbers) in list(shared)? {
        for number in numbers {
            let (files, seen) = look_into(shared, &Path::new(TOPICS).join(topic_dir(&name, number)))?;
            greatest = greatest.max(seen);
            for path in files {
                ids.extend(identity_in(&shared.seam, &path)?.map(|identity| identity.store));
            }
            ids.sort_unstable();
            ids.dedup();
        }
    }
    Ok((ids, greatest))
}

/// The files of a topic that tell whose they are, and the greatest number that its segments carry.
fn look_into(shared: &Shared, dir: &Path) -> Result<(Vec<PathBuf>, u64)> {
    let (mut files, mut greatest) = (vec![dir.join(TOPIC), dir.join(COMMITS)], 0);
    for entry in shared.seam.dir.list(dir).at("list", &shared.shown(dir))? {
        if entry.kind != Kind::Dir {
            continue;
        }
        let partition = dir.join(&entry.name);
        files.push(partition.join(HISTORY));
        for entry in shared.seam.dir.list(&partition).at("list", &shared.shown(&partition))? {
            if let Some((_, number)) = parse_segment(&entry.name) {
                // A name that nobody gave must not use up all numbers: no open would have one left.
                greatest = greatest.max(if number <= NUMBER_MAX { number } else { 0 });
                files.push(partition.join(&entry.name));
            }
        }
    }
    Ok((files, greatest))
}
