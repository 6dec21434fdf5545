//! Operations that the input chooses, with crashes, faults and diverging copies, against the oracle of the simulator in
//! `tests/it/simulate`: what it draws by dice, libFuzzer draws by what it has covered.
//!
//! A failure prints the operations; `simulate::replay` plays them again and `simulate` can shrink them.
#![no_main]

#[path = "../../tests/it/simulate/mod.rs"]
#[allow(dead_code, unused_imports, reason = "only the playing is used here")]
mod simulate;
#[path = "../../tests/it/support/mod.rs"]
mod support;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| simulate::must_hold(input));
