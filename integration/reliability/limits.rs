//! keg itself is short of descriptors, processes or memory: it works or it says so.

use std::fs;

use harness::{Host, Runtime, json, with_runtime};

/// Under a limit `run` works, or fails in one line and leaves nothing.
fn under(rt: &Runtime, limit: &str) -> bool {
    let before = Host::look(rt);
    let bundle = rt.bundle();
    // None may be raised again.
    bundle.edit(|c| c["process"]["rlimits"] = json!([]));
    let done = rt.command(&["run", "--bundle", &bundle.arg(), "c"]).inside(&["prlimit", limit]).run();
    let message = done.stderr();
    assert!(!message.contains("panicked"), "{limit}: {}", done.describe());
    if !done.status.success() && done.status.code().is_some() {
        assert_eq!(message.trim_end().lines().count(), 1, "{limit}: {}", done.describe());
    }
    rt.delete_force("c");
    before.assert_same(rt);
    done.status.success()
}

#[test]
fn few_descriptors() {
    with_runtime(|rt| {
        if !rt.only_keg("others hang or say more than a line") {
            return;
        }
        let enough: Vec<_> = [4, 6, 8, 10, 12, 16, 24, 64]
            .into_iter()
            .filter(|n| under(rt, &format!("--nofile={n}:{n}")))
            .collect();
        assert!(enough.contains(&64), "64 descriptors are not enough");
    });
}

#[test]
fn little_memory() {
    with_runtime(|rt| {
        if !rt.only_keg("others need more") {
            return;
        }
        let mega = |n: u64| format!("--as={}", n << 20);
        let enough: Vec<_> = [1, 4, 8, 16, 32, 64].into_iter().filter(|n| under(rt, &mega(*n))).collect();
        assert!(enough.contains(&64), "64 MiB of addresses are not enough");
    });
}

/// Each source is open no longer than it must be.
#[test]
fn a_thousand_mounts_with_few_descriptors() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["root"]["readonly"] = json!(false));
        let source = rt.dir().join("source");
        fs::create_dir_all(&source).unwrap();
        let mounts: Vec<_> = (0..1000)
            .map(|n| json!({"destination": format!("/many/{n}"), "source": source, "options": ["rbind", "ro"]}))
            .collect();
        bundle.edit(|c| c["mounts"].as_array_mut().unwrap().extend(mounts));
        bundle.shell("ls /many | wc -l");
        let limited = ["prlimit", "--nofile=256:256"];
        bundle.edit(|c| c["process"]["rlimits"] = json!([]));
        let done = rt.command(&["run", "--bundle", &bundle.arg(), "c"]).inside(&limited).run().ok();
        assert_eq!(done.stdout().trim(), "1000");
    });
}

/// Limits of the container are for the container: what keg and init do before its program is not bound by them.
#[test]
fn a_container_with_tight_limits_starts() {
    with_runtime(|rt| {
        for (name, value) in
            [("RLIMIT_NPROC", 1), ("RLIMIT_FSIZE", 0), ("RLIMIT_NOFILE", 8), ("RLIMIT_CORE", 0)]
        {
            let bundle = rt.bundle();
            bundle.edit(|c| c["process"]["rlimits"] = json!([{"type": name, "soft": value, "hard": value}]));
            rt.create(&bundle, "c").ok();
            rt.start("c").ok();
            rt.wait_stopped("c");
            rt.delete("c").ok();
        }
    });
}
