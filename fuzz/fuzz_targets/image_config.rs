//! Any bytes as the configuration of a layout's only image: shown and chosen, or refused.
#![no_main]

use std::cell::RefCell;
use std::fs;

use keg::image::{self, Limits};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static PLACE: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

fuzz_target!(|bytes: &[u8]| {
    PLACE.with_borrow_mut(|place| {
        let place = place.get_or_insert_with(|| {
            let place = tempfile::tempdir().unwrap();
            fs::create_dir_all(place.path().join("blobs/sha256")).unwrap();
            fs::write(place.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
            place
        });
        let blob = |bytes: &[u8]| {
            let digest = image::fuzz::digest(bytes);
            fs::write(place.path().join("blobs/sha256").join(&digest), bytes).unwrap();
            (format!(r#"{{"digest":"sha256:{digest}","size":{}}}"#, bytes.len()), digest)
        };
        let (config, config_digest) = blob(bytes);
        let (manifest, digest) = blob(format!(r#"{{"config":{config},"layers":[]}}"#).as_bytes());
        fs::write(place.path().join("index.json"), format!(r#"{{"manifests":[{manifest}]}}"#)).unwrap();
        image::fuzz::choose(place.path());
        let reference = place.path().display().to_string().parse().unwrap();
        if let Ok(found) = image::inspect(&reference, &Limits::default()) {
            assert!(!found.to_string().is_empty());
        }
        for digest in [config_digest, digest] {
            fs::remove_file(place.path().join("blobs/sha256").join(digest)).unwrap();
        }
    });
});
