//! Plugins that outlived a hook which was killed: they must not go on adding to what is about to be removed.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgid, getpgrp};

use crate::error::{Error, Result};
use crate::{process, sys};

/// How long a killed process may take to end.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often nobody must be found after the first time, and how long apart.
const LOOKS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(10);

/// The variable of a plugin's environment that says for which attachment it works. Its children have it too.
pub const VARIABLE: &str = "KEG_HOOK_CNI";

/// How long what a killed hook has left may take to finish.
const GRACE: Duration = Duration::from_secs(5);

/// Lets all that work for this attachment finish, for a while: what a plugin has removed only half of, the next one may not find.
pub fn outlast(token: &str) {
    let since = Instant::now();
    let mut unseen = 0;
    while unseen <= LOOKS && since.elapsed() < GRACE {
        unseen = if find(token).is_empty() { unseen + 1 } else { 0 };
        if unseen <= LOOKS {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Kills all that work for this attachment, and waits for their end.
pub fn end(token: &str) -> Result<()> {
    let mut unseen = 0;
    // Whoever is killed may have started another one just before.
    for _ in 0..100 {
        let found = find(token);
        unseen = if found.is_empty() { unseen + 1 } else { 0 };
        // A process that is becoming another program has no environment for a moment.
        if unseen > LOOKS {
            return Ok(());
        }
        for pid in &found {
            kill(*pid, token);
        }
        std::thread::sleep(PAUSE);
    }
    Err(Error::Wrong(format!("a plugin is still at work ({VARIABLE}={token}) and cannot be ended")))
}

/// Kills the process with its group, whose members are a plugin and its children, and waits for its end.
fn kill(pid: i32, token: &str) {
    // Errors: it has ended meanwhile.
    let Ok(pidfd) = sys::pidfd_open(pid) else { return };
    let group = getpgid(Some(Pid::from_raw(pid)));
    if !is_one(pid, token) {
        return;
    }
    if let Ok(group) = group
        && group != getpgrp()
        && is_one(group.as_raw(), token)
    {
        killpg(group, Signal::SIGKILL).unwrap_or(());
    }
    if sys::pidfd_kill(&pidfd).is_ok() {
        process::wait_for_end(&pidfd, PATIENCE).unwrap_or(true);
    }
}

fn find(token: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id() as i32 && is_one(*pid, token)).collect()
}

fn is_one(pid: i32, token: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    has(&environment, token)
}

fn has(environment: &[u8], token: &str) -> bool {
    let wanted = format!("{VARIABLE}={token}");
    environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::{VARIABLE, end, has};

    #[test]
    fn environments_are_compared_whole() {
        let environment = b"PATH=/bin\0KEG_HOOK_CNI=c1.eth0.7.8\0A=b\0";
        assert!(has(environment, "c1.eth0.7.8"));
        assert!(!has(environment, "c1.eth0.7") && !has(environment, "1.eth0.7.8") && !has(b"", ""));
    }

    #[test]
    fn a_plugin_and_its_children_are_ended_and_nobody_else() {
        let token = |of: &str| format!("{of}.{}", std::process::id());
        let start = |of: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", "sleep 1000 & wait"]).env(VARIABLE, token(of)).spawn().unwrap()
        };
        let (mut one, mut other) = (start("one"), start("other"));
        end(&token("one")).unwrap();
        assert_eq!(one.wait().unwrap().signal(), Some(9));
        assert!(other.try_wait().unwrap().is_none());
        end(&token("other")).unwrap();
        assert_eq!(other.wait().unwrap().signal(), Some(9));
    }
}
