//! A process has the identity and the capabilities of config.json, not more: whatever the image's files say.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use harness::{Inside, Value, json, with_runtime};

use super::blocks::writable;

const NET_RAW: u64 = 1 << 13;
const KILL: u64 = 1 << 5;

fn sets(config: &mut Value, inheritable: &[&str], ambient: &[&str]) {
    let caps = ["CAP_KILL", "CAP_NET_RAW"];
    config["process"]["capabilities"] = json!({
        "bounding": caps, "permitted": caps, "effective": caps, "inheritable": inheritable, "ambient": ambient,
    });
}

/// The sets are those of config.json to the bit: nothing is inheritable that was not said to be, so that a file with inheritable
/// capabilities raises nothing.
#[test]
fn cve_2022_24769() {
    with_runtime(|rt| {
        let bundle = writable(rt);
        bundle.edit(|c| {
            sets(c, &[], &[]);
            c["process"]["noNewPrivileges"] = json!(false);
        });
        let inside = bundle.probe(rt);
        let all = ["Inh", "Prm", "Eff", "Bnd", "Amb"].map(|set| inside.caps(set));
        assert_eq!(all, [0, KILL | NET_RAW, KILL | NET_RAW, KILL | NET_RAW, 0]);

        // The same for a user, who runs a file with CAP_NET_RAW in its inheritable set and the effective bit (vfs_cap_data, version 2).
        let probe = bundle.rootfs().join("probe");
        let value = "0x0100000200000000002000000000000000000000";
        rt.program(&["setfattr", "-n", "security.capability", "-v", value, probe.to_str().unwrap()])
            .run()
            .ok();
        fs::set_permissions(&probe, PermissionsExt::from_mode(0o755)).unwrap();
        bundle.edit(|c| c["process"]["user"] = json!({"uid": 1000, "gid": 1000}));
        let inside = bundle.probe(rt);
        let all = ["Inh", "Prm", "Eff", "Bnd", "Amb"].map(|set| inside.caps(set));
        assert_eq!(all, [0, 0, 0, KILL | NET_RAW, 0]);
        // And it would raise it, were it inheritable: the file is what it should be.
        bundle.edit(|c| sets(c, &["CAP_NET_RAW"], &[]));
        let inside = bundle.probe(rt);
        assert_eq!((inside.caps("Inh"), inside.caps("Prm")), (NET_RAW, NET_RAW));
    });
}

/// A user who is not root keeps only what is ambient, and only the groups that were given.
#[test]
fn cve_2018_10856() {
    with_runtime(|rt| {
        for (ambient, left) in [(&[][..], 0), (&["CAP_KILL"][..], KILL)] {
            let bundle = rt.bundle();
            bundle.edit(|c| {
                sets(c, ambient, ambient);
                c["process"]["user"] = json!({"uid": 1000, "gid": 1001});
            });
            let inside = bundle.probe(rt);
            assert_eq!((inside.caps("Eff"), inside.caps("Prm"), inside.caps("Amb")), (left, left, left));
            assert_eq!(inside.status("Uid"), "1000 1000 1000 1000");
            assert_eq!(inside.status("Gid"), "1001 1001 1001 1001");
        }
    });
}

/// Groups of the caller, or of the image's files, are none of the process's.
#[test]
fn cve_2022_36109() {
    with_runtime(|rt| {
        let groups = |bundle: &harness::Bundle| {
            bundle.args(&["/probe"]);
            let words = ["setpriv", "--groups", "4,24,27,65534"];
            let done = rt.command(&["run", "--bundle", &bundle.arg(), "c"]).inside(&words).run().ok();
            Inside::parse(&done).status("Groups").to_owned()
        };
        for (uid, additional, expected) in
            [(1000, json!([]), ""), (1000, json!([7, 8]), "7 8"), (0, json!([9]), "9")]
        {
            let bundle = rt.bundle();
            fs::write(bundle.rootfs().join("etc/group"), "root:x:0:\ndisk:x:6:user,1000\n").unwrap();
            bundle.edit(|c| {
                c["process"]["user"] = json!({"uid": uid, "gid": uid, "additionalGids": additional})
            });
            assert_eq!(groups(&bundle), expected);
        }
    });
}

/// A user id is a number: a user of the image whose name looks like it changes nothing, and one out of range is refused.
#[test]
fn cve_2016_3697() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        fs::write(
            bundle.rootfs().join("etc/passwd"),
            "1000:x:0:0:root:/evil:/bin/sh\n4294967296:x:0:0::/evil:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n",
        )
        .unwrap();
        bundle.edit(|c| c["process"]["user"] = json!({"uid": 1000, "gid": 1000}));
        let inside = bundle.probe(rt);
        assert_eq!(
            (inside.status("Uid"), inside.status("Gid")),
            ("1000 1000 1000 1000", "1000 1000 1000 1000")
        );
        assert!(!inside["env"].as_array().unwrap().contains(&json!("HOME=/evil")), "{}", inside["env"]);
        for uid in [json!(-1), json!(4_294_967_296_u64), json!("0"), json!(1.5), json!("1000")] {
            bundle.edit(|c| c["process"]["user"] = json!({"uid": uid, "gid": 0}));
            assert!(!rt.run(&bundle, "c").status.success(), "{uid}");
            bundle.edit(|c| c["process"]["user"] = json!({"uid": 0, "gid": uid}));
            assert!(!rt.run(&bundle, "c").status.success(), "gid {uid}");
        }
    });
}
