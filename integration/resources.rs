//! The less usual words of `linux.resources`, each as the kernel holds it, wherever it has the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::host::hierarchies;
use harness::{Bundle, Runtime, Value, json, wait_until, with_runtime};

/// The directories of a container's cgroup.
fn directories(cgroup: &str) -> Vec<PathBuf> {
    hierarchies().into_iter().map(|mount| mount.join(cgroup.trim_start_matches('/'))).collect()
}

/// A file of a container's cgroup, in whichever hierarchy it is.
fn file(cgroup: &str, name: &str) -> Option<PathBuf> {
    directories(cgroup).into_iter().map(|directory| directory.join(name)).find(|path| path.exists())
}

fn read(cgroup: &str, name: &str) -> Option<String> {
    file(cgroup, name).map(|path| fs::read_to_string(path).unwrap().trim().to_owned())
}

fn with(rt: &Runtime, resources: &Value) -> Bundle {
    let bundle = rt.bundle();
    bundle.args(&["/bin/sleep", "1000"]).edit(|c| {
        c["linux"]["resources"].as_object_mut().unwrap().extend(resources.as_object().unwrap().clone());
    });
    bundle
}

/// Creates a container with these resources and says what a file holds then; `None`: there is no such file here.
fn held(rt: &Runtime, resources: &Value, names: &[&str]) -> Vec<Option<String>> {
    let bundle = with(rt, resources);
    rt.create(&bundle, "c").ok();
    let all = names.iter().map(|name| read(&bundle.cgroup(), name)).collect();
    rt.delete_force("c");
    all
}

/// A container without limits has that file.
fn has(rt: &Runtime, name: &str) -> bool {
    let there = held(rt, &json!({}), &[name]) != [None];
    if !there {
        eprintln!("skipped: no {name} here");
    }
    there
}

#[test]
fn a_limit_below_what_is_in_use_is_refused_where_that_is_asked_for() {
    with_runtime(|rt| {
        if !rt.only_keg("others have other words") {
            return;
        }
        let bundle = rt.bundle();
        bundle.shell("dd if=/dev/zero of=/dev/shm/f bs=1M count=20 2>/dev/null; sleep 1000");
        bundle.edit(|c| c["linux"]["resources"]["memory"] = json!({"limit": 100 << 20}));
        rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        let number = |names: [&str; 2]| -> u64 {
            let text = names.iter().find_map(|name| read(&bundle.cgroup(), name)).unwrap();
            text.parse().unwrap()
        };
        wait_until("20 MiB are used", Duration::from_secs(60), || {
            number(["memory.usage_in_bytes", "memory.current"]) > 20 << 20
        });
        let resources = json!({"memory": {"limit": 8 << 20, "checkBeforeUpdate": true}}).to_string();
        let message = rt.command(&["update", "-r", "-", "c"]).stdin(&resources).run().fails_with("");
        assert!(message.contains("linux.resources.memory.limit to 8388608: "), "{message}");
        assert!(message.contains("bytes are in use (memory limit too low?)"), "{message}");
        assert_eq!(number(["memory.limit_in_bytes", "memory.max"]), 100 << 20);
        assert_eq!(rt.status("c"), "running");
        let resources = json!({"memory": {"limit": 80 << 20, "checkBeforeUpdate": true}}).to_string();
        rt.command(&["update", "-r", "-", "c"]).stdin(&resources).run().silent();
        assert_eq!(number(["memory.limit_in_bytes", "memory.max"]), 80 << 20);
        rt.delete_force("c");
    });
}

#[test]
fn memory_of_tcp_buffers_is_version_1_or_an_error_and_that_of_the_kernel_has_no_limit_of_its_own() {
    with_runtime(|rt| {
        if !rt.only_keg("others drop it silently") {
            return;
        }
        let resources = json!({"memory": {"kernelTCP": 8 << 20}});
        if file("", "memory.kmem.tcp.limit_in_bytes").is_some() {
            let held = held(rt, &resources, &["memory.kmem.tcp.limit_in_bytes"]);
            assert_eq!(held, [Some((8 << 20).to_string())]);
        } else {
            rt.create(&with(rt, &resources), "c").fails_with("linux.resources.memory.kernelTCP");
        }
        let resources = json!({"memory": {"kernel": 8 << 20, "limit": 64 << 20}});
        let held = held(rt, &resources, &["memory.limit_in_bytes", "memory.max"]);
        assert_eq!(held.into_iter().flatten().collect::<Vec<_>>(), [(64 << 20).to_string()]);
        // Every cgroup counts what is below it, by now.
        let held = self::held(rt, &json!({"memory": {"useHierarchy": true}}), &["memory.use_hierarchy"]);
        assert!([None, Some("1".to_owned())].contains(&held[0]), "{held:?}");
        assert_eq!(held[0].is_some(), file("", "memory.use_hierarchy").is_some());
    });
}

