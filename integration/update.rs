//! `update`: limits of a container that is there, by flags and by a document.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use harness::host::hierarchies;
use harness::{Bundle, Runtime, Value, json, wait_until, with_runtime};

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
fn has(controller: &str) -> bool {
    let listed = |mount: &PathBuf| fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    let v2 = |mount: &PathBuf| {
        hierarchies().len() == 1 && listed(mount).split_whitespace().any(|c| c == controller)
    };
    hierarchies().iter().any(|mount| mount.ends_with(controller) || v2(mount))
}

fn sleeping(rt: &Runtime) -> Bundle {
    let bundle = rt.bundle();
    bundle.args(&["/bin/sleep", "1000"]);
    rt.create(&bundle, "c").ok();
    rt.start("c").ok();
    bundle
}

#[test]
fn flags_set_what_they_name() {
    with_runtime(|rt| {
        if !["memory", "cpu", "pids", "cpuset"].iter().all(|controller| has(controller)) {
            eprintln!("skipped: not all of memory, cpu, pids and cpuset are here");
            return;
        }
        let bundle = sleeping(rt);
        let flags = [
            "--memory",
            "67108864",
            "--memory-swap=134217728",
            "--memory-reservation",
            "33554432",
            "--cpu-share",
            "512",
            "--cpu-quota",
            "20000",
            "--cpu-period",
            "50000",
            "--cpuset-cpus",
            "0",
            "--pids-limit",
            "77",
        ];
        rt.command(&[&["update"][..], &flags[..], &["c"]].concat()).run().silent();
        assert_eq!(read(&bundle, &["memory.limit_in_bytes", "memory.max"]), "67108864");
        assert_eq!(read(&bundle, &["memory.soft_limit_in_bytes", "memory.low"]), "33554432");
        let swap = read(&bundle, &["memory.memsw.limit_in_bytes", "memory.swap.max"]);
        assert!(swap == "134217728" || swap == "67108864", "{swap}");
        let shares = read(&bundle, &["cpu.shares", "cpu.weight"]);
        assert!(shares == "512" || shares == "59", "{shares}");
        let quota = read(&bundle, &["cpu.cfs_quota_us", "cpu.max"]);
        assert!(quota == "20000" || quota == "20000 50000", "{quota}");
        assert_eq!(read(&bundle, &["cpuset.cpus"]), "0");
        assert_eq!(read(&bundle, &["pids.max"]), "77");
        // Nothing else has changed.
        rt.command(&["update", "--pids-limit", "78", "c"]).run().silent();
        assert_eq!(read(&bundle, &["pids.max"]), "78");
        assert_eq!(read(&bundle, &["memory.limit_in_bytes", "memory.max"]), "67108864");
        // Up again, beyond both old limits.
        rt.command(&["update", "--memory", "268435456", "--memory-swap", "268435456", "c"]).run().silent();
        assert_eq!(read(&bundle, &["memory.limit_in_bytes", "memory.max"]), "268435456");
        rt.delete_force("c");
    });
}

#[test]
fn sizes_have_units_and_flags_may_follow_the_name() {
    with_runtime(|rt| {
        if !has("memory") || !rt.only_keg("crun has no units") {
            return;
        }
        let bundle = sleeping(rt);
        rt.command(&["update", "c", "--memory", "64M", "-memory-swap=-1"]).run().silent();
        assert_eq!(read(&bundle, &["memory.limit_in_bytes", "memory.max"]), (64 << 20).to_string());
        rt.command(&["update", "--memory", "64X", "c"]).run().fails_with("--memory");
        rt.delete_force("c");
    });
}

#[test]
fn cache_and_bandwidth_need_a_group_of_the_containers_own() {
    with_runtime(|rt| {
        if !rt.only_keg("the others' errors have other words") {
            return;
        }
        sleeping(rt);
        for flag in ["--l3-cache-schema=L3:0=f", "--mem-bw-schema=MB:0=50"] {
            rt.command(&["update", flag, "c"])
                .run()
                .fails_with("linux.intelRdt: the container has no group of its own");
        }
        rt.command(&["update", "--mem-bw-schema", "L3:0=f", "c"])
            .run()
            .fails_with("no line that begins with MB");
        rt.delete_force("c");
    });
}

