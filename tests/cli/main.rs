//! What the command-line program promises, each promise run as a process of its own.
//!
//! Run with `--features cli`. `support` is the language; every module is one part of the promise.
#![cfg(feature = "cli")]

mod damage;
mod groups;
mod hints;
mod kill;
mod places;
mod refusals;
mod repair;
mod roundtrip;
mod spec;
mod support;
