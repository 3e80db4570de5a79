//! One container's directory while this process has it to itself: record, configuration, removal.
//!
//! A record is replaced by renaming but never synced: after a power cut the boot id differs, and the
//! record then only says that something is to be cleaned up, which an empty file says as well.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use super::record::{Record, Stage};
use super::store::{Error, Result, failed};
use crate::sys::fd::{self, Resolve};
use crate::sys::{self, Errno, lock};
use crate::types::ContainerId;

const RECORD: &str = "state.json";
const NEW_RECORD: &str = "state.json.new";
const CONFIG: &str = "config.json";
/// No record or configuration is larger.
const LIMIT: usize = 16 << 20;
/// How long a command waits for another one on the same container.
const PATIENCE: Duration = Duration::from_secs(30);

/// A container that belongs to this process until it is dropped. The lock is on the directory's
/// descriptor: a forked child that keeps a copy of it keeps the lock.
#[derive(Debug)]
pub struct Locked {
    id: ContainerId,
    root: Rc<OwnedFd>,
    dir: Rc<OwnedFd>,
    path: PathBuf,
    /// Whether `state.json` may exist.
    has_record: Cell<bool>,
}

impl Locked {
    pub(super) fn take(root: Rc<OwnedFd>, path: PathBuf, id: &ContainerId) -> Result<Self> {
        let dir = Rc::new(open(&root, id)?);
        wait(&dir, id)?;
        // Whoever had the lock before may have removed the directory meanwhile.
        if fd::stat(&dir).map_err(failed("read", id))?.st_nlink == 0 {
            return Err(Error::Unknown(id.clone()));
        }
        Ok(Self { id: id.clone(), root, dir, path, has_record: Cell::new(true) })
    }

    /// Lets other commands work on the container while this one waits for its end.
    pub fn release(self) -> Result<Released> {
        lock::unlock(&self.dir).map_err(failed("unlock", &self.id))?;
        Ok(Released(self))
    }

    /// Whose directory it is.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The directory, for `start.sock` and its like; whatever lies in it goes with the container.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The directory's path, for what cannot take a descriptor.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The record as it is now.
    pub fn record(&self) -> Result<Record> {
        let record = read_record(&self.dir, Path::new(""), &self.id)?;
        Ok(record.unwrap_or_else(|| Record::lost(self.id.clone())))
    }

    /// Replaces the record. Readers see the old one or the new one; the very first has nothing to
    /// replace and is written in place, since half of it means the same as none.
    pub fn write(&self, record: &Record) -> Result<()> {
        if !self.has_record.replace(true) {
            return self.put(RECORD, OFlag::O_EXCL, &self.encode(record)?);
        }
        self.draft(record)?;
        self.publish()?.remove();
        Ok(())
    }

    /// Writes a record that nobody reads before it is published.
    pub fn draft(&self, record: &Record) -> Result<()> {
        self.put(NEW_RECORD, OFlag::O_TRUNC, &self.encode(record)?)
    }

    /// Puts the draft in the record's place, and the record in the draft's: ext4 writes a file to the disk that is renamed over
    /// another one, and whoever removes it then waits for the disk.
    pub fn publish(&self) -> Result<Old<'_>> {
        let (new, record) = (Path::new(NEW_RECORD), Path::new(RECORD));
        match fd::exchange(&self.dir, new, record) {
            Ok(()) => return Ok(Old(Some(&self.dir))),
            Err(error) if matches!(error.errno, Errno::EINVAL | Errno::ENOENT | Errno::ENOSYS) => {}
            Err(error) => return Err(failed("write", &self.id)(error)),
        }
        fd::rename(&self.dir, new, &self.dir, record).map_err(failed("write", &self.id))?;
        Ok(Old(None))
    }

    fn encode(&self, record: &Record) -> Result<Vec<u8>> {
        let bytes = serde_json::to_vec(record).map_err(|_| sys::Error {
            call: format!("encode(bundle {:?})", record.bundle),
            errno: Errno::EILSEQ,
        });
        bytes.map_err(failed("write", &self.id))
    }

    /// Keeps config.json as `create` saw it.
    pub fn save_config(&self, json: &[u8]) -> Result<()> {
        self.put(CONFIG, OFlag::O_TRUNC, json)
    }

    /// What [`Locked::save_config`] kept.
    pub fn load_config(&self) -> Result<Vec<u8>> {
        read_config(&self.dir, Path::new("")).map_err(failed("read", &self.id))
    }

    /// Removes the directory and all in it. Until the record goes, which is late, the container can be
    /// found and deleted again; without it, deleted still.
    pub fn remove(self) -> Result<()> {
        self.remove_all().map_err(failed("remove", &self.id))?;
        // The lock goes now, since others may wait for it; the state directory's descriptor goes with the process.
        std::mem::forget(Rc::clone(&self.root));
        Ok(())
    }

    fn remove_all(&self) -> sys::Result<()> {
        let name = Path::new(self.id.as_str());
        for file in [CONFIG, RECORD] {
            match fd::unlink(&self.dir, Path::new(file)) {
                Err(error) if error.errno != Errno::ENOENT => return Err(error),
                _ => {}
            }
        }
        match fd::rmdir(&self.root, name) {
            Err(error) if error.errno == Errno::ENOTEMPTY => {}
            done => return done,
        }
        for file in fd::list(&self.dir)? {
            match fd::unlink(&self.dir, &file) {
                Err(error) if error.errno == Errno::EISDIR => remove_directory(&self.dir, &file)?,
                done => done?,
            }
        }
        fd::rmdir(&self.root, name)
    }

    fn put(&self, name: &str, flags: OFlag, bytes: &[u8]) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | flags;
        fd::open(&self.dir, Path::new(name), Resolve::Beneath, flags, 0o600)
            .and_then(|file| fd::write_all(file, bytes))
            .map_err(failed("write", &self.id))
    }
}

