//! The floor: makes the system calls that the benchmark's bundle takes, and nothing else. `floor ROOTFS CGROUP [HIERARCHY...]`:
//! with hierarchies of version 1 their names, without any version 2 alone.
//!
//! No JSON, no options, no record on disk, no checks, no sealed copy of itself: what a runtime takes longer is its own doing.

#![no_main]
#![allow(unsafe_code, reason = "it is made of bare system calls")]

use std::ffi::{CStr, CString, c_char, c_int, c_long};
use std::ptr::null;

use libc::{AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE};

const NULL: *const c_char = null();
const EMPTY: *const c_char = c"".as_ptr();

const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

const SET_STRING: c_int = 1;
const CREATE: c_int = 6;
const CLOEXEC: c_int = 1;
const FROM_FD: c_int = 4;
/// CLONE_INTO_CGROUP, which does not fit into the type that the libc crate gives it.
const INTO_CGROUP: u64 = 1 << 33;

/// The capabilities that the bundle keeps: kill, net_bind_service, audit_write.
const KEPT: u32 = 1 << 5 | 1 << 10 | 1 << 29;

/// Ends the program where a call failed.
fn checked(name: &str, result: c_long) -> c_int {
    if result < 0 {
        let name = string(name);
        // SAFETY: the name is a string that ends in NUL and lives on.
        unsafe { libc::perror(name.as_ptr()) };
        // SAFETY: ends this process alone, and takes no memory.
        unsafe { libc::_exit(1) };
    }
    result as c_int
}

/// A system call whose failure ends the program. Every argument is a number, or a pointer to what outlives the call.
macro_rules! call {
    ($number:ident $(, $argument:expr)* $(,)?) => {{
        // SAFETY: the pointers among the arguments are of strings that end in NUL and of records that live in the caller's frame.
        let result = unsafe { libc::syscall(libc::$number, $($argument),*) };
        checked(stringify!($number), result)
    }};
}

fn string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// A file system that is not attached yet.
fn new_mount(kind: &CStr, options: &[(&CStr, &CStr)], attributes: u64) -> c_int {
    let context = call!(SYS_fsopen, kind.as_ptr(), CLOEXEC);
    for (key, value) in options {
        call!(SYS_fsconfig, context, SET_STRING, key.as_ptr(), value.as_ptr(), 0);
    }
    call!(SYS_fsconfig, context, CREATE, NULL, NULL, 0);
    call!(SYS_fsmount, context, CLOEXEC, attributes)
}

fn copy(at: c_int, path: &CStr, recursive: bool) -> c_int {
    let flags =
        libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | if recursive { AT_RECURSIVE as u32 } else { 0 };
    call!(SYS_open_tree, at, path.as_ptr(), flags)
}

fn attach(mount: c_int, at: c_int, place: &CStr) {
    call!(SYS_move_mount, mount, EMPTY, at, place.as_ptr(), FROM_FD);
}

fn set(mount: c_int, flags: c_int, attributes: u64, propagation: u64) {
    let attributes = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation, userns_fd: 0 };
    call!(
        SYS_mount_setattr,
        mount,
        EMPTY,
        AT_EMPTY_PATH | flags,
        &raw const attributes,
        size_of_val(&attributes)
    );
}

