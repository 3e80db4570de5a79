//! What an image may ask for ends somewhere.

use super::layout::{CONFIG, INDEX, MANIFEST};
use super::{Item, Layout, World, dir, file, tar};
use keg::image::{self, UnpackOptions};
use serde_json::json;

fn one(items: &[Item]) -> Layout {
    Layout::of(&[tar(items)])
}

#[test]
fn bytes_of_a_layer_and_of_an_image() {
    let mut world = World::begin();
    let layers = [tar(&[file("a", [0; 40_000])]), tar(&[file("b", [0; 40_000])])];
    world.limits.layer_bytes = 42_000;
    world.refuse(&one(&[file("a", [0; 42_000])]), "more than 42000 bytes uncompressed");
    world.limits.image_bytes = 70_000;
    world.refuse(&Layout::of(&layers), "layer 2 of 2");
    world.limits.image_bytes = 90_000;
    world.accept(&layers);
}

#[test]
fn a_bomb_is_stopped_by_its_ratio() {
    let mut world = World::begin();
    (world.limits.ratio, world.limits.ratio_floor) = (100, 1 << 20);
    world.refuse(&one(&[file("zeros", vec![0; 3 << 20])]), "compressed to less than 1/100 of its size");
}

#[test]
fn holes_count_as_bytes() {
    let hole = file("x", "").pax("GNU.sparse.size", (1_u64 << 50).to_string()).pax("GNU.sparse.map", "0,0");
    World::begin().refuse(&one(&[hole]), "a sparse file of 1125899906842624 bytes");
}

#[test]
fn entries_and_depth() {
    let mut world = World::begin();
    world.limits.entries = 9;
    let items: Vec<Item> = (0..10).map(|n| file(n.to_string(), "")).collect();
    world.refuse(&one(&items), "more than 9 entries");
    world.limits.depth = 3;
    world.refuse(&one(&[file("1/2/3/4", "")]), "more than 3 parts");
    world.accept(&[tar(&[file("1/2/3", "")])]);
}

#[test]
fn extended_headers() {
    let big = file("x", "").pax("comment", vec![b'x'; 2 << 20]);
    World::begin().refuse(&one(&[big]), "extended header of");
    let long = file("././@LongLink", vec![b'x'; 2 << 20]).kind(b'L');
    World::begin().refuse(&one(&[long, file("x", "")]), "extended header of");
    let map = file("x", "1\n".repeat(1 << 20)).pax("GNU.sparse.major", "1").pax("GNU.sparse.realsize", "9");
    World::begin().refuse(&one(&[map]), "malformed sparse map");
}

/// What is remembered of directories until the end would otherwise grow with the layer.
#[test]
fn names_and_attributes_of_directories() {
    let mut world = World::begin();
    world.limits.directory_bytes = 100_000;
    let with = |n: usize| dir(format!("d{n}")).pax("SCHILY.xattr.user.x", vec![b'x'; 2_000]);
    let many = |count: usize| -> Vec<Item> { (0..count).map(with).collect() };
    world.refuse(&one(&many(60)), "names and attributes of directories take more than 100000 bytes");
    let names: Vec<Item> = (0..600).map(|n| dir(format!("{}/{n}", "d".repeat(200)))).collect();
    world.refuse(&one(&names), "names and attributes of directories");
    // Those that are gone again do not count.
    let again: Vec<Item> = (0..60).flat_map(|n| [with(n), file(format!("d{n}"), "")]).collect();
    world.accept(&[tar(&again)]);
}

/// A note names what was left out: not more of them than somebody reads.
#[test]
fn notes() {
    let items: Vec<Item> =
        (0..200).map(|n| file(format!("f{n}"), "").pax(&format!("SCHILY.xattr.trusted.{n}"), "x")).collect();
    let layout = one(&items);
    let world = World::begin();
    layout.write(&world.layout());
    let options = UnpackOptions {
        image: world.layout().display().to_string().parse().unwrap(),
        bundle: world.bundle(),
        platform: None,
        limits: world.limits.clone(),
        sync: false,
        changes: image::Changes::default(),
    };
    let (report, _) = image::unpack(&options, None, &mut |_| {}).unwrap();
    assert_eq!(report.notes.len(), 65);
    assert!(report.notes.contains(&"more was left out (136 times)".to_owned()), "{:?}", report.notes);
}

#[test]
fn documents() {
    let mut world = World::begin();
    world.limits.document_bytes = 2_000;
    let mut layout = one(&[]);
    layout.edit_config(|config| config["config"]["Env"] = json!(["A=".to_owned() + &"x".repeat(2_000)]));
    world.refuse(&layout, "image configuration");
    let mut layout = one(&[]);
    layout.index["annotations"] = json!({"x": "x".repeat(2_000)});
    world.refuse(&layout, "index.json: the document has");
    // Small, and large in memory.
    let mut layout = one(&[]);
    layout.index["manifests"] = vec![json!({}); 100_000].into();
    World::begin().refuse(&layout, "index.json: invalid document: a list of more than 65536");
}

/// CVE-2026-95839: indexes that multiply, lead in circles, or never end.
#[test]
fn indexes_within_indexes() {
    let mut layout = one(&[]);
    let mut inner = layout.index["manifests"][0].clone();
    inner["annotations"] = json!({});
    for _ in 0..6 {
        inner = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": [inner]}));
    }
    layout.index["manifests"] = json!([]);
    layout.tag("latest", inner);
    World::begin().refuse(&layout, "the image index is too deep");

    let mut layout = Layout::empty();
    let config = layout.json(CONFIG, &json!({}));
    let many: Vec<_> = (0..2_000)
        .map(|n| layout.json(MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": [], "n": n})))
        .collect();
    let index = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": many}));
    layout.tag("latest", index);
    World::begin().refuse(&layout, "the image index is too large");
}
