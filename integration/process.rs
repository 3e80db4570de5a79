//! Who the process is: user, groups, capabilities, limits, umask, environment, working directory, program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use harness::peers::Kind;
use harness::{Bundle, Runtime, json, wait_until, with_runtime};

#[test]
fn the_default_is_root_without_groups_and_with_umask_22() {
    with_runtime(|rt| {
        let inside = rt.bundle().probe(rt);
        assert_eq!(inside.status("Uid"), "0 0 0 0");
        assert_eq!(inside.status("Gid"), "0 0 0 0");
        assert_eq!(inside.status("Groups"), "");
        assert_eq!(inside["umask"], 0o22);
        assert_eq!(inside.status("NoNewPrivs"), "1");
        assert_eq!(inside.status("Seccomp"), "0");
    });
}

#[test]
fn user_group_and_additional_groups_are_set() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| {
            c["process"]["user"] = json!({"uid": 1000, "gid": 2000, "additionalGids": [5, 3000, 10]})
        });
        let inside = bundle.probe(rt);
        assert_eq!(inside.status("Uid"), "1000 1000 1000 1000");
        assert_eq!(inside.status("Gid"), "2000 2000 2000 2000");
        let mut groups: Vec<u32> = inside.status("Groups").split(' ').map(|g| g.parse().unwrap()).collect();
        groups.retain(|&g| g != 2000);
        assert_eq!(groups, [5, 10, 3000]);
    });
}

#[test]
fn the_groups_of_the_caller_stay_where_the_annotation_says_so() {
    with_runtime(|rt| {
        if !rt.only_keg("the annotation is not runc's") {
            return;
        }
        let bundle = rt.bundle();
        bundle.args(&["/bin/grep", "^Groups", "/proc/self/status"]);
        let groups = || {
            let run = rt.command(&["run", "--bundle", &bundle.arg(), "c"]);
            let text = run.inside(&["setpriv", "--groups", "4711,4712"]).run().ok().stdout();
            text.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(groups(), [""; 0]);
        bundle.edit(|c| c["annotations"] = json!({"run.oci.keep_original_groups": "1"}));
        assert_eq!(groups(), ["4711", "4712"]);
    });
}

#[test]
fn the_umask_is_set() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["process"]["user"] = json!({"uid": 0, "gid": 0, "umask": 0o77}));
        assert_eq!(bundle.probe(rt)["umask"], 0o77);
    });
}

const CHOWN: u64 = 1 << 0;
const KILL: u64 = 1 << 5;
const NET_RAW: u64 = 1 << 13;
const SYS_ADMIN: u64 = 1 << 21;

#[test]
fn the_five_capability_sets_are_exactly_those_configured() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| {
            c["process"]["capabilities"] = json!({
                "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SYS_ADMIN"],
                "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
                "inheritable": ["CAP_CHOWN", "CAP_NET_RAW"],
                "effective": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
                "ambient": ["CAP_CHOWN"],
            });
            c["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        });
        let inside = bundle.probe(rt);
        assert_eq!(inside.caps("Bnd"), CHOWN | KILL | NET_RAW | SYS_ADMIN);
        assert_eq!(inside.caps("Inh"), CHOWN | NET_RAW);
        assert_eq!(inside.caps("Amb"), CHOWN);
        // Through execve, a user other than root keeps what is ambient.
        assert_eq!((inside.caps("Prm"), inside.caps("Eff")), (CHOWN, CHOWN));
    });
}

#[test]
fn no_capabilities_means_none() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| {
            c["process"].as_object_mut().unwrap().remove("capabilities");
        });
        let inside = bundle.probe(rt);
        for set in ["Inh", "Prm", "Eff", "Bnd", "Amb"] {
            assert_eq!(inside.caps(set), 0, "{set}");
        }
    });
}

#[test]
fn root_gets_what_the_bounding_set_lets_it_have() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| {
            let caps = json!(["CAP_CHOWN", "CAP_KILL"]);
            c["process"]["capabilities"] = json!({"bounding": caps, "permitted": caps, "effective": caps});
        });
        let inside = bundle.probe(rt);
        assert_eq!(inside.caps("Bnd"), CHOWN | KILL);
        assert_eq!((inside.caps("Prm"), inside.caps("Eff")), (CHOWN | KILL, CHOWN | KILL));
        assert_eq!((inside.caps("Inh"), inside.caps("Amb")), (0, 0));
    });
}

#[test]
fn limits_are_set() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| {
            c["process"]["rlimits"] = json!([
                {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
                {"type": "RLIMIT_FSIZE", "soft": 1_000_000, "hard": 2_000_000},
            ]);
        });
        let inside = bundle.probe(rt);
        assert_eq!(inside["rlimits"]["RLIMIT_NOFILE"], json!([100, 200]));
        assert_eq!(inside["rlimits"]["RLIMIT_CORE"], json!([0, 0]));
        assert_eq!(inside["rlimits"]["RLIMIT_FSIZE"], json!([1_000_000, 2_000_000]));
    });
}

