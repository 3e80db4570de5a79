//! What `run` costs, counted in system calls: counts don't depend on the machine's load, times do.

use std::collections::BTreeMap;

use harness::host::unmounted_hierarchies;
use harness::{Runtime, json, with_runtime};

/// A host with version 2 alone, as most are: seen from a mount namespace in which nothing else is mounted.
const VERSION_2: &str = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
/// A host with version 1 alone.
const VERSION_1: &str =
    "for m in $(findmnt --noheadings --output TARGET --types cgroup2); do umount $m; done; exec \"$@\"";
const AS_IT_IS: &str = "exec \"$@\"";
/// With version 2.
const BUDGET: usize = 320;
/// With the nine hierarchies of version 1 that a host may have.
const BUDGET_1: usize = 400;
/// With version 2's beside them: one more.
const BUDGET_HYBRID: usize = 410;
/// What another program may have left behind, a hierarchy of version 1 that is mounted nowhere, is met once and passed over: two calls
/// for each part of the cgroup's path, and mountinfo is read.
const UNMOUNTED: usize = 12;

/// Runs the bundle of `spec`, its process a static program that does nothing, in a view of the host's cgroups: all system calls of
/// all processes, one a line.
fn calls(rt: &Runtime, view: &str) -> Vec<String> {
    let bundle = rt.bundle();
    std::fs::remove_file(bundle.path().join("config.json")).unwrap();
    rt.command(&["spec", "--bundle", &bundle.arg()]).run().ok();
    bundle.edit(|c| {
        c["process"]["terminal"] = json!(false);
        c["process"]["args"] = json!(["/bin/busybox", "true"]);
    });
    let trace = rt.dir().join("trace").display().to_string();
    // A name of its own is also the name of its cgroup.
    let id = format!("keg-test-calls-{}", std::process::id());
    let command = rt.command(&["run", "--bundle", &bundle.arg(), &id]);
    let prefix = ["unshare", "--mount", "sh", "-ec", view, "sh", "strace", "-f", "-qq", "-o", &trace];
    command.inside(&prefix).run().ok();
    let text = std::fs::read_to_string(&trace).unwrap();
    // A call that was interrupted by another task is two lines; signals and exits are none.
    let whole = |line: &&str| !line.contains("resumed>") && !line.contains("---") && !line.contains("+++");
    text.lines().filter(whole).map(str::to_owned).collect()
}

fn check(rt: &Runtime, view: &str, budget: usize) {
    let before = unmounted_hierarchies();
    let calls = &calls(rt, view);
    let unmounted = before.max(unmounted_hierarchies());
    let budget = budget + UNMOUNTED * unmounted;
    let executed = calls.iter().filter(|l| l.contains(" execve(") || l.contains(" execveat(")).count();
    let mut names = BTreeMap::<&str, usize>::new();
    let named = calls.iter().filter_map(|line| line.split_once(' ')?.1.trim().split('(').next());
    named.for_each(|name| *names.entry(name).or_default() += 1);
    assert!(calls.len() <= budget, "{} system calls, {budget} are allowed: {names:?}", calls.len());
    assert!(executed <= 3, "{executed} execve in all");
    // It is as long as the host has mounts.
    let table = calls.iter().find(|line| line.contains("mountinfo\"") || line.contains("/mounts\""));
    assert!(unmounted > 0 || table.is_none(), "{table:?}");
    // The program, and keg once: its sealed copy is entered before there is anything of the C library to set up.
    assert_eq!(names["set_tid_address"], 2, "{names:?}");
}

fn is_measurable(rt: &Runtime) -> bool {
    if !rt.only_keg("the budget is keg's own") {
        return false;
    }
    let debug = rt.binary().parent().is_some_and(|dir| dir.ends_with("debug"));
    if debug {
        eprintln!("skipped: a debug build checks its descriptors with system calls of its own");
    }
    !debug
}

#[test]
fn run_takes_at_most_320_system_calls_and_two_execve_after_the_first() {
    with_runtime(|rt| {
        if is_measurable(rt) {
            check(rt, VERSION_2, BUDGET);
        }
    });
}

/// Each hierarchy is made, entered, mounted and removed on its own: seven calls, and a dozen more for cpuset, and for devices.
#[test]
fn with_the_hierarchies_of_version_1_it_takes_at_most_400() {
    with_runtime(|rt| {
        if is_measurable(rt) {
            check(rt, VERSION_1, BUDGET_1);
            check(rt, AS_IT_IS, BUDGET_HYBRID);
        }
    });
}
