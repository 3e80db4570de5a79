//! Mounts as /proc/self/mountinfo inside shows them: types, options, binds, order, propagation, the root.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use harness::{Bundle, Runtime, json, with_runtime};

#[test]
fn the_default_mounts_are_there() {
    with_runtime(|rt| {
        let inside = rt.bundle().probe(rt);
        let cases: &[(&str, &str, &[&str])] = &[
            ("/proc", "proc", &["rw"]),
            ("/dev", "tmpfs", &["nosuid", "size=65536k", "mode=755"]),
            ("/dev/pts", "devpts", &["nosuid", "noexec", "gid=5", "mode=620", "ptmxmode=666"]),
            ("/dev/shm", "tmpfs", &["nosuid", "nodev", "noexec", "size=65536k"]),
            ("/dev/mqueue", "mqueue", &["nosuid", "nodev", "noexec"]),
            ("/sys", "sysfs", &["nosuid", "nodev", "noexec", "ro"]),
        ];
        for (target, kind, options) in cases {
            let mount = inside.mount_at(target).unwrap_or_else(|| panic!("{target}: {}", inside["mounts"]));
            assert_eq!(mount["type"], *kind, "{target}");
            for option in *options {
                assert!(inside.has_option(target, option), "{option}: {mount}");
            }
        }
        assert!(!inside["mounts"].to_string().contains("\"target\":\"/boot"), "nothing of the host's");
    });
}

/// A directory of the test with one file in it.
fn source(rt: &Runtime) -> PathBuf {
    let source = rt.dir().join("source");
    fs::create_dir_all(source.join("below")).unwrap();
    fs::write(source.join("file"), "content\n").unwrap();
    source
}

fn output(rt: &Runtime, bundle: &Bundle, script: &str) -> String {
    bundle.shell(script);
    rt.run(bundle, "c").ok().stdout()
}

#[test]
fn a_bind_mount_shows_the_source() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.mount(&json!({"destination": "/mnt/data", "source": source(rt), "options": ["bind", "rw"]}));
        bundle.edit(|c| c["root"]["readonly"] = json!(false));
        assert_eq!(output(rt, &bundle, "cat /mnt/data/file; echo new > /mnt/data/new"), "content\n");
        assert_eq!(fs::read_to_string(rt.dir().join("source/new")).unwrap(), "new\n");
        assert!(bundle.rootfs().join("mnt/data").is_dir(), "the mount point was made");
    });
}

#[test]
fn a_bind_mount_of_a_file_gets_a_file_to_be_mounted_on() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let file = source(rt).join("file");
        bundle.mount(&json!({"destination": "/run/a/b", "source": file, "options": ["bind", "ro"]}));
        bundle.edit(|c| c["root"]["readonly"] = json!(false));
        assert_eq!(
            output(rt, &bundle, "cat /run/a/b; echo x > /run/a/b || echo refused"),
            "content\nrefused\n"
        );
    });
}

#[test]
fn flags_of_a_bind_mount_are_applied() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let options = ["bind", "ro", "nosuid", "nodev", "noexec", "noatime"];
        bundle.mount(&json!({"destination": "/tmp", "source": source(rt), "options": options}));
        let inside = bundle.probe(rt);
        for option in &options[1..] {
            assert!(inside.has_option("/tmp", option), "{option}: {:?}", inside.mount_at("/tmp"));
        }
        assert_eq!(output(rt, &bundle, "echo > /tmp/x || echo refused"), "refused\n");
    });
}

#[test]
fn rbind_takes_the_mounts_below_and_bind_does_not() {
    with_runtime(|rt| {
        let source = source(rt);
        let below = source.join("below").display().to_string();
        rt.program(&["mount", "-t", "tmpfs", "-o", "size=64k", "below", &below]).run().ok();
        for (option, expected) in [("rbind", true), ("bind", false)] {
            let bundle = rt.bundle();
            bundle.mount(&json!({"destination": "/tmp", "source": source, "options": [option]}));
            assert_eq!(bundle.probe(rt).mount_at("/tmp/below").is_some(), expected, "{option}");
        }
        rt.program(&["umount", &below]).run().ok();
    });
}

