//! Any bytes as the configuration of a layout's only image: shown and chosen, or refused.
#![no_main]

#[path = "../layout.rs"]
mod layout;

use std::fs;

use keg::image;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    layout::with(|place| {
        let blob = |bytes: &[u8]| {
            let digest = image::fuzz::digest(bytes);
            fs::write(place.join("blobs/sha256").join(&digest), bytes).unwrap();
            (format!(r#"{{"digest":"sha256:{digest}","size":{}}}"#, bytes.len()), digest)
        };
        let (config, config_digest) = blob(bytes);
        let (manifest, digest) = blob(format!(r#"{{"config":{config},"layers":[]}}"#).as_bytes());
        fs::write(place.join("index.json"), format!(r#"{{"manifests":[{manifest}]}}"#)).unwrap();
        layout::read(place);
        for digest in [config_digest, digest] {
            fs::remove_file(place.join("blobs/sha256").join(digest)).unwrap();
        }
    });
});
