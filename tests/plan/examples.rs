//! What is published with the specification: its enumerations, and where they are present its examples. A test that does not run for want of them says so.
#![allow(clippy::print_stderr)]

use std::path::{Path, PathBuf};

use keg::types::Capability;
use serde_json::{Value, json};

use crate::{plan_on, planned, root, with};

fn examples(kind: &str) -> Vec<PathBuf> {
    let schemas = match std::env::var_os("RUNTIME_SPEC_SCHEMAS") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/runtime-spec"),
    };
    let folder = schemas.join("test/config").join(kind);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!(
            "skipped: {} is not there; RUNTIME_SPEC_SCHEMAS names the schemas' directory",
            folder.display()
        );
        return Vec::new();
    };
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn good_ones_load() {
    for file in examples("good") {
        let loaded = keg::spec::load(&std::fs::read(&file).unwrap());
        assert!(loaded.is_ok(), "{}: {}", file.display(), loaded.unwrap_err());
    }
}

#[test]
fn bad_ones_are_refused_with_a_place() {
    for file in examples("bad") {
        let error = plan_on(&std::fs::read(&file).unwrap(), &root()).map(|_| ()).unwrap_err();
        let expected = match file.file_name().unwrap().to_str().unwrap() {
            "invalid-json.json" => "config.json: key must be a string at line 1 column 2",
            "linux-hugepage.json" => {
                "config.json: linux.resources.hugepageLimits[0].pageSize: \"64kB\" is no page size, such as 64KB, 2MB or 1GB"
            }
            "linux-netdevice.json" => "config.json: linux.netDevices.eth0.name: must be a string, not 23",
            "linux-rdma.json" => {
                "config.json: linux.resources.rdma.mlx5_1.hcaHandles: must be a whole number from 0 to 4294967295, not \"not a uint32\""
            }
            other => panic!("a new example: {other}: {error}"),
        };
        assert_eq!(error, expected, "{}", file.display());
    }
}

/// Every value of every enumeration in the specification's schema, at a place where it can stand.
#[test]
fn every_value_of_the_specification_loads() {
    let scheduler = |name: &str| json!({"policy": name});
    let flag = |name: &str| json!({"policy": "SCHED_OTHER", "flags": [name]});
    let class = |name: &str| json!({"class": name});
    let rlimit = |name: &str| json!([{"type": name, "soft": 1, "hard": 1}]);
    let namespace = |name: &str| json!([{"type": name}]);
    let domain = |name: &str| json!({"domain": name});
    let mode = |name: &str| json!({"mode": name});
    let policy_flag = |name: &str| json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [name]});
    let device = |name: &str| json!([{"path": "/dev/x", "type": name, "major": 1, "minor": 1}]);
    let rule = |name: &str| json!({"devices": [{"allow": true, "type": name}]});
    let default = |name: &str| json!({"defaultAction": name});
    let architecture = |name: &str| json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [name]});
    let filter = |name: &str| json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": [name]});
    let operator = |name: &str| {
        let arg = json!({"index": 0, "value": 1, "op": name});
        json!({"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [arg]}]})
    };
    type Row<'a> = (&'a str, &'a dyn Fn(&str) -> Value, &'a str);
    let table: &[Row<'_>] = &[
        ("/process/scheduler", &scheduler, "SCHED_{OTHER,FIFO,RR,BATCH,ISO,IDLE,DEADLINE}"),
        (
            "/process/scheduler",
            &flag,
            "SCHED_FLAG_{RESET_ON_FORK,RECLAIM,DL_OVERRUN,KEEP_POLICY,KEEP_PARAMS,UTIL_CLAMP_MIN,UTIL_CLAMP_MAX}",
        ),
        ("/process/ioPriority", &class, "IOPRIO_CLASS_{RT,BE,IDLE}"),
        (
            "/process/rlimits",
            &rlimit,
            "RLIMIT_{AS,CORE,CPU,DATA,FSIZE,LOCKS,MEMLOCK,MSGQUEUE,NICE,NOFILE,NPROC,RSS,RTPRIO,RTTIME,SIGPENDING,STACK}",
        ),
        ("/linux/namespaces", &namespace, "{mount,pid,network,uts,ipc,user,cgroup,time}"),
        ("/linux/personality", &domain, "LINUX{,32}"),
        (
            "/linux/memoryPolicy",
            &mode,
            "MPOL_{DEFAULT,BIND,INTERLEAVE,WEIGHTED_INTERLEAVE,PREFERRED,PREFERRED_MANY,LOCAL}",
        ),
        ("/linux/memoryPolicy", &policy_flag, "MPOL_F_{NUMA_BALANCING,RELATIVE_NODES,STATIC_NODES}"),
        ("/linux/devices", &device, "{c,b,u,p}"),
        ("/linux/resources", &rule, "{a,c,b,u,p}"),
        (
            "/linux/seccomp",
            &default,
            "SCMP_ACT_{KILL,KILL_PROCESS,KILL_THREAD,TRAP,ERRNO,TRACE,ALLOW,LOG,NOTIFY}",
        ),
        (
            "/linux/seccomp",
            &architecture,
            "SCMP_ARCH_{X86,X86_64,X32,ARM,AARCH64,LOONGARCH64,M68K,MIPS,MIPS64,MIPS64N32,MIPSEL,MIPSEL64,MIPSEL64N32,PPC,\
             PPC64,PPC64LE,S390,S390X,SH,SHEB,PARISC,PARISC64,RISCV64}",
        ),
        ("/linux/seccomp", &filter, "SECCOMP_FILTER_FLAG_{TSYNC,LOG,SPEC_ALLOW,WAIT_KILLABLE_RECV}"),
        ("/linux/seccomp", &operator, "SCMP_CMP_{NE,LT,LE,EQ,GE,GT,MASKED_EQ}"),
    ];
    for (pointer, make, values) in table {
        let (prefix, rest) = values.split_once('{').unwrap();
        for value in rest.trim_end_matches('}').split(',') {
            let config = with(&[(pointer, make(&format!("{prefix}{value}")))]);
            if let Err(error) = keg::spec::load(config.to_string().as_bytes()) {
                panic!("{error}");
            }
        }
    }
}

#[test]
fn every_capability_is_known() {
    let names: Vec<&str> = Capability::all().map(Capability::name).collect();
    let config = with(&[("/process/capabilities", json!({"permitted": names}))]);
    let plan = planned(&config).unwrap();
    assert_eq!(plan.warnings, Vec::<String>::new());
    assert_eq!(plan.process.unwrap().capabilities.permitted.iter().count(), names.len());
}
