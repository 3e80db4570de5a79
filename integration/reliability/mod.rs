//! What keg promises when things go wrong around it: killed anywhere, refused anything, out of memory, files or disk, it leaves what
//! one `delete --force` cleans, and never waits for somebody who is dead.
//!
//! A sweep interrupts a command at its system calls. By default at a sample of them; `KEG_SWEEP=full` takes every one.

mod errors;
mod kills;
mod limits;
mod load;
mod memory;
pub mod points;
mod reboot;
mod signals;
mod storage;
