//! A machine that can be stopped anywhere: a disk that loses, tears, fills up and fails, a clock moved by hand and
//! randomness from a seed.
//!
//! Invariant: it is never kinder than a real disk. What was not synced can be lost page by page, length by length and
//! name by name, in any order; a sync covers one file's bytes and length or one directory's names, and nothing else.
//!
//! # Crash-testing your own code
//!
//! Open a store on [`SimDisk::seam`] and let your code run on it. Before every operation take an [`Image`], together with
//! what your code has promised by then; from it comes every disk that a crash at that point can leave. Open a store on
//! each of them and look at what must hold:
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
//! use std::sync::{Arc, Mutex};
//!
//! use epochlog::testing::{Image, Loss, SimDisk};
//! use epochlog::{Error, Record, Start, Store, StoreOptions, TopicOptions};
//!
//! /// The code under test: money leaves one account and comes to another.
//! fn pay(store: &Store, n: u64) -> Result<(), Error> {
//!     let accounts = store.topic_or_create("accounts", TopicOptions::new())?;
//!     let (out, into) = (format!("alice -{n}"), format!("bob +{n}"));
//!     accounts.partition(0)?.append_batch(&[Record::new(&out), Record::new(&into)])?;
//!     Ok(())
//! }
//!
//! /// What must hold after any crash: both halves of a payment or none, and all that were confirmed.
//! fn check(disk: SimDisk, confirmed: u64) -> Result<(), Error> {
//!     let store = StoreOptions::new().seam(disk.seam()).open_or_create("/sim")?;
//!     let accounts = store.topic_or_create("accounts", TopicOptions::new())?;
//!     let found = accounts.partition(0)?.read_from(Start::Earliest)?.read()?.iter().count() as u64;
//!     assert!(found % 2 == 0 && found >= 2 * confirmed, "{found} records after {confirmed} payments");
//!     pay(&store, 99) // and it goes on
//! }
//!
//! let disk = SimDisk::new(1);
//! let confirmed = Arc::new(AtomicU64::new(0));
//! let film: Arc<Mutex<Vec<(Image, u64)>>> = Arc::default();
//! let (promised, shots) = (confirmed.clone(), film.clone());
//! disk.on_operation(Box::new(move |operation| {
//!     shots.lock().unwrap().push((operation.image(), promised.load(SeqCst)));
//! }));
//! let store = StoreOptions::new().seam(disk.seam()).create("/sim")?;
//! for n in 1..=3 {
//!     pay(&store, n)?;
//!     confirmed.fetch_add(1, SeqCst);
//! }
//!
//! let mut crashes = 0;
//! for (image, confirmed) in film.lock().unwrap().iter() {
//!     let each_one = (0..image.pending().len()).map(Loss::Only);
//!     for loss in [Loss::None, Loss::All].into_iter().chain(each_one) {
//!         check(image.after(loss), *confirmed)?; // killed; power cut; power cut that lost one thing alone
//!         crashes += 1;
//!     }
//! }
//! assert!(crashes > 100);
//! # Ok::<(), Error>(())
//! ```
//!
//! Code that writes files of its own does so through [`Dir`](crate::testing::Dir) and [`File`](crate::testing::File):
//!
//! ```
//! use epochlog::testing::{Dir, Loss, SimDisk};
//! # use std::path::Path;
//! let disk = SimDisk::new(1);
//! let file = disk.create(Path::new("accounts"))?;
//! disk.sync(Path::new(""))?;
//! file.write_at(b"alice 10", 0)?;
//! file.sync()?;
//! file.write_at(b"alice 99", 0)?;
//!
//! let image = disk.image();
//! assert_eq!(image.after(Loss::None).read("accounts"), b"alice 99"); // kill -9: the kernel has it
//! assert_eq!(image.after(Loss::All).read("accounts"), b"alice 10"); // power cut: the medium hasn't
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Failing and lying
//!
//! A [`Fault`] lets operations fail: which, when, with what error, and what is left behind. With [`Fault::lies`] they
//! answer well and do something else: lose or misdirect a write in the cache or on the medium, answer a read with old
//! bytes or with those of another place. [`Image::over_stale_blocks`] fills what a file gained and lost with what the
//! disk held there before.
//!
//! # What it doesn't show
//!
//! - Bytes that were written into a map but not published.
//! - A living map that changes: what a failed sync reverted, what [`SimDisk::drop_caches`] let go of, a page that is read
//!   from the wrong place later than the map was made. A map lies from its beginning or never.
//! - A `write` that is lost or misdirected beside a writing map of the same file: the map has the bytes.
//! - An I/O error under a map. On a real disk it ends the process.
//! - Lies about names, lengths and reservations; of a sync lies are told by whole pages.
//! - Two versions of one page that are both unsynced: the medium has the last one or none of them.
//! - A second machine on the same disk; time that passes by itself.
//!
//! In the source, `disk` holds the state behind one mutex, `file` the open files, `medium` names and inodes, `content`
//! the pages of one file, `image` what a crash leaves, `faults` what fails, `lies` what answers well and does something
//! else, `harm` what a test does to files itself.

mod clock;
mod content;
mod disk;
mod faults;
mod file;
mod harm;
mod image;
mod lies;
#[cfg(test)]
mod lies_tests;
mod medium;
#[cfg(test)]
mod tests;

pub use clock::{SimClock, SimEntropy};
pub use disk::SimDisk;
pub use faults::{Fault, Operation, Pages};
pub use image::{Image, Loss, Pending};
pub use lies::Lie;
