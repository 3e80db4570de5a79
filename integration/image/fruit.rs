//! What comes of unpacking: a report, and a bundle that runs as it stands.

use std::fs;

use harness::{Value, json, with_runtime};

use super::{images, minutes, unpack, unpacks};

#[test]
fn an_unpacked_image_runs() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let bundle = rt.dir().join("image");
        let report =
            unpack(rt, &format!("{}:latest", images().join("small").display()), &bundle).ok().stdout();
        for text in ["unpacked ", "/small:latest (linux/", "manifest sha256:", " layers, ", " entries in "] {
            assert!(report.contains(text), "no {text:?} in {report}");
        }
        let path = bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["process"]["args"] =
            json!(["/bin/sh", "-c", "cat /etc/os-release; grep Seccomp: /proc/self/status; exit 7"]);
        config["linux"]["cgroupsPath"] = json!(rt.cgroups_path("c"));
        fs::write(&path, config.to_string()).unwrap();
        let run = rt.command(&["run", "--bundle", &bundle.display().to_string(), "c"]).run();
        assert_eq!(run.code(), 7, "{}", run.describe());
        for text in ["PRETTY_NAME=\"busybox from Debian 12\"", "Seccomp:\t2"] {
            assert!(run.stdout().contains(text), "no {text:?} in {}", run.describe());
        }
    });
}

#[test]
fn an_empty_directory_may_become_the_bundle() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let bundle = rt.dir().join("image");
        fs::create_dir(&bundle).unwrap();
        // One image needs no name.
        unpack(rt, &images().join("small").display().to_string(), &bundle).ok();
        assert!(bundle.join("rootfs/bin/busybox").is_file());
    });
}

/// However large layers are: all the memory that is allowed here is less than half of what this image has.
#[test]
fn memory_does_not_grow_with_layers() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let (image, bundle) = (format!("{}:latest", images().join("demo").display()), rt.dir().join("image"));
        let words = ["unpack", "--progress", "json", "--image", &image, &bundle.display().to_string()];
        let done = rt.command(&words).inside(&["prlimit", "--data=67108864"]).limit(minutes(2)).run().ok();
        assert!(done.json()["uncompressed"].as_u64().unwrap() > 2 * 67_108_864, "{}", done.describe());
    });
}
