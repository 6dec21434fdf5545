//! Fixed identities and records that the tests of the format share.

use super::{FileKind, Identity, NO_EPOCH};
use crate::offset::{Epoch, Offset, Timestamp};

pub(crate) const TIME: Timestamp = Timestamp::from_millis(1_795_000_000_000);
pub(crate) const CREATION: Epoch = Epoch { number: 7, tag: 0x9f3a_5c01_d2e4_b687 };
pub(crate) const EPOCH: Epoch = Epoch { number: 8, tag: 0x1c2d_3e4f_5061_7283 };

pub(crate) const SEGMENT: Identity = Identity {
    kind: FileKind::Segment,
    store: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    creation: CREATION,
    partition: Some(0),
    epoch: EPOCH,
    base: Offset::new(100),
};
pub(crate) const INDEX: Identity = Identity { kind: FileKind::Index, ..SEGMENT };
pub(crate) const HISTORY: Identity =
    Identity { kind: FileKind::History, epoch: NO_EPOCH, base: Offset::ZERO, ..SEGMENT };
pub(crate) const COMMITS: Identity = Identity { kind: FileKind::Commits, partition: None, ..HISTORY };
pub(crate) const TOPIC: Identity = Identity { kind: FileKind::Topic, ..COMMITS };
pub(crate) const STORE: Identity = Identity { kind: FileKind::Store, creation: NO_EPOCH, ..COMMITS };
