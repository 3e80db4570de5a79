//! A host with many mounts, as a node of Kubernetes is: the container's mount namespace is no copy of them, which would take longer than
//! all else of a start, and nothing is different inside.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use harness::{Bundle, Finished, Runtime, Value, json, wait_until, with_runtime};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

const MANY: usize = 150;

fn mount_tmpfs(target: &PathBuf) {
    fs::create_dir_all(target).unwrap();
    mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
}

/// Does something in the test's mount namespace with [`MANY`] more mounts in it.
fn among_many<T>(rt: &Runtime, body: impl FnOnce() -> T) -> T {
    let all = rt.dir().join("many");
    mount_tmpfs(&all);
    (0..MANY).for_each(|n| mount_tmpfs(&all.join(n.to_string())));
    let done = body();
    umount2(&all, MntFlags::MNT_DETACH).unwrap();
    done
}

fn set_propagation(target: &PathBuf, kind: MsFlags) {
    mount(None::<&str>, target, None::<&str>, kind, None::<&str>).unwrap();
}

/// A directory in a peer group of its own, with a file and another mount in it.
fn shared_source(rt: &Runtime) -> PathBuf {
    let source = rt.dir().join("source");
    mount_tmpfs(&source);
    set_propagation(&source, MsFlags::MS_SHARED);
    fs::write(source.join("file"), "content\n").unwrap();
    mount_tmpfs(&source.join("below"));
    fs::create_dir(source.join("later")).unwrap();
    source
}

fn bundle_with_all_kinds(rt: &Runtime, source: &PathBuf) -> Bundle {
    let bundle = rt.bundle();
    let bind = |destination: &str, options: &[&str]| {
        bundle.mount(&json!({"destination": destination, "source": source, "options": options}));
    };
    bind("/mnt/private", &["rbind", "rprivate"]);
    bind("/mnt/slave", &["rbind", "rslave", "ro"]);
    bind("/mnt/shared", &["rbind", "rshared", "nosuid"]);
    bind("/mnt/plain", &["bind", "noexec"]);
    let file = source.join("file");
    bundle.mount(&json!({"destination": "/etc/file", "source": file, "options": ["bind", "ro"]}));
    bundle.mount(&json!({"destination": "/mnt/tmp", "type": "tmpfs", "options": ["size=64k"]}));
    bundle.mount(&json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro", "nosuid"]}));
    bundle.edit(|c| {
        c["root"]["readonly"] = json!(true);
        c["linux"]["maskedPaths"] =
            json!(["/proc/acpi", "/proc/interrupts", "/proc/version", "/sys/firmware"]);
        c["linux"]["readonlyPaths"] = json!(["/proc/bus", "/proc/sys"]);
    });
    bundle
}

/// The mounts that a process in the container sees, in their order, but for their numbers.
fn mounts(rt: &Runtime, bundle: &Bundle) -> Vec<Value> {
    let inside = bundle.probe(rt);
    let mut all = inside["mounts"].as_array().unwrap().clone();
    for mount in &mut all {
        let fields = mount.as_object_mut().unwrap();
        fields.retain(|name, _| !["id", "parent", "device"].contains(&name.as_str()));
    }
    all
}

#[test]
fn the_container_sees_the_same_mounts_as_among_few() {
    with_runtime(|rt| {
        let source = shared_source(rt);
        let bundle = bundle_with_all_kinds(rt, &source);
        // As with systemd: what masks files comes from there.
        let dev = PathBuf::from("/dev");
        set_propagation(&dev, MsFlags::MS_SHARED);
        // The first makes the mount points.
        mounts(rt, &bundle);
        let among_few = mounts(rt, &bundle);
        let among_many = among_many(rt, || mounts(rt, &bundle));
        let differ = among_many.iter().zip(&among_few).find(|(one, other)| one != other);
        assert_eq!(differ, None);
        assert_eq!(among_many.len(), among_few.len());
        for (target, tag) in [("/mnt/slave/below", "master:"), ("/mnt/shared/below", "shared:")] {
            let mount = among_few.iter().find(|mount| mount["target"] == target).unwrap();
            assert!(mount["tags"].to_string().contains(tag), "{mount}");
        }
        // Nobody but who was given a shared mount can mount on the host (CVE-2025-31133 was another way to replace the null device).
        for mount in &among_many {
            let (target, tags) = (mount["target"].as_str().unwrap(), mount["tags"].to_string());
            assert!(target.starts_with("/mnt/shared") || !tags.contains("shared:"), "{mount}");
        }
        set_propagation(&dev, MsFlags::MS_PRIVATE);
        // Nothing of the host's went with what the container does not need.
        umount2(&source.join("below"), MntFlags::empty()).unwrap();
        umount2(&source, MntFlags::MNT_DETACH).unwrap();
    });
}

#[test]
fn mounts_of_the_host_come_in_later_where_they_may() {
    with_runtime(|rt| {
        let source = shared_source(rt);
        let bundle = bundle_with_all_kinds(rt, &source);
        let words = "cat /mnt/slave/later/new; cat /mnt/shared/later/new; ls /mnt/private/later";
        bundle.shell(words);
        among_many(rt, || {
            let created = rt.create(&bundle, "c").ok();
            mount_tmpfs(&source.join("later"));
            fs::write(source.join("later/new"), "came in\n").unwrap();
            rt.start("c").ok();
            rt.wait_stopped("c");
            assert_eq!(created.stdout(), "came in\ncame in\n");
            rt.delete("c").ok();
        });
        umount2(&source, MntFlags::MNT_DETACH).unwrap();
    });
}

/// The calls of `run` that make or join a mount namespace.
fn namespace_calls(rt: &Runtime, bundle: &Bundle) -> (Finished, String) {
    let trace = rt.dir().join("trace");
    let strace = ["strace", "-f", "-qq", "-e", "trace=setns,unshare,clone3", "-o", trace.to_str().unwrap()];
    let run = rt.command(&["run", "--bundle", &bundle.arg(), "c"]).inside(&strace).run();
    let text = fs::read_to_string(&trace).unwrap();
    (run, text.lines().filter(|line| line.contains("CLONE_NEWNS")).map(|line| format!("{line}\n")).collect())
}

/// The kernel lets another mount namespace be found (Linux 6.12), and this is the host's pid namespace.
fn can_be_found() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let threads = fs::read_to_string("/proc/2/comm").is_ok_and(|name| name == "kthreadd\n");
    let found = version >= (6, 12) && threads;
    if !found {
        eprintln!("skipped: Linux {}.{}", version.0, version.1);
    }
    found
}

