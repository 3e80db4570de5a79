//! The first act of keg for a command that lets a container's processes near it: to run from a copy of itself that cannot be written
//! to (CVE-2019-5736). It comes before any cgroup is entered, so that the container never pays for it.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

use super::Result;
use crate::sys::seal;

/// The commands that clone or join a container. A word that merely looks like one costs half a millisecond.
const COMMANDS: [&str; 3] = ["create", "run", "exec"];

/// keg would have to run from a file that a container could overwrite.
#[derive(Debug, thiserror::Error)]
#[error("cannot protect keg's own file from containers")]
struct Error(#[source] crate::sys::Error);

/// Returns once this process runs from a sealed copy, if it has to.
pub fn ensure() -> Result<()> {
    if !std::env::args_os().skip(1).any(|word| COMMANDS.iter().any(|command| word == *command)) {
        return Ok(());
    }
    let args: Vec<CString> = std::env::args_os().filter_map(c_string).collect();
    if seal::is_sealed(&args).map_err(Error)? {
        return Ok(());
    }
    let entry = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        c_string(name)
    };
    let env: Vec<CString> = std::env::vars_os().filter_map(entry).collect();
    Err(Error(seal::run_again(&args, &env)).into())
}

/// Nothing that came from the kernel has a NUL inside.
fn c_string(text: OsString) -> Option<CString> {
    CString::new(text.into_vec()).ok()
}
