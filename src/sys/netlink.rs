//! Network interfaces: those of the current network namespace by ioctl, and rtnetlink(7) of the namespace in which its socket was opened.

mod message;

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};

use super::error::{Error, Named, Result, retry};
use message::{Reader, Request};

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
    unsafe { request::set_flags(socket.as_raw_fd(), &raw const request) }.named(call)?;
    // Init closes all descriptors at once, very soon.
    std::mem::forget(socket);
    Ok(())
}

/// if_nametoindex(3): whether the current network namespace has an interface of that name.
pub fn exists(name: &str) -> bool {
    nix::net::if_::if_nametoindex(name).is_ok()
}

/// What rtnetlink says of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// IFF_UP
    pub up: bool,
}

/// An address of an interface, as RTM_NEWADDR takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The interface's number.
    pub index: u32,
    /// `AF_INET` or `AF_INET6`
    pub family: u8,
    /// Bits of the network.
    pub prefix: u8,
    /// `IFA_F_*`
    pub flags: u32,
    /// `RT_SCOPE_*`
    pub scope: u8,
    /// IFA_ADDRESS: the peer's on a point-to-point interface.
    pub address: Option<Vec<u8>>,
    /// IFA_LOCAL
    pub local: Option<Vec<u8>>,
    /// IFA_BROADCAST
    pub broadcast: Option<Vec<u8>>,
}

/// A socket of rtnetlink(7). It keeps the network namespace in which it was opened.
#[derive(Debug)]
pub struct Route {
    socket: OwnedFd,
}

impl Route {
    /// Opens one in the current network namespace.
    pub fn open() -> Result<Self> {
        let kind = (SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute);
        let socket = nix::sys::socket::socket(AddressFamily::Netlink, kind.0, kind.1, kind.2);
        Ok(Self { socket: socket.named(|| "socket(AF_NETLINK, NETLINK_ROUTE)".to_owned())? })
    }

    /// All interfaces.
    pub fn links(&self) -> Result<Vec<Link>> {
        let request = Request::dump(libc::RTM_GETLINK, &message::interface(0, 0, 0));
        let mut links = Vec::new();
        self.exchange(&request, || "RTM_GETLINK()".to_owned(), |reader| links.extend(reader.link()))?;
        Ok(links)
    }

    /// The addresses of all interfaces.
    pub fn addresses(&self) -> Result<Vec<Address>> {
        let request = Request::dump(libc::RTM_GETADDR, &message::address(0, 0, 0, 0, 0));
        let mut found = Vec::new();
        self.exchange(&request, || "RTM_GETADDR()".to_owned(), |reader| found.extend(reader.address()))?;
        Ok(found)
    }

    /// Moves an interface into another network namespace, where it gets this name.
    pub fn move_link(&self, link: &Link, namespace: impl AsFd, name: &str) -> Result<()> {
        let mut request = Request::new(libc::RTM_NEWLINK, &message::interface(link.index, 0, 0));
        request.attribute(libc::IFLA_IFNAME, &message::text(name));
        request.attribute(libc::IFLA_NET_NS_FD, &namespace.as_fd().as_raw_fd().to_ne_bytes());
        self.exchange(&request, || format!("RTM_NEWLINK({:?}, name={name:?}, netns)", link.name), |_| ())
    }

    /// Sets IFF_UP.
    pub fn bring_up(&self, link: &Link) -> Result<()> {
        let up = libc::IFF_UP as u32;
        let request = Request::new(libc::RTM_NEWLINK, &message::interface(link.index, up, up));
        self.exchange(&request, || format!("RTM_NEWLINK({:?}, IFF_UP)", link.name), |_| ())
    }

    /// Gives an interface an address. One that is there already is as good.
    pub fn add_address(&self, address: &Address) -> Result<()> {
        let Address { index, family, prefix, flags, scope, .. } = *address;
        let header = message::address(family, prefix, flags as u8, scope, index);
        let mut request = Request::make(libc::RTM_NEWADDR, &header);
        request.attribute(libc::IFA_FLAGS, &flags.to_ne_bytes());
        for (kind, bytes) in [
            (libc::IFA_ADDRESS, &address.address),
            (libc::IFA_LOCAL, &address.local),
            (libc::IFA_BROADCAST, &address.broadcast),
        ] {
            bytes.iter().for_each(|bytes| request.attribute(kind, bytes));
        }
        let shown = || format!("RTM_NEWADDR({})", message::shown(address));
        match self.exchange(&request, shown, |_| ()) {
            Err(error) if error.errno == Errno::EEXIST => Ok(()),
            done => done,
        }
    }

    /// Sends one request and reads until it is answered in full.
    fn exchange(
        &self,
        request: &Request,
        call: impl Fn() -> String,
        mut each: impl FnMut(&Reader<'_>),
    ) -> Result<()> {
        let fd = self.socket.as_raw_fd();
        retry(|| nix::sys::socket::send(fd, request.bytes(), MsgFlags::empty())).named(&call)?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length =
                retry(|| nix::sys::socket::recv(fd, &mut buffer, MsgFlags::MSG_TRUNC)).named(&call)?;
            let received = buffer.get(..length).ok_or(Error { call: call(), errno: Errno::EMSGSIZE })?;
            for reader in message::messages(received) {
                match reader.end() {
                    Some(Ok(())) => return Ok(()),
                    Some(Err(errno)) => return Err(Error { call: call(), errno }),
                    None => each(&reader),
                }
            }
        }
    }
}
