//! What an unpacking asks of the kernel: confined before the first byte of the image is written, on the disk before it is seen if that
//! was asked for, on a terminal if it is one.

use harness::{Runtime, with_runtime};

use super::{images, minutes, unpacks};

/// The system calls of these names that an unpacking makes, each as `THREAD NAME(...) = ...`.
fn calls(rt: &Runtime, names: &str, flags: &[&str]) -> Vec<String> {
    calls_of(rt, "small", names, flags)
}

fn calls_of(rt: &Runtime, image: &str, names: &str, flags: &[&str]) -> Vec<String> {
    let image = format!("{}:latest", images().join(image).display());
    let (bundle, log) = (rt.dir().join("bundle").display().to_string(), rt.dir().join("strace"));
    let trace = format!("trace={names}");
    let strace = ["strace", "-f", "-qq", "-y", "-o", log.to_str().unwrap(), "-e", &trace];
    let words = [&["unpack", "-q", "--image", &image, &bundle], flags].concat();
    rt.command(&words).inside(&strace).limit(minutes(2)).run().ok();
    std::fs::remove_dir_all(&bundle).unwrap();
    std::fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn whoever_writes_is_confined_before() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let calls = calls(
            rt,
            "landlock_create_ruleset,landlock_restrict_self,openat2,mkdirat,symlinkat,linkat,pwrite64",
            &[],
        );
        if !calls.iter().any(|call| call.contains("landlock_create_ruleset({")) {
            assert!(calls.iter().any(|call| call.contains("landlock_create_ruleset(NULL")), "{calls:#?}");
            return;
        }
        let thread = |call: &str| call.split_whitespace().next().unwrap().to_owned();
        let confined =
            calls.iter().position(|call| call.contains("landlock_restrict_self") && call.ends_with("= 0"));
        let confined = confined.unwrap_or_else(|| panic!("never confined: {calls:#?}"));
        let makes = ["O_CREAT", "mkdirat(", "symlinkat(", "linkat(", "pwrite64("];
        let of_image = |call: &str| call.contains("/rootfs") && makes.iter().any(|make| call.contains(make));
        let made: Vec<_> = calls.iter().enumerate().filter(|(_, call)| of_image(call)).collect();
        assert!(made.len() > 10, "{calls:#?}");
        for (at, call) in made {
            assert!(at > confined && thread(call) == thread(&calls[confined]), "{call}");
        }
    });
}

#[test]
fn on_the_disk_before_it_is_seen_if_that_is_asked_for() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let names = "sync,syncfs,fsync,fdatasync,sync_file_range,msync,renameat,renameat2";
        let of = |flags: &[&str]| -> Vec<String> {
            let calls = calls(rt, names, flags);
            calls
                .iter()
                .map(|call| {
                    call.split(['(', ' '])
                        .find(|word| word.starts_with(char::is_alphabetic))
                        .unwrap()
                        .to_owned()
                })
                .collect()
        };
        assert_eq!(of(&[]), ["renameat"]);
        assert_eq!(of(&["--sync"]), ["syncfs", "renameat", "fsync"]);
    });
}

/// A tree of Debian packages: most directories have more than one file.
#[test]
fn directories_are_kept_open_for_what_comes_next() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let calls = calls_of(rt, "demo", "openat2,mkdirat,symlinkat,linkat", &[]);
        let count = |is: &dyn Fn(&str) -> bool| calls.iter().filter(|call| is(call)).count();
        let made = ["O_CREAT", "mkdirat(", "symlinkat(", "linkat("];
        let made = count(&|call| made.iter().any(|name| call.contains(name)));
        let opened = count(&|call| call.contains("O_PATH"));
        assert!(made > 4_000, "{made} entries");
        assert!(opened * 4 < made, "{opened} directories were opened for {made} entries");
    });
}

#[test]
fn a_terminal_has_bars_and_a_dumb_one_lines() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let image = format!("{}:latest", images().join("small").display());
        let shown = |term: &str, name: &str| {
            let bundle = rt.dir().join(name).display().to_string();
            let terminal =
                ["sh", "-c", "exec script --quiet --return --command \"$*\" /dev/null </dev/null", "sh"];
            rt.command(&["unpack", "--image", &image, &bundle])
                .env("TERM", term)
                .inside(&terminal)
                .run()
                .ok()
                .stdout()
        };
        let (bars, lines) = (shown("xterm", "one"), shown("dumb", "two"));
        // No line may wrap while the bars stand.
        assert!(bars.contains("\x1b[?7l") && bars.contains("\x1b[?7h"), "{bars:?}");
        assert!(!lines.contains('\x1b'), "{lines:?}");
        for text in [bars, lines] {
            assert!(text.contains("layer 3/3 ") && text.contains("unpacked "), "{text:?}");
        }
    });
}
