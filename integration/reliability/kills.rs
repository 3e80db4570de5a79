//! SIGKILL at any system call: afterwards init ends by itself unless the container was made, and `delete --force` leaves nothing.

use std::fs;
use std::time::{Duration, Instant};

use harness::{Bundle, Host, Runtime, json, wait_until, with_runtime};

use super::points::{Point, interrupt, of, sample};

const KILL: &str = "signal=SIGKILL";

/// Whoever is left does not hang: without a container that was committed there are no processes after a moment.
#[track_caller]
fn settles(rt: &Runtime, before: &Host, point: &Point) {
    let done = rt.command(&["state", "c"]).run();
    if done.status.success() {
        let status = done.json()["status"].as_str().unwrap().to_owned();
        assert!(
            ["creating", "created", "running", "stopped"].contains(&status.as_str()),
            "{point:?}: {status}"
        );
        if status == "created" || status == "running" {
            return;
        }
    }
    let start = Instant::now();
    while Host::look(rt).processes != before.processes {
        assert!(start.elapsed() < Duration::from_secs(5), "{point:?}: {:?}", Host::look(rt).processes);
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `delete --force` succeeds, quickly, and the host is as it was; the same name can be used again.
#[track_caller]
fn cleans(rt: &Runtime, before: &Host, bundle: &Bundle, point: &Point) {
    let start = Instant::now();
    let done = rt.command(&["delete", "--force", "c"]).limit(Duration::from_secs(25)).run();
    assert!(done.status.success(), "{point:?}: {}", done.describe());
    assert!(start.elapsed() < Duration::from_secs(10), "{point:?}: delete took {:?}", start.elapsed());
    before.assert_same(rt);
    if point.nth % 4 == 1 {
        rt.create(bundle, "c").ok();
        rt.delete_force("c");
    }
}

/// Kills the command at its points; `prepare` makes what it works on, `finish` what a baseline needs afterwards.
fn sweep(rt: &Runtime, words: &[&str], count: usize, follow: bool, bundle: &Bundle, prepare: impl Fn()) {
    let before = Host::look(rt);
    prepare();
    let all = of(rt, words, follow);
    rt.delete_force("c");
    let mut killed = 0;
    for point in sample(all, count) {
        prepare();
        let done = interrupt(rt, words, &point, KILL, follow);
        killed += usize::from(!done.status.success());
        settles(rt, &before, &point);
        cleans(rt, &before, bundle, &point);
    }
    assert!(killed > 0, "nothing was killed");
}

#[test]
fn create_is_killed() {
    with_runtime(|rt| {
        if !rt.only_keg("others leave processes, cgroups or names behind") {
            return;
        }
        let bundle = rt.bundle();
        sweep(rt, &["create", "--bundle", &bundle.arg(), "c"], 60, false, &bundle, || {});
    });
}

/// With a user namespace and hooks init waits for keg twice.
#[test]
fn create_with_id_mappings_and_hooks_is_killed() {
    with_runtime(|rt| {
        if !rt.only_keg("others leave processes, cgroups or names behind") {
            return;
        }
        let bundle = rt.bundle();
        bundle.namespace(&json!({"type": "user"}));
        bundle.edit(|c| {
            let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
            c["linux"]["uidMappings"] = map.clone();
            c["linux"]["gidMappings"] = map;
            c["hooks"] =
                json!({"createRuntime": [{"path": "/bin/true"}], "createContainer": [{"path": "/bin/true"}]});
        });
        sweep(rt, &["create", "--bundle", &bundle.arg(), "c"], 16, false, &bundle, || {});
    });
}

/// A joined pid namespace takes one more process on the way.
#[test]
fn create_through_a_stage_is_killed() {
    with_runtime(|rt| {
        if !rt.only_keg("others leave processes, cgroups or names behind") {
            return;
        }
        let neighbour = rt.bundle();
        neighbour.args(&["/bin/sleep", "1000"]);
        rt.create(&neighbour, "neighbour").ok();
        let bundle = rt.bundle();
        let path = format!("/proc/{}/ns/pid", rt.pid("neighbour"));
        bundle.namespace(&json!({"type": "pid", "path": path}));
        sweep(rt, &["create", "--bundle", &bundle.arg(), "c"], 16, false, &bundle, || {});
    });
}

/// Any process of a run dies: keg, the stage, init, the program. Nobody waits for it.
#[test]
fn any_process_of_a_run_is_killed() {
    with_runtime(|rt| {
        if !rt.only_keg("others leave processes, cgroups or names behind") {
            return;
        }
        let bundle = rt.bundle();
        sweep(rt, &["run", "--bundle", &bundle.arg(), "c"], 70, true, &bundle, || {});
    });
}

#[test]
fn start_is_killed() {
    with_runtime(|rt| {
        if !rt.only_keg("others leave processes, cgroups or names behind") {
            return;
        }
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "1000"]);
        sweep(rt, &["start", "c"], 14, false, &bundle, || {
            rt.create(&bundle, "c").ok();
        });
    });
}

