//! Stops all processes of a container where they are, and lets them go on. Beside version 1 the
//! freezer of version 2 is used: its processes can still be killed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Error;
use super::walk::{unless_gone, walk};
use crate::sys::{self, Errno, cgroup as files};
use crate::types::CgroupRecord;

/// How long a process may keep a cgroup from freezing.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

fn in_hierarchy(record: &CgroupRecord, name: &str) -> Option<PathBuf> {
    let found = record.directories.iter().find(|directory| directory.hierarchy == name);
    found.map(|directory| directory.path.clone())
}

/// Freezes; returns when every process stands still. What cannot be frozen goes on as before.
pub fn freeze(record: &CgroupRecord) -> Result<(), Error> {
    let failed = |source| Error::Use { doing: "freeze", source };
    let (path, frozen) = match in_hierarchy(record, "") {
        Some(path) => {
            let frozen = freeze_v2(&path).map_err(failed)?;
            (path, frozen)
        }
        None => {
            let Some(path) = in_hierarchy(record, "freezer") else {
                return Err(failed(sys::Error { call: "no freezer".to_owned(), errno: Errno::ENOENT }));
            };
            let frozen = freeze_v1(&path).map_err(failed)?;
            (path, frozen)
        }
    };
    if frozen {
        return Ok(());
    }
    thaw(record)?;
    Err(Error::NotFreezing(path))
}

fn freeze_v2(path: &Path) -> sys::Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    let events = files::Watched::open(&path.join("cgroup.events"))?;
    files::write(&path.join("cgroup.freeze"), "1")?;
    while !events.read()?.contains("frozen 1") {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        events.wait(left)?;
    }
    Ok(true)
}

fn freeze_v1(path: &Path) -> sys::Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    let file = path.join("freezer.state");
    let mut pause = Duration::from_micros(100);
    loop {
        // Written again each time: a process that was made meanwhile is else not told.
        files::write(&file, "FROZEN")?;
        if files::read(&file)?.trim() == "FROZEN" {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Lets all processes go on, wherever they were frozen, except what the container froze itself.
pub fn thaw(record: &CgroupRecord) -> Result<(), Error> {
    let v2 = in_hierarchy(record, "").map(|path| files::write(&path.join("cgroup.freeze"), "0"));
    let v1 = in_hierarchy(record, "freezer").map(|path| files::write(&path.join("freezer.state"), "THAWED"));
    for written in [v2, v1].into_iter().flatten() {
        unless_gone(written).map_err(|source| Error::Use { doing: "thaw", source })?;
    }
    Ok(())
}

/// Whether the container is frozen. A cgroup that is gone is not.
pub fn is_frozen(record: &CgroupRecord) -> Result<bool, Error> {
    let v2 = in_hierarchy(record, "").map(|path| files::read(&path.join("cgroup.events")));
    let v1 = in_hierarchy(record, "freezer").map(|path| files::read(&path.join("freezer.state")));
    for (text, sign) in [(v2, "frozen 1"), (v1, "FROZEN")] {
        let text =
            text.map(unless_gone).transpose().map_err(|source| Error::Use { doing: "read", source })?;
        if text.flatten().is_some_and(|text| text.contains(sign)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Version 1: a frozen process does not die. Thaws a cgroup and all below it.
pub(super) fn thaw_tree(record: &CgroupRecord) -> sys::Result<()> {
    match in_hierarchy(record, "freezer") {
        Some(path) => walk(&path, |directory| files::write_in(directory, "freezer.state", "THAWED")),
        None => Ok(()),
    }
}
