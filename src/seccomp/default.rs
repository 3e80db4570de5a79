//! keg's own profile, for the config.json that `keg unpack` writes. It is a list of what programs in
//! a container need; what is left out changes the host or namespaces (mount, setns, bpf, kexec,
//! modules, clocks), is not namespaced (keyrings), or is old or wide enough to be mostly attack
//! surface (userfaultfd, io_uring, perf events, AF_ALG). It does not depend on capabilities. Calls of
//! i386 programs through socketcall are let through: what family they name is out of a filter's sight.

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Arch as ProfileArch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompOperator, LinuxSyscall,
};

use super::Arch;

const ENOSYS: u32 = 38;
const EAFNOSUPPORT: u32 = 97;

/// The flags of clone(2) that make namespaces.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;
/// The first of the address families that containers have no use for: AF_ALG.
const FIRST_UNUSUAL_FAMILY: u64 = 38;
/// PER_LINUX and PER_LINUX32, each with and without UNAME26, and the question which one is set.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

const ALLOWED: &str = "
    read write open close creat openat openat2 close_range readv writev pread64 pwrite64 preadv pwritev
    preadv2 pwritev2 lseek _llseek dup dup2 dup3 pipe pipe2 fcntl fcntl64 ioctl flock fsync fdatasync sync
    syncfs sync_file_range sync_file_range2 arm_sync_file_range fallocate fadvise64 fadvise64_64
    arm_fadvise64_64 readahead truncate truncate64 ftruncate ftruncate64 sendfile sendfile64 splice tee
    vmsplice copy_file_range cachestat

    stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat statx statfs statfs64 fstatfs fstatfs64
    access faccessat faccessat2 readdir getdents getdents64 readlink readlinkat getcwd chdir fchdir chroot
    mkdir mkdirat rmdir mknod mknodat link linkat symlink symlinkat unlink unlinkat rename renameat
    renameat2 chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 fchownat lchown lchown32 umask
    utime utimes futimesat utimensat utimensat_time64 name_to_handle_at file_getattr file_setattr
    getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat listxattr llistxattr
    flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat

    select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl
    epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_settime
    timerfd_settime64 timerfd_gettime timerfd_gettime64 inotify_init inotify_init1 inotify_add_watch
    inotify_rm_watch fanotify_mark io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents
    io_pgetevents_time64

    brk mmap mmap2 munmap mremap mprotect madvise msync mincore mlock mlock2 mlockall munlock munlockall
    mseal map_shadow_stack remap_file_pages memfd_create memfd_secret pkey_alloc pkey_free pkey_mprotect
    mbind get_mempolicy set_mempolicy set_mempolicy_home_node membarrier

    fork vfork execve execveat exit exit_group wait4 waitid waitpid kill tkill tgkill pidfd_open
    pidfd_send_signal process_mrelease getpid getppid gettid getpgid getpgrp setpgid getsid setsid prctl
    arch_prctl modify_ldt set_thread_area get_thread_area set_tid_address set_tls get_tls breakpoint
    cacheflush set_robust_list get_robust_list rseq restart_syscall uretprobe uprobe ptrace
    process_vm_readv process_vm_writev

    signal sigaction sigpending sigprocmask sigreturn sigsuspend sigaltstack rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 pause alarm

    futex futex_time64 futex_wait futex_waitv futex_wake futex_requeue

    getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid
    getresgid32 getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid
    setregid32 setresuid setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32
    setgroups setgroups32 capget capset seccomp landlock_create_ruleset landlock_add_rule
    landlock_restrict_self lsm_get_self_attr lsm_list_modules

    nice getpriority setpriority sched_yield sched_getaffinity sched_setaffinity sched_getattr
    sched_setattr sched_getparam sched_setparam sched_getscheduler sched_setscheduler
    sched_get_priority_max sched_get_priority_min sched_rr_get_interval sched_rr_get_interval_time64
    ioprio_get ioprio_set getcpu getrlimit ugetrlimit setrlimit prlimit64 getrusage times

    time gettimeofday adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64
    clock_gettime clock_gettime64 nanosleep clock_nanosleep clock_nanosleep_time64 getitimer setitimer
    timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64

    socketcall socketpair bind connect listen accept accept4 getsockname getpeername getsockopt setsockopt
    send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64 shutdown

    ipc msgget msgsnd msgrcv msgctl semget semop semtimedop semtimedop_time64 semctl shmget shmat shmdt
    shmctl mq_open mq_unlink mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64
    mq_notify mq_getsetattr

    uname sysinfo getrandom
