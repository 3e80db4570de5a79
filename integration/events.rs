//! `events`: what a container uses, in the shape that clients parse, and that it ran out of memory.

use std::path::PathBuf;
use std::time::Duration;

use harness::host::hierarchies;
use harness::{Bundle, Running, Runtime, Value, json, wait_until, with_runtime};

/// Whether version 1 has the memory controller, or version 2 does.
fn has_memory() -> bool {
    let listed =
        |mount: &PathBuf| std::fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    let there = hierarchies().iter().any(|mount| {
        mount.ends_with("memory")
            || hierarchies().len() == 1 && listed(mount).split_whitespace().any(|c| c == "memory")
    });
    if !there {
        eprintln!("skipped: no memory controller here");
    }
    there
}

fn started(rt: &Runtime, script: &str) -> Bundle {
    let bundle = rt.bundle();
    bundle.shell(script);
    rt.create(&bundle, "c").ok();
    rt.start("c").ok();
    bundle
}

fn lines(events: &Running) -> Vec<Value> {
    // The last line may be half there.
    let text = events.stdout();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn stats_have_the_shape_that_clients_parse() {
    with_runtime(|rt| {
        if !has_memory() {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| {
            c["linux"]["resources"]["memory"] = json!({"limit": 134_217_728});
            c["linux"]["resources"]["pids"] = json!({"limit": 33});
        });
        bundle.shell("n=0; while [ $n -lt 50000 ]; do n=$((n+1)); done; sleep 1000 & wait");
        rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        let stats = || {
            let out = rt.command(&["events", "--stats", "c"]).run().ok();
            assert_eq!((out.stdout().lines().count(), out.stderr().as_str()), (1, ""));
            out.json()
        };
        wait_until("two processes", Duration::from_secs(20), || stats()["data"]["pids"]["current"] == 2);
        let event = stats();
        assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!("c")));
        let data = &event["data"];
        let count = |path: &str| {
            data.pointer(path)
                .and_then(Value::as_u64)
                .unwrap_or_else(|| panic!("no number at {path}: {data}"))
        };
        assert!(count("/cpu/usage/total") > 1_000_000);
        count("/cpu/usage/kernel");
        count("/cpu/usage/user");
        assert!(data["cpu"]["throttling"].is_object());
        assert_eq!(count("/memory/usage/limit"), 134_217_728);
        assert!(count("/memory/usage/usage") > 0);
        assert!(count("/memory/usage/max") >= count("/memory/usage/usage") / 2);
        assert_eq!(count("/memory/usage/failcnt"), 0);
        assert!(count("/memory/swap/limit") >= 134_217_728);
        assert!(data["memory"]["raw"].as_object().unwrap().values().all(Value::is_u64));
        assert_eq!(count("/pids/limit"), 33);
        assert!(data["blkio"].is_object() && data["hugetlb"].is_object());
        rt.delete_force("c");
    });
}

#[test]
fn pressure_is_shown_where_the_kernel_has_it() {
    with_runtime(|rt| {
        if !rt.only_keg("newer than Debian 12's versions") {
            return;
        }
        let bundle = started(rt, "sleep 1000");
        let cgroup = bundle.cgroup();
        let file = |name: &str| {
            hierarchies().iter().any(|mount| std::fs::read(mount.join(&cgroup[1..]).join(name)).is_ok())
        };
        let data = rt.command(&["events", "--stats", "c"]).run().ok().json()["data"].clone();
        for (part, name) in [("cpu", "cpu.pressure"), ("memory", "memory.pressure"), ("blkio", "io.pressure")]
        {
            let psi = &data[part]["psi"];
            assert_eq!(
                psi["some"]["total"].is_u64() && psi["some"]["avg10"].is_f64(),
                file(name),
                "{part}: {psi}"
            );
        }
        rt.delete_force("c");
    });
}

#[test]
fn stats_come_at_every_interval_until_the_container_ends() {
    with_runtime(|rt| {
        if !rt.only_keg("crun has no events, and runc waits for the removal") {
            return;
        }
        started(rt, "sleep 1000");
        let events = rt.command(&["events", "--interval", "20ms", "c"]).spawn();
        wait_until("three events", Duration::from_secs(10), || lines(&events).len() >= 3);
        rt.kill("c", "KILL").ok();
        let done = events.wait().ok();
        assert_eq!(done.stderr(), "");
        for line in done.stdout().lines() {
            assert_eq!(serde_json::from_str::<Value>(line).unwrap()["type"], "stats");
        }
        rt.command(&["events", "c"]).run().fails_with("container not running");
        rt.command(&["events", "--stats", "c"]).run().fails_with("container not running");
        rt.delete("c").ok();
        rt.command(&["events", "--stats", "c"]).run().fails_with("container does not exist");
    });
}

#[test]
fn events_end_with_the_last_process_not_with_the_first() {
    with_runtime(|rt| {
        if !rt.only_keg("crun has no events, and runc waits for the removal") {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["root"]["readonly"] = false.into());
        bundle.without_namespace("pid").shell("(until [ -e /tmp/end ]; do sleep 0.01; done) & sleep 1000");
        rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        let mut events = rt.command(&["events", "--interval", "10ms", "c"]).spawn();
        wait_until("an event", Duration::from_secs(10), || !lines(&events).is_empty());
        rt.kill("c", "KILL").ok();
        let before = lines(&events).len();
        wait_until("more events", Duration::from_secs(10), || lines(&events).len() > before + 3);
        assert!(!events.has_ended());
        std::fs::write(bundle.rootfs().join("tmp/end"), "").unwrap();
        events.wait().ok();
        rt.delete_force("c");
    });
}

#[test]
fn running_out_of_memory_is_an_event() {
    with_runtime(|rt| {
        if !has_memory()
            || !rt.only_keg("crun has no events; with runc the event can come too late to be seen")
        {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| {
            c["root"]["readonly"] = false.into();
            c["linux"]["resources"]["memory"] = json!({"limit": 16 << 20, "swap": 16 << 20});
        });
        let hog = "dd if=/dev/zero of=/dev/null bs=64M count=1";
        bundle.shell(&format!("until [ -e /tmp/go ]; do sleep 0.01; done; {hog}; sleep 1000"));
        rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        let events = rt.command(&["events", "--interval", "20ms", "c"]).spawn();
        wait_until("an event", Duration::from_secs(10), || !lines(&events).is_empty());
        std::fs::write(bundle.rootfs().join("tmp/go"), "").unwrap();
        let oom = json!({"type": "oom", "id": "c"});
        wait_until("oom", Duration::from_secs(10), || lines(&events).contains(&oom));
        rt.delete_force("c");
        events.wait().ok();
    });
}

#[test]
fn an_interval_is_a_duration_above_zero() {
    with_runtime(|rt| {
        if !rt.only_keg("crun has no events") {
            return;
        }
        started(rt, "sleep 1000");
        for interval in ["0s", "0", "5", "x", "-1s"] {
            rt.command(&["events", "--interval", interval, "c"]).run().fails_with("--interval");
        }
        rt.delete_force("c");
    });
}
