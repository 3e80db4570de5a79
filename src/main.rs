//! The `keg` command.
#![no_main]

keg::entry!(keg::cli::main);
keg::start!();
