//! The connection to a bus: login, calls, replies, signals.
//!
//!   keg                                   bus
//!   \0 AUTH EXTERNAL, DATA            ──▶       (who we are it asks the kernel)
//!                                     ◀── DATA, OK
//!   BEGIN, Hello, calls …             ──▶
//!                                     ◀── replies and signals

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{self as net, AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::time::TimeVal;

use super::address::{self, Target};
use super::message::{HEAD, Kind, Message};
use super::{Error, error};
use crate::sys::error::{Named, retry, show_fd};
use crate::sys::socket::wait_readable;
use crate::types::dbus::Value;

/// How long the bus, and who is called over it, may take for an answer. As long as libdbus waits.
pub const PATIENCE: Duration = Duration::from_secs(25);
/// A line of the login is shorter.
const LONGEST_LINE: usize = 1024;

/// A method call.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// Whose method.
    pub destination: &'a str,
    /// The object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// Its arguments.
    pub body: Vec<Value>,
}

/// A connection. What is posted goes out with the next wait.
#[derive(Debug)]
pub struct Bus {
    socket: OwnedFd,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    kept: Vec<Message>,
    serial: u32,
}

impl Bus {
    /// Connects to the first of the sockets of `address` that is there, and logs in.
    pub fn connect(address: &str) -> Result<Self, Error> {
        let mut last = Error::Address(address.to_owned());
        for target in address::parse(address)? {
            match open(&target) {
                Ok(socket) => return Self::log_in(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn log_in(socket: OwnedFd) -> Result<Self, Error> {
        // Without a user id: what we are called in the bus's user namespace, the bus knows better.
        let outgoing = b"\0AUTH EXTERNAL\r\nDATA\r\n".to_vec();
        let mut bus = Self { socket, outgoing, incoming: Vec::new(), kept: Vec::new(), serial: 0 };
        bus.flush()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = bus.line(deadline)?;
            match line.split(' ').next() {
                Some("OK") => break,
                Some("DATA") => {}
                _ => return Err(Error::Login(line)),
            }
        }
        bus.outgoing.extend_from_slice(b"BEGIN\r\n");
        bus.post(Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
            body: Vec::new(),
        });
        Ok(bus)
    }

    /// Asks the bus for the signals that match.
    pub fn subscribe(&mut self, rule: &str) {
        self.post(Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "AddMatch",
            body: vec![Value::text(rule)],
        });
    }

    /// Makes a call; the number is that of its reply.
    pub fn post(&mut self, call: Call<'_>) -> u32 {
        self.serial += 1;
        let mut message = Message::new(Kind::Call, self.serial);
        message.destination = call.destination.to_owned();
        message.path = call.path.to_owned();
        message.interface = call.interface.to_owned();
        message.member = call.member.to_owned();
        message.body = call.body;
        self.outgoing.extend(message.encode());
        self.serial
    }

    /// Waits for the reply to a call.
    pub fn reply(&mut self, serial: u32) -> Result<Message, Error> {
        // Anybody on the bus may send a signal that claims to be a reply; real ones the bus checks.
        let is_reply = |kind: Kind| matches!(kind, Kind::Return | Kind::Error);
        let reply = self.wait_for(|message| is_reply(message.kind) && message.reply_to == Some(serial))?;
        if reply.kind != Kind::Error {
            return Ok(reply);
        }
        let message = match reply.body.into_iter().next() {
            Some(Value::Text(text)) => text,
            _ => String::new(),
        };
        Err(Error::Refused { name: reply.error, message })
    }

    /// Waits for a signal.
    pub fn signal(&mut self, wanted: impl Fn(&Message) -> bool) -> Result<Message, Error> {
        self.wait_for(|message| message.kind == Kind::Signal && wanted(message))
    }

    fn wait_for(&mut self, wanted: impl Fn(&Message) -> bool) -> Result<Message, Error> {
        if let Some(at) = self.kept.iter().position(&wanted) {
            return Ok(self.kept.remove(at));
        }
        self.flush()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.receive(deadline)?;
            if wanted(&message) {
                return Ok(message);
            }
            self.kept.push(message);
        }
    }

    fn receive(&mut self, deadline: Instant) -> Result<Message, Error> {
        self.fill(HEAD, deadline)?;
        let length = Message::length(&self.incoming)?;
        self.fill(length, deadline)?;
        let message = Message::decode(&self.incoming[..length]);
        self.incoming.drain(..length);
        message
    }

    fn line(&mut self, deadline: Instant) -> Result<String, Error> {
        loop {
            if let Some(end) = self.incoming.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&self.incoming[..end]).into_owned();
                self.incoming.drain(..end + 2);
                return Ok(line);
            }
            if self.incoming.len() > LONGEST_LINE {
                return Err(Error::Garbled);
            }
            self.fill(self.incoming.len() + 1, deadline)?;
        }
    }

    /// Reads until there are so many bytes.
    fn fill(&mut self, wanted: usize, deadline: Instant) -> Result<(), Error> {
        let mut page = [0u8; 4096];
        while self.incoming.len() < wanted {
            let left = deadline.saturating_duration_since(Instant::now()).as_millis();
            let left = i32::try_from(left).unwrap_or(i32::MAX);
            if left == 0 || !wait_readable(&[self.socket.as_fd()], left)?[0] {
                return Err(Error::Silent);
            }
            let read = retry(|| nix::unistd::read(&self.socket, &mut page));
            match read.named(|| format!("read({})", show_fd(&self.socket)))? {
                0 => return Err(Error::Closed),
                n => self.incoming.extend_from_slice(&page[..n]),
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mut rest = self.outgoing.as_slice();
        while !rest.is_empty() {
            let fd = self.socket.as_raw_fd();
            match retry(|| net::send(fd, rest, MsgFlags::MSG_NOSIGNAL)) {
                Ok(n) => rest = &rest[n..],
                Err(Errno::EAGAIN) => return Err(Error::Silent),
                Err(Errno::EPIPE | Errno::ECONNRESET) => return Err(Error::Closed),
                Err(errno) => return Err(error::Error { call: "send(bus)".to_owned(), errno }.into()),
            }
        }
        self.outgoing.clear();
        Ok(())
    }
}

fn open(target: &Target) -> Result<OwnedFd, Error> {
    let (address, shown) = match target {
        Target::Path(path) => (UnixAddr::new(path.as_slice()), path),
        Target::Abstract(name) => (UnixAddr::new_abstract(name), name),
    };
    let call = || format!("connect({:?})", String::from_utf8_lossy(shown));
    let address = address.named(call)?;
    let socket =
        net::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).named(call)?;
    // Also of connect(2), where the other side's queue is full.
    let limit = TimeVal::new(PATIENCE.as_secs() as _, 0);
    net::setsockopt(&socket, sockopt::SendTimeout, &limit).named(call)?;
    match retry(|| net::connect(socket.as_raw_fd(), &address)) {
        Ok(()) => Ok(socket),
        Err(Errno::EAGAIN) => Err(Error::Silent),
        Err(errno) => Err(error::Error { call: call(), errno }.into()),
    }
}
