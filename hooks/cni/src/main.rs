//! `keg-hook-cni`: an OCI lifecycle hook that attaches a container to networks through CNI plugins, and detaches it.
//!
//! As a createRuntime hook it runs ADD, as a poststop hook DEL; which of the two follows from the state on standard input.

mod add;
mod address;
mod args;
mod attachment;
mod bundle;
mod capability;
mod chain;
mod check;
mod container_id;
mod del;
mod error;
mod files;
mod gc;
mod hosts;
mod mount;
mod netns;
mod network;
mod plugin;
mod process;
mod resolv;
mod state;
mod store;
mod stragglers;
mod sys;
mod version;

use std::io::{self, Write};
use std::process::ExitCode;

use args::{Args, Verb};
use error::Result;
use state::State;

fn main() -> ExitCode {
    let args = match args::parse() {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = format!("keg-hook-cni: {}\n", error::one_line(&error));
            // Where nobody reads it there is nobody else to tell.
            io::stderr().write_all(line.as_bytes()).unwrap_or(());
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    if args.verb == Some(Verb::Gc) {
        return gc::gc(args);
    }
    let state = State::read(io::stdin())?;
    match args.verb.map_or_else(|| state.verb(), Ok)? {
        Verb::Add => add::add(args, &state),
        Verb::Del => del::del(args, &state),
        Verb::Check => check::check(args, &state),
        Verb::Gc => gc::gc(args),
    }
}
