//! Callers that have systemd make the cgroups, as on most hosts: a short scenario for each, and Podman as an unprivileged login. They run
//! in the virtual machine, with keg alone unless all is asked for.

use std::fs;
use std::time::Duration;

use harness::caller::{cgroup_of, with_scopes};
use harness::{Note, Seen, json};

use super::containerd::Containerd;
use super::docker::Docker;
use super::podman::Podman;
use crate::rootless::User;

const LIMIT: Duration = Duration::from_secs(120);
/// What a container sees of its limits.
const LIMITS: &str = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max";

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
    with_scopes("keg-test-*", &expected, |rt, seen| {
        let containerd = Containerd::start(rt);
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
    with_scopes("docker-*", &expected, |rt, seen| {
        // A network of its own would take most of the time.
        let config = json!({
            "runtimes": {"tested": {"path": rt.binary()}}, "default-runtime": "tested",
            "exec-opts": ["native.cgroupdriver=systemd"], "bridge": "none", "iptables": false,
        });
        let docker = Docker::start_with(rt, config, &["dockerd"]);
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
fn podman_in(podman: &Podman<'_>, slice: &str, seen: &mut Seen) {
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
}

#[test]
fn podman() {
    with_scopes("libpod-*", &PODMAN, |rt, seen| podman_in(&Podman::start(rt), "/machine.slice/", seen));
}

#[test]
fn podman_as_an_unprivileged_login() {
    let session = "/user.slice/user-1000.slice/user@1000.service/";
    with_scopes("libpod-*", &PODMAN, |rt, seen| podman_in(&Podman::of(&User::log_in(rt), rt), session, seen));
}
