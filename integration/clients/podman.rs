//! Podman with conmon, and Buildah.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use harness::peers::Kind;
use harness::terminal::Terminal;
use harness::{Command, Finished, Note, Runtime, Seen, docs, json, same_as_runc, wait_until};

const SOON: Duration = Duration::from_secs(15);

/// A store with the small image, and the configuration of the page on Podman.
struct Podman<'a> {
    rt: &'a Runtime,
    image: String,
}

impl<'a> Podman<'a> {
    fn start(rt: &'a Runtime) -> Self {
        let path = |name: &str| rt.dir().join(name);
        let page = docs::block("podman.md", "toml", "[engine.runtimes]");
        let page = page.replace(docs::INSTALLED, &rt.binary().display().to_string());
        let engine = page.strip_prefix("[engine]\n").expect("the page begins with the engine");
        // The default limits are more than root may set where it lacks CAP_SYS_RESOURCE.
        let config = format!(
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n\
             [engine]\nevents_logger = \"file\"\n{engine}"
        );
        fs::write(path("containers.conf"), config).unwrap();
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{0}/store\"\nrunroot = \"{0}/run\"\n",
            rt.dir().display()
        );
        fs::write(path("storage.conf"), storage).unwrap();
        fs::write(path("policy.json"), json!({"default": [{"type": "insecureAcceptAnything"}]}).to_string())
            .unwrap();
        let layout = harness::runtime::target().join("images/small");
        let mut this = Self { rt, image: String::new() };
        let pulled = this.podman(&["pull", "-q", &format!("oci:{}:latest", layout.display())]).run().ok();
        this.image = pulled.stdout().trim().to_owned();
        this
    }

    fn environment(&self, command: Command) -> Command {
        let path = |name: &str| self.rt.dir().join(name).display().to_string();
        // conmon leaves a file where it was started when a container runs out of memory.
        let command = command.cwd(self.rt.dir()).env("CONTAINERS_CONF", &path("containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", &path("storage.conf")).limit(Duration::from_secs(60))
    }

    fn words(&self, words: &[&str]) -> Vec<String> {
        let (tmp, net) = (self.rt.dir().join("tmp"), self.rt.dir().join("net"));
        let (tmp, net) = (tmp.display().to_string(), net.display().to_string());
        let first =
            ["podman", "--cgroup-manager", "cgroupfs", "--tmpdir", &tmp, "--network-config-dir", &net];
        [&first[..], words].concat().iter().map(|&word| word.to_owned()).collect()
    }

    fn podman(&self, words: &[&str]) -> Command {
        self.environment(self.rt.program(&self.words(words)))
    }

    /// `podman run` of a shell script, without a network.
    fn run(&self, flags: &[&str], script: &str) -> Command {
        let cgroup = self.rt.cgroup_prefix();
        let first = ["run", "--cgroup-parent", &cgroup, "--network", "none", "--entrypoint", "/bin/sh"];
        self.podman(&[&first[..], flags, &[&self.image, "-c", script]].concat())
    }

    fn once(&self, flags: &[&str], script: &str) -> Finished {
        self.run(&[&["--rm"], flags].concat(), script).run()
    }

    fn inspect(&self, name: &str, what: &str) -> String {
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
        let words = [
            "run",
            "--rm",
            "--cgroups=disabled",
            "--network",
            "none",
            "--entrypoint",
            "/bin/echo",
            &podman.image,
            "here",
        ];
        let done = podman.podman(&words).run();
        // runc of Debian 12 knows no such cgroup manager.
        assert!(rt.kind() == Kind::Runc || done.stdout() == "here\n", "{}", done.describe());
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
            .run(&["-d", "--name", "one"], "echo first; trap 'exit 3' TERM; while :; do sleep 0.05; done")
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
        let script = "until stty size | grep 77; do sleep 0.05; done; read x; echo got $x; exit 4";
        let env = [("CONTAINERS_CONF", "containers.conf"), ("CONTAINERS_STORAGE_CONF", "storage.conf")];
        let mut words: Vec<String> = vec!["env".into()];
        words.extend(env.iter().map(|(name, file)| format!("{name}={}", rt.dir().join(file).display())));
        words.extend(podman.words(&["exec", "-it", "one", "sh", "-c", script]));
        let mut session = terminal.spawn(&words);
        terminal.screen.wait_for("31 77");
        terminal.screen.write("a word\n");
        terminal.screen.wait_for("got a word");
        assert_eq!(session.wait().code(), Some(4));

        seen.all("pause", &podman.podman(&["pause", "one"]).run());
        assert_eq!(podman.inspect("one", ".State.Status"), "paused");
        seen.all("unpause", &podman.podman(&["unpause", "one"]).run());
        podman.podman(&["update", "--memory", "64m", "one"]).run().ok();
        let limit = ["exec", "one", "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
        seen.all("the new limit", &podman.podman(&limit).run());
        let stats = podman.podman(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "one"]).run().ok();
        assert!(stats.stdout().contains("kB / "), "{}", stats.describe());
        let top = podman.podman(&["top", "one", "pid", "comm"]).run().ok().stdout();
        assert!(top.contains("sh"), "{top}");
        seen.all("stop", &podman.podman(&["stop", "one"]).run());
        seen.text("its status", &podman.inspect("one", ".State.ExitCode"));
        podman.podman(&["rm", "one"]).run().ok();
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
        let buildah = |words: &[&str]| podman.environment(rt.program(&[&["buildah"], words].concat())).run();
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
