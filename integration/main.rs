//! keg's integration tests: one file per feature, each asserting what a process inside the container sees.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod command_line;
mod descriptors;
mod exit_codes;
mod lifecycle;
mod logs;
mod namespaces;
mod process;
mod user_namespaces;
