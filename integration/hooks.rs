//! Hooks: which run when and where, what they get, how long they may take, and what each failure does.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use harness::command::write_script;
use harness::peers::Kind;
use harness::{Bundle, Host, Runtime, Value, json, wait_until, with_runtime};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A shell script in the bundle that is a hook on the host. It reads the state: some runtimes don't survive a hook that doesn't.
fn script(bundle: &Bundle, name: &str, text: &str) -> PathBuf {
    let path = bundle.path().join(name);
    let read = if text.contains("cat > ") { "" } else { "cat > /dev/null\n" };
    write_script(&path, &format!("#!/bin/sh\n{read}{text}\n"));
    path
}

/// The same, inside the container's root filesystem.
fn script_inside(bundle: &Bundle, name: &str, text: &str) -> String {
    script(bundle, &format!("rootfs/{name}"), text);
    format!("/{name}")
}

fn set(bundle: &Bundle, kind: &str, hooks: Value) {
    bundle.edit(|c| c["hooks"][kind] = hooks);
}

/// The text of a file that a hook wrote into the bundle.
fn read(bundle: &Bundle, name: &str) -> String {
    fs::read_to_string(bundle.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn all_six_run_in_their_order() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["root"]["readonly"] = json!(false));
        let order = bundle.path().join("order");
        for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
            let hook = script(&bundle, kind, &format!("echo {kind} >> {}", order.display()));
            set(&bundle, kind, json!([{"path": hook}]));
        }
        let inner = script_inside(&bundle, "start-hook", "echo startContainer >> /order");
        set(&bundle, "startContainer", json!([{"path": inner}]));
        bundle.shell("echo process >> /order");

        rt.create(&bundle, "c").silent();
        assert_eq!(read(&bundle, "order"), "prestart\ncreateRuntime\ncreateContainer\n");
        rt.start("c").silent();
        rt.wait_stopped("c");
        assert_eq!(read(&bundle, "rootfs/order"), "startContainer\nprocess\n");
        assert_eq!(read(&bundle, "order"), "prestart\ncreateRuntime\ncreateContainer\npoststart\n");
        rt.delete("c").silent();
        assert_eq!(read(&bundle, "order"), "prestart\ncreateRuntime\ncreateContainer\npoststart\npoststop\n");
    });
}

/// The files are the host's, also where a hook runs inside.
#[test]
fn what_hooks_write_goes_where_annotations_say() {
    with_runtime(|rt| {
        if !rt.only_keg(
            "runc does not know the annotations, and crun 1.8 has no such file for each kind of hook",
        ) {
            return;
        }
        let bundle = rt.bundle();
        let kinds =
            ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
        for kind in kinds {
            let text = format!("echo {kind}; echo not {kind} >&2");
            let hook = match kind {
                "startContainer" => script_inside(&bundle, kind, &text),
                _ => script(&bundle, kind, &text).display().to_string(),
            };
            set(&bundle, kind, json!([{"path": hook}]));
        }
        let file = |name: &str| bundle.path().join(name).display().to_string();
        let files = json!({"run.oci.hooks.stdout": file("out"), "run.oci.hooks.stderr": file("err")});
        bundle.edit(|c| c["annotations"] = files);
        bundle.args(&["/bin/ls", "/proc/self/fd"]);
        // Neither file is one of the program's.
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), "0\n1\n2\n3\n");
        let expected = |before: &str| kinds.map(|kind| format!("{before}{kind}\n")).concat();
        assert_eq!((read(&bundle, "out"), read(&bundle, "err")), (expected(""), expected("not ")));

        bundle.args(&["/bin/sleep", "1000"]);
        rt.create(&bundle, "d").silent();
        rt.start("d").silent();
        rt.delete_force("d");
        assert_eq!(read(&bundle, "out"), expected("").repeat(2));

        for (path, problem) in [
            ("out", "annotations[\"run.oci.hooks.stdout\"]: \"out\" is not an absolute path"),
            ("/no/such/place", "annotations[\"run.oci.hooks.stdout\"]: openat"),
        ] {
            bundle.edit(|c| c["annotations"]["run.oci.hooks.stdout"] = json!(path));
            rt.create(&bundle, "e").fails_with(problem);
        }
    });
}

