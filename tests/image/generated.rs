//! Layers made by chance out of everything that has ever gone wrong: each type of entry, under names
//! that lead through symlinks, up, out and in circles, over whatever is there already. Whatever
//! happens, the decoy stays as it is, the bundle is whole or absent, and a tree that was accepted
//! holds what its last entries say.

use proptest::prelude::*;

use super::{Item, Layout, World, chr, dir, fifo, file, hardlink, symlink, tar};

/// `PROPTEST_CASES` asks for more than what fits into a quick run.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

/// Names that meet each other often.
fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        8 => prop::sample::select(vec!["a", "b", "c"]),
        2 => prop::sample::select(vec!["l", "m"]),
        1 => prop::sample::select(vec![".", "..", "", "...", ".wh.a", ".wh.b", ".wh.l", ".wh..wh..opq", ".wh..wh.plnk"]),
    ];
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

/// `DECOY` becomes the path of the decoy.
fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => name(),
        2 => name().prop_map(|name| format!("/{name}")),
        2 => prop::sample::select(vec!["DECOY", "DECOY/etc", "DECOY/target", "/", "..", "../../..", "."]).prop_map(str::to_owned),
        1 => Just("../../../../decoy/etc/passwd".to_owned()),
    ]
}

#[derive(Debug, Clone)]
enum Made {
    File(String),
    Directory(String),
    Symlink(String, String),
    Hardlink(String, String),
    Fifo(String),
    Character(String),
}

fn entry() -> impl Strategy<Value = Made> {
    prop_oneof![
        3 => target().prop_map(Made::File),
        3 => target().prop_map(Made::Directory),
        3 => (target(), target()).prop_map(|(name, to)| Made::Symlink(name, to)),
        2 => (target(), target()).prop_map(|(name, to)| Made::Hardlink(name, to)),
        1 => target().prop_map(Made::Fifo),
        1 => target().prop_map(Made::Character),
    ]
}

fn item(world: &World, made: &Made) -> Item {
    let real = |text: &str| text.replace("DECOY", &world.decoy().display().to_string());
    match made {
        Made::File(name) => file(real(name), "content"),
        Made::Directory(name) => dir(real(name)),
        Made::Symlink(name, to) => symlink(real(name), real(to)),
        Made::Hardlink(name, to) => hardlink(real(name), real(to)),
        Made::Fifo(name) => fifo(real(name)),
        Made::Character(name) => chr(real(name), 1, 7),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_leads_out(layers in prop::collection::vec(prop::collection::vec(entry(), 1..10), 1..4)) {
        let world = World::begin();
        let layers: Vec<Vec<u8>> = layers
            .iter()
            .map(|layer| tar(&layer.iter().map(|made| item(&world, made)).collect::<Vec<_>>()))
            .collect();
        // `unpack` compares the decoy and looks for leftovers.
        if let Err(error) = world.unpack(&Layout::of(&layers), ":latest") {
            prop_assert!(error.starts_with("layer ") && error.contains("entry \""), "{}", error);
        }
    }

    /// The last entry of an image without symlinks stands where it says, as what it says.
    #[test]
    fn whatever_is_accepted_was_made(lower in prop::collection::vec(entry(), 0..6), last in entry()) {
        let world = World::begin();
        let lower: Vec<Item> =
            lower.iter().map(|made| item(&world, made)).filter(|item| item.kind != b'2').collect();
        let last = item(&world, &last);
        if let Ok(root) = world.unpack(&Layout::of(&[tar(&lower), tar(std::slice::from_ref(&last))]), ":latest") {
            let name = String::from_utf8(last.name).unwrap();
            let left_out = last.kind == b'3' && !nix::unistd::geteuid().is_root();
            if !left_out && !name.split('/').any(|part| part.starts_with(".wh.")) {
                let plain: Vec<_> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
                let about = std::fs::symlink_metadata(root.join(plain.join("/"))).unwrap();
                prop_assert_eq!(about.is_dir(), last.kind == b'5');
                prop_assert_eq!(about.is_symlink(), last.kind == b'2');
            }
        }
    }
}

/// Bytes by chance, and a good tar with some of them: an error or a tree, never anything else.
mod streams {
    use super::{Layout, World, dir, file, symlink, tar};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: super::cases(), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 1..3000)) {
            let world = World::begin();
            prop_assert!(world.unpack(&Layout::of(&[bytes]), ":latest").is_err());
        }

        #[test]
        fn a_tar_with_changes(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5)) {
            let mut bytes = tar(&[
                dir("d"),
                file("d/f", "content").pax("SCHILY.xattr.user.x", "y").pax("mtime", "1.5"),
                symlink("s", "d"),
                file("x".repeat(150), "y"),
            ]);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let world = World::begin();
            if let Err(error) = world.unpack(&Layout::of(&[bytes]), ":latest") {
                prop_assert!(!error.contains('\n'), "{}", error);
            }
        }
    }
}
