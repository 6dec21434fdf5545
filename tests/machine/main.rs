//! The real machine: kernels, file systems, processes that die. What the simulated disk can't show, one module for each
//! way of dying.
//!
//! The writer is always a child: this very executable, run again and told so by its environment ([`part`]). What it was
//! promised travels over a pipe to the parent, who keeps it while the child is killed, starved or cut off ([`oracle`]).
//! Where the machine doesn't allow something (no `strace`, no root, no loop device) the test says so aloud and passes.
//!
//! - `kill`: killed at a random moment, for many rounds over one store. F1.
//! - `bulk`: the same to a writer of large batches beside the background threads. F1.
//! - `at_every_call`: killed at every system call that changes something, recovery too. F1, F18.
//! - `errors`: a system call fails, for every one of them. F7, F8, F9.
//! - `full`: a disk that fills up and is emptied again. F9. `limit`: a limit on the size of files. F9.
//! - `power`: the image of a mounted file system, copied in mid-run. F2, F3.
//! - `waiters`: threads that wait for one sync, killed, and told that it failed. F1, F7.
//! - `alone`: one writer, and the lock that dies with it. F16.

#![allow(
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    reason = "the numbers of a test are small, and its language reads better without borrows"
)]

mod aloud;
mod apart;
mod chance;
mod look;
mod oracle;
mod part;
mod report;
mod script;
mod strace;
mod tree;
mod worker;

mod alone;
mod at_every_call;
mod bulk;
mod errors;
mod full;
mod kill;
mod limit;
mod power;
mod waiters;
