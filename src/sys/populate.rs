//! Has the kernel map at once what every start is going to write to: what is relocated, and the first of the memory that is handed out.
//! A page fault for each page takes several times as long.
//!
//! Like [`super::start`], which begins it, nothing here is relocated yet.

use super::start::call;

/// The first program header follows the ELF header at once, which is at the beginning of the image: so every linker does it.
const ELF_HEADER: usize = size_of::<libc::Elf64_Ehdr>();

/// The zeros that follow the data begin with what is aligned most, which is [`super::arena::Arena`]. `run` of a small container uses so
/// much of it, and `exec` most of that.
const ZEROS: usize = 192 << 10;

/// madvise(2) takes the beginning of a page. Where pages are larger than these the call fails, and nothing is lost.
const PAGE: usize = 4096;

/// Maps it. Where the kernel does not (that is new in Linux 5.14), it does so page by page.
///
/// # Safety
///
/// `stack` is as [`super::start::begin`] says: behind the environment are pairs of numbers, the last of which begins with 0.
pub(super) unsafe fn populate(stack: *const usize) {
    let (mut headers, mut count) = (0, 0);
    // SAFETY: the caller's promise; the program headers describe what is mapped from the ELF header on. Nothing that is mapped changes.
    unsafe {
        let mut at = stack.add(*stack + 2);
        while *at != 0 {
            at = at.add(1);
        }
        at = at.add(1);
        while *at != 0 {
            match *at as libc::c_ulong {
                libc::AT_PHDR => headers = *at.add(1),
                libc::AT_PHNUM => count = *at.add(1),
                _ => {}
            }
            at = at.add(2);
        }
        let (mut start, mut end) = (0, 0);
        for index in 0..count {
            let header = &*(headers as *const libc::Elf64_Phdr).add(index);
            if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W != 0 {
                let place = headers - ELF_HEADER + header.p_vaddr as usize;
                let (in_file, in_memory) = (header.p_filesz as usize, header.p_memsz as usize);
                start = if start == 0 { place & !(PAGE - 1) } else { start };
                end = place + if in_file + ZEROS < in_memory { in_file + ZEROS } else { in_memory };
            }
        }
        call(libc::SYS_madvise, [start, end - start, libc::MADV_POPULATE_WRITE as usize, 0, 0]);
    }
}