/// The caller's own hard limit is lower: whoever may raise it does, for root, for others, and below a user namespace.
#[test]
fn limits_are_raised_above_the_callers() {
    with_runtime(|rt| {
        let raise = ["prlimit", "--nofile=128:256", "--", "prlimit", "--nofile=300:400", "true"];
        if rt.program(&raise).run().code() != 0 {
            eprintln!("skipped: nobody may raise a limit on this host (CAP_SYS_RESOURCE)");
            return;
        }
        for (uid, mapped) in [(0, false), (1000, false), (0, true), (1000, true)] {
            let bundle = rt.bundle();
            if mapped {
                bundle.namespace(&json!({"type": "user"}));
                let mapping = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
                bundle.edit(|c| {
                    c["linux"]["uidMappings"] = mapping.clone();
                    c["linux"]["gidMappings"] = mapping;
                });
            }
            bundle.args(&["/probe"]).edit(|c| {
                c["process"]["user"] = json!({"uid": uid, "gid": uid});
                c["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 300, "hard": 400}]);
            });
            let id = format!("r{uid}{mapped}");
            let run = rt.command(&["run", "--bundle", &bundle.arg(), &id]);
            let inside = harness::Inside::parse(&run.inside(&raise[..3]).run().ok());
            assert_eq!(inside["rlimits"]["RLIMIT_NOFILE"], json!([300, 400]), "uid {uid}, mapped {mapped}");
        }
    });
}

#[test]
fn wrong_limits_are_refused() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["process"]["rlimits"] = json!([{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}]));
        rt.create(&bundle, "c").fails_with("");
        rt.assert_gone("c");
        bundle.edit(|c| c["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}]));
        rt.create(&bundle, "c").fails_with("");
        rt.assert_gone("c");
    });
}

#[test]
fn duplicate_limits_are_refused() {
    with_runtime(|rt| {
        if !rt.only_keg("others apply the last one") {
            return;
        }
        let bundle = rt.bundle();
        let limit = json!({"type": "RLIMIT_NOFILE", "soft": 10, "hard": 10});
        bundle.edit(|c| c["process"]["rlimits"] = json!([limit, limit]));
        rt.create(&bundle, "c").fails_with("RLIMIT_NOFILE");
        rt.assert_gone("c");
    });
}

#[test]
fn the_oom_score_is_set_or_left_alone() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        assert_eq!(bundle.probe(rt)["oom_score_adj"], 0);
        bundle.edit(|c| c["process"]["oomScoreAdj"] = json!(321));
        assert_eq!(bundle.probe(rt)["oom_score_adj"], 321);
    });
}

#[test]
fn no_new_privileges_is_off_unless_asked_for() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["process"]["noNewPrivileges"] = json!(false));
        assert_eq!(bundle.probe(rt).status("NoNewPrivs"), "0");
    });
}

#[test]
fn the_environment_is_exactly_the_configured_one() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["process"]["env"] = json!(["PATH=/bin", "HOME=/somewhere", "EMPTY=", "A=b=c"]));
        bundle.args(&["/probe"]);
        let done =
            rt.command(&["run", "--bundle", &bundle.arg(), "c"]).env("FROM_THE_CALLER", "1").run().ok();
        let inside = harness::Inside::parse(&done);
        let mut seen: Vec<_> =
            inside["env"].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect();
        seen.sort();
        assert_eq!(seen, ["A=b=c", "EMPTY=", "HOME=/somewhere", "PATH=/bin"]);
    });
}

#[test]
fn home_comes_from_the_containers_passwd() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        fs::write(
            bundle.rootfs().join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n",
        )
        .unwrap();
        for (uid, home) in [(0, "HOME=/root"), (1000, "HOME=/home/u"), (4242, "HOME=/")] {
            bundle.edit(|c| c["process"]["user"] = json!({"uid": uid, "gid": 0}));
            let inside = bundle.probe(rt);
            assert!(inside["env"].as_array().unwrap().iter().any(|v| v == home), "{uid}: {}", inside["env"]);
        }
    });
}

#[test]
fn of_duplicate_variables_the_last_wins() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["process"]["env"] = json!(["PATH=/nowhere", "X=first", "X=last", "PATH=/bin"]));
        bundle.args(&["sh", "-c", "echo $X"]);
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), "last\n");
    });
}

