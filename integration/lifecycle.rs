//! create, start, state, kill, delete, list, run: the states a container goes through, and what each state allows.

use std::fs;
use std::path::Path;

use harness::{alive, json, wait_until, with_runtime};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Duration;

#[test]
fn create_start_delete_goes_through_every_state() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.shell("echo started > /dev/shm/started; exec sleep 100");
        rt.create(&bundle, "c").silent();

        let created = rt.state("c");
        assert_eq!(created["status"], "created");
        assert_eq!(created["id"], "c");
        assert_eq!(created["bundle"], bundle.arg());
        let pid = created["pid"].as_i64().unwrap();
        assert!(Path::new(&format!("/proc/{pid}")).exists());

        rt.start("c").silent();
        let running = rt.state("c");
        assert_eq!(running["status"], "running");
        assert_eq!(running["pid"].as_i64(), Some(pid), "the init process is the one that was created");

        rt.kill("c", "KILL").silent();
        rt.wait_stopped("c");
        assert_eq!(rt.state("c")["pid"], 0, "a stopped container has no process");

        rt.delete("c").silent();
        rt.assert_gone("c");
    });
}

#[test]
fn the_program_does_not_run_before_start() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let mark = rt.dir().join("shared/mark");
        fs::create_dir(rt.dir().join("shared")).unwrap();
        bundle.mount(&json!({"destination": "/tmp", "type": "bind", "source": rt.dir().join("shared"),
                             "options": ["bind", "rw"]}));
        bundle.shell("echo > /tmp/mark");
        rt.create(&bundle, "c").ok();
        std::thread::sleep(Duration::from_millis(100));
        assert!(!mark.exists());
        rt.start("c").ok();
        wait_until("the program ran", Duration::from_secs(5), || mark.exists());
    });
}

#[test]
fn state_has_every_field_that_callers_read() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["annotations"] = json!({"org.example.key": "value"}));
        rt.create(&bundle, "c").ok();
        let state = rt.state("c");
        assert!(state["ociVersion"].as_str().unwrap().starts_with("1."), "{state}");
        assert_eq!(state["rootfs"], bundle.rootfs().to_str().unwrap());
        assert_eq!(state["annotations"], json!({"org.example.key": "value"}));
        assert!(state["owner"].is_string());
        let created = state["created"].as_str().unwrap();
        assert!(
            created.len() >= 20 && &created[10..11] == "T" && created.ends_with('Z'),
            "RFC 3339: {created}"
        );
    });
}

#[test]
fn a_created_container_whose_init_was_killed_is_stopped() {
    with_runtime(|rt| {
        rt.create(&rt.bundle(), "c").ok();
        kill(Pid::from_raw(rt.pid("c")), Signal::SIGKILL).unwrap();
        wait_until("stopped", Duration::from_secs(5), || rt.status("c") == "stopped");
        rt.command(&["start", "c"]).run().fails_with("");
        rt.delete("c").silent();
    });
}

#[test]
fn the_same_id_can_be_used_again_after_delete() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        for _ in 0..3 {
            rt.create(&bundle, "c").ok();
            rt.start("c").ok();
            rt.wait_stopped("c");
            rt.delete("c").ok();
        }
    });
}

#[test]
fn start_needs_a_created_container() {
    with_runtime(|rt| {
        rt.sleeping("c");
        rt.start("c").fails_with("cannot start an already running container");
        rt.kill("c", "9").ok();
        rt.wait_stopped("c");
        rt.start("c").fails_with("cannot start a container that has stopped");
    });
}

#[test]
fn delete_needs_a_stopped_container() {
    with_runtime(|rt| {
        rt.sleeping("c");
        let message = rt.delete("c").fails_with("cannot delete container c that is not stopped: running");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert_eq!(rt.status("c"), "running");
    });
}

#[test]
fn delete_removes_a_created_container() {
    with_runtime(|rt| {
        rt.create(&rt.bundle(), "c").ok();
        let pid = rt.pid("c");
        rt.delete("c").silent();
        assert!(!alive(pid));
        rt.assert_gone("c");
    });
}

#[test]
fn delete_force_ends_a_running_container() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.shell("trap '' TERM; sleep 100 & sleep 100");
        rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        let pid = rt.pid("c");
        rt.command(&["delete", "--force", "c"]).run().silent();
        assert!(!alive(pid));
    });
}

#[test]
fn delete_force_of_a_missing_container_succeeds() {
    with_runtime(|rt| {
        rt.command(&["delete", "--force", "missing"]).run().ok();
        rt.command(&["delete", "-f", "missing"]).run().ok();
    });
}

#[test]
fn commands_on_a_missing_container_say_so() {
    with_runtime(|rt| {
        for command in ["state", "start", "delete"] {
            let message = rt.command(&[command, "missing"]).run().fails_with("container does not exist");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
        rt.kill("missing", "9").fails_with("container does not exist");
    });
}

#[test]
fn kill_sends_the_signal_that_was_named() {
    with_runtime(|rt| {
        for (signal, name) in [("HUP", "HUP"), ("SIGUSR1", "USR1"), ("12", "USR2"), ("TERM", "TERM")] {
            let bundle = rt.bundle();
            bundle.shell(&format!(
                "trap 'echo got {name}; exit 0' {name}; echo ready; while :; do sleep 0.05; done"
            ));
            let id = format!("c-{name}");
            let out = rt.create(&bundle, &id).ok();
            rt.start(&id).ok();
            wait_until("the trap is set", Duration::from_secs(5), || out.stdout().contains("ready"));
            rt.kill(&id, signal).silent();
            rt.wait_stopped(&id);
            assert_eq!(out.stdout(), format!("ready\ngot {name}\n"));
        }
    });
}

#[test]
fn kill_without_a_signal_is_term() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.shell("trap 'echo got TERM; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
        let out = rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        wait_until("the trap is set", Duration::from_secs(5), || out.stdout().contains("ready"));
        rt.command(&["kill", "c"]).run().silent();
        rt.wait_stopped("c");
        assert_eq!(out.stdout(), "ready\ngot TERM\n");
    });
}

