//! Where `--log` goes: a file, the journal of systemd, or the system's log.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

/// The socket of the journal, which takes fields by name (systemd.io/JOURNAL_NATIVE_PROTOCOL).
const JOURNAL: &str = "/run/systemd/journal/socket";
/// The socket of the system's log (RFC 3164).
const SYSLOG: &str = "/dev/log";
/// The facility of programs that people and their tools run.
const USER: u8 = 1;

/// `--log`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Log {
    /// `FILE` or `file:FILE`
    File(PathBuf),
    /// `journald:NAME`
    Journald(String),
    /// `syslog:NAME`
    Syslog(String),
}

/// How bad it is.
#[derive(Debug, Clone, Copy)]
pub enum Level {
    /// The command went on.
    Warning,
    /// The command failed.
    Error,
}

impl Level {
    /// As log files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// As syslog(3) counts.
    fn severity(self) -> u8 {
        match self {
            Self::Warning => 4,
            Self::Error => 3,
        }
    }
}

impl From<PathBuf> for Log {
    fn from(typed: PathBuf) -> Self {
        let name = |name: &str| if name.is_empty() { "keg".to_owned() } else { name.to_owned() };
        match typed.to_str().and_then(|text| text.split_once(':')) {
            Some(("journald", rest)) => Self::Journald(name(rest)),
            Some(("syslog", rest)) => Self::Syslog(name(rest)),
            Some(("file", rest)) => Self::File(PathBuf::from(rest)),
            _ => Self::File(typed),
        }
    }
}

impl Log {
    /// Appends a message of one line; `line` is what it looks like in a file. Opened when there is something for it.
    pub fn append(&self, level: Level, message: &str, line: impl FnOnce() -> String) -> io::Result<()> {
        match self {
            Self::File(path) => {
                OpenOptions::new().append(true).create(true).open(path)?.write_all(line().as_bytes())
            }
            Self::Journald(name) => send(JOURNAL, &journal_entry(level, name, message)),
            Self::Syslog(name) => send(SYSLOG, &syslog_line(level, name, message)),
        }
    }
}

fn journal_entry(level: Level, name: &str, message: &str) -> String {
    format!("PRIORITY={}\nSYSLOG_IDENTIFIER={name}\nMESSAGE={message}\n", level.severity())
}

fn syslog_line(level: Level, name: &str, message: &str) -> String {
    format!("<{}>{name}[{}]: {message}", USER * 8 + level.severity(), std::process::id())
}

fn send(to: &str, text: &str) -> io::Result<()> {
    UnixDatagram::unbound()?.send_to(text.as_bytes(), to).map(drop)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Level, Log, journal_entry, syslog_line};

    #[test]
    fn places() {
        let log = |text: &str| Log::from(PathBuf::from(text));
        assert_eq!(log("journald:web"), Log::Journald("web".to_owned()));
        assert_eq!(log("syslog:"), Log::Syslog("keg".to_owned()));
        assert_eq!(log("file:/a"), Log::File(PathBuf::from("/a")));
        assert_eq!(log("/a:b"), Log::File(PathBuf::from("/a:b")));
        assert_eq!(log("journald"), Log::File(PathBuf::from("journald")));
    }

    #[test]
    fn entries() {
        let entry = journal_entry(Level::Error, "web", "a: b");
        assert_eq!(entry, "PRIORITY=3\nSYSLOG_IDENTIFIER=web\nMESSAGE=a: b\n");
        let line = syslog_line(Level::Warning, "web", "a: b");
        assert_eq!(line, format!("<12>web[{}]: a: b", std::process::id()));
    }
}
