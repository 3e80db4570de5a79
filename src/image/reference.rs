//! What was typed after `--image`: `PATH`, `PATH:REF` or `PATH@DIGEST`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::types::Digest;

/// An image in a layout on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRef {
    /// The layout: a directory, or an archive of one.
    pub layout: PathBuf,
    /// Which of its images.
    pub wanted: Wanted,
}

/// Which image of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The only one there is.
    Only,
    /// The one whose `org.opencontainers.image.ref.name` this is.
    Name(String),
    /// The manifest or index with this digest.
    Digest(Digest),
}

/// The text names no image.
#[derive(Debug, thiserror::Error)]
pub enum InvalidReference {
    /// Nothing before the colon.
    #[error("image reference {0:?} names no layout")]
    NoLayout(String),
    /// Nothing after the colon.
    #[error("image reference {0:?} ends in an empty reference")]
    EmptyName(String),
}

impl ImageRef {
    /// Splits the text. Both halves may hold colons: the longest beginning that `exists` is the
    /// path; where none exists, what stands before the first colon is.
    pub fn parse(text: &str, exists: impl Fn(&Path) -> bool) -> Result<Self, InvalidReference> {
        if text.is_empty() {
            return Err(InvalidReference::NoLayout(text.to_owned()));
        }
        if exists(Path::new(text)) {
            return Ok(Self { layout: text.into(), wanted: Wanted::Only });
        }
        if let Some((path, Ok(digest))) =
            text.rsplit_once('@').map(|(path, rest)| (path, Digest::parse(rest)))
        {
            return Self::split(text, path, Wanted::Digest(digest));
        }
        let colons = || text.match_indices(':').map(|(at, _)| at);
        let at = colons().rev().find(|at| exists(Path::new(&text[..*at]))).or_else(|| colons().next());
        match at {
            None => Ok(Self { layout: text.into(), wanted: Wanted::Only }),
            Some(at) if at + 1 == text.len() => Err(InvalidReference::EmptyName(text.to_owned())),
            Some(at) => Self::split(text, &text[..at], Wanted::Name(text[at + 1..].to_owned())),
        }
    }

    fn split(text: &str, path: &str, wanted: Wanted) -> Result<Self, InvalidReference> {
        if path.is_empty() {
            return Err(InvalidReference::NoLayout(text.to_owned()));
        }
        Ok(Self { layout: path.into(), wanted })
    }
}

impl FromStr for ImageRef {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text, Path::exists)
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = self.layout.display();
        match &self.wanted {
            Wanted::Only => write!(f, "{layout}"),
            Wanted::Name(name) => write!(f, "{layout}:{name}"),
            Wanted::Digest(digest) => write!(f, "{layout}@{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ImageRef, Wanted};
    use crate::types::Digest;

    #[test]
    fn references() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let there = ["/l", "/a:b", "/odd:name:x"];
        let name = |name: &str| Wanted::Name(name.to_owned());
        for (text, layout, wanted) in [
            ("/l", "/l", Wanted::Only),
            ("/l:latest", "/l", name("latest")),
            ("/l:docker.io/library/debian:12", "/l", name("docker.io/library/debian:12")),
            ("/a:b", "/a:b", Wanted::Only),
            ("/a:b:c", "/a:b", name("c")),
            ("/odd:name:x:y@z", "/odd:name:x", name("y@z")),
            ("/missing:a:b", "/missing", name("a:b")),
            ("/missing", "/missing", Wanted::Only),
            (&format!("/l@{digest}"), "/l", Wanted::Digest(Digest::parse(&digest).unwrap())),
        ] {
            let parsed = ImageRef::parse(text, |path| there.iter().any(|t| path.ends_with(t))).unwrap();
            assert_eq!(parsed, ImageRef { layout: layout.into(), wanted }, "{text}");
            assert_eq!(parsed.to_string(), text);
        }
        for text in ["", ":x", &format!("@{digest}"), "/l:"] {
            assert!(ImageRef::parse(text, |_| false).is_err(), "{text}");
        }
    }
}
