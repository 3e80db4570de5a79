//! What `run` costs, counted in system calls: counts don't depend on the machine's load, times do.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::host::unmounted_hierarchies;
use harness::{Runtime, json, wait_until, with_runtime};
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::Signal;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// A host with version 2 alone, as most are: seen from a mount namespace in which nothing else is mounted.
const VERSION_2: &str = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
/// A host with version 1 alone.
const VERSION_1: &str =
    "for m in $(findmnt --noheadings --output TARGET --types cgroup2); do umount $m; done; exec \"$@\"";
const AS_IT_IS: &str = "exec \"$@\"";
/// With version 2.
const BUDGET: usize = 285;
/// With the nine hierarchies of version 1 that a host may have.
const BUDGET_1: usize = 360;
/// With version 2's beside them: one more.
const BUDGET_HYBRID: usize = 370;
/// What another program may have left behind, a hierarchy of version 1 that is mounted nowhere, is met once and passed over: two calls
/// for each part of the cgroup's path, and mountinfo is read.
const UNMOUNTED: usize = 12;

/// Runs the bundle of `spec`, its process a static program that does nothing, in a view of the host's cgroups: all system calls of
/// all processes, one a line.
fn calls(rt: &Runtime, view: &str) -> Vec<String> {
    let bundle = rt.bundle();
    std::fs::remove_file(bundle.path().join("config.json")).unwrap();
    rt.command(&["spec", "--bundle", &bundle.arg()]).run().ok();
    bundle.edit(|c| {
        c["process"]["terminal"] = json!(false);
        c["process"]["args"] = json!(["/bin/busybox", "true"]);
    });
    let trace = rt.dir().join("trace").display().to_string();
    // A name of its own is also the name of its cgroup.
    let id = format!("keg-test-calls-{}", std::process::id());
    let command = rt.command(&["run", "--bundle", &bundle.arg(), &id]);
    let prefix = ["unshare", "--mount", "sh", "-ec", view, "sh", "strace", "-f", "-qq", "-o", &trace];
    command.inside(&prefix).run().ok();
    let text = std::fs::read_to_string(&trace).unwrap();
    // A call that was interrupted by another task is two lines; signals and exits are none.
    let whole = |line: &&str| !line.contains("resumed>") && !line.contains("---") && !line.contains("+++");
    text.lines().filter(whole).map(str::to_owned).collect()
}

fn check(rt: &Runtime, view: &str, budget: usize) {
    let before = unmounted_hierarchies();
    let calls = &calls(rt, view);
    let unmounted = before.max(unmounted_hierarchies());
    let budget = budget + UNMOUNTED * unmounted;
    let executed = calls.iter().filter(|l| l.contains(" execve(") || l.contains(" execveat(")).count();
    let mut names = BTreeMap::<&str, usize>::new();
    let named = calls.iter().filter_map(|line| line.split_once(' ')?.1.trim().split('(').next());
    named.for_each(|name| *names.entry(name).or_default() += 1);
    assert!(calls.len() <= budget, "{} system calls, {budget} are allowed: {names:?}", calls.len());
    // keg, and the container's program: keg does not run again.
    assert_eq!(executed, 2, "execve in all");
    // It is as long as the host has mounts.
    let table = calls.iter().find(|line| line.contains("mountinfo\"") || line.contains("/mounts\""));
    assert!(unmounted > 0 || table.is_none(), "{table:?}");
    // As often as a C library is set up.
    assert_eq!(names["set_tid_address"], 2, "{names:?}");
}

fn is_measurable(rt: &Runtime) -> bool {
    if !rt.only_keg("the budget is keg's own") {
        return false;
    }
    let debug = rt.binary().parent().is_some_and(|dir| dir.ends_with("debug"));
    if debug {
        eprintln!("skipped: a debug build checks its descriptors with system calls of its own");
    }
    !debug
}

#[test]
fn run_takes_at_most_285_system_calls_and_one_execve_after_the_first() {
    with_runtime(|rt| {
        if is_measurable(rt) {
            check(rt, VERSION_2, BUDGET);
        }
    });
}

/// Each hierarchy is made, entered, mounted and removed on its own: seven calls, and a dozen more for cpuset, and for devices.
#[test]
fn with_the_hierarchies_of_version_1_it_takes_at_most_360() {
    with_runtime(|rt| {
        if is_measurable(rt) {
            check(rt, VERSION_1, BUDGET_1);
            check(rt, AS_IT_IS, BUDGET_HYBRID);
        }
    });
}

