//! The conversation between keg and the container's init, one message a packet:
//!
//! ```text
//!   keg (host)                            init (container)
//!     │ ◀── Spawned + pidfd ─────────────── │   only where a process in between joined namespaces first
//!     │ ◀── Born ────────────────────────── │   only where keg has work of its own meanwhile; not where a process came in between
//!     │ ─── cgroups + fds ────────────────▶ │   only where they were made meanwhile: enter them
//!     │ ─── filter, in pieces ────────────▶ │   only where it is linked meanwhile; kept until it is wanted
//!     │ ◀── MapIds ──────────────────────── │   a new user namespace wants its mappings
//!     │ ─── Proceed ──────────────────────▶ │
//!     │ ◀── MoveDevices ─────────────────── │   the network namespace is there: move the host's devices in
//!     │ ─── Proceed ──────────────────────▶ │
//!     │ ◀── RunHooks ────────────────────── │   mounts are there; prestart and createRuntime hooks are due
//!     │ ─── Proceed ──────────────────────▶ │
//!     │ ◀── Terminal + fd ───────────────── │   the terminal's master side
//!     │ ◀── DevicesMade ─────────────────── │   restrict the devices now, while init goes on
//!     │ ◀── Limit ───────────────────────── │   set the resource limits, where init has not the rights to, while it is root
//!     │ ─── Proceed ──────────────────────▶ │
//!     │ ◀── Listen {number} ─────────────── │   the filter comes next: take its listener, by its number
//!     │ ─── Proceed ──────────────────────▶ │
//!     │ ◀── Ready ───────────────────────── │   all is set up; nothing of the host is held any more
//!     │ ─── Wait, or Start, or Leave ─────▶ │   the record is written: wait for `start`, or go on at once
//!     │ ◀── Executing ───────────────────── │   then the socket closes by itself: close-on-exec
//!     │ ◀── Failed {text} ───────────────── │   at any moment, instead of all that would follow
//! ```
//!
//! After `Leave` keg is not there any more to hear `Executing`.
//!
//! Either end learns of the other's death by the end of the stream. `start` talks to a waiting init by a socket in the state
//! directory in the same words: it connects, and reads `Executing` or `Failed`.

mod filter;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::cgroup::Tasks;
use crate::sys::{self, socket, timing};

pub use filter::Filter;
use filter::Partial;

/// No message is longer; texts are cut.
const MAX_MESSAGE: usize = 4096;

/// What init says.
#[derive(Debug)]
pub enum FromInit {
    /// The container's first process exists: its pid as keg sees it, and its pidfd.
    Spawned(i32, OwnedFd),
    /// Init runs, on this processor. It does not wait.
    Born(u32),
    /// Write the mappings of the user namespace.
    MapIds,
    /// Move network devices of the host into init's network namespace.
    MoveDevices,
    /// Run the prestart and createRuntime hooks.
    RunHooks,
    /// The master side of the container's terminal.
    Terminal(OwnedFd),
    /// Init has made and opened what devices it needs: the rules may forbid them. Init does not wait.
    DevicesMade,
    /// Set the resource limits of the container's program.
    Limit,
    /// The number that the listener of the seccomp filter will have: said before there is a filter, which may forbid saying it.
    Listen(i32),
    /// Everything is set up.
    Ready,
    /// The next thing is execve(2).
    Executing,
    /// Set-up, or execve(2), failed: one line.
    Failed(String),
}

/// What keg says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToInit {
    /// What you asked for is done.
    Proceed,
    /// The container is created: wait for `start`.
    Wait,
    /// Run the program now.
    Start,
    /// The same, and do not mind that keg has gone: the container is frozen, and who knows for how long.
    Leave,
}

/// The conversation broke.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The other end is gone.
    #[error("the other process ended")]
    Closed,
    /// A message that is none.
    #[error("a message that makes no sense")]
    Garbled,
    /// The socket failed.
    #[error(transparent)]
    Socket(#[from] sys::Error),
}

/// keg's end.
#[derive(Debug)]
pub struct KegEnd {
    socket: OwnedFd,
    /// `Spawned` is to be told before anything else.
    staged: Cell<bool>,
    /// What has overtaken it.
    early: RefCell<VecDeque<FromInit>>,
}

/// Init's end.
#[derive(Debug)]
pub struct InitEnd {
    socket: OwnedFd,
    filter: RefCell<Partial>,
}

