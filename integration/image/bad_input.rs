//! Images that cannot be unpacked: one line that names the step and the cause, exit status 1, no bundle, nothing else
//! left behind, nothing changed outside.

use std::fs;
use std::path::Path;

use harness::{Runtime, json, with_runtime};

use super::layout::{GZIP, INDEX, Layout, sha256};
use super::tar::{Item, chr, dir, file, hardlink, symlink, tar};
use super::{unpack, unpacks};

/// An image of two layers.
fn layout() -> Layout {
    Layout::of(&[
        tar(&[dir("etc"), file("etc/passwd", "root:x:0:0::/:\n")]),
        tar(&[file("b", vec![b'b'; 9000])]),
    ])
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The message, after looking at what must not have happened.
fn refused(rt: &Runtime, layout: &Layout, reference: &str, texts: &[&str]) {
    let (out, decoy) = (rt.dir().join("out"), rt.dir().join("decoy"));
    for directory in [&out, &decoy] {
        fs::create_dir_all(directory).unwrap();
    }
    fs::write(decoy.join("file"), "decoy").unwrap();
    layout.write(&rt.dir().join("layout"));
    let image = format!("{}{reference}", rt.dir().join("layout").display());
    let run = unpack(rt, &image, &out.join("bundle"));
    assert_eq!(run.code(), 1, "{}", run.describe());
    let message = run.fails_with("");
    assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    for text in texts {
        assert!(message.contains(text), "no {text:?} in {message}");
    }
    assert_eq!((names(&out), names(&decoy)), (vec![], vec!["file".to_owned()]), "{message}");
    assert_eq!(fs::read_to_string(decoy.join("file")).unwrap(), "decoy");
}

#[test]
fn damaged_blobs() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let layer = layout().layer(1);
        let named = format!("layer 2 of 2, {layer}: ");
        let damage = |change: fn(&mut Vec<u8>)| {
            let mut layout = layout();
            change(layout.blobs.get_mut(&layer).unwrap());
            layout
        };
        refused(
            rt,
            &damage(|blob| blob.truncate(30)),
            ":latest",
            &[&named, "has 30 bytes, its descriptor says"],
        );
        refused(rt, &damage(|blob| blob[40] ^= 1), ":latest", &[&named, "the blob is damaged"]);
        let mut missing = layout();
        missing.blobs.remove(&layer);
        refused(rt, &missing, ":latest", &[&named, "the blob is missing"]);

        let mut size = layout();
        size.edit_manifest(|manifest| manifest["layers"][1]["size"] = json!(1));
        refused(rt, &size, ":latest", &[&named, "its descriptor says 1"]);
        let mut digest = layout();
        digest
            .edit_manifest(|manifest| manifest["layers"][1]["digest"] = json!("sha256:../../../decoy/file"));
        refused(rt, &digest, ":latest", &["layer 2 of 2", "invalid digest"]);
        let mut diff_id = layout();
        diff_id.edit_config(|config| config["rootfs"]["diff_ids"][1] = json!(sha256(b"")));
        refused(rt, &diff_id, ":latest", &[&named, "diff_id is sha256:e3b0c442"]);
        let mut count = layout();
        count.edit_config(|config| config["rootfs"]["diff_ids"] = json!([]));
        refused(rt, &count, ":latest", &["0 diff_ids for 2 layers"]);
        let mut half = layout();
        let bytes = half.blobs[&layer][..60].to_vec();
        let descriptor = half.blob(GZIP, bytes);
        half.edit_manifest(|manifest| manifest["layers"][1] = descriptor);
        refused(rt, &half, ":latest", &["layer 2 of 2", "decompress"]);
    });
}

#[test]
fn hostile_layers() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let decoy = rt.dir().join("decoy").display().to_string();
        let layer = |items: &[Item]| Layout::of(&[tar(&[dir("etc")]), tar(items)]);
        for (items, text) in [
            (vec![file("../decoy/file", "evil")], "entry \"../decoy/file\": the name contains \"..\""),
            (vec![file("etc/../../x", "evil")], "the name contains \"..\""),
            (vec![symlink(".", &decoy)], "the root of the image must be a directory"),
            (vec![hardlink("h", format!("{decoy}/file"))], "hardlink target"),
            (vec![hardlink("h", "../decoy/file")], "the name contains \"..\""),
            (vec![symlink("l", &decoy), hardlink("h", "l/file")], "no such file or directory"),
            (vec![chr("etc", 1, 3), file("etc/x", "")], "\"etc\" is no directory"),
            (vec![chr("w", 0, 0)], "overlay whiteout"),
            (vec![file("etc/.wh..", "")], "malformed whiteout"),
            (vec![file("x", "").kind(b'Z')], "unknown entry type 'Z'"),
        ] {
            refused(rt, &layer(&items), ":latest", &["layer 2 of 2", text]);
        }
    });
}