#[test]
fn a_document_comes_from_a_file_or_from_standard_input() {
    with_runtime(|rt| {
        if !has("pids") {
            eprintln!("skipped: no pids controller here");
            return;
        }
        let bundle = sleeping(rt);
        let document =
            |limit: i64| json!({"pids": {"limit": limit}, "cpu": {"shares": 0, "cpus": ""}}).to_string();
        fs::write(rt.dir().join("resources"), document(11)).unwrap();
        rt.command(&["update", "--resources", "resources", "c"]).cwd(rt.dir()).run().silent();
        assert_eq!(read(&bundle, &["pids.max"]), "11");
        for (words, limit) in [(["--resources=-", "c"].as_slice(), 12), (&["-r", "-", "c"], 13)] {
            let words = [&["update"], words].concat();
            rt.command(&words).stdin(document(limit)).run().silent();
            assert_eq!(read(&bundle, &["pids.max"]), limit.to_string());
        }
        rt.command(&["update", "-r", "/no/such/file", "c"]).run().fails_with("no such file or directory");
        rt.command(&["update", "-r", "-", "c"]).stdin("{\"pids\":").run().fails_with("");
        assert_eq!(read(&bundle, &["pids.max"]), "13");
        rt.delete_force("c");
    });
}

#[test]
fn limits_that_bound_each_other_move_up_and_down_together() {
    with_runtime(|rt| {
        if !["memory", "cpu"].iter().all(|controller| has(controller))
            || !rt.only_keg("burst and idle are newer")
        {
            eprintln!("skipped: not both of memory and cpu are here");
            return;
        }
        let bundle = sleeping(rt);
        let update = |document: &Value| {
            rt.command(&["update", "-r", "-", "c"]).stdin(document.to_string()).run().silent();
        };
        for (quota, burst, period) in
            [(20_000, 10_000, 50_000), (4_000, 3_000, 10_000), (90_000, 80_000, 100_000)]
        {
            update(&json!({"cpu": {"quota": quota, "burst": burst, "period": period}}));
            let shown = read(&bundle, &["cpu.cfs_quota_us", "cpu.max"]);
            assert!(shown == quota.to_string() || shown == format!("{quota} {period}"), "{shown}");
            assert_eq!(read(&bundle, &["cpu.cfs_burst_us", "cpu.max.burst"]), burst.to_string());
        }
        update(&json!({"cpu": {"idle": 1}}));
        update(&json!({"cpu": {"idle": 0, "shares": 512}}));
        assert_eq!(read(&bundle, &["cpu.idle"]), "0");
        let shares = read(&bundle, &["cpu.shares", "cpu.weight"]);
        assert!(shares == "512" || shares == "59", "{shares}");
        for limit in [64 << 20, 32 << 20, 128 << 20] {
            update(&json!({"memory": {"limit": limit, "swap": 2 * limit}}));
            assert_eq!(read(&bundle, &["memory.limit_in_bytes", "memory.max"]), limit.to_string());
        }
        // Swap alone, beside the limit that is there.
        update(&json!({"memory": {"swap": 200 << 20}}));
        let swap = read(&bundle, &["memory.memsw.limit_in_bytes", "memory.swap.max"]);
        assert!(swap == (200 << 20).to_string() || swap == (72 << 20).to_string(), "{swap}");
        rt.delete_force("c");
    });
}

#[test]
fn a_failed_update_leaves_the_limits_as_they_were() {
    with_runtime(|rt| {
        if !["memory", "pids", "cpuset"].iter().all(|c| has(c)) || !rt.only_keg("the others leave half of it")
        {
            eprintln!("skipped: not all of memory, pids and cpuset are here");
            return;
        }
        let bundle = sleeping(rt);
        let all = || {
            let files = [
                &["memory.limit_in_bytes", "memory.max"][..],
                &["memory.memsw.limit_in_bytes", "memory.swap.max"],
                &["pids.max"],
                &["cpu.shares", "cpu.weight"],
                &["cpuset.cpus"],
            ];
            files.map(|names| read(&bundle, names))
        };
        let flags = ["--memory=64M", "--memory-swap=128M", "--pids-limit=33", "--cpu-share=700"];
        rt.command(&[&["update", "c"], &flags[..]].concat()).run().silent();
        let before = all();
        let document = json!({"memory": {"limit": 256 << 20, "swap": 512 << 20}, "pids": {"limit": 44},
            "cpu": {"shares": 900, "cpus": "8000"}});
        let failing = rt.command(&["update", "-r", "-", "c"]).stdin(document.to_string());
        failing.run().fails_with("linux.resources.cpu.cpus");
        assert_eq!(all(), before);
        rt.delete_force("c");
    });
}

