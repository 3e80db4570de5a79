//! Any bytes as `linux.seccomp`: for every architecture a program that the kernel would take, or an error.
#![no_main]

use keg::seccomp::{Arch, compile};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let config = [
        &b"{\"ociVersion\": \"1.2.0\", \"root\": {\"path\": \"r\"}, \"linux\": {\"seccomp\": "[..],
        bytes,
        b"}}",
    ]
    .concat();
    let Ok(loaded) = keg::spec::load(&config) else { return };
    let Some(profile) = loaded.spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref()) else {
        return;
    };
    if let Ok(program) = compile(profile, Arch::NATIVE) {
        assert!(!program.instructions.is_empty() && program.instructions.len() <= 4096);
    }
});
