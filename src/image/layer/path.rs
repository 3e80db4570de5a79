//! Names in a layer are bytes that somebody else chose. Here they become a directory and one name
//! in it, or are refused.

/// Where an entry goes, before any symlink has been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryPath {
    /// The root directory itself.
    Root,
    /// One name in a directory.
    Below {
        /// The directory: names between single slashes, none of them `.` or `..`; empty for the root.
        parent: Vec<u8>,
        /// The last name.
        name: Vec<u8>,
    },
}

/// A name that no entry may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing at all.
    #[error("the name is empty")]
    Empty,
    /// A zero byte.
    #[error("the name contains a zero byte")]
    Nul,
    /// `..`.
    #[error("the name contains \"..\"")]
    DotDot,
    /// More bytes than a path may have.
    #[error("the name is longer than 4095 bytes, or a part of it longer than 255")]
    TooLong,
    /// More directories than allowed.
    #[error("the name has more than {0} parts")]
    TooDeep(usize),
}

/// The longest path the kernel takes (PATH_MAX without the zero), and the longest name.
pub const PATH_MAX: usize = 4095;
const NAME_MAX: usize = 255;

/// Takes a name apart. Leading slashes, `.` and doubled slashes mean nothing.
pub fn parse(raw: &[u8], depth: usize) -> Result<EntryPath, Error> {
    if raw.is_empty() {
        return Err(Error::Empty);
    }
    if raw.contains(&0) {
        return Err(Error::Nul);
    }
    if raw.len() > PATH_MAX {
        return Err(Error::TooLong);
    }
    let mut parts: Vec<&[u8]> = components(raw).collect();
    if parts.iter().any(|part| *part == b"..") {
        return Err(Error::DotDot);
    }
    if parts.iter().any(|part| part.len() > NAME_MAX) {
        return Err(Error::TooLong);
    }
    if parts.len() > depth {
        return Err(Error::TooDeep(depth));
    }
    match parts.pop() {
        None => Ok(EntryPath::Root),
        Some(name) => Ok(EntryPath::Below { parent: parts.join(&b'/'), name: name.to_vec() }),
    }
}

/// The parts of a path that mean something; `..` is one of them.
pub fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// A directory's path and a name in it as one path.
pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

#[cfg(test)]
mod tests {
    use super::{EntryPath, Error, parse};

    #[test]
    fn names_become_a_directory_and_a_name() {
        for (raw, parent, name) in [
            ("a", "", "a"),
            ("/a", "", "a"),
            ("./a/", "", "a"),
            ("//usr/./lib//x/", "usr/lib", "x"),
            ("a/...", "a", "..."),
            ("a/..b", "a", "..b"),
        ] {
            let expected = EntryPath::Below { parent: parent.into(), name: name.into() };
            assert_eq!(parse(raw.as_bytes(), 9), Ok(expected), "{raw}");
        }
        for root in [".", "/", "./", "//", "/./."] {
            assert_eq!(parse(root.as_bytes(), 9), Ok(EntryPath::Root), "{root}");
        }
    }

    #[test]
    fn names_that_are_refused() {
        for (raw, error) in [
            (&b""[..], Error::Empty),
            (b"a\0b", Error::Nul),
            (b"..", Error::DotDot),
            (b"../etc/passwd", Error::DotDot),
            (b"a/..", Error::DotDot),
            (b"/a/../../b", Error::DotDot),
            (&[b'x'; 256], Error::TooLong),
            (&[b'/'; 4096], Error::TooLong),
            (b"1/2/3/4", Error::TooDeep(3)),
        ] {
            assert_eq!(parse(raw, 3), Err(error), "{:?}", raw.escape_ascii().to_string());
        }
    }
}
