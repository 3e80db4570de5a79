//! The `User` of an image, by the image's own `/etc/passwd` and `/etc/group`. A number is a number
//! and never a name (CVE-2016-3697), what does not parse is an error and never root
//! (CVE-2026-30892), and the two files are read only if they are regular and small
//! (CVE-2024-1753, CVE-2026-47262).

use std::os::fd::AsFd;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use crate::sys::fd::{self, Resolve};
use crate::sys::{self, Errno};
use crate::types::{Gid, Uid};

/// Who the program runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User.
    pub uid: Uid,
    /// Group.
    pub gid: Gid,
    /// Supplementary groups, without `gid`.
    pub additional_gids: Vec<Gid>,
}

/// A user that cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text means no user.
    #[error("malformed user {0:?}")]
    Malformed(String),
    /// The image does not know it.
    #[error("the image has no user {0:?}")]
    NoUser(String),
    /// The image does not know it.
    #[error("the image has no group {0:?}")]
    NoGroup(String),
    /// It cannot be read.
    #[error("/{file} of the image")]
    Read {
        /// Which file.
        file: &'static str,
        /// Why.
        source: sys::Error,
    },
    /// It is something else.
    #[error("/{0} of the image is no regular file")]
    NotRegular(&'static str),
}

/// One half of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Id {
    Number(u32),
    Name(String),
}

/// The most that passwd and group files may have.
const FILE_BYTES: usize = 1 << 20;
/// The kernel's NGROUPS_MAX.
const MOST_GROUPS: usize = 65_536;

/// Resolves `text` in the root file system `root`.
pub fn resolve(text: &str, root: impl AsFd) -> Result<User, Error> {
    parse(text)?;
    let passwd = read(&root, "etc/passwd")?;
    let group = read(&root, "etc/group")?;
    find(text, &passwd, &group)
}

/// `user`, `uid`, `user:group` and so on; empty is root.
fn parse(text: &str) -> Result<(Id, Option<Id>), Error> {
    let malformed = || Error::Malformed(text.to_owned());
    if text.is_empty() {
        return Ok((Id::Number(0), None));
    }
    match text.split_once(':') {
        None => Ok((id(text).ok_or_else(malformed)?, None)),
        Some((user, group)) => Ok((id(user).ok_or_else(malformed)?, Some(id(group).ok_or_else(malformed)?))),
    }
}

fn id(text: &str) -> Option<Id> {
    let first = text.bytes().next()?;
    if first.is_ascii_digit() {
        return number(text.as_bytes()).map(Id::Number);
    }
    let legal = |byte: u8| byte.is_ascii_graphic() && !b":/,".contains(&byte) || byte >= 0x80;
    (!b"+-".contains(&first) && text.bytes().all(legal)).then(|| Id::Name(text.to_owned()))
}

/// Decimal digits, up to the greatest id there is.
fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok().filter(|id| *id != u32::MAX)
}

/// A file of the image, resolved inside its root; empty where there is none.
fn read(root: impl AsFd, file: &'static str) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read { file, source };
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let opened = match fd::open(root, Path::new(file), Resolve::InRoot, flags, 0) {
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR) => return Ok(Vec::new()),
        // A device that is not there, or a socket.
        Err(error) if error.errno == Errno::ENXIO => return Err(Error::NotRegular(file)),
        opened => opened.map_err(failed)?,
    };
    if fd::file_type(&fd::stat(&opened).map_err(failed)?) != SFlag::S_IFREG {
        return Err(Error::NotRegular(file));
    }
    fd::read_all(&opened, FILE_BYTES).map_err(failed)
}

/// A user of the passwd file: name, uid, gid.
fn users(passwd: &[u8]) -> impl Iterator<Item = (&[u8], u32, u32)> {
    passwd.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        (!name.is_empty()).then_some((name, number(uid)?, number(gid)?))
    })
}

/// A group of the group file: name, gid, members.
fn groups(group: &[u8]) -> impl Iterator<Item = (&[u8], u32, &[u8])> {
    group.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        (!name.is_empty()).then_some((name, number(gid)?, fields.next().unwrap_or_default()))
    })
}

