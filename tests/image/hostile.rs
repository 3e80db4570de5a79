//! Layers that try to reach out of the root file system, or to confuse whoever unpacks them. Each
//! is refused or stays inside; the decoy tree outside never changes.

use super::tar::{extension, padded, with_size};
use super::world::names;
use super::{Item, Layout, World, chr, dir, fifo, file, hardlink, symlink, tar};

fn refuse(world: &World, items: &[Item], why: &str) {
    world.refuse(&Layout::of(&[tar(items)]), why);
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in ["..", "../x", "a/../../x", "a/..", "/..", "./../decoy/target", "a/b/.."] {
        for kind in [b'0', b'1', b'2', b'5', b'6', b'7'] {
            let item = Item { link: b"x".to_vec(), ..file(name, "") }.kind(kind);
            refuse(&World::begin(), &[file("x", ""), item], "the name contains \"..\"");
        }
    }
}

#[test]
fn names_that_are_none_are_refused() {
    let world = World::begin();
    refuse(&world, &[file("", "x")], "the name is empty");
    refuse(&world, &[file("a\0b", "x")], "the name contains a zero byte");
    refuse(&world, &[file([b'x'; 256], "x")], "longer than");
    refuse(&world, &[file("x/".repeat(2500) + "y", "x")], "longer than 4095 bytes");
    refuse(&world, &[file("d/".repeat(300) + "y", "x")], "more than 256 parts");
    refuse(&world, &[symlink("a", "")], "symlink's target");
    refuse(&world, &[symlink("a", "b\0c")], "symlink's target");
    refuse(&world, &[file("a/", "x")], "ends in a slash");
}

/// CVE-2021-29136: a root that is a symlink.
#[test]
fn the_root_is_a_directory() {
    let world = World::begin();
    for name in [".", "/", "./", "//", "./."] {
        for item in [
            symlink(name, world.decoy_path("")),
            hardlink(name, "x"),
            fifo(name),
            chr(name, 1, 3),
            file(name.trim_end_matches('/').to_owned() + if name.ends_with('/') { "/." } else { "" }, "x"),
        ] {
            refuse(&world, &[file("x", ""), item], "the root of the image must be a directory");
        }
    }
    let world = World::begin();
    assert_eq!(names(&world.accept(&[tar(&[dir("."), dir("/"), file("x", "")])])), ["x"]);
}

/// A symlink on the way leads inside the root, wherever it points.
#[test]
fn symlinked_parents_stay_inside() {
    for target in ["absolute", "relative", "dots"] {
        let world = World::begin();
        let to = match target {
            "absolute" => world.decoy_path(""),
            "relative" => world.relative_decoy(""),
            _ => b"../../../../../../../..".to_vec(),
        };
        let root = world.accept(&[
            tar(&[symlink("l", &to), file("l/etc/passwd", "evil"), file("l/new", "evil"), dir("l/etc")]),
            tar(&[file("l/etc/deep/file", "evil"), symlink("l/etc/s", "x"), hardlink("l/h", "l/new")]),
            tar(&[file("l/.wh.new", ""), file("l/etc/deep/.wh..wh..opq", "")]),
        ]);
        let inside = if target == "dots" {
            root.clone()
        } else {
            let to = String::from_utf8(to).unwrap();
            let parts = to.split('/').filter(|part| !matches!(*part, "" | ".."));
            parts.fold(root.clone(), |path, part| path.join(part))
        };
        assert_eq!(std::fs::read_to_string(inside.join("etc/passwd")).unwrap(), "evil");
        assert_eq!(std::fs::read_to_string(inside.join("h")).unwrap(), "evil");
        assert!(!inside.join("new").exists() && names(&inside.join("etc/deep")).is_empty());
    }
}

/// `..` is that of the directory a symlink leads to, not of the name before it.
#[test]
fn dots_behind_symlinks_are_those_of_where_they_lead() {
    let world = World::begin();
    let root = world.accept(&[
        tar(&[dir("a/b"), dir("c/d"), symlink("a/b/l", "../../c/d"), file("a/b/l/x", "1")]),
        tar(&[
            symlink("up", "a/b/l/.."),
            file("up/y", "2"),
            symlink("s", "/a/b/l/../../a/./b/.."),
            file("s/z", "3"),
            hardlink("s/h", "up/y"),
        ]),
        tar(&[file("up/d/.wh.x", "")]),
    ]);
    assert_eq!(names(&root), ["a", "c", "s", "up"]);
    assert_eq!(
        (names(&root.join("a")), names(&root.join("a/b"))),
        (vec!["b".into(), "h".into(), "z".into()], vec!["l".to_string()])
    );
    assert_eq!(names(&root.join("c")), ["d", "y"]);
    assert!(names(&root.join("c/d")).is_empty());
    assert_eq!(std::fs::read_to_string(root.join("a/h")).unwrap(), "2");
}

#[test]
fn the_last_name_is_never_followed() {
    let world = World::begin();
    let links = [
        symlink("a", world.decoy_path("target")),
        symlink("b", world.decoy_path("etc")),
        symlink("c", world.decoy_path("etc/passwd")),
        symlink("d", world.decoy_path("target")),
        symlink("e", world.decoy_path("etc")),
    ];
    let over = [file("a", "evil"), dir("b").mode(0o777), fifo("c"), symlink("d", "x"), hardlink("f", "e")];
    let root = world.accept(&[tar(&links), tar(&over)]);
    assert_eq!(std::fs::read_to_string(root.join("a")).unwrap(), "evil");
    assert!(std::fs::symlink_metadata(root.join("b")).unwrap().is_dir());
    assert_eq!(std::fs::read_link(root.join("d")).unwrap().to_str(), Some("x"));
    assert_eq!(std::fs::read_link(root.join("f")).unwrap(), world.decoy().join("etc"));
}

