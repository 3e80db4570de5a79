//! What an image may ask for ends somewhere.

use super::layout::{CONFIG, INDEX, MANIFEST};
use super::{Item, Layout, World, dir, file, tar};
use keg::image::Limits;
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

/// An empty file of so many bytes.
fn hole(name: &str, bytes: u64) -> Item {
    file(name, "").pax("GNU.sparse.size", bytes.to_string()).pax("GNU.sparse.map", "0,0")
}

#[test]
fn holes_count_as_bytes() {
    let why = "bytes uncompressed, with its holes";
    World::begin().refuse(&one(&[hole("x", 1 << 50)]), why);
    // Each may be there, but not all of them; nor one beside what is no hole.
    let mut world = World::begin();
    (world.limits.layer_bytes, world.limits.image_bytes) = (100_000, 150_000);
    let two = [hole("a", 40_000), hole("b", 40_000)];
    world.accept(&[tar(&two)]);
    world.clear();
    world.refuse(&one(&[&two[..], &[hole("c", 40_000)]].concat()), "the layer has more than 100000 bytes");
    world.refuse(&one(&[&two[..], &[file("c", [0; 40_000])]].concat()), why);
    world.refuse(&one(&[hole("a", u64::MAX / 2), hole("b", u64::MAX / 2), hole("c", u64::MAX / 2)]), why);
    // The image's layers together.
    world.refuse(&Layout::of(&[tar(&two), tar(&[hole("c", 70_000)])]), "layer 2 of 2");
    world.accept(&[tar(&two), tar(&[hole("c", 40_000)])]);
}

/// The flag's row in the document and its line of `--help` say what holds when it is not given; these are the image page's own figures.
#[test]
fn defaults_are_those_of_the_document() {
    let usual = Limits::default();
    let expected = [
        ("--max-layer-size", usual.layer_bytes, 64 << 30),
        ("--max-image-size", usual.image_bytes, 128 << 30),
        ("--max-entries", usual.entries, 3_500_000),
        ("--max-depth", usual.depth as u64, 256),
        ("--max-ratio", usual.ratio, 4_000),
        ("--max-window", usual.window, 128 << 20),
        ("--max-header-size", usual.header_bytes, 1 << 20),
        ("--max-directory-memory", usual.directory_bytes, 40 << 20),
        ("--max-document-size", usual.document_bytes, 4 << 20),
        ("--max-index-depth", usual.index_depth as u64, 4),
    ];
    let number = |text: &str| -> u64 {
        let unit = text.trim_start_matches(|char: char| char.is_ascii_digit());
        let shift = ["", "k", "M", "G"].iter().position(|known| *known == unit).unwrap() * 10;
        text[..text.len() - unit.len()].parse::<u64>().unwrap() << shift
    };
    let document = include_str!("../../docs/images.md");
    let rows: Vec<(&str, u64)> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `--max-")?.split_once("` | "))
        .map(|(flag, rest)| (flag, number(rest.split(" | ").next().unwrap())))
        .collect();
    let documented: Vec<_> = expected.iter().map(|(flag, ..)| flag.trim_start_matches("--max-")).collect();
    assert_eq!(rows.iter().map(|(flag, _)| *flag).collect::<Vec<_>>(), documented);
    let help = |command: &str| {
        let keg = std::process::Command::new(env!("CARGO_BIN_EXE_keg")).args([command, "--help"]).output();
        String::from_utf8(keg.unwrap().stdout).unwrap()
    };
    let of_documents = ["--max-document-size", "--max-index-depth"];
    for command in ["unpack", "repack", "inspect", "run", "create"] {
        let help = help(command);
        for ((flag, is, wanted), (_, row)) in expected.iter().zip(&rows) {
            assert_eq!((is, row), (wanted, wanted), "{flag}");
            let words: Vec<_> = help.split_whitespace().skip_while(|word| word != flag).collect();
            if command == "inspect" && !of_documents.contains(flag) {
                assert!(words.is_empty(), "{command} {flag}");
                continue;
            }
            let default = words.iter().skip_while(|word| **word != "[default:").nth(1);
            let default = default.unwrap_or_else(|| panic!("{command} {flag}: {help}"));
            assert_eq!(number(default.trim_end_matches(']')), *wanted, "{command} {flag}");
        }
    }
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

/// Directories that no entry names are remembered like those that one does, where whiteouts may come.
#[test]
fn names_that_a_layer_makes() {
    let mut world = World::begin();
    world.limits.entries = 20;
    let deep = |n: usize| [file(format!("d{n}/1/2/3/4/x"), ""), file(format!("d{n}"), "")];
    let items: Vec<Item> = (0..3).flat_map(deep).collect();
    world.refuse(&Layout::of(&[tar(&[]), tar(&items)]), "the layer makes more than 20 names");
    world.limits.entries = 30;
    world.accept(&[tar(&[]), tar(&items)]);
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
    let notes = World::begin().notes(&[tar(&items)]);
    assert_eq!(notes.len(), 65);
    assert!(notes.contains(&"more was left out (136 times)".to_owned()), "{notes:?}");
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
