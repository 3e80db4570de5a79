//! The beginning of the C library without its questions to the processor. `__libc_start_main` of a static program executes CPUID nearly
//! seventy times, to choose among copies of memcpy(3) and to size caches. In a virtual machine each of them traps: half a millisecond at
//! every start, a fifth of `exec`. Here is the rest of what it does, in its order, but for what only dlopen(3) and GLIBC_TUNABLES need.
//! The functions of the C library find a processor with nothing beyond x86-64; for that they have variants that are hardly slower (what
//! hashes and inflates asks by itself). The kernel is asked for the time by system calls, which happens a few times.
//!
//! That is an agreement with one version of glibc, which is asked for its name first. With any other, `_start` goes on; so it does for
//! a program with more rights than its caller, whose environment glibc clears of what the programs that it starts must not see.

use std::ffi::{c_char, c_int};

use super::populate::{PAGE, program_headers};
use super::start::{Main, auxiliary, equal, value};

/// The version whose order this is.
const VERSION: &[u8] = b"2.36\0";

/// What `.init_array` consists of.
type Constructor = unsafe extern "C" fn(c_int, *const *const c_char, *const *const c_char);

/// Calls a function of the C library that no header names: directly, since no table of addresses is relocated at first; weak, so that
/// a library without it is no error of the linker. What it returns is a pointer, or nothing.
macro_rules! call {
    ($name:literal $(, $register:tt = $argument:expr)*) => {{
        let result: usize;
        std::arch::asm!(concat!(".weak ", $name), concat!("call ", $name), $(in($register) $argument,)*
            lateout("rax") result, clobber_abi("C"));
        result
    }};
}

/// Where a variable of the C library is, or the end of a section, once addresses are relocated.
macro_rules! address {
    ($name:literal) => {{
        let address: usize;
        std::arch::asm!(concat!(".weak ", $name), concat!("mov {}, [rip + ", $name, "@GOTPCREL]"),
            lateout(reg) address, options(nostack, pure, readonly));
        address
    }};
}

/// From so many bytes on a copy goes past the caches: what glibc makes of the cache that it assumes, three quarters of 1 MiB. Before
/// CPUID it is 0.
const PAST_CACHES: usize = 0xc0000;

/// The C library's status for a program that cannot begin.
const WITHOUT_MEMORY: c_int = 127;

/// Runs `main` and ends the process, or returns, with nothing changed.
///
/// # Safety
///
/// As that of [`super::start::begin`]; the C library has not begun.
pub(super) unsafe fn start(stack: *const usize, main: Main) {
    // SAFETY: the caller's promise. In the order of glibc, and with its functions, nothing of it is used before it is set up: the
    // relocations before whatever is reached through tables, the thread's own memory before what is kept there.
    unsafe {
        let version: *const u8;
        std::arch::asm!("call {name}", name = sym libc::gnu_get_libc_version, lateout("rax") version, clobber_abi("C"));
        let pairs = auxiliary(stack);
        let secure = value(pairs, libc::AT_SECURE) != 0;
        if !cfg!(target_feature = "crt-static") || secure || !equal(version, VERSION) {
            return;
        }
        let count = *stack as c_int;
        let arguments = stack.add(1);
        let environment = arguments.add(*stack + 1);
        call!("_dl_aux_init", "rdi" = pairs);
        call!("_dl_relocate_static_pie");
        (address!("__libc_stack_end") as *mut usize).write(stack as usize);
        (address!("__x86_shared_non_temporal_threshold") as *mut usize).write(PAST_CACHES);
        (address!("__x86_rep_movsb_stop_threshold") as *mut usize).write(PAST_CACHES);
        // The release of 2.36 itself does so in its own beginning, later ones in `_dl_aux_init`.
        let (image, headers) = program_headers(pairs);
        (address!("_dl_phdr") as *mut *const libc::Elf64_Phdr).write(headers.as_ptr());
        (address!("_dl_phnum") as *mut usize).write(headers.len());
        call!("__libc_setup_tls");
        set_guards((value(pairs, libc::AT_RANDOM) as *const [usize; 2]).read_unaligned());
        call!("__libc_early_init", "edi" = 1);
        (address!("environ") as *mut usize).write(environment as usize);
        call!("__init_misc", "edi" = count, "rsi" = arguments, "rdx" = environment);
        protect(image, headers);
        call!("_init");
        let (arguments, environment) = (arguments.cast(), environment.cast());
        let mut constructor = address!("__init_array_start") as *const Constructor;
        while constructor.addr() < address!("__init_array_end") {
            (*constructor)(count, arguments, environment);
            constructor = constructor.add(1);
        }
        libc::exit(main(count, arguments, environment))
    }
}

/// What functions compare at their end with what they kept at their beginning, and what addresses are hidden with in jump buffers. A
/// string that runs over the former ends there, at its first byte.
///
/// # Safety
///
/// The thread's own memory is set up, and none of the functions that called this one compares.
unsafe fn set_guards(random: [usize; 2]) {
    // SAFETY: these are their places in the head of that memory, by the ABI.
    unsafe {
        std::arch::asm!("mov fs:[0x28], {stack}", "mov fs:[0x30], {pointer}",
            stack = in(reg) random[0] & !0xff, pointer = in(reg) random[1], options(nostack));
    }
}

/// Makes what was relocated read-only, and lets no stack of a thread be executable.
///
/// # Safety
///
/// The headers are this program's, and all of its relocations are done.
unsafe fn protect(image: usize, headers: &[libc::Elf64_Phdr]) {
    for header in headers {
        let start = image + header.p_vaddr as usize;
        match header.p_type {
            // SAFETY: nothing is written there any more. It ends where a page ends: so the linker places it.
            libc::PT_GNU_RELRO => unsafe {
                let end = (start + header.p_memsz as usize) & !(PAGE - 1);
                let start = start & !(PAGE - 1);
                if libc::mprotect(start as *mut libc::c_void, end - start, libc::PROT_READ) != 0 {
                    libc::_exit(WITHOUT_MEMORY);
                }
            },
            // SAFETY: an int of the C library, which only new threads read.
            libc::PT_GNU_STACK => unsafe {
                (address!("_dl_stack_flags") as *mut u32).write(header.p_flags);
            },
            _ => {}
        }
    }
}
