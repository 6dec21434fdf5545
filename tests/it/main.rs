//! What epochlog promises, one module for each subject. The language of the tests is in `support`.

mod support;

mod api;
mod append_and_read;
mod bad_input;
mod crash;
mod durability;
mod epochs;
mod errors;
mod groups;
mod model;
mod peers;
mod processes;
mod readers;
mod retention;
mod stress;
