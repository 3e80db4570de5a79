//! `spec`: a config.json to start from, for a shell in a root file system below the bundle.

use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use serde::Serialize;

use super::options::SpecOptions;
use super::{Result, shipped};
use crate::spec::shipped::Additions;
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
    let placed = shipped::place(&options.hooks)?;
    let json = with_hooks(json, &placed.additions)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    let written = fd::open_dir(&options.bundle)
        .and_then(|bundle| fd::open(bundle, Path::new("config.json"), Resolve::Beneath, flags, 0o666))
        .and_then(|file| fd::write_all(file, json.as_bytes()));
    match written {
        Ok(()) => placed.keep(&options.bundle),
        Err(error) if error.errno == Errno::EEXIST => Err(Error::Exists.into()),
        Err(source) => Err(Error::Unwritable { bundle: options.bundle.clone(), source }.into()),
    }
}

fn for_user(uid: u32, gid: u32) -> String {
    ROOTLESS.replace("\"@uid\"", &uid.to_string()).replace("\"@gid\"", &gid.to_string())
}

/// What stands between the list of mounts and what follows it in both documents.
const AFTER_MOUNTS: &str = "\n\t],\n\t\"linux\": ";

/// The document with its order kept, as who edits it expects it.
fn with_hooks(json: String, additions: &Additions) -> Result<String> {
    if additions.is_empty() {
        return Ok(json);
    }
    let mut text = String::new();
    for mount in &additions.mounts {
        text += &format!(",\n\t\t{}", indented(mount, "\n\t\t")?);
    }
    text += &format!("\n\t],\n\t\"hooks\": {},\n\t\"linux\": ", indented(&additions.hooks, "\n\t")?);
    Ok(json.replacen(AFTER_MOUNTS, &text, 1))
}

/// As JSON, each line after `start`.
fn indented(value: &impl Serialize, start: &str) -> Result<String> {
    let mut text = Vec::new();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, tabs))?;
    Ok(String::from_utf8(text)?.replace('\n', start))
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Spec;

    use super::{DEFAULT, for_user, with_hooks};
    use crate::spec::shipped::{Additions, find};

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
    #[test]
    fn hooks_are_added_and_all_else_stays() {
        let mut additions = Additions::default();
        additions.add(find("trace").unwrap(), "/p/keg-hook-trace", Some("/t"));
        for document in [DEFAULT.to_owned(), for_user(1000, 100)] {
            let text = with_hooks(document.clone(), &additions).unwrap();
            let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
            let hooks = value.as_object_mut().unwrap().remove("hooks").unwrap();
            assert_eq!(hooks["poststop"][0]["path"], "/p/keg-hook-trace");
            let mounts = value["mounts"].as_array_mut().unwrap();
            assert_eq!(mounts.pop().unwrap()["destination"], "/dev/.keg/trace");
            assert_eq!(mounts.pop().unwrap()["source"], "/p/keg-hook-trace");
            assert_eq!(value, serde_json::from_str::<serde_json::Value>(&document).unwrap());
            assert!(
                text.contains(
                    "
			{
				\"path\": \"/p/keg-hook-trace\","
                ),
                "{text}"
            );
        }
        assert_eq!(with_hooks(DEFAULT.to_owned(), &Additions::default()).unwrap(), DEFAULT);
    }
}
