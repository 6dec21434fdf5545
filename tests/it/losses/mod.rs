//! The promises of the crash explorer in the small: few calls, every moment within them, every single thing that a power
//! cut can lose there. Each is quick enough to be asked of every planted bug (`tests/planted`).

mod files;
mod moments;
mod overtaken;
mod recovery;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use epochlog::testing::{Image, Loss, SimDisk};
use epochlog::{Durability, Error, Mapping, Partition, Record, Start, Store};

use crate::support::*;

/// Longer than a sector, so that a batch can be torn and its neighbours stay whole.
const HEAVY_BYTES: usize = 1200;

fn heavy(n: u64) -> String {
    format!("{n:0HEAVY_BYTES$}")
}

fn heavies(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(heavy).collect()
}

/// Appends so many heavy records, three of which fit a segment.
fn pile(partition: &Partition, count: u64, durability: Durability) {
    for _ in 0..count {
        let value = heavy(partition.end().get());
        let options = epochlog::AppendOptions::new().durability(durability);
        partition.append_with(&value, options).expect("appends");
    }
}

/// What a crash finds, and how many records were durable then.
struct Moment {
    at: String,
    image: Image,
    durable: u64,
}

/// The moment before each operation within some calls, and the one after them.
fn moments(disk: &SimDisk, partition: Option<&Partition>, calls: impl FnOnce()) -> Vec<Moment> {
    let film = Arc::new(Mutex::new(Vec::new()));
    let (reel, watched) = (film.clone(), partition.cloned());
    let durable_of = |partition: &Option<Partition>| partition.as_ref().map_or(0, |one| one.durable_end().get());
    disk.on_operation(Box::new(move |operation| {
        let at = format!("operation {} `{}` on `{}`", operation.number, operation.name, operation.path.display());
        let durable = durable_of(&watched);
        reel.lock().expect("is whole").push(Moment { at, image: operation.image(), durable });
    }));
    calls();
    disk.on_operation(Box::new(|_| {}));
    let mut film = std::mem::take(&mut *film.lock().expect("is whole"));
    film.push(Moment { at: "the end".into(), image: disk.image(), durable: durable_of(&partition.cloned()) });
    film
}

impl Moment {
    /// Looks at every disk that a loss of everything, of nothing, or of all but or only one sector or name can leave.
    fn each_loss(&self, mut look: impl FnMut(&str, SimDisk)) {
        let image = self.image.clone().by_sector();
        let singles = (0..image.pending().len()).flat_map(|i| [Loss::Only(i), Loss::AllBut(i)]);
        for loss in [Loss::None, Loss::All].into_iter().chain(singles) {
            look(&format!("{}, {loss:?}", self.at), image.after(loss));
        }
        look(&format!("{}, killed", self.at), image.after_kill());
    }
}

fn open(disk: &SimDisk, mapping: Mapping) -> Store {
    options(disk, mapping).open("/sim").expect("opens")
}

fn the_partition(store: &Store) -> Result<Partition, Error> {
    store.topic("orders")?.partition(0)
}

/// The newest file whose path contains this text.
fn file(disk: &SimDisk, part_of_path: &str) -> PathBuf {
    let found = disk.files().into_iter().rfind(|path| path.to_string_lossy().contains(part_of_path));
    found.unwrap_or_else(|| panic!("no file like `{part_of_path}` in {:?}", disk.files()))
}

/// What is kept aside.
fn quarantine(disk: &SimDisk) -> Vec<PathBuf> {
    disk.files().into_iter().filter(|path| path.starts_with("quarantine")).collect()
}

fn record_of(value: &str) -> Record<'_> {
    Record::new(value)
}

fn is_in(path: &Path, dir: &str) -> bool {
    path.starts_with(dir)
}

/// What a store shows of the log: where it begins, and its records.
fn shown(store: &Store) -> (u64, Vec<String>) {
    let partition = the_partition(store).expect("opens");
    let mut reader = partition.read_from(Start::Earliest).expect("begins");
    (partition.start().get(), drain(&mut reader))
}
