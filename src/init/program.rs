//! The program: its working directory, its environment, where it is, and execve(2). All of it as the container sees it.

use std::ffi::{CString, OsStr};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::error::{At, Error, Step};
use crate::link::Filter;
use crate::plan::Process;
use crate::rootfs::{Leaf, RootFd};
use crate::sys::fd::{self, Resolve};
use crate::sys::{self, Errno, directory, process};
use crate::types::Uid;

/// Nobody's passwd file is larger.
const PASSWD_LIMIT: usize = 1 << 20;

/// Ready to be executed.
#[derive(Debug, Default)]
pub(super) struct Program {
    path: CString,
    args: Vec<CString>,
    environment: Vec<CString>,
    /// What it is filtered by from execve(2) on, where it is not filtered yet.
    pub(super) filter: Option<Filter>,
}

impl Program {
    /// For a container without a process, which cannot be started.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// What hooks inside the container get too.
    pub(super) fn environment(&self) -> &[CString] {
        &self.environment
    }

    /// execve(2). Comes back only with the reason why it failed.
    pub(super) fn execute(&self) -> Error {
        let error = process::exec(&self.path, &self.args, &self.environment);
        let why = sys::error::describe(error.errno);
        Error::refused(Step::Program, &format!("exec {}: {why}", self.path.to_string_lossy()))
    }
}

/// Enters the working directory, resolved inside the root; made if it is missing.
pub(super) fn enter_cwd(root: &RootFd, cwd: &Path) -> sys::Result<()> {
    if cwd == Path::new("/") {
        // Where the root was entered.
        return Ok(());
    }
    directory::change_dir(root.find_or_make(cwd, Leaf::Directory)?)
}

/// Enters the working directory as [`enter_cwd`] does, if it is there.
pub(super) fn enter_existing_cwd(root: &RootFd, cwd: &Path) -> sys::Result<()> {
    directory::change_dir(root.find(cwd)?)
}

/// The working directory must be inside the root: the kernel calls one outside "(unreachable)" (CVE-2024-21626).
pub(super) fn check_cwd() -> sys::Result<()> {
    directory::current_dir().map(drop)
}

/// The environment, with HOME from the container's /etc/passwd where it has none.
pub(super) fn environment(root: &RootFd, wanted: &Process) -> sys::Result<Vec<CString>> {
    let mut environment = wanted.env.clone();
    if wanted.needs_home {
        environment.retain(|entry| !entry.as_bytes().starts_with(b"HOME="));
        let home = home(root, wanted.uid)?.unwrap_or_else(|| b"/".to_vec());
        if let Ok(entry) = CString::new([b"HOME=", &home[..]].concat()) {
            environment.push(entry);
        }
    }
    Ok(environment)
}

/// The home directory of a user in the container's /etc/passwd; `None` if there is no such file or user. Only a regular file is read.
fn home(root: &RootFd, user: Uid) -> sys::Result<Option<Vec<u8>>> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let Ok(Some(file)) = fd::open_if_there(root, Path::new("etc/passwd"), Resolve::InRoot, flags) else {
        return Ok(None);
    };
    if fd::file_type(&fd::stat(&file)?) != SFlag::S_IFREG {
        return Ok(None);
    }
    let Ok(text) = fd::read_all(&file, PASSWD_LIMIT) else { return Ok(None) };
    Ok(home_in(&text, user))
}

fn home_in(passwd: &[u8], user: Uid) -> Option<Vec<u8>> {
    let wanted = user.0.to_string();
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let home = fields.get(5).filter(|home| !home.is_empty())?;
        (fields.get(2) == Some(&wanted.as_bytes())).then(|| home.to_vec())
    })
}

/// Finds the program as the user will: a name without a slash in the container's PATH, else the path itself.
pub(super) fn find(root: &RootFd, wanted: &Process, environment: Vec<CString>) -> Result<Program, Error> {
    let name = wanted.args.first().map(|name| name.as_bytes()).unwrap_or_default();
    let shown = String::from_utf8_lossy(name);
    let failed = |why: &str| Error::refused(Step::Program, &format!("exec: \"{shown}\": {why}"));
    let path = if name.contains(&b'/') {
        let path = PathBuf::from(OsStr::from_bytes(name));
        match executable(root, &path) {
            Ok(()) => path,
            Err(Errno::ENOENT) => return Err(failed(&format!("stat {shown}: no such file or directory"))),
            // Callers of today look for the one, those of yesterday for the other.
            Err(Errno::EISDIR) => return Err(failed("is a directory: permission denied")),
            Err(errno) => return Err(failed(&sys::error::describe(errno))),
        }
    } else {
        search(root, name, wanted.search_path.as_deref()).map_err(failed)?
    };
    let path = CString::new(path.into_os_string().into_vec()).at(Step::Program)?;
    Ok(Program { path, args: wanted.args.clone(), environment, filter: None })
}

/// execvp(3)'s search, except that a file which may not be executed is remembered as the reason.
fn search(root: &RootFd, name: &[u8], path: Option<&str>) -> Result<PathBuf, &'static str> {
    let mut why = "executable file not found in $PATH";
    if name.is_empty() {
        return Err(why);
    }
    for dir in path.unwrap_or_default().split(':').filter(|dir| dir.starts_with('/')) {
        let candidate = Path::new(dir).join(OsStr::from_bytes(name));
        match executable(root, &candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::EACCES) => why = "permission denied",
            Err(_) => {}
        }
    }
    Err(why)
}

/// Whether this process may execute a file, which is looked up from the working directory as execve(2) will.
fn executable(root: &RootFd, path: &Path) -> Result<(), Errno> {
    let (dir, resolve) = match path.is_absolute() {
        true => (root.as_fd(), Resolve::InRoot),
        false => (fd::cwd(), Resolve::Host),
    };
    let file = fd::open(dir, path, resolve, OFlag::O_PATH, 0).map_err(|error| error.errno)?;
    let answer = match fd::stat(&file).map(|stat| fd::file_type(&stat)).map_err(|error| error.errno)? {
        SFlag::S_IFDIR => Err(Errno::EISDIR),
        SFlag::S_IFREG => fd::may_execute(&file).map_err(|error| error.errno),
        _ => Err(Errno::EACCES),
    };
    // Init closes all descriptors at once, very soon.
    std::mem::forget(file);
    answer
}

#[cfg(test)]
mod tests {
    use super::home_in;
    use crate::types::Uid;

    #[test]
    fn home_is_that_of_the_number() {
        let passwd =
            b"root:x:0:0:root:/root:/bin/sh\n1000:x:7:7::/seven:\nu:x:1000:1000::/home/u:\nshort:x:8\n\n";
        let home = |uid| home_in(passwd, Uid(uid)).map(|home| String::from_utf8(home).unwrap());
        assert_eq!(home(0).as_deref(), Some("/root"));
        assert_eq!(home(1000).as_deref(), Some("/home/u"));
        assert_eq!(home(7).as_deref(), Some("/seven"));
        assert_eq!((home(8), home(9)), (None, None));
    }
}
