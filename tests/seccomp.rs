//! The seccomp compiler against what profiles mean: its programs are run by an interpreter, and
//! compared with what libseccomp makes of the same profiles.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

#[path = "seccomp/compare.rs"]
mod compare;
#[path = "seccomp/interpreter.rs"]
mod interpreter;
#[path = "seccomp/libseccomp.rs"]
mod libseccomp;
#[path = "seccomp/profiles.rs"]
mod profiles;

use compare::{Difference, ENOSYS, X32_BIT, differences};
use interpreter::{Call, run};
use keg::seccomp::{Arch as Host, compile, default_profile};
use libseccomp::Oracle;
use oci_spec::runtime::{Arch, LinuxSeccomp};
use serde_json::{Value, json};

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const ALLOW: u32 = 0x7fff_0000;
const TRAP: u32 = 0x0003_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const EPERM: u32 = 0x0005_0000 | 1;

/// A denying profile for x86_64, i386 and x32 with these rules.
fn x86(syscalls: &Value) -> LinuxSeccomp {
    profiles::parse(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": syscalls,
    }))
}

fn arg(index: u32, op: &str, value: u64, second: u64) -> Value {
    json!({"index": index, "op": format!("SCMP_CMP_{op}"), "value": value, "valueTwo": second})
}

fn rule(names: &[&str], action: &str, args: &[Value]) -> Value {
    json!({"names": names, "action": format!("SCMP_ACT_{action}"), "args": args})
}

fn outcome(profile: &LinuxSeccomp, number: u32, arch: u32, args: [u64; 6]) -> u32 {
    let program = compile(profile, Host::X86_64).unwrap();
    run(&program.instructions, &Call { number, arch, args }).0
}

