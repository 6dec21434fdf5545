//! Finds out the facts about one segment. Changes nothing.
//!
//! Invariant: every I/O error is passed on and is never taken for an ending, a missing file or damage; only `NotFound` is
//! an absent file. Unsealed segments are read by positioned reads, never mapped.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::super::history::Recorded;
use super::table::{Extent, Facts, Header, Told};
use crate::error::{Error, IoContext, Result};
use crate::format::{DecodeError, FileKind, HEADER_BYTES};
use crate::io::{File, open_if_there, read_full_at};
use crate::offset::{Offset, Position};
use crate::segment::{
    self, Ending, Home, Reached, Scan, Step, Walk, Window, header_of, known_durable, scan, scan_from,
};

/// A segment that the history names, as it was found.
pub(super) struct Examined {
    pub(super) recorded: Recorded,
    pub(super) told: Told,
    pub(super) header: Header,
    pub(super) extent: Extent,
    /// What this segment says is durable: by its seal, or by the marks of its batches.
    pub(super) durable_end: Offset,
    /// The end of what is good in it.
    pub(super) good_end: Offset,
    pub(super) file: Option<Arc<dyn File>>,
    pub(super) file_bytes: usize,
    pub(super) scan: Option<Scan>,
    error: Option<DecodeError>,
}

impl Examined {
    pub(super) fn facts(&self, durable_end: Offset, later: bool) -> Facts {
        let covered = durable_end > self.good_end;
        Facts { told: self.told, header: self.header, extent: self.extent, covered, later }
    }

    /// Whether it was written by a later version: never torn, never damage.
    pub(super) fn is_unsupported(&self) -> bool {
        let ending = self.scan.as_ref().map(|scan| &scan.ending);
        matches!(
            ending,
            Some(Ending::Torn(DecodeError::Unsupported { .. }) | Ending::Hole(DecodeError::Unsupported { .. }))
        ) || matches!(self.error, Some(DecodeError::Unsupported { .. }))
    }

    /// The error that says what is wrong with it.
    pub(super) fn problem(&self, path: &Path) -> Error {
        let (what, position) = match &self.scan {
            Some(scan) => ("batch", scan.run.position),
            None => (header_of(FileKind::Segment), 0),
        };
        let from_scan = self.scan.as_ref().and_then(|scan| match &scan.ending {
            Ending::Torn(error) | Ending::Hole(error) => Some(error.clone()),
            Ending::Clean => None,
        });
        let error = from_scan.or(self.error.clone()).unwrap_or(DecodeError::Malformed("the batches end too early"));
        error.at(
            what,
            path,
            Some(Position::new(position as u64)),
            Some(self.good_end..self.durable_end.max(self.good_end)),
        )
    }
}

/// What repair asks beyond.
impl Examined {
    /// Judges the batches behind a damaged header, whose content the history knows; says whether there are any.
    pub(super) fn look_behind_header(
        &mut self,
        home: &Home,
        cut: Offset,
        next: Option<Offset>,
        start: Offset,
    ) -> Result<bool> {
        let (Header::Bad, Some(file)) = (self.header, self.file.clone()) else { return Ok(false) };
        let (facts, unread) = ((self.extent, self.durable_end, self.good_end), self.scan.take());
        let shown = home.shown(&home.segment_path(self.recorded.id));
        self.scan(home, file, cut, next, start).at("read", &shown)?;
        let found = self.scan.as_ref().is_some_and(|scan| scan.run.sealed().is_some());
        if !found || self.recorded.seal.is_some() {
            ((self.extent, self.durable_end, self.good_end), self.scan) = (facts, unread);
        }
        if let (true, Some(sealed)) = (found, self.recorded.seal) {
            self.measure(sealed.bytes, sealed.end.min(cut));
        }
        Ok(found)
    }

    /// Judges the batches of a sealed segment that is damaged above the start; gives the end of those in front of that.
    pub(super) fn scan_sealed(&mut self, home: &Home, end: Offset, start: Offset) -> Result<Option<Offset>> {
        let (Header::Valid, Some(file)) = (self.header, self.file.clone()) else { return Ok(None) };
        let (shown, durable_end) = (home.shown(&home.segment_path(self.recorded.id)), self.durable_end);
        self.scan(home, file, end, None, start).at("read", &shown)?;
        self.durable_end = durable_end;
        Ok(self.scan.as_ref().and_then(|scan| scan.run.sealed()).map(|sealed| sealed.end))
    }

