//! Standard output, buffered; and progress bars on standard error, where a person looks at it.
//!
//! Invariant: nothing is printed by a macro that panics when the pipe is closed.

use std::io::{self, BufWriter, StdoutLock, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use crate::json;

/// Standard output; whoever takes it flushes it.
pub(crate) fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(64 << 10, io::stdout().lock())
}

/// Prints a text.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A reader that closes the pipe has heard enough. For commands that answer by their exit code, which it doesn't end.
pub(crate) fn or_closed(printed: io::Result<()>) -> io::Result<()> {
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Prints one JSON document.
pub(crate) fn print_json(value: &Value) -> io::Result<()> {
    let mut out = stdout();
    json::document(value, &mut out)?;
    out.flush()
}

/// A bar that counts bytes; invisible unless standard error is a terminal.
pub(crate) fn bytes_bar(what: &'static str, total: u64) -> ProgressBar {
    bar(what, total, "{msg:>9} [{bar:40}] {bytes}/{total_bytes} {bytes_per_sec}")
}

/// A bar that counts records; invisible unless standard error is a terminal.
pub(crate) fn records_bar(what: &'static str, total: u64) -> ProgressBar {
    bar(what, total, "{msg:>9} [{bar:40}] {human_pos}/{human_len} records {per_sec}")
}

fn bar(what: &'static str, total: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    bar.set_style(style.progress_chars("=> "));
    bar.set_message(what);
    bar
}
