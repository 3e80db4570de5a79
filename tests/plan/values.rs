//! What single settings become in the plan.

use keg::plan::{self, Affinity, AttributeChange, Mask, MountKind, Plan, Severity};
use serde_json::{Value, json};

use crate::render;
use crate::{base, options, plan_on, planned, root, rootless, with};

fn mount(options: &[&str]) -> keg::plan::Mount {
    let mount = json!({"destination": "/a", "type": "tmpfs", "source": "b", "options": options});
    planned(&with(&[("/mounts", json!([mount]))])).unwrap().mounts.remove(0)
}

fn process(changes: &[(&str, Value)]) -> plan::Process {
    planned(&with(changes)).unwrap().process.unwrap()
}

#[test]
fn attributes() {
    const ATIME: u64 = libc::MOUNT_ATTR__ATIME;
    let rows: &[(&[&str], u64, u64)] = &[
        (&[], 0, 0),
        (&["defaults", "loud", "silent", "async"], 0, 0),
        (&["ro"], libc::MOUNT_ATTR_RDONLY, 0),
        (&["ro", "rw"], 0, libc::MOUNT_ATTR_RDONLY),
        (&["rw", "ro"], libc::MOUNT_ATTR_RDONLY, 0),
        (&["nosuid", "nodev", "noexec"], 0xe, 0),
        (&["suid", "dev", "exec", "symfollow", "diratime"], 0, 0xe | 0x20_0000 | 0x80),
        (&["nodiratime", "nosymfollow"], 0x80 | 0x20_0000, 0),
        (&["noatime"], libc::MOUNT_ATTR_NOATIME, ATIME),
        (&["strictatime"], libc::MOUNT_ATTR_STRICTATIME, ATIME),
        (&["relatime"], 0, ATIME),
        (&["noatime", "relatime"], 0, ATIME),
        (&["noatime", "atime"], 0, ATIME),
        (&["noatime", "norelatime"], libc::MOUNT_ATTR_NOATIME, ATIME),
        (&["strictatime", "nostrictatime"], 0, ATIME),
        (&["strictatime", "noatime"], libc::MOUNT_ATTR_NOATIME, ATIME),
    ];
    for (options, set, clear) in rows {
        let expected = AttributeChange { set: *set, clear: *clear };
        assert_eq!(mount(options).attributes, expected, "{options:?}");
        let recursive: Vec<String> = options.iter().map(|option| format!("r{option}")).collect();
        let recursive: Vec<&str> = recursive.iter().map(String::as_str).collect();
        if !options.contains(&"defaults") {
            let mount = mount(&recursive);
            assert_eq!(mount.recursive_attributes, expected, "{recursive:?}");
            assert_eq!(mount.attributes, AttributeChange::default(), "{recursive:?}");
        }
    }
}

#[test]
fn every_option_of_the_specification_is_known() {
    let known: Vec<&str> = plan::mount_options().collect();
    let text = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime nodev nodiratime noexec \
                noiversion nolazytime norelatime nostrictatime nosuid private rbind relatime remount ro rprivate rshared rslave \
                runbindable rw shared silent slave strictatime suid sync unbindable nosymfollow symfollow rro rrw rnosuid rsuid \
                rnodev rdev rnoexec rexec rnodiratime rdiratime rnoatime ratime rrelatime rnorelatime rstrictatime \
                rnostrictatime rnosymfollow rsymfollow idmap ridmap tmpcopyup copy-symlink src-nofollow dest-nofollow";
    for option in text.split_whitespace() {
        assert!(known.contains(&option), "{option}");
    }
    assert!(known.is_sorted());
}

