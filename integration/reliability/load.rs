//! Many processes join while their container comes and goes: each gets its own status or a word about the container, none is stuck.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use harness::with_runtime;

#[test]
fn processes_join_a_container_that_restarts() {
    with_runtime(|rt| {
        if !rt.only_keg("others say other things") {
            return;
        }
        let full = std::env::var("KEG_SWEEP").is_ok_and(|sweep| sweep == "full");
        let (threads, each) = if full { (16, 32) } else { (6, 10) };
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "1000"]);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let restart = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    rt.command(&["create", "--bundle", &bundle.arg(), "c"]).run().ok();
                    rt.command(&["start", "c"]).run().ok();
                    thread::sleep(Duration::from_millis(100));
                    rt.command(&["delete", "--force", "c"]).run().ok();
                }
            });
            let execs: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..each {
                            let run = rt.command(&["exec", "c", "/bin/sh", "-c", "exit 7"]);
                            let done = run.limit(Duration::from_secs(60)).run();
                            let (code, message) = (done.status.code(), done.stderr());
                            let refused = code == Some(255) && message.trim_end().lines().count() == 1;
                            // Killed with its container: 128 + SIGKILL.
                            assert!(code == Some(7) || code == Some(137) || refused, "{}", done.describe());
                        }
                    })
                })
                .collect();
            let outcomes: Vec<_> = execs.into_iter().map(thread::ScopedJoinHandle::join).collect();
            done.store(true, Ordering::Relaxed);
            restart.join().unwrap();
            outcomes.into_iter().for_each(Result::unwrap);
        });
    });
}
