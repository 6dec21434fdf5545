//! epochlog (docs come with the engine)
#![deny(unsafe_op_in_unsafe_fn)]
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
mod topic;

pub use consumer::{Consumer, ConsumerBuilder, Expired, Skipped};
pub use error::{Corruption, Damage, Error, Result};
pub use log::{Ack, Finding, PartitionRecovery, Reader, Target};
pub use name::{GroupName, TopicName};
pub use offset::{Epoch, Offset, Position, Timestamp};
pub use options::{AppendOptions, Durability, Mapping, Retention, Start, StoreOptions, TopicOptions, Visibility};
pub use place::{PLACE_BYTES, Place};
pub use record::{Header, Record};
pub use segment::{Headers, RecordView, Records, RecordsIter};
pub use store::{Maintenance, RecoveryReport, Store};
pub use topic::{
    CommitDescription, EpochDescription, GroupDescription, Partition, SegmentDescription, Topic,
};

/// The simulated disk, clock and entropy, and the contracts they fulfil. No semver promise.
#[cfg(feature = "testing")]
pub mod testing {
    pub use crate::io::sim::*;
    pub use crate::io::{
        Access, Clock, Dir, Entropy, Entry, File, Kind, Lock, Memory, OsClock, OsDir, OsEntropy, RegionReader,
        RegionWriter, Seam,
    };
}
