//! The filters in the kernel: calls are made under them through both gates of x86_64, `syscall` and
//! `int 0x80`, and must end as the profile says.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]
#![cfg(target_arch = "x86_64")]

#[path = "seccomp/profiles.rs"]
mod profiles;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use keg::seccomp::{Arch, compile};
use serde_json::json;

/// What comes of a call: `None` for death by SIGSYS, else what it returned.
type Outcome = Option<i64>;

struct Probe(tempfile::TempDir);

impl Probe {
    fn build() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/seccomp/probe.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-o"]).arg(dir.path().join("probe")).arg(source);
        let built = compiler.output().is_ok_and(|output| output.status.success());
        if !built {
            eprintln!("skipped: needs cc");
        }
        built.then_some(Self(dir))
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.0.path()).join(name)
    }

    fn run(&self, filter: &[[u8; 8]], calls: &[Call]) -> Vec<Outcome> {
        std::fs::write(self.path("filter"), filter.concat()).unwrap();
        let mut child = Command::new(self.path("probe"))
            .arg(self.path("filter"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines: String = calls
            .iter()
            .map(|call| {
                let args: Vec<String> = call.args.iter().map(ToString::to_string).collect();
                format!("{} {} {}\n", call.gate, call.number, args.join(" "))
            })
            .collect();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", output.status);
        let text = String::from_utf8(output.stdout).unwrap();
        let outcomes: Vec<Outcome> = text.lines().map(|line| line.parse().ok()).collect();
        assert_eq!(outcomes.len(), calls.len());
        outcomes
    }
}

#[derive(Debug, Clone, Copy)]
struct Call {
    gate: u8,
    number: i64,
    args: [i64; 6],
}

const EPERM: i64 = -1;
const ENOSYS: i64 = -38;

/// How a call under the filter must end.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// As without a filter.
    AsWithout,
    Fails(i64),
    Dies,
}

/// Calls of both gates with arguments that change nothing, whatever the filter lets through.
fn calls() -> Vec<(u8, i64, [i64; 6], Expected)> {
    use Expected::{AsWithout, Dies, Fails};
    let bad = [-1, 0, 0, 0, 0, 0];
    let none = [0; 6];
    let clone_newns_and_fs = [0x0002_0200, 0, 0, 0, 0, 0];
    let clone_fs_thread = [0x0001_0200, 0, 0, 0, 0, 0];
    let mut calls = vec![
        // read, write, close, lseek, dup, fstat
        (64, 0, bad, AsWithout),
        (64, 1, bad, AsWithout),
        (64, 3, bad, AsWithout),
        (64, 8, bad, AsWithout),
        (64, 32, bad, AsWithout),
        (64, 5, bad, AsWithout),
        // getuid, umask, getcwd, chdir, sched_yield, alarm
        (64, 102, none, AsWithout),
        (64, 95, [0o22, 0, 0, 0, 0, 0], AsWithout),
        (64, 79, none, AsWithout),
        (64, 80, none, AsWithout),
        (64, 24, none, AsWithout),
        (64, 37, none, AsWithout),
        // openat2, close_range with a bad flag, futex_wait
        (64, 437, bad, AsWithout),
        (64, 436, [0, 0, -1, 0, 0, 0], AsWithout),
        (64, 455, none, AsWithout),
        // mount, pivot_root, setns, unshare, swapon, init_module, bpf, keyctl, perf_event_open
        (64, 165, none, Fails(EPERM)),
        (64, 155, none, Fails(EPERM)),
        (64, 308, bad, Fails(EPERM)),
        (64, 272, none, Fails(EPERM)),
        (64, 167, none, Fails(EPERM)),
        (64, 175, none, Fails(EPERM)),
        (64, 321, bad, Fails(EPERM)),
        (64, 250, bad, Fails(EPERM)),
        (64, 298, none, Fails(EPERM)),
        // clone with and without a namespace (both invalid), clone3
        (64, 56, clone_newns_and_fs, Fails(EPERM)),
        (64, 56, clone_fs_thread, AsWithout),
        (64, 435, none, Fails(ENOSYS)),
        // socket(AF_ALG), socket with a type that does not exist
        (64, 41, [38, 5, 0, 0, 0, 0], Fails(-97)),
        (64, 41, [1, 99, 0, 0, 0, 0], AsWithout),
        // personality: asked, and ADDR_NO_RANDOMIZE
        (64, 135, [0xffff_ffff, 0, 0, 0, 0, 0], AsWithout),
        (64, 135, [0x0004_0000, 0, 0, 0, 0, 0], Fails(EPERM)),
        // uselib is killed and chroot trapped by the rules that this test adds
        (64, 134, none, Dies),
        (64, 161, none, Dies),
        // newer than the profile; below it but unused; a tracer's -1; an x32 call
        (64, 480, none, Fails(ENOSYS)),
        (64, 400, none, Fails(EPERM)),
        (64, -1, none, Fails(ENOSYS)),
        (64, 0x4000_0000 + 39, none, Dies),
    ];
    calls.extend([
        // int 0x80: read, write, close, getuid, mount, pivot_root, unshare, bpf, clone, clone3
        (32, 3, bad, AsWithout),
        (32, 4, bad, AsWithout),
        (32, 6, bad, AsWithout),
        (32, 24, none, AsWithout),
        (32, 21, none, Fails(EPERM)),
        (32, 217, none, Fails(EPERM)),
        (32, 310, none, Fails(EPERM)),
        (32, 357, bad, Fails(EPERM)),
        (32, 120, clone_newns_and_fs, Fails(EPERM)),
        (32, 435, none, Fails(ENOSYS)),
        // socket(AF_ALG), socketcall, chroot, newer than the profile
        (32, 359, [38, 5, 0, 0, 0, 0], Fails(-97)),
        (32, 102, [2, 0, 0, 0, 0, 0], AsWithout),
        (32, 61, none, Dies),
        (32, 480, none, Fails(ENOSYS)),
    ]);
    calls
}

