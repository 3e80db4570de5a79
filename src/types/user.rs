//! A user as it is typed: numbers alone. A name, or a number too large, must never end up as somebody else, root least of all
//! (CVE-2016-3697, CVE-2026-30892).

use super::{Gid, Uid};

/// `UID` or `UID:GID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub uid: Uid,
    /// The group, if one was named.
    pub gid: Option<Gid>,
}

/// The text is no such pair of numbers.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not UID[:GID] in numbers up to 4294967294")]
pub struct InvalidUser(pub String);

impl User {
    /// Nothing but digits, and one colon.
    pub fn parse(text: &str) -> Result<Self, InvalidUser> {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let group = group.map(|group| id(group).map(Gid).ok_or(()));
        match (id(user), group.transpose()) {
            (Some(uid), Ok(gid)) => Ok(Self { uid: Uid(uid), gid }),
            _ => Err(InvalidUser(text.to_owned())),
        }
    }
}

/// The text is no group id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a number up to 4294967294")]
pub struct InvalidGid(pub String);

impl Gid {
    /// Nothing but digits.
    pub fn parse(text: &str) -> Result<Self, InvalidGid> {
        id(text).map(Self).ok_or_else(|| InvalidGid(text.to_owned()))
    }
}

/// A user or group id: `u32::MAX` is none.
fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{InvalidUser, User};
    use crate::types::{Gid, Uid};

    #[test]
    fn users_are_numbers() {
        for (text, uid, gid) in [
            ("0", 0, None),
            ("1000", 1000, None),
            ("1000:0", 1000, Some(0)),
            ("007:08", 7, Some(8)),
            ("4294967294:4294967294", u32::MAX - 1, Some(u32::MAX - 1)),
        ] {
            assert_eq!(User::parse(text), Ok(User { uid: Uid(uid), gid: gid.map(Gid) }), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_nobody() {
        for text in [
            "",
            ":",
            "1:",
            ":1",
            "1:2:3",
            " 1",
            "1 ",
            "1\n",
            "+1",
            "-1",
            "0x0",
            "1e3",
            "1.0",
            "root",
            "1000x",
            "4294967295",
            "4294967296",
            "0:4294967295",
            "18446744073709551616",
            "١",
            "1: 2",
            "1;2",
        ] {
            assert_eq!(User::parse(text), Err(InvalidUser(text.to_owned())), "{text:?}");
        }
    }
}
