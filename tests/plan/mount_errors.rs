//! Mistakes in mounts and id mappings, each with the one line that a person gets to see.

use serde_json::{Value, json};

use crate::{plan_on, planned, root, rootless, with};

#[test]
fn mounts() {
    let refused = |mount: Value| {
        let error = planned(&with(&[("/mounts", json!([mount]))])).map(|_| ()).unwrap_err();
        error.strip_prefix("config.json: mounts[0]").map(str::to_owned).unwrap_or(error)
    };
    for (mount, expected) in [
        (json!({"type": "tmpfs"}), ".destination: missing, but required"),
        (json!({"destination": "", "type": "tmpfs"}), ".destination: empty"),
        (json!({"destination": "/a"}), ".type: neither a type nor the option bind or rbind"),
        (json!({"destination": "/a", "type": "bind"}), ".source: missing: a bind mount needs one"),
        (
            json!({"destination": "/a", "source": "/b", "options": ["ro", "rbind", "nosiud"]}),
            ".options[2]: \"nosiud\" is no mount option, and a bind mount takes no data",
        ),
        (
            json!({"destination": "/a", "type": "proc", "options": ["tmpcopyup"]}),
            ".options: tmpcopyup is for tmpfs alone",
        ),
        (
            json!({"destination": "/", "type": "tmpfs"}),
            ".destination: nothing can be mounted over the root itself",
        ),
        (
            json!({"destination": "/proc/../proc/kcore", "source": "/x", "options": ["bind"]}),
            ".destination: \"/proc/kcore\" cannot be mounted because it is inside /proc",
        ),
        (
            json!({"destination": "proc/sys", "type": "tmpfs"}),
            ".destination: \"/proc/sys\" cannot be mounted because it is inside /proc",
        ),
        (
            json!({"destination": "/a", "source": "/x", "options": ["bind", "idmap"]}),
            ".options: idmap without mappings means those of the container's user namespace, but it has none",
        ),
        (
            json!({"destination": "/a", "source": "/x", "options": ["bind"],
                "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}),
            ".gidMappings: required together with uidMappings",
        ),
        (
            json!({"destination": "/a", "type": "tmpfs",
                "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}],
                "gidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}),
            ": id mappings are for bind mounts alone",
        ),
        (
            json!({"destination": "/a", "source": "/x", "options": ["bind", "idmap=uids=0-1;gids=0-1-2"]}),
            ".options: idmap: \"0-1\" is not three numbers as in 0-1000-10",
        ),
        (
            json!({"destination": "/a", "source": "/x", "options": ["bind", "idmap=uids=0-1-2"]}),
            ".options: idmap: both uids= and gids= are required",
        ),
    ] {
        assert_eq!(refused(mount), expected);
    }
}

#[test]
fn user_namespaces() {
    let one = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let base = [
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "user"}])),
        ("/linux/uidMappings", one.clone()),
        ("/linux/gidMappings", one),
    ];
    let error = |host, pointer: &str, value: Value| {
        let mut changes = base.to_vec();
        changes.push((pointer, value));
        plan_on(with(&changes).to_string().as_bytes(), &host).map(|_| ()).unwrap_err()
    };
    for (pointer, value, expected) in [
        ("/process/user/uid", json!(5), "process.user.uid: uid 5 is not mapped in the user namespace"),
        ("/process/user/gid", json!(6), "process.user.gid: gid 6 is not mapped in the user namespace"),
        (
            "/process/user/additionalGids",
            json!([0, 7]),
            "process.user.additionalGids[1]: gid 7 is not mapped in the user namespace",
        ),
        (
            "/linux/gidMappings",
            json!([]),
            "linux.gidMappings: missing: a user namespace needs mappings of users and of groups",
        ),
        (
            "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": 0, "size": 10}, {"containerID": 9, "hostID": 20, "size": 1}]),
            "linux.uidMappings[1]: overlaps linux.uidMappings[0]",
        ),
        (
            "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": 0, "size": 0}]),
            "linux.uidMappings[0].size: maps nothing",
        ),
        (
            "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": u32::MAX, "size": 2}]),
            "linux.uidMappings[0]: reaches beyond the largest id, 4294967294",
        ),
        (
            "/mounts",
            json!([{"destination": "/dev/pts", "type": "devpts", "options": ["newinstance", "gid=5"]}]),
            "mounts[0].options[1]: gid 5 is not mapped in the user namespace",
        ),
    ] {
        assert_eq!(error(root(), pointer, value), format!("config.json: {expected}"));
    }
    let expected = "config.json: process.user.additionalGids: setgroups is denied in a user namespace with only \
                    one's own group mapped";
    assert_eq!(error(rootless(), "/process/user/additionalGids", json!([0])), expected);
    let changes = [("/linux/namespaces", json!([{"type": "mount"}, {"type": "user"}]))];
    let expected =
        "config.json: linux.uidMappings: missing: a user namespace needs mappings of users and of groups";
    assert_eq!(planned(&with(&changes)).map(|_| ()).unwrap_err(), expected);
    let error = plan_on(crate::base().to_string().as_bytes(), &rootless()).unwrap_err();
    assert_eq!(error, "config.json: linux.namespaces: without root, a container needs a user namespace");
}
