//! The entries of a tar stream: header, extended headers and long names made into one [`Entry`],
//! the content handed out in pieces. Nothing is written here.

use std::io::BufRead;

use super::error::{EntryError, HeaderError, Shown};
use super::header::{self, BLOCK, Fields};
use super::pending::Pending;
use super::{Error, sparse};
use crate::sys::times::Time;

/// One entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name as it stands.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Owner, mode, time and extended attributes.
    pub attributes: Attributes,
    /// Whether it has an access control list as text, whose names are those of some host.
    pub has_text_acl: bool,
}

/// What a file has beside its content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// When it was last changed.
    pub mtime: Option<Time>,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file; the map says where its content goes if it has holes.
    File(Option<sparse::Map>),
    /// A directory.
    Directory,
    /// A symlink and where it points.
    Symlink(Vec<u8>),
    /// Another name of a file of this or a lower layer.
    Hardlink(Vec<u8>),
    /// A character device.
    Character(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// Reads entries one after another.
pub struct Reader<R> {
    input: R,
    header_bytes: u64,
    offset: u64,
    content: u64,
    padding: u64,
}

impl<R: BufRead> Reader<R> {
    /// Reads a tar from its beginning; extended headers beyond `header_bytes` are refused.
    pub fn new(input: R, header_bytes: u64) -> Self {
        Self { input, header_bytes, offset: 0, content: 0, padding: 0 }
    }

    /// How many bytes have been read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next piece of the current entry's content; empty at its end.
    pub fn content(&mut self) -> Result<&[u8], Error> {
        if self.content == 0 {
            return Ok(&[]);
        }
        let buffer = self.input.fill_buf()?;
        if buffer.is_empty() {
            return Err(Error::Truncated("the content of an entry"));
        }
        let most = usize::try_from(self.content).map_or(buffer.len(), |left| left.min(buffer.len()));
        Ok(&buffer[..most])
    }

    /// Says how much of the last piece has been used.
    pub fn advance(&mut self, count: usize) {
        self.input.consume(count);
        self.offset += count as u64;
        self.content -= count as u64;
    }

    /// The next entry; `None` after the last.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        self.skip_rest()?;
        let mut pending = Pending::default();
        loop {
            let offset = self.offset;
            let at = |source: HeaderError| Error::Header { offset, source };
            let Some(block) = self.block()? else {
                return pending.end().map(|()| None).map_err(at);
            };
            if block.iter().all(|byte| *byte == 0) {
                pending.end().map_err(at)?;
                return match self.block()? {
                    Some(second) if second.iter().any(|byte| *byte != 0) => Err(at(HeaderError::LoneZero)),
                    _ => Ok(None),
                };
            }
            let fields = header::parse(&block).map_err(|error| at(error.into()))?;
            if !Pending::is_for(fields.kind) {
                return self.entry(&block, &fields, pending, offset).map(Some);
            }
            pending.push(fields.kind, &self.extension(&fields)?).map_err(at)?;
        }
    }

    fn entry(
        &mut self,
        block: &[u8; BLOCK],
        fields: &Fields,
        from: Pending,
        offset: u64,
    ) -> Result<Entry, Error> {
        let at = |source: HeaderError| Error::Header { offset, source };
        let tar = tar::Header::from_byte_slice(block);
        let pax = from.records().map_err(at)?;
        let sparse = sparse::from_records(&pax.sparse).map_err(|error| at(error.into()))?;
        let name = sparse.as_ref().and_then(|sparse| sparse.name.clone()).or(pax.path);
        let name = name.unwrap_or_else(|| tar.path_bytes().into_owned());
        let link = || pax.link.unwrap_or_else(|| tar.link_name_bytes().unwrap_or_default().into_owned());

        let size = pax.size.unwrap_or(fields.size);
        let file_or_directory = |old: bool| match (name.last(), old) {
            (Some(b'/'), true) => Ok(Kind::Directory),
            (Some(b'/'), false) => Err(entry_error(&name, EntryError::TrailingSlash)),
            _ => Ok(Kind::File(None)),
        };
        let device = || device(fields.device).map_err(|error| entry_error(&name, error));
        let mut kind = match fields.kind {
            0 => file_or_directory(true)?,
            b'0' | b'7' | b'S' => file_or_directory(false)?,
            b'1' => Kind::Hardlink(link()),
            b'2' => Kind::Symlink(link()),
            b'3' => device().map(|(major, minor)| Kind::Character(major, minor))?,
            b'4' => device().map(|(major, minor)| Kind::Block(major, minor))?,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(at(header::Error::Type(char::from(other)).into())),
        };
        let owner = |id: u64| {
            u32::try_from(id)
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or_else(|| entry_error(&name, EntryError::Owner(id)))
        };
        let mtime = pax.mtime.unwrap_or(Time { seconds: fields.mtime, nanoseconds: 0 });
        let attributes = Attributes {
            uid: owner(pax.uid.unwrap_or(fields.uid))?,
            gid: owner(pax.gid.unwrap_or(fields.gid))?,
            mode: fields.mode,
            mtime: Some(mtime),
            xattrs: pax.xattrs,
        };
        if let Kind::File(map) = &mut kind {
            // Only regular files have content, whatever the size of another says.
            self.begin_content(size);
            *map = if fields.kind == b'S' {
                Some(self.old_sparse(block, size).map_err(|error| error.unwrap_or_else(at))?)
            } else if let Some(sparse) = sparse {
                Some(self.pax_sparse(sparse).map_err(|error| error.unwrap_or_else(at))?)
            } else {
                None
            };
        }
        Ok(Entry { name, kind, attributes, has_text_acl: pax.has_text_acl })
    }

    fn begin_content(&mut self, size: u64) {
        self.content = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// The map in an old GNU header and in the blocks that continue it.
    fn old_sparse(&mut self, block: &[u8; BLOCK], stored: u64) -> Result<sparse::Map, SparseError> {
        let mut stretches = Vec::new();
        sparse::old_table(&block[386..482], &mut stretches)?;
        let mut more = block[482] != 0;
        while more {
            if stretches.len() as u64 * 24 > self.header_bytes {
                return Err(SparseError::Map(sparse::Error));
            }
            let next = self.block()?.ok_or(Error::Truncated("a sparse map"))?;
            sparse::old_table(&next[..504], &mut stretches)?;
            more = next[504] != 0;
        }
        let length =
            header::number(&block[483..495], "size").ok().and_then(|length| u64::try_from(length).ok());
        Ok(sparse::Map::new(length.ok_or(sparse::Error)?, stretches, stored)?)
    }

    /// The map in PAX records, or at the beginning of the content.
    fn pax_sparse(&mut self, records: sparse::Records) -> Result<sparse::Map, SparseError> {
        let length = records.length.ok_or(sparse::Error)?;
        let stretches = match records.stretches {
            Some(stretches) => stretches,
            None => {
                let mut map = sparse::LeadingMap::default();
                loop {
                    if self.content < BLOCK as u64 || map.len() as u64 > self.header_bytes {
                        return Err(SparseError::Map(sparse::Error));
                    }
                    let block = self.block()?.ok_or(Error::Truncated("a sparse map"))?;
                    self.content -= BLOCK as u64;
                    if let Some(stretches) = map.push(&block)? {
                        break stretches;
                    }
                }
            }
        };
        Ok(sparse::Map::new(length, stretches, self.content)?)
    }

    /// The content of an extended header.
    fn extension(&mut self, fields: &Fields) -> Result<Vec<u8>, Error> {
        let (size, limit) = (fields.size, self.header_bytes);
        if size > limit {
            return Err(Error::Header { offset: self.offset, source: HeaderError::TooLong { size, limit } });
        }
        self.begin_content(size);
        let mut bytes = Vec::new();
        loop {
            let piece = self.content()?;
            if piece.is_empty() {
                break;
            }
            let count = piece.len();
            bytes.extend_from_slice(piece);
            self.advance(count);
        }
        self.skip_rest()?;
        Ok(bytes)
    }

    /// Skips what is left of the content and its padding. The padding of the last entry may be
    /// missing, as may the blocks that end a tar: umoci leaves them out.
    fn skip_rest(&mut self) -> Result<(), Error> {
        loop {
            match self.content()?.len() {
                0 => break,
                count => self.advance(count),
            }
        }
        while self.padding > 0 {
            let most = usize::try_from(self.padding).unwrap_or(BLOCK);
            match self.input.fill_buf()?.len().min(most) {
                0 => self.padding = 0,
                count => {
                    self.input.consume(count);
                    self.offset += count as u64;
                    self.padding -= count as u64;
                }
            }
        }
        Ok(())
    }

    /// One block; `None` where the stream ends before it.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let buffer = self.input.fill_buf()?;
            let count = buffer.len().min(BLOCK - filled);
            if count == 0 {
                return if filled == 0 { Ok(None) } else { Err(Error::Truncated("a header")) };
            }
            block[filled..filled + count].copy_from_slice(&buffer[..count]);
            self.input.consume(count);
            filled += count;
        }
        self.offset += BLOCK as u64;
        Ok(Some(block))
    }
}

/// Either the map is malformed, which is an error of the header, or reading it failed.
enum SparseError {
    Map(sparse::Error),
    Read(Error),
}

impl SparseError {
    fn unwrap_or_else(self, at: impl FnOnce(HeaderError) -> Error) -> Error {
        match self {
            Self::Map(error) => at(error.into()),
            Self::Read(error) => error,
        }
    }
}

impl From<sparse::Error> for SparseError {
    fn from(error: sparse::Error) -> Self {
        Self::Map(error)
    }
}

impl From<Error> for SparseError {
    fn from(error: Error) -> Self {
        Self::Read(error)
    }
}

/// An error of the entry called `name`.
pub fn entry_error(name: &[u8], source: EntryError) -> Error {
    Error::Entry { name: Shown::new(name), source }
}

/// Device numbers as the kernel has them: 12 and 20 bits.
fn device((major, minor): (u64, u64)) -> Result<(u32, u32), EntryError> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(small_major), Ok(small_minor)) if small_major < 1 << 12 && small_minor < 1 << 20 => {
            Ok((small_major, small_minor))
        }
        _ => Err(EntryError::Device(major, minor)),
    }
}
