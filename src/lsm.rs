//! Labels of Linux security modules, written through keg's own procfs so that nothing of the container can take the write
//! (CVE-2019-16884, CVE-2025-52881). Whether the kernel has the module is asked before anything is made.

use std::path::Path;

use nix::fcntl::OFlag;

use crate::plan::Process;
use crate::sys::proc::Proc;
use crate::sys::{self, Errno, fd};

/// A label cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel has no such module.
    #[error("setting the {module} label {label:?}: {module} is not enabled on this host")]
    Absent {
        /// `AppArmor` or `SELinux`
        module: &'static str,
        /// The wanted label.
        label: String,
    },
    /// Nobody has loaded this profile.
    #[error("setting the AppArmor label {0:?}: no such profile is loaded")]
    NoProfile(String),
    /// The kernel refused.
    #[error("setting the {module} label {label:?}")]
    Refused {
        /// `AppArmor` or `SELinux`
        module: &'static str,
        /// The wanted label.
        label: String,
        /// Why.
        #[source]
        source: sys::Error,
    },
}

impl Error {
    /// The property that asks for the label.
    pub fn path(&self) -> &'static str {
        match self {
            Self::Absent { module: SELINUX, .. } | Self::Refused { module: SELINUX, .. } => {
                "process.selinuxLabel"
            }
            _ => "process.apparmorProfile",
        }
    }
}

const APPARMOR: &str = "AppArmor";
const SELINUX: &str = "SELinux";

/// Whether the kernel has the modules whose labels the process is to have. `proc` is the host's.
pub fn check(proc: &Proc, process: &Process) -> Result<(), Error> {
    let absent = |module, label: &str| Err(Error::Absent { module, label: label.to_owned() });
    if let Some(profile) = &process.apparmor_profile
        && apparmor_label(proc).is_err()
    {
        return absent(APPARMOR, profile);
    }
    if let Some(label) = &process.selinux_label
        && !has_selinux(proc)
    {
        return absent(SELINUX, label);
    }
    Ok(())
}

/// Who is confined already may only give up more: the profile is stacked on the one that keg has where the kernel takes no other, and
/// with noNewPrivileges, under which execve(2) would refuse the other.
pub fn set_apparmor(proc: &Proc, profile: &str, no_new_privileges: bool) -> Result<(), Error> {
    let wanted = |how| write(proc, Path::new("attr/apparmor/exec"), &format!("{how} {profile}"));
    let confined = no_new_privileges && apparmor_label(proc).is_ok_and(|label| label != b"unconfined\n");
    let result = match confined {
        true => wanted("stack"),
        false => match wanted("exec") {
            Err(error) if matches!(error.errno, Errno::EACCES | Errno::EPERM) => wanted("stack"),
            done => done,
        },
    };
    result.map_err(|source| match source.errno {
        Errno::ENOENT => Error::NoProfile(profile.to_owned()),
        _ => Error::Refused { module: APPARMOR, label: profile.to_owned(), source },
    })
}

/// The SELinux label that the next execve(2) puts on.
pub fn set_selinux(proc: &Proc, label: &str) -> Result<(), Error> {
    let result = write(proc, Path::new("attr/exec"), label);
    result.map_err(|source| Error::Refused { module: SELINUX, label: label.to_owned(), source })
}

/// The label of keg itself; an error where there is no AppArmor.
fn apparmor_label(proc: &Proc) -> sys::Result<Vec<u8>> {
    fd::read_kernel_file(proc.own_file(Path::new("attr/apparmor/current"), OFlag::O_RDONLY)?, 4096)
}

/// The kernel knows SELinux's file system only where SELinux was not turned off at boot.
fn has_selinux(proc: &Proc) -> bool {
    let known = proc.read(Path::new("filesystems")).unwrap_or_default();
    known.split(|b| *b == b'\n').any(|line| line.ends_with(b"\tselinuxfs"))
}

fn write(proc: &Proc, path: &Path, text: &str) -> sys::Result<()> {
    fd::write_once(proc.own_file(path, OFlag::O_WRONLY)?, text.as_bytes())
}
