//! What a container of an image gets without asking: what containerd gives, and more of what is hidden; a bundle that runc takes.

use std::collections::BTreeSet;
use std::fs;

use harness::{Runtime, Value, json, with_runtime};

use super::layout::{Layout, config};
use super::tar::{dir, file, tar};
use super::{images, unpack, unpacks};

fn set(list: &Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// Destination, and everything else.
fn mounts(config: &Value) -> Vec<(String, String)> {
    let mounts = config["mounts"].as_array().unwrap();
    mounts
        .iter()
        .map(|mount| (mount["destination"].as_str().unwrap().to_owned(), mount.to_string()))
        .collect()
}

#[test]
fn as_containerd_has_it() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let theirs: Value = rt.program(&["ctr", "oci", "spec"]).run().ok().json();
        let bundle = rt.dir().join("bundle");
        unpack(rt, &format!("{}:latest", images().join("small").display()), &bundle).ok();
        let ours: Value = serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap();

        assert_eq!(ours["process"]["capabilities"]["bounding"].as_array().unwrap().len(), 14);
        for name in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
            assert_eq!(
                ours["process"]["capabilities"][name], theirs["process"]["capabilities"][name],
                "{name}"
            );
        }
        // An image may have something in /run; cgroups are where the other's caller puts them.
        let (ours_mounted, mut theirs_mounted) = (mounts(&ours), mounts(&theirs));
        theirs_mounted.retain(|(destination, _)| destination != "/run");
        let (last, rest) = ours_mounted.split_last().unwrap();
        assert_eq!((rest, last.0.as_str()), (&theirs_mounted[..], "/sys/fs/cgroup"));

        let (ours, theirs) = (&ours["linux"], &theirs["linux"]);
        assert_eq!(set(&ours["readonlyPaths"]), set(&theirs["readonlyPaths"]));
        let more: BTreeSet<_> =
            set(&ours["maskedPaths"]).difference(&set(&theirs["maskedPaths"])).cloned().collect();
        assert!(set(&theirs["maskedPaths"]).is_subset(&set(&ours["maskedPaths"])));
        // Loads of the host, and of its processors, by which secrets have been read.
        assert_eq!(more, ["/proc/interrupts", "/sys/devices/virtual/powercap"].map(str::to_owned).into());
        let types = |linux: &Value| -> BTreeSet<String> {
            let namespaces = linux["namespaces"].as_array().unwrap();
            namespaces.iter().map(|namespace| namespace["type"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(types(ours).difference(&types(theirs)).collect::<Vec<_>>(), ["cgroup"]);
        assert!(types(theirs).is_subset(&types(ours)));
    });
}

/// Nothing in it is keg's alone, or of a later version than it says.
#[test]
fn runc_takes_the_bundle() {
    with_runtime(|rt| {
        let id = &*rt.unique();
        if !unpacks(rt) {
            return;
        }
        let bundle = rt.dir().join("bundle");
        unpack(rt, &format!("{}:latest", images().join("small").display()), &bundle).ok();
        let file = bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        config["linux"]["cgroupsPath"] = json!(rt.cgroups_path("c"));
        fs::write(&file, config.to_string()).unwrap();
        let (root, bundle) = (rt.dir().join("peers").display().to_string(), bundle.display().to_string());
        let mut words = vec!["runc", "--root", &root];
        words.extend(rt.driver().globals("run"));
        words.extend(["run", "--bundle", &bundle, id]);
        let done = rt.program(&words).run();
        assert_eq!(done.code(), 42, "{}", done.describe());
    });
}

/// An image that says what its program, a shell's script, is to do.
fn shell(rt: &Runtime, script: &str, more: Value) -> String {
    let busybox = fs::read("/bin/busybox");
    let layers = [tar(&[
        dir("bin"),
        file("bin/busybox", busybox.unwrap()).mode(0o755),
        dir("data").mode(0o750).owner(7, 8),
        file("data/seed", "from the image").owner(7, 8),
        dir("data/deep"),
        file("data/deep/file", "deep"),
        dir("proc"),
        dir("sys"),
        dir("dev"),
    ])];
    let mut about = config(&layers);
    about["config"] = more;
    about["config"]["Entrypoint"] = json!(["/bin/busybox", "sh", "-c", script]);
    let mut layout = Layout::empty();
    let image = layout.image(&layers, about);
    layout.tag("latest", image);
    let path = rt.dir().join("layout");
    layout.write(&path);
    path.display().to_string()
}

#[test]
fn a_volume_has_what_the_image_has_and_keeps_nothing() {
    with_runtime(|rt| {
        let id = &*rt.unique();
        if !unpacks(rt) {
            return;
        }
        let script = "b=/bin/busybox; $b cat /data/seed /data/deep/file; echo; $b stat -c '%a %u %g' /data /data/seed; \
                      $b grep ' /data ' /proc/self/mounts | $b cut -d ' ' -f 2,3; \
                      echo new >/data/new && echo changed >/data/seed && $b cat /data/new /data/seed";
        let image = shell(rt, script, json!({"Volumes": {"/data": {}}}));
        let words = ["run", "--keep-bundle", "--image", &image, id];
        let expected = "from the imagedeep\n750 7 8\n644 7 8\n/data tmpfs\nnew\nchanged\n";
        assert_eq!(rt.command(&words).run().ok().stdout(), expected);
        let kept = rt.root().join("@kept").join(id);
        assert_eq!(fs::read_to_string(kept.join("rootfs/data/seed")).unwrap(), "from the image");
        assert!(!kept.join("rootfs/data/new").exists());
        fs::remove_dir_all(rt.root().join("@kept")).unwrap();
    });
}

#[test]
fn a_program_starts_where_and_with_what_the_image_says() {
    with_runtime(|rt| {
        let id = &*rt.unique();
        if !unpacks(rt) {
            return;
        }
        let script = "pwd; echo $PATH; /bin/busybox grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status";
        let image = shell(rt, script, json!({"WorkingDir": "data/deep"}));
        let told = "CapEff:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let seen = rt.command(&["run", "--image", &image, id]).run().ok().stdout();
        assert_eq!(seen, format!("/data/deep\n{path}\n{told}"));
    });
}
