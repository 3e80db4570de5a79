//! Masked and read-only paths hold whatever the image does to the files that runtimes make them with.

use std::fs;
use std::os::unix::fs::symlink;

use harness::{Bundle, Runtime, json, with_runtime};

use super::blocks::{decoy, race, swap, unreachable, writable};

/// A bundle that masks a file and a directory of its image, and shows what a program finds there.
fn masking(rt: &Runtime) -> Bundle {
    let bundle = writable(rt);
    fs::write(bundle.rootfs().join("etc/secret"), "secret\n").unwrap();
    fs::create_dir_all(bundle.rootfs().join("etc/secrets")).unwrap();
    fs::write(bundle.rootfs().join("etc/secrets/one"), "secret\n").unwrap();
    fs::write(bundle.rootfs().join("precious"), "precious\n").unwrap();
    bundle.edit(|c| {
        c["linux"]["maskedPaths"] = json!(["/etc/secret", "/etc/secrets"]);
        c["linux"]["readonlyPaths"] = json!(["/precious"]);
    });
    // Complaints go to stderr as they are: /dev/null may be anything here.
    bundle.shell(
        "cat /etc/secret; ls -A /etc/secrets; (echo x > /precious) && echo WRITTEN; \
         (echo x > /etc/secret); (echo x > /etc/secrets/new); cat /precious",
    );
    bundle
}

/// Either nothing runs, or all is covered.
#[track_caller]
fn covered(rt: &Runtime, bundle: &Bundle, what: &str) {
    let done = rt.run(bundle, "c");
    if done.status.success() {
        assert_eq!(done.stdout(), "precious\n", "{what}: {}", done.describe());
    }
    assert_eq!(fs::read_to_string(bundle.rootfs().join("precious")).unwrap(), "precious\n", "{what}");
    assert_eq!(fs::read_to_string(bundle.rootfs().join("etc/secret")).unwrap(), "secret\n", "{what}");
    rt.delete_force("c");
}

#[test]
fn masked_paths_are_covered_where_nobody_interferes() {
    with_runtime(|rt| {
        let bundle = masking(rt);
        rt.run(&bundle, "c").ok();
        covered(rt, &bundle, "as it is");
    });
}

/// The null device that covers files is replaced by a link after `/dev` was set up.
#[test]
fn cve_2025_31133() {
    with_runtime(|rt| {
        for to in ["/etc/shadow", "../etc/shadow", "/precious", "/proc/sys/kernel/hostname"] {
            let bundle = masking(rt);
            fs::write(bundle.rootfs().join("etc/shadow"), "shadow\n").unwrap();
            let null = bundle.rootfs().join("dev/null");
            let script = format!("rm -f {0}; ln -s {to} {0}", null.display());
            swap(&bundle, "createContainer", &script);
            covered(rt, &bundle, to);
            assert_eq!(fs::read_to_string(bundle.rootfs().join("etc/shadow")).unwrap(), "shadow\n");
        }
    });
}

/// As before, with any other file as the null device, and with none.
#[test]
fn cve_2025_62161() {
    with_runtime(|rt| {
        for how in ["rm -f NULL; echo leak > NULL", "rm -f NULL", "rm -f NULL; mknod NULL c 1 5"] {
            let bundle = masking(rt);
            let null = bundle.rootfs().join("dev/null").display().to_string();
            swap(&bundle, "createContainer", &how.replace("NULL", &null));
            covered(rt, &bundle, how);
        }
    });
}

/// A path that becomes a link while the container is made leads nowhere, and one that can't be covered stops it.
#[test]
fn cve_2023_28642() {
    with_runtime(|rt| {
        let decoy = decoy(rt);
        for list in ["maskedPaths", "readonlyPaths"] {
            let bundle = writable(rt);
            fs::write(bundle.rootfs().join("target"), "").unwrap();
            bundle.edit(|c| c["linux"][list] = json!(["/target"]));
            let target = bundle.rootfs().join("target");
            let script = format!("rm {0}; ln -s {1}/file {0}", target.display(), decoy.display());
            swap(&bundle, "createContainer", &script);
            unreachable(rt, &bundle, &decoy, list);
        }
    });
}

