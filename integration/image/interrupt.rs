//! A signal in the middle of an unpacking: it ends, nothing is left. And what is shown meanwhile.

use std::fs;
use std::time::{Duration, Instant};

use harness::{Value, with_runtime};
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
        let last: Value = serde_json::from_str(json.stderr().lines().last().unwrap()).unwrap();
        assert_eq!((last["applied"].as_u64(), last["layers"][2]["applied"].as_bool()), (Some(3), Some(true)));
        assert_eq!(json.json()["layers"], 3);
        run(2, &["-q"]).silent();
        let none = run(3, &["--progress", "none"]);
        assert_eq!((none.stderr().as_str(), none.stdout().is_empty()), ("", false));
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
