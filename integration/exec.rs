//! exec: what a further process of a container is given, what is said when there is none, and what is left of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use harness::command::write_script;
use harness::{Bundle, Finished, Inside, Runtime, alive, json, wait_until, with_runtime};
use nix::sys::signal::Signal;

/// A container `c` that sleeps.
fn sleeping(rt: &Runtime, change: impl FnOnce(&Bundle)) -> Bundle {
    let bundle = rt.bundle();
    bundle.args(&["/bin/sleep", "100"]);
    change(&bundle);
    rt.create(&bundle, "c").ok();
    rt.start("c").ok();
    bundle
}

fn exec(rt: &Runtime, words: &[&str]) -> Finished {
    rt.command(&[&["exec"], words].concat()).run()
}

#[track_caller]
fn probe(rt: &Runtime, flags: &[&str]) -> Inside {
    Inside::parse(&exec(rt, &[flags, &["c", "/probe"]].concat()).ok())
}

/// One line that holds `text`, and the status that is for exec's own failures.
#[track_caller]
fn fails(done: &Finished, text: &str) {
    assert_eq!(done.code(), 255, "{}", done.describe());
    let message = done.stderr().replace("\\\"", "\"");
    assert!(message.contains(text), "no {text:?} in: {}", done.describe());
    assert_eq!((message.lines().count(), done.stdout().as_str()), (1, ""), "{}", done.describe());
}

#[test]
fn the_process_is_given_what_the_containers_own_has() {
    with_runtime(|rt| {
        let caps = json!(["CAP_CHOWN", "CAP_KILL"]);
        // Debian's runc does not pass it on.
        let umask = if rt.only_keg("umask") { 0o27 } else { 0o22 };
        let container = sleeping(rt, |bundle| {
            bundle.shell("/probe > /dev/shm/init; echo ready; exec sleep 100");
            bundle.edit(|c| {
                let process = &mut c["process"];
                process["user"] =
                    json!({"uid": 1000, "gid": 2000, "additionalGids": [5, 3000], "umask": umask});
                process["capabilities"] =
                    json!({"bounding": caps, "permitted": caps, "effective": caps, "inheritable": ["CAP_KILL"],
                           "ambient": ["CAP_KILL"]});
                process["env"].as_array_mut().unwrap().push(json!("WHO=me"));
                process["cwd"] = json!("/tmp");
                process["oomScoreAdj"] = json!(55);
                process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99},
                                            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
                c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}]});
                for mount in c["mounts"].as_array_mut().unwrap() {
                    if mount["destination"] == "/dev/shm" {
                        mount["options"] = json!(["mode=1777"]);
                    }
                }
            });
        });
        let shm = format!("/proc/{}/root/dev/shm/init", rt.pid("c"));
        let text = || fs::read_to_string(&shm).unwrap_or_default();
        wait_until("init has looked", Duration::from_secs(5), || text().ends_with('\n'));
        let own: serde_json::Value = serde_json::from_str(&text()).unwrap();
        let further = probe(rt, &[]);
        for field in [
            "cwd",
            "exe",
            "umask",
            "rlimits",
            "oom_score_adj",
            "personality",
            "dumpable",
            "hostname",
            "domainname",
            "namespaces",
            "cgroup",
            "uid_map",
            "gid_map",
            "mounts",
            "dev",
        ] {
            assert_eq!(further[field], own[field], "{field}");
        }
        for field in [
            "Uid",
            "Gid",
            "Groups",
            "Umask",
            "CapInh",
            "CapPrm",
            "CapEff",
            "CapBnd",
            "CapAmb",
            "NoNewPrivs",
            "Seccomp",
            "Seccomp_filters",
            "SigBlk",
            "SigIgn",
            "SigCgt",
            "Cpus_allowed",
        ] {
            assert_eq!(further["status"][field], own["status"][field], "{field}");
        }
        assert_eq!(further.descriptors(), [0, 1, 2]);
        assert_eq!((&further["pid"], &further["ppid"]), (&further["sid"], &json!(0)), "a session of its own");
        drop(container);
    });
}

