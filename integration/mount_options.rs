//! Every mount option, on every kind of mount that it makes sense for, as /proc/self/mountinfo inside shows it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use harness::{Bundle, Inside, Runtime, Value, json, with_runtime};

/// An option, what mountinfo has because of it, and what it has not. What is a matter of the file system instance has a `+`.
const GOLDEN: &[(&str, &[&str], &[&str])] = &[
    ("async", &[], &["+sync"]),
    ("atime", &["relatime"], &["noatime"]),
    ("defaults", &["rw", "relatime"], &["nosuid", "nodev", "noexec", "noatime"]),
    ("dev", &[], &["nodev"]),
    ("diratime", &[], &["nodiratime"]),
    ("dirsync", &["+dirsync"], &[]),
    ("exec", &[], &["noexec"]),
    ("iversion", &["rw"], &[]),
    ("lazytime", &["+lazytime"], &[]),
    ("loud", &["rw"], &[]),
    ("noatime", &["noatime"], &["relatime"]),
    ("nodev", &["nodev"], &[]),
    ("nodiratime", &["nodiratime"], &[]),
    ("noexec", &["noexec"], &[]),
    ("noiversion", &["rw"], &[]),
    ("nolazytime", &[], &["+lazytime"]),
    ("norelatime", &["relatime"], &["noatime"]),
    ("nostrictatime", &["relatime"], &["noatime"]),
    ("nosuid", &["nosuid"], &[]),
    ("nosymfollow", &["nosymfollow"], &[]),
    ("relatime", &["relatime"], &["noatime"]),
    ("ro", &["ro"], &["rw"]),
    ("rw", &["rw"], &["ro"]),
    ("silent", &["rw"], &[]),
    ("strictatime", &[], &["noatime", "relatime"]),
    ("suid", &[], &["nosuid"]),
    ("symfollow", &[], &["nosymfollow"]),
    ("sync", &["+sync"], &[]),
];

/// Options that other runtimes hand on to the file system, which refuses them.
const OF_KEG: &[&str] = &[
    "defaults",
    "iversion",
    "noiversion",
    "nosymfollow",
    "symfollow",
    "lazytime",
    "nolazytime",
    "loud",
    "silent",
];

fn words(mount: &Value, list: &str) -> Vec<String> {
    mount[list].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// What the mount at `place` has is as the table says for `option`. `instance`: the mount has a file system instance of its own.
#[track_caller]
fn assert_golden(
    inside: &Inside,
    place: &str,
    (option, has, has_not): (&str, &[&str], &[&str]),
    instance: bool,
) {
    let mount = inside.mount_at(place).unwrap_or_else(|| panic!("nothing at {place}"));
    let (own, of_instance) = (words(mount, "options"), words(mount, "super"));
    let found = |word: &str| match word.strip_prefix('+') {
        Some(word) => of_instance.iter().any(|other| other == word),
        None => own.iter().any(|other| other == word),
    };
    let matters = |word: &&&str| instance || !word.starts_with('+');
    for word in has.iter().filter(matters) {
        assert!(found(word), "{option} at {place}: no {word}: {mount}");
    }
    for word in has_not.iter().filter(matters) {
        assert!(!found(word), "{option} at {place}: {word}: {mount}");
    }
}

fn table(
    rt: &Runtime,
) -> impl Iterator<Item = &'static (&'static str, &'static [&'static str], &'static [&'static str])> {
    let all = rt.only_keg("options that are keg's alone are left out");
    GOLDEN.iter().filter(move |(option, ..)| all || !OF_KEG.contains(option))
}

/// A bundle with one mount for each option, at /OPTION.
fn with_each(rt: &Runtime, mount: &Value, always: &[&str]) -> Bundle {
    let bundle = rt.bundle();
    for (option, ..) in table(rt) {
        let mut mount = mount.clone();
        mount["destination"] = json!(format!("/mnt-{option}"));
        mount["options"] = json!(always.iter().chain([option]).collect::<Vec<_>>());
        bundle.mount(&mount);
    }
    bundle
}

fn assert_new(rt: &Runtime, mount: &Value, always: &[&str], instance: bool) {
    let inside = with_each(rt, mount, always).probe(rt);
    for row in table(rt) {
        let place = format!("/mnt-{}", row.0);
        assert_eq!(inside.mount_at(&place).unwrap()["type"], mount["type"], "{place}");
        assert_golden(&inside, &place, *row, instance);
    }
}

