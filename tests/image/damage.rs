//! Damaged layouts: whatever is damaged is named, and nothing is published.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use sha2::Digest;

use super::layout::{CONFIG, GZIP, INDEX, MANIFEST, TAR, architecture, config, gzip, sha256};
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

/// An image in a nested index, with layers of gzip, of zstd and plain ones, blobs named by each digest.
fn every_kind_of_blob() -> Layout {
    let layers = [
        tar(&[file("a", vec![b'a'; 2_000])]),
        tar(&[file("b", "b")]),
        tar(&[file("c", "c")]),
        tar(&[file("d", "d")]),
    ];
    let mut layout = Layout::empty();
    let config = layout.json(CONFIG, &config(&layers));
    let zstd = zstd::encode_all(&layers[1][..], 1).unwrap();
    let sha512: String = sha2::Sha512::digest(&layers[2]).iter().map(|byte| format!("{byte:02x}")).collect();
    let blake3 = blake3::hash(&gzip(&layers[3])).to_hex();
    let mut named = |digest: String, media_type: &str, bytes: Vec<u8>| {
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        layout.blobs.insert(digest, bytes);
        descriptor
    };
    let last = [
        named(format!("sha512:{sha512}"), TAR, layers[2].clone()),
        named(format!("blake3:{blake3}"), GZIP, gzip(&layers[3])),
    ];
    let [third, fourth] = last;
    let first = layout.blob(GZIP, gzip(&layers[0]));
    let second = layout.blob("application/vnd.oci.image.layer.v1.tar+zstd", zstd);
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [first, second, third, fourth]});
    let manifest = layout.json(MANIFEST, &manifest);
    let index = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": [manifest]}));
    layout.tag("latest", index);
    layout
}

/// Flipped bits at every byte of every blob, one at a time: nothing damaged is ever published.
#[test]
fn any_byte_of_any_blob() {
    let (layout, world) = (every_kind_of_blob(), World::begin());
    world.unpack(&layout, ":latest").unwrap();
    world.clear();
    for (digest, bytes) in &layout.blobs {
        for at in 0..bytes.len() {
            // The middle of a tar is long and zeros.
            if bytes.len() > 1_000 && at % 61 != 0 {
                continue;
            }
            let mut damaged = layout.clone();
            damaged.blobs.get_mut(digest).unwrap()[at] ^= 1 << (at % 8);
            world.refuse(&damaged, digest);
        }
    }
}

/// Every range of every blob in turn: lost at its place, lost up to the end, zeroed, doubled.
#[test]
fn any_range_of_any_blob() {
    let (layout, world) = (every_kind_of_blob(), World::begin());
    for (digest, bytes) in &layout.blobs {
        let length = bytes.len().div_ceil(16);
        for from in (0..bytes.len()).step_by(length) {
            let range = from..(from + length).min(bytes.len());
            let mut zeroed = bytes.clone();
            zeroed[range.clone()].fill(0);
            let lost = [&bytes[..range.start], &bytes[range.end..]].concat();
            let doubled = [&bytes[..range.end], &bytes[range.start..]].concat();
            for other in [bytes[..from].to_vec(), zeroed, lost, doubled] {
                if other == *bytes {
                    continue;
                }
                let mut damaged = layout.clone();
                damaged.blobs.insert(digest.clone(), other);
                world.refuse(&damaged, digest);
            }
        }
    }
}

/// Every descriptor in turn says a wrong size, or has the digest of another blob or of none: the blob that does not fit is named.
#[test]
fn any_descriptor() {
    let layout = every_kind_of_blob();
    let sizes = |size: u64| [0, 1, size - 1, size + 1, size * 2, u64::from(u32::MAX), 1 << 62];
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut layout = layout.clone();
        let mut index = layout.document(&layout.index["manifests"][0]["digest"]);
        let mut manifest = layout.document(&index["manifests"][0]["digest"]);
        let mut both = json!({"config": manifest["config"], "layers": manifest["layers"]});
        edit(&mut both);
        (manifest["config"], manifest["layers"]) = (both["config"].clone(), both["layers"].clone());
        let mut manifest = layout.json(MANIFEST, &manifest);
        let mut top = json!({"manifest": manifest});
        edit(&mut top);
        manifest = top["manifest"].take();
        index["manifests"] = json!([manifest]);
        let index = layout.json(INDEX, &index);
        let mut top = json!({"index": index});
        edit(&mut top);
        layout.index["manifests"] = json!([]);
        layout.tag("latest", top["index"].take());
        layout
    };
    let none = sha256(b"nothing has this digest");
    let world = World::begin();
    for at in ["/index", "/manifest", "/config", "/layers/0", "/layers/1", "/layers/2", "/layers/3"] {
        let real = edited(&|_| {});
        world.unpack(&real, ":latest").unwrap();
        world.clear();
        let size = std::cell::Cell::new(0);
        edited(&|document| {
            if let Some(descriptor) = document.pointer(at) {
                size.set(descriptor["size"].as_u64().unwrap());
            }
        });
        for wrong in sizes(size.get()) {
            let digest = std::cell::RefCell::new(String::new());
            let layout = edited(&|document| {
                if let Some(descriptor) = document.pointer_mut(at) {
                    descriptor["size"] = json!(wrong);
                    *digest.borrow_mut() = descriptor["digest"].as_str().unwrap().to_owned();
                }
            });
            world.refuse(&layout, &digest.borrow());
        }
        for other in layout.blobs.keys().cloned().chain([none.clone()]) {
            let is_same = std::cell::Cell::new(false);
            let layout = edited(&|document| {
                if let Some(descriptor) = document.pointer_mut(at) {
                    is_same.set(descriptor["digest"] == json!(other));
                    descriptor["digest"] = json!(other);
                }
            });
            if !is_same.get() {
                world.refuse(&layout, &other);
            }
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