#[test]
fn kernel_memory_is_not_limited_and_check_says_so() {
    with_runtime(|rt| {
        if !rt.only_keg("others have no `check`") {
            return;
        }
        let resources = json!({"memory": {"kernel": 8_388_608}});
        let found = rt.command(&["check", &with(rt, &resources).arg()]).run().ok().stdout();
        let line = "warning: linux.resources.memory.kernel: the kernel has no such limit since Linux 5.16";
        assert!(found.contains(line), "{found}");
        let name = "memory.kmem.limit_in_bytes";
        assert_eq!(held(rt, &resources, &[name]), held(rt, &json!({}), &[name]));
    });
}

#[test]
fn processor_time_for_realtime_is_version_1_or_an_error() {
    with_runtime(|rt| {
        if !rt.only_keg("others drop it silently on version 2")
            || !rt.only_cgroupfs("version 1 has no driver")
        {
            return;
        }
        let cpu = json!({"cpu": {"realtimeRuntime": 10_000, "realtimePeriod": 500_000}});
        let bundle = with(rt, &cpu);
        let Some(hierarchy) =
            hierarchies().into_iter().find(|mount| mount.join("cpu.rt_runtime_us").exists())
        else {
            if hierarchies().len() == 1 {
                rt.create(&bundle, "c").fails_with("linux.resources.cpu.realtime");
            }
            return;
        };
        // Nobody has more than those above, who have none unless they are given some.
        let parent = hierarchy.join(format!("keg-test-{}", rt.unique()));
        fs::create_dir(&parent).unwrap();
        fs::write(parent.join("cpu.rt_runtime_us"), "20000").unwrap();
        bundle.edit(|c| c["linux"]["cgroupsPath"] = format!("/keg-test-{}/c", rt.unique()).into());
        rt.create(&bundle, "c").ok();
        assert_eq!(read(&bundle.cgroup(), "cpu.rt_runtime_us").as_deref(), Some("10000"));
        assert_eq!(read(&bundle.cgroup(), "cpu.rt_period_us").as_deref(), Some("500000"));
        rt.delete_force("c");
        fs::remove_dir(parent).unwrap();
    });
}

#[test]
fn no_further_process_is_a_limit_too() {
    with_runtime(|rt| {
        if !has(rt, "pids.max") || !rt.only_keg("others take 0 for no limit") {
            return;
        }
        for limit in [0, 1] {
            let bundle = with(rt, &json!({"pids": {"limit": limit}}));
            bundle.shell("cat /proc/self/status >/dev/null || exit 3; echo another");
            rt.create(&bundle, "c").ok();
            assert_eq!(read(&bundle.cgroup(), "pids.max"), Some(limit.to_string()));
            rt.delete_force("c");
            let done = rt.run(&bundle, "c");
            assert!(done.code() != 0 && done.stdout().is_empty(), "{}", done.describe());
            assert!(done.stderr().contains("can't fork"), "{}", done.describe());
        }
    });
}

/// The first disk that has a scheduler of its own.
fn disk() -> Option<(u64, u64)> {
    let disks = fs::read_dir("/sys/block").ok()?.flatten().map(|entry| entry.path());
    let disk = disks.filter(|path| path.join("queue/scheduler").exists()).find_map(|path| {
        let numbers = fs::read_to_string(path.join("dev")).ok()?;
        let (major, minor) = numbers.trim().split_once(':')?;
        let (major, minor): (u64, u64) = (major.parse().ok()?, minor.parse().ok()?);
        (major != 1 && major != 7).then_some((major, minor))
    });
    if disk.is_none() {
        eprintln!("skipped: no disk here");
    }
    disk
}

#[test]
fn every_rate_of_a_device_is_limited() {
    with_runtime(|rt| {
        let Some((major, minor)) = disk() else { return };
        let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
        let resources = json!({"blockIO": {
            "throttleReadBpsDevice": rate(1_048_576), "throttleWriteBpsDevice": rate(2_097_152),
            "throttleReadIOPSDevice": rate(700), "throttleWriteIOPSDevice": rate(800),
        }});
        let names = ["read_bps", "write_bps", "read_iops", "write_iops"];
        let names = names.map(|name| format!("blkio.throttle.{name}_device"));
        let names: Vec<_> = names.iter().map(String::as_str).chain(["io.max"]).collect();
        let held = held(rt, &resources, &names);
        let line = |text: &str| Some(format!("{major}:{minor} {text}"));
        match &held[4] {
            None => assert_eq!(held[..4], ["1048576", "2097152", "700", "800"].map(line)),
            held => assert_eq!(*held, line("rbps=1048576 wbps=2097152 riops=700 wiops=800")),
        }
    });
}

/// A disk of the test's own: a file behind a loop device.
struct Disk(String);

