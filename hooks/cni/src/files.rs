//! The files of `/etc` that a container gets: made in the state directory, mounted into the container.

use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::bundle::Bundle;
use crate::error::{Doing, Result};
use crate::store::{Locked, Store};
use crate::{hosts, mount, resolv};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum File {
    /// The containers of the same networks
    Hosts,
    /// The container's host name, where it has one
    Hostname,
    /// The networks' name servers, else the host's
    #[value(name = "resolv.conf")]
    ResolvConf,
    /// Nothing
    None,
}

impl File {
    fn name(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Hostname => "hostname",
            Self::ResolvConf => "resolv.conf",
            Self::None => "",
        }
    }
}

/// Those of the list that this container gets: not what its configuration mounts itself.
fn wanted(list: &[File], bundle: &Bundle) -> Vec<File> {
    let has = |file: File| file != File::Hostname || bundle.hostname.is_some();
    let is_free = |file: File| !bundle.mounts(&Path::new("/etc").join(file.name()));
    let all = list.iter().copied().filter(|file| *file != File::None);
    all.filter(|file| has(*file) && is_free(*file)).collect()
}

/// Makes the files and mounts them. Names in the files of other containers are written in any case.
pub fn put(list: &[File], bundle: &Bundle, pid: i32, store: &Store, container: &Locked) -> Result<()> {
    let wanted = wanted(list, bundle);
    let attachments = container.attachments()?;
    let results: Vec<_> = attachments.iter().filter_map(|attachment| attachment.result.as_ref()).collect();
    let mut mounts: Vec<(PathBuf, &'static str)> = Vec::new();
    for file in &wanted {
        let path = container.dir().join(file.name());
        let is_mounted = path.exists();
        let text = match file {
            File::ResolvConf => resolv::text(&results),
            File::Hostname => bundle.hostname.iter().map(|name| format!("{name}\n")).collect(),
            _ => String::new(),
        };
        if !is_mounted {
            fs::write(&path, text).doing("writing", &path)?;
            mounts.push((path, file.name()));
        }
    }
    hosts::write_all(store)?;
    match mounts.is_empty() {
        true => Ok(()),
        false => mount::attach(&mounts, pid, &bundle.root),
    }
}

#[cfg(test)]
mod tests {
    use super::{File, wanted};
    use crate::bundle::Bundle;

    fn bundle(json: &str) -> Bundle {
        let dir =
            std::env::temp_dir().join(format!("keg-hook-cni-files-{}-{}", std::process::id(), json.len()));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("config.json"), json).unwrap();
        let bundle = Bundle::read(&dir).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        bundle
    }

    #[test]
    fn what_the_configuration_mounts_is_its_own() {
        let all = [File::Hosts, File::Hostname, File::ResolvConf, File::None];
        assert_eq!(wanted(&all, &bundle(r#"{"hostname": "h"}"#)), all[..3]);
        assert_eq!(wanted(&all, &bundle("{}")), [File::Hosts, File::ResolvConf]);
        let own = r#"{"hostname": "h", "mounts": [{"destination": "/etc/hosts"}]}"#;
        assert_eq!(wanted(&all, &bundle(own)), [File::Hostname, File::ResolvConf]);
        assert_eq!(wanted(&[File::None], &bundle(r#"{"hostname": "hh"}"#)), []);
    }
}
