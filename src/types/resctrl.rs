//! The resctrl groups of a container, as its record keeps them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the container's tasks are, and what of it keg made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResctrlRecord {
    /// The group's directory.
    pub group: PathBuf,
    /// keg made it, and removes it.
    pub made: bool,
    /// The monitoring group below it, which keg made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<PathBuf>,
}
