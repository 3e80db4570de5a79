//! Terminals of containers. Inside, a pair is opened in the container's own devpts and its one side becomes the program's; outside,
//! the other side goes to whoever asked for it, or is joined to the terminal that keg was called from.

mod caller;
mod pair;
mod relay;

pub use caller::Caller;
pub use pair::Pair;
pub use relay::relay;

use crate::sys;

/// There is no terminal for the container, or none to join it to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error("{0}")]
    Kernel(&'static str, #[source] sys::Error),
    /// What is there is not what it must be.
    #[error("{0}")]
    Refused(&'static str),
}

/// Says what was being done when a call failed.
trait Doing<T> {
    fn doing(self, what: &'static str) -> Result<T, Error>;
}

impl<T> Doing<T> for sys::Result<T> {
    fn doing(self, what: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Kernel(what, source))
    }
}
