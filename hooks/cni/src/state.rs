//! The state of the container, as the runtime writes it to a hook's standard input (runtime.md, "State").

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use serde::Deserialize;

use crate::args::Verb;
use crate::error::{Cause, Error, Result};

/// No state is larger.
const LIMIT: u64 = 16 << 20;

/// What a hook needs of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct State {
    /// The container's id.
    pub id: String,
    status: String,
    #[serde(default)]
    pid: i32,
    /// The bundle's directory.
    pub bundle: PathBuf,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl State {
    /// Reads the document.
    pub fn read(from: impl Read) -> Result<Self> {
        let what = "reading the container's state from standard input";
        let mut bytes = Vec::new();
        let read = from.take(LIMIT).read_to_end(&mut bytes);
        read.map_err(|error| Error::System { doing: what.to_owned(), source: Cause::from(error) })?;
        let state: Self =
            serde_json::from_slice(&bytes).map_err(|source| Error::Json { what: what.to_owned(), source })?;
        match state.bundle.is_absolute() {
            true => Ok(state),
            false => Err(Error::Wrong(format!("{what}: bundle: {:?} is not absolute", state.bundle))),
        }
    }

    /// What the point of the lifecycle asks for. Some runtimes say `created` in createRuntime hooks.
    pub fn verb(&self) -> Result<Verb> {
        match self.status.as_str() {
            "creating" | "created" => Ok(Verb::Add),
            "stopped" => Ok(Verb::Del),
            other => Err(Error::Wrong(format!(
                "container {} is {other}: as a hook this belongs into createRuntime and poststop, elsewhere say add, del or check",
                self.id
            ))),
        }
    }

    /// The container's first process.
    pub fn pid(&self) -> Result<i32> {
        match self.pid {
            pid if pid > 0 => Ok(pid),
            _ => Err(Error::Wrong(format!("container {} has no process", self.id))),
        }
    }

    /// An annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        let all = self.annotations.as_ref()?;
        all.get(name).map(String::as_str).filter(|text| !text.trim().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::{State, Verb};

    fn of(text: &str) -> Result<State, String> {
        State::read(text.as_bytes()).map_err(|error| crate::error::one_line(&error))
    }

    #[test]
    fn the_status_says_what_to_do() {
        for (status, verb) in [
            ("creating", Some(Verb::Add)),
            ("created", Some(Verb::Add)),
            ("stopped", Some(Verb::Del)),
            ("running", None),
        ] {
            let state = of(&format!(r#"{{"id":"c","status":"{status}","pid":7,"bundle":"/b"}}"#)).unwrap();
            assert_eq!(state.verb().ok(), verb, "{status}");
            assert_eq!(state.pid().ok(), Some(7));
        }
    }

    #[test]
    fn what_other_runtimes_leave_out_or_add_is_no_error() {
        let state = of(
            r#"{"ociVersion":"1.0","id":"c","pid":0,"root":"r","bundle":"/b","status":"stopped","annotations":null}"#,
        );
        let state = state.unwrap();
        assert!(state.pid().is_err());
        assert_eq!(state.annotation("a"), None);
        let state =
            of(r#"{"id":"c","status":"stopped","bundle":"/b","annotations":{"a":"b","c":" "}}"#).unwrap();
        assert_eq!((state.annotation("a"), state.annotation("c")), (Some("b"), None));
    }

    #[test]
    fn what_is_no_state_is_named() {
        for text in
            ["", "[]", r#"{"id":"c","status":"stopped"}"#, r#"{"id":"c","status":"stopped","bundle":"b"}"#]
        {
            let error = of(text).unwrap_err();
            assert!(error.starts_with("reading the container's state from standard input: "), "{error}");
        }
    }
}
