//! Links in the image at names that the runtime touches must not lead out of the root filesystem
//! (CVE-2019-18837, CVE-2019-19921, CVE-2026-41579, CVE-2026-88264, CVE-2025-54867).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use harness::{Bundle, Runtime, json, with_runtime};

/// A directory outside of every root filesystem that looks like what an attacker wants to reach.
fn decoy(rt: &Runtime) -> PathBuf {
    let decoy = rt.dir().join("decoy");
    for name in ["pts", "shm", "mqueue", "self", "sys", "fs/cgroup"] {
        fs::create_dir_all(decoy.join(name)).unwrap();
    }
    for name in ["null", "console", "ptmx", "file", "self/attr"] {
        fs::write(decoy.join(name), "decoy\n").unwrap();
    }
    decoy
}

/// Name, inode, mode, owner, device number and content of everything below a directory.
fn picture(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let (path, meta) = (entry.path(), entry.path().symlink_metadata().unwrap());
        let content = if meta.is_file() { fs::read_to_string(&path).unwrap() } else { String::new() };
        let facts = (meta.ino(), meta.mode(), meta.uid(), meta.gid(), meta.rdev(), content);
        if meta.is_dir() {
            all.extend(picture(&path));
        }
        all.insert(path, format!("{facts:?}"));
    }
    all
}

/// Runs the bundle, whatever comes of it; the decoy must be as it was, and nothing mounted on it.
fn unreachable(rt: &Runtime, bundle: &Bundle, decoy: &Path, what: &str) {
    let before = picture(decoy);
    let done = rt.run(bundle, "c");
    assert_eq!(picture(decoy), before, "{what}: {}", done.describe());
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert!(!mounts.contains("/decoy"), "{what}: {mounts}");
    rt.delete_force("c");
}

/// An absolute link, a relative one, and one through /proc.
fn ways_out(decoy: &Path) -> [PathBuf; 3] {
    let absolute = decoy.to_owned();
    let relative = Path::new("../../../../../../..").join(decoy.strip_prefix("/").unwrap());
    let magic = Path::new("/proc/1/root").join(decoy.strip_prefix("/").unwrap());
    [absolute, relative, magic]
}

/// A bundle in which a name of the root filesystem is a link.
fn with_link(rt: &Runtime, name: &str, to: &Path) -> Bundle {
    let bundle = rt.bundle();
    let path = bundle.rootfs().join(name);
    if path.is_dir() {
        fs::remove_dir_all(&path).unwrap();
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(to, path).unwrap();
    bundle.edit(|c| c["root"]["readonly"] = json!(false));
    bundle
}

#[test]
fn dev_is_a_link() {
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

#[test]
fn a_mount_target_and_its_parents_are_links() {
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
            let bundle = with_link(rt, "work", &way);
            bundle.edit(|c| c["process"]["cwd"] = json!("/work/new"));
            bundle.shell("echo x > written; pwd");
            unreachable(rt, &bundle, &decoy, "cwd");
        }
    });
}
