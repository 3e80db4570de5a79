//! Layouts in tar files, as `skopeo copy … oci-archive:` and `docker save` write them.

use std::os::unix::fs::symlink as link;
use std::path::Path;

use sha2::Digest as _;

use super::tar::old_sparse;
use super::world::names;
use super::{Item, Layout, World, dir, file, symlink, tar};

/// The files of a layout as entries of an archive.
pub fn entries(layout: &Layout) -> Vec<Item> {
    let mut entries = vec![dir("./blobs/"), dir("blobs/sha256/")];
    for (digest, bytes) in &layout.blobs {
        entries.push(file(format!("blobs/{}", digest.replace(':', "/")), bytes));
    }
    entries.push(file("./index.json", layout.index.to_string()));
    entries.push(file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#));
    entries
}

fn unpack(world: &World, archive: &[u8]) -> Result<std::path::PathBuf, String> {
    std::fs::write(world.layout(), archive).unwrap();
    world.unpack_written(":latest")
}

fn layout() -> Layout {
    Layout::of(&[tar(&[file("f", vec![b'f'; 3000])])])
}

#[test]
fn an_archive_is_read_in_place() {
    let world = World::begin();
    let root = unpack(&world, &tar(&entries(&layout()))).unwrap();
    assert_eq!(names(&root), ["f"]);
    assert_eq!(std::fs::read(root.join("f")).unwrap(), vec![b'f'; 3000]);
}

#[test]
fn sizes_and_names_may_stand_in_extended_headers() {
    let world = World::begin();
    let entries: Vec<Item> = entries(&layout())
        .into_iter()
        .map(|item| match item.kind {
            b'0' => {
                let (name, size) = (item.name.clone(), item.content.len().to_string());
                Item { name: b"short".to_vec(), ..item }.pax("path", name).pax("size", size)
            }
            _ => item,
        })
        .collect();
    assert_eq!(names(&unpack(&world, &tar(&entries)).unwrap()), ["f"]);
}

#[test]
fn damaged_archives() {
    let whole = tar(&entries(&layout()));
    let refused = |archive: &[u8], why: &str| {
        let error = unpack(&World::begin(), archive).unwrap_err();
        assert!(error.contains(why), "{error:?} does not say {why:?}");
    };
    refused(&whole[..1024 + 512 + 10], "the archive is truncated");
    refused(&[b"x", &whole[1..]].concat(), "archive header at byte 0: bad header checksum");
    refused(&super::layout::gzip(&whole), "the archive is compressed");
    refused(b"", "not an OCI image layout: no oci-layout in it");
    let twice = [entries(&layout()), entries(&layout())].concat();
    refused(&tar(&twice), "twice");
    let mut damaged = layout();
    let layer = damaged.layer(0);
    damaged.blobs.get_mut(&layer).unwrap()[20] ^= 1;
    refused(&tar(&entries(&damaged)), "the blob is damaged");
    // A link is no blob, wherever it leads.
    let mut linked = entries(&layout());
    let blob = format!("blobs/{}", layer.replace(':', "/"));
    linked.retain(|item| item.name != blob.as_bytes());
    linked.push(symlink(&blob, "/etc/passwd"));
    refused(&tar(&linked), "the blob is missing");
}

#[test]
fn what_is_neither_directory_nor_archive() {
    let world = World::begin();
    nix::unistd::mkfifo(&world.layout(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(world.unpack_written("").unwrap_err().contains("neither a directory nor an archive"));
    assert!(!Path::new(&world.bundle()).exists());
}

/// An image whose only layer has a digest that is longer than a name in a header of ustar.
fn with_sha512() -> Layout {
    let mut layout = layout();
    let bytes = layout.blobs.remove(&layout.layer(0)).unwrap();
    let hex: String = sha2::Sha512::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = format!("sha512:{hex}");
    layout.edit_manifest(|manifest| manifest["layers"][0]["digest"] = digest.clone().into());
    layout.blobs.insert(digest, bytes);
    layout
}

/// What GNU tar writes before an entry whose name, or whose link's target, is long.
fn long(kind: u8, text: &[u8]) -> Item {
    file("././@LongLink", [text, b"\0"].concat()).kind(kind)
}

/// The entries of an archive, those of long names as GNU tar has them, or with PAX records and something between those and the entry.
fn with_long_names(mut before: impl FnMut(&[u8]) -> Vec<Item>) -> Vec<u8> {
    let mut items = Vec::new();
    for entry in entries(&with_sha512()) {
        if entry.name.len() > 100 {
            items.extend(before(&entry.name));
            items.push(Item { name: entry.name[..100].to_vec(), ..entry });
        } else {
            items.push(entry);
        }
    }
    tar(&items)
}

#[test]
fn names_may_be_long() {
    let global = || file("pax_global_header", b"17 comment=hello\n".as_slice()).kind(b'g');
    let records = |name: &[u8]| {
        let record = [b"path=".as_slice(), name, b"\n"].concat();
        file("x", [format!("{} ", record.len() + 4).as_bytes(), &record].concat()).kind(b'x')
    };
    let unpacks = |archive: &[u8]| assert_eq!(names(&unpack(&World::begin(), archive).unwrap()), ["f"]);
    unpacks(&with_long_names(|name| vec![long(b'L', name)]));
    unpacks(&with_long_names(|name| vec![long(b'K', b"no link"), long(b'L', name)]));
    unpacks(&with_long_names(|name| vec![records(name)]));
    unpacks(&with_long_names(|name| vec![records(name), global()]));
    unpacks(&with_long_names(|name| vec![global(), long(b'L', name), global(), records(name)]));

    let refused = |archive: &[u8], why: &str| {
        let error = unpack(&World::begin(), archive).unwrap_err();
        assert!(error.contains(why), "{error:?} does not say {why:?}");
    };
    let short = |name: &[u8]| name[..100].to_vec();
    refused(&with_long_names(|name| vec![long(b'L', &short(name))]), "the blob is missing");
    let why = "two headers give the entry different names";
    refused(&with_long_names(|name| vec![long(b'L', name), records(&short(name))]), why);
    let why = "extended header without an entry of its own";
    refused(&with_long_names(|name| vec![long(b'L', name), long(b'L', name)]), why);
    refused(&with_long_names(|name| vec![records(name), records(name)]), why);
    refused(
        &[entries(&layout()), vec![long(b'L', b"x")]]
            .concat()
            .iter()
            .flat_map(Item::bytes)
            .collect::<Vec<_>>(),
        why,
    );
    let why = "global extended header that names or sizes entries";
    refused(&with_long_names(|name| vec![Item { kind: b'g', ..records(name) }]), why);
    let why = "extended header of 70001 bytes; 65536 are allowed";
    refused(&with_long_names(|_| vec![long(b'L', &[b'x'; 70_000])]), why);
}

/// Only regular files have content, contiguous ones are such, and what is no part of a layout is none.
#[test]
fn what_else_an_archive_holds_does_not_matter() {
    let world = World::begin();
    let mut items = vec![
        Item { content: Vec::new(), ..dir("blobs") }.pax("size", "4096"),
        file("README", "").kind(b'V'),
        file("README", vec![b'x'; 700]).kind(b'D'),
        file("README", "one"),
        file("README", "two"),
        file(vec![b'x'; 5_000], "long"),
    ];
    items.extend(entries(&layout()).into_iter().map(|item| match item.kind {
        b'0' => item.kind(b'7'),
        _ => item,
    }));
    items.push(file("manifest.json", "[]"));
    assert_eq!(names(&unpack(&world, &tar(&items)).unwrap()), ["f"]);
}

/// A file with holes stands in pieces; one that is read in place does not.
#[test]
fn sparse_files_are_refused_as_such() {
    let why = "the archive has a file in the sparse format";
    let mut archive: Vec<u8> = entries(&layout()).iter().flat_map(Item::bytes).collect();
    archive.extend(old_sparse("blobs/sha256/x", 512, b"x", 1024));
    let error = unpack(&World::begin(), &archive).unwrap_err();
    assert!(error.contains(why), "{error}");
    let mut items = entries(&layout());
    items.push(file("GNUSparseFile.0/x", "").pax("GNU.sparse.size", "9").pax("GNU.sparse.map", "0,0"));
    let error = unpack(&World::begin(), &tar(&items)).unwrap_err();
    assert!(error.contains(why), "{error}");
}

#[test]
fn dockers_own_archives_are_named() {
    let items = [file("manifest.json", "[]"), file("repositories", "{}"), file("0/layer.tar", "")];
    let error = unpack(&World::begin(), &tar(&items)).unwrap_err();
    assert!(error.contains("not an OCI image layout but an archive of Docker's"), "{error}");
}

/// In a directory nothing is opened through a symlink: neither the two documents, nor a blob, nor what is above it.
#[test]
fn no_symlink_leads_to_a_part_of_a_layout() {
    let layout = layout();
    let blob = format!("blobs/{}", layout.layer(0).replace(':', "/"));
    for (part, why) in [
        ("oci-layout", "oci-layout: openat2("),
        ("index.json", "index.json: openat2("),
        ("blobs", ": openat2("),
        ("blobs/sha256", ": openat2("),
        (&blob, "layer 1 of 1, sha256:"),
    ] {
        for target in ["absolute", "relative"] {
            let world = World::begin();
            layout.write(&world.layout());
            let (here, elsewhere) = (world.layout().join(part), world.layout().join("elsewhere"));
            std::fs::rename(&here, &elsewhere).unwrap();
            match target {
                "absolute" => link(&elsewhere, &here).unwrap(),
                _ => link("../".repeat(part.matches('/').count()) + "elsewhere", &here).unwrap(),
            }
            assert!(here.exists(), "the link leads nowhere");
            let error = world.unpack_written(":latest").unwrap_err();
            assert!(
                error.contains(why) && error.ends_with("too many levels of symbolic links"),
                "{part}, {target}: {error}"
            );
        }
    }
    // The layout itself may be named through one: its path is the caller's.
    let world = World::begin();
    let real = world.decoy().parent().unwrap().join("real");
    layout.write(&real);
    link(&real, world.layout()).unwrap();
    assert_eq!(names(&world.unpack_written(":latest").unwrap()), ["f"]);
}
