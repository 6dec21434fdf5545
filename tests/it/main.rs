//! What epochlog promises, one module for each subject. The language of the tests is in `support`.

#![allow(
    clippy::cast_possible_truncation,
    clippy::drop_non_drop,
    clippy::needless_pass_by_value,
    clippy::unused_self,
    reason = "the numbers of a test are small, and its language reads better without borrows"
)]

mod support;

mod after_failure;
mod api;
mod append_and_read;
mod bad_input;
mod beside;
mod bystanders;
mod commits_file;
mod crash;
mod damage;
mod dumping;
mod durability;
mod emptying;
mod epoch_numbers;
mod epochs;
mod errors;
mod faults;
mod findings;
mod full_disk;
mod full_disk_crashes;
mod gaps;
mod groups;
mod losses;
mod peers;
mod prepared;
mod processes;
mod quarantine;
mod readers;
mod reopen;
mod repair;
mod repair_alone;
mod repair_copies;
mod repair_crash;
mod repair_plans;
mod resting;
mod retention;
mod side_by_side;
mod simulate;
mod strays;
mod stress;
mod topic_headers;
mod variants;
mod verifying;