#[test]
fn many_mounts_are_not_copied() {
    with_runtime(|rt| {
        if !rt.only_keg("a way of its own") || !can_be_found() {
            return;
        }
        let bundle = rt.bundle();
        bundle.args(&["/bin/true"]);
        let (run, few) = namespace_calls(rt, &bundle);
        run.ok();
        assert!(few.contains("clone3(") && !few.contains("setns("), "{few}");
        let (run, many) = among_many(rt, || namespace_calls(rt, &bundle));
        run.ok();
        assert!(many.contains("setns(") && many.contains("unshare("), "{many}");
        assert!(!many.contains("clone3("), "{many}");
    });
}

#[test]
fn hooks_see_the_mounts_of_the_host_in_the_container() {
    with_runtime(|rt| {
        for kind in ["createRuntime", "createContainer"] {
            let bundle = rt.bundle();
            bundle.args(&["/bin/true"]);
            // Who knows init's pid can look into its mount namespace.
            let script = match kind {
                "createContainer" => "grep -c many/ /proc/self/mountinfo",
                _ => "grep -c many/ /proc/$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/')/mountinfo",
            };
            let script = format!("{script} > {}/count", rt.dir().display());
            let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
            bundle.edit(|c| c["hooks"] = json!({ kind: hook }));
            among_many(rt, || rt.run(&bundle, "c").ok());
            let count = fs::read_to_string(rt.dir().join("count")).unwrap();
            assert_eq!(count.trim(), MANY.to_string(), "{kind}");
        }
    });
}

#[test]
fn without_the_right_to_join_they_are_copied() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.shell("cut -d' ' -f5 /proc/self/mountinfo | grep -c many/");
        among_many(rt, || {
            let command = rt.command(&["run", "--bundle", &bundle.arg(), "c"]);
            let run = command.inside(&["setpriv", "--bounding-set=-sys_chroot"]).run();
            assert_eq!(run.stdout(), "0\n", "{}", run.describe());
        });
    });
}

#[test]
fn a_source_in_the_root_shows_what_was_mounted_there_before() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let source = bundle.rootfs().join("proc");
        bundle.mount(&json!({"destination": "/mnt/proc", "source": source, "options": ["rbind"]}));
        bundle.shell("test -e /mnt/proc/self && echo mounted");
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), "mounted\n");
        assert_eq!(among_many(rt, || rt.run(&bundle, "c").ok().stdout()), "mounted\n");
    });
}

/// A bundle that shows what is in `/mnt/source`, where `source` is bound.
fn showing(rt: &Runtime, source: &PathBuf, options: &[&str]) -> Bundle {
    let bundle = rt.bundle();
    bundle.mount(&json!({"destination": "/mnt/source", "source": source, "options": options}));
    bundle.shell("find /mnt/source -xdev | sort; grep -c ' /mnt/source' /proc/self/mountinfo");
    bundle
}

#[track_caller]
fn same_among_many(rt: &Runtime, bundle: &Bundle, expected: &str) {
    let few = rt.run(bundle, "c").ok().stdout();
    let many = among_many(rt, || rt.run(bundle, "c").ok().stdout());
    assert_eq!(many, few);
    assert!(few.contains(expected), "{few}");
}

