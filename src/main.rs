//! The `keg` command.
#![no_main]

keg::entry!(keg::cli::main);
keg::start!();

#[global_allocator]
static MEMORY: keg::sys::arena::Arena = keg::sys::arena::Arena::new();