/// A neighbour exchanges the read-only path with a link while it is bound and remounted.
#[test]
fn ghsa_3q8j_pf29_vwv8() {
    with_runtime(|rt| {
        let decoy = decoy(rt);
        let shared = rt.dir().join("shared");
        fs::create_dir_all(shared.join("target")).unwrap();
        std::os::unix::fs::symlink(&decoy, shared.join("link")).unwrap();
        let bundle = writable(rt);
        bundle.mount(&json!({"destination": "/vol", "source": shared, "options": ["rbind", "rw"]}));
        bundle.edit(|c| {
            c["linux"]["readonlyPaths"] = json!(["/vol/target"]);
            c["linux"]["maskedPaths"] = json!(["/vol/target/self"]);
        });
        race(&shared.join("target"), &shared.join("link"), || {
            for _ in 0..8 {
                unreachable(rt, &bundle, &decoy, "in a shared volume");
            }
        });
    });
}

/// What hides a directory is put over what is there in the end, whatever covers what keg itself has mounted, and by whatever name.
#[test]
fn a_mask_covers_what_lies_on_top() {
    with_runtime(|rt| {
        let cover = rt.dir().join("cover");
        fs::create_dir_all(cover.join("firmware")).unwrap();
        fs::write(cover.join("firmware/secret"), "secret\n").unwrap();
        let prepare = |masked: &str| {
            let bundle = writable(rt);
            symlink("/", bundle.rootfs().join("top")).unwrap();
            symlink("sys", bundle.rootfs().join("alias")).unwrap();
            bundle.edit(|c| c["linux"]["maskedPaths"] = json!([masked]));
            bundle.shell("ls -A /sys/firmware; grep -c ' /sys/firmware ' /proc/self/mountinfo");
            bundle
        };
        for destination in ["/sys", "/top/sys", "/alias", "/top/alias"] {
            for masked in ["/sys/firmware", "/alias/firmware"] {
                let bundle = prepare(masked);
                bundle
                    .mount(&json!({"destination": destination, "source": cover, "options": ["rbind", "ro"]}));
                let done = rt.run(&bundle, "c").ok();
                assert_eq!(done.stdout(), "1\n", "{destination} {masked}: {}", done.describe());
            }
        }
        let bundle = prepare("/sys/firmware");
        let sys = bundle.rootfs().join("sys").display().to_string();
        swap(&bundle, "createContainer", &format!("mount --bind {} {sys}", cover.display()));
        let done = rt.run(&bundle, "c").ok();
        assert_eq!(done.stdout(), "1\n", "{}", done.describe());
    });
}

/// The cgroups go where their path leads inside, also where something else is mounted on the way.
#[test]
fn cgroups_are_mounted_inside_what_lies_on_top() {
    with_runtime(|rt| {
        let cover = rt.dir().join("cover");
        fs::create_dir_all(&cover).unwrap();
        symlink("/etc", cover.join("cgroup")).unwrap();
        for destination in ["/sys/fs", "/top/sys/fs", "/alias/fs"] {
            let bundle = writable(rt);
            symlink("/", bundle.rootfs().join("top")).unwrap();
            symlink("sys", bundle.rootfs().join("alias")).unwrap();
            bundle.edit(|c| {
                let mounts = c["mounts"].as_array_mut().unwrap();
                mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
            });
            bundle.mount(&json!({"destination": destination, "source": cover, "options": ["rbind", "ro"]}));
            bundle.mount(&json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"]}));
            bundle.shell("grep -c ' /etc ' /proc/self/mountinfo");
            let done = rt.run(&bundle, "c").ok();
            assert_eq!(done.stdout(), "1\n", "{destination}: {}", done.describe());
        }
    });
}

/// Devices are made in the `/dev` that the program sees.
#[test]
fn devices_are_made_in_what_lies_on_top() {
    with_runtime(|rt| {
        for destination in ["/dev", "/top/dev"] {
            let bundle = writable(rt);
            symlink("/", bundle.rootfs().join("top")).unwrap();
            bundle.mount(&json!({"destination": destination, "type": "tmpfs", "source": "second"}));
            bundle.mount(&json!({"destination": "/dev/shm", "type": "tmpfs", "options": ["mode=700"]}));
            bundle.shell(
                "test -c /dev/null && stat -c %a /dev/shm && grep -c ' - tmpfs second ' /proc/self/mountinfo",
            );
            let done = rt.run(&bundle, "c").ok();
            assert_eq!(done.stdout(), "700\n1\n", "{destination}: {}", done.describe());
        }
    });
}
