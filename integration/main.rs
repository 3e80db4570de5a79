//! keg's integration tests: one file per feature, each asserting what a process inside the container sees.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod bad_input;
mod cgroup_lifetime;
mod cgroup_limits;
mod cgroups;
mod clients;
mod command_line;
mod console;
mod descriptors;
mod devices;
mod events;
mod exec;
mod exit_codes;
mod hooks;
mod host_name;
mod image;
mod labels;
mod lifecycle;
mod logs;
mod memory_policy;
mod mount_options;
mod mounts;
mod namespaces;
mod net_devices;
mod paths;
mod pause;
mod performance;
mod process;
mod reliability;
mod rootless;
mod seccomp_agent;
mod security;
mod stress;
mod update;
mod user_namespaces;
