//! The first instructions of keg, before the C library's: a command that has to run from a sealed copy of itself (see [`super::seal`])
//! gets there before there is anything to begin anew, and without another execve(2) where the kernel allows. Whatever is unusual is left
//! to `seal`, which does the same with all its cases and checks what is done here.
//!
//! Nothing is relocated yet: no function of the C library can be called (`memcpy` among them, so bytes are copied one by one, in a way
//! that the compiler leaves alone), no table of pointers read, no panic raised.

use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr;

use libc::{c_long, c_ulong};

use super::seal::MARK;
use super::{populate, remap};

/// Makes `keg_start` the beginning, once the linker is told so (`-e keg_start`); it ends in the C library's `_start`.
#[macro_export]
macro_rules! start {
    () => {
        // SAFETY: the stack is handed to `_start` as the kernel left it, and the register that `_start` reads is put back. The stack
        // is aligned to 16 bytes at the call, as both ABIs want it.
        #[cfg(target_arch = "x86_64")]
        ::core::arch::global_asm!(
            ".globl keg_start",
            "keg_start:",
            "push rdx",
            "lea rdi, [rsp + 8]",
            "lea rsi, [rip + main]",
            "sub rsp, 8",
            "call {begin}",
            "add rsp, 8",
            "pop rdx",
            "jmp _start",
            begin = sym $crate::sys::start::begin,
        );
        #[cfg(target_arch = "aarch64")]
        ::core::arch::global_asm!(
            ".globl keg_start",
            "keg_start:",
            "str x0, [sp, #-16]!",
            "add x0, sp, #16",
            "adrp x1, main",
            "add x1, x1, :lo12:main",
            "bl {begin}",
            "ldr x0, [sp], #16",
            "b _start",
            begin = sym $crate::sys::start::begin,
        );
    };
}

/// C's `main`.
pub type Main = unsafe extern "C" fn(c_int, *const *const c_char, *const *const c_char) -> c_int;

const OWN_FILE: &[u8] = b"/proc/self/exe\0";
const PATH: usize = libc::PATH_MAX as usize;
const NAME: usize = 256;
/// Closes the list of lower layers: an overlay without an upper layer must have two. In a user namespace none may have something mounted
/// below it, as /dev has.
const SECOND_LAYER: &[u8] = b":/dev/pts\0";

/// Begins the program: from a copy that cannot be written to where the command asks for it. Returns where nothing of this is possible,
/// with nothing changed.
///
/// # Safety
///
/// `stack` is the stack pointer as the kernel sets it for a new program: the number of arguments, the arguments, the environment, pairs
/// of numbers the last of which begins with 0. `main` is the program's.
#[cfg_attr(not(all(target_arch = "x86_64", target_env = "gnu")), allow(unused_variables))]
pub unsafe extern "C" fn begin(stack: *mut usize, main: Main) {
    // SAFETY: the caller's promise.
    unsafe {
        if *stack == 0 {
            return;
        }
        run_from_copy(stack);
        #[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
        super::glibc::start(stack, main);
    }
}

/// Has this program run from an overlay that cannot be written to: the kernel is told so, or it runs again. Returns where that is not
/// wanted, was done, or failed.
///
/// # Safety
///
/// As that of [`begin`], and there is an argument.
unsafe fn run_from_copy(stack: *mut usize) {
    // SAFETY: the caller's promise; the vectors end in null pointers, the strings in NUL.
    unsafe {
        let arguments = stack.add(1).cast::<*const u8>();
        let environment = arguments.add(*stack + 1);
        if !has_command(arguments.add(1)) {
            return;
        }
        let own_name = *arguments;
        let mut marked = [const { MaybeUninit::uninit() }; PATH];
        let length = length(own_name);
        if ends_with_mark(own_name, length) {
            populate::populate(stack);
            return;
        }
        if length + MARK.len() >= PATH {
            return;
        }
        let Some(Copy { context, root, file }) = overlay() else { return };
        if remap::onto(file, stack).is_some() {
            if file - context == 2 {
                call(libc::SYS_close_range, [context, file, 0, 0, 0]);
            } else {
                // Some of the caller's are between them.
                for descriptor in [context, root, file] {
                    call(libc::SYS_close, [descriptor, 0, 0, 0, 0]);
                }
            }
            populate::populate(stack);
            return;
        }
        copy(own_name, length, &mut marked, 0);
        copy(MARK.as_ptr(), MARK.len(), &mut marked, length);
        marked[length + MARK.len()].write(0);
        *arguments = marked.as_ptr().cast();
        let vectors = (arguments as usize, environment as usize);
        let empty = c"".as_ptr() as usize;
        call(libc::SYS_execveat, [file, empty, vectors.0, vectors.1, libc::AT_EMPTY_PATH as usize]);
        *arguments = own_name;
    }
}

