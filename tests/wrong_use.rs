//! Every wrong use of every flag of every command is one line and the status of a failure. Which commands and flags there are is
//! read from the help, which is made of the same definition as the parser: a new flag is tried without a word here.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::tempdir;

/// A flag as the help shows it.
#[derive(Debug)]
struct Flag {
    /// With its dash or dashes; all that mean the same.
    names: Vec<String>,
    /// What its value is called; none for a switch.
    value: Option<String>,
}

fn keg(dir: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keg"));
    command.current_dir(dir).env("XDG_RUNTIME_DIR", dir).stdin(Stdio::null());
    command.args(words).output().unwrap()
}

fn help(dir: &Path, words: &[&str]) -> String {
    let output = keg(dir, &[words, &["--help"]].concat());
    assert_eq!(output.status.code(), Some(0), "{words:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The lines below a heading.
fn section<'a>(text: &'a str, heading: &str) -> Vec<&'a str> {
    let after = text.lines().skip_while(|line| *line != heading).skip(1);
    after.take_while(|line| !line.is_empty()).collect()
}

fn commands(dir: &Path) -> Vec<String> {
    let text = help(dir, &[]);
    let lines = section(&text, "Commands:");
    let names: Vec<_> = lines.iter().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect();
    assert!(names.len() >= 19 && names.contains(&"exec".to_owned()), "{names:?}");
    names
}

/// `  -f, --format <FORMAT>  How the output looks`
fn flags(help: &str, heading: &str) -> Vec<Flag> {
    let flag = |line: &&str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let count = words.iter().take_while(|word| word.starts_with('-')).count();
        let names = words[..count].iter().map(|name| name.trim_end_matches(',').to_owned()).collect();
        let value = words.get(count).and_then(|word| word.strip_prefix('<'));
        Flag { names, value: value.map(|word| word.trim_end_matches('>').to_owned()) }
    };
    section(help, heading).iter().map(flag).collect()
}

/// Fails with the status of that command and one line, which the log has too, as the only object in it; returns the line.
fn refused(dir: &Path, command: &str, words: &[&str]) -> String {
    let log = dir.join("log");
    fs::remove_file(&log).unwrap_or_default();
    let globals = ["--log", log.to_str().unwrap(), "--log-format", "json", command];
    let output = keg(dir, &[&globals[..], words].concat());
    let line = one_line(&output, command, words);
    let logged = fs::read(&log).unwrap_or_else(|error| panic!("{command} {words:?} {line}: {error}"));
    let logged: Value = serde_json::from_slice(&logged).unwrap();
    assert_eq!((&logged["msg"], &logged["level"]), (&Value::from(line.as_str()), &Value::from("error")));
    line
}

fn one_line(output: &Output, command: &str, words: &[&str]) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let status = if command == "exec" { 255 } else { 1 };
    assert_eq!(output.status.code(), Some(status), "{command} {words:?}: {text}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{command} {words:?}");
    assert_eq!(
        (text.matches('\n').count(), text.ends_with('\n')),
        (1, true),
        "{command} {words:?}: {text:?}"
    );
    text.trim_end().to_owned()
}

/// Values that can be wrong by themselves, without a look at anything else. The others are names of files and of other things that may
/// be called anything, or that only the kernel can judge.
const JUDGED: [&str; 16] = [
    "CAP",
    "DURATION",
    "FORMAT",
    "GID",
    "HOW",
    "IDLE",
    "N",
    "NUMBER",
    "PLATFORM",
    "SHARES",
    "SIZE",
    "STYLE",
    "TIME",
    "UID[:GID]",
    "WEIGHT",
    "WHEN",
];

fn can_be_wrong(value: &str) -> bool {
    JUDGED.contains(&value)
}

/// Enough words that only the flag is wrong.
fn rest(help: &str) -> Vec<&str> {
    let usage = help.lines().find(|line| line.starts_with("Usage: ")).unwrap();
    let mut words = Vec::new();
    if usage.contains("--image <IMAGE>") {
        words.extend(["--image", "layout"]);
    }
    words.extend(
        usage.split_whitespace().filter(|word| word.starts_with('<') && *word != "<IMAGE>").map(|_| "c"),
    );
    if usage.ends_with("<IMAGE>") {
        words.push("layout");
    }
    words
}

#[test]
fn every_wrong_use_of_a_flag_is_one_line() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    let mut tried = 0;
    for command in commands(dir) {
        let help = help(dir, &[&command]);
        let rest = rest(&help);
        for flag in flags(&help, "Options:") {
            for name in &flag.names {
                tried += 1;
                let bare = name.trim_start_matches('-');
                let Some(value) = &flag.value else {
                    let message =
                        refused(dir, &command, &[&[format!("{name}=maybe").as_str()], &rest[..]].concat());
                    assert!(
                        message.contains("maybe") && message.contains(bare),
                        "{command} {name}: {message}"
                    );
                    continue;
                };
                let message = refused(dir, &command, &[name]);
                assert!(
                    message.contains(&format!("flag needs an argument: -{bare}")),
                    "{command} {name}: {message}"
                );
                if can_be_wrong(value) {
                    let message = refused(dir, &command, &[&[name, "no such value"], &rest[..]].concat());
                    assert!(message.contains("no such value"), "{command} {name}: {message}");
                }
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

#[test]
fn every_wrong_use_of_a_flag_before_the_command_is_one_line() {
    let temp = tempdir().unwrap();
    let text = help(temp.path(), &[]);
    let flags = flags(&text, "Global options:");
    assert!(flags.len() >= 8, "{flags:?}");
    for flag in flags {
        for name in &flag.names {
            let refused = |words: &[&str]| one_line(&keg(temp.path(), words), "", words);
            let Some(value) = &flag.value else {
                assert!(refused(&[&format!("{name}=maybe"), "list"]).contains("maybe"), "{name}");
                continue;
            };
            let bare = name.trim_start_matches('-');
            assert!(refused(&[name]).contains(&format!("flag needs an argument: -{bare}")), "{name}");
            if can_be_wrong(value) || name == "--cgroup-manager" {
                assert!(refused(&[name, "no such value", "list"]).contains("no such value"), "{name}");
            }
        }
    }
}

#[test]
fn every_command_refuses_flags_and_arguments_that_it_does_not_know() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    for command in commands(dir) {
        let help = help(dir, &[&command]);
        let rest = rest(&help);
        for unknown in ["--no-such-flag", "-no-such-flag=1", "-Z"] {
            let message = refused(dir, &command, &[&[unknown], &rest[..]].concat());
            assert!(message.contains("flag provided but not defined: -"), "{command} {unknown}: {message}");
        }
        refused(dir, &command, &[&["---flag"], &rest[..]].concat());
        if !rest.is_empty() {
            assert!(refused(dir, &command, &[]).contains(&command), "{command}");
        }
        let usage = help.lines().find(|line| line.starts_with("Usage: ")).unwrap();
        if !usage.ends_with("...") {
            let many = [&rest[..], &["9", "one more", "and another"]].concat();
            let message = refused(dir, &command, &many);
            assert!(message.contains(" requires ") && message.contains("and found"), "{command}: {message}");
        }
    }
}
