//! Plugins that outlived a hook which was killed: they must not go on adding to what is about to be removed.

use std::fs;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::{process, sys};

/// How long a killed process may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kills what works on this interface of the container, with all its children, and waits for their end. Who it is follows from the
/// environment that plugins are given, and hand down.
pub fn end(container: &str, interface: &str) -> Result<()> {
    // Whoever is killed may have started another one just before.
    for _ in 0..100 {
        let found = find(container, interface);
        if found.is_empty() {
            return Ok(());
        }
        for pid in found {
            // Errors: it has ended meanwhile.
            let Ok(pidfd) = sys::pidfd_open(pid) else { continue };
            if is_one(pid, container, interface) && sys::pidfd_kill(&pidfd).is_ok() {
                process::wait_for_end(&pidfd, PATIENCE).unwrap_or(true);
            }
        }
    }
    Err(Error::Wrong(format!(
        "a plugin is still at work on {interface} of container {container} and cannot be ended"
    )))
}

fn find(container: &str, interface: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let others = pids.filter(|pid| *pid != std::process::id() as i32);
    others.filter(|pid| is_one(*pid, container, interface)).collect()
}

fn is_one(pid: i32, container: &str, interface: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    is_environment(&environment, container, interface)
}

fn is_environment(environment: &[u8], container: &str, interface: &str) -> bool {
    let has = |text: String| environment.split(|byte| *byte == 0).any(|entry| entry == text.as_bytes());
    has(format!("CNI_CONTAINERID={container}")) && has(format!("CNI_IFNAME={interface}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::{end, is_environment};

    #[test]
    fn environments_are_compared_whole() {
        let environment = b"PATH=/bin\0CNI_CONTAINERID=c1\0CNI_IFNAME=eth0\0";
        assert!(is_environment(environment, "c1", "eth0"));
        assert!(!is_environment(environment, "c", "eth0"));
        assert!(!is_environment(environment, "c1", "eth1"));
        assert!(!is_environment(b"", "", ""));
    }

    #[test]
    fn a_plugin_and_its_children_are_ended_and_nobody_else() {
        let id = format!("straggler-{}", std::process::id());
        let start = |interface: &str| {
            let mut command = Command::new("sh");
            command
                .args(["-c", "sleep 1000 & wait"])
                .env("CNI_CONTAINERID", &id)
                .env("CNI_IFNAME", interface);
            command.spawn().unwrap()
        };
        let (mut one, mut other) = (start("eth0"), start("eth1"));
        end(&id, "eth0").unwrap();
        assert_eq!(one.wait().unwrap().signal(), Some(9));
        assert!(other.try_wait().unwrap().is_none());
        end(&id, "eth1").unwrap();
        assert_eq!(other.wait().unwrap().signal(), Some(9));
    }
}
