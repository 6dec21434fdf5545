//! The table of damage: what a flipped bit in each part of each file comes to.
//!
//! Invariant: a row allows one outcome, or several literal ones where the part's place in its file decides; nothing else
//! is allowed. *Here* is the beginning of the header, frame, batch or entry that was harmed, in the harmed file; what
//! stands in figures is meant in figures. Where a row costs something and nobody refuses, the damage can't be told from
//! what a crash leaves: those rows are the last ones, and there are no others.

use super::outcome::Way;
use super::region::{Kind, Part};
use super::specimen::Left;

pub struct Row {
    pub left: &'static [Left],
    pub kind: Kind,
    pub part: Part,
    pub way: &'static [Way],
    pub outcomes: &'static [&'static str],
}

const ANY: &[Left] = &[Left::Closed, Left::Killed];
const CLOSED: &[Left] = &[Left::Closed];
const KILLED: &[Left] = &[Left::Killed];
const BOTH: &[Way] = &[Way::Writing, Way::Reading];
const WRITING: &[Way] = &[Way::Writing];
const READING: &[Way] = &[Way::Reading];

const fn row(
    left: &'static [Left],
    (kind, part): (Kind, Part),
    way: &'static [Way],
    outcomes: &'static [&'static str],
) -> Row {
    Row { left, kind, part, way, outcomes }
}

