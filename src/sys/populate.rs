//! Has the kernel map at once what every start is going to write to: what is relocated, and the first of the memory that is handed out.
//! A page fault for each page takes several times as long.
//!
//! Like [`super::start`], which begins it, nothing here is relocated yet.

use super::start::{auxiliary, call, value};

/// The first program header follows the ELF header at once, which is at the beginning of the image: so every linker does it.
pub(super) const ELF_HEADER: usize = size_of::<libc::Elf64_Ehdr>();

/// The zeros that follow the data begin with what is aligned most, which is [`super::arena::Arena`]. `run` of a small container uses so
/// much of it, and `exec` most of that.
const ZEROS: usize = 192 << 10;

/// madvise(2) takes the beginning of a page. Where pages are larger than these the call fails, and nothing is lost.
pub(super) const PAGE: usize = 4096;

/// How far this program is from where its headers place it, and the headers.
///
/// # Safety
///
/// `pairs` come from [`auxiliary`].
pub(super) unsafe fn program_headers(pairs: *const usize) -> (usize, &'static [libc::Elf64_Phdr]) {
    // SAFETY: the kernel says where it mapped them, and how many they are; they stay.
    unsafe {
        let (first, count) = (value(pairs, libc::AT_PHDR), value(pairs, libc::AT_PHNUM));
        (first - ELF_HEADER, std::slice::from_raw_parts(first as *const libc::Elf64_Phdr, count))
    }
}

/// Maps it. Where the kernel does not (that is new in Linux 5.14), it does so page by page.
///
/// # Safety
///
/// `stack` is as [`super::start::begin`] says.
pub(super) unsafe fn populate(stack: *const usize) {
    // SAFETY: the caller's promise. Nothing that is mapped changes.
    unsafe {
        let (image, headers) = program_headers(auxiliary(stack));
        let (mut start, mut end) = (0, 0);
        for header in headers {
            if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W != 0 {
                let place = image + header.p_vaddr as usize;
                let (in_file, in_memory) = (header.p_filesz as usize, header.p_memsz as usize);
                start = if start == 0 { place & !(PAGE - 1) } else { start };
                end = place + if in_file + ZEROS < in_memory { in_file + ZEROS } else { in_memory };
            }
        }
        call(libc::SYS_madvise, [start, end - start, libc::MADV_POPULATE_WRITE as usize, 0, 0]);
    }
}
