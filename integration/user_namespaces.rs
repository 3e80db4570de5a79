//! User namespaces: mappings, ownership, joined ones with the rest new, and what is refused.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::time::Duration;

use harness::{Bundle, Running, Runtime, json, wait_until, with_runtime};

const BASE: u32 = 100_000;

/// A bundle with a new user namespace of 65,536 ids whose root owns the root filesystem.
fn mapped(rt: &Runtime) -> Bundle {
    let bundle = rt.bundle();
    let map = json!([{"containerID": 0, "hostID": BASE, "size": 65536}]);
    bundle.namespace(&json!({"type": "user"}));
    bundle.edit(|c| {
        c["linux"]["uidMappings"] = map.clone();
        c["linux"]["gidMappings"] = map;
    });
    give(rt, &bundle);
    bundle
}

/// Hands the root filesystem to the mapped root, which also must reach it.
fn give(rt: &Runtime, bundle: &Bundle) {
    fs::set_permissions(rt.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let words = ["chown", "-R", "-h", "100000:100000", &bundle.rootfs().display().to_string()];
    rt.program(&words).run().ok();
}

fn fields(line: &serde_json::Value) -> Vec<u32> {
    line.as_str().unwrap().split_whitespace().map(|w| w.parse().unwrap()).collect()
}

#[test]
fn ids_are_mapped_as_configured() {
    with_runtime(|rt| {
        let inside = mapped(rt).probe(rt);
        assert_eq!(fields(&inside["uid_map"][0]), [0, BASE, 65536]);
        assert_eq!(fields(&inside["gid_map"][0]), [0, BASE, 65536]);
        assert_eq!(inside.status("Uid"), "0 0 0 0");
        assert_eq!(inside["pid"], 1);
    });
}

#[test]
fn several_ranges_are_mapped() {
    with_runtime(|rt| {
        let bundle = mapped(rt);
        let maps = json!([{"containerID": 0, "hostID": BASE, "size": 10},
                          {"containerID": 10, "hostID": 200_000, "size": 5},
                          {"containerID": 1000, "hostID": 300_000, "size": 1}]);
        bundle.edit(|c| {
            c["linux"]["uidMappings"] = maps.clone();
            c["linux"]["gidMappings"] = maps;
        });
        let inside = bundle.probe(rt);
        let seen: Vec<_> = inside["uid_map"].as_array().unwrap().iter().map(fields).collect();
        assert_eq!(seen, [[0, BASE, 10], [10, 200_000, 5], [1000, 300_000, 1]]);
    });
}

#[test]
fn the_process_is_the_mapped_user_on_the_host() {
    with_runtime(|rt| {
        let bundle = mapped(rt);
        bundle.args(&["/bin/sleep", "1000"]);
        bundle.edit(|c| c["process"]["user"] = json!({"uid": 7, "gid": 8, "additionalGids": [9]}));
        rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        let status = fs::read_to_string(format!("/proc/{}/status", rt.pid("c"))).unwrap();
        let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().to_owned();
        assert_eq!(field("Uid:"), "100007\t100007\t100007\t100007");
        assert_eq!(field("Gid:"), "100008\t100008\t100008\t100008");
        assert_eq!(field("Groups:"), "100009");
    });
}

#[test]
fn the_other_namespaces_belong_to_the_new_user_namespace() {
    with_runtime(|rt| {
        let bundle = mapped(rt);
        bundle.edit(|c| {
            let all = json!(["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]);
            c["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
        });
        bundle.shell("hostname changed && hostname && mount -t tmpfs tmpfs /tmp && echo mounted");
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), "changed\nmounted\n");
    });
}

#[test]
fn devices_work_in_a_user_namespace() {
    with_runtime(|rt| {
        let bundle = mapped(rt);
        bundle.shell(
            "echo x > /dev/null && dd if=/dev/zero bs=1 count=2 2>/dev/null | wc -c; ls /dev/pts | wc -l",
        );
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), "2\n1\n");
        let inside = bundle.probe(rt);
        for (name, minor) in [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)] {
            let device = &inside["dev"][name];
            assert_eq!(
                (&device["type"], &device["major"], &device["minor"]),
                (&json!("c"), &json!(1), &json!(minor))
            );
        }
    });
}

#[test]
fn files_made_inside_belong_to_the_mapped_user() {
    with_runtime(|rt| {
        let bundle = mapped(rt);
        let shared = rt.dir().join("shared");
        fs::create_dir(&shared).unwrap();
        chown(&shared, Some(BASE), Some(BASE)).unwrap();
        bundle.mount(
            &json!({"destination": "/tmp", "type": "bind", "source": shared, "options": ["bind", "rw"]}),
        );
        bundle.shell("echo > /tmp/file");
        rt.run(&bundle, "c").ok();
        let meta = fs::metadata(shared.join("file")).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (BASE, BASE));
    });
}