/// Both ends. After the fork each process drops the other's.
pub fn pair() -> Result<(KegEnd, InitEnd), Error> {
    let (keg, init) = socket::pair()?;
    Ok((KegEnd::new(keg), InitEnd::new(init)))
}

fn receive(socket: &OwnedFd, buffer: &mut [u8; MAX_MESSAGE]) -> Result<(usize, Vec<OwnedFd>), Error> {
    loop {
        match socket::receive(socket, buffer) {
            Ok((0, _)) => return Err(Error::Closed),
            // The other end has gone without reading all it was told. That is said once, before what it had to say itself.
            Err(error) if error.errno == sys::Errno::ECONNRESET => {}
            message => return Ok(message?),
        }
    }
}

fn sent(done: sys::Result<()>) -> Result<(), Error> {
    match done {
        // The latter once, where the other end has gone without reading all it was told.
        Err(error) if matches!(error.errno, sys::Errno::EPIPE | sys::Errno::ECONNRESET) => Err(Error::Closed),
        done => Ok(done?),
    }
}

impl KegEnd {
    /// A socket that is connected to a waiting init.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, staged: Cell::default(), early: RefCell::default() }
    }

    /// A process in between will tell of init, which may speak sooner. Whatever it says makes sense only after `Spawned`, and is kept
    /// until then.
    pub fn expect_spawned(&self) {
        self.staged.set(true);
    }

    /// Whether it has still to tell.
    pub fn expects_spawned(&self) -> bool {
        self.staged.get()
    }

    /// The next message. Blocks.
    pub fn receive(&self) -> Result<FromInit, Error> {
        while self.staged.get() {
            let message = self.read()?;
            if matches!(message, FromInit::Spawned(..) | FromInit::Failed(_)) {
                self.staged.set(false);
                return Ok(message);
            }
            self.early.borrow_mut().push_back(message);
        }
        let early = self.early.borrow_mut().pop_front();
        early.map_or_else(|| self.read(), Ok)
    }

    /// The same, or `None` where `other` is readable before there is one.
    pub fn receive_unless(&self, other: impl AsFd) -> Result<Option<FromInit>, Error> {
        let kept = !self.early.borrow().is_empty() && !self.staged.get();
        if !kept && !socket::wait_readable(&[self.as_fd(), other.as_fd()], -1)?[0] {
            return Ok(None);
        }
        self.receive().map(Some)
    }

    fn read(&self) -> Result<FromInit, Error> {
        timing::lap("serve init");
        let mut buffer = [0; MAX_MESSAGE];
        let (length, mut fds) = receive(&self.socket, &mut buffer)?;
        timing::lap("wait for init");
        let (tag, rest) = buffer[..length].split_first().ok_or(Error::Garbled)?;
        Ok(match (tag, fds.pop()) {
            (b'S', Some(fd)) => {
                let pid = rest.try_into().map_err(|_| Error::Garbled)?;
                FromInit::Spawned(i32::from_ne_bytes(pid), fd)
            }
            (b'N', None) => {
                let number = rest.try_into().map_err(|_| Error::Garbled)?;
                FromInit::Listen(i32::from_ne_bytes(number))
            }
            (b'T', Some(fd)) => FromInit::Terminal(fd),
            (b'B', None) => FromInit::Born(u32::from_ne_bytes(rest.try_into().map_err(|_| Error::Garbled)?)),
            (b'M', None) => FromInit::MapIds,
            (b'D', None) => FromInit::MoveDevices,
            (b'H', None) => FromInit::RunHooks,
            (b'V', None) => FromInit::DevicesMade,
            (b'L', None) => FromInit::Limit,
            (b'R', None) => FromInit::Ready,
            (b'E', None) => FromInit::Executing,
            (b'F', None) => FromInit::Failed(String::from_utf8_lossy(rest).into_owned()),
            _ => return Err(Error::Garbled),
        })
    }

    /// The version 1 cgroups that init waits for, and the names of hierarchies that there are none in after all.
    pub fn send_cgroups(&self, cgroups: &Tasks, without: &[String]) -> Result<(), Error> {
        let mut text = "C".to_owned();
        without.iter().for_each(|name| text.extend([name, "\n"]));
        sent(socket::send(&self.socket, text.as_bytes(), &cgroups.files()))
    }

    /// The filter of the container's program. Init takes it when it wants it, whatever else is said meanwhile.
    pub fn send_filter(&self, instructions: &[[u8; 8]], flags: u32) -> Result<(), Error> {
        filter::pieces(instructions, flags)
            .try_for_each(|piece| sent(socket::send(&self.socket, &piece, &[])))
    }

    /// Answers.
    pub fn send(&self, message: ToInit) -> Result<(), Error> {
        let byte = match message {
            ToInit::Proceed => b'P',
            ToInit::Wait => b'W',
            ToInit::Start => b'S',
            ToInit::Leave => b'L',
        };
        self.tell(byte, &[])
    }

    /// [`ToInit::Start`], to an init that somebody else has made and that is to write down its steps here.
    pub fn send_start(&self, timing: BorrowedFd<'_>) -> Result<(), Error> {
        self.tell(b'S', &[timing])
    }

    fn tell(&self, byte: u8, fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        sent(socket::send(&self.socket, &[byte], fds))
    }
}

