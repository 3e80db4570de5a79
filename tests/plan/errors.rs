//! Mistakes in config.json, each with the one line that a person gets to see.

use serde_json::{Value, json};

use crate::{base, plan_on, planned, root, with};

fn error(changes: &[(&str, Value)]) -> String {
    match planned(&with(changes)) {
        Ok(_) => format!("no error for {changes:?}"),
        Err(error) => error,
    }
}

/// Each row: where, what is put there, and the error without `config.json: `.
fn table(rows: &[(&str, Value, &str)]) {
    for (pointer, value, expected) in rows {
        assert_eq!(error(&[(pointer, value.clone())]), format!("config.json: {expected}"));
    }
}

#[test]
fn nothing_is_wrong_with_the_base() {
    planned(&base()).unwrap();
}

#[test]
fn documents() {
    for (text, expected) in [
        ("", "config.json: EOF while parsing a value at line 1 column 0"),
        ("[]", "config.json: must be a JSON object"),
        ("{\"a\": 1} x", "config.json: trailing characters at line 1 column 10"),
        ("{\"a\": {\"b\": [1, 2,]}}", "config.json: a.b[2]: trailing comma at line 1 column 19"),
        ("{\"a\": 1, \"b\": {\"c\": 1, \"c\": 2}}", "config.json: b.c: occurs twice"),
        ("{\"a\": [{}, {\"x.y\": 1, \"x.y\": 2}]}", "config.json: a[1][\"x.y\"]: occurs twice"),
        ("{\"a\": [\"b\\u0000\"]}", "config.json: a[0]: a string may not contain a NUL byte"),
        ("{\"a\\u0000\": 1}", "config.json: a string may not contain a NUL byte"),
        ("{}", "config.json: ociVersion: missing, but required"),
    ] {
        assert_eq!(plan_on(text.as_bytes(), &root()).unwrap_err(), expected, "{text}");
    }
    let error = plan_on(b"{\"a\xff\": 1}", &root()).unwrap_err();
    assert_eq!(error, "config.json: not UTF-8 at byte 3");
    let long = format!("{{\"a\": \"{}\"}}", "x".repeat(keg::spec::MAX_SIZE));
    assert_eq!(plan_on(long.as_bytes(), &root()).unwrap_err(), "config.json: larger than 16 MiB");
    let many: Vec<String> = (0..100).chain([50]).map(|n| format!("\"k{n}\": 1")).collect();
    let error = plan_on(format!("{{{}}}", many.join(",")).as_bytes(), &root()).unwrap_err();
    assert_eq!(error, "config.json: k50: occurs twice");
}

