//! `--timing`: what the processes of a command wrote down of their steps (`sys::timing`), as a trace for Chrome's viewers or as a table.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use super::Result;
use crate::sys::timing::{self, Record};

/// The trace cannot go where it is to go.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the timing to {0:?}")]
struct Unwritable(PathBuf, #[source] io::Error);

/// A command whose steps are written down.
#[derive(Debug)]
pub struct Timing {
    /// Absent: a table is wanted.
    file: Option<PathBuf>,
}

impl Timing {
    /// Begins, if the file `to` can be written; `-` is a table. `joins`: an init takes part that another command has made.
    pub fn begin(to: &Path, joins: bool) -> Result<Self> {
        let file = (to != Path::new("-")).then(|| to.to_owned());
        if let Some(file) = &file {
            check(file).map_err(|error| Unwritable(file.clone(), error))?;
        }
        timing::begin(joins)?;
        Ok(Self { file })
    }

    /// Writes the file, or gives the table.
    pub fn end(self, command: &str) -> Result<String> {
        let record = timing::end();
        let Some(file) = self.file else { return Ok(table(&record)) };
        replace(&file, &chrome(&record, command)?).map_err(|error| Unwritable(file, error))?;
        Ok(String::new())
    }
}

/// The directory that a file is in.
fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// What is no regular file (a terminal, a pipe) is written to, anything else is replaced.
fn is_special(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|about| !about.is_file())
}

fn check(file: &Path) -> io::Result<()> {
    if file.file_name().is_none() || file.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    let place = if is_special(file) { file } else { directory(file) };
    if place != file && !fs::metadata(place)?.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    Ok(faccessat(AT_FDCWD, place, AccessFlags::W_OK, AtFlags::AT_EACCESS)?)
}

/// A reader sees the file whole or not at all.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    if is_special(file) {
        return fs::write(file, text);
    }
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".keg-{}", std::process::id()));
    let new = directory(file).join(name);
    let done = fs::write(&new, text).and_then(|()| fs::rename(&new, file));
    if done.is_err() {
        // It may not even have been made.
        fs::remove_file(&new).unwrap_or_default();
    }
    done
}

/// From the first to the last moment, in nanoseconds.
fn whole(record: &Record) -> (u64, u64) {
    let start = record.steps.iter().map(|step| step.start).min().unwrap_or_default();
    (start, record.steps.iter().map(|step| step.end).max().unwrap_or(start))
}

/// An array of complete events, in microseconds, after the names of the processes and one event for the whole.
fn chrome(record: &Record, command: &str) -> Result<String> {
    let (start, end) = whole(record);
    let pid = record.lanes.first().map_or(0, |lane| lane.id);
    let threads = ["inflate", "hash", "write"];
    let ids = |lane: usize| {
        let id = record.lanes.get(lane).map_or(0, |lane| lane.id);
        let is_thread = record.lanes.get(lane).is_some_and(|lane| threads.contains(&lane.name.as_str()));
        format!("\"pid\":{},\"tid\":{id}", if is_thread { pid } else { id })
    };
    let micros = |nanoseconds: u64| format!("{}.{:03}", nanoseconds / 1000, nanoseconds % 1000);
    let mut events = Vec::new();
    for (number, lane) in record.lanes.iter().enumerate() {
        let kind = if threads.contains(&lane.name.as_str()) { "thread_name" } else { "process_name" };
        let name = serde_json::to_string(&lane.name)?;
        events.push(format!(
            "{{\"name\":\"{kind}\",\"ph\":\"M\",{},\"args\":{{\"name\":{name}}}}}",
            ids(number)
        ));
    }
    let mut event = |name: &str, (from, to): (u64, u64), lane| -> Result<()> {
        let (name, ids) = (serde_json::to_string(name)?, ids(lane));
        let (at, duration) = (micros(from - start), micros(to - from));
        events.push(format!("{{\"name\":{name},\"ph\":\"X\",\"ts\":{at},\"dur\":{duration},{ids}}}"));
        Ok(())
    };
    event(&format!("keg {command}"), (start, end), 0)?;
    for step in &record.steps {
        event(&step.name, (step.start, step.end), step.lane)?;
    }
    Ok(format!("[\n{}\n]\n", events.join(",\n")))
}

/// A line for each step, in the order in which they began.
fn table(record: &Record) -> String {
    let (start, end) = whole(record);
    let millis = |nanoseconds: u64| format!("{}.{:03}", nanoseconds / 1_000_000, nanoseconds / 1000 % 1000);
    let mut text = format!("{:>11}{:>11}  {:<9}{}\n", "start/ms", "took/ms", "process", "step");
    for step in &record.steps {
        let who = record.lanes.get(step.lane).map_or("", |lane| lane.name.as_str());
        let (at, took) = (millis(step.start - start), millis(step.end - step.start));
        text += &format!("{at:>11}{took:>11}  {who:<9}{}\n", step.name);
    }
    text += &format!("{:>11}{:>11}  {:<9}all of it\n", millis(0), millis(end - start), "");
    if record.lost > 0 {
        text += &format!("and {} more steps, for which there was no room\n", record.lost);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{chrome, table};
    use crate::sys::timing::{Lane, Record, Step};

    fn record() -> Record {
        let step = |lane, name: &str, start, end| Step { lane, name: name.to_owned(), start, end };
        let lane = |id, name: &str| Lane { id, name: name.to_owned() };
        Record {
            lanes: vec![lane(7, "keg"), lane(8, "init"), lane(9, "hash")],
            steps: vec![
                step(0, "clone", 1_000_000, 2_500_500),
                step(1, "mount \"/x\"", 1_500_000, 2_000_000),
                step(2, "hash layer 1", 2_000_000, 4_000_000),
            ],
            lost: 0,
        }
    }

    #[test]
    fn a_trace_for_viewers() {
        let text = chrome(&record(), "run").unwrap();
        let events: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(events[0]["args"]["name"], "keg");
        assert_eq!(events[2]["name"], "thread_name");
        let whole =
            serde_json::json!({"name": "keg run", "ph": "X", "ts": 0.0, "dur": 3000.0, "pid": 7, "tid": 7});
        assert_eq!(events[3], whole);
        let mount = serde_json::json!({"name": "mount \"/x\"", "ph": "X", "ts": 500.0, "dur": 500.0, "pid": 8, "tid": 8});
        assert_eq!(events[5], mount);
        assert_eq!(
            (&events[4]["dur"], &events[6]["pid"], &events[6]["tid"]),
            (&1500.5.into(), &7.into(), &9.into())
        );
    }

    #[test]
    fn a_table_for_people() {
        assert_eq!(
            table(&record()),
            "   start/ms    took/ms  process  step\n      0.000      1.500  keg      clone\n      0.500      0.500  init     mount \"/x\"\n      \
             1.000      2.000  hash     hash layer 1\n      0.000      3.000           all of it\n"
        );
        assert!(
            table(&Record { lost: 3, ..record() })
                .ends_with("and 3 more steps, for which there was no room\n")
        );
    }
}
