//! The system calls of a command as places where it can be interrupted: what strace calls `inject=NAME:…:when=NTH`.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use harness::{Command, Finished, Runtime};

/// The `nth` call of this name.
#[derive(Debug, Clone)]
pub struct Point {
    pub name: String,
    pub nth: usize,
}

/// These end the process or start the program under strace: there is nothing to interrupt.
const NOT: [&str; 3] = ["exit_group", "exit", "execve"];

/// The calls of a command, in their order; of keg alone, or of one that `follows` its children.
pub fn of(rt: &Runtime, words: &[&str], follow: bool) -> Vec<Point> {
    of_command(rt, rt.command(words), follow)
}

/// The calls of any program.
pub fn of_command(rt: &Runtime, command: Command, follow: bool) -> Vec<Point> {
    let to = rt.dir().join("trace");
    let mut trace = vec!["strace", "-qq", "-o", to.to_str().unwrap()];
    if follow {
        trace.push("-ff");
    }
    command.inside(&trace).limit(Duration::from_secs(30)).run().ok();
    let mut files: Vec<_> = fs::read_dir(rt.dir()).unwrap().flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("trace"));
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let mut seen: HashMap<String, usize> = HashMap::new();
        let text = fs::read_to_string(&file).unwrap();
        for name in text.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name) {
            let nth = seen.entry(name.to_owned()).or_default();
            *nth += 1;
            if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !NOT.contains(&name) {
                all.push(Point { name: name.to_owned(), nth: *nth });
            }
        }
        fs::remove_file(file).unwrap();
    }
    assert!(all.len() > 10, "the trace shows nothing");
    all
}

/// Every point is to be tried, which takes minutes a test.
pub fn full() -> bool {
    std::env::var("KEG_SWEEP").is_ok_and(|sweep| sweep == "full")
}

/// So many of them, evenly spread; all when the sweep is to be full.
pub fn sample(mut all: Vec<Point>, count: usize) -> Vec<Point> {
    if full() {
        return all;
    }
    let step = all.len().div_ceil(count).max(1);
    // Not always the first: neighbours are alike.
    let mut index = 0;
    all.retain(|_| {
        index += 1;
        index % step == step / 2
    });
    all
}

/// Runs a command with something done to it at a point: `signal=SIGKILL`, `error=ENOSPC`, …
pub fn interrupt(rt: &Runtime, words: &[&str], point: &Point, what: &str, follow: bool) -> Finished {
    interrupted(rt.command(words), point, what, follow).run()
}

/// The command that [`interrupt`] runs.
pub fn interrupted(command: Command, point: &Point, what: &str, follow: bool) -> Command {
    let inject = format!("inject={}:{what}:when={}", point.name, point.nth);
    let trace = format!("trace={}", point.name);
    let mut wrapper = vec!["strace", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    if follow {
        wrapper.push("-f");
    }
    command.inside(&wrapper).limit(Duration::from_secs(15))
}