/// A foreground command holds signals back; what a hook starts must not.
#[test]
fn no_signal_is_held_back_in_hooks() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        for kind in ["createRuntime", "createContainer", "poststart", "poststop"] {
            let to = bundle.path().join(format!("signals-{kind}"));
            let hook = script(&bundle, kind, &format!("grep SigBlk /proc/self/status > {}", to.display()));
            set(&bundle, kind, json!([{"path": hook}]));
        }
        rt.run(&bundle, "c").ok();
        for kind in ["createRuntime", "createContainer", "poststart", "poststop"] {
            assert_eq!(read(&bundle, &format!("signals-{kind}")), "SigBlk:\t0000000000000000\n", "{kind}");
        }
    });
}

#[test]
fn hooks_and_the_program_have_the_processors_of_the_caller() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let kinds = ["createRuntime", "createContainer", "poststart", "poststop"];
        for kind in kinds {
            let to = bundle.path().join(format!("{kind}.cpus"));
            let text = format!("grep Cpus_allowed_list: /proc/self/status > {}", to.display());
            set(&bundle, kind, json!([{"path": script(&bundle, kind, &text)}]));
        }
        bundle.args(&["/bin/grep", "Cpus_allowed_list:", "/proc/self/status"]);
        let own = fs::read_to_string("/proc/thread-self/status").unwrap();
        let own = own.lines().find(|line| line.starts_with("Cpus_allowed_list:")).unwrap();
        let all = own.split_whitespace().nth(1).unwrap();
        for cpus in [all, all.split([',', '-']).next().unwrap()] {
            // More than once: the runtime and init may meet on one of them or not.
            for _ in 0..5 {
                let words = ["run", "--bundle", &bundle.arg(), "c"];
                let done = rt.command(&words).inside(&["taskset", "-c", cpus]).run().ok();
                let expected = format!("Cpus_allowed_list:\t{cpus}\n");
                assert_eq!(done.stdout(), expected);
                kinds
                    .iter()
                    .for_each(|kind| assert_eq!(read(&bundle, &format!("{kind}.cpus")), expected, "{kind}"));
            }
        }
    });
}

#[test]
fn several_hooks_of_one_kind_run_as_listed() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let order = bundle.path().join("order");
        let hook = |n: u32| json!({"path": script(&bundle, &format!("h{n}"), &format!("echo {n} >> {}", order.display()))});
        set(&bundle, "createRuntime", json!([hook(1), hook(2), hook(3)]));
        rt.create(&bundle, "c").ok();
        assert_eq!(read(&bundle, "order"), "1\n2\n3\n");
    });
}

#[test]
fn hooks_get_the_state_on_stdin() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["annotations"] = json!({"key": "value"}));
        bundle.args(&["/bin/sleep", "100"]);
        let states = [
            ("prestart", "created"),
            ("createRuntime", "creating"),
            ("createContainer", "creating"),
            ("poststart", "running"),
            ("poststop", "stopped"),
        ];
        for (kind, _) in states {
            let to = bundle.path().join(format!("{kind}.json"));
            let hook = script(&bundle, kind, &format!("cat > {}", to.display()));
            set(&bundle, kind, json!([{"path": hook}]));
        }
        rt.create(&bundle, "c").ok();
        let pid = rt.pid("c");
        rt.start("c").ok();
        rt.kill("c", "KILL").ok();
        rt.wait_stopped("c");
        rt.delete("c").ok();
        for (kind, status) in states {
            let state: Value = serde_json::from_str(&read(&bundle, &format!("{kind}.json"))).unwrap();
            assert_eq!(state["id"], "c", "{kind}");
            assert_eq!(state["bundle"], bundle.arg(), "{kind}");
            assert_eq!(state["annotations"]["key"], "value", "{kind}");
            assert!(state["ociVersion"].as_str().unwrap().starts_with("1."), "{kind}");
            assert_eq!(state["status"], status, "{kind}");
            // In the container's namespaces the pid is the one seen there.
            let expected = match kind {
                "createContainer" => 1,
                "poststop" => 0,
                _ => pid,
            };
            assert_eq!(state["pid"].as_i64().unwrap_or_default(), i64::from(expected), "{kind}");
        }
    });
}