impl Disk {
    fn attach(rt: &Runtime) -> Option<Self> {
        let file = rt.dir().join("disk");
        fs::File::create(&file).unwrap().set_len(16 << 20).unwrap();
        let done = rt.program(&["losetup", "--find", "--show", file.to_str().unwrap()]).run();
        if !done.status.success() {
            eprintln!("skipped: no loop device here: {}", done.stderr());
            return None;
        }
        Some(Self(done.stdout().trim().trim_start_matches("/dev/").to_owned()))
    }

    fn scheduler(&self) -> PathBuf {
        Path::new("/sys/block").join(&self.0).join("queue/scheduler")
    }

    /// Major and minor.
    fn numbers(&self) -> (u64, u64) {
        let text = fs::read_to_string(Path::new("/sys/block").join(&self.0).join("dev")).unwrap();
        let (major, minor) = text.trim().split_once(':').unwrap();
        (major.parse().unwrap(), minor.parse().unwrap())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let detach =
            std::process::Command::new("losetup").arg("--detach").arg(format!("/dev/{}", self.0)).status();
        assert!(detach.unwrap().success() || std::thread::panicking(), "{} stays", self.0);
    }
}

/// What weighs a device is its scheduler BFQ, or, for version 2 alone, the cost model of the kernel.
#[test]
fn a_device_has_a_weight_of_its_own() {
    with_runtime(|rt| {
        if !rt.only_keg("runc and crun know but one of the files") {
            return;
        }
        let Some(disk) = Disk::attach(rt) else { return };
        let (major, minor) = disk.numbers();
        let device = json!({"blockIO": {"weightDevice": [{"major": major, "minor": minor, "weight": 300}]}});
        let line = |names: &[&str], expected: &str| {
            let held = held(rt, &device, names);
            let expected = format!("{major}:{minor} {expected}");
            let found = held.iter().flatten().any(|text| text.lines().any(|line| line == expected));
            assert!(found, "{expected}: {held:?}");
        };
        let mut shown = false;
        if fs::read_to_string(disk.scheduler()).unwrap().contains("bfq") {
            fs::write(disk.scheduler(), "bfq").unwrap();
            line(&["blkio.bfq.weight_device", "io.bfq.weight"], "300");
            fs::write(disk.scheduler(), "none").unwrap();
            shown = true;
        }
        if let Some(costs) =
            hierarchies().iter().map(|mount| mount.join("io.cost.qos")).find(|file| file.exists())
        {
            fs::write(&costs, format!("{major}:{minor} enable=1")).unwrap();
            line(&["io.weight"], "2930");
            fs::write(&costs, format!("{major}:{minor} enable=0")).unwrap();
            shown = true;
        }
        if !shown {
            eprintln!("skipped: nothing weighs devices here");
        }
    });
}

/// Linux has none since 5.0, where its scheduler CFQ went.
#[test]
fn weights_of_leaves_are_an_error() {
    with_runtime(|rt| {
        if !rt.only_keg("others drop them silently") {
            return;
        }
        for (weights, setting) in [
            (json!({"leafWeight": 100}), "leafWeight"),
            (json!({"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 100}]}), "weightDevice[0]"),
        ] {
            let bundle = with(rt, &json!({"blockIO": weights}));
            rt.create(&bundle, "c").fails_with(&format!("linux.resources.blockIO.{setting}"));
            rt.assert_gone("c");
        }
    });
}

#[test]
fn hugepages_and_reservations_of_them_are_limited() {
    with_runtime(|rt| {
        if !rt.only_keg("Debian's do not use version 2 beside version 1") {
            return;
        }
        let files = ["hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"];
        let reserved = ["hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.rsvd.max"];
        let unified = hierarchies()
            .into_iter()
            .filter_map(|mount| fs::read_to_string(mount.join("cgroup.controllers")).ok());
        let v2 = unified.into_iter().any(|list| list.contains("hugetlb"));
        if !v2 && !hierarchies().iter().any(|mount| mount.ends_with("hugetlb")) {
            eprintln!("skipped: no hugetlb controller here");
            return;
        }
        let resources = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]});
        let held = held(rt, &resources, &[files, reserved].concat());
        assert_eq!(held.into_iter().flatten().collect::<Vec<_>>(), ["4194304", "4194304"]);
        let resources = json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 4 << 20}]});
        rt.create(&with(rt, &resources), "c").fails_with("linux.resources.hugepageLimits[0]");
    });
}

