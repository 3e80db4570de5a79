//! What `run` costs, counted in system calls: counts don't depend on the machine's load, times do.

use harness::{json, with_runtime};

/// The bundle of `spec`, its process a static program that does nothing.
#[test]
fn run_takes_at_most_400_system_calls_and_two_execve_after_the_first() {
    with_runtime(|rt| {
        if !rt.only_keg("the budget is keg's own") {
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
        assert!(calls.len() <= 400, "{} system calls", calls.len());
        assert!(executed <= 3, "{executed} execve in all");
    });
}
