//! Waits for what happens to a container as a whole: the kernel finds no memory for it, or it ends.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::walk::unless_gone;
use super::{Error, procs};
use crate::sys::cgroup::{OomCounter, Watched};
use crate::sys::poll::{Ready, wait_ready_for};
use crate::sys::{self, cgroup as files, socket};
use crate::types::CgroupRecord;

/// How often version 1 is asked whether anybody has outlived the container's first process.
const OUTLIVED: Duration = Duration::from_millis(200);

/// What happened since it was last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Happened {
    /// So many times there was no memory.
    pub oom: u64,
    /// There is no process in the cgroup any more, or no cgroup.
    pub over: bool,
}

/// Open files that tell of it.
#[derive(Debug)]
pub struct Watch<'a> {
    record: &'a CgroupRecord,
    init: OwnedFd,
    init_ended: bool,
    populated: Option<Watched>,
    oom: Oom,
}

#[derive(Debug)]
enum Oom {
    V1 { counter: OomCounter, control: PathBuf },
    V2 { events: Watched, seen: u64 },
    Unknown,
}

impl<'a> Watch<'a> {
    /// Begins; what happened before does not count. `init` is a pidfd of the container's first process.
    pub fn open(record: &'a CgroupRecord, init: OwnedFd) -> Result<Self, Error> {
        let failed = |source| Error::Use { doing: "watch", source };
        let unified = record.directories.iter().find(|directory| directory.hierarchy.is_empty());
        let populated = unified.map(|directory| Watched::open(&directory.path.join("cgroup.events")));
        let populated = populated.map(unless_gone).transpose().map_err(failed)?.flatten();
        let memory = |name: &str| name.split(',').any(|controller| controller == "memory");
        let v1 = record.directories.iter().find(|directory| memory(&directory.hierarchy));
        let oom = match v1.or(unified) {
            Some(directory) => Oom::open(&directory.path).map_err(failed)?,
            None => Oom::Unknown,
        };
        Ok(Self { record, init, init_ended: false, populated, oom })
    }

    /// Waits until something has happened, or for so long.
    pub fn wait(&mut self, time: Duration) -> Result<Happened, Error> {
        let failed = |source| Error::Use { doing: "watch", source };
        let mut wanted: Vec<(BorrowedFd<'_>, Ready)> = Vec::new();
        wanted.extend(self.oom.wanted());
        wanted.extend(self.populated.as_ref().map(|events| (events.as_fd(), Ready::CHANGED)));
        let mut time = time;
        match self.init_ended {
            true => time = time.min(OUTLIVED),
            false => wanted.push((self.init.as_fd(), Ready::READ)),
        }
        wait_ready_for(&wanted, Some(time)).map_err(failed)?;
        self.init_ended = socket::wait_readable(&[self.init.as_fd()], 0).map_err(failed)?[0];
        if let Some(events) = &self.populated {
            // Read for the next change to be told.
            unless_gone(events.read()).map_err(failed)?;
        }
        let over = procs(self.record)?.is_empty();
        let oom = unless_gone(self.oom.take()).map_err(failed)?.unwrap_or(0);
        Ok(Happened { oom, over })
    }
}

impl Oom {
    fn open(path: &Path) -> sys::Result<Self> {
        let control = path.join("memory.oom_control");
        if unless_gone(files::read(&control))?.is_some() {
            return Ok(Self::V1 { counter: OomCounter::open(path)?, control });
        }
        match unless_gone(Watched::open(&path.join("memory.events")))? {
            Some(events) => Ok(Self::V2 { seen: count(&events.read()?), events }),
            None => Ok(Self::Unknown),
        }
    }

    fn wanted(&self) -> Option<(BorrowedFd<'_>, Ready)> {
        match self {
            Self::V1 { counter, .. } => Some((counter.as_fd(), Ready::READ)),
            Self::V2 { events, .. } => Some((events.as_fd(), Ready::CHANGED)),
            Self::Unknown => None,
        }
    }

    fn take(&mut self) -> sys::Result<u64> {
        match self {
            Self::V1 { counter, control } => {
                let count = counter.take()?;
                // The removal of the cgroup counts as well.
                let gone = unless_gone(files::read(control))?.is_none();
                Ok(count.saturating_sub(gone.into()))
            }
            Self::V2 { events, seen } => {
                let now = count(&events.read()?);
                Ok(now - std::mem::replace(seen, now).min(now))
            }
            Self::Unknown => Ok(0),
        }
    }
}

/// How often the kernel killed for want of memory, as `memory.events` says.
fn count(events: &str) -> u64 {
    let mut counts = events.lines().filter_map(|line| line.strip_prefix("oom_kill "));
    counts.next().and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}
