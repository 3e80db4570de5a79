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

/// Holds back the signals that ask a program to end, for one that has something to clean up before.
#[derive(Debug)]
pub struct Interrupts {
    signals: SignalFd,
    before: SigSet,
}

impl Interrupts {
    /// Blocks SIGHUP, SIGINT, SIGQUIT and SIGTERM in this thread and in those it starts, but for those that the caller's caller has
    /// chosen to ignore.
    pub fn hold() -> Result<Self> {
        let mut held = SigSet::empty();
        for signal in [NixSignal::SIGHUP, NixSignal::SIGINT, NixSignal::SIGQUIT, NixSignal::SIGTERM] {
            if !is_ignored(signal)? {
                held.add(signal);
            }
        }
        let mut before = SigSet::empty();
        nix::sys::signal::pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&held), Some(&mut before))
            .named(|| "pthread_sigmask()".to_owned())?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&held, flags).named(|| "signalfd()".to_owned())?;
        Ok(Self { signals, before })
    }

    /// The signal that has come, if one has.
    pub fn next(&self) -> Result<Option<Signal>> {
        let info = self.signals.read_signal().named(|| "read(signalfd)".to_owned())?;
        Ok(info.and_then(|info| Signal::from_number(info.ssi_signo as i32)))
    }
}

fn is_ignored(signal: NixSignal) -> Result<bool> {
    // SAFETY: sigaction is a plain structure for which zero is a valid value.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action nothing changes; the old one is written to a structure of ours.
    let done = unsafe { libc::sigaction(signal as i32, std::ptr::null(), &raw mut old) };
    nix::errno::Errno::result(done).named(|| format!("sigaction({signal})"))?;
    Ok(old.sa_sigaction == libc::SIG_IGN)
}

impl AsFd for Interrupts {
    /// Readable when there is a signal.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.before.thread_set_mask().unwrap_or(());
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
