//! The command lines of CRI-O, which Debian 12 has not: typed here as CRI-O types them. Where there is one, cri/crio.rs runs it.

use std::fs;
use std::time::Duration;

use harness::{Command, Note, Seen, alive, docs, json, same_as_runc, wait_until};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn the_command_lines_of_cri_o() {
    same_as_runc(|rt| {
        let mut seen = Seen::new();
        let log = rt.dir().join("log").display().to_string();
        let call = |words: &[&str]| -> Command {
            rt.command_with_globals(&["--log", &log, "--log-format", "json"], words)
        };
        let bundle = rt.bundle();
        bundle.shell("trap 'exit 3' TERM; sleep 1000 & while :; do wait; done");
        let pid_file = rt.dir().join("pidfile").display().to_string();
        call(&["create", "--bundle", &bundle.arg(), "--pid-file", &pid_file, "c"]).run().silent();
        call(&["start", "c"]).run().silent();
        let state = call(&["state", "c"]).run().ok();
        assert_eq!((state.json()["status"].as_str(), state.stderr().as_str()), (Some("running"), ""));

        // exec sync: attached, by a document.
        let process = |words: &[&str]| {
            let file = rt.dir().join("process.json");
            let process = json!({"args": words, "cwd": "/", "env": ["PATH=/bin:/usr/bin"], "user": {"uid": 0, "gid": 0}});
            fs::write(&file, process.to_string()).unwrap();
            call(&["exec", "--process", &file.display().to_string(), "c"]).run()
        };
        seen.all("exec", &process(&["/bin/sh", "-c", "echo out; exit 5"]));
        seen.code("exec of nothing", &process(&["/no/such"]));
        let limits = json!({"pids": {"limit": 77}, "memory": {"limit": 67_108_864}}).to_string();
        call(&["update", "--resources", "-", "c"]).stdin(limits).run().silent();
        seen.all("the new limit", &process(&["/bin/cat", "/sys/fs/cgroup/pids/pids.max"]));
        call(&["pause", "c"]).run().silent();
        let frozen = process(&["/bin/true"]);
        assert!(frozen.stderr().contains("cannot exec in a paused container"), "{}", frozen.describe());
        call(&["resume", "c"]).run().silent();

        let pid = rt.pid("c");
        call(&["kill", "c", "TERM"]).run().silent();
        wait_until("the container has ended", SOON, || !alive(pid) && rt.status("c") == "stopped");
        let late = call(&["kill", "c", "KILL"]).run();
        assert!(late.stderr().contains("container not running"), "{}", late.describe());
        seen.code("a signal too late", &late);
        seen.code("a signal to all, too late", &call(&["kill", "-a", "c", "9"]).run());
        call(&["delete", "--force", "c"]).run().silent();
        call(&["delete", "--force", "c"]).run().silent();
        let unknown = call(&["state", "c"]).run();
        assert!(unknown.stderr().contains("container does not exist"), "{}", unknown.describe());
        seen.code("the state of nobody", &unknown);
        // Both streams together are one document there.
        let features = call(&["features"]).run().ok();
        assert_eq!(features.stderr(), "");
        let features = features.json();
        assert!(features["ociVersionMin"].is_string() && features["ociVersionMax"].is_string(), "{features}");
        seen
    });
}

/// Nobody can try the lines of the page here: at least they are TOML of the simple kind and agree with keg.
#[test]
fn the_lines_of_the_page() {
    let lines = docs::block("cri-o.md", "toml", "runtimes.keg");
    let mut keys = Vec::new();
    for line in lines.lines() {
        match line.split_once(" = ") {
            Some((key, value)) => {
                keys.push((key, value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap()))
            }
            None => assert_eq!(line, "[crio.runtime.runtimes.keg]"),
        }
    }
    assert_eq!(
        keys,
        [("runtime_path", docs::INSTALLED), ("runtime_type", "oci"), ("runtime_root", "/run/keg")]
    );
    let build = docs::block("buildkit.md", "toml", "worker.oci");
    assert_eq!(build, format!("[worker.oci]\n  binary = \"{}\"\n", docs::INSTALLED));
}
