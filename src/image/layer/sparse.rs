//! Sparse files: which stretches of the file a tar carries, in GNU's old form and in the three
//! forms of PAX (GNU tar manual, "Storing Sparse Files").

use super::header;
use super::pax::decimal;

/// The content of a sparse file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// How long the file is.
    pub length: u64,
    /// Where its data goes: (offset, bytes), in order and apart.
    pub stretches: Vec<(u64, u64)>,
}

/// A map that does not describe a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed sparse map")]
pub struct Error;

impl Map {
    /// Checks that the stretches are in order, apart, inside the file, and carry `stored` bytes.
    pub fn new(length: u64, mut stretches: Vec<(u64, u64)>, stored: u64) -> Result<Self, Error> {
        let mut end = 0;
        let mut sum: u64 = 0;
        for (offset, bytes) in &stretches {
            if *offset < end {
                return Err(Error);
            }
            end = offset.checked_add(*bytes).ok_or(Error)?;
            sum += bytes;
        }
        if end > length || sum != stored {
            return Err(Error);
        }
        stretches.retain(|(_, bytes)| *bytes > 0);
        Ok(Self { length, stretches })
    }

    /// How many bytes the tar does not carry.
    pub fn holes(&self) -> u64 {
        self.length - self.stretches.iter().map(|(_, bytes)| bytes).sum::<u64>()
    }
}

/// Adds the stretches of a table of an old GNU header: 24 bytes each, ended by a blank one.
pub fn old_table(table: &[u8], stretches: &mut Vec<(u64, u64)>) -> Result<(), Error> {
    for entry in table.chunks_exact(24) {
        if entry[0] == 0 {
            break;
        }
        let field = |at: usize| {
            header::number(&entry[at..at + 12], "sparse map").ok().and_then(|n| u64::try_from(n).ok())
        };
        stretches.push((field(0).ok_or(Error)?, field(12).ok_or(Error)?));
    }
    Ok(())
}

/// What the `GNU.sparse.*` records of one entry say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// The file's real name.
    pub name: Option<Vec<u8>>,
    /// How long the file is.
    pub length: Option<u64>,
    /// The stretches, where they stand in the records.
    pub stretches: Option<Vec<(u64, u64)>>,
}

/// Reads the records (keys without `GNU.sparse.`); `None` where there are none. Where the result
/// has no stretches the map is the beginning of the content (form 1.0).
pub fn from_records(records: &[(Vec<u8>, Vec<u8>)]) -> Result<Option<Records>, Error> {
    if records.is_empty() {
        return Ok(None);
    }
    let mut found = Records::default();
    let mut pairs = Vec::new();
    let mut offset = None;
    let mut major = 0;
    for (key, value) in records {
        let number = || decimal(value).ok_or(Error);
        match key.as_slice() {
            b"name" => found.name = Some(value.clone()),
            b"size" | b"realsize" => found.length = Some(number()?),
            b"major" => major = number()?,
            b"offset" => offset = Some(number()?),
            b"numbytes" => pairs.push((offset.take().ok_or(Error)?, number()?)),
            b"map" => pairs = numbers(value, b',').and_then(in_pairs)?,
            b"minor" | b"numblocks" => {
                number()?;
            }
            _ => return Err(Error),
        }
    }
    if major > 1 || found.length.is_none() {
        return Err(Error);
    }
    found.stretches = (major == 0).then_some(pairs);
    Ok(Some(found))
}

/// A map at the beginning of the content (form 1.0): a count, then two numbers for each stretch, a
/// line each, padded to a block. It is read block by block.
#[derive(Debug, Default)]
pub struct LeadingMap {
    text: Vec<u8>,
    lines: usize,
    wanted: Option<usize>,
}

