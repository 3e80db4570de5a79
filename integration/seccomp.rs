//! `linux.seccomp` as a program of the container meets it, and when in the making of a container the filter is loaded. What filters
//! mean in detail is in `tests/seccomp*.rs`.

use harness::{Host, Inside, Runtime, Value, json, with_runtime};

/// What the script prints under a profile that lets all calls pass but those of `rules`.
fn under(rt: &Runtime, rules: Value, script: &str) -> harness::Finished {
    let bundle = rt.bundle();
    bundle.shell(script);
    bundle.mount(&json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
    bundle.edit(|c| c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
    rt.run(&bundle, "c")
}

fn on_mkdir(action: &str) -> Value {
    json!([{"names": ["mkdir", "mkdirat"], "action": action}])
}

#[test]
fn a_call_ends_as_its_rule_says() {
    with_runtime(|rt| {
        let script = "mkdir /tmp/new 2>/tmp/said; echo $?; cat /tmp/said; ls -d /tmp/new 2>/dev/null; true";
        let errno = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]);
        let text = under(rt, errno, script).ok().stdout();
        assert!(text.starts_with("1\n") && text.contains("No space left on device"), "{text}");
        let text = under(rt, on_mkdir("SCMP_ACT_ERRNO"), script).ok().stdout();
        assert!(text.starts_with("1\n") && text.contains("Operation not permitted"), "{text}");
        assert_eq!(under(rt, on_mkdir("SCMP_ACT_LOG"), script).ok().stdout(), "0\n/tmp/new\n");
        for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
            let text = under(rt, on_mkdir(action), script).ok().stdout();
            assert!(text.starts_with("159\n") && !text.contains("/tmp/new"), "{action}: {text}");
        }
        // Nobody traces it: the call does not exist.
        let text = under(rt, on_mkdir("SCMP_ACT_TRACE"), script).ok().stdout();
        assert!(text.starts_with("1\n") && text.contains("Function not implemented"), "{text}");
    });
}

#[test]
fn a_wrong_profile_is_found_before_anything_is_made() {
    with_runtime(|rt| {
        if !rt.only_keg("others know libseccomp's words only") {
            return;
        }
        let bundle = rt.bundle();
        bundle.mount(&json!({"destination": "/new", "type": "tmpfs", "source": "tmpfs"}));
        for (rule, said) in [
            (
                json!({"names": [], "action": "SCMP_ACT_ERRNO"}),
                "linux.seccomp.syscalls[0].names: has no names",
            ),
            (
                json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}),
                "linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY needs a listenerPath",
            ),
            (
                json!({"names": ["mkdir"], "action": "SCMP_ACT_KILL", "errnoRet": 1}),
                "linux.seccomp.syscalls[0].errnoRet: the action SCMP_ACT_KILL takes no errno",
            ),
        ] {
            bundle.edit(|c| {
                c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
            });
            let before = Host::look(rt);
            rt.create(&bundle, "c").fails_with(said);
            before.assert_same(rt);
            assert!(!bundle.rootfs().join("new").exists(), "{said}");
        }
    });
}

/// Calls that the runtime itself makes on the way to the program, and none that the program makes.
const BEFORE: [&str; 14] = [
    "mount",
    "move_mount",
    "open_tree",
    "fsopen",
    "mount_setattr",
    "pivot_root",
    "umount2",
    "sethostname",
    "unshare",
    "setns",
    "mknodat",
    "symlinkat",
    "keyctl",
    "setsid",
];
/// Those by which privileges go.
const PRIVILEGES: [&str; 8] =
    ["setuid", "setgid", "setgroups", "setresuid", "setresgid", "capset", "close_range", "openat2"];

/// Without it the filter can only be loaded while there are privileges, and all that follows is under it.
#[test]
fn with_no_new_privileges_the_filter_is_the_last_step_before_the_program() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        // busybox sets its ids anew, so it is the probe that runs.
        bundle.args(&["/probe"]);
        let run = |names: &[&str], no_new_privileges: bool| {
            bundle.edit(|c| {
                let rules = json!([{"names": names, "action": "SCMP_ACT_KILL_PROCESS"}]);
                c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
                c["process"]["user"] = json!({"uid": 1000, "gid": 1000});
                c["process"]["capabilities"] = json!({});
                c["process"]["noNewPrivileges"] = json!(no_new_privileges);
            });
            rt.run(&bundle, "c")
        };
        let assert_confined = |done: &harness::Finished, no_new_privileges: &str| {
            let inside = Inside::parse(done);
            let seen =
                ["Uid", "CapEff", "Seccomp", "NoNewPrivs"].map(|field| inside.status(field).to_owned());
            assert_eq!(seen, ["1000 1000 1000 1000", "0000000000000000", "2", no_new_privileges]);
        };
        let all: Vec<&str> = BEFORE.into_iter().chain(PRIVILEGES).collect();
        if rt.only_keg("the threads of a Go program make such calls") {
            assert_confined(&run(&all, true).ok(), "1");
        }
        assert_confined(&run(&BEFORE, true).ok(), "1");
        assert_confined(&run(&BEFORE, false).ok(), "0");
        assert_ne!(run(&all, false).code(), 0, "privileges go under the filter");
    });
}
