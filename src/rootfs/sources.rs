//! What a container is given of the host's mounts, opened before they are out of reach.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::stat::SFlag;

use super::place::Spent;
use super::{Doing, Error, has_hooks, mask, mounts, open_root};
use crate::plan::{Mount, MountKind, Plan, PropagationKind};
use crate::sys::fd;
use crate::sys::mount::{self, FsContext, MountAttr, SLAVE};
use crate::sys::{self, Errno, kernel, namespace};
use crate::types::{NamespaceKind, NamespaceSet};

/// Trees of the host that init could not open itself, or would open too late.
#[derive(Debug, Default)]
pub struct Sources {
    /// By the index of the mount and, for version 1, that of the hierarchy.
    trees: BTreeMap<(usize, usize), OwnedFd>,
    /// Those of them that were opened to leave the host's mount namespace.
    opened: Vec<(usize, usize)>,
    /// What files are masked with.
    null: Option<OwnedFd>,
    /// They are attached on a stage.
    staged: bool,
}

/// User namespaces, by the index of the mount whose ids they map.
pub type MappedIds = BTreeMap<usize, OwnedFd>;

impl Sources {
    /// Takes the tree of the mount with this index: a bind's, or that of a cgroup hierarchy. It is a copy, made now: mount tables are in
    /// the order in which mounts were made, and readers expect that of config.json.
    pub(super) fn take(&mut self, mount: usize, hierarchy: usize) -> sys::Result<Option<OwnedFd>> {
        let tree = self.trees.remove(&(mount, hierarchy));
        tree.map(|tree| self.copy(tree)).transpose()
    }

    /// Takes the cover of masked files, if the host's null device is out of reach.
    pub(super) fn take_null(&mut self) -> sys::Result<Option<OwnedFd>> {
        let null = self.null.take();
        null.map(|null| self.copy(null)).transpose()
    }

    fn copy(&self, tree: OwnedFd) -> sys::Result<OwnedFd> {
        let copied = mount::clone_tree(&tree, Path::new(""), true, false);
        if self.staged {
            // The host would see it go with the stage.
            let private = MountAttr { propagation: libc::MS_PRIVATE, ..MountAttr::default() };
            mount::set_attributes(&tree, private, true)?;
            return copied;
        }
        // Before Linux 6.15 a tree that is in no namespace cannot be copied.
        Ok(copied.unwrap_or(tree))
    }

    fn has(&self, mount: usize) -> bool {
        self.trees.contains_key(&(mount, 0))
    }

    /// Opens, in the host's mount namespace, the bind sources whose ids are mapped, which only the owner of their file system may do;
    /// with `all`, every one (a user namespace may not be able to open them).
    pub fn open(plan: &Plan, all: bool, mapped: &MappedIds) -> Result<Self, Error> {
        let mut sources = Self::default();
        for (index, entry) in plan.mounts.iter().enumerate() {
            let ids = mapped.get(&index);
            let MountKind::Bind { source, recursive, nofollow, copy_symlink } = &entry.kind else { continue };
            // Init makes a symlink again; anything else may need its ids mapped.
            if *copy_symlink && (ids.is_none() || fd::read_link(fd::cwd(), source).is_ok()) {
                continue;
            }
            if !all && ids.is_none() {
                continue;
            }
            let doing = || mounts::doing(entry);
            let tree = match mount::clone_tree(fd::cwd(), source, *recursive, !nofollow) {
                // Who may not mount here has no more rights than init, which opens it in its own mount namespace.
                Err(error) if error.errno == Errno::EPERM && ids.is_none() => continue,
                tree => tree.doing(doing)?,
            };
            if all || !is_shared(entry) {
                // In a user namespace the container may mount: in the peer group of the host's mount, that would be seen on the host.
                mount::set_attributes(&tree, SLAVE, true).doing(doing)?;
            }
            if let Some(ids) = ids {
                let deep = entry.idmap.as_ref().is_some_and(|(_, recursive)| *recursive);
                let change = MountAttr { idmap: Some(ids.as_fd()), ..MountAttr::default() };
                mount::set_attributes(&tree, change, deep)
                    .doing(|| format!("{}: mapping its ids", doing()))?;
            }
            sources.trees.insert((index, 0), tree);
        }
        Ok(sources)
    }

    /// Opens, while this mount namespace still has the host's peer groups, the bind sources that must stay in them.
    pub(super) fn open_shared(&mut self, plan: &Plan) -> Result<(), Error> {
        self.open_binds(plan, is_shared)
    }

    /// Opens, in the host's mount namespace, all that was not opened yet. What is not to stay in the host's peer groups leaves them. The
    /// root directory's tree comes back. `None`: something could not be opened, and nothing was.
    pub(super) fn open_all(&mut self, plan: &Plan, spent: &mut Spent) -> Option<OwnedFd> {
        let before: Vec<_> = self.trees.keys().copied().collect();
        // Without it the first masked file is refused.
        self.null = mask::null_file(spent).ok();
        let root = self.open_rest(plan);
        self.opened = self.trees.keys().copied().filter(|key| !before.contains(key)).collect();
        if root.is_err() {
            self.forget_opened();
        }
        root.ok()
    }

    fn open_rest(&mut self, plan: &Plan) -> Result<OwnedFd, Error> {
        self.open_binds(plan, |_| true)?;
        for (index, entry) in plan.mounts.iter().enumerate().filter(|(_, entry)| is_cgroup(entry)) {
            for (hierarchy, directory) in plan.cgroup.directories.iter().enumerate() {
                let tree = mount::clone_tree_with(SLAVE, fd::cwd(), &directory.path(), false);
                self.trees.insert((index, hierarchy), tree.doing(|| mounts::doing(entry))?);
            }
        }
        let doing = || format!("opening the root directory {:?}", plan.rootfs);
        let root = open_root(&plan.rootfs).doing(doing)?;
        let tree = mount::clone_tree(root, Path::new(""), true, false).doing(doing)?;
        mount::set_attributes(&tree, SLAVE, true).doing(doing)?;
        Ok(tree)
    }

