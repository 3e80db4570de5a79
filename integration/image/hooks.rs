//! `--hook` where a bundle is made of an image.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use harness::runtime::target;
use harness::{Command, Runtime, Value, json, with_runtime};

use super::layout::{Layout, config};
use super::tar::{dir, file, tar};
use super::unpacks;

/// An image whose program, run by user 1000, does nothing.
fn image(rt: &Runtime) -> String {
    let program = fs::read("/bin/busybox").unwrap();
    let layers = [tar(&[dir("bin"), file("bin/true", program).mode(0o755), dir("etc")])];
    let mut about = config(&layers);
    about["config"]["User"] = json!("1000:1001");
    let mut layout = Layout::empty();
    let image = layout.image(&layers, about);
    layout.tag("latest", image);
    layout.write(&rt.dir().join("layout"));
    rt.dir().join("layout").display().to_string()
}

fn keg(rt: &Runtime, words: &[&str]) -> Command {
    let path = format!("{}:{}", target().display(), std::env::var("PATH").unwrap());
    rt.command(words).env("PATH", &path)
}

fn points(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let line = |line| -> Value { serde_json::from_str(line).unwrap() };
    text.lines().map(|text| line(text)["point"].as_str().unwrap().to_owned()).collect()
}

const POINTS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

#[test]
fn unpack_and_run_and_create_put_hooks_in_place() {
    with_runtime(|rt| {
        let id = &*rt.unique();
        if !unpacks(rt) {
            return;
        }
        let image = image(rt);
        let (bundle, trace) = (rt.dir().join("bundle"), rt.dir().join("trace"));
        let (place, wanted) = (bundle.display().to_string(), format!("trace={}", trace.display()));
        keg(rt, &["unpack", "--quiet", "--image", &image, "--hook", &wanted, &place]).run().silent();
        // The hook inside the container runs as the image's user, who has to be able to write.
        let about = fs::metadata(&trace).unwrap();
        assert_eq!((about.uid(), about.gid(), about.len()), (1000, 1001, 0));
        let found = keg(rt, &["check", &place]).run().ok().stdout();
        assert!(!found.contains("hooks") && !found.contains("mounts"), "{found}");
        keg(rt, &["run", "--bundle", &place, id]).run().silent();
        assert_eq!(points(&trace), POINTS);

        keg(rt, &["run", "--image", &image, "--hook", &wanted, id]).run().silent();
        assert_eq!(points(&trace).len(), 12);
        keg(rt, &["create", "--image", &image, "--hook", &wanted, id]).run().silent();
        assert_eq!(points(&trace)[12..], POINTS[..3]);
        rt.start(id).silent();
        rt.wait_stopped(id);
        rt.delete(id).silent();
        assert_eq!(points(&trace)[12..], POINTS);
    });
}

#[test]
fn a_hook_of_an_image_that_cannot_be_had_leaves_nothing() {
    with_runtime(|rt| {
        let id = &*rt.unique();
        if !unpacks(rt) {
            return;
        }
        let image = image(rt);
        let (bundle, trace) = (rt.dir().join("bundle"), rt.dir().join("trace"));
        let (place, wanted) = (bundle.display().to_string(), format!("trace={}", trace.display()));
        for (words, why) in [
            (vec!["unpack", "--image", &image, "--hook", "nothing", &place], "unknown hook \"nothing\""),
            (
                vec!["unpack", "--image", &image, "--hook", "trace=/no/such/file", &place],
                "no such file or directory",
            ),
            (vec!["unpack", "--image", "/no/layout", "--hook", &wanted, &place], "/no/layout"),
            (
                vec!["run", "--image", &image, "--hook", "trace=/no/such/file", id],
                "no such file or directory",
            ),
        ] {
            let message = keg(rt, &words).run().fails_with(why);
            assert_eq!(message.lines().count(), 1, "{message}");
            assert!(!bundle.exists() && !trace.exists(), "{words:?}");
            assert!(!rt.root().join("@bundles").join(id).exists(), "{words:?}");
        }
    });
}
