//! Damage: found, named with file, position and offsets, and gone around.

use std::path::Path;

use crate::support::{Data, store};

/// The length of a file's header, where the first batch begins.
const FIRST_BATCH: usize = 96;

/// Changes one byte.
fn flip(path: &Path, position: usize) {
    let mut bytes = std::fs::read(path).expect("a file");
    bytes[position] ^= 0x40;
    std::fs::write(path, bytes).expect("a file");
}

/// One topic whose one segment holds nine batches of one record; all of them as long.
fn nine_batches() -> (Data, usize) {
    let data = store();
    data.run("topic create orders").ok();
    let lines: Vec<String> = (0..9).map(|i| format!("value {i}")).collect();
    data.run_with("produce orders --batch 1", lines.join("\n").as_bytes()).ok();
    let length = std::fs::metadata(&data.segments()[0]).expect("a segment").len();
    (data, (usize::try_from(length).expect("is small") - FIRST_BATCH) / 9)
}

#[test]
fn a_flipped_byte_is_named_with_file_position_and_offsets() {
    let (data, batch) = nine_batches();
    assert!(data.run("verify").ok().out.ends_with("nothing is damaged\n"));
    let (segment, position) = (data.segments().remove(0), FIRST_BATCH + 4 * batch);
    flip(&segment, position + batch - 1);
    let found = data.run("verify");
    assert_eq!(found.code, 1, "{found:?}");
    let named = format!("corrupt batch in `{}` at position {position}, offsets 4..5: checksum 0x", segment.display());
    assert!(found.out.contains(&named), "{found:?}");
    assert!(found.out.contains("1 damaged thing found; `epochlog repair --dry-run` says"), "{found:?}");
    let json = data.run("verify -O json").json();
    assert_eq!(json["damage"][0]["position"], position);
    assert_eq!((&json["damage"][0]["start"], &json["records"]), (&4.into(), &8.into()));
}

#[test]
fn verify_goes_on_behind_each_damaged_batch() {
    let (data, batch) = nine_batches();
    let segment = data.segments().remove(0);
    // A payload, a header's length field and a header's last byte.
    for position in [FIRST_BATCH + batch - 1, FIRST_BATCH + 3 * batch + 9, FIRST_BATCH + 7 * batch + 45] {
        flip(&segment, position);
    }
    let json = data.run("verify -O json").json();
    let starts: Vec<u64> =
        json["damage"].as_array().expect("a list").iter().map(|damage| damage["start"].as_u64().expect("n")).collect();
    assert_eq!((starts, &json["records"]), (vec![0, 3, 7], &6.into()));
    let dumped = data.run("segment dump orders 0");
    assert_eq!((dumped.code, dumped.out.lines().count()), (1, 10), "{dumped:?}");
}

#[test]
fn every_flipped_byte_of_a_segment_is_found() {
    let (data, batch) = nine_batches();
    let segment = data.segments().remove(0);
    let whole = std::fs::read(&segment).expect("a segment");
    // One batch and the header in front of it; every third byte keeps it quick.
    for position in (0..FIRST_BATCH + batch).step_by(3) {
        flip(&segment, position);
        let found = data.run("verify");
        assert_eq!(found.code, 1, "byte {position}: {found:?}");
        assert!(found.out.contains(&segment.display().to_string()), "byte {position}: {found:?}");
        std::fs::write(&segment, &whole).expect("a segment");
    }
    data.run("verify").ok();
}

#[test]
fn what_is_gone_is_named() {
    let (data, _) = nine_batches();
    let segment = data.segments().remove(0);
    std::fs::remove_file(&segment).expect("a segment");
    let found = data.run("verify");
    assert!(found.out.contains(&format!("missing segment in `{}`, offsets 0..9", segment.display())), "{found:?}");
    assert_eq!(found.code, 1);
}

#[test]
fn a_segment_that_was_cut_is_named_with_the_offsets_it_lost() {
    let (data, batch) = nine_batches();
    let segment = data.segments().remove(0);
    let bytes = std::fs::read(&segment).expect("a segment");
    std::fs::write(&segment, &bytes[..FIRST_BATCH + 5 * batch]).expect("a segment");
    let found = data.run("verify -O json");
    let json = found.json();
    assert_eq!((&json["damage"][0]["start"], &json["damage"][0]["end"]), (&5.into(), &9.into()), "{found:?}");
}

#[test]
fn a_topic_that_refuses_to_open_is_still_read() {
    let (data, _) = nine_batches();
    let topic = data.segments()[0].ancestors().nth(2).expect("a topic's directory").to_path_buf();
    flip(&topic.join("topic"), 110);
    let found = data.run("verify -O json");
    assert_eq!((found.code, &found.json()["records"]), (1, &9.into()), "{found:?}");
    let listed = data.run("topic list");
    assert!(listed.out.contains("refuses to open") && listed.code == 1, "{listed:?}");
    let deleted = data.run("topic delete orders").ok();
    assert!(deleted.out.starts_with("deleted topic `orders`, which could not be opened: "), "{deleted:?}");
}

