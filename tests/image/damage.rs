//! Damaged layouts: whatever is damaged is named, and nothing is published.

use std::os::unix::fs::symlink;

use serde_json::json;

use super::layout::{GZIP, architecture, gzip, sha256};
use super::{Layout, World, file, tar};

fn layout() -> Layout {
    Layout::of(&[tar(&[file("a", vec![b'a'; 5_000])]), tar(&[file("b", "b")])])
}

/// Replaces a blob's bytes but not its name.
fn damaged(change: impl FnOnce(&mut Vec<u8>)) -> Layout {
    let mut layout = layout();
    let digest = layout.layer(1);
    change(layout.blobs.get_mut(&digest).unwrap());
    layout
}

#[test]
fn a_layers_blob() {
    let world = World::begin();
    let layer = layout().layer(1);
    for (layout, why) in [
        (damaged(|bytes| bytes.truncate(20)), "the blob has 20 bytes, its descriptor says"),
        (damaged(|bytes| bytes.push(0)), "bytes, its descriptor says"),
        (damaged(|bytes| bytes[30] ^= 1), "the blob is damaged: its content has digest sha256:"),
        (damaged(|bytes| *bytes.last_mut().unwrap() ^= 1), "the blob is damaged"),
        (damaged(|bytes| bytes.fill(b'x')), "the blob is damaged"),
    ] {
        world.refuse(&layout, why);
        world.refuse(&layout, &format!("layer 2 of 2, {layer}"));
    }
    let mut missing = layout();
    missing.blobs.remove(&layer);
    world.refuse(&missing, "the blob is missing");
}

/// Every byte of every blob, one at a time: nothing damaged is ever published.
#[test]
fn any_byte_of_any_blob() {
    let layout = layout();
    for (digest, bytes) in &layout.blobs {
        for at in (0..bytes.len()).step_by(if digest == &layout.layer(0) { 1 } else { 7 }) {
            let mut damaged = layout.clone();
            damaged.blobs.get_mut(digest).unwrap()[at] ^= 0x20;
            World::begin().refuse(&damaged, digest);
        }
    }
}

/// A descriptor that is consistent with a damaged blob does not save it.
#[test]
fn a_layer_that_only_its_content_gives_away() {
    let world = World::begin();
    let good = gzip(&tar(&[file("b", vec![7; 100_000])]));
    let half = good[..good.len() / 2].to_vec();
    let garbage = [&good[..], b"garbage"].concat();
    for (bytes, why) in [
        (half, "decompress: "),
        (garbage, "decompress: "),
        (vec![0x1f, 0x8b], "decompress: "),
        (Vec::new(), "diff_id is sha256:"),
    ] {
        let mut layout = layout();
        let mut manifest = layout.manifest();
        manifest["layers"][1] = layout.blob(GZIP, bytes);
        layout.set_manifest(&manifest);
        world.refuse(&layout, why);
        world.refuse(&layout, "layer 2 of 2, sha256:");
    }
}

#[test]
fn diff_ids() {
    let world = World::begin();
    let diff_id = |value: serde_json::Value| {
        let mut layout = layout();
        layout.edit_config(|config| config["rootfs"]["diff_ids"] = value);
        layout
    };
    let (one, two) = (sha256(b"1"), sha256(&tar(&[file("b", "b")])));
    world.refuse(&diff_id(json!([one, two])), "layer 1 of 2");
    world.refuse(&diff_id(json!([one, two])), &format!("diff_id is {one}, the uncompressed layer has"));
    world.refuse(&diff_id(json!([one])), "1 diff_ids for 2 layers");
    world.refuse(&diff_id(json!([])), "0 diff_ids for 2 layers");
    world.refuse(&diff_id(json!([one, one, one])), "3 diff_ids for 2 layers");
    world.refuse(&diff_id(json!([one, "md5:00"])), "invalid digest \"md5:00\"");
    world.refuse(&diff_id(json!("x")), "image configuration sha256:");
    let mut squashed = layout();
    squashed.edit_config(|config| config["rootfs"]["type"] = json!("flat"));
    world.refuse(&squashed, "rootfs is of type \"flat\"");
}

/// What stands behind the end of a tar belongs to its diff_id.
#[test]
fn bytes_behind_the_end_are_verified() {
    let mut layout = layout();
    let mut manifest = layout.manifest();
    manifest["layers"][1] = layout.blob(GZIP, gzip(&[tar(&[file("b", "b")]), vec![0; 512]].concat()));
    layout.set_manifest(&manifest);
    World::begin().refuse(&layout, "the uncompressed layer has");
}

