//! The recovery table against a copy that was written by hand and shares no code with it.

use super::table::{Decision, Extent, Facts, Header, Told, decide};

const TOLD: [Told; 4] = [Told::Nothing, Told::Rolled, Told::Sealed, Told::Retired];
const HEADER: [Header; 5] = [Header::Absent, Header::Zero, Header::Valid, Header::Foreign, Header::Bad];
const EXTENT: [Extent; 5] = [Extent::Exact, Extent::Long, Extent::Short, Extent::Torn, Extent::Hole];

/// A line for each pair of what the history told and what the header is, in the order above. In a line a group for each
/// extent, in it a letter for each of: nothing, later segments, covered by a mark, both.
const EXPECTED: [&str; 20] = [
    // The history tells nothing: absent, zero, valid, foreign, bad.
    ".... .... .... .... ....",
    "ssss ssss ssss ssss ssss",
    "ssss ssss ssss ssss ssss",
    "FFFF FFFF FFFF FFFF FFFF",
    "ssss ssss ssss ssss ssss",
    // Rolled.
    "nrMM nrMM nrMM nrMM nrMM",
    "nrcc nrcc nrcc nrcc nrcc",
    "oooo oooo oooo trdd Hrdd",
    "FFFF FFFF FFFF FFFF FFFF",
    "hrcc hrcc hrcc hrcc hrcc",
    // Sealed.
    "MMMM MMMM MMMM MMMM MMMM",
    "bbbb bbbb bbbb bbbb bbbb",
    "kkkk llll bbbb kkkk kkkk",
    "FFFF FFFF FFFF FFFF FFFF",
    "bbbb bbbb bbbb bbbb bbbb",
    // Retired.
    "RRRR RRRR RRRR RRRR RRRR",
    "RRRR RRRR RRRR RRRR RRRR",
    "RRRR RRRR RRRR RRRR RRRR",
    "RRRR RRRR RRRR RRRR RRRR",
    "RRRR RRRR RRRR RRRR RRRR",
];

/// What a letter stands for.
fn meaning(letter: char) -> (&'static str, Decision) {
    match letter {
        '.' => ("absent", Decision::Nothing),
        's' => ("stray", Decision::SetAside),
        'F' => ("foreign", Decision::Foreign),
        'R' => ("leftover", Decision::Remove),
        'M' => ("missing", Decision::Missing),
        'b' => ("sealed-bad", Decision::Corrupt),
        'l' => ("sealed-long", Decision::Trim),
        'k' => ("sealed-ok", Decision::Keep),
        'c' => ("header-bad", Decision::Corrupt),
        'h' => ("header-bad", Decision::Cut),
        'r' => ("tail-rolled-torn", Decision::CutLater),
        'n' => ("tail-new", Decision::Drop),
        'o' => ("tail-ok", Decision::Keep),
        'd' => ("tail-damaged", Decision::Corrupt),
        'H' => ("tail-hole", Decision::Cut),
        't' => ("tail-torn", Decision::Cut),
        other => panic!("`{other}` stands for nothing"),
    }
}

#[test]
fn every_combination_of_facts_gets_the_decision_that_was_written_down() {
    let mut compared = 0;
    for (line, text) in EXPECTED.iter().enumerate() {
        let (told, header) = (TOLD[line / 5], HEADER[line % 5]);
        for (group, extent) in text.split(' ').zip(EXTENT) {
            for (bits, letter) in group.chars().enumerate() {
                let facts = Facts { told, header, extent, covered: bits & 2 != 0, later: bits & 1 != 0 };
                let row = decide(facts);
                assert_eq!((row.label, row.decision), meaning(letter), "{facts:?}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 400);
}