#[test]
fn depth() {
    let nested = |depth: usize| format!("{{\"a\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
    let error = plan_on(nested(127).as_bytes(), &root()).unwrap_err();
    assert!(error.ends_with("recursion limit exceeded at line 1 column 133"), "{error}");
    let error = plan_on(nested(126).as_bytes(), &root()).unwrap_err();
    assert_eq!(error, "config.json: ociVersion: missing, but required");
}

#[test]
fn types() {
    table(&[
        ("/ociVersion", json!(1), "ociVersion: must be a string, not 1"),
        ("/root", json!(["rootfs"]), "root: must be an object, not an array"),
        ("/root/path", json!(null), "root.path: missing, but required"),
        ("/process/args", json!("sh"), "process.args: must be an array, not \"sh\""),
        ("/process/args", json!(["sh", 1]), "process.args[1]: must be a string, not 1"),
        ("/process/cwd", json!(null), "process.cwd: missing, but required"),
        ("/process/terminal", json!("yes"), "process.terminal: must be true or false, not \"yes\""),
        (
            "/process/user/uid",
            json!("root"),
            "process.user.uid: must be a whole number from 0 to 4294967295, not \"root\"",
        ),
        (
            "/process/user/gid",
            json!(4294967296_u64),
            "process.user.gid: must be a whole number from 0 to 4294967295, not 4294967296",
        ),
        (
            "/process/user/uid",
            json!(1.5),
            "process.user.uid: must be a whole number from 0 to 4294967295, not 1.5",
        ),
        ("/annotations", json!({"a.b": 1}), "annotations[\"a.b\"]: must be a string, not 1"),
        ("/annotations", json!({"a": null}), "annotations.a: must be a string, not null"),
        (
            "/linux/namespaces",
            json!([{"type": "space"}]),
            "linux.namespaces[0].type: unknown value \"space\", known are mount, cgroup, uts, ipc, user, pid, network, time",
        ),
        ("/linux/namespaces", json!([{}]), "linux.namespaces[0].type: missing, but required"),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_X", "soft": 1, "hard": 1}]),
            "process.rlimits[0].type: unknown value \"RLIMIT_X\", known are RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_DATA, \
             RLIMIT_STACK, RLIMIT_CORE, RLIMIT_RSS, RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_MEMLOCK, RLIMIT_AS, RLIMIT_LOCKS, \
             RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_RTPRIO, RLIMIT_RTTIME",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CPU", "soft": 1}]),
            "process.rlimits[0].hard: missing, but required",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_OTHER", "flags": ["SCHED_RESET_ON_FORK"]}),
            "process.scheduler.flags[0]: unknown value \"SCHED_RESET_ON_FORK\", known are SCHED_FLAG_RESET_ON_FORK, \
             SCHED_FLAG_RECLAIM, SCHED_FLAG_DL_OVERRUN, SCHED_FLAG_KEEP_POLICY, SCHED_FLAG_KEEP_PARAMS, \
             SCHED_FLAG_UTIL_CLAMP_MIN, SCHED_FLAG_UTIL_CLAMP_MAX",
        ),
        (
            "/process/execCPUAffinity",
            json!({"initial": "0-3, 7", "final": "0-"}),
            "process.execCPUAffinity.final: \"0-\" is no list of CPUs such as 0-3,7",
        ),
        (
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "c", "major": 1}]),
            "linux.devices[0].minor: missing, but required",
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_MAYBE"}),
            "linux.seccomp.defaultAction: unknown value \"SCMP_ACT_MAYBE\", known are SCMP_ACT_KILL, \
             SCMP_ACT_KILL_THREAD, SCMP_ACT_KILL_PROCESS, SCMP_ACT_TRAP, SCMP_ACT_ERRNO, SCMP_ACT_NOTIFY, SCMP_ACT_TRACE, \
             SCMP_ACT_LOG, SCMP_ACT_ALLOW",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": 1}),
            "linux.memoryPolicy.mode: invalid memory policy mode: must be a string, not 1",
        ),
    ]);
}

#[test]
fn versions() {
    for good in ["1.0.0", "1.0.2-dev", "1.3.0", "1.99.0-rc.1+build.5", "1.0.0-rc5"] {
        assert!(planned(&with(&[("/ociVersion", json!(good))])).is_ok(), "{good}");
    }
    for bad in ["", "1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.x", "1.0.0+"] {
        let expected = format!("config.json: ociVersion: {bad:?} is no version such as 1.2.0");
        assert_eq!(error(&[("/ociVersion", json!(bad))]), expected);
    }
    for other in ["0.6.0", "2.0.0"] {
        let expected = format!("config.json: ociVersion: {other:?} is not supported, versions 1.x.y are");
        assert_eq!(error(&[("/ociVersion", json!(other))]), expected);
    }
}

