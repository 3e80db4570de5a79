//! A layout that is written to: blobs appear under their digests when they are complete, and `index.json` is replaced at once, by one
//! writer at a time.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::fcntl::OFlag;
use serde_json::{Value, json};

use super::RepackError;
use crate::image::blob::{self, Hasher};
use crate::image::document::Descriptor;
use crate::image::layout::Layout;
use crate::image::leftovers;
use crate::image::progress::Progress;
use crate::sys::fd::{self, Resolve};
use crate::sys::{self, Errno, file, lock};
use crate::types::{Algorithm, Digest};

/// Bytes of an index.
const MOST: usize = 64 << 20;
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY);

/// A layout that blobs can be added to.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    root: OwnedFd,
    blobs: OwnedFd,
}

/// A file that will be called `name` once it is whole.
fn new_file(dir: &OwnedFd, name: &str) -> sys::Result<(OwnedFd, OsString)> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    leftovers::make(dir, OsStr::new(name), |name| fd::open(dir, name, Resolve::Beneath, flags, 0o644))
}

fn make(dir: &OwnedFd, name: &str) -> sys::Result<OwnedFd> {
    match fd::mkdir(dir, Path::new(name), 0o755) {
        Err(error) if error.errno != Errno::EEXIST => return Err(error),
        _ => {}
    }
    fd::open(dir, Path::new(name), Resolve::BeneathMounts, DIRECTORY, 0)
}

