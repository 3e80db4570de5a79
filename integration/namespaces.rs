//! The namespaces: new ones, joined ones, inherited ones, and what is wrong with a list of them.

use std::fs;
use std::path::PathBuf;

use harness::{Bundle, Running, Runtime, json, with_runtime};

/// Name in config.json and name under /proc/self/ns, of those that need no user namespace.
const TYPES: [(&str, &str); 7] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

fn own(name: &str) -> String {
    fs::read_link(format!("/proc/thread-self/ns/{name}")).unwrap().display().to_string()
}

#[test]
fn a_listed_namespace_is_new() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let inside = bundle.probe(rt);
        for (_, name) in TYPES.iter().filter(|(kind, _)| *kind != "time") {
            assert_ne!(inside.namespace(name), own(name), "{name}");
        }
        assert_eq!(inside["pid"], 1);
        assert_eq!(inside.namespace("user"), own("user"));
        assert_eq!(inside.namespace("time"), own("time"));
    });
}

#[test]
fn a_time_namespace_is_new() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.namespace(&json!({"type": "time"}));
        assert_ne!(bundle.probe(rt).namespace("time"), own("time"));
    });
}

#[test]
fn time_offsets_are_seen_inside() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.namespace(&json!({"type": "time"}));
        bundle.edit(|c| {
            c["linux"]["timeOffsets"] =
                json!({"boottime": {"secs": 1000, "nanosecs": 5}, "monotonic": {"secs": 7}})
        });
        let inside = bundle.probe(rt);
        let offsets = inside["timens_offsets"].as_array().unwrap();
        let boottime = offsets.iter().find(|l| l.as_str().unwrap().starts_with("boottime")).unwrap();
        let words: Vec<_> = boottime.as_str().unwrap().split_whitespace().collect();
        assert_eq!(words, ["boottime", "1000", "5"]);
        let monotonic = offsets.iter().find(|l| l.as_str().unwrap().starts_with("monotonic")).unwrap();
        let words: Vec<_> = monotonic.as_str().unwrap().split_whitespace().collect();
        assert_eq!(words, ["monotonic", "7", "0"]);
    });
}

#[test]
fn a_namespace_that_is_not_listed_is_inherited() {
    with_runtime(|rt| {
        for (kind, name) in [("ipc", "ipc"), ("network", "net"), ("cgroup", "cgroup"), ("pid", "pid")] {
            let bundle = rt.bundle();
            bundle.without_namespace(kind);
            assert_eq!(bundle.probe(rt).namespace(name), own(name), "{kind}");
        }
        let bundle = rt.bundle();
        bundle.without_namespace("uts").edit(|c| {
            c.as_object_mut().unwrap().remove("hostname");
        });
        assert_eq!(bundle.probe(rt).namespace("uts"), own("uts"));
    });
}

/// A process that holds new namespaces of the given kinds (`unshare` flags) until it is dropped.
fn holder(rt: &Runtime, flags: &[&str]) -> Running {
    let mut words = vec!["unshare"];
    words.extend(flags);
    words.extend(["sh", "-c", "echo ready; exec sleep 1000"]);
    let running = rt.program(&words).spawn();
    harness::wait_until("the holder runs", std::time::Duration::from_secs(5), || {
        running.stdout() == "ready\n"
    });
    running
}

fn path(holder: &Running, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/ns/{name}", holder.pid()))
}

fn id(path: &PathBuf) -> String {
    fs::read_link(path).unwrap().display().to_string()
}

#[test]
fn a_namespace_with_a_path_is_joined() {
    with_runtime(|rt| {
        let holder = holder(rt, &["--net", "--ipc", "--uts", "--cgroup"]);
        for (kind, name) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup")] {
            let bundle = rt.bundle();
            bundle.namespace(&json!({"type": kind, "path": path(&holder, name)}));
            assert_eq!(bundle.probe(rt).namespace(name), id(&path(&holder, name)), "{kind}");
        }
    });
}