/// What a process of keg's has had in memory at most (proc(5), VmHWM), in KiB.
fn peak(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What is needed of the program at a start lies together in it (`make order`): functions that came later do not, and each draws its
/// neighbours into memory. Half a mebibyte more was the price of having forgotten it for a week; how the file lies in the page cache moves it by
/// half of that.
#[test]
fn what_is_needed_at_a_start_lies_together() {
    with_runtime(|rt| {
        if !is_measurable(rt) {
            return;
        }
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "100"]);
        let run = rt.command(&["run", "--bundle", &bundle.arg(), "c"]).spawn();
        wait_until("it runs", Duration::from_secs(20), || {
            rt.command(&["state", "c"]).run().stdout().contains("\"running\"")
        });
        let keg = peak(run.pid());
        rt.kill("c", "KILL").ok();
        run.wait();
        rt.create(&bundle, "d").ok();
        let init = peak(rt.pid("d"));
        let limit = 2048 + 256;
        assert!(keg <= limit && init <= limit, "{keg} KiB and {init} KiB: has `make order` been forgotten?");
    });
}

/// With which keg's beginning agrees.
const GLIBC: &str = "glibc 2.36";
/// CPUID, as it lies in memory.
const CPUID: i64 = 0xa20f;

const NOBODY: u32 = 65534;

/// So many instructions of a program are followed: the C library asks before it relocates anything, and after it has gone through
/// the environment.
const FOLLOWED: usize = 20_000;

/// Follows the beginnings of a command, and of what it executes, instruction by instruction: how many of them were CPUID.
fn questions(uid: u32, binary: &Path, arguments: &[&str]) -> usize {
    // It waits until it is followed, which is not before the shell is there.
    let mut command = Command::new("/bin/sh");
    command
        .uid(uid)
        .env_clear()
        .args(["-c", "echo && read line && exec \"$@\"", "sh"])
        .arg(binary)
        .args(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    ptrace::seize(pid, Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_TRACEEXIT).unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let (mut steps, mut questions) = (0, 0);
    loop {
        match waitpid(pid, None).unwrap() {
            WaitStatus::PtraceEvent(_, _, event) if event == Event::PTRACE_EVENT_EXIT as i32 => break,
            WaitStatus::PtraceEvent(..) => steps = 0,
            WaitStatus::Stopped(_, Signal::SIGTRAP) => (),
            other => panic!("after {steps} instructions: {other:?}"),
        }
        if steps == FOLLOWED {
            ptrace::cont(pid, None).unwrap();
            continue;
        }
        let at = ptrace::getregs(pid).unwrap().rip;
        questions += usize::from(ptrace::read(pid, at as ptrace::AddressType).unwrap() & 0xffff == CPUID);
        steps += 1;
        ptrace::step(pid, None).unwrap();
    }
    ptrace::detach(pid, None).unwrap();
    child.wait().unwrap();
    assert_eq!(steps, FOLLOWED, "{arguments:?}");
    questions
}

/// In a virtual machine each one traps, and the C library would ask nearly seventy times at every start.
#[test]
fn no_start_asks_the_processor_about_itself() {
    with_runtime(|rt| {
        if !is_measurable(rt) {
            return;
        }
        let glibc = Command::new("getconf").arg("GNU_LIBC_VERSION").output().unwrap();
        if String::from_utf8_lossy(&glibc.stdout).trim() != GLIBC {
            return eprintln!("skipped: keg's beginning agrees with {GLIBC}, this is {glibc:?}");
        }
        let root = rt.dir().display().to_string();
        // From its file as it is, and from the sealed copy.
        for words in [&["list"][..], &["exec", "no-such-container", "true"]] {
            assert_eq!(questions(0, rt.binary(), &[&["--root", &root], words].concat()), 0, "{words:?}");
        }
    });
}

/// It clears the environment, and sees to the standard descriptors, where a program has more rights than who calls it.
#[test]
fn a_setuid_keg_begins_as_the_c_library_does() {
    with_runtime(|rt| {
        if !is_measurable(rt) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        if statvfs(dir.path()).unwrap().flags().contains(FsFlags::ST_NOSUID) {
            return eprintln!("skipped: {dir:?} is mounted nosuid");
        }
        let setuid = dir.path().join("keg");
        fs::copy(rt.binary(), &setuid).unwrap();
        for (path, mode) in [(dir.path(), 0o755), (&setuid, 0o4755)] {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        let root = rt.dir().display().to_string();
        assert_ne!(questions(NOBODY, &setuid, &["--root", &root, "list"]), 0);
    });
}
