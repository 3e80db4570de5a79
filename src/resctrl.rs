//! `linux.intelRdt`: a group of the resctrl file system (Documentation/filesystems/resctrl.rst), that limits what cache and memory
//! bandwidth its tasks take, and a group below it that measures them. What was made is removed when it is dropped, until it is kept.

use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};

use crate::plan::IntelRdt;
use crate::sys::error::describe_io;
use crate::types::{ContainerId, Pid, ResctrlRecord};

/// The group that every task is in at first.
const ROOT_GROUP: &str = "/";

/// The group could not be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The kernel, or the processor.
    #[error("linux.intelRdt: this kernel has no resctrl, or the processor cannot do what it is for")]
    Missing,
    /// It could be there.
    #[error("linux.intelRdt: resctrl is not mounted: `mount -t resctrl resctrl /sys/fs/resctrl` does it")]
    NotMounted,
    /// Without limits it can only be one that somebody else has made.
    #[error("linux.intelRdt.closID: there is no group {0:?} and no schemata to make it with")]
    NoGroup(String),
    /// Who made the group wants it otherwise.
    #[error("linux.intelRdt.schemata: the group {0:?} is there already and has not {1:?}")]
    Differs(String, String),
    /// For `update`.
    #[error("linux.intelRdt: the container has no group of its own, whose limits could be changed")]
    NotOwn,
    /// The kernel refused.
    #[error("linux.intelRdt: {doing}: {cause}")]
    Refused {
        /// What keg was about to do, as `writing "L3:0=f" to "/sys/fs/resctrl/a/schemata"`.
        doing: String,
        /// Why not.
        cause: String,
    },
}

/// The groups of one container.
#[derive(Debug)]
pub struct Groups {
    record: ResctrlRecord,
    schemata: Vec<String>,
    /// There may be something to remove.
    begun: bool,
}

impl Groups {
    /// Decides which they are; nothing is made yet.
    pub fn find(wanted: &IntelRdt, id: &ContainerId) -> Result<Self, Error> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").map_err(|error| Error::Refused {
            doing: "reading /proc/self/mountinfo".to_owned(),
            cause: describe_io(&error),
        })?;
        let known = || std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        match mount_point(&mounts) {
            Some(root) => Self::below(&root, wanted, id),
            None if known().lines().any(|line| line.ends_with("\tresctrl")) => Err(Error::NotMounted),
            None => Err(Error::Missing),
        }
    }

    /// The same, where resctrl is mounted at `root`.
    fn below(root: &Path, wanted: &IntelRdt, id: &ContainerId) -> Result<Self, Error> {
        let name = wanted.group.as_deref().unwrap_or(id.as_str());
        let group = if name == ROOT_GROUP { root.to_owned() } else { root.join(name) };
        let there = group.is_dir();
        if !there && wanted.group.is_some() && wanted.schemata.is_empty() {
            return Err(Error::NoGroup(name.to_owned()));
        }
        if there {
            check(&group, name, &wanted.schemata)?;
        }
        let monitoring = wanted.monitoring.then(|| group.join("mon_groups").join(id.as_str()));
        let record = ResctrlRecord { group, made: !there, monitoring };
        Ok(Self { record, schemata: wanted.schemata.clone(), begun: false })
    }

    /// Makes what is not there.
    pub fn make(&mut self) -> Result<(), Error> {
        let record = &self.record;
        self.begun = true;
        if record.made {
            make(&record.group)?;
            write(&record.group.join("schemata"), &self.schemata)?;
        }
        record.monitoring.iter().try_for_each(|group| make(group))
    }

    /// What later commands need to know.
    pub fn record(&self) -> &ResctrlRecord {
        &self.record
    }

    /// They are the container's from now on.
    pub fn keep(&mut self) {
        self.begun = false;
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        if self.begun {
            // Nobody is left to be told; what is left is a group without tasks.
            remove(&self.record).unwrap_or(());
        }
    }
}