/// A process in a new user namespace with the same mapping as [`mapped`].
fn holder(rt: &Runtime) -> Running {
    let words = ["unshare", "--user", "sh", "-c", "echo ready; exec sleep 1000"];
    let running = rt.program(&words).spawn();
    wait_until("the holder runs", Duration::from_secs(5), || running.stdout() == "ready\n");
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{map}", running.pid()), format!("0 {BASE} 65536\n")).unwrap();
    }
    running
}

#[test]
fn a_user_namespace_is_joined_and_the_rest_is_new() {
    with_runtime(|rt| {
        let holder = holder(rt);
        let path = format!("/proc/{}/ns/user", holder.pid());
        let bundle = rt.bundle();
        give(rt, &bundle);
        bundle.namespace(&json!({"type": "user", "path": path}));
        let inside = bundle.probe(rt);
        assert_eq!(inside.namespace("user"), fs::read_link(path).unwrap().to_str().unwrap());
        assert_eq!(inside.status("Uid"), "0 0 0 0");
        assert_eq!(inside["pid"], 1);
        let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
        assert_ne!(inside.namespace("net"), own.to_str().unwrap());
    });
}

#[test]
fn an_unmapped_user_is_refused() {
    with_runtime(|rt| {
        let bundle = mapped(rt);
        bundle.edit(|c| c["process"]["user"] = json!({"uid": 70_000, "gid": 0}));
        rt.create(&bundle, "c").fails_with("");
        rt.assert_gone("c");
        bundle.edit(|c| c["process"]["user"] = json!({"uid": 0, "gid": 70_000}));
        rt.create(&bundle, "c").fails_with("");
        rt.assert_gone("c");
    });
}

#[test]
fn a_user_namespace_without_mappings_is_refused() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.namespace(&json!({"type": "user"}));
        rt.create(&bundle, "c").fails_with("");
        rt.assert_gone("c");
    });
}

#[test]
fn mappings_without_a_user_namespace_are_refused() {
    with_runtime(|rt| {
        if !rt.only_keg("others ignore them") {
            return;
        }
        let bundle = mapped(rt);
        bundle.without_namespace("user");
        rt.create(&bundle, "c").fails_with("");
        rt.assert_gone("c");
    });
}

/// `idmap` alone means the mappings of the container's user namespace: root's files on the host are root's inside.
#[track_caller]
fn assert_root_owns_what_is_roots(rt: &Runtime, bundle: &Bundle) {
    let source = rt.dir().join("of-root");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "").unwrap();
    bundle.mount(
        &json!({"destination": "/tmp", "type": "bind", "source": source, "options": ["rbind", "idmap"]}),
    );
    bundle.shell("touch /tmp/new && stat -c '%u %g' /tmp /tmp/file");
    assert_eq!(rt.run(bundle, "c").ok().stdout(), "0 0\n0 0\n");
    let meta = fs::metadata(source.join("new")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (0, 0));
}

#[test]
fn a_mount_takes_the_mappings_of_a_new_user_namespace() {
    with_runtime(|rt| assert_root_owns_what_is_roots(rt, &mapped(rt)));
}

#[test]
fn a_mount_takes_the_mappings_of_a_joined_user_namespace() {
    with_runtime(|rt| {
        let holder = holder(rt);
        let bundle = rt.bundle();
        give(rt, &bundle);
        bundle.namespace(&json!({"type": "user", "path": format!("/proc/{}/ns/user", holder.pid())}));
        assert_root_owns_what_is_roots(rt, &bundle);
    });
}

#[test]
fn a_sysfs_without_a_network_namespace_of_its_own_is_the_hosts() {
    with_runtime(|rt| {
        let bundle = mapped(rt);
        bundle.without_namespace("network");
        let inside = bundle.probe(rt);
        let sys = inside.mount_at("/sys").unwrap();
        assert_eq!(sys["type"], "sysfs", "{sys}");
        assert!(inside.has_option("/sys", "ro") && inside.has_option("/sys", "nosuid"), "{sys}");
        let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
        assert_eq!(inside.namespace("net"), own.to_str().unwrap());
    });
}

