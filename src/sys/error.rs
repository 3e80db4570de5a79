//! How a failed system call reads: `call(</path/of/fd>, "name"): no such file or directory`.

use std::ffi::CStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// A system call that failed: the call as strace would show it, with fds as paths, and its errno.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The call and those of its arguments that tell one from another.
    pub call: String,
    /// Why the kernel refused.
    pub errno: Errno,
}

/// The result of a system call.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, describe(self.errno))
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::from_raw_os_error(error.errno as i32)
    }
}

/// What the C library calls `errno`, in lower case ("no such file or directory").
pub fn describe(errno: Errno) -> String {
    let mut buffer = [0 as libc::c_char; 128];
    // SAFETY: the buffer is writable for the length given, and the XSI variant of strerror_r
    // always leaves a terminated string in it.
    let known = unsafe { libc::strerror_r(errno as i32, buffer.as_mut_ptr(), buffer.len()) } == 0;
    if !known {
        return format!("error {}", errno as i32);
    }
    // SAFETY: strerror_r succeeded, so the buffer holds a string that ends in NUL.
    let text = unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_string_lossy();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// The text of an I/O error of the standard library, without its "(os error N)".
pub fn describe_io(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |code| describe(Errno::from_raw(code)))
}

/// Names the call of a failed `nix` or `libc` result. The text is made only on failure.
pub trait Named<T> {
    /// `call` writes the call as strace would.
    fn named(self, call: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Named<T> for nix::Result<T> {
    fn named(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error { call: call(), errno })
    }
}

impl<T> Named<T> for io::Result<T> {
    fn named(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error {
            call: call(),
            errno: error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
        })
    }
}

/// An fd as strace shows it: `</the/path>`, or its number where the path cannot be read.
pub fn show_fd(fd: impl AsFd) -> String {
    let fd = fd.as_fd().as_raw_fd();
    if fd == libc::AT_FDCWD {
        return "AT_FDCWD".to_owned();
    }
    match std::fs::read_link(format!("/proc/self/fd/{fd}")) {
        Ok(path) => format!("<{}>", path.display()),
        Err(_) => fd.to_string(),
    }
}

/// Calls again while a signal interrupts (EINTR), for calls that glibc does not restart.
pub(crate) fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Errno, Error, describe};

    #[test]
    fn errno_text_is_the_c_librarys_in_lower_case() {
        assert_eq!(describe(Errno::ENOENT), "no such file or directory");
        assert_eq!(describe(Errno::EPERM), "operation not permitted");
        assert_eq!(describe(Errno::EIO), "input/output error");
        let error = Error { call: "mkdirat(</run>, \"x\")".into(), errno: Errno::EACCES };
        assert_eq!(error.to_string(), "mkdirat(</run>, \"x\"): permission denied");
    }
}
