//! Wrong input: one line that names the step and the cause, exit status 1, nothing left behind.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use harness::{Bundle, Host, Runtime, json, with_runtime};

/// `create` and `run` both refuse; the message is one line that holds every text; the host looks as before.
fn refused(rt: &Runtime, bundle: &Bundle, texts: &[&str]) {
    let before = Host::look(rt);
    for command in ["create", "run"] {
        let message = rt.command(&[command, "--bundle", &bundle.arg(), "c"]).run().fails_with("");
        if rt.kind() == harness::peers::Kind::Keg {
            assert_eq!(message.trim_end().lines().count(), 1, "{message}");
            for text in texts {
                assert!(message.contains(text), "no {text:?} in {message}");
            }
        }
        rt.assert_gone("c");
        before.assert_same(rt);
    }
}

#[test]
fn no_config() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        fs::remove_file(bundle.path().join("config.json")).unwrap();
        refused(rt, &bundle, &["config.json", "no such file or directory"]);
    });
}

#[test]
fn broken_json() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        for text in
            ["", "{", "[]", "{\"ociVersion\": 1}", "\u{0}", "{\"ociVersion\": \"1.0.2\", \"process\": []}"]
        {
            fs::write(bundle.path().join("config.json"), text).unwrap();
            refused(rt, &bundle, &["config.json"]);
        }
    });
}

#[test]
fn a_config_that_is_no_regular_file() {
    with_runtime(|rt| {
        if !rt.only_keg("others wait for a writer, or read without end") {
            return;
        }
        let bundle = rt.bundle();
        let config = bundle.path().join("config.json");
        fs::remove_file(&config).unwrap();
        nix::unistd::mkfifo(&config, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        refused(rt, &bundle, &["config.json"]);
        fs::remove_file(&config).unwrap();
        symlink("/dev/zero", &config).unwrap();
        refused(rt, &bundle, &["config.json"]);
    });
}

#[test]
fn a_missing_root() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["root"]["path"] = json!("no-such-root"));
        refused(rt, &bundle, &["no-such-root", "no such file or directory"]);
        bundle.edit(|c| c["root"]["path"] = json!("config.json"));
        refused(rt, &bundle, &["config.json", "not a directory"]);
    });
}

#[test]
fn no_bundle() {
    with_runtime(|rt| {
        let message =
            rt.command(&["create", "--bundle", "/no/such/bundle", "c"]).run().fails_with("/no/such/bundle");
        assert!(
            message.contains("no such file or directory") || message.contains("No such file"),
            "{message}"
        );
    });
}

#[test]
fn a_bad_id() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let long = "x".repeat(300);
        for id in ["", ".", "..", "a/b", "../x", "a b", "ä", "a\n", long.as_str()] {
            let done = rt.command(&["create", "--bundle", &bundle.arg(), id]).run();
            assert_ne!(done.status.code(), Some(0), "{id:?}");
            if rt.kind() == harness::peers::Kind::Keg {
                let message = done.fails_with("invalid container ID format");
                assert_eq!(message.lines().count(), 1, "{message}");
            }
        }
        assert!(Host::look(rt).containers.is_empty());
    });
}

#[test]
fn an_existing_id() {
    with_runtime(|rt| {
        let (first, second) = (rt.bundle(), rt.bundle());
        rt.create(&first, "c").ok();
        let pid = rt.pid("c");
        let message = rt.create(&second, "c").fails_with("container with given ID already exists");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert_eq!((rt.status("c"), rt.pid("c")), ("created".into(), pid), "the first one is untouched");
    });
}

#[test]
fn an_unknown_signal() {
    with_runtime(|rt| {
        rt.create(&rt.bundle(), "c").ok();
        for signal in ["NONSENSE", "SIGNONSENSE", "9x"] {
            rt.kill("c", signal).fails_with("unknown signal");
        }
        rt.kill("c", "99").fails_with("");
        assert_eq!(rt.status("c"), "created");
    });
}

#[test]
fn a_missing_program() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.args(&["no-such-program"]);
        refused(rt, &bundle, &["exec: \"no-such-program\": executable file not found in $PATH"]);
        bundle.args(&["/no/such/program"]);
        refused(
            rt,
            &bundle,
            &["exec: \"/no/such/program\": stat /no/such/program: no such file or directory"],
        );
    });
}

#[test]
fn a_program_that_cannot_be_executed() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        fs::write(bundle.rootfs().join("text"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(bundle.rootfs().join("text"), PermissionsExt::from_mode(0o644)).unwrap();
        bundle.args(&["/text"]);
        refused(rt, &bundle, &["exec: \"/text\": permission denied"]);
        bundle.args(&["/etc"]);
        refused(rt, &bundle, &["/etc", "is a directory"]);
        bundle.args(&[]);
        refused(rt, &bundle, &["args must not be empty"]);
    });
}

