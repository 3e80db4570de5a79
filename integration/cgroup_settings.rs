//! Limits that few ask for: as the kernel holds them, or refused by the name of the setting where this host has no such thing.

use std::fs;
use std::path::PathBuf;

use harness::host::hierarchies;
use harness::{Runtime, Value, json, with_runtime};

/// The file in the container's cgroup, in whichever hierarchy it is.
fn file(rt: &Runtime, name: &str) -> Option<PathBuf> {
    let below =
        |mount: PathBuf| mount.join(rt.cgroup_prefix().trim_start_matches('/')).join("here").join(name);
    hierarchies().into_iter().map(below).find(|path| path.exists())
}

/// Creates a container with the resources, says what went wrong if anything did, and what the files have; then it is removed.
fn set(rt: &Runtime, resources: &Value, files: &[&str]) -> (String, Vec<Option<String>>) {
    let bundle = rt.bundle();
    bundle.edit(|c| {
        c["linux"]["resources"] = resources.clone();
        c["linux"]["cgroupsPath"] = json!(format!("{}/here", rt.cgroup_prefix()));
    });
    let done = rt.create(&bundle, "c");
    let read = |name: &&str| file(rt, name).map(|path| fs::read_to_string(path).unwrap().trim().to_owned());
    let values = files.iter().map(read).collect();
    if done.status.success() {
        rt.delete_force("c");
    }
    (done.stderr(), values)
}

/// Either the file has the value, or there is no such file and the error names the setting.
fn check(resources: &Value, setting: &str, files: &[(&str, &str)]) {
    with_runtime(|rt| {
        if !rt.only_keg("the others drop some of them, and have other words") {
            return;
        }
        let names: Vec<_> = files.iter().map(|(name, _)| *name).collect();
        let (error, values) = set(rt, resources, &names);
        match error.is_empty() {
            true => {
                let expected: Vec<_> = files.iter().map(|(_, value)| Some((*value).to_owned())).collect();
                assert_eq!(values, expected, "{resources}");
            }
            false => assert!(error.contains(setting), "{resources}: {error}"),
        }
    });
}

#[test]
fn huge_pages() {
    check(
        &json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]}),
        "linux.resources.hugepageLimits[0]",
        &[("hugetlb.2MB.max", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")],
    );
}

#[test]
fn files_of_version_2() {
    check(
        &json!({"unified": {"hugetlb.2MB.max": "2097152"}}),
        "linux.resources.unified[\"hugetlb.2MB.max\"]",
        &[("hugetlb.2MB.max", "2097152")],
    );
}

#[test]
fn memory_of_the_network() {
    check(
        &json!({"memory": {"kernelTCP": 8_388_608, "useHierarchy": true}}),
        "linux.resources.memory.kernelTCP",
        &[("memory.kmem.tcp.limit_in_bytes", "8388608"), ("memory.use_hierarchy", "1")],
    );
}

#[test]
fn time_of_realtime_programs() {
    check(
        &json!({"cpu": {"realtimePeriod": 500_000}}),
        "linux.resources.cpu.realtimePeriod",
        &[("cpu.rt_period_us", "500000")],
    );
    check(
        &json!({"cpu": {"realtimeRuntime": 1000}}),
        "linux.resources.cpu.realtimeRuntime",
        &[("cpu.rt_runtime_us", "1000")],
    );
}

#[test]
fn weights_of_block_devices() {
    let device = |key: &str| json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, key: 100}]}});
    let setting = "linux.resources.blockIO.weightDevice[0]";
    check(&device("weight"), setting, &[("blkio.bfq.weight_device", "8:0 100")]);
    check(&device("leafWeight"), setting, &[("blkio.leaf_weight_device", "8:0 100")]);
    let leaf = json!({"blockIO": {"leafWeight": 100}});
    check(&leaf, "linux.resources.blockIO.leafWeight", &[("blkio.leaf_weight", "100")]);
}

#[test]
fn network_priorities_and_classes() {
    check(
        &json!({"network": {"priorities": [{"name": "lo", "priority": 3}]}}),
        "linux.resources.network.priorities[0]",
        &[("net_prio.ifpriomap", "lo 3")],
    );
    let class = json!({"network": {"classID": 1_048_577}});
    check(&class, "linux.resources.network.classID", &[("net_cls.classid", "1048577")]);
}

#[test]
fn handles_of_rdma_devices() {
    check(
        &json!({"rdma": {"mlx5_0": {"hcaHandles": 3, "hcaObjects": 10}}}),
        "linux.resources.rdma[\"mlx5_0\"]",
        &[("rdma.max", "mlx5_0 hca_handle=3 hca_object=10")],
    );
}

/// A limit below what is in use ends programs; who asks for the check gets an error instead, and the old limit.
#[test]
fn a_limit_below_what_is_in_use_is_refused() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "1000"]);
        bundle.edit(|c| {
            c["linux"]["cgroupsPath"] = json!(format!("{}/here", rt.cgroup_prefix()));
            c["linux"]["resources"]["memory"] = json!({"limit": 268_435_456});
        });
        if !rt.only_keg("the others have other words") || file_of_memory(rt).is_none() {
            return;
        }
        rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        let resources = json!({"memory": {"limit": 4096, "checkBeforeUpdate": true}}).to_string();
        let words = ["update", "--resources", "-", "c"];
        rt.command(&words).stdin(resources).run().fails_with("bytes are in use");
        assert_eq!(fs::read_to_string(file_of_memory(rt).unwrap()).unwrap().trim(), "268435456");
        assert_eq!(rt.status("c"), "running");
    });
}

/// The file with the limit; before there is a container, its mount.
fn file_of_memory(rt: &Runtime) -> Option<PathBuf> {
    let names = ["memory.limit_in_bytes", "memory.max"];
    let there = names.iter().find_map(|name| file(rt, name));
    there.or_else(|| hierarchies().into_iter().find(|mount| mount.ends_with("memory")))
}

/// Deprecated by the specification, and gone from the kernel: a container that asks for it runs, and a person can be told.
#[test]
fn kernel_memory_is_not_limited_and_check_says_so() {
    with_runtime(|rt| {
        if !rt.only_keg("others have no `check`") {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["linux"]["resources"]["memory"] = json!({"kernel": 8_388_608}));
        let found = rt.command(&["check", &bundle.arg()]).run().ok().stdout();
        let line = "warning: linux.resources.memory.kernel: the kernel has no such limit since Linux 5.16";
        assert!(found.contains(line), "{found}");
        let name = "memory.kmem.limit_in_bytes";
        let unlimited = hierarchies().into_iter().find_map(|mount| fs::read_to_string(mount.join(name)).ok());
        let (error, values) = set(rt, &json!({"memory": {"kernel": 8_388_608}}), &[name]);
        assert_eq!(error, "");
        assert_eq!(values[0], unlimited.map(|text| text.trim().to_owned()));
    });
}
