//! Podman with conmon, and Buildah.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::peers::Kind;
use harness::terminal::Terminal;
use harness::{Command, Driver, Finished, Note, Runtime, Seen, docs, json, same_as_runc, wait_until};

use crate::rootless::User;

const SOON: Duration = Duration::from_secs(15);

/// A store with the small image, and the configuration of the page on Podman.
pub(super) struct Podman<'a> {
    rt: &'a Runtime,
    image: String,
    home: PathBuf,
    /// What it is run by.
    prefix: Vec<String>,
}

impl<'a> Podman<'a> {
    pub(super) fn start(rt: &'a Runtime) -> Self {
        let layout = harness::runtime::target().join("images/small");
        Self::with(rt, rt.dir(), &["env".to_owned()], &rt.binary().display().to_string(), "overlay", &layout)
    }

    pub(super) fn of(user: &User<'_>, rt: &'a Runtime) -> Self {
        let layout = user.home.join("small");
        user.copy(&harness::runtime::target().join("images/small"), &layout);
        // A login begins with an environment of its own.
        let prefix = [&user.prefix[..], &["env".to_owned()]].concat();
        Self::with(rt, &user.home, &prefix, &user.runtime, "vfs", &layout)
    }

    fn with(
        rt: &'a Runtime,
        home: &Path,
        prefix: &[String],
        runtime: &str,
        storage: &str,
        layout: &Path,
    ) -> Self {
        let path = |name: &str| rt.dir().join(name);
        let page = docs::block("podman.md", "toml", "[engine.runtimes]");
        let page = page.replace(docs::INSTALLED, runtime);
        let engine = page.strip_prefix("[engine]\n").expect("the page begins with the engine");
        // The default limits are more than root may set where it lacks CAP_SYS_RESOURCE.
        let config = format!(
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n\
             [engine]\nevents_logger = \"file\"\n{engine}"
        );
        fs::write(path("containers.conf"), config).unwrap();
        let storage = format!(
            "[storage]\ndriver = \"{storage}\"\ngraphroot = \"{0}/store\"\nrunroot = \"{0}/run\"\n",
            home.display()
        );
        fs::write(path("storage.conf"), storage).unwrap();
        fs::write(path("policy.json"), json!({"default": [{"type": "insecureAcceptAnything"}]}).to_string())
            .unwrap();
        let mut this = Self { rt, image: String::new(), home: home.to_owned(), prefix: prefix.to_vec() };
        // It makes the image's name of the path, which may have letters that a name has not.
        let pull = this.podman(&["pull", "-q", "oci:small:latest"]).cwd(layout.parent().unwrap());
        let pulled = pull.run().ok();
        this.image = pulled.stdout().trim().to_owned();
        this
    }

    /// Any program that reads the configuration.
    fn words_of(&self, words: &[&str]) -> Vec<String> {
        let mut all = self.prefix.clone();
        for (name, file) in
            [("CONTAINERS_CONF", "containers.conf"), ("CONTAINERS_STORAGE_CONF", "storage.conf")]
        {
            all.push(format!("{name}={}", self.rt.dir().join(file).display()));
        }
        all.extend(words.iter().map(|&word| word.to_owned()));
        all
    }

    fn words(&self, words: &[&str]) -> Vec<String> {
        let (tmp, net) = (self.home.join("tmp"), self.home.join("net"));
        let (tmp, net) = (tmp.display().to_string(), net.display().to_string());
        let manager = match self.rt.driver() {
            Driver::Cgroupfs => "cgroupfs",
            Driver::Systemd => "systemd",
        };
        let first = ["podman", "--cgroup-manager", manager, "--tmpdir", &tmp, "--network-config-dir", &net];
        self.words_of(&[&first[..], words].concat())
    }

    fn program(&self, words: &[String]) -> Command {
        // conmon leaves a file where it was started when a container runs out of memory.
        self.rt.program(words).cwd(&self.home).limit(Duration::from_secs(60))
    }

    pub(super) fn podman(&self, words: &[&str]) -> Command {
        self.program(&self.words(words))
    }