#[test]
fn a_bad_namespace() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.namespace(&json!({"type": "network", "path": "/no/such/namespace"}));
        refused(rt, &bundle, &["/no/such/namespace", "no such file or directory"]);
        bundle.namespace(&json!({"type": "network", "path": "/proc/self/ns/uts"}));
        refused(rt, &bundle, &["/proc/self/ns/uts", "network"]);
        let bundle = rt.bundle();
        bundle.namespace(&json!({"type": "nonsense"}));
        refused(rt, &bundle, &["nonsense"]);
    });
}

#[test]
fn an_unmapped_user() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.namespace(&json!({"type": "user"}));
        bundle.edit(|c| {
            let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
            c["linux"]["uidMappings"] = map.clone();
            c["linux"]["gidMappings"] = map;
            c["process"]["user"] = json!({"uid": 5000, "gid": 0});
        });
        refused(rt, &bundle, &["5000"]);
    });
}

#[test]
fn a_state_directory_that_cannot_be_written() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let root = rt.dir().join("read-only").display().to_string();
        fs::create_dir(&root).unwrap();
        rt.program(&["mount", "-t", "tmpfs", "-o", "ro,size=64k", "none", &root]).run().ok();
        let binary = rt.binary().display().to_string();
        let done = rt.program(&[&binary, "--root", &root, "create", "--bundle", &bundle.arg(), "c"]).run();
        let message = done.fails_with("read-only file system");
        assert_eq!(message.lines().count(), 1, "{message}");
        rt.program(&["umount", &root]).run().ok();
        let file = rt.dir().join("file").display().to_string();
        fs::write(&file, "").unwrap();
        let done = rt.program(&[&binary, "--root", &file, "create", "--bundle", &bundle.arg(), "c"]).run();
        done.fails_with("not a directory");
    });
}

#[test]
fn versions_that_are_none_or_of_another_major() {
    with_runtime(|rt| {
        if !rt.only_keg("others accept any text") {
            return;
        }
        let bundle = rt.bundle();
        for version in ["", "x", "1", "1.0", "2.0.0", "0.9.0", "1.0.0 "] {
            bundle.edit(|c| c["ociVersion"] = json!(version));
            refused(rt, &bundle, &["ociVersion"]);
        }
        for version in ["1.0.0", "1.0.2-dev", "1.3.0", "1.99.0+meta"] {
            bundle.edit(|c| c["ociVersion"] = json!(version));
            rt.run(&bundle, "c").ok();
        }
    });
}

#[test]
fn a_config_beyond_its_limits() {
    with_runtime(|rt| {
        if !rt.only_keg("others have no limits") {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["annotations"] = json!({"big": "x".repeat(17 << 20)}));
        refused(rt, &bundle, &["config.json"]);
        let bundle = rt.bundle();
        let text = fs::read_to_string(bundle.path().join("config.json")).unwrap();
        let deep = format!("{{\"x\": {}{}, {}", "[".repeat(200), "]".repeat(200), &text[1..]);
        fs::write(bundle.path().join("config.json"), deep).unwrap();
        refused(rt, &bundle, &["config.json"]);
    });
}

#[test]
fn a_nul_in_a_string() {
    with_runtime(|rt| {
        if !rt.only_keg("others cut the string there") {
            return;
        }
        let bundle = rt.bundle();
        bundle.args(&["/bin/true", "a\u{0}b"]);
        refused(rt, &bundle, &[]);
        let bundle = rt.bundle();
        bundle.edit(|c| c["process"]["env"] = json!(["A=b\u{0}c"]));
        refused(rt, &bundle, &[]);
    });
}

#[test]
fn links_where_a_directory_must_be() {
    with_runtime(|rt| {
        if !rt.only_keg("others follow them") {
            return;
        }
        for name in ["dev", "proc", "sys"] {
            let bundle = rt.bundle();
            fs::remove_dir(bundle.rootfs().join(name)).unwrap();
            symlink("tmp", bundle.rootfs().join(name)).unwrap();
            refused(rt, &bundle, &[&format!("/{name}")]);
        }
    });
}

#[test]
fn a_mount_target_through_a_magic_link() {
    with_runtime(|rt| {
        if !rt.only_keg("others follow it, or use other words") {
            return;
        }
        let bundle = rt.bundle();
        symlink("/proc/1/root/tmp", bundle.rootfs().join("target")).unwrap();
        bundle.mount(&json!({"destination": "/target", "type": "tmpfs", "source": "mine"}));
        refused(rt, &bundle, &["/target", "too many levels of symbolic links"]);
    });
}