/// What is no escape is unpacked, inside.
#[test]
fn symlinks_that_point_out_lead_in() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let decoy = rt.dir().join("decoy");
        fs::create_dir(&decoy).unwrap();
        fs::write(decoy.join("file"), "decoy").unwrap();
        let links = tar(&[
            symlink("absolute", decoy.display().to_string()),
            symlink("relative", "../../../../../../../../decoy"),
            symlink("last", decoy.join("file").display().to_string()),
        ]);
        let over = tar(&[file("absolute/file", "evil"), file("relative/file", "evil"), file("last", "evil")]);
        let whiteouts = tar(&[file("absolute/.wh.file", ""), file("relative/.wh..wh..opq", "")]);
        Layout::of(&[links, over, whiteouts]).write(&rt.dir().join("layout"));
        let bundle = rt.dir().join("bundle");
        unpack(rt, &rt.dir().join("layout").display().to_string(), &bundle).ok();
        assert_eq!(fs::read_to_string(decoy.join("file")).unwrap(), "decoy");
        assert_eq!(names(&decoy), ["file"]);
        assert_eq!(fs::read_to_string(bundle.join("rootfs/last")).unwrap(), "evil");
        assert!(bundle.join("rootfs/decoy").is_dir());
    });
}

#[test]
fn choices_that_cannot_be_made() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let mut two = layout();
        let other = Layout::of(&[tar(&[file("other", "")])]);
        two.blobs.extend(other.blobs);
        two.tag("other", other.index["manifests"][0].clone());
        refused(rt, &two, "", &["choose image", "several images fit, name one: latest, other"]);
        refused(rt, &two, ":none", &["no image is named \"none\"; there is latest, other"]);
        let mut foreign = layout();
        foreign.edit_config(|config| config["architecture"] = json!("s390x"));
        refused(rt, &foreign, ":latest", &["no image for linux/", "there is linux/s390x"]);
        refused(rt, &Layout::empty(), "", &["the layout holds no image"]);
        refused(rt, &layout(), "/nowhere", &["open image layout", "no such file or directory"]);
    });
}

#[test]
fn places_where_no_bundle_can_be() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        layout().write(&rt.dir().join("layout"));
        let image = rt.dir().join("layout").display().to_string();
        let full = rt.dir().join("full");
        fs::create_dir(&full).unwrap();
        fs::write(full.join("kept"), "kept").unwrap();
        for (bundle, text) in [
            (full.clone(), "something is there that is no empty directory"),
            (full.join("kept"), "something is there that is no empty directory"),
            (full.join("kept/x"), "not a directory"),
            (rt.dir().join("missing/x"), "no such file or directory"),
        ] {
            let message = unpack(rt, &image, &bundle).fails_with(text);
            assert!(message.contains("make bundle"), "{message}");
        }
        assert_eq!(fs::read_to_string(full.join("kept")).unwrap(), "kept");
        assert_eq!(names(&full), ["kept"]);
    });
}

/// The limits of what is read before anything is written are flags of all that reads it.
#[test]
fn limits_of_documents_and_headers_are_flags() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let place = rt.dir().join("layout");
        let long = file("f", "x").pax("comment", [b'x'; 5000]);
        let mut layout = Layout::of(&[tar(&[dir("d"), dir("e"), long])]);
        let mut inner = layout.index["manifests"][0].clone();
        for _ in 0..2 {
            inner = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": [inner]}));
        }
        layout.index["manifests"] = json!([]);
        layout.tag("latest", inner);
        layout.write(&place);
        let image = format!("{}:latest", place.display());
        let bundle = rt.dir().join("bundle");
        let to = bundle.display().to_string();
        let new = format!("{}:new", rt.dir().join("new").display());
        let id = rt.unique();
        unpack(rt, &image, &bundle).ok();
        std::fs::write(bundle.join("rootfs/new"), "new").unwrap();
        let other = rt.dir().join("other").display().to_string();
        for (flag, value, text, of_inspect) in [
            ("--max-document-size", "100", "bytes; 100 are allowed", Some("bytes; 100 are allowed")),
            ("--max-index-depth", "1", "too deep", Some("problem: more than is looked at")),
            ("--max-header-size", "4k", "extended header of 5014 bytes; 4096 are allowed", None),
            ("--max-directory-memory", "300", "directories take more than 300 bytes", None),
        ] {
            let fails = |words: &[&str]| {
                let words = [&words[..1], &[flag, value], &words[1..]].concat();
                rt.command(&words).run().fails_with(text);
            };
            fails(&["unpack", "-q", "--image", &image, &other]);
            fails(&["run", "--image", &image, &id]);
            fails(&["create", "--image", &image, &id]);
            // The image of a bundle is known by its digest: there is nothing to descend into.
            if flag != "--max-index-depth" {
                fails(&["repack", "-q", "--image", &new, &to]);
            }
            if let Some(text) = of_inspect {
                let words = ["inspect", flag, value, &image];
                let done = rt.command(&words).run();
                assert!([done.stdout(), done.stderr()].concat().contains(text), "{}", done.describe());
            }
        }
        rt.command(&["inspect", &image]).run().ok();
        rt.command(&["repack", "-q", "--image", &new, &to]).run().ok();
        unpack(rt, &image, &rt.dir().join("other")).ok();
    });
}
