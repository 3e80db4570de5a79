//! Names and numbers that identify: a container, a user, a group.

use std::fmt;

/// The name of a container: one or more of `[A-Za-z0-9_+.-]`, and not `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

/// The name is not one that a container may have.
#[derive(Debug, thiserror::Error)]
#[error("invalid container ID format: {0:?}")]
pub struct InvalidContainerId(pub String);

impl ContainerId {
    /// The longest name: what fits in one directory entry.
    pub const MAX_LEN: usize = 255;

    /// Checks a name that somebody typed.
    pub fn parse(name: &str) -> Result<Self, InvalidContainerId> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"_+.-".contains(&b);
        let fits = !name.is_empty() && name.len() <= Self::MAX_LEN && name.bytes().all(legal);
        if fits && name != "." && name != ".." {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidContainerId(name.to_owned()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A user id. `u32::MAX` means "leave as it is" to the kernel and is never a valid user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub u32);

/// A group id. `u32::MAX` means "leave as it is" to the kernel and is never a valid group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gid(pub u32);

#[cfg(test)]
mod tests {
    use super::ContainerId;

    #[test]
    fn container_ids() {
        for good in ["a", "A.b-c_d+e", "...", "0", &"x".repeat(255)] {
            assert_eq!(ContainerId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a/b", "a b", "ä", "a\0", "a\n", &"x".repeat(256)] {
            let error = ContainerId::parse(bad).unwrap_err().to_string();
            assert!(error.starts_with("invalid container ID format"), "{error}");
        }
    }
}
