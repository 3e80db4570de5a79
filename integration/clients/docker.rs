//! Docker: dockerd with the runtime as its default, on the bridge network of a private network namespace.

use std::fs;
use std::time::Duration;

use harness::command::write_script;
use harness::host::shim_counts;
use harness::peers::Kind;
use harness::terminal::Terminal;
use harness::{
    Command, Daemon, Driver, Finished, Note, Runtime, Seen, Value, alive, docs, json, same_as_runc,
    wait_until,
};

const SOON: Duration = Duration::from_secs(15);

/// A dockerd with the small image. It is stopped when dropped.
pub(super) struct Docker<'a> {
    _daemon: Daemon,
    rt: &'a Runtime,
}

impl<'a> Docker<'a> {
    /// The runtime under test is the default, and has a name besides: by the lines of the page on Docker.
    fn start(rt: &'a Runtime) -> Self {
        let page = docs::block("docker.md", "json", "default-runtime");
        let page = page.replace(docs::INSTALLED, &rt.binary().display().to_string());
        Self::start_with(rt, serde_json::from_str(&page).unwrap(), &["dockerd"])
    }

    /// With these lines in its configuration, and this command line.
    pub(super) fn start_with(rt: &'a Runtime, mut config: Value, words: &[&str]) -> Self {
        let path = |name: &str| rt.dir().join(name).display().to_string();
        let parent = match rt.driver() {
            Driver::Cgroupfs => rt.cgroup_prefix(),
            Driver::Systemd => "system.slice".to_owned(),
        };
        let surroundings = json!({
            "data-root": path("data"), "exec-root": path("exec"), "pidfile": path("docker.pid"),
            "hosts": [format!("unix://{}", path("sock"))], "storage-driver": "overlay2",
            "cgroup-parent": parent, "features": {"buildkit": false}, "log-level": "warn",
            "shutdown-timeout": 1,
        });
        config.as_object_mut().unwrap().extend(surroundings.as_object().unwrap().clone());
        fs::write(path("daemon.json"), config.to_string()).unwrap();
        let answers = || command(rt, &["version"]).run().status.success();
        let daemon = Daemon::start(rt, &[words, &["--config-file", &path("daemon.json")]].concat(), answers);
        let layout = harness::runtime::target().join("images/small");
        let (from, to) = (format!("oci:{}:latest", layout.display()), path("small.tar"));
        let archive = format!("docker-archive:{to}:small:latest");
        rt.program(&["skopeo", "copy", "-q", "--insecure-policy", &from, &archive]).run().ok();
        let this = Self { _daemon: daemon, rt };
        this.docker(&["load", "-q", "-i", &to]).run().ok();
        this
    }

    pub(super) fn docker(&self, words: &[&str]) -> Command {
        command(self.rt, words).limit(Duration::from_secs(60))
    }

    /// `docker run --rm` of a shell script, without a network: half a second less.
    pub(super) fn script(&self, flags: &[&str], script: &str) -> Finished {
        let first = ["run", "--rm", "--network", "none", "--entrypoint", "/bin/sh"];
        self.docker(&[&first[..], flags, &["small", "-c", script]].concat()).run()
    }

    /// `docker run -d`
    pub(super) fn detached(&self, flags: &[&str], name: &str, script: &str) {
        let first = ["run", "-d", "--name", name, "--entrypoint", "/bin/sh"];
        self.docker(&[&first[..], flags, &["small", "-c", script]].concat()).run().ok();
    }

    pub(super) fn inspect(&self, name: &str, what: &str) -> String {
        let done = self.docker(&["inspect", "--format", &format!("{{{{{what}}}}}"), name]).run().ok();
        done.stdout().trim().to_owned()
    }

    pub(super) fn pid(&self, name: &str) -> i32 {
        self.inspect(name, ".State.Pid").parse().unwrap()
    }

    pub(super) fn remove(&self, name: &str) {
        self.docker(&["rm", "-f", name]).run().ok();
    }
}

fn words(rt: &Runtime, words: &[&str]) -> Vec<String> {
    let host = format!("unix://{}", rt.dir().join("sock").display());
    let (config, first) = (rt.dir().join("client").display().to_string(), "/usr/bin/docker");
    [&[first, "--config", &config, "--host", &host], words].concat().iter().map(|&w| w.to_owned()).collect()
}

fn command(rt: &Runtime, given: &[&str]) -> Command {
    rt.program(&words(rt, given))
}

