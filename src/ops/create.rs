//! `create`: a container up to the moment before its program.

use super::launch::launch;
use super::launched::Then;
use super::options::CreateOptions;
use super::process::sort_descriptors;
use super::{Place, Result, service};
use crate::link::ToInit;

/// Makes the container; its init waits for `start`.
pub fn create(place: &Place, options: &CreateOptions) -> Result<()> {
    sort_descriptors(options.preserve_fds.saturating_add(service::listening()))?;
    let launched = launch(place, options, Then::Wait)?;
    launched.keep(options.pid_file.as_deref(), ToInit::Wait)?;
    Ok(())
}
