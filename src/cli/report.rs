//! How a failure is told: the chain of its causes, once, on one line, to stderr and to the log file.

use std::error::Error;
use std::io::{self, Write};
use std::time::SystemTime;

use super::Exit;
use super::args::{Globals, LogFormat};
use super::log::{Level, Log};
use crate::types::Timestamp;

/// Where failures are told.
#[derive(Debug, Clone, Default)]
pub struct Report {
    log: Option<Log>,
    format: LogFormat,
    debug: bool,
}

impl Report {
    /// As the flags say. The log file is opened when there is something for it.
    pub fn new(globals: &Globals) -> Self {
        Self { log: globals.log.clone(), format: globals.log_format, debug: globals.debug }
    }

    /// Tells why the command failed. Callers take the last line of the log file, or all of it, for the
    /// reason, so there is exactly one.
    pub fn failure(&self, error: &(dyn Error + 'static)) -> Exit {
        let message = one_line(error);
        self.stderr(&message);
        if let Err(error) = self.append(Level::Error, &message) {
            self.stderr(&format!("cannot write the log file: {}", one_line(&error)));
        }
        Exit::Failure
    }

    /// Tells what is worth knowing, to those who want to know.
    pub fn notes(&self, notes: &[String]) {
        if !self.debug {
            return;
        }
        for note in notes.iter().map(|note| single(note)) {
            // The command has succeeded or says itself why not: a log that fails is no reason to fail.
            if self.log.is_none() || self.append(Level::Warning, &note).is_err() {
                self.stderr(&format!("warning: {note}"));
            }
        }
    }

    fn append(&self, level: Level, message: &str) -> io::Result<()> {
        let Some(log) = &self.log else { return Ok(()) };
        let now = Timestamp::from(SystemTime::now()).whole_seconds().to_string();
        log.append(level, message, || line(self.format, level, message, &now))
    }

    /// Where even stderr is gone there is nobody left to tell.
    fn stderr(&self, message: &str) {
        drop(io::stderr().write_all(format!("{message}\n").as_bytes()));
    }
}

/// One line of the log file, in one write: several commands append to the same file.
fn line(format: LogFormat, level: Level, message: &str, now: &str) -> String {
    let level = level.name();
    let quoted = serde_json::Value::from(message);
    match format {
        LogFormat::Text => format!("time=\"{now}\" level={level} msg={quoted}\n"),
        LogFormat::Json => format!("{{\"level\":\"{level}\",\"msg\":{quoted},\"time\":\"{now}\"}}\n"),
    }
}

/// `a: b: c`
fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut text = worded(error);
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&worded(error));
        source = error.source();
    }
    single(&text)
}

/// The standard library's errors get the form that all others have: `no such file or directory`, not
/// `No such file or directory (os error 2)`.
fn worded(error: &(dyn Error + 'static)) -> String {
    let text = error.to_string();
    match error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
        Some(number) => text.trim_end_matches(&format!(" (os error {number})")).to_ascii_lowercase(),
        None => text,
    }
}

/// Nothing in a message, which may hold names from an image, moves the cursor.
fn single(text: &str) -> String {
    text.trim().replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::{Level, Log, LogFormat, Report, line, one_line};

    #[derive(Debug, thiserror::Error)]
    #[error("cannot do\nthis")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("open(\"/x\"): no such file or directory\n")]
    struct Inner;

    #[test]
    fn a_chain_becomes_one_line() {
        assert_eq!(one_line(&Outer(Inner)), "cannot do this: open(\"/x\"): no such file or directory");
    }

    #[test]
    fn errors_of_the_standard_library_read_like_all_others() {
        let error = std::io::Error::from_raw_os_error(20);
        assert_eq!(one_line(&error), "not a directory");
        assert_eq!(one_line(&std::io::Error::other("Just\x1b[2J so")), "Just [2J so");
    }

    #[test]
    fn lines_of_the_log() {
        let now = "2026-01-02T03:04:05Z";
        assert_eq!(
            line(LogFormat::Json, Level::Error, "say \"x\"\t", now),
            "{\"level\":\"error\",\"msg\":\"say \\\"x\\\"\\t\",\"time\":\"2026-01-02T03:04:05Z\"}\n"
        );
        assert_eq!(
            line(LogFormat::Text, Level::Warning, "a b", now),
            "time=\"2026-01-02T03:04:05Z\" level=warning msg=\"a b\"\n"
        );
    }

    #[test]
    fn notes_are_for_those_who_want_to_know() {
        let temp = tempfile::tempdir().unwrap();
        let log = temp.path().join("log");
        let report = Report { log: Some(Log::File(log.clone())), format: LogFormat::Text, debug: false };
        report.notes(&["unknown x".into()]);
        assert!(!log.exists());
        Report { debug: true, ..report }.notes(&["unknown x".into(), "y".into()]);
        let text = std::fs::read_to_string(log).unwrap();
        let lines: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(lines, ["level=warning msg=\"unknown x\"", "level=warning msg=\"y\""]);
    }
}
