//! Any bytes as the manifest that a layout's only image has: shown and chosen from, or refused.
#![no_main]

#[path = "../layout.rs"]
mod layout;

use std::fs;

use keg::image;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    layout::with(|place| {
        let digest = image::fuzz::digest(bytes);
        let blob = place.join("blobs/sha256").join(&digest);
        fs::write(&blob, bytes).unwrap();
        let index = format!(r#"{{"manifests":[{{"digest":"sha256:{digest}","size":{}}}]}}"#, bytes.len());
        fs::write(place.join("index.json"), index).unwrap();
        layout::read(place);
        fs::remove_file(&blob).unwrap();
    });
});
