//! Who is not the host's root unpacks what others own, and devices: owners that cannot be given are recorded, devices left out, and keg
//! says so.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use harness::{Finished, Runtime, with_runtime};

use super::layout::Layout;
use super::tar::{Item, chr, dir, fifo, file, symlink, tar};
use super::{minutes, unpack, unpacks};

/// The host's id of the second that is mapped.
const OTHER: u32 = 101_000;

/// Waits for its ids, then goes on as root of the namespace: 0 is the host's 0, and 1000 is somebody else; nobody else is there.
const MAPPED: &str = r#"
    mkfifo "$1/made" "$1/go"
    dir=$1; shift
    unshare --user sh -c 'd=$1; shift; echo >"$d/made"; read -r _ <"$d/go"; exec "$@"' sh "$dir" "$@" &
    read -r _ <"$dir/made"
    printf '0 0 1\n1000 101000 1\n' >"$dir/map"
    for map in uid_map gid_map; do cat "$dir/map" >"/proc/$!/$map"; done
    echo >"$dir/go"
    wait "$!"
"#;

/// A POSIX access control list that names user 1234.
fn acl() -> Vec<u8> {
    let entry = |tag: u16, bits: u16, id: u32| {
        [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let none = u32::MAX;
    let entries = [(1, 6, none), (2, 6, 1234), (4, 4, none), (0x10, 6, none), (0x20, 4, none)];
    let entries = entries.into_iter().flat_map(|(tag, bits, id)| entry(tag, bits, id));
    2_u32.to_le_bytes().into_iter().chain(entries).collect()
}

fn layer() -> Vec<Item> {
    vec![
        dir("d").owner(7, 7).mode(0o755),
        file("d/mapped", "x").owner(1000, 1000).mode(0o4755),
        file("d/unmapped", "x").owner(1000, 5).mode(0o640),
        file("d/roots", "x"),
        symlink("d/link", "mapped").owner(7, 7),
        fifo("d/fifo").owner(7, 7).mode(0o622),
        chr("d/null", 1, 3).mode(0o666),
        file("d/acl", "x").pax("SCHILY.xattr.system.posix_acl_access", acl()),
    ]
}

fn layout(rt: &Runtime) -> String {
    let layout = rt.dir().join("layout");
    Layout::of(&[tar(&layer())]).write(&layout);
    format!("{}:latest", layout.display())
}

/// What getfattr prints of one attribute; `None` where there is none.
fn attribute(rt: &Runtime, path: &Path, name: &str) -> Option<String> {
    let words = ["getfattr", "--only-values", "-e", "hex", "-n", name, path.to_str().unwrap()];
    let done = rt.program(&words).run();
    done.status.success().then(|| done.stdout())
}

fn about(root: &Path, name: &str) -> (u32, u32, u32) {
    let about = fs::symlink_metadata(root.join(name)).unwrap();
    (about.uid(), about.gid(), about.mode() & 0o7777)
}

fn notes(done: &Finished) -> Vec<String> {
    let lines = done.stdout();
    lines.lines().filter_map(|line| line.trim().strip_prefix("note: ")).map(str::to_owned).collect()
}

#[test]
fn root_of_a_user_namespace_has_what_is_mapped() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let image = layout(rt);
        let bundle = rt.dir().join("bundle");
        let fifos = rt.dir().join("fifos");
        fs::create_dir(&fifos).unwrap();
        let wrapper = ["bash", "-ec", MAPPED, "bash", fifos.to_str().unwrap()];
        let words = ["unpack", "--progress", "none", "--image", &image, bundle.to_str().unwrap()];
        let done = rt.command(&words).inside(&wrapper).limit(minutes(1)).run().ok();

        let root = bundle.join("rootfs");
        assert_eq!(about(&root, "d/mapped"), (OTHER, OTHER, 0o4755));
        assert_eq!(about(&root, "d"), (0, 0, 0o755));
        assert_eq!(about(&root, "d/unmapped"), (0, 0, 0o640));
        assert_eq!(about(&root, "d/roots"), (0, 0, 0o644));
        assert_eq!(about(&root, "d/link"), (0, 0, 0o777));
        assert_eq!(about(&root, "d/fifo"), (0, 0, 0o622));
        assert!(!root.join("d/null").exists());
        let mut expected = vec![
            "attribute \"system.posix_acl_access\" not possible here (1 times)",
            "device left out: only the host's root can make one (1 times)",
            "owner not mapped in this user namespace (4 times)",
        ];
        let record = |name: &str| attribute(rt, &root.join(name), "user.rootlesscontainers");
        if attribute_works(rt) {
            // {uid: 7, gid: 7} and {uid: 1000, gid: 5}
            assert_eq!(record("d").as_deref(), Some("\u{8}\u{7}\u{10}\u{7}"));
            let unmapped =
                rt.program(&["getfattr", "-d", "-e", "hex", root.join("d/unmapped").to_str().unwrap()]).run();
            assert!(
                unmapped.stdout().contains("user.rootlesscontainers=0x08e8071005"),
                "{}",
                unmapped.describe()
            );
            assert_eq!((record("d/mapped"), record("d/roots")), (None, None));
        } else {
            expected.insert(1, "attribute \"user.rootlesscontainers\" not possible here (2 times)");
        }
        assert_eq!(notes(&done), expected);

        // The host's root can do all of it.
        let other = rt.dir().join("other");
        let done = unpack(rt, &image, &other).ok();
        let root = other.join("rootfs");
        assert_eq!(notes(&done), [""; 0]);
        assert_eq!((about(&root, "d"), about(&root, "d/unmapped")), ((7, 7, 0o755), (1000, 5, 0o640)));
        assert_eq!((about(&root, "d/link"), about(&root, "d/fifo")), ((7, 7, 0o777), (7, 7, 0o622)));
        assert_eq!(about(&root, "d/null"), (0, 0, 0o666));
        assert_eq!(attribute(rt, &root.join("d"), "user.rootlesscontainers"), None);
    });
}

