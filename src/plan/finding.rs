//! What is found while a plan is built: errors that forbid it, and warnings. All of them are collected, so that a person can be
//! told everything at once; `create` fails with the first error.

use std::ffi::CString;
use std::fmt::Display;

use super::Error;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The container cannot be created.
    Error,
    /// The container can be created, but something has no effect or another one than may be expected.
    Warning,
}

/// One thing that is wrong with config.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The JSON path, as `linux.namespaces[2].path`.
    pub path: String,
    /// How bad it is.
    pub severity: Severity,
    /// One sentence without a full stop: what is wrong or will happen.
    pub what: String,
    /// What to do about it, where that is not obvious.
    pub advice: Option<&'static str>,
}

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
}

impl Report {
    /// Something that forbids the container.
    pub(super) fn error(&mut self, path: impl Display, what: impl Into<String>) {
        self.add(Severity::Error, path, what, None);
    }

    /// As [`Report::error`], with a way out.
    pub(super) fn error_with(&mut self, path: impl Display, what: impl Into<String>, advice: &'static str) {
        self.add(Severity::Error, path, what, Some(advice));
    }

    /// Something a person may want to know.
    pub(super) fn warn(&mut self, path: impl Display, what: impl Into<String>) {
        self.add(Severity::Warning, path, what, None);
    }

    fn add(
        &mut self,
        severity: Severity,
        path: impl Display,
        what: impl Into<String>,
        advice: Option<&'static str>,
    ) {
        self.findings.push(Finding { path: path.to_string(), severity, what: what.into(), advice });
    }

    /// The string as the kernel takes it.
    pub(super) fn c_string(&mut self, path: impl Display, text: &str) -> Option<CString> {
        let converted = CString::new(text).ok();
        if converted.is_none() {
            self.error(path, "a string may not contain a NUL byte");
        }
        converted
    }

    /// The warnings as lines, or the first error.
    pub(super) fn into_warnings(self) -> Result<Vec<String>, Error> {
        if let Some(found) = self.findings.iter().find(|finding| finding.severity == Severity::Error) {
            return Err(Error { path: found.path.clone(), problem: found.what.clone() });
        }
        Ok(self.findings.into_iter().map(|finding| format!("{}: {}", finding.path, finding.what)).collect())
    }
}
