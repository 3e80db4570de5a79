//! What commands print: the only writer of standard output.

use std::io::{self, Write};

use super::args::ListFormat;
use crate::ops::Error;
use crate::ops::events::Event;
use crate::ops::state::ContainerState;

/// stdout does not take what the command has to say.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the output")]
pub struct Unwritable(#[from] io::Error);

/// Writes all of it. Nothing at all is written for a command that has nothing to say.
pub fn write(text: &str) -> Result<(), Unwritable> {
    if text.is_empty() {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// What `state` prints.
pub fn state(state: &ContainerState) -> Result<String, Error> {
    Ok(serde_json::to_string_pretty(state)? + "\n")
}

/// A line of `events`.
pub fn event(event: &Event<'_>) -> Result<String, Error> {
    Ok(serde_json::to_string(event)? + "\n")
}

/// What `ps --format json` prints.
pub fn pids(pids: &[i32]) -> Result<String, Error> {
    Ok(serde_json::to_string(pids)? + "\n")
}

/// What `features` prints.
pub fn document(document: &serde_json::Value) -> Result<String, Error> {
    Ok(serde_json::to_string_pretty(document)? + "\n")
}

/// What `list` prints.
pub fn list(list: &[ContainerState], format: ListFormat) -> Result<String, Error> {
    Ok(match format {
        ListFormat::Json => serde_json::to_string(list)? + "\n",
        ListFormat::Quiet => list.iter().map(|state| format!("{}\n", state.id)).collect(),
        ListFormat::Table => table(list),
    })
}

fn table(list: &[ContainerState]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = list.iter().map(|state| {
        let (bundle, pid) = (state.bundle.display().to_string(), state.pid.to_string());
        [state.id.clone(), pid, state.status.clone(), bundle, state.created.clone(), state.owner.clone()]
    });
    let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
    let mut widths = [12; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + 3);
        }
    }
    let mut text = String::new();
    for [id, pid, status, bundle, created, owner] in &rows {
        for (cell, width) in [id, pid, status, bundle, created].into_iter().zip(widths) {
            text.push_str(&format!("{cell:width$}"));
        }
        text.push_str(&format!("{owner}\n"));
    }
    text
}
