//! [`Record`]: what a host appends. It borrows everything and is copied freely; what comes back is a `RecordView`
//! (in `format`), lent from the log.
//!
//! Invariant: a record without a value is a tombstone, and a tombstone is not an empty value.

use crate::offset::Timestamp;

/// A name and a value beside the record.
pub type Header<'a> = (&'a str, &'a [u8]);

/// A record to append: a value, and optionally a key, headers and a timestamp. Borrows all of them.
///
/// ```
/// use epochlog::Record;
/// let record = Record::new("up").key("device-7").headers(&[("unit", b"celsius")]);
/// assert_eq!(record.value(), Some(b"up".as_slice()));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record<'a> {
    value: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    headers: &'a [Header<'a>],
    timestamp: Option<Timestamp>,
}

impl<'a> Record<'a> {
    /// A record with this value.
    #[must_use]
    pub fn new<V: AsRef<[u8]> + ?Sized>(value: &'a V) -> Record<'a> {
        Record { value: Some(value.as_ref()), ..Record::default() }
    }

    /// A record with a key and no value: it says that what the key stood for is gone.
    #[must_use]
    pub fn tombstone<K: AsRef<[u8]> + ?Sized>(key: &'a K) -> Record<'a> {
        Record { key: Some(key.as_ref()), ..Record::default() }
    }

    /// Adds a key. Records of one key go to one partition, in order.
    #[must_use]
    pub fn with_key(self, key: Option<&'a [u8]>) -> Record<'a> {
        Record { key, ..self }
    }

    /// Adds a key. Records of one key go to one partition, in order.
    #[must_use]
    pub fn key<K: AsRef<[u8]> + ?Sized>(self, key: &'a K) -> Record<'a> {
        self.with_key(Some(key.as_ref()))
    }

    /// Adds headers: names and values that travel beside the record.
    #[must_use]
    pub fn headers(self, headers: &'a [Header<'a>]) -> Record<'a> {
        Record { headers, ..self }
    }

    /// Sets the record's own time; without one, the time of its append counts.
    #[must_use]
    pub fn timestamp(self, timestamp: impl Into<Timestamp>) -> Record<'a> {
        Record { timestamp: Some(timestamp.into()), ..self }
    }

    /// The value; `None` for a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.value
    }

    /// The key, if it has one.
    #[must_use]
    pub fn get_key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// The headers.
    #[must_use]
    pub fn get_headers(&self) -> &'a [Header<'a>] {
        self.headers
    }

    /// The record's own time, if it has one.
    #[must_use]
    pub fn get_timestamp(&self) -> Option<Timestamp> {
        self.timestamp
    }
}

impl<'a, V: AsRef<[u8]> + ?Sized> From<&'a V> for Record<'a> {
    fn from(value: &'a V) -> Record<'a> {
        Record::new(value)
    }
}
