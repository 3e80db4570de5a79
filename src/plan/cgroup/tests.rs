//! Tables: a config.json, a host, and what is written where.

mod devices;
mod systemd;

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::runtime::Linux;
use serde_json::{Value, json};

use super::{
    CgroupPlan, DevicePlan, Driver, Hierarchy, HostCgroups, Request, Step, Unified, build, update,
    v2::{io_weight, weight_of_shares},
};
use crate::types::{CgroupDirectory, CgroupManager, CgroupRecord, CgroupVersion, ContainerId};

static NO_ANNOTATIONS: BTreeMap<String, String> = BTreeMap::new();

fn unified(own: &str, controllers: &[&str]) -> Unified {
    let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
    Unified { mount: "/cg".into(), own: own.into(), controllers }
}

fn v1(own: &str) -> HostCgroups {
    let names = [
        "cpu,cpuacct",
        "cpuset",
        "memory",
        "devices",
        "freezer",
        "blkio",
        "pids",
        "net_cls,net_prio",
        "name=systemd",
    ];
    let hierarchy =
        |name: &str| Hierarchy { name: name.into(), mount: PathBuf::from("/cg").join(name), own: own.into() };
    HostCgroups { version: CgroupVersion::V1, v1: names.map(hierarchy).into(), unified: None }
}

fn hybrid() -> HostCgroups {
    HostCgroups { version: CgroupVersion::Hybrid, unified: Some(unified("me", &["hugetlb"])), ..v1("me") }
}

fn v2() -> HostCgroups {
    let controllers = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"];
    HostCgroups {
        version: CgroupVersion::V2,
        v1: Vec::new(),
        unified: Some(unified("slice/me", &controllers)),
    }
}

fn plan(linux: Value, host: &HostCgroups) -> Result<CgroupPlan, String> {
    let linux: Linux = serde_json::from_value(linux).unwrap();
    let id = ContainerId::parse("c1").unwrap();
    build(request(Some(&linux), &id, CgroupManager::Cgroupfs), host).map_err(|error| error.to_string())
}

fn request<'a>(linux: Option<&'a Linux>, id: &'a ContainerId, manager: CgroupManager) -> Request<'a> {
    Request { linux, annotations: &NO_ANNOTATIONS, id, manager, user: false }
}

/// The steps as `file=value`; `a=1|b=2` where b is written if there is no a, `a=1&b=2` for what goes together,
/// `a?=1` where a may be absent, `a<=1` for a check.
fn steps(resources: Value, host: &HostCgroups) -> Result<Vec<String>, String> {
    let show = |write: &super::Write| {
        let optional = if write.optional { "?" } else { "" };
        let other =
            write.otherwise.as_ref().map_or_else(String::new, |(file, value)| format!("|{file}={value}"));
        format!("{}{optional}={}{other}", write.file, write.value)
    };
    let plan = plan(json!({ "resources": resources }), host)?;
    let steps = plan.directories.iter().flat_map(|directory| &directory.steps);
    let text = steps.map(|step| match step {
        Step::Write(one) => show(one),
        Step::Together(writes) => writes.iter().map(show).collect::<Vec<_>>().join("&"),
        Step::SwapWithin { both, .. } => format!("swap<={both}"),
        Step::CpuPeriod { period, .. } => format!("cpu.max=… {period}"),
        Step::CheckUsage { file, limit, .. } => format!("{file}<={limit}"),
    });
    Ok(text.collect())
}

fn expect(table: &[(Value, &[&str])], host: &HostCgroups) {
    for (resources, expected) in table {
        let steps = steps(resources.clone(), host).unwrap();
        assert_eq!(steps, *expected, "{resources}");
    }
}

fn expect_errors(table: &[(Value, &str)], host: &HostCgroups) {
    for (resources, expected) in table {
        let error = steps(resources.clone(), host).expect_err(&resources.to_string());
        assert_eq!(error, format!("config.json: linux.resources.{expected}"), "{resources}");
    }
}

