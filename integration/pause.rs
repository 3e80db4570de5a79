//! `pause`, `resume` and `ps`: a container that stands still, and who is in it.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use harness::command::write_script;
use harness::{Finished, Runtime, Value, json, wait_until, with_runtime};

/// A running container that counts in `/tmp/n` as fast as it can.
fn counting(rt: &Runtime) -> std::path::PathBuf {
    let bundle = rt.bundle();
    bundle.edit(|c| c["root"]["readonly"] = false.into());
    bundle.shell("n=0; while :; do n=$((n+1)); echo $n > /tmp/n; done");
    rt.create(&bundle, "c").ok();
    rt.start("c").silent();
    bundle.rootfs().join("tmp/n")
}

fn moves(file: &std::path::Path) {
    let read = || fs::read_to_string(file).unwrap_or_default();
    let before = read();
    wait_until("the container goes on", Duration::from_secs(10), || read() != before);
}

/// The state letter of a process (proc(5)), and how much processor time it has used, in ticks.
fn stat(pid: i32) -> (String, u64) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[0].to_owned(), fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
}

#[test]
fn a_paused_container_stands_still_and_goes_on_after_resume() {
    with_runtime(|rt| {
        let file = counting(rt);
        moves(&file);
        let pid = rt.pid("c");
        rt.command(&["pause", "c"]).run().silent();
        assert_eq!(rt.status("c"), "paused");
        // Frozen: it is never found running, and what it has written stays.
        let (before, (_, time)) = (fs::read(&file).unwrap(), stat(pid));
        for _ in 0..50 {
            assert_ne!(stat(pid).0, "R");
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!((fs::read(&file).unwrap(), stat(pid).1), (before, time));
        rt.command(&["resume", "c"]).run().silent();
        assert_eq!(rt.status("c"), "running");
        moves(&file);
        rt.delete_force("c");
    });
}

#[test]
fn a_created_container_can_be_paused_and_is_created_again_after_resume() {
    with_runtime(|rt| {
        if !rt.only_keg("the others' is running afterwards, or cannot be paused") {
            return;
        }
        let bundle = rt.bundle();
        rt.create(&bundle, "c").ok();
        rt.command(&["pause", "c"]).run().silent();
        assert_eq!(rt.status("c"), "paused");
        rt.command(&["resume", "c"]).run().silent();
        assert_eq!(rt.status("c"), "created");
        rt.start("c").ok();
        rt.wait_stopped("c");
    });
}

#[test]
fn what_is_not_running_cannot_be_paused_and_what_is_not_paused_not_resumed() {
    with_runtime(|rt| {
        counting(rt);
        rt.command(&["resume", "c"]).run().fails_with("container not paused");
        rt.command(&["pause", "c"]).run().ok();
        rt.command(&["pause", "c"]).run().fails_with("container not running");
        rt.kill("c", "KILL").ok();
        rt.wait_stopped("c");
        rt.command(&["pause", "c"]).run().fails_with("container not running");
        rt.command(&["resume", "c"]).run().fails_with("container not paused");
        rt.delete("c").ok();
        for command in ["pause", "resume", "ps"] {
            rt.command(&[command, "c"]).run().fails_with("container does not exist");
        }
    });
}

#[test]
fn a_paused_container_is_killed_at_once() {
    with_runtime(|rt| {
        counting(rt);
        let pid = rt.pid("c");
        rt.command(&["pause", "c"]).run().ok();
        rt.kill("c", "KILL").silent();
        wait_until("it has ended", Duration::from_secs(5), || !harness::alive(pid));
        rt.delete("c").ok();
    });
}

/// Init and two children.
fn three(rt: &Runtime) -> BTreeSet<i64> {
    let bundle = rt.bundle();
    bundle.shell("sleep 1111 & sleep 1112 & wait");
    rt.create(&bundle, "c").ok();
    rt.start("c").ok();
    let members = || {
        let pids = rt.command(&["ps", "--format", "json", "c"]).run().ok().json();
        pids.as_array().unwrap().iter().map(|pid| pid.as_i64().unwrap()).collect::<BTreeSet<_>>()
    };
    wait_until("three processes", Duration::from_secs(5), || members().len() == 3);
    members()
}

#[test]
fn ps_lists_the_processes_by_their_pids_on_the_host() {
    with_runtime(|rt| {
        let pids = three(rt);
        assert!(pids.contains(&i64::from(rt.pid("c"))));
        for pid in &pids {
            let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
            assert!(cgroups.contains(&rt.cgroup_prefix()), "{cgroups}");
        }
        let json = rt.command(&["ps", "-f", "json", "c"]).run().ok();
        assert!(matches!(json.json(), Value::Array(_)) && json.stderr().is_empty());
        rt.delete_force("c");
    });
}

#[test]
fn ps_shows_a_table_as_ps_does_with_the_options_that_it_is_given() {
    with_runtime(|rt| {
        if !rt.only_keg("crun has no options for ps") {
            return;
        }
        let pids = three(rt);
        let table = rt.command(&["ps", "c"]).run().ok().stdout();
        assert!(table.starts_with("UID ") && table.lines().count() == 4, "{table}");
        let table = rt.command(&["ps", "c", "-eo", "pid,args"]).run().ok().stdout();
        let lines: Vec<_> = table.lines().map(str::trim).collect();
        assert_eq!(lines[0], "PID COMMAND");
        let shown: BTreeSet<i64> =
            lines[1..].iter().map(|l| l.split(' ').next().unwrap().parse().unwrap()).collect();
        assert_eq!(shown, pids);
        assert!(table.contains("sleep 1111") && table.contains("sleep 1112"), "{table}");
        rt.command(&["ps", "c", "-o", "args"]).run().fails_with("couldn't find PID field in ps output");
        rt.command(&["ps", "c", "--no-such-flag"]).run().fails_with("ps:");
        rt.command(&["ps", "-f", "xml", "c"]).run().fails_with("invalid format option");
        rt.delete_force("c");
    });
}

#[test]
fn ps_of_a_container_that_has_ended_lists_who_lives_on() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        rt.create(&bundle, "c").ok();
        rt.kill("c", "KILL").ok();
        rt.wait_stopped("c");
        let nobody = rt.command(&["ps", "-f", "json", "c"]).run().ok().json();
        assert!(nobody.as_array().is_none_or(Vec::is_empty), "{nobody}");
        assert_eq!(rt.command(&["ps", "c"]).run().ok().stdout().lines().count(), 1, "the heading");
        rt.delete("c").ok();

        bundle.without_namespace("pid").shell("sleep 1111 & echo $!; exit 0");
        let out = rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        rt.wait_stopped("c");
        let left: i64 = out.stdout().trim().parse().unwrap();
        assert_eq!(rt.command(&["ps", "-f", "json", "c"]).run().ok().json(), json!([left]));
        rt.delete("c").ok();
        assert!(!harness::alive(left as i32));
    });
}