    /// The error for a file that is shorter than its seal.
    pub(super) fn short(&self, path: &Path, expected: u64) -> Error {
        let found = self.file_bytes as u64;
        DecodeError::Short { found, expected }.at("segment", path, Some(Position::new(found)), None)
    }
}

/// Looks at one segment: its epoch was cut at `cut`, the next segment begins at `next`, the log at `start`.
pub(super) fn examine(
    home: &Home,
    recorded: Recorded,
    cut: Offset,
    next: Option<Offset>,
    start: Offset,
) -> Result<Examined> {
    let path = home.segment_path(recorded.id);
    let shown = home.shown(&path);
    let base = recorded.id.base;
    let mut examined = Examined {
        recorded,
        told: if recorded.seal.is_some() { Told::Sealed } else { Told::Rolled },
        header: Header::Absent,
        extent: Extent::Exact,
        durable_end: recorded.seal.map_or(Offset::ZERO, |sealed| sealed.end.min(cut)),
        good_end: base,
        file: None,
        file_bytes: 0,
        scan: None,
        error: None,
    };
    let Some(file) = open_if_there(&*home.seam.dir, &path).at("open", &shown)? else { return Ok(examined) };
    examined.file_bytes = usize::try_from(file.len().at("read the length of", &shown)?).unwrap_or(usize::MAX);
    (examined.header, examined.error) = header(home, &recorded, &file).at("read", &shown)?;
    examined.file = Some(file.clone());
    match (examined.header, recorded.seal) {
        (Header::Valid, Some(sealed)) => examined.measure(sealed.bytes, sealed.end.min(cut)),
        (Header::Valid, None) => examined.scan(home, file, cut, next, start).at("read", &shown)?,
        (Header::Bad, None) => examined.marks(home, file, cut).at("read", &shown)?,
        _ => {}
    }
    Ok(examined)
}

impl Examined {
    fn measure(&mut self, sealed_bytes: u64, end: Offset) {
        self.extent = match (self.file_bytes as u64).cmp(&sealed_bytes) {
            std::cmp::Ordering::Less => Extent::Short,
            std::cmp::Ordering::Equal => Extent::Exact,
            std::cmp::Ordering::Greater => Extent::Long,
        };
        self.good_end = end;
    }

    fn scan(
        &mut self,
        home: &Home,
        file: Arc<dyn File>,
        cut: Offset,
        next: Option<Offset>,
        start: Offset,
    ) -> io::Result<()> {
        let id = self.recorded.id;
        let limit = cut.min(next.unwrap_or(Offset::MAX));
        let seed = home.identity(FileKind::Segment, id).seed();
        let mut window = Window::new(file.clone(), self.file_bytes);
        let mut scan = scan(&mut window, seed, id.base, limit)?;
        if scan.run.end < start && scan.ending != Ending::Clean {
            let (position, expected) = (scan.run.position, scan.run.end);
            let walk = Walk { window: Window::new(file, self.file_bytes), seed, position, expected, end: None, limit };
            if let Some(behind) = behind_given_up(walk, scan.run, start.min(limit))? {
                let durable_end = scan.durable_end;
                scan = scan_from(&mut window, seed, behind, limit)?;
                scan.durable_end = scan.durable_end.max(durable_end);
            }
        }
        let too_early = next.is_some_and(|next| scan.run.end < next);
        self.extent = match &scan.ending {
            Ending::Hole(_) => Extent::Hole,
            Ending::Torn(_) => Extent::Torn,
            Ending::Clean if too_early => Extent::Torn,
            Ending::Clean => Extent::Exact,
        };
        self.good_end = scan.run.end;
        self.durable_end = scan.durable_end.min(cut);
        self.scan = Some(scan);
        Ok(())
    }

    /// Behind a header that is gone the batches still say what was durable when they were written: if it was the first of
    /// them, then so was the header.
    fn marks(&mut self, home: &Home, file: Arc<dyn File>, cut: Offset) -> io::Result<()> {
        let id = self.recorded.id;
        let seed = home.identity(FileKind::Segment, id).seed();
        let marks = known_durable(&mut Window::new(file, self.file_bytes), seed, HEADER_BYTES)?;
        self.durable_end = marks.min(cut);
        Ok(())
    }
}

