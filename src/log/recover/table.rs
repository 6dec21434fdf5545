//! What recovery decides about a segment, as a total table.
//!
//! Invariant: the first row that fits decides, and some row fits every combination of facts. Each row tells the story of
//! the disk that leads to it. The test beside it compares all 400 combinations with a copy that shares no code.

/// What the history says of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing: the file was never part of the log.
    Nothing,
    /// It was begun.
    Rolled,
    /// It was begun, and all its bytes were synced.
    Sealed,
    /// It was begun and later given up: by retention, trim, truncate, or because nothing of it was kept.
    Retired,
}

/// What the first bytes of the file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    Absent,
    /// Empty, or zeros from one end to the other.
    Zero,
    Valid,
    /// Valid, but of something else.
    Foreign,
    Bad,
}

/// How far the file reaches: against the seal's length if there is one, else by a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Exact,
    Long,
    Short,
    /// It ends in something that is no batch, or before the next segment begins.
    Torn,
    /// As before, and valid batches stand behind.
    Hole,
}

/// All that a decision depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) told: Told,
    pub(crate) header: Header,
    pub(crate) extent: Extent,
    /// Some durable mark reaches beyond what is good here, or the start does, which presumes a sync.
    pub(crate) covered: bool,
    /// Later segments were begun.
    pub(crate) later: bool,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// There is nothing to do.
    Nothing,
    /// It stays, up to the end of its seal or scan.
    Keep,
    /// It stays; zeros behind the seal's length are cut off.
    Trim,
    /// It holds no record and goes.
    Drop,
    /// It stays up to the last good batch; the bytes behind are copied aside.
    Cut,
    /// As `Cut`, and all later segments are set aside.
    CutLater,
    /// An unfinished removal is finished.
    Remove,
    /// A file that was never part of the log is moved to the quarantine.
    SetAside,
    /// Bytes that were synced have changed. Nothing is touched.
    Corrupt,
    /// The file belongs elsewhere. Nothing is touched.
    Foreign,
    /// A file that was synced is gone.
    Missing,
}

/// A row: empty lists and `None` fit everything.
pub(crate) struct Row {
    pub(crate) label: &'static str,
    told: &'static [Told],
    header: &'static [Header],
    extent: &'static [Extent],
    covered: Option<bool>,
    later: Option<bool>,
    pub(crate) decision: Decision,
}

const ANY: Row =
    Row { label: "", told: &[], header: &[], extent: &[], covered: None, later: None, decision: Decision::Nothing };

const SEALED: &[Told] = &[Told::Sealed];
const ROLLED: &[Told] = &[Told::Rolled];
const NOTHING: &[Told] = &[Told::Nothing];
const VALID: &[Header] = &[Header::Valid];