#[test]
fn hardlinks_to_what_is_outside_are_refused() {
    let world = World::begin();
    refuse(&world, &[hardlink("h", world.decoy_path("target"))], "no such file or directory");
    refuse(&world, &[hardlink("h", world.relative_decoy("target"))], "the name contains \"..\"");
    refuse(
        &world,
        &[symlink("l", world.decoy_path("")), hardlink("h", "l/target")],
        "no such file or directory",
    );
    refuse(&world, &[hardlink("h", "missing")], "hardlink target \"missing\": no such file or directory");
    refuse(&world, &[dir("d"), hardlink("h", "d")], "a hardlink to a directory");
    refuse(&world, &[hardlink("h", ".")], "a hardlink to a directory");
    refuse(&world, &[hardlink("h", "")], "the name is empty");
    // The target goes with the directory that the link replaces.
    refuse(&world, &[file("d/x", ""), hardlink("d", "d/x")], "no such file or directory");
}

#[test]
fn parents_that_are_no_directories_are_refused() {
    let world = World::begin();
    refuse(&world, &[file("f", ""), file("f/x", "")], "\"f\" is no directory");
    refuse(&world, &[fifo("f"), file("f/x/y", "")], "\"f\" is no directory");
    refuse(&world, &[symlink("f", "g"), file("g", ""), file("f/x", "")], "\"g\" is no directory");
    refuse(&world, &[symlink("a", "b"), symlink("b", "a"), file("a/x", "")], "too many symlinks");
    refuse(&world, &[symlink("a", "a/a"), file("a/x", "")], "too many symlinks");
}

/// Symlinks can make a tree deeper than any name is long.
#[test]
fn a_tree_that_grows_through_symlinks_is_stopped() {
    let mut items = vec![dir("d")];
    for step in 0..40 {
        let from = if step == 0 { "d".to_owned() } else { format!("s{}", step - 1) };
        items.push(file(format!("{from}/{}x", "d/".repeat(20)), ""));
        items.push(symlink(format!("s{step}"), format!("{from}/{}", "d/".repeat(20))));
    }
    refuse(&World::begin(), &items, "more than 256 parts");
}

#[test]
fn overlay_whiteouts_are_refused() {
    refuse(&World::begin(), &[chr("x", 0, 0)], "character device 0:0");
}

#[test]
fn numbers_out_of_range_are_refused() {
    let world = World::begin();
    for (key, value, why) in [
        ("uid", "4294967295", "owner or group 4294967295 is out of range"),
        ("gid", "4294967296", "owner or group 4294967296 is out of range"),
        ("uid", "-1", "the \"uid\" of the extended header is no number"),
        ("size", "-1", "the \"size\" of the extended header is no number"),
        ("size", "18446744073709551615", "truncated"),
        ("mtime", "x", "the \"mtime\" of the extended header is no number"),
    ] {
        refuse(&world, &[file("x", "").pax(key, value)], why);
    }
    refuse(&world, &[chr("x", 4096, 0)], "device number 4096:0 is out of range");
}

#[test]
fn malformed_streams_are_refused() {
    let world = World::begin();
    let good = file("a", "content").bytes();
    let end = [0; 1024];
    let changed = |at: usize, byte: u8| {
        let mut bytes = [&good[..], &end].concat();
        bytes[at] = byte;
        bytes
    };
    let pax = |value: &str| extension(b'x', &[("path".into(), value.into())]);
    let long = |value: &str| file("././@LongLink", value).kind(b'L').bytes();
    for (bytes, why) in [
        (changed(0, b'b'), "tar header at byte 0: bad header checksum"),
        (changed(150, b'x'), "tar header at byte 0: bad header checksum"),
        (good[..515].to_vec(), "truncated: it ends inside the content of an entry"),
        (good[..300].to_vec(), "truncated: it ends inside a header"),
        ([&good[..], &[0; 512], &good, &end].concat(), "a lone block of zeros"),
        ([pax("x"), end.to_vec()].concat(), "extended header without an entry"),
        (pax("x"), "extended header without an entry"),
        ([pax("x"), pax("y"), good.clone()].concat(), "extended header without an entry"),
        ([pax("x"), long("y"), good.clone()].concat(), "two headers give the entry different names"),
        ([file("p", "garbage").kind(b'x').bytes(), good.clone()].concat(), "malformed extended header"),
        ([file("p", "7 path=x\n").kind(b'g').bytes(), good.clone()].concat(), "malformed extended header"),
        (tar(&[file("a", "").kind(b'D')]), "unknown entry type 'D'"),
        (tar(&[file("a", "").kind(b'M')]), "unknown entry type 'M'"),
        (tar(&[file("a", "").kind(b'\n')]), "unknown entry type '\\n'"),
        (padded(b"this is no tar at all"), "bad header checksum"),
    ] {
        world.refuse(&Layout::of(&[bytes]), why);
    }
    refuse(&world, &[file("x", "").pax("GNU.sparse.map", "1,2")], "malformed sparse map");
    let old = file("x", "abc").kind(b'S');
    refuse(&world, &[old], "malformed sparse map");
}

/// The size of the extended header decides where the next header begins, whatever the header says.
#[test]
fn the_size_of_the_extended_header_counts() {
    let hidden = tar(&[file("hidden", "smuggled")]);
    let outer = file("outer", &hidden).pax("size", hidden.len().to_string()).bytes();
    let outer = with_size(outer, hidden.len(), 0);
    let world = World::begin();
    let root = world.accept(&[[outer, tar(&[file("after", "")])].concat()]);
    assert_eq!(names(&root), ["after", "outer"]);
    assert_eq!(std::fs::read(root.join("outer")).unwrap(), hidden);
}
