//! What the probe saw from inside a container.

use serde_json::Value;

use crate::Finished;

/// The probe's report.
#[derive(Debug, Clone)]
pub struct Inside(pub Value);

impl std::ops::Index<&str> for Inside {
    type Output = Value;

    fn index(&self, field: &str) -> &Value {
        &self.0[field]
    }
}

impl Inside {
    /// The first line of a program's output, as the probe prints it.
    #[track_caller]
    pub fn parse(finished: &Finished) -> Self {
        let text = finished.stdout();
        let line = text.lines().next().unwrap_or_default();
        let report = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {}", finished.describe()));
        Self(report)
    }

    /// A field of /proc/self/status.
    pub fn status(&self, field: &str) -> &str {
        self["status"][field].as_str().unwrap_or_else(|| panic!("no {field} in /proc/self/status"))
    }

    /// One of the capability sets: `Inh`, `Prm`, `Eff`, `Bnd`, `Amb`.
    pub fn caps(&self, set: &str) -> u64 {
        u64::from_str_radix(self.status(&format!("Cap{set}")), 16).unwrap()
    }

    /// The topmost mount at a path.
    pub fn mount_at(&self, target: &str) -> Option<&Value> {
        self["mounts"].as_array().unwrap().iter().rev().find(|m| m["target"] == target)
    }

    /// The topmost mount at a path has this option, of the mount or of its filesystem.
    #[track_caller]
    pub fn has_option(&self, target: &str, option: &str) -> bool {
        let mount = self.mount_at(target).unwrap_or_else(|| panic!("nothing is mounted at {target}"));
        let has = |list: &str| mount[list].as_array().unwrap().iter().any(|o| o == option);
        has("options") || has("super")
    }

    pub fn namespace(&self, kind: &str) -> &str {
        self["namespaces"][kind].as_str().unwrap()
    }

    /// The numbers of the open descriptors, sorted.
    pub fn descriptors(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self["fds"].as_object().unwrap().keys().map(|k| k.parse().unwrap()).collect();
        all.sort_unstable();
        all
    }
}
