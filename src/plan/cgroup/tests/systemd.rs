//! What systemd is asked for: path grammar, properties, annotations.

use std::collections::BTreeMap;

use oci_spec::runtime::Linux;
use serde_json::{Value as Json, json};

use super::{hybrid, v1, v2};
use crate::plan::cgroup::systemd::{SystemdBus, UnitPlan, cpu_max};
use crate::plan::cgroup::{CgroupPlan, DevicePlan, Driver, Request, build, update};
use crate::types::dbus::Value;
use crate::types::{CgroupDirectory, CgroupManager, CgroupRecord, CgroupVersion, ContainerId, SystemdUnit};

fn plan(linux: Json, annotations: &[(&str, &str)], id: &str, user: bool) -> Result<CgroupPlan, String> {
    let linux: Linux = serde_json::from_value(linux).unwrap();
    let id = ContainerId::parse(id).unwrap();
    let pairs = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let annotations: BTreeMap<_, _> = pairs.collect();
    let manager = CgroupManager::Systemd;
    let request = Request { linux: Some(&linux), annotations: &annotations, id: &id, manager, user };
    build(request, &v2()).map_err(|error| error.to_string())
}

fn unit(linux: Json, annotations: &[(&str, &str)]) -> UnitPlan {
    plan(linux, annotations, "c1", false).unwrap().unit.unwrap()
}

/// The values of a property, in their order.
fn values(unit: &UnitPlan, name: &str) -> Vec<Value> {
    unit.properties.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
}

#[test]
fn paths() {
    let table = [
        (None, "c1", "system.slice/keg-c1.scope"),
        (Some(""), "a+b", "system.slice/keg-a\\x2bb.scope"),
        (Some("machine.slice:libpod:abc"), "c1", "machine.slice/libpod-abc.scope"),
        (Some(":p:n"), "c1", "system.slice/p-n.scope"),
        (Some("-.slice::n"), "c1", "n.scope"),
        (
            Some("kubepods-besteffort-pod12_3.slice:cri-containerd:4"),
            "c1",
            "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod12_3.slice/cri-containerd-4.scope",
        ),
    ];
    for (path, id, expected) in table {
        let linux = path.map_or_else(|| json!({}), |path| json!({"cgroupsPath": path}));
        let plan = plan(linux, &[], id, false).unwrap();
        assert_eq!((plan.driver, plan.directories.len()), (Driver::Systemd, 1));
        assert_eq!(plan.directories[0].relative.to_str(), Some(expected), "{path:?}");
        let unit = plan.unit.unwrap();
        assert_eq!(unit.name, expected.rsplit('/').next().unwrap());
        assert_eq!(unit.bus, SystemdBus::System);
        let slice = path.and_then(|path| path.split_once(':')).map_or("", |(slice, _)| slice);
        let slice = if slice.is_empty() { "system.slice" } else { slice };
        assert_eq!(values(&unit, "Slice"), [Value::text(slice)]);
    }
}

#[test]
fn paths_that_are_none() {
    let long = format!("a.slice:p:{}", "n".repeat(250));
    let table = [
        ("/keg/c1", "expected \"slice:prefix:name\""),
        ("a.slice:b", "expected \"slice:prefix:name\""),
        ("a.slice:b:c:d", "expected \"slice:prefix:name\""),
        ("a:b:c", "\"a\" is no name of a systemd slice"),
        (".slice:b:c", "\".slice\" is no name of a systemd slice"),
        ("a--b.slice:b:c", "no name of a systemd slice"),
        ("-a.slice:b:c", "no name of a systemd slice"),
        ("a/b.slice:b:c", "no name of a systemd slice"),
        ("../a.slice:b:c", "no name of a systemd slice"),
        ("a.slice:b:", "is no name of a systemd unit"),
        ("a.slice:b:c/d", "is no name of a systemd unit"),
        ("a.slice:b:c d", "is no name of a systemd unit"),
        ("a.slice:b':c", "is no name of a systemd unit"),
        ("a.slice:b:pod.slice", "a slice has no processes"),
        (&long, "is no name of a systemd unit"),
    ];
    for (path, expected) in table {
        let error = plan(json!({"cgroupsPath": path}), &[], "c1", false).unwrap_err();
        assert!(
            error.starts_with("config.json: linux.cgroupsPath") && error.contains(expected),
            "{path}: {error}"
        );
    }
}