#[test]
fn delete_is_killed() {
    with_runtime(|rt| {
        if !rt.only_keg("others leave processes, cgroups or names behind") {
            return;
        }
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "1000"]);
        sweep(rt, &["delete", "--force", "c"], 18, false, &bundle, || {
            rt.create(&bundle, "c").ok();
            rt.start("c").ok();
        });
    });
}

/// keg, the stage or the process that joins dies. The container lives on.
#[test]
fn any_process_of_an_exec_is_killed() {
    with_runtime(|rt| {
        if !rt.only_keg("others leave processes behind") {
            return;
        }
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "1000"]);
        rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        let before = Host::look(rt);
        let words = ["exec", "c", "/bin/true"];
        for point in sample(of(rt, &words, true), 60) {
            interrupt(rt, &words, &point, KILL, true);
            assert_eq!(rt.status("c"), "running", "{point:?}");
            before.assert_same(rt);
        }
        rt.command(&words).run().ok();
    });
}

/// keg dies while init has hardly begun: nobody is left to answer what init is about to ask.
#[test]
fn keg_dies_before_its_init_looks_up() {
    with_runtime(|rt| {
        if !rt.only_keg("others have other processes") {
            return;
        }
        let before = Host::look(rt);
        let bundle = rt.bundle();
        bundle.namespace(&json!({"type": "user"}));
        bundle.edit(|c| {
            let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
            c["linux"]["uidMappings"] = map.clone();
            c["linux"]["gidMappings"] = map;
            c["hooks"] = json!({"createRuntime": [{"path": "/bin/true"}]});
        });
        // Each prctl(2) takes its time: the first ones of init are those that tie it to keg.
        let slow = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=prctl,clone3",
            "-e",
            "inject=prctl:delay_enter=400000",
        ];
        for _ in 0..2 {
            let running = rt.command(&["create", "--bundle", &bundle.arg(), "c"]).inside(&slow).spawn();
            let children = |pid: i32| {
                let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
                text.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()).collect::<Vec<_>>()
            };
            let mut keg = 0;
            wait_until("init is born", Duration::from_secs(10), || {
                keg = children(running.pid()).first().copied().unwrap_or_default();
                keg != 0 && !children(keg).is_empty()
            });
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(keg), nix::sys::signal::Signal::SIGKILL)
                .unwrap();
            // strace ends when all its processes have.
            assert!(!running.wait().status.success());
            rt.delete_force("c");
            before.assert_same(rt);
        }
    });
}

/// Init is killed when it is ready and keg has only to let it go on: that is said, and nothing is left.
#[test]
fn init_is_killed_right_before_it_is_told_to_go_on() {
    with_runtime(|rt| {
        if !rt.only_keg("others are not traced here") {
            return;
        }
        let before = Host::look(rt);
        let bundle = rt.bundle();
        let (pid_file, trace) = (rt.dir().join("pid"), rt.dir().join("trace").display().to_string());
        let mut slow = vec!["strace", "-qq", "-o", &trace, "-e", "trace=rename,renameat"];
        slow.extend(["-e", "inject=rename,renameat:delay_exit=1s"]);
        for command in ["create", "run"] {
            let bundle = bundle.arg();
            let words = [command, "--bundle", &bundle, "--pid-file", pid_file.to_str().unwrap(), "c"];
            let running = rt.command(&words).inside(&slow).spawn();
            wait_until("init is ready", Duration::from_secs(10), || pid_file.exists());
            let pid = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
            running.wait().fails_with("container init ended before it was ready: killed by signal 9");
            assert!(!pid_file.exists());
            before.assert_same(rt);
        }
    });
}
