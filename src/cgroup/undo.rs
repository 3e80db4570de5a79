//! What files of limits said before they were written, to be put back after a failure.

use std::path::{Path, PathBuf};

use super::walk::unless_gone;
use crate::sys::{self, cgroup as files};

/// The longest list, one line for each device.
const LIST_LIMIT: usize = 1 << 20;

/// One file as it was.
#[derive(Debug)]
pub(super) struct Before {
    file: PathBuf,
    text: String,
}

impl Before {
    /// `None`: it cannot be read.
    pub(super) fn look(file: PathBuf) -> Option<Self> {
        let text = unless_gone(files::read_to_end(&file, LIST_LIMIT)).ok()??;
        Some(Self { file, text })
    }

    /// Writes what differs by now.
    pub(super) fn put_back(&self) -> sys::Result<()> {
        let Some(now) = unless_gone(files::read_to_end(&self.file, LIST_LIMIT))? else { return Ok(()) };
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        difference(&name, &self.text, &now).iter().try_for_each(|value| files::write(&self.file, value))
    }
}

/// Puts all back, the last first; what bounds each other goes back when the other is. The user is told of the failure before.
pub(super) fn restore(mut all: Vec<Before>) {
    all.reverse();
    for _ in 0..2 {
        all.retain(|one| one.put_back().is_err());
    }
}

/// The files of `directory` by these names, as they are now.
pub(super) fn look<'a>(directory: &Path, names: impl IntoIterator<Item = &'a str>) -> Vec<Before> {
    names.into_iter().filter_map(|name| Before::look(directory.join(name))).collect()
}

/// What is to be written to a file, one value after the other, so that it says `before` again.
fn difference(name: &str, before: &str, now: &str) -> Vec<String> {
    if before == now {
        return Vec::new();
    }
    if !is_list(name) {
        return vec![format!("{}\n", before.trim_end_matches('\n'))];
    }
    let key = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let known: Vec<_> = before.lines().map(key).collect();
    let added = now.lines().filter(|line| !known.contains(&key(line))).map(|line| default(name, line));
    let changed = before.lines().filter(|line| !now.lines().any(|other| other == *line));
    let changed = changed.filter_map(|line| match line.split_once(' ') {
        Some((key, value)) if name == "memory.oom_control" => {
            (key == "oom_kill_disable").then(|| value.to_owned())
        }
        _ => Some(line.to_owned()),
    });
    added.chain(changed).collect()
}

/// Whether the file has a line for each device or the like, and takes one at a time.
fn is_list(name: &str) -> bool {
    const OTHERS: [&str; 4] = ["memory.oom_control", "misc.max", "net_prio.ifpriomap", "rdma.max"];
    name.starts_with("io.") || name.ends_with("_device") || OTHERS.contains(&name)
}

/// What takes a line away.
fn default(name: &str, line: &str) -> String {
    let (key, value) = line.split_once(' ').unwrap_or((line, ""));
    let words = value.split(' ').map(|word| match word.split_once('=') {
        Some((word, _)) if name == "io.latency" => format!("{word}=0"),
        Some((word, _)) => format!("{word}=max"),
        None if name.starts_with("io.") => "default".to_owned(),
        None => "0".to_owned(),
    });
    format!("{key} {}", words.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn only_what_differs_is_written() {
        let table: &[(&str, &str, &str, &[&str])] = &[
            ("pids.max", "5\n", "5\n", &[]),
            ("pids.max", "5\n", "7\n", &["5\n"]),
            ("cpuset.cpus", "\n", "0-1\n", &["\n"]),
            ("cpu.max", "max 100000\n", "5 100000\n", &["max 100000\n"]),
            ("blkio.throttle.read_bps_device", "8:0 5\n", "8:0 7\n9:0 1\n", &["9:0 0", "8:0 5"]),
            ("io.max", "", "8:0 rbps=5 wbps=max\n", &["8:0 rbps=max wbps=max"]),
            ("io.max", "8:0 rbps=7 wbps=max\n", "", &["8:0 rbps=7 wbps=max"]),
            ("io.bfq.weight", "default 100\n", "default 7\n8:0 9\n", &["8:0 default", "default 100"]),
            ("io.latency", "", "8:0 target=9\n", &["8:0 target=0"]),
            ("net_prio.ifpriomap", "lo 0\neth0 3\n", "lo 0\neth0 4\n", &["eth0 3"]),
            (
                "memory.oom_control",
                "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
                "oom_kill_disable 1\nunder_oom 0\noom_kill 2\n",
                &["0"],
            ),
        ];
        for (name, before, now, expected) in table {
            assert_eq!(difference(name, before, now), *expected, "{name}: {before:?} {now:?}");
        }
    }
}
