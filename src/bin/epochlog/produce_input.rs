//! The input of `produce`: lines of bytes, gathered into batches.
//!
//! Invariant: a line is bytes, not necessarily UTF-8, without its line end; what was read is never held back while the
//! next line isn't there yet; no line takes more memory than a record may.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use epochlog::{Header, Record};

const READ_BYTES: usize = 1 << 20;
/// What a record takes beside its parts, at most about.
const RECORD_OVERHEAD: usize = 32;

/// Where the lines come from.
pub(crate) struct Input {
    reader: BufReader<Box<dyn Read>>,
    path: PathBuf,
    /// The length of a file; unknown for anything that flows.
    pub(crate) len: Option<u64>,
}

impl Input {
    /// Opens the file, or standard input for none or `-`.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Input> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            return Ok(Input::new(Box::new(io::stdin()), PathBuf::from("standard input"), None));
        };
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let len = metadata.is_file().then_some(metadata.len());
        Ok(Input::new(Box::new(file), path.to_path_buf(), len))
    }

    fn new(read: Box<dyn Read>, path: PathBuf, len: Option<u64>) -> Input {
        Input { reader: BufReader::with_capacity(READ_BYTES, read), path, len }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the next line is there already, so that reading it doesn't wait.
    pub(crate) fn has_line(&self) -> bool {
        self.reader.buffer().contains(&b'\n')
    }

    /// Reads the next line, at most `limit` bytes of it with its end; `None` at the end.
    pub(crate) fn line(&mut self, line: &mut Vec<u8>, limit: u64) -> io::Result<Option<u64>> {
        line.clear();
        let read = self.reader.by_ref().take(limit).read_until(b'\n', line)?;
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        Ok((read > 0).then_some(read as u64))
    }

    /// Reads all that is left, at most `limit` bytes of it.
    pub(crate) fn all(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader.by_ref().take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Records that are appended together.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    records: Vec<(Option<Range<usize>>, Range<usize>)>,
}

impl Batch {
    pub(crate) fn push(&mut self, key: Option<&[u8]>, value: &[u8]) {
        let key = key.map(|key| self.put(key));
        let value = self.put(value);
        self.records.push((key, value));
    }

    fn put(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The bytes of keys and values.
    pub(crate) fn content_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// About what the batch takes in a segment, at most, with headers of so many bytes in each record.
    pub(crate) fn encoded_bytes(&self, headers_bytes: usize) -> u64 {
        (self.bytes.len() + self.len() * (RECORD_OVERHEAD + headers_bytes)) as u64
    }

    pub(crate) fn records<'a>(&'a self, headers: &'a [Header<'a>]) -> Vec<Record<'a>> {
        let record = |(key, value): &(Option<Range<usize>>, Range<usize>)| {
            let key = key.clone().map(|key| &self.bytes[key]);
            Record::new(&self.bytes[value.clone()]).with_key(key).headers(headers)
        };
        self.records.iter().map(record).collect()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }
}