#[test]
fn version_1_files() {
    let table: &[(Value, &[&str])] = &[
        (json!({}), &[]),
        (json!({"memory": {"limit": 1000}}), &["memory.limit_in_bytes=1000"]),
        (json!({"memory": {"limit": 0, "swap": 0, "reservation": 0}}), &[]),
        (json!({"memory": {"limit": -1}}), &["memory.limit_in_bytes=-1&memory.memsw.limit_in_bytes?=-1"]),
        (
            json!({"memory": {"limit": 1000, "swap": 3000, "reservation": 500, "checkBeforeUpdate": true}}),
            &[
                "memory.usage_in_bytes<=1000",
                "memory.limit_in_bytes=1000&memory.memsw.limit_in_bytes=3000",
                "memory.soft_limit_in_bytes=500",
            ],
        ),
        (json!({"memory": {"swappiness": u64::MAX, "kernelTCP": 7}}), &["memory.kmem.tcp.limit_in_bytes=7"]),
        (
            json!({"memory": {"swappiness": 0, "disableOOMKiller": true, "kernelTCP": 77, "kernel": 5}}),
            &["memory.kmem.tcp.limit_in_bytes=77", "memory.swappiness=0", "memory.oom_control=1"],
        ),
        (json!({"memory": {"disableOOMKiller": false, "useHierarchy": true}}), &[]),
        (
            json!({"cpu": {"shares": 512, "quota": 20000, "period": 100000, "burst": 10, "idle": 1,
                "realtimeRuntime": 5, "realtimePeriod": 9, "cpus": "0-1", "mems": "0"}}),
            &[
                "cpu.idle=1",
                "cpu.cfs_period_us=100000&cpu.cfs_quota_us=20000&cpu.cfs_burst_us=10",
                "cpu.rt_period_us=9&cpu.rt_runtime_us=5",
                "cpuset.cpus=0-1",
                "cpuset.mems=0",
            ],
        ),
        (json!({"cpu": {"quota": -1}}), &["cpu.cfs_quota_us=-1"]),
        (json!({"cpu": {"shares": 7, "idle": 0}}), &["cpu.shares=7&cpu.idle=0"]),
        (json!({"cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""}}), &[]),
        (json!({"pids": {"limit": 0}}), &["pids.max=0"]),
        (json!({"pids": {"limit": -1}}), &["pids.max=max"]),
        (
            json!({"blockIO": {"weight": 10, "leafWeight": 1000,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 300}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 1, "rate": 2}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 2, "rate": 3}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 3, "rate": 4}]}}),
            &[
                "blkio.weight=10|blkio.bfq.weight=10",
                "blkio.leaf_weight=1000|blkio.bfq.leaf_weight=1000",
                "blkio.weight_device=8:0 500|blkio.bfq.weight_device=8:0 500",
                "blkio.leaf_weight_device=8:0 300|blkio.bfq.leaf_weight_device=8:0 300",
                "blkio.throttle.read_bps_device=8:0 1",
                "blkio.throttle.write_bps_device=8:1 2",
                "blkio.throttle.read_iops_device=8:2 3",
                "blkio.throttle.write_iops_device=8:3 4",
            ],
        ),
        (json!({"blockIO": {"weight": 0}}), &[]),
        (
            json!({"network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]}}),
            &["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 5"],
        ),
    ];
    let mut sorted_hosts = v1("");
    sorted_hosts.v1.sort_by_key(|hierarchy| hierarchy.name == "cpuset");
    expect(table, &sorted_hosts);
}

