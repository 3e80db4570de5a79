//! Annotations of config.json that name a file of the host: where keg opens it, its name has to be absolute.

/// Where hooks write what they would write to standard output.
pub const HOOKS_STDOUT: &str = "run.oci.hooks.stdout";
/// Where hooks write what they would write to standard error.
pub const HOOKS_STDERR: &str = "run.oci.hooks.stderr";
/// The socket of somebody who wants the pidfd of the container's first process.
pub const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";
/// The configuration of CRIU, for who makes checkpoints: keg makes none.
pub(super) const CRIU_CONFIG: &str = "org.criu.config";

/// All that keg opens.
pub(super) const FILES: [&str; 3] = [HOOKS_STDERR, HOOKS_STDOUT, PIDFD_RECEIVER];
