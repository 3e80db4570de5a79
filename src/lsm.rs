//! Labels of Linux security modules, written through keg's own procfs so that nothing of the container can take the write
//! (CVE-2019-16884, CVE-2025-52881).

use std::path::Path;

use nix::fcntl::OFlag;

use crate::sys::proc::Proc;
use crate::sys::{self, Errno, fd};

/// A label could not be set.
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

/// The AppArmor profile that the next execve(2) puts on.
pub fn set_apparmor(proc: &Proc, profile: &str) -> Result<(), Error> {
    let text = format!("exec {profile}");
    let own = Path::new("self/attr/apparmor/exec");
    // Linux before 5.1 has no file of AppArmor's own.
    let result = match write(proc, own, &text) {
        Err(error) if error.errno == Errno::ENOENT => write(proc, Path::new("self/attr/exec"), &text),
        done => done,
    };
    result.map_err(|source| failed("AppArmor", profile, source))
}

/// The SELinux label that the next execve(2) puts on.
pub fn set_selinux(proc: &Proc, label: &str) -> Result<(), Error> {
    write(proc, Path::new("self/attr/exec"), label).map_err(|source| failed("SELinux", label, source))
}

/// `self` is a symlink; the numbered directory is opened instead.
fn write(proc: &Proc, path: &Path, text: &str) -> sys::Result<()> {
    let file = proc.own_file(path.strip_prefix("self").unwrap_or(path), OFlag::O_WRONLY)?;
    fd::write_once(file, text.as_bytes())
}

fn failed(module: &'static str, label: &str, source: sys::Error) -> Error {
    let label = label.to_owned();
    match source.errno {
        Errno::EINVAL | Errno::ENOENT | Errno::EOPNOTSUPP => Error::Absent { module, label },
        _ => Error::Refused { module, label, source },
    }
}
