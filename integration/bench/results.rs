//! What was measured, as it is kept in `docs/benchmarks/results.json`: the documents and plots are made of this file alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Result;

/// The runs of one subject in one workload, summed up, or why there are none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// The view of the host's cgroups, or none where it does not matter.
    pub view: String,
    pub workload: String,
    /// A runtime, or a pipeline of tools.
    pub subject: String,
    /// `ms`, `s`, `KiB`, `calls`, `starts/s`.
    pub unit: String,
    /// Nothing where the subject was left out.
    pub value: Option<Summary>,
    /// Why it was left out, or what went wrong besides.
    pub note: String,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Summary {
    pub median: f64,
    pub minimum: f64,
    pub p99: f64,
    pub runs: usize,
}

/// What was measured in one go, and on what kind of day.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    pub date: String,
    pub seconds: u64,
    pub rounds: usize,
    /// Tasks that wanted a CPU beforehand, averaged over a minute.
    pub load: f64,
    /// The first digits of the binary's digest.
    pub keg: String,
    pub rows: Vec<Row>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Results {
    /// Machine and kernel, in the order of the document.
    pub machine: Vec<(String, String)>,
    /// Each program that was measured, with its version.
    pub versions: Vec<(String, String)>,
    /// The first digits of the binary's digest, and its size.
    pub keg: String,
    pub keg_bytes: u64,
    pub parts: BTreeMap<String, Part>,
}

impl Results {
    /// What was measured before, or nothing.
    pub fn load(path: &Path) -> Result<Self> {
        match path.exists() {
            true => Ok(serde_json::from_slice(&fs::read(path)?)?),
            false => Ok(Self::default()),
        }
    }

    pub fn save(&self, path: &Path) -> Result<()> {
        fs::create_dir_all(path.parent().ok_or("results need a directory")?)?;
        Ok(fs::write(path, format!("{}\n", serde_json::to_string_pretty(self)?))?)
    }

    pub fn rows(&self, part: &str) -> &[Row] {
        self.parts.get(part).map_or(&[], |part| &part.rows)
    }

    /// The median of a subject, where it was measured.
    pub fn median(&self, part: &str, view: &str, workload: &str, subject: &str) -> Option<f64> {
        self.summary(part, view, workload, subject).map(|summary| summary.median)
    }

    pub fn summary(&self, part: &str, view: &str, workload: &str, subject: &str) -> Option<Summary> {
        let same = |row: &&Row| row.view == view && row.workload == workload && row.subject == subject;
        self.rows(part).iter().find(same)?.value
    }
}

impl Row {
    pub fn new(workload: &str, subject: &str, unit: &str) -> Self {
        let (workload, subject, unit) = (workload.to_owned(), subject.to_owned(), unit.to_owned());
        Self { view: String::new(), workload, subject, unit, value: None, note: String::new() }
    }

    pub fn with(self, values: Vec<f64>) -> Self {
        Self { value: Summary::of(values), ..self }
    }

    pub fn noting(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }
}

impl Summary {
    /// Nothing of nothing.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |part: usize| values[(values.len() * part / 100).min(last)];
        Some(Self { median: at(50), minimum: values[0], p99: at(99), runs: values.len() })
    }
}

/// Durations in milliseconds.
pub fn milliseconds(times: &[Duration]) -> Vec<f64> {
    times.iter().map(|time| time.as_secs_f64() * 1e3).collect()
}

#[cfg(test)]
mod tests {
    use super::Summary;

    #[test]
    fn runs_are_summed_up() {
        assert!(Summary::of(Vec::new()).is_none());
        let of =
            |values: Vec<f64>| Summary::of(values).map(|sum| (sum.median, sum.minimum, sum.p99, sum.runs));
        assert_eq!(of(vec![3.0]), Some((3.0, 3.0, 3.0, 1)));
        assert_eq!(of((1..=200).rev().map(f64::from).collect()), Some((101.0, 1.0, 199.0, 200)));
    }
}