#[test]
fn a_process_with_all_namespaces_and_a_user_namespace_joins_them() {
    with_runtime(|rt| {
        sleeping(rt, |bundle| {
            bundle.namespace(&json!({"type": "user"}));
            bundle.edit(|c| {
                let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
                (c["linux"]["uidMappings"], c["linux"]["gidMappings"]) = (map.clone(), map);
            });
            chown_tree(&bundle.rootfs(), 100_000);
            open_way(bundle.path());
        });
        let inside = probe(rt, &["--user", "7:8"]);
        for (name, link) in inside["namespaces"].as_object().unwrap() {
            let init = fs::read_link(format!("/proc/{}/ns/{name}", rt.pid("c"))).unwrap();
            assert_eq!(link.as_str(), init.to_str(), "{name}");
        }
        assert_eq!((inside.status("Uid"), inside.status("Gid")), ("7 7 7 7", "8 8 8 8"));
        assert_eq!(inside["uid_map"], json!(["         0     100000      65536"]));
    });
}

fn chown_tree(path: &Path, id: u32) {
    std::os::unix::fs::lchown(path, Some(id), Some(id)).unwrap();
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type().unwrap().is_dir() {
            true => chown_tree(&path, id),
            false => std::os::unix::fs::lchown(&path, Some(id), Some(id)).unwrap(),
        }
    }
}

