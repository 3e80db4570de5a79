//! Headers that are about the entry after them: PAX records and GNU's long names. A layer has them, and so has a layout in a tar file.

use super::error::HeaderError;
use super::pax::{self, Records};

/// Extended headers that wait for their entry.
#[derive(Debug, Default)]
pub struct Pending {
    pax: Option<Records>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Pending {
    /// Whether a header of this type is none of an entry.
    pub fn is_for(kind: u8) -> bool {
        matches!(kind, b'x' | b'g' | b'L' | b'K')
    }

    /// Keeps what such a header says.
    pub fn push(&mut self, kind: u8, content: &[u8]) -> Result<(), HeaderError> {
        let is_new = match kind {
            // For the whole tar. No writer of layers uses it for more than a comment.
            b'g' if pax::parse(content)?.moves() => return Err(HeaderError::Global),
            b'g' => true,
            b'L' | b'K' => {
                let text = content.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
                let slot = if kind == b'L' { &mut self.name } else { &mut self.link };
                slot.replace(text).is_none()
            }
            _ => self.pax.replace(pax::parse(content)?).is_none(),
        };
        if is_new { Ok(()) } else { Err(HeaderError::Stray) }
    }

    /// Fails where an entry is still missing.
    pub fn end(&self) -> Result<(), HeaderError> {
        let is_empty = self.pax.is_none() && self.name.is_none() && self.link.is_none();
        if is_empty { Ok(()) } else { Err(HeaderError::Stray) }
    }

    /// All that is known of the entry that follows.
    pub fn records(self) -> Result<Records, HeaderError> {
        let mut records = self.pax.unwrap_or_default();
        records.path = one_of(records.path, self.name)?;
        records.link = one_of(records.link, self.link)?;
        Ok(records)
    }
}

/// Two headers may give the same name, not two.
fn one_of(pax: Option<Vec<u8>>, gnu: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, HeaderError> {
    match (pax, gnu) {
        (Some(one), Some(other)) if one != other => Err(HeaderError::TwoNames),
        (one, other) => Ok(one.or(other)),
    }
}