impl AsFd for KegEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl InitEnd {
    /// A socket on which `start` was accepted, or one moved to another number.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, filter: RefCell::default() }
    }

    /// The socket, to be moved to another number.
    pub fn socket_mut(&mut self) -> &mut OwnedFd {
        &mut self.socket
    }

    /// Tells keg.
    pub fn send(&self, message: &FromInit) -> Result<(), Error> {
        let simple = |tag: u8| socket::send(&self.socket, &[tag], &[]);
        match message {
            FromInit::Spawned(pid, fd) => {
                let bytes = [&[b'S'][..], &pid.to_ne_bytes()].concat();
                socket::send(&self.socket, &bytes, &[fd.as_fd()])?;
            }
            FromInit::Terminal(fd) => socket::send(&self.socket, b"T", &[fd.as_fd()])?,
            FromInit::Listen(number) => {
                socket::send(&self.socket, &[&b"N"[..], &number.to_ne_bytes()].concat(), &[])?;
            }
            FromInit::Born(processor) => {
                socket::send(&self.socket, &[&b"B"[..], &processor.to_ne_bytes()].concat(), &[])?;
            }
            FromInit::MapIds => simple(b'M')?,
            FromInit::MoveDevices => simple(b'D')?,
            FromInit::RunHooks => simple(b'H')?,
            FromInit::DevicesMade => simple(b'V')?,
            FromInit::Limit => simple(b'L')?,
            FromInit::Ready => simple(b'R')?,
            FromInit::Executing => simple(b'E')?,
            FromInit::Failed(text) => {
                let end = text.floor_char_boundary(MAX_MESSAGE - 1);
                socket::send(&self.socket, &[b"F", &text.as_bytes()[..end]].concat(), &[])?;
            }
        }
        Ok(())
    }

    /// Waits for the cgroups that keg makes meanwhile.
    pub fn receive_cgroups(&self) -> Result<(Tasks, Vec<String>), Error> {
        let mut buffer = [0; MAX_MESSAGE];
        let (length, files) = receive(&self.socket, &mut buffer)?;
        let text = std::str::from_utf8(&buffer[..length]).ok().and_then(|text| text.strip_prefix('C'));
        let without = text.ok_or(Error::Garbled)?.lines().map(str::to_owned).collect();
        Ok((Tasks::of(files), without))
    }

    /// Waits for the next word of keg.
    pub fn receive(&self) -> Result<ToInit, Error> {
        loop {
            if let Some(word) = self.read()? {
                return Ok(word);
            }
        }
    }

    /// Waits for the filter, where it is not there already.
    pub fn receive_filter(&self) -> Result<Filter, Error> {
        loop {
            if let Some(filter) = self.filter.borrow_mut().take() {
                return Ok(filter);
            }
            if self.read()?.is_some() {
                return Err(Error::Garbled);
            }
        }
    }

    /// The next word; nothing where it was a piece of the filter.
    fn read(&self) -> Result<Option<ToInit>, Error> {
        let mut buffer = [0; MAX_MESSAGE];
        let (length, mut fds) = receive(&self.socket, &mut buffer)?;
        if let Some(file) = fds.pop() {
            timing::join(&file, "init");
        }
        timing::lap("wait for keg");
        Ok(Some(match &buffer[..length] {
            b"P" => ToInit::Proceed,
            b"W" => ToInit::Wait,
            b"S" => ToInit::Start,
            b"L" => ToInit::Leave,
            piece => {
                self.filter.borrow_mut().add(piece).ok_or(Error::Garbled)?;
                return Ok(None);
            }
        }))
    }
}

impl AsFd for InitEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests;
