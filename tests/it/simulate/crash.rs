//! Crashes, faults, copies: what is done to the disk.

use std::io::ErrorKind;

use epochlog::testing::{Fault, Image, Loss, Pages, SimDisk};
use epochlog::{Error, Start, Store};

use super::dice::Dice;
use super::oracle::{Down, Model, NAMES};
use super::player::{Player, Site, Trouble};
use super::records::index;
use crate::support::one_awake;

const SITES_MAX: usize = 3;
/// How often an open is itself cut off before one is let through.
const CUT_OPENS_MAX: u32 = 3;

/// 0 is a kill; 1 a power cut that takes all that isn't synced, 2 some pages of it, 3 some sectors.
fn after(image: Image, mode: u32, seed: u32) -> (SimDisk, Down) {
    let mut dice = Dice::new(u64::from(seed));
    let mut some = |image: &Image| {
        // From hardly anything to nearly everything.
        let most = 1 + dice.below(9);
        (0..image.pending().len()).map(|_| dice.below(10) < most).collect::<Vec<bool>>()
    };
    match mode {
        0 => (image.after_kill(), Down::Killed),
        1 => (image.after(Loss::All), Down::Powerless),
        2 => (image.after(Loss::Subset(&some(&image))), Down::Powerless),
        _ => {
            let image = image.by_sector();
            (image.after(Loss::Subset(&some(&image))), Down::Powerless)
        }
    }
}

impl Player {
    /// `again` says whether, and when, opening the store is cut off by further crashes.
    pub fn crash(&mut self, s: usize, mode: u32, seed: u32, again: u32) {
        let image = self.sites[s].disk.image();
        let unseen = self.sites[s].unseen;
        self.let_go(s);
        let (disk, down) = after(image, mode, seed);
        let mut down = unseen.map_or(down, |unseen| unseen.max(down));
        let mut dice = Dice::new(u64::from(seed) + 1);
        self.put(s, disk);
        self.totals.crashes += 1;
        let cut_opens = if again.is_multiple_of(2) { 0 } else { again % (CUT_OPENS_MAX + 1) };
        for _ in 0..cut_opens {
            let disk = self.sites[s].disk.clone();
            disk.stop_after(disk.operations() + 1 + u64::from(dice.below(again + 1)));
            let opened = one_awake(&disk, self.mapping).open("/sim");
            let image = disk.image();
            disk.stop_after(0);
            drop(opened);
            let (disk, fell) = after(image, dice.below(4), dice.below(1 << 20));
            down = down.max(fell);
            self.put(s, disk);
            self.totals.crashes += 1;
        }
        if self.sites[s].model.lied && down == Down::Powerless {
            self.bury(s);
        } else {
            self.open(s, down);
        }
    }

    /// Drops whoever uses the store, with a disk that no longer answers.
    fn let_go(&mut self, s: usize) {
        self.sites[s].disk.stop_after(0);
        let site = &mut self.sites[s];
        let (model, disk) = (std::mem::take(&mut site.model), site.disk.clone());
        let full = site.full;
        *site = Site { full, ..Site::new(disk, model) };
    }

    fn put(&mut self, s: usize, disk: SimDisk) {
        self.sites[s].disk = disk;
    }

    /// Opens the store. A fault may keep it from opening once; without one, it opens.
    pub fn open(&mut self, s: usize, mut down: Down) {
        let opened = one_awake(&self.sites[s].disk, self.mapping).open("/sim");
        let hurt = |store: &Store| !store.recovery().failed.is_empty();
        let site = &mut self.sites[s];
        let store = match opened {
            Ok(store) if !hurt(&store) => store,
            Ok(store) if site.armed || site.full => {
                site.disk.stop_after(0);
                drop(store);
                down = down.max(Down::Killed);
                self.open_healed(s)
            }
            Ok(store) => panic!("P11: {}", store.recovery()),
            Err(error) => {
                assert!(site.excuses(&error), "P11: after {down:?}: {error:?}");
                down = down.max(Down::Killed);
                self.open_healed(s)
            }
        };
        let site = &mut self.sites[s];
        site.store = Some(store);
        (site.hurt, site.jumped) = (site.armed, false);
        if site.trouble.stop.is_some() {
            // The machine stops before anybody has looked: the crash that follows looks for both.
            site.unseen = Some(down);
            return;
        }
        site.disk.heal();
        site.armed = false;
        self.accept(s, down);
    }

