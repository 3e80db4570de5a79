//! Carries bytes between keg's own streams and the container's terminal while its program runs, and signals to the program.

use std::os::fd::{AsFd, OwnedFd};

use super::{Caller, Doing, Error};
use crate::sys;
use crate::sys::poll::{Ready, wait_ready};
use crate::sys::signals::{self, Forwarder};
use crate::sys::tty::{self, Moved};
use crate::types::{Pid, Signal};

/// No more than this is held in either direction: whoever does not read makes the other side wait.
const HELD: usize = 4096;

/// Until the process `pid` (and `pidfd`) has ended, and all that it wrote is written. A caller's terminal that hangs up hangs up the
/// container's; other input that ends is the end key there.
pub fn relay(
    master: OwnedFd,
    caller: &Caller,
    from: &Forwarder,
    pid: Pid,
    pidfd: impl AsFd,
) -> Result<(), Error> {
    tty::unblock(&master).doing("preparing the container's terminal")?;
    let mut relay = Relay {
        master: Some(master),
        reading: true,
        writing: true,
        last: b'\n',
        keys: Vec::with_capacity(HELD),
        output: Vec::with_capacity(HELD),
    };
    relay.run(caller, from, pid, pidfd).doing("carrying the container's terminal")
}

struct Relay {
    /// Absent once either side has hung up.
    master: Option<OwnedFd>,
    /// Standard input has not ended.
    reading: bool,
    /// Somebody takes the output.
    writing: bool,
    /// The last byte that was read from standard input.
    last: u8,
    /// On their way to the container.
    keys: Vec<u8>,
    /// On its way out.
    output: Vec<u8>,
}

impl Relay {
    fn run(&mut self, caller: &Caller, from: &Forwarder, pid: Pid, pidfd: impl AsFd) -> sys::Result<()> {
        let (input, output) = (std::io::stdin(), std::io::stdout());
        loop {
            let mut wanted = vec![(pidfd.as_fd(), Ready::READ), (from.as_fd(), Ready::READ)];
            let master = self.master.as_ref().map(AsFd::as_fd);
            let mut place = |fd, ready: Ready| {
                (!ready.is_empty()).then(|| {
                    wanted.push((fd, ready));
                    wanted.len() - 1
                })
            };
            let take = if self.output.is_empty() { Ready::READ } else { Ready::NONE };
            let give = if self.keys.is_empty() { Ready::NONE } else { Ready::WRITE };
            let at_master = master.and_then(|master| place(master, take.or(give)));
            let reads = self.reading && self.keys.is_empty() && master.is_some();
            let at_input = place(input.as_fd(), if reads { Ready::READ } else { Ready::NONE });
            let writes = !self.output.is_empty();
            let at_output = place(output.as_fd(), if writes { Ready::WRITE } else { Ready::NONE });
            let ready = wait_ready(&wanted)?;
            let is = |at: Option<usize>| at.is_some_and(|at| ready[at]);

            if ready[1] {
                self.pass_signals(caller, from, pid, &pidfd)?;
            }
            if is(at_output) {
                self.write_output()?;
            }
            if is(at_input) {
                self.read_keys()?;
            }
            if is(at_master) {
                self.write_keys()?;
                self.read_output()?;
            }
            if ready[0] {
                return self.finish();
            }
        }
    }

    fn pass_signals(&self, caller: &Caller, from: &Forwarder, pid: Pid, pidfd: impl AsFd) -> sys::Result<()> {
        while let Some(signal) = from.next(pid)? {
            match (signal, &self.master) {
                (Signal::WINCH, Some(master)) => caller.size_to(master)?,
                (Signal::WINCH, None) => {}
                _ => signals::deliver(&pidfd, signal)?,
            }
        }
        Ok(())
    }

    fn read_keys(&mut self) -> sys::Result<()> {
        let input = std::io::stdin();
        let mut buffer = [0; HELD];
        match tty::read(&input, &mut buffer)? {
            Moved::NotNow => {}
            Moved::Bytes(count) => {
                self.keys.extend_from_slice(&buffer[..count]);
                self.last = buffer[count - 1];
            }
            Moved::Ended => {
                self.reading = false;
                if tty::is_terminal(&input) {
                    self.master = None;
                } else if let Some(key) = self.master.as_ref().and_then(tty::end_key) {
                    // In the middle of a line the first one only ends the line.
                    let times = if self.last == b'\n' { 1 } else { 2 };
                    self.keys.extend(std::iter::repeat_n(key, times));
                }
            }
        }
        Ok(())
    }

    fn write_keys(&mut self) -> sys::Result<()> {
        let Some(master) = self.master.as_ref().filter(|_| !self.keys.is_empty()) else { return Ok(()) };
        match tty::write(master, &self.keys)? {
            Moved::NotNow => {}
            Moved::Bytes(count) => drop(self.keys.drain(..count)),
            Moved::Ended => self.keys.clear(),
        }
        Ok(())
    }

    /// False: there is nothing more for now.
    fn read_output(&mut self) -> sys::Result<bool> {
        let Some(master) = self.master.as_ref().filter(|_| self.output.is_empty()) else { return Ok(false) };
        let mut buffer = [0; HELD];
        match tty::read(master, &mut buffer)? {
            Moved::NotNow => return Ok(false),
            Moved::Bytes(count) if self.writing => self.output.extend_from_slice(&buffer[..count]),
            Moved::Bytes(_) => {}
            // No process has it open any more.
            Moved::Ended => self.master = None,
        }
        Ok(true)
    }

    fn write_output(&mut self) -> sys::Result<()> {
        match tty::write(std::io::stdout(), &self.output)? {
            Moved::NotNow => {}
            Moved::Bytes(count) => drop(self.output.drain(..count)),
            Moved::Ended => {
                self.writing = false;
                self.output.clear();
            }
        }
        Ok(())
    }

    /// The program has ended: what it wrote is still to be written.
    fn finish(&mut self) -> sys::Result<()> {
        let output = std::io::stdout();
        loop {
            while !self.output.is_empty() {
                wait_ready(&[(output.as_fd(), Ready::WRITE)])?;
                self.write_output()?;
            }
            if !self.read_output()? {
                return Ok(());
            }
        }
    }
}
