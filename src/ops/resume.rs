//! `resume`: the processes of a paused container go on.

use super::{Place, Result, own_cgroup};
use crate::cgroup;
use crate::state::Store;
use crate::sys::proc::Proc;
use crate::types::ContainerId;

/// Thaws it.
pub fn resume(place: &Place, id: &ContainerId) -> Result<()> {
    let container = Store::open(&place.root)?.lock(id)?;
    let record = container.record()?;
    container.state(&record, &Proc::host()?)?.to_resume()?;
    Ok(cgroup::thaw(own_cgroup(&record)?)?)
}
