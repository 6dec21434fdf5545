//! `repair` and `consume --skip-damaged`: told first, done on order, and clean afterwards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::{Data, store};

/// The length of a file's header, where the first batch begins.
const FIRST_BATCH: usize = 96;

fn flip(path: &Path, position: usize) {
    let mut bytes = std::fs::read(path).expect("a file");
    bytes[position] ^= 0x40;
    std::fs::write(path, bytes).expect("a file");
}

/// One topic whose one segment holds nine batches of one record, and a group that has read four.
fn nine_batches() -> (Data, usize) {
    let data = store();
    data.run("topic create orders").ok();
    let lines: Vec<String> = (0..9).map(|i| format!("value {i}")).collect();
    data.run_with("produce orders --batch 1", lines.join("\n").as_bytes()).ok();
    data.run("consume orders -g early --head 4").ok();
    let length = std::fs::metadata(&data.segments()[0]).expect("a segment").len();
    (data, (usize::try_from(length).expect("is small") - FIRST_BATCH) / 9)
}

/// Every file of the store with its bytes.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            files.extend(tree(&entry));
        } else {
            let bytes = std::fs::read(&entry).expect("a file");
            files.insert(entry, bytes);
        }
    }
    files
}

fn history(data: &Data) -> PathBuf {
    data.segments()[0].parent().expect("a partition's directory").join("history")
}

#[test]
fn a_store_that_is_whole_has_nothing_to_repair() {
    let (data, _) = nine_batches();
    let before = tree(&data.path());
    assert_eq!(data.run("repair").ok().out, "nothing to repair\n");
    assert_eq!(data.run("repair --dry-run -O json").ok().json()["steps"], serde_json::json!([]));
    assert!(before == tree(&data.path()));
}

#[test]
fn a_dry_run_tells_the_plan_and_changes_nothing() {
    let (data, batch) = nine_batches();
    flip(&history(&data), 100);
    flip(&data.segments()[0], FIRST_BATCH + 4 * batch + batch - 1);
    let before = tree(&data.path());
    for line in ["repair --dry-run", "repair --dry-run --cut-damaged", "repair --dry-run -O json"] {
        let planned = data.run(line);
        assert_eq!(planned.code, 1, "{planned:?}");
        assert!(planned.out.contains("corrupt history in"), "{planned:?}");
        assert!(before == tree(&data.path()), "{line}");
    }
    let planned = data.run("repair --dry-run -O json").json();
    assert_eq!((&planned["applied"], &planned["steps"][0]["remedy"]), (&false.into(), &"rebuild".into()));
    assert_eq!(planned["steps"][1]["remedy"], "keep", "the seal's own line is whole");
    assert_eq!((&planned["steps"][1]["lost_start"], &planned["steps"][1]["lost_end"]), (&4.into(), &5.into()));
}

#[test]
fn a_lost_history_is_repaired_and_everything_is_there_again() {
    let (data, _) = nine_batches();
    std::fs::remove_file(history(&data)).expect("a file");
    assert_eq!(data.run("consume orders").code, 1);
    let report = data.run("repair -O json").ok().json();
    assert_eq!((&report["applied"], &report["epochs"][0]["topic"]), (&true.into(), &"orders".into()));
    assert!(data.run("verify").ok().out.ends_with("nothing is damaged\n"));
    assert_eq!(data.lines("consume orders").len(), 9);
    assert_eq!(data.lines("consume orders -g early")[0], "value 4");
    assert_eq!(data.run("repair").ok().out, "nothing to repair\n");
}

