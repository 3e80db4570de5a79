//! Whiteouts and opaque directories: what they delete, and what they must not.

use super::world::names;
use super::{Item, Layout, World, dir, file, hardlink, symlink, tar};

fn lower() -> Vec<u8> {
    tar(&[
        file("a", "lower"),
        dir("d"),
        file("d/1", "lower"),
        dir("d/e"),
        file("d/e/2", "lower"),
        symlink("l", "d"),
        symlink("dangling", "nowhere"),
    ])
}

#[test]
fn names_are_deleted_and_only_those_of_lower_layers() {
    for (upper, left) in [
        (vec![file(".wh.a", "")], vec!["d", "dangling", "l"]),
        (vec![file(".wh.d", "")], vec!["a", "dangling", "l"]),
        (vec![file(".wh.l", "")], vec!["a", "d", "dangling"]),
        (
            vec![file(".wh.dangling", ""), file(".wh.missing", ""), file("no/.wh.such", "")],
            vec!["a", "d", "l"],
        ),
        (vec![file(".wh..wh..opq", "")], vec![]),
        (vec![file("./.wh..wh..opq", ""), file("n", "")], vec!["n"]),
        // Before or behind: its own entries stay.
        (vec![file("n", ""), file(".wh..wh..opq", "")], vec!["n"]),
        (vec![file("a", "new"), file(".wh.a", "")], vec!["a", "d", "dangling", "l"]),
        (vec![file(".wh.a", ""), file("a", "new")], vec!["a", "d", "dangling", "l"]),
        (vec![hardlink("b", "a"), file(".wh.a", "")], vec!["b", "d", "dangling", "l"]),
        // A whiteout that AUFS wrote as a hardlink, and its own files.
        (vec![file(".wh..wh.aufs", ""), hardlink(".wh.a", ".wh..wh.aufs")], vec!["d", "dangling", "l"]),
        (vec![dir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", "")], vec!["a", "d", "dangling", "l"]),
    ] {
        let world = World::begin();
        let shown: Vec<_> =
            upper.iter().map(|item| String::from_utf8_lossy(&item.name).into_owned()).collect();
        assert_eq!(names(&world.accept(&[lower(), tar(&upper)])), left, "{shown:?}");
    }
}

#[test]
fn directories_are_deleted_as_far_as_they_are_lower() {
    for (upper, in_d, in_e) in [
        (vec![file("d/.wh.1", "")], vec!["e"], vec!["2"]),
        (vec![file("d/.wh..wh..opq", "")], vec![], vec![]),
        (vec![dir("d"), file("d/new", ""), file("d/.wh..wh..opq", "")], vec!["new"], vec![]),
        (vec![file("d/e/new", ""), file("d/.wh..wh..opq", "")], vec!["e"], vec!["new"]),
        (vec![file("d/e/new", ""), file(".wh.d", "")], vec!["e"], vec!["new"]),
        (vec![file("d/e/new", ""), file("d/.wh.e", "")], vec!["1", "e"], vec!["new"]),
        (vec![dir("d/e"), file("d/.wh.e", "")], vec!["1", "e"], vec![]),
        (vec![file(".wh.d", ""), file("d/e/2", "new")], vec!["e"], vec!["2"]),
        // Through a symlink.
        (vec![file("l/.wh.1", "")], vec!["e"], vec!["2"]),
        (vec![file("d/new", ""), file("l/.wh..wh..opq", "")], vec!["new"], vec![]),
        (vec![file("l/new", ""), file("d/.wh..wh..opq", "")], vec!["new"], vec![]),
        // Once, twice, in any order.
        (
            vec![file("d/.wh..wh..opq", ""), file("d/new", ""), file("d/.wh..wh..opq", "")],
            vec!["new"],
            vec![],
        ),
        (
            vec![file("d/e/.wh..wh..opq", ""), file("d/e/x", ""), file("d/.wh..wh..opq", "")],
            vec!["e"],
            vec!["x"],
        ),
    ] {
        let world = World::begin();
        let shown: Vec<_> =
            upper.iter().map(|item| String::from_utf8_lossy(&item.name).into_owned()).collect();
        let root = world.accept(&[lower(), tar(&upper)]);
        assert_eq!(names(&root.join("d")), in_d, "{shown:?}");
        if root.join("d/e").exists() {
            assert_eq!(names(&root.join("d/e")), in_e, "{shown:?}");
        }
    }
}

#[test]
fn in_the_lowest_layer_there_is_nothing_to_delete() {
    let world = World::begin();
    let root = world.accept(&[tar(&[file("a", ""), file(".wh.a", ""), file(".wh..wh..opq", "")])]);
    assert_eq!(names(&root), ["a"]);
}

#[test]
fn a_layer_may_delete_what_the_one_below_made_of_its_own() {
    let world = World::begin();
    let root = world.accept(&[
        lower(),
        tar(&[file("n", ""), file("d/n", "")]),
        tar(&[file(".wh.n", ""), file("d/.wh.n", "")]),
    ]);
    assert_eq!(names(&root), ["a", "d", "dangling", "l"]);
    assert_eq!(names(&root.join("d")), ["1", "e"]);
}

#[test]
fn malformed_whiteouts_are_refused() {
    for item in [
        file(".wh.", ""),
        file("d/.wh..", ""),
        file(".wh...", ""),
        file(".wh..wh.x", ""),
        file(".wh.d/x", ""),
        dir(".wh.a"),
        symlink(".wh.a", "x"),
        file("d/.wh..wh..opq/x", ""),
    ] {
        World::begin().refuse(&Layout::of(&[lower(), tar(&[item])]), "malformed whiteout");
    }
}

/// Whiteouts never leave the root, whatever lower layers have put on their way.
#[test]
fn symlinks_do_not_lead_a_whiteout_out() {
    for name in ["", "etc", "etc/passwd"] {
        for target in [World::begin().decoy_path(name), World::begin().relative_decoy(name)] {
            let world = World::begin();
            let lower = tar(&[symlink("x", &target), dir("d"), symlink("d/y", &target)]);
            let upper = tar(&[
                file("x/.wh.passwd", ""),
                file("x/.wh..wh..opq", ""),
                file("x/etc/.wh..wh..opq", ""),
                file("d/.wh.y", ""),
                file("d/.wh..wh..opq", ""),
                file(".wh.x", ""),
            ]);
            assert!(!names(&world.accept(&[lower, upper])).contains(&"x".to_owned()));
        }
    }
    let world = World::begin();
    let target = world.decoy_path("");
    let lower = tar(&[symlink("x", &target), dir("d"), symlink("d/y", &target)]);
    let root = world.accept(&[lower, tar(&[file(".wh..wh..opq", "")])]);
    assert!(names(&root).is_empty());
}

/// CVE-2026-95838: each of many whiteouts searching a big directory again. As many entries without a
/// whiteout among them are the measure.
#[test]
fn many_opaque_whiteouts_cost_no_more_than_their_entries() {
    let many = 800;
    let names_of = |kind: &str| -> Vec<String> { (0..many).map(|n| format!("a/b/c/{kind}{n}")).collect() };
    let files = |kinds: &[&str]| -> Vec<Item> {
        kinds.iter().flat_map(|kind| names_of(kind)).map(|name| file(name, "")).collect()
    };
    let mut whiteouts = files(&["own"]);
    for name in names_of("more") {
        let hide = ["a/b/c/.wh..wh..opq", "a/b/.wh.c", "a/.wh..wh..opq"];
        whiteouts.extend(hide.map(|name| file(name, "")));
        whiteouts.push(file(name, ""));
    }
    let unpacked = |upper: &[Item]| {
        let world = World::begin();
        let before = cpu_time();
        let left = names(&world.accept(&[tar(&files(&["lower"])), tar(upper)]).join("a/b/c")).len();
        (left, cpu_time() - before)
    };
    let (all, plain) = unpacked(&files(&["own", "more", "1", "2", "3"]));
    let (left, searched) = unpacked(&whiteouts);
    assert_eq!((all, left), (6 * many, 2 * many));
    assert!(searched < 3.0 * plain, "{searched} s with whiteouts, {plain} s without");
}

/// What this thread has used, in seconds.
fn cpu_time() -> f64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_THREAD).unwrap();
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
        .sum()
}