#[test]
fn a_source_is_relative_to_the_bundle() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        fs::create_dir(bundle.path().join("data")).unwrap();
        fs::write(bundle.path().join("data/file"), "in the bundle\n").unwrap();
        bundle.mount(&json!({"destination": "/tmp", "source": "data", "options": ["bind"]}));
        assert_eq!(output(rt, &bundle, "cat /tmp/file"), "in the bundle\n");
    });
}

#[test]
fn tmpfs_takes_its_options() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let options = ["size=128k", "nr_inodes=50", "mode=1770", "uid=3", "gid=4", "nosuid", "noexec"];
        bundle.mount(&json!({"destination": "/tmp", "type": "tmpfs", "source": "mine", "options": options}));
        let inside = bundle.probe(rt);
        for option in options {
            assert!(inside.has_option("/tmp", option), "{option}: {:?}", inside.mount_at("/tmp"));
        }
        assert_eq!(inside.mount_at("/tmp").unwrap()["source"], "mine");
    });
}

/// Deprecated, and written by old callers.
#[test]
fn a_relative_destination_is_below_the_root() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.mount(&json!({"destination": "tmp/./sub/..", "type": "tmpfs"}));
        assert_eq!(bundle.probe(rt).mount_at("/tmp").unwrap()["type"], "tmpfs");
    });
}

#[test]
fn later_mounts_cover_earlier_ones() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.mount(&json!({"destination": "/tmp", "type": "tmpfs", "source": "first"}));
        bundle.mount(&json!({"destination": "/tmp", "source": source(rt), "options": ["bind"]}));
        bundle.mount(&json!({"destination": "/tmp/below", "type": "tmpfs", "source": "inner"}));
        assert_eq!(output(rt, &bundle, "cat /tmp/file"), "content\n");
        assert_eq!(bundle.probe(rt).mount_at("/tmp/below").unwrap()["source"], "inner");
    });
}

#[test]
fn the_cgroup_mount_is_read_only_and_shows_the_containers_own_cgroup() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let inside = bundle.probe(rt);
        for mount in inside["mounts"].as_array().unwrap().iter().filter(|m| m["type"] == "cgroup") {
            assert_eq!(mount["root"], "/", "{mount}");
            assert!(mount["options"].as_array().unwrap().iter().any(|o| o == "ro"), "{mount}");
        }
        let script = "cd /sys/fs/cgroup; test -e cgroup.procs || cd pids
            mkdir x 2>/dev/null || echo refused; cat cgroup.procs";
        assert_eq!(output(rt, &bundle, script).lines().take(2).collect::<Vec<_>>(), ["refused", "1"]);
    });
}

#[test]
fn a_destination_through_links_stays_inside_the_root() {
    with_runtime(|rt| {
        let outside = rt.dir().join("outside");
        fs::create_dir(&outside).unwrap();
        let bundle = rt.bundle();
        symlink(&outside, bundle.rootfs().join("absolute")).unwrap();
        symlink("../../../../../../../../tmp", bundle.rootfs().join("relative")).unwrap();
        bundle.edit(|c| c["root"]["readonly"] = json!(false));
        bundle.mount(&json!({"destination": "/absolute/sub", "type": "tmpfs", "source": "one"}));
        bundle.mount(&json!({"destination": "/relative/sub", "type": "tmpfs", "source": "two"}));
        let inside = bundle.probe(rt);
        let one = format!("{}/sub", outside.display());
        assert_eq!(inside.mount_at(&one).unwrap()["source"], "one");
        assert_eq!(inside.mount_at("/tmp/sub").unwrap()["source"], "two");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing was made outside");
    });
}

#[test]
fn a_missing_source_is_named() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.mount(&json!({"destination": "/tmp", "source": "/no/such/source", "options": ["bind"]}));
        let message = rt.create(&bundle, "c").fails_with("/no/such/source");
        assert!(message.to_lowercase().contains("no such file or directory"), "{message}");
        rt.assert_gone("c");
    });
}