/// Whether files here can have attributes of users at all.
fn attribute_works(rt: &Runtime) -> bool {
    let file = rt.dir().join("attributes");
    fs::write(&file, "").unwrap();
    rt.program(&["setfattr", "-n", "user.x", "-v", "1", file.to_str().unwrap()]).run().status.success()
}

/// Each user with one id, of their own: `unshare --map-root-user`.
#[test]
fn a_user_who_is_root_of_themselves_alone() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let image = layout(rt);
        let bundle = rt.dir().join("bundle");
        let words = ["unpack", "--progress", "none", "--image", &image, bundle.to_str().unwrap()];
        let done = rt.command(&words).inside(&["unshare", "--user", "--map-root-user"]).run().ok();
        let root = bundle.join("rootfs");
        for name in ["d", "d/mapped", "d/unmapped", "d/link", "d/fifo"] {
            assert_eq!((about(&root, name).0, about(&root, name).1), (0, 0), "{name}");
        }
        let notes = notes(&done);
        assert!(notes.contains(&"owner not mapped in this user namespace (5 times)".to_owned()), "{notes:?}");
        assert!(notes.iter().any(|note| note.starts_with("device left out")), "{notes:?}");
    });
}

/// Without any namespace: nothing can be given to others.
#[test]
fn somebody_else_records_every_owner() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let image = layout(rt);
        let user = crate::rootless::User::without_session(rt);
        let bundle = user.home.join("bundle");
        let mut words = user.prefix.clone();
        words.push(user.runtime.clone());
        words.extend(
            ["unpack", "--progress", "none", "--image", &image, bundle.to_str().unwrap()].map(str::to_owned),
        );
        let done = rt.program(&words).run().ok();
        let root = bundle.join("rootfs");
        assert!(!root.join("d/null").exists());
        let notes = notes(&done);
        assert!(
            notes.contains(&"device left out: only the host's root can make one (1 times)".to_owned()),
            "{notes:?}"
        );
        if attribute_works(rt) {
            let unmapped = root.join("d/unmapped");
            let found = rt.program(&["getfattr", "-d", "-e", "hex", unmapped.to_str().unwrap()]).run();
            assert!(found.stdout().contains("user.rootlesscontainers=0x08e8071005"), "{}", found.describe());
        }
    });
}
