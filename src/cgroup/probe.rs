//! Where the host has its cgroups. On the start-up path of every command that makes a container, so
//! the usual places are looked at first; `/proc/self/mountinfo`, as long as the host has mounts, is
//! read only where something is not in its usual place.

use std::path::{Path, PathBuf};

use super::Error;
use crate::plan::cgroup::{Hierarchy, HostCgroups, Unified};
use crate::sys::cgroup::{self as sys, Mounted};
use crate::sys::{Errno, mount};
use crate::types::CgroupVersion;

const USUAL: &str = "/sys/fs/cgroup";
const MOUNTINFO_LIMIT: usize = 64 << 20;

/// How carefully to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Version 1 is believed to be in its usual places. Where it is not, no cgroup can be made. Version 2 beside it counts in its usual place
    /// alone.
    Quick,
    /// Every place is looked at.
    Thorough,
}

/// Looks.
pub fn probe(look: Look) -> Result<HostCgroups, Error> {
    let own = read_proc("/proc/self/cgroup", has_unified)?;
    let own: Vec<_> = own.lines().filter_map(parse_own).collect();
    let usual = Path::new(USUAL);
    let path = own.iter().find(|(name, _)| name.is_empty()).map_or("", |(_, path)| *path);
    if let Some(unified) = unified_if_there(usual, path.into())? {
        return Ok(HostCgroups { version: CgroupVersion::V2, v1: Vec::new(), unified: Some(unified) });
    }
    let mut host = HostCgroups::default();
    let mut elsewhere = None;
    for (name, path) in own {
        let mount = usual.join(match name.strip_prefix("name=").unwrap_or(name) {
            "" => "unified",
            name => name,
        });
        let quick = path.is_empty() && look == Look::Quick;
        if quick && name.is_empty() {
            host.unified = unified_if_there(&mount, PathBuf::new())?;
            if host.unified.is_some() || is_in_usual_place(&host.v1)? {
                continue;
            }
        }
        let wanted = if name.is_empty() { Mounted::V2 } else { Mounted::V1 };
        let there = (quick && !name.is_empty())
            || sys::mounted(&mount.join(path)).map_err(Error::Probe)? == Some(wanted);
        if !there && elsewhere.is_none() {
            elsewhere = Some(read_proc("/proc/self/mountinfo", |_| false)?);
        }
        let found = match there {
            true => Some((mount, PathBuf::from(path))),
            false => find_mount(elsewhere.as_deref().unwrap_or_default(), name, path),
        };
        match found {
            Some((mount, own)) if name.is_empty() => host.unified = unified_if_there(&mount, own)?,
            Some((mount, own)) => host.v1.push(Hierarchy { name: name.to_owned(), mount, own }),
            None => {}
        }
    }
    host.version = match (host.v1.is_empty(), &host.unified) {
        (true, None) => CgroupVersion::None,
        (true, Some(_)) => CgroupVersion::V2,
        (false, None) => CgroupVersion::V1,
        (false, Some(_)) => CgroupVersion::Hybrid,
    };
    Ok(host)
}

/// Whether this is a host with version 1 where it is expected: version 2 is not looked for beside it.
fn is_in_usual_place(v1: &[Hierarchy]) -> Result<bool, Error> {
    let Some(last) = v1.last() else { return Ok(false) };
    Ok(sys::mounted(&last.mount).map_err(Error::Probe)? == Some(Mounted::V1))
}

/// Whether a hierarchy of version 1 is mounted, wherever that may be.
pub(super) fn is_mounted(hierarchy: &str) -> Result<bool, Error> {
    Ok(find_mount(&read_proc("/proc/self/mountinfo", |_| false)?, hierarchy, "").is_some())
}

fn read_proc(path: &str, whole: fn(&[u8]) -> bool) -> Result<String, Error> {
    sys::read_until(Path::new(path), MOUNTINFO_LIMIT, whole).map_err(Error::Probe)
}

