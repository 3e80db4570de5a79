//! The configuration that the pages of `docs` tell people to copy, so that tests stand on the very same lines.

use std::fs;

use crate::runtime;

/// Where the pages suppose that keg is installed.
pub const INSTALLED: &str = "/usr/local/bin/keg";

/// The code block of that language on a page that holds `mark`.
pub fn block(page: &str, language: &str, mark: &str) -> String {
    let path = runtime::workspace().join("docs").join(page);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let found = blocks(&text).into_iter().find(|(of, block)| of == language && block.contains(mark));
    found.unwrap_or_else(|| panic!("docs/{page} has no block of {language} with {mark:?}")).1
}

/// Every code block with its language.
pub fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(language), false) => {
                found.push((language.trim().to_owned(), String::new()));
                inside = true;
            }
            (Some(_), true) => inside = false,
            (None, true) => {
                if let Some((_, block)) = found.last_mut() {
                    block.push_str(line);
                    block.push('\n');
                }
            }
            (None, false) => {}
        }
    }
    found
}
