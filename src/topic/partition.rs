//! The public face of one log.
//!
//! Invariant: a handle is bound to its topic's epoch; it holds no lock and no file of its own.

use std::fmt;
use std::sync::Arc;

use super::{EpochDescription, SegmentDescription, Topic};
use crate::error::Result;
use crate::log::{Ack, Log, Origin, PartitionRecovery, Reader, Target};
use crate::offset::{Offset, Timestamp};
use crate::options::{AppendOptions, Durability, Start};
use crate::place::Place;
use crate::record::Record;
use crate::segment::Records;

/// One partition of a topic: records in one total order. Cheap to clone.
#[derive(Clone)]
pub struct Partition {
    topic: Topic,
    log: Arc<Log>,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({} of {}@{})", self.number(), self.topic.name(), self.topic.epoch())
    }
}

impl Partition {
    pub(super) fn new(topic: Topic, log: Arc<Log>) -> Partition {
        Partition { topic, log }
    }

    /// Its number, from 0.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.log.home.partition
    }

    /// The topic it belongs to.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Appends one record, as durable as the topic says.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`](crate::Error::TooLarge): it can't fit a segment, nothing was written.
    /// [`Error::StorageFull`](crate::Error::StorageFull): it was undone, append again when there is room.
    /// [`Error::ReadOnly`](crate::Error::ReadOnly): nothing was written.
    /// [`Error::TopicDeleted`](crate::Error::TopicDeleted): if it was written, it went with the topic.
    /// [`Error::Diverged`](crate::Error::Diverged): another thread truncated the record away before it was durable, or
    /// reopened the partition when it was lost.
    ///
    /// Behind any other the record may be there, and be read, and appending it again may make two of it: look at
    /// [`end`](Partition::end) before, or at the records there if others append too.
    /// [`Error::Io`](crate::Error::Io) and [`Error::Latched`](crate::Error::Latched): if a sync failed, it may or may not
    /// be there after [`reopen`](Partition::reopen); if a file or directory couldn't be opened for the sync, as for want of
    /// open files, it is there and not durable, and the next [`sync`](Partition::sync) makes it so.
    /// [`Error::Closed`](crate::Error::Closed): if another thread closed the store meanwhile, it is there when that is
    /// opened again.
    pub fn append<'r>(&self, record: impl Into<Record<'r>>) -> Result<Ack> {
        self.append_batch(&[record.into()])
    }

    /// Appends one record, with options that differ from the topic's.
    ///
    /// # Errors
    ///
    /// As [`append`](Partition::append).
    pub fn append_with<'r>(&self, record: impl Into<Record<'r>>, options: AppendOptions) -> Result<Ack> {
        self.append_batch_with(&[record.into()], options)
    }

    /// Appends records as one batch: all of them or none, also after a crash. An empty batch writes nothing and is
    /// acknowledged at the end of the log.
    ///
    /// # Errors
    ///
    /// As [`append`](Partition::append).
    pub fn append_batch(&self, records: &[Record<'_>]) -> Result<Ack> {
        self.append_batch_with(records, AppendOptions::new())
    }

    /// Appends records as one batch, with options that differ from the topic's.
    ///
    /// # Errors
    ///
    /// As [`append`](Partition::append).
    pub fn append_batch_with(&self, records: &[Record<'_>], options: AppendOptions) -> Result<Ack> {
        self.topic.shared().writable()?;
        let durability: Durability = options.durability.unwrap_or(self.log.owner.options.durability);
        self.log.append(records, durability)
    }

    /// The offset of the first record that is there.
    #[must_use]
    pub fn start(&self) -> Offset {
        self.log.look();
        self.log.start()
    }

    /// The offset behind the last record.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.log.look();
        self.log.end()
    }

    /// Everything below this offset is on the medium. Beside a writer in another process it may lag, as
    /// [`Visibility::Durable`](crate::Visibility::Durable) does.
    #[must_use]
    pub fn durable_end(&self) -> Offset {
        self.log.look();
        self.log.durable_end()
    }

    /// The bytes of its segment files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.log.look();
        self.log.bytes()
    }

    /// Reads from a place or a start request on.
    ///
    /// # Errors
    ///
    /// [`Error::StaleEpoch`](crate::Error::StaleEpoch): the place is of a topic that was deleted, or of another one.
    /// [`Error::Diverged`](crate::Error::Diverged): what lies before the place was lost or cut.
    /// [`Error::InvalidPlace`](crate::Error::InvalidPlace): no log gives out such a place, or it is another partition's.
    /// [`Error::OffsetOutOfRange`](crate::Error::OffsetOutOfRange): retention passed it, or it was never written.
    /// [`Error::TooFewRecords`](crate::Error::TooFewRecords): the start counts more records than there are.
    /// [`Error::TopicDeleted`](crate::Error::TopicDeleted), [`Error::Closed`](crate::Error::Closed);
    /// [`Error::Io`](crate::Error::Io) and [`Error::Corrupt`](crate::Error::Corrupt) if a time had to be looked up.
    pub fn read_from(&self, target: impl Into<Target>) -> Result<Reader> {
        Reader::new(self.log.clone(), target.into(), Origin::Caller)
    }

    /// The record at an offset: the only one of these.
    ///
    /// # Errors
    ///
    /// [`Error::OffsetOutOfRange`](crate::Error::OffsetOutOfRange), [`Error::Corrupt`](crate::Error::Corrupt),
    /// [`Error::Io`](crate::Error::Io), [`Error::TopicDeleted`](crate::Error::TopicDeleted),
    /// [`Error::Closed`](crate::Error::Closed).
    pub fn get(&self, offset: Offset) -> Result<Records> {
        self.log.get(offset)
    }

    /// Removes the records below an offset. Their space is given back by whole segments.
    ///
    /// # Errors
    ///
    /// [`Error::OffsetOutOfRange`](crate::Error::OffsetOutOfRange) unless it lies within the partition, and those of
    /// [`append`](Partition::append).
    pub fn trim(&self, to: Offset) -> Result<()> {
        self.topic.shared().writable()?;
        self.log.trim(to)
    }

    /// Takes the records from an offset on back, durably, and begins a new epoch there. Whoever has read them is told:
    /// [`Error::Diverged`](crate::Error::Diverged).
    ///
    /// # Errors
    ///
    /// [`Error::OffsetOutOfRange`](crate::Error::OffsetOutOfRange) unless it lies within the partition, and those of
    /// [`append`](Partition::append).
    pub fn truncate(&self, to: Offset) -> Result<()> {
        self.topic.shared().writable()?;
        self.log.truncate(to)
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) if a sync fails, and [`Error::Latched`](crate::Error::Latched) from then on;
    /// [`Error::Diverged`](crate::Error::Diverged) if records were lost, and another thread reopened the partition;
    /// [`Error::TopicDeleted`](crate::Error::TopicDeleted); [`Error::Closed`](crate::Error::Closed);
    /// [`Error::ReadOnly`](crate::Error::ReadOnly).
    pub fn sync(&self) -> Result<()> {
        self.topic.shared().writable()?;
        self.log.sync()
    }

    /// Waits until an acknowledged append is durable, syncing together with whoever else waits.
    ///
    /// # Errors
    ///
    /// As [`sync`](Partition::sync), so also [`Error::ReadOnly`](crate::Error::ReadOnly);
    /// [`Error::Diverged`](crate::Error::Diverged) if the records were truncated or lost since;
    /// [`Error::InvalidPlace`](crate::Error::InvalidPlace) if the acknowledgement is another partition's.
    pub fn wait_durable(&self, ack: &Ack) -> Result<()> {
        self.topic.shared().writable()?;
        self.log.is_mine(ack.next())?;
        self.log.wait_durable(ack.next())
    }

    /// Opens the partition again after a sync of it has failed, in place: every handle, reader and consumer goes on.
    /// What isn't known to be durable is copied into new files and synced first. Records whose pages the failed sync has
    /// lost are gone: places behind them answer [`Error::Diverged`](crate::Error::Diverged). Does nothing and gives `None`
    /// for a partition that doesn't refuse writes.
    ///
    /// ```
    /// # use epochlog::{Store, TopicOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let store = Store::create(dir.path().join("data"))?;
    /// let partition = store.create_topic("orders", TopicOptions::new())?.partition(0)?;
    /// assert!(partition.reopen()?.is_none(), "nothing has failed");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) and [`Error::StorageFull`](crate::Error::StorageFull): it stays latched, call again
    /// when the cause is gone. [`Error::Corrupt`](crate::Error::Corrupt): records that were acknowledged as durable can't
    /// be read; it stays latched. [`Error::TopicDeleted`](crate::Error::TopicDeleted);
    /// [`Error::Closed`](crate::Error::Closed); [`Error::ReadOnly`](crate::Error::ReadOnly).
    pub fn reopen(&self) -> Result<Option<PartitionRecovery>> {
        self.topic.shared().writable()?;
        self.log.reopen()
    }

    /// The place at an offset: where a reader goes on that has seen everything before it.
    ///
    /// # Errors
    ///
    /// [`Error::OffsetOutOfRange`](crate::Error::OffsetOutOfRange) unless it lies within the partition;
    /// [`Error::TopicDeleted`](crate::Error::TopicDeleted); [`Error::Closed`](crate::Error::Closed).
    pub fn place_at(&self, offset: Offset) -> Result<Place> {
        self.log.locate(Target::Start(Start::At(offset)), Origin::Caller)
    }

    /// The first offset whose record isn't older than a time; the end if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io), [`Error::Corrupt`](crate::Error::Corrupt),
    /// [`Error::TopicDeleted`](crate::Error::TopicDeleted), [`Error::Closed`](crate::Error::Closed).
    pub fn offset_at(&self, time: Timestamp) -> Result<Offset> {
        self.log.offset_at(time)
    }

    /// All its epochs, oldest first: when each began, where, and why.
    #[must_use]
    pub fn lineage(&self) -> Vec<EpochDescription> {
        self.log.look();
        self.log.view().lineage.epochs().iter().map(EpochDescription::of).collect()
    }

    /// Its segments, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentDescription> {
        self.log.look();
        let (view, end) = (self.log.view(), self.log.end());
        view.parts.iter().map(|part| SegmentDescription::of(part, end)).collect()
    }
}
