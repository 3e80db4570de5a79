//! What `run` costs, counted in system calls: counts don't depend on the machine's load, times do.

use harness::{json, with_runtime};

/// The bundle of `spec`, its process a static program that does nothing.
#[test]
fn run_takes_at_most_400_system_calls_and_two_execve_after_the_first() {
    with_runtime(|rt| {
        if !rt.only_keg("the budget is keg's own") {
            return;
        }
        if rt.binary().parent().is_some_and(|p| p.ends_with("debug")) {
            eprintln!("skipped: a debug build checks its descriptors with system calls of its own");
            return;
        }
        let bundle = rt.bundle();
        std::fs::remove_file(bundle.path().join("config.json")).unwrap();
        rt.command(&["spec", "--bundle", &bundle.arg()]).run().ok();
        let cgroup = format!("{}/spec", rt.cgroup_prefix());
        bundle.edit(|c| {
            c["process"]["terminal"] = json!(false);
            c["process"]["args"] = json!(["/bin/busybox", "true"]);
            c["linux"]["cgroupsPath"] = json!(cgroup);
        });
        let trace = rt.dir().join("trace").display().to_string();
        let command = rt.command(&["run", "--bundle", &bundle.arg(), "c"]);
        command.inside(&["strace", "-f", "-qq", "-o", &trace]).run().ok();
        let text = std::fs::read_to_string(&trace).unwrap();
        // A call that was interrupted by another task is two lines; signals and exits are none.
        let calls =
            text.lines().filter(|l| !l.contains("resumed>") && !l.contains("---") && !l.contains("+++"));
        let calls: Vec<_> = calls.collect();
        let executed = calls.iter().filter(|l| l.contains(" execve(") || l.contains(" execveat(")).count();
        let mut names = std::collections::BTreeMap::<&str, usize>::new();
        for call in
            calls.iter().filter_map(|l| l.split_once(' ')).filter_map(|(_, l)| l.trim().split('(').next())
        {
            *names.entry(call).or_default() += 1;
        }
        assert!(calls.len() <= 400, "{} system calls: {names:?}", calls.len());
        assert!(executed <= 3, "{executed} execve in all");
    });
}
