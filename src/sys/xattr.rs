//! Extended attributes, by fd (xattr(7)). Names and values are bytes, as the kernel has them.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

use super::error::{Named, Result, show_fd};

fn c_name(name: &[u8]) -> nix::Result<CString> {
    CString::new(name).map_err(|_| Errno::EINVAL)
}

/// fsetxattr(2): makes or replaces one attribute of a file or directory that was opened.
pub fn set(fd: impl AsFd, name: &[u8], value: &[u8]) -> Result<()> {
    let call = || format!("fsetxattr({}, {:?})", show_fd(&fd), String::from_utf8_lossy(name));
    let attribute = c_name(name).named(call)?;
    // SAFETY: the name ends in NUL and, like the value with its length, outlives the call.
    let done = unsafe {
        libc::fsetxattr(fd.as_fd().as_raw_fd(), attribute.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    };
    Errno::result(done).map(drop).named(call)
}

/// setxattr(2) on what an O_PATH fd stands for, which `fsetxattr` refuses: a device or a FIFO.
pub fn set_by_path_fd(fd: impl AsFd, name: &[u8], value: &[u8]) -> Result<()> {
    let call = || format!("setxattr({}, {:?})", show_fd(&fd), String::from_utf8_lossy(name));
    let attribute = c_name(name).named(call)?;
    let path = c_name(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()).as_bytes()).named(call)?;
    // SAFETY: path and name end in NUL and, like the value with its length, outlive the call.
    let done =
        unsafe { libc::setxattr(path.as_ptr(), attribute.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(done).map(drop).named(call)
}

/// fgetxattr(2): the value of one attribute, `None` where the file has no such attribute.
pub fn get(fd: impl AsFd, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let call = || format!("fgetxattr({}, {:?})", show_fd(&fd), String::from_utf8_lossy(name));
    let attribute = c_name(name).named(call)?;
    // The kernel's own limit for a value (XATTR_SIZE_MAX).
    let mut value = vec![0_u8; 64 * 1024];
    // SAFETY: the name ends in NUL; the buffer is writable for the length given.
    let length = unsafe {
        libc::fgetxattr(fd.as_fd().as_raw_fd(), attribute.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    match Errno::result(length) {
        Ok(length) => {
            value.truncate(usize::try_from(length).unwrap_or(0));
            Ok(Some(value))
        }
        Err(Errno::ENODATA) => Ok(None),
        Err(errno) => Err(errno).named(call),
    }
}

/// listxattr(2) and getxattr(2): all attributes of what an O_PATH fd stands for, in the order of their names. Those that may not be read
/// are left out.
pub fn all(fd: impl AsFd) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let path = c_name(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()).as_bytes());
    let path = path.named(|| format!("listxattr({})", show_fd(&fd)))?;
    // The kernel's own limits for a list and a value (XATTR_LIST_MAX, XATTR_SIZE_MAX).
    let mut names = vec![0_u8; 64 * 1024];
    // SAFETY: the path ends in NUL; the buffer is writable for the length given.
    let length = unsafe { libc::listxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    let length = match Errno::result(length) {
        Err(Errno::ENOTSUP) => return Ok(Vec::new()),
        length => length.named(|| format!("listxattr({})", show_fd(&fd)))?,
    };
    let mut found = Vec::new();
    let names = names[..usize::try_from(length).unwrap_or(0)].split(|byte| *byte == 0);
    for name in names.filter(|name| !name.is_empty()) {
        let call = || format!("getxattr({}, {:?})", show_fd(&fd), String::from_utf8_lossy(name));
        let attribute = c_name(name).named(call)?;
        let mut value = vec![0_u8; 64 * 1024];
        // SAFETY: path and name end in NUL; the buffer is writable for the length given.
        let length = unsafe {
            libc::getxattr(path.as_ptr(), attribute.as_ptr(), value.as_mut_ptr().cast(), value.len())
        };
        match Errno::result(length) {
            Ok(length) => value.truncate(usize::try_from(length).unwrap_or(0)),
            Err(Errno::ENODATA | Errno::EPERM | Errno::EACCES | Errno::ENOTSUP) => continue,
            Err(errno) => return Err(errno).named(call),
        }
        found.push((name.to_vec(), value));
    }
    found.sort();
    Ok(found)
}

/// fremovexattr(2); `false` where the file has no such attribute or its file system has none.
pub fn remove(fd: impl AsFd, name: &[u8]) -> Result<bool> {
    let call = || format!("fremovexattr({}, {:?})", show_fd(&fd), String::from_utf8_lossy(name));
    let attribute = c_name(name).named(call)?;
    // SAFETY: the name ends in NUL and outlives the call.
    let done = unsafe { libc::fremovexattr(fd.as_fd().as_raw_fd(), attribute.as_ptr()) };
    match Errno::result(done) {
        Ok(_) => Ok(true),
        Err(Errno::ENODATA | Errno::ENOTSUP) => Ok(false),
        Err(errno) => Err(errno).named(call),
    }
}

#[cfg(test)]
mod tests {
    use super::{get, remove, set};

    #[test]
    fn a_value_is_read_back_and_removed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        match set(&file, b"user.keg", b"a\0b") {
            Err(error) if error.errno == nix::errno::Errno::ENOTSUP => {
                return; // a temporary directory without user attributes
            }
            done => done.unwrap(),
        }
        assert_eq!(get(&file, b"user.keg").unwrap().as_deref(), Some(&b"a\0b"[..]));
        assert!(remove(&file, b"user.keg").unwrap());
        assert!(!remove(&file, b"user.keg").unwrap());
        assert_eq!(get(&file, b"user.keg").unwrap(), None);
        let error = set(&file, b"user.\0", b"").unwrap_err().to_string();
        assert!(error.ends_with("invalid argument"), "{error}");
    }
}
