//! The id under which plugins know a container. The specification of CNI allows fewer than OCI runtimes do.

use std::fmt::Write;

use crate::error::{Error, Result};

/// The container's id where plugins take it, else one that is made of it.
pub fn of(id: &str) -> Result<String> {
    if id.is_empty() || id.len() > 120 {
        return Err(Error::Wrong(format!("the id of the container has {} characters", id.len())));
    }
    let mut chars = id.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphanumeric());
    if first && chars.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
        return Ok(id.to_owned());
    }
    let mut name = "id.".to_owned();
    for byte in id.bytes() {
        write!(name, "{byte:02x}").unwrap_or(());
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn an_id_that_plugins_refuse_becomes_one_that_they_take() {
        for id in ["c", "web-1.example_2", "0"] {
            assert_eq!(of(id).unwrap(), id);
        }
        assert_eq!(of("a+b").unwrap(), "id.612b62");
        assert_eq!(of("_").unwrap(), "id.5f");
        assert_eq!(of("../x").unwrap(), "id.2e2e2f78");
        assert!(of("").is_err());
        assert!(of(&"x".repeat(121)).is_err());
    }
}