#[test]
fn the_program_is_found_on_the_containers_path() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let directory = bundle.rootfs().join("opt/tools");
        fs::create_dir_all(&directory).unwrap();
        fs::copy(bundle.rootfs().join("probe"), directory.join("tool")).unwrap();
        bundle.edit(|c| c["process"]["env"] = json!(["PATH=/no/such:/opt/tools:/bin"]));
        bundle.args(&["tool", "one", "two"]);
        let inside = harness::Inside::parse(&rt.run(&bundle, "c").ok());
        assert_eq!(inside["args"], json!(["tool", "one", "two"]));
        assert_eq!(inside["exe"], "/opt/tools/tool");
    });
}

#[test]
fn a_relative_program_is_relative_to_the_working_directory() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["process"]["cwd"] = json!("/bin"));
        bundle.args(&["./busybox", "pwd"]);
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), "/bin\n");
    });
}

#[test]
fn the_working_directory_is_made_when_it_is_missing() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| {
            c["process"]["cwd"] = json!("/not/there/yet");
            c["root"]["readonly"] = json!(false);
        });
        assert_eq!(bundle.probe(rt)["cwd"], "/not/there/yet");
        assert!(bundle.rootfs().join("not/there/yet").is_dir());
    });
}

#[test]
fn the_working_directory_is_made_before_what_it_is_on_is_read_only() {
    with_runtime(|rt| {
        for (cwd, readonly) in [("/not/there", true), ("/mnt/not/there", false)] {
            let bundle = rt.bundle();
            bundle.mount(
                &json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]}),
            );
            bundle.edit(|c| {
                c["process"]["cwd"] = json!(cwd);
                c["root"]["readonly"] = json!(readonly);
            });
            bundle.shell("pwd; for d in / /mnt/; do (echo > $d/new) 2>/dev/null && echo written; done; true");
            let expected = if readonly { format!("{cwd}\n") } else { format!("{cwd}\nwritten\n") };
            assert_eq!(rt.run(&bundle, "c").ok().stdout(), expected);
        }
    });
}

#[test]
fn a_working_directory_that_only_the_user_can_enter_works() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let home = bundle.rootfs().join("home");
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, PermissionsExt::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(&home, Some(1000), Some(1000)).unwrap();
        bundle.edit(|c| {
            c["process"]["cwd"] = json!("/home");
            c["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        });
        assert_eq!(bundle.probe(rt)["cwd"], "/home");
    });
}

fn refused(rt: &Runtime, bundle: &Bundle, text: &str) {
    rt.create(bundle, "c").fails_with(text);
    rt.assert_gone("c");
}

#[test]
fn a_wrong_working_directory_is_refused() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["process"]["cwd"] = json!("relative"));
        refused(rt, &bundle, "");
        bundle.edit(|c| c["process"]["cwd"] = json!("/etc/passwd"));
        refused(rt, &bundle, "not a directory");
    });
}

#[test]
fn a_session_keyring_of_its_own_or_that_of_the_caller() {
    with_runtime(|rt| {
        if !Path::new("/proc/keys").exists() {
            return;
        }
        let bundle = rt.bundle();
        bundle.args(&["/bin/cat", "/proc/keys"]).edit(|c| c["linux"]["maskedPaths"] = json!([]));
        let path = &bundle.arg();
        for (flags, new) in [(&[][..], true), (&["--no-new-keyring"], false)] {
            // Those of other containers are seen as well.
            let id = format!("{new}-{}", rt.unique());
            let words = [&["run"], flags, &["--bundle", path, &id]].concat();
            let keys = rt.command(&words).run().ok().stdout();
            let own = keys.lines().any(|key| key.contains(&id));
            assert_eq!(own, new, "{flags:?}: {keys}");
        }
    });
}

#[test]
fn orphans_are_adopted_in_the_foreground_unless_the_caller_does_that() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.without_namespace("pid");
        bundle.shell("( sleep 1000 & echo $! ); echo ready; exec sleep 1001");
        let path = &bundle.arg();
        for (flags, adopts) in [(&[][..], true), (&["--no-subreaper"], false), (&["-no-subreaper"], false)] {
            if flags == ["-no-subreaper"] && rt.kind() == Kind::Crun {
                continue;
            }
            let words = [&["run"], flags, &["--bundle", path, "c"]].concat();
            let running = rt.command(&words).spawn();
            wait_until("ready", Duration::from_secs(10), || running.stdout().contains("ready"));
            let orphan = running.stdout().lines().next().unwrap().to_owned();
            let status = fs::read_to_string(format!("/proc/{orphan}/status")).unwrap();
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
            assert_eq!(parent == running.pid().to_string(), adopts, "{flags:?}: {parent}");
            rt.command(&["kill", "--all", "c", "KILL"]).run().ok();
            assert_eq!(running.wait().code(), 137);
        }
    });
}

#[test]
fn the_process_leads_its_own_session() {
    with_runtime(|rt| {
        let inside = rt.bundle().probe(rt);
        assert_eq!((&inside["sid"], &inside["pgid"], &inside["ppid"]), (&json!(1), &json!(1), &json!(0)));
    });
}
