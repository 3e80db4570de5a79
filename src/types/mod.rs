//! Newtypes without behaviour: the words every other room speaks. Nothing here touches the kernel.

mod capset;
mod cgroup;
pub mod dbus;
mod digest;
mod id;
mod namespace;
mod process;
mod resctrl;
mod scheduler;
mod signal;
mod timestamp;
mod user;

pub use capset::{CapSet, Capability};
pub use cgroup::{CgroupDirectory, CgroupManager, CgroupRecord, CgroupVersion, SystemdUnit};
pub use digest::{Algorithm, Digest, InvalidDigest};
pub use id::{ContainerId, Gid, InvalidContainerId, Uid};
pub use namespace::{NamespaceKind, NamespaceSet};
pub use process::{Pid, ProcessRef};
pub use resctrl::ResctrlRecord;
pub use scheduler::Scheduler;
pub use signal::{Signal, UnknownSignal};
pub use timestamp::Timestamp;
pub use user::{InvalidGid, InvalidUser, User};
