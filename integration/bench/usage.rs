//! Runs a program and writes what it took: `usage FILE PROGRAM [ARGUMENT...]` leaves `WALL USER SYSTEM PEAK` in FILE, the times in
//! seconds and the peak of memory in KiB. It is small and static, because a child's peak begins with that of who started it.

use std::process::{Command, ExitCode};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let (Some(file), Some(program)) = (words.next(), words.next()) else {
        return ExitCode::from(2);
    };
    let start = Instant::now();
    let Ok(status) = Command::new(program).args(words).status() else {
        return ExitCode::from(127);
    };
    let wall = start.elapsed().as_secs_f64();
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else {
        return ExitCode::from(126);
    };
    let seconds = |time: nix::sys::time::TimeVal| time.num_microseconds() as f64 / 1e6;
    let (user, system) = (seconds(usage.user_time()), seconds(usage.system_time()));
    if std::fs::write(file, format!("{wall} {user} {system} {}", usage.max_rss())).is_err() {
        return ExitCode::from(125);
    }
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(124))
}
