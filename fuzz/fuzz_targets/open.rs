//! Any directory opened as a store: a valid small one that the input damages, or files that the input invents.
//!
//! Whatever comes of it, it is an error or a store that can be read, consumed, written and closed; nothing panics, hangs
//! or takes more memory than libFuzzer is told to allow.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use epochlog::testing::{Image, SimDisk};
use epochlog::{
    AppendOptions, Durability, Error, Mapping, Offset, Partition, Reader, Start, Store, StoreOptions, TopicOptions,
};
use libfuzzer_sys::fuzz_target;

/// No input of libFuzzer's usual size makes a store that needs more steps than this to be read.
const STEPS_MAX: usize = 10_000;

/// Two topics with a few segments each: closed cleanly, and as a kill leaves them.
static STORES: LazyLock<[Image; 2]> = LazyLock::new(|| [filled(true), filled(false)]);

fuzz_target!(|input: &[u8]| {
    let mut bytes = Bytes(input);
    let flags = bytes.byte();
    let mapping = if flags & 1 == 0 { Mapping::Auto } else { Mapping::Never };
    let disk = STORES[usize::from(flags >> 1 & 1)].after_kill();
    while !bytes.0.is_empty() {
        harm(&disk, &mut bytes);
    }
    let options = StoreOptions::new().mapping(mapping).seam(disk.seam());
    if flags & 4 == 0 {
        visit(options.clone().open_read_only("/sim"), false);
    }
    visit(options.clone().open("/sim"), flags & 8 == 0);
    visit(options.open("/sim"), false);
});

fn filled(close: bool) -> Image {
    let disk = SimDisk::new(7);
    let store = StoreOptions::new().seam(disk.seam()).create("/sim").expect("creates");
    for name in ["orders", "cloud-command"] {
        let options = TopicOptions::new().segment_bytes_max(1024).partitions(2).durability(Durability::Written);
        let topic = store.create_topic(name, options).expect("creates");
        let partition = topic.partition(0).expect("has two");
        for i in 0..30 {
            let value = format!("value {i} of {name}");
            partition.append(epochlog::Record::new(&value).key("key")).expect("appends");
        }
        let mut consumer = topic.consumer("billing").start(Start::Earliest).open().expect("opens");
        consumer.poll(Duration::ZERO).expect("polls");
        consumer.commit().expect("commits");
        if name == "orders" {
            topic.sync().expect("syncs");
            partition.truncate(Offset::new(27)).expect("truncates");
            partition.trim(Offset::new(3)).expect("trims");
            partition.append("behind the cut").expect("appends");
        }
    }
    if close {
        store.close().expect("closes");
        return disk.image();
    }
    disk.image()
}

/// One change that the input chooses.
fn harm(disk: &SimDisk, bytes: &mut Bytes<'_>) {
    let files = disk.files();
    let (kind, which) = (bytes.byte(), usize::from(bytes.byte()));
    let Some(path) = files.get(which % files.len().max(1)).cloned() else {
        disk.write(bytes.path(), bytes.rest());
        return;
    };
    match kind % 8 {
        0 => overwrite(disk, &path, bytes),
        1 => {
            let at = bytes.position(disk.read(&path).len());
            disk.truncate(&path, at);
        }
        2 => disk.remove(&path),
        3 => disk.copy(&path, &files[usize::from(bytes.byte()) % files.len()]),
        4 => {
            let at = bytes.position(disk.read(&path).len() * 8);
            if at < disk.read(&path).len() * 8 {
                disk.flip(&path, at as u64);
            }
        }
        5 => {
            let mut doubled = disk.read(&path);
            let at = bytes.position(doubled.len());
            doubled.extend_from_within(at..);
            disk.write(&path, doubled);
        }
        6 => {
            let content = bytes.some();
            disk.write(&path, content);
        }
        _ => {
            let target = bytes.path();
            let content = disk.read(&path);
            if can_hold(&files, &target) {
                disk.write(target, content);
            }
        }
    }
}