/// The rows, in the order in which they are tried.
pub(crate) const TABLE: &[Row] = &[
    // Retention, trim or truncate wrote its line into the history, and the power went before the unlink, or before the
    // directory learned of it. The line counts; the removal is finished.
    Row { label: "leftover", told: &[Told::Retired], decision: Decision::Remove, ..ANY },
    // Somebody copied the file here, from another topic, store or partition, or a misdirected write put it here. Its own
    // header says whose it is. It is never read and never removed.
    Row { label: "foreign", header: &[Header::Foreign], decision: Decision::Foreign, ..ANY },
    // Neither told of nor there.
    Row { label: "absent", told: NOTHING, header: &[Header::Absent], decision: Decision::Nothing, ..ANY },
    // A file was created, and the line that makes it part of the log was lost with the power, or recovery was itself
    // interrupted. No durable acknowledgement depends on it, since the line is synced before the first. It may hold
    // records that were only written, so it isn't deleted.
    Row { label: "stray", told: NOTHING, decision: Decision::SetAside, ..ANY },
    // The history knows its synced length, and there is no file.
    Row { label: "missing", told: SEALED, header: &[Header::Absent], decision: Decision::Missing, ..ANY },
    // A sealed segment was synced from the first byte to the last: its header can't have been lost by a crash.
    Row { label: "sealed-bad", told: SEALED, header: &[Header::Zero, Header::Bad], decision: Decision::Corrupt, ..ANY },
    // Its length was synced too.
    Row {
        label: "sealed-bad",
        told: SEALED,
        header: VALID,
        extent: &[Extent::Short],
        decision: Decision::Corrupt,
        ..ANY
    },
    // Space was reserved ahead, and the cut that gives it back was lost; or recovery sealed the durable part of a tail
    // and left the file as it was.
    Row { label: "sealed-long", told: SEALED, header: VALID, extent: &[Extent::Long], decision: Decision::Trim, ..ANY },
    // The ordinary case. Its batches are verified when they are read.
    Row { label: "sealed-ok", told: SEALED, header: VALID, decision: Decision::Keep, ..ANY },
    // A later mark says that records of this segment were durable, so its name was, too.
    Row {
        label: "missing",
        told: ROLLED,
        header: &[Header::Absent],
        covered: Some(true),
        decision: Decision::Missing,
        ..ANY
    },
    // The same with the file there and its header gone: the header was synced with the first durable record.
    Row {
        label: "header-bad",
        told: ROLLED,
        header: &[Header::Zero, Header::Bad],
        covered: Some(true),
        decision: Decision::Corrupt,
        ..ANY
    },
    // An earlier segment lost its unsynced bytes and later ones kept theirs: what follows a gap is no prefix.
    Row {
        label: "tail-rolled-torn",
        told: ROLLED,
        header: &[Header::Absent, Header::Zero, Header::Bad],
        later: Some(true),
        decision: Decision::CutLater,
        ..ANY
    },
    // The crash came while the segment was being created: its name, its length or its header hadn't reached the medium.
    Row { label: "tail-new", told: ROLLED, header: &[Header::Absent, Header::Zero], decision: Decision::Drop, ..ANY },
    // The first page was lost and a later one was kept; nothing of it was known to be durable.
    Row { label: "header-bad", told: ROLLED, header: &[Header::Bad], decision: Decision::Cut, ..ANY },
    // Every batch is whole, and nothing but zeros follows.
    Row {
        label: "tail-ok",
        told: ROLLED,
        header: VALID,
        extent: &[Extent::Exact, Extent::Long, Extent::Short],
        decision: Decision::Keep,
        ..ANY
    },
    // A batch behind the damage, in this segment or a later one, was written when the damaged bytes were already synced:
    // no crash does that.
    Row {
        label: "tail-damaged",
        told: ROLLED,
        header: VALID,
        extent: &[Extent::Torn, Extent::Hole],
        covered: Some(true),
        decision: Decision::Corrupt,
        ..ANY
    },
    // The end of a full segment was lost before its sync, and a later one was already written to.
    Row {
        label: "tail-rolled-torn",
        told: ROLLED,
        header: VALID,
        extent: &[Extent::Torn, Extent::Hole],
        later: Some(true),
        decision: Decision::CutLater,
        ..ANY
    },
    // Unsynced pages reached the medium out of order: a page in the middle was lost, a later one kept.
    Row { label: "tail-hole", told: ROLLED, header: VALID, extent: &[Extent::Hole], decision: Decision::Cut, ..ANY },
    // The last write was cut in the middle.
    Row { label: "tail-torn", told: ROLLED, header: VALID, extent: &[Extent::Torn], decision: Decision::Cut, ..ANY },
];

/// The row that decides.
pub(crate) fn decide(facts: Facts) -> &'static Row {
    TABLE.iter().find(|row| row.fits(facts)).expect("the table covers every combination")
}

impl Row {
    fn fits(&self, facts: Facts) -> bool {
        fits(self.told, &facts.told)
            && fits(self.header, &facts.header)
            && fits(self.extent, &facts.extent)
            && self.covered.is_none_or(|covered| covered == facts.covered)
            && self.later.is_none_or(|later| later == facts.later)
    }
}

fn fits<T: PartialEq>(list: &[T], fact: &T) -> bool {
    list.is_empty() || list.contains(fact)
}