/// The program's file through an overlay, and the descriptors that it was opened by.
struct Copy {
    context: usize,
    root: usize,
    file: usize,
}

/// An overlay of the program's directory.
///
/// # Safety
///
/// None: all memory is this function's own.
unsafe fn overlay() -> Option<Copy> {
    let mut path = [const { MaybeUninit::<u8>::uninit() }; PATH + SECOND_LAYER.len()];
    let mut name = [const { MaybeUninit::<u8>::uninit() }; NAME];
    let own_file = OWN_FILE.as_ptr() as usize;
    let cwd = libc::AT_FDCWD as usize;
    // SAFETY: every pointer is to memory of the size that is given with it, or to a string that ends in NUL; `length` bytes of `path`
    // were written by the kernel, and all indices are below it.
    unsafe {
        let length = call(libc::SYS_readlinkat, [cwd, own_file, path.as_mut_ptr() as usize, PATH, 0])?;
        let mut slash = 0;
        for at in 0..length {
            match path.as_ptr().add(at).cast::<u8>().read_volatile() {
                b'/' => slash = at,
                // These would have to be escaped.
                b':' | b'\\' | b',' => return None,
                _ => {}
            }
        }
        let name_length = length - slash - 1;
        if length >= PATH || slash == 0 || name_length >= NAME {
            return None;
        }
        copy(path.as_ptr().add(slash + 1).cast(), name_length, &mut name, 0);
        name[name_length].write(0);
        copy(SECOND_LAYER.as_ptr(), SECOND_LAYER.len(), &mut path, slash);

        let context = call(libc::SYS_fsopen, [c"overlay".as_ptr() as usize, 1, 0, 0, 0])?;
        // Descriptors 0 to 2 are to be open; where they are not, see [`super::entry`].
        let copy =
            if context < 3 { None } else { open(context, path.as_ptr() as usize, name.as_ptr() as usize) };
        if copy.is_none() {
            call(libc::SYS_close, [context, 0, 0, 0, 0]);
        }
        copy
    }
}

/// The file `name` through an overlay of the layers that `lower` names.
///
/// # Safety
///
/// Both are addresses of strings that end in NUL.
unsafe fn open(context: usize, lower: usize, name: usize) -> Option<Copy> {
    // SAFETY: the caller's promise; everything else that is pointed to is this function's own, of the size that is given with it.
    unsafe {
        call(libc::SYS_fsconfig, [context, SET_STRING, c"lowerdir".as_ptr() as usize, lower, 0])?;
        // Some kernels are built to put the layer's number into that of the inode, which is compared.
        let (xino, off) = (c"xino".as_ptr() as usize, c"off".as_ptr() as usize);
        call(libc::SYS_fsconfig, [context, SET_STRING, xino, off, 0])?;
        call(libc::SYS_fsconfig, [context, CREATE, 0, 0, 0])?;
        let attributes = (libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV) as usize;
        let root = call(libc::SYS_fsmount, [context, 1, attributes, 0, 0])?;
        let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as u64;
        let how = [flags, 0, libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_XDEV];
        let file = call(libc::SYS_openat2, [root, name, how.as_ptr() as usize, size_of_val(&how), 0]);
        let same = match file {
            Some(file) => is_own_file(file),
            None => false,
        };
        match (file, same) {
            (Some(file), true) => return Some(Copy { context, root, file }),
            (Some(file), false) => call(libc::SYS_close, [file, 0, 0, 0, 0]),
            (None, _) => None,
        };
        call(libc::SYS_close, [root, 0, 0, 0, 0]);
        None
    }
}

/// Whether an open file is the one that this program was started from.
///
/// # Safety
///
/// None: all memory is this function's own.
unsafe fn is_own_file(file: usize) -> bool {
    // SAFETY: the strings end in NUL.
    let both =
        unsafe { (stat(libc::AT_FDCWD as usize, OWN_FILE, 0), stat(file, b"\0", libc::AT_EMPTY_PATH)) };
    match both {
        // One number, so that no comparison of memory is made of it.
        (Some(one), Some(other)) => {
            let [inode, size, seconds, nanoseconds] = [0, 1, 2, 3].map(|at| one[at] ^ other[at]);
            inode | size | seconds | nanoseconds == 0
        }
        _ => false,
    }
}

