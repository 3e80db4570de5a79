//! containerd with its shim, driven by `ctr`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use harness::host::shim_counts;
use harness::terminal::Terminal;
use harness::{
    Command, Daemon, Driver, Finished, Note, Running, Runtime, Seen, alive, same_as_runc, wait_until,
};
use nix::sys::stat::Mode;

const SOON: Duration = Duration::from_secs(10);

/// A containerd with the small image. It is stopped when dropped.
pub(super) struct Containerd<'a> {
    daemon: Option<Daemon>,
    rt: &'a Runtime,
}

impl<'a> Containerd<'a> {
    pub(super) fn start(rt: &'a Runtime) -> Self {
        let config = format!(
            "version = 2\nroot = \"{0}/containerd\"\nstate = \"{0}/state\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[debug]\nlevel = \"warn\"\n[grpc]\naddress = \"{0}/sock\"\n",
            rt.dir().display()
        );
        fs::write(rt.dir().join("config.toml"), config).unwrap();
        let mut this = Self { daemon: None, rt };
        // For id mappings ctr gives the shim other options, and in them no path: it looks for the name.
        fs::create_dir(rt.dir().join("bin")).unwrap();
        symlink(rt.binary(), rt.dir().join("bin/runc")).unwrap();
        this.up();
        let layout = harness::runtime::target().join("images/small");
        let tar = rt.dir().join("small.tar").display().to_string();
        rt.program(&["tar", "-C", &layout.display().to_string(), "-cf", &tar, "."]).run().ok();
        this.ctr(&["image", "import", "--base-name", "small", &tar]).run().ok();
        this
    }

    fn up(&mut self) {
        let config = self.rt.dir().join("config.toml").display().to_string();
        let answers = || self.ctr(&["version"]).run().status.success();
        let path = format!("PATH={}:/usr/sbin:/usr/bin:/sbin:/bin", self.rt.dir().join("bin").display());
        self.daemon =
            Some(Daemon::start(self.rt, &["env", &path, "containerd", "--config", &config], answers));
    }

    fn words(&self, words: &[&str]) -> Vec<String> {
        let address = self.rt.dir().join("sock").display().to_string();
        let all = ["ctr", "--address", &address, "--namespace", "keg-test"];
        all.iter().chain(words).map(|&word| word.to_owned()).collect()
    }

    pub(super) fn ctr(&self, words: &[&str]) -> Command {
        self.rt.program(&self.words(words))
    }

    /// `ctr run` of a shell script.
    fn run_words(&self, flags: &[&str], id: &str, script: &str) -> Vec<String> {
        let cgroup = self.rt.cgroups_path(id);
        let binary = self.rt.binary().display().to_string();
        let first = ["run", "--runc-binary", &binary, "--cgroup", &cgroup];
        let driver: &[&str] = match self.rt.driver() {
            Driver::Cgroupfs => &[],
            Driver::Systemd => &["--runc-systemd-cgroup"],
        };
        let last = ["small:latest", id, "/bin/sh", "-c", script];
        self.words(&[&first[..], driver, flags, &last].concat())
    }

    pub(super) fn run(&self, flags: &[&str], id: &str, script: &str) -> Command {
        self.rt.program(&self.run_words(flags, id, script))
    }

    /// The same with all that it writes: ctr may come too late to the pipe of a container that has ended, so that this one waits.
    fn whole(&self, flags: &[&str], script: &str) -> Finished {
        self.end("c", self.begin(flags, "c", script))
    }

    fn begin(&self, flags: &[&str], id: &str, script: &str) -> Running {
        let input = self.rt.dir().join(format!("input-{id}"));
        nix::unistd::mkfifo(&input, Mode::S_IRWXU).unwrap();
        let script = format!("( {script} ); status=$?; echo end; read line; exit $status");
        let run = self.run(&[&["--rm"], flags].concat(), id, &script);
        run.redirect(&format!("<>{}", input.display())).limit(Duration::from_secs(60)).spawn()
    }

    fn end(&self, id: &str, running: Running) -> Finished {
        wait_until("its last word", Duration::from_secs(60), || running.stdout().ends_with("end\n"));
        let input = self.rt.dir().join(format!("input-{id}"));
        fs::write(&input, "\n").unwrap();
        let done = running.wait();
        fs::remove_file(input).unwrap();
        done
    }

    pub(super) fn exec(&self, id: &str, script: &str) -> Command {
        self.ctr(&["task", "exec", "--exec-id", "more", id, "/bin/sh", "-c", script])
    }

