//! A pseudo-terminal of the container. Both its sides come from the container's devpts itself, never from a path that leads there
//! (CVE-2025-52565), and it is bound by descriptor over a file that no symlink of the image can stand for (CVE-2026-88264).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, major, minor};

use super::{Doing, Error};
use crate::sys::fd::{self, Resolve};
use crate::sys::tty::{self, Size};
use crate::sys::{Errno, mount};

/// `DEVPTS_SUPER_MAGIC`, and the inodes of its root and of its `ptmx` (linux/fs/devpts/inode.c).
const DEVPTS: i64 = 0x1cd1;
const ROOT_INODE: u64 = 1;
const PTMX_INODE: u64 = 2;
/// The device numbers of `ptmx` and of the terminals (Documentation/admin-guide/devices.txt).
const PTMX: (u64, u64) = (5, 2);
const TERMINAL_MAJORS: std::ops::RangeInclusive<u64> = 136..=143;

const OPENING: &str = "opening a terminal in the container's /dev/pts";
const BINDING: &str = "binding the terminal to /dev/console";

/// Both sides.
#[derive(Debug)]
pub struct Pair {
    /// For whoever types and reads.
    master: OwnedFd,
    /// For the program.
    terminal: OwnedFd,
}

impl Pair {
    /// Opens a new one in the devpts at `/dev/pts` below `root`.
    pub fn open(root: impl AsFd) -> Result<Self, Error> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let devpts = fd::open(root, Path::new("dev/pts"), Resolve::InRoot, flags, 0).doing(OPENING)?;
        if fd::fs_magic(&devpts).doing(OPENING)? != DEVPTS
            || fd::stat(&devpts).doing(OPENING)?.st_ino != ROOT_INODE
        {
            return Err(Error::Refused("a terminal needs a devpts mounted at /dev/pts"));
        }
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
        let master = fd::open(&devpts, Path::new("ptmx"), Resolve::Beneath, flags, 0).doing(OPENING)?;
        let stat = fd::stat(&master).doing(OPENING)?;
        if stat.st_ino != PTMX_INODE || (major(stat.st_rdev), minor(stat.st_rdev)) != PTMX {
            return Err(Error::Refused("/dev/pts/ptmx of the container is not what it must be"));
        }
        tty::unlock(&master).doing(OPENING)?;
        let terminal = tty::peer(&master).doing(OPENING)?;
        let stat = fd::stat(&terminal).doing(OPENING)?;
        if fd::fs_magic(&terminal).doing(OPENING)? != DEVPTS
            || !TERMINAL_MAJORS.contains(&major(stat.st_rdev))
        {
            return Err(Error::Refused("the other side of the container's terminal is none"));
        }
        Ok(Self { master, terminal })
    }

    /// Gives it a size, as config.json has it: height and width.
    pub fn resize(&self, (rows, columns): (u16, u16)) -> Result<(), Error> {
        tty::resize(&self.master, Size { rows, columns }).doing("setting the size of the terminal")
    }

    /// Attaches it to `/dev/console` below `root`: a file that is made, or a file or device that is there. No symlink is followed.
    pub fn bind_console(&self, root: impl AsFd) -> Result<(), Error> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let dev = fd::open(root, Path::new("dev"), Resolve::BeneathMounts, flags, 0).doing(BINDING)?;
        let name = Path::new("console");
        match fd::mknod(&dev, name, SFlag::S_IFREG, 0o600, 0, 0) {
            Err(error) if error.errno != Errno::EEXIST => return Err(error).doing(BINDING),
            _ => {}
        }
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        let target = fd::open(&dev, name, Resolve::BeneathNofollow, flags, 0).doing(BINDING)?;
        match fd::file_type(&fd::stat(&target).doing(BINDING)?) {
            SFlag::S_IFREG | SFlag::S_IFCHR => {}
            _ => return Err(Error::Refused("/dev/console of the image is neither a file nor a device")),
        }
        let bound = mount::clone_tree(&self.terminal, Path::new(""), false, false).doing(BINDING)?;
        mount::attach(bound, target, Path::new("")).doing(BINDING)
    }

    /// Makes the program's side the terminal of this session, whose leader we are, and its standard input, output and error. The
    /// other side is for somebody else.
    pub fn take(self) -> Result<OwnedFd, Error> {
        tty::control(&self.terminal)
            .and_then(|()| tty::make_standard(&self.terminal))
            .doing("making the terminal that of the program")?;
        Ok(self.master)
    }
}
