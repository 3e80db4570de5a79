//! Flags as callers type them, the pid file, `spec`, `list`, `--version` and help.

use std::collections::BTreeSet;
use std::fs;

use harness::{Value, json, with_runtime};

#[test]
fn flags_come_with_one_dash_or_two_and_with_an_equals_sign() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        for flag in ["--bundle", "-bundle", "-b"] {
            rt.command(&["create", flag, &bundle.arg(), "c"]).run().silent();
            rt.delete("c").ok();
        }
        rt.command(&["create", &format!("--bundle={}", bundle.arg()), "c"]).run().silent();
        rt.command(&["delete", "-force", "c"]).run().silent();
    });
}

#[test]
fn the_bundle_is_the_current_directory_by_default() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        rt.command(&["create", "c"]).cwd(bundle.path()).run().silent();
        assert_eq!(rt.state("c")["bundle"], bundle.arg());
        rt.delete("c").ok();
        let relative = bundle.path().file_name().unwrap().to_str().unwrap();
        rt.command(&["create", "--bundle", relative, "c"]).cwd(rt.dir()).run().silent();
        assert_eq!(rt.state("c")["bundle"], bundle.arg());
    });
}

#[test]
fn the_pid_file_is_decimal_without_a_newline_and_relative_to_the_caller() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let words = ["create", "--bundle", &bundle.arg(), "--pid-file", "c.pid", "c"];
        rt.command(&words).cwd(rt.dir()).run().silent();
        assert_eq!(fs::read_to_string(rt.dir().join("c.pid")).unwrap(), rt.pid("c").to_string());
        let beside = fs::read_dir(rt.dir()).unwrap().flatten().filter(|e| e.file_name() != "c.pid");
        assert!(
            !beside.map(|e| e.file_name()).any(|n| n.to_string_lossy().contains("pid")),
            "a temporary file"
        );
    });
}

#[test]
fn a_pid_file_that_cannot_be_written_fails_create() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let words = ["create", "--bundle", &bundle.arg(), "--pid-file", "/no/such/directory/pid", "c"];
        rt.command(&words).run().fails_with("no such file or directory");
        rt.assert_gone("c");
    });
}

#[test]
fn list_shows_containers_as_table_json_and_names() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        assert_eq!(rt.command(&["list", "-q"]).run().ok().stdout(), "");
        rt.create(&bundle, "one").ok();
        let other = rt.bundle();
        rt.create(&other, "two").ok();

        assert_eq!(rt.command(&["list", "-q"]).run().ok().stdout(), "one\ntwo\n");
        let table = rt.command(&["list"]).run().ok().stdout();
        let words: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(words, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
        let row: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row[..4], ["one", &rt.pid("one").to_string(), "created", &bundle.arg()]);

        let listed = rt.command(&["list", "--format", "json"]).run().ok().json();
        let ids: Vec<_> = listed.as_array().unwrap().iter().map(|c| c["id"].clone()).collect();
        assert_eq!(ids, ["one", "two"]);
        assert_eq!(listed[1]["bundle"], other.arg());
        assert_eq!(listed[1]["status"], "created");
    });
}

#[test]
fn spec_writes_a_config_that_runs_and_refuses_to_overwrite() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let config = bundle.path().join("config.json");
        fs::remove_file(&config).unwrap();
        rt.command(&["spec", "--bundle", &bundle.arg()]).run().silent();
        assert!(fs::read_to_string(&config).unwrap().starts_with("{\n\t\"ociVersion\""));

        let cgroup = rt.cgroups_path("spec");
        bundle.edit(|c| {
            c["process"]["terminal"] = json!(false);
            c["linux"]["cgroupsPath"] = json!(cgroup);
        });
        bundle.shell("echo runs");
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), "runs\n");
        rt.command(&["spec"]).cwd(bundle.path()).run().fails_with("File config.json exists. Remove it first");
    });
}

#[test]
fn spec_rootless_has_a_user_namespace() {
    with_runtime(|rt| {
        fs::create_dir(rt.dir().join("b")).unwrap();
        rt.command(&["spec", "--rootless"]).cwd(rt.dir().join("b")).run().silent();
        let text = fs::read_to_string(rt.dir().join("b/config.json")).unwrap();
        let config: Value = serde_json::from_str(&text).unwrap();
        let kinds: Vec<_> =
            config["linux"]["namespaces"].as_array().unwrap().iter().map(|n| &n["type"]).collect();
        assert!(kinds.iter().any(|k| *k == "user") && !kinds.iter().any(|k| *k == "network"), "{kinds:?}");
        assert_eq!(config["linux"]["uidMappings"][0]["containerID"], 0);
    });
}

#[test]
fn version_is_printed_as_go_runc_reads_it() {
    with_runtime(|rt| {
        let text = rt.command(&["--version"]).run().ok().stdout();
        let name = rt.binary().file_name().unwrap().to_str().unwrap();
        let first = text.lines().next().unwrap();
        assert!(first.starts_with(&format!("{name} version ")), "{text}");
        assert!(text.lines().any(|l| l.starts_with("commit: ")), "{text}");
        assert!(text.lines().any(|l| l.starts_with("spec: 1.")), "{text}");
    });
}

