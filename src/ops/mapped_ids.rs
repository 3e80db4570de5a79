//! The user namespaces whose mappings id-mapped mounts take: the one that the container joins, or one made for the purpose.

use std::os::fd::OwnedFd;

use super::Result;
use crate::plan::{IdMaps, Plan};
use crate::rootfs::MappedIds;
use crate::sys::credentials;
use crate::sys::proc::Proc;
use crate::{idmap, sys};

/// One for each mount that asks for it; mounts with the same mappings share one. `joined` is the container's own, where it joins one.
pub(super) fn namespaces(plan: &Plan, joined: Option<&OwnedFd>) -> Result<MappedIds> {
    let asked = plan.mounts.iter().enumerate().filter_map(|(n, mount)| Some((n, &mount.idmap.as_ref()?.0)));
    let mut found = MappedIds::new();
    let mut made: Vec<(&IdMaps, usize)> = Vec::new();
    for (index, maps) in asked {
        let known = made.iter().find(|(other, _)| *other == maps).and_then(|(_, at)| found.get(at));
        let namespace = match (known, joined) {
            (Some(known), _) => sys::fd::duplicate(known)?,
            (None, Some(joined)) if maps.uids.is_empty() => sys::fd::duplicate(joined)?,
            (None, _) => idmap::namespace(&Proc::host()?, maps, credentials::effective_uid().0 == 0)?,
        };
        made.push((maps, index));
        found.insert(index, namespace);
    }
    Ok(found)
}