/// The line of version 2 is the last (cgroups(7), "/proc files").
fn has_unified(own: &[u8]) -> bool {
    own.strip_suffix(b"\n")
        .and_then(|own| own.rsplit(|byte| *byte == b'\n').next())
        .is_some_and(|line| line.starts_with(b"0::"))
}

/// Version 2, if it is at `mount`: only it has a file of that name.
fn unified_if_there(mount: &Path, own: PathBuf) -> Result<Option<Unified>, Error> {
    let controllers = match sys::read(&mount.join("cgroup.controllers")) {
        Err(error) if error.errno == Errno::ENOENT => return Ok(None),
        controllers => controllers.map_err(Error::Probe)?,
    };
    let controllers = controllers.split_whitespace().map(str::to_owned).collect();
    Ok(Some(Unified { mount: mount.to_owned(), own, controllers }))
}

/// `4:memory:/a/b` is the hierarchy `memory` and the path `a/b`. Whoever is outside the root of their cgroup namespace has a path that
/// begins with `..` (cgroup_namespaces(7)): there is no such place in what they have mounted, and so they are taken for being at its root.
fn parse_own(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(':')?;
    let (name, path) = rest.split_once(':')?;
    let path = path.trim_start_matches('/');
    Some((name, if path.split('/').any(|part| part == "..") { "" } else { path }))
}

/// Where a hierarchy is mounted, and what `own` is below that place: a mount may show only a part of
/// the hierarchy.
fn find_mount(mountinfo: &str, hierarchy: &str, own: &str) -> Option<(PathBuf, PathBuf)> {
    mountinfo.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let mut filesystem = filesystem.split(' ');
        let (kind, options) = (filesystem.next()?, filesystem.nth(1)?);
        let found = match hierarchy {
            "" => kind == "cgroup2",
            names => kind == "cgroup" && names.split(',').all(|name| options.split(',').any(|o| o == name)),
        };
        let own = Path::new(own).strip_prefix(root.trim_start_matches('/')).unwrap_or(Path::new(""));
        found.then(|| (mount::unescape(point), own.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{find_mount, parse_own};

    const MOUNTINFO: &str = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu\\040x rw,relatime shared:9 - cgroup cgroup rw,cpuacct,cpu
33 31 0:31 /docker/1 /cg/memory rw - cgroup cgroup rw,memory
34 31 0:32 / /cg/systemd rw - cgroup none rw,xattr,name=systemd
35 31 0:33 / /cg/unified rw - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn mounts_in_unusual_places() {
        let table = [
            ("cpu,cpuacct", "a/b", Some(("/sys/fs/cgroup/cpu x", "a/b"))),
            ("cpu", "", Some(("/sys/fs/cgroup/cpu x", ""))),
            ("memory", "docker/1", Some(("/cg/memory", ""))),
            ("memory", "docker/1/x", Some(("/cg/memory", "x"))),
            ("memory", "other", Some(("/cg/memory", ""))),
            ("name=systemd", "", Some(("/cg/systemd", ""))),
            ("", "u", Some(("/cg/unified", "u"))),
            ("pids", "", None),
        ];
        for (hierarchy, own, expected) in table {
            let found = find_mount(MOUNTINFO, hierarchy, own);
            let found = found.as_ref().map(|(mount, own)| (mount.as_path(), own.as_path()));
            let expected = expected.map(|(mount, own)| (Path::new(mount), Path::new(own)));
            assert_eq!(found, expected, "{hierarchy} {own}");
        }
    }

    #[test]
    fn own_cgroups() {
        assert_eq!(parse_own("4:memory:/a:b/c"), Some(("memory", "a:b/c")));
        assert_eq!(parse_own("1:name=systemd:/"), Some(("name=systemd", "")));
        assert_eq!(parse_own("0::/x"), Some(("", "x")));
        assert_eq!(parse_own("0::/../../x"), Some(("", "")));
        assert_eq!(parse_own("3:pids:/a..b/..c"), Some(("pids", "a..b/..c")));
        assert_eq!(parse_own(""), None);
    }
}
