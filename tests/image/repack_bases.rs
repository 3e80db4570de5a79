//! Whatever kind of layout and image a bundle was made of, it can be made an image again.

use std::fs;

use keg::image::{LayerCompression, RepackOptions};
use serde_json::json;

use super::archives::entries;
use super::compressed::base64;
use super::layout::{config, gzip};
use super::repack::{Shop, layout, repack, tree};
use super::{Layout, dir, file, tar};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

fn dockers() -> Layout {
    let layers = [tar(&[dir("d"), file("d/one", "one")]), tar(&[file("two", "two")])];
    let mut layout = Layout::empty();
    let mut about = config(&layers);
    about["docker_version"] = json!("24.0");
    let config = layout.json(CONFIG, &about);
    let layers: Vec<_> = layers.iter().map(|layer| layout.blob(LAYER, gzip(layer))).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
    let manifest = layout.json(MANIFEST, &manifest);
    layout.tag("latest", manifest);
    layout
}

#[test]
fn an_image_of_dockers_media_types_stays_one() {
    let shop = Shop::with(&dockers());
    let root = shop.unpack("layout", "bundle");
    fs::write(root.join("d/new"), "new").unwrap();
    let zstd = RepackOptions { compression: LayerCompression::Zstd, ..shop.options("bundle", "v2") };
    let index = || fs::read(shop.path("layout/index.json")).unwrap();
    let before = index();
    let error = repack(&zstd).unwrap_err();
    assert_eq!(error, "an image of Docker's media types has no layers of zstd: compress with gzip");
    assert_eq!(index(), before);

    let made = repack(&shop.options("bundle", "v2")).unwrap();
    let manifest = shop.manifest("layout", &made);
    assert_eq!(
        (&manifest["mediaType"], &manifest["config"]["mediaType"]),
        (&json!(MANIFEST), &json!(CONFIG))
    );
    let layers: Vec<_> =
        manifest["layers"].as_array().unwrap().iter().map(|layer| &layer["mediaType"]).collect();
    assert_eq!(layers, [LAYER; 3]);
    let index: serde_json::Value = serde_json::from_slice(&index()).unwrap();
    assert_eq!(index["manifests"][1]["mediaType"], MANIFEST);
    // What keg does not know stays.
    assert_eq!(shop.config("layout", &made)["docker_version"], "24.0");
    assert_eq!(tree(&shop.unpack("layout:v2", "again")), tree(&root));
    assert_eq!(repack(&shop.options("bundle", "v3")).unwrap().layer, None);
}

/// The archive is read, and another layout written.
#[test]
fn a_bundle_of_an_archive() {
    let shop = Shop::with(&layout());
    fs::write(shop.path("archive.tar"), tar(&entries(&layout()))).unwrap();
    fs::remove_dir_all(shop.path("layout")).unwrap();
    let root = shop.unpack("archive.tar:latest", "bundle");
    fs::write(root.join("new"), "new").unwrap();
    fs::remove_file(root.join("gone")).unwrap();
    let archive = RepackOptions { layout: shop.path("archive.tar"), ..shop.options("bundle", "v2") };
    assert!(repack(&archive).unwrap_err().contains("an archive cannot be changed, only a directory"));
    let made = repack(&shop.options("bundle", "v2")).unwrap();
    assert_eq!(shop.listed(&made), [".wh.gone", "./", "new"]);
    assert_eq!(tree(&shop.unpack("layout:v2", "again")), tree(&root));
}

/// Manifest, configuration and layers stand in their descriptors and nowhere else.
#[test]
fn a_bundle_of_an_image_that_is_all_in_its_index() {
    let mut layout = layout();
    let mut blobs = std::mem::take(&mut layout.blobs);
    let embed = |descriptor: &mut serde_json::Value, blobs: &mut std::collections::BTreeMap<_, Vec<u8>>| {
        let blob = blobs.remove(descriptor["digest"].as_str().unwrap()).unwrap();
        descriptor["data"] = json!(base64(&blob));
        blob
    };
    let mut entry = layout.index["manifests"][0].take();
    let manifest = blobs.remove(entry["digest"].as_str().unwrap()).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    embed(&mut manifest["config"], &mut blobs);
    manifest["layers"].as_array_mut().unwrap().iter_mut().for_each(|layer| drop(embed(layer, &mut blobs)));
    let new = layout.json("", &manifest);
    (entry["digest"], entry["size"]) = (new["digest"].clone(), new["size"].clone());
    let mut own = std::mem::take(&mut layout.blobs);
    embed(&mut entry, &mut own);
    layout.index["manifests"][0] = entry;
    assert!(own.is_empty() && blobs.is_empty());

    let shop = Shop::with(&layout);
    let root = shop.unpack("layout", "bundle");
    // Nothing has changed: the same image under another name, with blobs now.
    let same = repack(&shop.options("bundle", "same")).unwrap();
    assert_eq!(same.layer, None);
    // The root has the time at which it was made.
    assert_eq!(tree(&shop.unpack("layout:same", "again"))[1..], tree(&root)[1..]);
    let root = shop.unpack("layout:latest", "other");
    fs::write(root.join("new"), "new").unwrap();
    let made = repack(&shop.options("other", "v2")).unwrap();
    assert_eq!(shop.listed(&made), ["./", "new"]);
    assert_eq!(shop.manifest("layout", &made)["config"].get("data"), None, "it is another configuration");
    assert_eq!(tree(&shop.unpack("layout:v2", "once-more")), tree(&root));
}
