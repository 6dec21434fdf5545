//! The whole engine under shuttle, which chooses at every lock, wait and atomic which thread goes on. What is raced here
//! must hold in every order; an order that breaks it is printed, and replayed by `shuttle::replay`.
//!
//! ```sh
//! RUSTFLAGS="--cfg shuttle" cargo test --release --features testing --test threads
//! ```
//!
//! `EPOCHLOG_SCHEDULES` says how many orders of each race are tried, 1,000 if it doesn't. Without `--cfg shuttle` there
//! is nothing in here. A wait has no time-out in a model: whoever is not woken is a deadlock, which shuttle reports.
#![cfg(shuttle)]

mod races;
mod support;