#[test]
fn process() {
    table(&[
        ("/process/args", json!([]), "process.args: args must not be empty"),
        ("/process/args", json!(null), "process.args: args must not be empty"),
        ("/process/cwd", json!("tmp"), "process.cwd: \"tmp\" is not an absolute path"),
        ("/process/cwd", json!(""), "process.cwd: empty"),
        ("/process/env", json!(["A=1", "B"]), "process.env[1]: has no ="),
        ("/process/env", json!(["=1"]), "process.env[0]: has no name before the ="),
        ("/process/user/umask", json!(512), "process.user.umask: 1000 is more than 0777"),
        (
            "/process/user/uid",
            json!(u32::MAX),
            "process.user.uid: 4294967295 is no uid, but the kernel's \"none\"",
        ),
        ("/process/oomScoreAdj", json!(1001), "process.oomScoreAdj: 1001 is not from -1000 to 1000"),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}, {"type": "RLIMIT_CPU", "soft": 1, "hard": 1}]),
            "process.rlimits[1].type: RLIMIT_CPU is given twice",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]),
            "process.rlimits[0].soft: the soft limit 2 is above the hard limit 1",
        ),
        (
            "/process/capabilities",
            json!({"effective": ["CAP_KILL"]}),
            "process.capabilities.effective: CAP_KILL is not among the permitted",
        ),
        (
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 8}),
            "process.ioPriority.priority: 8 is not from 0 to 7",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_FIFO"}),
            "process.scheduler.priority: 0 is not from 1 to 99",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_OTHER", "nice": 20}),
            "process.scheduler.nice: 20 is not from -20 to 19",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 4000, "period": 6000}),
            "process.scheduler: must have 1024 <= runtime <= deadline <= period",
        ),
        (
            "/linux/personality",
            json!({"domain": "LINUX", "flags": ["X"]}),
            "linux.personality.flags: the specification has no flags yet",
        ),
    ]);
}

#[test]
fn container() {
    table(&[
        ("/annotations", json!({"": "x"}), "annotations[\"\"]: a key may not be empty"),
        ("/hostname", json!("box"), "hostname: needs a uts namespace of the container's own"),
        ("/domainname", json!("box"), "domainname: needs a uts namespace of the container's own"),
        ("/root/path", json!(""), "root.path: empty"),
        (
            "/hooks",
            json!({"poststop": [{"path": "a"}]}),
            "hooks.poststop[0].path: \"a\" is not an absolute path",
        ),
        (
            "/hooks",
            json!({"prestart": [{"path": "/a"}, {"path": "/a", "timeout": 0}]}),
            "hooks.prestart[1].timeout: must be greater than zero",
        ),
        (
            "/linux/namespaces",
            json!([{"type": "mount"}, {"type": "pid"}, {"type": "mount", "path": "/x"}]),
            "linux.namespaces[2].type: mount is listed twice",
        ),
        (
            "/linux/namespaces",
            json!([{"type": "mount", "path": "x"}]),
            "linux.namespaces[0].path: \"x\" is not an absolute path",
        ),
        (
            "/linux/timeOffsets",
            json!({"boottime": {"secs": 1}}),
            "linux.timeOffsets: clock offsets need a new time namespace",
        ),
        (
            "/linux/rootfsPropagation",
            json!("open"),
            "linux.rootfsPropagation: unknown value \"open\", known are private, shared, slave, unbindable",
        ),
        ("/linux/maskedPaths", json!(["proc"]), "linux.maskedPaths[0]: \"proc\" is not an absolute path"),
        ("/linux/readonlyPaths", json!(["proc"]), "linux.readonlyPaths[0]: \"proc\" is not an absolute path"),
        (
            "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": 0, "size": 1}]),
            "linux.uidMappings: id mappings need a user namespace",
        ),
        (
            "/linux/devices",
            json!([{"path": "x", "type": "p"}]),
            "linux.devices[0].path: \"x\" is not an absolute path",
        ),
        (
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "c", "major": -1, "minor": 0}]),
            "linux.devices[0].major: -1 is not a number from 0 to 4095",
        ),
    ]);
    let changes = [("/linux/maskedPaths", json!(["/x"])), ("/linux/namespaces", json!([]))];
    let expected = "config.json: linux.maskedPaths: needs a mount namespace of the container's own";
    assert_eq!(error(&changes), expected);
}

