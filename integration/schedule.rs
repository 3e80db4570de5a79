//! Scheduling policy, I/O priority and execution domain, as util-linux reads them of the process from outside.

use std::fs;
use std::path::Path;

use harness::{Runtime, Value, json, with_runtime};

/// A running container with these members of its process.
fn running(rt: &Runtime, members: &[(&str, Value)]) -> String {
    let bundle = rt.bundle();
    bundle.args(&["/bin/sleep", "1000"]);
    bundle.edit(|c| members.iter().for_each(|(name, value)| c["process"][name] = value.clone()));
    rt.create(&bundle, "c").ok();
    rt.start("c").ok();
    rt.pid("c").to_string()
}

fn out(rt: &Runtime, words: &[&str]) -> String {
    rt.program(words).run().ok().stdout()
}

#[test]
fn the_policy_of_the_program_is_the_one_that_is_asked_for() {
    with_runtime(|rt| {
        if !rt.only_keg("Debian's runc does not know the property") {
            return;
        }
        let reset = json!(["SCHED_FLAG_RESET_ON_FORK"]);
        for (scheduler, policy, priority, nice) in [
            (json!({"policy": "SCHED_OTHER", "nice": 7}), "SCHED_OTHER", "0", "7"),
            (json!({"policy": "SCHED_BATCH", "nice": -3}), "SCHED_BATCH", "0", "-3"),
            (json!({"policy": "SCHED_BATCH", "flags": reset}), "SCHED_BATCH|SCHED_RESET_ON_FORK", "0", "0"),
            (json!({"policy": "SCHED_IDLE"}), "SCHED_IDLE", "0", "0"),
            (
                json!({"policy": "SCHED_FIFO", "priority": 5, "flags": reset}),
                "SCHED_FIFO|SCHED_RESET_ON_FORK",
                "5",
                "0",
            ),
            (json!({"policy": "SCHED_RR", "priority": 99}), "SCHED_RR", "99", "0"),
        ] {
            // With group scheduling a new cgroup has no real time to give.
            let groups = Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists();
            if groups && ["SCHED_FIFO", "SCHED_RR"].iter().any(|real_time| policy.starts_with(real_time)) {
                eprintln!("skipped: {policy} with real-time group scheduling");
                continue;
            }
            let pid = running(rt, &[("scheduler", scheduler.clone())]);
            let text = out(rt, &["chrt", "--pid", &pid]);
            let value =
                |line: &str| text.lines().find_map(|l| l.split_once(line)).map(|(_, value)| value.to_owned());
            assert_eq!(value("scheduling policy: ").as_deref(), Some(policy), "{scheduler}");
            assert_eq!(value("scheduling priority: ").as_deref(), Some(priority), "{scheduler}");
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            assert_eq!(stat.rsplit(") ").next().unwrap().split(' ').nth(16), Some(nice), "{scheduler}");
            rt.delete_force("c");
        }
    });
}

#[test]
fn a_deadline_is_the_programs() {
    with_runtime(|rt| {
        if !rt.only_keg("Debian's runc does not know the property") {
            return;
        }
        let scheduler = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 5_000_000, "period": 10_000_000});
        let pid = running(rt, &[("scheduler", scheduler)]);
        let text = out(rt, &["chrt", "--pid", &pid]);
        assert!(text.contains("SCHED_DEADLINE") && text.contains("1000000/5000000/10000000"), "{text}");
        rt.delete_force("c");
    });
}

#[test]
fn a_deadline_on_some_of_the_cpus_is_refused_in_words_that_callers_know() {
    with_runtime(|rt| {
        if !rt.only_keg("Debian's runc does not know the property") {
            return;
        }
        let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
        if online.trim() == "0" {
            eprintln!("skipped: there is but one CPU");
            return;
        }
        let bundle = rt.bundle();
        let scheduler = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 5_000_000, "period": 10_000_000});
        bundle.edit(|c| {
            c["process"]["scheduler"] = scheduler;
            c["linux"]["resources"]["cpu"] = json!({"cpus": "0", "mems": "0"});
        });
        let message =
            rt.create(&bundle, "c").fails_with("process scheduler can't be used together with AllowedCPUs");
        assert!(message.contains("operation not permitted"), "{message}");
        rt.assert_gone("c");
        // The list alone is no reason.
        bundle.edit(|c| c["linux"]["resources"]["cpu"]["cpus"] = json!(online.trim()));
        rt.run(&bundle, "c").silent();
    });
}

#[test]
fn the_io_priority_of_the_program_is_the_one_that_is_asked_for() {
    with_runtime(|rt| {
        if !rt.only_keg("Debian's do not know the property") {
            return;
        }
        for (class, priority, shown) in [
            ("IOPRIO_CLASS_BE", 3, "best-effort: prio 3\n"),
            ("IOPRIO_CLASS_RT", 1, "realtime: prio 1\n"),
            ("IOPRIO_CLASS_IDLE", 0, "idle\n"),
        ] {
            let pid = running(rt, &[("ioPriority", json!({"class": class, "priority": priority}))]);
            assert_eq!(out(rt, &["ionice", "--pid", &pid]), shown);
            rt.delete_force("c");
        }
    });
}

#[test]
fn the_execution_domain_is_the_programs() {
    with_runtime(|rt| {
        for (domain, number, machine) in
            [("LINUX", "00000000", "x86_64\n"), ("LINUX32", "00000008", "i686\n")]
        {
            let bundle = rt.bundle();
            bundle.edit(|c| c["linux"]["personality"] = json!({"domain": domain}));
            assert_eq!(bundle.probe(rt)["personality"], number, "{domain}");
            if cfg!(target_arch = "x86_64") {
                bundle.args(&["/bin/busybox", "uname", "-m"]);
                assert_eq!(rt.run(&bundle, "c").ok().stdout(), machine);
            }
        }
    });
}