/// What is mounted below the host's /sys comes with it: its cgroups must not.
#[test]
fn with_the_hosts_sysfs_the_hosts_cgroups_are_neither_seen_nor_written() {
    with_runtime(|rt| {
        if !rt.only_keg("another runtime refuses such a sysfs") {
            return;
        }
        for identity in [false, true] {
            let bundle = mapped(rt);
            bundle.without_namespace("network");
            bundle.edit(|c| {
                if identity {
                    let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
                    c["linux"]["uidMappings"] = map.clone();
                    c["linux"]["gidMappings"] = map;
                }
                let mounts = c["mounts"].as_array_mut().unwrap();
                mounts.retain(|mount| mount["type"] != "cgroup");
            });
            bundle
                .shell("ls -A /sys/fs/cgroup; grep ' /sys' /proc/mounts | grep -v ' ro,' || echo read-only");
            assert_eq!(rt.run(&bundle, "c").ok().stdout(), "read-only\n", "{identity}");
        }
        // Its own come over that, where config.json asks for them.
        let bundle = mapped(rt);
        bundle.without_namespace("network");
        bundle.shell("cat /proc/self/cgroup >/dev/null; ls /sys/fs/cgroup | wc -l; find /sys/fs/cgroup -name cgroup.procs | wc -l");
        let out = rt.run(&bundle, "c").ok().stdout();
        assert!(out.lines().all(|count| count != "0"), "{out}");
    });
}

#[test]
fn its_root_owns_the_message_queues() {
    with_runtime(|rt| {
        let bundle = mapped(rt);
        bundle.shell("stat -c %u:%g /dev/mqueue; chmod 1770 /dev/mqueue && stat -c %a /dev/mqueue");
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), "0:0\n1770\n");
    });
}

#[test]
fn a_source_that_only_the_hosts_root_can_reach_is_bound() {
    with_runtime(|rt| {
        let bundle = mapped(rt);
        let private = rt.dir().join("private");
        fs::create_dir_all(private.join("volume")).unwrap();
        fs::set_permissions(&private, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        fs::write(private.join("volume/file"), "content\n").unwrap();
        for (source, destination) in [("volume", "/tmp"), ("volume/file", "/run/file")] {
            bundle.mount(&json!({"destination": destination, "type": "bind", "source": private.join(source),
                                 "options": ["rbind", "ro", "nosuid"]}));
        }
        bundle.shell("cat /tmp/file /run/file");
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), "content\ncontent\n");
    });
}

/// What the host has forbidden on a mount, a user namespace may not allow: to ask for something else beside it must work all the same.
#[test]
fn flags_that_the_host_has_locked_stay() {
    with_runtime(|rt| {
        let source = rt.dir().join("locked");
        fs::create_dir(&source).unwrap();
        let path = source.to_str().unwrap();
        let flags = "nosuid,nodev,noexec,noatime,size=64k,mode=777";
        rt.program(&["mount", "-t", "tmpfs", "-o", flags, "locked", path]).run().ok();
        let bundle = mapped(rt);
        let mount = |destination: &str, options: &[&str]| {
            bundle.mount(
                &json!({"destination": destination, "type": "bind", "source": source, "options": options}),
            );
        };
        mount("/bound", &["bind"]);
        mount("/again", &["bind"]);
        mount("/again", &["bind", "remount", "ro"]);
        mount("/recursive", &["rbind", "rro"]);
        let inside = bundle.probe(rt);
        for place in ["/bound", "/again", "/recursive"] {
            for option in ["nosuid", "nodev", "noexec", "noatime"] {
                assert!(inside.has_option(place, option), "{option}: {:?}", inside.mount_at(place));
            }
        }
        for (place, read_only) in [("/bound", false), ("/again", true), ("/recursive", true)] {
            let options = &inside.mount_at(place).unwrap()["options"];
            assert_eq!(options.as_array().unwrap().contains(&json!("ro")), read_only, "{place}: {options}");
        }
        rt.program(&["umount", path]).run().ok();
    });
}

#[test]
fn mappings_of_a_mount_are_for_it_alone_or_for_all_below() {
    with_runtime(|rt| {
        if !rt.only_keg("others map all or nothing") {
            return;
        }
        let source = rt.dir().join("nested");
        for dir in [source.clone(), source.join("below")] {
            fs::create_dir_all(&dir).unwrap();
            rt.program(&["mount", "-t", "tmpfs", "tmpfs", dir.to_str().unwrap()]).run().ok();
            fs::write(dir.join("file"), "").unwrap();
        }
        for (option, below) in [("idmap", "65534 65534"), ("ridmap", "0 0")] {
            let bundle = mapped(rt);
            bundle.mount(&json!({"destination": "/tmp", "type": "bind", "source": source, "options": ["rbind", option]}));
            bundle.shell("stat -c '%u %g' /tmp/file /tmp/below/file");
            assert_eq!(rt.run(&bundle, "c").ok().stdout(), format!("0 0\n{below}\n"), "{option}");
        }
        rt.program(&["umount", "-R", source.to_str().unwrap()]).run().ok();
    });
}
