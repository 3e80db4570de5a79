//! Labels and kernel parameters go to a real procfs, and proc and sysfs are where a program will look for them.

use std::fs;

use harness::{Value, json, with_runtime};

use super::blocks::{decoy, swap, unreachable, ways_out, with_link, writable};

fn without_mount(config: &mut Value, destination: &str) {
    config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != destination);
}

/// Something else than a procfs is at `/proc`: what would be masked there, or written there, is not.
#[test]
fn cve_2019_16884() {
    with_runtime(|rt| {
        let decoy = decoy(rt);
        for (fstype, source, options) in
            [("bind", decoy.to_str().unwrap(), vec!["rbind"]), ("tmpfs", "tmpfs", vec!["ro"])]
        {
            for destination in
                ["/proc/self", "/proc/self/attr", "/proc/self/attr/exec", "/proc/1", "/proc/sys"]
            {
                let bundle = writable(rt);
                let mount =
                    json!({"destination": destination, "type": fstype, "source": source, "options": options});
                bundle.mount(&mount);
                let done = unreachable(rt, &bundle, &decoy, destination);
                assert!(!done.status.success(), "{destination}: {}", done.describe());
            }
        }
    });
}

/// A volume whose destination is below a link to `/proc`.
#[test]
fn cve_2019_19921() {
    with_runtime(|rt| {
        let decoy = decoy(rt);
        let bundle = with_link(rt, "volume", "/proc".as_ref());
        bundle.mount(&json!({"destination": "/volume/self", "source": decoy, "options": ["rbind"]}));
        bundle.edit(|c| c["process"]["args"] = json!(["/bin/ls", "/proc/self/"]));
        let done = unreachable(rt, &bundle, &decoy, "through a link");
        assert!(!done.stdout().contains("console"), "/proc/self is the volume: {}", done.describe());
    });
}

/// `/proc` and `/sys` are links in the image: to elsewhere inside, and out of it.
#[test]
fn cve_2023_27561() {
    with_runtime(|rt| {
        let decoy = decoy(rt);
        for name in ["proc", "sys"] {
            for way in ways_out(&decoy).into_iter().chain(["/tmp".into(), "tmp".into(), "./tmp".into()]) {
                let bundle = with_link(rt, name, &way);
                let done = unreachable(rt, &bundle, &decoy, name);
                assert!(!done.status.success(), "{name} -> {way:?}: {}", done.describe());
            }
        }
    });
}

/// The same where nothing else is mounted that could stumble first.
#[test]
fn cve_2025_54867() {
    with_runtime(|rt| {
        let decoy = decoy(rt);
        for (name, fstype) in [("proc", "proc"), ("sys", "sysfs")] {
            let bundle = with_link(rt, name, &decoy);
            bundle.edit(|c| {
                let only = json!([{"destination": format!("/{name}"), "type": fstype, "source": fstype}]);
                c["mounts"] = only;
                c["linux"]["maskedPaths"] = json!([]);
                c["linux"]["readonlyPaths"] = json!([]);
            });
            unreachable(rt, &bundle, &decoy, name);
        }
    });
}

/// Kernel parameters are written although, or because, a tree of the attacker's is at `/proc/sys` by then: to the kernel, not to the tree.
#[test]
fn cve_2025_52881() {
    with_runtime(|rt| {
        let fake = rt.dir().join("fake");
        fs::create_dir_all(fake.join("net/ipv4")).unwrap();
        fs::write(fake.join("net/ipv4/ip_forward"), "fake\n").unwrap();
        let bundle = writable(rt);
        bundle.edit(|c| {
            c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
            c["linux"]["readonlyPaths"] = json!([]);
        });
        let sys = bundle.rootfs().join("proc/sys");
        swap(&bundle, "createContainer", &format!("mount --bind {} {}", fake.display(), sys.display()));
        bundle.shell("umount /proc/sys; cat /proc/sys/net/ipv4/ip_forward");
        bundle.edit(|c| {
            let caps = json!(["CAP_SYS_ADMIN"]);
            c["process"]["capabilities"] = json!({"bounding": caps, "permitted": caps, "effective": caps});
        });
        let done = rt.run(&bundle, "c");
        assert_eq!(fs::read_to_string(fake.join("net/ipv4/ip_forward")).unwrap(), "fake\n");
        if done.status.success() {
            assert_eq!(done.stdout(), "1\n", "{}", done.describe());
        }
    });
}

