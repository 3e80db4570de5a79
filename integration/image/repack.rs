//! What `repack` writes is read by the tools that others use, and becomes the same tree in their hands.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use harness::{Runtime, Value, with_runtime};

use super::layout::Layout;
use super::tar::{dir, file, tar};
use super::tree::{differences, read};
use super::{images, minutes, unpack, unpacks};
use crate::rootless::User;

/// Changes of every kind, and the attributes that layers carry.
const CHANGES: &str = r#"
    set -eu
    rm etc/os-release && rm -r srv/app/link usr/share
    echo changed >etc/issue.net
    mkdir -p opt/new/deep && echo new >opt/new/deep/file && ln opt/new/deep/file opt/linked && ln -s ../nowhere opt/dangling
    install -o 1000 -g 70000 -m 2750 -d opt/owned
    setfattr -n user.colour -v blue opt/new/deep/file
    cp bin/busybox opt/capable && setcap cap_net_bind_service+ep opt/capable
    mknod opt/zero c 1 5 && mkfifo opt/fifo
    setfattr -x user.colour srv/app/owned-by-1000
    touch -d '1969-07-20 20:17:40.5' opt/old
    head -c 300000 /dev/urandom >opt/random
"#;

fn same(rt: &Runtime, what: &str, one: &Path, other: &Path) {
    let found = differences(&read(rt, one), &read(rt, other));
    assert!(
        found.is_empty(),
        "{what}: {} differences, keg's bundle first:\n{}",
        found.len(),
        found.join("\n")
    );
}

fn changed_bundle(rt: &Runtime) -> (String, String) {
    let layout = rt.dir().join("layout").display().to_string();
    let small = images().join("small").display().to_string();
    rt.program(&["cp", "-r", &small, &layout]).run().ok();
    let bundle = rt.dir().join("bundle");
    unpack(rt, &format!("{layout}:latest"), &bundle).ok();
    rt.program(&["sh", "-c", CHANGES]).cwd(bundle.join("rootfs")).run().ok();
    (layout, bundle.display().to_string())
}

fn repack(rt: &Runtime, rest: &[&str]) -> String {
    rt.command(&[&["repack", "--progress", "none"], rest].concat()).limit(minutes(1)).run().ok().stdout()
}

#[test]
fn umoci_and_skopeo_and_buildah_read_it() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let (layout, bundle) = changed_bundle(rt);
        let image = format!("{layout}:changed");
        let said = repack(rt, &["--image", &image, "--tag", "also", "--author", "the tests", &bundle]);
        assert!(said.contains("1 layer added"), "{said}");
        let rootfs = rt.dir().join("bundle/rootfs");

        let by_umoci = rt.dir().join("umoci");
        rt.program(&["umoci", "unpack", "--image", &image, &by_umoci.display().to_string()]).run().ok();
        same(rt, "umoci", &rootfs, &by_umoci.join("rootfs"));

        // skopeo verifies every digest on the way.
        let copy = rt.dir().join("copy").display().to_string();
        let (from, to) = (format!("oci:{layout}:also"), format!("oci:{copy}:x"));
        rt.program(&["skopeo", "copy", "--quiet", "--insecure-policy", &from, &to])
            .limit(minutes(1))
            .run()
            .ok();
        let by_keg = rt.dir().join("again");
        unpack(rt, &format!("{copy}:x"), &by_keg).ok();
        same(rt, "skopeo and keg", &rootfs, &by_keg.join("rootfs"));
        let inspected: Value = rt.program(&["skopeo", "inspect", &from]).run().ok().json();
        assert_eq!(inspected["Layers"].as_array().unwrap().len(), 4);

        by_buildah(rt, &rootfs);
    });
}

/// umoci 0.4 knows no layers of zstd.
#[test]
fn skopeo_and_buildah_read_a_layer_of_zstd() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let (layout, bundle) = changed_bundle(rt);
        let image = format!("{layout}:also");
        repack(rt, &["--image", &image, "--compression", "zstd", &bundle]);
        let rootfs = rt.dir().join("bundle/rootfs");
        let copy = rt.dir().join("copy").display().to_string();
        let (from, to) = (format!("oci:{layout}:also"), format!("oci:{copy}:x"));
        let words = ["skopeo", "copy", "--quiet", "--insecure-policy", &from, &to];
        rt.program(&words).limit(minutes(1)).run().ok();
        let manifest: Value = rt.program(&["skopeo", "inspect", "--raw", &from]).run().ok().json();
        let last = manifest["layers"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
        let by_keg = rt.dir().join("again");
        unpack(rt, &format!("{copy}:x"), &by_keg).ok();
        same(rt, "skopeo and keg", &rootfs, &by_keg.join("rootfs"));
        by_buildah(rt, &rootfs);
    });
}

