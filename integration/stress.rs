//! Many containers, one after the other and at once, leave the host as it was.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use harness::{Bundle, Finished, Host, Runtime, json, wait_until, with_runtime};

const PARALLEL: usize = 64;
const SEQUENTIAL: usize = 500;

#[test]
fn sequential_cycles_leave_the_host_and_a_long_lived_caller_as_they_were() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let before = Host::look(rt);
        // The caller is one shell that lives through all of them and compares its own descriptors at the end.
        let script = format!(
            "set -e; ls /proc/$$/fd >$BUNDLE/before; for i in $(seq {SEQUENTIAL}); do \
             $RT create --bundle $BUNDLE c$i; $RT start c$i; $RT delete --force c$i; done; \
             ls /proc/$$/fd >$BUNDLE/after; cmp $BUNDLE/before $BUNDLE/after"
        );
        let runtime = rt.invocation().join(" ");
        let command = rt.program(&["bash", "-c", &script]).env("RT", &runtime).env("BUNDLE", &bundle.arg());
        command.limit(Duration::from_secs(200)).run().silent();
        before.assert_same(rt);
    });
}

#[test]
fn sequential_runs_of_a_program_that_ends_at_once_all_return() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let before = Host::look(rt);
        let script = "set -e; for i in $(seq 200); do $RT run --bundle $BUNDLE c; done";
        let runtime = rt.invocation().join(" ");
        let command = rt.program(&["bash", "-c", script]).env("RT", &runtime).env("BUNDLE", &bundle.arg());
        command.limit(Duration::from_secs(150)).run().silent();
        before.assert_same(rt);
    });
}

/// The streams of every run of a command that many threads give at once; the threads inherit the mount namespace.
fn at_once(rt: &Runtime, words: impl Fn(usize) -> Vec<String> + Sync) -> Vec<Finished> {
    thread::scope(|scope| {
        let start = |n| {
            scope.spawn({
                let words = &words;
                move || rt.command(&words(n)).limit(Duration::from_secs(120)).run()
            })
        };
        let all: Vec<_> = (0..PARALLEL).map(start).collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&w| w.to_owned()).collect()
}

#[test]
fn parallel_containers_leave_the_host_as_it_was() {
    with_runtime(|rt| {
        let before = Host::look(rt);
        let bundles: Vec<Bundle> = (0..PARALLEL).map(|_| rt.bundle()).collect();
        for done in at_once(rt, |n| words(&["create", "--bundle", &bundles[n].arg(), &format!("c{n}")])) {
            done.silent();
        }
        let listed = rt.command(&["list", "--quiet"]).run().ok().stdout();
        assert_eq!(listed.lines().count(), PARALLEL);
        for done in at_once(rt, |n| words(&["start", &format!("c{n}")])) {
            done.silent();
        }
        for done in at_once(rt, |n| words(&["delete", "--force", &format!("c{n}")])) {
            done.ok();
        }
        before.assert_same(rt);
    });
}

#[test]
fn of_parallel_creates_of_one_id_exactly_one_wins() {
    with_runtime(|rt| {
        let before = Host::look(rt);
        let bundles: Vec<Bundle> = (0..PARALLEL).map(|_| rt.bundle()).collect();
        let pid_file = |n: usize| -> PathBuf { rt.dir().join(format!("pid{n}")) };
        let done = at_once(rt, |n| {
            let file = pid_file(n).display().to_string();
            words(&["create", "--bundle", &bundles[n].arg(), "--pid-file", &file, "the-one"])
        });
        let winners: Vec<_> = (0..PARALLEL).filter(|&n| done[n].status.success()).collect();
        assert_eq!(winners.len(), 1, "winners: {winners:?}");
        for (n, lost) in done.into_iter().enumerate().filter(|(n, _)| *n != winners[0]) {
            lost.fails_with("container with given ID already exists");
            assert!(!pid_file(n).exists());
        }
        let state = rt.state("the-one");
        assert_eq!(
            (&state["status"], &state["bundle"]),
            (&json!("created"), &json!(bundles[winners[0]].arg()))
        );
        let cgroups: BTreeSet<_> =
            Host::look(rt).cgroups.iter().map(|p| p.file_name().unwrap().to_owned()).collect();
        assert_eq!(cgroups.len(), 1, "cgroups of losers: {cgroups:?}");
        rt.delete("the-one").ok();
        before.assert_same(rt);
    });
}

#[test]
fn parallel_commands_on_one_container_never_see_a_broken_state() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        for _ in 0..3 {
            rt.create(&bundle, "c").ok();
            let done = at_once(rt, |n| match n % 4 {
                0 => words(&["start", "c"]),
                1 => words(&["kill", "c", "KILL"]),
                2 => words(&["delete", "--force", "c"]),
                _ => words(&["state", "c"]),
            });
            for one in done.iter().skip(3).step_by(4).filter(|d| d.status.success()) {
                assert_eq!(one.json()["id"], "c");
            }
            rt.delete_force("c");
            rt.assert_gone("c");
        }
    });
}

#[test]
fn five_hundred_processes_join_one_container_at_once() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "1000"]);
        rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        let init = rt.pid("c");
        let descriptors = || fs::read_dir(format!("/proc/{init}/fd")).unwrap().count();
        let (before, host) = (descriptors(), Host::look(rt));
        let join = |n: usize| {
            let script = format!("exit {}", n % 250);
            rt.command(&["exec", "c", "/bin/sh", "-c", &script]).limit(Duration::from_secs(120)).spawn()
        };
        let all: Vec<_> = (0..500).map(join).collect();
        let codes: Vec<_> = all.into_iter().map(|one| one.wait().code()).collect();
        let wrong: Vec<_> = codes.iter().enumerate().filter(|(n, code)| **code != (n % 250) as i32).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        // Zombies are members of a cgroup too.
        wait_until("only init is left", Duration::from_secs(10), || {
            rt.command(&["ps", "--format", "json", "c"]).run().ok().json() == json!([init])
        });
        assert_eq!(descriptors(), before, "descriptors of init");
        host.assert_same(rt);
    });
}
