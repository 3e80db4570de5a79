//! Runs on from another file with the same contents: what is mapped of this program is mapped of that file, at the same addresses, and
//! the kernel is told that this is the program's file now. That saves an execve(2), a sixteenth of `run` and an eighth of `exec`.
//!
//! Like [`super::start`], which begins it, nothing here is relocated yet: what is mapped anew is as the kernel mapped it first.

use std::sync::atomic::{AtomicBool, Ordering};

use super::populate::{ELF_HEADER, program_headers};
use super::start::{auxiliary, call, call_of_six, end_of, value};

const PR_SET_MM: usize = 35;
const PR_SET_MM_MAP: usize = 14;

/// What prctl(2) takes for PR_SET_MM_MAP: `struct prctl_mm_map`.
#[repr(C)]
struct MemoryMap {
    start_code: usize,
    end_code: usize,
    start_data: usize,
    end_data: usize,
    start_brk: usize,
    brk: usize,
    start_stack: usize,
    arg_start: usize,
    arg_end: usize,
    env_start: usize,
    env_end: usize,
    auxv: usize,
    auxv_size: u32,
    exe_fd: u32,
}

/// Among the zeros behind the data, which stay.
static DONE: AtomicBool = AtomicBool::new(false);

/// Whether this process runs from another file than the one that it was started from.
pub(super) fn was_done() -> bool {
    DONE.load(Ordering::Relaxed)
}

/// Has this program run on from `file`. `None`: it runs from the file that it was started from, and may be run again as if nothing had
/// happened. A segment that cannot be mapped, though all may be, leaves a hole and ends it. The kernel changes its mind only when nothing
/// of the old file is mapped any more, and for who may checkpoint (PR_SET_MM_MAP with a file, `CAP_CHECKPOINT_RESTORE` or
/// `CAP_SYS_ADMIN` in the user namespace).
///
/// # Safety
///
/// As that of [`super::start::begin`], there is an argument, and `file` is a descriptor of a file with the contents of this program's.
pub(super) unsafe fn onto(file: usize, stack: *const usize) -> Option<()> {
    if !cfg!(target_feature = "crt-static") {
        // Somebody else has relocated it.
        return None;
    }
    // SAFETY: the caller's promise: the same bytes are mapped over those that are there, none of which was written to. What lies behind
    // the data of a segment in its last page is zero, as the kernel leaves it.
    unsafe {
        let pairs = auxiliary(stack);
        let page = value(pairs, libc::AT_PAGESZ);
        let (image, headers) = program_headers(pairs);
        // Where the file's beginning has another place than the image's, the addresses are not to be added to that of the image.
        let mut begins = false;
        for header in headers {
            match header.p_type {
                libc::PT_LOAD if header.p_offset == 0 && header.p_vaddr == 0 => begins = true,
                libc::PT_LOAD if header.p_offset == 0 => return None,
                // Somebody has moved the headers.
                libc::PT_PHDR if header.p_vaddr != ELF_HEADER as u64 => return None,
                _ => {}
            }
        }
        if !begins {
            return None;
        }
        let (mut code, mut data) = ((0, 0), (0, 0));
        for header in headers {
            if header.p_type != libc::PT_LOAD {
                continue;
            }
            let place = image + header.p_vaddr as usize;
            let end = place + header.p_filesz as usize;
            let before = place & (page - 1);
            let has = |flag: u32, protection: libc::c_int| {
                if header.p_flags & flag != 0 { protection as usize } else { 0 }
            };
            let protection = has(libc::PF_R, libc::PROT_READ)
                | has(libc::PF_W, libc::PROT_WRITE)
                | has(libc::PF_X, libc::PROT_EXEC);
            let how = (libc::MAP_PRIVATE | libc::MAP_FIXED) as usize;
            let offset = header.p_offset as usize - before;
            call_of_six(
                libc::SYS_mmap,
                [place - before, end - place + before, protection, how, file, offset],
            )?;
            if header.p_flags & libc::PF_X != 0 {
                code = (place, end);
            } else {
                data = (place, end);
            }
            if header.p_memsz > header.p_filesz {
                for at in end..(end + page - 1) & !(page - 1) {
                    (at as *mut u8).write_volatile(0);
                }
            }
        }
        tell_kernel(file, stack, code, data)?;
    }
    DONE.store(true, Ordering::Relaxed);
    Some(())
}

/// All that it says besides is as the kernel has it already.
///
/// # Safety
///
/// As that of [`onto`].
unsafe fn tell_kernel(
    file: usize,
    stack: *const usize,
    code: (usize, usize),
    data: (usize, usize),
) -> Option<()> {
    // SAFETY: the caller's promise; the kernel only reads what it is given.
    unsafe {
        let brk = call(libc::SYS_brk, [0; 5])?;
        let arguments = stack.add(1);
        // The strings of the arguments are one after the other, and those of the environment follow.
        let arg_end = end_of(*arguments.add(*stack - 1) as *const u8);
        let mut environment = arguments.add(*stack + 1);
        let mut env_end = arg_end;
        while *environment != 0 {
            env_end = end_of(*environment as *const u8);
            environment = environment.add(1);
        }
        let map = MemoryMap {
            start_code: code.0,
            end_code: code.1,
            start_data: data.0,
            end_data: data.1,
            start_brk: brk,
            brk,
            start_stack: stack as usize,
            arg_start: *arguments,
            arg_end,
            env_start: arg_end,
            env_end,
            auxv: 0,
            auxv_size: 0,
            exe_fd: file as u32,
        };
        let map = (&raw const map as usize, size_of::<MemoryMap>());
        call(libc::SYS_prctl, [PR_SET_MM, PR_SET_MM_MAP, map.0, map.1, 0]).map(|_| ())
    }
}
