//! Whether the kernel killed something in a cgroup for want of memory.

use std::path::{Path, PathBuf};

use crate::sys::cgroup as files;
use crate::types::{CgroupDirectory, CgroupRecord};

/// Those of version 2 and of version 1.
const FILES: [&str; 2] = ["memory.events", "memory.oom_control"];

/// The kernel's counts for a container, begun before it could have been killed.
///
/// They are `oom_kill` of memory.events (version 2) or memory.oom_control (version 1, Linux 4.13). systemd removes a scope at once when its
/// last process is gone, so there the slice counts, which includes what lies below it.
#[derive(Debug)]
pub struct OomKills {
    files: Vec<PathBuf>,
    before: u64,
}

impl OomKills {
    /// From here on. A cgroup that was made for the container has counted nothing before it.
    pub fn watch(record: &CgroupRecord) -> Self {
        let has_memory = |name: &str| name.is_empty() || name.split(',').any(|one| one == "memory");
        let directories = record.directories.iter().filter(|directory| has_memory(&directory.hierarchy));
        if record.unit.is_none() {
            let both = |one: &CgroupDirectory| FILES.map(|file| one.path.join(file));
            let found: Vec<_> = directories.clone().filter(|one| one.made.is_none()).flat_map(both).collect();
            return Self { files: directories.flat_map(both).collect(), before: total(&found) };
        }
        let slices = directories.filter_map(|one| one.made.as_deref().and_then(Path::parent));
        let files: Vec<_> = slices.map(|slice| slice.join("memory.events")).collect();
        let before = total(&files);
        Self { files, before }
    }

    /// Whether there was one. A file that cannot be read says no.
    pub fn any(&self) -> bool {
        total(&self.files) > self.before
    }
}

fn total(files: &[PathBuf]) -> u64 {
    files.iter().filter_map(|file| files::read(file).ok()).map(|text| kills(&text)).sum()
}

fn kills(text: &str) -> u64 {
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::kills;

    #[test]
    fn kills_are_counted_kills() {
        assert_eq!(kills("low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\noom_group_kill 7\n"), 1);
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"), 2);
        assert_eq!(kills("oom_kill_disable 1\nunder_oom 1\noom_kill 0\n"), 0);
        assert_eq!(kills(""), 0);
    }
}
