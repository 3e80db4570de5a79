//! The runtime under test, with a state root, a cgroup prefix and a mount namespace of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::Value;
use tempfile::TempDir;

use crate::peers::Kind;
use crate::{Bundle, Command, Driver, Finished, Host, alive, wait_until};

/// A runtime binary and everything that one test may touch with it.
#[derive(Debug)]
pub struct Runtime {
    binary: PathBuf,
    kind: Kind,
    driver: Driver,
    dir: TempDir,
}

impl Runtime {
    pub(crate) fn new() -> Self {
        Self::of(binary())
    }

    pub(crate) fn of(binary: PathBuf) -> Self {
        let kind = Kind::of(&binary);
        let dir = tempfile::Builder::new().prefix("keg-test.").tempdir().unwrap();
        fs::create_dir(dir.path().join("streams")).unwrap();
        isolate(kind, dir.path());
        Self { binary, kind, driver: Driver::of_environment(), dir }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// False, with a line that says what was skipped, where the runtime is a peer.
    pub fn only_keg(&self, why: &str) -> bool {
        if self.kind != Kind::Keg {
            eprintln!("skipped for {:?}: {why}", self.kind);
        }
        self.kind == Kind::Keg
    }

    /// A private directory, removed at the end.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where the runtime keeps its containers: the value of `--root`.
    pub fn root(&self) -> PathBuf {
        self.dir().join("root")
    }

    /// A word that is in no other test's paths.
    pub fn unique(&self) -> String {
        self.dir().file_name().unwrap().to_string_lossy().replace("keg-test.", "")
    }

    /// Who makes the cgroups.
    pub fn driver(&self) -> Driver {
        self.driver
    }

    /// False, with a line that says what was skipped, where systemd makes the cgroups.
    pub fn only_cgroupfs(&self, why: &str) -> bool {
        if self.driver == Driver::Systemd {
            eprintln!("skipped with systemd: {why}");
        }
        self.driver == Driver::Cgroupfs
    }

    /// What the paths of the cgroups of this test's containers begin with: a cgroup, or with systemd the names of scopes.
    pub fn cgroup_prefix(&self) -> String {
        self.driver.prefix(&self.unique())
    }

    /// The `linux.cgroupsPath` of a container of that name.
    pub fn cgroups_path(&self, name: &str) -> String {
        self.driver.cgroups_path(&self.unique(), name)
    }

    /// A command of the runtime: `--root` and what follows it.
    pub fn command<S: AsRef<str>>(&self, words: &[S]) -> Command {
        self.command_with_globals::<&str, S>(&[], words)
    }

    pub fn command_with_globals<G: AsRef<str>, S: AsRef<str>>(&self, globals: &[G], words: &[S]) -> Command {
        let mut all =
            vec![self.binary.display().to_string(), "--root".into(), self.root().display().to_string()];
        all.extend(globals.iter().map(|w| w.as_ref().to_owned()));
        let command = words.first().map_or("", AsRef::as_ref);
        all.extend(self.driver.globals(command).iter().map(|&w| w.to_owned()));
        all.extend(words.iter().map(|w| w.as_ref().to_owned()));
        self.program(&all)
    }

    /// The words before a command that makes containers, for whoever starts the runtime by other means than [`Self::command`].
    pub fn invocation(&self) -> Vec<String> {
        let mut all =
            vec![self.binary.display().to_string(), "--root".into(), self.root().display().to_string()];
        all.extend(self.driver.globals("create").iter().map(|&w| w.to_owned()));
        all
    }

    /// Any program, with its streams beside those of the runtime.
    pub fn program<S: AsRef<str>>(&self, words: &[S]) -> Command {
        let words = words.iter().map(|w| w.as_ref().to_owned()).collect();
        Command::new(&self.dir().join("streams"), words)
    }

    pub fn bundle(&self) -> Bundle {
        Bundle::new(self)
    }

    pub fn create(&self, bundle: &Bundle, id: &str) -> Finished {
        self.command(&["create", "--bundle", &bundle.arg(), id]).run()
    }

    pub fn start(&self, id: &str) -> Finished {
        self.command(&["start", id]).run()
    }

    /// A container that runs, and does nothing.
    pub fn sleeping(&self, id: &str) -> Bundle {
        let bundle = self.bundle();
        bundle.args(&["/bin/sleep", "1000"]);
        self.create(&bundle, id).ok();
        self.start(id).ok();
        bundle
    }

    /// `run` in the foreground.
    pub fn run(&self, bundle: &Bundle, id: &str) -> Finished {
        self.command(&["run", "--bundle", &bundle.arg(), id]).run()
    }

    pub fn kill(&self, id: &str, signal: &str) -> Finished {
        self.command(&["kill", id, signal]).run()
    }

    pub fn delete(&self, id: &str) -> Finished {
        self.command(&["delete", id]).run()
    }

    pub fn delete_force(&self, id: &str) {
        self.command(&["delete", "--force", id]).run().ok();
    }

    pub fn state(&self, id: &str) -> Value {
        self.command(&["state", id]).run().ok().json()
    }

    pub fn status(&self, id: &str) -> String {
        self.state(id)["status"].as_str().unwrap().to_owned()
    }

    pub fn pid(&self, id: &str) -> i32 {
        self.state(id)["pid"].as_i64().unwrap() as i32
    }

    /// The runtime knows no container of that name.
    #[track_caller]
    pub fn assert_gone(&self, id: &str) {
        self.command(&["state", id]).run().fails_with("");
    }

    /// Waits until `state` says `stopped`.
    pub fn wait_stopped(&self, id: &str) {
        let pid = self.pid(id);
        if pid > 0 {
            wait_until("the init process ends", Duration::from_secs(10), || !alive(pid));
        }
        wait_until("the container is stopped", Duration::from_secs(5), || self.status(id) == "stopped");
    }

    /// Removes every container that is left, so that what remains on the host is the runtime's fault.
    pub fn delete_all(&self) {
        let Ok(found) = fs::read_dir(self.root()) else { return };
        for entry in found.flatten().filter(|e| e.path().is_dir()) {
            let id = entry.file_name().to_string_lossy().into_owned();
            self.delete_force(&id);
        }
    }
}

impl Drop for Runtime {
    /// Ends and removes what a failed test left, all of it below this test's own prefix.
    fn drop(&mut self) {
        crate::caller::end_neighbours();
        let start = Instant::now();
        while Host::end_processes(&self.cgroup_prefix()) && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
        Host::remove_cgroups(&self.cgroup_prefix());
    }
}

/// Moves the calling thread into a private copy of the mount namespace. What a test mounts goes with it; and the
/// hybrid layout, which crun refuses, looks like plain v1 to crun. Peers get a null device of their own: some give the
/// host's to the container's user.
fn isolate(kind: Kind, dir: &Path) {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    if kind == Kind::Crun && Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() {
        umount2("/sys/fs/cgroup/unified", MntFlags::MNT_DETACH).unwrap();
    }
    if kind != Kind::Keg {
        let null = dir.join("null-device");
        mknod(&null, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3)).unwrap();
        fs::set_permissions(&null, PermissionsExt::from_mode(0o666)).unwrap();
        mount(Some(&null), "/dev/null", none, MsFlags::MS_BIND, none).unwrap();
    }
}