/// The container's mounts are made one after the other: what the host mounts in a source meanwhile is not lost.
#[test]
fn mounts_that_the_host_makes_meanwhile_come_in_too() {
    with_runtime(|rt| {
        let source = shared_source(rt);
        let bundle = rt.bundle();
        bundle.mount(&json!({"destination": "/mnt/slave", "source": source, "options": ["rbind", "rslave"]}));
        bundle.shell("cat /mnt/slave/later/new");
        let trace = rt.dir().join("trace");
        let to = trace.to_str().unwrap();
        // Long enough for a mount, before any but the first file systems are there.
        let slow = ["strace", "-f", "-qq", "-e", "inject=move_mount:delay_exit=150000", "-o", to];
        among_many(rt, || {
            let command = rt.command(&["run", "--bundle", &bundle.arg(), "c"]);
            let run = command.inside(&slow).spawn();
            let is_under_way =
                || fs::read_to_string(&trace).is_ok_and(|text| text.contains("\"proc\", MOVE_"));
            wait_until("the container's procfs is there", Duration::from_secs(20), is_under_way);
            mount_tmpfs(&source.join("later"));
            fs::write(source.join("later/new"), "came in\n").unwrap();
            assert_eq!(run.wait().ok().stdout(), "came in\n");
        });
        umount2(&source, MntFlags::MNT_DETACH).unwrap();
    });
}

#[test]
fn a_source_that_an_earlier_mount_makes_is_found() {
    with_runtime(|rt| {
        let volume = rt.dir().join("volume");
        fs::create_dir(&volume).unwrap();
        let bundle = rt.bundle();
        bundle.mount(&json!({"destination": "/mnt/volume", "source": volume, "options": ["bind"]}));
        bundle.mount(&json!({"destination": "/mnt/volume/new", "type": "tmpfs"}));
        bundle
            .mount(&json!({"destination": "/mnt/source", "source": volume.join("new"), "options": ["bind"]}));
        bundle.shell("test -d /mnt/source && echo there");
        let many = among_many(rt, || rt.run(&bundle, "c").ok().stdout());
        assert_eq!(many, "there\n");
        fs::remove_dir(volume.join("new")).unwrap();
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), "there\n");
    });
}

#[test]
fn an_unbindable_source_and_root_are_bound() {
    with_runtime(|rt| {
        let source = rt.dir().join("source");
        mount_tmpfs(&source);
        fs::write(source.join("file"), "").unwrap();
        set_propagation(&source, MsFlags::MS_UNBINDABLE);
        same_among_many(rt, &showing(rt, &source, &["rbind"]), "/mnt/source/file");
        let bundle = showing(rt, &rt.dir().join("many"), &["bind"]);
        fs::create_dir_all(rt.dir().join("many")).unwrap();
        let rootfs = bundle.rootfs();
        let same = Some(&rootfs);
        mount(same, &rootfs, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        set_propagation(&rootfs, MsFlags::MS_UNBINDABLE);
        among_many(rt, || rt.run(&bundle, "c").ok());
        umount2(&rootfs, MntFlags::MNT_DETACH).unwrap();
        umount2(&source, MntFlags::MNT_DETACH).unwrap();
    });
}

/// What holds the root, or leads into it, shows the container's own mounts.
#[test]
fn sources_around_the_root_show_the_same() {
    with_runtime(|rt| {
        for through_link in [true, false] {
            let bundle = rt.bundle();
            let (link, above) = (rt.dir().join("link"), bundle.path());
            symlink(bundle.rootfs().join("proc"), &link).unwrap();
            let source = if through_link { link.as_path() } else { above };
            let options = ["rbind", "ro"];
            bundle.mount(&json!({"destination": "/mnt/source", "source": source, "options": options}));
            bundle.shell(
                "grep -c ' /mnt/source' /proc/self/mountinfo; \
                 test -e /mnt/source/self -o -e /mnt/source/rootfs/proc/self && echo there",
            );
            same_among_many(rt, &bundle, "there");
            fs::remove_file(&link).unwrap();
        }
    });
}

/// Whatever keeps it from leaving the host's mount namespace for good: it goes back, and the container is as any other.
#[test]
fn who_cannot_stay_there_comes_back() {
    with_runtime(|rt| {
        if !rt.only_keg("a way of its own") || !can_be_found() {
            return;
        }
        let source = shared_source(rt);
        let bundle = bundle_with_all_kinds(rt, &source);
        mounts(rt, &bundle);
        bundle.shell("cut -d' ' -f4- /proc/self/mountinfo | sed 's/master:[0-9]*/master/;s/shared:[0-9]*/shared/'; pwd");
        let few = rt.run(&bundle, "c").ok().stdout();
        let trace = rt.dir().join("trace");
        let to = trace.to_str().unwrap();
        // The first one of keg's and of init's each: keg seals itself in another way then.
        let fault = ["strace", "-f", "-qq", "-e", "inject=fsopen:error=EPERM:when=1", "-o", to];
        let run = rt.command(&["run", "--bundle", &bundle.arg(), "c"]).inside(&fault);
        let many = among_many(rt, || run.run().ok().stdout());
        let joined = fs::read_to_string(&trace).unwrap();
        assert_eq!(joined.matches("setns(").count(), 2, "there and back");
        assert_eq!(many, few);
        umount2(&source, MntFlags::MNT_DETACH).unwrap();
    });
}