#[test]
fn kill_of_a_created_container_ends_it() {
    with_runtime(|rt| {
        rt.create(&rt.bundle(), "c").ok();
        rt.kill("c", "KILL").silent();
        rt.wait_stopped("c");
    });
}

#[test]
fn kill_of_a_stopped_container_says_not_running() {
    with_runtime(|rt| {
        rt.create(&rt.bundle(), "c").ok();
        rt.start("c").ok();
        rt.wait_stopped("c");
        rt.kill("c", "TERM").fails_with("container not running");
        rt.command(&["kill", "--all", "c", "KILL"]).run().silent();
    });
}

#[test]
fn kill_all_reaches_every_process_of_the_cgroup() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.without_namespace("pid");
        bundle.shell("sleep 100 & sleep 100 & echo ready; wait");
        let out = rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        wait_until("all run", Duration::from_secs(5), || out.stdout().contains("ready"));
        let before = harness::Host::look(rt).processes;
        assert_eq!(before.len(), 3, "{before:?}");
        rt.command(&["kill", "-a", "c", "KILL"]).run().silent();
        rt.wait_stopped("c");
        wait_until("none is left", Duration::from_secs(5), || harness::Host::look(rt).processes.is_empty());
    });
}

#[test]
fn signal_0_asks_whether_there_is_a_process() {
    with_runtime(|rt| {
        rt.sleeping("c");
        rt.kill("c", "0").silent();
        rt.command(&["kill", "--all", "c", "0"]).run().silent();
        assert_eq!(rt.status("c"), "running");
        rt.kill("c", "KILL").ok();
        rt.wait_stopped("c");
        rt.kill("c", "0").fails_with("container not running");
    });
}

/// Of its processes only the first is known. Callers stop containers with `kill --all` whether they have cgroups or not.
#[test]
fn a_container_without_a_cgroup_is_killed_by_its_first_process() {
    with_runtime(|rt| {
        if !rt.only_keg("others know no such cgroup manager") {
            return;
        }
        let bundle = rt.bundle();
        bundle.shell("trap 'echo TERM; exit 3' TERM; sleep 1000 & echo ready; while :; do sleep 0.05; done");
        let create = ["create", "--bundle", &bundle.arg(), "c"];
        let out = rt.command_with_globals(&["--cgroup-manager", "disabled"], &create).run().ok();
        rt.start("c").silent();
        wait_until("ready", Duration::from_secs(5), || out.stdout().contains("ready"));
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        assert_eq!(fs::read_to_string(format!("/proc/{}/cgroup", rt.pid("c"))).unwrap(), own);
        for command in [
            &["ps", "c"][..],
            &["pause", "c"],
            &["events", "--stats", "c"],
            &["update", "--pids-limit", "9", "c"],
        ] {
            rt.command(command).run().fails_with("container c has no cgroup of its own");
        }
        rt.command(&["kill", "--all", "c", "TERM"]).run().silent();
        rt.wait_stopped("c");
        assert_eq!(out.stdout(), "ready\nTERM\n");
        rt.command(&["kill", "--all", "c", "KILL"]).run().silent();
        rt.delete("c").silent();

        bundle.args(&["/bin/sleep", "1000"]);
        rt.command_with_globals(&["--cgroup-manager", "disabled"], &create).run().silent();
        rt.start("c").ok();
        rt.command(&["delete", "--force", "c"]).run().silent();
        rt.assert_gone("c");
    });
}

/// Callers take these words for an end that they need not wait for.
#[test]
fn a_process_that_ends_while_it_is_signalled_is_told_as_such() {
    with_runtime(|rt| {
        if !rt.only_keg("others signal by other calls") {
            return;
        }
        rt.sleeping("c");
        // containerd knows the first, CRI-O the second.
        for (errno, words) in [
            ("ESRCH", "os: process already finished"),
            ("ESRCH", "container not running"),
            ("EPERM", "operation not permitted"),
        ] {
            let inject = format!("inject=pidfd_send_signal:error={errno}");
            let strace = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=pidfd_send_signal", "-e", &inject];
            let message = rt.command(&["kill", "c", "TERM"]).inside(&strace).run().fails_with(words);
            assert_eq!(message.lines().count(), 1, "{message}");
        }
        assert_eq!(rt.status("c"), "running");
    });
}

#[test]
fn edits_of_config_json_after_create_have_no_effect() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.shell("echo first");
        let out = rt.create(&bundle, "c").ok();
        bundle.shell("echo second");
        rt.start("c").ok();
        rt.wait_stopped("c");
        assert_eq!(out.stdout(), "first\n");
        fs::remove_file(bundle.path().join("config.json")).unwrap();
        rt.delete("c").silent();
    });
}

#[test]
fn a_container_without_a_process_can_be_created_but_not_started() {
    with_runtime(|rt| {
        if !rt.only_keg("the specification lets `process` be absent until start; others refuse it in create")
        {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| {
            c.as_object_mut().unwrap().remove("process");
        });
        rt.create(&bundle, "c").silent();
        assert_eq!(rt.status("c"), "created");
        rt.start("c").fails_with("process property must not be empty");
        rt.delete("c").silent();
    });
}
