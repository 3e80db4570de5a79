//! A container must not be able to open the runtime's own binary for writing (CVE-2019-5736).

use std::fs;
use std::os::unix::fs::MetadataExt;

use harness::command::{Finished, write_script};
use harness::{Runtime, json, with_runtime};

use super::blocks::{ALL_SEEING, copy_of_runtime};

/// The container's program is the runtime itself.
#[test]
fn cve_2019_5736() {
    with_runtime(|rt| {
        let binary = copy_of_runtime(rt);
        let before = fs::read(&binary).unwrap();
        let bundle = rt.bundle();
        bundle.edit(|c| c["root"]["readonly"] = json!(false));
        write_script(&bundle.rootfs().join("script"), "#!/proc/self/exe\n");
        for program in ["/proc/self/exe", "/script"] {
            bundle.args(&[program, "--version"]);
            let words = [binary.to_str().unwrap(), "--root", rt.root().to_str().unwrap()].map(str::to_owned);
            let rest = ["run", "--bundle", &bundle.arg(), "c"].map(str::to_owned);
            rt.program(&[&words[..], &rest[..]].concat()).run();
            rt.delete_force("c");
        }
        assert!(fs::read(&binary).unwrap() == before, "the binary was changed");
    });
}

#[test]
fn init_is_opened_for_writing_while_it_waits_and_after() {
    with_runtime(|rt| {
        let binary = copy_of_runtime(rt);
        let before = fs::read(&binary).unwrap();
        let attacker = rt.bundle();
        attacker.edit(|c| {
            c["process"]["capabilities"] =
                json!({"bounding": ALL_SEEING, "permitted": ALL_SEEING, "effective": ALL_SEEING});
        });
        // Holds every other process's binary open, and tries to write to it when nobody executes it any more.
        attacker.shell(
            "while :; do for p in /proc/[0-9]*; do case $p in /proc/1|/proc/$$) continue;; esac; \
             { echo HELD; sleep 0.02; for i in 1 2 3 4 5 6 7 8 9; do (printf x >/proc/self/fd/9) && echo WRITTEN; \
             sleep 0.02; done; } 9<$p/exe; done; done 2>/dev/null",
        );
        let out = rt.create(&attacker, "attacker").ok();
        rt.start("attacker").ok();
        let path = format!("/proc/{}/ns/pid", rt.pid("attacker"));
        let root = rt.root().display().to_string();
        let run = |words: &[&str]| {
            let words = [&[binary.to_str().unwrap(), "--root", &root], words].concat();
            rt.program(&words).run()
        };
        for _ in 0..5 {
            let victim = rt.bundle();
            victim.namespace(&json!({"type": "pid", "path": path}));
            run(&["create", "--bundle", &victim.arg(), "victim"]).ok();
            std::thread::sleep(std::time::Duration::from_millis(150));
            run(&["start", "victim"]).ok();
            std::thread::sleep(std::time::Duration::from_millis(100));
            run(&["delete", "--force", "victim"]).ok();
        }
        assert!(out.stdout().contains("HELD"), "the attack did not even begin");
        assert!(!out.stdout().contains("WRITTEN"), "{}", out.stdout());
        assert!(fs::read(&binary).unwrap() == before, "the binary was changed");
    });
}

/// What a hook sees of keg, whose child it is: the file that it runs from, its command line and its environment.
fn seen_by_hook(rt: &Runtime, prefix: &[&str]) -> (Finished, String, String) {
    let bundle = rt.bundle();
    let (seen, script) = (rt.dir().join("seen"), bundle.path().join("look"));
    write_script(
        &script,
        &format!(
            "#!/bin/sh\nexec >{}\nstat -f -c '%T %S' /proc/$PPID/exe\nstat -L -c %i /proc/$PPID/exe\n\
             tr '\\0' ' ' </proc/$PPID/cmdline\necho\ntr '\\0' ' ' </proc/$PPID/environ\necho\n\
             printf x >/proc/$PPID/exe || echo refused\n",
            seen.display()
        ),
    );
    bundle.edit(|c| c["hooks"] = json!({"createRuntime": [{"path": script}]}));
    bundle.args(&["/bin/true"]);
    let command = rt.command(&["run", "--bundle", &bundle.arg(), "c"]).env("ZZZ", "the last");
    let words = rt.invocation().join(" ");
    (command.inside(prefix).run(), fs::read_to_string(seen).unwrap_or_default(), words)
}

/// Whether keg may tell the kernel which file it runs from, or has to be executed again: the copy is the same.
#[test]
fn keg_runs_from_a_copy_that_nobody_can_write() {
    with_runtime(|rt| {
        if !rt.only_keg("how it protects itself is its own affair") {
            return;
        }
        let inode = fs::metadata(rt.binary()).unwrap().ino().to_string();
        let told = rt.binary().parent().is_some_and(|dir| !dir.ends_with("debug"));
        let trace = rt.dir().join("trace").display().to_string();
        let refuse = |error: &str| format!("inject=prctl:error={error}:when=1");
        let strace = |inject: &str| {
            let words = ["strace", "-qq", "-o", &trace, "-e", "trace=prctl,execveat", "-e", inject];
            words.map(str::to_owned)
        };
        let mut environment = None;
        let cases = [None, Some("EPERM"), Some("EINVAL")];
        for inject in cases.into_iter().take(if told { 3 } else { 1 }) {
            let prefix = inject.map(|error| strace(&refuse(error)).to_vec()).unwrap_or_default();
            let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
            let (done, seen, words) = seen_by_hook(rt, &prefix);
            done.ok();
            let lines: Vec<&str> = seen.lines().collect();
            let [file_system, number, command, variables, written] = lines[..] else {
                panic!("{inject:?}: {seen}")
            };
            assert!(file_system.starts_with("overlayfs"), "{inject:?}: {seen}");
            assert_eq!((number, written), (inode.as_str(), "refused"), "{inject:?}");
            assert!(variables.contains("ZZZ=the last "), "{inject:?}: {variables}");
            assert_eq!(variables, environment.get_or_insert_with(|| variables.to_owned()), "{inject:?}");
            let again = command.starts_with(&format!("{} (sealed) ", rt.binary().display()));
            assert_eq!(again, inject.is_some() || !told, "{inject:?}: {command}");
            assert!(again || command.starts_with(&words), "{inject:?}: {command}, not {words}");
            assert!(command.ends_with(" c "), "{inject:?}: {command}");
        }
    });
}

/// Where it is root alone of a user namespace, as below Podman of a login.
#[test]
fn keg_runs_from_an_overlay_in_a_user_namespace_too() {
    with_runtime(|rt| {
        let released = rt.binary().parent().is_some_and(|dir| !dir.ends_with("debug"));
        if !rt.only_keg("how it protects itself is its own affair") || !released {
            return;
        }
        let trace = rt.dir().join("trace").display().to_string();
        let calls = "trace=prctl,execveat,memfd_create";
        let wrapper = ["unshare", "--map-root-user", "--mount", "strace", "-qq", "-o", &trace, "-e", calls];
        let done = rt.command(&["exec", "nosuch", "true"]).inside(&wrapper).run();
        assert_eq!(done.stderr(), "container does not exist: nosuch\n");
        let trace = fs::read_to_string(trace).unwrap();
        let told = trace.lines().filter(|line| line.contains("PR_SET_MM_MAP") && line.ends_with("= 0"));
        assert_eq!(told.count(), 1, "{trace}");
        assert!(!trace.contains("execveat(") && !trace.contains("memfd_create("), "{trace}");
    });
}
