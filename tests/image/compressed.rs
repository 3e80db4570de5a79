//! Layers as they are compressed: one stream or many, with things between that are no part of the layer, and layers that are elsewhere.

use std::io::Write;

use serde_json::json;

use super::layout::{GZIP, gzip};
use super::{Layout, World, dir, file, tar};

const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn layer() -> Vec<u8> {
    tar(&[dir("d"), file("d/a", vec![b'a'; 70_000]), file("d/b", "b")])
}

/// An image whose one layer's blob is this, of the given type.
fn image(media_type: &str, blob: Vec<u8>) -> Layout {
    let mut layout = Layout::of(&[layer()]);
    let descriptor = layout.blob(media_type, blob);
    layout.edit_manifest(|manifest| manifest["layers"][0] = descriptor);
    layout
}

fn is_there(layout: &Layout) {
    let world = World::begin();
    let root = world.unpack(layout, ":latest").unwrap();
    assert_eq!(std::fs::read(root.join("d/a")).unwrap(), vec![b'a'; 70_000]);
    assert_eq!(std::fs::read(root.join("d/b")).unwrap(), b"b");
}

/// The types that docs/images.md names, and none at all.
#[test]
fn every_media_type_whatever_the_content_is() {
    let oci = ["layer.v1.tar", "layer.nondistributable.v1.tar"]
        .map(|kind| format!("application/vnd.oci.image.{kind}"));
    let oci = oci.iter().flat_map(|kind| ["", "+gzip", "+zstd"].map(|how| format!("{kind}{how}")));
    let docker = ["diff.tar", "diff.tar.gzip", "diff.tar.zstd", "foreign.diff.tar", "foreign.diff.tar.gzip"];
    let docker = docker.iter().map(|kind| format!("application/vnd.docker.image.rootfs.{kind}"));
    let mut count = 0;
    for media_type in oci.chain(docker).chain([String::new()]) {
        for blob in [zstd(&layer()), gzip(&layer()), layer()] {
            is_there(&image(&media_type, blob));
            count += 1;
        }
    }
    assert_eq!(count, 36);
    for media_type in ["application/vnd.oci.image.layer.v1.tar+xz", "application/octet-stream", "text/plain"]
    {
        World::begin().refuse(&image(media_type, layer()), &format!("unknown media type {media_type:?}"));
    }
}

/// eStargz has a member for each file, zstd:chunked a frame, and a table of contents in skippable frames.
#[test]
fn many_members_and_many_frames() {
    let bytes = layer();
    let pieces = || bytes.chunks(700);
    is_there(&image(GZIP, pieces().flat_map(gzip).collect()));
    let skippable = |content: &[u8]| {
        [&[0x5a, 0x2a, 0x4d, 0x18][..], &(content.len() as u32).to_le_bytes(), content].concat()
    };
    let frames: Vec<u8> = pieces().flat_map(|piece| [zstd(piece), skippable(b"GNUlInUx")].concat()).collect();
    is_there(&image(ZSTD, [skippable(b"begin"), frames].concat()));
}

#[test]
fn zstandard_that_is_damaged_in_itself() {
    let world = World::begin();
    let good = zstd(&layer());
    for bytes in [&good[..good.len() / 2], &[&good[..], b"garbage"].concat(), b"\x28\xb5\x2f\xfd rest"] {
        let layout = image(ZSTD, bytes.to_vec());
        world.refuse(&layout, "layer 1 of 1, sha256:");
        world.refuse(&layout, "decompress: ");
    }
}

#[test]
fn a_window_larger_than_allowed() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(24).unwrap();
    encoder.write_all(&layer()).unwrap();
    let layout = image(ZSTD, encoder.finish().unwrap());
    is_there(&layout);
    let mut world = World::begin();
    world.limits.window = 8 << 20;
    world.refuse(&layout, "decompress: ");
}

#[test]
fn zstandard_bombs_are_stopped() {
    let mut world = World::begin();
    (world.limits.ratio, world.limits.ratio_floor) = (100, 1 << 20);
    let bomb = tar(&[file("zeros", vec![0; 3 << 20])]);
    let mut layout = Layout::of(std::slice::from_ref(&bomb));
    let descriptor = layout.blob(ZSTD, zstd(&bomb));
    layout.edit_manifest(|manifest| manifest["layers"][0] = descriptor);
    world.refuse(&layout, "compressed to less than 1/100 of its size");
}

/// A descriptor that carries its blob needs no file, and is verified all the same.
#[test]
fn layers_in_their_descriptors() {
    let blob = gzip(&layer());
    let embed = |data: String| {
        let mut layout = image(GZIP, blob.clone());
        layout.blobs.remove(&layout.layer(0));
        layout.edit_manifest(|manifest| manifest["layers"][0]["data"] = json!(data));
        layout
    };
    is_there(&embed(base64(&blob)));
    let mut other = blob.clone();
    other[9] ^= 1;
    let world = World::begin();
    world.refuse(&embed(base64(&other)), "the blob is damaged: its content has digest sha256:");
    world.refuse(&embed(base64(&blob[1..])), "bytes, its descriptor says");
    world.refuse(&embed("!".to_owned()), "not base 64");
}

pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(*three.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[test]
fn foreign_layers() {
    is_there(&image(FOREIGN, gzip(&layer())));
    let mut away = image(FOREIGN, gzip(&layer()));
    away.blobs.remove(&away.layer(0));
    World::begin().refuse(&away, "the blob is missing");
    away.edit_manifest(|manifest| manifest["layers"][0]["urls"] = json!(["https://example.org/layer"]));
    World::begin().refuse(&away, "this foreign layer is to be had from https://example.org/layer");
}