/// Another user may pass through the directories above a bundle.
fn open_way(bundle: &Path) {
    for directory in bundle.ancestors().take_while(|path| path.to_string_lossy().contains("keg-test.")) {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_container_without_namespaces_is_joined_too() {
    with_runtime(|rt| {
        sleeping(rt, |bundle| {
            for kind in ["pid", "network", "ipc", "uts", "cgroup"] {
                bundle.without_namespace(kind);
            }
            bundle.edit(|c| {
                c.as_object_mut().unwrap().remove("hostname");
                c["mounts"].as_array_mut().unwrap().retain(|m| m["type"] != "sysfs" && m["type"] != "mqueue");
                c["linux"]["maskedPaths"] = json!([]);
                c["linux"]["readonlyPaths"] = json!([]);
            });
        });
        let inside = probe(rt, &[]);
        assert_eq!(inside["exe"], "/probe");
        let own = fs::read_link("/proc/self/ns/pid").unwrap();
        assert_eq!(Some(inside.namespace("pid")), own.to_str());
        // Of version 1, a hierarchy that is mounted nowhere may come before it.
        let cgroups = inside["cgroup"].as_array().unwrap();
        let of_the_test = cgroups.iter().filter(|line| line.as_str().unwrap().contains(&rt.cgroup_prefix()));
        assert_eq!(of_the_test.count(), harness::host::hierarchies().len(), "{cgroups:?}");
        assert_eq!(exec(rt, &["c", "/bin/sh", "-c", "exit 9"]).code(), 9);
    });
}

#[test]
fn a_container_in_the_hosts_mount_namespace_keeps_its_root() {
    with_runtime(|rt| {
        if !rt.only_keg("others need a mount namespace") {
            return;
        }
        sleeping(rt, |bundle| {
            bundle.without_namespace("mount");
            bundle.edit(|c| {
                c["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
                c["linux"]["maskedPaths"] = json!([]);
                c["linux"]["readonlyPaths"] = json!([]);
                c["root"]["readonly"] = json!(false);
            });
        });
        let inside = probe(rt, &[]);
        assert_eq!((&inside["exe"], &inside["cwd"]), (&json!("/probe"), &json!("/")));
        assert_eq!(exec(rt, &["c", "/bin/ls", "/"]).stdout().lines().filter(|l| *l == "probe").count(), 1);
    });
}

#[test]
fn users_are_numbers_and_nothing_else() {
    with_runtime(|rt| {
        sleeping(rt, |bundle| {
            let passwd = "root:x:0:0::/root:/bin/sh\n1000:x:0:0::/:/bin/sh\n4294967296:x:0:0::/:/bin/sh\n\
                          user:x:0:0::/:/bin/sh\n:x:0:0::/:/bin/sh\n";
            fs::write(bundle.rootfs().join("etc/passwd"), passwd).unwrap();
            bundle.edit(|c| c["process"]["user"] = json!({"uid": 3, "gid": 4, "additionalGids": [9]}));
        });
        for (text, uid, gid) in
            [("1000", 1000, 4), ("0", 0, 4), ("1000:2000", 1000, 2000), ("2147483647:0", i32::MAX, 0)]
        {
            let inside = probe(rt, &["--user", text]);
            assert_eq!(inside.status("Uid"), vec![uid.to_string(); 4].join(" "), "{text}");
            assert_eq!(inside.status("Gid"), vec![gid.to_string(); 4].join(" "), "{text}");
            assert_eq!(inside.status("Groups").trim(), "9", "{text}");
        }
        for text in ["user", "4294967296", "1:", ":1", "0x0", "1:2:3", " 1", "1000x", "root:root"] {
            let done = exec(rt, &["--user", text, "c", "/bin/id"]);
            assert_eq!((done.code(), done.stdout().as_str()), (255, ""), "{text:?}: {}", done.describe());
        }
        if rt.only_keg("others take these for numbers, or for no wish at all") {
            assert_eq!(probe(rt, &["--user", "4294967294"]).status("Uid"), ["4294967294"; 4].join(" "));
            for text in ["", "-1", "+1", "4294967295", "0:4294967295"] {
                fails(&exec(rt, &[&format!("--user={text}"), "c", "/bin/id"]), "");
            }
            fails(&exec(rt, &["--user", "1:2:3", "c", "/bin/id"]), "is not UID[:GID]");
        }
    });
}

#[test]
fn groups_are_added_to_those_of_the_container() {
    with_runtime(|rt| {
        sleeping(rt, |bundle| {
            bundle.edit(|c| c["process"]["user"] = json!({"uid": 0, "gid": 0, "additionalGids": [9]}));
        });
        let inside = probe(rt, &["-g", "55", "-g", "66", "--user", "1:2"]);
        assert_eq!(inside.status("Groups").trim(), "9 55 66");
    });
}

#[test]
fn variables_are_added_and_the_last_of_a_name_wins() {
    with_runtime(|rt| {
        sleeping(rt, |bundle| {
            bundle.edit(|c| c["process"]["env"].as_array_mut().unwrap().push(json!("A=container")));
            let passwd = "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n";
            fs::write(bundle.rootfs().join("etc/passwd"), passwd).unwrap();
        });
        let env = |flags: &[&str]| {
            let inside = probe(rt, flags);
            let list: Vec<_> = inside["env"].as_array().unwrap().clone();
            list.iter().map(|entry| entry.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let seen = env(&["-e", "A=1,2", "-e", "B=", "-e", "B=x=y"]);
        for entry in ["A=1,2", "B=x=y", "TERM=xterm", "HOME=/root"] {
            assert!(seen.iter().any(|known| known == entry), "no {entry} in {seen:?}");
        }
        assert_eq!(seen.len(), 5, "{seen:?}");
        assert!(env(&["--user", "1000"]).contains(&"HOME=/home/user".to_owned()));
        assert!(env(&["--user", "1001"]).contains(&"HOME=/".to_owned()));
        assert!(env(&["-e", "HOME=/mine"]).contains(&"HOME=/mine".to_owned()));
    });
}

#[test]
fn the_program_is_searched_in_the_path_of_the_process() {
    with_runtime(|rt| {
        sleeping(rt, |bundle| {
            let directory = bundle.rootfs().join("own");
            fs::create_dir(&directory).unwrap();
            std::os::unix::fs::symlink("/bin/busybox", directory.join("pwd")).unwrap();
            std::os::unix::fs::symlink("/bin/busybox", directory.join("sh")).unwrap();
        });
        let done = exec(rt, &["-e", "PATH=/own", "c", "sh", "-c", "echo $PATH"]).ok();
        assert_eq!(done.stdout(), "/own\n");
        fails(&exec(rt, &["-e", "PATH=/own", "c", "cat"]), "executable file not found in $PATH");
    });
}

#[test]
fn the_working_directory_must_be_there() {
    with_runtime(|rt| {
        sleeping(rt, |_| {});
        assert_eq!(exec(rt, &["--cwd", "/tmp", "c", "pwd"]).ok().stdout(), "/tmp\n");
        fails(&exec(rt, &["--cwd", "/not/there", "c", "pwd"]), "no such file or directory");
        fails(&exec(rt, &["--cwd", "/etc/passwd", "c", "pwd"]), "not a directory");
        fails(&exec(rt, &["--cwd", "tmp", "c", "pwd"]), "absolute");
    });
}

#[test]
fn a_working_directory_of_the_host_cannot_be_reached() {
    with_runtime(|rt| {
        if !rt.only_keg("Debian's runc and crun have holes or other words here") {
            return;
        }
        sleeping(rt, |_| {});
        for number in 0..40 {
            let path = format!("/proc/self/fd/{number}");
            let mut command = rt.command(&["exec", "--cwd", &path, "c", "pwd"]);
            for fd in [7, 9, 20] {
                command = command.redirect(&format!("{fd}</"));
            }
            assert_eq!(command.run().code(), 255, "{path}");
        }
    });
}

const KILL: u64 = 1 << 5;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_ADMIN: u64 = 1 << 21;

#[test]
fn capabilities_are_added_but_never_inheritable() {
    with_runtime(|rt| {
        sleeping(rt, |bundle| {
            bundle.edit(|c| {
                let caps = json!(["CAP_KILL"]);
                c["process"]["capabilities"] =
                    json!({"bounding": caps, "permitted": caps, "effective": caps});
            });
        });
        assert_eq!(probe(rt, &[]).caps("Bnd"), KILL);
        let inside = probe(rt, &["--cap", "CAP_SYS_ADMIN", "--cap", "CAP_SYS_PTRACE"]);
        let all = KILL | SYS_ADMIN | SYS_PTRACE;
        assert_eq!((inside.caps("Bnd"), inside.caps("Prm"), inside.caps("Eff")), (all, all, all));
        assert_eq!((inside.caps("Inh"), inside.caps("Amb")), (0, 0));
        let user = probe(rt, &["--cap", "CAP_SYS_ADMIN", "--user", "1000"]);
        assert_eq!((user.caps("Bnd"), user.caps("Prm"), user.caps("Eff")), (KILL | SYS_ADMIN, 0, 0));
    });
}

#[test]
fn short_flags_mean_what_the_long_ones_do() {
    with_runtime(|rt| {
        sleeping(rt, |_| {});
        let file = rt.dir().join("process.json");
        fs::write(
            &file,
            json!({"args": ["/probe"], "cwd": "/tmp", "user": {"uid": 5, "gid": 6}}).to_string(),
        )
        .unwrap();
        let file = file.to_str().unwrap();
        let long = ["--env", "A=1", "--user", "7:8", "--additional-gids", "55", "--cap", "CAP_SYS_ADMIN"];
        for (long, short) in [
            (&long[..], &["-e", "A=1", "-u", "7:8", "-g", "55", "-c", "CAP_SYS_ADMIN"][..]),
            (&["--process", file], &["-p", file]),
        ] {
            let (long, short) = (probe(rt, long), probe(rt, short));
            for field in ["env", "cwd"] {
                assert_eq!(long[field], short[field], "{field}");
            }
            for field in ["Uid", "Gid", "Groups", "CapBnd", "CapPrm"] {
                assert_eq!(long.status(field), short.status(field), "{field}");
            }
        }
        let inside = probe(rt, &long);
        assert_eq!((inside.status("Gid"), inside.status("Groups").trim()), ("8 8 8 8", "55"));
        assert_eq!(inside.caps("Bnd") & SYS_ADMIN, SYS_ADMIN);
        for detach in ["--detach", "-d"] {
            exec(rt, &[detach, "c", "/bin/true"]).silent();
        }
    });
}

/// Nothing of the container may come between two of them, and what the process needs is counted there from its birth.
#[test]
fn all_namespaces_are_joined_at_once_by_a_process_that_is_in_the_cgroup_already() {
    with_runtime(|rt| {
        if !rt.only_keg("others join one after the other") {
            return;
        }
        sleeping(rt, |_| {});
        let trace = rt.dir().join("trace").display().to_string();
        let strace = ["strace", "-f", "-qq", "-yy", "-e", "trace=setns,clone3,write", "-o", &trace];
        rt.command(&["exec", "c", "/bin/true"]).inside(&strace).run().silent();
        let trace = fs::read_to_string(trace).unwrap();
        let lines: Vec<_> = trace.lines().collect();
        let joins: Vec<_> = (0..lines.len()).filter(|n| lines[*n].contains(" setns(")).collect();
        let [join] = joins[..] else { panic!("{trace}") };
        for word in ["pid", "CLONE_NEWNS", "CLONE_NEWPID", "CLONE_NEWNET", "CLONE_NEWIPC", "CLONE_NEWUTS"] {
            assert!(lines[join].contains(word), "{}", lines[join]);
        }
        let prefix = rt.cgroup_prefix();
        let enters = |line: &&&str| {
            line.contains("CLONE_INTO_CGROUP") || (line.contains(" write(") && line.contains(&prefix))
        };
        let enters = lines[..join].iter().filter(enters).count();
        // Of version 1, one for each hierarchy.
        let hierarchies = harness::host::hierarchies().len();
        assert_eq!(enters, hierarchies, "{trace}");
        assert_eq!(lines[join..].iter().filter(|line| line.contains(&prefix)).count(), 0, "{trace}");
    });
}

/// A caller that reads to the end of a pipe hears of it when the program has closed its side, not when the container ends.
#[test]
fn nothing_but_the_container_holds_the_streams_that_it_was_given() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let script = "echo text; exec sleep 100 > /dev/null 2>&1";
        bundle.shell(script);
        let runtime = rt.invocation().join(" ");
        let read = |command: &str| {
            let line = format!("{runtime} {command} 2>&1 | cat; echo closed");
            rt.program(&["sh", "-c", &line]).env("SCRIPT", script).spawn()
        };
        let mut created = read(&format!("create --bundle {} c", bundle.arg()));
        wait_until("it is created", Duration::from_secs(10), || {
            rt.command(&["list", "-q"]).run().ok().stdout() == "c\n" && rt.status("c") == "created"
        });
        assert!(!created.has_ended(), "the container has them");
        rt.start("c").ok();
        assert_eq!(created.wait().stdout(), "text\nclosed\n");
        assert_eq!(rt.status("c"), "running");
        let further = read("exec --detach c /bin/sh -c \"$SCRIPT\"");
        assert_eq!(further.wait().stdout(), "text\nclosed\n");
        assert_eq!(rt.command(&["ps", "-f", "json", "c"]).run().ok().json().as_array().unwrap().len(), 2);
    });
}

#[test]
fn an_unknown_capability_is_refused() {
    with_runtime(|rt| {
        if !rt.only_keg("others drop it with a warning") {
            return;
        }
        sleeping(rt, |_| {});
        fails(&exec(rt, &["--cap", "CAP_NONSENSE", "c", "true"]), "no capability of that name");
    });
}

#[test]
fn no_new_privileges_can_be_asked_for() {
    with_runtime(|rt| {
        sleeping(rt, |bundle| {
            bundle.edit(|c| c["process"]["noNewPrivileges"] = json!(false));
        });
        assert_eq!(probe(rt, &[]).status("NoNewPrivs"), "0");
        assert_eq!(probe(rt, &["--no-new-privs"]).status("NoNewPrivs"), "1");
    });
}

#[test]
fn a_document_describes_the_process() {
    with_runtime(|rt| {
        sleeping(rt, |_| {});
        let file = rt.dir().join("process.json");
        let document = json!({
            "args": ["/probe"], "cwd": "/tmp", "env": ["ONLY=this", "HOME=/h"],
            "user": {"uid": 5, "gid": 6, "additionalGids": [7]},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 33, "hard": 44}],
        });
        fs::write(&file, document.to_string()).unwrap();
        let done = exec(rt, &["--process", file.to_str().unwrap(), "c"]).ok();
        let inside = Inside::parse(&done);
        assert_eq!(inside["env"], json!(["ONLY=this", "HOME=/h"]));
        assert_eq!((inside.status("Uid"), inside.status("Groups").trim()), ("5 5 5 5", "7"));
        assert_eq!(inside["cwd"], "/tmp");
        assert_eq!(inside["rlimits"]["RLIMIT_NOFILE"], json!([33, 44]));
        assert_eq!(inside.status("NoNewPrivs"), "0");
        assert_eq!(
            inside.caps("Bnd"),
            probe(rt, &[]).caps("Bnd"),
            "what it does not name is the container's"
        );
        let done = rt.command(&["exec", "-p", "process.json", "c"]).cwd(rt.dir()).run().ok();
        assert_eq!(Inside::parse(&done)["cwd"], "/tmp");
        if rt.only_keg("others do not read standard input") {
            let done = rt.command(&["exec", "--process", "-", "c"]).stdin(document.to_string()).run().ok();
            assert_eq!(Inside::parse(&done)["cwd"], "/tmp");
        }
    });
}

