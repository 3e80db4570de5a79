//! `pause`: all processes of a container stand still.

use super::{Place, Result, own_cgroup};
use crate::cgroup;
use crate::state::Store;
use crate::sys::proc::Proc;
use crate::types::ContainerId;

/// Freezes it; once this returns, nothing of it runs.
pub fn pause(place: &Place, id: &ContainerId) -> Result<()> {
    let container = Store::open(&place.root)?.lock(id)?;
    let record = container.record()?;
    container.state(&record, &Proc::host()?)?.to_pause()?;
    Ok(cgroup::freeze(own_cgroup(&record)?)?)
}
