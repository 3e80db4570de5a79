//! What a container may use: limits as the kernel holds them and as a process inside feels them, and devices.

use std::fs;
use std::path::{Path, PathBuf};

use harness::host::hierarchies;
use harness::peers::Kind;
use harness::{Bundle, Runtime, Value, json, with_runtime};

/// The first of these files that exists in the container's cgroup, whichever hierarchy it is in.
fn read(bundle: &Bundle, names: &[&str]) -> String {
    let cgroup = bundle.cgroup();
    let directory = |mount: PathBuf| mount.join(cgroup.trim_start_matches('/'));
    let mut files =
        hierarchies().into_iter().map(directory).flat_map(|dir| names.iter().map(move |n| dir.join(n)));
    let file = files.find(|file| file.exists()).unwrap_or_else(|| panic!("none of {names:?}"));
    fs::read_to_string(file).unwrap().trim().to_owned()
}

/// Whether a controller can be had here, in either version.
fn has(rt: &Runtime, controller: &str) -> bool {
    let v1 = hierarchies().iter().any(|mount| mount.ends_with(controller));
    let listed = |mount: &PathBuf| fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    let v2 = hierarchies().len() == 1
        && hierarchies().iter().any(|m| listed(m).split(' ').any(|c| c.trim() == controller));
    if !v1 && !v2 {
        eprintln!("skipped: no {controller} controller for {:?} here", rt.kind());
    }
    v1 || v2
}

/// A created container with these resources.
fn created(rt: &Runtime, resources: &Value) -> Bundle {
    let bundle = rt.bundle();
    bundle.edit(|c| {
        for (key, value) in resources.as_object().unwrap() {
            c["linux"]["resources"][key] = value.clone();
        }
    });
    rt.create(&bundle, "c").ok();
    bundle
}

#[test]
fn memory() {
    with_runtime(|rt| {
        if !has(rt, "memory") {
            return;
        }
        let resources =
            json!({"memory": {"limit": 67_108_864, "swap": 134_217_728, "reservation": 33_554_432}});
        let bundle = created(rt, &resources);
        assert_eq!(read(&bundle, &["memory.limit_in_bytes", "memory.max"]), "67108864");
        assert_eq!(read(&bundle, &["memory.soft_limit_in_bytes", "memory.low"]), "33554432");
        let swap = read(&bundle, &["memory.memsw.limit_in_bytes", "memory.swap.max"]);
        assert!(swap == "134217728" || swap == "67108864", "{swap}");
    });
}

