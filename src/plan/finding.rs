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
    /// What to do about it.
    pub advice: &'static str,
}

/// What to do about an error at a place that begins so, where nothing better is known. The first that fits counts.
const ADVICE: &[(&str, &str)] = &[
    ("ociVersion", "write the version of the specification that the file was made for, such as 1.2.0"),
    ("root", "name the directory of the root file system, absolute or relative to the bundle"),
    ("process.apparmorProfile", "leave it out, or use a host with AppArmor and the profile loaded"),
    ("process.args", "name the program, then its arguments"),
    ("process.cwd", "name a directory of the container, beginning with /"),
    ("process.env", "write each variable as NAME=value"),
    ("process.rlimits", "list each type once, the soft limit not above the hard one"),
    ("process.selinuxLabel", "leave it out, or use a host with SELinux"),
    ("process.user", "use ids that the container's user namespace maps"),
    ("mounts", "`keg features` lists the options that are keg's; others are data for the file system"),
    ("hooks", "a hook needs an absolute path, and a timeout above zero or none at all"),
    ("annotations", "correct the value, or leave the annotation out"),
    ("linux.namespaces", "list each type once, with the file of such a namespace as its path or with none"),
    ("linux.resources", "leave the limit out, or use a host whose cgroups have it"),
    ("linux.seccomp", "`keg features` lists the actions, architectures, operators and flags"),
    ("linux.sysctl", "leave it out, or give the container the namespace that keeps it"),
    (
        "linux.netDevices",
        "name a device that `ip link` shows, and a name that the container does not have yet",
    ),
    ("linux.intelRdt", "leave it out, or use a host with resctrl mounted and the group made"),
    ("", "correct the value, or leave the property out"),
];

const HARMLESS: &str = "nothing needs to be done; without it this is not said again";

impl Finding {
    /// An error, with the usual advice for its place.
    pub fn error(path: impl Into<String>, what: impl Into<String>) -> Self {
        let path = path.into();
        let advice = ADVICE.iter().find(|(start, _)| path.starts_with(start)).map_or("", |(_, text)| text);
        Self { path, severity: Severity::Error, what: what.into(), advice }
    }
}

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
}

impl Report {
    /// Something that forbids the container.
    pub(super) fn error(&mut self, path: impl Display, what: impl Into<String>) {
        self.findings.push(Finding::error(path.to_string(), what));
    }

    /// As [`Report::error`], with a way out.
    pub(super) fn error_with(&mut self, path: impl Display, what: impl Into<String>, advice: &'static str) {
        self.findings.push(Finding { advice, ..Finding::error(path.to_string(), what) });
    }

    /// Something a person may want to know.
    pub(super) fn warn(&mut self, path: impl Display, what: impl Into<String>) {
        let (path, severity) = (path.to_string(), Severity::Warning);
        self.findings.push(Finding { path, severity, what: what.into(), advice: HARMLESS });
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
