//! Whatever fails at whatever operation, on the simulated disk.

mod clock;
mod waiters;