/// Whether a group that was there before has what is asked for.
fn check(group: &Path, name: &str, schemata: &[String]) -> Result<(), Error> {
    if schemata.is_empty() {
        return Ok(());
    }
    let path = group.join("schemata");
    let now = std::fs::read_to_string(&path).map_err(|error| refused(format!("reading {path:?}"), &error))?;
    match schemata.iter().find(|line| !has(&now, line)) {
        Some(line) => Err(Error::Differs(name.to_owned(), line.clone())),
        None => Ok(()),
    }
}

/// Puts a process, and what it will start, into the groups. Monitoring comes second: only a task of the group can be measured below it.
pub fn enter(record: &ResctrlRecord, pid: Pid) -> Result<(), Error> {
    let groups = std::iter::once(&record.group).chain(&record.monitoring);
    groups.map(|group| group.join("tasks")).try_for_each(|tasks| write(&tasks, &[pid.to_string()]))
}

/// Changes what the container's own group limits.
pub fn update(record: Option<&ResctrlRecord>, schemata: &[String]) -> Result<(), Error> {
    match record {
        Some(record) if record.made => write(&record.group.join("schemata"), schemata),
        _ => Err(Error::NotOwn),
    }
}

/// Removes what keg made. What is gone is as good.
pub fn remove(record: &ResctrlRecord) -> Result<(), Error> {
    let made = Some(&record.group).filter(|_| record.made);
    for group in record.monitoring.iter().chain(made) {
        match std::fs::remove_dir(group) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(refused(format!("removing {group:?}"), &error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn refused(doing: String, error: &IoError) -> Error {
    Error::Refused { doing, cause: describe_io(error) }
}

fn make(group: &Path) -> Result<(), Error> {
    std::fs::create_dir(group).map_err(|error| refused(format!("making the group {group:?}"), &error))
}

/// One line at a time, so that an error names the one that is wrong.
fn write(file: &Path, lines: &[String]) -> Result<(), Error> {
    lines.iter().try_for_each(|line| {
        std::fs::write(file, format!("{line}\n"))
            .map_err(|error| refused(format!("writing {line:?} to {file:?}"), &error))
    })
}

/// Where a mountinfo has resctrl.
fn mount_point(mounts: &str) -> Option<PathBuf> {
    let line = mounts.lines().find(|line| line.contains(" - resctrl "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

/// Whether `schemata`, as the kernel shows them, have all that `line` asks for: `L3:0=f;1=ff`, in any order, numbers with or without
/// zeros before them.
fn has(schemata: &str, line: &str) -> bool {
    fn parts(line: &str) -> Option<(&str, Vec<(&str, String)>)> {
        let (resource, domains) = line.trim().split_once(':')?;
        let domains = domains.split(';').filter_map(|domain| domain.trim().split_once('='));
        let number = |text: &str| text.trim().trim_start_matches('0').to_ascii_lowercase();
        Some((resource.trim(), domains.map(|(id, value)| (id.trim(), number(value))).collect()))
    }
    let Some((resource, wanted)) = parts(line) else { return false };
    let mut now = schemata.lines().filter_map(parts);
    let Some((_, now)) = now.find(|(name, _)| *name == resource) else { return false };
    wanted.iter().all(|domain| now.contains(domain))
}

#[cfg(test)]
mod tests {
    use super::{Error, Groups, enter, has, mount_point, remove};
    use crate::plan::IntelRdt;
    use crate::types::{ContainerId, Pid, ResctrlRecord};
    use std::fs;

    fn wanted(group: Option<&str>, schemata: &[&str], monitoring: bool) -> IntelRdt {
        let schemata = schemata.iter().map(|line| (*line).to_owned()).collect();
        IntelRdt { group: group.map(str::to_owned), schemata, monitoring }
    }

    #[test]
    fn only_a_group_of_keg_s_own_is_changed() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("c1");
        fs::create_dir(&group).unwrap();
        let mut record = ResctrlRecord { group: group.clone(), made: true, monitoring: None };
        super::update(Some(&record), &["MB:0=30".to_owned()]).unwrap();
        assert_eq!(fs::read_to_string(group.join("schemata")).unwrap(), "MB:0=30\n");
        record.made = false;
        assert_eq!(super::update(Some(&record), &["MB:0=40".to_owned()]), Err(Error::NotOwn));
        assert_eq!(super::update(None, &[]), Err(Error::NotOwn));
    }

    /// A directory in the place of the mount, where files come into being by being written.
    #[test]
    fn groups_are_made_entered_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let id = ContainerId::parse("c1").unwrap();
        let wanted = wanted(None, &["L3:0=f", "MB:0=50"], false);
        let mut groups = Groups::below(root.path(), &wanted, &id).unwrap();
        assert!(!root.path().join("c1").exists());
        groups.make().unwrap();
        groups.keep();
        let record = groups.record().clone();
        assert_eq!((&record.group, record.made), (&root.path().join("c1"), true));
        assert_eq!(
            fs::read_to_string(root.path().join("c1/schemata")).unwrap(),
            "MB:0=50\n",
            "the last line"
        );
        enter(&record, Pid(42)).unwrap();
        assert_eq!(fs::read_to_string(root.path().join("c1/tasks")).unwrap(), "42\n");
        for file in ["schemata", "tasks"] {
            fs::remove_file(root.path().join("c1").join(file)).unwrap();
        }
        remove(&record).unwrap();
        assert!(!root.path().join("c1").exists());
        remove(&record).unwrap();
    }

    #[test]
    fn a_group_of_somebody_else_has_to_fit_and_stays() {
        let root = tempfile::tempdir().unwrap();
        let id = ContainerId::parse("c1").unwrap();
        fs::create_dir_all(root.path().join("gold/mon_groups")).unwrap();
        fs::write(root.path().join("gold/schemata"), "    MB:0=100;1= 50\n    L3:0=000f;1=00ff\n").unwrap();
        let prepare = |wanted| Groups::below(root.path(), &wanted, &id);
        let error = prepare(wanted(Some("gold"), &["L3:0=f", "MB:1=60"], false)).unwrap_err();
        assert_eq!(error, Error::Differs("gold".to_owned(), "MB:1=60".to_owned()));
        let mut groups = prepare(wanted(Some("gold"), &["L3:1=ff"], true)).unwrap();
        groups.make().unwrap();
        let monitoring = root.path().join("gold/mon_groups/c1");
        assert!(monitoring.is_dir() && !groups.record().made);
        drop(groups);
        assert!(!monitoring.exists() && root.path().join("gold").exists());
        let error = prepare(wanted(Some("silver"), &[], true)).unwrap_err();
        assert_eq!(error, Error::NoGroup("silver".to_owned()));
        let root_group = prepare(wanted(Some("/"), &[], false)).unwrap();
        assert_eq!((root_group.record().group.as_path(), root_group.record().made), (root.path(), false));
    }

    #[test]
    fn schemata_are_compared_by_what_they_mean() {
        let now = "    L3:0=0ffff;1=0000f\nL3CODE:0=1\n    MB:0= 100;1=  10\n";
        for (line, expected) in [
            ("L3:0=ffff", true),
            ("L3:1=F;0=FFFF", true),
            ("MB:0=100;1=10", true),
            ("L3:0=fff", false),
            ("L3:2=f", false),
            ("L2:0=f", false),
            ("nonsense", false),
        ] {
            assert_eq!(has(now, line), expected, "{line}");
        }
    }

    #[test]
    fn the_mount_is_found_by_its_type() {
        let mounts =
            "22 1 0:20 / /proc rw - proc proc rw\n30 22 0:25 / /sys/fs/resctrl rw - resctrl resctrl rw\n";
        assert_eq!(mount_point(mounts).unwrap().to_str(), Some("/sys/fs/resctrl"));
        assert_eq!(mount_point("22 1 0:20 / /proc rw - proc resctrl rw\n"), None);
    }
}
