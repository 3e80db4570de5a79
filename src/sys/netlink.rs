//! Network interfaces of the current network namespace.

use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType};

use super::error::{Named, Result};

mod request {
    #![allow(missing_docs)]
    nix::ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, libc::ifreq);
}

/// Sets IFF_UP and IFF_RUNNING of an interface (netdevice(7), SIOCSIFFLAGS).
pub fn bring_up(name: &str) -> Result<()> {
    let call = || format!("ioctl(SIOCSIFFLAGS, {name:?}, IFF_UP)");
    let socket =
        nix::sys::socket::socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
    let socket = socket.named(call)?;
    // SAFETY: ifreq is a plain structure of bytes and integers for which zero is a valid value.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    if name.len() >= request.ifr_name.len() {
        return Err(Errno::ENAMETOOLONG).named(call);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq with a terminated name, which lives until the call returns.
    unsafe { request::set_flags(socket.as_raw_fd(), &raw const request) }.map(drop).named(call)
}