#[test]
fn engines_default_profiles_are_what_libseccomp_makes_of_them() {
    let Some(oracle) = Oracle::build() else { return };
    for text in profiles::engines() {
        for caps in [&[][..], &["CAP_AUDIT_WRITE", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"]] {
            let profile = profiles::resolve(&text, "amd64", caps);
            assert_eq!(differences(&oracle, &profile, Host::X86_64), []);
            let profile = profiles::resolve(&text, "arm64", caps);
            assert_eq!(differences(&oracle, &profile, Host::Aarch64), []);
        }
    }
}

#[test]
fn kegs_default_profile_is_what_libseccomp_makes_of_it() {
    let Some(oracle) = Oracle::build() else { return };
    let mut profile = default_profile().unwrap();
    let known = |arch, name: &String| oracle.resolve(arch, std::slice::from_ref(name))[0] != -1;
    let mut syscalls = profile.syscalls().clone().unwrap();
    for syscall in &mut syscalls {
        let names = syscall.names().iter();
        let names = names.filter(|name| known(Arch::ScmpArchX86_64, name) || known(Arch::ScmpArchX86, name));
        syscall.set_names(names.cloned().collect());
    }
    profile.set_syscalls(Some(syscalls));
    assert_eq!(differences(&oracle, &profile, Host::X86_64), []);
}

#[test]
fn every_action_and_operator_is_what_libseccomp_makes_of_it() {
    let Some(oracle) = Oracle::build() else { return };
    let actions = ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP", "ERRNO", "TRACE", "LOG", "ALLOW"];
    for default in actions {
        let mut profile = json!({
            "defaultAction": format!("SCMP_ACT_{default}"),
            "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32"],
            "syscalls": [{"names": ["kill", "execve"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7}],
        });
        for (action, name) in
            actions.iter().zip(["read", "write", "open", "close", "dup", "pipe", "brk", "mmap"])
        {
            profile["syscalls"].as_array_mut().unwrap().push(rule(&[name], action, &[]));
        }
        assert_eq!(differences(&oracle, &profiles::parse(profile), Host::X86_64), [], "{default}");
    }
    for op in ["NE", "LT", "LE", "EQ", "GE", "GT"] {
        for value in [0, 1, 0x7fff_ffff, 0xffff_ffff] {
            let profile = x86(&json!([rule(&["kill"], "ALLOW", &[arg(1, op, value, 0)])]));
            assert_eq!(differences(&oracle, &profile, Host::X86_64), [], "{op} {value:#x}");
        }
    }
    for (mask, value) in [(0xf0, 0x10), (0xf0, 0), (0xf0, 0x11), (0x7e02_0000, 0), (0xf0_0000_00f0, 0x10)] {
        let profile = x86(&json!([rule(&["kill"], "ALLOW", &[arg(0, "MASKED_EQ", mask, value)])]));
        assert_eq!(differences(&oracle, &profile, Host::X86_64), [], "{mask:#x} {value:#x}");
    }
}

#[test]
fn several_rules_for_one_call_are_what_libseccomp_makes_of_them() {
    let Some(oracle) = Oracle::build() else { return };
    let equal = |index, value| arg(index, "EQ", value, 0);
    let cases = [
        json!([rule(&["kill"], "TRAP", &[equal(0, 5)]), rule(&["kill"], "ALLOW", &[])]),
        json!([rule(&["kill"], "ALLOW", &[]), rule(&["kill"], "TRAP", &[equal(0, 5)])]),
        json!([rule(&["kill"], "ALLOW", &[]), rule(&["kill"], "TRAP", &[])]),
        json!([rule(&["kill"], "TRAP", &[equal(0, 5)]), rule(&["kill"], "ALLOW", &[equal(0, 6)])]),
        json!([rule(&["kill"], "ALLOW", &[equal(0, 5), equal(1, 6), equal(5, 7)])]),
        json!([rule(&["kill"], "ALLOW", &[equal(0, 5), equal(1, 6), equal(0, 7)])]),
        json!([rule(&["kill", "tkill"], "ALLOW", &[equal(0, 5)]), rule(&["kill"], "ERRNO", &[equal(0, 6)])]),
    ];
    for case in cases {
        assert_eq!(differences(&oracle, &x86(&case), Host::X86_64), [], "{case}");
    }
}

#[test]
fn multiplexed_calls_are_what_libseccomp_makes_of_them() {
    let Some(oracle) = Oracle::build() else { return };
    let profile = x86(&json!([
        rule(&["socket", "recv", "accept", "accept4", "sendmmsg"], "ALLOW", &[]),
        rule(&["bind"], "ALLOW", &[arg(1, "EQ", 1, 0)]),
        rule(&["connect"], "TRAP", &[]),
    ]));
    assert_eq!(differences(&oracle, &profile, Host::X86_64), []);
    let profile = x86(&json!([rule(&["socketcall"], "ALLOW", &[]), rule(&["bind"], "TRAP", &[])]));
    assert_eq!(differences(&oracle, &profile, Host::X86_64), []);
    // ipc's selector has a version in its upper half, which libseccomp takes for a part of it.
    let profile = x86(&json!([rule(&["semop", "semtimedop", "shmat", "msgrcv"], "ALLOW", &[])]));
    let versions = |difference: &Difference| {
        difference.arch == Arch::ScmpArchX86
            && difference.call.number == 117
            && difference.call.args[0] as u32 > 0xffff
            && difference.keg == ALLOW
    };
    let others = differences(&oracle, &profile, Host::X86_64).into_iter().filter(|found| !versions(found));
    assert_eq!(others.collect::<Vec<_>>(), []);
}

#[test]
fn a_condition_that_a_multiplexer_hides_is_decided_strictly() {
    // int socketcall(SYS_SOCKET, unsigned long *args): the family is out of sight.
    let socketcall = |profile: &LinuxSeccomp| outcome(profile, 102, I386, [1, 0, 0, 0, 0, 0]);
    let family = arg(0, "EQ", 16, 0);
    assert_eq!(socketcall(&x86(&json!([rule(&["socket"], "ALLOW", std::slice::from_ref(&family))]))), EPERM);
    let mut allowing = x86(&json!([rule(&["socket"], "TRAP", &[family])]));
    allowing.set_default_action(oci_spec::runtime::LinuxSeccompAction::ScmpActAllow);
    assert_eq!(socketcall(&allowing), TRAP);
    assert_eq!(outcome(&allowing, 102, I386, [2, 0, 0, 0, 0, 0]), ALLOW);
}

#[test]
fn constants_of_64_bits_are_never_cut_off_where_arguments_have_32() {
    let kill = |op, value| x86(&json!([rule(&["kill"], "ALLOW", &[arg(0, op, value, value)])]));
    for (arch, number) in [(I386, 37), (X86_64, X32_BIT + 62)] {
        for (op, expected) in
            [("EQ", EPERM), ("GE", EPERM), ("MASKED_EQ", EPERM), ("NE", ALLOW), ("LE", ALLOW)]
        {
            let profile = kill(op, 0x1_0000_0005);
            assert_eq!(outcome(&profile, number, arch, [5, 0, 0, 0, 0, 0]), expected, "{op} on {arch:x}");
        }
    }
}

#[test]
fn x32_calls_and_unknown_architectures_are_killed_unless_listed() {
    let native = profiles::parse(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [rule(&["read", "getpid"], "ALLOW", &[])],
    }));
    assert_eq!(outcome(&native, 39, X86_64, [0; 6]), ALLOW);
    assert_eq!(outcome(&native, X32_BIT + 39, X86_64, [0; 6]), KILL_PROCESS);
    assert_eq!(outcome(&native, 20, I386, [0; 6]), KILL_PROCESS);
    assert_eq!(outcome(&native, 39, 0xc000_00f3, [0; 6]), KILL_PROCESS);
    // A tracer's -1, by which it skips a call, is no x32 call.
    assert_eq!(outcome(&native, u32::MAX, X86_64, [0; 6]), ENOSYS);
    let listed = x86(&json!([rule(&["read", "getpid"], "ALLOW", &[])]));
    assert_eq!(outcome(&listed, X32_BIT + 39, X86_64, [0; 6]), ALLOW);
    assert_eq!(outcome(&listed, X32_BIT + 1, X86_64, [0; 6]), EPERM);
    assert_eq!(outcome(&listed, 20, I386, [0; 6]), ALLOW);
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    let syscalls = json!([rule(&["read", "openat2"], "ALLOW", &[])]);
    for (default, newer, unnamed) in [
        ("ERRNO", ENOSYS, EPERM),
        ("KILL_PROCESS", ENOSYS, KILL_PROCESS),
        ("TRAP", ENOSYS, TRAP),
        ("LOG", 0x7ffc_0000, 0x7ffc_0000),
        ("TRACE", 0x7ff0_0001, 0x7ff0_0001),
    ] {
        let profile = profiles::parse(json!({
            "defaultAction": format!("SCMP_ACT_{default}"),
            "architectures": ["SCMP_ARCH_X32"],
            "syscalls": syscalls,
        }));
        assert_eq!(outcome(&profile, 437, X86_64, [0; 6]), ALLOW);
        assert_eq!(outcome(&profile, 436, X86_64, [0; 6]), unnamed);
        assert_eq!(outcome(&profile, 438, X86_64, [0; 6]), newer);
        // x32 has calls of its own above the common ones; those are old.
        assert_eq!(outcome(&profile, X32_BIT + 438, X86_64, [0; 6]), newer);
    }
}

