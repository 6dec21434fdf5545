//! The names of files and directories, and back.
//!
//! Invariant: a name is read only in the one form in which it is written, so that two files never claim to be the same
//! thing. Whoever lists a directory asks here what an entry is; an entry that is nothing is left alone.

use crate::name::TopicName;
use crate::offset::Offset;

/// Held locked while the store is open for writing.
pub(crate) const LOCK: &str = "LOCK";
/// The store's own file; it makes a directory a store.
pub(crate) const STORE: &str = "STORE";
/// Room for a full disk; its content means nothing.
pub(crate) const RESERVE: &str = "RESERVE";
/// The directory of the topics.
pub(crate) const TOPICS: &str = "topics";
/// The directory of what was deleted.
pub(crate) const TRASH: &str = "trash";
/// The directory of what recovery cut and repair moved aside.
pub(crate) const QUARANTINE: &str = "quarantine";
/// A topic's own file.
pub(crate) const TOPIC: &str = "topic";
/// The groups' commits of a topic.
pub(crate) const COMMITS: &str = "commits";
/// What the name of a topic's directory begins with while it is being built.
pub(crate) const NEW_PREFIX: &str = ".new-";
/// The file of a partition's evidence.
pub(crate) const HISTORY: &str = "history";

/// `00000000000000000100@8.log`: the segment that begins at this offset, written by the epoch of this number.
pub(crate) fn segment_file(base: Offset, number: u64) -> String {
    format!("{:020}@{number}.log", base.get())
}

/// `00000000000000000100@8.index`: the index of that segment.
pub(crate) fn index_file(base: Offset, number: u64) -> String {
    format!("{:020}@{number}.index", base.get())
}

/// What [`segment_file`] was given.
pub(crate) fn parse_segment(name: &str) -> Option<(Offset, u64)> {
    parse_base_and_number(name.strip_suffix(".log")?)
}

/// What [`index_file`] was given.
pub(crate) fn parse_index(name: &str) -> Option<(Offset, u64)> {
    parse_base_and_number(name.strip_suffix(".index")?)
}

/// `orders@7`: the topic of this name, created in the epoch of this number.
pub(crate) fn topic_dir(name: &TopicName, number: u64) -> String {
    format!("{name}@{number}")
}

/// What [`topic_dir`] was given.
pub(crate) fn parse_topic_dir(text: &str) -> Option<(TopicName, u64)> {
    let (name, number) = text.split_once('@')?;
    Some((TopicName::new(name).ok()?, parse_number(number)?))
}

/// `3`: the partition of this number, in the directory of its topic.
pub(crate) fn parse_partition_dir(text: &str) -> Option<u32> {
    parse_number(text)?.try_into().ok()
}

fn parse_base_and_number(text: &str) -> Option<(Offset, u64)> {
    let (base, number) = text.split_once('@')?;
    let digits = base.len() == 20 && base.bytes().all(|byte| byte.is_ascii_digit());
    Some((Offset::new(digits.then(|| base.parse().ok())??), parse_number(number)?))
}

/// Digits without leading zeros: the standard parser also takes those, and a sign.
fn parse_number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_at_both_ends() {
        for (base, number) in [(0, 0), (100, 8), (u64::MAX, u64::MAX)] {
            let base = Offset::new(base);
            assert_eq!(parse_segment(&segment_file(base, number)), Some((base, number)));
            assert_eq!(parse_index(&index_file(base, number)), Some((base, number)));
        }
        assert_eq!(segment_file(Offset::new(100), 8), "00000000000000000100@8.log");
        assert_eq!(index_file(Offset::new(100), 8), "00000000000000000100@8.index");
    }

    #[test]
    fn a_topic_directory_comes_back() {
        let name = TopicName::new("cloud-command").expect("is a name");
        assert_eq!(topic_dir(&name, 7), "cloud-command@7");
        assert_eq!(parse_topic_dir("cloud-command@7"), Some((name, 7)));
    }

    #[test]
    fn any_other_form_is_no_name_of_ours() {
        for name in [
            "",
            "@",
            ".log",
            "@.log",
            "0@7.log",
            "00000000000000000000.log",
            "00000000000000000000@.log",
            "00000000000000000000@07.log",
            "00000000000000000000@+7.log",
            "+0000000000000000000@7.log",
            "99999999999999999999@7.log",
            "00000000000000000000@7.log.tmp",
            "00000000000000000000@7@7.log",
            "00000000000000000000@7.LOG",
            " 00000000000000000000@7.log",
            "00000000000000000000@7.index",
            "0000000000000000000é@7.log",
        ] {
            assert_eq!(parse_segment(name), None, "{name}");
        }
        for name in ["", "@7", "orders", "orders@", "orders@07", "orders@7.tmp", "or ders@7", "orders@7@8", "orders@-7"]
        {
            assert_eq!(parse_topic_dir(name), None, "{name}");
        }
        for name in ["", "+1", "01", "-1", "1 ", "1.log", "4294967296"] {
            assert_eq!(parse_partition_dir(name), None, "{name}");
        }
        assert_eq!(parse_partition_dir("4294967295"), Some(u32::MAX));
    }
}
