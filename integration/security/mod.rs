//! Ways out of a container that were once open in some runtime: each test is named for what it tries.

mod leaks;
mod links;
mod own_binary;