#[test]
fn every_command_has_help() {
    with_runtime(|rt| {
        for command in ["create", "start", "state", "kill", "delete", "list", "run", "spec"] {
            for flag in ["--help", "-h"] {
                let done = rt.command(&[command, flag]).run().ok();
                let first: Vec<String> = done.stdout().lines().take(3).map(str::to_owned).collect();
                assert!(first.iter().any(|l| l.contains(command)), "{command} {flag}: {first:?}");
            }
        }
    });
}

#[test]
fn wrong_use_is_one_line_and_exit_status_1() {
    with_runtime(|rt| {
        if !rt.only_keg("others print their whole usage") {
            return;
        }
        let cases: &[(&[&str], &str)] = &[
            (&["no-such-command"], "no-such-command"),
            (&["create", "--no-such-flag", "c"], "no-such-flag"),
            (&["create"], "require"),
            (&["create", "--bundle"], "flag needs an argument"),
            (&["start"], "require"),
            (&["delete"], "require"),
            (&["kill"], "require"),
            (&["state"], "require"),
            (&["state", "a", "b"], "b"),
            (&["list", "--format", "xml"], "xml"),
        ];
        for (words, text) in cases {
            let message = rt.command(words).run().fails_with(text);
            assert_eq!(message.lines().count(), 1, "{words:?}: {message}");
        }
    });
}

/// Commands whose output is what they are for. `unpack` and `repack` say how far they are.
const WITH_OUTPUT: [&str; 9] =
    ["check", "events", "features", "inspect", "list", "ps", "repack", "state", "unpack"];

/// Callers merge the two streams, and Podman reads the whole log file as the error.
#[test]
fn every_other_command_is_silent_when_it_succeeds() {
    with_runtime(|rt| {
        if !rt.only_keg("the commands are those of its help") {
            return;
        }
        let log = rt.dir().join("log").display().to_string();
        let mut silent = BTreeSet::new();
        let mut quiet = |words: &[&str]| {
            let globals = ["--log", &log, "--log-format", "json"];
            rt.command_with_globals(&globals, words).run().silent();
            silent.insert(words[0].to_owned());
        };
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "100"]);
        quiet(&["create", "--bundle", &bundle.arg(), "c"]);
        quiet(&["start", "c"]);
        quiet(&["exec", "c", "/bin/true"]);
        quiet(&["exec", "--detach", "c", "/bin/true"]);
        quiet(&["update", "--pids-limit", "50", "c"]);
        quiet(&["pause", "c"]);
        quiet(&["exec", "--detach", "--ignore-paused", "c", "/bin/true"]);
        quiet(&["resume", "c"]);
        quiet(&["kill", "--all", "c", "KILL"]);
        rt.wait_stopped("c");
        quiet(&["kill", "--all", "c", "KILL"]);
        quiet(&["delete", "c"]);
        quiet(&["delete", "--force", "c"]);
        quiet(&["run", "--detach", "--bundle", &bundle.arg(), "c"]);
        quiet(&["delete", "--force", "c"]);
        bundle.args(&["/bin/true"]);
        quiet(&["run", "--bundle", &bundle.arg(), "c"]);
        fs::create_dir(rt.dir().join("new")).unwrap();
        quiet(&["spec", "--bundle", &rt.dir().join("new").display().to_string()]);
        assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "");

        let help = rt.command(&["--help"]).run().ok().stdout();
        let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let commands =
            commands.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
        let others: BTreeSet<_> =
            commands.filter(|name| !WITH_OUTPUT.contains(name)).map(str::to_owned).collect();
        assert_eq!(silent, others);
    });
}

#[test]
fn systemd_is_refused_by_name_where_it_has_not_all_cgroups() {
    with_runtime(|rt| {
        if harness::host::hierarchies().len() == 1
            || !rt.only_keg("others ask it all the same, or go on without")
        {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["linux"]["cgroupsPath"] = json!("system.slice:keg:one"));
        for globals in [&["--systemd-cgroup"][..], &["--cgroup-manager", "systemd"]] {
            for command in ["create", "run"] {
                let done = rt.command_with_globals(globals, &[command, "--bundle", &bundle.arg(), "c"]).run();
                let message =
                    done.fails_with("systemd can only be asked on a host with cgroup version 2 alone");
                assert_eq!(message.lines().count(), 1, "{message}");
            }
        }
        rt.assert_gone("c");
    });
}

#[test]
fn root_slash_is_refused() {
    with_runtime(|rt| {
        if !rt.only_keg("others take / as the state directory") {
            return;
        }
        let words = [rt.binary().to_str().unwrap(), "--root", "/", "list"];
        rt.program(&words).run().fails_with("/");
    });
}

/// `setarch --uname-2.6` lets the kernel say that it is an old one.
#[test]
fn an_old_kernel_is_refused_by_name() {
    with_runtime(|rt| {
        if !rt.only_keg("the others need other kernels") {
            return;
        }
        let bundle = rt.bundle();
        for words in [&["create", "--bundle", &bundle.arg(), "c"][..], &["check", &bundle.arg()]] {
            let old = ["setarch", "--uname-2.6"];
            let message = rt.command(words).inside(&old).run().fails_with("and keg needs 5.14 or later");
            assert!(message.contains("this is Linux 2.6"), "{message}");
        }
        rt.assert_gone("c");
    });
}
