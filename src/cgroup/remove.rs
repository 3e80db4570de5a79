//! Removes the cgroups that keg made, once they are empty.

use std::cell::LazyCell;
use std::ops::Deref;
use std::path::Path;
use std::time::{Duration, Instant};

use super::walk::{procs_below, remove_below, unless_gone};
use super::{Error, kill_all};
use crate::sys::{self, Errno, cgroup as files};
use crate::types::{CgroupDirectory, CgroupRecord, Signal};

/// How long processes may take to end.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Removes what keg made, with what the container made inside, and waits for processes that are
/// about to end. What was there before stays. What is gone already is no error.
pub fn remove(record: &CgroupRecord) -> Result<(), Error> {
    if let Some(unit) = &record.unit {
        return super::systemd::remove(record, unit, PATIENCE);
    }
    remove_all(&record.directories)
}

fn remove_all(directories: &[CgroupDirectory]) -> Result<(), Error> {
    // Most often nobody is waited for, and the time is not asked for.
    let deadline = LazyCell::new(|| Instant::now() + PATIENCE);
    let results: Vec<_> = directories.iter().map(|directory| remove_one(directory, &deadline)).collect();
    results.into_iter().collect()
}

/// Kills what is still in the cgroups, if anything is, and removes them.
pub fn kill_and_remove(record: &CgroupRecord) -> Result<(), Error> {
    // Most often nobody is left: then the first directory goes at once, and nobody need be looked for.
    if let Some((CgroupDirectory { path, made: Some(top), .. }, others)) = record.directories.split_first()
        && record.unit.is_none()
        && rmdir(path)?
    {
        remove_parents(path, top)?;
        return remove_all(others);
    }
    kill_all(record, Signal::KILL)?;
    remove(record)
}

/// How long processes of a container that never came to be may take to end.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);

/// Removes what a failed `create` made, with what was started in it if anything was: who is in a cgroup that was there before, and that
/// was refused for it, is none of ours.
pub(super) fn discard(record: &CgroupRecord, entered: bool) {
    // The failure that led here is what the user is told.
    if entered && record.directories.iter().any(|directory| directory.made.is_some()) {
        drop(kill_all(record, Signal::KILL));
    }
    if let Some(unit) = &record.unit {
        return drop(super::systemd::remove(record, unit, SHORT_PATIENCE));
    }
    let deadline = LazyCell::new(|| Instant::now() + SHORT_PATIENCE);
    for directory in &record.directories {
        drop(remove_one(directory, &deadline));
    }
}

pub(super) fn remove_one(
    directory: &CgroupDirectory,
    deadline: &impl Deref<Target = Instant>,
) -> Result<(), Error> {
    let Some(top) = &directory.made else { return Ok(()) };
    let path = &directory.path;
    let mut pause = Duration::from_micros(100);
    loop {
        if rmdir(path)? {
            return remove_parents(path, top);
        }
        // The container's own sub-cgroups; those with processes are tried again.
        match unless_gone(remove_below(path, **deadline)) {
            Err(error) if !is_busy(&error) => return Err(Error::Use { doing: "remove", source: error }),
            _ => {}
        }
        if rmdir(path)? {
            return remove_parents(path, top);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let processes = procs_below(path).unwrap_or_default();
            return Err(Error::Left { path: path.clone(), processes });
        }
        wait_for_exits(directory, pause.min(left))?;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Waits until the cgroup may have become empty: version 2 says so, version 1 has to be asked again.
fn wait_for_exits(directory: &CgroupDirectory, time: Duration) -> Result<(), Error> {
    if !directory.hierarchy.is_empty() {
        std::thread::sleep(time);
        return Ok(());
    }
    let path = directory.path.join("cgroup.events");
    let watch = || {
        let events = files::Watched::open(&path)?;
        if events.read()?.contains("populated 0") {
            // Empty: only the kernel's own clearing up is left.
            std::thread::sleep(time);
            return Ok(());
        }
        events.wait(time.max(Duration::from_millis(10)))
    };
    unless_gone(watch()).map(drop).map_err(|source| Error::Use { doing: "watch", source })
}

/// `false`: processes or further cgroups are in it.
fn rmdir(path: &Path) -> Result<bool, Error> {
    match unless_gone(files::remove(path)) {
        Ok(_) => Ok(true),
        Err(error) if is_busy(&error) => Ok(false),
        Err(source) => Err(Error::Use { doing: "remove", source }),
    }
}

fn is_busy(error: &sys::Error) -> bool {
    matches!(error.errno, Errno::EBUSY | Errno::ENOTEMPTY)
}

/// The directories above, up to the topmost that keg made, as far as nobody else uses them by now.
fn remove_parents(path: &Path, top: &Path) -> Result<(), Error> {
    for parent in path.ancestors().skip(1).take_while(|parent| parent.starts_with(top)) {
        if !rmdir(parent)? {
            break;
        }
    }
    Ok(())
}
