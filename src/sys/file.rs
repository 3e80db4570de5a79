//! The content of regular files at an offset, without moving a shared file position.

use std::os::fd::AsFd;

use nix::errno::Errno;

use super::error::{Error, Named, Result, retry, show_fd};

fn offset(at: u64) -> nix::Result<i64> {
    i64::try_from(at).map_err(|_| Errno::EOVERFLOW)
}

/// pread(2): how many bytes of `buffer` were filled; 0 at the end of the file.
pub fn read_at(fd: impl AsFd, buffer: &mut [u8], at: u64) -> Result<usize> {
    offset(at)
        .and_then(|at| retry(|| nix::sys::uio::pread(&fd, buffer, at)))
        .named(|| format!("pread({}, {at})", show_fd(&fd)))
}

/// Writes all of `bytes` at an offset.
pub fn write_at(fd: impl AsFd, mut bytes: &[u8], mut at: u64) -> Result<()> {
    let call = |at: u64| format!("pwrite({}, {at})", show_fd(&fd));
    while !bytes.is_empty() {
        let written =
            offset(at).and_then(|at| retry(|| nix::sys::uio::pwrite(&fd, bytes, at))).named(|| call(at))?;
        if written == 0 {
            return Err(Error { call: call(at), errno: Errno::EIO });
        }
        bytes = &bytes[written..];
        at += written as u64;
    }
    Ok(())
}

/// ftruncate(2): what lies beyond the content so far reads as zeros and takes no space.
pub fn set_len(fd: impl AsFd, length: u64) -> Result<()> {
    offset(length)
        .and_then(|length| nix::unistd::ftruncate(&fd, length))
        .named(|| format!("ftruncate({}, {length})", show_fd(&fd)))
}

/// fsync(2)
pub fn sync(fd: impl AsFd) -> Result<()> {
    nix::unistd::fsync(&fd).named(|| format!("fsync({})", show_fd(&fd)))
}

/// syncfs(2): everything that was written to the file system of `fd`.
pub fn sync_all(fd: impl AsFd) -> Result<()> {
    nix::unistd::syncfs(&fd).named(|| format!("syncfs({})", show_fd(&fd)))
}

#[cfg(test)]
mod tests {
    use super::{read_at, set_len, write_at};

    #[test]
    fn content_at_offsets() {
        let file = tempfile::tempfile().unwrap();
        set_len(&file, 10).unwrap();
        write_at(&file, b"abc", 4).unwrap();
        let mut buffer = [1_u8; 16];
        assert_eq!(read_at(&file, &mut buffer, 2).unwrap(), 8);
        assert_eq!(&buffer[..8], b"\0\0abc\0\0\0");
        assert_eq!(read_at(&file, &mut buffer, 10).unwrap(), 0);
        let error = set_len(&file, u64::MAX).unwrap_err().to_string();
        assert!(error.ends_with("value too large for defined data type"), "{error}");
    }
}
