//! Opens the store as a command needs it, and tells what recovery did.
//!
//! Invariant: no command makes a store but `init` and `demo`; commands that only look open read-only, so that they work
//! beside a live writer.

use std::cell::RefCell;
use std::path::Path;

use epochlog::{Error, Mapping, Store, StoreOptions};

use crate::args::{Cli, MappingArg, OutputArg};
use crate::failure::{Failure, Outcome, report_refusal};
use crate::{say, usage};

/// What all commands have in common.
pub(crate) struct Context<'a> {
    data: Option<&'a Path>,
    data_is_typed: bool,
    mapping: Mapping,
    output: OutputArg,
    /// The store that was opened for writing, and how many partitions were recovered in that open.
    written: RefCell<Option<(Store, usize)>>,
}

impl<'a> Context<'a> {
    pub(crate) fn of(cli: &'a Cli) -> Context<'a> {
        let mapping = match cli.mapping {
            MappingArg::Auto => Mapping::Auto,
            MappingArg::Never => Mapping::Never,
        };
        Context {
            data: cli.data.as_deref(),
            data_is_typed: cli.data_is_typed,
            mapping,
            output: cli.output,
            written: RefCell::default(),
        }
    }

    /// Whether programs read the output.
    pub(crate) fn json(&self) -> bool {
        self.output == OutputArg::Json
    }

    pub(crate) fn options(&self) -> StoreOptions {
        StoreOptions::new().mapping(self.mapping)
    }

    /// The store's directory.
    pub(crate) fn data(&self) -> Outcome<&'a Path> {
        self.data.ok_or_else(|| usage("no store was named: give `--data DIR` or set `EPOCHLOG_DATA`".into()))
    }

    /// The directory that this call names itself. The environment names the store that is worked with, which is none to
    /// try things out in.
    pub(crate) fn typed_data(&self) -> Option<&'a Path> {
        self.data.filter(|_| self.data_is_typed)
    }

    pub(crate) fn create(&self) -> Outcome<Store> {
        Ok(self.options().create(self.data()?)?)
    }

    /// Opens for writing. A long-running command syncs and maintains in the background.
    pub(crate) fn write(&self, background: bool) -> Outcome<Store> {
        let store = self.options().background(background).open(self.data()?)?;
        tell_recovery(&store);
        self.written.replace(Some((store.clone(), store.recovery().partitions.len())));
        Ok(store)
    }

    /// Tells of the partitions that were recovered behind the open, when the command first used them.
    pub(crate) fn tell_later_recovery(&self) {
        let Some((store, told)) = self.written.take() else { return };
        let mut recovery = store.recovery();
        recovery.failed.clear();
        recovery.partitions.drain(..told);
        if !recovery.partitions.is_empty() {
            say(&recovery.to_string());
        }
    }

    pub(crate) fn read(&self) -> Outcome<Store> {
        let store = self.options().open_read_only(self.data()?)?;
        tell_recovery(&store);
        Ok(store)
    }
}

fn tell_recovery(store: &Store) {
    let recovery = store.recovery();
    if !recovery.is_clean() {
        say(recovery.to_string().trim_end());
    }
}

/// Closes a store whose work is done; a failure to close is a failure of the command.
pub(crate) fn close(store: Store) -> Outcome {
    store.close().map_err(Failure::from)
}

/// The one partition that a command is about: the one that was named, or the only one there is.
pub(crate) fn one_partition(topic: &epochlog::Topic, named: Option<u32>) -> Outcome<epochlog::Partition> {
    match named {
        Some(number) => Ok(topic.partition(number)?),
        None if topic.partitions() == 1 => Ok(topic.partition(0)?),
        None => Err(Failure::Told(format!(
            "topic `{}` has {} partitions; choose one with `--partition`",
            topic.name(),
            topic.partitions()
        ))),
    }
}

/// The partitions that a command looks at: those that were named, or all. Of all, one that can't be opened is told and left
/// out, and the command comes to the outcome that is given when it is through with the others.
pub(crate) fn those_that_open(
    topic: &epochlog::Topic,
    named: &[u32],
) -> Result<(Vec<epochlog::Partition>, Outcome), Error> {
    if !named.is_empty() {
        return Ok((partitions(topic, named)?, Ok(())));
    }
    let (mut opened, mut outcome) = (Vec::new(), Ok(()));
    for number in 0..topic.partitions() {
        match topic.partition(number) {
            Err(error) if !matches!(error, Error::TopicDeleted { .. }) => {
                report_refusal(&error);
                outcome = Err(Failure::Damage);
            }
            other => opened.push(other?),
        }
    }
    Ok((opened, outcome))
}

/// The partitions that a command is about: those that were named, or all.
pub(crate) fn partitions(topic: &epochlog::Topic, named: &[u32]) -> Result<Vec<epochlog::Partition>, Error> {
    let mut numbers: Vec<u32> = if named.is_empty() { (0..topic.partitions()).collect() } else { named.to_vec() };
    numbers.sort_unstable();
    numbers.dedup();
    numbers.into_iter().map(|number| topic.partition(number)).collect()
}