/// A record that was replaced, in the place of a draft.
#[derive(Debug)]
#[must_use]
pub struct Old<'a>(Option<&'a OwnedFd>);

impl Old<'_> {
    /// Removes it. Where that fails it goes with the container.
    pub fn remove(self) {
        self.0.map_or(Ok(()), |dir| fd::unlink(dir, Path::new(NEW_RECORD))).unwrap_or(());
    }
}

/// A directory of files.
fn remove_directory(parent: &OwnedFd, name: &Path) -> sys::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let dir = fd::open(parent, name, Resolve::Beneath, flags, 0)?;
    fd::list(&dir)?.iter().try_for_each(|file| fd::unlink(&dir, file))?;
    fd::rmdir(parent, name)
}

/// A container that this process has had locked, and will want again.
#[derive(Debug)]
pub struct Released(Locked);

impl Released {
    /// Takes it again, after whoever has it now. `Unknown` if it was deleted meanwhile.
    pub fn lock(self) -> Result<Locked> {
        wait(&self.0.dir, &self.0.id)?;
        match fd::stat(&self.0.dir).map_err(failed("read", &self.0.id))?.st_nlink {
            0 => Err(Error::Unknown(self.0.id)),
            _ => Ok(self.0),
        }
    }
}

/// A container that this process is making. Dropped before [`Reservation::commit`], its directory goes.
#[derive(Debug)]
pub struct Reservation {
    locked: Locked,
    committed: bool,
}

impl Reservation {
    /// Takes the directory that was just made.
    pub(super) fn made(root: Rc<OwnedFd>, path: PathBuf, id: &ContainerId) -> Result<Self> {
        let name = Path::new(id.as_str());
        let dir = open(&root, id).inspect_err(|_| drop(fd::rmdir(&root, name)))?;
        let locked = Locked { id: id.clone(), root, dir: Rc::new(dir), path, has_record: Cell::new(false) };
        let reservation = Self { locked, committed: false };
        wait(&reservation.locked.dir, id)?;
        Ok(reservation)
    }

    /// From now on the container stays. The lock stays too, until what is returned is dropped.
    pub fn commit(mut self) -> Locked {
        self.committed = true;
        Locked {
            id: self.locked.id.clone(),
            root: Rc::clone(&self.locked.root),
            dir: Rc::clone(&self.locked.dir),
            path: self.locked.path.clone(),
            has_record: Cell::new(true),
        }
    }
}

impl std::ops::Deref for Reservation {
    type Target = Locked;
    fn deref(&self) -> &Locked {
        &self.locked
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.committed {
            // What is left then reads as crashed and can be deleted; there is nobody to tell.
            drop(self.locked.remove_all());
        }
    }
}

/// Whether somebody has the container's lock. Looking takes a shared lock for a moment, which is why
/// even the maker of a directory waits for its lock.
pub(super) fn is_locked(root: &OwnedFd, id: &ContainerId) -> Result<bool> {
    let dir = open(root, id)?;
    lock::try_lock(dir, false).map(|free| !free).map_err(failed("lock", id))
}

/// `None` where there is no such file, or it holds no record of `id`.
pub(super) fn read_record(dir: impl AsFd, below: &Path, id: &ContainerId) -> Result<Option<Record>> {
    match fd::read_file(dir, &below.join(RECORD), LIMIT) {
        Ok(bytes) => Ok(Record::parse(id, &bytes)),
        Err(error) if is_elsewhere(error.errno) => Ok(None),
        Err(source) => Err(failed("read", id)(source)),
    }
}

/// Nothing of that name, or something that keg did not make.
fn is_elsewhere(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP)
}

/// What [`Locked::save_config`] kept.
pub(super) fn read_config(dir: impl AsFd, below: &Path) -> sys::Result<Vec<u8>> {
    fd::read_file(dir, &below.join(CONFIG), LIMIT)
}

fn open(root: &OwnedFd, id: &ContainerId) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    fd::open(root, Path::new(id.as_str()), Resolve::Beneath, flags, 0).map_err(|error| match error.errno {
        errno if is_elsewhere(errno) => Error::Unknown(id.clone()),
        _ => failed("open", id)(error),
    })
}

/// Waits for the lock in short sleeps: flock(2) itself has no timeout.
fn wait(dir: &OwnedFd, id: &ContainerId) -> Result<()> {
    let mut since = None;
    let mut pause = Duration::from_micros(500);
    while !lock::try_lock(dir, true).map_err(failed("lock", id))? {
        // Nobody has to wait for hooks of a container that is gone: they may want to know whether it is.
        if read_record(dir, Path::new(""), id)?.is_some_and(|record| record.stage == Stage::Gone) {
            return Err(Error::Unknown(id.clone()));
        }
        if since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            return Err(Error::Busy(id.clone()));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(())
}
