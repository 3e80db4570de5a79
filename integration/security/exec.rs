//! A further process joins what may be hostile by now: it shows nothing of the host on the way in, and is given nothing on its arrival.

use std::fs;

use harness::command::write_script;
use harness::{Bundle, Finished, Inside, Runtime, json, with_runtime};

use super::blocks::{ALL_SEEING, copy_of_runtime, writable};

/// A container `c` that runs a shell script.
fn hostile(rt: &Runtime, bundle: &Bundle, script: &str) -> Finished {
    bundle.shell(script);
    let out = rt.create(bundle, "c").ok();
    rt.start("c").ok();
    out
}

fn exec(rt: &Runtime, words: &[&str]) -> Finished {
    rt.command(&[&["exec"], words].concat()).run()
}

/// The container's processes look into whoever comes in, with the right to look into everybody.
#[test]
fn cve_2016_9962() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| {
            c["process"]["capabilities"] =
                json!({"bounding": ALL_SEEING, "permitted": ALL_SEEING, "effective": ALL_SEEING});
        });
        let out = hostile(
            rt,
            &bundle,
            "echo ready; while :; do for p in /proc/[0-9]*; do for f in $p/fd/* $p/cwd $p/root; do \
             [ -e $f/etc/debian_version ] && echo FOUND $f; done; done; done 2>/dev/null",
        );
        let count = if std::env::var("KEG_SWEEP").is_ok_and(|sweep| sweep == "full") { 500 } else { 40 };
        for _ in 0..count {
            exec(rt, &["c", "/bin/true"]).ok();
        }
        assert!(out.stdout().contains("ready"), "the attack did not even begin");
        assert!(!out.stdout().contains("FOUND"), "{}", out.stdout());
    });
}

/// The program is the runtime itself, by the link that leads to it, and by a script that does.
#[test]
fn cve_2019_5736() {
    with_runtime(|rt| {
        let binary = copy_of_runtime(rt);
        let before = fs::read(&binary).unwrap();
        let bundle = writable(rt);
        bundle.edit(|c| {
            c["process"]["capabilities"] =
                json!({"bounding": ALL_SEEING, "permitted": ALL_SEEING, "effective": ALL_SEEING});
        });
        let script = bundle.rootfs().join("script");
        write_script(&script, "#!/proc/self/exe\n");
        // Holds the binary of everybody who comes in, and writes to it when nobody executes it any more.
        let out = hostile(
            rt,
            &bundle,
            "echo ready; while :; do for p in /proc/[0-9]*; do case $p in /proc/1|/proc/$$) continue;; esac; \
             { sleep 0.02; for i in 1 2 3 4 5; do (printf x >/proc/self/fd/9) && echo WRITTEN; sleep 0.02; done; } \
             9<$p/exe; done; done 2>/dev/null",
        );
        let root = rt.root().display().to_string();
        for program in [&["/proc/self/exe", "--version"][..], &["/script"], &["/bin/sleep", "0.1"]] {
            for _ in 0..4 {
                let words = [&[binary.to_str().unwrap(), "--root", &root, "exec", "c"], program].concat();
                rt.program(&words).run();
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert!(out.stdout().contains("ready"), "the attack did not even begin");
        assert!(!out.stdout().contains("WRITTEN"), "{}", out.stdout());
        assert!(fs::read(&binary).unwrap() == before, "the binary was changed");
    });
}

/// Directories that the caller left open are no working directory and no program.
#[test]
fn cve_2024_21626() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        hostile(rt, &bundle, "exec sleep 1000");
        let open = (3..33).map(|number| format!("{number}</")).collect::<Vec<_>>().join(" ");
        let run = |words: &[&str]| rt.command(&[&["exec"], words].concat()).redirect(&open).run();
        assert_eq!(Inside::parse(&run(&["c", "/probe"]).ok()).descriptors(), [0, 1, 2]);
        for number in [3, 7, 8, 20] {
            for cwd in [format!("/proc/self/fd/{number}"), format!("/proc/self/fd/{number}/etc")] {
                let done = run(&[
                    "--cwd",
                    &cwd,
                    "c",
                    "/bin/ls",
                    "-d",
                    "../../../../etc/debian_version",
                    "debian_version",
                ]);
                assert!(!done.stdout().contains("debian_version"), "{cwd}: {}", done.describe());
            }
            for program in
                [format!("/proc/self/fd/{number}/bin/true"), format!("proc/self/fd/{number}/bin/true")]
            {
                assert!(!run(&["c", &program]).status.success(), "{program}");
            }
        }
    });
}

/// A capability that is asked for is not inheritable, and only ambient where the container's process has it so.
#[test]
fn cve_2022_29162() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["process"]["noNewPrivileges"] = json!(false));
        hostile(rt, &bundle, "exec sleep 1000");
        let own = Inside::parse(&exec(rt, &["c", "/probe"]).ok());
        let more = Inside::parse(&exec(rt, &["--cap", "CAP_NET_RAW", "c", "/probe"]).ok());
        let net_raw = 1 << 13;
        assert_eq!((own.caps("Inh"), own.caps("Amb"), own.caps("Eff") & net_raw), (0, 0, 0));
        assert_eq!((more.caps("Inh"), more.caps("Amb"), more.caps("Eff")), (0, 0, own.caps("Eff") | net_raw));
        let user =
            Inside::parse(&exec(rt, &["--cap", "CAP_NET_RAW", "--user", "1000:1000", "c", "/probe"]).ok());
        assert_eq!((user.caps("Inh"), user.caps("Prm"), user.caps("Eff"), user.caps("Amb")), (0, 0, 0, 0));
    });
}

/// `--user` is one number or two, all of it: nothing else ever becomes root.
#[test]
fn cve_2026_30892() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        fs::write(
            bundle.rootfs().join("etc/passwd"),
            "1000:x:0:0:::\n4294967296:x:0:0:::\nuser:x:1000:1000:::\n+1:x:0:0:::\n",
        )
        .unwrap();
        hostile(rt, &bundle, "exec sleep 1000");
        for user in [
            "1:2:3",
            " 1",
            "1 ",
            "1:",
            ":1",
            ":",
            "-1",
            "+1",
            "0x0",
            "1e3",
            "4294967295",
            "4294967296",
            "18446744073709551616",
            "user",
            "user:1",
            "1:user",
            "1,2",
            "1\n0",
            "０",
        ] {
            let done = exec(rt, &["--user", user, "c", "/bin/id", "-u"]);
            assert!(!done.status.success() && done.stdout().is_empty(), "{user:?}: {}", done.describe());
        }
        for (user, ids) in
            [("1000", "1000 0"), ("1000:7", "1000 7"), ("0:0", "0 0"), ("4294967294:1", "4294967294 1")]
        {
            let inside = Inside::parse(&exec(rt, &["--user", user, "c", "/probe"]).ok());
            let first = |field: &str| inside.status(field).split(' ').next().unwrap().to_owned();
            assert_eq!(format!("{} {}", first("Uid"), first("Gid")), ids, "{user}");
        }
    });
}
