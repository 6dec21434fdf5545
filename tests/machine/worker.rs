//! What a child does to its store, told call by call.

use std::time::Duration;

use epochlog::{AppendOptions, Durability, Error, Offset, Partition, Place, Record, Start, Store, Topic, TopicOptions};

use crate::chance::Chance;
use crate::look::{GROUP, TOPICS, look, open, tell};
use crate::part::Stage;
use crate::report::{Call, Line, NUMBER_LEN_MAX, Refusal, Reporter, value_of};

/// One topic's worker: it alone makes the calls to that topic, so that their order is known.
pub struct Worker<'a> {
    pub store: &'a Store,
    pub name: &'static str,
    pub out: &'a Reporter,
    /// The number of the next record.
    pub next: u64,
}

pub fn options_of(name: &str) -> TopicOptions {
    match name {
        "a" => TopicOptions::new().partitions(2).segment_bytes_max(4096),
        "b" => TopicOptions::new().segment_bytes_max(16 << 10).durability(Durability::Written),
        _ => TopicOptions::new().partitions(3).segment_bytes_max(4096).retention_bytes(12 << 10),
    }
}

fn durability_of(durable: bool) -> AppendOptions {
    AppendOptions::new().durability(if durable { Durability::Durable } else { Durability::Written })
}

