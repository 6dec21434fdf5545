//! Plays operations on the engine and on the oracle, and compares both after each.
//!
//! Invariant: an error that nothing excuses is a failure. Faults are armed for the length of one operation, so that the
//! comparison afterwards sees the disk as it is.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::ErrorKind;
use std::time::Duration;

use epochlog::testing::{Fault, SimDisk};
use epochlog::{Ack, Consumer, Error, Mapping, Partition, Place, Reader, Start, Store, Timestamp, Topic, Visibility};

use super::dice::{Dice, Digest};
use super::ops::{Op, What};
use super::oracle::{Book, Down, GROUPS, Model, NAMES, Part, Prefix, TopicModel};
use crate::support::one_awake;

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub operations: u64,
    pub crashes: u64,
    pub faults: u64,
    pub refused: u64,
    pub copies: u64,
    pub places: u64,
    pub records: u64,
}

/// A consumer, and how far it has read in each partition it has begun.
pub struct Live {
    pub consumer: Consumer,
    pub read: BTreeMap<u32, Prefix>,
    pub start: Start,
    pub visibility: Visibility,
    pub auto_commit: bool,
    pub skips: bool,
}

pub struct Tail {
    pub reader: Reader,
    pub prefix: Prefix,
    pub visibility: Visibility,
}

/// What is wrong with a disk from now on.
#[derive(Default)]
pub struct Trouble {
    pub fault: Option<Fault>,
    pub forever: bool,
    pub reverts: bool,
    pub io_bytes_max: Option<usize>,
    pub interrupt_every: Option<u64>,
    pub lies: bool,
    /// The machine stops after so many operations of the disk, and crashes so.
    pub stop: Option<(u64, [u32; 3])>,
}

/// One directory on a disk of its own, and who uses it.
pub struct Site {
    pub disk: SimDisk,
    pub store: Option<Store>,
    pub model: Model,
    pub live: BTreeMap<(usize, usize), Live>,
    pub tails: BTreeMap<(usize, u32), Tail>,
    pub deleted: Vec<Partition>,
    pub deleted_consumers: Vec<Consumer>,
    pub acks: Vec<(usize, Partition, Ack)>,
    pub looker: Option<Store>,
    pub trouble: Trouble,
    /// The operation that runs is under a fault.
    pub armed: bool,
    /// A fault was armed since the store was opened: parts of it may be latched.
    pub hurt: bool,
    pub full: bool,
    /// How it went down before it was opened, if nobody has looked since.
    pub unseen: Option<Down>,
    /// Wall time ran ahead since the store was opened.
    pub jumped: bool,
}

pub struct Player {
    pub mapping: Mapping,
    pub sites: Vec<Site>,
    pub backups: Vec<(SimDisk, Model)>,
    pub book: Book,
    pub ids: u64,
    pub digest: Digest,
    pub totals: Totals,
    pub dice: Dice,
}

impl Site {
    pub fn new(disk: SimDisk, model: Model) -> Site {
        Site {
            disk,
            store: None,
            model,
            live: BTreeMap::new(),
            tails: BTreeMap::new(),
            deleted: Vec::new(),
            deleted_consumers: Vec::new(),
            acks: Vec::new(),
            looker: None,
            trouble: Trouble::default(),
            armed: false,
            hurt: false,
            full: false,
            unseen: None,
            jumped: false,
        }
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().expect("is open")
    }

    pub fn engine(&self, name: usize) -> Topic {
        self.store().topic(NAMES[name]).unwrap_or_else(|error| panic!("P1: `{}` doesn't open: {error}", NAMES[name]))
    }

    pub fn partition(&self, name: usize, part: u32) -> Partition {
        let partition = self.engine(name).partition(part);
        partition.unwrap_or_else(|error| panic!("P1: partition {part} of `{}` doesn't open: {error}", NAMES[name]))
    }

    pub fn topic(&mut self, name: usize) -> Option<&mut TopicModel> {
        self.model.topics[name].as_mut()
    }

    pub fn part(&mut self, name: usize, part: u32) -> &mut Part {
        &mut self.topic(name).expect("lives").parts[part as usize]
    }

    /// Whether something was done to the disk that lets a call fail like this.
    pub fn excuses(&self, error: &Error) -> bool {
        match error {
            Error::Io { source, .. } => self.armed || (self.full && source.kind() == ErrorKind::StorageFull),
            Error::StorageFull { .. } => self.full || self.armed,
            Error::Latched { .. } => self.hurt,
            Error::Corrupt(_) => self.model.reverted,
            _ => false,
        }
    }

    fn arm(&mut self) {
        let (disk, trouble) = (&self.disk, &mut self.trouble);
        disk.set_io_bytes_max(trouble.io_bytes_max);
        disk.interrupt_every(trouble.interrupt_every);
        disk.ignore_syncs(trouble.lies);
        if let Some((after, _)) = trouble.stop {
            disk.stop_after(disk.operations() + 1 + after);
        }
        self.armed = trouble.stop.is_some() || trouble.fault.is_some();
        self.hurt |= self.armed;
        self.model.lied |= trouble.lies;
        self.model.reverted |= trouble.fault.is_some() && trouble.reverts;
        let fault = if trouble.forever { trouble.fault.clone() } else { trouble.fault.take() };
        fault.into_iter().for_each(|fault| disk.fail(fault));
    }
}