#[test]
fn what_a_container_is_given() {
    same_as_runc(|rt| {
        let docker = Docker::start(rt);
        let mut seen = Seen::new();
        let status = "grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups|Uid)' /proc/self/status";
        let image = rt.dir().join("volume");
        fs::create_dir(&image).unwrap();
        let volume = format!("{}:/volume:ro", image.display());
        let device = rt.dir().join("device").display().to_string();
        rt.program(&["mknod", &device, "c", "60", "0"]).run().ok();
        let device = format!("{device}:/dev/other:r");
        let profile = rt.dir().join("seccomp.json");
        let denied = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
        let rules = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": denied});
        fs::write(&profile, rules.to_string()).unwrap();
        let seccomp = format!("seccomp={}", profile.display());
        let mounts = "grep -E ' /(x|volume|dev/shm|data) ' /proc/mounts | cut -d' ' -f2- | sort";
        let rows: &[(&[&str], &str)] = &[
            (&[], status),
            (&["--user", "1000:1000", "--group-add", "7"], status),
            (&["--cap-drop", "ALL", "--cap-add", "NET_ADMIN"], status),
            (&["--security-opt", "no-new-privileges"], status),
            (&["--security-opt", &seccomp], "mkdir /x; echo $?"),
            (&["--security-opt", "seccomp=unconfined"], status),
            (
                &["--read-only", "--tmpfs", "/x:size=1m"],
                "touch /y; touch /x/y; echo $?; stat -c %a /x; df -P /x | tail -n 1",
            ),
            (&["-v", &volume, "-v", "/data", "--shm-size", "2m"], mounts),
            // No driver answers for it, but the question comes after that of the permission.
            (&["--device", &device], "ls -l /dev/other | cut -c1-10; cat /dev/other; echo > /dev/other"),
            (&["--init"], "cat /proc/1/comm"),
            (&["-w", "/srv", "-e", "A=b", "--hostname", "inside"], "pwd; echo $A; hostname"),
            (
                &["--memory", "64m", "--pids-limit", "50"],
                "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max",
            ),
            (
                &["--cpus", "0.5", "--cpuset-cpus", "0"],
                "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpuset/cpuset.cpus",
            ),
            (
                &["--ulimit", "nofile=99:99", "--oom-score-adj", "500"],
                "ulimit -n; cat /proc/self/oom_score_adj",
            ),
            (&["--sysctl", "net.ipv4.ip_forward=1"], "cat /proc/sys/net/ipv4/ip_forward"),
            (&["--pid", "host"], "[ $$ -gt 1 ] && [ -e /proc/1/cgroup ]; echo $?"),
            (&["--ipc", "host", "--uts", "host"], "for n in ipc uts; do readlink /proc/self/ns/$n; done"),
            (&["--cgroupns", "host"], "readlink /proc/self/ns/cgroup"),
        ];
        for (flags, script) in rows {
            let done = docker.script(flags, script);
            assert!(!done.stdout().is_empty(), "{flags:?}: {}", done.describe());
            let text = done.stdout().replace(&rt.unique(), "X") + &done.stderr();
            let flags = format!("{flags:?}").replace(&rt.unique(), "X");
            seen.push((flags, done.code(), text));
        }
        let script = "mount -t tmpfs t /tmp && ls /dev/kmsg /sys/fs/cgroup >/dev/null; echo $?";
        let done = docker.script(&["--privileged"], script);
        // runc refuses where the caller itself lacks one of the capabilities.
        assert!(done.stdout() == "0\n" || rt.kind() == Kind::Runc, "{}", done.describe());
        seen
    });
}

