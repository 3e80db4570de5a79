//! The root goes over `/` where pivot_root(2) cannot work, because `/` is a ramfs. What the host has mounted stays below it then: out of
//! sight, but a procfs or sysfs that is there as a whole lets any user namespace mount another one, without the container's masks.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nix::fcntl::OFlag;

use super::{Doing, Error, RootFd};
use crate::sys::fd::{self, Resolve};
use crate::sys::mount::{self, FsContext};
use crate::sys::proc::Proc;

/// No namespace has so many mounts.
const LIMIT: usize = 16 << 20;
const DOING: &str = "hiding the mounts of the host, which pivoting would take away";

/// A mount that is none of the container's.
struct Old {
    id: u64,
    point: PathBuf,
    /// A new instance may be had by whoever sees this one.
    opens: bool,
}

/// Moves the mount `root` over `/`, takes away what is mounted below it, and makes it this process's root.
pub(super) fn move_over(root: &RootFd) -> Result<(), Error> {
    let doing = || DOING.to_owned();
    // It stays open when its mount has gone.
    let proc = Proc::host().doing(doing)?;
    mount::move_over(root).doing(|| "entering the root".to_owned())?;
    // This process's own root is the host's still: so are all paths.
    for old in hosts(&proc, root)?.iter().rev() {
        // Some have gone with what they were mounted on; those that a user namespace may not take apart are looked at again.
        mount::detach(&old.point).unwrap_or(());
    }
    hosts(&proc, root)?.iter().filter(|old| old.opens).try_for_each(cover)?;
    mount::change_root(root).doing(|| "entering the root".to_owned())
}

fn cover(old: &Old) -> Result<(), Error> {
    let doing = || DOING.to_owned();
    let place = fd::open(fd::cwd(), &old.point, Resolve::Host, OFlag::O_PATH, 0).doing(doing)?;
    if mount::mount_id(&place).doing(doing)? != old.id {
        return Err(Error::Refused(format!("{DOING}: {:?} is below another one", old.point)));
    }
    let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    let nothing = FsContext::open("tmpfs").and_then(|tmpfs| tmpfs.mount(attributes)).doing(doing)?;
    mount::attach(nothing, place, "".as_ref()).doing(doing)
}

/// All mounts but the root of all and those of the container.
fn hosts(proc: &Proc, root: &RootFd) -> Result<Vec<Old>, Error> {
    let doing = || DOING.to_owned();
    let own = mount::mount_id(root).doing(doing)?;
    let file = proc.own_file("mountinfo".as_ref(), OFlag::O_RDONLY);
    let text = file.and_then(|file| fd::read_all(file, LIMIT)).doing(doing)?;
    Ok(outside(&String::from_utf8_lossy(&text), own))
}

/// What is not on the mount `own`, nor on one that is on it. A line says what a mount is mounted on (proc(5)), in no certain order.
fn outside(mountinfo: &str, own: u64) -> Vec<Old> {
    let fields = |line: &'_ str| {
        let mut words = line.split(' ');
        Some((words.next()?.parse::<u64>().ok()?, words.next()?.parse::<u64>().ok()?))
    };
    let parents: BTreeMap<_, _> = mountinfo.lines().filter_map(fields).collect();
    let inside = |id: u64| {
        let mut above = std::iter::successors(Some(id), |id| parents.get(id).copied());
        above.by_ref().take(parents.len() + 1).any(|id| id == own)
    };
    let old = |line: &str| {
        let (mount, file_system) = line.split_once(" - ")?;
        let (id, _) = fields(line)?;
        let point = mount.split(' ').nth(4).filter(|point| *point != "/" && !inside(id))?;
        let opens = file_system.starts_with("proc ") || file_system.starts_with("sysfs ");
        Some(Old { id, point: mount::unescape(point), opens })
    };
    mountinfo.lines().filter_map(old).collect()
}

#[cfg(test)]
mod tests {
    use super::outside;

    #[test]
    fn what_is_the_containers_stays() {
        let text = "\
21 1 0:1 / / rw - rootfs rootfs rw
22 21 0:5 / /proc rw shared:3 - proc proc rw
23 21 0:6 / /a\\040b rw - sysfs sysfs rw
41 40 0:8 / /proc rw - proc proc rw
40 21 0:7 / / rw - tmpfs tmpfs rw
42 41 0:8 / /proc/sys ro - proc proc rw
43 22 0:9 / /proc/fs rw - autofs x rw
";
        let all = outside(text, 40);
        let all: Vec<_> = all.iter().map(|old| (old.id, old.point.to_str().unwrap(), old.opens)).collect();
        assert_eq!(all, [(22, "/proc", true), (23, "/a b", true), (43, "/proc/fs", false)]);
    }
}
