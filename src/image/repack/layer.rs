//! The layer that makes of the image what the bundle has become: deletions first, then what is there, each directory before what is in it.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;
use tar::EntryType;

use super::compare::{self, Change, Changes};
use super::frames::Frames;
use super::store::Blob;
use super::{RepackError, tar as writer};
use crate::image::blob::Hasher;
use crate::image::layer::{ROOTLESS, as_path, owner_of_record};
use crate::image::progress::Progress;
use crate::sys::fd::{self, Resolve};
use crate::sys::times::Time;
use crate::sys::{self, file};
use crate::types::{Algorithm, Digest};

/// How a new layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LayerCompression {
    /// What every tool reads.
    #[default]
    Gzip,
    /// Faster to write and to read.
    Zstd,
}

/// The compressed bytes go to a blob.
enum Encoder<'a> {
    Gzip(Box<flate2::write::GzEncoder<Blob<'a>>>),
    Zstd(Box<Frames<'a>>),
}

/// Takes the bytes of a tar.
pub struct Layer<'a> {
    encoder: Encoder<'a>,
    plain: Hasher,
    root: &'a OwnedFd,
    latest: Option<i64>,
    progress: &'a Progress,
    /// The first name of files that have several.
    names: HashMap<(u64, u64), Vec<u8>>,
}

impl Write for Layer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.encoder {
            Encoder::Gzip(encoder) => encoder.write_all(bytes)?,
            Encoder::Zstd(encoder) => encoder.write_all(bytes)?,
        }
        self.plain.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// Of the blob.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// Of the uncompressed layer.
    pub diff_id: Digest,
}

impl<'a> Layer<'a> {
    /// A layer of names below `root`, whose times are no later than `latest`.
    pub fn new(
        blob: Blob<'a>,
        compression: LayerCompression,
        root: &'a OwnedFd,
        latest: Option<i64>,
        progress: &'a Progress,
    ) -> Self {
        let encoder = match compression {
            LayerCompression::Gzip => {
                Encoder::Gzip(Box::new(flate2::write::GzEncoder::new(blob, flate2::Compression::default())))
            }
            LayerCompression::Zstd => Encoder::Zstd(Box::new(Frames::new(blob))),
        };
        let (plain, names) = (Hasher::new(Algorithm::Sha256), HashMap::new());
        Self { encoder, plain, root, latest, progress, names }
    }

    /// Writes all of it.
    pub fn write_changes(mut self, changes: &Changes) -> Result<Written, RepackError> {
        for (path, change) in &changes.paths {
            if *change == Change::Deleted {
                self.deletion(path).map_err(failed(path))?;
            }
        }
        for (path, change) in &changes.paths {
            if *change == Change::There {
                self.entry(path).map_err(failed(path))?;
            }
            if self.progress.is_stopped() {
                return Err(RepackError::Stopped);
            }
        }
        writer::end(&mut self).map_err(failed(b""))?;
        let diff_id = self.plain.finish();
        let blob = match self.encoder {
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Zstd(encoder) => encoder.finish(),
        };
        let (digest, size) = blob.map_err(failed(b""))?.finish()?;
        Ok(Written { digest, size, diff_id })
    }

    /// The file `.wh.NAME` in the directory of NAME.
    fn deletion(&mut self, path: &[u8]) -> io::Result<()> {
        let at = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let name = [&path[..at], b".wh.", &path[at..]].concat();
        let entry = writer::Entry {
            name: &name,
            kind: EntryType::Regular,
            link: b"",
            size: 0,
            mode: 0,
            owner: (0, 0),
            mtime: Time::default(),
            device: (0, 0),
            xattrs: &[],
        };
        writer::header(self, &entry)
    }

