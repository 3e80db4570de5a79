//! Hooks: absolute paths, timeouts above zero.

use std::path::Path;
use std::time::Duration;

use oci_spec::runtime::{Hook as Listed, Hooks as ListedHooks};

use crate::plan::finding::Report;
use crate::plan::{Hook, Hooks};

pub(super) fn build(listed: Option<&ListedHooks>, report: &mut Report) -> Hooks {
    let Some(listed) = listed else { return Hooks::default() };
    #[allow(deprecated)]
    let prestart = listed.prestart();
    Hooks {
        prestart: list(prestart.as_deref().unwrap_or_default(), "hooks.prestart", report),
        create_runtime: list(
            listed.create_runtime().as_deref().unwrap_or_default(),
            "hooks.createRuntime",
            report,
        ),
        create_container: list(
            listed.create_container().as_deref().unwrap_or_default(),
            "hooks.createContainer",
            report,
        ),
        start_container: list(
            listed.start_container().as_deref().unwrap_or_default(),
            "hooks.startContainer",
            report,
        ),
        poststart: list(listed.poststart().as_deref().unwrap_or_default(), "hooks.poststart", report),
        poststop: list(listed.poststop().as_deref().unwrap_or_default(), "hooks.poststop", report),
    }
}

/// The hooks of one list.
pub(super) fn list(listed: &[Listed], path: &str, report: &mut Report) -> Vec<Hook> {
    listed.iter().enumerate().filter_map(|(n, one)| hook(one, &format!("{path}[{n}]"), report)).collect()
}

fn hook(listed: &Listed, path: &str, report: &mut Report) -> Option<Hook> {
    if !listed.path().is_absolute() {
        report.error(format!("{path}.path"), format!("{:?} is not an absolute path", listed.path()));
    }
    if listed.timeout().is_some_and(|seconds| seconds <= 0) {
        report.error(format!("{path}.timeout"), "must be greater than zero");
    }
    let strings = |name: &str, list: &[String], report: &mut Report| {
        let each = list.iter().enumerate();
        each.filter_map(|(n, text)| report.c_string(format_args!("{path}.{name}[{n}]"), text)).collect()
    };
    Some(Hook {
        args: strings("args", listed.args().as_deref().unwrap_or_default(), report),
        env: listed.env().as_deref().map(|env| strings("env", env, report)),
        timeout: listed.timeout().and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs),
        path: c_path(listed.path(), &format!("{path}.path"), report)?,
    })
}

fn c_path(file: &Path, path: &str, report: &mut Report) -> Option<std::ffi::CString> {
    let text = file.to_str();
    if text.is_none() {
        report.error(path, "not UTF-8");
    }
    report.c_string(path, text?)
}
