//! Owners, times and extended attributes, set so that one does not undo another.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use keg::sys::xattr;

use super::world::is_root;
use super::{Item, World, chr, dir, fifo, file, hardlink, symlink, tar};

/// `cap_net_raw+ep`, as the kernel stores it (revision 2).
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn get(path: &Path, name: &str) -> Option<Vec<u8>> {
    xattr::get(std::fs::File::open(path).unwrap(), name.as_bytes()).unwrap()
}

#[test]
fn times_have_nanoseconds_and_directories_keep_theirs() {
    let at = |item: Item, time: &str| item.pax("mtime", time);
    let world = World::begin();
    let root = world.accept(&[
        tar(&[
            at(dir("."), "7.5"),
            at(dir("d"), "1.000000001"),
            at(file("d/f", "x"), "1234567890.123456789"),
            at(symlink("d/s", "f"), "-1.5"),
            at(fifo("d/p"), "3"),
            at(dir("d/e"), "99.9"),
            file("d/e/x", ""),
        ]),
        tar(&[file("d/e/late", ""), hardlink("d/h", "d/f"), file("d/.wh.p", "")]),
    ]);
    let time = |name: &str| {
        let about = std::fs::symlink_metadata(root.join(name)).unwrap();
        (about.mtime(), about.mtime_nsec())
    };
    assert_eq!(time("d/f"), (1_234_567_890, 123_456_789));
    assert_eq!(time("d/s"), (-2, 500_000_000));
    assert_eq!(time("d/e"), (99, 900_000_000));
    assert_eq!(time("d"), (1, 1));
    assert_eq!(time("."), (7, 500_000_000));
    assert_eq!(time("d/e/x"), (1_000_000_000, 0));
}

#[test]
fn owners_modes_and_capabilities_survive_each_other() {
    if !is_root() {
        return;
    }
    let world = World::begin();
    let root = world.accept(&[tar(&[
        dir("d").owner(5, 6).mode(0o2775),
        file("d/suid", "x").owner(1000, 70_000).mode(0o6755),
        file("d/cap", "x").owner(1000, 1000).pax("SCHILY.xattr.security.capability", CAPABILITY),
        symlink("d/s", "x").owner(7, 8),
        fifo("d/p").owner(9, 10).mode(0o666),
        file("big", "").pax("uid", "4294967294").pax("gid", "3000000"),
    ])]);
    let about = |name: &str| {
        let about = std::fs::symlink_metadata(root.join(name)).unwrap();
        (about.uid(), about.gid(), about.mode() & 0o7777)
    };
    assert_eq!(about("d"), (5, 6, 0o2775));
    assert_eq!(about("d/suid"), (1000, 70_000, 0o6755));
    assert_eq!(about("d/s"), (7, 8, 0o777));
    assert_eq!(about("d/p"), (9, 10, 0o666));
    assert_eq!(about("big"), (u32::MAX - 1, 3_000_000, 0o644));
    assert_eq!(get(&root.join("d/cap"), "security.capability").as_deref(), Some(CAPABILITY));
}