fn find(text: &str, passwd: &[u8], group: &[u8]) -> Result<User, Error> {
    let (user, wanted_group) = parse(text)?;
    let entry = match &user {
        Id::Number(wanted) => users(passwd).find(|(_, uid, _)| uid == wanted),
        Id::Name(wanted) => users(passwd).find(|(name, ..)| *name == wanted.as_bytes()),
    };
    let (uid, own_gid) = match (&user, entry) {
        (_, Some((_, uid, gid))) => (uid, gid),
        (Id::Number(uid), None) => (*uid, 0),
        (Id::Name(name), None) => return Err(Error::NoUser(name.clone())),
    };
    let gid = match &wanted_group {
        None => own_gid,
        Some(Id::Number(gid)) => *gid,
        Some(Id::Name(wanted)) => groups(group)
            .find(|(name, ..)| *name == wanted.as_bytes())
            .map(|(_, gid, _)| gid)
            .ok_or_else(|| Error::NoGroup(wanted.clone()))?,
    };
    let mut additional = Vec::new();
    if let (None, Some((name, ..))) = (&wanted_group, entry) {
        for (_, other, members) in groups(group) {
            let is_member = members.split(|byte| *byte == b',').any(|member| member == name);
            if is_member
                && other != gid
                && additional.len() < MOST_GROUPS
                && !additional.contains(&Gid(other))
            {
                additional.push(Gid(other));
            }
        }
    }
    Ok(User { uid: Uid(uid), gid: Gid(gid), additional_gids: additional })
}

#[cfg(test)]
mod tests {
    use super::{find, resolve};
    use crate::sys::fd;
    use proptest::prelude::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        app:x:1000:1001::/home/app:/bin/sh\n\
        4294967296:x:0:0::/:\n1000:x:0:0::/:\n-1:x:0:0::/:\n0x0:x:0:0::/:\nbroken:x:-1:0\nbig:x:4294967295:0\n:x:5:5\n";
    const GROUP: &[u8] =
        b"root:x:0:\nadm:x:4:root,app\nappl:x:1001:\nwheel:x:10:app,other\nbad:x:x:app\nadm2:x:4:app\n";

    #[test]
    fn users_that_are_found() {
        for (text, uid, gid, additional) in [
            ("", 0, 0, vec![4]),
            ("0", 0, 0, vec![4]),
            ("root", 0, 0, vec![4]),
            ("app", 1000, 1001, vec![4, 10]),
            ("1000", 1000, 1001, vec![4, 10]),
            ("7", 7, 0, vec![]),
            ("app:wheel", 1000, 10, vec![]),
            ("app:0", 1000, 0, vec![]),
            ("7:8", 7, 8, vec![]),
            ("4294967294", u32::MAX - 1, 0, vec![]),
        ] {
            let user = find(text, PASSWD, GROUP).unwrap();
            let found: Vec<u32> = user.additional_gids.iter().map(|gid| gid.0).collect();
            assert_eq!((user.uid.0, user.gid.0, found), (uid, gid, additional), "{text:?}");
        }
    }

    #[test]
    fn users_that_are_refused() {
        for text in [
            "4294967296",
            "4294967295",
            "-1",
            "+1",
            "1:",
            ":1",
            ":",
            "0x0",
            "1:2:3",
            " 1",
            "1 ",
            "1000x",
            "nobody",
            "app:nogroup",
            "app:-1",
            "broken",
            "big",
            "a/b",
            "app\n",
            "app:4294967295",
        ] {
            assert!(find(text, PASSWD, GROUP).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_zero_or_a_root_entry_is_root(text in "[-+0-9a-fx: ]{1,12}") {
            if let Ok(user) = find(&text, b"1000:x:0:0\n", b"") {
                let digits = text.split(':').next().unwrap();
                prop_assert_eq!(user.uid.0.to_string(), digits.trim_start_matches('0').to_owned()
                    + if digits.bytes().all(|b| b == b'0') { "0" } else { "" });
            }
        }
    }

    #[test]
    fn files_that_are_no_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("etc");
        let root = fd::open_dir(dir.path()).unwrap();
        assert_eq!(resolve("0", &root).unwrap().gid.0, 0);
        std::fs::create_dir(&etc).unwrap();
        std::fs::create_dir(etc.join("passwd")).unwrap();
        assert!(resolve("0", &root).unwrap_err().to_string().contains("no regular file"));
        std::fs::remove_dir(etc.join("passwd")).unwrap();
        nix::unistd::mkfifo(&etc.join("passwd"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(resolve("0", &root).unwrap_err().to_string().contains("no regular file"));
        std::fs::remove_file(etc.join("passwd")).unwrap();

        // A symlink leads inside the image, never to the host's file.
        std::os::unix::fs::symlink("/usr/passwd", etc.join("passwd")).unwrap();
        std::fs::create_dir(dir.path().join("usr")).unwrap();
        std::fs::write(dir.path().join("usr/passwd"), "app:x:5:6\n").unwrap();
        assert_eq!(resolve("app", &root).unwrap().gid.0, 6);
        std::fs::File::create(etc.join("group")).unwrap().set_len(2 << 30).unwrap();
        let error = resolve("app", &root).unwrap_err();
        assert!(matches!(error, super::Error::Read { file: "etc/group", .. }), "{error}");
    }
}
