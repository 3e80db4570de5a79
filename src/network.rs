//! The container's own network namespace: its loopback interface is brought up.

use crate::sys::{self, netlink};

/// The network could not be prepared.
#[derive(Debug, thiserror::Error)]
#[error("bringing up the loopback interface")]
pub struct Error(#[source] sys::Error);

/// Brings up `lo` in the current network namespace.
pub fn bring_up_loopback() -> Result<(), Error> {
    netlink::bring_up("lo").map_err(Error)
}
