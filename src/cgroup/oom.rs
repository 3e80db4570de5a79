//! Whether the kernel killed something in a cgroup for want of memory.

use crate::sys::cgroup as files;
use crate::types::CgroupRecord;

/// True if `oom_kill` of memory.events (version 2) or memory.oom_control (version 1, Linux 4.13) counts any. A file that cannot be
/// read says no.
pub fn was_killed(record: &CgroupRecord) -> bool {
    let has_memory = |name: &str| name.is_empty() || name.split(',').any(|controller| controller == "memory");
    let directories = record.directories.iter().filter(|directory| has_memory(&directory.hierarchy));
    let files = directories
        .flat_map(|directory| ["memory.events", "memory.oom_control"].map(|file| directory.path.join(file)));
    files.filter_map(|file| files::read(&file).ok()).any(|text| counts_kill(&text))
}

fn counts_kill(text: &str) -> bool {
    text.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::counts_kill;

    #[test]
    fn kills_are_counted_kills() {
        assert!(counts_kill("low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n"));
        assert!(counts_kill("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"));
        assert!(!counts_kill("oom_kill_disable 1\nunder_oom 1\noom_kill 0\n"));
        assert!(!counts_kill(""));
    }
}
