//! A neighbour that shares a volume exchanges a mount's destination with a link while the container is made: nothing is made or mounted
//! outside of the root, and no file of the host comes into reach.

use std::fs;
use std::path::{Path, PathBuf};

use harness::{Runtime, Value, json, with_runtime};

use super::blocks::{decoy, picture, race, swap, writable};

fn rounds() -> usize {
    if std::env::var("KEG_SWEEP").is_ok_and(|sweep| sweep == "full") { 200 } else { 8 }
}

/// A volume with a directory and a link to the decoy, which change names.
fn volume(rt: &Runtime, decoy: &Path) -> PathBuf {
    let volume = rt.dir().join("volume");
    fs::create_dir_all(volume.join("target")).unwrap();
    std::os::unix::fs::symlink(decoy, volume.join("link")).unwrap();
    volume
}

/// Creates again and again. A hook in the container's mount namespace, before the root is entered, writes down where mounts are.
fn creates(rt: &Runtime, mount: &Value, slow: &[&str]) {
    let decoy = decoy(rt);
    let volume = volume(rt, &decoy);
    let before = picture(&decoy);
    let bundle = writable(rt);
    bundle.mount(&json!({"destination": "/vol", "source": volume, "options": ["rbind", "rw"]}));
    bundle.mount(mount);
    let seen = bundle.path().join("mountinfo");
    swap(&bundle, "createContainer", &format!("cat /proc/self/mountinfo > {}", seen.display()));
    bundle.shell("ls -R /vol/target 2>/dev/null; exit 0");
    race(&volume.join("target"), &volume.join("link"), || {
        for _ in 0..if slow.is_empty() { rounds() } else { 3 } {
            let command = rt.command(&["run", "--bundle", &bundle.arg(), "c"]);
            let done = if slow.is_empty() { command } else { command.inside(slow) }.run();
            let mounts = fs::read_to_string(&seen).unwrap_or_default();
            let mut places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
            assert!(!places.any(|place| Path::new(place).starts_with(&decoy)), "on the decoy: {mounts}");
            assert!(!done.stdout().contains("console"), "the decoy is seen inside: {}", done.describe());
            rt.delete_force("c");
        }
    });
    assert_eq!(picture(&decoy), before);
    for made in fs::read_dir(rt.dir().join("volume")).unwrap().flatten() {
        assert!(!made.file_name().to_string_lossy().contains("console"));
    }
}

/// Every step of the kernel's on the way is slowed down, so that the exchange falls between any two of them.
const SLOW: [&str; 6] = [
    "strace",
    "-f",
    "-o",
    "/dev/null",
    "-e",
    "inject=mount,move_mount,openat2,mkdirat,mknodat:delay_enter=1500",
];

/// The mount itself is led astray.
#[test]
fn cve_2021_30465() {
    with_runtime(|rt| {
        let mount =
            json!({"destination": "/vol/target", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]});
        creates(rt, &mount, &[]);
    });
}

/// Directories that a destination needs are made elsewhere.
#[test]
fn cve_2024_45310() {
    with_runtime(|rt| {
        let mount = json!({"destination": "/vol/target/new/directory", "type": "tmpfs", "source": "tmpfs"});
        creates(rt, &mount, &[]);
    });
}

/// As before for a file, and with wide windows.
#[test]
fn cve_2024_45310_of_a_file_in_slow_motion() {
    with_runtime(|rt| {
        let source = rt.dir().join("source");
        fs::write(&source, "source\n").unwrap();
        let mount = json!({"destination": "/vol/target/new/file", "source": source, "options": ["bind"]});
        creates(rt, &mount, &SLOW);
    });
}

/// As before for a mount, and with wide windows.
#[test]
fn cve_2021_30465_in_slow_motion() {
    with_runtime(|rt| {
        let mount =
            json!({"destination": "/vol/target", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]});
        creates(rt, &mount, &SLOW);
    });
}
