//! `state.json`: what keg last did with a container, and all that later commands need of it. Later
//! commands read neither config.json nor the flags that `create` was given.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::runtime::Hook;
use serde::{Deserialize, Serialize};

use crate::types::{CgroupRecord, ContainerId, ProcessRef, ResctrlRecord};

/// What is kept about one container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    #[serde(with = "container_id")]
    pub id: ContainerId,
    /// How far keg has brought it.
    pub stage: Stage,
    /// The bundle's absolute path.
    pub bundle: PathBuf,
    /// The root directory's absolute path.
    pub rootfs: PathBuf,
    /// When `create` began, as [`crate::types::Timestamp`] shows it.
    pub created: String,
    /// The user id of whoever ran `create`.
    pub owner: u32,
    /// The version of the specification that config.json names.
    pub oci_version: String,
    /// As config.json has them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// `/proc/sys/kernel/random/boot_id` of the boot that the container belongs to.
    pub boot_id: String,
    /// The keg that made it.
    pub runtime_version: String,
    /// Its cgroups; absent until they are about to be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupRecord>,
    /// For a container without a mount namespace of its own: the mount that was on top at the root directory before keg attached the
    /// container's there. `delete` detaches what is on top now, if it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covered_mount: Option<u64>,
    /// Its resctrl groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl: Option<ResctrlRecord>,
    /// Whether it has a session keyring, `_ses.ID`.
    #[serde(default)]
    pub keyring: bool,
    /// The hooks that are still to run.
    #[serde(default)]
    pub hooks: Hooks,
}

/// How far keg has brought a container. What became of it since, only the kernel knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "stage")]
pub enum Stage {
    /// `create` began. The container's lock is held for as long as it is at work.
    Creating,
    /// Init waits for `start`.
    Created {
        /// The container's first process.
        #[serde(with = "process_ref")]
        init: ProcessRef,
    },
    /// `start` happened.
    Running {
        /// The container's first process.
        #[serde(with = "process_ref")]
        init: ProcessRef,
    },
    /// All of it is gone but this record: its poststop hooks run. Without anybody who has the lock they were interrupted, and are to
    /// run again.
    Gone,
    /// There is a directory of that name, but no record that could be read: keg was killed before it
    /// wrote one, or the host lost power. Never written.
    #[serde(skip)]
    Lost,
}

/// Hooks that run after `create` is done, as config.json has them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hooks {
    /// After the program started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// After the container is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
}

impl Record {
    /// Reads `state.json`. `None` where this is no record of `id`.
    pub fn parse(id: &ContainerId, bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|record: &Self| record.id == *id)
    }

    /// What stands for a record that could not be read.
    pub fn lost(id: ContainerId) -> Self {
        Self {
            id,
            stage: Stage::Lost,
            bundle: PathBuf::new(),
            rootfs: PathBuf::new(),
            created: String::new(),
            owner: 0,
            oci_version: String::new(),
            annotations: BTreeMap::new(),
            boot_id: String::new(),
            runtime_version: String::new(),
            cgroup: None,
            covered_mount: None,
            resctrl: None,
            keyring: false,
            hooks: Hooks::default(),
        }
    }
}

/// A container's name as a JSON string, checked again when it is read.
mod container_id {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::types::ContainerId;

    pub fn serialize<S: Serializer>(id: &ContainerId, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(id.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ContainerId, D::Error> {
        ContainerId::parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// A process as `[pid, start time]`.
mod process_ref {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::types::{Pid, ProcessRef};

    pub fn serialize<S: Serializer>(process: &ProcessRef, to: S) -> Result<S::Ok, S::Error> {
        (process.pid.0, process.start_time).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ProcessRef, D::Error> {
        let (pid, start_time) = <(i32, u64)>::deserialize(from)?;
        Ok(ProcessRef { pid: Pid(pid), start_time })
    }
}

#[cfg(test)]
mod tests {
    use super::{Record, Stage};
    use crate::types::{CgroupRecord, ContainerId, Pid, ProcessRef};

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let id = ContainerId::parse("c1").unwrap();
        let init = ProcessRef { pid: Pid(42), start_time: 7 };
        let mut record = Record::lost(id.clone());
        record.annotations.insert("a".into(), "b".into());
        record.cgroup = Some(CgroupRecord::default());
        for stage in [Stage::Creating, Stage::Created { init }, Stage::Running { init }, Stage::Gone] {
            record.stage = stage;
            let bytes = serde_json::to_vec(&record).unwrap();
            assert_eq!(Record::parse(&id, &bytes).as_ref(), Some(&record));
        }
    }

    #[test]
    fn what_is_no_record_of_this_container_is_none() {
        let id = ContainerId::parse("c1").unwrap();
        let mut other = Record::lost(ContainerId::parse("c2").unwrap());
        other.stage = Stage::Creating;
        let other = serde_json::to_string(&other).unwrap();
        for text in ["", "\0\0\0\0", "{}", "{\"id\":\"c1\"", "[]", &other] {
            assert_eq!(Record::parse(&id, text.as_bytes()), None, "{text}");
        }
    }
}
