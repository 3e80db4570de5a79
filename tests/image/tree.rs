//! What honest layers become: every type of entry, replaced by every other, and the content of files.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::tar::{extension, old_sparse, old_sparse_of, padded, with_prefix, with_size};
use super::world::{is_root, names};
use super::{Item, Layout, World, chr, dir, fifo, file, hardlink, symlink, tar};

fn read(root: &Path, name: &str) -> String {
    std::fs::read_to_string(root.join(name)).unwrap()
}

#[test]
fn every_type_of_entry() {
    let world = World::begin();
    let root = world.accept(&[tar(&[
        dir("./d/").mode(0o750),
        file("./d/f", "content").mode(0o4711),
        file("empty", ""),
        symlink("s", "d/f"),
        hardlink("h", "d/f"),
        hardlink("d/h2", "/h"),
        hardlink("hs", "s"),
        fifo("p"),
        file("contiguous", "x").kind(b'7'),
        file("old", "x").kind(0),
        file("olddir/", "").kind(0),
    ])]);
    assert_eq!(names(&root), ["contiguous", "d", "empty", "h", "hs", "old", "olddir", "p", "s"]);
    let about = |name: &str| std::fs::symlink_metadata(root.join(name)).unwrap();
    assert_eq!(about("d").mode() & 0o7777, 0o750);
    assert_eq!(about("d/f").mode() & 0o7777, 0o4711);
    assert_eq!((about("h").ino(), about("d/h2").ino()), (about("d/f").ino(), about("d/f").ino()));
    assert_eq!(about("d/f").nlink(), 3);
    assert!(about("hs").is_symlink() && about("hs").ino() == about("s").ino());
    assert!(about("p").file_type().is_fifo() && about("olddir").is_dir());
    assert_eq!(read(&root, "s"), "content");
    assert_eq!(std::fs::metadata(&root).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(std::fs::metadata(world.bundle()).unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn devices() {
    if !is_root() {
        return;
    }
    let world = World::begin();
    let root = world.accept(&[tar(&[chr("null", 1, 3).mode(0o666), chr("loop", 7, 300).kind(b'4')])]);
    let about = |name: &str| std::fs::symlink_metadata(root.join(name)).unwrap();
    assert!(about("null").file_type().is_char_device() && about("loop").file_type().is_block_device());
    assert_eq!(about("null").rdev(), nix::sys::stat::makedev(1, 3));
    assert_eq!(about("null").mode() & 0o7777, 0o666);
    assert_eq!(about("loop").rdev(), nix::sys::stat::makedev(7, 300));
}

/// Each type over each other, in one layer and in two.
#[test]
fn whatever_comes_later_replaces() {
    let kinds = || -> Vec<Vec<Item>> {
        vec![
            vec![file("x", "new")],
            vec![dir("x"), file("x/child", "")],
            vec![symlink("x", "target")],
            vec![hardlink("x", "target")],
            vec![fifo("x")],
        ]
    };
    for lower in kinds() {
        for upper in kinds() {
            for together in [true, false] {
                let world = World::begin();
                let lower = [vec![file("target", "t")], lower.clone()].concat();
                let layers = if together {
                    vec![tar(&[&lower[..], &upper].concat())]
                } else {
                    vec![tar(&lower), tar(&upper)]
                };
                let root = world.accept(&layers);
                let about = std::fs::symlink_metadata(root.join("x")).unwrap();
                match upper[0].kind {
                    b'0' => assert_eq!(read(&root, "x"), "new"),
                    b'5' => assert_eq!(names(&root.join("x")), ["child"]),
                    b'2' => assert!(about.is_symlink()),
                    b'1' => assert_eq!((read(&root, "x").as_str(), about.nlink()), ("t", 2)),
                    _ => assert!(about.file_type().is_fifo()),
                }
                assert_eq!(read(&root, "target"), "t");
            }
        }
    }
}

#[test]
fn a_directory_over_a_directory_keeps_its_children() {
    let world = World::begin();
    let root = world.accept(&[
        tar(&[dir("d").mode(0o700), file("d/kept", "kept"), dir("d/e"), file("d/e/x", "")]),
        tar(&[dir("d").mode(0o711), file("d/new", "")]),
    ]);
    assert_eq!(names(&root.join("d")), ["e", "kept", "new"]);
    assert_eq!(std::fs::metadata(root.join("d")).unwrap().mode() & 0o7777, 0o711);
}

#[test]
fn parents_that_no_entry_names_are_made() {
    let world = World::begin();
    let root = world.accept(&[
        tar(&[symlink("l", "not/yet/there"), file("a/b/c", "1"), file("l/x", "2")]),
        tar(&[file("a/b/d/e", "3")]),
    ]);
    assert_eq!((read(&root, "a/b/c"), read(&root, "not/yet/there/x")), ("1".into(), "2".into()));
    assert_eq!(read(&root, "a/b/d/e"), "3");
    assert_eq!(std::fs::metadata(root.join("a")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn names_are_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let world = World::begin();
    let odd = b"\xff\xfe \n\t\"\\*";
    let long = "n".repeat(255);
    let deep = format!("{}{long}", "d/".repeat(100));
    let root = world.accept(&[tar(&[file(odd, "1"), file(&long, "2"), file(&deep, "3"), symlink("s", odd)])]);
    let at = |name: &[u8]| std::fs::read(root.join(std::ffi::OsStr::from_bytes(name))).unwrap();
    assert_eq!(at(odd), b"1");
    assert_eq!(at(long.as_bytes()), b"2");
    assert_eq!(at(deep.as_bytes()), b"3");
    assert_eq!(at(b"s"), b"1");
}

#[test]
fn long_names_of_gnu() {
    let name = "long/".repeat(30) + "name";
    let target = "t".repeat(200);
    let long = |kind: u8, text: &str| file("././@LongLink", format!("{text}\0")).kind(kind).bytes();
    let bytes = [
        long(b'L', &name),
        file("long", "x").bytes(),
        long(b'K', &target),
        long(b'L', &(name.clone() + "2")),
        symlink("long", "long").bytes(),
        vec![0; 1024],
    ]
    .concat();
    let world = World::begin();
    let root = world.accept(&[bytes]);
    assert_eq!(read(&root, &name), "x");
    assert_eq!(std::fs::read_link(root.join(name + "2")).unwrap().to_str(), Some(&*target));
}

/// Content of every size around the blocks and buffers that it is read in.
#[test]
fn content_of_any_size() {
    let sizes = [1, 511, 512, 513, 1024, 65_536, 262_143, 262_144, 262_145, 1_000_000];
    let content = |size: usize| -> Vec<u8> { (0..size).map(|at| (at * 7 + at / 251) as u8).collect() };
    let items: Vec<Item> = sizes.iter().map(|size| file(size.to_string(), content(*size))).collect();
    let world = World::begin();
    let root = world.accept(&[tar(&items)]);
    for size in sizes {
        assert!(std::fs::read(root.join(size.to_string())).unwrap() == content(size), "{size}");
    }
}

/// A megabyte of hole, "data", another hole; in the four ways there are to write it.
#[test]
fn sparse_files() {
    const MEGA: usize = 1 << 20;
    let length = (3 * MEGA).to_string();
    let expected = [&vec![0; MEGA][..], b"data", &vec![0; 2 * MEGA - 4]].concat();
    let record = |key: &str, value: &str| (format!("GNU.sparse.{key}"), value.as_bytes().to_vec());
    let sparse = |name: &str, content: Vec<u8>, records: &[(String, Vec<u8>)]| Item {
        pax: records.to_vec(),
        ..file(name, content)
    };
    let map = format!("1\n{MEGA}\n4\n");
    let form_1_0 = [padded(map.as_bytes()), b"data".to_vec()].concat();
    let items = [
        sparse(
            "0.0",
            b"data".to_vec(),
            &[record("size", &length), record("offset", &MEGA.to_string()), record("numbytes", "4")],
        ),
        sparse("0.1", b"data".to_vec(), &[record("size", &length), record("map", &format!("{MEGA},4"))]),
        sparse(
            "GNUSparseFile.1/1.0",
            form_1_0,
            &[record("major", "1"), record("minor", "0"), record("name", "1.0"), record("realsize", &length)],
        ),
    ];
    let bytes = [old_sparse("old", MEGA as u64, b"data", 3 * MEGA as u64), tar(&items)].concat();
    let world = World::begin();
    let root = world.accept(&[bytes]);
    assert_eq!(names(&root), ["0.0", "0.1", "1.0", "old"]);
    for name in names(&root) {
        assert!(std::fs::read(root.join(&name)).unwrap() == expected, "{name}");
        let blocks = std::fs::metadata(root.join(&name)).unwrap().blocks();
        assert!(blocks < 1024, "{name} takes {blocks} blocks");
    }
}

/// More stretches than a header has room for, and more than one block that continues it has.
#[test]
fn old_sparse_files_of_many_stretches() {
    let stretches: Vec<(u64, Vec<u8>)> =
        (0..50).map(|n| (n * 8192, vec![b'a' + (n % 26) as u8; 512])).collect();
    let bytes = [old_sparse_of("many", &stretches, 50 * 8192), tar(&[file("after", "x")])].concat();
    let world = World::begin();
    let root = world.accept(&[bytes]);
    let mut expected = vec![0; 50 * 8192];
    for (offset, data) in &stretches {
        expected[*offset as usize..][..data.len()].copy_from_slice(data);
    }
    assert!(std::fs::read(root.join("many")).unwrap() == expected);
    assert_eq!(read(&root, "after"), "x");
}

/// What ustar cannot get into its field for names begins in another.
#[test]
fn names_in_two_fields_of_ustar() {
    let (prefix, name) = ("p".repeat(99) + "/" + &"q".repeat(55), "n".repeat(100));
    let world = World::begin();
    let root = world.accept(&[[with_prefix(&file(&name, "x"), &prefix), tar(&[])].concat()]);
    assert_eq!(read(&root, &format!("{prefix}/{name}")), "x");
}

/// Only regular files have content: what stands behind another is the next header, whatever the size of the other says.
#[test]
fn sizes_of_what_is_no_file_mean_nothing() {
    let others = [dir("d"), symlink("s", "t"), hardlink("h", "f"), fifo("p")];
    let mut bytes = file("f", "content").bytes();
    for (number, other) in others.iter().enumerate() {
        bytes.extend(with_size(other.bytes(), 0, 1024));
        bytes.extend(file(number.to_string(), "x").bytes());
        bytes.extend(
            Item { name: [b"x", &other.name[..]].concat(), ..other.clone() }.pax("size", "512").bytes(),
        );
    }
    let world = World::begin();
    let root = world.accept(&[[bytes, tar(&[])].concat()]);
    assert_eq!(names(&root), ["0", "1", "2", "3", "d", "f", "h", "p", "s", "xd", "xh", "xp", "xs"]);
    assert_eq!((read(&root, "h"), read(&root, "3")), ("content".into(), "x".into()));
}

#[test]
fn comments_for_the_whole_tar_change_nothing() {
    let world = World::begin();
    let comment = extension(b'g', &[("comment".into(), b"0123".to_vec())]);
    let root = world.accept(&[[comment, tar(&[file("x", "")])].concat()]);
    assert_eq!(names(&root), ["x"]);
}

/// Readers of tar disagree about what such a header does to the entries after it.
#[test]
fn names_and_sizes_for_the_whole_tar_are_refused() {
    for (key, value) in [("path", "y"), ("linkpath", "y"), ("size", "512"), ("GNU.sparse.size", "9")] {
        let header = extension(b'g', &[(key.into(), value.into())]);
        let layout = Layout::of(&[[header, tar(&[file("x", "")])].concat()]);
        World::begin().refuse(&layout, "global extended header that names or sizes entries");
    }
}

/// umoci ends a layer without padding or end; others pad it to 10 KiB, or write something behind.
#[test]
fn how_a_tar_ends_does_not_matter() {
    let whole = file("x", "content").bytes();
    for bytes in [
        whole[..512 + 7].to_vec(),
        whole.clone(),
        [&whole[..], &[0; 512]].concat(),
        [&whole[..], &[0; 9216]].concat(),
        [&whole[..], &[0; 1024], b"whatever is behind"].concat(),
    ] {
        assert_eq!(read(&World::begin().accept(&[bytes]), "x"), "content");
    }
}
