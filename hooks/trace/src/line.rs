//! The line: what the hook was given and what it finds around itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::time;

/// Namespaces by the names of their files, as `mnt` → `mnt:[4026531841]`.
pub type Namespaces = BTreeMap<String, String>;

/// What the hook can see of its surroundings.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Its own pid, in its own pid namespace.
    pub pid: u32,
    /// Those that the hook runs in; absent where there is no procfs.
    pub namespaces: Option<Namespaces>,
    /// Those of the process that the state names; absent where it cannot be seen.
    pub container: Option<Namespaces>,
}

impl Surroundings {
    /// Looks around.
    pub fn look(state: &[u8]) -> Self {
        let pid = std::process::id();
        // A procfs of another pid namespace has other processes under these numbers.
        let same = fs::read_link("/proc/self").is_ok_and(|own| own == Path::new(&pid.to_string()));
        let container = serde_json::from_slice::<Value>(state).ok().and_then(|state| state["pid"].as_i64());
        Self {
            pid,
            namespaces: namespaces("self"),
            container: container.filter(|_| same).and_then(|pid| namespaces(&pid.to_string())),
        }
    }
}

fn namespaces(process: &str) -> Option<Namespaces> {
    let mut found = Namespaces::new();
    for entry in fs::read_dir(format!("/proc/{process}/ns")).ok()?.flatten() {
        let link = fs::read_link(entry.path()).ok()?;
        found.insert(entry.file_name().to_string_lossy().into_owned(), link.to_string_lossy().into_owned());
    }
    (!found.is_empty()).then_some(found)
}

/// One line. A state that is no JSON is a string in it.
pub fn line(now: SystemTime, point: &str, state: &[u8], around: &Surroundings) -> String {
    let text = || Value::from(String::from_utf8_lossy(state));
    let state = serde_json::from_slice(state).unwrap_or_else(|_| text());
    let (time, point) = (json!(time::text(now)), json!(point));
    let (own, container) = (json!(around.namespaces), json!(around.container));
    format!(
        "{{\"time\":{time},\"point\":{point},\"pid\":{},\"namespaces\":{own},\"containerNamespaces\":{container},\"state\":{state}}}\n",
        around.pid
    )
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::{Namespaces, Surroundings, line};

    #[test]
    fn a_line_is_one_line_whatever_the_state() {
        let namespaces = Namespaces::from([("mnt".to_owned(), "mnt:[7]".to_owned())]);
        let around = Surroundings { pid: 3, namespaces: Some(namespaces), container: None };
        assert_eq!(
            line(UNIX_EPOCH, "poststop", b"{\n  \"id\": \"a\\nb\",\n \"pid\": 0\n}\n", &around),
            "{\"time\":\"1970-01-01T00:00:00.000000000Z\",\"point\":\"poststop\",\"pid\":3,\"namespaces\":{\"mnt\":\"mnt:[7]\"},\
             \"containerNamespaces\":null,\"state\":{\"id\":\"a\\nb\",\"pid\":0}}\n"
        );
        let odd = line(UNIX_EPOCH, "poststop", b"no\njson\xff", &Surroundings::default());
        assert!(odd.ends_with("\"state\":\"no\\njson\u{fffd}\"}\n"), "{odd}");
    }

    #[test]
    fn namespaces_are_those_of_the_hook_and_of_the_states_process() {
        let own = format!("{{\"pid\": {}}}", std::process::id());
        let around = Surroundings::look(own.as_bytes());
        assert!(around.namespaces.as_ref().is_some_and(|found| found["mnt"].starts_with("mnt:[")));
        assert_eq!(around.container, around.namespaces);
        assert_eq!(Surroundings::look(b"{\"pid\": 0}").container, None);
        assert_eq!(Surroundings::look(b"?").container, None);
    }
}
