//! Any bytes as the manifest that a layout's only image has: shown and chosen from, or refused.
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
        let digest = image::fuzz::digest(bytes);
        let blob = place.path().join("blobs/sha256").join(&digest);
        fs::write(&blob, bytes).unwrap();
        let index = format!(r#"{{"manifests":[{{"digest":"sha256:{digest}","size":{}}}]}}"#, bytes.len());
        fs::write(place.path().join("index.json"), index).unwrap();
        image::fuzz::choose(place.path());
        let reference = place.path().display().to_string().parse().unwrap();
        if let Ok(found) = image::inspect(&reference, &Limits::default()) {
            assert!(!found.to_string().is_empty());
            assert!(serde_json::to_string(&found).is_ok());
        }
        fs::remove_file(&blob).unwrap();
    });
});