#[test]
fn how_commands_end() {
    same_as_runc(|rt| {
        let docker = Docker::start(rt);
        let mut seen = Seen::new();
        let info = docker.docker(&["info", "--format", "{{.DefaultRuntime}} {{json .Warnings}}"]).run().ok();
        assert!(
            info.stdout().starts_with("keg ") && !info.stdout().contains("runtime"),
            "{}",
            info.describe()
        );
        seen.all("status", &docker.script(&[], "echo out; exit 7"));
        seen.all("signal", &docker.script(&[], "kill -KILL $$"));
        for program in ["/no/such", "nothing", "/etc/passwd", "/etc"] {
            let done =
                docker.docker(&["run", "--rm", "--network", "none", "--entrypoint", program, "small"]).run();
            seen.code(program, &done);
        }
        let limits = ["--name", "hungry", "--network", "none", "--memory", "16m", "--memory-swap", "16m"];
        let run = [&["run"][..], &limits, &["--entrypoint", "/usr/bin/tail", "small", "/dev/zero"]].concat();
        seen.code("out of memory", &docker.docker(&run).run());
        seen.text("the reason", &docker.inspect("hungry", ".State.OOMKilled"));
        docker.remove("hungry");
        seen.all("by its name", &docker.script(&["--runtime", "keg"], "echo here"));
        seen.all("beside the other", &docker.script(&["--runtime", "runc"], "echo there"));

        docker.detached(&["--network", "none"], "one", "echo one; echo two >&2; exec sleep 1000");
        seen.all("logs", &docker.docker(&["logs", "one"]).run());
        seen.all("exec", &docker.docker(&["exec", "one", "sh", "-c", "id -u; exit 5"]).run());
        let flags =
            ["exec", "-u", "1000", "-w", "/tmp", "-e", "A=b", "one", "sh", "-c", "id -u; pwd; echo $A"];
        seen.all("exec with flags", &docker.docker(&flags).run());
        let done =
            docker.docker(&["exec", "--privileged", "one", "grep", "CapEff", "/proc/self/status"]).run();
        let sys_admin = u64::from_str_radix(done.stdout().trim_start_matches("CapEff:").trim(), 16)
            .unwrap_or(0)
            & 1 << 21;
        assert!(sys_admin != 0 || rt.kind() == Kind::Runc, "{}", done.describe());
        for program in ["/no/such", "nothing", "/etc/passwd"] {
            seen.code(program, &docker.docker(&["exec", "one", program]).run());
        }
        let piped = docker.docker(&["exec", "-i", "one", "cat"]).stdin("through a pipe").run();
        seen.all("exec with input", &piped);
        seen.code("another of that name", &docker.docker(&["run", "--name", "one", "small"]).run());

        let mut terminal = Terminal::open(31, 77);
        let given = [
            "exec",
            "-it",
            "one",
            "sh",
            "-c",
            "until stty size | grep 77; do sleep 0.05; done; read x; echo got $x; exit 4",
        ];
        let mut session = terminal.spawn(&words(rt, &given));
        terminal.screen.wait_for("31 77");
        terminal.screen.write("a word\n");
        terminal.screen.wait_for("got a word");
        assert_eq!(session.wait().code(), Some(4));
        let given = ["run", "--rm", "-it", "--network", "none", "--entrypoint", "/bin/sh", "small"];
        let mut session = terminal.spawn(&words(rt, &given));
        terminal.screen.write("tty; exit 6\n");
        terminal.screen.wait_for("/dev/pts/0");
        assert_eq!(session.wait().code(), Some(6));
        docker.remove("one");
        seen
    });
}

#[test]
fn a_service() {
    same_as_runc(|rt| {
        let docker = Docker::start(rt);
        let mut seen = Seen::new();
        let serve = "echo hello > /tmp/index.html; trap 'exit 3' TERM; busybox httpd -f -p 80 -h /tmp & wait";
        let health = ["--health-cmd", "test -e /tmp/index.html", "--health-interval", "1s"];
        let flags = [&["-p", "8080:80", "--memory", "64m"][..], &health].concat();
        let counts = shim_counts();
        docker.detached(&flags, "web", serve);
        let get =
            || rt.program(&["busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/index.html"]).run();
        wait_until("the published port answers", SOON, || get().stdout() == "hello\n");

        let neighbour = |flags: &[&str], script: &str| {
            let first = ["run", "--rm", "--entrypoint", "/bin/sh"];
            docker.docker(&[&first[..], flags, &["small", "-c", script]].concat()).run()
        };
        seen.all(
            "its network",
            &neighbour(&["--network", "container:web"], "busybox wget -qO- http://127.0.0.1/"),
        );
        seen.all(
            "its processes",
            &neighbour(&["--pid", "container:web", "--network", "none"], "cat /proc/1/comm"),
        );
        seen.all("its name is known", &neighbour(&["--link", "web"], "busybox wget -qO- http://web/"));

        let pid = docker.pid("web");
        let top = docker.docker(&["top", "web"]).run().ok().stdout();
        assert!(top.contains("httpd") && top.split_whitespace().any(|word| word == pid.to_string()), "{top}");
        let top = docker.docker(&["top", "web", "-o", "pid,comm"]).run().ok().stdout();
        assert!(top.starts_with("PID"), "{top}");
        let stats =
            docker.docker(&["stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}}", "web"]).run();
        let counted = counts && shim_counts();
        assert!(!counted || stats.stdout().contains("/ 64MiB"), "{}", stats.describe());

        seen.all("pause", &docker.docker(&["pause", "web"]).run());
        assert_eq!(docker.inspect("web", ".State.Status"), "paused");
        seen.code("exec while it is paused", &docker.docker(&["exec", "web", "true"]).run());
        seen.all("unpause", &docker.docker(&["unpause", "web"]).run());
        assert_eq!(get().ok().stdout(), "hello\n");
        let update = [
            "update",
            "--memory",
            "128m",
            "--memory-swap",
            "256m",
            "--cpus",
            "0.5",
            "--pids-limit",
            "70",
            "web",
        ];
        seen.all("update", &docker.docker(&update).run());
        let files = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes \
                     /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/pids/pids.max";
        seen.all("the new limits", &docker.docker(&["exec", "web", "sh", "-c", files]).run());
        wait_until("it is healthy", SOON, || docker.inspect("web", ".State.Health.Status") == "healthy");

        seen.all("stop", &docker.docker(&["stop", "web"]).run());
        seen.text("its status", &docker.inspect("web", ".State.ExitCode"));
        seen.all("start again", &docker.docker(&["start", "web"]).run());
        wait_until("it answers again", SOON, || get().stdout() == "hello\n");
        seen.all("kill", &docker.docker(&["kill", "--signal", "KILL", "web"]).run());
        wait_until("it has ended", SOON, || docker.inspect("web", ".State.Status") == "exited");
        seen.text("its status", &docker.inspect("web", ".State.ExitCode"));
        docker.remove("web");

        docker.detached(&["--network", "none", "--restart", "always"], "again", "sleep 1000");
        let pid = docker.pid("again");
        rt.program(&["kill", "-KILL", &pid.to_string()]).run().ok();
        wait_until("it runs again", SOON, || {
            let now = docker.pid("again");
            now != pid && alive(now)
        });
        docker.detached(&["--network", "none"], "stubborn", "trap '' TERM; while :; do sleep 0.1; done");
        seen.all("stop with force", &docker.docker(&["stop", "-t", "1", "stubborn"]).run());
        seen.text("its status", &docker.inspect("stubborn", ".State.ExitCode"));
        docker.remove("stubborn");
        docker.remove("again");
        seen
    });
}