#[test]
fn hooks_run_in_the_namespaces_of_their_place() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let own =
            |name: &str| fs::read_link(format!("/proc/thread-self/ns/{name}")).unwrap().display().to_string();
        for kind in ["prestart", "createRuntime", "createContainer", "poststart"] {
            let to = bundle.path().join(format!("{kind}.ns"));
            let hook = script(
                &bundle,
                kind,
                &format!("readlink /proc/self/ns/mnt /proc/self/ns/uts > {}", to.display()),
            );
            set(&bundle, kind, json!([{"path": hook}]));
        }
        bundle.args(&["/bin/sleep", "100"]);
        rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        let of = |name: &str| {
            fs::read_link(format!("/proc/{}/ns/{name}", rt.pid("c"))).unwrap().display().to_string()
        };
        for kind in ["prestart", "createRuntime", "poststart"] {
            assert_eq!(
                read(&bundle, &format!("{kind}.ns")),
                format!("{}\n{}\n", own("mnt"), own("uts")),
                "{kind}"
            );
        }
        assert_eq!(read(&bundle, "createContainer.ns"), format!("{}\n{}\n", of("mnt"), of("uts")));
    });
}

#[test]
fn create_container_hooks_see_the_bundle_and_start_container_hooks_the_root() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["root"]["readonly"] = json!(false));
        let to = bundle.path().join("seen");
        let hook = script(
            &bundle,
            "h",
            &format!("pwd > {0}; test -e /etc/debian_version && echo host >> {0}", to.display()),
        );
        set(&bundle, "createContainer", json!([{"path": hook}]));
        let inner = script_inside(
            &bundle,
            "start-hook",
            "pwd > /seen; cat /etc/group >> /seen; grep Uid /proc/self/status >> /seen",
        );
        set(&bundle, "startContainer", json!([{"path": inner}]));
        rt.run(&bundle, "c").ok();
        assert_eq!(read(&bundle, "seen"), format!("{}\nhost\n", bundle.arg()));
        assert!(
            read(&bundle, "rootfs/seen").starts_with("/\nroot:x:0:\n"),
            "{}",
            read(&bundle, "rootfs/seen")
        );
    });
}

#[test]
fn arguments_and_environment_are_as_given() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let to = bundle.path().join("seen");
        let hook = script(
            &bundle,
            "h",
            &format!("echo \"$# $1 $2 $A ${{FROM_THE_CALLER-unset}}\" > {}", to.display()),
        );
        set(
            &bundle,
            "createRuntime",
            json!([{"path": hook, "args": ["name", "one", "two"], "env": ["A=b", "PATH=/bin"]}]),
        );
        rt.command(&["create", "--bundle", &bundle.arg(), "c"]).env("FROM_THE_CALLER", "yes").run().ok();
        assert_eq!(read(&bundle, "seen"), "2 one two b unset\n");
    });
}

#[test]
fn without_an_environment_of_its_own_a_hook_has_the_runtimes_and_with_an_empty_one_none() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let to = |n: u32| bundle.path().join(format!("seen{n}"));
        let hook = |n: u32| script(&bundle, &format!("h{n}"), &format!("/usr/bin/env > {}", to(n).display()));
        set(&bundle, "createRuntime", json!([{"path": hook(1)}, {"path": hook(2), "env": []}]));
        rt.command(&["create", "--bundle", &bundle.arg(), "c"]).env("FROM_THE_CALLER", "yes").run().ok();
        assert!(read(&bundle, "seen1").contains("FROM_THE_CALLER=yes\n"), "{}", read(&bundle, "seen1"));
        assert!(!read(&bundle, "seen2").contains("FROM_THE_CALLER"), "{}", read(&bundle, "seen2"));
        // What the caller has of that name, and nothing of the runtime's own.
        let ours = |name: &str| name.to_lowercase().contains("keg_");
        let callers: Vec<String> = std::env::vars().map(|(name, _)| name).filter(|name| ours(name)).collect();
        let seen = read(&bundle, "seen1");
        let mut names = seen.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
        let own = names.find(|name| ours(name) && !callers.iter().any(|callers| callers == name));
        assert_eq!(own, None);
    });
}

#[test]
fn a_start_container_hook_without_an_environment_has_the_processs() {
    with_runtime(|rt| {
        if !rt.only_keg("others give it an empty one, or their own") {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| {
            c["root"]["readonly"] = json!(false);
            c["process"]["env"] = json!(["PATH=/bin", "OF_THE_PROCESS=1"]);
        });
        let inner = script_inside(&bundle, "start-hook", "env > /seen");
        set(&bundle, "startContainer", json!([{"path": inner}]));
        rt.command(&["run", "--bundle", &bundle.arg(), "c"]).env("FROM_THE_CALLER", "yes").run().ok();
        let seen = read(&bundle, "rootfs/seen");
        assert!(seen.contains("OF_THE_PROCESS=1\n") && !seen.contains("FROM_THE_CALLER"), "{seen}");
    });
}

