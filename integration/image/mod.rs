//! `keg unpack`: its trees against those of umoci and GNU tar, its images run, its errors read.

mod archives;
mod bad_input;
#[allow(dead_code)]
#[path = "../../tests/image/cases.rs"]
mod cases;
mod compare;
mod defaults;
mod fruit;
mod generated;
mod hooks;
mod inspect;
mod interrupt;
// Layouts made in memory, as the tests without root have them; not all of it is used here.
#[allow(dead_code)]
#[path = "../../tests/image/layout.rs"]
mod layout;
mod leftovers;
mod owners;
mod repack;
mod run;
#[allow(dead_code)]
#[path = "../../tests/image/tar.rs"]
mod tar;
mod traced;
mod tree;

use std::path::{Path, PathBuf};

use harness::{Finished, Runtime};

/// The layouts that `make image` leaves, by the names of the tools that made them.
const LAYOUTS: [&str; 4] = ["demo", "small", "skopeo", "buildah"];

fn images() -> PathBuf {
    let images = harness::runtime::target().join("images");
    assert!(images.is_dir(), "{}: missing; `make image` makes it", images.display());
    images
}

/// False where the runtime under test unpacks nothing.
fn unpacks(rt: &Runtime) -> bool {
    rt.only_keg("unpack is a command of keg alone")
}

fn unpack(rt: &Runtime, image: &str, bundle: &Path) -> Finished {
    rt.command(&["unpack", "--progress", "none", "--image", image, &bundle.display().to_string()])
        .limit(minutes(2))
        .run()
}

fn minutes(count: u64) -> std::time::Duration {
    std::time::Duration::from_secs(60 * count)
}
