//! Power loss on real file systems: the image under a mounted one is copied while the writer stands still. What lies in the
//! page cache and was never synced is not in the copy, as it wouldn't be on a disk. F2, F3.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use epochlog::Mapping;
use rustix::process::Signal;

use crate::apart::apart;
use crate::chance::{Chance, seed};
use crate::kill::{CALLS, Listener, check};
use crate::oracle::{Loss, Oracle};
use crate::part::Part;

/// The mounted image, and the one below it.
struct Disk {
    /// Where images are kept.
    beside: PathBuf,
    mounted: PathBuf,
    number: u32,
}

fn run(program: &str, arguments: &[&Path]) {
    let output = Command::new(program).args(arguments).output().expect("runs");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// How much the kernel has written to the device so far, and what it is about to write.
fn written(device: &str) -> String {
    let read = |name: &str| std::fs::read_to_string(format!("/sys/block/{device}/{name}")).expect("reads");
    let stat = read("stat");
    // Writes completed, and sectors written; then what is under way.
    let words: Vec<&str> = stat.split_whitespace().skip(4).step_by(2).take(2).collect();
    format!("{words:?} {}", read("inflight"))
}

impl Disk {
    fn image(&self, number: u32) -> PathBuf {
        self.beside.join(format!("image{number}"))
    }

    /// The loop device under the mounted file system.
    fn device(&self) -> String {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("reads");
        let point = self.mounted.display().to_string();
        let mut lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let line = lines.rfind(|words| words[1] == point).expect("is mounted");
        line[0].trim_start_matches("/dev/").into()
    }

    /// Copies the image as it is at one moment. The kernel's own writing may fall into the copying, and then it is copied
    /// anew. False if it never stands still.
    fn copy(&self) -> bool {
        let (device, new) = (self.device(), self.image(self.number + 1));
        (0..20).any(|_| {
            let before = written(&device);
            run("cp", &[Path::new("--sparse=always"), &self.image(self.number), &new]);
            before == written(&device)
        })
    }

    /// The copy becomes the disk.
    fn replace(&mut self) {
        run("umount", &[&self.mounted]);
        std::fs::remove_file(self.image(self.number)).expect("is removed");
        self.number += 1;
        run("mount", &[Path::new("-o"), Path::new("loop"), &self.image(self.number), &self.mounted]);
    }
}

/// Waits until no thread of the process runs any more, so that what it has told is all that it will have told.
fn stop(writer: &Part) {
    writer.signal(Signal::STOP);
    let task = PathBuf::from(format!("/proc/{}/task", writer.pid().as_raw_nonzero()));
    let is_stopped =
        |stat: &str| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['T', 't', 'Z']));
    loop {
        let threads = std::fs::read_dir(&task).into_iter().flatten().flatten();
        let mut stats = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
        if stats.all(|stat| is_stopped(&stat)) {
            return;
        }
        std::thread::yield_now();
    }
}

/// A child works until it is killed, or until the power goes if there is a disk for that. Gives whether it went.
fn work(
    number: u64,
    chance: &mut Chance,
    path: &Path,
    mapping: Mapping,
    oracle: &mut Oracle,
    disk: Option<&mut Disk>,
) -> bool {
    let mut writer = Part::start(&format!("work {} {} {CALLS}", chance.next(), number << 20), path, mapping);
    let mut listener = Listener::new(oracle);
    listener.listen(&mut writer, 1 + chance.below(600));
    std::thread::sleep(Duration::from_micros(chance.below(3000)));
    let copied = disk.as_ref().is_some_and(|disk| {
        stop(&writer);
        disk.copy()
    });
    writer.signal(Signal::KILL);
    // All of it was told before the moment of the copy: since then the writer has stood still.
    listener.listen(&mut writer, u64::MAX);
    writer.end();
    if let Some(disk) = disk.filter(|_| copied) {
        disk.replace();
    }
    copied
}

fn rounds(system: &str) -> u64 {
    let own = if system == "ext4" { 3 } else { 2 };
    std::env::var("EPOCHLOG_POWER_ROUNDS").map_or(own, |text| text.parse().expect("a number"))
}

fn loses_power_for_many_rounds(disk: &mut Disk, system: &str, mapping: Mapping, own_seed: u64) {
    let (rounds, seed, began) = (rounds(system), seed(own_seed), Instant::now());
    let path = disk.mounted.join(format!("{mapping:?}"));
    let (mut chance, mut oracle) = (Chance::new(seed), Oracle::default());
    let (mut cuts, mut kills) = (0, 0);
    for number in 0..rounds {
        // Killed once or twice before the power goes: what a recovery has shown must be durable by then.
        while chance.once_in(2) {
            work(number * 64 + kills % 63, &mut chance, &path, mapping, &mut oracle, None);
            kills += 1;
        }
        let cut = work(number * 64 + 63, &mut chance, &path, mapping, &mut oracle, Some(disk));
        let (loss, took) = if cut { (Loss::Power, 1) } else { (Loss::Kill, 0) };
        cuts += took;
        let checked = check(&path, mapping, &mut oracle, loss);
        checked.unwrap_or_else(|story| panic!("{system}, {mapping:?}, EPOCHLOG_SEED={seed}, round {number}: {story}"));
    }
    let acknowledged = oracle.acknowledged;
    println!(
        "- {system}, {mapping:?}: {cuts} power cuts, {kills} kills, {acknowledged} appends acknowledged, \
         EPOCHLOG_SEED={seed}, {:?}",
        began.elapsed()
    );
    assert!(cuts * 2 >= rounds, "the disk hardly ever stood still");
}

/// Makes an image of so many MiB with a file system, and mounts it.
fn on(system: &str, mib: u32, name: &str, seed: u64) {
    let make = if system == "ext4" { "mkfs.ext4 -q".into() } else { format!("mkfs.{system} -q") };
    let mount =
        format!("truncate -s {mib}M \"$0\"/image0 && {make} \"$0\"/image0 && mount -o loop \"$0\"/image0 \"$1\"");
    apart(name, &mount, 2 * rounds(system), |dir| {
        let beside = dir.parent().expect("has a parent").to_path_buf();
        let mut disk = Disk { beside, mounted: dir.into(), number: 0 };
        loses_power_for_many_rounds(&mut disk, system, Mapping::Auto, seed);
        loses_power_for_many_rounds(&mut disk, system, Mapping::Never, seed + 1);
    });
}

#[test]
fn what_ext4_was_made_to_sync_survives_the_power() {
    on("ext4", 64, "power::what_ext4_was_made_to_sync_survives_the_power", 10);
}

#[test]
fn what_xfs_was_made_to_sync_survives_the_power() {
    on("xfs", 300, "power::what_xfs_was_made_to_sync_survives_the_power", 20);
}

#[test]
fn what_btrfs_was_made_to_sync_survives_the_power() {
    on("btrfs", 256, "power::what_btrfs_was_made_to_sync_survives_the_power", 30);
}
