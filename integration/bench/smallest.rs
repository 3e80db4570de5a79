//! The smallest program there is: one system call, exit(0). No C library and no linker stand behind it, so it is written as it is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::Result;

/// Where the one segment is mapped.
const BASE: u64 = 0x40_0000;
/// Lengths of the ELF header and of one program header.
const HEADERS: [u16; 2] = [64, 56];

/// The machine's number in an ELF header, and its instructions for exit(0).
const MACHINE: Option<(u16, &[u8])> = if cfg!(target_arch = "x86_64") {
    // mov eax, 60; xor edi, edi; syscall
    Some((62, &[0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]))
} else if cfg!(target_arch = "aarch64") {
    // mov x8, 93; mov x0, 0; svc 0
    Some((183, &[0xa8, 0x0b, 0x80, 0xd2, 0, 0, 0x80, 0xd2, 0x01, 0, 0, 0xd4]))
} else {
    None
};

/// Writes it to a new file.
pub fn write(path: &Path) -> Result<()> {
    let (machine, code) = MACHINE.ok_or("there is no smallest program for this machine")?;
    let start = u64::from(HEADERS[0] + HEADERS[1]);
    let length = start + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    for half in [2, machine] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1u32.to_le_bytes());
    for offset in [BASE + start, u64::from(HEADERS[0]), 0] {
        elf.extend(offset.to_le_bytes());
    }
    elf.extend(0u32.to_le_bytes());
    for half in [HEADERS[0], HEADERS[1], 1, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    // PT_LOAD, readable and executable.
    for word in [1u32, 5] {
        elf.extend(word.to_le_bytes());
    }
    for long in [0, BASE, BASE, length, length, 4096] {
        elf.extend(long.to_le_bytes());
    }
    elf.extend(code);
    fs::write(path, elf)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

#[cfg(test)]
mod tests {
    use crate::Result;

    #[test]
    fn it_runs_and_succeeds() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("nothing");
        super::write(&path)?;
        assert!(std::process::Command::new(&path).status()?.success());
        Ok(())
    }
}
