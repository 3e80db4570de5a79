//! Every image of [`super::cases`]: the rule that decides it is the one that is expected, nothing outside of the bundle changes (the
//! decoy is compared each time), and what is accepted stands where its name leads. One of five by default, all with `KEG_SWEEP=full`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::cases::{self, Case, Ground, Kind, There, Trick};
use super::{Layout, World, tar};

/// What is at the place afterwards, in a word.
fn found(path: &Path) -> &'static str {
    match std::fs::symlink_metadata(path).map(|about| about.file_type()) {
        Err(_) => "nothing",
        Ok(kind) if kind.is_dir() => "directory",
        Ok(kind) if kind.is_symlink() => "symlink",
        Ok(kind) if kind.is_fifo() => "fifo",
        Ok(kind) if kind.is_file() => "file",
        Ok(_) => "device",
    }
}

/// What should be there; `None` where several things may be.
fn expected(case: Case, is_root: bool) -> Option<&'static str> {
    let old = match case.there {
        There::Nothing => "nothing",
        There::File | There::LinkedFile => "file",
        There::EmptyDirectory | There::FullDirectory => "directory",
        There::Fifo => "fifo",
        _ => "symlink",
    };
    Some(match case.kind {
        Kind::OldFile if case.trick == Trick::TrailingSlash => "directory",
        Kind::File | Kind::OldFile | Kind::Contiguous => "file",
        Kind::Link | Kind::LinkThroughSymlink | Kind::LinkAbsolute => "file",
        Kind::Directory => "directory",
        Kind::SymlinkIn | Kind::SymlinkOut | Kind::SymlinkDangling | Kind::LinkToSymlink => "symlink",
        Kind::Fifo => "fifo",
        Kind::Character | Kind::Block if is_root => "device",
        Kind::Whiteout | Kind::Opaque if case.same_layer => old,
        Kind::Whiteout => "nothing",
        // In the root it deletes the whole lower layer.
        Kind::Opaque => "nothing",
        Kind::LinkToItself => old,
        _ => return None,
    })
}

/// Half of them, so that two halves run side by side.
fn sweep(half: usize) {
    let is_root = nix::unistd::geteuid().is_root();
    let world = World::begin();
    let decoy = world.decoy().display().to_string();
    let ground = Ground { prefix: "", decoy: &decoy };
    let all = cases::all();
    assert!(all.len() > 8_000, "{} cases", all.len());
    let is_full = std::env::var("KEG_SWEEP").is_ok_and(|sweep| sweep == "full");
    // No dimension of the cases is a multiple of five: every pair of its values is met.
    let some = all.into_iter().step_by(if is_full { 1 } else { 5 });
    let mut failures = Vec::new();
    for case in some.skip(half).step_by(2) {
        let layers = case.layers(&ground).map(|items| tar(&items));
        let wrong = match (world.unpack(&Layout::plain(&layers), ":latest"), case.refusal()) {
            (Err(error), Some(why)) if error.contains(why) => continue,
            (Err(error), why) => format!("refused: {error}; expected {why:?}"),
            (Ok(root), None) => {
                let place = case.place().map(|place| found(&root.join(OsStr::from_bytes(&place))));
                world.clear();
                match (place, expected(case, is_root)) {
                    (Some(found), Some(expected)) if found != expected => format!("{found}, not {expected}"),
                    _ => continue,
                }
            }
            (Ok(_), Some(why)) => {
                world.clear();
                format!("accepted, not refused with {why:?}")
            }
        };
        failures.push(format!("{case:?}: {wrong}"));
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_entry_under_every_name_over_everything() {
    sweep(0);
}

#[test]
fn every_entry_under_every_name_over_everything_else() {
    sweep(1);
}
