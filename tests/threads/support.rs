//! A store on a simulated disk, threads of the model, and how many orders of theirs are tried.

use std::time::Duration;

use epochlog::testing::SimDisk;
use epochlog::{
    AppendOptions, Durability, Error, Mapping, Partition, Reader, Start, Store, StoreOptions, TopicOptions,
};

/// Long enough that it never passes; a model has no time.
pub const FOR_EVER: Duration = Duration::from_secs(1 << 20);
const SCHEDULES: usize = 1000;
/// How many preemptions the second kind of search puts where they may hurt.
const DEPTH: usize = 3;

/// Runs a race in many orders: at random, and by priorities with a few changes, which finds rare ones. Both ways of
/// writing files take turns.
pub fn race(race: impl Fn(&World) + Send + Sync + Clone + 'static) {
    let schedules = std::env::var("EPOCHLOG_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(SCHEDULES);
    for mapping in [Mapping::Auto, Mapping::Never] {
        let (one, two) = (race.clone(), race.clone());
        shuttle::check_random(move || one(&World::new(mapping)), schedules / 4);
        shuttle::check_pct(move || two(&World::new(mapping)), schedules / 4, DEPTH);
    }
}

pub struct World {
    pub disk: SimDisk,
    pub store: Store,
    mapping: Mapping,
}

impl World {
    fn new(mapping: Mapping) -> World {
        let disk = SimDisk::new(7);
        let store = options(&disk, mapping).create("/sim").expect("creates");
        World { disk, store, mapping }
    }

    pub fn partition(&self) -> Partition {
        let topic = TopicOptions::new().segment_bytes_max(1024);
        self.store.topic_or_create("orders", topic).expect("is there").partition(0).expect("is there")
    }

    /// Opens what a power cut leaves now.
    pub fn after_power_cut(&self) -> Store {
        let disk = self.disk.image().after(epochlog::testing::Loss::All);
        options(&disk, self.mapping).open("/sim").expect("opens")
    }
}

fn options(disk: &SimDisk, mapping: Mapping) -> StoreOptions {
    // One partition is awake at a time: where there are two, each keeps closing the files of the other.
    StoreOptions::new().mapping(mapping).open_partitions_max(1).seam(disk.seam())
}

pub fn written() -> AppendOptions {
    AppendOptions::new().durability(Durability::Written)
}

/// Appends records whose values are these.
pub fn scribble(partition: &Partition, values: &[&str]) {
    for value in values {
        partition.append_with(*value, written()).expect("appends");
    }
}

pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> shuttle::thread::JoinHandle<T> {
    shuttle::thread::spawn(work)
}

/// What there is to read now, from the start on.
pub fn values(partition: &Partition) -> Vec<String> {
    let mut reader = partition.read_from(Start::Earliest).expect("is there");
    let mut values = Vec::new();
    while let Some(more) = next(&mut reader, Duration::ZERO).expect("reads") {
        values.extend(more);
    }
    values
}

/// The next values, or none at the end.
pub fn next(reader: &mut Reader, wait: Duration) -> Result<Option<Vec<String>>, Error> {
    let records = reader.poll(wait)?;
    let values = records.iter().map(|record| String::from_utf8_lossy(record.value()).into_owned());
    Ok(Some(values.collect()).filter(|values: &Vec<String>| !values.is_empty()))
}
