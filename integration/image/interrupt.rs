//! A signal in the middle of an unpacking, a repacking, the making of a container: it ends, nothing is left. And what is shown meanwhile.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use harness::{Finished, Value, json, wait_until, with_runtime};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;

use super::{images, minutes, unpack, unpacks};

#[test]
fn a_signal_ends_it_and_nothing_is_left() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let image = format!("{}:latest", images().join("demo").display());
        let out = rt.dir().join("out");
        fs::create_dir(&out).unwrap();
        let bundle = out.join("bundle").display().to_string();
        for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
            // The unpacking may be faster than we look; not every time.
            let caught = (0..50).any(|_| {
                let running =
                    rt.command(&["unpack", "-q", "--image", &image, &bundle]).limit(minutes(2)).spawn();
                let began = Instant::now();
                while fs::read_dir(&out).unwrap().count() == 0 && began.elapsed() < Duration::from_secs(30) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                running.signal(signal);
                let ended = running.wait();
                if ended.code() == 0 {
                    fs::remove_dir_all(&bundle).unwrap();
                    return false;
                }
                assert_eq!(ended.code(), status, "{}", ended.describe());
                assert!(
                    ended.stderr().contains(&format!("interrupted by a signal ({signal})")),
                    "{}",
                    ended.describe()
                );
                assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "something was left");
                true
            });
            assert!(caught, "{signal} never came in the middle");
        }
    });
}

const SIGNALS: [(Signal, i32); 3] = [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)];

/// The command ended because of this signal, and says so in one line.
fn was_interrupted(ended: &Finished, signal: Signal, status: i32) {
    assert_eq!(ended.code(), status, "{}", ended.describe());
    assert_eq!(ended.stderr(), format!("interrupted by a signal ({signal})\n"), "{}", ended.describe());
    assert_eq!(ended.stdout(), "", "{}", ended.describe());
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(found) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> =
        found.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_signal_ends_the_making_of_a_container() {
    with_runtime(|rt| {
        let id = &*rt.unique();
        if !unpacks(rt) {
            return;
        }
        let image = format!("{}:latest", images().join("demo").display());
        let bundles = rt.root().join("@bundles");
        let commands = ["run", "create"];
        for ((signal, status), command) in SIGNALS.into_iter().flat_map(|one| commands.map(|two| (one, two)))
        {
            // The unpacking may be faster than we look; not every time.
            let caught = (0..50).any(|_| {
                let mut running = rt.command(&[command, "--image", &image, id]).limit(minutes(2)).spawn();
                let mut ended = false;
                wait_until("it begins", minutes(1), || {
                    ended = running.has_ended();
                    ended || !names(&bundles).is_empty()
                });
                if !ended {
                    running.signal(signal);
                }
                let ended = running.wait();
                // It may have come to the container.
                if !ended.stderr().contains("interrupted") {
                    rt.delete_force(id);
                    return false;
                }
                was_interrupted(&ended, signal, status);
                assert_eq!(names(&rt.root()), [""; 0], "something was left");
                true
            });
            assert!(caught, "{signal} never came in the middle of {command}");
        }
    });
}

/// While somebody else holds the layout a repacking cannot end by itself: the signal comes in the middle, whenever it comes.
#[test]
fn a_signal_ends_a_repacking() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let (bundle, layout) = (rt.dir().join("bundle"), rt.dir().join("layout"));
        unpack(rt, &format!("{}:latest", images().join("small").display()), &bundle).ok();
        fs::write(bundle.join("rootfs/etc/new"), "new").unwrap();
        fs::create_dir(&layout).unwrap();
        let image = format!("{}:new", layout.display());
        let repack = |image: &str| {
            rt.command(&["repack", "-q", "--image", image, &bundle.display().to_string()]).limit(minutes(1))
        };
        let held = Flock::lock(File::open(&layout).unwrap(), FlockArg::LockExclusive).unwrap();
        for (signal, status) in SIGNALS {
            for waits_for_the_layout in [false, true] {
                let running = repack(&image).spawn();
                wait_until("the image is unpacked beside", minutes(1), || {
                    names(&bundle).iter().any(|name| name.starts_with(".base.keg-"))
                });
                let fds = format!("/proc/{}/fd", running.pid());
                let has_layout = || {
                    let open = fs::read_dir(&fds).unwrap().flatten();
                    open.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|path| path == layout)
                };
                if waits_for_the_layout {
                    wait_until("the layout is opened", minutes(1), has_layout);
                }
                running.signal(signal);
                was_interrupted(&running.wait(), signal, status);
                assert_eq!(names(&bundle), ["config.json", "keg.json", "rootfs"]);
                assert_eq!(names(&layout), [""; 0]);
            }
        }
        drop(held);
        repack(&image).run().silent();
        assert_eq!(names(&layout), ["blobs", "index.json", "oci-layout"]);

        // Nobody compresses so much before the signal.
        File::create(bundle.join("rootfs/zeros")).unwrap().set_len(1 << 40).unwrap();
        let (index, blobs) = (fs::read(layout.join("index.json")).unwrap(), layout.join("blobs/sha256"));
        let before = names(&blobs);
        let running = repack(&format!("{}:other", layout.display())).spawn();
        wait_until("the layer is written", minutes(1), || {
            names(&blobs).iter().any(|name| name.starts_with(".blob.keg-"))
        });
        running.signal(Signal::SIGINT);
        was_interrupted(&running.wait(), Signal::SIGINT, 130);
        assert_eq!((names(&blobs), fs::read(layout.join("index.json")).unwrap()), (before, index));
        assert_eq!(names(&bundle), ["config.json", "keg.json", "rootfs"]);
    });
}

