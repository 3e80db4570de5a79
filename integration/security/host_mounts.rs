//! Mounts of the host stay as they are, and out of the container's reach.

use std::fs;

use harness::peers::Kind;
use harness::{Host, json, with_runtime};

use super::blocks::writable;

fn mapped(bundle: &harness::Bundle, rt: &harness::Runtime) {
    bundle.namespace(&json!({"type": "user"}));
    bundle.edit(|c| {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        c["linux"]["uidMappings"] = map.clone();
        c["linux"]["gidMappings"] = map;
    });
    let owned = ["chown", "-R", "100000:100000", &bundle.arg()].map(str::to_owned);
    rt.program(&owned).run().ok();
    rt.program(&["chmod", "755", rt.dir().to_str().unwrap()]).run().ok();
}

/// Root of a user namespace may mount. What it mounts on a directory of the host's must not be seen there, shared as that may be.
#[test]
fn a_user_namespace_mounts_nothing_on_the_host() {
    with_runtime(|rt| {
        rt.program(&["mount", "--make-rshared", "/"]).run().ok();
        let volume = rt.dir().join("volume");
        fs::create_dir_all(&volume).unwrap();
        for propagation in ["rprivate", "rslave", "rshared", ""] {
            let bundle = writable(rt);
            mapped(&bundle, rt);
            fs::create_dir_all(bundle.rootfs().join("vol")).unwrap();
            let mut options = vec!["rbind", "rw", propagation];
            options.retain(|option| !option.is_empty());
            bundle.mount(&json!({"destination": "/vol", "source": volume, "options": options}));
            bundle.edit(|c| {
                let caps = json!(["CAP_SYS_ADMIN"]);
                c["process"]["capabilities"] =
                    json!({"bounding": caps, "permitted": caps, "effective": caps});
            });
            bundle.shell("mount -t tmpfs evil /vol && touch /vol/mounted && sleep 30");
            let before = Host::look(rt).mounts;
            rt.create(&bundle, "c").ok();
            rt.start("c").ok();
            let mounted = format!("/proc/{}/root/vol/mounted", rt.pid("c"));
            harness::wait_until("the container mounts", std::time::Duration::from_secs(10), || {
                fs::exists(&mounted).unwrap()
            });
            assert_eq!(Host::look(rt).mounts, before, "{propagation:?}");
            rt.delete_force("c");
            assert_eq!(Host::look(rt).mounts, before, "{propagation:?}, deleted");
        }
        rt.program(&["mount", "--make-rprivate", "/"]).run().ok();
    });
}

/// Whoever finds a whole procfs or sysfs in its mount namespace, out of sight as that may be, may mount another one in a user namespace of
/// its own: without the masks of the container.
#[test]
fn without_a_pivot_the_hosts_proc_and_sysfs_are_taken_away_too() {
    with_runtime(|rt| {
        for (user_namespace, flag) in [(false, "--no-pivot"), (true, "--no-pivot"), (false, "--keep")] {
            if flag == "--keep" && rt.kind() == Kind::Crun {
                continue;
            }
            let bundle = rt.bundle();
            if user_namespace {
                mapped(&bundle, rt);
            }
            bundle.edit(|c| c["process"]["user"] = json!({"uid": 1000, "gid": 1000}));
            bundle.shell(
                "own='busybox unshare -U -r -n -m -p -f busybox mount'; $own -t tmpfs t /tmp && echo may mount; \
                 for type in proc sysfs; do $own -t $type $type /tmp && echo has another $type; done; exit 0",
            );
            let done = rt.command(&["run", flag, "--bundle", &bundle.arg(), "c"]).run().ok();
            assert_eq!(done.stdout(), "may mount\n", "{flag} {user_namespace}: {}", done.describe());
            rt.delete_force("c");
        }
    });
}

/// Without a cgroup namespace a container sees its own cgroup only, and cannot write there.
#[test]
fn cve_2023_25809() {
    with_runtime(|rt| {
        for user_namespace in [false, true] {
            let bundle = writable(rt);
            bundle.without_namespace("cgroup");
            if user_namespace {
                mapped(&bundle, rt);
            }
            let inside = bundle.probe(rt);
            let own = bundle.cgroup();
            let mounts = inside["mounts"].as_array().unwrap();
            let cgroups: Vec<_> =
                mounts.iter().filter(|m| m["type"].as_str().unwrap().starts_with("cgroup")).collect();
            assert!(!cgroups.is_empty());
            for mount in cgroups {
                assert!(mount["root"].as_str().unwrap().ends_with(&own), "{mount}");
                assert!(mount["options"].as_array().unwrap().contains(&json!("ro")), "{mount}");
            }
            bundle.shell(
                "for f in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/*/../cgroup.procs; \
                 do (echo 1 > $f) 2>/dev/null && echo WRITTEN $f; done; exit 0",
            );
            assert_eq!(rt.run(&bundle, "c").ok().stdout(), "");
        }
    });
}

/// A container without a mount namespace of its own, whose root directory is a mount of the host's: what fails, and what is deleted,
/// takes only what was mounted for the container.
#[test]
fn a_root_that_is_a_mount_of_the_host_stays() {
    with_runtime(|rt| {
        let bundle = writable(rt);
        let rootfs = bundle.rootfs();
        let rootfs = rootfs.to_str().unwrap();
        let copy = format!("{}/copy", bundle.arg());
        rt.program(&["cp", "-a", rootfs, &copy]).run().ok();
        rt.program(&["mount", "-t", "tmpfs", "of-the-host", rootfs]).run().ok();
        rt.program(&["bash", "-c", &format!("cp -a {copy}/. {rootfs}/")]).run().ok();
        bundle.without_namespace("mount");
        bundle.edit(|c| {
            c["linux"]["maskedPaths"] = json!([]);
            c["linux"]["readonlyPaths"] = json!([]);
        });
        let before = Host::look(rt).mounts;
        rt.run(&bundle, "c").ok();
        assert_eq!(Host::look(rt).mounts, before, "after it ran");
        bundle.args(&["/no/such/program"]);
        assert!(!rt.run(&bundle, "c").status.success());
        assert_eq!(Host::look(rt).mounts, before, "after a missing program");
        // Fails before anything is mounted: no id 0 in the new user namespace.
        bundle.namespace(&json!({"type": "user"}));
        bundle.edit(|c| {
            let map = json!([{"containerID": 5, "hostID": 100_000, "size": 10}]);
            c["linux"]["uidMappings"] = map.clone();
            c["linux"]["gidMappings"] = map;
            c["process"]["user"] = json!({"uid": 5, "gid": 5});
        });
        assert!(!rt.run(&bundle, "c").status.success());
        assert_eq!(Host::look(rt).mounts, before, "after an early failure");
        rt.program(&["umount", rootfs]).run().ok();
    });
}