#[test]
fn a_wrong_document_is_refused() {
    with_runtime(|rt| {
        sleeping(rt, |_| {});
        let file = rt.dir().join("process.json");
        let file = file.to_str().unwrap();
        for (text, why) in [
            ("", ""),
            ("{", ""),
            ("[]", ""),
            (r#"{"cwd": "/", "args": [], "user": {"uid": 0, "gid": 0}}"#, "args"),
            (r#"{"cwd": "", "args": ["true"], "user": {"uid": 0, "gid": 0}}"#, "wd"),
            (r#"{"cwd": "/", "args": ["true"], "user": {"uid": -1, "gid": 0}}"#, "uid"),
        ] {
            fs::write(file, text).unwrap();
            fails(&exec(rt, &["--process", file, "c"]), why);
        }
        fails(&exec(rt, &["--process", "/not/there", "c"]), "no such file or directory");
    });
}

#[test]
fn the_status_is_that_of_the_process() {
    with_runtime(|rt| {
        sleeping(rt, |_| {});
        for status in [0, 1, 7, 126, 254] {
            assert_eq!(exec(rt, &["c", "/bin/sh", "-c", &format!("exit {status}")]).code(), status);
        }
        for signal in [1, 9, 15] {
            assert_eq!(exec(rt, &["c", "/bin/sh", "-c", &format!("kill -{signal} $$")]).code(), 128 + signal);
        }
        exec(rt, &["c", "/bin/true"]).silent();
    });
}

#[test]
fn the_streams_are_those_of_the_caller() {
    with_runtime(|rt| {
        sleeping(rt, |_| {});
        let command = rt.command(&["exec", "c", "/bin/sh", "-c", "cat; echo err >&2"]);
        let done = command.stdin("from outside\n").run().ok();
        assert_eq!((done.stdout(), done.stderr()), ("from outside\n".into(), "err\n".into()));
    });
}

#[test]
fn flags_end_at_the_first_word_that_is_none() {
    with_runtime(|rt| {
        sleeping(rt, |_| {});
        let done =
            exec(rt, &["-env=A=1", "--cwd=/tmp", "c", "/bin/echo", "-e", "--tty", "-d", "--", "x"]).ok();
        assert_eq!(done.stdout(), "--tty -d -- x\n");
    });
}

#[test]
fn signals_are_passed_on() {
    with_runtime(|rt| {
        sleeping(rt, |_| {});
        for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGINT, "INT"), (Signal::SIGUSR1, "USR1")]
        {
            let script =
                format!("trap 'echo {name}; exit 5' {name}; echo ready; while :; do sleep 0.05; done");
            let running = rt.command(&["exec", "c", "/bin/sh", "-c", &script]).spawn();
            wait_until("ready", Duration::from_secs(5), || running.stdout().contains("ready"));
            running.signal(signal);
            let done = running.wait();
            assert_eq!((done.code(), done.stdout()), (5, format!("ready\n{name}\n")));
        }
    });
}

/// Whoever asks it to end learns that it was ended by that, as with its program.
#[test]
fn a_signal_that_comes_before_the_program_ends_exec_as_the_program() {
    with_runtime(|rt| {
        if !rt.only_keg("others are not traced here") {
            return;
        }
        sleeping(rt, |_| {});
        let trace = rt.dir().join("trace").display().to_string();
        // Late enough for a slow machine, and the process later still.
        for (wait, delay) in [("0.3", 1), ("2", 4), ("8", 12)] {
            let inject = format!("inject=setgroups:delay_enter={delay}s");
            let mut wrapper = vec!["strace", "-f", "-qq", "-e", "trace=setgroups,pidfd_send_signal"];
            wrapper.extend(["-e", &inject, "-o", &trace]);
            wrapper.extend(["timeout", "--preserve-status", "--foreground", "--signal", "TERM", wait]);
            let done = rt.command(&["exec", "c", "/bin/sleep", "100"]).inside(&wrapper).run();
            let trace = fs::read_to_string(&trace).unwrap();
            assert_eq!(done.code(), 128 + 15, "{trace}");
            assert!(!done.stderr().contains("the process"), "{}", done.stderr());
            let [Some(begun), Some(told), Some(done)] =
                ["setgroups(", "SIGTERM, NULL, 0)", "(DELAYED)"].map(|what| trace.find(what))
            else {
                continue;
            };
            assert!(begun < told && told < done, "{trace}");
            return;
        }
        panic!("always too early");
    });
}

/// The same when it ends the process right after it has said that it is ready.
#[test]
fn a_signal_that_comes_right_before_the_program_ends_exec_as_the_program() {
    with_runtime(|rt| {
        if !rt.only_keg("others are not traced here") {
            return;
        }
        // No stage makes the process, which would speak first.
        sleeping(rt, |bundle| {
            bundle.without_namespace("pid");
        });
        let trace = rt.dir().join("trace").display().to_string();
        let mut wrapper = vec!["strace", "-f", "-qq", "-e", "trace=sendmsg,pidfd_send_signal", "-o", &trace];
        // What keg tells the process and what that says of itself begin at the same time. A call that is under way when the signal comes
        // is made all the same.
        wrapper.extend(["-e", "inject=sendmsg:delay_enter=1s:when=1"]);
        wrapper.extend(["timeout", "--preserve-status", "--foreground", "--signal", "TERM", "0.5"]);
        let was_hit = (0..8).any(|_| {
            let done = rt.command(&["exec", "c", "/bin/sleep", "100"]).inside(&wrapper).run();
            let trace = fs::read_to_string(&trace).unwrap();
            assert_eq!(done.code(), 128 + 15, "{}{trace}", done.stderr());
            trace.contains("iov_base=\"R\"") && !trace.contains("iov_base=\"E\"")
        });
        assert!(was_hit, "always too early or too late");
    });
}

/// The kernel does so where memory is short.
#[test]
fn a_process_that_is_killed_before_its_program_is_told_as_such() {
    with_runtime(|rt| {
        if !rt.only_keg("others are not traced here") {
            return;
        }
        sleeping(rt, |bundle| {
            bundle.without_namespace("pid");
        });
        let trace = rt.dir().join("trace").display().to_string();
        let mut wrapper = vec!["strace", "-f", "-qq", "-e", "trace=sendmsg", "-o", &trace];
        wrapper.extend(["-e", "inject=sendmsg:delay_exit=1s:when=1"]);
        let child = |pid: i32| {
            let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            text.split_whitespace().find_map(|pid| pid.parse().ok())
        };
        let was_ready = (0..8).any(|round| {
            let running = rt.command(&["exec", "c", "/bin/sleep", "100"]).inside(&wrapper).spawn();
            let mut process = None;
            wait_until("there is a process", Duration::from_secs(10), || {
                process = child(running.pid()).and_then(child);
                process.is_some()
            });
            std::thread::sleep(Duration::from_millis(600 + 150 * round));
            let process = nix::unistd::Pid::from_raw(process.unwrap());
            nix::sys::signal::kill(process, nix::sys::signal::SIGKILL).unwrap();
            let done = running.wait();
            let trace = fs::read_to_string(&trace).unwrap();
            let begun = trace.contains("iov_base=\"E\"");
            if !begun {
                let message = "the process ended before it was ready: killed by signal 9";
                assert!(done.code() == 255 && done.stderr().contains(message), "{}{trace}", done.describe());
            }
            !begun && trace.contains("iov_base=\"R\"")
        });
        assert!(was_ready, "always too early or too late");
    });
}

#[test]
fn a_detached_process_runs_on_and_its_pid_is_in_the_file() {
    with_runtime(|rt| {
        sleeping(rt, |_| {});
        let words =
            ["exec", "--detach", "--pid-file", "pid", "c", "/bin/sh", "-c", "echo up; exec sleep 100"];
        let done = rt.command(&words).cwd(rt.dir()).run().ok();
        let pid = fs::read_to_string(rt.dir().join("pid")).unwrap();
        let pid: i32 = pid.parse().expect("decimal, without a newline");
        wait_until("it runs", Duration::from_secs(5), || done.stdout() == "up\n");
        assert!(alive(pid));
        let of = |pid: i32, file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        assert_eq!(of(pid, "cgroup"), of(rt.pid("c"), "cgroup"));
        rt.kill("c", "KILL").ok();
        wait_until("it ends with the container", Duration::from_secs(5), || !alive(pid));
        rt.wait_stopped("c");
    });
}

#[test]
fn a_failure_leaves_no_pid_file() {
    with_runtime(|rt| {
        sleeping(rt, |bundle| {
            let program = bundle.rootfs().join("script");
            write_script(&program, "#!/no/such/interpreter\n");
        });
        let file = rt.dir().join("pid");
        let flags = ["-d", "--pid-file", file.to_str().unwrap(), "c"];
        fails(&exec(rt, &[&flags[..], &["no-such-program"]].concat()), "executable file not found in $PATH");
        assert!(!file.exists());
        if rt.only_keg("others take the start of the interpreter for success") {
            let done = exec(rt, &[&flags[..], &["/script"]].concat());
            fails(&done, "exec /script: no such file or directory");
            assert!(!file.exists());
        }
    });
}

#[test]
fn what_cannot_be_run_is_named_as_callers_know_it() {
    with_runtime(|rt| {
        sleeping(rt, |_| {});
        for (program, words) in [
            ("nope", "exec: \"nope\": executable file not found in $PATH"),
            ("/nope", "exec: \"/nope\": stat /nope: no such file or directory"),
            ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
            ("./etc/passwd", "exec: \"./etc/passwd\": permission denied"),
        ] {
            fails(&exec(rt, &["c", program]), words);
        }
        if rt.only_keg("others say permission denied") {
            fails(&exec(rt, &["c", "/etc"]), "exec: \"/etc\": is a directory");
        }
        fails(&exec(rt, &["c"]), "args");
        fails(&exec(rt, &["missing", "true"]), "container does not exist");
    });
}

#[test]
fn a_stopped_container_is_not_joined_and_a_created_one_is() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "100"]);
        rt.create(&bundle, "c").ok();
        assert_eq!(exec(rt, &["c", "/bin/sh", "-c", "exit 4"]).code(), 4);
        rt.kill("c", "KILL").ok();
        rt.wait_stopped("c");
        fails(&exec(rt, &["c", "true"]), "cannot exec in a stopped container");
    });
}

