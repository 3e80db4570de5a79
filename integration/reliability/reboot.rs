//! What a record says of a process may be about another boot, or about a pid that somebody else has by now: it is never signalled.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use harness::{Host, Runtime, Value, alive, json, wait_until, with_runtime};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn edit(rt: &Runtime, change: impl FnOnce(&mut Value)) {
    let file: PathBuf = rt.root().join("c/state.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(&mut record);
    fs::write(file, record.to_string()).unwrap();
}

/// The pid and start time in a record's stage.
fn init(record: &mut Value) -> &mut Value {
    &mut record["stage"]["init"]
}

#[test]
fn a_record_of_another_boot_reads_as_stopped() {
    with_runtime(|rt| {
        if !rt.only_keg("others have records of their own") {
            return;
        }
        rt.sleeping("c");
        let pid = rt.pid("c");
        edit(rt, |record| record["boot_id"] = json!("00000000-0000-0000-0000-000000000000"));
        assert_eq!(rt.status("c"), "stopped");
        rt.kill("c", "KILL").fails_with("container not running");
        rt.command(&["kill", "--all", "c", "KILL"]).run().silent();
        assert_eq!(rt.command(&["ps", "-f", "json", "c"]).run().ok().json(), json!([]));
        // What has the name of its cgroup is another one.
        rt.delete("c").silent();
        assert!(alive(pid), "a process of this boot was signalled for a record of another one");
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        wait_until("it has ended", Duration::from_secs(10), || !alive(pid));
        Host::remove_cgroups(&rt.cgroup_prefix());
    });
}

#[test]
fn a_pid_that_somebody_else_has_is_left_alone() {
    with_runtime(|rt| {
        if !rt.only_keg("others have records of their own") {
            return;
        }
        for start_time in [1_u64, u64::MAX >> 1] {
            let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
            let bundle = rt.bundle();
            rt.create(&bundle, "c").ok();
            rt.start("c").ok();
            rt.wait_stopped("c");
            edit(rt, |record| *init(record) = json!([stranger.id(), start_time]));
            assert_eq!(rt.status("c"), "stopped");
            rt.kill("c", "KILL").fails_with("container not running");
            rt.command(&["kill", "--all", "c", "KILL"]).run();
            rt.delete_force("c");
            assert!(alive(stranger.id() as i32), "a stranger was killed");
            stranger.kill().unwrap();
            assert_eq!(stranger.wait().unwrap().signal(), Some(9));
        }
    });
}

#[test]
fn a_record_that_is_no_record_can_be_deleted() {
    with_runtime(|rt| {
        if !rt.only_keg("others refuse") {
            return;
        }
        for text in ["", "{", "null", "\0\0\0\0\0\0", "{\"id\":\"other\"}"] {
            fs::create_dir_all(rt.root().join("c")).unwrap();
            fs::write(rt.root().join("c/state.json"), text).unwrap();
            assert_eq!(rt.status("c"), "stopped", "{text:?}");
            rt.command(&["list"]).run().ok();
            rt.delete("c").ok();
            rt.assert_gone("c");
        }
    });
}
