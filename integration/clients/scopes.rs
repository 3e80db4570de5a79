//! Callers that have systemd make the cgroups, as on most hosts: a short scenario for each, and Podman as an unprivileged login. They run
//! in the virtual machine.

use std::fs;
use std::time::Duration;

use harness::{Driver, Note, Runtime, Seen, json, same_as_runc, wait_until};

use super::containerd::Containerd;
use super::docker::Docker;
use super::podman::Podman;

const LIMIT: Duration = Duration::from_secs(120);
/// What a container sees of its limits.
const LIMITS: &str = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; cut -d: -f3 /proc/self/cgroup";

/// Runs the scenario with runc and with keg; afterwards systemd has no unit left of those that it says.
fn with_scopes(units: &[&str], scenario: impl Fn(&Runtime) -> Seen + Sync) {
    same_as_runc(|rt| {
        if rt.driver() != Driver::Systemd {
            eprintln!("skipped: KEG_DRIVER is not systemd");
            return Seen::new();
        }
        let seen = scenario(rt);
        let list = ["systemctl", "list-units", "--all", "--plain", "--no-legend"];
        let left = || rt.program(&[&list[..], units].concat()).run().ok().stdout();
        wait_until("no unit is left", LIMIT, || left().is_empty());
        seen
    });
}

fn cgroup_of(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.trim().trim_start_matches("0::").to_owned()
}

#[test]
fn containerd() {
    with_scopes(&["keg-test-*"], |rt| {
        let containerd = Containerd::start(rt);
        let mut seen = Seen::new();
        let limited = ["--rm", "--memory-limit", "67108864"];
        let script = format!("{LIMITS}; exit 3");
        seen.all("limits", &containerd.run(&limited, "c", &script).limit(LIMIT).run());
        containerd.run(&["--detach"], "c", "exec sleep 1000").limit(LIMIT).run().ok();
        let (status, pid) = containerd.task("c").unwrap();
        seen.text("status", &status);
        assert_eq!(cgroup_of(pid), format!("{}-c.scope", rt.cgroup_prefix()));
        seen.all("exec", &containerd.exec("c", "cut -d: -f3 /proc/self/cgroup; exit 4").run());
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
    with_scopes(&["docker-*"], |rt| {
        // A network of its own would take most of the time.
        let docker = Docker::start_with(
            rt,
            json!({
                "runtimes": {"tested": {"path": rt.binary()}}, "default-runtime": "tested",
                "exec-opts": ["native.cgroupdriver=systemd"], "bridge": "none", "iptables": false,
            }),
            &["dockerd"],
        );
        let mut seen = Seen::new();
        let driver = docker.docker(&["info", "--format", "{{.CgroupDriver}} {{.CgroupVersion}}"]).run();
        assert_eq!(driver.ok().stdout(), "systemd 2\n");
        seen.all("limits", &docker.script(&["--memory", "64m", "--pids-limit", "50"], LIMITS));
        docker.detached(&["--network", "none", "--memory", "64m"], "one", "exec sleep 1000");
        let id = docker.inspect("one", ".Id");
        assert_eq!(cgroup_of(docker.pid("one")), format!("/system.slice/docker-{id}.scope"));
        docker.docker(&["update", "--memory", "32m", "--memory-swap", "64m", "one"]).run().ok();
        seen.all("exec", &docker.docker(&["exec", "one", "sh", "-c", &format!("{LIMITS}; exit 5")]).run());
        docker.docker(&["pause", "one"]).run().ok();
        seen.text("status", &docker.inspect("one", ".State.Status"));
        docker.docker(&["unpause", "one"]).run().ok();
        docker.docker(&["stop", "-t", "0", "one"]).run().ok();
        seen.text("its end", &docker.inspect("one", ".State.ExitCode"));
        docker.remove("one");
        seen
    });
}

/// What is the same for root and for others.
fn podman_of(rt: &Runtime, podman: &Podman<'_>, slice: &str) -> Seen {
    let mut seen = Seen::new();
    seen.all(
        "limits",
        &podman.once(&["--memory", "64m", "--pids-limit", "50"], &format!("{LIMITS}; exit 3")),
    );
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
    assert_eq!(rt.driver(), Driver::Systemd);
    seen
}

#[test]
fn podman() {
    with_scopes(&["libpod-*"], |rt| podman_of(rt, &Podman::start(rt), "/machine.slice/"));
}

#[test]
fn podman_as_an_unprivileged_login() {
    with_scopes(&["libpod-*"], |rt| {
        let podman = Podman::log_in(rt);
        let mut seen = podman_of(rt, &podman, "/user.slice/user-1000.slice/user@1000.service/");
        seen.all("mappings", &podman.once(&[], "cat /proc/self/uid_map; id -u; touch /x; stat -c %u /x"));
        seen
    });
}
