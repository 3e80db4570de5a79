//! Terminals: pseudo-terminal pairs, sizes, modes, and what makes one the terminal of a session (tty_ioctl(4), termios(3)).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::termios::{self, LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices, Termios};

use super::error::{Error, Named, Result, retry, show_fd};

/// Height and width in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Size {
    pub rows: u16,
    pub columns: u16,
}

/// The modes of a terminal, to be put back.
#[derive(Debug, Clone)]
pub struct Modes(Termios);

/// isatty(3)
pub fn is_terminal(fd: impl AsFd) -> bool {
    nix::unistd::isatty(&fd).unwrap_or(false)
}

/// Lets the other side of the pair be opened (TIOCSPTLCK).
pub fn unlock(master: impl AsFd) -> Result<()> {
    let off: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int, which outlives the call.
    let result = unsafe { libc::ioctl(master.as_fd().as_raw_fd(), libc::TIOCSPTLCK, &raw const off) };
    Errno::result(result).map(drop).named(|| format!("ioctl({}, TIOCSPTLCK)", show_fd(&master)))
}

/// The other side of the pair, without the use of any path (TIOCGPTPEER, Linux 4.13).
pub fn peer(master: impl AsFd) -> Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes the flags as its argument and returns a new descriptor.
    let fd = unsafe { libc::ioctl(master.as_fd().as_raw_fd(), libc::TIOCGPTPEER, flags) };
    let fd = Errno::result(fd).named(|| format!("ioctl({}, TIOCGPTPEER)", show_fd(&master)))?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes it the controlling terminal of this session, whose leader we are (TIOCSCTTY).
pub fn control(terminal: impl AsFd) -> Result<()> {
    // SAFETY: TIOCSCTTY takes an integer.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) };
    Errno::result(result).map(drop).named(|| format!("ioctl({}, TIOCSCTTY)", show_fd(&terminal)))
}

/// Standard input, output and error become this one, which stays open besides (dup2(2)).
pub fn make_standard(terminal: impl AsFd) -> Result<()> {
    for number in 0..3 as RawFd {
        // SAFETY: takes only integers. Nobody owns the standard three as values; what was open there is meant to be closed.
        let result = unsafe { libc::dup2(terminal.as_fd().as_raw_fd(), number) };
        Errno::result(result).named(|| format!("dup2({}, {number})", show_fd(&terminal)))?;
    }
    Ok(())
}

/// Its size (TIOCGWINSZ).
pub fn size(terminal: impl AsFd) -> Result<Size> {
    // SAFETY: winsize is a plain structure of integers for which zero is a valid value.
    let mut found: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: TIOCGWINSZ writes one winsize structure into `found`.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut found) };
    Errno::result(result).named(|| format!("ioctl({}, TIOCGWINSZ)", show_fd(&terminal)))?;
    Ok(Size { rows: found.ws_row, columns: found.ws_col })
}

/// Sets its size; the foreground processes get SIGWINCH if it was another one (TIOCSWINSZ).
pub fn resize(terminal: impl AsFd, to: Size) -> Result<()> {
    let wanted = libc::winsize { ws_row: to.rows, ws_col: to.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize structure, which outlives the call.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const wanted) };
    Errno::result(result).map(drop).named(|| format!("ioctl({}, TIOCSWINSZ)", show_fd(&terminal)))
}

/// Hands every byte through as it comes, echoes nothing and makes no signals of keys; output is still made lines of, as before. What
/// was is returned.
pub fn make_raw(terminal: impl AsFd) -> Result<Modes> {
    let call = || format!("tcsetattr({}, raw)", show_fd(&terminal));
    let before = termios::tcgetattr(&terminal).named(call)?;
    let mut raw = before.clone();
    termios::cfmakeraw(&mut raw);
    raw.output_flags = before.output_flags;
    set(&terminal, &raw).named(call)?;
    Ok(Modes(before))
}