const SET_STRING: usize = 1;
const CREATE: usize = 6;

/// Inode number, size, and when it was modified.
///
/// # Safety
///
/// `path` ends in NUL.
unsafe fn stat(dir: usize, path: &[u8], flags: libc::c_int) -> Option<[u64; 4]> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    let to = stat.as_mut_ptr();
    // SAFETY: the kernel fills `stat` when it says so.
    unsafe {
        call(libc::SYS_newfstatat, [dir, path.as_ptr() as usize, to as usize, flags as usize, 0])?;
        let stat = &*to;
        Some([stat.st_ino, stat.st_size as u64, stat.st_mtime as u64, stat.st_mtime_nsec as u64])
    }
}

/// # Safety
///
/// `arguments` is a vector of strings that ends in a null pointer.
unsafe fn has_command(mut arguments: *const *const u8) -> bool {
    // SAFETY: neither the vector nor a string is read beyond its end.
    unsafe {
        while !(*arguments).is_null() {
            // One by one: a table of them would be one of pointers.
            let word = *arguments;
            if equal(word, b"create\0") || equal(word, b"run\0") || equal(word, b"exec\0") {
                return true;
            }
            arguments = arguments.add(1);
        }
    }
    false
}

/// The pairs of numbers behind the environment.
///
/// # Safety
///
/// As that of [`begin`].
pub(super) unsafe fn auxiliary(stack: *const usize) -> *const usize {
    // SAFETY: the environment ends in a null pointer.
    unsafe {
        let mut at = stack.add(*stack + 2);
        while *at != 0 {
            at = at.add(1);
        }
        at.add(1)
    }
}

/// The number beside `key`, or 0.
///
/// # Safety
///
/// `pairs` come from [`auxiliary`].
pub(super) unsafe fn value(mut pairs: *const usize, key: c_ulong) -> usize {
    // SAFETY: the last pair begins with 0.
    unsafe {
        while *pairs != 0 {
            if *pairs as c_ulong == key {
                return *pairs.add(1);
            }
            pairs = pairs.add(2);
        }
    }
    0
}

/// # Safety
///
/// `text` ends in NUL, as `word` does.
pub(super) unsafe fn equal(text: *const u8, word: &[u8]) -> bool {
    for at in 0..word.len() {
        // SAFETY: all bytes before this one are those of `word`, so the end of `text` was not among them.
        if unsafe { text.add(at).read_volatile() != word.as_ptr().add(at).read_volatile() } {
            return false;
        }
    }
    true
}

/// The address behind its NUL.
///
/// # Safety
///
/// `text` ends in NUL.
pub(super) unsafe fn end_of(text: *const u8) -> usize {
    // SAFETY: the caller's promise.
    text as usize + unsafe { length(text) } + 1
}

/// # Safety
///
/// `text` ends in NUL.
unsafe fn length(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: not beyond the first NUL.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}

/// # Safety
///
/// `text` has so many bytes, and a NUL.
unsafe fn ends_with_mark(text: *const u8, length: usize) -> bool {
    // SAFETY: what is compared is shorter than `text`.
    length >= MARK.len() && unsafe { equal(text.add(length - MARK.len()), MARK) }
}

/// # Safety
///
/// `from` has so many bytes, and `to` has room for them at `at`.
unsafe fn copy<const N: usize>(from: *const u8, length: usize, to: &mut [MaybeUninit<u8>; N], at: usize) {
    let to = to.as_mut_ptr().cast::<u8>();
    for index in 0..length {
        // SAFETY: the caller's promise.
        unsafe { ptr::write_volatile(to.add(at + index), from.add(index).read_volatile()) };
    }
}

/// A system call; `None` where it fails.
///
/// # Safety
///
/// As that of the system call.
#[inline(always)]
pub(super) unsafe fn call(number: c_long, arguments: [usize; 5]) -> Option<usize> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the caller's promise.
    unsafe { call_of_six(number, [a, b, c, d, e, 0]) }
}

/// The same for one that takes six arguments.
///
/// # Safety
///
/// As that of the system call.
#[inline(always)]
pub(super) unsafe fn call_of_six(number: c_long, arguments: [usize; 6]) -> Option<usize> {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the kernel changes no other registers, and only memory that the arguments point to.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _,
            options(nostack));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("svc 0", in("x8") number, inlateout("x0") a as isize => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f, options(nostack));
    }
    (result >= 0).then_some(result as usize)
}