impl LeadingMap {
    /// Takes the next block; the stretches once the map is complete.
    pub fn push(&mut self, block: &[u8]) -> Result<Option<Vec<(u64, u64)>>, Error> {
        self.lines += block.iter().filter(|byte| **byte == b'\n').count();
        self.text.extend_from_slice(block);
        if self.wanted.is_none() {
            let Some(first) = self.text.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
            let count = decimal(&self.text[..first]).and_then(|count| usize::try_from(count).ok());
            self.wanted = Some(count.and_then(|count| count.checked_mul(2)).ok_or(Error)?);
        }
        let wanted = self.wanted.unwrap_or(0);
        if self.lines <= wanted {
            return Ok(None);
        }
        let lines = self.text.split(|byte| *byte == b'\n').skip(1).take(wanted);
        let numbers = lines.map(|line| decimal(line).ok_or(Error)).collect::<Result<_, _>>()?;
        in_pairs(numbers).map(Some)
    }

    /// How many bytes the map has taken.
    pub fn len(&self) -> usize {
        self.text.len()
    }
}

fn numbers(text: &[u8], separator: u8) -> Result<Vec<u64>, Error> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(|byte| *byte == separator).map(|number| decimal(number).ok_or(Error)).collect()
}

fn in_pairs(numbers: Vec<u64>) -> Result<Vec<(u64, u64)>, Error> {
    if !numbers.len().is_multiple_of(2) {
        return Err(Error);
    }
    Ok(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

#[cfg(test)]
mod tests {
    use super::{Error, LeadingMap, Map, from_records, old_table};

    fn records(list: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
        list.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn maps_must_describe_a_file() {
        assert_eq!(Map::new(9, vec![(0, 2), (4, 5), (9, 0)], 7).unwrap().stretches, [(0, 2), (4, 5)]);
        for (length, stretches, stored) in [
            (9, vec![(4, 2), (0, 2)], 4),
            (9, vec![(0, 4), (3, 2)], 6),
            (9, vec![(0, 10)], 10),
            (9, vec![(u64::MAX, 2)], 2),
            (9, vec![(0, 4)], 5),
        ] {
            assert_eq!(Map::new(length, stretches, stored), Err(Error));
        }
    }

    #[test]
    fn the_three_forms_in_records() {
        let form_0_0 = [("size", "9"), ("numblocks", "1"), ("offset", "2"), ("numbytes", "3")];
        let form_0_1 = [("size", "9"), ("numblocks", "1"), ("map", "2,3"), ("name", "x")];
        for (form, name) in [(&form_0_0[..], None), (&form_0_1, Some(b"x".to_vec()))] {
            let found = from_records(&records(form)).unwrap().unwrap();
            assert_eq!(found.stretches, Some(vec![(2, 3)]));
            assert_eq!((found.length, found.name), (Some(9), name));
        }
        let form_1_0 = records(&[("major", "1"), ("minor", "0"), ("name", "x"), ("realsize", "9")]);
        assert_eq!(from_records(&form_1_0).unwrap().unwrap().stretches, None);
        assert_eq!(from_records(&[]), Ok(None));
        for bad in [
            &[("size", "x")][..],
            &[("map", "1,2")],
            &[("size", "9"), ("map", "1,2,3")],
            &[("size", "9"), ("numbytes", "1")],
            &[("major", "2"), ("size", "1")],
        ] {
            assert_eq!(from_records(&records(bad)), Err(Error), "{bad:?}");
        }
    }

    #[test]
    fn a_map_in_the_content_and_an_old_table() {
        let map = |blocks: &[&[u8]]| {
            let mut map = LeadingMap::default();
            blocks.iter().map(|block| map.push(block)).last().unwrap()
        };
        assert_eq!(map(&[b"2\n0\n5\n10\n"]), Ok(None));
        assert_eq!(map(&[b"2\n0\n5\n1", b"0\n7\n\0\0"]), Ok(Some(vec![(0, 5), (10, 7)])));
        assert_eq!(map(&[b"0\n\0"]), Ok(Some(vec![])));
        assert_eq!(map(&[b"1\n0\nx\n"]), Err(Error));
        assert_eq!(map(&[b"99999999999999999999\n"]), Err(Error));
        let mut table = vec![0; 96];
        table[..24].copy_from_slice(b"00000001000\x0000000000010\0");
        let mut stretches = Vec::new();
        old_table(&table, &mut stretches).unwrap();
        assert_eq!(stretches, [(512, 8)]);
        table[24] = b'x';
        assert_eq!(old_table(&table, &mut stretches), Err(Error));
    }
}
