//! Where in its list init failed. The same steps name errors and timings.

use std::error::Error as StdError;
use std::fmt;

use crate::sys::timing;

/// The steps of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Step {
    Process,
    OomScore,
    Cgroup,
    Keyring,
    Namespaces,
    Ids,
    Network,
    Rootfs,
    Hooks,
    Terminal,
    Names,
    Proc,
    Sysctl,
    Label,
    Memory,
    Schedule,
    Limits,
    Cwd,
    Program,
    Seccomp,
    Privileges,
    Descriptors,
    Link,
}

impl Step {
    /// What is being done in it; empty where the cause says it all.
    fn doing(self) -> &'static str {
        match self {
            Self::Process => "preparing init",
            Self::OomScore => "setting process.oomScoreAdj",
            Self::Cgroup => "entering the cgroup",
            Self::Keyring => "making a session keyring",
            Self::Namespaces => "joining namespaces",
            Self::Ids => "becoming root of the user namespace (is id 0 mapped?)",
            Self::Network | Self::Rootfs | Self::Hooks | Self::Terminal | Self::Label | Self::Program => "",
            Self::Names => "setting the host and domain name",
            Self::Proc => "opening a procfs of keg's own",
            Self::Sysctl => "setting kernel parameters (linux.sysctl)",
            Self::Memory => "setting the memory policy (linux.memoryPolicy)",
            Self::Schedule => "setting scheduler, io priority and personality",
            Self::Limits => "setting process.rlimits",
            Self::Cwd => "entering the working directory (process.cwd)",
            Self::Seccomp => "loading the seccomp filter",
            Self::Privileges => "setting user, groups and capabilities",
            Self::Descriptors => "closing descriptors",
            Self::Link => "talking to keg",
        }
    }
}

/// A step, and why it failed.
#[derive(Debug)]
pub struct Error {
    step: Step,
    cause: Box<dyn StdError>,
}

impl Error {
    /// What is asked for cannot be.
    pub fn refused(step: Step, why: &str) -> Self {
        Self { step, cause: why.into() }
    }

    /// keg said something that has no place here.
    pub fn garbled() -> Self {
        Self::refused(Step::Link, "a message out of turn")
    }

    /// The chain of causes on one line, the root cause last.
    pub fn to_line(&self) -> String {
        let mut line = self.step.doing().to_owned();
        let mut cause: Option<&dyn StdError> = Some(&*self.cause);
        while let Some(error) = cause {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&error.to_string());
            cause = error.source();
        }
        // Of what the kernel keeps for a container some is refused, where other memory would have it end somebody.
        if line.ends_with("cannot allocate memory") {
            line.push_str(" (memory limit too low?)");
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_line())
    }
}

/// Names the step of a failure.
pub(super) trait At<T> {
    fn at(self, step: Step) -> Result<T, Error>;
}

impl<T, E: StdError + 'static> At<T> for Result<T, E> {
    fn at(self, step: Step) -> Result<T, Error> {
        timing::lap_with(|| format!("{step:?}").to_lowercase());
        self.map_err(|error| Error { step, cause: Box::new(error) })
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, Step};

    #[test]
    fn a_lack_of_memory_is_told_as_one() {
        let refused = |why: &str| Error::refused(Step::Namespaces, why).to_line();
        let lack = "joining namespaces: unshare(0x40000000): cannot allocate memory (memory limit too low?)";
        assert_eq!(refused("unshare(0x40000000): cannot allocate memory"), lack);
        assert_eq!(refused("no such file or directory"), "joining namespaces: no such file or directory");
    }
}
