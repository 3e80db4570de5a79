//! Snapshots: the plans for config.json files as Debian's runc, podman, docker and containerd write them, and by hand as CRI-O and
//! newer Docker do. `KEG_UPDATE_SNAPSHOTS=1` writes them anew.

use std::path::Path;

use crate::{data, plan_on, render, root, rootless};

#[test]
fn plans_are_as_before() {
    let update = std::env::var_os("KEG_UPDATE_SNAPSHOTS").is_some();
    let mut changed = Vec::new();
    for name in [
        "crio",
        "ctr",
        "ctr-rich",
        "docker",
        "docker-29",
        "docker-privileged",
        "docker-rich",
        "podman",
        "podman-privileged",
        "podman-rich",
        "podman-userns",
        "runc-spec",
        "runc-spec-rootless",
    ] {
        let host = if name == "runc-spec-rootless" { rootless() } else { root() };
        let plan =
            plan_on(&data(&format!("{name}.json")), &host).unwrap_or_else(|error| panic!("{name}: {error}"));
        let now = render::plan(&plan);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(format!("{name}.plan"));
        if update {
            std::fs::write(&file, &now).unwrap();
        }
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        for diff in before.lines().zip(now.lines()).filter(|(before, now)| before != now) {
            changed.push(format!("{name}\n  - {}\n  + {}", diff.0, diff.1));
        }
        if before.lines().count() != now.lines().count() {
            changed.push(format!("{name}: {} lines, now {}", before.lines().count(), now.lines().count()));
        }
    }
    assert!(changed.is_empty(), "{}", changed.join("\n"));
}