#[test]
fn preserved_descriptors_are_passed_on_and_others_are_not() {
    with_runtime(|rt| {
        sleeping(rt, |_| {});
        let mut command = rt.command(&["exec", "--preserve-fds", "2", "c", "/probe"]);
        for redirection in ["3</etc", "4</usr", "5</var", "9</", "17</"] {
            command = command.redirect(redirection);
        }
        assert_eq!(Inside::parse(&command.run().ok()).descriptors(), [0, 1, 2, 3, 4]);
        let command = rt.command(&["exec", "c", "/probe"]).redirect("3</etc").redirect("8</");
        assert_eq!(Inside::parse(&command.run().ok()).descriptors(), [0, 1, 2]);
    });
}

#[test]
fn a_cgroup_inside_the_containers_can_be_named() {
    with_runtime(|rt| {
        let bundle = sleeping(rt, |_| {});
        let prefix = bundle.cgroup();
        for hierarchy in harness::host::hierarchies() {
            let parent = hierarchy.join(prefix.trim_start_matches('/'));
            if parent.exists() {
                fs::create_dir(parent.join("below")).unwrap();
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    let below = parent.join("below").join(file);
                    if below.exists() {
                        fs::write(below, fs::read(parent.join(file)).unwrap()).unwrap();
                    }
                }
            }
        }
        let words = ["c", "/bin/sh", "-c", "cat /proc/self/cgroup"];
        rt.command(&["exec", "--cgroup", "/below", "c", "true"]).run().silent();
        let controller = if harness::host::hierarchies().len() > 1 { "pids:" } else { "" };
        let seen =
            exec(rt, &[&["--cgroup", &format!("{controller}below")], &words[..]].concat()).ok().stdout();
        let place = |name: &str| seen.lines().find(|l| l.contains(name)).map(str::to_owned);
        assert!(place(&format!(":{controller}")).unwrap().ends_with("/below"), "{seen}");
        assert!(!place(":memory:").is_some_and(|line| line.ends_with("/below")), "{seen}");
        fails(&exec(rt, &["--cgroup", "/nope", "c", "true"]), "no such file or directory");
        if rt.only_keg("Debian's runc does not check") {
            fails(&exec(rt, &["--cgroup", "../..", "c", "true"]), "bad sub cgroup path");
            fails(&exec(rt, &["--cgroup", "frob:/below", "c", "true"]), "bad sub cgroup path");
        }
    });
}