#[test]
fn only_version_2_alone() {
    let id = ContainerId::parse("c1").unwrap();
    let annotations = BTreeMap::new();
    let manager = CgroupManager::Systemd;
    let request = Request { linux: None, annotations: &annotations, id: &id, manager, user: false };
    for host in [v1("me"), hybrid()] {
        let error = build(request, &host).unwrap_err();
        assert!(error.problem.contains("systemd can only be asked on a host with cgroup version 2 alone"));
    }
}

#[test]
fn a_user_has_a_systemd_of_their_own() {
    let plan = plan(json!({}), &[], "c1", true).unwrap();
    let unit = plan.unit.unwrap();
    assert_eq!(unit.bus, SystemdBus::User);
    assert_eq!(values(&unit, "Slice"), [Value::text("user.slice")]);
    assert_eq!(plan.devices, DevicePlan::Unchanged);
    assert!(values(&unit, "DevicePolicy").is_empty());
}

#[test]
fn limits_as_properties() {
    let number = |n: u64| vec![Value::U64(n)];
    let set =
        |bytes: &[u8]| vec![Value::Array("y".into(), bytes.iter().map(|byte| Value::Byte(*byte)).collect())];
    let table = [
        (json!({"memory": {"limit": 4096}}), "MemoryMax", number(4096)),
        (json!({"memory": {"limit": -1}}), "MemoryMax", number(u64::MAX)),
        (json!({"memory": {"limit": 10, "swap": 30}}), "MemorySwapMax", number(20)),
        (json!({"memory": {"reservation": 5}}), "MemoryLow", number(5)),
        (json!({"cpu": {"shares": 1024}}), "CPUWeight", number(100)),
        (json!({"cpu": {"cpus": "0-1,9"}}), "AllowedCPUs", set(&[3, 2])),
        (json!({"cpu": {"mems": "0"}}), "AllowedMemoryNodes", set(&[1])),
        (json!({"pids": {"limit": 7}}), "TasksMax", number(7)),
        (json!({"pids": {"limit": 0}}), "TasksMax", number(1)),
        (json!({"pids": {"limit": -1}}), "TasksMax", number(u64::MAX)),
        (json!({"blockIO": {"weight": 10}}), "IOWeight", number(1)),
        (json!({"unified": {"memory.high": "77"}}), "MemoryHigh", number(77)),
        (json!({"unified": {"memory.min": "max"}}), "MemoryMin", number(u64::MAX)),
        (json!({"unified": {"io.weight": "default 50"}}), "IOWeight", number(50)),
        (json!({"unified": {"io.weight": "8:0 50"}}), "IOWeight", vec![]),
        (json!({"unified": {"memory.max": "1G"}}), "MemoryMax", vec![]),
        (json!({"unified": {"cpuset.cpus": "0-9:2/4"}}), "AllowedCPUs", vec![]),
        (json!({}), "MemoryMax", vec![]),
    ];
    for (resources, name, expected) in table {
        let unit = unit(json!({ "resources": resources }), &[]);
        assert_eq!(values(&unit, name), expected, "{resources}");
    }
}

#[test]
fn cpu_time() {
    let cpu = |cpu: Json| {
        let unit = unit(json!({"resources": {"cpu": cpu}}), &[]);
        unit.cpu.map(|max| (max.quota, max.period))
    };
    assert_eq!(cpu(json!({"shares": 5})), None);
    assert_eq!(cpu(json!({"quota": 5000, "period": 10000})), Some((Some("5000".into()), Some(10_000))));
    assert_eq!(cpu(json!({"quota": -1})), Some((Some("max".into()), None)));
    assert_eq!(cpu(json!({"period": 10000})), Some((None, Some(10_000))));
    for (quota, period, per_second) in [
        ("100000", 100_000, 1_000_000),
        ("50000", 100_000, 500_000),
        ("12345", 100_000, 130_000),
        ("1", 1_000_000, 10_000),
        ("18446744073709551615", 1, u64::MAX),
        ("max", 5_000, u64::MAX),
    ] {
        let expected = [("CPUQuotaPerSecUSec", per_second), ("CPUQuotaPeriodUSec", period)];
        let expected = expected.map(|(name, value)| (name.to_owned(), Value::U64(value)));
        assert_eq!(cpu_max(quota, period), expected, "{quota} {period}");
    }
}

