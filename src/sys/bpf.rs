//! bpf(2), as far as the device rules of cgroup version 2 need it.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::error::{Named, Result, show_fd};

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;
const REPLACE: u32 = 4;

/// One instruction (kernel: Documentation/bpf/standardization/instruction-set.rst).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Class, source and operation.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high ones.
    pub registers: u8,
    /// Of a jump or of memory.
    pub offset: i16,
    /// Constant.
    pub value: i32,
}

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes what is left out as zero.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    instructions: u32,
    instruction: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

#[repr(C)]
#[derive(Default)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

#[repr(C)]
#[derive(Default)]
struct Query {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Default)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

/// bpf(2). The caller vouches for the pointers inside `attributes`.
///
/// # Safety
/// Every pointer that the kernel reads or writes for `command` must be valid for its length.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> nix::Result<libc::c_long> {
    // SAFETY: `attributes` is a structure of integers, passed with its own size; the pointers in it
    // are valid by this function's contract.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    Errno::result(result)
}

/// A load that a signal has interrupted says EAGAIN, whatever comes of the signal: one of a tracer, or of a freezer.
const LOAD_ATTEMPTS: u32 = 5;

/// Loads a program for cgroup devices. EPERM without `CAP_BPF`; EACCES, EINVAL: the verifier.
pub fn load_device_program(program: &[Instruction]) -> Result<OwnedFd> {
    let mut load = Load {
        kind: PROG_TYPE_CGROUP_DEVICE,
        instructions: program.len() as u32,
        instruction: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        name: *b"keg_devices\0\0\0\0\0",
        ..Load::default()
    };
    // SAFETY: `instruction` points to as many instructions as `instructions` says, `license` to a
    // string that ends in NUL; both live longer than the call.
    let mut attempt = || unsafe { bpf(PROG_LOAD, &mut load) };
    let mut loaded = attempt();
    for _ in 1..LOAD_ATTEMPTS {
        if loaded != Err(Errno::EAGAIN) {
            break;
        }
        loaded = attempt();
    }
    let fd = loaded.named(|| "bpf(BPF_PROG_LOAD)".to_owned())?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// The device programs of one cgroup.
pub fn device_programs(cgroup: impl AsFd) -> Result<Vec<OwnedFd>> {
    let mut ids = [0u32; 64];
    let mut query = Query {
        target: cgroup.as_fd().as_raw_fd() as u32,
        kind: CGROUP_DEVICE,
        ids: ids.as_mut_ptr() as u64,
        count: ids.len() as u32,
        ..Query::default()
    };
    // SAFETY: `ids` points to as many numbers as `count` says, and nobody else uses them meanwhile.
    unsafe { bpf(PROG_QUERY, &mut query) }.named(|| format!("bpf(BPF_PROG_QUERY, {})", show_fd(&cgroup)))?;
    let mut programs = Vec::new();
    for id in &ids[..(query.count as usize).min(ids.len())] {
        let mut by_id = ById { id: *id, ..ById::default() };
        // SAFETY: the structure holds no pointer.
        let fd = unsafe { bpf(PROG_GET_FD_BY_ID, &mut by_id) }
            .named(|| format!("bpf(BPF_PROG_GET_FD_BY_ID, {id})"))?;
        // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
        programs.push(unsafe { OwnedFd::from_raw_fd(fd as RawFd) });
    }
    Ok(programs)
}

/// Attaches a device program to a cgroup: beside those that are there, or in the place of one.
pub fn attach_device_program(
    cgroup: impl AsFd,
    program: impl AsFd,
    replaced: Option<&OwnedFd>,
) -> Result<()> {
    let mut attach = Attach {
        target: cgroup.as_fd().as_raw_fd() as u32,
        program: program.as_fd().as_raw_fd() as u32,
        kind: CGROUP_DEVICE,
        flags: if replaced.is_some() { ALLOW_MULTI | REPLACE } else { ALLOW_MULTI },
        replaced: replaced.map_or(0, |fd| fd.as_raw_fd() as u32),
    };
    // SAFETY: the structure holds no pointer.
    unsafe { bpf(PROG_ATTACH, &mut attach) }
        .map(drop)
        .named(|| format!("bpf(BPF_PROG_ATTACH, {})", show_fd(&cgroup)))
}

/// Detaches a device program from a cgroup.
pub fn detach_device_program(cgroup: impl AsFd, program: impl AsFd) -> Result<()> {
    let mut attach = Attach {
        target: cgroup.as_fd().as_raw_fd() as u32,
        program: program.as_fd().as_raw_fd() as u32,
        kind: CGROUP_DEVICE,
        ..Attach::default()
    };
    // SAFETY: the structure holds no pointer.
    unsafe { bpf(PROG_DETACH, &mut attach) }
        .map(drop)
        .named(|| format!("bpf(BPF_PROG_DETACH, {})", show_fd(&cgroup)))
}