#[test]
fn version_2_files() {
    let table: &[(Value, &[&str])] = &[
        (json!({"memory": {"limit": 1000, "swap": 3000}}), &["memory.swap.max=2000", "memory.max=1000"]),
        (json!({"memory": {"limit": 1000, "swap": 1000}}), &["memory.swap.max?=0", "memory.max=1000"]),
        (json!({"memory": {"limit": 1000, "swap": -1}}), &["memory.swap.max?=max", "memory.max=1000"]),
        (json!({"memory": {"limit": -1}}), &["memory.swap.max?=max", "memory.max=max"]),
        (
            json!({"memory": {"limit": 9, "reservation": 500, "checkBeforeUpdate": true}}),
            &["memory.current<=9", "memory.max=9", "memory.low=500"],
        ),
        (
            json!({"memory": {"disableOOMKiller": false, "kernel": 5, "kernelTCP": 0, "useHierarchy": true}}),
            &[],
        ),
        (
            json!({"cpu": {"shares": 1024, "quota": 20000, "period": 100000, "burst": 10, "idle": 1,
                "cpus": "0", "mems": "0"}}),
            &["cpu.idle=1", "cpu.max=20000 100000&cpu.max.burst=10", "cpuset.cpus=0", "cpuset.mems=0"],
        ),
        (json!({"cpu": {"shares": 1024, "idle": 0}}), &["cpu.weight=100&cpu.idle=0"]),
        (json!({"cpu": {"quota": -1, "period": 5}}), &["cpu.max=max 5"]),
        (json!({"cpu": {"quota": 700}}), &["cpu.max=700"]),
        (json!({"cpu": {"period": 700}}), &["cpu.max=… 700"]),
        (json!({"pids": {"limit": 0}}), &["pids.max=0"]),
        (
            json!({"blockIO": {"weight": 500,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 1000}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 3, "rate": 0}]}}),
            &[
                "io.bfq.weight=500|io.weight=4950",
                "io.bfq.weight=8:0 1000|io.weight=8:0 10000",
                "io.max=8:0 rbps=1",
                "io.max=8:3 wiops=max",
            ],
        ),
        (
            json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}),
            &["hugetlb.2MB.max=4194304", "hugetlb.2MB.rsvd.max?=4194304"],
        ),
        (
            json!({"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "a": {}, "b": {"hcaObjects": 1}}}),
            &["rdma.max=b hca_object=1", "rdma.max=mlx5_1 hca_handle=3 hca_object=10000"],
        ),
        (
            json!({"unified": {"memory.high": "5", "cgroup.max.depth": "3", "io.max": "8:0 rbps=1\n8:1 rbps=2"}}),
            &["cgroup.max.depth=3", "io.max=8:0 rbps=1", "io.max=8:1 rbps=2", "memory.high=5"],
        ),
    ];
    expect(table, &v2());
}

