//! JSON paths as messages show them: `linux.namespaces[2].path`, `annotations["org.example.key"]`.

use std::borrow::Cow;
use std::fmt::Write as _;

/// One step down from a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Key(Cow<'a, str>),
    Index(usize),
}

impl Step<'_> {
    /// The step without anything borrowed.
    pub(super) fn into_owned(self) -> Step<'static> {
        match self {
            Self::Key(key) => Step::Key(Cow::Owned(key.into_owned())),
            Self::Index(index) => Step::Index(index),
        }
    }
}

/// The whole path; empty for the document itself.
pub(super) fn render(steps: &[Step<'_>]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Key(key) => push_key(&mut path, key),
            Step::Index(index) => {
                // Writing to a String cannot fail.
                write!(path, "[{index}]").unwrap_or_default();
            }
        }
    }
    path
}

/// `parent` and the member `key` of it.
pub fn member(parent: &str, key: &str) -> String {
    let mut path = parent.to_owned();
    push_key(&mut path, key);
    path
}

fn push_key(path: &mut String, key: &str) {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    match plain {
        true if path.is_empty() => path.push_str(key),
        true => {
            path.push('.');
            path.push_str(key);
        }
        false => write!(path, "[{key:?}]").unwrap_or_default(),
    }
}
