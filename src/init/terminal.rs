//! The program's terminal, as init and every process that joins take theirs.

use super::error::{At, Error, Step};
use crate::console::Pair;
use crate::link::{FromInit, InitEnd};
use crate::plan::Process;
use crate::rootfs::RootFd;

/// Opens one if the program is to have one; keg gets its other side. `console`: it is the container's `/dev/console` too.
pub(super) fn take(wanted: &Process, root: &RootFd, console: bool, link: &InitEnd) -> Result<(), Error> {
    if !wanted.terminal {
        return Ok(());
    }
    let pair = Pair::open(root).at(Step::Terminal)?;
    if let Some(size) = wanted.console_size {
        pair.resize(size).at(Step::Terminal)?;
    }
    if console {
        pair.bind_console(root).at(Step::Terminal)?;
    }
    let terminal = pair.take().at(Step::Terminal)?;
    link.send(&FromInit::Terminal(terminal)).at(Step::Link)
}
