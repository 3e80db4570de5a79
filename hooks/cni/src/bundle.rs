//! What a hook needs of the container's config.json.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{self, Doing, Result};

/// No configuration is larger.
const LIMIT: u64 = 16 << 20;

#[derive(Debug, Deserialize)]
struct Document {
    root: Option<Root>,
    hostname: Option<String>,
    #[serde(default)]
    mounts: Option<Vec<Mount>>,
}

#[derive(Debug, Deserialize)]
struct Root {
    path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Mount {
    destination: PathBuf,
}

/// A bundle's configuration.
#[derive(Debug)]
pub struct Bundle {
    /// The root directory.
    pub root: PathBuf,
    /// The container's host name.
    pub hostname: Option<String>,
    mounts: Vec<PathBuf>,
}

impl Bundle {
    /// Reads `config.json`.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("config.json");
        let mut bytes = Vec::new();
        let file = File::open(&path).doing("opening", &path)?;
        file.take(LIMIT).read_to_end(&mut bytes).doing("reading", &path)?;
        Self::parse(dir, &bytes).map_err(|source| error::json(&path, source))
    }

    fn parse(dir: &Path, bytes: &[u8]) -> std::result::Result<Self, serde_json::Error> {
        let document: Document = serde_json::from_slice(bytes)?;
        let root = document.root.map_or_else(|| PathBuf::from("rootfs"), |root| root.path);
        let mounts = document.mounts.unwrap_or_default();
        Ok(Self {
            root: dir.join(root),
            hostname: document.hostname.filter(|name| !name.is_empty()),
            mounts: mounts.into_iter().map(|mount| mount.destination).collect(),
        })
    }

    /// Whether the configuration itself mounts something there.
    pub fn mounts(&self, destination: &Path) -> bool {
        let normal = |path: &Path| Path::new("/").join(path).components().collect::<PathBuf>();
        self.mounts.iter().any(|mount| normal(mount) == destination)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Bundle;

    #[test]
    fn root_host_name_and_mounts_are_read() {
        let text = br#"{"root": {"path": "r"}, "hostname": "h", "mounts": [{"destination": "/etc//hosts/"}, {"destination": "etc/x"}]}"#;
        let bundle = Bundle::parse(Path::new("/b"), text).unwrap();
        assert_eq!((bundle.root.as_path(), bundle.hostname.as_deref()), (Path::new("/b/r"), Some("h")));
        assert!(bundle.mounts(Path::new("/etc/hosts")) && bundle.mounts(Path::new("/etc/x")));
        assert!(!bundle.mounts(Path::new("/etc")));
        let absolute =
            Bundle::parse(Path::new("/b"), br#"{"root": {"path": "/r"}, "mounts": null}"#).unwrap();
        assert_eq!((absolute.root.as_path(), absolute.hostname), (Path::new("/r"), None));
        assert!(Bundle::parse(Path::new("/b"), b"[]").is_err());
    }
}