#[test]
fn a_failed_update_leaves_the_lists_of_devices_as_they_were() {
    with_runtime(|rt| {
        let numbers = fs::read_dir("/sys/block").unwrap().flatten().map(|entry| entry.path());
        let numbers = numbers.filter(|path| path.join("queue/scheduler").exists());
        let numbers = numbers.map(|path| fs::read_to_string(path.join("dev")).unwrap().trim().to_owned());
        let disks: Vec<(u64, u64)> = numbers
            .map(|text| text.split_once(':').map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).unwrap())
            .filter(|(major, _)| *major != 1)
            .collect();
        let (Some(first), true) = (disks.first(), rt.only_keg("the others leave half of it")) else {
            eprintln!("skipped: no disk here");
            return;
        };
        let bundle = sleeping(rt);
        let rate =
            |(major, minor): (u64, u64), rate: u64| json!({"major": major, "minor": minor, "rate": rate});
        let update =
            |document: &Value| rt.command(&["update", "-r", "-", "c"]).stdin(document.to_string()).run();
        update(&json!({"blockIO": {"throttleReadBpsDevice": [rate(*first, 1_048_576)]}})).silent();
        let all = || {
            let files = ["read_bps", "write_bps"].map(|name| format!("blkio.throttle.{name}_device"));
            files.map(|name| read(&bundle, &[&name, "io.max"]))
        };
        let before = all();
        assert!(before[0].contains("1048576"), "{before:?}");
        let last = *disks.last().unwrap();
        let document = json!({
            "blockIO": {"throttleReadBpsDevice": [rate(*first, 2_097_152), rate(last, 4_194_304)],
                        "throttleWriteBpsDevice": [rate(last, 8_388_608)]},
            "hugepageLimits": [{"pageSize": "3MB", "limit": 0}],
        });
        update(&document).fails_with("hugepageLimits[0]");
        assert_eq!(all(), before);
        rt.delete_force("c");
    });
}

#[test]
fn wrong_values_are_refused_by_name() {
    with_runtime(|rt| {
        if !rt.only_keg("the others' errors have other words") {
            return;
        }
        sleeping(rt);
        for (document, text) in [
            (json!({"pids": {"limit": -2}}), "resources: pids.limit: -2 is neither"),
            (json!({"memory": {"limit": 100, "swap": 50}}), "resources: memory.swap: 50 is less than"),
            (json!({"blockIO": {"weight": 5}}), "resources: blockIO.weight: the weight 5 is not between"),
            (json!({"unified": {"nonsense.max": "1"}}), "unknown controller"),
            (json!({"memory": {"limit": "1"}}), "resources: memory.limit: must be"),
            (json!([]), "resources: must be a JSON object"),
        ] {
            let document = document.to_string();
            rt.command(&["update", "-r", "-", "c"]).stdin(&document).run().fails_with(text);
        }
        rt.delete_force("c");
    });
}

#[test]
fn only_a_container_that_lives_has_limits_to_change() {
    with_runtime(|rt| {
        if !has("pids") {
            eprintln!("skipped: no pids controller here");
            return;
        }
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "1000"]);
        rt.create(&bundle, "c").ok();
        rt.command(&["update", "--pids-limit", "50", "c"]).run().ok();
        rt.start("c").ok();
        rt.command(&["pause", "c"]).run().ok();
        rt.command(&["update", "--pids-limit", "51", "c"]).run().ok();
        assert_eq!(read(&bundle, &["pids.max"]), "51");
        rt.command(&["resume", "c"]).run().ok();
        rt.kill("c", "KILL").ok();
        rt.wait_stopped("c");
        if rt.only_keg("the others write to an empty cgroup") {
            rt.command(&["update", "--pids-limit", "52", "c"]).run().fails_with("container not running");
        }
        rt.delete("c").ok();
        rt.command(&["update", "--pids-limit", "52", "c"]).run().fails_with("container does not exist");
    });
}

