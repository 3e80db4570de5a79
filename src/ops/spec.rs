//! `spec`: a config.json to start from, for a shell in a root file system below the bundle.

use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::Result;
use super::options::SpecOptions;
use crate::sys::fd::{self, Resolve};
use crate::sys::{self, Errno, credentials};

const DEFAULT: &str = include_str!("spec.json");

/// For a user who is not root: a user namespace with this one user in it, the host's network and
/// therefore its `/sys`, no group for terminals, and no rules for devices.
const ROOTLESS: &str = include_str!("spec-rootless.json");

/// Why there is no new config.json.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is there is never overwritten.
    #[error("File config.json exists. Remove it first")]
    Exists,
    /// The bundle does not take it.
    #[error("cannot write config.json in {bundle:?}")]
    Unwritable {
        /// Where it was to go.
        bundle: PathBuf,
        /// Why.
        source: sys::Error,
    },
}

/// Writes the bundle's config.json.
pub fn spec(options: &SpecOptions) -> Result<()> {
    let json = match options.rootless {
        true => for_user(credentials::effective_uid().0, credentials::effective_gid().0),
        false => DEFAULT.to_owned(),
    };
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    let written = fd::open_dir(&options.bundle)
        .and_then(|bundle| fd::open(bundle, Path::new("config.json"), Resolve::Beneath, flags, 0o666))
        .and_then(|file| fd::write_all(file, json.as_bytes()));
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.errno == Errno::EEXIST => Err(Error::Exists.into()),
        Err(source) => Err(Error::Unwritable { bundle: options.bundle.clone(), source }.into()),
    }
}

fn for_user(uid: u32, gid: u32) -> String {
    ROOTLESS.replace("\"@uid\"", &uid.to_string()).replace("\"@gid\"", &gid.to_string())
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Spec;

    use super::{DEFAULT, for_user};

    #[test]
    fn both_documents_are_configurations() {
        let spec: Spec = serde_json::from_str(DEFAULT).unwrap();
        assert_eq!(spec.linux().as_ref().unwrap().namespaces().as_ref().unwrap().len(), 6);
        let spec: Spec = serde_json::from_str(&for_user(1000, 100)).unwrap();
        let linux = spec.linux().as_ref().unwrap();
        assert_eq!(linux.uid_mappings().as_ref().unwrap()[0].host_id(), 1000);
        assert_eq!(linux.gid_mappings().as_ref().unwrap()[0].host_id(), 100);
        assert!(linux.resources().is_none());
    }
}
