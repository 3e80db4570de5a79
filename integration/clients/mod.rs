//! The programs that drive a runtime, from Debian's packages: each scenario is run with Debian's runc and with keg, has to show a person
//! the same, and has to leave nothing. Every daemon lives in private directories, on private sockets, in a network of its own.

mod buildkit;
mod containerd;
mod crio;
mod docker;
mod podman;
mod scopes;