/// Device 1:11, the kernel log: tells on `/tmp/log` whether it can be opened, again and again, and whether that of 1:3 ever fails.
fn watching_devices(rt: &Runtime) -> Bundle {
    let bundle = rt.bundle();
    bundle.shell(
        "mknod /dev/log c 1 11; \
         while :; do \
           if (: < /dev/log) 2>/dev/null; then echo opened; else echo refused; fi > /tmp/log.new; mv /tmp/log.new /tmp/log; \
           (: > /dev/null) 2>/dev/null || echo denied >> /tmp/denied; \
         done",
    );
    bundle.edit(|c| {
        c["root"]["readonly"] = false.into();
        for set in ["bounding", "effective", "permitted"] {
            c["process"]["capabilities"][set] = json!(["CAP_MKNOD", "CAP_SYSLOG"]);
        }
    });
    rt.create(&bundle, "c").ok();
    rt.start("c").ok();
    bundle
}

#[test]
fn device_rules_change_and_what_stays_allowed_is_never_denied() {
    with_runtime(|rt| {
        if !rt.only_keg("runc replaces them one by one, crun not at all") {
            return;
        }
        let bundle = watching_devices(rt);
        let log = bundle.rootfs().join("tmp/log");
        let until = |word: &str| {
            wait_until(word, Duration::from_secs(10), || {
                fs::read_to_string(&log).unwrap_or_default().trim() == word
            });
        };
        until("refused");
        let rule =
            |allow: bool| json!({"allow": allow, "type": "c", "major": 1, "minor": 11, "access": "rw"});
        let all = json!({"allow": false, "access": "rwm"});
        for _ in 0..5 {
            let document = json!({"devices": [all, rule(true)]}).to_string();
            rt.command(&["update", "-r", "-", "c"]).stdin(document).run().silent();
            until("opened");
            let document = json!({"devices": [all, rule(true), rule(false)]}).to_string();
            rt.command(&["update", "-r", "-", "c"]).stdin(document).run().silent();
            until("refused");
        }
        assert!(!bundle.rootfs().join("tmp/denied").exists());
        // Without rules in the document they stay as they are.
        rt.command(&["update", "-r", "-", "c"]).stdin("{}").run().silent();
        until("refused");
        rt.delete_force("c");
    });
}

/// A cgroup of version 1 can allow no more than the one it is in.
#[test]
fn a_failed_update_leaves_the_device_rules_of_version_1_as_they_were() {
    with_runtime(|rt| {
        let Some(mount) = hierarchies().into_iter().find(|mount| mount.join("devices.list").exists()) else {
            eprintln!("skipped: devices are not version 1 here");
            return;
        };
        if !rt.only_keg("the others leave half of it") {
            return;
        }
        let parent = mount.join(rt.cgroup_prefix().trim_start_matches('/')).join("parent");
        fs::create_dir_all(&parent).unwrap();
        fs::write(parent.join("devices.deny"), "c 1:11 rw").unwrap();
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "1000"]);
        bundle.edit(|c| c["linux"]["cgroupsPath"] = format!("{}/parent/c", rt.cgroup_prefix()).into());
        rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        let rules = || {
            let list = read(&bundle, &["devices.list"]);
            let mut rules: Vec<_> = list.lines().map(str::to_owned).collect();
            rules.sort();
            rules
        };
        let (before, pids) = (rules(), read(&bundle, &["pids.max"]));
        assert!(before.iter().any(|rule| rule == "c 1:3 rwm"), "{before:?}");
        let allow =
            |minor: u64| json!({"allow": true, "type": "c", "major": 1, "minor": minor, "access": "rw"});
        let none = json!({"allow": false, "access": "rwm"});
        // The first of the two can be had, and is taken back.
        let document = json!({"devices": [none, allow(6), allow(11)], "pids": {"limit": 44}});
        let update = rt.command(&["update", "-r", "-", "c"]).stdin(document.to_string()).run();
        update.fails_with("linux.resources.devices");
        assert_eq!((rules(), read(&bundle, &["pids.max"])), (before.clone(), pids));
        let document = json!({"devices": [none, allow(6)]}).to_string();
        rt.command(&["update", "-r", "-", "c"]).stdin(document).run().silent();
        assert!(rules().iter().any(|rule| rule == "c 1:6 rw") && rules() != before, "{:?}", rules());
        rt.delete_force("c");
        fs::remove_dir(parent).unwrap();
    });
}
