//! What `features` claims, a container of its own takes: nothing is listed there that was never tried.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use harness::{Bundle, Runtime, Value, json, with_runtime};

fn features(rt: &Runtime) -> Option<Value> {
    rt.only_keg("the claims of others are theirs").then(|| rt.command(&["features"]).run().ok().json())
}

fn words(list: &Value) -> Vec<&str> {
    let words: Vec<&str> = list.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert!(!words.is_empty());
    words
}

fn map_users(rt: &Runtime, bundle: &Bundle) {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bundle.edit(|c| {
        c["linux"]["uidMappings"] = map.clone();
        c["linux"]["gidMappings"] = map;
    });
    fs::set_permissions(rt.dir(), PermissionsExt::from_mode(0o755)).unwrap();
    rt.program(&["chown", "-R", "-h", "100000:100000", &bundle.rootfs().display().to_string()]).run().ok();
}

#[test]
fn every_mount_option_is_taken() {
    with_runtime(|rt| {
        let Some(features) = features(rt) else { return };
        let source = rt.dir().join("source");
        fs::create_dir(&source).unwrap();
        let maps = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
        let bundle = rt.bundle();
        for option in words(&features["mountOptions"]) {
            let place = format!("/mnt-{option}");
            let mut mount = match option {
                "tmpcopyup" => json!({"type": "tmpfs", "options": [option]}),
                "remount" => json!({"destination": "/dev/shm", "options": ["bind", option, "nosuid"]}),
                _ => json!({"source": source, "options": ["bind", option]}),
            };
            if ["idmap", "ridmap"].contains(&option) {
                mount["uidMappings"] = maps.clone();
                mount["gidMappings"] = maps.clone();
            }
            if option != "remount" {
                mount["destination"] = json!(place);
            }
            bundle.mount(&mount);
        }
        let inside = bundle.probe(rt);
        for option in words(&features["mountOptions"]).iter().filter(|option| **option != "remount") {
            assert!(inside.mount_at(&format!("/mnt-{option}")).is_some(), "{option}");
        }
        bundle.mount(&json!({"destination": "/x", "source": source, "options": ["bind", "no-such-option"]}));
        rt.create(&bundle, "c").fails_with("\"no-such-option\" is no mount option");
    });
}

#[test]
fn every_namespace_is_made() {
    with_runtime(|rt| {
        let Some(features) = features(rt) else { return };
        let kinds = words(&features["linux"]["namespaces"]);
        let bundle = rt.bundle();
        bundle.edit(|c| {
            c["linux"]["namespaces"] = kinds.iter().map(|kind| json!({"type": kind})).collect();
        });
        map_users(rt, &bundle);
        bundle.shell("cd /proc/self/ns && for n in *; do echo $n $(readlink $n); done");
        let inside = rt.run(&bundle, "c").ok().stdout();
        for kind in kinds {
            let file = match kind {
                "mount" => "mnt",
                "network" => "net",
                other => other,
            };
            let host = fs::read_link(format!("/proc/thread-self/ns/{file}")).unwrap().display().to_string();
            let line = inside.lines().find_map(|line| line.strip_prefix(&format!("{file} ")));
            assert!(line.is_some_and(|own| own != host), "{kind}: {inside}, on the host {host}");
        }
    });
}

#[test]
fn every_capability_is_granted_that_the_host_has() {
    with_runtime(|rt| {
        let Some(features) = features(rt) else { return };
        let names = words(&features["linux"]["capabilities"]);
        let last: usize =
            fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
        assert!(names.len() <= last + 1, "{names:?}");
        let bundle = rt.bundle();
        bundle.edit(|c| c["process"]["capabilities"] = json!({"bounding": names, "permitted": names}));
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let own = status.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
        let own = u64::from_str_radix(own, 16).unwrap();
        let listed = names.len();
        assert_eq!(bundle.probe(rt).caps("Bnd"), own & ((1 << listed) - 1));
    });
}

#[test]
fn every_hook_runs() {
    with_runtime(|rt| {
        let Some(features) = features(rt) else { return };
        let kinds = words(&features["hooks"]);
        let log = rt.dir().join("log");
        fs::write(&log, "").unwrap();
        let bundle = rt.bundle();
        // The same path outside and inside, where startContainer runs.
        bundle.mount(&json!({"destination": log, "source": log, "options": ["bind"]}));
        bundle.edit(|c| {
            for kind in &kinds {
                let script = format!("echo {kind} >>{}", log.display());
                c["hooks"][kind] = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
            }
        });
        rt.run(&bundle, "c").ok();
        let text = fs::read_to_string(&log).unwrap();
        for kind in kinds {
            assert_eq!(text.lines().filter(|line| *line == kind).count(), 1, "{kind}: {text}");
        }
    });
}

#[test]
fn every_part_of_a_seccomp_profile_is_loaded() {
    with_runtime(|rt| {
        let Some(features) = features(rt) else { return };
        let claims = &features["linux"]["seccomp"];
        assert_eq!(claims["enabled"], true);
        let bundle = rt.bundle();
        let load = |what: &str, profile: Value| {
            bundle.edit(|c| c["linux"]["seccomp"] = profile);
            assert_eq!(bundle.probe(rt).status("Seccomp"), "2", "{what}");
        };
        // Who listens is looked at in tests of its own.
        for action in words(&claims["actions"]).into_iter().filter(|action| *action != "SCMP_ACT_NOTIFY") {
            let rules = json!([{"names": ["acct"], "action": action}]);
            load(action, json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
        }
        for operator in words(&claims["operators"]) {
            let args = json!([{"index": 0, "value": 1, "valueTwo": 1, "op": operator}]);
            let rules = json!([{"names": ["acct"], "action": "SCMP_ACT_ERRNO", "args": args}]);
            load(operator, json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
        }
        for flag in words(&claims["supportedFlags"]) {
            let rules = json!([{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}]);
            load(flag, json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": [flag], "syscalls": rules}));
        }
        for architecture in words(&claims["archs"]) {
            load(architecture, json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [architecture]}));
        }
    });
}

#[test]
fn every_memory_policy_is_taken_or_refused_by_its_name() {
    with_runtime(|rt| {
        let Some(features) = features(rt) else { return };
        let claims = &features["linux"]["memoryPolicy"];
        let bundle = rt.bundle();
        let try_it = |policy: Value| {
            bundle.edit(|c| c["linux"]["memoryPolicy"] = policy.clone());
            let done = rt.run(&bundle, "c");
            // A kernel without NUMA has none of them, and one before 6.9 no weights.
            let by_name = done.stderr().contains("linux.memoryPolicy");
            assert!(done.code() == 0 || by_name, "{policy}: {}", done.describe());
            done.code() == 0
        };
        let mut taken = 0;
        for mode in words(&claims["modes"]) {
            let nodes = if ["MPOL_DEFAULT", "MPOL_LOCAL"].contains(&mode) { "" } else { "0" };
            taken += usize::from(try_it(json!({"mode": mode, "nodes": nodes})));
        }
        let numa = std::path::Path::new("/sys/devices/system/node/node0").exists();
        assert!(!numa || taken >= 6, "{taken} of {}", claims["modes"]);
        for flag in words(&claims["flags"]) {
            assert_eq!(try_it(json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]})), numa, "{flag}");
        }
    });
}
