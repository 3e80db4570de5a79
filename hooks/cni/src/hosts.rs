//! `/etc/hosts` of every container: the containers of its networks, by id, host name and aliases.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::address;
use crate::attachment::{Attachment, Stage};
use crate::error::{Doing, Result};
use crate::store::Store;

const LOCAL: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// Whether a text may stand as a name in somebody else's file.
pub fn is_name(text: &str) -> bool {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    first
        && text.len() <= 253
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        && text != "localhost"
}

/// Writes the files of all containers anew, in place: they are mounted in the containers.
pub fn write_all(store: &Store) -> Result<()> {
    let _alone = store.names()?;
    let mut all = store.attachments()?;
    all.retain(|(_, attachment)| attachment.stage == Stage::Added);
    let attachments: Vec<_> = all.iter().map(|(_, attachment)| attachment).collect();
    let mut written = BTreeSet::new();
    for (dir, attachment) in &all {
        if written.insert(dir) {
            replace(&dir.join("hosts"), &text(&attachment.container, &attachments))?;
        }
    }
    Ok(())
}

/// A container that wants no such file has none, and one that was detached meanwhile has none any more.
fn replace(path: &Path, text: &str) -> Result<()> {
    match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        file => {
            // Written over, then cut: nobody finds it empty.
            let file = file.doing("opening", path)?;
            file.write_all_at(text.as_bytes(), 0)
                .and_then(|()| file.set_len(text.len() as u64))
                .doing("writing", path)
        }
    }
}

/// The file of one container: itself, then those of its networks that were there before, then those that came later.
fn text(container: &str, all: &[&Attachment]) -> String {
    let own: Vec<_> = all.iter().filter(|one| one.container == container).collect();
    let networks: BTreeSet<_> = own.iter().map(|one| one.network.name.as_str()).collect();
    let others =
        all.iter().filter(|one| one.container != container && networks.contains(one.network.name.as_str()));
    let seen: Vec<_> = own.into_iter().chain(others).collect();
    // An id is nobody else's name; of two that want the same other name the first has it.
    let ids: BTreeSet<_> = seen.iter().map(|one| one.id.as_str()).collect();
    let mut owners: Vec<(&str, &str)> = Vec::new();
    let mut text = LOCAL.to_owned();
    for one in seen {
        let mut names: Vec<&str> = Vec::new();
        let wanted = std::iter::once(&one.id).chain(&one.names).map(String::as_str);
        for name in wanted.filter(|name| is_name(name)) {
            let owner = owners.iter().find(|(owned, _)| *owned == name).map(|(_, owner)| *owner);
            let free = owner.is_none_or(|owner| owner == one.id) && (name == one.id || !ids.contains(name));
            if free && !names.contains(&name) {
                owners.push((name, &one.id));
                names.push(name);
            }
        }
        for address in one.result.iter().flat_map(address::of).filter(|_| !names.is_empty()) {
            // To a String, which always succeeds.
            writeln!(text, "{address}\t{}", names.join(" ")).unwrap_or(());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{LOCAL, is_name, text};
    use crate::attachment::Attachment;

    fn attachment(id: &str, network: &str, address: &str, names: &[&str]) -> Attachment {
        serde_json::from_value(json!({
            "stage": "added", "id": id, "container": id, "bundle": "/b", "init": {"pid": 1, "start": 1}, "interface": "eth0",
            "made": 1, "network": {"name": network, "versions": ["1.0.0"], "plugins": []}, "plugin_dirs": [], "arguments": {},
            "args": "", "names": names, "result": {"ips": [{"address": address}]},
        }))
        .unwrap()
    }

    fn of(container: &str, all: &[Attachment]) -> String {
        text(container, &all.iter().collect::<Vec<_>>()).replacen(LOCAL, "", 1)
    }

    #[test]
    fn containers_of_one_network_know_each_other() {
        let all = [
            attachment("a", "n", "10.0.0.2/24", &["db"]),
            attachment("b", "n", "10.0.0.3/24", &[]),
            attachment("c", "other", "10.1.0.2/24", &[]),
            attachment("b", "other", "10.1.0.3/24", &[]),
        ];
        assert_eq!(of("a", &all), "10.0.0.2\ta db\n10.0.0.3\tb\n");
        assert_eq!(of("b", &all), "10.0.0.3\tb\n10.1.0.3\tb\n10.0.0.2\ta db\n10.1.0.2\tc\n");
        assert_eq!(of("c", &all), "10.1.0.2\tc\n10.1.0.3\tb\n");
    }

    #[test]
    fn nobody_takes_anothers_name() {
        let all = [
            attachment("a", "n", "10.0.0.2/24", &["keg", "db"]),
            attachment("thief", "n", "10.0.0.3/24", &["db", "a", "late", "keg"]),
            attachment("late", "n", "10.0.0.4/24", &["keg"]),
        ];
        assert_eq!(of("a", &all), "10.0.0.2\ta keg db\n10.0.0.3\tthief\n10.0.0.4\tlate\n");
        // Its own host name is its own to itself.
        assert_eq!(of("late", &all), "10.0.0.4\tlate keg\n10.0.0.2\ta db\n10.0.0.3\tthief\n");
    }

    #[test]
    fn no_name_brings_a_line_of_its_own() {
        let all =
            [attachment("a", "n", "10.0.0.2/24", &["x\n10.0.0.9 bank", "y z", "#", "localhost", "", "ok"])];
        assert_eq!(of("a", &all), "10.0.0.2\ta ok\n");
        for name in ["-a", ".a", "a/b", "ä", &"x".repeat(254)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