#[test]
fn what_cannot_be_is_an_error_with_its_place() {
    let nowhere = "cgroup version 2 has no such setting";
    let v2_table = [
        (json!({"memory": {"swappiness": 5}}), format!("memory.swappiness: {nowhere}")),
        (json!({"memory": {"disableOOMKiller": true}}), format!("memory.disableOOMKiller: {nowhere}")),
        (json!({"memory": {"kernelTCP": 5}}), format!("memory.kernelTCP: {nowhere}")),
        (json!({"cpu": {"realtimeRuntime": 5}}), format!("cpu.realtimeRuntime: {nowhere}")),
        (json!({"cpu": {"realtimePeriod": 5}}), format!("cpu.realtimePeriod: {nowhere}")),
        (json!({"blockIO": {"leafWeight": 50}}), format!("blockIO.leafWeight: {nowhere}")),
        (json!({"network": {"classID": 5}}), format!("network.classID: {nowhere}")),
        (
            json!({"network": {"priorities": [{"name": "eth0", "priority": 5}]}}),
            format!("network.priorities[0]: {nowhere}"),
        ),
        (
            json!({"memory": {"swap": 50}}),
            "memory.swap: cgroup version 2 cannot limit memory and swap together without a memory limit"
                .into(),
        ),
        (
            json!({"unified": {"cgroup.procs": "1"}}),
            "unified[\"cgroup.procs\"]: this file sets no limit, and what it does is keg's to do".into(),
        ),
        (
            json!({"unified": {"foo.bar": "1"}}),
            "unified[\"foo.bar\"]: unknown controller \"foo\" (cgroup version 2 does not have it here)"
                .into(),
        ),
        (json!({"unified": {"foo": "1"}}), "unified[\"foo\"]: this is no name of a cgroup file".into()),
        (
            json!({"unified": {"cpu.x/../../y": "1"}}),
            "unified[\"cpu.x/../../y\"]: this is no name of a cgroup file".into(),
        ),
    ];
    for (resources, error) in v2_table {
        expect_errors(&[(resources, &error)], &v2());
    }
    let both: &[(Value, &str)] = &[
        (json!({"memory": {"limit": 50, "swap": 49}}), "memory.swap: 49 is less than the memory limit 50"),
        (json!({"memory": {"limit": -2}}), "memory.limit: -2 is neither -1 nor a number of bytes"),
        (json!({"pids": {"limit": -2}}), "pids.limit: -2 is neither -1 nor a number of processes"),
        (json!({"blockIO": {"weight": 9}}), "blockIO.weight: the weight 9 is not between 10 and 1000"),
        (
            json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 1001}]}}),
            "blockIO.weightDevice[0]: the weight 1001 is not between 10 and 1000",
        ),
        (
            json!({"hugepageLimits": [{"pageSize": "../2MB", "limit": 1}]}),
            "hugepageLimits[0].pageSize: \"../2MB\" is no page size like 64KB, 2MB or 1GB",
        ),
        (json!({"devices": [{"allow": true, "type": "p"}]}), "devices[0].type: a FIFO is no device"),
        (
            json!({"devices": [{"allow": true, "type": "c", "access": "rwx"}]}),
            "devices[0].access: \"rwx\" has other letters than r, w and m",
        ),
        (
            json!({"devices": [{"allow": true, "type": "c", "major": -2}]}),
            "devices[0].major: -2 is no device number",
        ),
    ];
    expect_errors(both, &v2());
    expect_errors(both, &hybrid());
    let v1_table: &[(Value, &str)] = &[
        (json!({"memory": {"swappiness": 101}}), "memory.swappiness: 101 is not between 0 and 100"),
        (
            json!({"rdma": {"a": {"hcaHandles": 3}}}),
            "rdma[\"a\"]: the rdma controller is not available on this host",
        ),
        (
            json!({"unified": {"memory.high": "1"}}),
            "unified[\"memory.high\"]: invalid configuration: the memory controller is one of version 1 here",
        ),
        (
            json!({"devices": [
                {"allow": true, "type": "c", "major": 1, "access": "rw"},
                {"allow": false, "type": "c", "major": 1, "minor": 3, "access": "w"}]}),
            "devices[1]: cgroup version 1 cannot take this away from the wider rule before it",
        ),
    ];
    expect_errors(v1_table, &hybrid());
}

#[test]
fn hybrid_hosts_take_each_controller_where_it_is() {
    let linux = json!({"cgroupsPath": "/p/c", "resources": {
        "hugepageLimits": [{"pageSize": "2MB", "limit": -1}], "pids": {"limit": 5}}});
    let plan = plan(linux, &hybrid()).unwrap();
    let first = &plan.directories[0];
    assert_eq!(
        (first.hierarchy.as_str(), first.controllers.as_slice()),
        ("", ["hugetlb".to_owned()].as_slice())
    );
    assert_eq!(first.steps.len(), 2);
    let pids = plan.directories.iter().find(|directory| directory.hierarchy == "pids").unwrap();
    assert_eq!((pids.steps.len(), pids.path()), (1, PathBuf::from("/cg/pids/p/c")));
}

#[test]
fn conversions() {
    let shares =
        [(0, 1), (2, 1), (3, 2), (512, 59), (1024, 100), (2048, 174), (262_144, 10_000), (u64::MAX, 10_000)];
    for (shares, weight) in shares {
        assert_eq!(weight_of_shares(shares), weight, "{shares}");
    }
    for (weight, expected) in [(10, 1), (100, 910), (500, 4950), (1000, 10_000)] {
        assert_eq!(io_weight(weight), expected, "{weight}");
    }
}

