//! What epochlog promises, one module for each subject. The language of the tests is in `support`.

mod support;

mod api;
mod append_and_read;
mod bad_input;
mod durability;
mod errors;
mod groups;
mod model;
mod readers;
mod retention;
