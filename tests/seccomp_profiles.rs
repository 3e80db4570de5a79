//! Which profiles are refused and how that reads, and that no profile makes the compiler panic or
//! disagree with the plain model of what it means.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "seccomp/interpreter.rs"]
mod interpreter;
#[path = "seccomp/model.rs"]
mod model;

use interpreter::{Call, run};
use keg::seccomp::{Arch, Flags, Listener, compile};
use oci_spec::runtime::LinuxSeccomp;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection, option, proptest};
use serde_json::{Value, json};

fn parse(profile: Value) -> LinuxSeccomp {
    serde_json::from_value(profile).unwrap()
}

fn refused(profile: Value) -> String {
    compile(&parse(profile), Arch::X86_64).unwrap_err().to_string()
}

#[test]
fn refusals_name_the_value() {
    let with_rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG"}, rule]});
    let cases = [
        (
            json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/run/agent"}),
            "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default action",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}),
            "linux.seccomp.defaultErrnoRet: the action SCMP_ACT_KILL takes no errno",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}),
            "linux.seccomp.defaultErrnoRet: 4096 is larger than 4095",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}),
            "linux.seccomp.listenerMetadata: set without a listenerPath",
        ),
        (
            with_rule(json!({"names": [], "action": "SCMP_ACT_ERRNO"})),
            "linux.seccomp.syscalls[1].names: has no names",
        ),
        (
            with_rule(json!({"names": ["kill"], "action": "SCMP_ACT_TRACE", "errnoRet": 65536})),
            "linux.seccomp.syscalls[1].errnoRet: 65536 is larger than 65535",
        ),
        (
            with_rule(json!({"names": ["kill"], "action": "SCMP_ACT_TRAP", "errnoRet": 1})),
            "linux.seccomp.syscalls[1].errnoRet: the action SCMP_ACT_TRAP takes no errno",
        ),
        (
            with_rule(json!({"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [
                {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]})),
            "linux.seccomp.syscalls[1].args[1].index: 6 is no argument of a system call (0 to 5)",
        ),
        (
            with_rule(json!({"names": ["kill"], "action": "SCMP_ACT_NOTIFY"})),
            "linux.seccomp.syscalls[1].action: SCMP_ACT_NOTIFY needs a listenerPath",
        ),
        (
            with_rule(json!({"names": ["kill", "write"], "action": "SCMP_ACT_NOTIFY"})),
            "linux.seccomp.syscalls[1].names[1]: SCMP_ACT_NOTIFY cannot be used for the write syscall",
        ),
    ];
    for (profile, message) in cases {
        assert_eq!(refused(profile), message);
    }
}

#[test]
fn a_program_that_the_kernel_would_not_take_is_refused() {
    let rules: Vec<Value> = (0..1000)
        .map(|value| json!({"names": ["kill"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]}))
        .collect();
    let message = refused(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
    assert!(message.starts_with("linux.seccomp: the profile needs 5"), "{message}");
    assert!(message.ends_with("instructions, the kernel takes at most 4096"), "{message}");
}

#[test]
fn flags_and_the_listener_arrive() {
    let all = json!([
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
    ]);
    let notify = json!([{"names": ["kill"], "action": "SCMP_ACT_NOTIFY"}]);
    let mut profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "flags": all, "syscalls": notify,
        "listenerPath": "/run/agent.sock", "listenerMetadata": "told",
    });
    let program = compile(&parse(profile.clone()), Arch::X86_64).unwrap();
    assert_eq!(program.flags, Flags { log: true, spec_allow: true, tsync: true, wait_killable_recv: true });
    assert_eq!(program.load_flags(), 0b11_1111);
    assert_eq!(
        program.notifies,
        Some(Listener { path: "/run/agent.sock".into(), metadata: Some("told".into()) })
    );
    assert!(program.warnings.is_empty(), "{:?}", program.warnings);

    profile["syscalls"] = json!([{"names": ["kill", "no_such_call"], "action": "SCMP_ACT_ERRNO"}]);
    profile["architectures"] = json!(["SCMP_ARCH_NATIVE", "SCMP_ARCH_S390X"]);
    let program = compile(&parse(profile), Arch::X86_64).unwrap();
    assert_eq!(program.notifies, None);
    assert_eq!(program.load_flags(), 0b111);
    assert_eq!(
        program.warnings,
        [
            "linux.seccomp.architectures: this host never runs SCMP_ARCH_S390X",
            "linux.seccomp.syscalls: not on this architecture: no_such_call",
            "linux.seccomp.flags[3]: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV has no effect without SCMP_ACT_NOTIFY",
        ]
    );
}

