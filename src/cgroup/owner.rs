//! Hands a version 2 cgroup to a user, who may then make cgroups below it but not lift its limits.

use std::path::Path;

use super::Error;
use super::walk::unless_gone;
use crate::sys::cgroup as files;
use crate::types::Uid;

/// The files that may be given away (kernel: Documentation/ABI/testing/sysfs-kernel-cgroup, Linux 4.15).
const LIST: &str = "/sys/kernel/cgroup/delegate";

/// What every kernel of keg's has in that list.
const USUAL: &str = "cgroup.procs cgroup.subtree_control cgroup.threads";

/// Gives it, if it is not that user's already.
pub(super) fn give(directory: &Path, owner: Uid) -> Result<(), Error> {
    let failed = |source| Error::Use { doing: "change the owner of", source };
    if files::owner(directory).map_err(failed)? == owner {
        return Ok(());
    }
    let list = unless_gone(files::read(Path::new(LIST))).map_err(failed)?;
    files::give(directory, owner).map_err(failed)?;
    for name in list.as_deref().unwrap_or(USUAL).split_whitespace() {
        // A controller that is not enabled has no files.
        unless_gone(files::give(&directory.join(name), owner)).map_err(failed)?;
    }
    Ok(())
}