    /// The task's status as `ctr task ls` has it, and its pid.
    pub(super) fn task(&self, id: &str) -> Option<(String, i32)> {
        let list = self.ctr(&["task", "ls"]).run().ok().stdout();
        let row = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row = row.into_iter().find(|row| row.first() == Some(&id))?;
        Some((row[2].to_owned(), row[1].parse().unwrap()))
    }

    pub(super) fn status(&self, id: &str) -> String {
        self.task(id).map(|(status, _)| status).unwrap_or_default()
    }

    pub(super) fn kill(&self, id: &str) {
        self.ctr(&["task", "kill", "-s", "KILL", id]).run().ok();
        wait_until("the task is stopped", SOON, || self.status(id) == "STOPPED");
    }

    pub(super) fn remove(&self, id: &str) {
        // Its own status is that of the task.
        self.ctr(&["task", "rm", id]).run();
        self.ctr(&["container", "rm", id]).run().ok();
    }
}

#[test]
fn a_container_in_the_foreground() {
    same_as_runc(|rt| {
        let containerd = Containerd::start(rt);
        let mut seen = Seen::new();
        let done = containerd.whole(&[], "id; pwd; echo to stderr >&2; exit 3");
        assert_eq!((done.code(), done.stderr().as_str()), (3, "to stderr\n"));
        seen.all("status and output", &done);
        seen.code("a signal", &containerd.run(&["--rm"], "c", "kill -TERM $$").run());
        let flags =
            ["--env", "A=b c", "--cwd", "/tmp", "--cap-drop", "CAP_CHOWN", "--read-only", "--seccomp"];
        let script = "echo $A; pwd; touch /x; grep -E 'Cap|Seccomp:|NoNew' /proc/self/status";
        let done = containerd.whole(&flags, script);
        assert!(done.stdout().starts_with("b c\n/tmp\n"), "{}", done.describe());
        seen.all("flags", &done);
        seen.all("privileged", &containerd.whole(&["--privileged"], "grep Cap /proc/self/status"));
        seen.all("a network of the host", &containerd.whole(&["--net-host"], "ip addr show lo"));
        let words = containerd.run_words(&["--rm"], "c", "");
        for (program, text) in
            [("/no/such", "no such file or directory"), ("nothing", "executable file not found in $PATH")]
        {
            let words: Vec<_> = words.iter().map(|w| if w == "/bin/sh" { program } else { w }).collect();
            let done = rt.program(&words).run();
            assert!(done.stderr().contains(text), "{}", done.describe());
            seen.code(program, &done);
        }
        let maps = ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"];
        seen.all("a user namespace", &containerd.whole(&maps, "cat /proc/self/uid_map"));
        seen
    });
}

#[test]
fn a_container_in_a_terminal() {
    same_as_runc(|rt| {
        let containerd = Containerd::start(rt);
        let mut terminal = Terminal::open(31, 77);
        let script = "until stty size | grep 77; do sleep 0.05; done; tty; stty -a | grep -o -- '-*onlcr'; read line; echo got $line; exit 6";
        let mut session = terminal.spawn(&containerd.run_words(&["--rm", "-t"], "c", script));
        terminal.screen.wait_for("31 77");
        terminal.screen.write("a word\n");
        terminal.screen.wait_for("got a word");
        assert_eq!(session.wait().code(), Some(6));
        // What is sent over a socket makes carriage returns as any terminal does; the caller decides on that.
        assert!(
            terminal.screen.seen().lines().any(|line| line.trim_end() == "onlcr"),
            "{:?}",
            terminal.screen.seen()
        );
        containerd.run(&["-d", "--null-io"], "d", "sleep 1000").run().silent();
        let words = [
            "task",
            "exec",
            "-t",
            "--exec-id",
            "x",
            "d",
            "/bin/sh",
            "-c",
            "until stty size | grep 77; do sleep 0.05; done; exit 5",
        ];
        let mut session = terminal.spawn(&containerd.words(&words));
        terminal.screen.wait_for("31 77");
        assert_eq!(session.wait().code(), Some(5));
        containerd.kill("d");
        containerd.remove("d");
        Seen::new()
    });
}