#[test]
fn paths() {
    let table = [
        (json!({}), "me/c1", "slice/c1"),
        (json!({"cgroupsPath": ""}), "me/c1", "slice/c1"),
        (json!({"cgroupsPath": "a/b"}), "me/a/b", "slice/a/b"),
        (json!({"cgroupsPath": "../../a"}), "me/a", "slice/a"),
        (json!({"cgroupsPath": "/a//./b/../c/"}), "a/c", "a/c"),
        (json!({"cgroupsPath": "/../../a"}), "a", "a"),
        (json!({"cgroupsPath": "a.slice:b:c"}), "me/a.slice:b:c", "slice/a.slice:b:c"),
    ];
    for (linux, in_v1, in_v2) in table {
        let one = plan(linux.clone(), &hybrid()).unwrap();
        assert_eq!((one.driver, one.directories.len()), (Driver::V1, 10));
        for directory in one.directories {
            assert_eq!(directory.relative, PathBuf::from(in_v1), "{linux} {}", directory.hierarchy);
        }
        let two = plan(linux.clone(), &v2()).unwrap();
        assert_eq!((two.driver, two.directories.len()), (Driver::V2, 1));
        assert_eq!(two.directories[0].path(), PathBuf::from("/cg").join(in_v2), "{linux}");
    }
    for path in ["/", "/..", "/a/.."] {
        for host in [v1("me"), hybrid(), v2()] {
            let error = plan(json!({"cgroupsPath": path}), &host).unwrap_err();
            assert_eq!(error, "config.json: linux.cgroupsPath: the root cgroup cannot be a container's");
        }
    }
    assert!(plan(json!({"cgroupsPath": ".."}), &v1("")).is_err());
}

#[test]
fn an_update_has_what_it_names_and_nothing_else() {
    let directory = |hierarchy: &str| CgroupDirectory {
        hierarchy: hierarchy.into(),
        path: PathBuf::from("/there").join(hierarchy),
        made: None,
    };
    let directories = vec![directory(""), directory("pids"), directory("devices")];
    let record = CgroupRecord { version: CgroupVersion::Hybrid, directories, ..CgroupRecord::default() };
    let resources = serde_json::from_value(json!({"pids": {"limit": 7}})).unwrap();
    let plan = update(&resources, &record, &hybrid(), false).unwrap();
    assert_eq!(plan.devices, DevicePlan::Unchanged);
    let steps: Vec<_> = plan.directories.iter().map(|one| (one.path(), one.steps.len())).collect();
    let expected = [("/there", 0), ("/there/pids", 1), ("/there/devices", 0)];
    assert_eq!(steps, expected.map(|(path, steps)| (PathBuf::from(path), steps)));
    let resources = serde_json::from_value(json!({"devices": [{"allow": true}]})).unwrap();
    let plan = update(&resources, &record, &hybrid(), false).unwrap();
    assert_eq!(plan.devices, DevicePlan::Files(vec![("devices.allow", "a".to_owned())]));
    assert_eq!(update(&resources, &record, &hybrid(), true).unwrap().devices, DevicePlan::Unchanged);
    // In version 2 the limit that is there says how much of both is swap.
    let record = CgroupRecord {
        version: CgroupVersion::V2,
        directories: vec![directory("")],
        ..CgroupRecord::default()
    };
    let resources = serde_json::from_value(json!({"memory": {"swap": 9}})).unwrap();
    let plan = update(&resources, &record, &v2(), false).unwrap();
    assert!(matches!(plan.directories[0].steps[..], [Step::SwapWithin { both: 9, .. }]));
}

#[test]
fn no_cgroups() {
    let id = ContainerId::parse("c1").unwrap();
    let disabled = build(request(None, &id, CgroupManager::Disabled), &hybrid()).unwrap();
    assert_eq!((disabled.driver, disabled.directories.len()), (Driver::None, 0));
    assert_eq!(disabled.devices, DevicePlan::Unchanged);
    let error = build(request(None, &id, CgroupManager::Cgroupfs), &HostCgroups::default()).unwrap_err();
    assert_eq!(error.problem, "no cgroup file system is mounted");
}
