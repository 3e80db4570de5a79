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
    /// The median of each round's block, none where a round has none. Empty where there are no blocks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<Option<f64>>,
    /// Where the median lies by 95 % certainty: of values that do not hang together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
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
    /// How much of the CPUs was taken while nothing was measured, of 1, where that was looked at.
    #[serde(default)]
    pub busy: Option<f64>,
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

    /// How many times one workload's or subject's values are another's.
    pub fn ratio(&self, part: &str, view: &str, above: (&str, &str), below: (&str, &str)) -> Option<Ratio> {
        Ratio::of(self.row(part, view, above)?, self.row(part, view, below)?)
    }

    /// A workload's and subject's row.
    pub fn row(&self, part: &str, view: &str, (workload, subject): (&str, &str)) -> Option<&Row> {
        let same = |row: &&Row| row.view == view && row.workload == workload && row.subject == subject;
        self.rows(part).iter().find(same)
    }

    /// The median of a subject, where it was measured.
    pub fn median(&self, part: &str, view: &str, workload: &str, subject: &str) -> Option<f64> {
        self.summary(part, view, workload, subject).map(|summary| summary.median)
    }

    pub fn summary(&self, part: &str, view: &str, workload: &str, subject: &str) -> Option<Summary> {
        self.row(part, view, (workload, subject))?.value
    }
}

impl Row {
    pub fn new(workload: &str, subject: &str, unit: &str) -> Self {
        let (workload, subject, unit) = (workload.to_owned(), subject.to_owned(), unit.to_owned());
        Self {
            view: String::new(),
            workload,
            subject,
            unit,
            value: None,
            rounds: Vec::new(),
            interval: None,
            note: String::new(),
        }
    }

    pub fn with(self, values: Vec<f64>) -> Self {
        Self { value: Summary::of(values), ..self }
    }

    /// With values that say where their median lies.
    pub fn with_interval(self, values: Vec<f64>) -> Self {
        Self { interval: interval(values.clone()), ..self.with(values) }
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

/// Where the median of what was drawn from lies by 95 % certainty: between two of the values, whatever their distribution is.
pub fn interval(mut values: Vec<f64>) -> Option<[f64; 2]> {
    values.sort_by(f64::total_cmp);
    let count = values.len();
    // As many lie below the median as heads are thrown.
    let low = ((count as f64 - 1.96 * (count as f64).sqrt()) / 2.0).max(0.0) as usize;
    Some([*values.get(low)?, *values.get(count.checked_sub(low + 1)?)?])
}

/// How many times one row's values are another's: by the medians of all, and where that lies, by those of each round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    pub median: f64,
    pub interval: Option<[f64; 2]>,
}

impl Ratio {
    pub fn of(above: &Row, below: &Row) -> Option<Self> {
        let median = above.value?.median / below.value?.median;
        let rounds = above.rounds.iter().zip(&below.rounds);
        let ratios: Vec<f64> = rounds.filter_map(|(above, below)| Some((*above)? / (*below)?)).collect();
        let interval = if ratios.len() < 3 { None } else { interval(ratios) };
        Some(Self { median, interval })
    }
}

/// Durations in milliseconds.
pub fn milliseconds(times: &[Duration]) -> Vec<f64> {
    times.iter().map(|time| time.as_secs_f64() * 1e3).collect()
}

#[cfg(test)]
mod tests {
    use super::{Ratio, Row, Summary, interval};

    #[test]
    fn runs_are_summed_up() {
        assert!(Summary::of(Vec::new()).is_none());
        let of =
            |values: Vec<f64>| Summary::of(values).map(|sum| (sum.median, sum.minimum, sum.p99, sum.runs));
        assert_eq!(of(vec![3.0]), Some((3.0, 3.0, 3.0, 1)));
        assert_eq!(of((1..=200).rev().map(f64::from).collect()), Some((101.0, 1.0, 199.0, 200)));
    }

    #[test]
    fn where_the_median_lies() {
        assert_eq!(interval(Vec::new()), None);
        assert_eq!(interval(vec![2.0]), Some([2.0, 2.0]));
        // Of five, 94 % certain: none is left out.
        assert_eq!(interval(vec![5.0, 1.0, 4.0, 2.0, 3.0]), Some([1.0, 5.0]));
        assert_eq!(interval((1..=10).map(f64::from).collect()), Some([2.0, 9.0]));
        assert_eq!(interval((1..=100).map(f64::from).collect()), Some([41.0, 60.0]));
    }

    #[test]
    fn ratios_are_those_of_the_same_round() {
        let row = |rounds: &[Option<f64>]| Row {
            rounds: rounds.to_vec(),
            ..Row::new("run", "keg", "ms").with(rounds.iter().flatten().copied().collect())
        };
        // The machine was twice as slow in the second round, and for both.
        let [one, other] = [row(&[Some(4.0), Some(8.0), Some(4.0)]), row(&[Some(2.0), Some(4.0), Some(2.0)])];
        assert_eq!(Ratio::of(&one, &other), Some(Ratio { median: 2.0, interval: Some([2.0, 2.0]) }));
        let gap = row(&[Some(2.0), None, Some(2.0)]);
        assert_eq!(Ratio::of(&one, &gap).and_then(|ratio| ratio.interval), None);
    }
}