fn fails(rt: &Runtime, bundle: &Bundle, words: &[&str], text: &str) {
    let message = rt.command(words).run().fails_with(text);
    assert!(!message.is_empty());
    rt.delete_force("c");
    rt.assert_gone("c");
    assert!(!bundle.rootfs().join("ran").exists(), "the process ran");
}

#[test]
fn a_failing_hook_before_start_fails_create() {
    with_runtime(|rt| {
        for kind in ["prestart", "createRuntime", "createContainer"] {
            let bundle = rt.bundle();
            bundle.edit(|c| c["root"]["readonly"] = json!(false));
            bundle.shell("echo > /ran");
            let hook = script(&bundle, "h", "echo the reason >&2; exit 3");
            set(&bundle, kind, json!([{"path": "/bin/true"}, {"path": hook}]));
            let message = rt.create(&bundle, "c").fails_with("hook #1");
            if rt.only_keg("others have other words before it") {
                assert!(message.contains(&format!("error running {kind} hook #1:")), "{message}");
                assert!(message.contains("the reason"), "{message}");
            }
            rt.assert_gone("c");
            fails(rt, &bundle, &["run", "--bundle", &bundle.arg(), "c"], "the reason");
        }
    });
}

/// A hook that leaves its pid in the file that is returned, and then hangs, before a program that hangs too.
fn hang(bundle: &Bundle, kind: &str) -> PathBuf {
    bundle.args(&["/bin/sleep", "1000"]).edit(|c| c["root"]["readonly"] = json!(false));
    let inside = kind == "startContainer";
    let mark = if inside { bundle.rootfs().join("mark") } else { bundle.path().join("mark") };
    let shown = if inside { "/mark".to_owned() } else { mark.display().to_string() };
    let text = format!("echo $$ > {shown}.new; mv {shown}.new {shown}; exec sleep 1000");
    let hook = match inside {
        true => script_inside(bundle, "h", &text),
        false => script(bundle, "h", &text).display().to_string(),
    };
    set(bundle, kind, json!([{"path": hook}]));
    mark
}

/// A signal is for the program, which does not run yet or has not been started to the end.
#[test]
fn a_run_that_is_told_to_end_does_not_wait_for_a_hook_that_hangs() {
    with_runtime(|rt| {
        if !rt.only_keg("others wait for the hook") {
            return;
        }
        let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"];
        for kind in kinds {
            for signal in [Signal::SIGTERM, Signal::SIGINT] {
                let bundle = rt.bundle();
                let mark = hang(&bundle, kind);
                let last = bundle.path().join("last");
                let hook = script(&bundle, "poststop", &format!("echo > {}", last.display()));
                set(&bundle, "poststop", json!([{"path": hook}]));
                let before = Host::look(rt);
                let running = rt.command(&["run", "--bundle", &bundle.arg(), "c"]).spawn();
                wait_until("the hook runs", Duration::from_secs(10), || mark.exists());
                // Neither a reason to end nor lost on the way.
                running.signal(Signal::SIGWINCH);
                running.signal(signal);
                let done = running.wait();
                assert_eq!(done.status.signal(), Some(signal as i32), "{kind}: {}", done.describe());
                assert!(!rt.root().join("c").exists(), "{kind}");
                assert!(last.exists(), "{kind}: no poststop hook ran");
                before.assert_same(rt);
            }
        }
    });
}

/// The hooks of a start have no limit of their own, and whoever gives up on one has only this.
#[test]
fn delete_by_force_does_not_wait_for_a_start_whose_hook_hangs() {
    with_runtime(|rt| {
        let mut kinds = vec!["startContainer"];
        if rt.kind() != Kind::Runc {
            // Debian's runs those in create.
            kinds.push("poststart");
        }
        for kind in kinds {
            let bundle = rt.bundle();
            let mark = hang(&bundle, kind);
            let before = Host::look(rt);
            rt.create(&bundle, "c").silent();
            let start = rt.command(&["start", "c"]).spawn();
            wait_until("the hook runs", Duration::from_secs(10), || mark.exists());
            rt.command(&["delete", "--force", "c"]).run().silent();
            rt.assert_gone("c");
            if kind == "poststart" {
                // A program of the host's, which the container's end does not end.
                let pid = fs::read_to_string(mark).unwrap().trim().parse().unwrap();
                kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
            }
            let done = start.wait();
            if rt.only_keg("others have a success of it, or words of their own") {
                let words = ["ended before it could run its program", "error running poststart hook #0:"];
                let found = words.into_iter().any(|words| done.stderr().contains(words));
                assert!(found && done.code() == 1, "{kind}: {}", done.describe());
            }
            before.assert_same(rt);
        }
    });
}

