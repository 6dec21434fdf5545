//! Any bytes through every decoder of the format: the first byte chooses which, and whether checksums are put right.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some((&choice, bytes)) = input.split_first() {
        let _accepted = epochlog::testing::decode(choice >> 1, choice & 1 == 1, bytes);
    }
});