";

/// What keg puts into a config.json that has no other source for a profile: calls that are not
/// listed fail with EPERM. Architectures are those of the machine this program was built for.
pub fn default_profile() -> Result<LinuxSeccomp, OciSpecError> {
    use LinuxSeccompOperator::{ScmpCmpEq, ScmpCmpGe, ScmpCmpLt, ScmpCmpMaskedEq};

    let allow = LinuxSeccompAction::ScmpActAllow;
    let mut syscalls = vec![
        rule(ALLOWED.split_whitespace(), allow, None, None),
        rule(["clone"], allow, None, Some(first_argument(ScmpCmpMaskedEq, CLONE_NAMESPACES, 0)?)),
        // Its flags lie behind a pointer. Programs that get ENOSYS fall back to clone.
        rule(["clone3"], LinuxSeccompAction::ScmpActErrno, Some(ENOSYS), None),
        rule(["socket"], allow, None, Some(first_argument(ScmpCmpLt, FIRST_UNUSUAL_FAMILY, 0)?)),
        rule(
            ["socket"],
            LinuxSeccompAction::ScmpActErrno,
            Some(EAFNOSUPPORT),
            Some(first_argument(ScmpCmpGe, FIRST_UNUSUAL_FAMILY, 0)?),
        ),
    ];
    for personality in PERSONALITIES {
        syscalls.push(rule(["personality"], allow, None, Some(first_argument(ScmpCmpEq, personality, 0)?)));
    }

    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(LinuxSeccompAction::ScmpActErrno);
    profile.set_default_errno_ret(Some(1));
    profile.set_architectures(Some(match Arch::NATIVE {
        Arch::X86_64 => vec![ProfileArch::ScmpArchX86_64, ProfileArch::ScmpArchX86],
        Arch::Aarch64 => vec![ProfileArch::ScmpArchAarch64, ProfileArch::ScmpArchArm],
    }));
    profile.set_syscalls(Some(syscalls));
    Ok(profile)
}

fn rule<'a>(
    names: impl IntoIterator<Item = &'a str>,
    action: LinuxSeccompAction,
    errno: Option<u32>,
    arg: Option<LinuxSeccompArg>,
) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.into_iter().map(str::to_owned).collect());
    rule.set_action(action);
    rule.set_errno_ret(errno);
    rule.set_args(arg.map(|arg| vec![arg]));
    rule
}

fn first_argument(
    op: LinuxSeccompOperator,
    value: u64,
    second: u64,
) -> Result<LinuxSeccompArg, OciSpecError> {
    LinuxSeccompArgBuilder::default().index(0_usize).op(op).value(value).value_two(second).build()
}

#[cfg(test)]
mod tests {
    use super::super::names::lookup;
    use super::{ALLOWED, default_profile};

    #[test]
    fn every_name_exists_and_is_listed_once() {
        let mut names: Vec<&str> = ALLOWED.split_whitespace().collect();
        let listed = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), listed);
        let unknown: Vec<&&str> = names.iter().filter(|name| lookup(name).is_none()).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn it_survives_being_written_and_read() {
        let profile = default_profile().unwrap();
        let text = serde_json::to_string(&profile).unwrap();
        assert_eq!(serde_json::from_str::<oci_spec::runtime::LinuxSeccomp>(&text).unwrap(), profile);
    }
}