/// Relative: buildah makes a name, lower case only, of the path.
fn by_buildah(rt: &Runtime, rootfs: &Path) {
    let policy = rt.dir().join("policy.json");
    fs::write(&policy, r#"{"default": [{"type": "insecureAcceptAnything"}]}"#).unwrap();
    let dir = |name: &str| rt.dir().join(name).display().to_string();
    let (root, run, policy, out) =
        (dir("store"), dir("run"), policy.display().to_string(), dir("by-buildah"));
    let script = format!(
        r#"set -eu
        b() {{ buildah --root {root} --runroot {run} --storage-driver vfs "$@"; }}
        c=$(b from --quiet --signature-policy {policy} oci:layout:also)
        cp -a "$(b mount "$c")" {out}
        b umount "$c" >/dev/null && b rm "$c" >/dev/null"#
    );
    rt.program(&["sh", "-c", &script]).cwd(rt.dir()).limit(minutes(2)).run().ok();
    let (ours, mut theirs) = (read(rt, rootfs), read(rt, Path::new(&out)));
    // buildah gives the root that it mounts a time and a mode of its own, and knows no time before 1970.
    for name in [".", "./opt/old"] {
        theirs.insert(name.to_owned(), ours[name].clone());
    }
    // A directory that a layer changes something in, but does not name, gets the time of the change.
    let untimed = |about: &str| about.rsplit_once(' ').map(|(rest, _)| rest.to_owned());
    for (name, about) in ours.iter().filter(|(_, about)| about.starts_with('4')) {
        if theirs.get(name).is_some_and(|other| untimed(other) == untimed(about)) {
            theirs.insert(name.clone(), about.clone());
        }
    }
    let found = differences(&ours, &theirs);
    assert!(
        found.is_empty(),
        "buildah: {} differences, keg's bundle first:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn nothing_changed_makes_no_layer_and_the_new_image_runs() {
    with_runtime(|rt| {
        let id = &*rt.unique();
        if !unpacks(rt) {
            return;
        }
        let (layout, bundle) = changed_bundle(rt);
        let image = format!("{layout}:changed");
        repack(rt, &["--image", &image, &bundle]);
        let said = repack(rt, &["--image", &image, &bundle]);
        assert!(said.contains("nothing has changed, no layer was added"), "{said}");
        assert_eq!(repack(rt, &["-q", "--image", &image, &bundle]), "");
        let again = rt.dir().join("again");
        unpack(rt, &image, &again).ok();
        same(rt, "keg", &rt.dir().join("bundle/rootfs"), &again.join("rootfs"));
        assert_eq!(rt.command(&["run", "--image", &image, id, "--", "5"]).run().code(), 5);
    });
}

#[test]
fn one_source_date_epoch_gives_one_digest() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let layout = rt.dir().join("layout").display().to_string();
        let small = images().join("small").display().to_string();
        rt.program(&["cp", "-r", &small, &layout]).run().ok();
        let digests: Vec<_> = ["one", "two"]
            .iter()
            .map(|name| {
                let bundle = rt.dir().join(name);
                unpack(rt, &format!("{layout}:latest"), &bundle).ok();
                fs::write(bundle.join("rootfs/etc/new"), "new").unwrap();
                let (image, bundle) = (format!("{layout}:{name}"), bundle.display().to_string());
                let words = ["repack", "--progress", "none", "--image", &image, &bundle];
                let said = rt.command(&words).env("SOURCE_DATE_EPOCH", "1700000000").run().ok().stdout();
                said.lines().find(|line| line.contains("manifest")).unwrap().to_owned()
            })
            .collect();
        assert_eq!(digests[0], digests[1]);
    });
}

#[test]
fn wrong_use_is_said() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let dir = rt.dir().display().to_string();
        for (words, text) in [
            (vec!["repack", "--image", &dir, &dir], "a new image has no digest yet: give it a name"),
            (
                vec!["repack", "--image", "l:x", "--created", "today", &dir],
                "no time like 2006-01-02T15:04:05Z",
            ),
            (vec!["repack", "--image", "l:x", &dir], "keg.json"),
        ] {
            rt.command(&words).run().fails_with(text);
        }
        for moment in ["today", "-1", "1.5", "253402300800", "99999999999999999999"] {
            let done = rt.command(&["repack", "--image", "l:x", &dir]).env("SOURCE_DATE_EPOCH", moment).run();
            let text = format!("SOURCE_DATE_EPOCH is {moment:?}: no number of seconds\n");
            assert_eq!(done.fails_with(""), text);
        }
    });
}

