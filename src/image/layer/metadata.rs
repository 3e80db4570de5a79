//! Owner, mode, extended attributes and time, in the order in which they do not undo each other:
//! a change of owner clears file capabilities and set-id bits, and any change sets the time.

use std::os::fd::AsFd;
use std::path::Path;

use nix::fcntl::OFlag;

use super::Error;
use super::entry::Attributes;
use super::error::Shown;
use super::tree::Tree;
use crate::sys::proc::Proc;
use crate::sys::{self, Errno, fd, namespace, times, xattr};

/// How owners are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// As they are.
    Kept,
    /// As they are where they are mapped in our user namespace, whose root we are; else recorded. Devices cannot be made.
    Mapped,
    /// We may not change owners: recorded in the attribute `user.rootlesscontainers`.
    Recorded,
}

impl Owners {
    /// What this process may do.
    pub fn of_this_process() -> Self {
        if !nix::unistd::geteuid().is_root() {
            return Self::Recorded;
        }
        let is_mapped = Proc::host().and_then(|proc| namespace::in_user_namespace(&proc));
        if is_mapped.unwrap_or(false) { Self::Mapped } else { Self::Kept }
    }
}

/// The attribute with which rootless tools record the owner a file should have.
pub const ROOTLESS: &[u8] = b"user.rootlesscontainers";

/// Whether an attribute of a layer is applied. The others mean something to this host only
/// (labels, integrity, overlay's own marks) or to whoever is trusted by it.
pub fn is_applied(name: &[u8]) -> bool {
    match name {
        b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => true,
        ROOTLESS => false,
        _ => name.starts_with(b"user.") && !name.starts_with(b"user.overlay."),
    }
}

impl Tree {
    /// Attributes of an open file or directory.
    pub(super) fn set_attributes(&mut self, file: impl AsFd, attributes: &Attributes) -> sys::Result<()> {
        let set = |name: &[u8], value: &[u8]| xattr::set(&file, name, value);
        let is_owned = self.set_owner(&file, Path::new(""), attributes)?;
        // Only a writable file takes user attributes from somebody who is not root.
        let mode_last = self.owners == Owners::Recorded;
        if !mode_last {
            fd::chmod(&file, attributes.mode)?;
        }
        if !is_owned && (attributes.uid, attributes.gid) != (0, 0) {
            let record = recorded_owner(attributes.uid, attributes.gid);
            self.tolerate(ROOTLESS, set(ROOTLESS, &record))?;
        }
        self.set_xattrs(attributes, set)?;
        if mode_last {
            fd::chmod(&file, attributes.mode)?;
        }
        attributes.mtime.map_or(Ok(()), |time| times::set(&file, time))
    }

    /// The owner of a name in `dir`, or of `dir` itself. `false`: who it should be is to be recorded.
    fn set_owner(&mut self, dir: impl AsFd, name: &Path, attributes: &Attributes) -> sys::Result<bool> {
        if self.owners == Owners::Recorded {
            return Ok(false);
        }
        match fd::chown(dir, name, attributes.uid, attributes.gid) {
            Err(error) if self.owners == Owners::Mapped && error.errno == Errno::EINVAL => {
                self.note("owner not mapped in this user namespace");
                Ok(false)
            }
            done => done.map(|()| true),
        }
    }

    /// Attributes of a device or FIFO that has just been made.
    pub(super) fn set_special(
        &mut self,
        dir: impl AsFd,
        name: &Path,
        attributes: &Attributes,
    ) -> sys::Result<()> {
        self.set_owner(&dir, name, attributes)?;
        fd::chmod_at(&dir, name, attributes.mode)?;
        if attributes.xattrs.iter().any(|(name, _)| is_applied(name)) {
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
            let file = fd::open(&dir, name, fd::Resolve::Beneath, flags, 0)?;
            self.set_xattrs(attributes, |name, value| xattr::set_by_path_fd(&file, name, value))?;
        }
        attributes.mtime.map_or(Ok(()), |time| times::set_at(&dir, name, time))
    }

    /// Attributes of a symlink, which has neither a mode nor extended attributes of these kinds.
    pub(super) fn set_symlink(
        &mut self,
        dir: impl AsFd,
        name: &Path,
        attributes: &Attributes,
    ) -> sys::Result<()> {
        self.set_owner(&dir, name, attributes)?;
        attributes.mtime.map_or(Ok(()), |time| times::set_at(&dir, name, time))
    }