#[test]
fn options_of_a_tmpfs() {
    with_runtime(|rt| assert_new(rt, &json!({"type": "tmpfs", "source": "tmpfs"}), &["size=64k"], true));
}

#[test]
fn options_of_a_proc() {
    with_runtime(|rt| {
        // The others have one instance for all mounts of a pid namespace, with the flags of the first.
        let own = rt.only_keg("the flags of a proc instance are not looked at");
        assert_new(rt, &json!({"type": "proc", "source": "proc"}), &[], own);
    });
}

#[test]
fn options_of_a_sysfs() {
    with_runtime(|rt| assert_new(rt, &json!({"type": "sysfs", "source": "sysfs"}), &[], false));
}

#[test]
fn options_of_a_devpts() {
    with_runtime(|rt| {
        assert_new(
            rt,
            &json!({"type": "devpts", "source": "devpts"}),
            &["newinstance", "ptmxmode=0666"],
            true,
        );
    });
}

#[test]
fn options_of_a_message_queue() {
    with_runtime(|rt| assert_new(rt, &json!({"type": "mqueue", "source": "mqueue"}), &[], false));
}

#[test]
fn options_of_an_overlay() {
    with_runtime(|rt| {
        let lower = ["lower1", "lower2"].map(|name| rt.dir().join(name));
        lower.iter().for_each(|dir| fs::create_dir(dir).unwrap());
        let data = format!("lowerdir={}:{}", lower[0].display(), lower[1].display());
        assert_new(rt, &json!({"type": "overlay", "source": "overlay"}), &[&data], false);
    });
}

/// A tmpfs of the test with another one below it.
fn nested(rt: &Runtime) -> PathBuf {
    let outer = rt.dir().join("nested");
    fs::create_dir(&outer).unwrap();
    for dir in [outer.clone(), outer.join("below")] {
        fs::create_dir_all(&dir).unwrap();
        rt.program(&["mount", "-t", "tmpfs", "-o", "size=64k", "test", dir.to_str().unwrap()]).run().ok();
    }
    outer
}

fn unmount(rt: &Runtime, tree: &Path) {
    rt.program(&["umount", "-R", tree.to_str().unwrap()]).run().ok();
}

#[test]
fn options_of_a_bind_are_of_this_mount_alone() {
    with_runtime(|rt| {
        let source = nested(rt);
        let inside = with_each(rt, &json!({"type": "bind", "source": source}), &["rbind"]).probe(rt);
        for row in table(rt) {
            let place = format!("/mnt-{}", row.0);
            assert_golden(&inside, &place, *row, false);
            let below = inside.mount_at(&format!("{place}/below")).unwrap();
            assert_eq!(below["options"], json!(["rw", "relatime"]), "{place}: {below}");
        }
        unmount(rt, &source);
    });
}

#[test]
fn recursive_options_are_of_all_mounts_below_too() {
    with_runtime(|rt| {
        let source = nested(rt);
        let options = ["rnosuid", "rnodev", "rnoexec", "rro", "rnoatime", "rnodiratime", "rstrictatime"];
        let bundle = rt.bundle();
        let plain = |option: &str| option[1..].to_owned();
        for option in options {
            bundle.mount(&json!({"destination": format!("/mnt-{option}"), "type": "bind", "source": source,
                                 "options": ["rbind", option]}));
        }
        let inside = bundle.probe(rt);
        for option in options {
            let row = GOLDEN.iter().find(|(name, ..)| *name == plain(option)).unwrap();
            for place in [format!("/mnt-{option}"), format!("/mnt-{option}/below")] {
                assert_golden(&inside, &place, *row, false);
            }
        }
        unmount(rt, &source);
    });
}

