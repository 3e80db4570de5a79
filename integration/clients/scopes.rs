//! Callers that have systemd make the cgroups, as on most hosts: a short scenario for each, and Podman as an unprivileged login. They run
//! in the virtual machine, with keg alone unless all is asked for.

use std::fs;
use std::time::Duration;

use harness::{Driver, Note, Runtime, Seen, json, wait_until, with_caller};

use super::containerd::Containerd;
use super::docker::Docker;
use super::podman::Podman;
use crate::rootless::User;

const LIMIT: Duration = Duration::from_secs(120);
/// What a container sees of its limits.
const LIMITS: &str = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max";

/// Runs the scenario, which is to see what is expected; afterwards systemd has no unit of that name left.
fn with_scopes(units: &str, expected: &[(&str, i32, &str)], scenario: impl Fn(&Runtime) -> Seen + Sync) {
    with_caller(|rt| {
        if rt.driver() != Driver::Systemd {
            eprintln!("skipped: KEG_DRIVER is not systemd");
            return Seen::new();
        }
        let seen = scenario(rt);
        let shown: Vec<_> =
            seen.iter().map(|(what, code, text)| (what.as_str(), *code, text.as_str())).collect();
        assert_eq!(shown, expected);
        let list = ["systemctl", "list-units", "--all", "--plain", "--no-legend", units];
        wait_until("no unit is left", LIMIT, || rt.program(&list).run().ok().stdout().is_empty());
        let find = ["find", "/sys/fs/cgroup", "-name", units];
        wait_until("no cgroup is left", LIMIT, || rt.program(&find).run().stdout().is_empty());
        seen
    });
}

fn cgroup_of(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.trim().trim_start_matches("0::").to_owned()
}

#[test]
fn containerd() {
    let expected = [
        ("run", 3, "out\n"),
        ("status", 0, "RUNNING"),
        ("limit", 0, "67108864\n"),
        ("exec", 4, "more\n"),
        ("pause", 0, ""),
        ("status", 0, "PAUSED"),
        ("resume", 0, ""),
        ("status", 0, "RUNNING"),
    ];
    with_scopes("keg-test-*", &expected, |rt| {
        let containerd = Containerd::start(rt);
        let mut seen = Seen::new();
        seen.all("run", &containerd.run(&["--rm"], "c", "echo out; exit 3").limit(LIMIT).run());
        let limited = ["--detach", "--memory-limit", "67108864"];
        containerd.run(&limited, "c", "exec sleep 1000").limit(LIMIT).run().ok();
        let (status, pid) = containerd.task("c").unwrap();
        seen.text("status", &status);
        let cgroup = cgroup_of(pid);
        assert_eq!(cgroup, format!("{}-c.scope", rt.cgroup_prefix()));
        seen.text("limit", &fs::read_to_string(format!("/sys/fs/cgroup{cgroup}/memory.max")).unwrap());
        seen.all("exec", &containerd.exec("c", "echo more; exit 4").run());
        for word in ["pause", "resume"] {
            seen.all(word, &containerd.ctr(&["task", word, "c"]).run());
            seen.text("status", &containerd.status("c"));
        }
        let metrics = containerd.ctr(&["task", "metrics", "c"]).run().ok().stdout();
        assert!(metrics.contains("memory.usage"), "{metrics}");
        containerd.kill("c");
        containerd.remove("c");
        seen
    });
}

#[test]
fn docker() {
    let expected = [
        ("limits", 0, "67108864\n50\n"),
        ("exec", 5, "33554432\n"),
        ("status", 0, "paused"),
        ("its end", 0, "137"),
    ];
    with_scopes("docker-*", &expected, |rt| {
        // A network of its own would take most of the time.
        let config = json!({
            "runtimes": {"tested": {"path": rt.binary()}}, "default-runtime": "tested",
            "exec-opts": ["native.cgroupdriver=systemd"], "bridge": "none", "iptables": false,
        });
        let docker = Docker::start_with(rt, config, &["dockerd"]);
        let mut seen = Seen::new();
        let driver = docker.docker(&["info", "--format", "{{.CgroupDriver}} {{.CgroupVersion}}"]).run();
        assert_eq!(driver.ok().stdout(), "systemd 2\n");
        seen.all("limits", &docker.script(&["--memory", "64m", "--pids-limit", "50"], LIMITS));
        docker.detached(&["--network", "none", "--memory", "64m"], "one", "exec sleep 1000");
        let id = docker.inspect("one", ".Id");
        assert_eq!(cgroup_of(docker.pid("one")), format!("/system.slice/docker-{id}.scope"));
        docker.docker(&["update", "--memory", "32m", "--memory-swap", "64m", "one"]).run().ok();
        let script = "cat /sys/fs/cgroup/memory.max; exit 5";
        seen.all("exec", &docker.docker(&["exec", "one", "sh", "-c", script]).run());
        docker.docker(&["pause", "one"]).run().ok();
        seen.text("status", &docker.inspect("one", ".State.Status"));
        docker.docker(&["unpause", "one"]).run().ok();
        docker.docker(&["stop", "-t", "0", "one"]).run().ok();
        seen.text("its end", &docker.inspect("one", ".State.ExitCode"));
        docker.remove("one");
        seen
    });
}

const PODMAN: [(&str, i32, &str); 5] = [
    ("limits", 3, "67108864\n50\n"),
    ("exec", 5, "0\n"),
    ("status", 0, "paused"),
    ("its end", 0, "137"),
    ("owner", 0, "0\n0\n"),
];

/// What is the same for root and for others; the container's cgroup is below that slice.
fn podman_in(podman: &Podman<'_>, slice: &str) -> Seen {
    let mut seen = Seen::new();
    let limited = ["--memory", "64m", "--pids-limit", "50"];
    seen.all("limits", &podman.once(&limited, &format!("{LIMITS}; exit 3")));
    podman.run(&["-d", "--name", "one"], "exec sleep 1000").run().ok();
    let (id, pid) = (podman.inspect("one", ".Id"), podman.inspect("one", ".State.Pid"));
    let cgroup = cgroup_of(pid.parse().unwrap());
    assert!(cgroup.starts_with(slice) && cgroup.contains(&format!("/libpod-{id}.scope")), "{cgroup}");
    seen.all("exec", &podman.podman(&["exec", "one", "sh", "-c", "id -u; exit 5"]).run());
    podman.podman(&["pause", "one"]).run().ok();
    seen.text("status", &podman.inspect("one", ".State.Status"));
    podman.podman(&["unpause", "one"]).run().ok();
    podman.podman(&["stop", "-t", "0", "one"]).run().ok();
    seen.text("its end", &podman.inspect("one", ".State.ExitCode"));
    podman.podman(&["rm", "one"]).run().ok();
    seen.all("owner", &podman.once(&[], "id -u; touch /x; stat -c %u /x"));
    seen
}

#[test]
fn podman() {
    with_scopes("libpod-*", &PODMAN, |rt| podman_in(&Podman::start(rt), "/machine.slice/"));
}

#[test]
fn podman_as_an_unprivileged_login() {
    let session = "/user.slice/user-1000.slice/user@1000.service/";
    with_scopes("libpod-*", &PODMAN, |rt| podman_in(&Podman::of(&User::log_in(rt), rt), session));
}
