//! Any image configuration that converts becomes a config.json that keg itself accepts.
#![no_main]

use std::cell::RefCell;
use std::fs;
use std::os::fd::OwnedFd;

use libfuzzer_sys::fuzz_target;

thread_local! {
    static PLACE: RefCell<Option<(tempfile::TempDir, OwnedFd)>> = const { RefCell::new(None) };
}

fuzz_target!(|bytes: &[u8]| {
    PLACE.with_borrow_mut(|place| {
        let (_, root) = place.get_or_insert_with(|| {
            let place = tempfile::tempdir().unwrap();
            fs::create_dir(place.path().join("etc")).unwrap();
            fs::write(place.path().join("etc/passwd"), "app:x:1000:1000::/:\n").unwrap();
            fs::write(place.path().join("etc/group"), "app:x:1000:\nadm:x:4:app\n").unwrap();
            let root = fs::File::open(place.path()).unwrap().into();
            (place, root)
        });
        for rootless in [false, true] {
            if let Some(text) = keg::image::fuzz::convert(bytes, root, rootless) {
                keg::spec::load(&text).unwrap();
            }
        }
    });
});
