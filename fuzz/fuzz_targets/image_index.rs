//! Any bytes as the index of a layout: shown and chosen from, or refused.
#![no_main]

#[path = "../layout.rs"]
mod layout;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    layout::with(|place| {
        std::fs::write(place.join("index.json"), bytes).unwrap();
        layout::read(place);
    });
});
