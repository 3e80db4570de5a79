//! Performs what the plan says of the root file system, in the container's mount namespace: mounts are made detached, get their
//! attributes, and are attached to fds that were resolved inside the root. Nothing here decides.

mod cgroups;
mod copy_up;
mod devices;
mod mask;
mod mounts;
mod over;
mod place;
mod root;
mod sources;

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::plan::{MountLabel, Plan, Propagation, PropagationKind};
use crate::sys::fd::{self, Resolve};
use crate::sys::mount::{self, MountAttr};
use crate::sys::{self, Errno, kernel, namespace, timing};
use crate::types::{NamespaceKind, NamespaceSet};

use place::{Places, Spent};
pub use root::{Leaf, RootFd};
pub use sources::{MappedIds, Sources, can_be_apart};

/// A step of building the root file system failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error("{doing}")]
    Kernel {
        /// What keg was about to do, as `mounting "proc" to "/proc" (mounts[0])`.
        doing: String,
        /// What the kernel said.
        #[source]
        source: sys::Error,
    },
    /// What is there is not what it must be.
    #[error("{0}")]
    Refused(String),
}

/// Says what was being done when a call failed.
trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Doing<T> for sys::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Kernel { doing: what(), source })
    }
}

/// The root file system under construction.
#[derive(Debug)]
pub struct Rootfs<'a> {
    plan: &'a Plan,
    root: RootFd,
    sources: Sources,
    places: Places,
    spent: Spent,
    read_only_last: Vec<OwnedFd>,
    label: Option<&'a MountLabel>,
}

/// The kernel's word for a propagation type.
fn propagation_flag(kind: PropagationKind) -> u64 {
    match kind {
        PropagationKind::Private => libc::MS_PRIVATE,
        PropagationKind::Shared => libc::MS_SHARED,
        PropagationKind::Slave => libc::MS_SLAVE,
        PropagationKind::Unbindable => libc::MS_UNBINDABLE,
    }
}

/// Cuts this mount namespace off from the host's (events come in, none go out), and attaches a copy of the root directory's tree over
/// itself: pivot_root(2) needs a mount.
fn open_in_place(plan: &Plan, sources: &mut Sources, spent: &mut Spent) -> Result<RootFd, Error> {
    let path = &plan.rootfs;
    let doing = || format!("opening the root directory {path:?}");
    sources.open_shared(plan)?;
    if has_own_mounts(plan) {
        mount::set_root_propagation(libc::MS_SLAVE, true)
            .doing(|| "making the mounts of the host slaves".to_owned())?;
    }
    let host = open_root(path).doing(doing)?;
    let tree = mount::clone_tree(&host, Path::new(""), true, false).doing(doing)?;
    if !has_own_mounts(plan) {
        let change = MountAttr { propagation: libc::MS_PRIVATE, ..MountAttr::default() };
        mount::set_attributes(&tree, change, true).doing(doing)?;
    }
    mount::attach(&tree, &host, Path::new("")).doing(|| attaching(path))?;
    spent.put(host);
    Ok(RootFd::new(tree))
}

/// Opens all that the container has of the host's mounts, as slaves of theirs, leaves the host's mount namespace for a copy of `few`, and
/// attaches the root directory's tree over its root. `None`: it could not, and is in the host's mount namespace.
fn open_apart(
    plan: &Plan,
    sources: &mut Sources,
    few: &OwnedFd,
    spent: &mut Spent,
) -> Result<Option<RootFd>, Error> {
    let path = &plan.rootfs;
    let Some(tree) = sources.open_all(plan, spent) else { return Ok(None) };
    let back = || "going back to the host's mount namespace".to_owned();
    let (home, root) = (namespace::own(NamespaceKind::Mount), open_root(Path::new("/")));
    let (home, root) = (home.doing(back)?, root.doing(back)?);
    if namespace::join(few, NamespaceKind::Mount).is_err() {
        sources.forget_opened();
        return Ok(None);
    }
    let Ok(stage) = sources::Stage::make() else {
        sources.forget_opened();
        namespace::join(&home, NamespaceKind::Mount).and_then(|()| mount::change_root(&root)).doing(back)?;
        return Ok(None);
    };
    [home, root].into_iter().for_each(|file| spent.put(file));
    let tree = sources.leave_host(&stage, tree).doing(|| format!("opening the root directory {path:?}"))?;
    spent.put(stage);
    mount::attach(&tree, fd::cwd(), Path::new("/")).doing(|| attaching(path))?;
    Ok(Some(RootFd::new(tree)))
}

fn open_root(path: &Path) -> sys::Result<OwnedFd> {
    fd::open(fd::cwd(), path, Resolve::Host, OFlag::O_PATH | OFlag::O_DIRECTORY, 0)
}

fn attaching(root: &Path) -> String {
    format!("attaching the root directory {root:?}")
}

impl<'a> Rootfs<'a> {
    /// Opens the root directory and what else is had from the host. `few` is a mount namespace to be copied in place of the host's, if
    /// the container was not cloned with its own.
    pub fn open(plan: &'a Plan, mut sources: Sources, few: Option<&OwnedFd>) -> Result<Self, Error> {
        let label = plan.mount_label.as_ref().filter(|_| kernel::has_selinux());
        let mut spent = Spent::default();
        let apart = few.map(|few| open_apart(plan, &mut sources, few, &mut spent)).transpose()?;
        if let Some(None) = apart {
            // In the usual way it succeeds, or the usual words say why not.
            namespace::make(NamespaceSet::from_iter([NamespaceKind::Mount]))
                .doing(|| "making a mount namespace".to_owned())?;
        }
        let root = match apart.flatten() {
            Some(root) => root,
            None => open_in_place(plan, &mut sources, &mut spent)?,
        };
        timing::lap("open the root directory");
        let (places, read_only_last) = (Places::default(), Vec::new());
        Ok(Self { plan, root, sources, places, spent, read_only_last, label })
    }