/// Named on the command line of the daemon, and not its default.
#[test]
fn a_build() {
    same_as_runc(|rt| {
        let named = format!("keg={}", rt.binary().display());
        let words = ["dockerd", "--add-runtime", &named, "--default-runtime", "keg"];
        let docker = Docker::start_with(rt, json!({}), &words);
        let mut seen = Seen::new();
        let context = rt.dir().join("context");
        fs::create_dir(&context).unwrap();
        fs::write(context.join("Dockerfile"), STEPS).unwrap();
        let context = context.display().to_string();
        docker.docker(&["build", "-q", "-t", "made", &context]).run().ok();
        seen.all("what was built", &docker.docker(&["run", "--rm", "--network", "none", "made"]).run());
        fs::write(rt.dir().join("context/Dockerfile"), "FROM small\nRUN exit 9\n").unwrap();
        let failed = docker.docker(&["build", "-t", "not", &context]).run();
        assert!(failed.stderr().contains("returned a non-zero code: 9"), "{}", failed.describe());
        seen.code("a step that fails", &failed);
        seen
    });
}

const STEPS: &str = "FROM small\nRUN echo built > /built && id -u\nUSER 1000\nWORKDIR /srv/app\nRUN pwd; id -u\n\
                     ENTRYPOINT [\"/bin/cat\", \"/built\"]\n";

/// The BuildKit inside dockerd looks for a program called runc, whatever the runtimes of the daemon are.
#[test]
fn a_build_by_buildkit() {
    same_as_runc(|rt| {
        let calls = rt.dir().join("calls");
        let places = rt.dir().join("bin");
        fs::create_dir(&places).unwrap();
        let script =
            format!("#!/bin/sh\necho \"$@\" >> {}\nexec {} \"$@\"\n", calls.display(), rt.binary().display());
        write_script(&places.join("runc"), &script);
        let path = format!("PATH={}:{}", places.display(), std::env::var("PATH").unwrap());
        let docker = Docker::start_with(rt, json!({}), &["env", &path, "dockerd"]);
        let mut seen = Seen::new();
        let context = rt.dir().join("context");
        fs::create_dir(&context).unwrap();
        fs::write(context.join("Dockerfile"), STEPS).unwrap();
        let context = context.display().to_string();
        let build = |tag: &str| {
            let words = ["build", "--progress", "plain", "--network", "none", "-t", tag, &context];
            docker.docker(&words).env("DOCKER_BUILDKIT", "1").run()
        };
        let built = build("made").ok();
        assert!(built.stderr().contains(" 1000\n"), "{}", built.describe());
        let calls = fs::read_to_string(&calls).unwrap();
        let steps = calls.lines().filter(|line| line.contains("run --bundle ")).count();
        seen.push(("steps that it ran".to_owned(), steps as i32, String::new()));
        assert_eq!(steps, 2, "{calls}");
        seen.all("what was built", &docker.docker(&["run", "--rm", "--network", "none", "made"]).run());
        fs::write(rt.dir().join("context/Dockerfile"), "FROM small\nRUN exit 9\n").unwrap();
        let failed = build("not");
        assert!(failed.stderr().contains("exit code: 9"), "{}", failed.describe());
        seen.code("a step that fails", &failed);
        fs::write(rt.dir().join("context/Dockerfile"), "FROM small\nRUN [\"/no/such\"]\n").unwrap();
        let failed = build("not");
        assert!(failed.stderr().contains("no such file or directory"), "{}", failed.describe());
        seen.code("a program that is not there", &failed);
        seen
    });
}