#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    // Nothing in it counts.
    row(ANY, (Kind::Lock, Part::Reserve), BOTH, &["exact"]),
    // Without `STORE` nobody knows whose the files are; verify doesn't begin either.
    row(ANY, (Kind::Store, Part::Header), BOTH, &["the store: store header here; costs the store; verify: nothing"]),
    row(ANY, (Kind::Store, Part::LastFrame), BOTH, &["the store: store header here; costs the store; verify: nothing"]),
    row(ANY, (Kind::Topic, Part::Header), BOTH, &["the topic: topic header here; costs the topic; verify: the same"]),
    row(ANY, (Kind::Topic, Part::LastFrame), BOTH, &["the topic: topic header here; costs the topic; verify: the same"]),
    // The records can be read all the same; whoever asks for a group is told.
    row(ANY, (Kind::Commits, Part::Header), BOTH, &["the groups: commits header here; verify: the same"]),
    row(ANY, (Kind::Commits, Part::Frame), BOTH, &["the groups: commits here; verify: the same"]),
    // A clean close says behind the last commit that it was synced, and that is all that is lost.
    row(CLOSED, (Kind::Commits, Part::LastFrame), BOTH, &["exact"]),
    row(ANY, (Kind::Commits, Part::Reserve), BOTH, &["exact"]),
    row(ANY, (Kind::History, Part::Header), BOTH, &["the partition: history header here; costs the partition; verify: the same"]),
    // What a clean close says last is its own mark: without it the partition is recovered, and is as it was.
    row(CLOSED, (Kind::History, Part::Frame), READING, &[
        "the partition: history here; costs the partition; verify: the same",
        "exact",
    ]),
    row(CLOSED, (Kind::History, Part::Frame), WRITING, &[
        "the partition: history here; costs the partition; verify: the same",
        "recovery: history-torn",
    ]),
    row(CLOSED, (Kind::History, Part::LastFrame), READING, &["exact"]),
    row(CLOSED, (Kind::History, Part::LastFrame), WRITING, &["recovery: history-torn"]),
    row(KILLED, (Kind::History, Part::Frame), BOTH, &["the partition: history here; costs the partition; verify: the same"]),
    row(ANY, (Kind::History, Part::Reserve), READING, &["exact"]),
    row(ANY, (Kind::History, Part::Reserve), WRITING, &["recovery: history-torn"]),
    row(CLOSED, (Kind::Segment, Part::Header), BOTH, &["a read: segment header here, its segment's offsets; costs its segment; verify: the same"]),
    row(KILLED, (Kind::Segment, Part::Header), READING, &["a read: segment header here, its segment's offsets; costs its segment; verify: the same"]),
    row(KILLED, (Kind::Segment, Part::Header), WRITING, &["a read: segment header here, its segment's offsets; costs its segment; verify: the same; recovery: sealed-bad"]),
    row(ANY, (Kind::Segment, Part::Batch), BOTH, &["a read: batch here, its offsets; costs its batch; verify: the same"]),
    // Nobody can ask for them.
    row(ANY, (Kind::Segment, Part::TrimmedBatch), BOTH, &["exact"]),
    row(ANY, (Kind::Segment, Part::CutBatch), BOTH, &["exact"]),
    // Whoever reads goes around it. Who writes would have to give up what is behind, or to keep what is broken: the
    // partition stays closed until a person decides.
    row(KILLED, (Kind::Segment, Part::TailHeader), READING, &["the partition: segment header here; costs the partition; verify: the same"]),
    row(KILLED, (Kind::Segment, Part::TailHeader), WRITING, &["the partition: segment header here, up to the last mark; costs the partition; verify: segment header here"]),
    row(KILLED, (Kind::Segment, Part::TailBatch), READING, &["a read: batch here, its offsets; costs its batch; verify: the same"]),
    row(KILLED, (Kind::Segment, Part::TailBatch), WRITING, &[
        "the partition: batch here, from here to the last mark; costs the partition; verify: batch here, its offsets",
        "the partition: batch here, up to the last mark; costs the partition; verify: batch here, its offsets",
        "the partition: batch here, its offsets; costs the partition; verify: the same",
    ]),
    row(ANY, (Kind::Segment, Part::Reserve), READING, &["noted"]),
    row(ANY, (Kind::Segment, Part::Reserve), WRITING, &["recovery: tail-torn"]),
    // Derived: rebuilt by whoever may write and comes by. An entry that no answer needed stays, and is noted.
    row(ANY, (Kind::Index, Part::Header), READING, &["noted"]),
    row(ANY, (Kind::Index, Part::Header), WRITING, &["exact"]),
    row(ANY, (Kind::Index, Part::Entry), READING, &["noted"]),
    row(ANY, (Kind::Index, Part::Entry), WRITING, &["exact", "noted"]),
    row(ANY, (Kind::Index, Part::Reserve), READING, &["noted"]),
    row(ANY, (Kind::Index, Part::Reserve), WRITING, &["exact", "noted"]),

    // What one log can't tell. These were synced, and nothing that was written later says so; a crash that tore them
    // leaves the same bytes.
    row(KILLED, (Kind::Commits, Part::LastFrame), BOTH, &["costs the last commit"]),
    row(KILLED, (Kind::Segment, Part::LastTailBatch), READING, &["costs its batch; noted"]),
    row(KILLED, (Kind::Segment, Part::LastTailBatch), WRITING, &["costs its batch; recovery: tail-torn"]),
    row(KILLED, (Kind::Segment, Part::LoneHeader), READING, &["the partition: segment header here; costs its segment; verify: nothing; noted"]),
    row(KILLED, (Kind::Segment, Part::LoneHeader), WRITING, &["costs its segment; recovery: header-bad"]),
    row(KILLED, (Kind::History, Part::LastFrame), READING, &[
        // The beginning of a segment whose batches say that they were durable.
        "the partition: history entry here, 12..251; costs the partition; verify: the same",
        // The seal of a segment before the last one: it is scanned instead.
        "exact",
        // The beginning of a segment with a single batch.
        "costs the partition",
        // A trim: its segment is gone already.
        "a read: segment in topics/orders@1/1/00000000000000000000@4.log, 0..39; costs the last trim; verify: the same",
    ]),
    row(KILLED, (Kind::History, Part::LastFrame), WRITING, &[
        "the partition: history entry here, 12..251; costs the partition; verify: the same",
        "recovery: history-torn",
        "costs the partition; recovery: history-torn, stray",
        "a read: segment in topics/orders@1/1/00000000000000000000@4.log, 0..39; costs the last trim; verify: the same; recovery: history-torn, missing",
    ]),
];

/// What may come of harm to this part.
pub fn allowed(left: Left, kind: Kind, part: Part, way: Way) -> &'static [&'static str] {
    let fits = |row: &&Row| row.left.contains(&left) && row.kind == kind && row.part == part && row.way.contains(&way);
    let mut rows = TABLE.iter().filter(fits);
    let row = rows.next().unwrap_or_else(|| panic!("no row for {left:?} {kind:?} {part:?} {way:?}"));
    assert!(rows.next().is_none(), "two rows for {left:?} {kind:?} {part:?} {way:?}");
    row.outcomes
}