/// The container's processes.
fn members(rt: &Runtime) -> usize {
    rt.command(&["ps", "-f", "json", "c"]).run().ok().json().as_array().unwrap().len()
}

#[track_caller]
fn exec_fails(done: &Finished, text: &str) {
    assert_eq!((done.code(), done.stderr().contains(text)), (255, true), "{}", done.describe());
}

#[test]
fn exec_into_a_paused_container_waits_for_nobody_and_runs_after_resume() {
    with_runtime(|rt| {
        if !rt.only_keg("crun has no such flag, and runc waits for a resume") {
            return;
        }
        let file = counting(rt);
        let (there, pid_file) = (file.with_file_name("there"), rt.dir().join("pid"));
        rt.command(&["pause", "c"]).run().ok();
        let refused = "cannot exec in a paused container (use --ignore-paused to override)";
        exec_fails(&rt.command(&["exec", "c", "true"]).run(), refused);
        let touch = ["sh", "-c", "echo > /tmp/there; exec sleep 1000"];
        let detach = ["exec", "--ignore-paused", "--detach", "--pid-file", pid_file.to_str().unwrap(), "c"];
        rt.command(&[&detach[..], &touch].concat()).run().silent();
        let pid: i32 = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
        let cgroups = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        assert_eq!(cgroups(pid), cgroups(rt.pid("c")));
        assert_eq!(members(rt), 2);
        for _ in 0..50 {
            assert!(!there.exists() && stat(pid).0 != "R");
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut waiting = rt.command(&["exec", "--ignore-paused", "c", "sh", "-c", "exit 7"]).spawn();
        let failing = rt.command(&["exec", "--ignore-paused", "c", "/bad"]);
        write_script(&file.with_file_name("../bad"), "#!/no/such/interpreter\n");
        let failing = failing.spawn();
        wait_until("four processes", Duration::from_secs(10), || members(rt) == 4);
        assert!(!waiting.has_ended());
        rt.command(&["resume", "c"]).run().ok();
        wait_until("the program runs", Duration::from_secs(10), || there.exists());
        assert_eq!(waiting.wait().code(), 7);
        exec_fails(&failing.wait(), "exec /bad: no such file or directory");
        rt.delete_force("c");
    });
}