#[test]
fn kinds_of_mounts() {
    let rows: &[(Value, &str)] = &[
        (
            json!({"destination": "a/./b/", "type": "tmpfs", "options": ["sync", "lazytime", "nolazytime", "size=1m", "huge"]}),
            "/a/b Filesystem { fstype: \"tmpfs\", source: None, options: [FsOption { key: \"sync\", value: None }, FsOption \
             { key: \"size\", value: Some(\"1m\") }, FsOption { key: \"huge\", value: None }], copy_up: false }",
        ),
        (
            json!({"destination": "/a", "type": "tmpfs", "options": ["size=1m,noswap,mpol=bind:0,2,mode=755", "context=\"a:b:c:s0:c1,c2\",fscontext=a:b:c:s0:c1,c2,size=\"1m,huge"]}),
            "/a Filesystem { fstype: \"tmpfs\", source: None, options: [FsOption { key: \"size\", value: Some(\"1m\") }, \
             FsOption { key: \"noswap\", value: None }, FsOption { key: \"mpol\", value: Some(\"bind:0,2\") }, FsOption { key: \
             \"mode\", value: Some(\"755\") }, FsOption { key: \"context\", value: Some(\"a:b:c:s0:c1,c2\") }, FsOption { key: \
             \"fscontext\", value: Some(\"a:b:c:s0:c1,c2\") }, FsOption { key: \"size\", value: Some(\"\\\"1m\") }, FsOption { key: \"huge\", value: None }], copy_up: false }",
        ),
        (
            json!({"destination": "/a", "type": "overlay", "options": ["lowerdir=/x\\,y=z:/b,upperdir=/c", "huge,"]}),
            "/a Filesystem { fstype: \"overlay\", source: None, options: [FsOption { key: \"lowerdir\", value: \
             Some(\"/x\\\\,y=z:/b\") }, FsOption { key: \"upperdir\", value: Some(\"/c\") }, FsOption { key: \"huge,\", value: \
             None }], copy_up: false }",
        ),
        (
            json!({"destination": "/a", "type": "tmpfs", "source": "t", "options": ["tmpcopyup", "ro"]}),
            "/a Filesystem { fstype: \"tmpfs\", source: Some(\"t\"), options: [], copy_up: true } attributes=+0x1-0x0 \
             read_only_last",
        ),
        (
            json!({"destination": "/a", "type": "ext4", "source": "/dev/sda", "options": ["ro", "iversion"]}),
            "/a Filesystem { fstype: \"ext4\", source: Some(\"/dev/sda\"), options: [FsOption { key: \"ro\", value: None }, \
             FsOption { key: \"i_version\", value: None }], copy_up: false } attributes=+0x1-0x0",
        ),
        (
            json!({"destination": "/a", "source": "b/c", "options": ["bind", "src-nofollow", "dest-nofollow"]}),
            "/a Bind { source: \"/bundle/b/c\", recursive: false, nofollow: true, copy_symlink: false } \
             destination_nofollow",
        ),
        (
            json!({"destination": "/a", "type": "none", "source": "/b", "options": ["rbind", "rro", "rslave", "copy-symlink"]}),
            "/a Bind { source: \"/b\", recursive: true, nofollow: false, copy_symlink: true } recursive=+0x1-0x0 Slave \
             recursive",
        ),
        (
            json!({"destination": "/a", "type": "bind", "source": "/b"}),
            "/a Bind { source: \"/b\", recursive: false, nofollow: false, copy_symlink: false }",
        ),
        (json!({"destination": "/c", "type": "cgroup"}), "/c Cgroup attributes=+0x1-0x0"),
        (json!({"destination": "/c", "type": "cgroup", "options": ["rw"]}), "/c Cgroup attributes=+0x0-0x1"),
        (
            json!({"destination": "/a", "options": ["bind", "remount", "ro"]}),
            "/a Remount { options: [] } attributes=+0x1-0x0",
        ),
        (
            json!({"destination": "/a", "type": "tmpfs", "options": ["remount", "size=1m", "async", "lazytime", "nodev"]}),
            "/a Remount { options: [FsOption { key: \"async\", value: None }, FsOption { key: \"lazytime\", value: None }, \
             FsOption { key: \"size\", value: Some(\"1m\") }] } attributes=+0x4-0x0",
        ),
        (
            json!({"destination": "/", "type": "none", "options": ["rshared"]}),
            "/ Remount { options: [] } Shared recursive",
        ),
        (
            json!({"destination": "/proc/meminfo", "source": "/b", "options": ["bind"]}),
            "/proc/meminfo Bind { source: \"/b\", recursive: false, nofollow: false, copy_symlink: false }",
        ),
    ];
    for (mount, expected) in rows {
        let plan = planned(&with(&[("/mounts", json!([mount]))])).unwrap();
        assert_eq!(render::mount(&plan.mounts[0]), *expected, "{mount}");
        assert_eq!(plan.mounts[0].name, "mounts[0]");
    }
}

