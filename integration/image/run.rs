//! Containers made of images directly: their bundles come and go with them.

use std::fs;
use std::path::Path;

use harness::{Finished, Runtime, json, with_runtime};

use super::layout::{Layout, config};
use super::tar::{dir, file, tar};
use super::{images, unpacks};

fn words<'a>(command: &'a str, image: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&[command, "--image", image], rest].concat()
}

fn small() -> String {
    format!("{}:latest", images().join("small").display())
}

/// Everything below the state directory.
fn left(rt: &Runtime) -> Vec<String> {
    let names = |path: &Path| -> Vec<String> {
        let found = fs::read_dir(path).into_iter().flatten();
        found.map(|entry| entry.unwrap().path().display().to_string()).collect()
    };
    let mut all = names(&rt.root());
    for path in all.clone() {
        all.extend(names(Path::new(&path)));
    }
    all
}

fn gone(rt: &Runtime) {
    assert_eq!(left(rt), [""; 0]);
}

#[test]
fn run_takes_an_image_and_leaves_nothing() {
    with_runtime(|rt| {
        let id = &*rt.unique();
        if !unpacks(rt) {
            return;
        }
        let image = small();
        // The image's own entry point and arguments exit with 42.
        let run = |rest: &[&str]| -> Finished { rt.command(&words("run", &image, rest)).run() };
        assert_eq!(run(&[id]).code(), 42);
        gone(rt);
        // Other arguments for the same entry point.
        let other = run(&[id, "--", "7"]);
        assert_eq!(other.code(), 7, "{}", other.describe());
        assert_eq!(other.stderr(), "", "progress is for terminals here");
        gone(rt);
    });
}

#[test]
fn the_bundle_of_a_created_container_goes_with_it() {
    with_runtime(|rt| {
        let id = &*rt.unique();
        if !unpacks(rt) {
            return;
        }
        let image = small();
        rt.command(&words("create", &image, &[id])).run().silent();
        let bundle = rt.root().join("@bundles").join(id);
        assert_eq!(rt.state(id)["bundle"], json!(bundle));
        assert!(bundle.join("rootfs/bin/busybox").is_file());
        let again = rt.command(&words("create", &image, &[id])).run().fails_with("exist");
        assert!(!again.contains("bundle"), "{again}");
        assert!(bundle.exists(), "the first container lost its bundle");
        rt.start(id).silent();
        rt.wait_stopped(id);
        rt.delete(id).silent();
        gone(rt);
    });
}

#[test]
fn a_detached_container_keeps_its_bundle_until_it_is_deleted() {
    with_runtime(|rt| {
        let id = &*rt.unique();
        if !unpacks(rt) {
            return;
        }
        let image = small();
        rt.command(&words("run", &image, &["--detach", id])).redirect(">/dev/null 2>&1").run().ok();
        rt.wait_stopped(id);
        assert!(rt.root().join("@bundles").join(id).exists());
        rt.delete(id).silent();
        gone(rt);
    });
}

#[test]
fn a_kept_bundle_stays_and_can_be_used_again() {
    with_runtime(|rt| {
        let id = &*rt.unique();
        if !unpacks(rt) {
            return;
        }
        let image = small();
        assert_eq!(rt.command(&words("run", &image, &["--keep-bundle", id])).run().code(), 42);
        let kept = rt.root().join("@kept");
        let bundle = kept.join(id).display().to_string();
        assert_eq!(rt.command(&["run", "--bundle", &bundle, id]).run().code(), 42);
        fs::remove_dir_all(kept).unwrap();
        gone(rt);
    });
}

#[test]
fn a_container_that_cannot_be_made_leaves_no_bundle() {
    with_runtime(|rt| {
        let id = &*rt.unique();
        if !unpacks(rt) {
            return;
        }
        let layers = [tar(&[dir("etc"), file("etc/hostname", "x")])];
        let mut about = config(&layers);
        about["config"]["Cmd"] = json!(["/does/not/exist"]);
        let mut layout = Layout::empty();
        let image = layout.image(&layers, about);
        layout.tag("latest", image);
        layout.write(&rt.dir().join("layout"));
        let image = rt.dir().join("layout").display().to_string();
        for command in ["create", "run"] {
            rt.command(&words(command, &image, &[id])).run().fails_with("/does/not/exist");
            gone(rt);
        }
        let missing = rt.dir().join("nowhere").display().to_string();
        rt.command(&words("run", &missing, &[id])).run().fails_with("open image layout");
        gone(rt);
    });
}

#[test]
fn delete_force_removes_what_a_killed_unpacking_left() {
    with_runtime(|rt| {
        let id = &*rt.unique();
        if !unpacks(rt) {
            return;
        }
        fs::create_dir_all(rt.root().join(format!("@bundles/.{id}.keg-00000000/rootfs/etc"))).unwrap();
        rt.command(&["delete", "--force", id]).run().silent();
        gone(rt);
    });
}
