//! A terminal to start a runtime in, as a person would have one, and a socket for the descriptors that a runtime sends.

use std::fs::{File, OpenOptions};
use std::io::{IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::termios::{Termios, tcgetattr};

use crate::command::spawn;

const LIMIT: Duration = Duration::from_secs(10);

/// The side of a terminal that a person has: what is read from it is what they would see.
#[derive(Debug)]
pub struct Screen {
    master: File,
    seen: String,
}

impl Screen {
    pub fn new(master: OwnedFd) -> Self {
        Self { master: File::from(master), seen: String::new() }
    }

    pub fn write(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Everything up to now.
    pub fn seen(&self) -> &str {
        &self.seen
    }

    /// Reads until the text is there.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        let start = Instant::now();
        while !self.seen.contains(text) {
            assert!(self.read(LIMIT), "the terminal closed before {text:?}: {:?}", self.seen);
            assert!(start.elapsed() < LIMIT, "no {text:?} in {:?}", self.seen);
        }
    }

    /// Reads until nobody has the terminal open any more. All that was seen.
    pub fn read_to_end(&mut self) -> &str {
        while self.read(LIMIT) {}
        &self.seen
    }

    /// False: the end.
    fn read(&mut self, limit: Duration) -> bool {
        let mut polled = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(limit).unwrap();
        assert!(poll(&mut polled, limit).unwrap() > 0, "nothing to read after {:?}", self.seen);
        let mut buffer = [0; 4096];
        let count = self.master.read(&mut buffer).unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        count > 0
    }

    pub fn modes(&self) -> Termios {
        tcgetattr(&self.master).unwrap()
    }
}

/// A terminal of the host.
#[derive(Debug)]
pub struct Terminal {
    pub screen: Screen,
    /// Kept open, so that it can be looked at when the program has ended.
    terminal: File,
    path: String,
}

impl Terminal {
    pub fn open(rows: u16, columns: u16) -> Self {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname_r(&master).unwrap();
        let mut options = OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, OFlag::O_NOCTTY.bits());
        let terminal = options.read(true).write(true).open(&path).unwrap();
        let master = master.as_fd().try_clone_to_owned().unwrap();
        let terminal = Self { screen: Screen::new(master), terminal, path };
        terminal.resize(rows, columns);
        terminal
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let (rows, columns) = (rows.to_string(), columns.to_string());
        let words = ["-F", &self.path, "rows", &rows, "cols", &columns];
        assert!(Command::new("stty").args(words).status().unwrap().success());
    }

    /// Starts a program with this as its standard streams and as the terminal that controls its session.
    pub fn spawn(&self, words: &[String]) -> Session {
        let stream = || Stdio::from(self.terminal.try_clone().unwrap());
        let mut command = Command::new("setsid");
        command.arg("--ctty").args(words).stdin(stream()).stdout(stream()).stderr(stream());
        Session(spawn(&mut command).unwrap())
    }

    /// Nobody looks any more: the terminal hangs up.
    pub fn hang_up(self) {}
}

/// A program in a terminal. It is killed when dropped.
#[derive(Debug)]
pub struct Session(Child);

impl Session {
    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    /// Its end; running into the time limit fails the test.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < LIMIT, "it does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|status| status.is_none()) {
            self.0.kill().and_then(|()| self.0.wait()).map(drop).unwrap_or_default();
        }
    }
}

/// A listening socket.
#[derive(Debug)]
pub struct DescriptorSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl DescriptorSocket {
    pub fn listen(directory: &Path, name: &str) -> Self {
        let path = directory.join(name);
        Self { listener: UnixListener::bind(&path).unwrap(), path }
    }

    /// The path as an argument.
    pub fn arg(&self) -> String {
        self.path.display().to_string()
    }

    /// What the first one that connected sent: some bytes and one descriptor.
    pub fn receive(&self) -> (Vec<u8>, OwnedFd) {
        let mut polled = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(LIMIT).unwrap();
        assert!(poll(&mut polled, limit).unwrap() > 0, "nobody connected to {}", self.path.display());
        let (socket, _) = self.listener.accept().unwrap();
        let mut bytes = [0; 256];
        let mut space = nix::cmsg_space!([RawFd; 4]);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags).unwrap();
        let mut fds = Vec::new();
        for control in message.cmsgs().unwrap() {
            if let ControlMessageOwned::ScmRights(list) = control {
                fds.extend(list.into_iter().map(own));
            }
        }
        let count = message.bytes;
        assert_eq!(fds.len(), 1);
        (bytes[..count].to_vec(), fds.remove(0))
    }
}

#[allow(unsafe_code)]
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: SCM_RIGHTS has just installed the descriptor in our table; nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
