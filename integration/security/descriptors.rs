//! No descriptor of the host gets into the container, not even while it waits (CVE-2024-21626).

use std::fs;

use harness::{Inside, json, with_runtime};

/// Directories that the caller left open, as the runtime's own would be: not a working directory, not a program, not in the list.
#[test]
fn cve_2024_21626() {
    with_runtime(|rt| {
        let open = (3..33).map(|number| format!("{number}</")).collect::<Vec<_>>().join(" ");
        let run = |bundle: &harness::Bundle| {
            let done = rt.command(&["run", "--bundle", &bundle.arg(), "c"]).redirect(&open).run();
            rt.delete_force("c");
            done
        };
        let bundle = rt.bundle();
        bundle.args(&["/probe"]);
        assert_eq!(Inside::parse(&run(&bundle).ok()).descriptors(), [0, 1, 2]);
        for number in [3, 7, 20] {
            for cwd in ["/proc/self/fd/N", "/proc/1/fd/N", "/proc/self/fd/N/etc", "/proc/thread-self/fd/N"] {
                let bundle = rt.bundle();
                bundle.edit(|c| c["process"]["cwd"] = json!(cwd.replace('N', &number.to_string())));
                bundle.shell(
                    "ls -d ../../../../../../etc/debian_version ./etc/debian_version 2>/dev/null; exit 0",
                );
                let done = run(&bundle);
                assert!(!done.stdout().contains("debian_version"), "{cwd} {number}: {}", done.describe());
            }
            for program in ["/proc/self/fd/N/bin/true", "proc/self/fd/N/bin/true", "../proc/1/fd/N/bin/true"]
            {
                let bundle = rt.bundle();
                bundle.args(&[&program.replace('N', &number.to_string())]);
                assert!(!run(&bundle).status.success(), "{program} {number}");
            }
        }
    });
}

/// While the container waits, its init holds nothing but the streams, its sockets, and what is to be preserved.
#[test]
fn init_holds_no_directory_of_the_host() {
    with_runtime(|rt| {
        if !rt.only_keg("others have a second process of their own there") {
            return;
        }
        for (preserve, open) in [
            ("0", "5</"),
            ("1", "3</etc/hostname 9</"),
            ("3", "3</etc/hostname 4</etc/hostname 5</etc/hostname 6</"),
        ] {
            let bundle = rt.bundle();
            let words =
                ["create", "--preserve-fds", preserve, "--bundle", &bundle.arg(), "c"].map(str::to_owned);
            rt.command(&words).redirect(open).run().ok();
            let directory = format!("/proc/{}/fd", rt.pid("c"));
            for entry in fs::read_dir(directory).unwrap().flatten() {
                let target = fs::read_link(entry.path()).unwrap();
                assert!(!target.is_dir(), "{preserve}: {:?} -> {target:?}", entry.file_name());
                assert!(!target.to_string_lossy().contains("root/c"), "{preserve}: {target:?}");
            }
            rt.start("c").ok();
            rt.delete_force("c");
        }
    });
}

/// Descriptors that are to be preserved but are not open are a mistake of the caller's, and no reason to hand over others.
#[test]
fn more_preserved_descriptors_than_there_are() {
    with_runtime(|rt| {
        if !rt.only_keg("others count what is not there") {
            return;
        }
        for count in ["2", "7", "100", "4294967295"] {
            let bundle = rt.bundle();
            let words =
                ["create", "--preserve-fds", count, "--bundle", &bundle.arg(), "c"].map(str::to_owned);
            let done = rt.command(&words).redirect("3</etc/hostname").run();
            assert!(!done.status.success(), "{count}: {}", done.describe());
            rt.delete_force("c");
        }
    });
}
