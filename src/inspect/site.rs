//! Where the files of a store are, found by walking its directories.
//!
//! Invariant: nothing is asked of an open topic, so that a damaged one can be looked at. Names that are none of ours are
//! left alone. Used by `verify` and `dump`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{IoContext, Result};
use crate::format::{FileKind, HEADER_BYTES, Identity, RESERVE, STORE, TOPICS, parse_topic_dir};
use crate::io::{Access, Kind, Reserve, Seam, read_full_at};
use crate::name::TopicName;
use crate::offset::{Epoch, Position};
use crate::segment::{Cache, Home, header_of, not_found, what_of};

/// A store's directory and the id that all its files must carry.
pub(super) struct Site {
    pub(super) seam: Seam,
    pub(super) store: [u8; 16],
}

/// A topic's directory.
#[derive(Clone, Debug)]
pub(super) struct TopicDir {
    pub(super) path: PathBuf,
    pub(super) name: TopicName,
    pub(super) number: u64,
}

impl Site {
    /// Reads the store's id from the header of its own file, whatever stands behind it.
    pub(super) fn find(seam: &Seam) -> Result<Site> {
        let (path, shown) = (Path::new(STORE), seam.dir.root().join(STORE));
        let file = seam.dir.open(path, Access::Read);
        let file = file.map_err(|source| not_found(source, &shown, what_of(FileKind::Store)))?;
        let mut header = [0; HEADER_BYTES];
        let got = read_full_at(&*file, &mut header, 0).at("read", &shown)?;
        let (identity, _created) = Identity::decode(&header[..got])
            .map_err(|error| error.at(header_of(FileKind::Store), &shown, Some(Position::new(0)), None))?;
        Ok(Site { seam: seam.clone(), store: identity.store })
    }

    pub(super) fn shown(&self, path: &Path) -> PathBuf {
        self.seam.dir.root().join(path)
    }

    /// The directories of topics, by name and number.
    pub(super) fn topic_dirs(&self) -> Result<Vec<TopicDir>> {
        let topics = Path::new(TOPICS);
        let entries = self.seam.dir.list(topics).at("list", &self.shown(topics))?;
        let mut dirs: Vec<TopicDir> = entries
            .iter()
            .filter(|entry| entry.kind == Kind::Dir)
            .filter_map(|entry| {
                let (name, number) = parse_topic_dir(&entry.name)?;
                Some(TopicDir { path: topics.join(&entry.name), name, number })
            })
            .collect();
        dirs.sort_by(|a, b| (&a.name, a.number).cmp(&(&b.name, b.number)));
        Ok(dirs)
    }

    /// Whether the topic is still there; one that was deleted meanwhile is no damage.
    pub(super) fn is_there(&self, topic: &TopicDir) -> bool {
        match self.seam.dir.list(&topic.path) {
            Err(error) => error.kind() != io::ErrorKind::NotFound,
            Ok(_) => true,
        }
    }

    /// What the files of a partition are read by: never mapped, never written.
    pub(super) fn home(&self, topic: &TopicDir, creation: Epoch, partition: u32) -> Arc<Home> {
        Arc::new(Home {
            seam: self.seam.clone(),
            mapped: false,
            runner: Arc::default(),
            read_only: true,
            unclean: false,
            cache: Arc::new(Cache::new(1)),
            reserve: Reserve::new(&self.seam.dir, RESERVE, 0),
            dir: topic.path.join(partition.to_string()),
            store: self.store,
            creation,
            partition,
        })
    }
}
