//! Versions of the CNI specification, and what each of them has.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(u8, u8, u8);

/// Those that are spoken here.
pub const KNOWN: [Version; 7] = [
    Version(0, 1, 0),
    Version(0, 2, 0),
    Version(0, 3, 0),
    Version(0, 3, 1),
    Version(0, 4, 0),
    Version(1, 0, 0),
    Version(1, 1, 0),
];

/// What a configuration without a version has.
pub const FIRST: Version = KNOWN[0];

impl Version {
    /// Reads `1.0.0`; only what is known here.
    pub fn parse(text: &str) -> Result<Self> {
        let known = KNOWN.into_iter().find(|version| version.to_string() == text);
        known.ok_or_else(|| {
            let [first, .., last] = KNOWN;
            Error::Wrong(format!("cniVersion {text:?} is not known, only {first} to {last}"))
        })
    }

    /// Plugins get the result of the one before.
    pub fn has_chains(self) -> bool {
        self >= Self(0, 3, 0)
    }

    /// CHECK, and the result for DEL.
    pub fn has_check(self) -> bool {
        self >= Self(0, 4, 0)
    }

    /// GC.
    pub fn has_gc(self) -> bool {
        self >= Self(1, 1, 0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl TryFrom<String> for Version {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::{KNOWN, Version};

    #[test]
    fn only_published_versions_are_read() {
        for version in KNOWN {
            assert_eq!(Version::parse(&version.to_string()).unwrap(), version);
        }
        for text in ["", "1", "1.0", "1.0.0 ", "1.0.0-rc1", "2.0.0", "0.9.9"] {
            assert!(Version::parse(text).is_err(), "{text:?}");
        }
        assert!(KNOWN.is_sorted());
    }

    #[test]
    fn what_came_later_is_not_used_earlier() {
        let of = |text| Version::parse(text).unwrap();
        assert!(!of("0.2.0").has_chains() && of("0.3.0").has_chains());
        assert!(!of("0.3.1").has_check() && of("0.4.0").has_check());
        assert!(!of("1.0.0").has_gc() && of("1.1.0").has_gc());
    }
}
