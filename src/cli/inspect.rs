//! What can be typed for `check` and `features`, which make nothing, and how what they find looks.

use std::path::PathBuf;

use super::args::absolute;
use super::commands::{Command, Typed};
use crate::plan::{Finding, Severity};

/// `check`
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct CheckArgs {
    /// Show the findings as a JSON array
    #[arg(long)]
    pub json: bool,
    /// The directory that holds config.json and the root file system
    #[arg(value_parser = absolute(), default_value = ".")]
    pub bundle: PathBuf,
}

impl Typed for CheckArgs {
    fn meant(self) -> Command {
        Command::Check(self)
    }
}

/// `features`
#[derive(Debug, clap::Args)]
pub struct FeaturesArgs {}

impl Typed for FeaturesArgs {
    fn meant(self) -> Command {
        Command::Features
    }
}

fn severity(finding: &Finding) -> &'static str {
    match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// Whether a container can be created in spite of these.
pub fn are_harmless(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity == Severity::Warning)
}

/// What `check` prints: a line for each finding.
pub fn findings(found: &[Finding]) -> String {
    if found.is_empty() {
        return "config.json: nothing found\n".to_owned();
    }
    let mut text = String::new();
    for finding in found {
        let path = if finding.path.is_empty() { "config.json" } else { &finding.path };
        text.push_str(&format!("{}: {path}: {} ({})\n", severity(finding), finding.what, finding.advice));
    }
    text
}

/// What `check --json` prints.
pub fn findings_as_json(found: &[Finding]) -> String {
    let rows = found.iter().map(|finding| {
        serde_json::json!({"path": finding.path, "severity": severity(finding), "what": finding.what,
                           "advice": finding.advice})
    });
    format!("{}\n", serde_json::Value::from_iter(rows))
}