#[test]
fn a_failing_start_container_hook_fails_start() {
    with_runtime(|rt| {
        if !rt.only_keg("others report success, or say nothing of the hook") {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["root"]["readonly"] = json!(false));
        bundle.shell("echo > /ran");
        let inner = script_inside(&bundle, "start-hook", "echo the reason >&2; exit 3");
        set(&bundle, "startContainer", json!([{"path": inner}]));
        rt.create(&bundle, "c").ok();
        let message = rt.start("c").fails_with("error running startContainer hook #0:");
        assert!(message.contains("the reason"), "{message}");
        rt.wait_stopped("c");
        assert!(!bundle.rootfs().join("ran").exists(), "the process ran");
        rt.delete("c").silent();
    });
}

/// By then the container's process is no longer the runtime's program, however quick the hook is.
#[test]
fn poststart_hooks_run_after_execve_and_before_start_returns() {
    with_runtime(|rt| {
        if !rt.only_keg("others call it before") {
            return;
        }
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "100"]);
        let dir = bundle.arg();
        let pid = format!("cat > {dir}/state; pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/' {dir}/state)");
        let hook = script(&bundle, "h", &format!("{pid}; readlink /proc/$pid/exe >{dir}/seen"));
        set(&bundle, "poststart", json!([{"path": hook}]));
        rt.create(&bundle, "c").silent();
        assert!(!bundle.path().join("seen").exists(), "it ran before start");
        rt.start("c").silent();
        let seen = read(&bundle, "seen");
        assert!(seen.ends_with("/bin/busybox\n"), "{seen:?}");
    });
}

#[test]
fn a_failing_poststart_hook_stops_the_container() {
    with_runtime(|rt| {
        if !rt.only_keg("others differ among themselves") {
            return;
        }
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "100"]);
        let hook = script(&bundle, "h", "exit 3");
        set(&bundle, "poststart", json!([{"path": hook}]));
        rt.create(&bundle, "c").ok();
        rt.start("c").fails_with("error running poststart hook #0:");
        rt.wait_stopped("c");
    });
}

#[test]
fn a_failing_poststop_hook_only_warns_and_the_rest_run() {
    with_runtime(|rt| {
        if !rt.only_keg("others stop at the first failure") {
            return;
        }
        let bundle = rt.bundle();
        let to = bundle.path().join("second");
        let second = script(&bundle, "h2", &format!("echo ran > {}", to.display()));
        set(&bundle, "poststop", json!([{"path": script(&bundle, "h1", "exit 3")}, {"path": second}]));
        rt.create(&bundle, "c").ok();
        rt.delete("c").ok();
        assert_eq!(read(&bundle, "second"), "ran\n");
        rt.assert_gone("c");
    });
}

#[test]
fn a_hook_that_takes_too_long_is_killed_with_its_children() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let mark = bundle.path().join("late");
        let text = format!("(sleep 3; echo > {}) & sleep 15", mark.display());
        set(&bundle, "createRuntime", json!([{"path": script(&bundle, "h", &text), "timeout": 1}]));
        let start = Instant::now();
        rt.create(&bundle, "c").fails_with("");
        assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
        rt.assert_gone("c");
        if rt.only_keg("others kill the hook alone") {
            std::thread::sleep(Duration::from_millis(2500));
            assert!(!mark.exists(), "a child of the hook lives on");
        }
    });
}

#[test]
fn a_missing_hook_is_named() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        set(&bundle, "createRuntime", json!([{"path": "/no/such/hook"}]));
        rt.create(&bundle, "c").fails_with("/no/such/hook");
        rt.assert_gone("c");
    });
}

#[test]
fn wrong_hooks_are_refused_before_anything_is_touched() {
    with_runtime(|rt| {
        if !rt.only_keg("others notice when the hook runs, or never") {
            return;
        }
        for hook in [
            json!({"path": "relative"}),
            json!({"path": "/bin/true", "timeout": 0}),
            json!({"path": "/bin/true", "timeout": -1}),
        ] {
            let bundle = rt.bundle();
            set(&bundle, "poststop", json!([hook]));
            rt.create(&bundle, "c").fails_with("poststop");
            rt.assert_gone("c");
        }
    });
}