/// Puts the modes back.
pub fn restore(terminal: impl AsFd, modes: &Modes) -> Result<()> {
    set(&terminal, &modes.0).named(|| format!("tcsetattr({})", show_fd(&terminal)))
}

/// Newlines are written as they are, not as carriage return and newline (ONLCR off).
pub fn keep_newlines(terminal: impl AsFd) -> Result<()> {
    let call = || format!("tcsetattr({}, -ONLCR)", show_fd(&terminal));
    let mut modes = termios::tcgetattr(&terminal).named(call)?;
    modes.output_flags.remove(OutputFlags::ONLCR);
    set(&terminal, &modes).named(call)
}

/// The key that means the end of input, where the terminal has one now.
pub fn end_key(terminal: impl AsFd) -> Option<u8> {
    let modes = termios::tcgetattr(&terminal).ok()?;
    let key = modes.control_chars[SpecialCharacterIndices::VEOF as usize];
    (modes.local_flags.contains(LocalFlags::ICANON) && key != 0).then_some(key)
}

fn set(terminal: impl AsFd, modes: &Termios) -> nix::Result<()> {
    retry(|| termios::tcsetattr(&terminal, SetArg::TCSANOW, modes))
}

/// Reads and writes return at once from here on (O_NONBLOCK).
pub fn unblock(fd: impl AsFd) -> Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let call = || format!("fcntl({}, O_NONBLOCK)", show_fd(&fd));
    let flags = fcntl(&fd, FcntlArg::F_GETFL).named(call)?;
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
    fcntl(&fd, FcntlArg::F_SETFL(flags)).map(drop).named(call)
}

/// What one read(2) or write(2) came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for now.
    NotNow,
    /// The end of a file, a hang-up, nobody at the other end, or no file at all.
    Ended,
}

/// read(2)
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> Result<Moved> {
    moved(retry(|| nix::unistd::read(&fd, buffer)), || format!("read({})", show_fd(&fd)))
}

/// write(2)
pub fn write(fd: impl AsFd, bytes: &[u8]) -> Result<Moved> {
    moved(retry(|| nix::unistd::write(&fd, bytes)), || format!("write({})", show_fd(&fd)))
}

fn moved(result: nix::Result<usize>, call: impl FnOnce() -> String) -> Result<Moved> {
    match result {
        Ok(0) | Err(Errno::EIO | Errno::EPIPE | Errno::ENXIO | Errno::EBADF) => Ok(Moved::Ended),
        Ok(count) => Ok(Moved::Bytes(count)),
        Err(Errno::EAGAIN) => Ok(Moved::NotNow),
        Err(errno) => Err(Error { call: call(), errno }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use nix::sys::termios::{LocalFlags, tcgetattr};

    use super::{Size, end_key, keep_newlines, make_raw, resize, restore, size};

    fn pair() -> (OwnedFd, OwnedFd) {
        let pair = nix::pty::openpty(None, None).unwrap();
        (pair.master, pair.slave)
    }

    #[test]
    fn modes_are_put_back_as_they_were() {
        let (_master, terminal) = pair();
        let before = tcgetattr(&terminal).unwrap();
        let modes = make_raw(&terminal).unwrap();
        let raw = tcgetattr(&terminal).unwrap();
        assert!(!raw.local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG));
        assert_eq!(raw.output_flags, before.output_flags);
        assert_eq!(end_key(&terminal), None);
        restore(&terminal, &modes).unwrap();
        assert_eq!(tcgetattr(&terminal).unwrap(), before);
        assert_eq!(end_key(&terminal), Some(4));
    }

    #[test]
    fn both_sides_have_one_size_and_one_set_of_modes() {
        let (master, terminal) = pair();
        let wanted = Size { rows: 33, columns: 99 };
        resize(&master, wanted).unwrap();
        assert_eq!(size(&terminal).unwrap(), wanted);
        keep_newlines(&master).unwrap();
        let flags = tcgetattr(&terminal).unwrap().output_flags;
        assert!(!flags.contains(nix::sys::termios::OutputFlags::ONLCR));
    }
}