#[test]
fn what_is_gone_has_no_original() {
    let (data, _) = nine_batches();
    for file in [data.path().join("STORE"), history(&data)] {
        let original = format!("  original: `{}`\n", file.display());
        let whole = std::fs::read(&file).expect("a file");
        std::fs::write(&file, b"damaged").expect("a file");
        let planned = data.run("repair --dry-run");
        assert!(planned.out.contains(&original), "{planned:?}");
        std::fs::remove_file(&file).expect("is there");
        let planned = data.run("repair --dry-run");
        assert!(planned.out.contains("tell it anew") && !planned.out.contains("original"), "{planned:?}");
        assert_eq!(data.run("repair --dry-run -O json").json()["steps"][0]["files"], serde_json::json!([]));
        std::fs::write(&file, whole).expect("a file");
    }
    std::fs::remove_file(data.path().join("STORE")).expect("is there");
    let repaired = data.run("repair -O json").ok().json();
    assert_eq!(
        (&repaired["steps"][0]["files"], &repaired["quarantined"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );
    assert_eq!(data.lines("consume orders").len(), 9);
}

#[test]
fn a_damaged_batch_stays_until_it_is_to_be_cut() {
    let (data, batch) = nine_batches();
    flip(&data.segments()[0], FIRST_BATCH + 4 * batch + batch - 1);
    let stays = data.run("repair");
    assert_eq!(stays.code, 1, "{stays:?}");
    assert!(stays.out.contains("1 damaged thing left; read around it with `consume --skip-damaged`"), "{stays:?}");
    let cut = data.run("repair --cut-damaged").ok();
    assert!(cut.out.contains("cut at offset 4; lost: offsets 4..9") && cut.out.contains("kept `"), "{cut:?}");
    assert!(cut.out.contains("partition 0 of `orders` goes on in epoch "), "{cut:?}");
    data.run("verify").ok();
    assert_eq!(data.lines("consume orders").len(), 4);
    assert!(!tree(&data.path().join("quarantine")).is_empty());
}

#[test]
fn what_cannot_be_repaired_is_not_to_be_read_around() {
    let (data, _) = nine_batches();
    std::fs::remove_dir_all(history(&data).parent().expect("has one")).expect("a partition's directory");
    let left = data.run("repair");
    assert_eq!(left.code, 1, "{left:?}");
    assert!(left.out.ends_with("\n1 damaged thing left that can't be repaired; see above what to do\n"), "{left:?}");
    assert!(!left.out.contains("--skip-damaged"), "{left:?}");
    assert_eq!(data.run("repair -O json").json()["steps"][0]["remedy"], "refuse");
}

#[test]
fn a_damaged_batch_is_trimmed_if_that_is_asked_for() {
    let (data, batch) = nine_batches();
    flip(&data.segments()[0], FIRST_BATCH + 4 * batch + batch - 1);
    let trimmed = data.run("repair --trim-damaged").ok();
    assert!(trimmed.out.contains("start at offset 5; lost: offsets 0..5"), "{trimmed:?}");
    data.run("verify").ok();
    assert_eq!(data.lines("consume orders")[0], "value 5");
    data.run("repair --cut-damaged --trim-damaged").wrong_usage("cannot be used with");
}

#[test]
fn consume_goes_around_damage_when_asked_and_says_so() {
    let (data, batch) = nine_batches();
    flip(&data.segments()[0], FIRST_BATCH + 4 * batch + batch - 1);
    flip(&data.segments()[0], FIRST_BATCH + 8 * batch + batch - 1);
    assert_eq!(data.run("consume orders").code, 1);
    for line in ["consume orders --skip-damaged", "consume orders -g late --skip-damaged"] {
        let consumed = data.run(line).ok();
        assert_eq!(consumed.out.lines().count(), 7, "{consumed:?}");
        let gaps: Vec<&str> = consumed.err.lines().filter(|line| line.contains("can't be read")).collect();
        assert!(gaps.len() == 2 && gaps[0].starts_with("partition 0: the records 4..5 can't be read: corrupt batch"));
    }
    let again = data.run("consume orders -g late --skip-damaged").ok();
    assert_eq!((again.out.as_str(), again.err.as_str()), ("", ""), "the gap at the end is committed too");
}

#[test]
fn verify_takes_a_rate() {
    let (data, _) = nine_batches();
    data.run("verify --rate 50MiB").ok();
    data.run("verify --rate fast").wrong_usage("is not a size");
    let nothing = "invalid value '0' for '--rate <SIZE>': nothing would ever be read; expected at least 1";
    data.run("verify --rate 0").wrong_usage(nothing);
    data.run("verify --rate 0MiB").wrong_usage("for '--rate <SIZE>'");
}

#[test]
fn the_exit_codes_stand_in_the_help_and_are_those_of_the_program() {
    let (data, batch) = nine_batches();
    for line in ["--help", "-h", "verify --help", "repair --help"] {
        let help = data.run(line).ok().out;
        assert!(
            help.contains("\nExit codes:\n  0  ") && help.contains("\n  1  ") && help.contains("\n  2  "),
            "{help}"
        );
    }
    let codes = |lines: [&str; 4]| lines.map(|line| data.run(line).code);
    assert_eq!(codes(["verify", "repair", "repair --dry-run", "consume orders"]), [0, 0, 0, 0]);
    flip(&data.segments()[0], FIRST_BATCH + 4 * batch + batch - 1);
    assert_eq!(codes(["verify", "repair", "repair --dry-run", "consume orders"]), [1, 1, 1, 1]);
    assert_eq!(codes(["verify --wrong", "repair --wrong", "wrong", ""]), [2, 2, 2, 2]);
    assert_eq!(codes(["repair --dry-run --cut-damaged", "repair --cut-damaged", "verify", "repair"]), [1, 0, 0, 0]);
}

#[test]
fn the_exit_code_is_the_same_if_nobody_reads_and_a_repair_that_nobody_reads_of_changes_nothing() {
    let (data, batch) = nine_batches();
    flip(&data.segments()[0], FIRST_BATCH + 4 * batch + batch - 1);
    let unread = |line: &str| {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = data.command(line).stdout(writer).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let before = tree(&data.path());
    for line in ["verify", "verify -O json", "repair --dry-run", "repair --dry-run -O json"] {
        assert_eq!(unread(line), (Some(1), String::new()), "{line}");
    }
    let (code, told) = unread("repair --cut-damaged");
    assert_eq!(code, Some(1));
    assert!(told.starts_with("error: the plan can't be told, so nothing was changed: "), "{told}");
    assert_eq!(unread("repair --cut-damaged -O json"), (code, told));
    assert!(before == tree(&data.path()));
    data.run("repair --cut-damaged").ok();
    for line in ["verify", "repair", "repair --dry-run"] {
        assert_eq!(unread(line), (Some(0), String::new()), "{line}");
    }
}

#[test]
fn a_segment_that_is_set_aside_behind_the_open_is_told_of() {
    let (data, _) = nine_batches();
    let stray = data.segments()[0].with_file_name("00000000000000000077@2.log");
    std::fs::write(&stray, [7; 500]).expect("a file");
    let said = data.run_with("produce orders", b"value 9").ok().err;
    assert!(said.contains("recovered partition 0 of `orders` up to offset 9"), "{said}");
    assert!(said.contains("00000000000000000077@2.log"), "{said}");
    assert!(!stray.exists());
    let said = data.run_with("produce orders", b"value 10").ok().err;
    assert!(!said.contains("recovered"), "{said}");
}
