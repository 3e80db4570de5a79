//! Who a process is and what it may: users, groups, capabilities, no_new_privs.

use caps::errors::CapsError;
use nix::errno::Errno;
use nix::unistd::{Gid as NixGid, Uid as NixUid};

use super::error::{Error, Named, Result};
use crate::types::{CapSet, Capability, Gid, Uid};

/// The five sets of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CapKind {
    Effective,
    Permitted,
    Inheritable,
    Bounding,
    Ambient,
}

/// The effective user id that this program was started with. keg itself never changes it; a child that did must not ask here.
pub fn effective_uid() -> Uid {
    // SAFETY: looks into the vector that the kernel gave this program (getauxval(3)).
    Uid(unsafe { libc::getauxval(libc::AT_EUID) } as u32)
}

/// getegid(2)
pub fn effective_gid() -> Gid {
    Gid(nix::unistd::getegid().as_raw())
}

/// setgroups(2)
pub fn set_groups(groups: &[Gid]) -> Result<()> {
    let list: Vec<NixGid> = groups.iter().map(|gid| NixGid::from_raw(gid.0)).collect();
    nix::unistd::setgroups(&list).named(|| format!("setgroups({list:?})"))
}

/// getgroups(2)
pub fn groups() -> Result<Vec<Gid>> {
    let list = nix::unistd::getgroups().named(|| "getgroups()".to_owned())?;
    Ok(list.into_iter().map(|gid| Gid(gid.as_raw())).collect())
}

/// setresgid(2): real, effective and saved.
pub fn set_gid(gid: Gid) -> Result<()> {
    let id = NixGid::from_raw(gid.0);
    nix::unistd::setresgid(id, id, id).named(|| format!("setresgid({id})"))
}

/// setresuid(2): real, effective and saved.
pub fn set_uid(uid: Uid) -> Result<()> {
    let id = NixUid::from_raw(uid.0);
    nix::unistd::setresuid(id, id, id).named(|| format!("setresuid({id})"))
}

/// getresuid(2) and getresgid(2): whether all six ids are these two.
pub fn are_ids(uid: Uid, gid: Gid) -> Result<bool> {
    let users = nix::unistd::getresuid().named(|| "getresuid()".to_owned())?;
    let groups = nix::unistd::getresgid().named(|| "getresgid()".to_owned())?;
    let (uid, gid) = (NixUid::from_raw(uid.0), NixGid::from_raw(gid.0));
    Ok([users.real, users.effective, users.saved] == [uid; 3]
        && [groups.real, groups.effective, groups.saved] == [gid; 3])
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two words a set.
const VERSION_3: u32 = 0x2008_0522;

/// capset(2) of the calling task.
pub fn set_caps(effective: CapSet, permitted: CapSet, inheritable: CapSet) -> Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    let word = |half: u32| Data {
        effective: (effective.bits() >> (32 * half)) as u32,
        permitted: (permitted.bits() >> (32 * half)) as u32,
        inheritable: (inheritable.bits() >> (32 * half)) as u32,
    };
    let data = [word(0), word(1)];
    // SAFETY: version 3 makes the kernel read exactly two data words, which `data` has.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    Errno::result(result).map(drop).named(|| {
        format!(
            "capset(effective={:#x}, permitted={:#x}, inheritable={:#x})",
            effective.bits(),
            permitted.bits(),
            inheritable.bits()
        )
    })
}

/// capget(2) of the calling task: effective, permitted, inheritable.
pub fn caps() -> Result<[CapSet; 3]> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 makes the kernel write exactly two data words, for which `data` has room.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) };
    Errno::result(result).named(|| "capget()".to_owned())?;
    let join = |part: fn(&Data) -> u32| {
        CapSet::from_bits(u64::from(part(&data[0])) | (u64::from(part(&data[1])) << 32))
    };
    Ok([join(|data| data.effective), join(|data| data.permitted), join(|data| data.inheritable)])
}

fn crate_capability(cap: Capability) -> Option<caps::Capability> {
    cap.name().parse().ok()
}

fn caps_error(call: String) -> impl FnOnce(CapsError) -> Error {
    // The crate's errors do not carry the errno as a number; the calls below fail for want of privilege alone.
    move |_| Error { call, errno: Errno::EPERM }
}

/// Takes everything but `keep` out of the bounding set, capabilities newer than keg included.
pub fn limit_bounding(keep: CapSet) -> Result<()> {
    for cap in Capability::all().filter(|cap| !keep.contains(*cap)) {
        if let Some(known) = crate_capability(cap) {
            let call = format!("prctl(PR_CAPBSET_DROP, {cap})");
            caps::drop(None, caps::CapSet::Bounding, known).map_err(caps_error(call))?;
        }
    }
    for number in Capability::COUNT..64 {
        // SAFETY: PR_CAPBSET_DROP takes one integer.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) };
        match Errno::result(result) {
            Ok(_) => {}
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(Error { call: format!("prctl(PR_CAPBSET_DROP, {number})"), errno }),
        }
    }
    Ok(())
}

/// Empties the ambient set (PR_CAP_AMBIENT_CLEAR_ALL).
pub fn clear_ambient() -> Result<()> {
    caps::clear(None, caps::CapSet::Ambient).map_err(caps_error("prctl(PR_CAP_AMBIENT_CLEAR_ALL)".to_owned()))
}

/// Puts a capability, which must be permitted and inheritable, into the ambient set.
pub fn raise_ambient(cap: Capability) -> Result<()> {
    let call = || format!("prctl(PR_CAP_AMBIENT_RAISE, {cap})");
    let known = crate_capability(cap).ok_or_else(|| Error { call: call(), errno: Errno::EINVAL })?;
    caps::raise(None, caps::CapSet::Ambient, known).map_err(caps_error(call()))
}

/// Whether a capability is in the ambient set of the calling task (PR_CAP_AMBIENT_IS_SET).
pub fn is_ambient(cap: Capability) -> Result<bool> {
    let call = || format!("prctl(PR_CAP_AMBIENT_IS_SET, {cap})");
    let known = crate_capability(cap).ok_or_else(|| Error { call: call(), errno: Errno::EINVAL })?;
    caps::has_cap(None, caps::CapSet::Ambient, known).map_err(caps_error(call()))
}

/// Capabilities outlive the next change of the user id (PR_SET_KEEPCAPS).
pub fn keep_caps(keep: bool) -> Result<()> {
    // SAFETY: PR_SET_KEEPCAPS takes one integer.
    let result = unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, libc::c_ulong::from(keep), 0, 0, 0) };
    Errno::result(result).map(drop).named(|| format!("prctl(PR_SET_KEEPCAPS, {keep})"))
}

/// execve(2) grants no privileges from here on (PR_SET_NO_NEW_PRIVS).
pub fn set_no_new_privs() -> Result<()> {
    nix::sys::prctl::set_no_new_privs().named(|| "prctl(PR_SET_NO_NEW_PRIVS)".to_owned())
}

/// Whether PR_SET_NO_NEW_PRIVS is on.
pub fn no_new_privs() -> Result<bool> {
    nix::sys::prctl::get_no_new_privs().named(|| "prctl(PR_GET_NO_NEW_PRIVS)".to_owned())
}