    fn set_xattrs(
        &mut self,
        attributes: &Attributes,
        set: impl Fn(&[u8], &[u8]) -> sys::Result<()>,
    ) -> sys::Result<()> {
        for (name, value) in &attributes.xattrs {
            if is_applied(name) {
                self.tolerate(name, set(name, value))?;
            } else {
                self.note(&format!("attribute {} left out", Shown::new(name)));
            }
        }
        Ok(())
    }

    /// A file system without user attributes, a user without the right to give capabilities, or ids that are not mapped in an access
    /// control list are worth a note. That the kernel refuses the host's root a capability is an error.
    fn tolerate(&mut self, name: &[u8], done: sys::Result<()>) -> sys::Result<()> {
        let is_user = name.starts_with(b"user.");
        match done {
            Err(error) if is_user && matches!(error.errno, Errno::ENOTSUP | Errno::EPERM) => {}
            Err(error) if self.owners != Owners::Kept && error.errno == Errno::EPERM => {}
            Err(error)
                if self.owners == Owners::Mapped
                    && error.errno == Errno::EINVAL
                    && name.starts_with(b"system.posix_acl_") => {}
            other => return other,
        }
        self.note(&format!("attribute {} not possible here", Shown::new(name)));
        Ok(())
    }

    /// Gives directories their attributes.
    pub(super) fn finish_directories(&mut self) -> Result<(), Error> {
        for (path, attributes) in self.directories.take() {
            self.open(&path, OFlag::O_RDONLY)
                .and_then(|directory| self.set_attributes(&directory, &attributes))
                .map_err(|source| Error::Directory { name: Shown::new(&path), source })?;
        }
        Ok(())
    }
}

/// The protocol-buffers message `{ uint32 uid = 1; uint32 gid = 2; }`; zeros are left out.
fn recorded_owner(uid: u32, gid: u32) -> Vec<u8> {
    let mut message = Vec::new();
    for (tag, mut id) in [(0x08, uid), (0x10, gid)] {
        if id == 0 {
            continue;
        }
        message.push(tag);
        while id >= 0x80 {
            message.push((id & 0x7f) as u8 | 0x80);
            id >>= 7;
        }
        message.push(id as u8);
    }
    message
}

/// Reads what [`recorded_owner`] writes; a field that is missing is zero. `None` for anything else.
pub fn owner_of_record(message: &[u8]) -> Option<(u32, u32)> {
    let mut owner = (0, 0);
    let mut bytes = message.iter();
    while let Some(tag) = bytes.next() {
        let mut id: u32 = 0;
        let mut shift = 0;
        loop {
            let byte = bytes.next()?;
            id |= u32::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        match tag {
            0x08 => owner.0 = id,
            0x10 => owner.1 = id,
            _ => return None,
        }
    }
    Some(owner)
}

#[cfg(test)]
mod tests {
    use super::{is_applied, owner_of_record, recorded_owner};

    #[test]
    fn which_attributes_are_applied() {
        for name in ["user.x", "security.capability", "system.posix_acl_access", "system.posix_acl_default"] {
            assert!(is_applied(name.as_bytes()), "{name}");
        }
        for name in [
            "trusted.overlay.opaque",
            "trusted.x",
            "user.overlay.opaque",
            "security.selinux",
            "security.ima",
            "security.evm",
            "security.apparmor",
            "system.nfs4_acl",
            "user.rootlesscontainers",
            "",
        ] {
            assert!(!is_applied(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn recorded_owners_are_protocol_buffers() {
        assert_eq!(recorded_owner(0, 0), b"");
        assert_eq!(recorded_owner(1, 0), b"\x08\x01");
        assert_eq!(recorded_owner(1000, 300), b"\x08\xe8\x07\x10\xac\x02");
        for owner in [(0, 0), (1, 0), (0, 1), (1000, 300), (u32::MAX - 1, 65_534)] {
            assert_eq!(owner_of_record(&recorded_owner(owner.0, owner.1)), Some(owner));
        }
        for bad in [&b"\x08"[..], b"\x18\x01", b"\x08\x80", b"\x08\x80\x80\x80\x80\x80\x80\x01"] {
            assert_eq!(owner_of_record(bad), None);
        }
    }
}