#[test]
fn an_end_that_a_writer_is_at_is_told_and_no_damage() {
    let (data, _) = nine_batches();
    let writer = epochlog::Store::open(data.path()).expect("opens");
    writer.topic("orders").and_then(|orders| orders.append("value 9")).expect("appends");
    let segment = data.segments().pop().expect("a new one");
    let end = std::fs::read(&segment).expect("a segment").iter().rposition(|&byte| byte != 0).expect("a batch") + 1;
    let file = std::fs::File::options().write(true).open(&segment).expect("a segment");
    std::os::unix::fs::FileExt::write_all_at(&file, b"half of it", end as u64).expect("room that is reserved");
    let dumped = data.run("segment dump orders 9").ok();
    assert!(dumped.out.ends_with(&format!("\nposition {end}: unfinished end, offset 10\n")), "{dumped:?}");
    let last = data.lines("segment dump orders 9 -O json").pop().expect("two lines");
    assert!(last.contains(r#""unfinished":true"#) && last.contains(r#""damage":null"#), "{last}");
    assert!(data.run("verify").ok().out.contains("unfinished end at position"));
}

#[test]
fn a_partition_that_cannot_be_opened_is_told_and_keeps_no_other_from_being_read() {
    let data = store();
    data.run("topic create orders --partitions 2").ok();
    data.run_with("produce orders -p 0", b"a\n").ok();
    data.run_with("produce orders -p 1", b"b\n").ok();
    flip(&data.segments()[0].with_file_name("history"), 100);
    for (command, shown) in [
        ("consume orders", "b"),
        ("consume orders -g g", "b"),
        ("topic describe orders", "PARTITION"),
        ("segment list orders", ".log"),
    ] {
        let ran = data.run(command);
        assert!(ran.code == 1 && ran.out.contains(shown) && ran.err.contains("corrupt history"), "{command}: {ran:?}");
    }
    data.run_with("produce orders -p 1", b"c\n").ok();
    assert_eq!(data.run("consume orders -g g").out, "c\n", "what was printed is committed");
    assert_eq!(data.lines("consume orders -p 1"), ["b", "c"]);
    let named = data.run("consume orders -p 0");
    assert!(named.code == 1 && named.out.is_empty(), "{named:?}");
}

#[test]
fn the_groups_of_other_topics_are_listed_beside_a_damaged_one() {
    let (data, _) = nine_batches();
    data.run("topic create parcels").ok();
    data.run_with("produce parcels", b"a\n").ok();
    data.run("consume parcels -g g").ok();
    let topic = data.segments()[0].ancestors().nth(2).expect("a topic's directory").to_path_buf();
    flip(&topic.join("commits"), 20);
    let listed = data.run("group list");
    let rows: Vec<&str> = listed.out.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!((listed.code, rows), (1, vec!["TOPIC", "orders", "parcels"]), "{listed:?}");
    assert!(listed.out.contains("refuses to open") && listed.err.contains("corrupt commits header in"), "{listed:?}");
    let json = data.run("group list -O json").json();
    assert_eq!((&json[1]["group"], json[0]["problem"].is_string()), (&"g".into(), true), "{json}");
    let refused = data.run("group list orders");
    assert!(refused.code == 1 && refused.out.is_empty(), "{refused:?}");
}

#[test]
fn damaged_history_and_commits_are_named() {
    let (data, _) = nine_batches();
    data.run("consume orders -g g").ok();
    let partition = data.segments()[0].parent().expect("a partition's directory").to_path_buf();
    flip(&partition.join("history"), 100);
    flip(&partition.parent().expect("a topic's directory").join("commits"), 20);
    let found = data.run("verify");
    assert!(found.out.contains("corrupt history in") && found.out.contains("corrupt commits header in"), "{found:?}");
    assert_eq!(found.code, 1);
}

#[test]
fn what_keeps_a_partition_closed_is_not_said_to_leave_the_rest_readable() {
    let (data, _) = nine_batches();
    flip(&data.segments()[0].with_file_name("history"), 100);
    assert_eq!(data.run("consume orders").out, "");
    let found = data.run("verify");
    assert!(!found.out.contains("readable"), "{found:?}");
    let way_out = "\n1 damaged thing found; `epochlog repair --dry-run` says what can be done\n";
    assert!(found.out.ends_with(way_out), "{found:?}");
    assert!(data.run("repair --dry-run").out.contains("corrupt history in"));
}

/// What a writer removes between a listing and the look at what was listed. A name that leads nowhere is that moment.
#[test]
fn a_segment_that_is_gone_since_it_was_listed_is_no_damage() {
    let (data, _) = nine_batches();
    let gone = data.segments()[0].with_file_name("00000000000000000400@9.log");
    std::os::unix::fs::symlink("nowhere", &gone).expect("makes a name");
    assert!(data.run("verify").ok().out.ends_with("nothing is damaged\n"));
}

#[test]
fn a_file_that_cannot_be_opened_is_told_with_the_cause() {
    let (data, _) = nine_batches();
    let segment = data.segments().remove(0);
    std::fs::remove_file(&segment).expect("is there");
    std::os::unix::fs::symlink(&segment, &segment).expect("makes a name");
    let found = data.run("verify");
    assert!(found.code == 1 && found.out.contains("`: Too many levels of symbolic links"), "{found:?}");
}

#[test]
fn a_damaged_index_is_a_note_and_no_damage() {
    let data = store();
    data.run("topic create orders").ok();
    let lines: Vec<String> = (0..2000).map(|i| format!("value {i}")).collect();
    data.run_with("produce orders --batch 10", lines.join("\n").as_bytes()).ok();
    let index = data.segments()[0].with_extension("index");
    flip(&index, 100);
    let found = data.run("verify").ok();
    assert!(found.out.contains("note: the index entry at position 96 is damaged"), "{found:?}");
    assert_eq!(data.lines("consume orders"), lines);
}

#[test]
fn the_rest_of_a_damaged_partition_can_be_consumed() {
    let (data, batch) = nine_batches();
    flip(&data.segments()[0], FIRST_BATCH + 4 * batch + batch - 1);
    let consumed = data.run("consume orders");
    assert_eq!((consumed.code, consumed.out.lines().count()), (1, 4), "{consumed:?}");
    assert_eq!(data.lines("consume orders --start 5").len(), 4);
}
