//! What to do about a refusal, in the words of whoever typed a command: the library speaks of its own calls.
//!
//! Invariant: a hint names commands and options that there are, with the names that were typed; where there is nothing
//! to add, there is none.

use std::path::Path;

use epochlog::{Error, Place};

use crate::args::{Cli, Command, ConsumeArgs, GroupCommand};

pub(crate) fn hint(cli: &Cli, error: &Error) -> Option<String> {
    match (error, &cli.command) {
        (Error::StaleEpoch { place, .. } | Error::Diverged { place, .. }, command) => {
            elsewhere(command, place.partition(), Some(*place))
        }
        (Error::OffsetOutOfRange { partition, .. }, command) => elsewhere(command, *partition, None),
        (Error::TopicNotFound { topic }, Command::Produce(_)) => {
            Some(format!("`epochlog topic create {topic}` creates it; `epochlog topic list` tells which there are"))
        }
        (Error::TopicNotFound { .. }, _) => Some("`epochlog topic list` tells which there are".into()),
        (Error::NotAStore { path, reason }, _) if reason.contains("create") => Some(init(path)),
        (Error::StoreExists { .. }, Command::Demo { .. }) => {
            Some("name another directory, or none for one among the temporary files".into())
        }
        (Error::StoreExists { .. }, Command::Init) => Some("nothing is left to do; all other commands open it".into()),
        (Error::Locked { .. }, Command::Repair(_)) => {
            Some("`epochlog verify` looks for damage beside the writer".into())
        }
        (Error::Locked { .. }, Command::Consume(_)) => Some("without `--group` it reads beside the writer".into()),
        (Error::Latched { .. }, _) => Some("the next command that writes opens the store again and recovers it".into()),
        (Error::TooLarge { .. }, Command::Produce(_)) => {
            Some("`epochlog topic create --segment-bytes SIZE` sets it for a new topic".into())
        }
        _ => None,
    }
}

fn init(path: &Path) -> String {
    format!("`epochlog --data {} init` creates a store there", typed(path))
}

/// A path as a shell takes it for one word.
pub(crate) fn typed(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// What the library calls to seek. A group's place is moved in the partition that refused it and in no other.
fn elsewhere(command: &Command, partition: u32, place: Option<Place>) -> Option<String> {
    match command {
        Command::Consume(ConsumeArgs { topic, group: Some(group), from, .. })
            if place.is_none() || place != from.place().ok().flatten() =>
        {
            Some(format!(
                "`epochlog group reset {topic} {group} --partition {partition} --to WHERE` chooses where the group goes \
                 on: `earliest`, `latest`, an offset, a time or a place"
            ))
        }
        Command::Consume(_) => {
            Some("choose where to begin: `--beginning`, `--tail N`, `--start OFFSET` or `--since TIME`".into())
        }
        Command::Group { command: GroupCommand::Reset(_) } => {
            Some("choose another `--to`: `earliest`, `latest`, an offset, a time or a place".into())
        }
        _ => None,
    }
}
