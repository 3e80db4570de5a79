//! What the host must not leave open to the container: descriptors, the working directory, the root
//! (CVE-2016-9962, CVE-2024-21626, runc#2404).

use std::fs;

use harness::{Host, json, with_runtime};

#[test]
fn cwd_through_a_descriptor_of_the_runtime_stays_inside() {
    with_runtime(|rt| {
        let mut entered = Vec::new();
        for number in 0..24 {
            let bundle = rt.bundle();
            bundle.edit(|c| c["process"]["cwd"] = json!(format!("/proc/self/fd/{number}")));
            bundle.shell(
                "ls -d ../../../../../../../../etc/debian_version ./etc/debian_version 2>/dev/null; exit 0",
            );
            let done = rt.run(&bundle, "c");
            if done.stdout().contains("debian_version") {
                entered.push(number);
            }
            rt.delete_force("c");
        }
        assert!(entered.is_empty(), "the host's root is reached through descriptors {entered:?}");
    });
}

#[test]
fn a_program_through_a_descriptor_of_the_runtime_is_not_found() {
    with_runtime(|rt| {
        for number in 3..16 {
            let bundle = rt.bundle();
            bundle.args(&[&format!("/proc/self/fd/{number}/bin/ls")]);
            let done = rt.run(&bundle, "c");
            assert!(!done.status.success(), "{}", done.describe());
            rt.delete_force("c");
        }
    });
}

/// Other processes of the container look into init while it joins them.
#[test]
fn cve_2016_9962() {
    with_runtime(|rt| {
        // A container that shares its pid namespace watches the init of another while that one is created.
        let watcher = rt.bundle();
        watcher.edit(|c| c["process"]["noNewPrivileges"] = json!(false));
        watcher.shell(
            "while :; do for f in /proc/[0-9]*/fd/* /proc/[0-9]*/cwd; do \
                       [ -e $f/etc/debian_version ] && echo found $f; done; done 2>/dev/null",
        );
        let out = rt.create(&watcher, "watcher").ok();
        rt.start("watcher").ok();
        let path = format!("/proc/{}/ns/pid", rt.pid("watcher"));
        for _ in 0..20 {
            let victim = rt.bundle();
            victim.namespace(&json!({"type": "pid", "path": path}));
            rt.run(&victim, "victim").ok();
        }
        assert_eq!(out.stdout(), "");
    });
}

/// A host whose mounts are shared: runc#2404.
#[test]
fn nothing_is_mounted_on_a_host_that_shares_its_mounts() {
    with_runtime(|rt| {
        rt.program(&["mount", "--make-rshared", "/"]).run().ok();
        let before = Host::look(rt).mounts;
        for propagation in [None, Some("rslave"), Some("rprivate"), Some("slave")] {
            let bundle = rt.bundle();
            bundle.edit(|c| c["linux"]["rootfsPropagation"] = json!(propagation));
            if propagation.is_none() {
                bundle.edit(|c| {
                    c["linux"].as_object_mut().unwrap().remove("rootfsPropagation");
                });
            }
            rt.create(&bundle, "c").ok();
            assert_eq!(Host::look(rt).mounts, before, "{propagation:?}");
            rt.start("c").ok();
            rt.wait_stopped("c");
            rt.delete("c").ok();
        }
        rt.program(&["mount", "--make-rprivate", "/"]).run().ok();
    });
}

#[test]
fn init_is_not_dumpable_before_the_program_runs() {
    with_runtime(|rt| {
        if !rt.only_keg("others differ") {
            return;
        }
        rt.create(&rt.bundle(), "c").ok();
        let owner = std::os::unix::fs::MetadataExt::uid(
            &fs::metadata(format!("/proc/{}/environ", rt.pid("c"))).unwrap(),
        );
        assert_eq!(owner, 0);
        let words = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "readlink"];
        let exe = format!("/proc/{}/exe", rt.pid("c"));
        let done = rt.program(&[&words[..], &[exe.as_str()]].concat()).run();
        assert!(!done.status.success(), "{}", done.describe());
    });
}
