//! Opens one partition again after a failed sync, in place: every living handle, reader and waiter goes on.
//!
//! Invariant: the latch is lifted only when everything that stands behind the view was found out anew, and what was above
//! the durable end was copied into new blocks and synced. Nothing in memory changes before; then view, ends, history and
//! appender change in one step, and whoever reads or waits is admitted anew. No byte that a living reader may hold
//! changes or is cut: copies are new files. Interrupted anywhere, the partition stays latched, and this or the next open
//! of the store does it again.

use crate::threads::atomic::Ordering;
use std::sync::Arc;

use super::append::Appender;
use super::recover::{self, Known};
use super::{Evidence, History, Log, LogView, PartitionRecovery, append_time_of, clear, nothing_foreign};
use crate::error::Result;
use crate::offset::Offset;

impl Log {
    /// Recovers the partition if a sync of it has failed; `None` if there is nothing to recover.
    pub(crate) fn reopen(&self) -> Result<Option<PartitionRecovery>> {
        // Who leads a sync has looked at the files that are given up here, and must not publish or latch afterwards.
        self.while_nobody_leads(|| self.reopen_alone())
    }

    fn reopen_alone(&self) -> Result<Option<PartitionRecovery>> {
        let mut appender = self.appender.lock();
        self.owner.check()?;
        if !self.latch.is_down() {
            return Ok(None);
        }
        let (mut history, evidence) = History::load(&self.home)?;
        nothing_foreign(&self.home, &evidence)?;
        let known = self.known(&evidence);
        // Also if the history says that all is well: it may say so in pages that were never written.
        let (recovered, mut report) = recover::recover(&self.home, &self.owner, &mut history, &evidence, known)?;
        let cleared = clear(&self.home, &recovered, &evidence, &mut report.findings);
        self.owner.recovered.lock().push(report.clone());
        let (view, end) = cleared?;
        view.take_over(&self.view());
        self.take_over(&mut appender, history, view, end);
        self.latch.lift();
        drop(appender);
        self.owner.signal.notify();
        Ok(Some(report))
    }

    /// What this process knows of the log, as far as the history doesn't say that it was cut: a truncate whose sync
    /// failed may have reached the file.
    fn known(&self, evidence: &Evidence) -> Known {
        let had = self.view().lineage.epochs().len();
        let cut = evidence.lineage.epochs().iter().skip(had).map(|begun| begun.start).min().unwrap_or(Offset::MAX);
        Known { durable_end: self.durable_end().min(cut), end: self.end().min(cut), is_held: true }
    }

    fn take_over(&self, appender: &mut Appender, history: History, view: LogView, end: Offset) {
        let append_time = append_time_of(&view).max(appender.append_time);
        let (written_bytes, noted) = (appender.written_bytes, appender.noted);
        *appender = Appender { written_bytes, noted, ..Appender::idle(end, append_time) };
        self.sync.all_synced(written_bytes);
        *self.history.lock() = history;
        let mut shown = self.view.write();
        *shown = Arc::new(view);
        self.end.store(end.get(), Ordering::Release);
        self.durable.store(end.get(), Ordering::Release);
        // Under the lock: whoever gets the new view also sees that places must be admitted anew.
        self.version.fetch_add(1, Ordering::AcqRel);
    }
}

impl LogView {
    /// Its segments are new, though files of theirs are not.
    fn take_over(&self, before: &LogView) {
        for part in &self.parts {
            let same = before.same_segment(part.segment.id, true);
            same.inspect(|known| part.segment.take_over(known));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::format::{HEADER_BYTES, INDEX_ENTRY_BYTES};
    use crate::{Durability, Offset, Start, Store, TopicOptions};

    #[test]
    fn an_index_that_is_yet_to_be_cut_is_read_no_further_than_it_is_written() {
        let temp = tempfile::tempdir().expect("makes a directory");
        let store = Store::create(temp.path().join("data")).expect("creates");
        let options = TopicOptions::new().segment_bytes_max(64 << 10);
        let topic = store.create_topic("orders", options).expect("creates");
        let log = topic.log(0).expect("is there");
        // Whoever is to cut the files comes to it when the run ends.
        log.home.runner.start();
        while log.view().parts.len() < 2 {
            topic.append(&[7; 1000]).expect("appends");
        }
        log.latch_down(&log.home.dir);
        log.reopen().expect("reopens").expect("was latched");
        let first = log.view().parts[0].segment.clone();
        let index = first.index().expect("is there");
        log.home.runner.stop();
        let cut = log.home.shown(&log.home.index_path(first.id)).metadata().expect("is there").len();
        assert_eq!((HEADER_BYTES + index.len() * INDEX_ENTRY_BYTES) as u64, cut);
    }

    /// Records outlive their store, and with it the lock: the next session, also of another process, may find them mapped.
    #[test]
    fn what_records_of_an_earlier_session_show_is_not_cut_by_a_recovery() {
        let temp = tempfile::tempdir().expect("makes a directory");
        let data = temp.path().join("data");
        let store = Store::create(&data).expect("creates");
        let written = TopicOptions::new().durability(Durability::Written);
        let topic = store.create_topic("orders", written).expect("creates");
        let partition = topic.partition(0).expect("is there");
        let fill = |n| (0..n).for_each(|_| _ = partition.append(&[7; 1000]).expect("appends"));
        fill(10);
        partition.sync().expect("syncs");
        fill(90);
        let kept = partition.read_from(Start::Earliest).and_then(|mut reader| reader.read()).expect("reads");
        let log = topic.log(0).expect("is there");
        let segment = log.home.shown(&log.home.segment_path(log.view().parts[0].segment.id));
        log.latch_down(&log.home.dir);
        store.close().expect_err("is latched");
        let store = Store::open(&data).expect("opens");
        let end = store.topic("orders").and_then(|topic| topic.partition(0)).expect("recovers").end();
        assert_eq!(end, Offset::new(100));
        assert!(segment.metadata().expect("is there").len() > 100 * 1000, "what is lent was cut");
        assert!(kept.iter().all(|record| record.value() == [7; 1000]));
    }
}