    /// Without faults, and with room.
    fn open_healed(&mut self, s: usize) -> Store {
        let site = &mut self.sites[s];
        site.disk.heal();
        site.disk.set_capacity(None);
        (site.armed, site.full) = (false, false);
        let store = one_awake(&site.disk, self.mapping).open("/sim").unwrap_or_else(|error| panic!("P11: {error:?}"));
        assert!(store.recovery().failed.is_empty(), "P11: {}", store.recovery());
        store
    }

    /// Closes the store; says how it went down.
    fn close(&mut self, s: usize) -> Down {
        let site = &mut self.sites[s];
        let was_hurt = site.hurt;
        let closed = site.store.take().expect("is open").close();
        for tail in site.tails.values_mut() {
            assert!(matches!(tail.reader.read(), Err(Error::Closed)), "a reader of a closed store");
        }
        for live in site.live.values_mut() {
            assert!(matches!(live.consumer.commit(), Err(Error::Closed)), "a consumer of a closed store");
        }
        let down = if self.settle(s, "close", closed).is_some() && !was_hurt { Down::Closed } else { Down::Killed };
        let site = &mut self.sites[s];
        site.live.clear();
        site.tails.clear();
        site.deleted.clear();
        site.deleted_consumers.clear();
        site.acks.clear();
        down
    }

    pub fn reopen(&mut self, s: usize) {
        let down = self.close(s);
        self.open(s, down);
        let clean = self.sites[s].store().recovery().is_clean();
        assert!(down > Down::Closed || clean || self.sites[s].armed, "P10: a store that was closed is recovered");
    }

    /// 0 fails syncs of files, 1 of directories, 2 writes, 3 reads, 4 anything, 5 renames, 6 writes for want of room, 7
    /// the reserving of room.
    pub fn fault(&mut self, s: usize, what: u32, nth: u32, pages: u32, forever: bool) {
        let pages = [Pages::Dirty, Pages::Clean, Pages::Reverted][pages as usize];
        let fault = match what {
            0 => Fault::of("sync").leaves(pages),
            1 => Fault::of("sync_dir"),
            2 => Fault::of("write"),
            3 => Fault::of("read"),
            4 => Fault::any(),
            5 => Fault::of("rename"),
            6 => Fault::of("write").kind(ErrorKind::StorageFull),
            _ => Fault::of("reserve").kind(ErrorKind::StorageFull),
        };
        self.totals.faults += 1;
        let trouble = &mut self.sites[s].trouble;
        trouble.reverts = what == 0 && pages == Pages::Reverted;
        trouble.fault = Some(fault.nth(u64::from(nth) + 1));
        trouble.forever = forever;
        if forever {
            trouble.fault = trouble.fault.take().map(Fault::forever);
        }
    }

    /// Leaves room for so many pages more.
    pub fn fill_disk(&mut self, s: usize, pages: u32) {
        let site = &mut self.sites[s];
        let used: u64 =
            site.disk.files().iter().map(|path| site.disk.read(path).len().next_multiple_of(4096) as u64).sum();
        site.disk.set_capacity(Some(used + u64::from(pages) * 4096));
        site.full = true;
        self.totals.faults += 1;
    }

