//! Signals as things to read: a foreground command passes on what it gets.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::error::{Named, Result};
use super::process;
use super::socket::wait_readable;
use crate::types::{Pid, Signal};

/// Holds back every signal that can be held back, and delivers them to another process.
#[derive(Debug)]
pub struct Forwarder {
    signals: SignalFd,
    before: SigSet,
}

impl Forwarder {
    /// Blocks all signals of this process, but for those that a fault raises.
    pub fn new() -> Result<Self> {
        let mut all = SigSet::all();
        for fault in [NixSignal::SIGSEGV, NixSignal::SIGBUS, NixSignal::SIGILL, NixSignal::SIGFPE] {
            all.remove(fault);
        }
        let mut before = SigSet::empty();
        nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), Some(&mut before))
            .named(|| "sigprocmask()".to_owned())?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&all, flags).named(|| "signalfd()".to_owned())?;
        Ok(Self { signals, before })
    }

    /// Passes signals on to the child `pid` (and `pidfd`) until it has ended.
    pub fn forward_until_ended(&self, pid: Pid, pidfd: impl AsFd) -> Result<()> {
        loop {
            let ready = wait_readable(&[pidfd.as_fd(), self.signals.as_fd()], -1)?;
            if ready[0] {
                return Ok(());
            }
            while let Some(signal) = self.next(pid)? {
                deliver(&pidfd, signal)?;
            }
        }
    }

    /// The next signal for the child `pid`, if one has come. SIGCHLD reaps orphans that came to us; SIGURG is nobody's.
    pub fn next(&self, pid: Pid) -> Result<Option<Signal>> {
        while let Some(info) = self.signals.read_signal().named(|| "read(signalfd)".to_owned())? {
            match Signal::from_number(info.ssi_signo as i32) {
                Some(Signal::CHLD) => process::reap_others(pid),
                Some(Signal::URG) | None => {}
                Some(signal) => return Ok(Some(signal)),
            }
        }
        Ok(None)
    }
}

impl AsFd for Forwarder {
    /// Readable when there is a signal.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

/// Sends a signal to a process that may have ended.
pub fn deliver(pidfd: impl AsFd, signal: Signal) -> Result<()> {
    match process::signal(pidfd, signal) {
        Err(error) if error.errno != nix::errno::Errno::ESRCH => Err(error),
        _ => Ok(()),
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // What was held back and not passed on comes now; nothing can be done if the old mask cannot be set.
        self.before.thread_set_mask().unwrap_or(());
    }
}

/// Signals as a new program expects them: none held back, and SIGPIPE, which Rust ignores, at its default.
pub fn reset() -> Result<()> {
    SigSet::empty().thread_set_mask().named(|| "sigprocmask()".to_owned())?;
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default disposition runs no code of ours.
    unsafe { nix::sys::signal::sigaction(NixSignal::SIGPIPE, &default) }
        .map(drop)
        .named(|| "sigaction(SIGPIPE, SIG_DFL)".to_owned())
}
