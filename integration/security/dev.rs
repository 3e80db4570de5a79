//! Device nodes, the console and the standard streams: nothing is made, opened or given away behind a link of the image.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

use harness::{Bundle, Runtime, json, with_runtime};

use super::blocks::{decoy, picture, swap, unreachable, with_link, writable};

/// Only a proc: what the image has in `/dev` is not covered.
fn bare(bundle: &Bundle) {
    bundle.edit(|c| c["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] == "/proc"));
}

/// Creates and starts with a terminal that nobody fetches, whatever comes of it.
fn with_terminal(rt: &Runtime, bundle: &Bundle) {
    let socket = rt.dir().join("console.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    bundle.edit(|c| c["process"]["terminal"] = json!(true));
    let words = ["create", "--bundle", &bundle.arg(), "--console-socket", socket.to_str().unwrap(), "c"]
        .map(str::to_owned);
    if rt.command(&words).run().status.success() {
        rt.start("c");
    }
    rt.delete_force("c");
    drop(listener);
    fs::remove_file(socket).unwrap();
}

/// `/dev/console` is a link to a file that does not exist, or to one that does.
#[test]
fn cve_2026_88264() {
    with_runtime(|rt| {
        let decoy = decoy(rt);
        let before = picture(&decoy);
        for target in ["new-console", "console"] {
            for readonly in [false, true] {
                let bundle = with_link(rt, "dev/console", &decoy.join(target));
                bare(&bundle);
                bundle.edit(|c| c["root"]["readonly"] = json!(readonly));
                with_terminal(rt, &bundle);
                assert_eq!(picture(&decoy), before, "{target}, read-only {readonly}");
            }
        }
    });
}

/// The terminal's peer is exchanged before it becomes the console.
#[test]
fn cve_2025_52565() {
    with_runtime(|rt| {
        let decoy = decoy(rt);
        let before = picture(&decoy);
        for name in ["pts/0", "ptmx", "console"] {
            let bundle = writable(rt);
            let path = bundle.rootfs().join("dev").join(name);
            let script = format!("rm -f {0}; ln -s {1}/file {0}", path.display(), decoy.display());
            swap(&bundle, "createContainer", &script);
            with_terminal(rt, &bundle);
            assert_eq!(picture(&decoy), before, "{name}");
        }
    });
}

/// Standard streams of every kind, a link at `/dev/null`, and a user who is to own the streams.
#[test]
fn cve_2026_88265() {
    with_runtime(|rt| {
        let decoy = decoy(rt);
        let null = || {
            let meta = fs::metadata("/dev/null").unwrap();
            (meta.uid(), meta.gid(), meta.mode())
        };
        let (picture_before, null_before) = (picture(&decoy), null());
        for user in [0, 1000] {
            for target in ["null", "file", "new"] {
                let bundle = with_link(rt, "dev/null", &decoy.join(target));
                bare(&bundle);
                bundle.edit(|c| c["process"]["user"] = json!({"uid": user, "gid": user}));
                for streams in ["", "</dev/null >/dev/null 2>/dev/null", "<>/dev/null"] {
                    let command = rt.command(&["run", "--bundle", &bundle.arg(), "c"]);
                    if streams.is_empty() { command } else { command.redirect(streams) }.run();
                    rt.delete_force("c");
                }
                unreachable(rt, &bundle, &decoy, target);
                assert_eq!(picture(&decoy), picture_before, "{target}, user {user}");
                assert_eq!(null(), null_before, "the host's /dev/null");
            }
        }
    });
}

/// A device in a volume is made as itself, whoever may exchange it there for a link meanwhile.
#[test]
fn a_device_in_a_volume_is_not_made_behind_a_link() {
    with_runtime(|rt| {
        let decoy = decoy(rt);
        let volume = rt.dir().join("volume");
        fs::create_dir_all(&volume).unwrap();
        std::os::unix::fs::symlink(decoy.join("file"), volume.join("node")).unwrap();
        let bundle = writable(rt);
        bundle.mount(&json!({"destination": "/vol", "source": volume, "options": ["rbind", "rw"]}));
        bundle.edit(|c| {
            let node = json!({"path": "/vol/node", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 7});
            c["linux"]["devices"] = json!([node]);
        });
        unreachable(rt, &bundle, &decoy, "a device behind a link");
    });
}