#[test]
fn a_container_in_the_background() {
    same_as_runc(|rt| {
        let containerd = Containerd::start(rt);
        let mut seen = Seen::new();
        let mut events = containerd.ctr(&["events"]).spawn();
        let counts = shim_counts();
        let flags = ["-d", "--memory-limit", "67108864"];
        containerd.run(&flags, "c", "trap 'exit 9' TERM; while :; do sleep 0.05; done").run().silent();
        let (status, pid) = containerd.task("c").unwrap();
        assert_eq!((status.as_str(), alive(pid)), ("RUNNING", true));
        seen.all("exec", &containerd.exec("c", "pwd; id -u; exit 5").run());
        seen.all(
            "exec of nothing",
            &containerd.ctr(&["task", "exec", "--exec-id", "y", "c", "nothing"]).run(),
        );

        let pids = containerd.ctr(&["task", "ps", "c"]).run().ok().stdout();
        assert!(pids.lines().any(|line| line.split_whitespace().next() == Some(&pid.to_string())), "{pids}");
        let metrics = containerd.ctr(&["task", "metrics", "c"]).run();
        let counts = counts && shim_counts();
        let metrics = if counts { metrics.ok().stdout() } else { String::new() };
        let value = |name| {
            let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|value| value.parse::<u64>().ok())
        };
        if counts {
            assert_eq!(value("memory.limit_in_bytes"), Some(67_108_864), "{metrics}");
            assert!(value("memory.usage_in_bytes") > Some(0) && value("pids.current") > Some(0), "{metrics}");
        }

        seen.all("pause", &containerd.ctr(&["task", "pause", "c"]).run());
        assert_eq!(containerd.status("c"), "PAUSED");
        seen.code("exec while it is paused", &containerd.exec("c", "true").run());
        seen.all("resume", &containerd.ctr(&["task", "resume", "c"]).run());
        assert_eq!(containerd.status("c"), "RUNNING");

        seen.all("a signal", &containerd.ctr(&["task", "kill", "-s", "TERM", "c"]).run());
        wait_until("the task ends", SOON, || containerd.status("c") == "STOPPED");
        let late = containerd.ctr(&["task", "kill", "c"]).run();
        seen.code("a signal too late", &late);
        seen.code("removal", &containerd.ctr(&["task", "rm", "c"]).run());
        containerd.ctr(&["container", "rm", "c"]).run().ok();

        // The shim listens for that from when the task has been started.
        let greedy = "sleep 2; exec tail /dev/zero";
        let run = containerd.run(&["--rm", "--memory-limit", "16777216"], "o", greedy).run();
        seen.code("out of memory", &run);
        for topic in
            ["create", "start", "exec-added", "exec-started", "paused", "resumed", "oom", "exit", "delete"]
        {
            if topic == "oom" && !(counts && shim_counts()) {
                continue;
            }
            let topic = format!("/tasks/{topic} ");
            wait_until(&topic, SOON, || events.stdout().contains(&topic));
        }
        assert!(!events.has_ended());
        seen
    });
}

#[test]
fn containers_outlive_containerd_and_end_with_their_shim() {
    same_as_runc(|rt| {
        let mut containerd = Containerd::start(rt);
        containerd.run(&["-d", "--null-io"], "c", "sleep 1000").run().silent();
        let (_, pid) = containerd.task("c").unwrap();
        drop(containerd.daemon.take());
        assert!(alive(pid));
        containerd.up();
        assert_eq!(containerd.task("c"), Some(("RUNNING".to_owned(), pid)));
        assert_eq!(containerd.exec("c", "echo still").run().ok().stdout(), "still\n");
        let shim = parent(pid);
        rt.program(&["kill", "-KILL", &shim.to_string()]).run().ok();
        wait_until("the container ends with its shim", SOON, || !alive(pid));
        wait_until("containerd notices", SOON, || containerd.status("c") != "RUNNING");
        containerd.remove("c");
        Seen::new()
    });
}

#[test]
fn twenty_containers_at_once() {
    same_as_runc(|rt| {
        let containerd = Containerd::start(rt);
        let id = |n: usize| format!("c{n}");
        let start = |n| containerd.begin(&[], &id(n), &format!("echo {}; exit {n}", id(n)));
        let all: Vec<_> = (0..20).map(start).collect();
        let done = all.into_iter().enumerate().map(|(n, one)| containerd.end(&id(n), one));
        let done: Vec<_> = done.map(|done| (done.code(), done.stdout())).collect();
        let expected: Vec<_> = (0..20).map(|n| (n, format!("c{n}\nend\n"))).collect();
        assert_eq!(done, expected);
        assert_eq!(containerd.ctr(&["container", "ls", "-q"]).run().ok().stdout(), "");
        Seen::new()
    });
}

fn parent(pid: i32) -> i32 {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    line.trim().parse().unwrap()
}
