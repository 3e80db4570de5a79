//! Links in the image at names that the runtime touches must not lead out of the root filesystem
//! (CVE-2019-18837, CVE-2019-19921, CVE-2026-41579, CVE-2026-88264, CVE-2025-54867).

use std::os::unix::fs::symlink;
use std::path::Path;

use harness::{json, with_runtime};

use super::blocks::{decoy, unreachable, ways_out, with_link};

/// `/dev` is a link, with a mount on it and without.
#[test]
fn cve_2026_41579() {
    with_runtime(|rt| {
        let decoy = decoy(rt);
        for way in ways_out(&decoy) {
            let bundle = with_link(rt, "dev", &way);
            unreachable(rt, &bundle, &decoy, "with a mount on /dev");
            bundle.edit(|c| c["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] == "/proc"));
            unreachable(rt, &bundle, &decoy, "without a mount on /dev");
        }
    });
}

#[test]
fn names_in_dev_are_links() {
    with_runtime(|rt| {
        let decoy = decoy(rt);
        for name in ["null", "console", "ptmx", "pts", "shm", "fd", "stdin"] {
            let bundle = with_link(rt, &format!("dev/{name}"), &decoy.join(name));
            bundle.edit(|c| c["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] == "/proc"));
            unreachable(rt, &bundle, &decoy, name);
        }
    });
}

#[test]
fn proc_and_sys_are_links() {
    with_runtime(|rt| {
        let decoy = decoy(rt);
        for name in ["proc", "sys"] {
            for way in ways_out(&decoy) {
                let bundle = with_link(rt, name, &way);
                unreachable(rt, &bundle, &decoy, name);
            }
        }
    });
}

#[test]
fn proc_through_a_link_is_refused() {
    with_runtime(|rt| {
        for name in ["proc", "sys"] {
            let bundle = with_link(rt, name, Path::new("tmp"));
            let message = rt.create(&bundle, "c").fails_with("");
            rt.assert_gone("c");
            if rt.only_keg("others use other words") {
                assert!(message.contains("must be mounted on ordinary directory"), "{message}");
                assert_eq!(message.lines().count(), 1, "{message}");
            }
        }
    });
}

/// A mount's destination, and what lies above it.
#[test]
fn cve_2019_18837() {
    with_runtime(|rt| {
        let decoy = decoy(rt);
        for (name, destination) in
            [("target", "/target"), ("target", "/target/new/directory"), ("a/b", "/a/b/fs")]
        {
            for way in ways_out(&decoy) {
                let bundle = with_link(rt, name, &way);
                bundle.mount(&json!({"destination": destination, "type": "tmpfs", "source": "mine"}));
                unreachable(rt, &bundle, &decoy, destination);
            }
        }
        let bundle = with_link(rt, "target", &decoy.join("file"));
        bundle.mount(&json!({"destination": "/target", "source": "/etc/hostname", "options": ["bind"]}));
        unreachable(rt, &bundle, &decoy, "a file");
    });
}

#[test]
fn a_mount_target_that_never_ends_is_refused() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        symlink("loop", bundle.rootfs().join("loop")).unwrap();
        bundle.edit(|c| c["root"]["readonly"] = json!(false));
        bundle.mount(&json!({"destination": "/loop/x", "type": "tmpfs", "source": "mine"}));
        let message = rt.create(&bundle, "c").fails_with("");
        rt.assert_gone("c");
        if rt.only_keg("others use other words") {
            assert!(message.contains("too many levels of symbolic links"), "{message}");
            assert!(message.contains("/loop/x"), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    });
}

#[test]
fn masked_and_read_only_paths_are_links() {
    with_runtime(|rt| {
        let decoy = decoy(rt);
        for list in ["maskedPaths", "readonlyPaths"] {
            for way in ways_out(&decoy.join("file")) {
                let bundle = with_link(rt, "target", &way);
                bundle.edit(|c| c["linux"][list] = json!(["/target"]));
                unreachable(rt, &bundle, &decoy, list);
            }
        }
    });
}

#[test]
fn the_working_directory_is_a_link() {
    with_runtime(|rt| {
        let decoy = decoy(rt);
        for way in ways_out(&decoy) {
            let bundle = with_link(rt, "app", &way);
            bundle.edit(|c| c["process"]["cwd"] = json!("/app/new"));
            bundle.shell("echo x > written; pwd");
            unreachable(rt, &bundle, &decoy, "cwd");
        }
    });
}