impl Store {
    /// Opens the layout, or makes an empty one where there is nothing.
    pub fn open(path: &Path, progress: &Progress) -> Result<Self, RepackError> {
        let failed = |source| RepackError::Write { path: path.to_owned(), source };
        match std::fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
                return Err(failed(sys::Error { call: format!("mkdir({path:?})"), errno }));
            }
            _ => {}
        }
        let root = match fd::open_dir(path) {
            Err(error) if error.errno == Errno::ENOTDIR => return Err(RepackError::Archive(path.to_owned())),
            root => root.map_err(failed)?,
        };
        hold(&root, progress, failed)?;
        leftovers::sweep(&root);
        let names = fd::list(&root).map_err(failed)?;
        let has = |name: &str| names.iter().any(|there| there == Path::new(name));
        // Nothing, or as far as somebody came who was killed.
        if names.iter().all(|name| name == Path::new("oci-layout")) {
            if !has("oci-layout") {
                place(&root, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, false).map_err(failed)?;
            }
            place(&root, "index.json", br#"{"schemaVersion":2,"manifests":[]}"#, false).map_err(failed)?;
        }
        lock::unlock(&root).map_err(failed)?;
        let blobs = make(&root, "blobs").and_then(|blobs| make(&blobs, "sha256")).map_err(failed)?;
        leftovers::sweep(&blobs);
        Ok(Self { path: path.to_owned(), root, blobs })
    }

    fn failed(&self, source: sys::Error) -> RepackError {
        RepackError::Write { path: self.path.clone(), source }
    }

    /// A blob that is being written.
    pub fn blob(&self) -> Result<Blob<'_>, RepackError> {
        let (file, name) = new_file(&self.blobs, "blob").map_err(|source| self.failed(source))?;
        Ok(Blob { store: self, name, file, hasher: Hasher::new(Algorithm::Sha256), size: 0, done: false })
    }

    /// Writes a document as a blob.
    pub fn document(&self, media_type: &str, content: &Value) -> Result<Descriptor, RepackError> {
        let mut blob = self.blob()?;
        let done = blob.write_all(content.to_string().as_bytes());
        done.map_err(|error| self.failed(errno("write", &error)))?;
        let (digest, size) = blob.finish()?;
        Ok(Descriptor::new(media_type, &digest, size))
    }

    /// Copies blobs of another layout, unless they are here. Each is verified.
    pub fn take(&self, from: &Layout, blobs: &[Descriptor], progress: &Progress) -> Result<(), RepackError> {
        for descriptor in blobs {
            let bad = |source| RepackError::Blob { digest: descriptor.digest().ok(), source };
            let digest = descriptor.digest().map_err(|error| bad(error.into()))?;
            let algorithm =
                make(&self.root, "blobs").and_then(|blobs| make(&blobs, digest.algorithm().name()));
            let algorithm = algorithm.map_err(|source| self.failed(source))?;
            if fd::stat_at(&algorithm, Path::new(digest.hex())).is_ok() {
                continue;
            }
            let section = from.find(descriptor).map_err(bad)?;
            let mut blob = self.blob()?;
            blob.hasher = Hasher::new(digest.algorithm());
            let mut buffer = vec![0; 256 << 10];
            loop {
                if progress.is_stopped() {
                    return Err(RepackError::Stopped);
                }
                match section.read_at(&mut buffer, blob.size).map_err(|error| bad(error.into()))? {
                    0 => break,
                    count => blob.write_all(&buffer[..count]).map_err(|e| self.failed(errno("write", &e)))?,
                }
            }
            let found = std::mem::replace(&mut blob.hasher, Hasher::new(Algorithm::Sha256)).finish();
            blob::same(&digest, found).map_err(bad)?;
            blob.rename(&algorithm, &digest).map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    /// Gives an image its names, which whatever had them loses.
    pub fn tag(
        &self,
        manifest: &Descriptor,
        platform: &Value,
        tags: &[String],
        sync: bool,
        progress: &Progress,
    ) -> Result<(), RepackError> {
        let failed = |source| self.failed(source);
        hold(&self.root, progress, failed)?;
        let text = fd::read_file(&self.root, Path::new("index.json"), MOST).map_err(failed)?;
        let mut index: Value = serde_json::from_slice(&text)
            .map_err(|source| RepackError::Json { what: "index.json", source })?;
        let Some(list) = index.get_mut("manifests").and_then(Value::as_array_mut) else {
            return Err(RepackError::Shape("index.json"));
        };
        let digest =
            manifest.digest().map_err(|error| RepackError::Blob { digest: None, source: error.into() })?;
        for tag in tags {
            list.retain(|entry| entry["annotations"][REF_NAME] != json!(tag));
            let mut entry = json!({
                "mediaType": manifest.media_type, "digest": digest.to_string(), "size": manifest.size,
                "annotations": {REF_NAME: tag},
            });
            if !platform.is_null() {
                entry["platform"] = platform.clone();
            }
            list.push(entry);
        }
        if sync {
            file::sync_all(&self.blobs).map_err(failed)?;
        }
        place(&self.root, "index.json", index.to_string().as_bytes(), sync).map_err(failed)?;
        lock::unlock(&self.root).map_err(failed)
    }
}

/// Takes the lock on a layout, one writer at a time.
fn hold(
    root: &OwnedFd,
    progress: &Progress,
    failed: impl Fn(sys::Error) -> RepackError,
) -> Result<(), RepackError> {
    while !lock::try_lock(root, true).map_err(&failed)? {
        if progress.is_stopped() {
            return Err(RepackError::Stopped);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Puts a file in place, whole; with `sync` it is on the disk before it has its name, and the name afterwards.
pub fn place(dir: &OwnedFd, name: &str, content: &[u8], sync: bool) -> sys::Result<()> {
    let (new, temporary) = new_file(dir, name)?;
    let done = fd::write_all(&new, content)
        .and_then(|()| if sync { file::sync(&new) } else { Ok(()) })
        .and_then(|()| fd::rename(dir, Path::new(&temporary), dir, Path::new(name)));
    if done.is_err() {
        fd::unlink(dir, Path::new(&temporary)).unwrap_or(());
    }
    done.and_then(|()| if sync { file::sync(dir) } else { Ok(()) })
}

/// The errno of an error of the standard library.
pub fn errno(call: &str, error: &io::Error) -> sys::Error {
    sys::Error { call: call.to_owned(), errno: Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)) }
}

/// A blob that has no name yet, and none if it is not finished.
#[derive(Debug)]
pub struct Blob<'a> {
    store: &'a Store,
    name: OsString,
    file: OwnedFd,
    hasher: Hasher,
    size: u64,
    done: bool,
}

impl Blob<'_> {
    /// Puts it under its digest, which is given with its size.
    pub fn finish(mut self) -> Result<(Digest, u64), RepackError> {
        let digest = std::mem::replace(&mut self.hasher, Hasher::new(Algorithm::Sha256)).finish();
        let (store, size) = (self.store, self.size);
        self.rename(&store.blobs, &digest).map_err(|source| store.failed(source))?;
        Ok((digest, size))
    }

    fn rename(mut self, to: &OwnedFd, digest: &Digest) -> sys::Result<()> {
        fd::rename(&self.store.blobs, Path::new(&self.name), to, Path::new(digest.hex()))?;
        self.done = true;
        Ok(())
    }
}

impl Write for Blob<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        file::write_at(&self.file, bytes, self.size)?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Blob<'_> {
    fn drop(&mut self) {
        if !self.done {
            fd::unlink(&self.store.blobs, Path::new(&self.name)).unwrap_or(());
        }
    }
}
