//! Flags as Go's flag package reads them, rewritten to the one form that the parser is given:
//! `--long`, `--long=value`, and after `--` what is no flag.
//!
//! One dash or two, `=value` or the next word, `=true` and `=false` for switches; of repeated flags the
//! last counts. Values may begin with a dash. Nothing is abbreviated and switches do not join.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Where flags may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Anywhere before `--`.
    Mixed,
    /// Before the first word that is no flag; from there on everything belongs to somebody else.
    First,
}

/// What a command's words came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words {
    /// Flags with two dashes and their values attached.
    pub flags: Vec<OsString>,
    /// What is no flag.
    pub others: Vec<OsString>,
    /// `-h` or `--help` was among the flags.
    pub help: bool,
}

/// A flag that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The last word is a flag that wants a value.
    #[error("flag needs an argument: -{0}")]
    NeedsArgument(String),
    /// No flag of this command.
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    /// `---x`, `--=x`
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    /// `--debug=maybe`
    #[error("invalid boolean value {1:?} for -{0}")]
    Boolean(String, String),
}

/// Rewrites the words of `command`, whose definition says which flags exist and which take a value.
pub fn rewrite(command: &clap::Command, words: &[OsString], order: Order) -> Result<Words, Error> {
    let mut out = Words::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some((name, value)) = split(word)? else {
            if word == "--" {
                // Where the container has its name already, what follows is for its program.
                match (&out.others[..], find(command, "args")) {
                    ([_, ..], Some(_)) => out.flags.extend(words.map(|word| flag("args", word))),
                    _ => out.others.extend(words.cloned()),
                }
                break;
            }
            out.others.push(word.clone());
            if order == Order::First {
                out.others.extend(words.cloned());
                break;
            }
            continue;
        };
        if matches!(name, "h" | "help") {
            out.help = true;
            continue;
        }
        let arg = find(command, name).ok_or_else(|| Error::Unknown(name.to_owned()))?;
        let long = arg.get_long().unwrap_or(name);
        if arg.get_action().takes_values() {
            let value = match value {
                Some(value) => value,
                None => words.next().ok_or_else(|| Error::NeedsArgument(name.to_owned()))?,
            };
            out.flags.push(flag(long, value));
        } else {
            let flag = OsString::from(format!("--{long}"));
            out.flags.retain(|earlier| *earlier != flag);
            if value.map_or(Ok(true), |value| boolean(name, value))? {
                out.flags.push(flag);
            }
        }
    }
    Ok(out)
}

fn flag(name: &str, value: &OsStr) -> OsString {
    OsString::from_vec([b"--", name.as_bytes(), b"=", value.as_bytes()].concat())
}

/// The name and the attached value of a flag; `None` for what is no flag.
fn split(word: &OsStr) -> Result<Option<(&str, Option<&OsStr>)>, Error> {
    let bytes = word.as_bytes();
    let Some(bare) = bytes.strip_prefix(b"-").filter(|rest| !rest.is_empty() && bytes != b"--") else {
        return Ok(None);
    };
    let bare = bare.strip_prefix(b"-").unwrap_or(bare);
    let (name, value) = match bare.iter().position(|byte| *byte == b'=') {
        Some(at) => (&bare[..at], Some(OsStr::from_bytes(&bare[at + 1..]))),
        None => (bare, None),
    };
    match std::str::from_utf8(name) {
        Ok(name) if !name.is_empty() && !name.starts_with('-') => Ok(Some((name, value))),
        _ => Err(Error::Syntax(word.to_string_lossy().into_owned())),
    }
}

fn find<'a>(command: &'a clap::Command, name: &str) -> Option<&'a clap::Arg> {
    let mut letters = name.chars();
    let letter = letters.next().filter(|_| letters.next().is_none());
    command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(name) || (letter.is_some() && arg.get_short() == letter))
}

fn boolean(name: &str, value: &OsStr) -> Result<bool, Error> {
    match parse_bool(&value.to_string_lossy()) {
        Some(value) => Ok(value),
        None => Err(Error::Boolean(name.to_owned(), value.to_string_lossy().into_owned())),
    }
}

/// A boolean as Go's strconv.ParseBool reads it.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
