//! `state`: what a container is now, as the specification's state document and a little more.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::{Place, Result, SPEC_VERSION};
use crate::state::{Record, State, Store};
use crate::sys::proc::Proc;
use crate::types::ContainerId;

/// What callers see of a container (runtime-spec, runtime.md, "State"), in the order they see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerState {
    /// The version of the specification that the container was made by.
    pub oci_version: String,
    /// Its name.
    pub id: String,
    /// Its first process as keg sees it; 0 if there is none.
    pub pid: i32,
    /// `creating`, `created`, `running`, `paused` or `stopped`.
    pub status: String,
    /// Its bundle.
    pub bundle: PathBuf,
    /// Its root directory.
    pub rootfs: PathBuf,
    /// When it was created (RFC 3339).
    pub created: String,
    /// As its config.json has them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Who created it: the user's name, or the number of one that has none.
    pub owner: String,
}

/// Looks at one container, without waiting for a command that may be at work on it.
pub fn state(place: &Place, id: &ContainerId) -> Result<ContainerState> {
    let store = Store::open(&place.root)?;
    let record = store.load(id)?;
    let state = store.state(&record, &Proc::host()?)?;
    Ok(describe(record, state, &mut Owners::default()))
}

/// What a record and the state it is in look like from outside.
pub(super) fn describe(record: Record, state: State, owners: &mut Owners) -> ContainerState {
    let oci_version = match record.oci_version.is_empty() {
        true => SPEC_VERSION.to_owned(),
        false => record.oci_version,
    };
    ContainerState {
        oci_version,
        id: record.id.as_str().to_owned(),
        pid: state.init().map_or(0, |init| init.pid.0),
        status: state.status().to_string(),
        bundle: record.bundle,
        rootfs: record.rootfs,
        created: record.created,
        annotations: record.annotations,
        owner: owners.name(record.owner),
    }
}

/// The names of users, from a file that is read when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Owners {
    passwd: Option<String>,
}

impl Owners {
    fn name(&mut self, uid: u32) -> String {
        if uid == 0 {
            return "root".to_owned();
        }
        let passwd =
            self.passwd.get_or_insert_with(|| std::fs::read_to_string("/etc/passwd").unwrap_or_default());
        user_name(passwd, uid).map_or_else(|| uid.to_string(), str::to_owned)
    }
}

/// The name of a user in the text of passwd(5).
fn user_name(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::user_name;

    #[test]
    fn users_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\n# no\na:x:7:7::/:/bin/sh\nb:x:7:7::/:\n";
        for (uid, name) in [(0, Some("root")), (7, Some("a")), (8, None)] {
            assert_eq!(user_name(passwd, uid), name, "{uid}");
        }
    }
}
