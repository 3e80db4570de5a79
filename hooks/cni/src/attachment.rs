//! What is remembered of one interface of one container: all that DEL needs, even when the configuration has changed or is gone.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::network::{Network, Object};
use crate::process::Process;

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// ADD began. A hook that finds this and has the lock knows that the one before was killed.
    Adding,
    /// ADD is done.
    Added,
    /// DEL began.
    Deleting,
}

/// An interface of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// How far it has come.
    pub stage: Stage,
    /// The container's id.
    pub id: String,
    /// The container's id, as plugins know it.
    pub container: String,
    /// The container's bundle: ids are unique for one state directory of one runtime only.
    pub bundle: PathBuf,
    /// The container's first process.
    pub init: Process,
    /// The interface inside.
    pub interface: String,
    /// When it was made, in nanoseconds: attachments are undone in reverse.
    pub made: u64,
    /// The network, as it was configured then.
    pub network: Network,
    /// Where plugins were searched.
    pub plugin_dirs: Vec<PathBuf>,
    /// The arguments of capabilities.
    pub arguments: Object,
    /// `CNI_ARGS`
    pub args: String,
    /// Other names of the container: its host name, and aliases.
    pub names: Vec<String>,
    /// The result of the last plugin that was done with its ADD.
    pub result: Option<Value>,
}

impl Attachment {
    /// What is in the environment of its plugins, and of nobody else's on this machine.
    pub fn token(&self) -> String {
        format!("{}.{}.{}.{}", self.container, self.interface, self.init.start, self.made)
    }
}