    /// `podman run` of a shell script, without a network.
    pub(super) fn run(&self, flags: &[&str], script: &str) -> Command {
        let cgroup = self.rt.cgroup_prefix();
        let parent: &[&str] = match self.rt.driver() {
            Driver::Cgroupfs => &["--cgroup-parent", &cgroup],
            Driver::Systemd => &[],
        };
        let first = ["run", "--network", "none", "--entrypoint", "/bin/sh"];
        self.podman(&[&first[..], parent, flags, &[&self.image, "-c", script]].concat())
    }

    pub(super) fn once(&self, flags: &[&str], script: &str) -> Finished {
        self.run(&[&["--rm"], flags].concat(), script).run()
    }

    pub(super) fn inspect(&self, name: &str, what: &str) -> String {
        let done = self.podman(&["inspect", "--format", &format!("{{{{{what}}}}}"), name]).run().ok();
        done.stdout().trim().to_owned()
    }
}

#[test]
fn what_a_container_is_given() {
    same_as_runc(|rt| {
        let podman = Podman::start(rt);
        let mut seen = Seen::new();
        let status = "grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups|Uid)' /proc/self/status";
        let maps = ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"];
        let rows: &[(&[&str], &str)] = &[
            (&[], status),
            (&["--user", "1000:1000"], status),
            (&["--cap-drop", "all", "--cap-add", "net_raw"], status),
            (&["--security-opt", "no-new-privileges"], status),
            (&["--security-opt", "seccomp=unconfined"], status),
            (&["--read-only"], "touch /y; touch /tmp/y && echo $?"),
            (
                &["--tmpfs", "/etc"],
                "grep -c root /etc/passwd; stat -c '%a %u' /etc /etc/passwd; stat -f -c %T /etc",
            ),
            (
                &["--memory", "64m", "--pids-limit", "50"],
                "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max",
            ),
            (&maps, "cat /proc/self/uid_map /proc/self/gid_map; id -u; touch /x; stat -c %u /x /"),
            (&["--init"], "cat /proc/1/comm"),
            (&["--hostname", "inside", "-w", "/srv", "-e", "A=b"], "hostname; pwd; echo $A"),
            (
                &["--shm-size", "2m", "-v", "/data"],
                "grep -E ' (/dev/shm|/data) ' /proc/mounts | cut -d' ' -f2,3",
            ),
            (&["--pid", "host"], "[ $$ -gt 1 ] && [ -e /proc/1/cgroup ]; echo $?"),
            (&["--ipc", "host"], "readlink /proc/self/ns/ipc"),
        ];
        for (flags, script) in rows {
            let done = podman.once(flags, script);
            assert!(!done.stdout().is_empty(), "{flags:?}: {}", done.describe());
            seen.push((format!("{flags:?}"), done.code(), done.stdout().replace(&rt.unique(), "X")));
        }
        // Podman may not name a parent then: the container stays in the caller's cgroup.
        // runc of Debian 12 knows no such cgroup manager.
        if rt.kind() != Kind::Runc {
            without_cgroups(&podman);
        }
        let held = podman
            .run(&["--rm", "--preserve-fds", "2"], "cat <&3; cat <&4")
            .redirect("3</etc/hostname")
            .redirect("4</etc/debian_version");
        seen.all("descriptors of the caller", &held.run());
        let done = podman.once(&["--privileged"], "mount -t tmpfs t /tmp; echo $?");
        // runc refuses where the caller itself lacks one of the capabilities.
        assert!(done.stdout() == "0\n" || rt.kind() == Kind::Runc, "{}", done.describe());
        seen
    });
}