/// Each takes back what the mounts of the source have.
#[test]
fn recursive_options_clear_what_the_source_has() {
    with_runtime(|rt| {
        let source = nested(rt);
        for dir in [source.clone(), source.join("below")] {
            let flags = "remount,bind,nosuid,nodev,noexec,noatime,nodiratime,ro";
            rt.program(&["mount", "-o", flags, dir.to_str().unwrap()]).run().ok();
        }
        let rows = [
            ("rsuid", "nosuid"),
            ("rdev", "nodev"),
            ("rexec", "noexec"),
            ("rrw", "ro"),
            ("ratime", "noatime"),
            ("rdiratime", "nodiratime"),
            ("rrelatime", "noatime"),
        ];
        let bundle = rt.bundle();
        for (option, _) in rows {
            bundle.mount(&json!({"destination": format!("/mnt-{option}"), "type": "bind", "source": source,
                                 "options": ["rbind", option]}));
        }
        bundle.mount(
            &json!({"destination": "/as-it-is", "type": "bind", "source": source, "options": ["rbind"]}),
        );
        let inside = bundle.probe(rt);
        for (option, gone) in rows {
            for below in ["", "/below"] {
                let before = words(inside.mount_at(&format!("/as-it-is{below}")).unwrap(), "options");
                assert!(before.iter().any(|word| word == gone), "{before:?}");
                let now = words(inside.mount_at(&format!("/mnt-{option}{below}")).unwrap(), "options");
                assert!(now.iter().all(|word| word != gone), "{option}{below}: {now:?}");
                assert!(now.len() >= before.len() - 1, "{option}{below} changes nothing else: {now:?}");
            }
        }
        unmount(rt, &source);
    });
}

#[test]
fn the_last_of_contrary_options_counts() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let rows: [(&[&str], &[&str]); 4] = [
            (&["ro", "nosuid", "rw", "suid"], &["rw", "relatime"]),
            (&["noatime", "strictatime"], &["rw"]),
            (&["strictatime", "noatime"], &["rw", "noatime"]),
            (&["rw", "noexec", "exec", "noexec"], &["rw", "noexec", "relatime"]),
        ];
        for (n, (options, _)) in rows.iter().enumerate() {
            let place = format!("/mnt-{n}");
            bundle.mount(
                &json!({"destination": place, "type": "tmpfs", "source": "tmpfs", "options": options}),
            );
        }
        let inside = bundle.probe(rt);
        for (n, (options, expected)) in rows.iter().enumerate() {
            let found = words(inside.mount_at(&format!("/mnt-{n}")).unwrap(), "options");
            assert_eq!(found, *expected, "{options:?}");
        }
    });
}

#[test]
fn a_remount_changes_the_mount_or_the_file_system() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let source = nested(rt);
        bundle
            .mount(&json!({"destination": "/bound", "type": "bind", "source": source, "options": ["bind"]}));
        bundle.mount(
            &json!({"destination": "/bound", "type": "bind", "source": source, "options": ["bind", "remount", "ro"]}),
        );
        let size = |size: &str| json!(["remount", size, "nodev", "noexec"]);
        bundle.mount(
            &json!({"destination": "/small", "type": "tmpfs", "source": "x", "options": ["size=64k"]}),
        );
        bundle.mount(
            &json!({"destination": "/small", "type": "tmpfs", "source": "x", "options": size("size=128k")}),
        );
        let inside = bundle.probe(rt);
        assert!(inside.has_option("/bound", "ro"), "{:?}", inside.mount_at("/bound"));
        for option in ["size=128k", "nodev", "noexec"] {
            assert!(inside.has_option("/small", option), "{option}: {:?}", inside.mount_at("/small"));
        }
        let test = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let own =
            test.lines().find(|line| line.contains("/nested rw")).expect("the source is still writable");
        assert!(own.contains("tmpfs"), "{own}");
        unmount(rt, &source);
    });
}

#[test]
fn a_remount_that_the_file_system_refuses_is_an_error() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle
            .mount(&json!({"destination": "/tmp", "type": "tmpfs", "source": "x", "options": ["size=64k"]}));
        bundle.mount(&json!({"destination": "/tmp", "type": "tmpfs", "source": "x", "options": ["remount", "no-such=1"]}));
        rt.create(&bundle, "c").fails_with("/tmp");
        rt.assert_gone("c");
    });
}

#[test]
fn a_mount_can_change_the_propagation_alone() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.mount(&json!({"destination": "/tmp", "type": "tmpfs", "source": "x"}));
        if rt.only_keg("others want a type") {
            bundle.mount(&json!({"destination": "/tmp", "options": ["shared"]}));
        } else {
            bundle.mount(&json!({"destination": "/tmp", "type": "none", "options": ["remount", "shared"]}));
            return;
        }
        let inside = bundle.probe(rt);
        let tags = inside.mount_at("/tmp").unwrap()["tags"].to_string();
        assert!(tags.contains("shared:"), "{tags}");
    });
}

