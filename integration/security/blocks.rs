//! What attacks are made of: a decoy that must stay as it is, links that lead to it, hooks that swap a path at the worst moment, and a
//! neighbour that swaps it all the time.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use harness::command::write_programs;
use harness::{Bundle, Finished, Runtime, json};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

/// A directory outside of every root filesystem that looks like what an attacker wants to reach.
pub fn decoy(rt: &Runtime) -> PathBuf {
    let decoy = rt.dir().join("decoy");
    for name in ["pts", "shm", "mqueue", "self", "sys", "fs/cgroup"] {
        fs::create_dir_all(decoy.join(name)).unwrap();
    }
    for name in ["null", "console", "ptmx", "file", "self/attr"] {
        fs::write(decoy.join(name), "decoy\n").unwrap();
    }
    decoy
}

/// Name, inode, mode, owner, device number and content of everything below a directory.
pub fn picture(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let (path, meta) = (entry.path(), entry.path().symlink_metadata().unwrap());
        let content = if meta.is_file() { fs::read_to_string(&path).unwrap() } else { String::new() };
        let facts = (meta.ino(), meta.mode(), meta.uid(), meta.gid(), meta.rdev(), content);
        if meta.is_dir() {
            all.extend(picture(&path));
        }
        all.insert(path, format!("{facts:?}"));
    }
    all
}

/// Runs the bundle, whatever comes of it; the decoy must be as it was, and nothing mounted on it.
#[track_caller]
pub fn unreachable(rt: &Runtime, bundle: &Bundle, decoy: &Path, what: &str) -> Finished {
    let before = picture(decoy);
    let done = rt.run(bundle, "c");
    assert_eq!(picture(decoy), before, "{what}: {}", done.describe());
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert!(!mounts.contains("/decoy"), "{what}: {mounts}");
    rt.delete_force("c");
    done
}

/// An absolute link, a relative one, and one through /proc.
pub fn ways_out(decoy: &Path) -> [PathBuf; 3] {
    let absolute = decoy.to_owned();
    let relative = Path::new("../../../../../../..").join(decoy.strip_prefix("/").unwrap());
    let magic = Path::new("/proc/1/root").join(decoy.strip_prefix("/").unwrap());
    [absolute, relative, magic]
}

/// Capabilities to look into every process, and to open whatever it has open.
pub const ALL_SEEING: [&str; 3] = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"];

/// A copy of the runtime that may be destroyed.
pub fn copy_of_runtime(rt: &Runtime) -> PathBuf {
    let copy = rt.dir().join(rt.binary().file_name().unwrap());
    write_programs(|| fs::copy(rt.binary(), &copy)).unwrap();
    fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
    copy
}

/// A bundle with a root that can be written to.
pub fn writable(rt: &Runtime) -> Bundle {
    let bundle = rt.bundle();
    bundle.edit(|c| c["root"]["readonly"] = json!(false));
    bundle
}

/// A bundle in which a name of the root filesystem is a link.
pub fn with_link(rt: &Runtime, name: &str, to: &Path) -> Bundle {
    let bundle = writable(rt);
    let path = bundle.rootfs().join(name);
    if path.is_dir() {
        fs::remove_dir_all(&path).unwrap();
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(to, path).unwrap();
    bundle
}

/// A hook between the mounts and the entry into the root, in the container's mount namespace: it stands for a race that is won.
pub fn swap(bundle: &Bundle, kind: &str, script: &str) {
    let path = bundle.path().join(format!("{kind}.sh"));
    fs::write(&path, format!("#!/bin/sh\ncat > /dev/null\n{script}\n")).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    bundle.edit(|c| c["hooks"][kind] = json!([{"path": path}]));
}

/// Exchanges two names again and again while `body` runs.
pub fn race<T>(one: &Path, other: &Path, body: impl FnOnce() -> T) -> T {
    /// Ends the exchange also when the body panics.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let flip = || {
            while !stop.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).unwrap();
                // Both orders get their time on two cores that do other things as well.
                std::thread::sleep(std::time::Duration::from_micros(50));
            }
        };
        let _stop = Stop(&stop);
        scope.spawn(flip);
        body()
    })
}
