//! What epochlog promises, one module for each subject. The language of the tests is in `support`.

mod support;

mod append_and_read;
mod crash;
mod durability;
mod epochs;
mod model;
mod peers;
mod processes;
mod stress;