impl Player {
    pub fn new(seed: u64, mapping: Mapping) -> Player {
        let disk = SimDisk::new(seed);
        let mut site = Site::new(disk, Model::default());
        site.store = Some(one_awake(&site.disk, mapping).create("/sim").expect("creates"));
        Player {
            mapping,
            sites: vec![site],
            backups: Vec::new(),
            book: Book::default(),
            ids: 0,
            digest: Digest::new(),
            totals: Totals::default(),
            dice: Dice::new(seed),
        }
    }

    pub fn play(&mut self, op: Op) {
        self.totals.operations += 1;
        let _fits = write!(self.digest, "{op};");
        let s = op.with[0] as usize % self.sites.len();
        self.sites[s].arm();
        self.apply(s, op);
        if let Some((_, [mode, seed, again])) = self.sites[s].trouble.stop.filter(|_| op.what != What::Stop) {
            self.crash(s, mode, seed, again);
        }
        self.sites[s].disk.heal();
        self.sites[s].armed = false;
        self.check(s);
    }

    fn apply(&mut self, s: usize, op: Op) {
        let [_, a, b, c, d, e] = op.with;
        let name = a as usize % NAMES.len();
        let group = b as usize % GROUPS.len();
        match op.what {
            What::Create => self.create(s, name, b + 1, c),
            What::Delete => self.delete(s, name),
            What::Widen => self.widen(s, name, b as usize + 1),
            What::Append => self.append(s, name, b, c as usize + 1, d as usize, e == 0),
            What::Fill => self.append(s, name, b, 1, Player::fitting(&self.sites[s], name) - c as usize, d == 0),
            What::Spread => self.spread(s, name, b as usize, c == 0),
            What::Sync => self.sync(s, name, b, c),
            What::Wait => self.wait(s, a),
            What::Trim => self.trim(s, name, b, c),
            What::Truncate => self.truncate(s, name, b, c),
            What::Maintain => self.maintain(s),
            What::Time => self.time(s, a, b),
            What::Reopen => self.reopen(s),
            What::Look => self.look(s),
            What::Join => self.join(s, name, group, c, d, e),
            What::Poll => self.poll(s, name, group),
            What::Commit => self.commit(s, name, group, c == 1),
            What::CommitTo => self.commit_to(s, name, group, c),
            What::Seek => self.seek(s, name, group, c, d),
            What::Leave => drop(self.sites[s].live.remove(&(name, group))),
            What::Tail => self.tail(s, name, b, c == 1),
            What::Offer => self.offer_one(s, name, b),
            What::Find => self.find(s, name, b, c),
            What::Reset => self.reset(s, name, group, c, d == 1),
            What::Forget => self.forget(s, name, group),
            What::Crash => self.crash(s, a, b, c),
            What::Stop => self.sites[s].trouble.stop = Some((u64::from(a), [b, c, d])),
            What::Fault => self.fault(s, a, b, c, d == 0),
            What::Heal => self.sites[s].trouble = Trouble::default_but_lies(&self.sites[s].trouble),
            What::Full => self.fill_disk(s, a),
            What::Room => self.make_room(s),
            What::Short => self.short(s, a, b),
            What::Lie => self.sites[s].trouble.lies = true,
            What::Copy => self.copy(s, a as usize, b == 0),
            What::Backup => self.backup(s),
            What::Restore => self.restore(s, a as usize),
        }
    }

    /// What becomes of a call: its answer, or nothing if it failed as it may.
    pub fn settle<T>(&mut self, s: usize, what: &str, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(answer) => {
                let _fits = write!(self.digest, "{what}");
                Some(answer)
            }
            Err(error) => {
                assert!(self.sites[s].excuses(&error), "P11: {what} fails without a cause: {error:?}");
                let _fits = write!(self.digest, "{error}");
                self.totals.refused += 1;
                None
            }
        }
    }

    /// The number of a partition that there is.
    pub fn number(&mut self, s: usize, name: usize, part: u32) -> Option<u32> {
        let parts = self.sites[s].topic(name)?.parts.len();
        Some(part % u32::try_from(parts).expect("is small"))
    }

    pub fn hand(&mut self, s: usize, name: usize, place: Place) {
        let model = self.sites[s].model.topics[name].as_ref().expect("lives");
        self.book.hand(model.epoch, place, &model.parts[place.partition() as usize]);
    }

    /// 0 and 1 let time pass, 2 lets the wall clock jump ahead, 3 sets it back, 4 moves the monotonic one alone.
    fn time(&mut self, s: usize, ms: u32, kind: u32) {
        let (clock, by) = (self.sites[s].disk.clock(), Duration::from_millis(u64::from(ms)));
        let day = Duration::from_secs(24 * 60 * 60);
        match kind {
            2 => {
                clock.advance_wall(day + by);
                self.sites[s].jumped = true;
            }
            3 => {
                let now = epochlog::testing::Clock::now(&clock).as_millis();
                clock.set_wall(Timestamp::from_millis(now - i64::from(ms)));
            }
            4 => clock.advance_monotonic(by),
            _ => clock.advance(by),
        }
    }
}

impl Trouble {
    /// Lies aren't taken back: what was lied about stays unsynced.
    fn default_but_lies(trouble: &Trouble) -> Trouble {
        Trouble { lies: trouble.lies, ..Trouble::default() }
    }
}
