//! Unix sockets: pairs, listeners by a name in a directory, messages with descriptors, and waiting.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
};

use super::error::{Error, Named, Result, retry, show_fd};

/// The most descriptors one message may bring (kernel: SCM_MAX_FD).
const MAX_FDS: usize = 253;

/// socketpair(2) that keeps message boundaries.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let kind = SockType::SeqPacket;
    nix::sys::socket::socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)
        .named(|| "socketpair(AF_UNIX, SOCK_SEQPACKET)".to_owned())
}

/// sendmsg(2) of one message with these descriptors. EPIPE (no signal) when the other end is gone.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
    let raw: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let control = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &control };
    let parts = [IoSlice::new(bytes)];
    let fd = socket.as_fd().as_raw_fd();
    let call = || format!("sendmsg({})", show_fd(&socket));
    let sent = retry(|| nix::sys::socket::sendmsg::<()>(fd, &parts, control, MsgFlags::MSG_NOSIGNAL, None));
    match sent.named(call)? {
        n if n == bytes.len() => Ok(()),
        _ => Err(Error { call: call(), errno: Errno::EMSGSIZE }),
    }
}

/// recvmsg(2) of one message into `buffer`: its length and its descriptors. Length 0: the other end is closed.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; MAX_FDS]);
    let mut parts = [IoSliceMut::new(buffer)];
    let fd = socket.as_fd().as_raw_fd();
    let call = || format!("recvmsg({})", show_fd(&socket));
    let message = loop {
        match nix::sys::socket::recvmsg::<()>(fd, &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(Errno::EINTR) => {}
            done => break done.named(call)?,
        }
    };
    let mut fds = Vec::new();
    for control in message.cmsgs().named(call)? {
        if let ControlMessageOwned::ScmRights(list) = control {
            // SAFETY: SCM_RIGHTS has just installed these descriptors in our table; nobody else owns them.
            fds.extend(list.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    if message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
        return Err(Error { call: call(), errno: Errno::EMSGSIZE });
    }
    Ok((message.bytes, fds))
}

/// A socket address below a directory, short whatever the directory's path is.
fn address(dir: impl AsFd, name: &str) -> nix::Result<UnixAddr> {
    UnixAddr::new(Path::new(&format!("/proc/self/fd/{}/{name}", dir.as_fd().as_raw_fd())))
}

/// A listening socket `name` (mode 0600) in `dir`.
pub fn listen(dir: impl AsFd, name: &str) -> Result<OwnedFd> {
    let call = || format!("bind({}, {name:?})", show_fd(&dir));
    let kind = SockType::SeqPacket;
    let socket =
        nix::sys::socket::socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).named(call)?;
    nix::sys::stat::fchmod(&socket, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR)
        .named(call)?;
    let address = address(&dir, name).named(call)?;
    nix::sys::socket::bind(socket.as_raw_fd(), &address).named(call)?;
    let backlog = Backlog::new(16).named(call)?;
    nix::sys::socket::listen(&socket, backlog).named(|| format!("listen({name:?})"))?;
    Ok(socket)
}

/// Connects to the listening socket `name` in `dir`. ECONNREFUSED: nobody listens any more.
pub fn connect(dir: impl AsFd, name: &str) -> Result<OwnedFd> {
    let call = || format!("connect({}, {name:?})", show_fd(&dir));
    let kind = SockType::SeqPacket;
    let socket =
        nix::sys::socket::socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).named(call)?;
    let address = address(&dir, name).named(call)?;
    retry(|| nix::sys::socket::connect(socket.as_raw_fd(), &address)).named(call)?;
    Ok(socket)
}

/// Connects to a stream socket that the caller of keg named.
pub fn connect_stream(path: &Path) -> Result<OwnedFd> {
    let call = || format!("connect({path:?})");
    let kind = SockType::Stream;
    let socket =
        nix::sys::socket::socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).named(call)?;
    let address = UnixAddr::new(path).named(call)?;
    retry(|| nix::sys::socket::connect(socket.as_raw_fd(), &address)).named(call)?;
    Ok(socket)
}

/// accept4(2)
pub fn accept(listener: impl AsFd) -> Result<OwnedFd> {
    let fd = retry(|| nix::sys::socket::accept4(listener.as_fd().as_raw_fd(), SockFlag::SOCK_CLOEXEC));
    let fd = fd.named(|| format!("accept4({})", show_fd(&listener)))?;
    // SAFETY: accept4 has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// poll(2) for input or hang-up on any of `fds`: which of them are ready; all false once `timeout_ms` has passed (negative: never).
pub fn wait_readable(fds: &[BorrowedFd<'_>], timeout_ms: i32) -> Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    let timeout = PollTimeout::try_from(timeout_ms.max(-1)).unwrap_or(PollTimeout::MAX);
    retry(|| nix::poll::poll(&mut polled, timeout)).named(|| "poll()".to_owned())?;
    Ok(polled.iter().map(|fd| fd.any().unwrap_or(false)).collect())
}
