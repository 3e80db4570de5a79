//! cgroups of the cgroupfs driver: made, limited, joined by the process, removed.

use std::fs;
use std::path::{Path, PathBuf};

use harness::{Runtime, Value, json, with_runtime};

/// The directory of a controller: v1's own hierarchy, or the one of v2.
fn hierarchy(controller: &str) -> PathBuf {
    let v1 = Path::new("/sys/fs/cgroup").join(controller);
    if v1.join("cgroup.procs").exists() { v1 } else { PathBuf::from("/sys/fs/cgroup") }
}

fn v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

fn read(controller: &str, cgroup: &str, file: &str) -> String {
    let path = hierarchy(controller).join(cgroup.trim_start_matches('/')).join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
}

fn created(rt: &Runtime, resources: &Value) -> String {
    let bundle = rt.bundle();
    bundle.edit(|c| {
        c["linux"]["resources"].as_object_mut().unwrap().extend(resources.as_object().unwrap().clone());
    });
    rt.create(&bundle, "c").ok();
    bundle.cgroup()
}

#[test]
fn the_process_is_in_its_cgroup_in_every_hierarchy() {
    with_runtime(|rt| {
        let cgroup = created(rt, &json!({}));
        let pid = rt.pid("c").to_string();
        for controller in ["memory", "pids", "cpu", "cpuset", "freezer", "devices"] {
            if hierarchy(controller).join("cgroup.procs").exists() {
                assert_eq!(read(controller, &cgroup, "cgroup.procs"), pid, "{controller}");
            }
        }
    });
}

/// The kernel has a hierarchy of version 1 that is mounted nowhere: the last mount has gone before the last of its cgroups.
#[test]
fn a_hierarchy_that_is_mounted_nowhere_is_passed_over() {
    const VIEW: &str = "{ echo 99:net_cls:/; grep -v :net_cls: /proc/self/cgroup; } >$0 \
        && mount --bind $0 /proc/$$/cgroup && exec \"$@\"";
    with_runtime(|rt| {
        if v2() || !rt.only_keg("others look at what is mounted") {
            return;
        }
        let own = rt.dir().join("own-cgroups").display().to_string();
        let (log, bundle) = (rt.dir().join("log"), rt.bundle());
        let globals = ["--debug", "--log", log.to_str().unwrap()];
        let words = ["run", "--bundle", &bundle.arg(), "c"];
        let run = || {
            rt.command_with_globals(&globals, &words)
                .inside(&["unshare", "-m", "sh", "-ec", VIEW, &own])
                .run()
        };
        run().silent();
        assert!(fs::read_to_string(&own).unwrap().starts_with("99:net_cls:/\n"));
        assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "");
        // Where something is asked of it, that is an error before anything is made.
        bundle.edit(|c| c["linux"]["resources"]["network"] = json!({"classID": 1}));
        run().fails_with("linux.resources.network.classID");
    });
}

/// Beside version 1 it is looked for in its usual place: the table of mounts is read where something is asked that only it has.
#[test]
fn version_2_in_an_unusual_place_is_found_where_something_is_asked_of_it() {
    const VIEW: &str = "umount /sys/fs/cgroup/unified && mount -t cgroup2 none $0 && exec \"$@\"";
    with_runtime(|rt| {
        let controllers = fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers").unwrap_or_default();
        if !rt.only_keg("others know one place") || !controllers.contains("hugetlb") {
            eprintln!("skipped: version 2 has no huge pages beside version 1");
            return;
        }
        let place = rt.dir().join("place");
        fs::create_dir(&place).unwrap();
        let (bundle, place) = (rt.bundle(), place.display().to_string());
        bundle.edit(|c| {
            c["linux"]["resources"]["hugepageLimits"] = json!([{"pageSize": "2MB", "limit": 4 << 20}]);
            c["process"]["args"] = json!(["/bin/true"]);
        });
        let run = || rt.command(&["run", "--bundle", &bundle.arg(), "c"]);
        run().inside(&["unshare", "-m", "sh", "-ec", VIEW, &place]).run().ok();
    });
}

