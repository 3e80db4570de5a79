//! What there is, in an error that nothing or too much fits: so many and no more.

use std::collections::{HashMap, HashSet};

use super::document::Descriptor;
use super::report::shown;

/// As many as a line can show.
const MOST: usize = 16;

/// What to type behind the layout to mean each of these: its name, or its digest where no name is its own.
pub fn choices<'a>(entries: impl Iterator<Item = &'a Descriptor>) -> String {
    let entries: Vec<_> = entries.collect();
    let mut named: HashMap<&str, &str> = HashMap::new();
    let mut shared = HashSet::new();
    for entry in &entries {
        if let Some(name) = entry.ref_name()
            && *named.entry(name).or_insert(entry.digest_as_said()) != entry.digest_as_said()
        {
            shared.insert(name);
        }
    }
    let choice = |entry: &&Descriptor| match entry.ref_name() {
        None => format!("@{}", shown(entry.digest_as_said())),
        Some(name) if shared.contains(name) => {
            format!("@{} ({})", shown(entry.digest_as_said()), shown(name))
        }
        Some(name) => shown(name),
    };
    list(&entries.iter().map(choice).collect::<Vec<_>>())
}

/// Each once, in their order.
pub fn list(all: &[String]) -> String {
    let mut seen = HashSet::new();
    let once: Vec<&str> = all.iter().map(String::as_str).filter(|one| seen.insert(*one)).collect();
    match once.len().saturating_sub(MOST) {
        0 if once.is_empty() => "none".to_owned(),
        0 => once.join(", "),
        more => format!("{} and {more} more", once[..MOST].join(", ")),
    }
}
