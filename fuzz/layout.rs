//! A layout on disk that targets fill, and what is done with each.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use keg::image::{self, Limits};

thread_local! {
    static PLACE: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

/// Lends the same directory every time: a layout without an index.
pub fn with(fill: impl FnOnce(&Path)) {
    PLACE.with_borrow_mut(|place| {
        let place = place.get_or_insert_with(|| {
            let place = tempfile::tempdir().unwrap();
            fs::create_dir_all(place.path().join("blobs/sha256")).unwrap();
            fs::write(place.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
            place
        });
        fill(place.path());
    });
}

/// Chosen from and shown, or refused.
pub fn read(place: &Path) {
    image::fuzz::choose(place);
    let reference = place.display().to_string().parse().unwrap();
    if let Ok(found) = image::inspect(&reference, &Limits::default()) {
        assert!(!found.to_string().is_empty());
        assert!(serde_json::to_string(&found).is_ok());
    }
}
