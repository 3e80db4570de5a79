//! The listener of a seccomp filter: taken from the process that has just loaded it, and handed to the agent that decides on the
//! calls which the filter passes on (config-linux.md, "The Container Process State").

use std::os::fd::{AsFd, OwnedFd};

use serde_json::{Value, json};

use super::process::ChildGuard;
use super::{Result, SPEC_VERSION};
use crate::link::KegEnd;
use crate::seccomp::Listener;
use crate::sys::{self, Errno, descriptors, socket};

/// How long to wait for the filter between two looks, in milliseconds.
const PAUSE: i32 = 1;

/// The agent did not get it.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("failed to connect with seccomp agent")]
    Agent(#[source] sys::Error),
    #[error("taking the listener of the seccomp filter")]
    Listener(#[source] sys::Error),
}

/// Hands on the listener that the process will have as descriptor `number`. `state` is the container's state document.
pub(super) fn hand_on(
    (child, link, number): (&ChildGuard, &KegEnd, i32),
    listener: &Listener,
    state: &[u8],
) -> Result<()> {
    // First, because nothing answers the process's calls from the moment it has a filter.
    let agent = socket::connect_stream(&listener.path).map_err(Error::Agent)?;
    let Some(taken) = take(child, link, number)? else { return Ok(()) };
    let document = json!({
        "ociVersion": SPEC_VERSION, "fds": ["seccompFd"], "pid": child.pid().0,
        "metadata": listener.metadata.as_deref().unwrap_or_default(),
        "state": serde_json::from_slice::<Value>(state)?,
    });
    let text = document.to_string();
    socket::send(&agent, text.as_bytes(), &[taken.as_fd()]).map_err(Error::Agent)?;
    Ok(())
}

/// `None`: the process has something else to say, that it failed.
fn take(child: &ChildGuard, link: &KegEnd, number: i32) -> Result<Option<OwnedFd>> {
    loop {
        match descriptors::take(child.pidfd(), number) {
            // The process cannot tell that the filter is there: its calls may already be the agent's to decide.
            Err(error) if error.errno == Errno::EBADF => {}
            taken => return Ok(Some(taken.map_err(Error::Listener)?)),
        }
        if socket::wait_readable(&[link.as_fd()], PAUSE)?[0] {
            return Ok(None);
        }
    }
}
