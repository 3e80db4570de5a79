//! Any bytes as an extended header.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    keg::image::fuzz::pax(bytes);
});
