//! Signals that nobody means come by the thousand: calls are interrupted, stopped and continued, and nothing else changes.

use std::time::Duration;

use harness::with_runtime;
use nix::sys::signal::Signal;

#[test]
fn a_storm_changes_nothing() {
    with_runtime(|rt| {
        let storm = [
            Signal::SIGWINCH,
            Signal::SIGCHLD,
            Signal::SIGCONT,
            Signal::SIGURG,
            Signal::SIGSTOP,
            Signal::SIGCONT,
        ];
        for command in ["create", "run"] {
            let bundle = rt.bundle();
            for _ in 0..6 {
                let mut running = rt.command(&[command, "--bundle", &bundle.arg(), "c"]).spawn();
                let mut next = storm.into_iter().cycle();
                while !running.has_ended() {
                    running.signal(next.next().unwrap());
                    std::thread::sleep(Duration::from_micros(300));
                }
                running.wait().silent();
                rt.delete_force("c");
            }
        }
    });
}

/// A caller that ignores SIGCHLD, as some daemons do, passes that on to whom it runs.
#[test]
fn a_caller_that_ignores_its_children() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["hooks"]["createRuntime"] = harness::json!([{"path": "/bin/true"}]));
        bundle.shell("exit 3");
        let words = ["perl", "-e", "$SIG{CHLD}='IGNORE'; exec @ARGV"];
        let done = rt.command(&["run", "--bundle", &bundle.arg(), "c"]).inside(&words).run();
        assert_eq!(done.code(), 3, "{}", done.describe());
    });
}

/// Orphans of a container without a pid namespace come to the runtime in the foreground, and are waited for.
#[test]
fn orphans_are_reaped() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.without_namespace("pid");
        bundle.shell("for i in 1 2 3 4 5 6 7 8; do (sleep 0.1 &); done; sleep 1; echo end; sleep 1");
        let running = rt.command(&["run", "--bundle", &bundle.arg(), "c"]).spawn();
        harness::wait_until("the orphans have ended", Duration::from_secs(20), || {
            running.stdout().contains("end")
        });
        let pid = running.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let zombies = children.split_whitespace().filter(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
        });
        assert_eq!(zombies.count(), 0);
        running.wait().ok();
    });
}
