//! What every integration test stands on: the runtime under test in private directories, bundles, what the process
//! inside saw, and what the host looked like before and after.
//!
//! `KEG_UNDER_TEST` names the runtime: `runc`, `crun`, `debug` (target/debug/keg) or a path; without it, `target/keg`. `KEG_DRIVER` says
//! who makes the cgroups: `systemd`, or without it the runtime itself.

#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

pub mod bundle;
pub mod caller;
pub mod command;
pub mod docs;
pub mod driver;
pub mod host;
pub mod inside;
pub mod peers;
pub mod runtime;
pub mod terminal;

pub use bundle::Bundle;
pub use caller::{Daemon, Note, Seen, same_as_runc, with_caller};
pub use command::{Command, Finished, Running};
pub use driver::Driver;
pub use host::{Host, alive};
pub use inside::Inside;
pub use runtime::Runtime;
pub use serde_json::{Value, json};

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// Runs a test's body with a fresh runtime in a private mount namespace, then checks that nothing is left on the host.
///
/// A test that is listed in [`peers::DEVIATIONS`] for the runtime under test has to fail, or the row is out of date.
pub fn with_runtime<F: FnOnce(&Runtime)>(body: F) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let name = name_of(&body);
    let runtime = Runtime::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let before = Host::look(&runtime);
        body(&runtime);
        runtime.delete_all();
        before.assert_same(&runtime);
    }));
    let reason = |rows| peers::reason(rows, runtime.kind(), &name);
    match (outcome, reason(peers::DEVIATIONS), reason(peers::UNSTEADY)) {
        (Ok(()), Some(why), _) => panic!("{name} passes: its row in peers.rs is out of date ({why})"),
        (Err(_), Some(why), _) | (Err(_), _, Some(why)) => eprintln!("{name} fails, as known: {why}"),
        (Err(panic), None, None) => resume_unwind(panic),
        (Ok(()), None, _) => {}
    }
}

/// `feature::test` from the type of the closure in it: `integration::feature::test::{{closure}}`.
fn name_of<F>(_: &F) -> String {
    let full = std::any::type_name::<F>();
    let inner = full.split_once("::").map_or(full, |(_, rest)| rest);
    inner.split("::{{closure}}").next().unwrap_or(inner).to_owned()
}

/// Whether this machine is so slow that a time says nothing: `KEG_SLOW_MACHINE` is set, as in the virtual machine.
pub fn is_slow_machine() -> bool {
    std::env::var_os("KEG_SLOW_MACHINE").is_some()
}

/// Waits until the condition holds; panics with `what` after `limit`.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let (start, limit) = (Instant::now(), command::patience(limit));
    while !condition() {
        assert!(start.elapsed() < limit, "after {limit:?} still not: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
