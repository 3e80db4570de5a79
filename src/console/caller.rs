//! The terminal that keg was called from: whose keys the container gets, whose size it has. Its modes are put back when it is dropped.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::OFlag;

use super::{Doing, Error};
use crate::sys;
use crate::sys::fd::{self, Resolve};
use crate::sys::tty::{self, Modes};

/// The caller's terminal.
#[derive(Debug)]
pub struct Caller {
    terminal: OwnedFd,
    before: Option<Modes>,
}

impl Caller {
    /// The one that standard error, output or input is, else the one that controls this session.
    pub fn find() -> Result<Self, Error> {
        let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let standard = [error.as_fd(), output.as_fd(), input.as_fd()];
        let terminal = match standard.into_iter().find(|stream| tty::is_terminal(stream)) {
            Some(stream) => fd::duplicate(stream),
            None => {
                let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
                fd::open(fd::cwd(), Path::new("/dev/tty"), Resolve::Host, flags, 0)
            }
        };
        let terminal = terminal.doing("no terminal to run a process with one in the foreground")?;
        Ok(Self { terminal, before: None })
    }

    /// Passes every key on from here, until the modes are put back.
    pub fn make_raw(&mut self) -> Result<(), Error> {
        self.before =
            Some(tty::make_raw(&self.terminal).doing("changing the modes of the caller's terminal")?);
        Ok(())
    }

    /// Gives the container's terminal the same size, unless nobody has said what that is.
    pub fn size_to(&self, master: impl AsFd) -> sys::Result<()> {
        match tty::size(&self.terminal)? {
            size if size == tty::Size::default() => Ok(()),
            size => tty::resize(master, size),
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some(modes) = self.before.take() {
            // It may have hung up, and then nobody sees it any more.
            tty::restore(&self.terminal, &modes).unwrap_or(());
        }
    }
}