#[test]
fn a_program_that_takes_more_memory_is_killed() {
    with_runtime(|rt| {
        if !has(rt, "memory") {
            return;
        }
        let bundle = rt.bundle();
        bundle.args(&["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]);
        bundle.edit(|c| c["linux"]["resources"]["memory"] = json!({"limit": 33_554_432, "swap": 33_554_432}));
        assert_eq!(rt.run(&bundle, "c").code(), 128 + 9);
        bundle.edit(|c| c["linux"]["resources"]["memory"] = json!({"limit": 1_073_741_824}));
        rt.run(&bundle, "d").ok();
    });
}

#[test]
fn little_memory_starts_a_static_program_or_is_said_to_be_too_little() {
    with_runtime(|rt| {
        if !has(rt, "memory") || !rt.only_keg("runc needs 3 MiB") {
            return;
        }
        let bundle = rt.bundle();
        bundle.args(&["/bin/true"]);
        for (n, kib) in [16, 64, 96, 128, 192, 256, 384, 1024, 4096].into_iter().enumerate() {
            let limit = kib << 10;
            bundle.edit(|c| c["linux"]["resources"]["memory"] = json!({"limit": limit, "swap": limit}));
            let done = rt.run(&bundle, &format!("c{n}"));
            match done.code() {
                0 | 137 => assert_eq!(done.stderr(), ""),
                _ => assert!(done.stderr().contains("(memory limit too low?)"), "{}", done.describe()),
            }
            assert!(done.code() == 0 || kib < 4096, "{}", done.describe());
        }
    });
}

#[test]
fn cpu() {
    with_runtime(|rt| {
        if !has(rt, "cpu") {
            return;
        }
        let bundle = created(rt, &json!({"cpu": {"shares": 512, "quota": 20_000, "period": 50_000}}));
        let shares = read(&bundle, &["cpu.shares", "cpu.weight"]);
        assert!(shares == "512" || shares == "59", "{shares}");
        let quota = read(&bundle, &["cpu.cfs_quota_us", "cpu.max"]);
        assert!(quota == "20000" || quota == "20000 50000", "{quota}");
        if quota == "20000" {
            assert_eq!(read(&bundle, &["cpu.cfs_period_us"]), "50000");
        }
    });
}

#[test]
fn cpu_burst_and_idle() {
    with_runtime(|rt| {
        if !has(rt, "cpu") || !rt.only_keg("burst and idle are newer than Debian 12's versions") {
            return;
        }
        let bundle =
            created(rt, &json!({"cpu": {"quota": 20_000, "period": 50_000, "burst": 5_000, "idle": 1}}));
        assert_eq!(read(&bundle, &["cpu.cfs_burst_us", "cpu.max.burst"]), "5000");
        assert_eq!(read(&bundle, &["cpu.idle"]), "1");
    });
}

#[test]
fn cpus_are_those_that_a_process_inside_may_use() {
    with_runtime(|rt| {
        if !has(rt, "cpuset") {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["linux"]["resources"]["cpu"] = json!({"cpus": "0", "mems": "0"}));
        assert_eq!(bundle.probe(rt).status("Cpus_allowed_list"), "0");
    });
}

#[test]
fn a_cpu_that_is_not_there_is_an_error() {
    with_runtime(|rt| {
        if !has(rt, "cpuset") {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["linux"]["resources"]["cpu"] = json!({"cpus": "8000"}));
        rt.create(&bundle, "c").fails_with("");
        rt.assert_gone("c");
    });
}

#[test]
fn pids() {
    with_runtime(|rt| {
        if !has(rt, "pids") {
            return;
        }
        let bundle = created(rt, &json!({"pids": {"limit": 100}}));
        assert_eq!(read(&bundle, &["pids.max"]), "100");
        let bundle = rt.bundle();
        bundle.shell("n=0; while [ $n -lt 20 ]; do sleep 5 & n=$((n+1)); done; echo all");
        bundle.edit(|c| c["linux"]["resources"]["pids"] = json!({"limit": 10}));
        assert!(!rt.run(&bundle, "d").stdout().contains("all"));
    });
}

#[test]
fn no_process_limit() {
    with_runtime(|rt| {
        if has(rt, "pids") {
            assert_eq!(read(&created(rt, &json!({"pids": {"limit": -1}})), &["pids.max"]), "max");
        }
    });
}

#[test]
fn block_io() {
    with_runtime(|rt| {
        let Some(disk) = disk().filter(|_| has(rt, "blkio") || has(rt, "io")) else { return };
        let (major, minor) = disk;
        let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
        let resources = json!({"blockIO": {"weight": 300, "throttleReadBpsDevice": rate(1_048_576),
            "throttleWriteIOPSDevice": rate(700)}});
        let bundle = created(rt, &resources);
        let weight = read(&bundle, &["blkio.bfq.weight", "io.bfq.weight", "io.weight"]);
        assert!(weight.trim_start_matches("default ") == "300" || weight == "default 2930", "{weight}");
        let read_bps = read(&bundle, &["blkio.throttle.read_bps_device", "io.max"]);
        let device = format!("{major}:{minor}");
        assert!(read_bps == format!("{device} 1048576") || read_bps.contains("rbps=1048576"), "{read_bps}");
        let write_iops = read(&bundle, &["blkio.throttle.write_iops_device", "io.max"]);
        assert!(write_iops == format!("{device} 700") || write_iops.contains("wiops=700"), "{write_iops}");
    });
}

/// A disk of this host.
fn disk() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/partitions").unwrap();
    let numbers = text.lines().skip(2).map(|line| line.split_whitespace().collect::<Vec<_>>());
    numbers
        .map(|f| (f[0].parse().unwrap(), f[1].parse().unwrap()))
        .find(|(major, _)| *major != 1 && *major != 7)
}

#[test]
fn memory_swappiness_and_oom_control_are_version_1_or_an_error() {
    with_runtime(|rt| {
        if !has(rt, "memory") {
            return;
        }
        let resources = json!({"memory": {"swappiness": 10, "disableOOMKiller": true}});
        if hierarchies().len() > 1 {
            let bundle = created(rt, &resources);
            assert_eq!(read(&bundle, &["memory.swappiness"]), "10");
            assert!(read(&bundle, &["memory.oom_control"]).contains("oom_kill_disable 1"));
        } else if rt.only_keg("the others drop it silently") {
            let bundle = rt.bundle();
            bundle.edit(|c| c["linux"]["resources"] = resources);
            rt.create(&bundle, "c").fails_with("linux.resources.memory.swappiness");
        }
    });
}

#[test]
fn settings_of_version_2_where_version_1_has_the_controller_are_refused_in_words_that_callers_know() {
    with_runtime(|rt| {
        if rt.kind() == Kind::Crun || !Path::new("/sys/fs/cgroup/memory/memory.usage_in_bytes").exists() {
            eprintln!("skipped: crun has other words, and there has to be a memory controller of version 1");
            return;
        }
        for (file, value) in [("memory.high", "100000000"), ("io.max", "8:0 rbps=1048576")] {
            let bundle = rt.bundle();
            bundle.edit(|c| c["linux"]["resources"] = json!({"unified": {file: value}}));
            rt.create(&bundle, "c").fails_with("invalid configuration");
        }
    });
}

#[test]
fn a_controller_that_is_not_there_is_an_error_that_names_the_setting() {
    with_runtime(|rt| {
        if !rt.only_keg("the others' errors have other words") {
            return;
        }
        for (resources, place) in [
            (
                json!({"unified": {"nonsense.max": "1"}}),
                "linux.resources.unified[\"nonsense.max\"]: unknown controller",
            ),
            (json!({"rdma": {"x": {"hcaHandles": 1}}}), "linux.resources.rdma[\"x\"]"),
            (json!({"memory": {"limit": 100, "swap": 50}}), "linux.resources.memory.swap"),
        ] {
            let bundle = rt.bundle();
            bundle.edit(|c| c["linux"]["resources"] = resources);
            rt.create(&bundle, "c").fails_with(place);
            rt.assert_gone("c");
        }
    });
}

/// Runs a shell with CAP_MKNOD that makes device 1:11 (the kernel log), and says whether it may be read.
fn kernel_log(rt: &Runtime, rules: &Value) -> (i32, String) {
    let bundle = rt.bundle();
    bundle.shell("mknod /dev/log c 1 11 && echo made && dd if=/dev/log of=/dev/null count=0 && echo opened");
    bundle.edit(|c| {
        c["linux"]["resources"]["devices"] = rules.clone();
        for set in ["bounding", "effective", "permitted"] {
            c["process"]["capabilities"][set] = json!(["CAP_MKNOD", "CAP_SYSLOG"]);
        }
    });
    let done = rt.run(&bundle, &format!("c{}", rt.unique()));
    (done.status.code().unwrap(), done.stdout())
}

#[test]
fn a_device_that_is_not_allowed_can_be_made_but_not_opened() {
    with_runtime(|rt| {
        let (code, out) = kernel_log(rt, &json!([{"allow": false, "access": "rwm"}]));
        assert_eq!((code, out.as_str()), (1, "made\n"));
    });
}

#[test]
fn a_device_that_is_allowed_can_be_opened() {
    with_runtime(|rt| {
        let allow = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"});
        let (code, out) = kernel_log(rt, &json!([{"allow": false, "access": "rwm"}, allow]));
        assert_eq!((code, out.as_str()), (0, "made\nopened\n"));
    });
}

#[test]
fn the_last_rule_holds() {
    with_runtime(|rt| {
        let rule =
            |allow: bool| json!({"allow": allow, "type": "c", "major": 1, "minor": 11, "access": "rw"});
        let (code, out) =
            kernel_log(rt, &json!([{"allow": false, "access": "rwm"}, rule(true), rule(false)]));
        assert_eq!((code, out.as_str()), (1, "made\n"));
    });
}

/// Any node may be made, unless it is denied where everything else is allowed.
#[test]
fn where_everything_is_allowed_a_device_that_is_denied_cannot_be_made() {
    with_runtime(|rt| {
        let denied = json!({"allow": false, "type": "c", "major": 1, "minor": 11, "access": "rwm"});
        let (code, out) = kernel_log(rt, &json!([{"allow": true, "access": "rwm"}, denied]));
        assert_eq!((code, out.as_str()), (1, ""));
    });
}

/// As the specification and the other runtimes have it: what every container may use comes after the rules.
#[test]
fn the_usual_devices_work_even_if_they_are_denied() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.shell("echo x > /dev/null && echo null; dd if=/dev/zero bs=1 count=1 2>/dev/null | wc -c");
        bundle.edit(|c| {
            c["linux"]["resources"]["devices"] = json!([
                {"allow": false, "access": "rwm"},
                {"allow": false, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
                {"allow": false, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
            ]);
        });
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), "null\n1\n");
    });
}

#[test]
fn without_any_rule_the_usual_devices_work_and_others_do_not() {
    with_runtime(|rt| {
        let (code, out) = kernel_log(rt, &json!([]));
        assert_eq!((code, out.as_str()), (1, "made\n"));
        let bundle = rt.bundle();
        bundle.shell(
            "for d in null zero full random urandom tty; do [ -c /dev/$d ] || echo no $d; done; \
            dd if=/dev/zero bs=1 count=1 2>/dev/null | wc -c; dd if=/dev/urandom bs=1 count=1 2>/dev/null | wc -c; echo x > /dev/null && echo null",
        );
        bundle.edit(|c| c["linux"]["resources"] = json!({}));
        assert_eq!(rt.run(&bundle, "d").ok().stdout(), "1\n1\nnull\n");
    });
}
