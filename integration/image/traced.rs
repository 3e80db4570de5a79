//! What an unpacking asks of the kernel: confined before the first byte of the image is written, on the disk before it is seen if that
//! was asked for, on a terminal if it is one.

use harness::{Runtime, with_runtime};

use super::{images, minutes, unpack, unpacks};

/// What puts something on a disk, or gives it a name.
const DURABLE: &str = "sync,syncfs,fsync,fdatasync,sync_file_range,msync,renameat,renameat2";

/// The system calls of these names that a command makes, each as `THREAD NAME(...) = ...`.
fn calls(rt: &Runtime, names: &str, flags: &[&str]) -> Vec<String> {
    calls_of(rt, "small", names, flags)
}

fn calls_of(rt: &Runtime, image: &str, names: &str, flags: &[&str]) -> Vec<String> {
    let image = format!("{}:latest", images().join(image).display());
    let bundle = rt.dir().join("bundle").display().to_string();
    let calls = calls_by(rt, &[&["unpack", "-q", "--image", &image, &bundle], flags].concat(), names);
    std::fs::remove_dir_all(&bundle).unwrap();
    calls
}

fn calls_by(rt: &Runtime, words: &[&str], names: &str) -> Vec<String> {
    let (log, trace) = (rt.dir().join("strace"), format!("trace={names}"));
    let strace = ["strace", "-f", "-qq", "-y", "-o", log.to_str().unwrap(), "-e", &trace];
    rt.command(words).inside(&strace).limit(minutes(2)).run().ok();
    std::fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect()
}

/// `THREAD NAME(` as NAME.
fn name(call: &str) -> &str {
    call.split(['(', ' ']).find(|word| word.starts_with(char::is_alphabetic)).unwrap()
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
        let of = |flags: &[&str]| -> Vec<String> {
            calls(rt, DURABLE, flags).iter().map(|call| name(call).to_owned()).collect()
        };
        assert_eq!(of(&[]), ["renameat"]);
        assert_eq!(of(&["--sync"]), ["syncfs", "renameat", "fsync"]);
    });
}

/// First everything that the index is to name, then the index, then its name; and the same for what the bundle is made of.
#[test]
fn a_repacked_image_is_on_the_disk_before_it_has_its_names() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let small = format!("{}:latest", images().join("small").display());
        let (bundle, layout) = (rt.dir().join("changed"), rt.dir().join("layout"));
        unpack(rt, &small, &bundle).ok();
        let of = |tag: &str, flags: &[&str]| -> Vec<String> {
            std::fs::write(bundle.join("rootfs/new"), tag).unwrap();
            let (image, bundle) = (format!("{}:{tag}", layout.display()), bundle.display().to_string());
            let calls =
                calls_by(rt, &[&["repack", "-q", "--image", &image, &bundle], flags].concat(), DURABLE);
            // `NAME what it is for`, blobs without their digests.
            let what = |call: &str| {
                let quoted = call.split('"').nth(3).unwrap_or_else(|| call.split('/').next_back().unwrap());
                let file =
                    quoted.split(".keg-").next().unwrap().trim_end_matches(") = 0").trim_end_matches('>');
                if file.len() == 64 { "blob".to_owned() } else { file.to_owned() }
            };
            calls.iter().map(|call| format!("{} {}", name(call), what(call))).collect()
        };
        let names = |calls: &[String]| -> Vec<String> {
            calls.iter().filter(|call| call.starts_with("renameat")).cloned().collect()
        };
        // A new layout, three old layers, and a layer, a configuration and a manifest.
        let plain = of("one", &[]);
        assert_eq!(names(&plain), plain, "nothing is waited for");
        assert_eq!(plain.iter().filter(|call| *call == "renameat blob").count(), 6, "{plain:#?}");
        let synced = of("two", &["--sync"]);
        assert_eq!(
            synced,
            [
                "renameat blob",
                "renameat blob",
                "renameat blob",
                "syncfs sha256",
                "fsync .index.json",
                "renameat index.json",
                "fsync layout",
                "fsync .keg.json",
                "renameat keg.json",
                "fsync changed",
            ]
        );
    });
}

/// Once unpacked, an entry is not looked at again: no directory is listed but where whiteouts ask for it, and fewer files are looked
/// at than there are.
#[test]
fn no_second_pass_over_the_tree() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let looks = [
            "getdents64",
            "newfstatat",
            "fstat",
            "statx",
            "readlinkat",
            "getxattr",
            "listxattr",
            "pread64",
            "read",
        ];
        let traced = format!("{},openat2,mkdirat,symlinkat,linkat,unlinkat", looks.join(","));
        let calls = calls_of(rt, "demo", &traced, &[]);
        // By path, or by a descriptor.
        let of_tree: Vec<_> = calls.iter().filter(|call| call.contains("/rootfs")).collect();
        let count = |is: &dyn Fn(&str) -> bool| of_tree.iter().filter(|call| is(call)).count();
        let made = ["O_CREAT", "mkdirat(", "symlinkat(", "linkat("];
        let made = count(&|call| made.iter().any(|make| call.contains(make)));
        let removed = count(&|call| call.contains("AT_REMOVEDIR"));
        let listed = count(&|call| name(call) == "getdents64");
        let looked = count(&|call| looks.contains(&name(call)));
        let read = count(&|call| matches!(name(call), "read" | "pread64"));
        assert!(made > 4_000 && looked > 0, "{made} entries");
        assert!(looked * 4 < made, "{looked} looks for {made} entries");
        // A listing is two calls at least.
        assert!(listed <= 2 * removed + 20, "{listed} listings, {removed} directories removed");
        // The users and the groups.
        assert!(read < 10, "{read} files read");
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
