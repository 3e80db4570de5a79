//! Layouts in tar files, as `skopeo copy … oci-archive:` and `docker save` write them.

use std::path::Path;

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
