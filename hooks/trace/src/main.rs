//! `keg-hook-trace --point POINT --file FILE`: an OCI lifecycle hook that appends one line of JSON to a file: when it was called, at which
//! point, with which state, in which namespaces. For people who debug hooks.

mod line;
mod time;

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::time::SystemTime;

/// The points of the specification at which hooks run.
const POINTS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

const USAGE: &str =
    "usage: keg-hook-trace --point POINT --file FILE, with the state of a container on standard input";

/// No runtime writes a larger state.
const STATE_LIMIT: u64 = 32 << 20;

/// What was typed.
struct Options {
    point: String,
    file: PathBuf,
}

fn main() {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if let Err(problem) = options(&words).and_then(|options| trace(&options)) {
        // Where even stderr is gone there is nobody left to tell.
        drop(io::stderr().write_all(format!("keg-hook-trace: {problem}\n").as_bytes()));
        std::process::exit(1);
    }
}

/// `--name value` or `--name=value`.
fn options(words: &[String]) -> Result<Options, String> {
    let (mut point, mut file) = (None, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), words.next().cloned()),
        };
        match (name, value) {
            ("--point", Some(value)) => point = Some(value),
            ("--file", Some(value)) => file = Some(PathBuf::from(value)),
            _ => return Err(format!("unknown or incomplete argument {word:?}; {USAGE}")),
        }
    }
    let (Some(point), Some(file)) = (point, file) else { return Err(USAGE.to_owned()) };
    if !POINTS.contains(&point.as_str()) {
        return Err(format!("unknown point {point:?}, known are {}", POINTS.join(", ")));
    }
    Ok(Options { point, file })
}

fn trace(options: &Options) -> Result<(), String> {
    let now = SystemTime::now();
    let mut state = Vec::new();
    let read = io::stdin().lock().take(STATE_LIMIT).read_to_end(&mut state);
    read.map_err(|error| format!("reading the state: {}", worded(&error)))?;
    let line = line::line(now, &options.point, &state, &line::Surroundings::look(&state));
    let failed = |error: &io::Error| format!("appending to {:?}: {}", options.file, worded(error));
    let mut file = open(&options.file).map_err(|error| failed(&error))?;
    // One write: the kernel does not mix it with those of other containers.
    match file.write(line.as_bytes()) {
        Ok(written) if written == line.len() => Ok(()),
        Ok(written) => {
            Err(format!("appending to {:?}: only {written} of {} bytes", options.file, line.len()))
        }
        Err(error) => Err(failed(&error)),
    }
}

/// First without making it: in /tmp and its like the kernel refuses "make it" for a file that is there and somebody else's.
fn open(path: &PathBuf) -> io::Result<File> {
    match OpenOptions::new().append(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            OpenOptions::new().append(true).create(true).open(path)
        }
        other => other,
    }
}

/// `no such file or directory`
fn worded(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::options;

    #[test]
    fn arguments() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for good in ["--point poststop --file /a", "--file=/a --point=poststop"] {
            let options = options(&words(good)).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((options.point.as_str(), options.file.to_str()), ("poststop", Some("/a")));
        }
        for (bad, why) in [
            ("", "usage"),
            ("--point poststop", "usage"),
            ("--point later --file /a", "unknown point \"later\", known are prestart, createRuntime, "),
            ("--point", "incomplete argument \"--point\""),
            ("--verbose x", "argument \"--verbose\""),
        ] {
            let error = options(&words(bad)).err().unwrap_or_default();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
