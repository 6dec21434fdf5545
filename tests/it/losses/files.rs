//! Files that a crash, a later version or another process left: what is read of them, and that nothing is changed.

use epochlog::Durability::Durable;
use epochlog::OnDamage;

use super::*;

#[test]
fn a_read_only_open_changes_nothing_not_even_what_a_crash_left() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let topic = world.topic("orders");
        pile(&world.partition(), 3, Durable);
        let mut consumer = topic.consumer("billing").open().expect("opens");
        consumer.poll(AT_ONCE).expect("polls");
        consumer.commit().expect("commits");
        drop((consumer, topic));
        world.go_down(Image::after_kill);
        world.disk.write("topics/.new-more@9/topic", b"begun");
        let before = tree(&world.disk);
        let store = options(&world.disk, mapping).open_read_only("/sim").expect("opens");
        assert_eq!(shown(&store), (0, heavies(0..3)));
        store.topic("orders").and_then(|topic| topic.group("billing")).expect("is there");
        store.close().expect("closes");
        assert!(tree(&world.disk) == before, "{:?}", world.disk.files());
    });
}

/// The checksum of some bytes at a position of a file, seeded by the file's header.
fn checksum(file: &[u8], position: usize, covered: &[u8]) -> [u8; 4] {
    let seed = crc32fast::hash(&[&file[8..9], &file[16..68], &file[72..80]].concat());
    let mut hasher = crc32fast::Hasher::new_with_initial(seed ^ u32::try_from(position).expect("is small"));
    hasher.update(covered);
    hasher.finalize().to_le_bytes()
}

/// Changes the header of the batch at a position, and makes its checksum agree.
fn reseal_batch(disk: &SimDisk, path: &Path, position: usize, change: impl FnOnce(&mut [u8])) {
    let mut bytes = disk.read(path);
    change(&mut bytes[position..position + 46]);
    let agreed = checksum(&bytes, position, &bytes[position + 4..position + 46]);
    bytes[position..position + 4].copy_from_slice(&agreed);
    disk.write(path, bytes);
}

/// Writes a file that holds one line, with a checksum that agrees.
fn write_line(disk: &SimDisk, path: &Path, entries: &[u8]) {
    let mut bytes = disk.read(path);
    bytes.truncate(96);
    bytes.extend([0; 13]);
    bytes[100] = u8::try_from(entries.len()).expect("is short");
    bytes.extend(entries);
    let agreed = checksum(&bytes, 96, &bytes[100..]);
    bytes[96..100].copy_from_slice(&agreed);
    disk.write(path, bytes);
}

/// Changes the first line of a history that begins with an entry of this type, and makes its checksum agree.
pub fn reseal_line(disk: &SimDisk, path: &Path, kind: u8, change: impl FnOnce(&mut [u8])) {
    let mut bytes = disk.read(path);
    let end = |at: usize| at + 13 + u32::from_le_bytes(bytes[at + 4..at + 8].try_into().expect("is there")) as usize;
    let at = std::iter::successors(Some(96), |&at| Some(end(at))).find(|&at| bytes[at + 13] == kind).expect("is there");
    let line = at + 13..end(at);
    change(&mut bytes[line.clone()]);
    let agreed = checksum(&bytes, at, &bytes[at + 4..line.end]);
    bytes[at..at + 4].copy_from_slice(&agreed);
    disk.write(path, bytes);
}

/// Changes the first entry of an index, and makes its checksum agree.
fn reseal_entry(disk: &SimDisk, path: &Path, change: impl FnOnce(&mut [u8])) {
    let mut bytes = disk.read(path);
    change(&mut bytes[96..112]);
    let agreed = checksum(&bytes, 96, &bytes[96..112]);
    bytes[112..116].copy_from_slice(&agreed);
    disk.write(path, bytes);
}