/// A directory of the image with a file, a link, a directory of somebody's own.
fn furnish(bundle: &Bundle) {
    let dir = bundle.rootfs().join("var/data");
    fs::create_dir_all(dir.join("deep")).unwrap();
    fs::write(dir.join("file"), "content\n").unwrap();
    fs::set_permissions(dir.join("file"), PermissionsExt::from_mode(0o4751)).unwrap();
    symlink("file", dir.join("link")).unwrap();
    fs::write(dir.join("deep/inner"), "inner\n").unwrap();
    std::os::unix::fs::chown(dir.join("deep"), Some(7), Some(8)).unwrap();
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o1771)).unwrap();
}

#[test]
fn a_tmpfs_starts_with_a_copy_of_what_it_covers() {
    with_runtime(|rt| {
        if !rt.only_keg("others copy without owners or modes, or not at all") {
            return;
        }
        for options in [&["tmpcopyup"][..], &["tmpcopyup", "ro"], &["tmpcopyup", "size=1m", "nosuid"]] {
            let bundle = rt.bundle();
            furnish(&bundle);
            bundle.mount(
                &json!({"destination": "/var/data", "type": "tmpfs", "source": "t", "options": options}),
            );
            let script = "cd /var/data; cat file deep/inner; readlink link; stat -c '%a %u %g' . file deep; \
                          touch new 2>/dev/null && echo written";
            bundle.shell(script);
            let written = if options.contains(&"ro") { "" } else { "written\n" };
            let expected = format!("content\ninner\nfile\n1771 0 0\n4751 0 0\n755 7 8\n{written}");
            let out = rt.command(&["run", "--bundle", &bundle.arg(), "c"]).run().stdout();
            assert_eq!(out, expected, "{options:?}");
            assert!(!bundle.rootfs().join("var/data/new").exists());
            assert!(bundle.probe(rt).mount_at("/var/data").is_some());
        }
    });
}

#[test]
fn a_tmpfs_has_the_mode_of_what_it_covers_unless_it_is_given_one() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        furnish(&bundle);
        for (place, options) in [("/var/data", json!([])), ("/var/data/deep", json!(["mode=0711"]))] {
            bundle.mount(&json!({"destination": place, "type": "tmpfs", "source": "t", "options": options}));
        }
        bundle.shell("stat -c %a /var/data /var/data/deep");
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), "1771\n711\n");
    });
}

#[test]
fn a_symlink_as_source_is_followed_copied_or_refused() {
    with_runtime(|rt| {
        if !rt.only_keg("the options are of keg and crun, and differ") {
            return;
        }
        let (file, link) = (rt.dir().join("file"), rt.dir().join("link"));
        fs::write(&file, "content\n").unwrap();
        symlink("file", &link).unwrap();
        let mount = |options: &[&str]| {
            let bundle = rt.bundle();
            bundle
                .mount(&json!({"destination": "/run/x", "type": "bind", "source": link, "options": options}));
            bundle.shell("readlink /run/x; stat -c %F /run/x; cat /run/x 2>/dev/null");
            bundle
        };
        let out =
            |options: &[&str]| rt.command(&["run", "--bundle", &mount(options).arg(), "c"]).run().stdout();
        assert_eq!(out(&["bind"]), "regular file\ncontent\n");
        assert_eq!(out(&["bind", "copy-symlink"]), "file\nsymbolic link\n");
        let bundle = mount(&["bind", "src-nofollow"]);
        assert_eq!(
            rt.command(&["run", "--bundle", &bundle.arg(), "c"]).run().stdout(),
            "file\nsymbolic link\n"
        );
        assert!(bundle.rootfs().join("run/x").is_file(), "the link is mounted, not made");
        let bundle = mount(&["bind", "copy-symlink"]);
        symlink("other", bundle.rootfs().join("run/x")).unwrap();
        rt.create(&bundle, "c").fails_with("another symlink exists");
        rt.assert_gone("c");
    });
}