/// Its output is read from the log, which is complete when it has ended, whether somebody was attached in time or not.
fn without_cgroups(podman: &Podman<'_>) {
    let run = |name: &str, script: &str| {
        let first = ["run", "-d", "--cgroups=disabled", "--network", "none", "--name", name];
        let last = ["--entrypoint", "/bin/sh", &podman.image, "-c", script];
        podman.podman(&[&first[..], &last].concat()).run().ok();
    };
    run("once", "echo here; cat /proc/self/cgroup; exit 7");
    assert_eq!(podman.podman(&["wait", "once"]).run().ok().stdout(), "7\n");
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    assert_eq!(podman.podman(&["logs", "once"]).run().ok().stdout(), format!("here\n{own}"));
    run("long", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done");
    wait_until("it runs", SOON, || podman.podman(&["logs", "long"]).run().stdout() == "ready\n");
    let exec = podman.podman(&["exec", "long", "sh", "-c", "echo inside; exit 4"]).run();
    assert_eq!((exec.code(), exec.stdout().as_str()), (4, "inside\n"), "{}", exec.describe());
    podman.podman(&["stop", "long"]).run().ok();
    assert_eq!(podman.inspect("long", ".State.ExitCode"), "3");
    podman.podman(&["rm", "once", "long"]).run().ok();
}

#[test]
fn how_commands_end() {
    same_as_runc(|rt| {
        let podman = Podman::start(rt);
        let mut seen = Seen::new();
        seen.all("status", &podman.once(&[], "echo out; exit 7"));
        seen.all("signal", &podman.once(&[], "kill -KILL $$"));
        seen.code(
            "out of memory",
            &podman.once(&["--memory", "16m", "--memory-swap", "16m"], "tail /dev/zero"),
        );
        let cgroup = rt.cgroup_prefix();
        for program in ["/no/such", "nothing", "/etc/passwd", "/etc"] {
            let words = [
                "run",
                "--rm",
                "--cgroup-parent",
                &cgroup,
                "--network",
                "none",
                "--entrypoint",
                program,
                &podman.image,
            ];
            seen.code(program, &podman.podman(&words).run());
        }
        podman
            .run(&["-d", "--name", "one"], "trap 'exit 3' TERM; echo first; while :; do sleep 0.05; done")
            .run()
            .ok();
        wait_until("the log", SOON, || podman.podman(&["logs", "one"]).run().stdout() == "first\n");
        seen.all("exec", &podman.podman(&["exec", "one", "sh", "-c", "id -u; exit 5"]).run());
        let flags =
            ["exec", "-u", "1000", "-w", "/tmp", "-e", "A=b", "one", "sh", "-c", "id -u; pwd; echo $A"];
        seen.all("exec with flags", &podman.podman(&flags).run());
        let piped = podman.podman(&["exec", "-i", "one", "cat"]).stdin("through a pipe").run();
        seen.all("exec with input", &piped);
        for program in ["/no/such", "nothing", "/etc/passwd"] {
            seen.code(program, &podman.podman(&["exec", "one", program]).run());
        }
        let mut terminal = Terminal::open(31, 77);
        let script = "until stty size | grep 77; do sleep 0.05; done; stty -a | grep -o -- '-*onlcr'; read x; echo got $x; exit 4";
        let mut session = terminal.spawn(&podman.words(&["exec", "-it", "one", "sh", "-c", script]));
        terminal.screen.wait_for("31 77");
        terminal.screen.write("a word\n");
        terminal.screen.wait_for("got a word");
        assert_eq!(session.wait().code(), Some(4));
        assert!(
            terminal.screen.seen().lines().any(|line| line.trim_end() == "onlcr"),
            "{:?}",
            terminal.screen.seen()
        );

        seen.all("pause", &podman.podman(&["pause", "one"]).run().ok());
        // What cleans up after the exec writes to the same database.
        wait_until("it is paused", SOON, || podman.inspect("one", ".State.Status") == "paused");
        seen.all("unpause", &podman.podman(&["unpause", "one"]).run());
        podman.podman(&["update", "--memory", "64m", "one"]).run().ok();
        let limit = ["exec", "one", "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
        seen.all("the new limit", &podman.podman(&limit).run());
        let stats = podman.podman(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "one"]).run().ok();
        let used = stats.stdout();
        assert!(used.contains("B / ") && !used.starts_with("0B"), "{}", stats.describe());
        let top = podman.podman(&["top", "one", "pid", "comm"]).run().ok().stdout();
        assert!(top.contains("sh"), "{top}");
        seen.all("stop", &podman.podman(&["stop", "one"]).run());
        seen.text("its status", &podman.inspect("one", ".State.ExitCode"));
        podman.podman(&["rm", "one"]).run().ok();
        seen
    });
}

/// Podman asks `checkpoint --help`, whose success means that there is such a command.
#[test]
fn a_runtime_without_checkpoints_is_told_as_such() {
    same_as_runc(|rt| {
        let podman = Podman::start(rt);
        podman.run(&["-d", "--name", "one"], "exec sleep 1000").run().ok();
        if rt.kind() == Kind::Keg {
            let words = ["container", "checkpoint", "one"];
            let done = podman.podman(&words).run();
            let said = "Error: configured runtime does not support checkpoint/restore\n";
            assert_eq!((done.code(), done.stderr().as_str()), (125, said), "{}", done.describe());
            assert_eq!(podman.inspect("one", ".State.Status"), "running");
        }
        podman.podman(&["rm", "-f", "-t", "0", "one"]).run().ok();
        Seen::new()
    });
}

/// Podman without root makes its caller root of a user namespace before it calls the runtime.
#[test]
fn without_root() {
    same_as_runc(|rt| {
        let user = User::without_session(rt);
        let podman = Podman::of(&user, rt);
        let mut seen = Seen::new();
        let run = |flags: &[&str], script: &str| {
            let first = ["run", "--network", "none", "--entrypoint", "/bin/sh"];
            podman.podman(&[&first[..], flags, &[&podman.image, "-c", script]].concat()).run()
        };
        let own = user.home.join("own");
        fs::create_dir(&own).unwrap();
        fs::set_permissions(&own, PermissionsExt::from_mode(0o777)).unwrap();
        let volume = format!("{}:/own", own.display());
        let rows: &[(&[&str], &str)] = &[
            (&["--rm"], "echo here; id -u; cat /proc/self/uid_map; exit 3"),
            (&["--rm", "--user", "1000:1000"], "id; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status"),
            (&["--rm", "-v", &volume], "touch /own/file; stat -c %u /own/file; echo out >&2; kill -KILL $$"),
            (&["--rm", "--read-only", "--tmpfs", "/x"], "touch /y; touch /x/y; echo $?"),
        ];
        for (flags, script) in rows {
            let name = format!("{flags:?}").replace(&rt.unique(), "X");
            let done = run(flags, script);
            assert!(!done.stdout().is_empty(), "{name}: {}", done.describe());
            seen.all(&name, &done);
        }
        for program in ["/no/such", "nothing", "/etc/passwd"] {
            let words = ["run", "--rm", "--network", "none", "--entrypoint", program, &podman.image];
            seen.code(program, &podman.podman(&words).run());
        }
        run(&["-d", "--name", "one"], "trap 'exit 3' TERM; echo first; while :; do sleep 0.05; done").ok();
        wait_until("the log", SOON, || podman.podman(&["logs", "one"]).run().stdout() == "first\n");
        seen.all("exec", &podman.podman(&["exec", "one", "sh", "-c", "id -u; exit 5"]).run());
        seen.all("stop", &podman.podman(&["stop", "one"]).run());
        seen.text("its status", &podman.inspect("one", ".State.ExitCode"));
        podman.podman(&["rm", "one"]).run().ok();
        // runc of Debian 12 knows no such cgroup manager.
        if rt.kind() != Kind::Runc {
            without_cgroups(&podman);
        }
        // What keeps the user namespace.
        podman.podman(&["system", "migrate"]).run().ok();
        seen
    });
}

#[test]
fn pods_health_and_readiness() {
    same_as_runc(|rt| {
        let podman = Podman::start(rt);
        let mut seen = Seen::new();
        let cgroup = rt.cgroup_prefix();
        let words = [
            "pod",
            "create",
            "--name",
            "pod",
            "--cgroup-parent",
            &cgroup,
            "--network",
            "none",
            "--infra-command",
            "/catatonit -P",
        ];
        podman.podman(&words).run().ok();
        let member = |name: &str, script: &str| {
            let words = [
                "run",
                "-d",
                "--pod",
                "pod",
                "--name",
                name,
                "--entrypoint",
                "/bin/sh",
                &podman.image,
                "-c",
                script,
            ];
            podman.podman(&words).run().ok();
        };
        member("server", "echo hello > /tmp/index.html; exec busybox httpd -f -p 8080 -h /tmp");
        member("client", "exec sleep 1000");
        let get =
            || podman.podman(&["exec", "client", "busybox", "wget", "-qO-", "http://127.0.0.1:8080/"]).run();
        wait_until("the neighbour answers", SOON, || get().stdout() == "hello\n");
        seen.all("the neighbour", &get());
        podman.podman(&["pod", "rm", "-f", "-t", "0", "pod"]).run().ok();

        let health =
            ["-d", "--name", "one", "--health-cmd", "test -e /tmp/well", "--health-interval", "disable"];
        podman.run(&health, "exec sleep 1000").run().ok();
        let check = || podman.podman(&["healthcheck", "run", "one"]).run();
        seen.code("ill", &check());
        podman.podman(&["exec", "one", "touch", "/tmp/well"]).run().ok();
        seen.code("well", &check());
        podman.podman(&["rm", "-f", "-t", "0", "one"]).run().ok();

        // A service manager hears from the container itself when it is ready.
        let socket = UnixDatagram::bind(rt.dir().join("notify")).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let probe = format!("{}:/probe:ro", harness::runtime::target().join("probe").display());
        let flags = ["-d", "--name", "two", "--sdnotify", "container", "-v", &probe];
        let to = rt.dir().join("notify").display().to_string();
        podman.run(&flags, "/probe --notify READY=1; exec sleep 1000").env("NOTIFY_SOCKET", &to).run().ok();
        let mut told = String::new();
        wait_until("it is ready", SOON, || {
            let mut buffer = [0; 256];
            let count = socket.recv(&mut buffer).unwrap();
            told += &String::from_utf8_lossy(&buffer[..count]);
            told.contains("READY=1")
        });
        podman.podman(&["rm", "-f", "-t", "0", "two"]).run().ok();
        seen
    });
}

#[test]
fn buildah_and_podman_build_with_the_runtime() {
    same_as_runc(|rt| {
        let podman = Podman::start(rt);
        let mut seen = Seen::new();
        let binary = rt.binary().display().to_string();
        let buildah =
            |words: &[&str]| podman.program(&podman.words_of(&[&["buildah"], words].concat())).run();
        let container = buildah(&["from", "--pull-never", &podman.image]).ok().stdout().trim().to_owned();
        let run = ["run", "--runtime", &binary, "--isolation", "oci", &container, "--", "sh", "-c"];
        seen.all("buildah run", &buildah(&[&run[..], &["echo here; id -u; exit 3"]].concat()));
        seen.all(
            "as a user",
            &buildah(&["run", "--runtime", &binary, "--user", "1000", &container, "id", "-u"]),
        );
        buildah(&["rm", &container]).ok();

        let context = rt.dir().join("context");
        fs::create_dir(&context).unwrap();
        let steps =
            format!("FROM {}\nRUN echo built > /built && id -u\nUSER 1000\nRUN id -u\n", podman.image);
        fs::write(context.join("Dockerfile"), steps).unwrap();
        let context = context.display().to_string();
        let build = [
            "--isolation",
            "oci",
            "--cgroup-parent",
            &rt.cgroup_prefix(),
            "--network",
            "none",
            "--no-cache",
            "-t",
            "made",
            &context,
        ];
        let bud = buildah(&[&["bud", "--runtime", &binary][..], &build].concat()).ok();
        assert!(bud.stdout().contains("\n0\n") && bud.stdout().contains("\n1000\n"), "{}", bud.describe());
        let done = podman.podman(&[&["build"][..], &build].concat()).run().ok();
        assert!(done.stdout().contains("\n1000\n"), "{}", done.describe());
        let words = [
            "run",
            "--rm",
            "--cgroup-parent",
            &rt.cgroup_prefix(),
            "--network",
            "none",
            "--entrypoint",
            "/bin/cat",
            "made",
            "/built",
        ];
        seen.all("what was built", &podman.podman(&words).run());
        seen
    });
}