/// Each of them holds the index for a while; no name gets lost.
#[test]
fn several_into_one_layout_at_once() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let small = format!("{}:latest", images().join("small").display());
        let layout = rt.dir().join("layout").display().to_string();
        let tags = ["one", "two", "three", "four"];
        let bundle = |tag: &str| rt.dir().join(tag);
        for tag in tags {
            unpack(rt, &small, &bundle(tag)).ok();
            fs::write(bundle(tag).join("rootfs/etc/new"), tag).unwrap();
        }
        let late = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat,renameat2"];
        let late = [&late[..], &["-e", "inject=renameat,renameat2:delay_enter=100000"]].concat();
        let running = tags.map(|tag| {
            let (image, bundle) = (format!("{layout}:{tag}"), bundle(tag).display().to_string());
            rt.command(&["repack", "-q", "--image", &image, &bundle]).inside(&late).limit(minutes(2)).spawn()
        });
        running.into_iter().for_each(|one| drop(one.wait().silent()));
        let index: Value =
            serde_json::from_slice(&fs::read(format!("{layout}/index.json")).unwrap()).unwrap();
        assert_eq!(index["manifests"].as_array().unwrap().len(), tags.len(), "{index:#}");
        for tag in tags {
            let again = rt.dir().join(format!("{tag}-again"));
            unpack(rt, &format!("{layout}:{tag}"), &again).ok();
            assert_eq!(fs::read_to_string(again.join("rootfs/etc/new")).unwrap(), tag);
        }
    });
}

/// Who is not root owns every file of a bundle himself, and yet makes an image of the right owners of it.
#[test]
fn owners_come_back_without_root() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let user = User::without_session(rt);
        let layers = [tar(&[
            dir("d").owner(5, 6),
            file("d/theirs", "theirs").owner(1000, 70_000),
            file("d/same", "same").owner(1000, 1000),
            file("roots", "root's"),
            file("gone", ""),
        ])];
        Layout::of(&layers).write(&rt.dir().join("made"));
        user.copy(&rt.dir().join("made"), &user.home.join("layout"));
        let keg = |words: &[&str]| {
            let prefix = user.prefix.iter().map(String::as_str).chain([user.runtime.as_str()]);
            rt.program(&prefix.chain(words.iter().copied()).collect::<Vec<_>>())
                .cwd(&user.home)
                .limit(minutes(1))
                .run()
        };
        keg(&["unpack", "-q", "--image", "layout:latest", "bundle"]).silent();
        let root = user.home.join("bundle/rootfs");
        let uid = fs::metadata(&user.home).unwrap().uid();
        assert_eq!((uid == 0, fs::metadata(root.join("d/theirs")).unwrap().uid()), (false, uid));
        fs::write(root.join("d/theirs"), "theirs, changed").unwrap();
        fs::remove_file(root.join("gone")).unwrap();
        fs::write(root.join("new"), "new").unwrap();
        chown(root.join("new"), Some(uid), Some(uid)).unwrap();
        keg(&["repack", "-q", "--image", "layout:new", "bundle"]).silent();

        let by_root = rt.dir().join("by-root");
        unpack(rt, &format!("{}:new", user.home.join("layout").display()), &by_root).ok();
        let owner = |name: &str| {
            let about = fs::metadata(by_root.join("rootfs").join(name)).unwrap();
            (about.uid(), about.gid())
        };
        assert_eq!((owner("d"), owner("d/theirs"), owner("d/same")), ((5, 6), (1000, 70_000), (1000, 1000)));
        assert_eq!((owner("roots"), owner("new"), owner(".")), ((0, 0), (0, 0), (0, 0)));
        assert_eq!(fs::read(by_root.join("rootfs/d/theirs")).unwrap(), b"theirs, changed");
        assert!(!by_root.join("rootfs/gone").exists());
        // Only what was changed is in the layer.
        let inspected: Value = rt
            .program(&[
                "skopeo",
                "inspect",
                "--raw",
                &format!("oci:{}:new", user.home.join("layout").display()),
            ])
            .run()
            .ok()
            .json();
        let digest = inspected["layers"][1]["digest"].as_str().unwrap().replace(':', "/");
        let blob = user.home.join("layout/blobs").join(digest).display().to_string();
        let listed = rt.program(&["tar", "tzf", &blob]).run().ok().stdout();
        assert_eq!(listed, ".wh.gone\n./\nd/\nd/theirs\nnew\n");
    });
}
