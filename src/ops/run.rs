//! `run`: create and start in one, without a pause between them; in the foreground until the program ends.

use super::delete;
use super::launch::{InitGuard, launch};
use super::options::{DeleteOptions, RunOptions};
use super::start::{await_program, poststart};
use super::{Place, Result};
use crate::link::ToInit;
use crate::state::Stage;
use crate::sys::process;
use crate::sys::signals::Forwarder;

/// Runs the container. The result is the status to exit with: 0 when detached, else the program's, or 128 + the signal that killed it.
pub fn run(place: &Place, options: &RunOptions) -> Result<i32> {
    if !options.detach && !options.no_subreaper {
        process::set_subreaper()?;
    }
    // Before init exists: no signal may fall between.
    let signals = if options.detach { None } else { Some(Forwarder::new()?) };
    let launched = launch(place, &options.create, false)?;
    let init = launched.reference()?;
    let pid_file = options.create.pid_file.as_deref();
    let (child, link, record, _plan) = launched.keep(Stage::Running { init }, pid_file, ToInit::Start)?;
    let started = await_program(&link).and_then(|()| poststart(&record, init));
    if let Err(error) = started {
        remove(place, options)?;
        return Err(error);
    }
    match signals {
        None => Ok(0),
        Some(signals) => {
            let status = wait(&signals, &child)?;
            if !options.keep {
                remove(place, options)?;
            }
            Ok(status)
        }
    }
}

/// Passes signals on until init ends.
fn wait(signals: &Forwarder, child: &InitGuard) -> Result<i32> {
    signals.forward_until_ended(child.pid(), child.pidfd())?;
    Ok(process::wait(child.pidfd())?.status())
}

fn remove(place: &Place, options: &RunOptions) -> Result<()> {
    delete::delete(place, &DeleteOptions { id: options.create.id.clone(), force: true })
}
