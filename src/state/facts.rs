//! Asks the kernel for the facts that make a state, in as few calls as the answer takes.

use std::path::Path;

use nix::fcntl::OFlag;

use super::locked::Locked;
use super::observe::{Facts, State, observe};
use super::record::{Record, Stage};
use super::store::{Error, Result, Store};
use crate::sys::fd::{self, Resolve};
use crate::sys::proc::Proc;
use crate::sys::{self, Errno};
use crate::types::{CgroupRecord, ProcessRef};

impl Store {
    /// The state of a container that another command may be changing.
    pub fn state(&self, record: &Record, proc: &Proc) -> Result<State> {
        if !matches!(record.stage, Stage::Lost | Stage::Creating) {
            return look(record, proc, false);
        }
        if self.is_locked(&record.id)? {
            return look(record, proc, true);
        }
        // Whoever had the lock when the record was read may have brought the container further before letting go.
        look(&self.load(&record.id)?, proc, false)
    }
}

impl Locked {
    /// The state of a container that is ours.
    pub fn state(&self, record: &Record, proc: &Proc) -> Result<State> {
        look(record, proc, false)
    }
}

/// The name of this boot, for [`Record::boot_id`].
pub fn boot_id(proc: &Proc) -> sys::Result<String> {
    let bytes = proc.read(Path::new("sys/kernel/random/boot_id"))?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// A record without what has ended with the boot that it is of: what has the names of its cgroups and mounts since is somebody else's.
pub fn of_this_boot(record: Record, proc: &Proc) -> sys::Result<Record> {
    match record.boot_id == boot_id(proc)? {
        true => Ok(record),
        false => Ok(Record { cgroup: None, covered_mount: None, resctrl: None, ..record }),
    }
}

fn look(record: &Record, proc: &Proc, lock_held: bool) -> Result<State> {
    let facts = gather(record, proc, lock_held).map_err(|source| Error::Container {
        doing: "look at",
        id: record.id.clone(),
        source,
    })?;
    Ok(observe(record, &facts))
}

/// What does not change the answer is not asked for: a dead process needs no boot id.
fn gather(record: &Record, proc: &Proc, lock_held: bool) -> sys::Result<Facts> {
    let mut facts = Facts { lock_held, ..Facts::default() };
    match record.stage {
        Stage::Lost | Stage::Creating | Stage::Gone => return Ok(facts),
        Stage::Created { init } | Stage::Running { init } => facts.init_alive = is_alive(proc, init)?,
    }
    if !facts.init_alive {
        return Ok(facts);
    }
    facts.boot_id_matches = boot_id(proc)? == record.boot_id;
    if facts.boot_id_matches {
        facts.frozen = record.cgroup.as_ref().map_or(Ok(false), is_frozen)?;
    }
    Ok(facts)
}

/// A process that has ended but was not waited for is dead.
fn is_alive(proc: &Proc, process: ProcessRef) -> sys::Result<bool> {
    match proc.process(process.pid) {
        Ok((now, state)) => Ok(now == process && !matches!(state, 'Z' | 'X')),
        Err(error) if error.errno == Errno::ESRCH => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the container's own cgroup was told to freeze, in either version: beside version 1, that of
/// version 2 may be the one. A cgroup that is gone is not frozen.
fn is_frozen(cgroup: &CgroupRecord) -> sys::Result<bool> {
    for directory in &cgroup.directories {
        let file = match directory.hierarchy.as_str() {
            "" => "cgroup.freeze",
            "freezer" => "freezer.state",
            _ => continue,
        };
        let text = fd::open(fd::cwd(), &directory.path.join(file), Resolve::Host, OFlag::O_RDONLY, 0)
            .and_then(|file| fd::read_all(file, 4096));
        match text {
            Ok(text) if says_frozen(&text) => return Ok(true),
            Err(error) if !matches!(error.errno, Errno::ENOENT | Errno::ENODEV) => return Err(error),
            _ => {}
        }
    }
    Ok(false)
}

/// Reads `freezer.state` (version 1) or `cgroup.freeze` (version 2).
fn says_frozen(text: &[u8]) -> bool {
    matches!(text.trim_ascii(), b"FROZEN" | b"FREEZING" | b"1")
}

#[cfg(test)]
mod tests {
    use super::{Proc, Record, Stage, boot_id, look, says_frozen};
    use crate::state::Status;
    use crate::types::{ContainerId, Pid, ProcessRef};

    #[test]
    fn a_process_is_itself_only_with_its_start_time_and_boot() {
        let proc = Proc::host().unwrap();
        let (me, _) = proc.process(Pid(std::process::id() as i32)).unwrap();
        let mut record = Record::lost(ContainerId::parse("c").unwrap());
        record.stage = Stage::Running { init: me };
        record.boot_id = boot_id(&proc).unwrap();
        let status = |record: &Record| look(record, &proc, false).unwrap().status();
        assert_eq!(status(&record), Status::Running);

        let later = ProcessRef { start_time: me.start_time + 1, ..me };
        let reused = Record { stage: Stage::Running { init: later }, ..record.clone() };
        assert_eq!(status(&reused), Status::Stopped);
        let rebooted = Record { boot_id: "another".into(), ..record.clone() };
        assert_eq!(status(&rebooted), Status::Stopped);
    }

    #[test]
    fn a_zombie_is_dead() {
        let proc = Proc::host().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid(child.id() as i32);
        let init = loop {
            let (process, state) = proc.process(pid).unwrap();
            if state == 'Z' {
                break process;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        };
        let mut record = Record::lost(ContainerId::parse("c").unwrap());
        record.stage = Stage::Created { init };
        record.boot_id = boot_id(&proc).unwrap();
        assert_eq!(look(&record, &proc, false).unwrap().status(), Status::Stopped);
        child.wait().unwrap();
        assert_eq!(look(&record, &proc, false).unwrap().status(), Status::Stopped);
    }

    #[test]
    fn freezer_files_of_both_versions() {
        for (text, frozen) in [
            ("THAWED\n", false),
            ("FREEZING\n", true),
            ("FROZEN\n", true),
            ("0\n", false),
            ("1\n", true),
            ("", false),
        ] {
            assert_eq!(says_frozen(text.as_bytes()), frozen, "{text:?}");
        }
    }
}