fn write(path: &str, texts: &[&str]) {
    let path = string(path);
    let file = call!(SYS_openat, AT_FDCWD, path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
    for text in texts {
        call!(SYS_write, file, text.as_ptr(), text.len());
    }
    call!(SYS_close, file);
}

/// Where the container's processes are accounted.
struct Cgroups {
    /// `/sys/fs/cgroup/NAME` for each hierarchy, or `/sys/fs/cgroup` alone.
    hierarchies: Vec<(String, CString)>,
    version_1: bool,
    own: String,
}

impl Cgroups {
    fn new(own: &str, names: Vec<String>) -> Self {
        let version_1 = !names.is_empty();
        let names = if version_1 { names } else { vec![String::new()] };
        let path = |name: String| {
            let slash = if name.is_empty() { "" } else { "/" };
            let path = string(&format!("/sys/fs/cgroup{slash}{name}{own}"));
            (name, path)
        };
        Self { hierarchies: names.into_iter().map(path).collect(), version_1, own: own.to_owned() }
    }

    fn make(&self) {
        for (_, path) in &self.hierarchies {
            call!(SYS_mkdirat, AT_FDCWD, path.as_ptr(), 0o755);
        }
        if self.hierarchies.iter().any(|(name, _)| name == "cpuset") {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let parent = self.own.rsplit_once('/').map_or("", |(parent, _)| parent);
                let from = string(&format!("/sys/fs/cgroup/cpuset{parent}/{file}"));
                let from = call!(SYS_openat, AT_FDCWD, from.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
                let mut value = [0_u8; 256];
                let length = call!(SYS_read, from, value.as_mut_ptr(), value.len()) as usize;
                call!(SYS_close, from);
                let text = str::from_utf8(&value[..length]).unwrap_or("0").trim_end();
                write(&format!("/sys/fs/cgroup/cpuset{}/{file}", self.own), &[text]);
            }
        }
    }

    /// What a process enters them by: the `tasks` of each, or the directory that clone3 is told.
    fn open(&self) -> Vec<c_int> {
        let open = |(_, path): &(_, CString)| match self.version_1 {
            true => {
                let tasks = string(&format!("{}/tasks", path.to_string_lossy()));
                call!(SYS_openat, AT_FDCWD, tasks.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC)
            }
            false => call!(SYS_openat, AT_FDCWD, path.as_ptr(), libc::O_DIRECTORY | libc::O_CLOEXEC),
        };
        self.hierarchies.iter().map(open).collect()
    }

    fn limit_devices(&self, directory: c_int) {
        if self.version_1 {
            let rules = [
                "c *:* m",
                "b *:* m",
                "c 1:3 rwm",
                "c 1:5 rwm",
                "c 1:7 rwm",
                "c 1:8 rwm",
                "c 1:9 rwm",
                "c 5:0 rwm",
                "c 5:2 rwm",
                "c 136:* rwm",
                "c 10:200 rwm",
            ];
            write(&format!("/sys/fs/cgroup/devices{}/devices.deny", self.own), &["a"]);
            write(&format!("/sys/fs/cgroup/devices{}/devices.allow", self.own), &rules);
            return;
        }
        // r0 = 1; exit: what is allowed does not matter to how long it takes.
        let program: [u64; 2] = [0x0000_0001_0000_00b7, 0x95];
        let mut load = [0_u64; 16];
        load[0] = 15 | (program.len() as u64) << 32;
        load[1] = program.as_ptr() as u64;
        load[2] = c"MIT".as_ptr() as u64;
        let loaded = call!(SYS_bpf, 5, load.as_ptr(), size_of_val(&load));
        let attach: [u32; 5] = [directory as u32, loaded as u32, 6, 2, 0];
        call!(SYS_bpf, 8, attach.as_ptr(), size_of_val(&attach));
    }

    fn remove(&self) {
        for (_, path) in &self.hierarchies {
            call!(SYS_unlinkat, AT_FDCWD, path.as_ptr(), libc::AT_REMOVEDIR);
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    let mut words = std::env::args().skip(1);
    let (Some(rootfs), Some(own)) = (words.next(), words.next()) else {
        return 2;
    };
    let cgroups = Cgroups::new(&own, words.collect());
    cgroups.make();
    let entries = cgroups.open();
    let (mut go, mut made) = ([0; 2], [0; 2]);
    call!(SYS_pipe2, go.as_mut_ptr(), libc::O_CLOEXEC);
    if cgroups.version_1 {
        call!(SYS_pipe2, made.as_mut_ptr(), libc::O_CLOEXEC);
    }
    let namespaces =
        libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWPID | libc::CLONE_NEWNET;
    let mut arguments = [0_u64; 11];
    arguments[0] = namespaces as u64;
    arguments[4] = libc::SIGCHLD as u64;
    if !cgroups.version_1 {
        arguments[0] |= INTO_CGROUP;
        arguments[10] = entries[0] as u64;
    }
    let child = call!(SYS_clone3, arguments.as_ptr(), size_of_val(&arguments));
    if child == 0 {
        call!(SYS_close, go[1]);
        inside(&rootfs, &cgroups, &entries, go[0], made[1]);
    }
    if cgroups.version_1 {
        // Version 1 forbids every device for a moment.
        let mut byte = 0_u8;
        call!(SYS_read, made[0], &raw mut byte, 1);
    }
    cgroups.limit_devices(entries[0]);
    let files = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
    call!(SYS_prlimit64, child, libc::RLIMIT_NOFILE, &raw const files, 0);
    call!(SYS_write, go[1], c"S".as_ptr(), 1);
    let mut status: c_int = 0;
    call!(SYS_wait4, child, &raw mut status, 0, 0);
    cgroups.remove();
    libc::WEXITSTATUS(status)
}

/// The container's process, up to its program.
fn inside(rootfs: &str, cgroups: &Cgroups, entries: &[c_int], go: c_int, made: c_int) -> ! {
    call!(SYS_setsid);
    if cgroups.version_1 {
        for &entry in entries {
            call!(SYS_write, entry, c"0".as_ptr(), 1);
        }
    }
    call!(SYS_keyctl, 1, c"_ses.floor".as_ptr());
    call!(SYS_unshare, libc::CLONE_NEWCGROUP);
    loopback();
    call!(SYS_umask, 0);
    call!(SYS_chdir, c"/".as_ptr());
    set(AT_FDCWD, AT_RECURSIVE, 0, libc::MS_SLAVE);
    let path = string(rootfs);
    let root = copy(AT_FDCWD, &path, true);
    attach(root, AT_FDCWD, &path);
    mounts(root);
    cgroup_mounts(root, cgroups);
    devices(root);
    if cgroups.version_1 {
        call!(SYS_write, made, c"D".as_ptr(), 1);
    }
    masks(root);
    set(root, 0, RDONLY, 0);
    call!(SYS_fchdir, root);
    call!(SYS_pivot_root, c".".as_ptr(), c".".as_ptr());
    call!(SYS_umount2, c".".as_ptr(), libc::MNT_DETACH);
    call!(SYS_sethostname, c"floor".as_ptr(), 5);
    capabilities();
    call!(SYS_umask, 0o22);
    call!(SYS_close_range, 4, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
    let mut byte = 0_u8;
    call!(SYS_read, go, &raw mut byte, 1);
    let arguments = [c"/bin/true".as_ptr(), NULL];
    let environment = [c"PATH=/bin".as_ptr(), NULL];
    call!(SYS_execve, arguments[0], arguments.as_ptr(), environment.as_ptr());
    // SAFETY: ends this process alone, whose memory nobody shares.
    unsafe { libc::_exit(1) }
}

fn loopback() {
    let socket = call!(SYS_socket, libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
    let mut request = [0_u8; 40];
    request[..2].copy_from_slice(b"lo");
    request[16] = (libc::IFF_UP | libc::IFF_RUNNING) as u8;
    call!(SYS_ioctl, socket, libc::SIOCSIFFLAGS, request.as_mut_ptr());
}

fn mounts(root: c_int) {
    let quiet = NOSUID | NODEV | NOEXEC;
    attach(new_mount(c"proc", &[(c"source", c"proc")], 0), root, c"proc");
    let dev = [(c"source", c"tmpfs"), (c"mode", c"755"), (c"size", c"65536k")];
    let dev = new_mount(c"tmpfs", &dev, NOSUID | libc::MOUNT_ATTR_STRICTATIME);
    for name in [c"pts", c"shm", c"mqueue"] {
        call!(SYS_mkdirat, dev, name.as_ptr(), 0o755);
    }
    attach(dev, root, c"dev");
    let pts = [(c"source", c"devpts"), (c"ptmxmode", c"0666"), (c"mode", c"0620"), (c"gid", c"5")];
    attach(new_mount(c"devpts", &pts, NOSUID | NOEXEC), dev, c"pts");
    let shm = [(c"source", c"shm"), (c"mode", c"1777"), (c"size", c"65536k")];
    attach(new_mount(c"tmpfs", &shm, quiet), dev, c"shm");
    attach(new_mount(c"mqueue", &[(c"source", c"mqueue")], quiet), dev, c"mqueue");
    attach(new_mount(c"sysfs", &[(c"source", c"sysfs")], quiet | RDONLY), root, c"sys");
}

fn cgroup_mounts(root: c_int, cgroups: &Cgroups) {
    let quiet = NOSUID | NODEV | NOEXEC;
    if !cgroups.version_1 {
        let mount = copy(AT_FDCWD, &cgroups.hierarchies[0].1, false);
        set(mount, 0, quiet | RDONLY, 0);
        return attach(mount, root, c"sys/fs/cgroup");
    }
    let all = new_mount(c"tmpfs", &[(c"source", c"cgroup"), (c"mode", c"755")], quiet);
    attach(all, root, c"sys/fs/cgroup");
    for (name, path) in &cgroups.hierarchies {
        let name = string(name);
        call!(SYS_mkdirat, all, name.as_ptr(), 0o755);
        attach(copy(AT_FDCWD, path, false), all, &name);
    }
    set(all, AT_RECURSIVE, quiet | RDONLY, 0);
}

fn devices(root: c_int) {
    let dev = call!(SYS_openat, root, c"dev".as_ptr(), libc::O_PATH | libc::O_CLOEXEC);
    let nodes = [
        (c"null", 1, 3),
        (c"zero", 1, 5),
        (c"full", 1, 7),
        (c"random", 1, 8),
        (c"urandom", 1, 9),
        (c"tty", 5, 0),
    ];
    for (name, major, minor) in nodes {
        call!(SYS_mknodat, dev, name.as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(major, minor));
    }
    let links = [
        (c"/proc/self/fd", c"fd"),
        (c"/proc/self/fd/0", c"stdin"),
        (c"/proc/self/fd/1", c"stdout"),
        (c"/proc/self/fd/2", c"stderr"),
        (c"/proc/kcore", c"core"),
        (c"pts/ptmx", c"ptmx"),
    ];
    for (target, name) in links {
        call!(SYS_symlinkat, target.as_ptr(), dev, name.as_ptr());
    }
}

/// What is there on this host of the bundle's masked and read-only paths.
fn masks(root: c_int) {
    for path in [c"proc/bus", c"proc/fs", c"proc/irq", c"proc/sys", c"proc/sysrq-trigger"] {
        if is_there(root, path) {
            let mount = copy(root, path, true);
            set(mount, AT_RECURSIVE, RDONLY, 0);
            attach(mount, root, path);
        }
    }
    let nothing = new_mount(c"tmpfs", &[(c"nr_inodes", c"2")], RDONLY | NOSUID | NODEV | NOEXEC);
    for path in [c"proc/acpi", c"proc/asound", c"proc/scsi", c"sys/firmware", c"sys/devices/virtual/powercap"]
    {
        if is_there(root, path) {
            attach(copy_of(nothing), root, path);
        }
    }
    let null = copy(AT_FDCWD, c"/dev/null", false);
    for path in [
        c"proc/kcore",
        c"proc/keys",
        c"proc/latency_stats",
        c"proc/timer_list",
        c"proc/timer_stats",
        c"proc/sched_debug",
    ] {
        if is_there(root, path) {
            attach(copy_of(null), root, path);
        }
    }
}

fn copy_of(mount: c_int) -> c_int {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | AT_EMPTY_PATH as u32;
    call!(SYS_open_tree, mount, EMPTY, flags)
}

fn is_there(root: c_int, path: &CStr) -> bool {
    // SAFETY: the path ends in NUL, and nothing else is read.
    unsafe { libc::faccessat(root, path.as_ptr(), libc::F_OK, 0) == 0 }
}

fn capabilities() {
    for number in 0..=40 {
        if number >= 32 || KEPT & 1 << number == 0 {
            call!(SYS_prctl, libc::PR_CAPBSET_DROP, number, 0, 0, 0);
        }
    }
    call!(SYS_setgroups, 0, NULL);
    let header: [u32; 2] = [0x2008_0522, 0];
    let sets: [u32; 6] = [KEPT, KEPT, 0, 0, 0, 0];
    call!(SYS_capset, header.as_ptr(), sets.as_ptr());
    call!(SYS_prctl, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    call!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
