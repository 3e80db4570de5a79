//! Files of the image and of the bundle that are too long, never end, or are something else than they should be.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::{json, with_runtime};

use super::blocks::writable;

/// Strings longer than any buffer or any 16-bit length, in every place that takes one: the container runs as described, or is refused.
#[test]
fn cve_2021_43784() {
    with_runtime(|rt| {
        if !rt.only_keg("others hang on some of them") {
            return;
        }
        let places = [
            "/ociVersion",
            "/hostname",
            "/domainname",
            "/process/args/0",
            "/process/cwd",
            "/process/env/0",
            "/process/rlimits/0/type",
            "/process/capabilities/bounding/0",
            "/root/path",
            "/mounts/0/destination",
            "/mounts/0/type",
            "/mounts/0/source",
            "/mounts/1/options/0",
            "/linux/cgroupsPath",
            "/linux/namespaces/0/type",
            "/linux/maskedPaths/0",
            "/linux/readonlyPaths/0",
            "/annotations/x",
        ];
        let full = std::env::var("KEG_SWEEP").is_ok_and(|sweep| sweep == "full");
        for (turn, length) in [70 << 10, 1 << 20].into_iter().enumerate() {
            // By default each place gets one of the lengths.
            for (_, place) in places.into_iter().enumerate().filter(|(n, _)| full || n % 2 == turn) {
                let bundle = rt.bundle();
                bundle.edit(|c| {
                    c["annotations"] = json!({"x": ""});
                    c["domainname"] = json!("");
                    let old = c.pointer(place).and_then(|old| old.as_str()).unwrap().to_owned();
                    *c.pointer_mut(place).unwrap() = json!(format!("{old}{}", "x".repeat(length)));
                });
                let done = rt.run(&bundle, "c");
                let message = done.stderr();
                // Words of the program's own, not the end of a process that wrote where it should not.
                assert!(matches!(done.status.code(), Some(0 | 1)), "{place}: {}", done.status);
                assert!(message.lines().count() <= 1, "{place}: {} lines", message.lines().count());
                rt.delete_force("c");
            }
        }
        // Namespaces are those of the list, however long what precedes it.
        let bundle = rt.bundle();
        bundle.edit(|c| c["annotations"] = json!({"x": "x".repeat(3 << 20)}));
        bundle.namespace(&json!({"type": "network"}));
        let inside = bundle.probe(rt);
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        assert_ne!(inside.namespace("net"), own.to_str().unwrap());
    });
}

/// Makes a file at a path.
type Make = fn(&Path);

/// `/etc/passwd` is what nobody should read: no runtime hangs, or reads a file of the host, for the sake of HOME.
#[test]
fn cve_2024_9676() {
    with_runtime(|rt| {
        let odd: [(&str, Make); 6] = [
            ("FIFO", |path| {
                nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
            }),
            ("directory", |path| fs::create_dir(path).unwrap()),
            ("host file", |path| symlink("../../../../../../../../../etc/passwd", path).unwrap()),
            ("endless device", |path| symlink("/dev/zero", path).unwrap()),
            ("kernel log", |path| symlink("/proc/kmsg", path).unwrap()),
            ("itself", |path| symlink("passwd", path).unwrap()),
        ];
        for (what, make) in odd {
            if matches!(what, "FIFO" | "endless device" | "kernel log") && !rt.only_keg("others read on") {
                continue;
            }
            let bundle = writable(rt);
            let passwd = bundle.rootfs().join("etc/passwd");
            fs::remove_file(&passwd).unwrap();
            make(&passwd);
            bundle.edit(|c| c["process"]["user"] = json!({"uid": 1, "gid": 1}));
            bundle.shell("echo $HOME");
            let start = Instant::now();
            let done = rt.run(&bundle, "c");
            assert!(start.elapsed() < Duration::from_secs(10), "{what}: {:?}", start.elapsed());
            // The host's user 1 is `daemon`, at home in /usr/sbin.
            assert!(!done.stdout().contains("/usr/sbin"), "{what}: {}", done.describe());
            rt.delete_force("c");
        }
    });
}

/// Lists of users and groups that fill the memory.
#[test]
fn cve_2026_47262() {
    with_runtime(|rt| {
        if !rt.only_keg("others read it line by line, for minutes") {
            return;
        }
        for name in ["passwd", "group"] {
            let bundle = writable(rt);
            let file = fs::File::create(bundle.rootfs().join("etc").join(name)).unwrap();
            file.set_len(2 << 30).unwrap();
            bundle.edit(|c| c["process"]["user"] = json!({"uid": 1000, "gid": 1000}));
            let start = Instant::now();
            let limited = ["prlimit", "--as=268435456"];
            rt.command(&["run", "--bundle", &bundle.arg(), "c"]).inside(&limited).run().ok();
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        }
    });
}