#[test]
fn progress_is_shown_as_it_was_asked_for() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let image = format!("{}:latest", images().join("small").display());
        let run = |number: usize, style: &[&str]| {
            let bundle = rt.dir().join(format!("bundle-{number}")).display().to_string();
            rt.command(&[&["unpack", "--image", &image, &bundle], style].concat()).run().ok()
        };
        let plain = run(0, &[]);
        assert!(plain.stderr().starts_with("layer 1/3 "), "{}", plain.describe());
        assert!(plain.stdout().starts_with("unpacked "), "{}", plain.describe());
        let json = run(1, &["--progress", "json"]);
        let last = all_json(&json).pop().unwrap();
        assert_eq!((last["applied"].as_u64(), last["layers"][2]["applied"].as_bool()), (Some(3), Some(true)));
        assert_eq!(json.json()["layers"], 3);
        run(2, &["-q"]).silent();
        let none = run(3, &["--progress", "none"]);
        assert_eq!((none.stderr().as_str(), none.stdout().is_empty()), ("", false));
    });
}

/// What it showed on stderr: JSON, line by line, and nothing else.
fn all_json(done: &Finished) -> Vec<Value> {
    let lines = done.stderr();
    lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?}: {e}"))).collect()
}

#[test]
fn a_repacking_shows_what_was_asked_for() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let bundle = rt.dir().join("bundle");
        unpack(rt, &format!("{}:latest", images().join("small").display()), &bundle).ok();
        let layout = rt.dir().join("layout").display().to_string();
        let run = |tag: &str, style: &[&str]| {
            fs::write(bundle.join("rootfs/new"), tag).unwrap();
            let image = format!("{layout}:{tag}");
            let words = ["repack", "--image", &image, "--tag", "also", &bundle.display().to_string()];
            rt.command(&[&words, style].concat()).limit(minutes(1)).run().ok()
        };
        let json = run("json", &["--progress", "json"]);
        assert_eq!(all_json(&json).last().unwrap()["applied"], 3);
        let report = json.json();
        let index: Value =
            serde_json::from_slice(&fs::read(format!("{layout}/index.json")).unwrap()).unwrap();
        assert_eq!(report["digest"], index["manifests"][0]["digest"]);
        assert_eq!(
            (&report["layout"], &report["tags"], &report["notes"]),
            (&json!(layout), &json!(["json", "also"]), &json!([]))
        );
        assert_eq!((&report["layer"]["entries"], &report["layer"]["deleted"]), (&json!(2), &json!(0)));
        assert!(report["layer"]["compressed"].as_u64().unwrap() > 50, "{report}");
        run("quiet", &["-q"]).silent();
        run("quiet-json", &["-q", "--progress", "json"]).silent();
        let none = run("none", &["--progress", "none"]);
        assert_eq!(none.stderr(), "");
        assert!(none.stdout().starts_with(&format!("repacked {layout}:none, also\n")), "{}", none.describe());
        let plain = run("plain", &[]);
        assert!(plain.stderr().starts_with("layer 1/7 "), "{}", plain.describe());
    });
}

#[test]
fn limits_are_flags() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let image = format!("{}:latest", images().join("small").display());
        let bundle = rt.dir().join("bundle");
        for (flag, value, text) in [
            ("--max-entries", "5", "more than 5 entries"),
            ("--max-layer-size", "4k", "more than 4096 bytes uncompressed"),
            ("--max-image-size", "4k", "more than 4096 bytes uncompressed"),
            ("--max-depth", "1", "more than 1 parts"),
        ] {
            let place = bundle.display().to_string();
            rt.command(&["unpack", "--image", &image, flag, value, "-q", &place]).run().fails_with(text);
            assert!(!bundle.exists());
        }
        let large = format!("{}:latest", images().join("demo").display());
        let place = bundle.display().to_string();
        let ratio = rt.command(&["unpack", "--image", &large, "--max-ratio", "1", "-q", &place]);
        ratio.limit(minutes(2)).run().fails_with("compressed to less than 1/1 of its size");
        assert!(!bundle.exists());
        unpack(rt, &image, &bundle).ok();
        std::fs::write(bundle.join("rootfs/new"), vec![7; 300_000]).unwrap();
        let zstd = format!("{}:zstd", rt.dir().join("layout").display());
        rt.command(&["repack", "-q", "--image", &zstd, "--compression", "zstd", &place]).run().ok();
        let again = rt.dir().join("again");
        rt.command(&["unpack", "--image", &zstd, "--max-window", "4k", "-q", &again.display().to_string()])
            .run()
            .fails_with("decompress: ");
        assert!(!again.exists());
        unpack(rt, &zstd, &again).ok();
    });
}
