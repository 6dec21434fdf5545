//! Compares a segment's index with the batches that a walk finds.
//!
//! Invariant: an index is derived, so nothing that is wrong with it is damage: it becomes a note. Entries behind the
//! last batch, and those not yet written, belong to a writer that is still at it. Memory is taken for the longest
//! index that can be, at most. Used by `partition`.

use crate::error::{Damage, Error};
use crate::format::{BatchHeader, FileKind, HEADER_BYTES, INDEX_ENTRY_BYTES, IndexEntry};
use crate::io::{Access, read_full_at};
use crate::offset::Offset;
use crate::segment::{Home, SegmentId, Window, index_capacity_of, only_zeros, open_checked};

/// So much is looked at behind the longest index that can be, whether it is zeros.
const BEHIND_BYTES_MAX: usize = 1 << 30;

/// The entries of an index, compared one by one as the walk passes their positions.
pub(super) struct Compared {
    entries: std::iter::Peekable<std::vec::IntoIter<IndexEntry>>,
    base: Offset,
    /// What is wrong with it, once something is.
    pub(super) disagreement: Option<String>,
}

impl Compared {
    pub(super) fn open(home: &Home, id: SegmentId) -> Compared {
        let (entries, disagreement) = read(home, id).unwrap_or_else(|reason| (Vec::new(), Some(reason)));
        Compared { entries: entries.into_iter().peekable(), base: id.base, disagreement }
    }

    /// The walk found a batch here: an entry that points before it points at none.
    pub(super) fn pass(&mut self, position: usize, header: &BatchHeader) {
        while let Some(entry) = self.entries.next_if(|entry| entry.position as usize <= position) {
            let offset = self.base.plus(u64::from(entry.relative));
            if entry.position as usize != position || offset != header.base {
                let at = entry.position;
                self.disagreement.get_or_insert_with(|| {
                    format!("the index says that offset {offset} is at position {at}, where no such batch begins")
                });
            }
        }
    }

    /// The walk found damage here: what the index says of it can't be compared.
    pub(super) fn skip_to(&mut self, position: usize) {
        while self.entries.next_if(|entry| (entry.position as usize) < position).is_some() {}
    }
}

/// The entries in a file, up to the first that is none, and what is wrong there. Without a file there are none, which is
/// nothing wrong: what recovery copied has none until it is read.
fn read(home: &Home, id: SegmentId) -> Result<(Vec<IndexEntry>, Option<String>), String> {
    let path = home.index_path(id);
    let file = match open_checked(home, &path, FileKind::Index, id, Access::Read) {
        Ok(file) => file,
        Err(Error::Corrupt(corruption)) if corruption.damage == Damage::Missing => return Ok((Vec::new(), None)),
        Err(_) => return Err("the index doesn't begin with the header of its segment".into()),
    };
    let unread = |error| format!("the index can't be read: {error}");
    let len = usize::try_from(file.len().map_err(unread)?).unwrap_or(usize::MAX);
    // Its positions are u32: no segment has a longer one, whose length a harm may have changed.
    let counts = len.min(index_capacity_of(u32::MAX as usize));
    let mut bytes = vec![0; counts];
    let got = read_full_at(&*file, &mut bytes, 0).map_err(unread)?;
    bytes.truncate(got);
    let seed = home.identity(FileKind::Index, id).seed();
    let mut entries = Vec::new();
    let rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
    for (i, chunk) in rest.chunks_exact(INDEX_ENTRY_BYTES).enumerate() {
        let at = HEADER_BYTES + i * INDEX_ENTRY_BYTES;
        match IndexEntry::decode(chunk, seed, at as u64) {
            Ok(entry) => entries.push(entry),
            Err(_) if bytes[at..].iter().all(|&byte| byte == 0) => break,
            Err(_) => return Ok((entries, Some(format!("the index entry at position {at} is damaged")))),
        }
    }
    let is_longer =
        len - counts > BEHIND_BYTES_MAX || !only_zeros(&mut Window::new(file, len), counts).map_err(unread)?;
    Ok((entries, is_longer.then(|| "the index is longer than any can be".into())))
}