#[test]
fn the_kernel_does_what_the_profile_says() {
    let Some(probe) = Probe::build() else { return };
    // keg's own profile, with two harsher answers, and without the rule for chroot.
    let mut profile = serde_json::to_value(keg::seccomp::default_profile().unwrap()).unwrap();
    let rules = profile["syscalls"].as_array_mut().unwrap();
    rules.insert(0, json!({"names": ["uselib"], "action": "SCMP_ACT_KILL"}));
    rules.insert(0, json!({"names": ["chroot"], "action": "SCMP_ACT_TRAP"}));
    let program = compile(&profiles::parse(profile), Arch::NATIVE).unwrap();

    let calls = calls();
    let made: Vec<Call> = calls
        .iter()
        .map(|(gate, number, args, _)| Call { gate: *gate, number: *number, args: *args })
        .collect();
    let without = probe.run(&[], &made);
    let with = probe.run(&program.instructions, &made);
    for ((call, (.., expected)), (without, with)) in made.iter().zip(&calls).zip(without.iter().zip(&with)) {
        let expected = match expected {
            Expected::AsWithout => *without,
            Expected::Fails(errno) => Some(*errno),
            Expected::Dies => None,
        };
        assert_eq!(*with, expected, "{call:?}, without the filter {without:?}");
    }
}

#[test]
fn a_profile_without_i386_kills_calls_through_its_gate() {
    let Some(probe) = Probe::build() else { return };
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"]});
    let program = compile(&profiles::parse(profile), Arch::NATIVE).unwrap();
    let getuid = [Call { gate: 64, number: 102, args: [0; 6] }, Call { gate: 32, number: 24, args: [0; 6] }];
    let uid = probe.run(&[], &getuid)[0];
    assert_eq!(probe.run(&program.instructions, &getuid), [uid, None]);
}

/// What `keg features` claims: each of it is loaded, and the kernel takes it.
#[test]
fn everything_that_is_supported_compiles_and_loads() {
    let Some(probe) = Probe::build() else { return };
    let getuid = [Call { gate: 64, number: 102, args: [0; 6] }];
    for (action, value) in keg::seccomp::ACTIONS {
        assert!(keg::sys::seccomp::action_available(value), "{action}");
        assert_eq!(action.as_u32(Some(0)), value, "{action}");
    }
    for op in keg::seccomp::OPERATORS {
        let args = json!([{"index": 0, "value": 7, "op": op}]);
        let syscalls = json!([{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": args}]);
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": syscalls});
        let program = compile(&profiles::parse(profile), Arch::NATIVE).unwrap();
        assert_eq!(probe.run(&program.instructions, &getuid), probe.run(&[], &getuid));
    }
    for (flag, bits) in keg::seccomp::FLAGS {
        assert!(keg::sys::seccomp::flags_available(bits), "{flag}");
        let syscalls = json!([{"names": ["kill"], "action": "SCMP_ACT_NOTIFY"}]);
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "flags": [flag], "syscalls": syscalls, "listenerPath": "/run/agent",
        });
        let program = compile(&profiles::parse(profile), Arch::NATIVE).unwrap();
        assert_eq!(program.load_flags() & bits, bits, "{flag}");
    }
}

#[test]
fn engines_default_profiles_load() {
    let Some(probe) = Probe::build() else { return };
    for text in profiles::engines() {
        let program = compile(&profiles::resolve(&text, "amd64", &[]), Arch::NATIVE).unwrap();
        let calls = [
            Call { gate: 64, number: 3, args: [-1, 0, 0, 0, 0, 0] },
            Call { gate: 64, number: 321, args: [-1, 0, 0, 0, 0, 0] },
        ];
        assert_eq!(probe.run(&program.instructions, &calls), [Some(-9), Some(EPERM)]);
    }
}
