//! Up to three layers, made so that their entries meet: nothing outside of the tree changes, whatever they hold.
#![no_main]

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;

const PARTS: [&[u8]; 16] = [
    b"a",
    b"b",
    b"c",
    b"l",
    b"m",
    b".",
    b"..",
    b"",
    b"...",
    b".wh.a",
    b".wh.l",
    b".wh..wh..opq",
    b".wh..wh.plnk",
    b"decoy",
    b"\xff",
    b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];
const KINDS: [u8; 16] = *b"0000555522211346";

thread_local! {
    static PLACE: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

/// A name of up to four parts; with the lowest bit of the first byte set it is absolute, or leads to the decoy.
fn name<'a>(bytes: &mut impl Iterator<Item = &'a u8>, decoy: &Path) -> Option<Vec<u8>> {
    let (first, second) = (*bytes.next()?, *bytes.next()?);
    let mut name = match first >> 4 {
        0 => b"/".to_vec(),
        1 => decoy.as_os_str().as_encoded_bytes().to_vec(),
        2 => b"../../decoy".to_vec(),
        _ => Vec::new(),
    };
    let parts = [first & 15, second & 15, second >> 4];
    for part in &parts[..1 + usize::from(first >> 6).min(2)] {
        if !name.is_empty() {
            name.push(b'/');
        }
        name.extend_from_slice(PARTS[usize::from(*part)]);
    }
    Some(name)
}

fn entry<'a>(bytes: &mut impl Iterator<Item = &'a u8>, decoy: &Path) -> Option<Vec<u8>> {
    let kind = *bytes.next()?;
    let (name, link) = (name(bytes, decoy)?, name(bytes, decoy)?);
    let mut header = tar::Header::new_gnu();
    let old = header.as_old_mut();
    old.name[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
    old.linkname[..link.len().min(100)].copy_from_slice(&link[..link.len().min(100)]);
    old.linkflag = [KINDS[usize::from(kind & 15)]];
    header.set_size(u64::from(kind >> 7));
    header.set_mode(u32::from(kind >> 4) * 0o111);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header.set_device_major(1).ok()?;
    header.set_device_minor(7).ok()?;
    header.set_cksum();
    let mut entry = header.as_bytes().to_vec();
    if kind >> 7 == 1 && KINDS[usize::from(kind & 15)] == b'0' {
        entry.resize(1024, b'x');
    }
    Some(entry)
}

fn look(dir: &Path, found: &mut Vec<(PathBuf, u64, u32, i64, u64)>) {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for path in names {
        let about = fs::symlink_metadata(&path).unwrap();
        found.push((path.clone(), about.ino(), about.mode(), about.ctime_nsec(), about.nlink()));
        if about.is_dir() {
            look(&path, found);
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    PLACE.with_borrow_mut(|place| {
        let place = place.get_or_insert_with(|| {
            let place = tempfile::tempdir().unwrap();
            fs::create_dir_all(place.path().join("decoy/a/b")).unwrap();
            fs::write(place.path().join("decoy/c"), "c").unwrap();
            fs::write(place.path().join("decoy/a/l"), "l").unwrap();
            place
        });
        let decoy = place.path().join("decoy");
        let mut before = Vec::new();
        look(&decoy, &mut before);
        let layers: Vec<Vec<u8>> = bytes
            .split(|byte| *byte == 0xff)
            .take(3)
            .map(|layer| {
                let mut bytes = layer.iter();
                std::iter::from_fn(|| entry(&mut bytes, &decoy)).take(24).flatten().collect()
            })
            .collect();
        let root = place.path().join("root");
        fs::create_dir(&root).unwrap();
        keg::image::fuzz::apply(&layers, fs::File::open(&root).unwrap().into());
        let mut after = Vec::new();
        look(&decoy, &mut after);
        assert_eq!(before, after);
        fs::remove_dir_all(&root).unwrap();
    });
});