impl Worker<'_> {
    /// Tells a call, makes it, and tells what came of it.
    fn told(&self, call: Call, make: impl FnOnce() -> Result<Option<Place>, Error>) -> bool {
        self.out.tell(&Line::Try(self.name.into(), call));
        match make() {
            Ok(place) => {
                self.out.tell(&Line::Done(self.name.into(), place));
                true
            }
            Err(error) => {
                self.out.tell(&Line::Refused(self.name.into(), Refusal::of(&error)));
                false
            }
        }
    }

    fn denied(&self, error: &Error) {
        self.out.tell(&Line::Denied(self.name.into(), Refusal::of(error)));
    }

    pub fn topic(&self) -> Result<Topic, Error> {
        self.store.topic(self.name)
    }

    pub fn partition(&self, number: u32) -> Result<Partition, Error> {
        self.topic()?.partition(number)
    }

    pub fn create(&self) {
        let options = options_of(self.name);
        let durable = options.get_durability() == Durability::Durable;
        let retains = options.get_retention().bytes.is_some();
        let call = Call::Create { partitions: options.get_partitions(), durable, retains };
        self.told(call, || self.store.create_topic(self.name, options).map(|_| None));
    }

    pub fn delete(&self) {
        self.told(Call::Delete, || self.store.delete_topic(self.name).map(|()| None));
    }

    pub fn append(&mut self, partition: u32, count: u64, len: usize, durable: bool) {
        let first = self.next;
        self.next += count;
        let len = len.max(NUMBER_LEN_MAX);
        let values: Vec<Vec<u8>> = (first..self.next).map(|id| value_of(id, len)).collect();
        let records: Vec<Record<'_>> = values.iter().map(Record::new).collect();
        self.told(Call::Append { partition, first, count, len, durable }, || {
            let ack = self.partition(partition)?.append_batch_with(&records, durability_of(durable))?;
            Ok(Some(ack.next()))
        });
        self.tell_start(partition);
    }

    /// Where it begins: a roll may have retired what was there.
    fn tell_start(&self, partition: u32) {
        let start = self.partition(partition).map_or(0, |partition| partition.start().get());
        if start > 0 {
            self.out.tell(&Line::Begins(self.name.into(), partition, start));
        }
    }

    pub fn sync(&self, partition: u32) {
        self.told(Call::Sync { partition }, || self.partition(partition)?.sync().map(|()| None));
    }

    /// Takes the oldest records away, at most so many.
    pub fn trim(&self, partition: u32, count: u64) {
        let Some(log) = self.reached(partition) else { return };
        let to = log.start().plus(count).min(log.end());
        self.told(Call::Trim { partition, to: to.get() }, || log.trim(to).map(|()| None));
    }

    /// Takes the newest records back, at most so many.
    pub fn truncate(&self, partition: u32, count: u64) {
        let Some(log) = self.reached(partition) else { return };
        let to = Offset::new(log.end().get().saturating_sub(count)).max(log.start());
        self.told(Call::Truncate { partition, to: to.get() }, || log.truncate(to).map(|()| None));
    }

    fn reached(&self, partition: u32) -> Option<Partition> {
        self.partition(partition).map_err(|error| self.denied(&error)).ok()
    }

    /// Reads a little and tells where a reader would go on.
    pub fn hand(&self, partition: u32, skip: u64) {
        let Some(log) = self.reached(partition) else { return };
        let skip = skip.min(log.end().since(log.start()));
        let read = || {
            let mut reader = log.read_from(Start::FromBeginning(skip))?.bytes_max(1);
            reader.read()?;
            Ok(reader.place())
        };
        match read() {
            Ok(place) => self.out.tell(&Line::Handed(self.name.into(), place)),
            Err(error) => self.denied(&error),
        }
    }

    /// A consumer reads on, about so many bytes, and commits; where its commit is gone it begins anew.
    pub fn commit(&self, partition: u32, bytes: usize) {
        let Some(log) = self.reached(partition) else { return };
        let begin = match log.place_at(log.start()) {
            Ok(place) => place,
            Err(error) => return self.denied(&error),
        };
        let mut consumer = None;
        let begun = self.told(Call::Begin(begin), || {
            let mut opened = self.topic()?.consumer(GROUP).partitions(&[partition]).bytes_max(bytes).open()?;
            match opened.poll(Duration::ZERO) {
                Err(Error::Diverged { .. } | Error::OffsetOutOfRange { .. }) => {
                    opened.seek(partition, Start::Earliest)?;
                    opened.poll(Duration::ZERO)?;
                }
                other => drop(other?),
            }
            consumer = Some(opened);
            Ok(None)
        });
        if let Some(mut consumer) = consumer.filter(|_| begun) {
            let place = consumer.places()[0];
            self.told(Call::Commit(place), || consumer.commit().map(|()| None));
        }
    }

    pub fn maintain(&self) {
        if let Err(error) = self.store.maintain() {
            self.denied(&error);
        }
        let partitions = self.topic().map_or(0, |topic| topic.partitions());
        (0..partitions).for_each(|partition| self.tell_start(partition));
    }

    /// One call, whichever comes.
    fn anything(&mut self, chance: &mut Chance) {
        if self.topic().is_err() {
            return self.create();
        }
        let partition = chance.below(u64::from(options_of(self.name).get_partitions())) as u32;
        match chance.below(200) {
            0..=119 => {
                let count = if chance.once_in(3) { 1 + chance.below(12) } else { 1 };
                let most = if chance.once_in(8) { 3000 / count } else { 120 };
                let len = 10 + chance.below(most) as usize;
                self.append(partition, count, len, chance.below(5) < 2);
            }
            120..=131 => self.sync(partition),
            132..=139 => self.trim(partition, 1 + chance.below(30)),
            140..=149 => self.truncate(partition, 1 + chance.below(12)),
            150..=171 => self.commit(partition, 1 << chance.below(12)),
            172..=185 => self.hand(partition, chance.below(100)),
            186..=195 if self.name == "c" => self.maintain(),
            196..=197 => {
                self.delete();
                self.create();
            }
            _ => self.append(partition, 1, 40, false),
        }
    }
}

/// Opens, tells what is there, and works on all topics at once: seed, first number, calls for each topic.
pub fn work(stage: &Stage) {
    let store = open(&stage.path, stage.mapping).expect("P11: opens");
    let out = &stage.reporter;
    out.tell(&Line::Ready);
    tell(&look(&store).unwrap_or_else(|story| panic!("{story}")), out);
    let (mut chance, first, calls) = (Chance::new(stage.number(0)), stage.number(1), stage.number(2));
    std::thread::scope(|scope| {
        for (i, name) in TOPICS.iter().enumerate() {
            let (mut chance, store) = (chance.branch(), &store);
            let mut worker = Worker { store, name, out, next: first + (i as u64) * calls * 16 };
            scope.spawn(move || (0..calls).for_each(|_| worker.anything(&mut chance)));
        }
    });
    out.tell(&Line::Try("-".into(), Call::Close));
    store.close().expect("closes");
    out.tell(&Line::Done("-".into(), None));
    out.tell(&Line::Bye);
}
