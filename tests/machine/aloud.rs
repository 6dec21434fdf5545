//! What must be heard: the harness swallows what a test that passes prints, and a test that was skipped passes.

use std::io::Write;

/// Says a line past the harness.
pub fn aloud(line: &str) {
    let _nobody_listens = writeln!(std::io::stderr(), "{line}");
}
