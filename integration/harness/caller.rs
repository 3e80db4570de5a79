//! Surroundings for programs that drive a runtime: a network and a `/run` of their own, daemons that are stopped again, and the same
//! scenario with Debian's runc and with the runtime under test.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::{patience, spawn};
use crate::peers::Kind;
use crate::{Driver, Finished, Host, Runtime, runtime, wait_until};

/// What a caller showed, in its order: the same with every runtime.
pub type Seen = Vec<(String, i32, String)>;

/// Runs the scenario with Debian's runc and then with the runtime under test: what it has seen has to be the same, and nothing is left.
pub fn same_as_runc(scenario: impl Fn(&Runtime) -> Seen + Sync) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let tested = runtime::binary();
    let kind = Kind::of(&tested);
    if kind == Kind::Crun {
        eprintln!("skipped for {kind:?}: callers match the words of runc's errors");
        return;
    }
    let with_runc = alone(&runtime::find("runc"), &scenario);
    if kind == Kind::Keg {
        let with_keg = alone(&tested, &scenario);
        let differ = with_runc.iter().zip(&with_keg).filter(|(runc, keg)| runc != keg);
        let differ: Vec<_> = differ.map(|rows| format!("{rows:#?}")).collect();
        assert!(
            differ.is_empty() && with_runc.len() == with_keg.len(),
            "runc and keg: {}",
            differ.join("\n")
        );
    }
}

/// Runs the scenario with the runtime under test alone, where there is no time for more: what it has seen is to be checked by other means.
/// `KEG_SWEEP=full` compares all the same.
pub fn with_caller(scenario: impl Fn(&Runtime) -> Seen + Sync) {
    if std::env::var("KEG_SWEEP").is_ok_and(|value| value == "full") {
        return same_as_runc(scenario);
    }
    match nix::unistd::geteuid().is_root() {
        true => drop(alone(&runtime::binary(), &scenario)),
        false => eprintln!("skipped: needs root"),
    }
}

/// Runs the scenario, which notes what it sees and is to see what is expected; afterwards systemd has no unit of that name left.
pub fn with_scopes(
    units: &str,
    expected: &[(&str, i32, &str)],
    scenario: impl Fn(&Runtime, &mut Seen) + Sync,
) {
    with_caller(|rt| {
        if rt.driver() != Driver::Systemd {
            eprintln!("skipped: KEG_DRIVER is not systemd");
            return Seen::new();
        }
        let mut seen = Seen::new();
        scenario(rt, &mut seen);
        let shown: Vec<_> =
            seen.iter().map(|(what, code, text)| (what.as_str(), *code, text.as_str())).collect();
        assert_eq!(shown, expected);
        let list = ["systemctl", "list-units", "--all", "--plain", "--no-legend", units];
        wait_until("no unit is left", Duration::from_secs(120), || {
            rt.program(&list).run().ok().stdout().is_empty()
        });
        let find = ["find", "/sys/fs/cgroup", "-name", units];
        wait_until("no cgroup is left", Duration::from_secs(120), || {
            rt.program(&find).run().stdout().is_empty()
        });
        seen
    });
}

/// The path of a process's cgroup of version 2.
pub fn cgroup_of(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.trim().trim_start_matches("0::").to_owned()
}

/// In a thread of its own, whose namespaces nobody else sees.
fn alone(binary: &Path, scenario: &(impl Fn(&Runtime) -> Seen + Sync)) -> Seen {
    let one = || {
        eprintln!("with {}", binary.display());
        let rt = Runtime::of(binary.to_owned());
        isolate(&rt);
        let before = Host::look(&rt);
        let seen = scenario(&rt);
        before.assert_same_for_callers(&rt);
        seen
    };
    let done = std::thread::scope(|scope| scope.spawn(one).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn isolate(rt: &Runtime) {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let none = None::<&str>;
    let of_host = rt.dir().join("run-of-host");
    fs::create_dir(&of_host).unwrap();
    mount(Some("/run"), &of_host, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).unwrap();
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
    fs::create_dir("/run/lock").unwrap();
    // How systemd is found and spoken to, by root and by users.
    for name in ["dbus", "systemd", "user"].iter().filter(|_| rt.driver() == Driver::Systemd) {
        let place = Path::new("/run").join(name);
        fs::create_dir(&place).unwrap();
        mount(Some(&of_host.join(name)), &place, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).unwrap();
    }
    umount2(&of_host, MntFlags::MNT_DETACH).unwrap();
    fs::remove_dir(of_host).unwrap();
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    assert!(up.expect("iproute2 is installed by `make setup`").success());
}

/// Gives this thread an empty `/var/lib`: some callers keep things there whatever they are told.
pub fn hide_var_lib() {
    mount(Some("tmpfs"), "/var/lib", Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
}

/// A program that serves on a socket until it is stopped, which happens when this is dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Daemon {
    /// Starts it and waits until `answers`. One that does not come up fails the test with the end of its log.
    pub fn start(rt: &Runtime, words: &[&str], mut answers: impl FnMut() -> bool) -> Self {
        let name = words[0].to_owned();
        let base = Path::new(&name).file_name().unwrap();
        let log = rt.dir().join(base).with_added_extension("log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(&name);
        command.args(&words[1..]).current_dir(rt.dir()).process_group(0);
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child =
            spawn(&mut command).unwrap_or_else(|e| panic!("{name}: {e}; `make setup` installs its package"));
        let mut daemon = Self { child, name, log };
        let start = Instant::now();
        while !answers() {
            let ended = daemon.child.try_wait().unwrap();
            if ended.is_some() || start.elapsed() > patience(Duration::from_secs(120)) {
                panic!("{} does not come up ({ended:?}):\n{}", daemon.name, daemon.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// The end of what it logged.
    pub fn log(&self) -> String {
        let text = String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} logged:\n{}", self.name, self.log());
        }
        kill(Pid::from_raw(self.pid()), Signal::SIGTERM).unwrap_or_default();
        let start = Instant::now();
        while self.child.try_wait().is_ok_and(|status| status.is_none()) {
            if start.elapsed() > patience(Duration::from_secs(15)) {
                eprintln!("{} does not stop", self.name);
                self.child.kill().unwrap_or_default();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Ends whatever lives in the mount namespace of this thread, which holds nothing but what this thread has started.
pub(crate) fn end_neighbours() {
    let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let (own, main) = (of("thread-self"), of("1"));
    if own.is_none() || own == main || own == of("self") {
        return;
    }
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(pid) = name.parse().ok().filter(|_| of(&name) == own) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap_or_default();
        }
    }
}

/// Notes what a command came to.
pub trait Note {
    /// Its status and its output.
    fn all(&mut self, what: &str, done: &Finished);
    /// Its status alone.
    fn code(&mut self, what: &str, done: &Finished);
    /// Something else.
    fn text(&mut self, what: &str, text: &str);
}

impl Note for Seen {
    fn all(&mut self, what: &str, done: &Finished) {
        self.push((what.to_owned(), done.code(), done.stdout()));
    }

    fn code(&mut self, what: &str, done: &Finished) {
        self.push((what.to_owned(), done.code(), String::new()));
    }

    fn text(&mut self, what: &str, text: &str) {
        self.push((what.to_owned(), 0, text.to_owned()));
    }
}
