//! The directories of a tree and what attributes they are to have in the end, when nothing changes in them any more. The only thing that
//! grows with a hostile layer: its bytes are counted.

use std::collections::BTreeMap;

use super::entry::Attributes;
use super::error::EntryError;

/// Attributes by real path.
#[derive(Debug)]
pub struct Directories {
    map: BTreeMap<Vec<u8>, Attributes>,
    bytes: u64,
    most: u64,
}

/// What is kept of one directory.
fn bytes(path: &[u8], attributes: &Attributes) -> u64 {
    let xattrs = attributes.xattrs.iter().map(|(name, value)| name.len() + value.len());
    (path.len() + size_of::<Attributes>() + xattrs.sum::<usize>()) as u64
}

impl Directories {
    /// The root alone; `most` bytes of names and attributes are kept.
    pub fn new(root: Attributes, most: u64) -> Self {
        Self { map: BTreeMap::from([(Vec::new(), root)]), bytes: 0, most }
    }

    /// The directory of this path has these attributes.
    pub fn insert(&mut self, path: &[u8], attributes: Attributes) -> Result<(), EntryError> {
        self.bytes += bytes(path, &attributes);
        if let Some(old) = self.map.insert(path.to_vec(), attributes) {
            self.bytes = self.bytes.saturating_sub(bytes(path, &old));
        }
        if self.bytes > self.most { Err(EntryError::Directories(self.most)) } else { Ok(()) }
    }

    /// The directory of this path is gone, with all below it.
    pub fn remove(&mut self, path: &[u8]) {
        let below = [path, b"/"].concat();
        let gone: Vec<_> = self
            .map
            .range(below.clone()..)
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(&below))
            .cloned()
            .collect();
        for path in gone.iter().map(Vec::as_slice).chain([path]) {
            if let Some(old) = self.map.remove(path) {
                self.bytes = self.bytes.saturating_sub(bytes(path, &old));
            }
        }
    }

    /// All of them, those furthest down first: a parent that may not be entered any more comes after its children.
    pub fn take(&mut self) -> impl Iterator<Item = (Vec<u8>, Attributes)> + use<> {
        std::mem::take(&mut self.map).into_iter().rev()
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