/// A closed store of so many records, and whose history goes on like that behind its first line.
fn with_history(mapping: Mapping, records: u64, goes_on: impl FnOnce(&[u8]) -> Vec<u8>) -> World {
    let mut world = world(mapping);
    fill(&world.partition(), "v", records);
    world.close();
    let history = file(&world.disk, "history");
    let line = world.disk.read(&history)[96 + 13..].to_vec();
    let created = &line[..2 + usize::from(line[1])];
    write_line(&world.disk, &history, &[created, &goes_on(created)].concat());
    world
}

/// A history that tells of nothing but a start and an end which no append comes to.
fn begun_where_the_offsets_end(mapping: Mapping, records: u64) -> World {
    let last = (u64::MAX - 1).to_le_bytes();
    with_history(mapping, records, |_| [&[2, 8], &last[..], &[5, 8], &last].concat())
}

#[test]
fn no_append_begins_where_the_offsets_end() {
    both_ways(|mapping| {
        let mut world = begun_where_the_offsets_end(mapping, 0);
        world.open();
        let refusal =
            the_partition(world.store()).and_then(|partition| partition.append_batch(&["a", "b"].map(record)));
        assert!(matches!(refusal, Err(Error::Corrupt(_))), "{refusal:?}");
    });
}

#[test]
fn an_end_up_to_which_no_segment_is_named_is_damage() {
    both_ways(|mapping| {
        let end = 50_u64.to_le_bytes();
        let mut world = with_history(mapping, 0, |created| {
            // The next epoch, of a session that began at the end.
            let mut epoch = created.to_vec();
            epoch[2] += 1;
            epoch[18..26].copy_from_slice(&end);
            epoch[26] = 1;
            [&epoch[..], &[5, 8], &end].concat()
        });
        world.open();
        let Error::Corrupt(refusal) = refused(the_partition(world.store())) else { panic!("isn't refused as damage") };
        assert_eq!((refusal.what, refusal.offsets.map(|offsets| offsets.end.get())), ("records", Some(50)));
    });
}

#[test]
fn a_repair_tells_no_history_anew_by_where_the_offsets_end() {
    both_ways(|mapping| {
        for beside in [false, true] {
            let mut world = begun_where_the_offsets_end(mapping, 200);
            if beside {
                let log = file(&world.disk, ".log");
                let mut bytes = world.disk.read(&log);
                bytes[72..80].copy_from_slice(&(1_u64 << 63).to_le_bytes());
                let agreed = crc32fast::hash(&bytes[..92]);
                bytes[92..96].copy_from_slice(&agreed.to_le_bytes());
                let name = log.file_name().and_then(|name| name.to_str()).expect("has a name");
                world.disk.write(log.with_file_name(format!("{:020}{}", 1_u64 << 63, &name[20..])), bytes);
            }
            let repair = || options(&world.disk, mapping).repair("/sim", OnDamage::Keep).expect("plans");
            let planned = repair();
            assert_eq!(planned.plan().steps.len(), 1, "{}", planned.plan());
            let report = planned.apply().expect("repairs");
            assert_eq!(report.quarantined.len(), 1 + usize::from(beside), "{:?}", report.quarantined);
            assert!(repair().plan().is_empty(), "{}", repair().plan());
            world.open();
            assert_eq!(shown(world.store()), (0, numbered("v", 0..200)));
        }
    });
}

#[test]
fn what_a_later_version_wrote_is_told_apart_from_damage_beside_it() {
    let mut world = world(Mapping::Never);
    pile(&world.partition(), 8, Durable);
    world.close();
    let log = file(&world.disk, "00000000000000000000@");
    let batch = |n: usize| 96 + n * (46 + HEAVY_BYTES + 3);
    world.disk.flip(&log, (batch(0) as u64 + 60) * 8);
    reseal_batch(&world.disk, &log, batch(1), |header| header[44] = 1);
    world.disk.flip(&log, (batch(2) as u64 + 60) * 8);
    let planned = options(&world.disk, Mapping::Never).repair("/sim", OnDamage::Keep).expect("plans");
    let told: Vec<_> =
        planned.plan().steps.iter().map(|step| matches!(step.problem, Error::UnsupportedVersion { .. })).collect();
    assert_eq!(told, [false, true, false], "{}", planned.plan());
}

