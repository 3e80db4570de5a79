//! Why nothing came of it: what was being done, then its cause, on one line.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::plugin;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What somebody wrote cannot be used.
    #[error("{0}")]
    Wrong(String),
    /// A document is no JSON, or has other fields.
    #[error("{what}")]
    Json {
        /// Which.
        what: String,
        /// Where in it, and why.
        source: serde_json::Error,
    },
    /// The kernel refused.
    #[error("{doing}")]
    System {
        /// What was asked of it.
        doing: String,
        /// Its answer.
        source: Cause,
    },
    /// A plugin failed, or could not be run.
    #[error("network {network:?}: plugin {plugin:?}: {verb}")]
    Plugin {
        /// The name of the network.
        network: String,
        /// The type of the plugin.
        plugin: String,
        /// What it was to do.
        verb: &'static str,
        /// How it failed.
        source: plugin::Problem,
    },
    /// It failed, and so did undoing what was done until then.
    #[error("{first} (and what was done is not undone: {then})")]
    NotUndone {
        /// The first failure.
        first: String,
        /// The second.
        then: String,
    },
}

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// An error number as libc words it, in lower case.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cause(String);

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        let text = errno.desc();
        let mut chars = text.chars();
        let first = chars.next().map(|c| c.to_ascii_lowercase());
        Self(first.into_iter().chain(chars).collect())
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Errno::from_raw(number).into(),
            None => Self(error.to_string()),
        }
    }
}

/// Says what was being done when the kernel refused.
pub trait Doing<T> {
    /// `what`, and the path it was done to.
    fn doing(self, what: &str, path: &Path) -> Result<T>;
}

impl<T, E: Into<Cause>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: &str, path: &Path) -> Result<T> {
        self.map_err(|error| Error::System { doing: format!("{what} {path:?}"), source: error.into() })
    }
}

/// A file of that name, as part of a sentence.
pub fn json(path: &Path, source: serde_json::Error) -> Error {
    Error::Json { what: path.display().to_string(), source }
}

/// `a: b: c`, without line breaks and other control characters.
pub fn one_line(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    single(&text)
}

/// Runs of white space and control characters become one space.
pub fn single(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The paths as `a:b`.
pub fn joined(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::{Cause, Doing, one_line, single};
    use nix::errno::Errno;
    use std::path::Path;

    #[test]
    fn an_error_is_one_line_with_its_cause_last() {
        let error = Err::<(), _>(Errno::ENOENT).doing("opening", Path::new("/a")).unwrap_err();
        assert_eq!(one_line(&error), "opening \"/a\": no such file or directory");
        let io = std::io::Error::from_raw_os_error(13);
        assert_eq!(Cause::from(io).to_string(), "permission denied");
    }

    #[test]
    fn what_others_wrote_is_put_on_one_line() {
        assert_eq!(single(" a\n\tb\u{1b}[0m  c\r\n"), "a b [0m c");
    }
}