#[test]
fn files_of_version_2_can_be_named_unless_they_do_what_is_the_runtimes_to_do() {
    with_runtime(|rt| {
        if !hierarchies().iter().any(|mount| mount.join("cgroup.controllers").exists())
            || !rt.only_keg("Debian's do not use version 2 beside version 1")
        {
            eprintln!("skipped: no version 2 here");
            return;
        }
        let held = held(
            rt,
            &json!({"unified": {"cgroup.max.descendants": "3", "cgroup.max.depth": "2"}}),
            &["cgroup.max.descendants", "cgroup.max.depth"],
        );
        assert_eq!(held, [Some("3".to_owned()), Some("2".to_owned())]);
        if has(rt, "hugetlb.2MB.max") {
            let held =
                self::held(rt, &json!({"unified": {"hugetlb.2MB.max": "2097152"}}), &["hugetlb.2MB.max"]);
            assert_eq!(held, [Some("2097152".to_owned())]);
        }
        for (name, value) in [
            ("cgroup.procs", std::process::id().to_string()),
            ("cgroup.threads", "1".into()),
            ("cgroup.kill", "1".into()),
            ("cgroup.freeze", "1".into()),
            ("cgroup.type", "threaded".into()),
            ("cgroup.subtree_control", "+pids".into()),
        ] {
            let bundle = with(rt, &json!({"unified": {name: value}}));
            rt.create(&bundle, "c").fails_with("this file sets no limit, and what it does is keg's to do");
            rt.assert_gone("c");
        }
    });
}

#[test]
fn remote_memory_of_a_device_is_limited_and_of_one_that_is_not_there_an_error() {
    with_runtime(|rt| {
        if !rt.only_keg("others have other words") {
            return;
        }
        let limits = |device: &str| json!({"rdma": {device: {"hcaHandles": 3, "hcaObjects": 10}}});
        let message = rt.create(&with(rt, &limits("none")), "c").fails_with("linux.resources.rdma[\"none\"]");
        rt.assert_gone("c");
        let unified = hierarchies().into_iter().map(|mount| mount.join("cgroup.controllers"));
        if !unified.filter_map(|path| fs::read_to_string(path).ok()).any(|list| list.contains("rdma")) {
            eprintln!("skipped: no rdma controller here");
            return;
        }
        assert!(message.contains("none hca_handle=3 hca_object=10"), "{message}");
        let Some(device) = fs::read_dir("/sys/class/infiniband").into_iter().flatten().flatten().next()
        else {
            eprintln!("skipped: no device for remote memory here");
            return;
        };
        let name = device.file_name().to_string_lossy().into_owned();
        let held = held(rt, &limits(&name), &["rdma.max"]);
        assert_eq!(held, [Some(format!("{name} hca_handle=3 hca_object=10"))]);
    });
}

#[test]
fn classes_and_priorities_of_packets_are_version_1_or_an_error() {
    with_runtime(|rt| {
        let mounted = |name: &str| hierarchies().iter().any(|mount| mount.join(name).exists());
        let class = json!({"network": {"classID": 1_048_577}});
        let priorities = json!({"network": {"priorities": [{"name": "lo", "priority": 5}]}});
        if mounted("net_cls.classid") {
            assert_eq!(held(rt, &class, &["net_cls.classid"]), [Some("1048577".to_owned())]);
        } else if rt.only_keg("others drop it silently") {
            rt.create(&with(rt, &class), "c").fails_with("linux.resources.network.classID");
        }
        if mounted("net_prio.ifpriomap") {
            let held = held(rt, &priorities, &["net_prio.ifpriomap"]);
            assert!(held[0].as_ref().unwrap().lines().any(|line| line == "lo 5"), "{held:?}");
        } else if rt.only_keg("others drop it silently") {
            rt.create(&with(rt, &priorities), "d").fails_with("linux.resources.network.priorities[0]");
        }
    });
}

/// All controllers of the host reach the container, however deep it lies.
#[test]
fn controllers_are_passed_on_down_the_tree() {
    with_runtime(|rt| {
        let [mount] = &hierarchies()[..] else {
            eprintln!("skipped: no controllers in version 2 here");
            return;
        };
        if !rt.only_cgroupfs("a scope has the controllers that systemd accounts for") {
            return;
        }
        let bundle = with(rt, &json!({"memory": {"limit": 64 << 20}}));
        bundle.edit(|c| c["linux"]["cgroupsPath"] = format!("{}/a/b/c", rt.cgroup_prefix()).into());
        rt.create(&bundle, "c").ok();
        let controllers = |directory: &Path| {
            let text = fs::read_to_string(directory.join("cgroup.controllers")).unwrap();
            let mut all: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
            all.sort();
            all
        };
        let own = mount.join(bundle.cgroup().trim_start_matches('/'));
        assert_eq!(read(&bundle.cgroup(), "memory.max"), Some((64 << 20).to_string()));
        for wanted in ["cpu", "cpuset", "hugetlb", "io", "memory", "pids", "rdma"] {
            let there = controllers(mount).iter().any(|name| name == wanted);
            assert_eq!(controllers(&own).iter().any(|name| name == wanted), there, "{wanted}");
        }
        rt.delete_force("c");
    });
}
