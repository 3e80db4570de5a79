//! What can be typed for `pause`, `resume`, `ps` and `events`.

use std::time::Duration;

use super::commands::{Command, Typed};
use crate::ops::options::{EventsOptions, PsOptions};
use crate::types::ContainerId;

/// `pause`
#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    /// The container's name
    #[arg(value_parser = ContainerId::parse)]
    id: ContainerId,
}

impl Typed for PauseArgs {
    fn meant(self) -> Command {
        Command::Pause(self.id)
    }
}

/// `resume`
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    /// The container's name
    #[arg(value_parser = ContainerId::parse)]
    id: ContainerId,
}

impl Typed for ResumeArgs {
    fn meant(self) -> Command {
        Command::Resume(self.id)
    }
}

/// `ps`
#[derive(Debug, clap::Args)]
pub struct PsArgs {
    /// How the output looks: table or json
    #[arg(long, short, value_name = "FORMAT", value_parser = is_json, default_value = "table")]
    format: Json,
    /// The container's name
    #[arg(value_parser = ContainerId::parse)]
    id: ContainerId,
    /// What ps(1) is given for the table [default: -ef]
    arguments: Vec<String>,
}

/// Whether JSON is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Json(bool);

/// How `ps` shows the processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PsCommand {
    /// As ps(1) does.
    Table(PsOptions),
    /// As an array of their pids.
    Json(ContainerId),
}

impl Typed for PsArgs {
    fn meant(self) -> Command {
        Command::Ps(match self.format {
            Json(true) => PsCommand::Json(self.id),
            Json(false) => PsCommand::Table(PsOptions { id: self.id, arguments: self.arguments }),
        })
    }
}

fn is_json(text: &str) -> Result<Json, String> {
    match text {
        "table" => Ok(Json(false)),
        "json" => Ok(Json(true)),
        _ => Err("invalid format option".to_owned()),
    }
}

/// `events`
#[derive(Debug, clap::Args)]
pub struct EventsArgs {
    /// The time between two lines of statistics, as in 1m30s or 100ms
    #[arg(long, value_name = "DURATION", value_parser = interval, default_value = "5s")]
    interval: Duration,
    /// Show the statistics once, and nothing else
    #[arg(long)]
    stats: bool,
    /// The container's name
    #[arg(value_parser = ContainerId::parse)]
    id: ContainerId,
}

impl Typed for EventsArgs {
    fn meant(self) -> Command {
        let interval = (!self.stats).then_some(self.interval);
        Command::Events(EventsOptions { id: self.id, interval })
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        None => Err("no duration like 5s, 100ms or 1m30s".to_owned()),
        Some(Duration::ZERO) => Err("duration interval must be greater than 0".to_owned()),
        Some(duration) => Ok(duration),
    }
}

/// A duration as Go's time.ParseDuration reads it: numbers with units, one after the other. Negative ones are none here.
fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("μs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() || text.is_empty() {
        let is_number = |letter: char| letter.is_ascii_digit() || letter == '.';
        let (number, after) = rest.split_at(rest.find(|letter| !is_number(letter))?);
        let end = after.find(is_number).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{interval, parse_duration};

    #[test]
    fn durations_as_go_reads_them() {
        let ms = Duration::from_millis;
        let table = [
            ("5s", Some(ms(5_000))),
            ("100ms", Some(ms(100))),
            ("1m30s", Some(ms(90_000))),
            ("1.5h", Some(ms(5_400_000))),
            (".5s", Some(ms(500))),
            ("+2s", Some(ms(2_000))),
            ("1µs", Some(Duration::from_micros(1))),
            ("0", Some(ms(0))),
            ("0s", Some(ms(0))),
            ("", None),
            ("5", None),
            ("s", None),
            ("5 s", None),
            ("-5s", None),
            ("5x", None),
            ("1.2.3s", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_duration(text), expected, "{text:?}");
        }
        assert_eq!(interval("0s").unwrap_err(), "duration interval must be greater than 0");
    }
}