    fn entry(&mut self, path: &[u8]) -> io::Result<()> {
        let at = path.iter().rposition(|byte| *byte == b'/');
        let (above, name) = at.map_or((&b"."[..], path), |at| (&path[..at], &path[at + 1..]));
        let name = if path.is_empty() { &b"."[..] } else { name };
        if name.starts_with(b".wh.") {
            return Err(io::Error::other("no name that begins with \".wh.\" can be in a layer"));
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let above = fd::open(self.root, as_path(above), Resolve::Beneath, flags, 0)?;
        let stat = if path.is_empty() { fd::stat(self.root) } else { fd::stat_at(&above, as_path(name)) }?;
        let kind = fd::file_type(&stat);
        let mut xattrs = compare::xattrs(&above, name, kind)?;
        let owner = owner(&mut xattrs, (stat.st_uid, stat.st_gid));
        let target = match kind {
            SFlag::S_IFLNK => fd::read_link(&above, as_path(name))?.into_os_string().into_encoded_bytes(),
            _ => Vec::new(),
        };
        let device = device(stat.st_rdev);
        let mut entry = writer::Entry {
            name: if path.is_empty() { b"." } else { path },
            kind: entry_type(kind),
            link: &target,
            size: 0,
            mode: stat.st_mode,
            owner,
            mtime: self.mtime(stat.st_mtime, stat.st_mtime_nsec),
            device,
            xattrs: &xattrs,
        };
        if kind != SFlag::S_IFDIR && stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.names.get(&inode).cloned() {
                (entry.kind, entry.link, entry.xattrs) = (EntryType::Link, &first, &[]);
                return writer::header(self, &entry);
            }
            self.names.insert(inode, path.to_vec());
        }
        if kind != SFlag::S_IFREG {
            return writer::header(self, &entry);
        }
        let content = fd::open(&above, as_path(name), Resolve::Beneath, OFlag::O_RDONLY, 0)?;
        entry.size = u64::try_from(fd::stat(&content)?.st_size).unwrap_or(0);
        writer::header(self, &entry)?;
        self.content(&content, entry.size)?;
        writer::padding(self, entry.size)
    }

    fn content(&mut self, from: &OwnedFd, size: u64) -> io::Result<()> {
        let mut buffer = vec![0; 256 << 10];
        let mut at = 0;
        while at < size && !self.progress.is_stopped() {
            let room = usize::try_from(size - at).map_or(buffer.len(), |left| left.min(buffer.len()));
            let count = file::read_at(from, &mut buffer[..room], at)?;
            if count == 0 {
                return Err(io::Error::other("the file became shorter while it was read"));
            }
            self.write_all(&buffer[..count])?;
            at += count as u64;
        }
        Ok(())
    }

    fn mtime(&self, seconds: i64, nanoseconds: i64) -> Time {
        match self.latest {
            Some(latest) if seconds >= latest => Time { seconds: latest, nanoseconds: 0 },
            _ => Time { seconds, nanoseconds: u32::try_from(nanoseconds).unwrap_or(0) },
        }
    }
}

/// Major and minor number; the kernel has 12 and 20 bits for them.
fn device(number: u64) -> (u32, u32) {
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    (u32::try_from(major).unwrap_or(0), u32::try_from(minor).unwrap_or(0))
}

fn entry_type(kind: SFlag) -> EntryType {
    match kind {
        SFlag::S_IFDIR => EntryType::Directory,
        SFlag::S_IFLNK => EntryType::Symlink,
        SFlag::S_IFCHR => EntryType::Char,
        SFlag::S_IFBLK => EntryType::Block,
        SFlag::S_IFIFO => EntryType::Fifo,
        _ => EntryType::Regular,
    }
}

/// Who owns a file in the image. Somebody who is not root owns everything himself, and has recorded who else should.
fn owner(xattrs: &mut compare::Xattrs, found: (u32, u32)) -> (u32, u32) {
    let record = xattrs.iter().position(|(name, _)| name == ROOTLESS).map(|at| xattrs.remove(at).1);
    let recorded = record.and_then(|message| owner_of_record(&message));
    if nix::unistd::geteuid().is_root() { recorded.unwrap_or(found) } else { recorded.unwrap_or((0, 0)) }
}

/// Names the file that cannot be written to the layer.
fn failed(path: &[u8]) -> impl FnOnce(io::Error) -> RepackError {
    let path = String::from_utf8_lossy(path).into_owned();
    move |source| RepackError::Entry { path, source: Plain(source) }
}

/// An error of `std::io` in the words of the rest.
#[derive(Debug, thiserror::Error)]
#[error("{}", sys::error::describe_io(.0))]
pub struct Plain(io::Error);
