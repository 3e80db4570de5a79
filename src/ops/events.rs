//! `events`: what a container uses, again and again, and that it has run out of memory.

use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

use super::options::EventsOptions;
use super::{Place, Result, own_cgroup};
use crate::cgroup::{self, Watch};
use crate::state::{Refused, Store};
use crate::sys::proc::Proc;

/// One line of the output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event<'a> {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Whose it is.
    pub id: &'a str,
    /// What was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// The types of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The time has come to look.
    Stats,
    /// The kernel found no memory for it.
    Oom,
}

/// Hands every event to `emit`, until the container has no process any more, or after the first look if one was asked for.
pub fn events(
    place: &Place,
    options: &EventsOptions,
    emit: &mut dyn FnMut(&Event<'_>) -> Result<()>,
) -> Result<()> {
    let store = Store::open(&place.root)?;
    let record = store.load(&options.id)?;
    let proc = Proc::host()?;
    let init = store.state(&record, &proc)?.to_signal()?;
    let own = own_cgroup(&record)?;
    let id = options.id.as_str();
    let stats = || Ok::<_, cgroup::Error>(Event { kind: Kind::Stats, id, data: Some(cgroup::stats(own)?) });
    let Some(interval) = options.interval else { return emit(&stats()?) };
    let init = proc.pidfd(init)?.ok_or(Refused::NotRunning)?;
    let mut watch = Watch::open(own, init)?;
    let mut next = Instant::now() + interval;
    loop {
        let happened = watch.wait(next.saturating_duration_since(Instant::now()))?;
        for _ in 0..happened.oom {
            emit(&Event { kind: Kind::Oom, id, data: None })?;
        }
        if happened.over {
            return Ok(());
        }
        if Instant::now() >= next {
            emit(&stats()?)?;
            next = Instant::now() + interval;
        }
    }
}