fn overwrite(disk: &SimDisk, path: &PathBuf, bytes: &mut Bytes<'_>) {
    let mut content = disk.read(path);
    let at = bytes.position(content.len());
    let new = bytes.some();
    let end = (at + new.len()).min(content.len());
    content[at..end].copy_from_slice(&new[..end - at]);
    disk.write(path, content);
}

/// No file can be a directory too.
fn can_hold(files: &[PathBuf], target: &PathBuf) -> bool {
    !files.iter().any(|file| target.starts_with(file) || file.starts_with(target))
}

/// Reads, consumes, looks, and writes if it may, whatever was opened.
fn visit(opened: Result<Store, Error>, write: bool) {
    let Ok(store) = opened else { return };
    let _told = format!("{} {:?}", store.recovery(), store.recovery());
    for name in store.topics().unwrap_or_default() {
        let Ok(topic) = store.topic(name.as_str()) else { continue };
        let _groups = topic.groups();
        for number in 0..topic.partitions().min(4) {
            if let Ok(partition) = topic.partition(number) {
                read(&partition);
                if write {
                    let durable = AppendOptions::new().durability(Durability::Durable);
                    let _refused = partition.append_with("more", durable);
                }
            }
        }
        consume(&topic);
    }
    let _maintained = store.maintain();
    let _closed = store.close();
}

fn read(partition: &Partition) {
    let _facts = (partition.lineage(), partition.segments(), partition.bytes());
    if let Ok(mut reader) = partition.read_from(Start::Earliest) {
        drain(&mut reader);
    }
    for offset in [partition.start(), Offset::new(partition.end().get() / 2), Offset::new(u64::MAX)] {
        let _record = partition.get(offset).map(|records| touch(&records));
    }
    let _found = partition.offset_at(epochlog::Timestamp::from_millis(1_700_000_000_000));
}

/// Reads on behind whatever is damaged, as a person would.
fn drain(reader: &mut Reader) {
    for _ in 0..STEPS_MAX {
        match reader.read() {
            Ok(records) if records.is_empty() => return,
            Ok(records) => touch(&records),
            Err(Error::Corrupt(corruption)) => {
                let Some(offsets) = corruption.offsets.clone() else { return };
                if reader.seek(Start::At(offsets.end)).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
    panic!("reading comes to an end");
}

fn touch(records: &epochlog::Records) {
    assert_eq!(records.iter().count(), records.len(), "there are as many records as they say");
    for record in records {
        let _parts = (record.key(), record.value().len(), record.headers().count(), record.next(), record.timestamp());
    }
}

fn consume(topic: &epochlog::Topic) {
    let Ok(mut consumer) = topic.consumer("billing").start(Start::Earliest).open() else { return };
    for _ in 0..8 {
        if let Ok(records) = consumer.poll(Duration::ZERO) {
            touch(&records);
        }
    }
    let _committed = consumer.commit();
}

/// What the input still has to say; zeros when it has nothing more.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    /// A position within a length, the end included.
    fn position(&mut self, len: usize) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()])) % (len + 1)
    }

    /// As many bytes as the next one says.
    fn some(&mut self) -> &'a [u8] {
        let n = usize::from(self.byte()).min(self.0.len());
        let (some, rest) = self.0.split_at(n);
        self.0 = rest;
        some
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// A path where the engine might look.
    fn path(&mut self) -> PathBuf {
        let dirs = ["", "topics", "topics/orders@9", "topics/orders@1/0", "topics/cloud-command@2/1", "trash", "quarantine"];
        let names = [
            "STORE", "LOCK", "topic", "commits", "history", "00000000000000000000@1.log", "00000000000000000003@3.index",
            "00000000000000000027@99.log", "@", ".new-x", "18446744073709551615@18446744073709551615.log",
        ];
        let (dir, name) = (usize::from(self.byte()), usize::from(self.byte()));
        PathBuf::from(dirs[dir % dirs.len()]).join(names[name % names.len()])
    }
}