#[test]
fn a_time_namespace_with_a_path_is_joined() {
    with_runtime(|rt| {
        let holder = holder(rt, &["--time", "--fork"]);
        let path = PathBuf::from(format!("/proc/{}/ns/time_for_children", holder.pid()));
        let bundle = rt.bundle();
        bundle.namespace(&json!({"type": "time", "path": path}));
        assert_eq!(bundle.probe(rt).namespace("time"), id(&path));
    });
}

#[test]
fn a_pid_namespace_of_another_container_is_joined() {
    with_runtime(|rt| {
        let first = rt.bundle();
        first.args(&["/bin/sleep", "1000"]);
        rt.create(&first, "first").ok();
        rt.start("first").ok();
        let of_first = PathBuf::from(format!("/proc/{}/ns/pid", rt.pid("first")));

        let second = rt.bundle();
        second.namespace(&json!({"type": "pid", "path": of_first}));
        let inside = second.probe(rt);
        assert_eq!(inside.namespace("pid"), id(&of_first));
        assert_ne!(inside["pid"], 1);
        assert_eq!(inside["processes"].as_array().unwrap()[0], 1, "it sees the first container's init");
    });
}

#[test]
fn a_mount_namespace_with_a_path_is_joined() {
    with_runtime(|rt| {
        let holder = holder(rt, &["--mount"]);
        let bundle = rt.bundle();
        bundle.namespace(&json!({"type": "mount", "path": path(&holder, "mnt")}));
        bundle.edit(|c| {
            c["linux"].as_object_mut().unwrap().remove("maskedPaths");
            c["linux"].as_object_mut().unwrap().remove("readonlyPaths");
        });
        assert_eq!(bundle.probe(rt).namespace("mnt"), id(&path(&holder, "mnt")));
    });
}

fn refused(rt: &Runtime, bundle: &Bundle, text: &str) {
    let message = rt.create(bundle, "c").fails_with(text);
    assert_eq!(message.lines().count(), 1, "{message}");
    rt.assert_gone("c");
}

#[test]
fn a_path_of_another_type_is_refused() {
    with_runtime(|rt| {
        for (kind, other) in
            [("network", "uts"), ("ipc", "net"), ("uts", "ipc"), ("pid", "net"), ("mount", "ipc")]
        {
            let bundle = rt.bundle();
            bundle.namespace(&json!({"type": kind, "path": format!("/proc/self/ns/{other}")}));
            rt.create(&bundle, "c").fails_with("");
            rt.assert_gone("c");
        }
    });
}

#[test]
fn a_wrong_path_is_named_in_the_error() {
    with_runtime(|rt| {
        if !rt.only_keg("others print several lines or other words") {
            return;
        }
        let bundle = rt.bundle();
        bundle.namespace(&json!({"type": "network", "path": "/proc/self/ns/uts"}));
        refused(rt, &bundle, "/proc/self/ns/uts");
        bundle.namespace(&json!({"type": "network", "path": "/no/such/namespace"}));
        refused(rt, &bundle, "/no/such/namespace");
        refused(rt, &bundle, "no such file or directory");
        bundle.namespace(&json!({"type": "network", "path": bundle.path().join("config.json")}));
        refused(rt, &bundle, "config.json");
        bundle.namespace(&json!({"type": "network", "path": "relative/path"}));
        refused(rt, &bundle, "relative/path");
    });
}

#[test]
fn a_duplicate_or_unknown_type_is_refused() {
    with_runtime(|rt| {
        if !rt.only_keg("others take the last one") {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "pid"})));
        refused(rt, &bundle, "pid");
        let bundle = rt.bundle();
        bundle.namespace(&json!({"type": "nonsense"}));
        refused(rt, &bundle, "nonsense");
    });
}

#[test]
fn a_new_network_namespace_has_its_loopback_up() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.shell("cat /sys/class/net/lo/flags; ls /sys/class/net");
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), "0x9\nlo\n", "IFF_UP | IFF_LOOPBACK");
    });
}