#[test]
fn a_symlink_as_destination_is_followed_inside_or_not_at_all() {
    with_runtime(|rt| {
        if !rt.only_keg("the option is of keg and crun, and differs") {
            return;
        }
        let source = nested(rt);
        let mount = |options: Value| {
            let bundle = rt.bundle();
            symlink("/tmp", bundle.rootfs().join("link")).unwrap();
            bundle.mount(
                &json!({"destination": "/link", "type": "bind", "source": source, "options": options}),
            );
            bundle
                .mount(&json!({"destination": "/new", "type": "bind", "source": source, "options": options}));
            bundle
        };
        let inside = mount(json!(["bind"])).probe(rt);
        assert!(
            inside.mount_at("/tmp").is_some() && inside.mount_at("/new").is_some(),
            "{}",
            inside["mounts"]
        );
        let bundle = mount(json!(["bind", "dest-nofollow"]));
        rt.create(&bundle, "c").fails_with("too many levels of symbolic links");
        rt.assert_gone("c");
        fs::remove_file(bundle.rootfs().join("link")).unwrap();
        fs::create_dir(bundle.rootfs().join("link")).unwrap();
        let inside = bundle.probe(rt);
        assert!(
            inside.mount_at("/link").is_some() && inside.mount_at("/new").is_some(),
            "{}",
            inside["mounts"]
        );
        unmount(rt, &source);
    });
}

#[test]
fn a_socket_gets_a_file_to_be_mounted_on() {
    with_runtime(|rt| {
        let socket = rt.dir().join("agent.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        let bundle = rt.bundle();
        bundle.mount(
            &json!({"destination": "/run/agent/agent.sock", "type": "bind", "source": socket, "options": ["bind"]}),
        );
        bundle.shell("stat -c %F /run/agent/agent.sock");
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), "socket\n");
        let made = fs::metadata(bundle.rootfs().join("run/agent/agent.sock")).unwrap();
        assert!(made.is_file() && made.size() == 0);
    });
}

#[test]
fn a_directory_is_not_mounted_on_a_file_and_a_file_not_on_a_directory() {
    with_runtime(|rt| {
        let file = rt.dir().join("file");
        fs::write(&file, "").unwrap();
        for (source, destination) in [(rt.dir().to_owned(), "/etc/passwd"), (file, "/etc")] {
            let bundle = rt.bundle();
            bundle.mount(
                &json!({"destination": destination, "type": "bind", "source": source, "options": ["bind"]}),
            );
            rt.create(&bundle, "c").fails_with(destination);
            rt.assert_gone("c");
        }
    });
}

/// Below a `/dev` that keg has just mounted there is a shorter way. It comes to the same.
#[test]
fn file_systems_below_dev_are_the_same_whichever_way_they_are_made() {
    with_runtime(|rt| {
        let table = |options: &[&str]| {
            let bundle = rt.bundle();
            bundle.edit(|c| {
                for mount in c["mounts"].as_array_mut().unwrap() {
                    let destination = mount["destination"].as_str().unwrap();
                    if ["/dev/pts", "/dev/shm", "/dev/mqueue"].contains(&destination) {
                        mount["options"]
                            .as_array_mut()
                            .unwrap()
                            .extend(options.iter().map(|option| json!(option)));
                    }
                }
            });
            // Without the numbers of mounts and devices.
            bundle.shell("grep -E ' /dev/(pts|shm|mqueue) ' /proc/self/mountinfo | cut -d' ' -f4- && stat -c '%n %A %u %g' /dev/pts /dev/shm /dev/mqueue /dev/pts/ptmx");
            rt.run(&bundle, "c").ok().stdout()
        };
        let (short, long) = (table(&[]), table(&["rprivate"]));
        assert_eq!(short, long);
        assert_eq!(short.lines().count(), 7, "{short}");
    });
}

/// What the file system says of an option is told where one call would only say that something is wrong.
#[test]
fn a_wrong_option_is_named_below_dev_too() {
    with_runtime(|rt| {
        for destination in ["/dev/new", "/new"] {
            let bundle = rt.bundle();
            let options = ["mode=755", "size=nonsense"];
            bundle.mount(&json!({"destination": destination, "type": "tmpfs", "options": options}));
            let said = rt.run(&bundle, "c").fails_with("size");
            if rt.only_keg("others have their own words") {
                let text = format!(
                    "\"tmpfs\" to \"{destination}\" (mounts[7]): fsconfig(tmpfs, \"size\", \"nonsense\")"
                );
                assert!(said.contains(&text), "{said}");
            }
        }
    });
}