/// As `umoci --rootless` and others do: the protocol-buffers message `{uid: 1000, gid: 300}`.
#[test]
fn who_is_not_root_records_owners_and_makes_no_devices() {
    if nix::unistd::geteuid().is_root() {
        eprintln!("skipped: for users other than root");
        return;
    }
    let world = World::begin();
    let root = world.accept(&[
        tar(&[
            dir("d").owner(1000, 300).mode(0o555),
            file("d/f", "x").owner(1000, 300).mode(0o444),
            file("d/cap", "x").pax("SCHILY.xattr.security.capability", CAPABILITY),
            symlink("d/s", "f").owner(1000, 300),
            fifo("d/p").owner(1000, 300),
            chr("d/null", 1, 3),
        ]),
        tar(&[file("d/late", "x"), file("d/.wh.cap", "")]),
    ]);
    assert_eq!(super::world::names(&root.join("d")), ["f", "late", "p", "s"]);
    for name in ["d", "d/f"] {
        let recorded = get(&root.join(name), "user.rootlesscontainers");
        assert_eq!(recorded.as_deref(), Some(&b"\x08\xe8\x07\x10\xac\x02"[..]), "{name}");
    }
    assert_eq!(std::fs::metadata(root.join("d")).unwrap().mode() & 0o7777, 0o555);
    assert_eq!(std::fs::metadata(root.join("d/f")).unwrap().mode() & 0o7777, 0o444);
    // The temporary directory is removed by the same user.
    std::fs::set_permissions(root.join("d"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn attributes_that_mean_something_to_this_host_are_left_out() {
    if !is_root() {
        return;
    }
    let world = World::begin();
    let with = |item: Item| {
        item.pax("SCHILY.xattr.user.kept", "a\n=b\0c")
            .pax("SCHILY.xattr.trusted.overlay.opaque", "y")
            .pax("SCHILY.xattr.trusted.x", "y")
            .pax("SCHILY.xattr.user.overlay.opaque", "y")
            .pax("SCHILY.xattr.security.ima", "y")
            .pax("SCHILY.xattr.security.selinux", "y")
    };
    let root = world.accept(&[tar(&[with(dir("d")), with(file("f", ""))])]);
    for name in ["d", "f"] {
        let path = root.join(name);
        for left_out in ["trusted.overlay.opaque", "trusted.x", "security.ima", "security.selinux"] {
            assert_eq!(get(&path, left_out), None, "{name} {left_out}");
        }
        match get(&path, "user.kept") {
            None => eprintln!("this file system has no user attributes"),
            kept => {
                assert_eq!(kept.as_deref(), Some(&b"a\n=b\0c"[..]));
                assert_eq!(get(&path, "user.overlay.opaque"), None);
            }
        }
    }
}

/// A default ACL of a directory must not reach what is unpacked into it.
#[test]
fn acls_are_those_of_the_entry() {
    let entry = |tag: u16, bits: u16, id: u32| {
        [tag.to_le_bytes(), bits.to_le_bytes()]
            .concat()
            .into_iter()
            .chain(id.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let none = u32::MAX;
    let acl: Vec<u8> = [
        2_u32.to_le_bytes().to_vec(),
        entry(1, 7, none),
        entry(2, 7, 1234),
        entry(4, 5, none),
        entry(0x10, 7, none),
        entry(0x20, 5, none),
    ]
    .concat();
    let world = World::begin();
    let root = world.accept(&[tar(&[
        dir("d").mode(0o775).pax("SCHILY.xattr.system.posix_acl_default", &acl),
        file("d/f", "x"),
        dir("d/e"),
        file("g", "x").mode(0o775).pax("SCHILY.xattr.system.posix_acl_access", &acl),
    ])]);
    assert_eq!(get(&root.join("d"), "system.posix_acl_default"), Some(acl.clone()));
    assert_eq!(get(&root.join("g"), "system.posix_acl_access"), Some(acl));
    assert_eq!(get(&root.join("d/f"), "system.posix_acl_access"), None);
    assert_eq!(get(&root.join("d/e"), "system.posix_acl_default"), None);
}

/// GNU tar's own form names users, whom the image knows and this host does not.
#[test]
fn acls_as_text_are_left_out_with_a_note() {
    let text = "user::rwx\nuser:lisa:rwx\ngroup::r-x\nmask::rwx\nother::r-x\n";
    let world = World::begin();
    let notes = world.notes(&[tar(&[
        dir("d").pax("SCHILY.acl.default", text),
        file("d/f", "x").pax("SCHILY.acl.access", text),
        file("d/g", "x").pax("SCHILY.xattr.user.x", "1").pax("SCHILY.fflags", "nodump"),
    ])]);
    let notes: Vec<_> = notes.iter().filter(|note| note.contains("control")).collect();
    assert_eq!(notes.len(), 2);
    for (note, name) in notes.iter().zip(["d", "d/f"]) {
        assert_eq!(**note, format!("access control list of {name:?} left out: SCHILY.acl is text (1 times)"));
    }
    let bundle = world.bundle().join("rootfs");
    assert_eq!(get(&bundle.join("d/f"), "system.posix_acl_access"), None);
    assert_eq!(get(&bundle.join("d"), "system.posix_acl_default"), None);
}

/// A later layer's entry for a directory replaces what the earlier one said about it.
#[test]
fn attributes_of_directories_are_those_of_the_last_entry() {
    let world = World::begin();
    let root = world.accept(&[
        tar(&[
            dir("d").pax("SCHILY.xattr.user.old", "1"),
            dir("e").pax("SCHILY.xattr.user.same", "1").pax("SCHILY.xattr.user.old", "1"),
            dir("f").pax("SCHILY.xattr.user.same", "1"),
        ]),
        tar(&[
            dir("d").mode(0o500),
            file("d/x", ""),
            dir("e").pax("SCHILY.xattr.user.same", "2"),
            file("f/x", ""),
        ]),
    ]);
    assert_eq!(get(&root.join("d"), "user.old"), None);
    if get(&root.join("f"), "user.same").is_some() {
        let same = |name: &str| get(&root.join(name), "user.same");
        assert_eq!((same("e").as_deref(), same("f").as_deref()), (Some(&b"2"[..]), Some(&b"1"[..])));
        assert_eq!(get(&root.join("e"), "user.old"), None);
    } else {
        eprintln!("this file system has no user attributes");
    }
    assert_eq!(std::fs::metadata(root.join("d")).unwrap().mode() & 0o7777, 0o500);
}