/// Goes on to the start, where damage below it costs nothing any more; `None` if there is some that may reach above.
fn behind_given_up(mut walk: Walk, mut reached: Reached, start: Offset) -> io::Result<Option<Reached>> {
    while walk.expected < start {
        match walk.next()? {
            Some(Step::Batch(_, header)) => reached.take(&header),
            Some(Step::Bad(bad)) if !bad.is_unsupported() && bad.next.is_none_or(|next| next <= start) => {
                // If nobody knows how far it went, nothing is left behind it.
                (reached.position, reached.end) = bad.next.map_or((bad.position, start), |next| (walk.position, next));
                walk.expected = reached.end;
            }
            _ => return Ok(None),
        }
    }
    Ok(Some(reached))
}

/// What the beginning of the file is, and what is wrong with it.
pub(super) fn header(
    home: &Home,
    recorded: &Recorded,
    file: &Arc<dyn File>,
) -> io::Result<(Header, Option<DecodeError>)> {
    let mut bytes = [0; HEADER_BYTES];
    let got = read_full_at(&**file, &mut bytes, 0)?;
    Ok(match home.identity(FileKind::Segment, recorded.id).check(&bytes[..got]) {
        Ok(_) => (Header::Valid, None),
        Err(error @ DecodeError::Foreign { .. }) => (Header::Foreign, Some(error)),
        Err(_) if only_zeros(file)? => (Header::Zero, None),
        Err(error) => (Header::Bad, Some(error)),
    })
}

/// Whether the file holds nothing but zeros.
pub(super) fn only_zeros(file: &Arc<dyn File>) -> io::Result<bool> {
    let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    segment::only_zeros(&mut Window::new(file.clone(), len), 0)
}

/// No file of ours is longer: commits end there, and all others before. A file may say that it is of any length.
const FILE_BYTES_MAX: u64 = 1 << 32;

/// The position behind the last byte from `from` on that isn't zero.
pub(super) fn last_nonzero(file: &dyn File, from: u64) -> io::Result<Option<u64>> {
    let mut buffer = vec![0; 1 << 16];
    let (mut at, mut last) = (from, None);
    loop {
        if at >= FILE_BYTES_MAX {
            return Ok(last);
        }
        let got = read_full_at(file, &mut buffer, at)?;
        if let Some(i) = buffer[..got].iter().rposition(|&byte| byte != 0) {
            last = Some(at + i as u64 + 1);
        }
        if got < buffer.len() {
            return Ok(last);
        }
        at += got as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Dir, OsDir, write_all_at};

    #[test]
    fn the_last_byte_is_found_in_whichever_piece_it_is() {
        const PIECE: u64 = 1 << 16;
        let dir = tempfile::tempdir().expect("makes a directory");
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE] {
            for last in
                [0, 1, PIECE - 1, PIECE, 2 * PIECE - 1, 2 * PIECE, 3 * PIECE - 1].into_iter().filter(|&i| i < len)
            {
                let file = OsDir::new(dir.path()).create(format!("{len}-{last}").as_ref()).expect("creates");
                file.set_len(len).expect("grows");
                write_all_at(&*file, &[1], last).expect("writes");
                for from in [0, 1, PIECE, last, last + 1] {
                    let found = last_nonzero(&*file, from).expect("reads");
                    assert_eq!(found, (from <= last).then_some(last + 1), "{last} of {len} from {from}");
                }
            }
        }
    }

    #[cfg(feature = "testing")]
    #[test]
    fn the_first_byte_tells_of_a_long_file_that_it_is_not_zeros() {
        let disk = crate::io::sim::SimDisk::new(1);
        let file = disk.create("segment".as_ref()).expect("creates");
        file.set_len(1 << 20).expect("grows");
        assert!(only_zeros(&file).expect("reads"));
        write_all_at(&*file, &[1], 0).expect("writes");
        let before = disk.count("read");
        assert!(!only_zeros(&file).expect("reads"));
        assert_eq!(disk.count("read") - before, 1);
    }
}
