//! An embedded log engine: topics with partitions, consumer groups, real durability and honest recovery, in one
//! directory and inside your own process.
//!
//! A [`Store`] is a directory. It holds [`Topic`]s of one or more [`Partition`]s; a partition is an append-only log of
//! records, read by [`Reader`]s and by the [`Consumer`]s of a group, which commit how far they have come. An
//! acknowledgement ([`Ack`]) says what it survives: [`Durability::Durable`] a power cut, [`Durability::Written`] a kill.
//!
//! Where somebody goes on is a [`Place`]: partition, next offset, *and the epoch that wrote the record before it*. A topic
//! that was deleted and created again has other epochs, so a place of the old one is refused before it is ever compared
//! with the new one's offsets: [`Error::StaleEpoch`]. The same holds for records that a power cut took
//! ([`Error::Diverged`]), for truncated ones, and for a store that was restored from a backup.
//!
//! ```
//! use epochlog::{Error, Place, Record, Start, Store, TopicOptions};
//!
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("data");
//! let store = Store::open_or_create(&path)?;
//! let orders = store.topic_or_create("orders", TopicOptions::new())?;
//! let ack = orders.append(Record::new("up").key("device-7"))?;
//! let saved: Place = ack.next(); // what a host would keep in its own database
//!
//! store.delete_topic("orders")?;
//! let orders = store.create_topic("orders", TopicOptions::new())?;
//! let reader = match orders.partition(0)?.read_from(saved) {
//!     Err(Error::StaleEpoch { .. }) => orders.partition(0)?.read_from(Start::Earliest)?,
//!     other => other?,
//! };
//! assert_eq!(reader.place().next().get(), 0);
//! store.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What an acknowledgement survives
//!
//! | level | returned when | kill of the process | power cut |
//! |---|---|---|---|
//! | [`Durability::Durable`] (default) | synced, together with whoever else waits | kept | kept |
//! | [`Durability::Written`] | in the kernel's page cache | kept | may be lost, from the end; whoever read it learns of it |
//!
//! # Reading the source
//!
//! A file imports only from floors below: words (`error`, `offset`, `place`, `name`, `options`, `record`), then `format`
//! and `io`, then `segment`, `log`, `topic`, `consumer`, `store` and `inspect`. The on-disk format is written down to the
//! byte in `src/format/mod.rs`. Three ways lead through:
//!
//! - a record goes in: `topic` → `log/append` → `format/batch` → `segment/writer` → `segment/index` → `log/sync`;
//! - a store comes back: `store/open` → `topic/catalog` → `topic/header` → `log/history` → `log/recover` →
//!   `segment/scan` → `segment/index`;
//! - a consumer goes on: `topic/commits` → `log/admit` (with `log/lineage`) → `log/resolve` → `log/read` →
//!   `segment/index` → `segment/reader`.
//!
//! What a person orders has its own: `store/repair` → `topic/repair` → `log/recover/repair`.
//!
//! # Features
//!
//! None by default. `cli` builds the program `epochlog`; `testing` makes the simulated disk public, without a promise of
//! stability.

#[cfg(windows)]
compile_error!("epochlog doesn't run on Windows yet: Linux is supported, macOS with positioned writes");

mod consumer;
mod error;
mod format;
pub mod inspect;
mod io;
mod log;
mod name;
mod offset;
mod options;
mod place;
mod record;
mod segment;
mod store;
mod threads;
mod topic;

pub use consumer::{Consumer, ConsumerBuilder, Expired, Skipped};
pub use error::{Corruption, Damage, Error, Latched, Result};
pub use log::{Ack, Finding, Gap, OnDamage, PartitionRecovery, Reader, Remedy, RepairStep, Target};
pub use name::{GroupName, TopicName};
pub use offset::{Epoch, Offset, Position, Timestamp};
pub use options::{AppendOptions, Durability, Mapping, Retention, Start, StoreOptions, TopicOptions, Visibility};
pub use place::{PLACE_BYTES, Place};
pub use record::{Header, Record};
pub use segment::{Headers, RecordView, Records, RecordsIter};
pub use store::{LastMaintenance, Maintenance, RecoveryReport, Repair, RepairPlan, RepairReport, Store, Unrecovered};
pub use topic::{CommitDescription, EpochDescription, GroupDescription, Partition, SegmentDescription, Topic};

/// The simulated disk, clock and entropy, and the contracts they fulfil. No semver promise.
#[cfg(feature = "testing")]
pub mod testing {
    #[doc(hidden)]
    pub use crate::format::hostile::decode;
    pub use crate::io::sim::*;
    pub use crate::io::{
        Access, Clock, Dir, DirSync, Entropy, Entry, File, Kind, Lock, Memory, OsClock, OsDir, OsEntropy, RegionReader,
        RegionWriter, Seam,
    };
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