/// `DevicePolicy`, and what the last `DeviceAllow` has beside what every container may use.
fn devices(rules: Json) -> (String, Vec<(String, String)>) {
    let allowed = |unit: &UnitPlan| {
        let Some(Value::Array(_, entries)) = values(unit, "DeviceAllow").pop() else { panic!() };
        let pair = |entry: Value| match entry {
            Value::Struct(pair) => match pair.as_slice() {
                [Value::Text(device), Value::Text(access)] => (device.clone(), access.clone()),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        entries.into_iter().map(pair).collect::<Vec<_>>()
    };
    let usual = allowed(&unit(json!({}), &[]));
    assert_eq!(usual.len(), 11);
    let unit = unit(json!({"resources": {"devices": rules}}), &[]);
    let policy = match values(&unit, "DevicePolicy").as_slice() {
        [Value::Text(policy)] => policy.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(values(&unit, "DeviceAllow")[0], Value::Array("(ss)".into(), Vec::new()));
    let own = allowed(&unit).into_iter().filter(|entry| !usual.contains(entry)).collect();
    (policy, own)
}

#[test]
fn device_rules_as_properties() {
    let pair = |device: &str, access: &str| (device.to_owned(), access.to_owned());
    let rule = |class: &str, major: i64, minor: i64, access: &str, allow: bool| json!({"type": class, "major": major, "minor": minor, "access": access, "allow": allow});
    let table = [
        (json!([]), "strict", vec![]),
        (json!([{"allow": false, "access": "rwm"}]), "strict", vec![]),
        (json!([rule("c", 7, 8, "rw", true)]), "strict", vec![pair("/dev/char/7:8", "rw")]),
        (json!([rule("b", 8, -1, "r", true)]), "strict", vec![pair("block-8", "r")]),
        // systemd has no word for one minor number of every major one.
        (json!([rule("c", -1, 8, "w", true)]), "strict", vec![pair("char-*", "w")]),
        // Taken away again.
        (
            json!([rule("c", 7, 8, "rw", true), rule("c", 7, 8, "w", false)]),
            "strict",
            vec![pair("/dev/char/7:8", "r")],
        ),
        // All but one, or a part of what a wider rule gave: for keg's own program alone.
        (json!([{"allow": true, "access": "rwm"}, rule("c", 1, 3, "w", false)]), "auto", vec![]),
        (json!([rule("c", 7, -1, "rw", true), rule("c", 7, 8, "w", false)]), "auto", vec![]),
    ];
    for (rules, policy, expected) in table {
        let found = if policy == "auto" {
            let unit = unit(json!({"resources": {"devices": rules}}), &[]);
            assert_eq!(values(&unit, "DeviceAllow"), [Value::Array("(ss)".into(), Vec::new())]);
            assert_eq!(values(&unit, "DevicePolicy"), [Value::text("auto")]);
            continue;
        } else {
            devices(rules.clone())
        };
        assert_eq!(found, (policy.to_owned(), expected), "{rules}");
    }
}

#[test]
fn annotations_as_properties() {
    let list = |element: &str, values: Vec<Value>| Value::Array(element.into(), values);
    let table = [
        ("TimeoutStopUSec", "uint64 123", "TimeoutStopUSec", Value::U64(123)),
        ("TimeoutStopSec", "uint64 2", "TimeoutStopUSec", Value::U64(2_000_000)),
        ("TimeoutStopSec", "0.5", "TimeoutStopUSec", Value::U64(500_000)),
        ("CollectMode", "'inactive'", "CollectMode", Value::text("inactive")),
        ("SendSIGHUP", " true ", "SendSIGHUP", Value::Bool(true)),
        ("X", "7", "X", Value::I32(7)),
        ("X", "-0x10", "X", Value::I32(-16)),
        ("X", "int64 -5", "X", Value::I64(-5)),
        ("X", "byte 0xff", "X", Value::Byte(255)),
        ("X", "017", "X", Value::I32(15)),
        ("X", "2.5", "X", Value::F64(2.5)),
        ("X", r#""a\"b\u00e9\n""#, "X", Value::text("a\"bé\n")),
        ("X", "objectpath '/a/b'", "X", Value::ObjectPath("/a/b".into())),
        (
            "After",
            "['a.service', \"b.service\"]",
            "After",
            list("s", vec![Value::text("a.service"), Value::text("b.service")]),
        ),
        ("X", "@as []", "X", list("s", vec![])),
        ("X", "@at [1, 2]", "X", list("t", vec![Value::U64(1), Value::U64(2)])),
        ("X", "[uint64 1, 2]", "X", list("t", vec![Value::U64(1), Value::U64(2)])),
        (
            "DeviceAllow",
            "[('/dev/null', 'rw')]",
            "DeviceAllow",
            list("(ss)", vec![Value::Struct(vec![Value::text("/dev/null"), Value::text("rw")])]),
        ),
        ("X", "@(sut) ('a', 1, 2)", "X", Value::Struct(vec![Value::text("a"), Value::U32(1), Value::U64(2)])),
        ("X", "(1,)", "X", Value::Struct(vec![Value::I32(1)])),
        ("X", "<'v'>", "X", Value::text("v").variant()),
    ];
    for (key, text, name, value) in table {
        let unit = unit(json!({}), &[(&format!("org.systemd.property.{key}"), text)]);
        assert_eq!(unit.properties.last(), Some(&(name.to_owned(), value)), "{key}: {text}");
    }
    let plain = unit(json!({}), &[("org.systemd.other", "x"), ("a", "b")]);
    assert_eq!(plain, unit(json!({}), &[]));
}

#[test]
fn annotations_that_are_none() {
    let deep = "[".repeat(1 << 20);
    let wide = format!("({})", "'a',".repeat(300));
    let table = [
        ("", "true", "no name of a property"),
        ("A b", "true", "no name of a property"),
        ("X", "", "missing"),
        ("X", "text", "put in quotes"),
        ("X", "'text", "end of a string is missing"),
        ("X", "'a\\x'", "begins nothing"),
        ("X", "'\\u0000'", "no character"),
        ("X", "true false", "follows the value"),
        ("X", "uint64 -1", "no value of the type t"),
        ("X", "byte 256", "no value of the type y"),
        ("X", "99999999999", "no value of the type i"),
        ("X", "uint64 'a'", "no value of the type t"),
        ("X", "[1, 'a']", "no value of the type i"),
        ("X", "[true, 'a']", "no value of the type b"),
        ("X", "[]", "needs its type"),
        ("X", "[1", "] is missing"),
        ("X", "(1", ") is missing"),
        ("X", "()", "at least one field"),
        ("X", "@(ss) ('a',)", "too few fields"),
        ("X", "@(s) ('a', 'b')", "too many fields"),
        ("X", "@as 5", "type as"),
        ("X", "@", "no type"),
        ("X", "objectpath 'a'", "D-Bus has no such value"),
        ("X", "nan", "put in quotes"),
        ("X", &deep, "nested too deep"),
        ("X", &wide, "D-Bus has no such value"),
        ("TimeoutStopSec", "'a'", "seconds are a number"),
        ("TimeoutStopSec", "-1", "no number of seconds"),
        ("Delegate", "false", "keg's own"),
        ("PIDs", "@au []", "keg's own"),
        ("Slice", "'a.slice'", "keg's own"),
    ];
    for (name, text, expected) in table {
        let key = format!("org.systemd.property.{name}");
        let error = plan(json!({}), &[(&key, text)], "c1", false).unwrap_err();
        assert!(
            error.starts_with("config.json: annotations[") && error.contains(expected),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_cgroup_inside_the_units() {
    let with = |name: &str| plan(json!({}), &[("run.oci.systemd.subgroup", name)], "c1", false);
    let plan = with("inner").unwrap();
    assert_eq!(plan.directories[0].relative.to_str(), Some("system.slice/keg-c1.scope/inner"));
    assert_eq!(plan.unit.unwrap().subgroup, Some("inner".into()));
    assert_eq!(with("").unwrap().unit.unwrap().subgroup, None);
    for bad in ["..", ".", "a/b", "/"] {
        assert!(with(bad).unwrap_err().contains("no name of a cgroup"), "{bad}");
    }
}

#[test]
fn an_update_names_the_unit_and_only_what_changes() {
    let directory = "/cg/system.slice/keg-c1.scope";
    let record = CgroupRecord {
        manager: CgroupManager::Systemd,
        version: CgroupVersion::V2,
        directories: vec![CgroupDirectory {
            hierarchy: String::new(),
            path: directory.into(),
            made: Some(directory.into()),
        }],
        unit: Some(SystemdUnit { name: "keg-c1.scope".into(), bus: "unix:path=/b".into(), inode: Some(1) }),
        ..CgroupRecord::default()
    };
    let resources = serde_json::from_value(json!({"pids": {"limit": 3}, "cpu": {"quota": 5}})).unwrap();
    let plan = update(&resources, &record, &v2(), false).unwrap();
    assert_eq!(plan.directories[0].path().to_str(), Some(directory));
    let unit = plan.unit.unwrap();
    assert_eq!((unit.name.as_str(), &unit.bus), ("keg-c1.scope", &SystemdBus::At("unix:path=/b".into())));
    assert_eq!(unit.properties, [("TasksMax".to_owned(), Value::U64(3))]);
    assert_eq!(unit.cpu.map(|max| (max.quota, max.period)), Some((Some("5".into()), None)));
}
