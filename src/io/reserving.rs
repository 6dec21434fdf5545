//! Reserving blocks of a file, so that a write through a map finds its block there.
//!
//! Invariant: where `is_known` says so, what `extend` returned for can be written whatever else fills the disk. Used by `os`.

#[cfg(all(test, target_os = "linux"))]
pub(super) use linux::write_zeros;
#[cfg(target_os = "linux")]
pub(super) use linux::{extend, is_known};
#[cfg(not(target_os = "linux"))]
pub(super) use others::{extend, is_known};

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    use rustix::fs::{FallocateFlags, fallocate, fstatfs, statfs};
    use rustix::io::{Errno, retry_on_intr};

    // From linux/magic.h; the name is shared by ext2, ext3 and ext4.
    const EXT4_SUPER_MAGIC: i64 = 0xEF53;
    const XFS_SUPER_MAGIC: i64 = 0x5846_5342;
    const TMPFS_MAGIC: i64 = 0x0102_1994;

    /// Whether `extend` takes the blocks for good there: neither compression nor a server far away can ask for others
    /// later, and copy-on-write only for those that a copy by reflink shares, on XFS. False for what can't be asked.
    pub(in crate::io) fn is_known(root: &Path) -> bool {
        statfs(root).is_ok_and(|system| is_reserving(magic(&system)))
    }

    fn is_reserving(magic: i64) -> bool {
        matches!(magic, EXT4_SUPER_MAGIC | XFS_SUPER_MAGIC | TMPFS_MAGIC)
    }

    // The field's type differs from one architecture to the next.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    fn magic(system: &rustix::fs::StatFs) -> i64 {
        system.f_type as i64
    }

    pub(in crate::io) fn extend(file: &File, from: u64, to: u64) -> io::Result<()> {
        match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), from, to - from)) {
            Err(Errno::OPNOTSUPP) => without_fallocate(file, from, to),
            done => Ok(done?),
        }
    }

    /// `is_known` promised blocks by the file system's name, but ext2 and ext3 bear the name of ext4 and can't
    /// `fallocate`: there only written zeros take their blocks.
    fn without_fallocate(file: &File, from: u64, to: u64) -> io::Result<()> {
        if fstatfs(file).is_ok_and(|system| is_reserving(magic(&system))) {
            write_zeros(file, from, to)
        } else {
            file.set_len(to)
        }
    }

    pub(in crate::io) fn write_zeros(file: &File, mut from: u64, to: u64) -> io::Result<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        while from < to {
            let n = usize::try_from(to - from).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            file.write_all_at(&ZEROS[..n], from)?;
            from += n as u64;
        }
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod others {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub(in crate::io) fn is_known(_root: &Path) -> bool {
        false
    }

    pub(in crate::io) fn extend(file: &File, _from: u64, to: u64) -> io::Result<()> {
        file.set_len(to)
    }
}
