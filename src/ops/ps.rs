//! `ps`: the processes of a container, by their pids on the host.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use super::options::PsOptions;
use super::{Place, Result, own_cgroup};
use crate::cgroup;
use crate::state::{Refused, State, Store, of_this_boot};
use crate::sys::error::describe_io;
use crate::sys::proc::Proc;
use crate::types::{CgroupRecord, ContainerId, Pid};

/// ps(1) did not help.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot run ps: {0}")]
    Run(String),
    #[error("ps: {0}")]
    Failed(String),
    #[error("couldn't find PID field in ps output")]
    NoPid,
}

/// The pids of all its processes; none of a container that has ended.
pub fn pids(place: &Place, id: &ContainerId) -> Result<Vec<i32>> {
    let store = Store::open(&place.root)?;
    let proc = Proc::host()?;
    let record = of_this_boot(store.load(id)?, &proc)?;
    match (store.state(&record, &proc)?, &record.cgroup) {
        (State::Creating(_), _) => Err(Refused::NotRunning.into()),
        // Others may live on when the first process has ended.
        (State::Stopped(_), cgroup) => Ok(cgroup.as_ref().map_or(Ok(Vec::new()), procs)?),
        _ => Ok(procs(own_cgroup(&record)?)?),
    }
}

fn procs(cgroup: &CgroupRecord) -> std::result::Result<Vec<i32>, cgroup::Error> {
    Ok(cgroup::procs(cgroup)?.into_iter().map(|Pid(pid)| pid).collect())
}

/// What ps(1) says about them: its output without the lines of other processes.
pub fn table(place: &Place, options: &PsOptions) -> Result<String> {
    let pids = pids(place, &options.id)?.into_iter().collect();
    let arguments = match options.arguments.as_slice() {
        [] => &["-ef".to_owned()],
        arguments => arguments,
    };
    let output = Command::new("ps").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| Error::Run(describe_io(&error)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().map(str::trim).find(|line| !line.is_empty());
        return Err(Error::Failed(said.map_or_else(|| output.status.to_string(), str::to_owned)).into());
    }
    Ok(only(&String::from_utf8_lossy(&output.stdout), &pids)?)
}

/// The heading, and the lines that have one of these pids in the column of that name.
fn only(output: &str, pids: &BTreeSet<i32>) -> std::result::Result<String, Error> {
    let heading = output.lines().next().unwrap_or_default();
    let column = heading.split_whitespace().position(|name| name == "PID").ok_or(Error::NoPid)?;
    let pid = |line: &str| line.split_whitespace().nth(column).and_then(|word| word.parse::<i32>().ok());
    let ours = output.lines().skip(1).filter(|line| pid(line).is_some_and(|pid| pids.contains(&pid)));
    Ok(std::iter::once(heading).chain(ours).flat_map(|line| [line, "\n"]).collect())
}

#[cfg(test)]
mod tests {
    use super::only;

    #[test]
    fn lines_are_chosen_by_their_pid_column() {
        let output = "UID        PID  PPID CMD\nroot        12     1 sh 7\nroot         7    12 sleep 12\nroot   - - x\n";
        let ours = [12].into_iter().collect();
        assert_eq!(only(output, &ours).unwrap(), "UID        PID  PPID CMD\nroot        12     1 sh 7\n");
        let error = only("UID CMD\nroot sh\n", &ours).unwrap_err();
        assert_eq!(error.to_string(), "couldn't find PID field in ps output");
    }
}
