//! A container must not be able to open the runtime's own binary for writing (CVE-2019-5736).

use std::fs;

use harness::command::write_script;
use harness::{json, with_runtime};

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
