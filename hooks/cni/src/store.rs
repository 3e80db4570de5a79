//! The state directory. `containers/ID/` belongs to whoever has flock(2) on it; a hook that dies lets go.
//!
//! ```text
//! STATE/lock                       shared while one attaches or detaches, alone for gc
//! STATE/names                      held while files of names are written
//! STATE/containers/ID/eth0.json    an attachment: written before ADD begins, removed when DEL is done
//!                     netns        the network namespace, mounted here so that DEL finds it
//!                     hosts …      what is mounted into the container
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::attachment::Attachment;
use crate::error::{self, Doing, Error, Result};

const RECORD: &str = "json";

/// The state directory.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    patience: Duration,
}

/// A lock, until it is dropped.
pub type Lock = Flock<File>;

impl Store {
    /// Makes the directory if need be. `patience`: how long locks are waited for.
    pub fn open(dir: &Path, patience: Duration) -> Result<Self> {
        // Plugins have another working directory.
        let dir = std::path::absolute(dir).doing("finding", dir)?;
        let containers = dir.join("containers");
        DirBuilder::new().recursive(true).mode(0o700).create(&containers).doing("making", &containers)?;
        Ok(Self { dir, patience })
    }

    /// For those who work on one container each.
    pub fn share(&self) -> Result<Lock> {
        self.lock_file("lock", FlockArg::LockSharedNonblock)
    }

    /// For those who must know all attachments.
    pub fn exclude(&self) -> Result<Lock> {
        self.lock_file("lock", FlockArg::LockExclusiveNonblock)
    }

    /// For those who write files of names.
    pub fn names(&self) -> Result<Lock> {
        self.lock_file("names", FlockArg::LockExclusiveNonblock)
    }

    fn lock_file(&self, name: &str, how: FlockArg) -> Result<Lock> {
        let path = self.dir.join(name);
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(&path);
        lock(file.doing("opening", &path)?, how, self.patience, &path)
    }

    /// Takes a container, making its directory.
    pub fn make(&self, container: &str) -> Result<Locked> {
        loop {
            let dir = self.container(container);
            match DirBuilder::new().mode(0o700).create(&dir) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(error).doing("making", &dir);
                }
                _ => {}
            }
            if let Some(locked) = self.take(container)? {
                return Ok(locked);
            }
        }
    }

    /// Takes a container that is known here.
    pub fn take(&self, container: &str) -> Result<Option<Locked>> {
        let dir = self.container(container);
        let file = match File::open(&dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.doing("opening", &dir)?,
        };
        let lock = lock(file, FlockArg::LockExclusiveNonblock, self.patience, &dir)?;
        // Whoever had the lock before may have removed the directory.
        let links = lock.metadata().doing("reading", &dir)?.nlink();
        Ok((links > 0).then_some(Locked { dir, _lock: lock }))
    }

    fn container(&self, name: &str) -> PathBuf {
        self.dir.join("containers").join(name)
    }

    /// The names of all containers.
    pub fn containers(&self) -> Result<Vec<String>> {
        let dir = self.dir.join("containers");
        let mut names = Vec::new();
        for entry in fs::read_dir(&dir).doing("reading", &dir)? {
            let name = entry.doing("reading", &dir)?.file_name();
            names.extend(name.into_string());
        }
        names.sort();
        Ok(names)
    }

    /// All attachments with the directories of their containers, the oldest first. Nobody is waited for.
    pub fn attachments(&self) -> Result<Vec<(PathBuf, Attachment)>> {
        let mut all = Vec::new();
        for name in self.containers()? {
            let dir = self.container(&name);
            all.extend(read_all(&dir)?.into_iter().map(|attachment| (dir.clone(), attachment)));
        }
        all.sort_by_key(|(_, attachment)| attachment.made);
        Ok(all)
    }
}

/// A container that is this process's own until it is dropped.
#[derive(Debug)]
pub struct Locked {
    dir: PathBuf,
    _lock: Lock,
}

impl Locked {
    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its attachments, the oldest first.
    pub fn attachments(&self) -> Result<Vec<Attachment>> {
        let mut all = read_all(&self.dir)?;
        all.sort_by_key(|attachment| attachment.made);
        Ok(all)
    }

    /// Writes or replaces an attachment: whoever reads sees the old one or the new one.
    pub fn write(&self, attachment: &Attachment) -> Result<()> {
        let path = self.record(attachment);
        let bytes = serde_json::to_vec(attachment).map_err(|error| error::json(&path, error))?;
        let new = path.with_extension("new");
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(true).write(true).mode(0o600).open(&new);
        file.and_then(|mut file| file.write_all(&bytes)).doing("writing", &new)?;
        fs::rename(&new, &path).doing("writing", &path)
    }

    /// Forgets an attachment.
    pub fn forget(&self, attachment: &Attachment) -> Result<()> {
        let path = self.record(attachment);
        fs::remove_file(&path).doing("removing", &path)
    }

    fn record(&self, attachment: &Attachment) -> PathBuf {
        self.dir.join(&attachment.interface).with_added_extension(RECORD)
    }

    /// Removes the directory of a container that has no attachments and no network namespace here.
    pub fn remove(self) -> Result<()> {
        for entry in fs::read_dir(&self.dir).doing("reading", &self.dir)? {
            let path = entry.doing("reading", &self.dir)?.path();
            fs::remove_file(&path).doing("removing", &path)?;
        }
        fs::remove_dir(&self.dir).doing("removing", &self.dir)
    }
}

fn read_all(dir: &Path) -> Result<Vec<Attachment>> {
    let entries = match fs::read_dir(dir) {
        // Detached since the directory above was read.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.doing("reading", dir)?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.doing("reading", dir)?.path();
        if path.extension().is_none_or(|extension| extension != RECORD) {
            continue;
        }
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            bytes => {
                let attachment = serde_json::from_slice(&bytes.doing("reading", &path)?);
                all.push(attachment.map_err(|error| error::json(&path, error))?);
            }
        }
    }
    Ok(all)
}

/// Waits for the lock in short sleeps: flock(2) itself has no timeout.
fn lock(mut file: File, how: FlockArg, patience: Duration, path: &Path) -> Result<Lock> {
    let start = Instant::now();
    loop {
        file = match Flock::lock(file, how) {
            Ok(lock) => return Ok(lock),
            Err((file, Errno::EWOULDBLOCK | Errno::EINTR)) => file,
            Err((_, errno)) => return Err(errno).doing("locking", path),
        };
        if start.elapsed() > patience {
            let text = format!("{} is in use by another hook for {} s", path.display(), patience.as_secs());
            return Err(Error::Wrong(text));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
