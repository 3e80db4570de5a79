//! Layouts in tar files, as skopeo, GNU tar and bsdtar write them, in each of their formats.

use std::fs;
use std::path::Path;

use harness::{Runtime, with_runtime};
use sha2::Digest as _;

use super::layout::Layout;
use super::tar::{file, tar};
use super::{images, unpack, unpacks};

/// A layout in `dir`, whose layer has a digest that is longer than a name in a header of ustar; or not.
fn write_layout(dir: &Path, has_long_names: bool) {
    let mut layout = Layout::of(&[tar(&[file("etc/motd", "from an archive")])]);
    if has_long_names {
        let bytes = layout.blobs.remove(&layout.layer(0)).unwrap();
        let hex: String = sha2::Sha512::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        layout.edit_manifest(|manifest| manifest["layers"][0]["digest"] = format!("sha512:{hex}").into());
        layout.blobs.insert(format!("sha512:{hex}"), bytes);
    }
    layout.write(dir);
}

fn run(rt: &Runtime, words: &[&str], layout: &Path, archive: &Path) {
    let (layout, archive) = (layout.display().to_string(), archive.display().to_string());
    let words: Vec<&str> = words
        .iter()
        .map(|word| match *word {
            "LAYOUT" => &layout,
            "ARCHIVE" => &archive,
            word => word,
        })
        .collect();
    rt.program(&words).run().ok();
}

#[test]
fn of_gnu_tar_and_bsdtar() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let parts = ["blobs", "index.json", "oci-layout"];
        for (number, (words, has_long_names)) in [
            (&["tar", "-C", "LAYOUT", "-cf", "ARCHIVE", "."][..], true),
            (&[&["tar", "-C", "LAYOUT", "-cf", "ARCHIVE"][..], &parts].concat(), true),
            (&["tar", "-C", "LAYOUT", "--format=gnu", "-cf", "ARCHIVE", "."], true),
            (&["tar", "-C", "LAYOUT", "--format=oldgnu", "-cf", "ARCHIVE", "."], true),
            (&["tar", "-C", "LAYOUT", "--format=posix", "--xattrs", "-cf", "ARCHIVE", "."], true),
            (
                &["tar", "-C", "LAYOUT", "--format=posix", "--pax-option=comment=x", "-cf", "ARCHIVE", "."],
                true,
            ),
            (&["tar", "-C", "LAYOUT", "--format=ustar", "-cf", "ARCHIVE", "."], false),
            (&["tar", "-C", "LAYOUT", "--format=v7", "-cf", "ARCHIVE", "."], false),
            (&["bsdtar", "-C", "LAYOUT", "-cf", "ARCHIVE", "."], true),
            (&[&["bsdtar", "-C", "LAYOUT", "-cf", "ARCHIVE"][..], &parts].concat(), true),
            (&["bsdtar", "-C", "LAYOUT", "--format=pax", "-cf", "ARCHIVE", "."], true),
            (&["bsdtar", "-C", "LAYOUT", "--format=gnutar", "-cf", "ARCHIVE", "."], true),
            (&["bsdtar", "-C", "LAYOUT", "--format=ustar", "-cf", "ARCHIVE", "."], false),
        ]
        .into_iter()
        .enumerate()
        {
            let layout = rt.dir().join(format!("layout-{has_long_names}"));
            if !layout.exists() {
                write_layout(&layout, has_long_names);
            }
            let (archive, bundle) =
                (rt.dir().join(format!("{number}.tar")), rt.dir().join(format!("bundle-{number}")));
            run(rt, words, &layout, &archive);
            unpack(rt, &format!("{}:latest", archive.display()), &bundle).ok();
            let motd = fs::read_to_string(bundle.join("rootfs/etc/motd")).unwrap();
            assert_eq!(motd, "from an archive", "{words:?}");
        }
    });
}

/// What has holes does not stand in one piece.
#[test]
fn one_with_holes_is_refused_as_such() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let layout = rt.dir().join("layout");
        write_layout(&layout, false);
        let holes = fs::File::create(layout.join("blobs/sha256/holes")).unwrap();
        holes.set_len(1 << 20).unwrap();
        for words in [
            &["tar", "-C", "LAYOUT", "-Scf", "ARCHIVE", "."][..],
            &["tar", "-C", "LAYOUT", "--format=posix", "-Scf", "ARCHIVE", "."],
        ] {
            let archive = rt.dir().join("archive");
            run(rt, words, &layout, &archive);
            unpack(rt, &archive.display().to_string(), &rt.dir().join("bundle"))
                .fails_with("the archive has a file in the sparse format");
        }
    });
}

#[test]
fn of_skopeo() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let archive = rt.dir().join("archive");
        let from = format!("oci:{}:latest", images().join("small").display());
        let copy = |to: &str| {
            rt.program(&["skopeo", "copy", "--quiet", "--insecure-policy", &from, to]).run().ok();
        };
        copy(&format!("oci-archive:{}:some/name:v1", archive.display()));
        for (number, name) in ["", ":some/name:v1"].iter().enumerate() {
            let bundle = rt.dir().join(format!("bundle-{number}"));
            unpack(rt, &format!("{}{name}", archive.display()), &bundle).ok();
            assert!(bundle.join("rootfs/bin/busybox").is_file());
        }
        let text = rt.command(&["inspect", &archive.display().to_string()]).run().ok().stdout();
        assert!(text.starts_with("some/name:v1: image for linux/"), "{text}");

        let dockers = rt.dir().join("dockers");
        copy(&format!("docker-archive:{}:some/name:v1", dockers.display()));
        unpack(rt, &dockers.display().to_string(), &rt.dir().join("none"))
            .fails_with("not an OCI image layout but an archive of Docker's");
    });
}