    /// Makes all mounts in their order.
    pub fn mounts(&mut self) -> Result<(), Error> {
        for (index, entry) in self.plan.mounts.iter().enumerate() {
            mounts::perform(self, index, entry)?;
            timing::lap_with(|| format!("mount {}", entry.destination.display()));
        }
        if has_hooks(self.plan) {
            // They are run where init is.
            self.places.leave().doing(|| "leaving a mount".to_owned())?;
        }
        Ok(())
    }

    /// Makes device nodes and the links of /dev.
    pub fn devices(&mut self) -> Result<(), Error> {
        devices::make(&self.root, self.places.find_own(Path::new("/dev")), self.plan, &mut self.spent)?;
        timing::lap("devices");
        Ok(())
    }

    /// Makes a directory that could not be made later, when what it is on is read-only. That it cannot be made is told when it is
    /// entered: its user may be let in where nobody else is.
    pub fn make_directory(&self, path: &Path) {
        if path != Path::new("/") && (self.plan.rootfs_readonly || !self.read_only_last.is_empty()) {
            drop(self.root.find_or_make(path, Leaf::Directory));
        }
    }

    /// Covers masked paths, makes others read-only.
    pub fn mask(&mut self) -> Result<(), Error> {
        let read_only = MountAttr { set: libc::MOUNT_ATTR_RDONLY, ..MountAttr::default() };
        for made in self.read_only_last.drain(..) {
            mount::set_attributes(&made, read_only, false).doing(|| "making a mount read-only".to_owned())?;
            self.spent.put(made);
        }
        if has_hooks(self.plan) {
            // They may have mounted.
            self.places.forget();
        }
        mask::read_only(
            &self.root,
            &self.places,
            &self.plan.readonly_paths,
            &self.plan.mounts,
            &mut self.spent,
        )?;
        mask::hide(&self.root, &self.places, &mut self.sources, &self.plan.masked_paths, &mut self.spent)?;
        timing::lap("masked and read-only paths");
        Ok(())
    }

    /// Makes the root mount read-only if the plan says so. The fd is the mount itself: no path is resolved (CVE-2026-115521).
    pub fn make_read_only(&self) -> Result<(), Error> {
        if !self.plan.rootfs_readonly {
            return Ok(());
        }
        let change = MountAttr { set: libc::MOUNT_ATTR_RDONLY, ..MountAttr::default() };
        mount::set_attributes(&self.root, change, false).doing(|| "making the root read-only".to_owned())
    }

    /// Enters the root, lets go of the host's tree, and gives the root its final propagation. The fd of the new root comes back. The
    /// caller must close all descriptors in the end: some are left open.
    pub fn enter(mut self) -> Result<RootFd, Error> {
        let doing = || "entering the root".to_owned();
        match (has_own_mounts(self.plan), self.plan.pivot) {
            (true, true) => mount::pivot(&self.root, self.sources.stages()).doing(doing)?,
            (true, false) => over::move_over(&self.root)?,
            (false, _) => mount::change_root(&self.root).doing(doing)?,
        }
        if let Some(Propagation { kind, recursive }) = self.plan.rootfs_propagation {
            let change = MountAttr { propagation: propagation_flag(kind), ..MountAttr::default() };
            mount::set_attributes(&self.root, change, recursive)
                .doing(|| "setting the propagation of the root".to_owned())?;
        }
        timing::lap("enter the root");
        self.places.spend(&mut self.spent);
        self.spent.leave_open();
        Ok(self.root)
    }

    /// The root, for what is bound into it by others (the terminal).
    pub fn root(&self) -> &RootFd {
        &self.root
    }
}

/// Whether mounts are made in a mount namespace other than the host's.
pub fn has_own_mounts(plan: &Plan) -> bool {
    let namespaces = &plan.namespaces;
    namespaces.new.contains(NamespaceKind::Mount)
        || namespaces.join.iter().any(|join| join.kind == NamespaceKind::Mount)
}

/// Whether somebody else is let into the mount namespace before the root is entered.
fn has_hooks(plan: &Plan) -> bool {
    let hooks = &plan.hooks;
    [&hooks.prestart, &hooks.create_runtime, &hooks.create_container].iter().any(|list| !list.is_empty())
}

/// The mount that is on top at the root directory, for containers whose root is attached in the host's own mount namespace.
pub fn covered(plan: &Plan) -> sys::Result<Option<u64>> {
    if has_own_mounts(plan) { Ok(None) } else { top_mount(&plan.rootfs).map(Some) }
}

/// Detaches what [`Rootfs::open`] attached in the host's own mount namespace, unless what is on top is what was there before.
pub fn detach(rootfs: &Path, covered: u64) -> Result<(), Error> {
    let doing = || format!("detaching the root directory {rootfs:?}");
    match top_mount(rootfs) {
        Err(error) if error.errno == Errno::ENOENT => Ok(()),
        top if top.clone().doing(doing)? == covered => Ok(()),
        _ => mount::detach(rootfs).doing(doing),
    }
}

fn top_mount(path: &Path) -> sys::Result<u64> {
    mount::mount_id(open_root(path)?)
}
