//! What repair tells: data, before and after it is done.
//!
//! Invariant: a step names what is wrong, what is done about it, and everything that it costs.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use crate::error::Error;
use crate::name::TopicName;
use crate::offset::Offset;

/// What to do about damage around which the rest of a partition can be read: a batch, the end, or all of a sealed
/// segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDamage {
    /// It stays. Whoever reads there is told, and goes on behind it if asked to. Costs nothing that isn't lost already.
    #[default]
    Keep,
    /// The partition is cut at the first damage: what is behind leaves the log.
    Cut,
    /// The start is raised behind the last damage: what is in front of it leaves the log.
    Trim,
}

/// What is done about something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// The partition ends at this offset from now on, and a new epoch begins there. What stood behind goes to the
    /// quarantine.
    Cut {
        /// The offset.
        at: Offset,
    },
    /// The partition starts at this offset from now on. Segments of which nothing counts any more go to the quarantine.
    Trim {
        /// The offset.
        to: Offset,
    },
    /// The file is told anew from what the others say; the original goes to the quarantine.
    Rebuild,
    /// The file goes to the quarantine.
    SetAside,
    /// Nothing: the damage stays, and what is around it can be read.
    Keep,
    /// Nothing: this can't be put right. A person can do what is said here.
    Refuse(String),
}

/// One thing that is wrong, and what is done about it.
#[derive(Debug)]
#[non_exhaustive]
pub struct RepairStep {
    /// The topic; none for the store's own file.
    pub topic: Option<TopicName>,
    /// The partition, if it is a partition's file.
    pub partition: Option<u32>,
    /// What is wrong.
    pub problem: Error,
    /// What is done about it.
    pub remedy: Remedy,
    /// The offsets that can't be read from then on, or already can't.
    pub lost: Option<Range<Offset>>,
    /// The bytes that leave the log; they are kept in the quarantine.
    pub bytes: u64,
    /// The files whose originals, or their ends, go to the quarantine.
    pub files: Vec<PathBuf>,
    /// What else there is to know: what can't be told any more.
    pub note: Option<String>,
}

impl RepairStep {
    /// A step that costs nothing, as far as is known yet.
    pub(crate) fn new(topic: Option<&TopicName>, partition: Option<u32>, problem: Error, remedy: Remedy) -> RepairStep {
        let topic = topic.cloned();
        RepairStep { topic, partition, problem, remedy, lost: None, bytes: 0, files: Vec::new(), note: None }
    }

    /// Whether something is done.
    #[must_use]
    pub fn changes(&self) -> bool {
        !matches!(self.remedy, Remedy::Keep | Remedy::Refuse(_))
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remedy::Cut { at } => write!(f, "cut at offset {at}"),
            Remedy::Trim { to } => write!(f, "start at offset {to}"),
            Remedy::Rebuild => f.write_str("tell it anew"),
            Remedy::SetAside => f.write_str("set it aside"),
            Remedy::Keep => f.write_str("stays"),
            Remedy::Refuse(way_out) => write!(f, "can't be repaired: {way_out}"),
        }
    }
}

impl fmt::Display for RepairStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.topic, self.partition) {
            (Some(topic), Some(partition)) => write!(f, "topic `{topic}`, partition {partition}: ")?,
            (Some(topic), None) => write!(f, "topic `{topic}`: ")?,
            (None, _) => {}
        }
        write!(f, "{}\n  {}", self.problem.in_one_line(), self.remedy)?;
        if let Some(lost) = &self.lost {
            write!(f, "; lost: offsets {}..{}", lost.start, lost.end)?;
        }
        if self.bytes > 0 {
            write!(f, "; {} bytes to the quarantine", self.bytes)?;
        }
        for file in &self.files {
            write!(f, "\n  original: `{}`", file.display())?;
        }
        match &self.note {
            Some(note) => write!(f, "\n  {note}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_says_where_what_and_everything_that_it_costs() {
        let mut step = RepairStep::new(None, None, Error::Closed, Remedy::Rebuild);
        let problem = Error::Closed.to_string();
        assert_eq!(step.to_string(), format!("{problem}\n  tell it anew"));
        step.topic = Some(TopicName::new("orders").expect("is a name"));
        assert_eq!(step.to_string(), format!("topic `orders`: {problem}\n  tell it anew"));
        let source = std::io::Error::other("is a directory");
        step.problem = Error::Io { operation: "read", path: "a.log".into(), source };
        assert!(step.to_string().contains("cannot read `a.log`: is a directory\n"), "{step}");
        step.problem = Error::Closed;
        (step.partition, step.lost, step.bytes) = (Some(3), Some(Offset::new(5)..Offset::new(9)), 70);
        (step.files, step.note) = (vec!["a.log".into()], Some("it is old".into()));
        let costs = "tell it anew; lost: offsets 5..9; 70 bytes to the quarantine\n  original: `a.log`\n  it is old";
        assert_eq!(step.to_string(), format!("topic `orders`, partition 3: {problem}\n  {costs}"));
    }

    #[test]
    fn a_remedy_says_what_is_done() {
        let said = [
            (Remedy::Cut { at: Offset::new(5) }, "cut at offset 5"),
            (Remedy::Trim { to: Offset::new(5) }, "start at offset 5"),
            (Remedy::SetAside, "set it aside"),
            (Remedy::Keep, "stays"),
            (Remedy::Refuse("ask for help".into()), "can't be repaired: ask for help"),
        ];
        for (remedy, words) in said {
            assert_eq!(remedy.to_string(), words);
        }
    }
}
