//! The examples published with the specification, where they are present. A test that does not run for want of them says so.
#![allow(clippy::print_stderr)]

use std::path::{Path, PathBuf};

use crate::{plan_on, root};

fn examples(kind: &str) -> Vec<PathBuf> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = project.join("../shared/data/runtime-spec/test/config").join(kind);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: {} is not there", folder.display());
        return Vec::new();
    };
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn good_ones_load() {
    for file in examples("good") {
        let loaded = keg::spec::load(&std::fs::read(&file).unwrap());
        assert!(loaded.is_ok(), "{}: {}", file.display(), loaded.unwrap_err());
    }
}

#[test]
fn bad_ones_are_refused_with_a_place() {
    for file in examples("bad") {
        let error = plan_on(&std::fs::read(&file).unwrap(), &root()).map(|_| ()).unwrap_err();
        let expected = match file.file_name().unwrap().to_str().unwrap() {
            "invalid-json.json" => "config.json: key must be a string at line 1 column 2",
            "linux-hugepage.json" => {
                "config.json: linux.resources.hugepageLimits[0].pageSize: \"64kB\" is no page size, such as 64KB, 2MB or 1GB"
            }
            "linux-netdevice.json" => "config.json: linux.netDevices.eth0.name: must be a string, not 23",
            "linux-rdma.json" => {
                "config.json: linux.resources.rdma.mlx5_1.hcaHandles: must be a whole number from 0 to 4294967295, not \"not a uint32\""
            }
            other => panic!("a new example: {other}: {error}"),
        };
        assert_eq!(error, expected, "{}", file.display());
    }
}