#[test]
fn poststop_hooks_run_after_a_foreground_run() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let to = bundle.path().join("stopped");
        set(
            &bundle,
            "poststop",
            json!([{"path": script(&bundle, "h", &format!("echo ran > {}", to.display()))}]),
        );
        bundle.shell("exit 4");
        assert_eq!(rt.run(&bundle, "c").code(), 4);
        wait_until("poststop ran", Duration::from_secs(2), || to.exists());
    });
}

#[test]
fn a_hook_may_ignore_a_state_that_is_larger_than_a_pipe() {
    with_runtime(|rt| {
        if !rt.only_keg("others end by a signal, or wait") {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["annotations"] = json!({"big": "x".repeat(300_000)}));
        set(&bundle, "createRuntime", json!([{"path": "/bin/true"}]));
        set(&bundle, "poststop", json!([{"path": "/bin/true"}]));
        rt.run(&bundle, "c").silent();
    });
}

/// Whoever was told of the beginning undoes what it did then.
#[test]
fn poststop_hooks_run_when_create_or_run_fails() {
    with_runtime(|rt| {
        type Step = (&'static str, fn(&mut Value));
        let steps: [Step; 3] = [
            ("a hook after it fails", |c| {
                c["hooks"]["createRuntime"].as_array_mut().unwrap().push(json!({"path": "/bin/false"}));
            }),
            ("a hook of the container fails", |c| {
                c["hooks"]["createContainer"] = json!([{"path": "/bin/false"}]);
            }),
            ("the program is missing", |c| c["process"]["args"] = json!(["/no/such/program"])),
        ];
        for (what, change) in steps {
            for command in ["create", "run"] {
                let bundle = rt.bundle();
                let order = bundle.path().join("order");
                for kind in ["createRuntime", "poststop"] {
                    let hook = script(&bundle, kind, &format!("echo {kind} >> {}", order.display()));
                    set(&bundle, kind, json!([{"path": hook}]));
                }
                bundle.edit(change);
                let done = rt.command(&[command, "--bundle", &bundle.arg(), "c"]).run();
                assert!(!done.status.success(), "{what}: {}", done.describe());
                rt.assert_gone("c");
                assert_eq!(read(&bundle, "order"), "createRuntime\npoststop\n", "{command}: {what}");
            }
        }
    });
}

/// A container whose poststop hooks were interrupted is there to be deleted again, until they have run.
#[test]
fn a_delete_that_is_killed_in_a_poststop_hook_can_be_repeated() {
    with_runtime(|rt| {
        if !rt.only_keg("others have forgotten the container by then") {
            return;
        }
        let bundle = rt.bundle();
        let (begun, ended) = (bundle.path().join("begun"), bundle.path().join("ended"));
        // The first one ends when the second one has.
        let text = format!(
            "echo >> {0}; [ $(wc -l < {0}) = 2 ] && echo > {1}; until [ -e {1} ]; do sleep 0.05; done",
            begun.display(),
            ended.display()
        );
        set(&bundle, "poststop", json!([{"path": script(&bundle, "h", &text)}]));
        rt.create(&bundle, "c").ok();
        let delete = rt.command(&["delete", "c"]).spawn();
        wait_until("the hook runs", Duration::from_secs(10), || begun.exists());
        // Deleted, as far as anybody can see; nobody waits for the hook.
        rt.assert_gone("c");
        rt.command(&["delete", "c"]).run().fails_with("container does not exist: c");
        rt.delete_force("c");
        assert!(!rt.command(&["list", "--quiet"]).run().ok().stdout().contains('c'));
        delete.signal(nix::sys::signal::Signal::SIGKILL);
        drop(delete);
        assert_eq!(rt.status("c"), "stopped");
        rt.delete_force("c");
        assert!(ended.exists());
        rt.assert_gone("c");
    });
}

#[test]
fn poststop_hooks_run_without_the_bundle() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let to = rt.dir().join("cwd");
        let hook = rt.dir().join("hook");
        write_script(&hook, &format!("#!/bin/sh\ncat > /dev/null; pwd > {}\n", to.display()));
        set(&bundle, "poststop", json!([{"path": hook}]));
        rt.create(&bundle, "c").ok();
        fs::remove_dir_all(bundle.path()).unwrap();
        rt.delete_force("c");
        assert!(to.exists(), "the hook did not run");
    });
}
