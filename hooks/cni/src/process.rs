//! Processes: who they are, whether they live, waiting for their end.

use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A process that cannot be mistaken for a later one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// When it began, in ticks since the boot.
    pub start: u64,
}

impl Process {
    /// The container's process, which was there before this hook was: a later one has got its number by chance.
    pub fn of_container(pid: i32) -> Result<Self> {
        let gone = || Error::Wrong(format!("the container's process {pid} is gone"));
        let (state, start) = stat(&pid.to_string()).ok_or_else(gone)?;
        let (_, own) = stat("self").ok_or_else(gone)?;
        match state != 'Z' && start <= own {
            true => Ok(Self { pid, start }),
            false => Err(gone()),
        }
    }

    /// Whether it runs still.
    pub fn lives(self) -> bool {
        stat(&self.pid.to_string())
            .is_some_and(|(state, start)| state != 'Z' && state != 'X' && start == self.start)
    }

    /// As [`Process::lives`], but one that is about to end gets a moment.
    pub fn lives_on(self) -> bool {
        let start = Instant::now();
        while self.lives() {
            if start.elapsed() > Duration::from_secs(2) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

/// State and start time.
fn stat(process: &str) -> Option<(char, u64)> {
    let bytes = fs::read(format!("/proc/{process}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&bytes))
}

/// The name, which is the second field, may hold anything.
fn parse_stat(text: &str) -> Option<(char, u64)> {
    let mut rest = text.rsplit_once(") ")?.1.split(' ');
    Some((rest.next()?.chars().next()?, rest.nth(18)?.parse().ok()?))
}

/// Waits until the process has ended; false: its time was up.
pub fn wait_for_end(pidfd: impl AsFd, limit: Duration) -> nix::Result<bool> {
    let start = Instant::now();
    loop {
        let left = limit.saturating_sub(start.elapsed());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(Errno::EINTR) => {}
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) => {}
            done => return done.map(|_| true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Process, parse_stat};

    #[test]
    fn a_name_cannot_pretend_to_be_another_field() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse_stat(&format!("7 (a) Z (b)) S {rest}\n")), Some(('S', 4711)));
        assert_eq!(parse_stat("7 (a"), None);
        assert_eq!(parse_stat("7 (a) S 1 2"), None);
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = Process::of_container(std::process::id() as i32).unwrap();
        assert!(own.lives());
        assert!(!Process { start: own.start + 1, ..own }.lives());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        child.wait().unwrap();
        assert!(Process::of_container(pid).is_err());
    }
}