/// Every call of x86_64 with an answer of its own, for one argument of its own: the program is much
/// longer than a conditional jump reaches.
#[test]
fn long_programs_lead_to_the_right_answers() {
    let table = include_str!("../src/seccomp/tables/syscalls.tsv");
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    let numbers: Vec<(&str, u32)> = lines
        .filter_map(|line| {
            let mut columns = line.split('\t');
            Some((columns.next()?, columns.next()?.parse().ok()?))
        })
        .collect();
    let rules: Vec<Value> = numbers
        .iter()
        .map(|(name, number)| {
            let arg = json!({"index": number % 6, "value": u64::from(*number) << 20, "op": "SCMP_CMP_EQ"});
            json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 1000 + number, "args": [arg]})
        })
        .collect();
    let profile = parse(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
    let program = compile(&profile, Arch::X86_64).unwrap();
    assert!(program.instructions.len() > 2000);
    for (name, number) in &numbers {
        for value in [u64::from(*number) << 20, u64::from(*number) << 20 | 1, u64::MAX] {
            let mut args = [0; 6];
            args[*number as usize % 6] = value;
            let call = Call { number: *number, arch: 0xc000_003e, args };
            let expected = model::outcome(&profile, name, &args, 64);
            assert_eq!(run(&program.instructions, &call).0, expected, "{name} {value:#x}");
        }
    }
}

/// Values that are often equal to one another, near one another, or wide.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..4, 0xffff_fffe_u64..0x1_0000_0002, Just(u64::MAX), any::<u64>()]
}

fn action() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("KILL"),
        Just("KILL_THREAD"),
        Just("KILL_PROCESS"),
        Just("TRAP"),
        Just("ERRNO"),
        Just("NOTIFY"),
        Just("TRACE"),
        Just("LOG"),
        Just("ALLOW"),
    ]
}

fn condition() -> impl Strategy<Value = Value> {
    let op = prop_oneof![
        Just("NE"),
        Just("LT"),
        Just("LE"),
        Just("EQ"),
        Just("GE"),
        Just("GT"),
        Just("MASKED_EQ"),
    ];
    (prop_oneof![40 => 0_u32..6, 1 => Just(6)], value(), option::of(value()), op).prop_map(|(index, value, second, op)| {
        json!({"index": index, "value": value, "valueTwo": second, "op": format!("SCMP_CMP_{op}")})
    })
}

/// The calls that generated profiles are about, with their numbers on x86_64 and i386.
const CALLS: [(&str, u32, u32); 4] =
    [("kill", 62, 37), ("tkill", 200, 238), ("read", 0, 3), ("futex", 202, 240)];

fn rule() -> impl Strategy<Value = Value> {
    let names = collection::vec((0_usize..CALLS.len()).prop_map(|call| CALLS[call].0), 1..3);
    let args = collection::vec(condition(), 0..4);
    (names, action(), option::weighted(0.03, 0_u32..5000), args).prop_map(|(names, action, errno, args)| {
        json!({"names": names, "action": format!("SCMP_ACT_{action}"), "errnoRet": errno, "args": args})
    })
}

fn profile() -> impl Strategy<Value = Value> {
    (action(), collection::vec(rule(), 0..8)).prop_map(|(default, rules)| {
        json!({
            "defaultAction": format!("SCMP_ACT_{default}"),
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "listenerPath": "/run/agent.sock",
            "syscalls": rules,
        })
    })
}

/// Any JSON at all, of a profile's shape near the top.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(Value::from("SCMP_ACT_ERRNO")),
        Just(Value::from("read")),
        Just(Value::from("SCMP_CMP_EQ")),
    ];
    let key = prop_oneof![
        Just("defaultAction"),
        Just("defaultErrnoRet"),
        Just("architectures"),
        Just("flags"),
        Just("syscalls"),
        Just("names"),
        Just("action"),
        Just("errnoRet"),
        Just("args"),
        Just("index"),
        Just("value"),
        Just("op"),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            collection::hash_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_makes_a_program_or_an_error(json in any_json()) {
        if let Ok(profile) = serde_json::from_value::<LinuxSeccomp>(json) {
            for host in [Arch::X86_64, Arch::Aarch64] {
                if let Ok(program) = compile(&profile, host) {
                    assert!(!program.instructions.is_empty());
                }
            }
        }
    }

    #[test]
    fn programs_agree_with_the_model(json in profile(), args in collection::vec([value(), value(), value(), value(), value(), value()], 1..20)) {
        let profile = parse(json);
        if let Ok(program) = compile(&profile, Arch::X86_64) {
            for args in args {
                let named = |name: &str| profile.syscalls().iter().flatten().any(|rule| rule.names().iter().any(|known| known == name));
                for (name, on_x86_64, on_i386) in CALLS.into_iter().filter(|(name, ..)| named(name)) {
                    let call = Call { number: on_x86_64, arch: 0xc000_003e, args };
                    assert_eq!(run(&program.instructions, &call).0, model::outcome(&profile, name, &args, 64), "{name}");
                    let call = Call { number: on_i386, arch: 0x4000_0003, args };
                    assert_eq!(run(&program.instructions, &call).0, model::outcome(&profile, name, &args, 32), "{name}");
                }
            }
        }
    }
}
