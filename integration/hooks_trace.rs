//! `keg-hook-trace`: alone; through keg, runc and crun at all six points; and `--hook`, which puts it in place, with `check`, which knows it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use harness::command::write_script;
use harness::runtime::target;
use harness::{Bundle, Command, Finished, Runtime, Value, json, with_runtime};

const POINTS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// The hook as it ships: static, as it has to run inside containers too.
fn hook() -> PathBuf {
    target().join("keg-hook-trace")
}

/// keg, also where another runtime is tested; it finds the hook.
fn keg(rt: &Runtime, words: &[&str]) -> Command {
    let binary =
        if rt.kind() == harness::peers::Kind::Keg { rt.binary().to_owned() } else { target().join("keg") };
    let words: Vec<_> =
        [&binary.display().to_string()[..]].iter().chain(words).map(|&word| word.to_owned()).collect();
    let path = format!("{}:{}", target().display(), std::env::var("PATH").unwrap());
    rt.program(&words).env("PATH", &path)
}

/// What the hook wrote.
fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn points(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["point"].as_str().unwrap()).collect()
}

fn now() -> String {
    let output = std::process::Command::new("date").args(["-u", "+%FT%T.%NZ"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Calls the hook as a runtime would.
fn call(rt: &Runtime, point: &str, file: &Path, state: &str) -> Finished {
    let words = [&hook().display().to_string(), "--point", point, "--file", &file.display().to_string()];
    rt.program(&words).stdin(state).run()
}

/// A bundle of the test with the hook in place, as `keg spec` writes it.
fn traced(rt: &Runtime, file: &Path) -> Bundle {
    let bundle = rt.bundle();
    let spec = rt.dir().join("spec");
    fs::create_dir_all(&spec).unwrap();
    let wanted = format!("trace={}", file.display());
    keg(rt, &["spec", "--bundle", &spec.display().to_string(), "--hook", &wanted]).run().silent();
    let written: Value = serde_json::from_slice(&fs::read(spec.join("config.json")).unwrap()).unwrap();
    bundle.edit(|c| {
        c["hooks"] = written["hooks"].clone();
        let added = written["mounts"].as_array().unwrap().iter().filter(|mount| mount["type"] == "bind");
        c["mounts"].as_array_mut().unwrap().extend(added.cloned());
    });
    bundle
}

#[test]
fn alone_it_appends_what_it_is_given_and_what_it_sees() {
    with_runtime(|rt| {
        let file = rt.dir().join("trace");
        let mut other = std::process::Command::new("sleep").arg("100").stdout(Stdio::null()).spawn().unwrap();
        let (before, pid) = (now(), other.id());
        let state = json!({"id": "a\nb", "status": "creating", "pid": pid, "annotations": {"k": "v"}});
        for point in POINTS {
            call(rt, point, &file, &serde_json::to_string_pretty(&state).unwrap()).silent();
        }
        let (after, lines) = (now(), lines(&file));
        assert_eq!(points(&lines), POINTS);
        for line in &lines {
            let time = line["time"].as_str().unwrap();
            assert!(
                time.len() == after.len() && *before <= *time && *time <= *after,
                "{before} {time} {after}"
            );
            assert_eq!(line["state"], state);
            let own = |name: &str| {
                fs::read_link(format!("/proc/thread-self/ns/{name}")).unwrap().display().to_string()
            };
            let theirs =
                |name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap().display().to_string();
            for name in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
                assert_eq!(line["namespaces"][name], own(name));
                assert_eq!(line["containerNamespaces"][name], theirs(name));
            }
        }
        let pids: BTreeSet<_> = lines.iter().map(|line| line["pid"].as_u64().unwrap()).collect();
        assert_eq!(pids.len(), POINTS.len());
        other.kill().unwrap();
        other.wait().unwrap();
        // What is no state is what somebody who debugs a runtime wants to see too.
        call(rt, "poststop", &file, "no {json}\n").silent();
        assert_eq!(self::lines(&file)[6]["state"], "no {json}\n");
    });
}

#[test]
fn alone_it_says_in_one_line_what_is_wrong() {
    with_runtime(|rt| {
        let file = rt.dir().join("no/such/place");
        let message = call(rt, "poststop", &file, "{}").fails_with("no such file or directory\n");
        assert_eq!(message, format!("keg-hook-trace: appending to {file:?}: no such file or directory\n"));
        let message =
            call(rt, "afterwards", &rt.dir().join("trace"), "{}").fails_with("unknown point \"afterwards\"");
        assert_eq!(message.lines().count(), 1);
        assert!(!rt.dir().join("trace").exists());
        rt.program(&[hook().display().to_string()]).run().fails_with("usage: keg-hook-trace --point");
    });
}

#[test]
fn calls_at_one_time_do_not_mix_their_lines() {
    with_runtime(|rt| {
        let file = rt.dir().join("trace");
        let name = |n: usize| format!("{n}-{}", "x".repeat(100_000));
        let calls = (0..40).map(|n| {
            let words =
                [&hook().display().to_string(), "--point", "poststop", "--file", &file.display().to_string()];
            rt.program(&words).stdin(json!({"id": name(n)}).to_string()).spawn()
        });
        calls.collect::<Vec<_>>().into_iter().for_each(|call| drop(call.wait().silent()));
        let seen: BTreeSet<_> =
            lines(&file).iter().map(|line| line["state"]["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(seen, (0..40).map(name).collect());
    });
}

#[test]
fn all_six_points_of_a_container_are_traced() {
    with_runtime(|rt| {
        let file = rt.dir().join("trace");
        let bundle = traced(rt, &file);
        bundle.edit(|c| c["annotations"] = json!({"key": "value"}));
        bundle.shell("readlink /proc/self/ns/mnt; readlink /proc/self/ns/pid");
        let names = |dir: &Path| -> BTreeSet<_> {
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect()
        };
        let before = (names(&bundle.rootfs()), names(&bundle.rootfs().join("dev")));
        let inside = rt.run(&bundle, "c").ok().stdout();
        let inside: Vec<_> = inside.lines().collect();
        let host = fs::read_link("/proc/thread-self/ns/mnt").unwrap().display().to_string();

        let lines = lines(&file);
        assert_eq!(points(&lines).into_iter().collect::<BTreeSet<_>>(), POINTS.into_iter().collect());
        assert_eq!(lines.len(), 6);
        for line in &lines {
            assert_eq!(line["state"]["id"], "c");
            assert_eq!(line["state"]["annotations"]["key"], "value");
            let in_container =
                matches!(line["point"].as_str().unwrap(), "createContainer" | "startContainer");
            let expected = if in_container { inside[0] } else { &host };
            assert_eq!(line["namespaces"]["mnt"], expected, "{line}");
            if in_container {
                assert_eq!(line["namespaces"]["pid"], inside[1], "{line}");
            }
        }
        let runtime = lines.iter().find(|line| line["point"] == "createRuntime").unwrap();
        assert_eq!(runtime["containerNamespaces"]["mnt"], inside[0]);
        // The hook and its file are seen inside, and leave no trace of themselves in the root file system.
        assert_eq!((names(&bundle.rootfs()), names(&bundle.rootfs().join("dev"))), before);
        if rt.only_keg("others call poststart in create, or say another status") {
            assert_eq!(points(&lines), POINTS);
            assert!(lines.iter().all(|line| line["state"]["bundle"] == json!(bundle.arg())));
            let statuses: Vec<_> =
                lines.iter().map(|line| line["state"]["status"].as_str().unwrap()).collect();
            assert_eq!(statuses, ["created", "creating", "creating", "created", "running", "stopped"]);
        }
    });
}

#[test]
fn containers_at_one_time_share_a_file() {
    with_runtime(|rt| {
        let file = rt.dir().join("trace");
        let bundles: Vec<_> = (0..8).map(|_| rt.bundle()).collect();
        let config = traced(rt, &file).config();
        fs::remove_dir_all(rt.dir().join("spec")).unwrap();
        let runs = bundles.iter().enumerate().map(|(n, bundle)| {
            let cgroup = bundle.cgroup();
            bundle.write(&config);
            bundle.edit(|c| c["linux"]["cgroupsPath"] = json!(cgroup));
            rt.command(&["run", "--bundle", &bundle.arg(), &format!("c{n}")]).spawn()
        });
        runs.collect::<Vec<_>>().into_iter().for_each(|run| drop(run.wait().ok()));
        let seen: BTreeSet<_> = lines(&file)
            .iter()
            .map(|line| (line["state"]["id"].to_string(), line["point"].as_str().unwrap().to_owned()))
            .collect();
        assert_eq!(seen.len(), 8 * 6);
    });
}

#[test]
fn a_spec_with_the_hook_runs_as_it_is_and_check_finds_nothing() {
    with_runtime(|rt| {
        if !rt.only_keg("spec --hook is keg's own") {
            return;
        }
        let bundle = rt.bundle();
        let cgroup = bundle.cgroup();
        fs::remove_file(bundle.path().join("config.json")).unwrap();
        // FILE is relative to where it is typed.
        keg(rt, &["spec", "--bundle", &bundle.arg(), "--hook", "trace=here"]).cwd(rt.dir()).run().silent();
        assert_eq!(fs::read_to_string(rt.dir().join("here")).unwrap(), "");
        bundle.edit(|c| {
            c["process"]["terminal"] = json!(false);
            c["linux"]["cgroupsPath"] = json!(cgroup);
        });
        bundle.args(&["/bin/true"]);
        assert_eq!(keg(rt, &["check", &bundle.arg()]).run().ok().stdout(), "config.json: nothing found\n");
        rt.run(&bundle, "c").silent();
        assert_eq!(points(&lines(&rt.dir().join("here"))), POINTS);
    });
}

#[test]
fn a_hook_that_cannot_be_had_is_an_error_that_leaves_nothing() {
    with_runtime(|rt| {
        if !rt.only_keg("spec --hook is keg's own") {
            return;
        }
        let dir = rt.dir().display().to_string();
        for (hooks, why) in [
            (&["tracer=/a"][..], "unknown hook \"tracer\", known are cni, trace"),
            (&["trace"], "the hook trace needs a file: trace=FILE"),
            (&["trace=no/such/file"], "no such file or directory"),
            (&["trace=one", "trace=two"], "hook trace: given twice"),
            (&["trace=one", "cni=no.conflist"], "hook cni: "),
            (&["cni=/no/a.conflist"], "hook cni: "),
        ] {
            let mut words = vec!["spec", "--bundle", &dir];
            hooks.iter().for_each(|hook| words.extend(["--hook", hook]));
            let message = keg(rt, &words).cwd(rt.dir()).run().fails_with(why);
            assert_eq!(message.lines().count(), 1, "{message}");
            for left in ["config.json", "one"] {
                assert!(!rt.dir().join(left).exists(), "{hooks:?}: {left} was left");
            }
        }
        let bundle = rt.bundle();
        keg(rt, &["spec", "--bundle", &bundle.arg(), "--hook", "trace=one"])
            .cwd(rt.dir())
            .run()
            .fails_with("exists");
        assert!(!rt.dir().join("one").exists());
        let words = ["run", "--bundle", &bundle.arg(), "--hook", "trace=one", "c"];
        keg(rt, &words).cwd(rt.dir()).run().fails_with("--hook is for a container of an --image");
    });
}

#[test]
fn check_says_what_is_wrong_with_shipped_hooks() {
    with_runtime(|rt| {
        if !rt.only_keg("check is keg's own") {
            return;
        }
        let here = |name: &str| {
            let path = rt.dir().join(name);
            write_script(&path, "");
            path
        };
        let (cni, own) = (here("keg-hook-cni"), here("keg-hook-of-mine"));
        let none = rt.dir().join("none").display().to_string();
        let trace = |file: &str| json!({"path": hook(), "args": ["keg-hook-trace", "--point", "poststop", "--file", file]});
        for (list, entry, severity, place, what) in [
            (
                "createRuntime",
                json!({"path": "/none/keg-hook-cni"}),
                "error",
                "path",
                "the hook cni: \"/none/keg-hook-cni\" is not there",
            ),
            (
                "poststop",
                json!({"path": cni, "args": ["keg-hook-cni", "--config", none]}),
                "error",
                "args",
                "none\": no such file or directory",
            ),
            (
                "poststart",
                json!({"path": cni}),
                "error",
                "path",
                "the hook cni is for createRuntime and poststop",
            ),
            (
                "poststart",
                json!({"path": "/none/keg-hook-cn"}),
                "error",
                "path",
                "keg ships no hook \"cn\", known are cni, trace",
            ),
            (
                "poststart",
                json!({"path": own}),
                "warning",
                "path",
                "keg ships no hook \"of-mine\", known are cni, trace",
            ),
            (
                "prestart",
                json!({"path": "/none/of-mine"}),
                "error",
                "path",
                "\"/none/of-mine\" is no program that can be executed",
            ),
            (
                "poststop",
                trace("/none/at/all"),
                "error",
                "args",
                "the hook trace: \"/none/at\": no such file or directory",
            ),
        ] {
            let bundle = rt.bundle();
            bundle.edit(|c| c["hooks"] = json!({list: [entry]}));
            let done = keg(rt, &["check", "--json", &bundle.arg()]).run();
            let found = done.json();
            assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
            assert_eq!(found[0]["severity"], severity, "{found}");
            assert_eq!(found[0]["path"], format!("hooks.{list}[0].{place}"));
            assert!(found[0]["what"].as_str().unwrap().contains(what), "{found}");
            assert_eq!(done.code(), i32::from(severity == "error"));
        }
    });
}

#[test]
fn check_finds_nothing_where_all_that_hooks_need_is_there() {
    with_runtime(|rt| {
        if !rt.only_keg("check is keg's own") {
            return;
        }
        let bundle = rt.bundle();
        let file = rt.dir().join("not-made-yet").display().to_string();
        bundle.edit(|c| {
            let args = json!(["keg-hook-trace", "--point", "poststop", "--file", file]);
            c["hooks"] = json!({"poststop": [{"path": hook(), "args": args}, {"path": "/bin/true"}],
                                "startContainer": [{"path": "/only/inside"}]});
        });
        assert_eq!(keg(rt, &["check", &bundle.arg()]).run().ok().stdout(), "config.json: nothing found\n");
    });
}

#[test]
fn hooks_are_found_beside_keg_first_and_in_path_then() {
    with_runtime(|rt| {
        if !rt.only_keg("spec --hook is keg's own") {
            return;
        }
        let place = |name: &str| {
            let dir = rt.dir().join(name);
            fs::create_dir(&dir).unwrap();
            fs::copy(hook(), dir.join("keg-hook-trace")).unwrap();
            dir
        };
        let (beside, in_path) = (place("beside"), place("in-path"));
        fs::copy(rt.binary(), beside.join("keg")).unwrap();
        let path = format!("{}:{}", in_path.display(), std::env::var("PATH").unwrap());
        let found = |program: &str, path: &str| {
            let bundle = rt.bundle();
            fs::remove_file(bundle.path().join("config.json")).unwrap();
            let words = [program, "spec", "--bundle", &bundle.arg(), "--hook", "trace=t"];
            rt.program(&words).cwd(rt.dir()).env("PATH", path).run().ok();
            PathBuf::from(bundle.config()["hooks"]["poststop"][0]["path"].as_str().unwrap())
        };
        assert_eq!(found(&beside.join("keg").display().to_string(), &path), beside.join("keg-hook-trace"));
        std::os::unix::fs::symlink("beside/keg", rt.dir().join("link")).unwrap();
        assert_eq!(found("./link", &path), beside.join("keg-hook-trace"));
        fs::remove_file(beside.join("keg-hook-trace")).unwrap();
        assert_eq!(found(&beside.join("keg").display().to_string(), &path), in_path.join("keg-hook-trace"));
        let bundle = rt.dir().display().to_string();
        let words = ["beside/keg", "spec", "--bundle", &bundle, "--hook", "trace=t"];
        let none = rt.program(&words).cwd(rt.dir()).env("PATH", "/none").run();
        let text = "hook trace: no keg-hook-trace beside keg, in PATH or in /usr/libexec/keg";
        assert!(
            Path::new("/usr/libexec/keg/keg-hook-trace").exists() || none.stderr().contains(text),
            "{}",
            none.describe()
        );
    });
}

#[test]
fn the_example_of_the_page_on_hooks_does_what_it_says() {
    with_runtime(|rt| {
        let page = fs::read_to_string(target().parent().unwrap().join("docs/hooks.md")).unwrap();
        let script = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
        let bundle = rt.bundle();
        let path = bundle.path().join("hook");
        write_script(&path, script);
        bundle.edit(|c| c["hooks"] = json!({"createRuntime": [{"path": path}]}));
        let refused = rt.run(&bundle, "c");
        assert_ne!(refused.code(), 0);
        if rt.kind() != harness::peers::Kind::Crun {
            assert!(refused.stderr().contains("nobody has approved it"), "{}", refused.describe());
        }
        fs::write(bundle.path().join("approved"), "").unwrap();
        rt.run(&bundle, "c").ok();
    });
}