/// Where the second of the heavy records stands.
const SECOND: usize = 96 + 46 + HEAVY_BYTES + 3;

#[test]
fn a_batch_of_a_later_version_in_a_tail_is_never_cut() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        pile(&world.partition(), 2, Durable);
        world.go_down(Image::after_kill);
        let log = file(&world.disk, ".log");
        reseal_batch(&world.disk, &log, SECOND, |header| header[44] = 1);
        let reading = options(&world.disk, mapping).open_read_only("/sim").expect("opens");
        let found = epochlog::inspect::verify(&reading, &mut |_| {}).expect("verifies").damage;
        assert!(matches!(&found[..], [one] if matches!(one.error, Error::UnsupportedVersion { .. })), "{found:?}");
        world.open();
        let refusal = the_partition(world.store()).map(|partition| partition.end());
        assert!(matches!(refusal, Err(Error::UnsupportedVersion { .. })), "{refusal:?}");
        assert_eq!(quarantine(&world.disk), Vec::<PathBuf>::new());
    });
}

/// Opens it for reading, harms a file of it, and verifies; gives what is damaged then, and why an open is refused.
fn damage_to(world: &mut World, harm: impl FnOnce(&SimDisk)) -> (Vec<Error>, Error) {
    world.close();
    let reading = options(&world.disk, world.mapping).open_read_only("/sim").expect("opens");
    harm(&world.disk);
    let found = epochlog::inspect::verify(&reading, &mut |_| {}).expect("verifies").damage;
    let opened = options(&world.disk, world.mapping).open("/sim").and_then(|store| store.topic("orders")?.groups());
    (found.into_iter().map(|damaged| damaged.error).collect(), refused(opened))
}

#[test]
fn what_an_open_refuses_of_the_stores_file_a_topics_or_its_commits_is_damage_to_verify() {
    let harms: [fn(&SimDisk); 5] = [
        |disk| disk.flip("STORE", 8 * (96 + 14)),
        |disk| disk.truncate("STORE", (1 << 16) + 1),
        |disk| disk.flip("topics/orders@1/topic", 8 * (96 + 14)),
        |disk| disk.truncate("topics/orders@1/topic", (1 << 20) + 1),
        // A clean close says nothing of groups.
        |disk| write_line(disk, Path::new("topics/orders@1/commits"), &[5, 8, 0, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (i, harm) in harms.into_iter().enumerate() {
        let mut world = world(Mapping::Never);
        pile(&world.partition(), 1, Durable);
        let (found, refusal) = damage_to(&mut world, harm);
        let [damage] = &found[..] else { panic!("{i}: {found:?} for {refusal}") };
        assert_eq!(damage.to_string(), refusal.to_string(), "{i}");
    }
}

#[test]
fn a_valid_batch_that_skips_an_offset_is_no_part_of_the_log() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        pile(&world.partition(), 1, Durable);
        pile(&world.partition(), 1, epochlog::Durability::Written);
        world.go_down(Image::after_kill);
        let log = file(&world.disk, ".log");
        reseal_batch(&world.disk, &log, SECOND, |header| header[12] += 1);
        world.open();
        assert_eq!(all(&world.partition()), heavies(0..1));
    });
}

#[test]
fn an_index_that_lies_under_a_valid_checksum_changes_no_answer() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let topic = world.store().create_topic("orders", epochlog::TopicOptions::new()).expect("creates");
        fill(&topic.partition(0).expect("is there"), "v", 200);
        drop(topic);
        world.close();
        reseal_entry(&world.disk, &file(&world.disk, ".index"), |entry| entry[0] += 1);
        world.open();
        for offset in 0..200 {
            let found = world.partition().get(epochlog::Offset::new(offset)).expect("reads");
            assert_eq!(values(&found), numbered("v", offset..offset + 1));
        }
    });
}