#[test]
fn memory_limits_are_written() {
    with_runtime(|rt| {
        let cgroup = created(rt, &json!({"memory": {"limit": 64 << 20, "reservation": 32 << 20}}));
        if v2() {
            assert_eq!(read("memory", &cgroup, "memory.max"), (64 << 20).to_string());
            assert_eq!(read("memory", &cgroup, "memory.low"), (32 << 20).to_string());
        } else {
            assert_eq!(read("memory", &cgroup, "memory.limit_in_bytes"), (64 << 20).to_string());
            assert_eq!(read("memory", &cgroup, "memory.soft_limit_in_bytes"), (32 << 20).to_string());
        }
    });
}

#[test]
fn the_pids_limit_is_written_and_holds() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["linux"]["resources"]["pids"] = json!({"limit": 4}));
        bundle.shell("for i in 1 2 3 4 5 6; do sleep 1 & done; wait");
        let done = rt.run(&bundle, "c");
        assert!(done.stderr().contains("can't fork"), "{}", done.describe());
        let cgroup = created(rt, &json!({"pids": {"limit": 77}}));
        assert_eq!(read("pids", &cgroup, "pids.max"), "77");
    });
}

#[test]
fn cpu_limits_are_written() {
    with_runtime(|rt| {
        let cgroup =
            created(rt, &json!({"cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0"}}));
        if v2() {
            assert_eq!(read("cpu", &cgroup, "cpu.max"), "50000 100000");
        } else {
            assert_eq!(read("cpu", &cgroup, "cpu.shares"), "512");
            assert_eq!(read("cpu", &cgroup, "cpu.cfs_quota_us"), "50000");
            assert_eq!(read("cpu", &cgroup, "cpu.cfs_period_us"), "100000");
        }
        assert_eq!(read("cpuset", &cgroup, "cpuset.cpus"), "0");
    });
}

#[test]
fn the_cgroup_is_removed_with_the_container() {
    with_runtime(|rt| {
        let cgroup = created(rt, &json!({}));
        let path = hierarchy("memory").join(cgroup.trim_start_matches('/'));
        assert!(path.exists());
        rt.delete("c").ok();
        assert!(!path.exists());
    });
}

#[test]
fn cgroups_made_inside_are_removed_too() {
    with_runtime(|rt| {
        let cgroup = created(rt, &json!({}));
        let inner = hierarchy("memory").join(cgroup.trim_start_matches('/')).join("inner/most");
        fs::create_dir_all(&inner).unwrap();
        rt.command(&["delete", "--force", "c"]).run().ok();
        assert!(!inner.exists());
    });
}

#[test]
fn without_a_cgroup_namespace_the_process_sees_its_path() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.without_namespace("cgroup");
        let inside = bundle.probe(rt);
        let lines = inside["cgroup"].as_array().unwrap();
        let of_memory = lines.iter().find(|l| l.as_str().unwrap().contains("memory") || v2()).unwrap();
        assert!(of_memory.as_str().unwrap().ends_with(&bundle.cgroup()), "{of_memory}");
    });
}

#[test]
fn with_a_cgroup_namespace_the_process_is_at_its_root() {
    with_runtime(|rt| {
        let inside = rt.bundle().probe(rt);
        for line in inside["cgroup"].as_array().unwrap() {
            let path = line.as_str().unwrap().splitn(3, ':').nth(2).unwrap();
            assert_eq!(path, "/", "{line}");
        }
    });
}

#[test]
fn a_relative_path_is_below_the_runtimes_own_place() {
    with_runtime(|rt| {
        if !rt.only_cgroupfs("a scope has no path") {
            return;
        }
        let bundle = rt.bundle();
        let relative = bundle.cgroup().trim_start_matches('/').to_owned();
        bundle.edit(|c| c["linux"]["cgroupsPath"] = json!(relative));
        rt.create(&bundle, "c").ok();
        let line = fs::read_to_string(format!("/proc/{}/cgroup", rt.pid("c"))).unwrap();
        assert!(line.lines().any(|l| l.ends_with(&format!("/{relative}"))), "{line}");
    });
}

#[test]
fn an_impossible_limit_is_an_error_and_leaves_nothing() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["linux"]["resources"]["cpu"] = json!({"cpus": "100000"}));
        rt.create(&bundle, "c").fails_with("");
        rt.assert_gone("c");
    });
}

#[test]
fn a_memory_limit_ends_what_uses_more() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["linux"]["resources"]["memory"] = json!({"limit": 16 << 20, "swap": 16 << 20}));
        bundle.args(&["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]);
        assert_eq!(rt.run(&bundle, "c").code(), 137);
    });
}
