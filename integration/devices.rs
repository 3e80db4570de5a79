//! Device nodes and links in /dev, and which of them may be used.

use std::fs;
use std::path::Path;

use harness::{Host, json, with_runtime};

#[test]
fn the_default_devices_are_there() {
    with_runtime(|rt| {
        let inside = rt.bundle().probe(rt);
        let expected = [
            ("null", 1, 3),
            ("zero", 1, 5),
            ("full", 1, 7),
            ("random", 1, 8),
            ("urandom", 1, 9),
            ("tty", 5, 0),
        ];
        for (name, major, minor) in expected {
            let device = &inside["dev"][name];
            assert_eq!(device["type"], "c", "{name}: {device}");
            assert_eq!((&device["major"], &device["minor"]), (&json!(major), &json!(minor)), "{name}");
            assert_eq!(device["mode"], 0o666, "{name}");
        }
    });
}

#[test]
fn the_default_links_are_there() {
    with_runtime(|rt| {
        let inside = rt.bundle().probe(rt);
        let links = [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ];
        for (name, target) in links {
            assert_eq!(inside["dev"][name]["link"], target, "{name}");
        }
        let ptmx = inside["dev"]["ptmx"]["link"].as_str().unwrap();
        assert!(["pts/ptmx", "/dev/pts/ptmx"].contains(&ptmx), "{ptmx}");
    });
}

#[test]
fn configured_devices_are_made() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| {
            c["linux"]["devices"] = json!([
                {"path": "/dev/char", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 3, "gid": 4},
                {"path": "/dev/block", "type": "b", "major": 7, "minor": 0, "fileMode": 0o600},
                {"path": "/dev/pipe", "type": "p", "fileMode": 0o622},
                {"path": "/dev/sub/dir/null", "type": "u", "major": 1, "minor": 3, "fileMode": 0o666},
            ]);
        });
        let inside = bundle.probe(rt);
        let device = |name: &str| inside["dev"][name].clone();
        let numbers = |name: &str| (device(name)["major"].clone(), device(name)["minor"].clone());
        assert_eq!(device("char")["type"], "c");
        assert_eq!(numbers("char"), (json!(10), json!(229)));
        assert_eq!((device("char")["mode"].clone(), device("char")["uid"].clone()), (json!(0o640), json!(3)));
        assert_eq!(device("char")["gid"], 4);
        assert_eq!(
            (device("block")["type"].clone(), device("block")["mode"].clone()),
            (json!("b"), json!(0o600))
        );
        assert_eq!(numbers("block"), (json!(7), json!(0)));
        assert_eq!(
            (device("pipe")["type"].clone(), device("pipe")["mode"].clone()),
            (json!("p"), json!(0o622))
        );
        bundle.shell("echo x > /dev/sub/dir/null && stat -c %F /dev/sub/dir/null");
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), "character special file\n");
    });
}

#[test]
fn a_file_that_is_another_one_is_refused_and_the_same_one_stays() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let place = bundle.rootfs().join("node");
        let there = |words: &[&str]| {
            fs::remove_file(&place).unwrap_or_default();
            rt.program(words).run().ok();
        };
        let node = place.display().to_string();
        bundle.edit(|c| {
            c["linux"]["devices"] = json!([{"path": "/node", "type": "c", "major": 10, "minor": 229}])
        });
        there(&["mknod", "-m", "600", &node, "c", "10", "229"]);
        rt.run(&bundle, "c").ok();
        if !rt.only_keg("others take whatever is there") {
            return;
        }
        for other in [
            &["touch", &node][..],
            &["mknod", &node, "c", "10", "230"],
            &["mknod", &node, "b", "10", "229"],
            &["mknod", &node, "p"],
            &["mkdir", &node],
            &["ln", "-s", "/dev/null", &node],
        ] {
            there(other);
            let before = Host::look(rt);
            rt.create(&bundle, "c").fails_with("making the device \"/node\": another file exists there");
            before.assert_same(rt);
            if other[0] == "mkdir" {
                fs::remove_dir(&place).unwrap();
            }
        }
    });
}

#[test]
fn the_default_devices_can_be_used_and_others_cannot() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| {
            let caps = json!(["CAP_MKNOD", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
            c["process"]["capabilities"] = json!({"bounding": caps, "permitted": caps, "effective": caps});
        });
        let script = "echo > /dev/null && dd if=/dev/zero of=/dev/null bs=1 count=1 2>/dev/null && echo used; \
                      mknod /dev/shm/kmsg c 1 11 && cat /dev/shm/kmsg 2>/dev/null; echo $?";
        bundle.shell(script);
        bundle.edit(|c| c["mounts"][3]["options"] = json!(["nosuid", "noexec"]));
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), "used\n1\n");
    });
}

/// Version 1 has no such program; then nothing is interrupted here.
#[test]
fn a_program_whose_load_is_interrupted_is_loaded_again() {
    with_runtime(|rt| {
        if !rt.only_keg("others are not traced here") {
            return;
        }
        let bundle = rt.bundle();
        bundle.shell("echo > /dev/null && echo used");
        let trace = rt.dir().join("trace");
        let inject = "inject=bpf:error=EAGAIN:when=1..2";
        let strace = ["strace", "-qq", "-e", "trace=bpf", "-e", inject, "-o", trace.to_str().unwrap()];
        let words = ["run", "--bundle", &bundle.arg(), "c"];
        assert_eq!(rt.command(&words).inside(&strace).run().ok().stdout(), "used\n");
        let trace = fs::read_to_string(&trace).unwrap();
        let has_programs = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        assert_eq!(trace.matches("(INJECTED)").count(), if has_programs { 2 } else { 0 }, "{trace}");
    });
}

#[test]
fn an_allowed_device_can_be_used() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| {
            c["linux"]["devices"] = json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]);
            c["linux"]["resources"]["devices"] = json!([
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "w"},
            ]);
            c["process"]["capabilities"] = json!({});
        });
        let script = "(: > /dev/kmsg) && echo opened; (: < /dev/kmsg) || echo refused";
        bundle.shell(script);
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), "opened\nrefused\n");
    });
}