#[test]
fn machine() {
    table(&[
        (
            "/linux/netDevices",
            json!({"eth0": {}}),
            "linux.netDevices: needs a network namespace of the container's own",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND"}),
            "linux.memoryPolicy.nodes: invalid memory policy node: this mode needs some",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "0-"}),
            "linux.memoryPolicy.nodes: invalid memory policy node: \"\" is not a number below 65536",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}),
            "linux.memoryPolicy.flags[0]: invalid memory policy flag: only MPOL_BIND takes it",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_MINE"}),
            "linux.memoryPolicy.mode: invalid memory policy mode: unknown value \"MPOL_MINE\", known are MPOL_DEFAULT, \
             MPOL_BIND, MPOL_INTERLEAVE, MPOL_WEIGHTED_INTERLEAVE, MPOL_PREFERRED, MPOL_PREFERRED_MANY, MPOL_LOCAL",
        ),
        (
            "/annotations",
            json!({"run.oci.mount_context_type": "mine"}),
            "annotations[\"run.oci.mount_context_type\"]: unknown value \"mine\", known are context, fscontext, defcontext, \
             rootcontext",
        ),
        (
            "/linux/intelRdt",
            json!({"closID": "a/b"}),
            "linux.intelRdt.closID: \"a/b\" is no name for a group",
        ),
        (
            "/linux/intelRdt",
            json!({"memBwSchema": "L3:0=f"}),
            "linux.intelRdt.memBwSchema: \"L3:0=f\" is no line that begins with MB",
        ),
    ]);
}

#[test]
fn network_devices() {
    for (devices, expected) in [
        (json!({"eth0": {"name": "a%d%d"}}), ".eth0.name: \"a%d%d\" is no name for a network device"),
        (json!({"lo": {"name": "x"}}), ".lo: the loopback device stays where it is"),
        (json!({"a/b": {}}), "[\"a/b\"]: no name of a network device"),
        (json!({"eth0": {"name": "a b"}}), ".eth0.name: \"a b\" is no name for a network device"),
        (json!({"eth0": {"name": "lo"}}), ".eth0.name: the container has another device named \"lo\""),
        (json!({"eth0": {"name": "x"}, "x": {}}), ".x.name: the container has another device named \"x\""),
    ] {
        let namespaces = json!([{"type": "network"}]);
        let changes = [("/linux/namespaces", namespaces), ("/linux/netDevices", devices)];
        assert_eq!(error(&changes), format!("config.json: linux.netDevices{expected}"));
    }
}

#[test]
fn sysctls() {
    let namespaces = json!([{"type": "mount"}, {"type": "uts"}, {"type": "network"}]);
    for (key, expected) in [
        ("kernel.sem", "[\"kernel.sem\"]: not allowed without a namespace of the container's own: ipc"),
        ("fs.mqueue.x", "[\"fs.mqueue.x\"]: not allowed without a namespace of the container's own: ipc"),
        ("user.x", "[\"user.x\"]: not allowed without a namespace of the container's own: user"),
        ("kernel.panic", "[\"kernel.panic\"]: not allowed: no namespace keeps it apart from the host's"),
        ("net", ".net: not allowed: no namespace keeps it apart from the host's"),
        ("net..ipv4", "[\"net..ipv4\"]: no name of a kernel parameter"),
        ("net/../x", "[\"net/../x\"]: no name of a kernel parameter"),
        ("kernel.hostname", "[\"kernel.hostname\"]: conflicts with hostname"),
        ("net.x", "[\"net.x\"]: a value may not contain a newline or a NUL byte"),
    ] {
        let value = if key == "net.x" { "1\n2" } else { "1" };
        let changes = [
            ("/linux/namespaces", namespaces.clone()),
            ("/hostname", json!("box")),
            ("/linux/sysctl", json!({key: value})),
        ];
        assert_eq!(error(&changes), format!("config.json: linux.sysctl{expected}"));
    }
}