#[test]
fn nothing_is_left_of_processes_that_were_killed_with_their_caller() {
    with_runtime(|rt| {
        sleeping(rt, |_| {});
        let before = harness::Host::look(rt);
        for pause in 0..20 {
            let running = rt.command(&["exec", "c", "/bin/true"]).spawn();
            std::thread::sleep(Duration::from_micros(200 * pause));
            drop(running);
        }
        before.assert_same(rt);
        assert_eq!(exec(rt, &["c", "/bin/sh", "-c", "exit 3"]).code(), 3);
    });
}

#[test]
fn the_cpus_of_a_process_can_be_named() {
    with_runtime(|rt| {
        if !rt.only_keg("others of Debian 12 do not know execCPUAffinity") {
            return;
        }
        sleeping(rt, |_| {});
        let cpus = |affinity: serde_json::Value| {
            let document = json!({"args": ["/probe"], "cwd": "/", "user": {"uid": 0, "gid": 0},
                                  "execCPUAffinity": affinity});
            let command = rt.command(&["exec", "--process", "-", "c"]).stdin(document.to_string());
            Inside::parse(&command.run().ok()).status("Cpus_allowed_list").to_owned()
        };
        assert_eq!(cpus(json!({"initial": "0", "final": "1"})), "1");
        assert_eq!(cpus(json!({"final": "0"})), "0");
        // Wider than 1,024 CPUs, and than this machine.
        assert_eq!(cpus(json!({"initial": "0-2047", "final": "0, 4095"})), "0");
    });
}
