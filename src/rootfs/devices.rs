//! Device nodes and the links of /dev, made by single names in directory fds (CVE-2026-41579, CVE-2026-88264). In a user namespace,
//! where nodes cannot be made, the host's are bound.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sys::stat::SFlag;

use super::mask::is_device;
use super::place::Spent;
use super::root::{Leaf, RootFd, shown};
use super::{Doing, Error};
use crate::plan::{Device, DeviceKind, Plan};
use crate::sys::fd::{self, Resolve};
use crate::sys::{Errno, mount};

/// Makes them all. `own` is a `/dev` that keg has mounted.
pub(super) fn make(
    root: &RootFd,
    own: Option<&OwnedFd>,
    plan: &Plan,
    spent: &mut Spent,
) -> Result<(), Error> {
    match own {
        _ if plan.devices.is_empty() && plan.links.is_empty() => Ok(()),
        Some(own) => make_in(own, root, plan),
        None => {
            let dev = match root.plain_directory(Path::new("/dev")) {
                Err(error) if matches!(error.errno, Errno::ELOOP | Errno::ENOTDIR) => {
                    let text = "\"/dev\" must be an ordinary directory, not a symlink or a file";
                    return Err(Error::Refused(text.to_owned()));
                }
                found => found.doing(|| "opening \"/dev\"".to_owned())?,
            };
            make_in(&dev, root, plan)?;
            spent.put(dev);
            Ok(())
        }
    }
}

fn make_in(dev: &OwnedFd, root: &RootFd, plan: &Plan) -> Result<(), Error> {
    let bind = plan.bind_devices;
    for device in &plan.devices {
        let doing = || format!("making the device {:?}", shown(&device.path));
        match device.path.strip_prefix("/dev").map(Path::new) {
            Ok(name) if name.components().count() == 1 => one(dev, name, device, bind)?,
            _ => {
                let (dir, name) = root.parent(&device.path).doing(doing)?;
                one(dir, name, device, bind)?;
            }
        }
    }
    for (path, target) in &plan.links {
        let doing = || format!("making the link {:?}", shown(path));
        let name = path.strip_prefix("/dev").unwrap_or(path);
        match fd::symlink(dev, name, target) {
            // What an image or a mount has put there stays.
            Err(error) if error.errno == Errno::EEXIST => {}
            done => done.doing(doing)?,
        }
    }
    Ok(())
}

fn one(dir: impl AsFd, name: &Path, device: &Device, bind: bool) -> Result<(), Error> {
    let doing = || format!("making the device {:?}", shown(&device.path));
    let (kind, major, minor) = match device.kind {
        DeviceKind::Character(major, minor) => (SFlag::S_IFCHR, u64::from(major), u64::from(minor)),
        DeviceKind::Block(major, minor) => (SFlag::S_IFBLK, u64::from(major), u64::from(minor)),
        DeviceKind::Fifo => (SFlag::S_IFIFO, 0, 0),
    };
    if bind && kind != SFlag::S_IFIFO {
        return bind_host(dir, name, device);
    }
    match fd::mknod(&dir, name, kind, device.mode, major, minor) {
        Err(error) if error.errno == Errno::EEXIST => {
            return check_existing(dir, name, device, (kind, major, minor));
        }
        done => done.doing(doing)?,
    }
    if (device.uid, device.gid) != (0, 0) {
        fd::chown(&dir, name, device.uid, device.gid).doing(doing)?;
    }
    Ok(())
}

/// Something is there already. A default device gives way to it, unless it is a symlink; a listed one must be the same.
fn check_existing(
    dir: impl AsFd,
    name: &Path,
    device: &Device,
    (kind, major, minor): (SFlag, u64, u64),
) -> Result<(), Error> {
    let doing = || format!("making the device {:?}", shown(&device.path));
    let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_NOFOLLOW;
    let found = fd::open(dir, name, Resolve::BeneathNofollow, flags, 0).doing(doing)?;
    if is_device(&found, kind, (major, minor)).doing(doing)? {
        return Ok(());
    }
    let is_symlink = fd::file_type(&fd::stat(&found).doing(doing)?) == SFlag::S_IFLNK;
    match device.listed || is_symlink {
        true => Err(Error::Refused(format!("{}: another file exists there", doing()))),
        false => Ok(()),
    }
}

/// Binds the host's node of the same path over a file.
fn bind_host(dir: impl AsFd, name: &Path, device: &Device) -> Result<(), Error> {
    let doing = || format!("binding the device {:?} of the host", shown(&device.path));
    let host = mount::clone_tree(fd::cwd(), &device.path, false, false).doing(doing)?;
    let (kind, number) = match device.kind {
        DeviceKind::Block(major, minor) => (SFlag::S_IFBLK, (major.into(), minor.into())),
        DeviceKind::Character(major, minor) => (SFlag::S_IFCHR, (major.into(), minor.into())),
        DeviceKind::Fifo => (SFlag::S_IFIFO, (0, 0)),
    };
    if !is_device(&host, kind, number).doing(doing)? {
        return Err(Error::Refused(format!("{}: the host has another file there", doing())));
    }
    let own = fd::open(&dir, Path::new("."), Resolve::Beneath, nix::fcntl::OFlag::O_PATH, 0).doing(doing)?;
    let target = RootFd::new(own).find_or_make(name, Leaf::File).doing(doing)?;
    mount::attach(&host, &target, Path::new("")).doing(doing)
}
