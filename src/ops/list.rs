//! `list`: all containers of a state directory.

use super::state::{ContainerState, Owners, describe};
use super::{Place, Result};
use crate::state::{Error, Store};
use crate::sys::proc::Proc;

/// Looks at every container, ordered by name. One that is deleted meanwhile is left out.
pub fn list(place: &Place) -> Result<Vec<ContainerState>> {
    let store = Store::open(&place.root)?;
    let proc = Proc::host()?;
    let mut owners = Owners::default();
    let mut list = Vec::new();
    for record in store.list()? {
        match store.state(&record, &proc) {
            Ok(state) => list.push(describe(record, state, &mut owners)),
            Err(Error::Unknown(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(list)
}
