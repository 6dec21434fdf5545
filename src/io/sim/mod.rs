//! A machine that can be stopped anywhere: a disk that loses, tears, fills up and fails, a clock moved by hand and
//! randomness from a seed.
//!
//! Invariant: it is never kinder than a real disk. What was not synced can be lost page by page, length by length and
//! name by name, in any order; a sync covers one file's bytes and length or one directory's names, and nothing else.
//!
//! To crash-test your own code, open a store on [`SimDisk::seam`], run it, and at any point (every one: see
//! [`SimDisk::on_operation`]) take an [`Image`]. From it comes every disk that a crash at that point can leave:
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
//! for lost in 0..image.pending().len() {
//!     let disk = image.after(Loss::Only(lost));
//!     // reopen on `disk.seam()` and check what must hold
//! #   drop(disk);
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! What it doesn't show: bytes that were written into a map but not published; a second machine on the same disk; that a
//! map shows what a later failed sync reverted; time that passes by itself.
//!
//! In the source, `disk` holds the state behind one mutex, `file` the open files, `medium` names and inodes, `content`
//! the pages of one file, `image` what a crash leaves, `faults` what fails, `harm` what a test does to files itself.

mod clock;
mod content;
mod disk;
mod faults;
mod file;
mod harm;
mod image;
mod medium;
#[cfg(test)]
mod tests;

pub use clock::{SimClock, SimEntropy};
pub use disk::SimDisk;
pub use faults::{Fault, Operation, Pages};
pub use image::{Image, Loss, Pending};
