//! containerd's CRI plugin, which is what Kubernetes talks to, with keg as a handler beside runc; and CRI-O, where there is one. A crate of its own: gRPC and its
//! code take longest to build, and nothing else needs them.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod crio;
mod handlers;
mod plugin;
mod pods;
mod scopes;
mod security;
