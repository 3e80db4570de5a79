//! The pid file that callers read: complete whenever it is there.

use std::path::Path;

use crate::types::Pid;

/// The pid in decimal without a newline, there at once or not at all.
pub(super) fn write(path: &Path, pid: Pid) -> std::io::Result<()> {
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let temporary = path.with_file_name(hidden);
    // Whatever somebody has put there: a link would lead out, a file is left from a keg that was killed.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::File::create_new(&temporary)?;
    std::io::Write::write_all(&mut file, pid.to_string().as_bytes())
        .inspect_err(|_| std::fs::remove_file(&temporary).unwrap_or(()))?;
    std::fs::rename(&temporary, path).inspect_err(|_| std::fs::remove_file(&temporary).unwrap_or(()))
}