#[test]
fn manifests_and_configurations() {
    let world = World::begin();
    for (at, what) in [("/config/digest", "image configuration"), ("", "manifest")] {
        let mut layout = layout();
        let digest = if at.is_empty() {
            layout.index["manifests"][0]["digest"].as_str().unwrap().to_owned()
        } else {
            layout.manifest().pointer(at).unwrap().as_str().unwrap().to_owned()
        };
        layout.blobs.get_mut(&digest).unwrap()[5] ^= 1;
        world.refuse(&layout, &format!("{what} {digest}: the blob is damaged"));
        layout.blobs.get_mut(&digest).unwrap().pop();
        world.refuse(&layout, &format!("{what} {digest}: the blob has"));
        layout.blobs.remove(&digest);
        world.refuse(&layout, &format!("{what} {digest}: the blob is missing"));
    }
    let mut broken = layout();
    let mut manifest = broken.manifest();
    manifest["config"] = broken.blob("", b"{".to_vec());
    broken.set_manifest(&manifest);
    world.refuse(&broken, "invalid document");
    let mut both = layout();
    both.edit_manifest(|manifest| manifest["manifests"] = json!([]));
    world.refuse(&both, "index and manifest at once");
    let mut odd = layout();
    odd.edit_manifest(|manifest| manifest["layers"][0]["mediaType"] = json!("text/plain"));
    world.refuse(&odd, "unknown media type \"text/plain\"");
}

#[test]
fn descriptors_cannot_lead_out_of_the_layout() {
    let world = World::begin();
    for digest in
        ["sha256:../../../decoy/target", "../../decoy/target", "sha256:", "sha256:ABC", "md5:00", ""]
    {
        let mut layout = layout();
        layout.edit_manifest(|manifest| manifest["layers"][1]["digest"] = json!(digest));
        world.refuse(&layout, "invalid digest");
    }
    let layout = layout();
    for (target, why) in [("decoy/target", "too many levels of symbolic links"), ("decoy", "too many levels")]
    {
        let world = World::begin();
        layout.write(&world.layout());
        let blob = world.layout().join("blobs").join(layout.layer(1).replace(':', "/"));
        std::fs::remove_file(&blob).unwrap();
        symlink(world.layout().parent().unwrap().join(target), &blob).unwrap();
        assert!(world.unpack_written(":latest").unwrap_err().contains(why));
    }
    let world = World::begin();
    layout.write(&world.layout());
    let blob = world.layout().join("blobs").join(layout.layer(1).replace(':', "/"));
    std::fs::remove_file(&blob).unwrap();
    nix::unistd::mkfifo(&blob, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(world.unpack_written(":latest").unwrap_err().contains("the blob is no regular file"));
}

#[test]
fn the_layout_itself() {
    let world = World::begin();
    assert!(world.unpack_written("").unwrap_err().ends_with("no such file or directory"));
    std::fs::create_dir(world.layout()).unwrap();
    assert!(world.unpack_written("").unwrap_err().ends_with("not an OCI image layout: no oci-layout in it"));
    for (file, content, why) in [
        ("oci-layout", "{}", "oci-layout: invalid document"),
        ("oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#, "version \"2.0.0\" is not supported"),
        ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#, "no index.json in it"),
        ("index.json", "{}", "index.json: the document is neither an index nor a manifest"),
        ("index.json", r#"{"config":{},"layers":[]}"#, "index.json is no index"),
        ("index.json", r#"{"manifests":[]}"#, "the layout holds no image"),
    ] {
        std::fs::write(world.layout().join(file), content).unwrap();
        let error = world.unpack_written("").unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_user_that_the_image_does_not_have() {
    let mut layout = layout();
    layout.edit_config(|config| config["config"]["User"] = json!("nobody"));
    World::begin().refuse(&layout, "convert the image configuration: the image has no user \"nobody\"");
}

#[test]
fn an_image_for_another_system() {
    let mut layout = layout();
    layout.edit_config(|config| config["os"] = json!("windows"));
    World::begin().refuse(&layout, &format!("no image for linux/{0}; there is windows/{0}", architecture()));
    let mut world = World::begin();
    world.platform = Some(format!("windows/{}", architecture()).parse().unwrap());
    world.refuse(&layout, "keg runs linux");
}
