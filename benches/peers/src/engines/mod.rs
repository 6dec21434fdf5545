//! One file for each engine. A new one is a file here and a line in [`ALL`].

use crate::peer::Peer;

mod commitlog;
mod epochlog;
mod fjall;
mod kafko;
mod okaywal;
mod open_wal;
mod raft_engine;
mod redb;
mod sqlite;
mod wal_db;
mod walrus;
mod writeahead;

pub const ALL: [Peer; 14] = [
    epochlog::WRITTEN,
    epochlog::DURABLE,
    epochlog::UNMAPPED,
    commitlog::PEER,
    fjall::PEER,
    kafko::PEER,
    okaywal::PEER,
    open_wal::PEER,
    raft_engine::PEER,
    redb::PEER,
    sqlite::PEER,
    wal_db::PEER,
    walrus::PEER,
    writeahead::PEER,
];

/// Before any thread is started: what an engine takes from nowhere but the environment.
pub fn prepare(base: &std::path::Path) {
    // SAFETY: `main` calls this first, and no other thread runs yet that could read the environment.
    unsafe {
        std::env::set_var(walrus::BASE_VARIABLE, base);
        std::env::set_var(walrus::QUIET_VARIABLE, "1");
    }
}