/// Each name of the table, and its numbers as libseccomp knows them where it knows the name.
#[test]
fn numbers_are_libseccomps() {
    let Some(oracle) = Oracle::build() else { return };
    let table = include_str!("../src/seccomp/tables/syscalls.tsv");
    let lines: Vec<Vec<&str>> =
        table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect()).collect();
    let names: Vec<String> = lines.iter().map(|line| line[0].to_owned()).collect();
    let columns = [
        (Arch::ScmpArchX86_64, 1),
        (Arch::ScmpArchX86, 2),
        (Arch::ScmpArchX32, 3),
        (Arch::ScmpArchAarch64, 4),
        (Arch::ScmpArchArm, 5),
    ];
    let mut compared = 0;
    for (arch, column) in columns {
        for (line, theirs) in lines.iter().zip(oracle.resolve(arch, &names)) {
            // Negative: it does not know the name, or keeps a number of its own for it.
            if let Ok(theirs) = u32::try_from(theirs) {
                let theirs = if arch == Arch::ScmpArchX32 { theirs & !X32_BIT } else { theirs };
                assert_eq!(line[column], theirs.to_string(), "{} on {arch}", line[0]);
                compared += 1;
            }
        }
    }
    assert!(compared > 1700, "{compared}");
}

#[test]
fn programs_stay_small() {
    for text in profiles::engines() {
        let profile = profiles::resolve(&text, "amd64", &[]);
        let program = compile(&profile, Host::X86_64).unwrap();
        assert!(program.instructions.len() < 400, "{}", program.instructions.len());
        let steps = |number| run(&program.instructions, &Call { number, arch: X86_64, args: [0; 6] }).1;
        let most = (0..470).map(steps).max().unwrap();
        assert!(most < 40, "{most} steps");
    }
}