fn in_user_namespace(mount: Value) -> Plan {
    let map =
        json!([{"containerID": 0, "hostID": 1000, "size": 1}, {"containerID": 1, "hostID": 2000, "size": 9}]);
    let changes = [
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "user"}])),
        ("/linux/uidMappings", map.clone()),
        ("/linux/gidMappings", map),
        ("/mounts", json!([mount])),
    ];
    planned(&with(&changes)).unwrap()
}

#[test]
fn user_namespaces_and_mounts() {
    let sysfs = json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]});
    let plan = in_user_namespace(sysfs);
    let MountKind::Bind { source, recursive, .. } = &plan.mounts[0].kind else {
        panic!("{:?}", plan.mounts[0])
    };
    assert_eq!((source.to_str().unwrap(), *recursive), ("/sys", true));
    assert!(plan.bind_devices);
    assert_eq!(keg::plan::IdMaps::lines(&plan.id_maps.unwrap().uids), "0 1000 1\n1 2000 9\n");
}

#[test]
fn joining() {
    let list = |kinds: &[&str]| {
        json!(kinds.iter().map(|kind| json!({"type": kind, "path": format!("/{kind}")})).collect::<Vec<_>>())
    };
    let all = list(&["mount", "user", "time", "cgroup", "pid", "network", "uts", "ipc"]);
    let config = with(&[("/linux/namespaces", all)]).to_string();
    let order = |host| {
        let plan = plan_on(config.as_bytes(), &host).unwrap();
        plan.namespaces.join.iter().map(|join| join.kind.spec_name()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(order(root()), "ipc uts network pid cgroup time mount user");
    assert_eq!(order(rootless()), "user ipc uts network pid cgroup time mount");
}

#[test]
fn environment() {
    let env = json!(["A=1", "PATH=/x", "B=2", "A=3", "HOME=", "PATH=/y"]);
    let process = process(&[("/process/env", env)]);
    assert_eq!(format!("{:?}", process.env), r#"["A=3", "PATH=/y", "B=2", "HOME="]"#);
    assert_eq!(process.search_path.as_deref(), Some("/y"));
    assert!(process.needs_home);
    assert!(!self::process(&[("/process/env", json!(["HOME=/root"]))]).needs_home);
    assert_eq!(self::process(&[("/process/env", json!(null))]).search_path, None);
}

#[test]
fn capabilities() {
    let sets = json!({
        "bounding": ["CAP_KILL", "CAP_FUTURE", "CAP_CHOWN"],
        "permitted": ["CAP_KILL", "CAP_CHOWN"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_CHOWN"],
        "ambient": ["CAP_KILL", "CAP_CHOWN"]
    });
    let config = with(&[("/process/capabilities", sets)]);
    let plan = planned(&config).unwrap();
    let caps = plan.process.unwrap().capabilities;
    let bits =
        [caps.bounding, caps.permitted, caps.effective, caps.inheritable, caps.ambient].map(|set| set.bits());
    assert_eq!(bits, [0b10_0001, 0b10_0001, 0b10_0000, 1, 1]);
    let warnings = [
        "process.capabilities.bounding[1]: unknown capability \"CAP_FUTURE\" is left out",
        "process.capabilities.ambient: can't raise ambient capability CAP_KILL: it is not both permitted and inheritable",
    ];
    assert_eq!(plan.warnings, warnings);

    let host = keg::plan::Host { capabilities: keg::types::CapSet::from_bits(1), ..root() };
    let plan = plan_on(config.to_string().as_bytes(), &host).unwrap();
    assert_eq!(plan.process.unwrap().capabilities.permitted.bits(), 1);
    assert_eq!(plan.warnings[1], "process.capabilities: CAP_KILL is left out: keg does not have it");
    assert_eq!(process(&[]).capabilities, keg::plan::Capabilities::default());
}

#[test]
fn groups() {
    let groups = |changes: &[(&str, Value)]| {
        process(changes).groups.map(|list| list.iter().map(|gid| gid.0).collect::<Vec<_>>())
    };
    assert_eq!(groups(&[]), Some(vec![]));
    assert_eq!(groups(&[("/process/user/additionalGids", json!([3, 1]))]), Some(vec![3, 1]));
    assert_eq!(groups(&[("/annotations", json!({"run.oci.keep_original_groups": "1"}))]), None);
    let plan = plan_on(&crate::data("runc-spec-rootless.json"), &rootless()).unwrap();
    assert_eq!(plan.process.unwrap().groups, None);
}

#[test]
fn an_annotation_without_effect_is_told() {
    let plan = planned(&with(&[("/annotations", json!({"org.criu.config": "/etc/criu/x.conf"}))])).unwrap();
    assert_eq!(plan.warnings, ["annotations[\"org.criu.config\"]: has no effect: keg makes no checkpoints"]);
}

#[test]
fn devices() {
    let listed = json!([
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o20640, "uid": 1, "gid": 2},
        {"path": "/dev/pipe", "type": "p"},
        {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}
    ]);
    let plan = planned(&with(&[("/linux/devices", listed.clone())])).unwrap();
    let text: Vec<String> = plan
        .devices
        .iter()
        .map(|d| format!("{} {:?} {:o} {}:{} {}", d.path.display(), d.kind, d.mode, d.uid, d.gid, d.listed))
        .collect();
    let expected = [
        "/dev/zero Character(1, 5) 666 0:0 false",
        "/dev/full Character(1, 7) 666 0:0 false",
        "/dev/random Character(1, 8) 666 0:0 false",
        "/dev/urandom Character(1, 9) 666 0:0 false",
        "/dev/tty Character(5, 0) 666 0:0 false",
        "/dev/null Character(1, 3) 640 1:2 true",
        "/dev/pipe Fifo 666 0:0 true",
    ];
    assert_eq!(text, expected);
    assert_eq!(plan.links.len(), 6);

    let mounts = json!([{"destination": "/dev", "source": "/dev", "options": ["rbind"]}]);
    let plan = planned(&with(&[("/linux/devices", listed), ("/mounts", mounts)])).unwrap();
    assert!(plan.devices.is_empty() && plan.links.is_empty());
}

/// What stands for the host's devices comes before what somebody asked for besides.
#[test]
fn of_two_devices_at_one_path_the_first_is_made() {
    let device = |minor: u32| json!({"path": "/dev/x", "type": "c", "major": 4, "minor": minor});
    let plan = planned(&with(&[("/linux/devices", json!([device(1), device(2), device(1)]))])).unwrap();
    let made: Vec<_> = plan.devices.iter().filter(|device| device.listed).map(|device| device.kind).collect();
    assert_eq!(made, [plan::DeviceKind::Character(4, 1)]);
    let warning = "linux.devices: \"/dev/x\" is listed twice, as different devices: the first is made";
    assert_eq!(plan.warnings, [warning]);
}

#[test]
fn sysctls() {
    let changes = [
        ("/linux/namespaces", json!([{"type": "network"}, {"type": "ipc"}])),
        (
            "/linux/sysctl",
            json!({"net.ipv4.conf.eth0/7.forwarding": "1", "net/ipv4/conf/eth0.8/forwarding": "0", "kernel.sem": "1 2\n"}),
        ),
    ];
    let plan = planned(&with(&changes)).unwrap();
    let files: Vec<_> =
        plan.sysctl.iter().map(|(file, value)| format!("{} {value}", file.display())).collect();
    let expected =
        ["kernel/sem 1 2", "net/ipv4/conf/eth0.7/forwarding 1", "net/ipv4/conf/eth0.8/forwarding 0"];
    assert_eq!(files, expected);
}

#[test]
fn little_things() {
    let config = with(&[
        ("/root/path", json!(".")),
        ("/process/user", json!(null)),
        ("/process/terminal", json!(true)),
        ("/process/consoleSize", json!({"height": 24, "width": 80})),
        ("/process/execCPUAffinity", json!({"initial": "", "final": "0-3"})),
        ("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": u64::MAX}])),
        ("/linux/resources", json!({"pids": {}, "hugepageLimits": [{"pageSize": "2MB", "limit": u64::MAX}]})),
        ("/linux/rootfsPropagation", json!("rshared")),
        ("/linux/personality", json!({"domain": "LINUX32"})),
        ("/windows", json!({"layerFolders": 7})),
        ("/process/commandLine", json!(["not", "for", "Linux"])),
        ("/uidMappings", json!("none of the specification")),
        ("/unknown", json!({"a": [1.5]})),
        ("/mounts", json!(null)),
    ]);
    let plan = planned(&config).unwrap();
    assert_eq!(plan.rootfs.to_str(), Some("/bundle"));
    assert_eq!(
        format!("{:?}", plan.rootfs_propagation.unwrap()),
        "Propagation { kind: Shared, recursive: true }"
    );
    let process = plan.process.unwrap();
    assert_eq!((process.console_size, process.umask, process.personality), (Some((24, 80)), 0o022, Some(8)));
    assert_eq!(process.affinity, Affinity { initial: None, last: Some(Mask(vec![0xf])) });
    assert_eq!((process.rlimits[0].resource, process.rlimits[0].hard), (libc::RLIMIT_NOFILE, u64::MAX));
    let loaded = keg::spec::load(config.to_string().as_bytes()).unwrap();
    let resources = loaded.spec.linux().as_ref().unwrap().resources().as_ref().unwrap();
    assert!(resources.pids().is_none(), "no limit is not a limit of zero");

    let mut config = base();
    config.as_object_mut().unwrap().remove("process");
    assert!(planned(&config).unwrap().process.is_none());
}