#[test]
fn an_unknown_filesystem_is_refused() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.mount(&json!({"destination": "/tmp", "type": "nonsensefs", "source": "x"}));
        let message = rt.create(&bundle, "c").fails_with("");
        assert!(message.to_lowercase().contains("no such device"), "{message}");
        rt.assert_gone("c");
    });
}

#[test]
fn the_root_is_read_only_or_not() {
    with_runtime(|rt| {
        for (readonly, expected) in [(true, "refused\n"), (false, "written\n")] {
            let bundle = rt.bundle();
            bundle.edit(|c| c["root"]["readonly"] = json!(readonly));
            let script = "if echo > /new 2>/dev/null; then echo written; else echo refused; fi";
            assert_eq!(output(rt, &bundle, script), expected);
            assert_eq!(bundle.probe(rt).has_option("/", "ro"), readonly);
            assert_eq!(bundle.rootfs().join("new").exists(), !readonly);
        }
    });
}

#[test]
fn the_root_may_be_absolute_or_the_bundle_itself() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["root"]["path"] = json!(bundle.rootfs()));
        assert_eq!(output(rt, &bundle, "echo absolute"), "absolute\n");
        fs::copy(bundle.path().join("config.json"), bundle.rootfs().join("config.json")).unwrap();
        let inner = bundle.rootfs().join("config.json");
        let text = fs::read_to_string(&inner).unwrap().replace(bundle.rootfs().to_str().unwrap(), ".");
        fs::write(&inner, text).unwrap();
        let rootfs = bundle.rootfs().display().to_string();
        assert_eq!(rt.command(&["run", "--bundle", &rootfs, "c"]).run().ok().stdout(), "absolute\n");
    });
}

#[test]
fn no_pivot_works() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.shell("ls /; cat /etc/group");
        let done = rt.command(&["run", "--no-pivot", "--bundle", &bundle.arg(), "c"]).run().ok();
        assert!(done.stdout().ends_with("root:x:0:\n"), "{}", done.describe());
        assert!(done.stdout().contains("probe\n"), "{}", done.describe());
    });
}

#[test]
fn root_propagation_is_applied() {
    with_runtime(|rt| {
        for (propagation, tag) in [("shared", "shared:"), ("slave", "master:"), ("private", "")] {
            let bundle = rt.bundle();
            bundle.edit(|c| c["linux"]["rootfsPropagation"] = json!(propagation));
            let inside = bundle.probe(rt);
            let tags = inside.mount_at("/").unwrap()["tags"].to_string();
            // A slave of nothing is private: the test's own mount namespace shares nothing.
            let expected = if propagation == "slave" { tags == "[]" } else { tags.contains(tag) };
            assert!(expected, "{propagation}: {tags}");
        }
    });
}

#[test]
fn propagation_of_one_mount_is_applied() {
    with_runtime(|rt| {
        let source = source(rt);
        let words = ["mount", "--bind", "--make-shared", source.to_str().unwrap(), source.to_str().unwrap()];
        rt.program(&words).run().ok();
        for (option, tag) in [("rslave", "master:"), ("rshared", "shared:"), ("rprivate", "")] {
            let bundle = rt.bundle();
            bundle.mount(&json!({"destination": "/tmp", "source": source, "options": ["rbind", option]}));
            let inside = bundle.probe(rt);
            let tags = inside.mount_at("/tmp").unwrap()["tags"].to_string();
            if tag.is_empty() {
                assert_eq!(tags, "[]")
            } else {
                assert!(tags.contains(tag), "{option}: {tags}")
            }
        }
        rt.program(&["umount", source.to_str().unwrap()]).run().ok();
    });
}

#[test]
fn mounts_made_on_the_host_do_not_reach_a_private_container() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let words = ["mount", "--make-rshared", "/"];
        rt.program(&words).run().ok();
        bundle.args(&["/probe"]);
        let out = rt.create(&bundle, "c").ok();
        let mine = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        assert!(
            !mine.contains("/rootfs"),
            "the container's mounts leak into a shared host namespace: {mine}"
        );
        rt.start("c").ok();
        rt.wait_stopped("c");
        assert!(out.stdout().contains("mounts"));
        rt.delete("c").ok();
        rt.program(&["mount", "--make-rprivate", "/"]).run().ok();
    });
}

