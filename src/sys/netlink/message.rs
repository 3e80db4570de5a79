//! Messages of rtnetlink(7) as bytes: a header, a fixed part, attributes; everything begins at a multiple of four.

use nix::errno::Errno;

use super::{Address, Link};

const HEADER: usize = 16;
const INTERFACE: usize = 16;
const ADDRESS: usize = 8;

/// A request under construction.
#[derive(Debug)]
pub(super) struct Request(Vec<u8>);

impl Request {
    /// One that is acknowledged.
    pub(super) fn new(kind: u16, fixed: &[u8]) -> Self {
        Self::with(kind, libc::NLM_F_ACK, fixed)
    }

    /// One that makes something new.
    pub(super) fn make(kind: u16, fixed: &[u8]) -> Self {
        Self::with(kind, libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL, fixed)
    }

    /// One that is answered by a list.
    pub(super) fn dump(kind: u16, fixed: &[u8]) -> Self {
        Self::with(kind, libc::NLM_F_DUMP, fixed)
    }

    fn with(kind: u16, flags: i32, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&((libc::NLM_F_REQUEST | flags) as u16).to_ne_bytes());
        bytes.extend(fixed);
        let mut request = Self(bytes);
        request.measure();
        request
    }

    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.0.extend(((value.len() + 4) as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self.measure();
    }

    fn measure(&mut self) {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `struct ifinfomsg`
pub(super) fn interface(index: u32, flags: u32, change: u32) -> [u8; INTERFACE] {
    let mut bytes = [0; INTERFACE];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..].copy_from_slice(&change.to_ne_bytes());
    bytes
}

/// `struct ifaddrmsg`
pub(super) fn address(family: u8, prefix: u8, flags: u8, scope: u8, index: u32) -> [u8; ADDRESS] {
    let [a, b, c, d] = index.to_ne_bytes();
    [family, prefix, flags, scope, a, b, c, d]
}

/// A name as an attribute.
pub(super) fn text(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

/// An address as a person writes it.
pub(super) fn shown(address: &Address) -> String {
    let bytes = address.local.as_ref().or(address.address.as_ref());
    let text = match bytes.map(Vec::as_slice) {
        Some(&[a, b, c, d]) => std::net::Ipv4Addr::new(a, b, c, d).to_string(),
        Some(other) => match <[u8; 16]>::try_from(other) {
            Ok(bytes) => std::net::Ipv6Addr::from(bytes).to_string(),
            Err(_) => "?".to_owned(),
        },
        None => "?".to_owned(),
    };
    format!("{text}/{}", address.prefix)
}

/// One message that was received.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    kind: u16,
    body: &'a [u8],
}

/// The messages in what one recv(2) brought.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Reader<'_>> {
    std::iter::from_fn(move || {
        let length = number(bytes, 0)? as usize;
        let body = bytes.get(HEADER..length)?;
        let kind = short(bytes, 4)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Reader { kind, body })
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

impl<'a> Reader<'a> {
    /// Whether the answer ends here, and how.
    pub(super) fn end(&self) -> Option<Result<(), Errno>> {
        if i32::from(self.kind) == libc::NLMSG_DONE {
            return Some(Ok(()));
        }
        if i32::from(self.kind) != libc::NLMSG_ERROR {
            return None;
        }
        Some(match number(self.body, 0).unwrap_or(0) as i32 {
            0 => Ok(()),
            code => Err(Errno::from_raw(-code)),
        })
    }

    /// As RTM_NEWLINK.
    pub(super) fn link(&self) -> Option<Link> {
        if self.kind != libc::RTM_NEWLINK {
            return None;
        }
        let (_, name) = self.attributes(INTERFACE).find(|(kind, _)| *kind == libc::IFLA_IFNAME)?;
        Some(Link {
            index: number(self.body, 4)?,
            up: number(self.body, 8)? & libc::IFF_UP as u32 != 0,
            name: String::from_utf8_lossy(name.strip_suffix(&[0]).unwrap_or(name)).into_owned(),
        })
    }

    /// As RTM_NEWADDR.
    pub(super) fn address(&self) -> Option<Address> {
        let &[family, prefix, flags, scope, ..] = self.body else { return None };
        if self.kind != libc::RTM_NEWADDR {
            return None;
        }
        let find = |wanted: u16| self.attributes(ADDRESS).find(|(kind, _)| *kind == wanted);
        let bytes = |wanted: u16| find(wanted).map(|(_, value)| value.to_vec());
        Some(Address {
            index: number(self.body, 4)?,
            family,
            prefix,
            // The old field has room for eight flags alone.
            flags: find(libc::IFA_FLAGS).and_then(|(_, value)| number(value, 0)).unwrap_or(flags.into()),
            scope,
            address: bytes(libc::IFA_ADDRESS),
            local: bytes(libc::IFA_LOCAL),
            broadcast: bytes(libc::IFA_BROADCAST),
        })
    }

    fn attributes(&self, fixed: usize) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.body.get(fixed..).unwrap_or_default();
        std::iter::from_fn(move || {
            let length = usize::from(short(rest, 0)?);
            let (kind, value) = (short(rest, 2)?, rest.get(4..length)?);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some((kind, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Request, address, interface, messages, shown, text};
    use crate::sys::netlink::{Address, Link};
    use nix::errno::Errno;

    #[test]
    fn what_is_written_is_read_again() {
        let mut request = Request::new(libc::RTM_NEWLINK, &interface(7, libc::IFF_UP as u32, 0));
        request.attribute(libc::IFLA_MTU, &1400_u32.to_ne_bytes());
        request.attribute(libc::IFLA_IFNAME, &text("eth0"));
        let mut second = Request::make(libc::RTM_NEWADDR, &address(2, 24, 0x80, 0, 7));
        second.attribute(libc::IFA_FLAGS, &0x280_u32.to_ne_bytes());
        second.attribute(libc::IFA_LOCAL, &[10, 0, 0, 1]);
        let both = [request.bytes(), second.bytes()].concat();
        let found: Vec<_> = messages(&both).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].link(), Some(Link { index: 7, name: "eth0".to_owned(), up: true }));
        assert_eq!(found[0].address(), None);
        let address = found[1].address().unwrap();
        assert_eq!(shown(&address), "10.0.0.1/24");
        let expected = Address {
            index: 7,
            family: 2,
            prefix: 24,
            flags: 0x280,
            scope: 0,
            address: None,
            local: Some(vec![10, 0, 0, 1]),
            broadcast: None,
        };
        assert_eq!(address, expected);
    }

    #[test]
    fn an_answer_has_an_end_and_what_is_cut_off_is_none() {
        let error = Request::new(libc::NLMSG_ERROR as u16, &(-17_i32).to_ne_bytes());
        let end = messages(error.bytes()).next().unwrap().end();
        assert_eq!(end, Some(Err(Errno::EEXIST)));
        let done = Request::new(libc::NLMSG_DONE as u16, &[0; 4]);
        assert_eq!(messages(done.bytes()).next().unwrap().end(), Some(Ok(())));
        let link = Request::new(libc::RTM_NEWLINK, &interface(1, 0, 0));
        assert!(messages(link.bytes()).next().unwrap().end().is_none());
        for length in 0..link.bytes().len() {
            assert_eq!(messages(&link.bytes()[..length]).count(), 0, "{length}");
        }
    }
}