pub(crate) fn binary() -> PathBuf {
    match std::env::var("KEG_UNDER_TEST").ok().filter(|v| !v.is_empty()).as_deref() {
        None => fresh(target().join("keg")),
        Some("debug") => target().join("debug/keg"),
        Some(path) if path.contains('/') => PathBuf::from(path),
        Some(name) => find(name),
    }
}

/// A program by its name; the places for root's programs are not in everybody's PATH.
pub fn find(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut places = path.split(':').chain(["/usr/sbin", "/usr/bin"]).map(|d| Path::new(d).join(name));
    places.find(|p| p.is_file()).unwrap_or_else(|| panic!("{name}: not found in PATH"))
}

/// A binary that is older than its source would make every result a lie.
fn fresh(binary: PathBuf) -> PathBuf {
    let built = fs::metadata(&binary).and_then(|m| m.modified());
    let built = built.unwrap_or_else(|e| panic!("{}: {e}; `make build` makes it", binary.display()));
    let newest = newest_below(&workspace().join("src"));
    assert!(newest <= built, "{} is older than src/; `make build` renews it", binary.display());
    binary
}

fn newest_below(directory: &Path) -> SystemTime {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let times = entries.map(|entry| {
        let meta = entry.metadata().unwrap();
        if meta.is_dir() { newest_below(&entry.path()) } else { meta.modified().unwrap() }
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// As cargo tells it to what it runs; a copy in the virtual machine is told another place.
pub(crate) fn workspace() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
    let folder = Path::new(&package).ancestors().find(|folder| folder.ends_with("integration"));
    folder.and_then(Path::parent).expect("packages of tests lie in integration/").to_owned()
}

/// The build directory, where the Makefile leaves `keg`, `probe` and the images.
pub fn target() -> PathBuf {
    workspace().join("target")
}