    /// With room again appends go on, without a reopen: P12. Those that a failed sync has latched don't.
    pub fn make_room(&mut self, s: usize) {
        self.sites[s].disk.set_capacity(None);
        let was_full = std::mem::replace(&mut self.sites[s].full, false);
        for name in (0..NAMES.len()).filter(|_| was_full) {
            self.append(s, name, 0, 1, 20, false);
        }
    }

    pub fn short(&mut self, s: usize, bytes: u32, interrupts: u32) {
        let trouble = &mut self.sites[s].trouble;
        trouble.io_bytes_max = [None, Some(1000), Some(100), Some(17)][bytes as usize];
        trouble.interrupt_every = [None, Some(2), Some(3)][interrupts as usize];
    }

    /// The directory is copied, open or closed, and both go on.
    pub fn copy(&mut self, s: usize, to: usize, open: bool) {
        let (disk, model, down) = if open {
            (self.sites[s].disk.clone_synced(), self.sites[s].model.clone(), Down::Killed)
        } else {
            let down = self.close(s);
            let copied = (self.sites[s].disk.clone_synced(), self.sites[s].model.clone(), down);
            self.open(s, down);
            copied
        };
        let to = if to % SITES_MAX == s { (s + 1) % SITES_MAX } else { to % SITES_MAX };
        self.totals.copies += 1;
        self.settle_in(to, disk, model, down);
    }

    fn settle_in(&mut self, to: usize, disk: SimDisk, model: Model, down: Down) {
        disk.set_capacity(None);
        let site = Site::new(disk, Model { lied: false, ..model });
        let to = if to < self.sites.len() {
            self.sites[to] = site;
            to
        } else {
            self.sites.push(site);
            self.sites.len() - 1
        };
        self.open(to, down);
        self.check(to);
    }

    pub fn backup(&mut self, s: usize) {
        self.backups.push((self.sites[s].disk.clone_synced(), self.sites[s].model.clone()));
        self.totals.copies += 1;
    }

    /// The directory is replaced by an older copy of any of them.
    pub fn restore(&mut self, s: usize, number: usize) {
        if self.backups.is_empty() {
            return;
        }
        let (disk, model) = &self.backups[number % self.backups.len()];
        let (disk, model) = (disk.clone_synced(), model.clone());
        self.let_go(s);
        self.sites[s].trouble = Trouble::default();
        self.settle_in(s, disk, model, Down::Killed);
    }

    /// A disk that lied about its syncs has lost what it lied about. What is still read was appended there: F19. Nothing
    /// else is promised, and somebody begins anew.
    fn bury(&mut self, s: usize) {
        let site = &self.sites[s];
        if let Ok(store) = one_awake(&site.disk, self.mapping).open("/sim") {
            for (name, model) in NAMES.iter().zip(&site.model.topics) {
                let (Ok(topic), Some(model)) = (store.topic(name), model) else { continue };
                for (n, part) in model.parts.iter().enumerate().filter(|_| topic.epoch() == model.epoch) {
                    let Ok(partition) = topic.partition(u32::try_from(n).expect("is small")) else { continue };
                    let Ok(mut reader) = partition.read_from(Start::Earliest) else { continue };
                    while let Ok(records) = reader.read() {
                        if records.is_empty() {
                            break;
                        }
                        for record in &records {
                            let text = record.key().filter(|_| record.value().is_empty()).unwrap_or(record.value());
                            let id = id_in(text).unwrap_or_else(|| panic!("P2, F19: {record:?}"));
                            assert!(part.ever.contains(&id), "P2, F19: record {id} at {}", index(record.offset()));
                        }
                    }
                }
            }
            self.sites[s].disk.stop_after(0);
        }
        let disk = SimDisk::new(self.dice.roll());
        drop(one_awake(&disk, self.mapping).create("/sim").expect("creates"));
        self.settle_in(s, disk, Model::default(), Down::Closed);
    }
}

/// The number that a value or a key says.
fn id_in(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    text.strip_prefix("key-").or_else(|| Some(text.split_once('-')?.0))?.parse().ok()
}