/// `stat` of files below /tmp, which are `ids` on the host's disk and bound with these members.
fn owners_inside(rt: &Runtime, bundle: &Bundle, ids: &[u32], members: &harness::Value) -> String {
    let source = rt.dir().join("owned");
    fs::create_dir_all(&source).unwrap();
    for id in ids {
        let file = source.join(id.to_string());
        fs::write(&file, "").unwrap();
        std::os::unix::fs::chown(&file, Some(*id), Some(*id)).unwrap();
    }
    let mut mount = json!({"destination": "/tmp", "type": "bind", "source": source});
    mount.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    bundle.mount(&mount);
    bundle.edit(|c| c["process"]["args"] = json!(["/bin/sh", "-c", "cd /tmp; stat -c '%n %u %g' *"]));
    rt.run(bundle, "c").ok().stdout()
}

#[test]
fn ids_of_a_bind_mount_are_mapped() {
    with_runtime(|rt| {
        let maps = json!([{"containerID": 0, "hostID": 1000, "size": 10},
                          {"containerID": 50, "hostID": 3000, "size": 1}]);
        let members = json!({"options": ["rbind"], "uidMappings": maps, "gidMappings": maps});
        let seen = owners_inside(rt, &rt.bundle(), &[0, 5, 50, 60], &members);
        assert_eq!(seen, "0 1000 1000\n5 1005 1005\n50 3000 3000\n60 65534 65534\n");
    });
}

#[test]
fn files_made_in_an_id_mapped_mount_have_the_owner_of_the_source() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let maps = json!([{"containerID": 7, "hostID": 0, "size": 1}]);
        let source = source(rt);
        std::os::unix::fs::chown(&source, Some(7), Some(7)).unwrap();
        bundle.mount(&json!({"destination": "/tmp", "source": source, "options": ["bind"],
                             "uidMappings": maps, "gidMappings": maps}));
        output(rt, &bundle, "touch /tmp/new");
        let meta = fs::metadata(source.join("new")).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (7, 7));
    });
}

#[test]
fn a_read_only_path_leaves_the_mounts_below_as_they_are() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.mount(&json!({"destination": "/mnt/a", "type": "tmpfs", "source": "tmpfs"}));
        bundle.mount(&json!({"destination": "/mnt/a/b", "type": "tmpfs", "source": "tmpfs"}));
        bundle.edit(|c| c["linux"]["readonlyPaths"] = json!(["/mnt/a"]));
        let script = "for f in /mnt/a/x /mnt/a/b/x; do (echo > $f) 2>/dev/null && echo $f; done; true";
        assert_eq!(output(rt, &bundle, script), "/mnt/a/b/x\n");
    });
}

/// The tmpfs that the hierarchies of version 1 are mounted in is read-only in the end, as is asked for.
#[test]
fn something_can_be_mounted_below_the_cgroup_mount() {
    with_runtime(|rt| {
        if !Path::new("/sys/fs/cgroup/memory").exists() {
            return eprintln!("skipped: with version 2 alone no directory can be made below");
        }
        let bundle = rt.bundle();
        bundle.mount(&json!({"destination": "/sys/fs/cgroup/mine", "type": "tmpfs", "source": "tmpfs"}));
        let script = "echo > /sys/fs/cgroup/mine/x && echo mine; mkdir /sys/fs/cgroup/other 2>/dev/null || echo refused";
        assert_eq!(output(rt, &bundle, script), "mine\nrefused\n");
    });
}

/// As mount(2) takes them.
#[test]
fn several_options_in_one_string_are_taken_apart() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let options = json!(["nosuid", "size=1m,inode64,mode=711", "mpol=prefer:0"]);
        let mount = json!({"destination": "/mnt/a", "type": "tmpfs", "source": "tmpfs", "options": options});
        bundle.mount(&mount);
        let script = "stat -c %a /mnt/a; grep /mnt/a /proc/mounts | grep -oE 'size=1024k|inode64'";
        assert_eq!(output(rt, &bundle, script), "711\nsize=1024k\ninode64\n");
    });
}
