//! The directories of a tree and what attributes they are to have in the end, when nothing changes in them any more. The only thing that
//! grows with a hostile layer: its bytes are counted.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::entry::Attributes;
use super::error::EntryError;
use crate::sys::times::Time;

/// Attributes by real path. The root's path is empty.
#[derive(Debug)]
pub struct Directories {
    map: BTreeMap<Box<[u8]>, Kept>,
    bytes: u64,
    most: u64,
}

/// Attributes in little room.
#[derive(Debug)]
struct Kept {
    uid: u32,
    gid: u32,
    mode: u32,
    mtime: Option<Time>,
    xattrs: Option<Box<Xattrs>>,
}

type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// What a directory takes besides the bytes of its path: a place in a node of the map, of which little more than half are in use, and
/// what the allocator adds.
const EACH: usize = 11 * (size_of::<Box<[u8]>>() + size_of::<Kept>()) / 6 + 48;
/// What an extended attribute takes besides its bytes.
const EACH_XATTR: usize = size_of::<(Vec<u8>, Vec<u8>)>() + 32;

impl Kept {
    /// How much memory it takes under this path.
    fn bytes(&self, path: &[u8]) -> u64 {
        let xattrs = self.xattrs.iter().flat_map(|xattrs| xattrs.iter());
        let xattrs = xattrs.map(|(name, value)| name.len() + value.len() + EACH_XATTR);
        (path.len() + EACH + xattrs.sum::<usize>()) as u64
    }
}

impl From<Attributes> for Kept {
    fn from(of: Attributes) -> Self {
        let Attributes { uid, gid, mode, mtime, mut xattrs } = of;
        xattrs.shrink_to_fit();
        Self { uid, gid, mode, mtime, xattrs: (!xattrs.is_empty()).then(|| Box::new(xattrs)) }
    }
}

impl From<Kept> for Attributes {
    fn from(of: Kept) -> Self {
        let Kept { uid, gid, mode, mtime, xattrs } = of;
        Self { uid, gid, mode, mtime, xattrs: xattrs.map_or_else(Vec::new, |xattrs| *xattrs) }
    }
}

impl Directories {
    /// The root alone; about `most` bytes of memory may be taken.
    pub fn new(root: Attributes, most: u64) -> Self {
        Self { map: BTreeMap::from([(Box::default(), root.into())]), bytes: 0, most }
    }

    /// The directory of this path has these attributes.
    pub fn insert(&mut self, path: &[u8], attributes: Attributes) -> Result<(), EntryError> {
        let kept = Kept::from(attributes);
        self.bytes += kept.bytes(path);
        if let Some(old) = self.map.insert(path.into(), kept) {
            self.bytes = self.bytes.saturating_sub(old.bytes(path));
        }
        if self.bytes > self.most { Err(EntryError::Directories(self.most)) } else { Ok(()) }
    }

    /// Whether there is a directory of this path.
    pub fn has(&self, path: &[u8]) -> bool {
        self.map.contains_key(path)
    }

    /// The next directory in this one, in the order of names, after the one given.
    pub fn child_after(&self, path: &[u8], after: Option<&[u8]>) -> Option<Vec<u8>> {
        let prefix = if path.is_empty() { Vec::new() } else { [path, b"/"].concat() };
        let mut from = Bound::Excluded(after.map_or(prefix.clone(), <[u8]>::to_vec));
        loop {
            let (found, _) =
                self.map.range::<[u8], _>((from.as_ref().map(Vec::as_slice), Bound::Unbounded)).next()?;
            let name = found.strip_prefix(&prefix[..])?;
            match name.iter().position(|byte| *byte == b'/') {
                None => return Some(found.to_vec()),
                // Deeper: all that is in that child comes before what is greater than a slash.
                Some(at) => from = Bound::Included([&found[..prefix.len() + at], &[b'/' + 1]].concat()),
            }
        }
    }

    /// The directory of this path is gone, with all below it.
    pub fn remove(&mut self, path: &[u8]) {
        let below = [path, b"/"].concat();
        let gone: Vec<_> = self
            .map
            .range::<[u8], _>((Bound::Included(&below[..]), Bound::Unbounded))
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(&below))
            .cloned()
            .collect();
        for path in gone.iter().map(|path| &path[..]).chain([path]) {
            if let Some(old) = self.map.remove(path) {
                self.bytes = self.bytes.saturating_sub(old.bytes(path));
            }
        }
    }

    /// All of them, those furthest down first: a parent that may not be entered any more comes after its children.
    pub fn take(&mut self) -> impl Iterator<Item = (Vec<u8>, Attributes)> + use<> {
        std::mem::take(&mut self.map).into_iter().rev().map(|(path, kept)| (path.into_vec(), kept.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::Directories;
    use crate::image::layer::entry::Attributes;

    #[test]
    fn what_is_kept_is_bounded() {
        let with = |bytes: usize| Attributes {
            xattrs: vec![(b"user.x".to_vec(), vec![0; bytes])],
            ..Attributes::default()
        };
        let mut directories = Directories::new(Attributes::default(), 4_000);
        for _ in 0..9 {
            directories.insert(b"a", with(1_000)).unwrap();
        }
        directories.insert(b"a/b", with(1_000)).unwrap();
        directories.insert(b"ab", with(1_000)).unwrap();
        assert!(directories.insert(b"c", with(1_000)).is_err());
        directories.remove(b"a");
        directories.insert(b"c", with(1_000)).unwrap();
        let left: Vec<_> = directories.take().map(|(path, _)| path).collect();
        assert_eq!(left, [&b"c"[..], b"ab", b""]);
    }
}