#[test]
fn every_finding_is_told() {
    let config =
        with(&[("/process/args", json!([])), ("/process/cwd", json!("x")), ("/hostname", json!("h"))]);
    let loaded = keg::spec::load(config.to_string().as_bytes()).unwrap();
    let findings = plan::check(&loaded, &options(), &root());
    let paths: Vec<&str> = findings.iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(paths, ["hostname", "process.args", "process.cwd"]);
    assert!(findings.iter().all(|finding| finding.severity == Severity::Error));
    assert_eq!(findings[0].advice, "add {\"type\": \"uts\"} to linux.namespaces");
    assert_eq!(findings[1].advice, "name the program, then its arguments");
}

#[test]
fn other_documents() {
    let process = json!({"cwd": "/", "args": ["ls"], "user": {"username": "for Windows"}, "capabilities": {"bounding": ["CAP_NEW"]}});
    let (process, warnings) = keg::spec::load_process(process.to_string().as_bytes()).unwrap();
    assert_eq!(process.args().as_ref().unwrap(), &["ls"]);
    assert_eq!(warnings[0].path, "capabilities.bounding[0]");
    let error = keg::spec::load_process(b"{\"cwd\": 1}").unwrap_err().to_string();
    assert_eq!(error, "process: cwd: must be a string, not 1");
    let error = keg::spec::load_resources(b"{\"cpu\": {\"shares\": -1}}").unwrap_err().to_string();
    let range = "a whole number from 0 to 18446744073709551615";
    assert_eq!(error, format!("resources: cpu.shares: must be {range}, not -1"));
}
