//! Any system call fails once: the command says so in one line and leaves nothing, or it did not matter.

use std::time::{Duration, Instant};

use harness::{Bundle, Host, Runtime, with_runtime};

use super::points::{Point, full, interrupt, of, sample};

const ERRNOS: [&str; 8] = ["ENOSPC", "EMFILE", "ENOMEM", "EIO", "EACCES", "EPERM", "EAGAIN", "EINTR"];

/// Memory that is refused ends a process without a word, the container's program as well as keg.
const WORDLESS: [&str; 5] = ["mmap", "brk", "munmap", "mprotect", "mremap"];

/// Calls that cannot fail, or not as strace has them fail: whatever close(2) says, it closes; the standard library's random
/// numbers are those that the kernel never refuses, and its clocks are there.
const UNREAL: [&str; 11] = [
    "close",
    "umask",
    "getrandom",
    "clock_gettime",
    "getpid",
    "getppid",
    "gettid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
];

/// A failure is one line that says something; nothing is left of it but what was there before.
#[track_caller]
fn orderly(rt: &Runtime, before: &Host, point: &Point, words: &[&str], errno: &str, follow: bool) -> bool {
    let start = Instant::now();
    let done = interrupt(rt, words, point, &format!("error={errno}"), follow);
    assert!(start.elapsed() < Duration::from_secs(12), "{point:?} {errno}: {:?}", start.elapsed());
    let message = done.stderr();
    assert!(!message.contains("panicked"), "{point:?} {errno}: {}", done.describe());
    // What fails before keg begins has the C library's words, and its status.
    let wordless = WORDLESS.contains(&point.name.as_str()) || done.status.code() == Some(127);
    let failed = !done.status.success();
    if failed && !wordless {
        assert_eq!(done.status.code(), Some(1), "{point:?} {errno}: {}", done.describe());
        // What fails in both processes at once may be init's step and then the write of keg's own message.
        let unsaid = follow && point.name == "write" && message.is_empty();
        assert!(unsaid || message.trim().len() > 10, "{point:?} {errno}: no message");
        assert!(message.trim_end().lines().count() <= 1, "{point:?} {errno}: {message}");
    }
    if failed && !wordless && words[0] == "create" {
        assert!(!rt.root().join("c").exists(), "{point:?} {errno}: the name is taken: {}", done.describe());
        let now = Host::look(rt);
        assert_eq!(now.cgroups, before.cgroups, "{point:?} {errno}: {}", done.describe());
    }
    failed
}

/// What the point at this place of the sample fails with: one error in turn, all of them when the sweep is to be full.
fn errnos(number: usize) -> Vec<&'static str> {
    if full() { ERRNOS.to_vec() } else { vec![ERRNOS[number % ERRNOS.len()]] }
}

fn sweep(rt: &Runtime, words: &[&str], count: usize, follow: bool, prepare: impl Fn()) {
    let before = Host::look(rt);
    prepare();
    let mut all = of(rt, words, follow);
    rt.delete_force("c");
    // The program would be hit too: the first process of a pid namespace, which does not die of what strace tells it of.
    all.retain(|point| {
        !UNREAL.contains(&point.name.as_str()) && (!follow || !WORDLESS.contains(&point.name.as_str()))
    });
    let mut failed = 0;
    for (number, point) in sample(all, count).into_iter().enumerate() {
        for errno in errnos(number) {
            prepare();
            failed += usize::from(orderly(rt, &before, &point, words, errno, follow));
            let done = rt.command(&["delete", "--force", "c"]).run();
            assert!(done.status.success(), "{point:?} {errno}: {}", done.describe());
            before.assert_same(rt);
        }
    }
    assert!(failed > 0, "no failure made a difference");
}

fn sleeping(rt: &Runtime) -> Bundle {
    let bundle = rt.bundle();
    bundle.args(&["/bin/sleep", "1000"]);
    bundle
}

#[test]
fn a_call_of_create_fails() {
    with_runtime(|rt| {
        if rt.only_keg("others leave things behind") {
            let bundle = rt.bundle();
            sweep(rt, &["create", "--bundle", &bundle.arg(), "c"], 60, false, || {});
        }
    });
}

#[test]
fn a_call_of_any_process_of_a_run_fails() {
    with_runtime(|rt| {
        if rt.only_keg("others leave things behind") {
            let bundle = rt.bundle();
            sweep(rt, &["run", "--bundle", &bundle.arg(), "c"], 80, true, || {});
        }
    });
}

/// What is not sampled above: keg's word that the cgroups are there, for which init waits.
#[test]
fn init_does_not_wait_for_cgroups_that_it_cannot_be_told_of() {
    with_runtime(|rt| {
        if rt.only_keg("another conversation") {
            let bundle = rt.bundle();
            let before = Host::look(rt);
            let point = Point { name: "sendmsg".to_owned(), nth: 1 };
            let words = ["create", "--bundle", &bundle.arg(), "c"];
            assert!(orderly(rt, &before, &point, &words, "EIO", false));
            before.assert_same(rt);
        }
    });
}

#[test]
fn a_call_of_start_fails() {
    with_runtime(|rt| {
        if rt.only_keg("others leave things behind") {
            let bundle = sleeping(rt);
            sweep(rt, &["start", "c"], 14, false, || {
                rt.create(&bundle, "c").ok();
            });
        }
    });
}

#[test]
fn a_call_of_delete_fails() {
    with_runtime(|rt| {
        if rt.only_keg("others leave things behind") {
            let bundle = sleeping(rt);
            sweep(rt, &["delete", "--force", "c"], 16, false, || {
                rt.create(&bundle, "c").ok();
                rt.start("c").ok();
            });
        }
    });
}

#[test]
fn a_call_of_any_process_of_an_exec_fails() {
    with_runtime(|rt| {
        if !rt.only_keg("others leave things behind") {
            return;
        }
        let bundle = sleeping(rt);
        rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        let before = Host::look(rt);
        let words = ["exec", "c", "/bin/true"];
        let mut all = of(rt, &words, true);
        all.retain(|point| {
            !UNREAL.contains(&point.name.as_str()) && !WORDLESS.contains(&point.name.as_str())
        });
        let mut failed = 0;
        for (number, point) in sample(all, 60).into_iter().enumerate() {
            for errno in errnos(number) {
                let done = interrupt(rt, &words, &point, &format!("error={errno}"), true);
                failed += usize::from(!done.status.success());
                assert!(!done.stderr().contains("panicked"), "{point:?} {errno}: {}", done.describe());
                assert_eq!(rt.status("c"), "running", "{point:?} {errno}: {}", done.describe());
                before.assert_same(rt);
            }
        }
        assert!(failed > 0, "no failure made a difference");
    });
}
