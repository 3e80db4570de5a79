//! Device nodes and links of /dev: those that every container has, and those that config.json lists.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};

use super::mounts::clean;
use crate::plan::finding::Report;
use crate::plan::{Device, DeviceKind, Mount, MountKind};

/// config-linux.md, "Default Devices": name, major, minor.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// runtime-linux.md, "Dev symbolic links", and the one that gdb and its like look for.
const LINKS: [(&str, &str); 6] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
    (PTMX, "pts/ptmx"),
];

const PTMX: &str = "/dev/ptmx";

/// Largest numbers of a device (`MKDEV`, 12 and 20 bits).
const MAX_MAJOR: u32 = (1 << 12) - 1;
const MAX_MINOR: u32 = (1 << 20) - 1;

/// Devices and links; none where the host's /dev is bound in.
pub(super) fn build(
    listed: &[LinuxDevice],
    mounts: &[Mount],
    report: &mut Report,
) -> (Vec<Device>, Vec<(PathBuf, PathBuf)>) {
    let bound = mounts
        .iter()
        .any(|mount| mount.destination == Path::new("/dev") && matches!(mount.kind, MountKind::Bind { .. }));
    let nodes: Vec<Device> =
        listed.iter().enumerate().filter_map(|(n, one)| device(one, n, report)).collect();
    let nodes = unique(nodes, report);
    if bound {
        if !listed.is_empty() {
            report.warn("linux.devices", "no device is made, because /dev is bound from the host");
        }
        return (Vec::new(), Vec::new());
    }
    let default = DEFAULT.iter().map(|&(path, major, minor)| Device {
        path: path.into(),
        kind: DeviceKind::Character(major, minor),
        mode: 0o666,
        uid: 0,
        gid: 0,
        listed: false,
    });
    let mut devices: Vec<Device> =
        default.filter(|device| nodes.iter().all(|node| node.path != device.path)).collect();
    devices.extend(nodes);
    let links = LINKS.iter().filter(|(link, _)| devices.iter().all(|device| device.path != Path::new(link)));
    let links = links.map(|(link, target)| (link.into(), target.into())).collect();
    (devices, links)
}

fn device(listed: &LinuxDevice, n: usize, report: &mut Report) -> Option<Device> {
    let path = format!("linux.devices[{n}]");
    if !listed.path().is_absolute() {
        report.error(format!("{path}.path"), format!("{:?} is not an absolute path", listed.path()));
        return None;
    }
    let place = clean(listed.path());
    if place == Path::new(PTMX) {
        report.warn(format!("{path}.path"), "/dev/ptmx is the link to the container's own pts/ptmx");
        return None;
    }
    if place.starts_with("/proc") || place == Path::new("/") {
        report.error(format!("{path}.path"), format!("no device can be made at {place:?}"));
    }
    let mut number = |name: &str, value: i64, max: u32| {
        let checked = u32::try_from(value).ok().filter(|number| *number <= max);
        if checked.is_none() {
            report.error(format!("{path}.{name}"), format!("{value} is not a number from 0 to {max}"));
        }
        checked
    };
    let kind = match listed.typ() {
        LinuxDeviceType::P => DeviceKind::Fifo,
        LinuxDeviceType::B | LinuxDeviceType::C | LinuxDeviceType::U => {
            let major = number("major", listed.major(), MAX_MAJOR);
            let minor = number("minor", listed.minor(), MAX_MINOR);
            match listed.typ() {
                LinuxDeviceType::B => DeviceKind::Block(major?, minor?),
                _ => DeviceKind::Character(major?, minor?),
            }
        }
        LinuxDeviceType::A => {
            report.error(format!("{path}.type"), "\"a\" is no kind of device node, known are b, c, p, u");
            return None;
        }
    };
    // Callers write the whole st_mode here, file type included.
    let mode = listed.file_mode().unwrap_or(0o666) & 0o7777;
    let (uid, gid) = (listed.uid().unwrap_or(0), listed.gid().unwrap_or(0));
    Some(Device { path: place, kind, mode, uid, gid, listed: true })
}

/// Of two entries for one path the first holds: callers put the devices of the host before those that somebody asked for.
fn unique(nodes: Vec<Device>, report: &mut Report) -> Vec<Device> {
    let mut unique: Vec<Device> = Vec::with_capacity(nodes.len());
    for node in nodes {
        match unique.iter().find(|known| known.path == node.path) {
            None => unique.push(node),
            Some(known) if known.kind == node.kind => {}
            Some(_) => {
                let what =
                    format!("{:?} is listed twice, as different devices: the first is made", node.path);
                report.warn("linux.devices", what);
            }
        }
    }
    unique
}