    /// What was opened to leave the host's mount namespace is opened in the usual way.
    pub(super) fn forget_opened(&mut self) {
        self.null = None;
        let opened = std::mem::take(&mut self.opened);
        self.trees.retain(|key, _| !opened.contains(key));
    }

    /// The host's mount namespace has been left. All trees are attached on the stage, at once: until then no mount of the host's comes into
    /// them. Each has a place of its own: what is attached to a shared mount would be seen on the host. A copy of the root directory's
    /// tree comes back.
    pub(super) fn leave_host(&mut self, stage: &Stage, root: OwnedFd) -> sys::Result<OwnedFd> {
        let all = std::iter::once(&root).chain(self.trees.values()).chain(&self.null);
        all.enumerate().try_for_each(|(place, tree)| stage.attach(tree, place))?;
        self.staged = true;
        self.copy(root)
    }

    /// How many mounts lie over the namespace's root.
    pub(super) fn stages(&self) -> usize {
        usize::from(self.staged)
    }

    fn open_binds(&mut self, plan: &Plan, wanted: impl Fn(&Mount) -> bool) -> Result<(), Error> {
        for (index, entry) in plan.mounts.iter().enumerate() {
            if let MountKind::Bind { source, recursive, nofollow, copy_symlink: false } = &entry.kind
                && wanted(entry)
                && !self.has(index)
            {
                let doing = || mounts::doing(entry);
                let tree = mount::clone_tree(fd::cwd(), source, *recursive, !nofollow).doing(doing)?;
                if !is_shared(entry) {
                    mount::set_attributes(&tree, SLAVE, true).doing(doing)?;
                }
                self.trees.insert((index, 0), tree);
            }
        }
        Ok(())
    }
}

/// Where trees from another mount namespace are copied: for that they have to be in this one. It lies over the namespace's root, out of
/// sight, and is gone when the container's root is entered.
#[derive(Debug)]
pub(super) struct Stage(OwnedFd);

impl Stage {
    /// Makes a copy of the mount namespace, which must be the one of the kernel's thread for devtmpfs, and a tmpfs over its root.
    pub(super) fn make() -> sys::Result<Self> {
        mask::null_device(Path::new("/null"))?;
        namespace::make(NamespaceSet::from_iter([NamespaceKind::Mount]))?;
        mount::set_root_propagation(libc::MS_SLAVE, true)?;
        let tmpfs = FsContext::open("tmpfs")?.mount(0)?;
        mount::attach(&tmpfs, fd::cwd(), Path::new("/"))?;
        Ok(Self(tmpfs))
    }

    fn attach(&self, tree: &OwnedFd, place: usize) -> sys::Result<()> {
        let name = PathBuf::from(place.to_string());
        if fd::file_type(&fd::stat(tree)?) == SFlag::S_IFDIR {
            fd::mkdir(&self.0, &name, 0o700)?;
        } else {
            fd::mknod(&self.0, &name, SFlag::S_IFREG, 0o600, 0, 0)?;
        }
        mount::attach(tree, &self.0, &name)
    }
}

impl From<Stage> for OwnedFd {
    fn from(stage: Stage) -> Self {
        stage.0
    }
}

fn is_shared(entry: &Mount) -> bool {
    entry.propagation.is_some_and(|to| to.kind == PropagationKind::Shared)
}

fn is_cgroup(entry: &Mount) -> bool {
    matches!(entry.kind, MountKind::Cgroup)
}

/// File systems of the kernel's own, which look for nothing in the mount namespace.
const SELF_CONTAINED: [&str; 8] =
    ["bpf", "devpts", "hugetlbfs", "mqueue", "proc", "securityfs", "sysfs", "tmpfs"];
/// How many sources may be open at once.
const MANY: usize = 50;

/// Whether all that the container is given of the host's mounts can be opened before it has its mount namespace, which need not have them
/// then. Not where somebody may look for them there: a hook, a file system, or a mount whose source holds the container's root, or lies in
/// it. Not where init needs a path of the host's later: a symlink to be copied, a label set through /proc, a device of the host's.
pub fn can_be_apart(plan: &Plan) -> bool {
    let namespaces = &plan.namespaces;
    let is_found = |entry: &Mount| match &entry.kind {
        MountKind::Bind { source, recursive, copy_symlink, .. } => {
            let source = std::fs::canonicalize(source).unwrap_or_else(|_| source.clone());
            let holds_root = *recursive && plan.rootfs.starts_with(&source);
            !copy_symlink && !holds_root && !source.starts_with(&plan.rootfs)
        }
        MountKind::Filesystem { fstype, .. } => SELF_CONTAINED.contains(&fstype.as_str()),
        MountKind::Cgroup | MountKind::Remount { .. } => true,
    };
    let is_bind = |entry: &&Mount| matches!(entry.kind, MountKind::Bind { .. });
    namespaces.new.contains(NamespaceKind::Mount)
        && !namespaces.new.contains(NamespaceKind::User)
        && !namespaces.join.iter().any(|join| join.kind == NamespaceKind::User)
        && plan.pivot
        && !plan.bind_devices
        && !has_hooks(plan)
        && plan.mounts.iter().all(is_found)
        && plan.mounts.iter().filter(is_bind).count() <= MANY
        && (plan.mount_label.is_none() || !kernel::has_selinux())
}
