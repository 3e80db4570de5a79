//! `create`: a container up to the moment before its program.

use super::launch::{Then, launch};
use super::options::CreateOptions;
use super::process::sort_descriptors;
use super::{Place, Result, service};
use crate::link::ToInit;
use crate::state::Stage;

/// Makes the container; its init waits for `start`.
pub fn create(place: &Place, options: &CreateOptions) -> Result<()> {
    sort_descriptors(options.preserve_fds.saturating_add(service::listening()))?;
    let launched = launch(place, options, Then::Wait)?;
    let init = launched.reference()?;
    launched.keep(Stage::Created { init }, options.pid_file.as_deref(), ToInit::Wait)?;
    Ok(())
}