/// Kernel parameters that no namespace of the container's keeps apart are refused, and so are values that are more than one line.
#[test]
fn cve_2022_0811() {
    with_runtime(|rt| {
        let own = |file: &str| fs::read_to_string(format!("/proc/sys/{file}")).unwrap();
        let before = (own("kernel/core_pattern"), own("vm/swappiness"), own("net/ipv4/conf/lo/log_martians"));
        for key in [
            "kernel.core_pattern",
            "kernel/../kernel/core_pattern",
            "net.ipv4.../../kernel/core_pattern",
            "kernel.shm_rmid_forced/../../core_pattern",
            "vm.swappiness",
            "",
            "net",
        ] {
            let bundle = rt.bundle();
            // What the host has anyway, should it be written after all.
            let value = if key == "vm.swappiness" { before.1.trim() } else { before.0.trim() };
            bundle.edit(|c| c["linux"]["sysctl"] = json!({key: value}));
            assert!(!rt.run(&bundle, "c").status.success(), "{key}");
        }
        for (kind, key) in [("network", "net.ipv4.conf.lo.log_martians"), ("ipc", "kernel.shmmni")] {
            let bundle = rt.bundle();
            bundle.without_namespace(kind);
            bundle.edit(|c| c["linux"]["sysctl"] = json!({key: "1"}));
            assert!(!rt.run(&bundle, "c").status.success(), "{key} without a {kind} namespace");
        }
        // The host's own namespace is none of the container's, by whatever path it comes.
        let bundle = rt.bundle();
        bundle.namespace(&json!({"type": "network", "path": "/proc/self/ns/net"}));
        bundle.edit(|c| c["linux"]["sysctl"] = json!({"net.ipv4.conf.lo.log_martians": "1"}));
        assert!(!rt.run(&bundle, "c").status.success(), "in the host's network namespace");
        let after = (own("kernel/core_pattern"), own("vm/swappiness"), own("net/ipv4/conf/lo/log_martians"));
        assert_eq!(before, after);
    });
}

/// Without a proc mount, what the image has at `/proc/self` must not be believed: here links that claim to be descriptors.
#[test]
fn cve_2026_115521() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let own = bundle.rootfs().join("proc/self/fd");
        fs::create_dir_all(&own).unwrap();
        for number in 0..64 {
            std::os::unix::fs::symlink("/tmp", own.join(number.to_string())).unwrap();
        }
        fs::create_dir_all(bundle.rootfs().join("vol")).unwrap();
        bundle.edit(|c| {
            without_mount(c, "/proc");
            c["linux"]["maskedPaths"] = json!([]);
            c["linux"]["readonlyPaths"] = json!(["/etc"]);
        });
        let volume = rt.dir().join("volume");
        fs::create_dir_all(&volume).unwrap();
        bundle.mount(&json!({"destination": "/vol", "source": volume, "options": ["bind", "ro"]}));
        bundle.shell(
            "for d in / /etc /vol; do (echo x > $d/written) 2>/dev/null && echo WRITTEN $d; done; exit 0",
        );
        let done = rt.run(&bundle, "c");
        assert!(done.status.success() || !rt.only_keg("others refuse"), "{}", done.describe());
        assert_eq!(done.stdout(), "");
        assert!(!volume.join("written").exists() && !bundle.rootfs().join("written").exists());
    });
}
