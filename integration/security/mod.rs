//! Ways out of a container that were once open in some runtime: each test is named for what it tries, or for the CVE.

mod blocks;
mod descriptors;
mod dev;
mod exec;
mod host_mounts;
mod input;
mod leaks;
mod links;
mod lint;
mod masks;
mod own_binary;
mod privileges;
mod proc_and_sys;
mod races;
