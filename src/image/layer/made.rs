//! What the layer being applied has made or emptied so far, so that its whiteouts spare it. A path is a hash of eight bytes here, with
//! all that is known of it.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::error::EntryError;

/// What is known of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The layer has an entry of this path.
    Own,
    /// The layer has made this directory: there is nothing of a lower layer in it.
    OwnDirectory,
    /// A directory of a lower layer in which nothing of lower layers is left.
    Emptied,
}

/// How many tables there are: one that grows is there twice meanwhile.
const TABLES: usize = 16;

/// The marks of one layer.
#[derive(Debug)]
pub struct Made {
    tables: [HashSet<u64>; TABLES],
    hashes: RandomState,
    count: u64,
    most: u64,
}

impl Made {
    /// None; `most` are kept.
    pub fn new(most: u64) -> Self {
        let tables = std::array::from_fn(|_| HashSet::new());
        Self { tables, hashes: RandomState::new(), count: 0, most }
    }

    fn hash(&self, path: &[u8]) -> u64 {
        self.hashes.hash_one(path) << 2
    }

    /// Whether it is new.
    pub fn insert(&mut self, path: &[u8], mark: Mark) -> Result<bool, EntryError> {
        let hash = self.hash(path);
        let is_new = self.tables[table(hash)].insert(hash | mark as u64);
        self.count += u64::from(is_new);
        if self.count > self.most { Err(EntryError::Made(self.most)) } else { Ok(is_new) }
    }

    /// Whether one of these is known of a path.
    pub fn has(&self, path: &[u8], marks: [Mark; 2]) -> bool {
        let hash = self.hash(path);
        marks.iter().any(|mark| self.tables[table(hash)].contains(&(hash | *mark as u64)))
    }
}

/// By the bits above those of the mark.
fn table(hash: u64) -> usize {
    (hash >> 2) as usize % TABLES
}

#[cfg(test)]
mod tests {
    use super::{Made, Mark};

    #[test]
    fn marks_are_apart_and_bounded() {
        let mut made = Made::new(3);
        assert!(made.insert(b"a", Mark::Own).unwrap() && !made.insert(b"a", Mark::Own).unwrap());
        assert!(made.insert(b"d", Mark::OwnDirectory).unwrap() && made.insert(b"e", Mark::Emptied).unwrap());
        let own = |path: &[u8]| made.has(path, [Mark::Own, Mark::OwnDirectory]);
        let clean = |path: &[u8]| made.has(path, [Mark::Emptied, Mark::OwnDirectory]);
        assert_eq!([b"a", b"d", b"e", b"x"].map(|path| own(path)), [true, true, false, false]);
        assert_eq!([b"a", b"d", b"e", b"x"].map(|path| clean(path)), [false, true, true, false]);
        assert!(made.insert(b"x", Mark::Own).is_err());
    }
}
