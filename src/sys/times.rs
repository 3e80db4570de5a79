//! File times (utimensat(2)), with nanoseconds and before 1970.

use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::stat::UtimensatFlags;
use nix::sys::time::TimeSpec;

use super::error::{Named, Result, show_fd};

/// A moment: seconds since 1970, and the nanoseconds after that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Seconds since 1970-01-01T00:00:00Z, negative before.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, less than a thousand million.
    pub nanoseconds: u32,
}

impl Time {
    fn spec(self) -> TimeSpec {
        TimeSpec::new(self.seconds, i64::from(self.nanoseconds))
    }
}

/// Sets access and modification time of an open file.
pub fn set(fd: impl AsFd, time: Time) -> Result<()> {
    nix::sys::stat::futimens(&fd, &time.spec(), &time.spec())
        .named(|| format!("futimens({}, {})", show_fd(&fd), time.seconds))
}

/// Sets access and modification time of one name in `dir`; a symlink's own.
pub fn set_at(dir: impl AsFd, name: &Path, time: Time) -> Result<()> {
    let flags = UtimensatFlags::NoFollowSymlink;
    nix::sys::stat::utimensat(&dir, name, &time.spec(), &time.spec(), flags)
        .named(|| format!("utimensat({}, {name:?}, {})", show_fd(&dir), time.seconds))
}

#[cfg(test)]
mod tests {
    use super::{Time, set};

    #[test]
    fn times_before_1970_and_nanoseconds_are_kept() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for time in [Time { seconds: 1, nanoseconds: 999_999_999 }, Time { seconds: -2, nanoseconds: 500 }] {
            set(&file, time).unwrap();
            let stat = crate::sys::fd::stat(&file).unwrap();
            assert_eq!((stat.st_mtime, stat.st_mtime_nsec), (time.seconds, i64::from(time.nanoseconds)));
        }
    }
}
